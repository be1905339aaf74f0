/* What a Python subclass of a handle type gets: methods as fast as its base's. */
#include "binding.h"

/* What the class would find under a name if it inherited in C3 order and native methods counted by what they do, not by
 * where a copy of them lies: the first entry of its MRO that is not a descriptor of this very method, if one comes before the
 * native type; else NULL. A borrowed reference. */
static PyObject *override_of(PyTypeObject *class, PyTypeObject *native, PyObject *name, PyMethodDef *method)
{
    for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(class->tp_mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(class->tp_mro, i);
        if (base == native)
            break;
        PyObject *dict = PyObject_GetAttrString((PyObject *)base, "__dict__");
        PyObject *found = dict != NULL ? PyObject_GetItem(dict, name) : NULL;
        Py_XDECREF(dict);
        if (found == NULL) {
            PyErr_Clear();
            continue;
        }
        Py_DECREF(found); /* its class keeps it */
        if (!Py_IS_TYPE(found, &PyMethodDescr_Type) || ((PyMethodDescrObject *)found)->d_method != method)
            return found;
    }
    return NULL;
}

/* Gives a Python subclass method descriptors of its own. CPython's specialised calls (PEP 659) want the object's type to be
 * the very type that the descriptor belongs to: inherited ones make acquire() and release() half as slow again. What the
 * subclass, or a class before the native one in its MRO, defines in Python takes precedence as ever. */
static int own_methods_of(PyTypeObject *class, PyTypeObject *native)
{
    PyObject *dict = PyObject_GetAttrString((PyObject *)native, "__dict__");
    PyObject *mine = PyObject_GetAttrString((PyObject *)class, "__dict__");
    PyObject *items = dict != NULL && mine != NULL ? PyMapping_Items(dict) : NULL;
    int failed = items == NULL;
    for (Py_ssize_t i = 0; !failed && i < PyList_GET_SIZE(items); i++) {
        PyObject *item = PyList_GET_ITEM(items, i);
        PyObject *name = PyTuple_GET_ITEM(item, 0), *theirs = PyTuple_GET_ITEM(item, 1);
        if (!Py_IS_TYPE(theirs, &PyMethodDescr_Type) || PyMapping_HasKey(mine, name))
            continue;
        PyMethodDef *method = ((PyMethodDescrObject *)theirs)->d_method;
        PyObject *own = Py_XNewRef(override_of(class, native, name, method));
        if (own == NULL)
            own = PyDescr_NewMethod(class, method);
        failed = own == NULL || PyObject_SetAttr((PyObject *)class, name, own) < 0;
        Py_XDECREF(own);
    }
    Py_XDECREF(items);
    Py_XDECREF(mine);
    Py_XDECREF(dict);
    return failed ? -1 : 0;
}

PyObject *handle_init_subclass(PyObject *class, PyObject *args, PyObject *kwargs)
{
    PyTypeObject *handle_type = state_of((PyTypeObject *)class)->handle_type;
    PyObject *bases = ((PyTypeObject *)class)->tp_mro;
    for (Py_ssize_t i = 1; i < PyTuple_GET_SIZE(bases); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(bases, i);
        bool is_native = PyType_IsSubtype(base, handle_type) && (base->tp_flags & Py_TPFLAGS_IMMUTABLETYPE);
        if (is_native && own_methods_of((PyTypeObject *)class, base) < 0)
            return NULL;
    }
    /* The next one in line. */
    PyObject *next = PyObject_CallFunctionObjArgs((PyObject *)&PySuper_Type, handle_type, class, NULL);
    PyObject *theirs = next != NULL ? PyObject_GetAttrString(next, "__init_subclass__") : NULL;
    PyObject *done = theirs != NULL ? PyObject_Call(theirs, args, kwargs) : NULL;
    Py_XDECREF(theirs);
    Py_XDECREF(next);
    return done;
}
