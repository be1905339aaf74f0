/* Value: one ctypes object in shared memory. A number is read and written here, also in one indivisible step; what is none,
 * ctypes reads and writes. */
#include "data.h"

static PyObject *value_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return data_make(type, args, kwargs, IL_KIND_VALUE);
}

/* --- numbers --- */

/* The bits of a number, and whether it was what it was expected to be. Acquire and release: who reads what was written also
 * sees what was written before. */
#define EACH_WIDTH(X) X(1, uint8_t) X(2, uint16_t) X(4, uint32_t) X(8, uint64_t)

static uint64_t load(const Data *self)
{
    const void *at = self->mapping->data.bytes;
    switch (self->width) {
#define LOAD(bytes, type)                                                                                              \
    case bytes:                                                                                                        \
        return __atomic_load_n((const type *)at, __ATOMIC_ACQUIRE);
        EACH_WIDTH(LOAD)
    default:
        return 0;
    }
}

static void store(Data *self, uint64_t bits)
{
    void *at = self->mapping->data.bytes;
    switch (self->width) {
#define STORE(bytes, type)                                                                                             \
    case bytes:                                                                                                        \
        __atomic_store_n((type *)at, (type)bits, __ATOMIC_RELEASE);                                                    \
        break;
        EACH_WIDTH(STORE)
    }
}

