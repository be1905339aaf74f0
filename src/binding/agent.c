/* Who acts: threads, tasks and greenlets have tokens, which stand for them in lock words' company and notes.
 *
 * Threads have their own, at no cost. Tasks and greenlets are asked for by what interlock.aio and interlock.hub lend, once there are any
 * that matter. */
#include <unistd.h>

#include "binding.h"
#include "il_platform.h"

THREAD_LOCAL uint64_t thread_token;
THREAD_LOCAL bool thread_is_main;
THREAD_LOCAL uint64_t acting_for;
il_u32 tasks_matter, tasks_act;
static il_u32 tokens;

uint64_t next_token(void)
{
    return (uint64_t)(il_add_relaxed(&tokens, 1) + 1) << 32 | il_thread_id();
}

uint64_t new_token(void)
{
    thread_token = next_token();
    thread_is_main = (uint32_t)thread_token == (uint32_t)getpid();
    return thread_token;
}

#ifndef Py_GIL_DISABLED
static bool is_referent(PyObject *reference, PyObject *object)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *referent = NULL;
    PyWeakref_GetRef(reference, &referent);
    Py_XDECREF(referent);
    return referent == object;
#else
    return PyWeakref_GetObject(reference) == object;
#endif
}
#endif

/* The token of a task. 0 with an exception. */
static uint64_t token_of_task(ModuleState *state, PyObject *task)
{
#ifndef Py_GIL_DISABLED
    if (state->last_task != NULL && is_referent(state->last_task, task))
        return state->last_token;
#endif
    PyObject *found = PyObject_CallOneArg(state->token_of_task, task);
    uint64_t token = found != NULL ? PyLong_AsUnsignedLongLong(found) : 0;
    Py_XDECREF(found);
    if (PyErr_Occurred())
        return 0;
#ifndef Py_GIL_DISABLED
    PyObject *reference = PyWeakref_NewRef(task, NULL);
    if (reference == NULL)
        return 0;
    Py_XSETREF(state->last_task, reference);
    state->last_token = token;
#endif
    return token;
}

uint64_t find_agent(Handle *self)
{
    ModuleState *state = self->state;
    if (acting_for != 0)
        return acting_for;
    if (il_load_relaxed(self->space->self) == 0 && hub_look(state) < 0)
        return 0;
    if (state->token_of_task == NULL)
        return this_token();
    /* Cheaper than to ask asyncio: in most threads no loop has ever run. */
    if (state->loop_key != NULL) {
        PyObject *notes = PyThreadState_GetDict();
        if (notes != NULL && PyDict_GetItemWithError(notes, state->loop_key) == NULL)
            return PyErr_Occurred() ? 0 : this_token();
    }
    PyObject *loop = PyObject_CallNoArgs(state->running_loop);
    PyObject *task = loop != NULL && loop != Py_None ? PyObject_CallOneArg(state->current_task, loop) : Py_XNewRef(loop);
    uint64_t token = task == NULL ? 0 : task == Py_None ? this_token() : token_of_task(state, task);
    Py_XDECREF(loop);
    Py_XDECREF(task);
    return token;
}

/* --- asyncio and gevent, when they come --- */

bool knows_tasks(const Handle *self)
{
    return self->kind == IL_KIND_RLOCK || self->kind == IL_KIND_RWLOCK || self->kind == IL_KIND_CONDITION ||
           self->kind == IL_KIND_VALUE || self->kind == IL_KIND_ARRAY;
}

int tasks_may_come(Handle *self)
{
    if (il_load_relaxed(&tasks_matter) || !knows_tasks(self) ||
        PyDict_GetItemString(PyImport_GetModuleDict(), "asyncio.tasks") == NULL)
        return 0;
    return tasks_begin(self);
}

/* What one of the package's modules lends, in the order in which it names them. 0, or -1 with an exception. */
static int borrow(const char *name, PyObject **into[], Py_ssize_t count)
{
    PyObject *module = PyImport_ImportModule(name);
    PyObject *lent = module != NULL ? PyObject_GetAttrString(module, "LENT") : NULL;
    Py_XDECREF(module);
    int failed = lent == NULL || !PyTuple_Check(lent) || PyTuple_GET_SIZE(lent) != count;
    for (Py_ssize_t i = 0; !failed && i < count; i++)
        Py_XSETREF(*into[i], Py_NewRef(PyTuple_GET_ITEM(lent, i)));
    Py_XDECREF(lent);
    if (failed && !PyErr_Occurred())
        PyErr_Format(PyExc_SystemError, "%s.LENT is not a tuple of %zd", name, count);
    return failed ? -1 : 0;
}

int tasks_begin(Handle *self)
{
    ModuleState *state = self->state;
    if (state->settle != NULL)
        return 0;
    if (state->hub_sleep != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "asyncio's tasks cannot wait in a program whose threads gevent has replaced");
        return -1;
    }
    PyObject **into[] = {&state->running_loop, &state->current_task, &state->token_of_task, &state->settle_hold, &state->settle};
    if (borrow("interlock.aio", into, 5) < 0)
        return -1;
#if PY_VERSION_HEX < 0x030C0000
    /* Modules/_asynciomodule.c of 3.11; the module in Python, and later versions, have other places for it. */
    if (PyCFunction_Check(state->running_loop))
        Py_XSETREF(state->loop_key, PyUnicode_InternFromString("__asyncio_running_event_loop__"));
    PyErr_Clear(); /* without it, asyncio is asked */
#endif
    il_store_release(&tasks_matter, 1);
    return 0;
}

static int hub_begins(ModuleState *state)
{
    PyObject **into[] = {&state->running_loop, &state->current_task, &state->token_of_task, &state->hub_sleep};
    if (borrow("interlock.hub", into, 4) < 0)
        return -1;
    Py_CLEAR(state->loop_key);
    il_store_relaxed(&tasks_act, 1);
    il_store_release(&tasks_matter, 1);
    return 0;
}

int hub_look(ModuleState *state)
{
    if (state->hub_sleep != NULL)
        return 0;
    if (state->hub_module == NULL && (state->hub_module = PyUnicode_InternFromString("gevent.monkey")) == NULL)
        return -1;
    PyObject *monkey = PyImport_GetModule(state->hub_module);
    if (monkey == NULL)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *answer = PyObject_CallMethod(monkey, "is_module_patched", "s", "threading");
    int patched = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    Py_DECREF(monkey);
    return patched <= 0 ? patched : hub_begins(state);
}
