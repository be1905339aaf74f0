/* Condition: threading.Condition's methods on a named queue of waiters, over a lock of its own or one given.
 *
 * Its own lock is the re-entrant lock in its own cell, so the condition's handle is the lock's as well. */
#include "binding.h"
#include "il_hash.h"

typedef struct {
    Handle handle;
    Handle *lock; /* borrowed from itself when it is its own */
    /* Guard of these: the lock. How often it was taken through this object, and who was notified since, to be woken when it is
     * released through it as well. If it never is, they wake at the ends of their slices. */
    uint32_t entered, asleep;
} Condition;

static int condition_lock_take(Handle *handle, Act *act);
static int condition_lock_at_once(Handle *handle, uint64_t *agent);
static bool condition_lock_abandon(Handle *handle, Act *act);
static PyObject *condition_release(PyObject *object, PyObject *unused);
static PyObject *notify(Condition *self, uint32_t count);

/* Condition(name, lock, space) */
static PyObject *condition_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *name, *given, *space;
    ModuleState *state = state_of(type);
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) || !PyArg_ParseTuple(args, "OOO", &name, &given, &space)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "positional arguments only");
        return NULL;
    }
    if (state == NULL)
        return NULL;
    Handle *lock = given != Py_None ? (Handle *)given : NULL;
    uint64_t parameter = 0;
    if (lock != NULL) {
        if (!PyObject_TypeCheck(given, state->handle_type) || (lock->kind != IL_KIND_LOCK && lock->kind != IL_KIND_RLOCK)) {
            PyErr_Format(PyExc_TypeError,
                         "a Condition's lock must be an interlock Lock or RLock, not %.100s: "
                         "another would not exclude other processes",
                         Py_TYPE(given)->tp_name);
            return NULL;
        }
        /* All who use the condition must use it with the same lock. */
        Py_ssize_t length;
        const char *text = PyUnicode_AsUTF8AndSize(lock->name, &length);
        if (text == NULL)
            return NULL;
        parameter = il__hash(lock->space->segment->header->hash_key, text, (size_t)length) | 1u;
        if (space == Py_None)
            space = (PyObject *)lock->space;
    }
    Condition *self = (Condition *)handle_make(type, name, space, IL_KIND_CONDITION, parameter);
    if (self == NULL)
        return NULL;
    if (lock != NULL && lock->space->segment != self->handle.space->segment) {
        PyErr_SetString(PyExc_ValueError, "a Condition and its lock must live in the same space");
        Py_DECREF(self);
        return NULL;
    }
    self->lock = lock != NULL ? (Handle *)Py_NewRef(given) : &self->handle;
    self->handle.take = condition_lock_take;
    self->handle.at_once = condition_lock_at_once;
    self->handle.give = condition_release;
    self->handle.abandon = condition_lock_abandon;
    return (PyObject *)self;
}

static bool is_own(const Condition *self)
{
    return self->lock == &self->handle;
}

static int condition_traverse(PyObject *object, visitproc visit, void *arg)
{
    Condition *self = (Condition *)object;
    if (self->lock != NULL && !is_own(self))
        Py_VISIT(self->lock);
    return handle_traverse(object, visit, arg);
}

static void condition_dealloc(PyObject *object)
{
    Condition *self = (Condition *)object;
    PyObject_GC_UnTrack(object); /* first: what goes may run code, and the collector */
    if (self->lock != NULL && !is_own(self))
        Py_CLEAR(self->lock);
    handle_dealloc(object);
}

static bool is_reentrant(const Condition *self)
{
    return self->lock->kind != IL_KIND_LOCK;
}

/* How often this thread, or task, has the lock, for a Lock whether this process has; -1 with an exception. `token` is the one that has
 * a re-entrant lock then. */
