/* The extension module: its state, its types, fork, and the one place where codes become exceptions. */
#include "binding.h"

il_process this_process;

PyObject *raise_code(ModuleState *state, int code, SpaceObject *space, Handle *handle, const il_error *error,
                     uint8_t found_kind)
{
    il_error none = {0};
    il_space *segment = space != NULL ? space->segment : NULL;
    if (error == NULL)
        error = segment != NULL && segment->error.code == code ? &segment->error : &none;
    return raise_at(state, code, segment != NULL ? segment->path : NULL, handle, error, found_kind);
}

PyObject *raise_at(ModuleState *state, int code, const char *file, Handle *handle, const il_error *error,
                   uint8_t found_kind)
{
    if (state == NULL || state->exception_of == NULL) {
        /* The interpreter is being torn down and has already forgotten the package. */
        PyErr_Format(PyExc_RuntimeError, "%s: %s", il_status_name(code), il_status_text(code));
        return NULL;
    }
    PyObject *path = file != NULL ? PyUnicode_DecodeFSDefault(file) : Py_NewRef(Py_None);
    if (path == NULL)
        return NULL;
    PyObject *exception = PyObject_CallFunction(
        state->exception_of, "ssOOOiIKKB", il_status_name(code), il_status_text(code), path,
        handle != NULL ? handle->name : Py_None, handle != NULL ? (PyObject *)Py_TYPE(handle) : Py_None,
        error->sys_errno, error->found, (unsigned long long)error->wanted,
        handle != NULL ? (unsigned long long)handle->parameter : 0ull, found_kind);
    Py_DECREF(path);
    if (exception != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
    return NULL;
}

static void before_fork(void)
{
    il_add_relaxed(&forks, 1); /* before there is a child */
    data_before_fork();
    il_process_before_fork(&this_process);
}

static void after_fork(bool child)
{
    il_process_after_fork(&this_process, child);
    data_after_fork();
}

static void after_fork_parent(void)
{
    after_fork(false);
}

static void after_fork_child(void)
{
    il_add_relaxed(&forked_from, 1);
    after_fork(true);
    thread_token = 0;
    forget_reads();
}

/* Once per process, however many interpreters import the module. */
static void start_process(void)
{
    il_process_init(&this_process);
    pthread_atfork(before_fork, after_fork_parent, after_fork_child);
    Py_AtExit(data_at_exit); /* if there is no room for it, the next program that makes data cleans up */
}

/* set_hooks(exception_of, owner_of, timeout_of, find_space, tell_deadlock): what the package lends to the extension. */
static PyObject *set_hooks(PyObject *module, PyObject *args)
{
    ModuleState *state = PyModule_GetState(module);
    PyObject *exception_of, *owner_of, *timeout_of, *find_space, *tell_deadlock;
    if (!PyArg_ParseTuple(args, "OOOOO", &exception_of, &owner_of, &timeout_of, &find_space, &tell_deadlock))
        return NULL;
    Py_XSETREF(state->exception_of, Py_NewRef(exception_of));
    Py_XSETREF(state->owner_of, Py_NewRef(owner_of));
    Py_XSETREF(state->timeout_of, Py_NewRef(timeout_of));
    Py_XSETREF(state->find_space, Py_NewRef(find_space));
    Py_XSETREF(state->tell_deadlock, Py_NewRef(tell_deadlock));
    Py_RETURN_NONE;
}

/* set_wait_hook(hook or None): hook(handle, began_ns, ended_ns, done, error or None, acquires) is called when a wait that slept is over,
 * in its thread or task, which has what it got. Times are since the epoch. `acquires`: False for a Condition's wait(). */
static PyObject *set_wait_hook(PyObject *module, PyObject *hook)
{
    ModuleState *state = PyModule_GetState(module);
    /* Another thread may be about to call the one that was there: its reference is kept for good. */
    atomic_exchange(&state->wait_hook, hook != Py_None ? Py_NewRef(hook) : NULL);
    Py_RETURN_NONE;
}

/* new_token(): a number for a task, as threads have them. */
static PyObject *make_token(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromUnsignedLongLong(next_token());
}

static PyMethodDef module_methods[] = {
    {"new_token", make_token, METH_NOARGS, NULL},
    {"set_hooks", set_hooks, METH_VARARGS, NULL},
    {"set_wait_hook", set_wait_hook, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base, PyTypeObject **keep)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
    if (type == NULL)
        return -1;
    int failed = PyModule_AddType(module, (PyTypeObject *)type);
    if (keep != NULL && failed == 0)
        *keep = (PyTypeObject *)type;
    else
        Py_DECREF(type);
    return failed;
}

static int module_exec(PyObject *module)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    ModuleState *state = PyModule_GetState(module);
    pthread_once(&once, start_process);
    int failed = add_type(module, &ready_spec, NULL, &state->ready_type) < 0 ||
                 (state->ready_true = ready(state, Py_True)) == NULL || (state->ready_none = ready(state, Py_None)) == NULL ||
                 add_type(module, &waiter_spec, NULL, &state->waiter_type) < 0 ||
                 add_type(module, &port_spec, NULL, NULL) < 0 ||
                 add_type(module, &space_spec, NULL, &state->space_type) < 0 ||
                 add_type(module, &handle_spec, NULL, &state->handle_type) < 0 ||
                 add_type(module, &locklike_spec, state->handle_type, &state->locklike_type) < 0 ||
                 add_type(module, &lock_spec, state->locklike_type, NULL) < 0 ||
                 add_type(module, &rlock_spec, state->locklike_type, NULL) < 0 ||
                 add_type(module, &semaphore_spec, state->handle_type, NULL) < 0 ||
                 add_type(module, &event_spec, state->handle_type, NULL) < 0 ||
                 add_type(module, &condition_spec, state->handle_type, NULL) < 0 ||
                 add_type(module, &barrier_spec, state->handle_type, NULL) < 0 ||
                 add_type(module, &read_lock_spec, state->locklike_type, NULL) < 0 ||
                 add_type(module, &write_lock_spec, state->locklike_type, NULL) < 0 ||
                 add_type(module, &bounded_spec, state->handle_type, NULL) < 0 ||
                 add_type(module, &mapping_spec, NULL, &state->mapping_type) < 0 ||
                 add_type(module, &data_spec, state->handle_type, &state->data_type) < 0 ||
                 add_type(module, &value_spec, state->data_type, NULL) < 0 ||
                 add_type(module, &array_spec, state->data_type, NULL) < 0 ||
                 add_type(module, &hold_spec, NULL, NULL) < 0 ||
                 PyModule_AddIntConstant(module, "LAYOUT_VERSION", IL_LAYOUT_VERSION) < 0 ||
                 PyModule_AddIntConstant(module, "SLOTS_LIMIT", IL_SLOTS_LIMIT) < 0;
    return failed ? -1 : 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    ModuleState *state = PyModule_GetState(module);
    Py_VISIT(state->ready_type);
    Py_VISIT(state->ready_true);
    Py_VISIT(state->ready_none);
    Py_VISIT(state->waiter_type);
    Py_VISIT(state->hub_module);
    Py_VISIT(state->hub_sleep);
    Py_VISIT(state->loop_key);
    Py_VISIT(state->running_loop);
    Py_VISIT(state->current_task);
    Py_VISIT(state->token_of_task);
    Py_VISIT(state->last_task);
    Py_VISIT(state->settle);
    Py_VISIT(state->settle_hold);
    Py_VISIT(state->space_type);
    Py_VISIT(state->handle_type);
    Py_VISIT(state->locklike_type);
    Py_VISIT(state->mapping_type);
    Py_VISIT(state->data_type);
    Py_VISIT(state->exception_of);
    Py_VISIT(state->owner_of);
    Py_VISIT(state->timeout_of);
    Py_VISIT(state->find_space);
    Py_VISIT(state->tell_deadlock);
    Py_VISIT((PyObject *)state->default_space);
    Py_VISIT((PyObject *)state->wait_hook);
    return 0;
}