static bool swap(Data *self, uint64_t *expected, uint64_t bits)
{
    void *at = self->mapping->data.bytes;
    switch (self->width) {
#define SWAP(bytes, type)                                                                                              \
    case bytes: {                                                                                                      \
        type was = (type)*expected;                                                                                    \
        bool done = __atomic_compare_exchange_n((type *)at, &was, (type)bits, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
        *expected = was;                                                                                               \
        return done;                                                                                                   \
    }
        EACH_WIDTH(SWAP)
    default:
        return false;
    }
}

static int64_t with_sign(const Data *self, uint64_t bits)
{
    int unused = 64 - 8 * self->width;
    return (int64_t)(bits << unused) >> unused;
}

static PyObject *number(const Data *self, uint64_t bits)
{
    if (self->sort == 'u')
        return PyLong_FromUnsignedLongLong(bits);
    if (self->sort == 'i')
        return PyLong_FromLongLong(with_sign(self, bits));
    float narrow;
    double wide;
    uint32_t half = (uint32_t)bits;
    memcpy(&narrow, &half, sizeof narrow);
    memcpy(&wide, &bits, sizeof wide);
    return PyFloat_FromDouble(self->width == 4 ? (double)narrow : wide);
}

/* As ctypes has it: an int is cut to fit. 0, or -1 with an exception. */
static int bits_from(const Data *self, PyObject *given, uint64_t *bits)
{
    if (self->sort == 'f') {
        double wide = PyFloat_AsDouble(given);
        if (wide == -1.0 && PyErr_Occurred())
            return -1;
        float narrow = (float)wide;
        uint32_t half;
        memcpy(&half, &narrow, sizeof half);
        memcpy(bits, &wide, sizeof *bits);
        if (self->width == 4)
            *bits = half;
        return 0;
    }
    if (!PyLong_Check(given)) {
        PyErr_Format(PyExc_TypeError, "int expected instead of %.100s instance", Py_TYPE(given)->tp_name);
        return -1;
    }
    *bits = PyLong_AsUnsignedLongLongMask(given);
    return *bits == (uint64_t)-1 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *value_get(PyObject *object, void *Py_UNUSED(closure))
{
    Data *self = (Data *)object;
    if (data_enter(self) < 0)
        return NULL;
    return data_leave(self, self->sort != 0 ? number(self, load(self)) : PyObject_GetAttrString(self->content, "value"));
}

static int value_set(PyObject *object, PyObject *given, void *Py_UNUSED(closure))
{
    Data *self = (Data *)object;
    uint64_t bits = 0;
    if (given == NULL) {
        PyErr_SetString(PyExc_TypeError, "the value cannot be deleted");
        return -1;
    }
    if (self->sort == 0) {
        /* ctypes would take it for an attribute of that one Python object. */
        if (!PyObject_HasAttrString((PyObject *)Py_TYPE(self->content), "value")) {
            PyErr_Format(PyExc_AttributeError, "a %.100s has no value", Py_TYPE(self->content)->tp_name);
            return -1;
        }
        if (data_enter(self) < 0)
            return -1;
        return data_leave_with(self, PyObject_SetAttrString(self->content, "value", given));
    }
    if (bits_from(self, given, &bits) < 0 || data_enter(self) < 0)
        return -1;
    store(self, bits);
    return data_leave_with(self, 0);
}

/* --- without the lock --- */

static int check_integer(Data *self, const char *method)
{
    if (self->sort == 'i' || self->sort == 'u')
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() is for Values of an integer type; change this one under its lock: with v.get_lock(): ...",
                 method);
    return -1;
}

static PyObject *out_of_range(void)
{
    PyErr_SetString(PyExc_OverflowError, "the result does not fit the Value's type; nothing was changed");
    return NULL;
}

/* An int that the type can hold, as bits. 0, or -1 with an exception. */
static int exact_bits(const Data *self, PyObject *given, uint64_t *bits)
{
    PyObject *whole = PyNumber_Index(given), *again = NULL;
    if (whole != NULL && bits_from(self, whole, bits) == 0)
        again = number(self, self->width == 8 ? *bits : *bits & ((1ull << 8 * self->width) - 1));
    int same = again != NULL ? PyObject_RichCompareBool(whole, again, Py_EQ) : -1;
    Py_XDECREF(again);
    Py_XDECREF(whole);
    if (same == 0)
        out_of_range();
    return same == 1 ? 0 : -1;
}

/* A number to be added: up to 2^64 - 1 in either direction, as far as any two numbers of one type are apart. */
typedef struct {
    uint64_t size;
    bool down;
} difference;

/* 0, or -1 with an exception. */
static int difference_from(PyObject *given, difference *n)
{
    PyObject *whole = PyNumber_Index(given);
    int overflow = 0;
    int64_t near = whole != NULL ? PyLong_AsLongLongAndOverflow(whole, &overflow) : 0;
    *n = (difference){near < 0 ? 0 - (uint64_t)near : (uint64_t)near, overflow != 0 ? overflow < 0 : near < 0};
    if (overflow < 0)
        Py_SETREF(whole, PyNumber_Negative(whole));
    if (overflow != 0 && whole != NULL)
        n->size = PyLong_AsUnsignedLongLong(whole);
    Py_XDECREF(whole);
    if (!PyErr_Occurred())
        return 0;
    if (overflow != 0 && PyErr_ExceptionMatches(PyExc_OverflowError))
        out_of_range();
    return -1;
}

/* The sum of a number's bits and n, if that fits. All in arithmetic modulo 2^64, in which the room above and below an old
 * number is right whatever its sign. */
static bool sum(const Data *self, uint64_t old, difference n, uint64_t *result)
{
    bool sign = self->sort == 'i';
    uint64_t all = UINT64_MAX >> (64 - 8 * self->width), highest = sign ? all >> 1 : all, lowest = sign ? ~highest : 0;
    uint64_t number = sign ? (uint64_t)with_sign(self, old) : old;
    *result = n.down ? number - n.size : number + n.size;
    return n.size <= (n.down ? number - lowest : highest - number);
}

static PyObject *value_add(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    Data *self = (Data *)object;
    if (check_integer(self, "add") < 0)
        return NULL;
    if (nargs > 1) {
        PyErr_Format(PyExc_TypeError, "add() takes at most 1 argument (%zd given)", nargs);
        return NULL;
    }
    difference n = {1, false};
    if (nargs > 0 && difference_from(args[0], &n) < 0)
        return NULL;
    uint64_t old = load(self), result;
    do {
        if (!sum(self, old, n, &result))
            return out_of_range();
    } while (!swap(self, &old, result));
    return number(self, result);
}

static PyObject *value_exchange(PyObject *object, PyObject *given)
{
    Data *self = (Data *)object;
    uint64_t bits, old;
    if (check_integer(self, "exchange") < 0 || exact_bits(self, given, &bits) < 0)
        return NULL;
    old = load(self);
    while (!swap(self, &old, bits)) {
    }
    return number(self, old);
}

static PyObject *value_compare_exchange(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    Data *self = (Data *)object;
    uint64_t expected, bits;
    if (nargs != 2) {
        PyErr_Format(PyExc_TypeError, "compare_exchange() takes 2 arguments (%zd given)", nargs);
        return NULL;
    }
    if (check_integer(self, "compare_exchange") < 0 || exact_bits(self, args[0], &expected) < 0 ||
        exact_bits(self, args[1], &bits) < 0)
        return NULL;
    return PyBool_FromLong(swap(self, &expected, bits));
}

static PyMethodDef value_methods[] = {
    {"add", (PyCFunction)(void (*)(void))value_add, METH_FASTCALL,
     PyDoc_STR("add($self, n=1, /)\n--\n\n"
               "Add n in one indivisible step, without the lock, and return the sum.\n\n"
               "Raises TypeError when the Value is not of an integer type, OverflowError when the sum does not\n"
               "fit it; then nothing was changed.")},
    {"exchange", value_exchange, METH_O,
     PyDoc_STR("exchange($self, new, /)\n--\n\n"
               "Put `new` in its place in one indivisible step, without the lock, and return what was there.\n\n"
               "Raises TypeError and OverflowError as add().")},
    {"compare_exchange", (PyCFunction)(void (*)(void))value_compare_exchange, METH_FASTCALL,
     PyDoc_STR("compare_exchange($self, expected, new, /)\n--\n\n"
               "Put `new` in its place if `expected` is there, in one indivisible step, without the lock.\n\n"
               "Returns whether it was. Raises TypeError and OverflowError as add().")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef value_getset[] = {
    {"value", value_get, value_set, PyDoc_STR("The value; read and written under the lock, if there is one."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot value_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of interlock.Value.")},
    {Py_tp_new, value_new},
    {Py_tp_methods, value_methods},
    {Py_tp_getset, value_getset},
    {0, NULL},
};

PyType_Spec value_spec = {
    .name = "interlock._engine.Value",
    .basicsize = sizeof(Data),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = value_slots,
};