static int64_t depth_of(Condition *self, uint64_t *token)
{
    Handle *lock = self->lock;
    il_ref ref;
    *token = is_reentrant(self) ? rlock_token(lock) : 0;
    if (is_reentrant(self))
        return rlock_depth(lock, *token, &ref);
    int failed;
    ref = present_ref(lock, &failed);
    uint64_t word = ref != 0 ? il_load_relaxed(&mutex_of(lock, ref)->word) : 0;
    uint32_t slot = il_self(lock->space->segment);
    return failed ? -1 : slot != 0 && (word & (IL_GENERATION | IL_OWNER)) == (il_ref_key(ref) | slot);
}

/* The depth, if the lock is held; -1 with an exception. */
static int64_t check_held(Condition *self, uint64_t *token, const char *complaint)
{
    int64_t depth = depth_of(self, token);
    if (depth == 0)
        PyErr_SetString(PyExc_RuntimeError, complaint);
    return depth > 0 ? depth : -1;
}

static PyObject *release(Condition *self)
{
    return is_reentrant(self) ? rlock_release((PyObject *)self->lock, NULL) : lock_release((PyObject *)self->lock, NULL);
}

/* Lets go of the lock, however deep. 0, or -1 with an exception. */
static int let_go(Condition *self, uint64_t token)
{
    il_ref ref;
    if (is_reentrant(self) && rlock_depth(self->lock, token, &ref) > 0)
        il_store_relaxed(&mutex_of(self->lock, ref)->depth, 1);
    PyObject *done = release(self);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* --- acquire and release, which are the lock's --- */

static PyObject *condition_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Condition *self = (Condition *)object;
    uint64_t deadline = IL_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && parse_acquire((Handle *)object, args, nargs, kwnames, &deadline) < 0)
        return NULL;
    int taken = is_reentrant(self) ? rlock_take_until(self->lock, deadline) : lock_take_until(self->lock, deadline);
    if (taken > 0)
        self->entered++;
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static int condition_lock_take(Handle *handle, Act *act)
{
    Condition *self = (Condition *)handle;
    int taken = is_reentrant(self) ? rlock_take(self->lock, act) : lock_take(self->lock, act);
    if (taken == ACT_DONE)
        self->entered++;
    return taken;
}

static int condition_lock_at_once(Handle *handle, uint64_t *agent)
{
    Condition *self = (Condition *)handle;
    int taken = is_reentrant(self) ? rlock_at_once(self->lock, agent) : lock_at_once(self->lock, agent);
    if (taken == ACT_DONE)
        self->entered++;
    return taken;
}

static bool condition_lock_abandon(Handle *handle, Act *act)
{
    return lock_abandon(((Condition *)handle)->lock, act);
}

static PyObject *condition_enter(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return condition_acquire(object, NULL, 0, NULL);
}

static PyObject *condition_release(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Condition *self = (Condition *)object;
    uint32_t asleep = 0;
    uint64_t token;
    int64_t depth = depth_of(self, &token);
    if (depth < 0)
        return NULL;
    if (depth > 0 && self->entered > 0)
        self->entered--;
    if (depth == 1) {
        asleep = self->asleep;
        self->asleep = 0;
    }
    PyObject *done = release(self);
    if (asleep != 0)
        il_condition_wake(self->handle.space->segment, il_load_relaxed(&self->handle.ref), asleep);
    return done;
}

static PyObject *condition_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return condition_release(object, NULL);
}

static PyObject *condition_is_owned(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    uint64_t token;
    int64_t depth = depth_of((Condition *)object, &token);
    return depth < 0 ? NULL : PyBool_FromLong(depth != 0);
}

/* --- waiting --- */

static int enter_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    return il_condition_enter(space, ref, wait, argument);
}

/* Takes the lock back, as deep as it was. Who notified us has mostly let go of it: then it is not worth letting go of the GIL. */
static bool take_back_fast(Condition *self, const Act *act)
{
    il_ref ref = il_load_relaxed(&self->lock->ref);
    bool taken = take_fast(self->lock, ref, token_of(act));
    if (taken && is_reentrant(self))
        il_store_relaxed(&mutex_of(self->lock, ref)->depth, (uint32_t)act->depth);
    return taken;
}

