/* Barrier: threading.Barrier's methods on a named barrier. */
#include "binding.h"
#include "il_platform.h"

typedef struct {
    Handle handle;
    PyObject *action;  /* NULL: none */
    PyObject *timeout; /* of wait() without one; None: for ever */
} Barrier;

enum { MOST_PARTIES = 0x7FFFFFFF };

/* Barrier(name, parties, action, timeout, space) */
static PyObject *barrier_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *name, *parties, *action, *timeout, *space;
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) ||
        !PyArg_ParseTuple(args, "OOOOO", &name, &parties, &action, &timeout, &space)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "positional arguments only");
        return NULL;
    }
    if (check_not_forgotten(type, IL_KIND_BARRIER, name) < 0)
        return NULL;
    int overflow;
    uint64_t deadline;
    long count = PyLong_AsLongAndOverflow(parties, &overflow);
    if ((count == -1 && PyErr_Occurred()) || lenient_deadline(timeout, &deadline) < 0)
        return NULL;
    if (overflow < 0 || (overflow == 0 && count < 1)) {
        PyErr_SetString(PyExc_ValueError, "parties must be > 0: say how many have to come, parties=…");
        return NULL;
    }
    if (overflow > 0 || count > MOST_PARTIES) {
        PyErr_SetString(PyExc_OverflowError, "a barrier has at most 2147483647 parties");
        return NULL;
    }
    if (action != Py_None && !PyCallable_Check(action)) {
        PyErr_Format(PyExc_TypeError, "action must be callable, not %.100s", Py_TYPE(action)->tp_name);
        return NULL;
    }
    Barrier *self = (Barrier *)handle_make(type, name, space, IL_KIND_BARRIER, (uint64_t)count);
    if (self == NULL)
        return NULL;
    self->action = action != Py_None ? Py_NewRef(action) : NULL;
    self->timeout = Py_NewRef(timeout);
    return (PyObject *)self;
}

static int barrier_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((Barrier *)object)->action);
    Py_VISIT(((Barrier *)object)->timeout);
    return handle_traverse(object, visit, arg);
}

static int barrier_clear(PyObject *object)
{
    Py_CLEAR(((Barrier *)object)->action);
    return 0;
}

static void barrier_dealloc(PyObject *object)
{
    PyObject_GC_UnTrack(object); /* first: what goes may run code, and the collector */
    Py_CLEAR(((Barrier *)object)->action);
    Py_CLEAR(((Barrier *)object)->timeout);
    handle_dealloc(object);
}

static PyObject *broken(void)
{
    PyObject *threading = PyImport_ImportModule("threading");
    PyObject *error = threading != NULL ? PyObject_GetAttrString(threading, "BrokenBarrierError") : NULL;
    Py_XDECREF(threading);
    if (error != NULL)
        PyErr_SetNone(error);
    Py_XDECREF(error);
    return NULL;
}

typedef struct {
    il_ticket ticket;
    uint32_t place;
} arrival;

static int enter_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    arrival *here = argument;
    return il_barrier_enter(space, ref, wait, &here->ticket, &here->place);
}

/* The last party: runs the action while the others wait. */
static int act_for_all(Barrier *self, const Act *act)
{
    PyObject *result = self->action != NULL ? PyObject_CallNoArgs(self->action) : Py_NewRef(Py_None);
    PyObject *type, *value, *traceback;
    int code;
    PyErr_Fetch(&type, &value, &traceback);
    Py_BEGIN_ALLOW_THREADS;
    code = il_barrier_finish(self->handle.space->segment, act->ref, act->ticket, result != NULL);
    Py_END_ALLOW_THREADS;
    PyErr_Restore(type, value, traceback);
    Py_XDECREF(result);
    return result != NULL ? code : PERFORM_FAILED;
}

static void leave(il_space *space, const Act *act)
{
    Py_BEGIN_ALLOW_THREADS;
    il_barrier_leave(space, act->ref, act->ticket);
    Py_END_ALLOW_THREADS;
}

