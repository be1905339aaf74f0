/* Event: threading.Event's methods on a named flag. */
#include "binding.h"

static bool is_set_fast(Handle *self)
{
    il_ref ref = il_load_relaxed(&self->ref);
    /* Acquire: pairs with the release of the setter. */
    uint64_t word = il_load_acquire(&self->space->cells[(uint32_t)ref].state.flag);
    return (word & (IL_GENERATION | IL_FLAG_SET)) == (il_ref_key(ref) | IL_FLAG_SET) &&
           self->space->self == self->space->segment->self;
}

static int wait_once(il_space *space, il_ref ref, il_wait *wait, void *Py_UNUSED(argument))
{
    return il_event_wait(space, il_ref_cell(space, ref), il_ref_key(ref), wait);
}

static int set_once(il_space *space, il_ref ref, il_wait *Py_UNUSED(wait), void *Py_UNUSED(argument))
{
    return il_event_set(space, il_ref_cell(space, ref), il_ref_key(ref));
}

static int clear_once(il_space *space, il_ref ref, il_wait *Py_UNUSED(wait), void *Py_UNUSED(argument))
{
    return il_event_clear(space, il_ref_cell(space, ref), il_ref_key(ref));
}

static PyObject *event_is_set(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Handle *self = (Handle *)object;
    int failed = 0;
    if (is_set_fast(self))
        Py_RETURN_TRUE;
    if (check_open(self) < 0)
        return NULL;
    if (present_ref(self, &failed) != 0 && is_set_fast(self))
        Py_RETURN_TRUE;
    return failed ? NULL : Py_NewRef(Py_False);
}

static PyObject *event_set(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    il_ref ref;
    return perform_quickly((Handle *)object, set_once, NULL, &ref) == IL_OK ? Py_NewRef(Py_None) : NULL;
}

static PyObject *event_clear(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    il_ref ref;
    return perform_quickly((Handle *)object, clear_once, NULL, &ref) == IL_OK ? Py_NewRef(Py_None) : NULL;
}

static int event_take(Handle *self, Act *act)
{
    il_ref ref;
    return act_result(perform(self, wait_once, NULL, shown(self, act, false), &ref));
}

static PyObject *event_wait(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Handle *self = (Handle *)object;
    Py_ssize_t named = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    uint64_t deadline;
    if (nargs + named > 1 ||
        (named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "timeout") != 0)) {
        PyErr_SetString(PyExc_TypeError, "wait() takes one argument at most, timeout");
        return NULL;
    }
    if (lenient_deadline(nargs + named > 0 ? args[0] : NULL, &deadline) < 0)
        return NULL;
    if (is_set_fast(self))
        Py_RETURN_TRUE;
    Act act = act_until(deadline);
    int taken = go_through(self, &act, event_take);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

/* Event(name, space) */
static PyObject *event_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *name, *space;
    if ((kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) || !PyArg_ParseTuple(args, "OO", &name, &space)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "positional arguments only");
        return NULL;
    }
    Handle *self = handle_make(type, name, space, IL_KIND_EVENT, 0);
    if (self != NULL)
        self->take = event_take;
    return (PyObject *)self;
}

static PyMethodDef event_methods[] = {
    {"is_set", event_is_set, METH_NOARGS, PyDoc_STR("is_set($self, /)\n--\n\nWhether it is set.")},
    {"set", event_set, METH_NOARGS,
     PyDoc_STR("set($self, /)\n--\n\nSet it, and let all who wait go on. Safe in a signal handler, even one that interrupts set().")},
    {"clear", event_clear, METH_NOARGS, PyDoc_STR("clear($self, /)\n--\n\nClear it: who comes now waits.")},
    {"wait", (PyCFunction)(void (*)(void))event_wait, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("wait($self, /, timeout=None)\n--\n\n"
               "Wait until it is set, at most `timeout` seconds (None: for ever; 0 or less: do not wait).\n\n"
               "Returns True if it is set or was set during the wait, False at the timeout.\n"
               "Raises OverflowError for a timeout above threading.TIMEOUT_MAX, SpaceError when the space is unusable.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot event_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of interlock.Event.")},
    {Py_tp_new, event_new},
    {Py_tp_methods, event_methods},
    {0, NULL},
};

PyType_Spec event_spec = {
    .name = "interlock._engine.Event",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = event_slots,
};
