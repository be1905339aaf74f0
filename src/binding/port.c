/* Where an event loop looks at the waits of its tasks.
 *
 * Everything here runs in the thread of the loop. Port.poll() goes through what was rung up or is due (il_listen.c) and takes
 * the next step of each; what has come to its end is returned, with what came of it, for the loop's own futures. */
#include <errno.h>

#include "il_platform.h"
#include "task.h"

struct Port {
    PyObject_HEAD
    SpaceObject *space;
    il_port port;
    bool open;
    Waiter **heap; /* by due_ns, the earliest first */
    size_t used, room;
    uint32_t seen[IL_BUCKETS]; /* how often each bucket had been rung up when it was last looked at */
};

static void put(Port *self, size_t at, Waiter *waiter)
{
    self->heap[at] = waiter;
    waiter->place = at;
}

static void sift(Port *self, size_t at)
{
    Waiter *waiter = self->heap[at];
    while (at > 0 && self->heap[(at - 1) / 2]->due_ns > waiter->due_ns) {
        put(self, at, self->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (size_t next; (next = 2 * at + 1) < self->used; at = next) {
        if (next + 1 < self->used && self->heap[next + 1]->due_ns < self->heap[next]->due_ns)
            next++;
        if (self->heap[next]->due_ns >= waiter->due_ns)
            break;
        put(self, at, self->heap[next]);
    }
    put(self, at, waiter);
}

static void set_due(Port *self, Waiter *waiter)
{
    const il_wait *wait = &waiter->act.wait;
    waiter->due_ns = wait->due_ns;
    if (waiter->dormant) { /* until its deadline; but for it to be noted, and to look for deadlocks */
        uint64_t due = wait->note == 0 ? wait->due_ns : wait->look_ns;
        waiter->due_ns = due != 0 && due < wait->deadline_ns ? due : wait->deadline_ns;
    }
    sift(self, waiter->place);
}

/* Gives the reference up that the heap has. */
static void unwatch(Waiter *waiter)
{
    Port *self = waiter->port;
    size_t at = waiter->place;
    Waiter *last = self->heap[--self->used];
    waiter->port = NULL;
    if (last != waiter) {
        put(self, at, last);
        sift(self, at);
    }
    Py_DECREF(waiter);
}

enum { SLACK_NS = 500, SLACK_MOST_NS = 5000000 };

/* Says when to look next: somewhat later the more wait, so that many are looked at together. 0, or -1 with an exception. */
static int expect(Port *self)
{
    uint64_t slack = self->used * SLACK_NS, due = self->used > 0 ? self->heap[0]->due_ns : 0;
    if (due != 0 && due != IL_FOREVER)
        due += slack < SLACK_MOST_NS ? slack : SLACK_MOST_NS;
    if (il_port_expect(&self->port, due) == IL_OK)
        return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* Port(space, whether the kernel may tell it by io_uring) */
static PyObject *port_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    ModuleState *state = state_of(type);
    PyObject *space;
    int may_ring;
    if (state == NULL || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) ||
        !PyArg_ParseTuple(args, "O!p", state->space_type, &space, &may_ring))
        return NULL;
    Port *self = (Port *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->space = (SpaceObject *)Py_NewRef(space);
    int code = il_port_open(&self->port, self->space->segment, may_ring != 0);
    self->open = code == IL_OK;
    if (code != IL_OK) {
        if (code == IL_SYSTEM)
            PyErr_SetFromErrno(PyExc_OSError);
        else
            raise_code(state, code, self->space, NULL, NULL, 0);
        Py_CLEAR(self);
        return NULL;
    }
    for (int bucket = 0; bucket < IL_BUCKETS; bucket++)
        self->seen[bucket] = il_load_relaxed(&self->space->segment->header->rings[bucket]);
    return (PyObject *)self;
}

/* watch(waiter, dormant): looks at it from now on. */
static PyObject *port_watch(PyObject *object, PyObject *args)
{
    Port *self = (Port *)object;
    Waiter *waiter;
    int dormant;
    if (!PyArg_ParseTuple(args, "O!p", state_of(Py_TYPE(self))->waiter_type, &waiter, &dormant))
        return NULL;
    if (waiter->over || (waiter->port != NULL && waiter->port != self)) {
        PyErr_SetString(PyExc_RuntimeError, "this wait is over, or another loop's");
        return NULL;
    }
    if (waiter->port == NULL && self->used == self->room) {
        size_t room = self->room != 0 ? 2 * self->room : 8;
        Waiter **more = PyMem_Realloc(self->heap, room * sizeof *more);
        if (more == NULL)
            return PyErr_NoMemory();
        self->heap = more;
        self->room = room;
    }
    waiter->dormant = dormant != 0;
    if (waiter->port == NULL) {
        waiter->port = self;
        put(self, self->used++, (Waiter *)Py_NewRef(waiter));
    }
    set_due(self, waiter);
    int failed = expect(self);
    /* It was rung up before there was anybody to be told, perhaps. */
    if (!failed && !dormant && il_wait_is_ripe(self->space->segment, &waiter->act.wait, 0)) {
        waiter->due_ns = 1;
        sift(self, waiter->place);
        failed = expect(self);
    }
    if (failed)
        unwatch(waiter);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *port_forget(PyObject *object, PyObject *given)
{
    Port *self = (Port *)object;
    if (!PyObject_TypeCheck(given, state_of(Py_TYPE(self))->waiter_type) || ((Waiter *)given)->port != self)
        Py_RETURN_NONE;
    unwatch((Waiter *)given);
    return expect(self) == 0 ? Py_NewRef(Py_None) : NULL;
}

/* Those to look at now, with references, in no order. NULL with an exception. */
static PyObject *candidates(Port *self, uint64_t now)
{
    il_space *space = self->space->segment;
    bool rung[IL_BUCKETS], any = false;
    PyObject *found = PyList_New(0);
    for (int bucket = 0; bucket < IL_BUCKETS; bucket++) {
        /* Acquire: pairs with the release of who rang. */
        uint32_t rings = il_load_acquire(&space->header->rings[bucket]);
        rung[bucket] = rings != self->seen[bucket];
        any = any || rung[bucket];
        self->seen[bucket] = rings;
    }
    for (size_t i = 0; found != NULL && any && i < self->used; i++) {
        Waiter *waiter = self->heap[i];
        if (!waiter->dormant && waiter->due_ns > now && rung[il_bucket_of(space, waiter->act.wait.futex)] &&
            il_wait_is_ripe(space, &waiter->act.wait, now) && PyList_Append(found, (PyObject *)waiter) < 0)
            Py_CLEAR(found);
    }
    while (found != NULL && self->used > 0 && self->heap[0]->due_ns <= now) {
        Waiter *waiter = self->heap[0];
        waiter->due_ns = IL_FOREVER;
        sift(self, 0);
        if (PyList_Append(found, (PyObject *)waiter) < 0)
            Py_CLEAR(found);
    }
    return found;
}

/* poll() -> [(owner, outcome, exception or None), …] of the waits that have come to their end, which it watches no longer. */
static PyObject *port_poll(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Port *self = (Port *)object;
    il_port_hear(&self->port);
    PyObject *found = candidates(self, il_clock_ns()), *done = found != NULL ? PyList_New(0) : NULL;
    for (Py_ssize_t i = 0; done != NULL && i < PyList_GET_SIZE(found); i++) {
        Waiter *waiter = (Waiter *)PyList_GET_ITEM(found, i);
        if (waiter->port != self)
            continue;
        PyObject *result = take_step(waiter), *error = NULL;
        if (result == Py_None) {
            if (waiter->port == self)
                set_due(self, waiter);
            Py_DECREF(result);
            continue;
        }
        if (result == NULL) {
            PyObject *type, *traceback;
            PyErr_Fetch(&type, &error, &traceback);
            PyErr_NormalizeException(&type, &error, &traceback);
            if (traceback != NULL)
                PyException_SetTraceback(error, traceback);
            Py_XDECREF(type);
            Py_XDECREF(traceback);
        }
        PyObject *entry = Py_BuildValue("OOO", waiter->owner != NULL ? waiter->owner : Py_None, result != NULL ? result : Py_None,
                                        error != NULL ? error : Py_None);
        Py_XDECREF(result);
        Py_XDECREF(error);
        if (waiter->port == self)
            unwatch(waiter);
        if (entry == NULL || PyList_Append(done, entry) < 0)
            Py_CLEAR(done);
        Py_XDECREF(entry);
    }
    Py_XDECREF(found);
    if (done != NULL && expect(self) < 0)
        PyErr_WriteUnraisable(object); /* what is done has to be told in any case */
    return done;
}

static PyObject *port_fileno(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return PyLong_FromLong(((Port *)object)->port.fd);
}

/* Whether this process has forked since it was made: then it is the parent's. */
static PyObject *port_is_inherited(PyObject *object, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(!((Port *)object)->port.listed);
}

/* Whether the kernel tells it, without a thread. */
static PyObject *port_rings(PyObject *object, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Port *)object)->port.ring.fd >= 0);
}