static int wait_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    return il_barrier_wait(space, ref, *(const il_ticket *)argument, wait);
}

static int wait_for_others(Barrier *self, Act *act)
{
    il_space *space = self->handle.space->segment;
    for (;;) {
        int code = call_asleep(&self->handle, wait_once, act->ref, shown(&self->handle, act, false), &act->ticket);
        if (code != IL_INTERRUPTED && code != PERFORM_FAILED)
            return code;
        if (code == PERFORM_FAILED || look_after(&self->handle, &act->wait, false) < 0) {
            leave(space, act);
            return PERFORM_FAILED;
        }
    }
}

enum { COMES = 0, WAITS = 1 };

static int barrier_take(Handle *handle, Act *act)
{
    Barrier *self = (Barrier *)handle;
    int code = IL_OK;
    if (act->stage == COMES) {
        arrival here = {0};
        code = perform(handle, enter_once, &here, shown(handle, act, false), &act->ref);
        act->ticket = here.ticket;
        act->place = here.place;
        if (code == IL_LAST) {
            code = act_for_all(self, act);
        } else if (code == IL_OK) {
            /* The timeout counts from now on. */
            uint64_t deadline = act->span_ns == 0 || act->span_ns == IL_FOREVER ? act->span_ns : il_clock_ns() + act->span_ns;
            bool listens = act->wait.listens;
            act->wait = wait_until(deadline);
            act->wait.listens = listens;
            act->wait.restless = act->wait.restless && !listens;
            act->stage = WAITS;
        }
    }
    if (act->stage == WAITS)
        code = wait_for_others(self, act);
    if (code == IL_PENDING)
        return ACT_PENDING;
    if (code == IL_OK)
        return ACT_DONE;
    if (code == IL_BROKEN)
        broken();
    else if (code != PERFORM_FAILED)
        raise_code(state_of(Py_TYPE(self)), code, handle->space, handle, NULL, 0);
    return ACT_FAILED;
}

/* A task gives the wait up: it was not there, as a thread in which a signal handler raises. */
static bool barrier_abandon(Handle *handle, Act *act)
{
    if (act->stage == WAITS)
        leave(handle->space->segment, act);
    return false;
}

/* From wait(timeout=None). 0, or -1 with an exception. */
static int begin(Barrier *self, PyObject *timeout, Act *act)
{
    uint64_t deadline;
    if (lenient_deadline(timeout != NULL && timeout != Py_None ? timeout : self->timeout, &deadline) < 0)
        return -1;
    *act = act_until(IL_FOREVER);
    act->span_ns = deadline;
    if (deadline != IL_FOREVER && deadline != IL_NOW) {
        uint64_t now = il_clock_ns();
        act->span_ns = deadline > now ? deadline - now : 1;
    }
    return 0;
}

/* _ask_wait(timeout) -> a place or a Waiter: waits in a task. */
static PyObject *barrier_ask_wait(PyObject *object, PyObject *timeout)
{
    Act act;
    if (begin((Barrier *)object, timeout, &act) < 0)
        return NULL;
    act.take = barrier_take;
    act.abandon = barrier_abandon;
    return begun((Handle *)object, &act);
}

static PyObject *barrier_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Barrier *self = (Barrier *)object;
    Py_ssize_t named = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + named > 1 ||
        (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "timeout") != 0)) {
        PyErr_SetString(PyExc_TypeError, "wait() takes one argument at most, timeout");
        return NULL;
    }
    Act act;
    if (begin(self, nargs + named > 0 ? args[0] : NULL, &act) < 0)
        return NULL;
    int result = go_through(&self->handle, &act, barrier_take);
    return result == ACT_DONE ? PyLong_FromUnsignedLong(act.place) : NULL;
}

static int reset_once(il_space *space, il_ref ref, il_wait *wait, void *Py_UNUSED(argument))
{
    return il_barrier_reset(space, ref, wait);
}

