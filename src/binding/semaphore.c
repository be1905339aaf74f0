/* Semaphore: threading.Semaphore's methods on a named count. */
#include "binding.h"

enum { MOST_PERMITS = 0x7FFFFFFF };

long permits_from(PyObject *given, long least, const char *complaint)
{
    int overflow;
    long number = PyLong_AsLongAndOverflow(given, &overflow);
    if (number == -1 && PyErr_Occurred())
        return -1;
    if (overflow < 0 || (overflow == 0 && number < least))
        PyErr_SetString(PyExc_ValueError, complaint);
    else if (overflow > 0 || number > MOST_PERMITS)
        PyErr_SetString(PyExc_OverflowError, "a semaphore has at most 2147483647 permits");
    else
        return number;
    return -1;
}

long parse_release(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t named = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs + named == 0)
        return 1;
    if (nargs + named == 1 &&
        (named == 0 || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "n") == 0))
        return permits_from(args[0], 1, "n must be one or more");
    PyErr_SetString(PyExc_TypeError, "release() takes one argument at most, n");
    return -1;
}

static il_cell *cell_of(Handle *self, il_ref ref)
{
    return &self->space->cells[(uint32_t)ref];
}

static int acquire_once(il_space *space, il_ref ref, il_wait *wait, void *Py_UNUSED(argument))
{
    return il_semaphore_acquire(space, il_ref_cell(space, ref), il_ref_key(ref), wait);
}

static int semaphore_take(Handle *self, Act *act)
{
    il_ref ref;
    return act_result(perform(self, acquire_once, NULL, shown(self, act, false), &ref));
}

static int take_until(Handle *self, uint64_t deadline)
{
    il_ref ref = il_load_relaxed(&self->ref);
    if (self->space->self == self->space->segment->self && il_semaphore_try_fast(cell_of(self, ref), il_ref_key(ref)))
        return ACT_DONE;
    Act act = act_until(deadline);
    return go_through(self, &act, semaphore_take);
}

typedef struct {
    uint32_t bound, count;
} giving;

static int release_once(il_space *space, il_ref ref, il_wait *Py_UNUSED(wait), void *argument)
{
    const giving *how = argument;
    return il_semaphore_release(space, il_ref_cell(space, ref), il_ref_key(ref), how->bound, how->count);
}

static PyObject *release(Handle *self, uint32_t count)
{
    giving how = {il_semaphore_bound(self->parameter), count};
    il_ref ref = il_load_relaxed(&self->ref);
    if (count == 1 && self->space->self == self->space->segment->self &&
        il_semaphore_release_fast(cell_of(self, ref), il_ref_key(ref), how.bound))
        Py_RETURN_NONE;
    int code = perform_quickly(self, release_once, &how, &ref);
    if (code == IL_OK)
        Py_RETURN_NONE;
    if (code == IL_OVERFLOW)
        PyErr_SetString(PyExc_ValueError, "semaphore released too many times");
    return NULL;
}

static PyObject *semaphore_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    uint64_t deadline = IL_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && parse_acquire((Handle *)object, args, nargs, kwnames, &deadline) < 0)
        return NULL;
    int taken = take_until((Handle *)object, deadline);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *semaphore_enter(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    if (take_until((Handle *)object, IL_FOREVER) < 0)
        return NULL;
    Py_RETURN_TRUE;
}

static PyObject *semaphore_release(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    long count = parse_release(args, nargs, kwnames);
    return count < 0 ? NULL : release((Handle *)object, (uint32_t)count);
}

static PyObject *semaphore_give(PyObject *object, PyObject *Py_UNUSED(unused))
{
    return release((Handle *)object, 1);
}

static PyObject *semaphore_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return release((Handle *)object, 1);
}

static PyObject *semaphore_value(PyObject *object, void *Py_UNUSED(closure))
{
    Handle *self = (Handle *)object;
    int failed, code = IL_STALE;
    uint32_t value = (uint32_t)self->parameter; /* of one that was unlinked: its name begins anew */
    if (check_open(self) < 0)
        return NULL;
    while (code == IL_STALE) {
        il_ref ref = present_ref(self, &failed);
        if (failed)
            return NULL;
        code = ref != 0 ? il_semaphore_value(cell_of(self, ref), il_ref_key(ref), &value) : IL_OK;
    }
    return PyLong_FromUnsignedLong(value);
}

static PyObject *semaphore_initial(PyObject *object, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLong((uint32_t)((Handle *)object)->parameter);
}

/* Semaphore(name, value, bound, space) */
static PyObject *semaphore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *name, *value, *bound, *space;
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) || !PyArg_ParseTuple(args, "OOOO", &name, &value, &bound, &space)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "positional arguments only");
        return NULL;
    }
    long initial = permits_from(value, 0, "semaphore initial value must be >= 0");
    long most = initial < 0 || bound == Py_None ? MOST_PERMITS : permits_from(bound, 0, "a bound must be >= 0");
    if (initial < 0 || most < 0)
        return NULL;
    Handle *self =
        handle_make(type, name, space, IL_KIND_SEMAPHORE, il_semaphore_parameter((uint32_t)initial, (uint32_t)most));
    if (self != NULL) {
        self->take = semaphore_take;
        self->give = semaphore_give;
    }
    return (PyObject *)self;
}

static PyMethodDef semaphore_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))semaphore_acquire, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("acquire($self, /, blocking=True, timeout=None)\n--\n\n"
               "Take a permit; wait for it at most `timeout` seconds (None: for ever; 0 or less: do not wait).\n\n"
               "Returns whether it was taken.\n"
               "Raises ValueError for a NaN timeout or one given with blocking=False,\n"
               "OverflowError for one above threading.TIMEOUT_MAX, SpaceError when the space is unusable.")},
    {"release", (PyCFunction)(void (*)(void))semaphore_release, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("release($self, /, n=1)\n--\n\n"
               "Give n permits, whoever took any, and let as many waiters go on.\n\n"
               "Raises ValueError for n < 1 and when there would be more permits than the bound; then none is given.")},
    {"__enter__", semaphore_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))semaphore_exit, METH_FASTCALL, NULL},
    {"__aenter__", handle_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))handle_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef semaphore_getset[] = {
    {"_initial", semaphore_initial, NULL, NULL, NULL},
    {"value", semaphore_value, NULL, PyDoc_STR("How many permits there are to be had. A snapshot."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot semaphore_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of interlock.Semaphore.")},
    {Py_tp_new, semaphore_new},
    {Py_tp_methods, semaphore_methods},
    {Py_tp_getset, semaphore_getset},
    {0, NULL},
};

PyType_Spec semaphore_spec = {
    .name = "interlock._engine.Semaphore",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = semaphore_slots,
};