/* The same, whatever signals come: wait() returns with it, as the statement around it expects. ACT_FAILED, with an exception, when the
 * space is lost, or when on_recover raised. */
static int take_back(Condition *self, Act *act)
{
    il_ref taken;
    if (take_back_fast(self, act))
        return ACT_DONE;
    int result = take_deaf(self->lock, is_reentrant(self) ? il_rlock_lock : il_mutex_lock, act, &taken);
    if (result == ACT_DONE && is_reentrant(self))
        il_store_relaxed(&mutex_of(self->lock, taken)->depth, (uint32_t)act->depth);
    return result;
}

static int wait_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    return il_condition_wait(space, ref, *(const il_ticket *)argument, wait);
}

/* Waits in the queue. The engine's code, or PERFORM_FAILED when a signal handler raised. */
static int wait_in_queue(Condition *self, Act *act)
{
    int code;
    shown(&self->handle, act, false)->manner = IL_MANNER_NOTICE;
    do {
        code = call_asleep(&self->handle, wait_once, act->ref, &act->wait, &act->ticket);
        if (code == IL_INTERRUPTED && look_after(&self->handle, &act->wait, false) < 0)
            return PERFORM_FAILED;
    } while (code == IL_INTERRUPTED);
    return code;
}

static int leave_queue(Condition *self, il_ref ref, il_ticket ticket, bool pass_on)
{
    il_space *space = self->handle.space->segment;
    int notified = il_condition_leave(space, ref, ticket, &(il_wait){.deadline_ns = IL_NOW}, pass_on);
    if (notified == IL_BUSY) {
        Py_BEGIN_ALLOW_THREADS;
        notified = il_condition_leave(space, ref, ticket, NULL, pass_on);
        Py_END_ALLOW_THREADS;
    }
    return notified;
}

/* As take_back, where an exception may be set already: it becomes the context of the one that says why that failed. */
static int take_back_whatever(Condition *self, Act *act)
{
    if (!act->failed && take_back_fast(self, act))
        return ACT_DONE;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    int result;
    while ((result = take_back(self, act)) == ACT_FAILED && !PyErr_ExceptionMatches(PyExc_Exception)) {
        /* A greenlet is being killed: it goes with the lock. */
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        PyErr_Fetch(&type, &value, &traceback);
        act->failed = true;
    }
    if (result == ACT_FAILED)
        chain_error(type, value, traceback);
    else
        PyErr_Restore(type, value, traceback);
    return result;
}

enum { WAITS = 0, TAKES_BACK = 1 };

/* From now on it is about the lock. */
static void turn_back(Condition *self, Act *act)
{
    il_wait_end(self->handle.space->segment, &act->wait);
    act->stage = TAKES_BACK;
    act->began_ns = slept_since(act);
    act->wait = (il_wait){.deadline_ns = IL_FOREVER, .listens = act->wait.listens};
}

/* Enters the queue and lets go of the lock. 0, or -1 with an exception. */
static int begin(Condition *self, Act *act)
{
    uint64_t token;
    act->depth = check_held(self, &token, "cannot wait on un-acquired lock");
    if (act->depth > 0 && !is_reentrant(self) && (token = agent_token(&self->handle)) == 0)
        return -1;
    act->token = token != this_token() ? token : 0;
    if (act->depth < 0 || perform_quickly(&self->handle, enter_once, &act->ticket, &act->ref) != IL_OK)
        return -1;
    uint32_t asleep = self->asleep;
    act->entered = self->entered;
    self->entered = self->asleep = 0;
    if (let_go(self, token) < 0) {
        leave_queue(self, act->ref, act->ticket, true);
        return -1;
    }
    if (asleep != 0)
        il_condition_wake(self->handle.space->segment, act->ref, asleep);
    return 0;
}