static int abort_once(il_space *space, il_ref ref, il_wait *wait, void *Py_UNUSED(argument))
{
    return il_barrier_abort(space, ref, wait);
}

static PyObject *at_once(PyObject *object, operation call)
{
    il_wait wait = wait_until(IL_FOREVER);
    il_ref ref;
    return perform((Handle *)object, call, NULL, &wait, &ref) == IL_OK ? Py_NewRef(Py_None) : NULL;
}

static PyObject *barrier_reset(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return at_once(object, reset_once);
}

static PyObject *barrier_abort(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return at_once(object, abort_once);
}

typedef struct {
    uint32_t waiting;
    bool broken;
} looks;

static int look_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    looks *seen = argument;
    return il_barrier_look(space, ref, wait, &seen->waiting, &seen->broken);
}

static int look(PyObject *object, looks *seen)
{
    il_wait wait = wait_until(IL_FOREVER);
    il_ref ref;
    return perform((Handle *)object, look_once, seen, &wait, &ref) == IL_OK ? 0 : -1;
}

static PyObject *barrier_n_waiting(PyObject *object, void *Py_UNUSED(closure))
{
    looks seen;
    return look(object, &seen) == 0 ? PyLong_FromUnsignedLong(seen.waiting) : NULL;
}

static PyObject *barrier_broken(PyObject *object, void *Py_UNUSED(closure))
{
    looks seen;
    return look(object, &seen) == 0 ? PyBool_FromLong(seen.broken) : NULL;
}

static PyObject *barrier_parties(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((Handle *)object)->parameter);
}

static PyObject *barrier_action(PyObject *object, void *Py_UNUSED(closure))
{
    PyObject *action = ((Barrier *)object)->action;
    return Py_NewRef(action != NULL ? action : Py_None);
}

static PyObject *barrier_timeout(PyObject *object, void *Py_UNUSED(closure))
{
    return Py_NewRef(((Barrier *)object)->timeout);
}

static PyMethodDef barrier_methods[] = {
    {"wait", (PyCFunction)(void (*)(void))barrier_wait, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("wait($self, /, timeout=None)\n--\n\n"
               "Wait until all parties are here, at most `timeout` seconds (None: as the barrier was made with).\n\n"
               "Returns a number from 0 to parties - 1, another for each. Once all are here, the last one runs the action.\n"
               "Raises threading.BrokenBarrierError when the barrier is broken or breaks: a party's timeout, its death or\n"
               "that of the one who acts, an action that raised, abort(), reset(). SpaceError when the space is unusable.")},
    {"_ask_wait", barrier_ask_wait, METH_O, NULL},
    {"reset", barrier_reset, METH_NOARGS,
     PyDoc_STR("reset($self, /)\n--\n\nMake it good again, empty. Whoever waits gets BrokenBarrierError.")},
    {"abort", barrier_abort, METH_NOARGS,
     PyDoc_STR("abort($self, /)\n--\n\nBreak it, for all who wait and who come, until reset().")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef barrier_getset[] = {
    {"parties", barrier_parties, NULL, PyDoc_STR("How many have to come."), NULL},
    {"n_waiting", barrier_n_waiting, NULL, PyDoc_STR("How many wait. A snapshot."), NULL},
    {"broken", barrier_broken, NULL, PyDoc_STR("Whether it is broken. A snapshot."), NULL},
    {"_action", barrier_action, NULL, NULL, NULL},
    {"_timeout", barrier_timeout, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot barrier_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of interlock.Barrier.")},
    {Py_tp_new, barrier_new},
    {Py_tp_dealloc, barrier_dealloc},
    {Py_tp_traverse, barrier_traverse},
    {Py_tp_clear, barrier_clear},
    {Py_tp_methods, barrier_methods},
    {Py_tp_getset, barrier_getset},
    {0, NULL},
};

PyType_Spec barrier_spec = {
    .name = "interlock._engine.Barrier",
    .basicsize = sizeof(Barrier),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = barrier_slots,
};
