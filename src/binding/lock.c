/* Lock: threading.Lock's methods on a named mutex. Any thread of the owning process may release it. */
#include "binding.h"

int lock_at_once(Handle *self, uint64_t *agent)
{
    *agent = 0;
    return take_fast(self, il_load_relaxed(&self->ref), this_token()) ? ACT_DONE : ACT_PENDING;
}

static PyObject *lock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *self = handle_new(type, args, kwargs, IL_KIND_LOCK, lock_take, lock_release);
    if (self != NULL)
        ((Handle *)self)->at_once = lock_at_once;
    return self;
}

int lock_take(Handle *self, Act *act)
{
    il_ref ref;
    return take(self, il_mutex_lock, act, &ref);
}

int lock_take_until(Handle *self, uint64_t deadline)
{
    if (take_fast(self, il_load_relaxed(&self->ref), this_token()))
        return ACT_DONE;
    Act act = act_until(deadline);
    if (deadline == IL_FOREVER && tell_own_lock(self, &act.wait) < 0)
        return ACT_FAILED;
    return go_through(self, &act, lock_take);
}

static PyObject *lock_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Handle *self = (Handle *)object;
    uint64_t deadline = IL_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && parse_acquire((Handle *)object, args, nargs, kwnames, &deadline) < 0)
        return NULL;
    int taken = lock_take_until(self, deadline);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *lock_enter(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    if (lock_take_until((Handle *)object, IL_FOREVER) < 0)
        return NULL;
    Py_RETURN_TRUE;
}

PyObject *lock_release(PyObject *object, PyObject *Py_UNUSED(unused))
{
    Handle *self = (Handle *)object;
    il_ref ref = il_load_relaxed(&self->ref);
    il_mutex *mutex = mutex_of(self, ref);
    if (il_mutex_unlock_fast(mutex, il_ref_key(ref), il_load_relaxed(self->space->self)))
        Py_RETURN_NONE;
    int failed, code = IL_STALE;
    while (code == IL_STALE) {
        ref = present_ref(self, &failed);
        if (failed)
            return NULL;
        code = ref == 0 ? IL_NOT_HELD
                        : il_mutex_unlock(self->space->segment, mutex_of(self, ref), il_ref_key(ref),
                                          self->foreign_release ? IL_UNLOCK_FOREIGN : 0);
    }
    return released(self, code);
}

static PyObject *lock_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return lock_release(object, NULL);
}

static PyMethodDef lock_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))lock_acquire, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
               "Take the lock; wait for it at most `timeout` seconds (-1 or None: for ever).\n\n"
               "Returns whether it was taken.\n"
               "Raises ValueError for a negative or NaN timeout or one given with blocking=False,\n"
               "OverflowError for one above threading.TIMEOUT_MAX, SpaceError when the space is unusable.")},
    {"release", lock_release, METH_NOARGS,
     PyDoc_STR("release($self, /)\n--\n\n"
               "Give the lock back, from any thread of the process that took it.\n\n"
               "Raises NotHeld when nobody has it, NotOwner when another process has.")},
    {"__enter__", lock_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))lock_exit, METH_FASTCALL, NULL},
    {"__aenter__", handle_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))handle_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot lock_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of interlock.Lock.")},
    {Py_tp_new, lock_new},
    {Py_tp_methods, lock_methods},
    {0, NULL},
};

PyType_Spec lock_spec = {
    .name = "interlock._engine.Lock",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lock_slots,
};
