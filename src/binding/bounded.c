/* BoundedSemaphore: threading's methods on permits that belong to the process which took them. */
#include "binding.h"

enum { MOST_PERMITS = 0x7FFFFFFF };

typedef struct {
    Handle *self;
    uint64_t token;
    uint32_t count;
    bool lacking;  /* out: this process has not so many … */
    uint32_t has;  /* … but these */
} call;

static int acquire_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    const call *how = argument;
    il_share share;
    int code = share_of(how->self, ref, wait, &share);
    return code == IL_OK ? il_bounded_acquire(space, ref, share, how->token, wait) : code;
}

static int bounded_take(Handle *self, Act *act)
{
    call how = {.self = self, .token = token_of(act)};
    il_ref ref;
    return act_result(perform(self, acquire_once, &how, shown(self, act, false), &ref));
}

static int take_until(Handle *self, uint64_t deadline)
{
    il_ref ref = il_load_relaxed(&self->ref);
    il_share share = kept_share(self);
    if (share != 0 && (il_bounded_acquire_fast(self->space->segment, share) || il_bounded_try(self->space->segment, ref, share)))
        return ACT_DONE;
    Act act = act_until(deadline);
    return go_through(self, &act, bounded_take);
}

static int release_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    call *how = argument;
    il_share share;
    int code = share_of(how->self, ref, wait, &share);
    if (code == IL_OK)
        code = il_bounded_release(space, ref, share, how->token, how->count, wait);
    how->lacking = code == IL_NOT_HELD;
    if (how->lacking)
        how->has = (uint32_t)(il_load_relaxed(il_share_count(space, share)) & IL_PERMITS);
    return how->lacking ? IL_OK : code;
}

static PyObject *release(Handle *self, uint32_t count)
{
    il_ref ref = il_load_relaxed(&self->ref);
    il_share share = kept_share(self);
    if (count == 1 && share != 0) {
        int given = il_bounded_release_fast(self->space->segment, ref, share);
        if (given == IL_GIVEN)
            Py_RETURN_NONE;
        if (given == IL_GIVEN_MEANWHILE) {
            /* It is given back, whatever comes of waking those who wait: without that they wake at the ends of their slices. */
            il_wait wait = {.deadline_ns = IL_NOW};
            if (il_bounded_release(self->space->segment, ref, share, this_token(), 0, &wait) != IL_BUSY)
                Py_RETURN_NONE;
            count = 0;
        }
    }
    call how = {.self = self, .token = this_token(), .count = count};
    if (perform_quickly(self, release_once, &how, &ref) != IL_OK)
        return NULL;
    il_error lack = {.code = IL_NOT_HELD, .found = how.has, .wanted = count};
    return how.lacking ? raise_code(state_of(Py_TYPE(self)), IL_NOT_HELD, self->space, self, &lack, 0) : Py_NewRef(Py_None);
}

static PyObject *bounded_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    uint64_t deadline = IL_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && parse_acquire((Handle *)object, args, nargs, kwnames, &deadline) < 0)
        return NULL;
    int taken = take_until((Handle *)object, deadline);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *bounded_enter(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    if (take_until((Handle *)object, IL_FOREVER) < 0)
        return NULL;
    Py_RETURN_TRUE;
}

static PyObject *bounded_release(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    long count = parse_release(args, nargs, kwnames);
    return count < 0 ? NULL : release((Handle *)object, (uint32_t)count);
}

static PyObject *bounded_give(PyObject *object, PyObject *Py_UNUSED(unused))
{
    return release((Handle *)object, 1);
}

static PyObject *bounded_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return release((Handle *)object, 1);
}

static PyObject *bounded_value(PyObject *object, void *Py_UNUSED(closure))
{
    Handle *self = (Handle *)object;
    int failed;
    if (check_open(self) < 0)
        return NULL;
    il_ref ref = present_ref(self, &failed);
    uint32_t free = ref != 0 ? il_bounded_free(self->space->segment, ref) : (uint32_t)self->parameter;
    return failed ? NULL : PyLong_FromUnsignedLong(free);
}

static PyObject *bounded_bound(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(((Handle *)object)->parameter);
}

/* BoundedSemaphore(name, value, space) */
static PyObject *bounded_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *name, *value, *space;
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) || !PyArg_ParseTuple(args, "OOO", &name, &value, &space)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "positional arguments only");
        return NULL;
    }
    long bound = permits_from(value, 0, "semaphore initial value must be >= 0");
    Handle *self = bound < 0 ? NULL : handle_make(type, name, space, IL_KIND_BOUNDED_SEMAPHORE, (uint64_t)bound);
    if (self != NULL) {
        self->take = bounded_take;
        self->give = bounded_give;
    }
    return (PyObject *)self;
}

static PyMethodDef bounded_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))bounded_acquire, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("acquire($self, /, blocking=True, timeout=None)\n--\n\n"
               "Take a permit; wait for it at most `timeout` seconds (None: for ever; 0 or less: do not wait).\n\n"
               "Returns whether it was taken.\n"
               "Raises ValueError for a NaN timeout or one given with blocking=False,\n"
               "OverflowError for one above threading.TIMEOUT_MAX, SpaceError when the space is unusable.")},
    {"release", (PyCFunction)(void (*)(void))bounded_release, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("release($self, /, n=1)\n--\n\n"
               "Give n permits back that this process took.\n\n"
               "Raises ValueError for n < 1, NotHeld (a ValueError) when this process has fewer; then none is given back.")},
    {"__enter__", bounded_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))bounded_exit, METH_FASTCALL, NULL},
    {"__aenter__", handle_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))handle_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef bounded_getset[] = {
    {"value", bounded_value, NULL,
     PyDoc_STR("How many permits nobody has. A snapshot, in which those of a dead process count as taken until somebody needs one."), NULL},
    {"bound", bounded_bound, NULL, PyDoc_STR("How many permits there are."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot bounded_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of interlock.BoundedSemaphore.")},
    {Py_tp_new, bounded_new},
    {Py_tp_methods, bounded_methods},
    {Py_tp_getset, bounded_getset},
    {0, NULL},
};

PyType_Spec bounded_spec = {
    .name = "interlock._engine.BoundedSemaphore",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = bounded_slots,
};
