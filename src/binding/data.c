/* What Value and Array are made of: memory shared under a name, and a re-entrant lock in the object's own cell. */
#include "data.h"
#include "il_hash.h"

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

PyObject *data_make(PyTypeObject *type, PyObject *args, PyObject *kwargs, uint8_t kind)
{
    PyObject *name, *space, *ctype, *first, *lock, *on_recover;
    const char *description, *sort;
    Py_ssize_t length;
    unsigned long long size;
    int must_exist, guarded;
    ModuleState *state = state_of(type);
    if (state == NULL || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) ||
        !PyArg_ParseTuple(args, "OOOs#KOppOsO", &name, &space, &ctype, &description, &length, &size, &first, &must_exist,
                          &guarded, &lock, &sort, &on_recover) ||
        check_on_recover(&on_recover) < 0) {
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
        self->handle.on_recover = Py_XNewRef(on_recover);
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

int data_enter(Data *self)
{
    if (!self->guarded)
        return 0;
    if (self->lock == NULL)
        return rlock_take_until(&self->handle, IL_FOREVER) < 0 ? -1 : 0;
    PyObject *taken = PyObject_CallMethod(self->lock, "acquire", NULL);
    Py_XDECREF(taken);
    return taken != NULL ? 0 : -1;
}

PyObject *data_leave(Data *self, PyObject *result)
{
    if (!self->guarded)
        return result;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    /* Who only looked, or put one thing in its place, has not seen to what a dead owner left; on_recover has. */
    PyObject *released = self->lock != NULL                ? PyObject_CallMethod(self->lock, "release", NULL)
                         : self->handle.on_recover != NULL ? rlock_release((PyObject *)self, NULL)
                                                           : rlock_release_marked(&self->handle);
    if (released == NULL) {
        Py_CLEAR(result);
        chain_error(type, value, traceback);
        return NULL;
    }
    Py_DECREF(released);
    PyErr_Restore(type, value, traceback);
    return result;
}

int data_leave_with(Data *self, int code)
{
    PyObject *done = data_leave(self, code == 0 ? Py_NewRef(Py_None) : NULL);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
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
    return data_enter(self) < 0 ? NULL : data_leave(self, PyObject_GetAttr(self->content, name));
}

static PyObject *data_put(PyObject *object, PyObject *args)
{
    Data *self = (Data *)object;
    PyObject *name, *value;
    if (!PyArg_ParseTuple(args, "OO", &name, &value) || data_enter(self) < 0 ||
        data_leave_with(self, PyObject_SetAttr(self->content, name, value)) < 0)
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
    {Py_tp_clear, handle_clear},
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