static int module_clear(PyObject *module)
{
    ModuleState *state = PyModule_GetState(module);
    Py_CLEAR(state->ready_type);
    Py_CLEAR(state->ready_true);
    Py_CLEAR(state->ready_none);
    Py_CLEAR(state->waiter_type);
    Py_CLEAR(state->hub_module);
    Py_CLEAR(state->hub_sleep);
    Py_CLEAR(state->loop_key);
    Py_CLEAR(state->running_loop);
    Py_CLEAR(state->current_task);
    Py_CLEAR(state->token_of_task);
    Py_CLEAR(state->last_task);
    Py_CLEAR(state->settle);
    Py_CLEAR(state->settle_hold);
    Py_CLEAR(state->space_type);
    Py_CLEAR(state->handle_type);
    Py_CLEAR(state->locklike_type);
    Py_CLEAR(state->mapping_type);
    Py_CLEAR(state->data_type);
    Py_CLEAR(state->exception_of);
    Py_CLEAR(state->owner_of);
    Py_CLEAR(state->timeout_of);
    Py_CLEAR(state->find_space);
    Py_CLEAR(state->tell_deadlock);
    Py_XDECREF(atomic_exchange(&state->default_space, NULL));
    Py_XDECREF(atomic_exchange(&state->wait_hook, NULL));
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_MOD_PER_INTERPRETER_GIL_SUPPORTED
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_MOD_GIL_NOT_USED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

struct PyModuleDef engine_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "interlock._engine",
    .m_doc = "The binding of the shared-memory engine. Private: use the interlock package.",
    .m_size = sizeof(ModuleState),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
};

PyMODINIT_FUNC PyInit__engine(void);

PyMODINIT_FUNC PyInit__engine(void)
{
    return PyModuleDef_Init(&engine_module);
}
