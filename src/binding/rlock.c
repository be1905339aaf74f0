/* RLock: threading.RLock's methods on a named mutex. The thread that took it may take it again, and alone may release. */
#include "binding.h"

/* Takes it if nobody has it. `token` is whose it is to be, 0 with an exception; `taken` is where, which the handle's reference need not
 * be any more unless it is held. */
static int take_at_once(Handle *self, uint64_t *token, il_ref *taken)
{
    *token = agent_token(self);
    *taken = il_load_relaxed(&self->ref);
    if (*token == 0 || !take_fast(self, *taken, *token))
        return *token == 0 ? ACT_FAILED : ACT_PENDING;
    il_store_relaxed(&mutex_of(self, *taken)->depth, 1);
    return ACT_DONE;
}

int rlock_at_once(Handle *self, uint64_t *agent)
{
    il_ref taken;
    uint64_t token;
    int result = take_at_once(self, &token, &taken);
    *agent = token != this_token() ? token : 0;
    return result;
}

static PyObject *rlock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *self = handle_new(type, args, kwargs, IL_KIND_RLOCK, rlock_take, rlock_release);
    if (self != NULL)
        ((Handle *)self)->at_once = rlock_at_once;
    return self;
}

static int take_at(Handle *self, uint64_t deadline, il_ref *taken)
{
    uint64_t token;
    int result = take_at_once(self, &token, taken);
    if (result != ACT_PENDING)
        return result;
    /* Re-entry never waits, so it is not worth letting go of the GIL. */
    if (il_rlock_mine(self->space->segment, mutex_of(self, *taken), il_ref_key(*taken), token))
        deadline = IL_NOW;
    Act act = act_until(deadline);
    act.token = token != this_token() ? token : 0;
    return act_over(self, &act, take(self, il_rlock_lock, &act, taken));
}

int rlock_take(Handle *self, Act *act)
{
    il_ref taken;
    if (act->token == 0) {
        uint64_t token = agent_token(self);
        if (token == 0)
            return ACT_FAILED;
        act->token = token != this_token() ? token : 0;
    }
    return take(self, il_rlock_lock, act, &taken);
}

int rlock_take_until(Handle *self, uint64_t deadline)
{
    il_ref taken;
    return take_at(self, deadline, &taken);
}

static PyObject *rlock_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Handle *self = (Handle *)object;
    uint64_t deadline = IL_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && parse_acquire((Handle *)object, args, nargs, kwnames, &deadline) < 0)
        return NULL;
    int taken = rlock_take_until(self, deadline);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *rlock_enter(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return rlock_acquire(object, NULL, 0, NULL);
}

uint64_t rlock_token(Handle *self)
{
    il_ref ref = il_load_relaxed(&self->ref);
    bool threads = il_rlock_mine(self->space->segment, mutex_of(self, ref), il_ref_key(ref), this_token());
    return threads ? this_token() : agent_token(self);
}

static PyObject *release_with(Handle *self, unsigned flags)
{
    for (;;) {
        uint64_t token = rlock_token(self);
        if (token == 0)
            return NULL;
        il_ref ref = il_load_relaxed(&self->ref);
        int failed, code = il_rlock_unlock(self->space->segment, mutex_of(self, ref), il_ref_key(ref), token, flags);
        if (code != IL_STALE)
            return released(self, code);
        if (present_ref(self, &failed) == 0)
            return failed ? NULL : released(self, IL_NOT_HELD);
    }
}

PyObject *rlock_release(PyObject *object, PyObject *Py_UNUSED(unused))
{
    return release_with((Handle *)object, 0);
}

PyObject *rlock_release_marked(Handle *self)
{
    return release_with(self, IL_UNLOCK_KEEP_ORPHAN);
}

static PyObject *rlock_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return rlock_release(object, NULL);
}

int64_t rlock_depth(Handle *self, uint64_t token, il_ref *ref)
{
    int failed;
    if (token == 0)
        return -1;
    *ref = present_ref(self, &failed);
    if (*ref == 0)
        return failed;
    il_mutex *mutex = mutex_of(self, *ref);
    return il_rlock_mine(self->space->segment, mutex, il_ref_key(*ref), token) ? il_load_relaxed(&mutex->depth) : 0;
}

/* What threading.Condition asks of a re-entrant lock. */

static PyObject *rlock_is_owned(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    il_ref ref;
    int64_t depth = rlock_depth((Handle *)object, rlock_token((Handle *)object), &ref);
    return depth < 0 ? NULL : PyBool_FromLong(depth != 0);
}

static PyObject *rlock_recursion_count(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    il_ref ref;
    int64_t depth = rlock_depth((Handle *)object, rlock_token((Handle *)object), &ref);
    return depth < 0 ? NULL : PyLong_FromLongLong(depth);
}

static PyObject *rlock_release_save(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Handle *self = (Handle *)object;
    il_ref ref;
    int64_t depth = rlock_depth(self, rlock_token(self), &ref);
    if (depth < 0)
        return NULL;
    if (depth != 0)
        il_store_relaxed(&mutex_of(self, ref)->depth, 1);
    PyObject *done = rlock_release(object, NULL);
    if (done == NULL)
        return NULL;
    Py_DECREF(done);
    return PyLong_FromLongLong(depth);
}

static PyObject *rlock_acquire_restore(PyObject *object, PyObject *saved)
{
    Handle *self = (Handle *)object;
    unsigned long depth = PyLong_AsUnsignedLong(saved);
    if (depth == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    if (depth == 0 || depth > UINT32_MAX) {
        PyErr_SetString(PyExc_ValueError, "not a state that _release_save() returned");
        return NULL;
    }
    il_ref taken;
    if (take_at(self, IL_FOREVER, &taken) < 0)
        return NULL;
    il_store_relaxed(&mutex_of(self, taken)->depth, (uint32_t)depth);
    Py_RETURN_NONE;
}

static PyMethodDef rlock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))rlock_acquire, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
               "Take the lock, once more if this thread has it already; wait for it at most `timeout`\n"
               "seconds (-1 or None: for ever).\n\n"
               "Returns whether it was taken.\n"
               "Raises ValueError for a negative or NaN timeout or one given with blocking=False,\n"
               "OverflowError for one above threading.TIMEOUT_MAX, SpaceError when the space is unusable.")},
    {"release", rlock_release, METH_NOARGS,
     PyDoc_STR("release($self, /)\n--\n\n"
               "Undo one acquire; the last one gives the lock back.\n\n"
               "Raises NotHeld when nobody has it, NotOwner when another thread or process has.")},
    {"__enter__", rlock_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))rlock_exit, METH_FASTCALL, NULL},
    {"__aenter__", handle_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))handle_aexit, METH_FASTCALL, NULL},
    {"_is_owned", rlock_is_owned, METH_NOARGS, NULL},
    {"_recursion_count", rlock_recursion_count, METH_NOARGS, NULL},
    {"_release_save", rlock_release_save, METH_NOARGS, NULL},
    {"_acquire_restore", rlock_acquire_restore, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot rlock_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of interlock.RLock.")},
    {Py_tp_new, rlock_new},
    {Py_tp_methods, rlock_methods},
    {0, NULL},
};

PyType_Spec rlock_spec = {
    .name = "interlock._engine.RLock",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = rlock_slots,
};
