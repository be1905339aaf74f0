/* Value and Array: ctypes objects in shared memory, by name, with a re-entrant lock in their own cell.
 *
 * A Mapping owns the memory and lends it out (buffer protocol) to the ctypes object and to whoever asks; it goes when the last of
 * them goes. */
#include "binding.h"
#include "il_hash.h"

typedef struct Mapping {
    PyObject_HEAD
    il_data data;
    SpaceObject *space;
    il_ref ref;
    uint32_t made_by;       /* process slot */
    bool anonymous;         /* and made here: to be forgotten with its last mapping … */
    bool kept;              /* … but while this process runs, others may come for it */
    struct Mapping *next;   /* of all that are mapped. Guard: `listing` … */
    struct Mapping **link;  /* … NULL: not mapped */
} Mapping;

typedef struct {
    Handle handle;
    Mapping *mapping;
    PyObject *content; /* a ctypes object in that memory */
    PyObject *lock;    /* a lock given, or NULL */
    bool guarded;      /* by its own lock, or the one given */
    char sort;         /* of a number: 'i', 'u' or 'f'; else 0 … */
    uint8_t width;     /* … and its bytes */
} Data;

static Mapping *mappings;
static pthread_mutex_t listing = PTHREAD_MUTEX_INITIALIZER;

/* If somebody else has it mapped it stays; so it does if its stripe is taken, until the next sweep. */
static void forget(Mapping *self, bool with_data)
{
    il_space *segment = self->space->segment;
    if (self->space->self != segment->self || (self->kept && self->made_by != il_self(segment)))
        return;
    forget_object(segment, self->ref, with_data);
}

static void enlist(Mapping *self)
{
    pthread_mutex_lock(&listing);
    self->next = mappings;
    self->link = &mappings;
    if (mappings != NULL)
        mappings->link = &self->next;
    mappings = self;
    pthread_mutex_unlock(&listing);
}

static void delist(Mapping *self)
{
    pthread_mutex_lock(&listing);
    *self->link = self->next;
    if (self->next != NULL)
        self->next->link = self->link;
    pthread_mutex_unlock(&listing);
}

void data_before_fork(void)
{
    pthread_mutex_lock(&listing);
}

void data_after_fork(void)
{
    pthread_mutex_unlock(&listing);
}

void data_at_exit(void)
{
    for (Mapping *self = mappings; self != NULL; self = self->next)
        il_data_let_go(&self->data);
    for (Mapping *self = mappings; self != NULL; self = self->next) {
        if (self->anonymous)
            forget(self, true);
    }
}

static int mapping_buffer(PyObject *object, Py_buffer *view, int flags)
{
    Mapping *self = (Mapping *)object;
    return PyBuffer_FillInfo(view, object, self->data.bytes, (Py_ssize_t)(self->data.mapped - IL_DATA_AT), 0, flags);
}

