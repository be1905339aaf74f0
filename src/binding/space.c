/* Space: a segment, and what is asked of it. */
#include "binding.h"

/* What a closed space's slot pointer points to: no slot. */
static il_u32 no_slot;

static int space_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"path", "slots", "must_exist", "id", NULL};
    SpaceObject *self = (SpaceObject *)object;
    PyObject *path;
    unsigned int slots = 0;
    int must_exist = 0;
    unsigned long long id = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&|IpK", keywords, PyUnicode_FSConverter, &path, &slots, &must_exist,
                                     &id))
        return -1;
    if (self->segment != NULL) {
        Py_DECREF(path);
        PyErr_SetString(PyExc_RuntimeError, "a Space is opened once: make another");
        return -1;
    }
    il_options options = {.slots = slots, .must_exist = must_exist != 0, .id = id};
    il_error error;
    il_space *segment = NULL;
    int code;
    Py_BEGIN_ALLOW_THREADS;
    code = il_space_use(&this_process, PyBytes_AS_STRING(path), &options, &segment, &error);
    Py_END_ALLOW_THREADS;
    if (code != IL_OK)
        raise_at(state_of(Py_TYPE(self)), code, PyBytes_AS_STRING(path), NULL, &error, 0);
    Py_DECREF(path);
    if (code != IL_OK)
        return -1;
    self->segment = segment;
    self->self = segment->self;
    self->cells = segment->cells;
    return 0;
}

static int space_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    return 0;
}

static void space_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (((SpaceObject *)object)->weakrefs != NULL)
        PyObject_ClearWeakRefs(object);
    if (((SpaceObject *)object)->segment != NULL)
        il_space_leave(((SpaceObject *)object)->segment);
    type->tp_free(object);
    Py_DECREF(type);
}

il_space *segment_of(SpaceObject *self)
{
    if (self->segment == NULL)
        raise_code(state_of(Py_TYPE(self)), IL_NO_SPACE_FILE, NULL, NULL, NULL, 0);
    else if (self->self != self->segment->self)
        raise_closed(self, NULL);
    else
        return self->segment;
    return NULL;
}

const char *name_given(SpaceObject *self, PyObject *given, il_space **segment, size_t *length)
{
    Py_ssize_t bytes = 0;
    *segment = segment_of(self);
    const char *name = *segment != NULL ? PyUnicode_AsUTF8AndSize(given, &bytes) : NULL;
    *length = bytes <= IL_NAME_MAX ? (size_t)bytes : 0;
    return name;
}

static PyObject *space_close(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    ((SpaceObject *)object)->self = &no_slot;
    Py_RETURN_NONE;
}

static PyObject *space_unlink(PyObject *object, PyObject *given)
{
    SpaceObject *self = (SpaceObject *)object;
    il_space *segment;
    size_t length;
    const char *name = name_given(self, given, &segment, &length);
    if (name == NULL)
        return NULL;
    il_wait wait = {.deadline_ns = IL_FOREVER, .restless = true};
    int code = IL_ABSENT;
    if (length != 0)
        WITH_SIGNALS(code, il_table_unlink(segment, name, length, &wait));
    if (code == IL_INTERRUPTED)
        return NULL;
    if (code == IL_ABSENT) {
        PyErr_SetObject(PyExc_KeyError, given);
        return NULL;
    }
    if (code == IL_BUSY) {
        PyErr_Format(PyExc_RuntimeError, "%R is in use: it is held or waited for, or a process has its data; it cannot be unlinked now", given);
        return NULL;
    }
    return code == IL_OK ? Py_NewRef(Py_None) : raise_code(state_of(Py_TYPE(self)), code, self, NULL, NULL, 0);
}

/* _break(name) -> owner_row() of whoever had it. */
static PyObject *space_break(PyObject *object, PyObject *given)
{
    SpaceObject *self = (SpaceObject *)object;
    il_space *segment;
    size_t length;
    const char *name = name_given(self, given, &segment, &length);
    if (name == NULL)
        return NULL;
    il_wait wait = {.deadline_ns = IL_FOREVER, .restless = true};
    il_owner victim;
    int code = IL_ABSENT;
    if (length != 0)
        WITH_SIGNALS(code, il_table_break(segment, name, length, &wait, &victim));
    if (code == IL_OK)
        return owner_row(&victim, 0);
    if (code == IL_ABSENT)
        PyErr_SetObject(PyExc_KeyError, given);
    else if (code == IL_NOT_HELD)
        PyErr_Format(PyExc_RuntimeError, "nobody holds %R alone: there is nothing to break", given);
    else if (code == IL_KIND)
        PyErr_Format(PyExc_TypeError, "%R is no lock that one owner holds just now: it cannot be broken", given);
    else if (code != IL_INTERRUPTED)
        raise_code(state_of(Py_TYPE(self)), code, self, NULL, NULL, 0);
    return NULL;
}