static int condition_take(Handle *handle, Act *act)
{
    Condition *self = (Condition *)handle;
    ModuleState *state = handle->state;
    if (act->stage == WAITS) {
        act->code = wait_in_queue(self, act);
        if (act->code == IL_PENDING)
            return ACT_PENDING;
        if (act->code == IL_NOT_OWNER) { /* in a child that a signal handler forked meanwhile */
            raise_code(state, act->code, self->handle.space, handle, NULL, 0);
            return ACT_FAILED;
        }
        act->failed = act->code == PERFORM_FAILED;
        turn_back(self, act);
    }
    /* It stays in the queue until it has the lock: if it is killed before, its notification goes to another. */
    int taken = take_back_whatever(self, act);
    if (taken == ACT_PENDING)
        return ACT_PENDING;
    bool lost = taken == ACT_FAILED, failed = lost || act->failed;
    if (!lost)
        self->entered = act->entered;
    int notified = leave_queue(self, act->ref, act->ticket, failed);
    if (failed)
        return lost || !act->wait.listens ? ACT_FAILED : ACT_NOT_IN_TIME;
    if (notified < 0 || (act->code != IL_OK && act->code != IL_TIMEDOUT)) {
        raise_code(state, notified < 0 ? notified : act->code, self->handle.space, handle, NULL, 0);
        return ACT_FAILED;
    }
    return notified ? ACT_DONE : ACT_NOT_IN_TIME;
}

/* A task gives the wait up: not before it has the lock again. */
static bool condition_abandon(Handle *handle, Act *act)
{
    if (act->failed) { /* the task itself goes: without the lock, then */
        leave_queue((Condition *)handle, act->ref, act->ticket, true);
        return false;
    }
    if (act->stage == WAITS)
        turn_back((Condition *)handle, act);
    act->failed = true;
    return true;
}

static int parse_wait(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, uint64_t *deadline)
{
    Py_ssize_t named = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + named > 1 ||
        (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "timeout") != 0)) {
        PyErr_SetString(PyExc_TypeError, "wait() takes one argument at most, timeout");
        return -1;
    }
    return lenient_deadline(nargs + named > 0 ? args[0] : NULL, deadline);
}

/* What a task was notified of and has no use for goes to another; it has the lock. */
static PyObject *condition_pass_on(PyObject *object, PyObject *Py_UNUSED(unused))
{
    return notify((Condition *)object, 1);
}

/* _ask_wait(timeout) -> True, False or a Waiter: waits in a task. */
static PyObject *condition_ask_wait(PyObject *object, PyObject *timeout)
{
    Condition *self = (Condition *)object;
    Act act = {.take = condition_take, .abandon = condition_abandon, .undo = condition_pass_on};
    if (lenient_deadline(timeout, &act.wait.deadline_ns) < 0 || tasks_begin(&self->handle) < 0 || begin(self, &act) < 0)
        return NULL;
    return begun(&self->handle, &act);
}

static PyObject *condition_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Condition *self = (Condition *)object;
    uint64_t deadline;
    if (parse_wait(args, nargs, kwnames, &deadline) < 0)
        return NULL;
    Act act = act_until(deadline);
    if (begin(self, &act) < 0)
        return NULL;
    act.take = condition_take; /* for tell_wait: not the lock's */
    int notified = go_through(&self->handle, &act, condition_take);
    return notified < 0 ? NULL : PyBool_FromLong(notified);
}

typedef struct {
    uint32_t count, *asleep;
} notifying;

static int notify_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    const notifying *how = argument;
    return il_condition_notify(space, ref, wait, how->count, how->asleep);
}

static PyObject *notify(Condition *self, uint32_t count)
{
    uint32_t asleep = 0;
    notifying how = {count, &asleep};
    il_ref ref;
    uint64_t token;
    if (check_held(self, &token, "cannot notify on un-acquired lock") < 0)
        return NULL;
    if (self->entered == 0)
        how.asleep = NULL; /* taken by the lock's own handle, and released by it perhaps: wake them now */
    if (perform_quickly(&self->handle, notify_once, &how, &ref) != IL_OK)
        return NULL;
    if (asleep != 0)
        self->asleep = self->asleep == 0 ? asleep : IL_SEVERAL;
    Py_RETURN_NONE;
}