static void mapping_dealloc(PyObject *object)
{
    Mapping *self = (Mapping *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->link != NULL) {
        delist(self);
        il_data_close(&self->data);
    }
    if (self->anonymous)
        forget(self, true);
    Py_CLEAR(self->space);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyType_Slot mapping_slots[] = {
    {Py_tp_doc, PyDoc_STR("Memory shared under a name.")},
    {Py_tp_dealloc, mapping_dealloc},
    {Py_bf_getbuffer, mapping_buffer},
    {0, NULL},
};

PyType_Spec mapping_spec = {
    .name = "interlock._engine.Mapping",
    .basicsize = sizeof(Mapping),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = mapping_slots,
};

/* --- making --- */

typedef struct {
    il_content content;
    il_data data;
    il_error error;
    int code;
} opening;

static int open_once(il_space *space, il_ref ref, il_wait *Py_UNUSED(wait), void *argument)
{
    opening *how = argument;
    int code = il_data_open(space, ref, &how->content, &how->data, &how->error);
    if (code == IL_STALE)
        return code;
    how->code = code;
    return IL_OK;
}

/* The memory of a handle's object, mapped; NULL with an exception. */
static Mapping *map(ModuleState *state, Handle *handle, opening *how)
{
    il_ref ref;
    Mapping *self = (Mapping *)state->mapping_type->tp_alloc(state->mapping_type, 0);
    if (self == NULL)
        return NULL;
    self->space = (SpaceObject *)Py_NewRef(handle->space);
    do {
        il_wait wait = wait_until(IL_FOREVER);
        if (perform(handle, open_once, how, &wait, &ref) != IL_OK || (how->code == IL_BUSY && PyErr_CheckSignals() != 0)) {
            Py_DECREF(self);
            return NULL;
        }
    } while (how->code == IL_BUSY);
    self->ref = ref;
    self->made_by = il_self(handle->space->segment);
    if (how->code != IL_OK) {
        forget(self, false); /* it has no data unless another makes some just now: then the name is free again */
        raise_code(state, how->code, handle->space, handle, &how->error, 0);
        Py_CLEAR(self);
    } else {
        self->data = how->data;
        self->anonymous = how->content.anonymous;
        enlist(self);
    }
    return self;
}

/* Of what a number is made: "i4", "u8", "f8" and so on. */
static void read_sort(Data *self, const char *sort)
{
    if (sort[0] != '\0') {
        self->sort = sort[0];
        self->width = (uint8_t)(sort[1] - '0');
    }
}

/* (name, space, ctype, description, size, first, must_exist, guarded, lock, sort) */
static PyObject *data_make(PyTypeObject *type, PyObject *args, PyObject *kwargs, uint8_t kind)
{
    PyObject *name, *space, *ctype, *first, *lock;
    const char *description, *sort;
    Py_ssize_t length;
    unsigned long long size;
    int must_exist, guarded;
    ModuleState *state = state_of(type);
    if (state == NULL || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) ||
        !PyArg_ParseTuple(args, "OOOs#KOppOs", &name, &space, &ctype, &description, &length, &size, &first, &must_exist, &guarded,
                          &lock, &sort)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "positional arguments only");
        return NULL;
    }
    opening how = {.content = {.size = size, .must_exist = must_exist != 0, .anonymous = name == Py_None}};
    Py_buffer bytes = {0};
    if (first != Py_None && PyObject_GetBuffer(first, &bytes, PyBUF_SIMPLE) < 0)
        return NULL;
    if (first != Py_None && (unsigned long long)bytes.len != size) {
        PyErr_SetString(PyExc_ValueError, "the first content has another size");
        PyBuffer_Release(&bytes);
        return NULL;
    }
    how.content.first = bytes.buf;
    static const uint64_t no_key[2] = {0, 0};
    Data *self = (Data *)handle_make(type, name, space, kind, il__hash(no_key, description, (size_t)length));
    if (self != NULL) {
        self->handle.take = rlock_take;
        self->handle.give = rlock_release;
        self->guarded = guarded != 0;
        self->lock = lock != Py_None ? Py_NewRef(lock) : NULL;
        read_sort(self, sort);
        self->mapping = map(state, &self->handle, &how);
        if (self->mapping != NULL)
            self->content = PyObject_CallMethod(ctype, "from_buffer", "O", self->mapping);
        if (self->content == NULL)
            Py_CLEAR(self);
    }
    PyBuffer_Release(&bytes);
    return (PyObject *)self;
}

static PyObject *value_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return data_make(type, args, kwargs, IL_KIND_VALUE);
}

static PyObject *array_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    return data_make(type, args, kwargs, IL_KIND_ARRAY);
}

static int data_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(((Data *)object)->content);
    Py_VISIT(((Data *)object)->lock);
    return handle_traverse(object, visit, arg);
}

static void data_dealloc(PyObject *object)
{
    Data *self = (Data *)object;
    PyObject_GC_UnTrack(object); /* first: what goes may run code, and the collector */
    Py_CLEAR(self->content);
    Py_CLEAR(self->lock);
    Py_CLEAR(self->mapping);
    handle_dealloc(object);
}

/* --- under the lock --- */

/* 0, or -1 with an exception. */
static int enter(Data *self)
{
    if (!self->guarded)
        return 0;
    if (self->lock == NULL)
        return rlock_take_until(&self->handle, IL_FOREVER) < 0 ? -1 : 0;
    PyObject *taken = PyObject_CallMethod(self->lock, "acquire", NULL);
    Py_XDECREF(taken);
    return taken != NULL ? 0 : -1;
}

/* Passes on what was made of it, unless the release fails. */
static PyObject *leave(Data *self, PyObject *result)
{
    if (!self->guarded)
        return result;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    /* Who only read a number has not seen to what a dead owner left. */
    PyObject *released = self->lock == NULL ? rlock_release_marked(&self->handle)
                                            : PyObject_CallMethod(self->lock, "release", NULL);
    if (released == NULL) {
        Py_CLEAR(result);
        chain_error(type, value, traceback);
        return NULL;
    }
    Py_DECREF(released);
    PyErr_Restore(type, value, traceback);
    return result;
}