/* _list() -> (name, kind, low half of the lock word, fence, reference), of each name. */
static PyObject *space_list(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    SpaceObject *self = (SpaceObject *)object;
    il_space *segment = segment_of(self);
    PyObject *list = segment != NULL ? PyList_New(0) : NULL;
    il_entry *entries = NULL;
    int room = 64;
    for (uint32_t stripe = 0; list != NULL && stripe < IL_STRIPES; stripe++) {
        int count = room + 1;
        while (count > room) {
            if (entries == NULL || count > room) {
                room = count;
                il_entry *more = PyMem_Realloc(entries, (size_t)room * sizeof *entries);
                if (more == NULL) {
                    PyMem_Free(entries);
                    Py_DECREF(list);
                    return PyErr_NoMemory();
                }
                entries = more;
            }
            il_wait wait = {.deadline_ns = IL_FOREVER, .restless = true};
            WITH_SIGNALS(count, il_table_list(segment, stripe, entries, room, &wait));
        }
        if (count < 0 && count != IL_INTERRUPTED)
            raise_code(state_of(Py_TYPE(self)), count, self, NULL, NULL, 0);
        if (count < 0)
            Py_CLEAR(list);
        for (int i = 0; list != NULL && i < count; i++) {
            PyObject *row = Py_BuildValue("s#BIKK", entries[i].name, (Py_ssize_t)entries[i].length, entries[i].kind,
                                          entries[i].half, (unsigned long long)entries[i].fence,
                                          (unsigned long long)entries[i].ref);
            if (row == NULL || PyList_Append(list, row) < 0)
                Py_CLEAR(list);
            Py_XDECREF(row);
        }
    }
    PyMem_Free(entries);
    return list;
}

static PyObject *space_describe(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    il_space *segment = segment_of((SpaceObject *)object);
    if (segment == NULL)
        return NULL;
    uint32_t levels = il_load_relaxed(&segment->header->levels);
    unsigned long long bytes = segment->header->tags_at + (unsigned long long)il_cells_of_levels(levels) *
                                                              (sizeof(il_cell) + sizeof(il_u32));
    return Py_BuildValue("KIIK", (unsigned long long)segment->header->id, segment->header->slot_count,
                         il_cells_of_levels(levels), bytes);
}

static PyObject *space_path(PyObject *object, void *Py_UNUSED(closure))
{
    SpaceObject *self = (SpaceObject *)object;
    if (self->segment == NULL)
        Py_RETURN_NONE;
    return PyUnicode_DecodeFSDefault(self->segment->path);
}

static PyObject *space_closed(PyObject *object, void *Py_UNUSED(closure))
{
    SpaceObject *self = (SpaceObject *)object;
    return PyBool_FromLong(self->segment == NULL || self->self != self->segment->self);
}

static PyMethodDef space_methods[] = {
    {"close", space_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\n"
               "Refuse further use through this Space and the handles made from it.\n\n"
               "What they hold stays held until this process ends: release before you close.")},
    {"unlink", space_unlink, METH_O,
     PyDoc_STR("unlink($self, name, /)\n--\n\n"
               "Forget a name that nobody holds or waits for, and, of a Value or Array, that no process has open.\n\n"
               "Open handles of it make the name anew when they are next used: a semaphore has its initial value\n"
               "again, an event is not set, a barrier is not broken, and a lock's statistics begin at zero.\n\n"
               "Raises KeyError when there is no such name, RuntimeError when it is in use.")},
    {"_break", space_break, METH_O, NULL},
    {"_list", space_list, METH_NOARGS, NULL},
    {"_look", space_look, METH_O, NULL},
    {"_glance", space_glance, METH_NOARGS, NULL},
    {"_named", space_named, METH_O, NULL},
    {"_portions", space_portions, METH_NOARGS, NULL},
    {"_describe", space_describe, METH_NOARGS, NULL},
    {"_waits", space_waits, METH_NOARGS, NULL},
    {"_cycles", space_cycles, METH_NOARGS, NULL},
    {"_processes", space_processes, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef space_getset[] = {
    {"path", space_path, NULL, PyDoc_STR("The space's file."), NULL},
    {"closed", space_closed, NULL, PyDoc_STR("Whether close() was called."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef space_members[] = {
    {"_manner", T_UBYTE, offsetof(SpaceObject, manner), 0, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(SpaceObject, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot space_slots[] = {
    {Py_tp_doc, PyDoc_STR("A segment of shared memory.")},
    {Py_tp_init, space_init},
    {Py_tp_dealloc, space_dealloc},
    {Py_tp_traverse, space_traverse},
    {Py_tp_methods, space_methods},
    {Py_tp_getset, space_getset},
    {Py_tp_members, space_members},
    {0, NULL},
};

PyType_Spec space_spec = {
    .name = "interlock._engine.Space",
    .basicsize = sizeof(SpaceObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = space_slots,
};