static PyObject *condition_notify(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t named = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    long count = 1;
    if (nargs + named > 1 ||
        (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "n") != 0)) {
        PyErr_SetString(PyExc_TypeError, "notify() takes one argument at most, n");
        return NULL;
    }
    if (nargs + named > 0) {
        int overflow;
        count = PyLong_AsLongAndOverflow(args[0], &overflow);
        if (count == -1 && PyErr_Occurred())
            return NULL;
        if (overflow != 0)
            count = overflow > 0 ? UINT32_MAX : 0;
    }
    return notify((Condition *)object, count <= 0 ? 0 : count > UINT32_MAX ? UINT32_MAX : (uint32_t)count);
}

static PyObject *condition_notify_all(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return notify((Condition *)object, UINT32_MAX);
}

static int waiters_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    return il_condition_waiters(space, ref, wait, argument);
}

static PyObject *condition_waiters(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Handle *self = (Handle *)object;
    uint32_t count = 0;
    il_wait wait = wait_until(IL_FOREVER);
    il_ref ref;
    return perform(self, waiters_once, &count, &wait, &ref) == IL_OK ? PyLong_FromUnsignedLong(count) : NULL;
}

static PyObject *condition_lock(PyObject *object, void *Py_UNUSED(closure))
{
    Condition *self = (Condition *)object;
    return is_own(self) ? Py_NewRef(Py_None) : Py_NewRef(self->lock);
}

static PyMethodDef condition_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))condition_acquire, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("acquire($self, /, blocking=True, timeout=-1)\n--\n\nTake the condition's lock, as the lock's acquire.")},
    {"release", condition_release, METH_NOARGS,
     PyDoc_STR("release($self, /)\n--\n\nGive the condition's lock back, as the lock's release.")},
    {"__enter__", condition_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))condition_exit, METH_FASTCALL, NULL},
    {"wait", (PyCFunction)(void (*)(void))condition_wait, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("wait($self, /, timeout=None)\n--\n\n"
               "Let go of the lock, wait until notified, at most `timeout` seconds (None: for ever), and take it back.\n\n"
               "Returns whether it was notified. Waiters are notified in the order of arrival.\n"
               "Raises RuntimeError without the lock, OverflowError for a timeout above threading.TIMEOUT_MAX,\n"
               "SpaceError when the space is unusable.")},
    {"notify", (PyCFunction)(void (*)(void))condition_notify, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("notify($self, /, n=1)\n--\n\n"
               "Notify the first n who wait; a waiter that was killed is not counted.\n\n"
               "Raises RuntimeError without the lock.")},
    {"notify_all", condition_notify_all, METH_NOARGS,
     PyDoc_STR("notify_all($self, /)\n--\n\nNotify all who wait.\n\nRaises RuntimeError without the lock.")},
    {"__aenter__", handle_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))handle_aexit, METH_FASTCALL, NULL},
    {"_ask_wait", condition_ask_wait, METH_O, NULL},
    {"_is_owned", condition_is_owned, METH_NOARGS, NULL},
    {"_waiters", condition_waiters, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef condition_getset[] = {
    {"_lock", condition_lock, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot condition_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of interlock.Condition.")},
    {Py_tp_new, condition_new},
    {Py_tp_dealloc, condition_dealloc},
    {Py_tp_traverse, condition_traverse},
    {Py_tp_methods, condition_methods},
    {Py_tp_getset, condition_getset},
    {0, NULL},
};

PyType_Spec condition_spec = {
    .name = "interlock._engine.Condition",
    .basicsize = sizeof(Condition),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = condition_slots,
};