static int leave_with(Data *self, int code)
{
    PyObject *done = leave(self, code == 0 ? Py_NewRef(Py_None) : NULL);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
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
    if (enter(self) < 0)
        return NULL;
    return leave(self, self->sort != 0 ? number(self, load(self)) : PyObject_GetAttrString(self->content, "value"));
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
        if (enter(self) < 0)
            return -1;
        return leave_with(self, PyObject_SetAttrString(self->content, "value", given));
    }
    if (bits_from(self, given, &bits) < 0 || enter(self) < 0)
        return -1;
    store(self, bits);
    return leave_with(self, 0);
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

/* The sum of a number's bits and n, if that fits. All in arithmetic modulo 2^64, in which the room above and below an old number is
 * right whatever its sign. */
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

/* --- items --- */

static Py_ssize_t array_length(PyObject *object)
{
    return PyObject_Size(((Data *)object)->content);
}

static PyObject *array_subscript(PyObject *object, PyObject *key)
{
    Data *self = (Data *)object;
    return enter(self) < 0 ? NULL : leave(self, PyObject_GetItem(self->content, key));
}

static PyObject *array_item(PyObject *object, Py_ssize_t index)
{
    Data *self = (Data *)object;
    return enter(self) < 0 ? NULL : leave(self, PySequence_GetItem(self->content, index));
}

static int array_ass_subscript(PyObject *object, PyObject *key, PyObject *given)
{
    Data *self = (Data *)object;
    if (given == NULL) {
        PyErr_SetString(PyExc_TypeError, "an array's items cannot be deleted");
        return -1;
    }
    return enter(self) < 0 ? -1 : leave_with(self, PyObject_SetItem(self->content, key, given));
}

/* --- what both are --- */

static int data_buffer(PyObject *object, Py_buffer *view, int flags)
{
    return PyObject_GetBuffer(((Data *)object)->content, view, flags);
}

/* Somebody may come for it: it stays at least as long as this process. */
static void keep(Data *self)
{
    self->handle.rooted = false;
    if (self->mapping->anonymous && !self->mapping->kept) {
        self->mapping->kept = true;
        Py_INCREF(self->mapping);
    }
}

static PyObject *data_travels(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    keep((Data *)object);
    Py_RETURN_NONE;
}

static PyObject *data_name(PyObject *object, void *Py_UNUSED(closure))
{
    keep((Data *)object);
    return Py_NewRef(((Data *)object)->handle.name);
}

/* _get(name), _put(name, value): an attribute of the content, under the lock. */
static PyObject *data_get(PyObject *object, PyObject *name)
{
    Data *self = (Data *)object;
    return enter(self) < 0 ? NULL : leave(self, PyObject_GetAttr(self->content, name));
}

static PyObject *data_put(PyObject *object, PyObject *args)
{
    Data *self = (Data *)object;
    PyObject *name, *value;
    if (!PyArg_ParseTuple(args, "OO", &name, &value) || enter(self) < 0 ||
        leave_with(self, PyObject_SetAttr(self->content, name, value)) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef data_methods[] = {
    {"_get", data_get, METH_O, NULL},
    {"_put", data_put, METH_VARARGS, NULL},
    {"_travels", data_travels, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef data_getset[] = {
    {"name", data_name, NULL, PyDoc_STR("The name, made up for an anonymous object."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef data_members[] = {
    {"_content", T_OBJECT_EX, offsetof(Data, content), READONLY, NULL},
    {"_lock", T_OBJECT, offsetof(Data, lock), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot data_slots[] = {
    {Py_tp_doc, PyDoc_STR("Base of what keeps data in shared memory.")},
    {Py_tp_dealloc, data_dealloc},
    {Py_tp_traverse, data_traverse},
    {Py_tp_methods, data_methods},
    {Py_tp_getset, data_getset},
    {Py_tp_members, data_members},
    {Py_bf_getbuffer, data_buffer},
    {0, NULL},
};

PyType_Spec data_spec = {
    .name = "interlock._engine.Data",
    .basicsize = sizeof(Data),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = data_slots,
};

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
