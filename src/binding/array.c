/* Array: many ctypes objects of one type in shared memory. */
#include "data.h"

static PyObject *array_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return data_make(type, args, kwargs, IL_KIND_ARRAY);
}

static Py_ssize_t array_length(PyObject *object)
{
    return PyObject_Size(((Data *)object)->content);
}

static PyObject *array_subscript(PyObject *object, PyObject *key)
{
    Data *self = (Data *)object;
    return data_enter(self) < 0 ? NULL : data_leave(self, PyObject_GetItem(self->content, key));
}

static PyObject *array_item(PyObject *object, Py_ssize_t index)
{
    Data *self = (Data *)object;
    return data_enter(self) < 0 ? NULL : data_leave(self, PySequence_GetItem(self->content, index));
}

static int array_ass_subscript(PyObject *object, PyObject *key, PyObject *given)
{
    Data *self = (Data *)object;
    if (given == NULL) {
        PyErr_SetString(PyExc_TypeError, "an array's items cannot be deleted");
        return -1;
    }
    return data_enter(self) < 0 ? -1 : data_leave_with(self, PyObject_SetItem(self->content, key, given));
}

static PyType_Slot array_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of interlock.Array.")},
    {Py_tp_new, array_new},
    {Py_mp_length, array_length},
    {Py_mp_subscript, array_subscript},
    {Py_mp_ass_subscript, array_ass_subscript},
    {Py_sq_length, array_length},
    {Py_sq_item, array_item},
    {0, NULL},
};

PyType_Spec array_spec = {
    .name = "interlock._engine.Array",
    .basicsize = sizeof(Data),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = array_slots,
};
