/* Hold: `with lock.hold(timeout=2):`. In C, because a signal handler that raises may run between any two steps of a Python
 * __enter__, and would leave the lock taken without an __exit__ to come. */
#include "binding.h"

typedef struct {
    PyObject_HEAD
    Handle *lock;
    PyObject *timeout, *blocking;
} Hold;

static PyObject *hold_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *lock, *timeout, *blocking;
    ModuleState *state = state_of(type);
    if (state == NULL || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) ||
        !PyArg_ParseTuple(args, "O!OO", state->locklike_type, &lock, &timeout, &blocking))
        return NULL;
    Hold *self = (Hold *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->lock = (Handle *)Py_NewRef(lock);
    self->timeout = Py_NewRef(timeout);
    self->blocking = Py_NewRef(blocking);
    return (PyObject *)self;
}

static PyObject *hold_enter(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Hold *self = (Hold *)object;
    uint64_t deadline;
    if (deadline_from(self->blocking, self->timeout, &deadline) < 0)
        return NULL;
    Act act = act_until(deadline);
    int taken = go_through(self->lock, &act, self->lock->take);
    if (taken > 0)
        return Py_NewRef(self->lock);
    if (taken == 0) {
        PyObject *error = PyObject_CallFunctionObjArgs(state_of(Py_TYPE(self))->timeout_of, self->lock, self->timeout,
                                                       self->blocking, NULL);
        if (error != NULL)
            PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_XDECREF(error);
    }
    return NULL;
}

/* __aenter__: an awaitable of the lock. */
static PyObject *hold_aenter(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Hold *self = (Hold *)object;
    Handle *lock = self->lock;
    ModuleState *state = state_of(Py_TYPE(self));
    Act act = {.take = lock->take, .abandon = lock->abandon, .undo = lock->give};
    if (tasks_begin(lock) < 0 || deadline_from(self->blocking, self->timeout, &act.wait.deadline_ns) < 0)
        return NULL;
    PyObject *begins = begun(lock, &act);
    if (begins == Py_True) {
        Py_DECREF(begins);
        return ready(state, (PyObject *)lock);
    }
    PyObject *rest = begins != NULL ? PyObject_CallFunctionObjArgs(state->settle_hold, begins, lock, self->timeout, self->blocking, NULL)
                                    : NULL;
    Py_XDECREF(begins);
    return rest;
}

static PyObject *hold_aexit(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    return handle_aexit((PyObject *)((Hold *)object)->lock, args, nargs);
}

static PyObject *hold_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    PyObject *lock = (PyObject *)((Hold *)object)->lock;
    return ((Handle *)lock)->give(lock, NULL);
}

static int hold_traverse(PyObject *object, visitproc visit, void *arg)
{
    Hold *self = (Hold *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->lock);
    Py_VISIT(self->timeout);
    Py_VISIT(self->blocking);
    return 0;
}

static void hold_dealloc(PyObject *object)
{
    Hold *self = (Hold *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_XDECREF(self->lock);
    Py_XDECREF(self->timeout);
    Py_XDECREF(self->blocking);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef hold_methods[] = {
    {"__enter__", hold_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))hold_exit, METH_FASTCALL, NULL},
    {"__aenter__", hold_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))hold_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot hold_slots[] = {
    {Py_tp_doc, PyDoc_STR("What hold() returns.")},
    {Py_tp_new, hold_new},
    {Py_tp_dealloc, hold_dealloc},
    {Py_tp_traverse, hold_traverse},
    {Py_tp_methods, hold_methods},
    {0, NULL},
};

PyType_Spec hold_spec = {
    .name = "interlock._engine.Hold",
    .basicsize = sizeof(Hold),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = hold_slots,
};