static int port_traverse(PyObject *object, visitproc visit, void *arg)
{
    Port *self = (Port *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->space);
    for (size_t i = 0; i < self->used; i++)
        Py_VISIT(self->heap[i]);
    return 0;
}

static int port_clear(PyObject *object)
{
    Port *self = (Port *)object;
    while (self->used > 0)
        unwatch(self->heap[self->used - 1]);
    return 0;
}

static void port_dealloc(PyObject *object)
{
    Port *self = (Port *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    port_clear(object);
    if (self->open)
        il_port_close(&self->port);
    PyMem_Free(self->heap);
    Py_CLEAR(self->space);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef port_methods[] = {
    {"watch", port_watch, METH_VARARGS, NULL},
    {"forget", port_forget, METH_O, NULL},
    {"poll", port_poll, METH_NOARGS, NULL},
    {"fileno", port_fileno, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef port_getset[] = {
    {"inherited", port_is_inherited, NULL, NULL, NULL},
    {"rings", port_rings, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot port_slots[] = {
    {Py_tp_doc, PyDoc_STR("Where a loop looks at the waits of its tasks.")},
    {Py_tp_new, port_new},
    {Py_tp_methods, port_methods},
    {Py_tp_getset, port_getset},
    {Py_tp_traverse, port_traverse},
    {Py_tp_clear, port_clear},
    {Py_tp_dealloc, port_dealloc},
    {0, NULL},
};

PyType_Spec port_spec = {
    .name = "interlock._engine.Port",
    .basicsize = sizeof(Port),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = port_slots,
};
