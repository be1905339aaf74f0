/* Waiting in tasks: an act that is pending as a Python object, and a loop's place to look at many of them.
 *
 * Everything here runs in the thread of the loop. Port.poll() goes through what was rung up or is due (il_listen.c) and takes
 * the next step of each; what has come to its end is returned, with what came of it, for the loop's own futures. So a task that is
 * cancelled finds its act either pending, and abandons it, or done, and gives back what it got. */
#include <errno.h>

#include "binding.h"
#include "il_platform.h"

/* --- an awaitable that is ready --- */

typedef struct {
    PyObject_HEAD
    PyObject *value;
} Ready;

PyObject *ready(ModuleState *state, PyObject *value)
{
    Ready *self = (Ready *)state->ready_type->tp_alloc(state->ready_type, 0);
    if (self != NULL)
        self->value = Py_NewRef(value);
    return (PyObject *)self;
}

static PyObject *ready_self(PyObject *object)
{
    return Py_NewRef(object);
}

static PyObject *ready_next(PyObject *object)
{
    PyErr_SetObject(PyExc_StopIteration, ((Ready *)object)->value);
    return NULL;
}

static PySendResult ready_send(PyObject *object, PyObject *Py_UNUSED(value), PyObject **result)
{
    *result = Py_NewRef(((Ready *)object)->value);
    return PYGEN_RETURN;
}

static int ready_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((Ready *)object)->value);
    return 0;
}

static void ready_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    Py_XDECREF(((Ready *)object)->value);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyType_Slot ready_slots[] = {
    {Py_tp_doc, PyDoc_STR("An awaitable whose value is there already.")},
    {Py_am_await, ready_self},
    {Py_am_send, ready_send},
    {Py_tp_iter, ready_self},
    {Py_tp_iternext, ready_next},
    {Py_tp_traverse, ready_traverse},
    {Py_tp_dealloc, ready_dealloc},
    {0, NULL},
};

PyType_Spec ready_spec = {
    .name = "interlock._engine.Ready",
    .basicsize = sizeof(Ready),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ready_slots,
};

/* --- an act that is pending --- */

typedef struct Port Port;

typedef struct {
    PyObject_HEAD
    Handle *handle;
    Act act;
    PyObject *owner; /* whose future it is, for poll() to tell */
    Port *port;      /* borrowed: where it is watched, NULL elsewhere */
    size_t place;    /* in the port's heap */
    uint64_t due_ns;
    uint32_t made_at; /* `forked_from`, then */
    bool stepping, dropped; /* a step is under way; the wait was abandoned meanwhile */
    bool dormant;     /* others stand before it: looked at for its deadline alone */
    bool over;
} Waiter;

/* What came of an act, as an object: True, False or a place. NULL with an exception. */
static PyObject *outcome(const Handle *handle, const Act *act, int result)
{
    if (result == ACT_FAILED)
        return NULL;
    if (handle->kind == IL_KIND_BARRIER)
        return PyLong_FromUnsignedLong(act->place);
    return PyBool_FromLong(result == ACT_DONE);
}

static Waiter *new_waiter(ModuleState *state, Handle *handle)
{
    Waiter *self = (Waiter *)state->waiter_type->tp_alloc(state->waiter_type, 0);
    if (self != NULL) {
        self->handle = (Handle *)Py_NewRef(handle);
        self->made_at = il_load_relaxed(&forked_from);
    }
    return self;
}

/* What came of it, or None: it is pending. NULL with an exception. */
static PyObject *step(Waiter *self)
{
    /* Another process's place in the queue and word of the lock. */
    if (self->made_at != il_load_relaxed(&forked_from)) {
        self->over = true;
        PyErr_SetString(PyExc_RuntimeError, "this task began to wait before its process was forked: the child has no part in that");
        return NULL;
    }
    /* What it runs, on_recover or an action, runs for the task, and may end the task's wait. */
    uint64_t before = acting_for;
    acting_for = self->act.token;
    self->stepping = true;
    int result = self->act.take(self->handle, &self->act);
    self->stepping = false;
    if (self->dropped) {
        if (result == ACT_DONE && self->act.undo != NULL)
            Py_XDECREF(self->act.undo((PyObject *)self->handle, NULL));
        else if (result == ACT_PENDING && self->act.abandon != NULL && self->act.abandon(self->handle, &self->act))
            self->act.abandon(self->handle, &self->act);
        if (PyErr_Occurred())
            PyErr_WriteUnraisable((PyObject *)self);
        result = ACT_NOT_IN_TIME;
    }
    acting_for = before;
    self->over = result != ACT_PENDING;
    return self->over ? outcome(self->handle, &self->act, result) : Py_NewRef(Py_None);
}

int begin_act(Handle *self, Act *act, PyObject **pending)
{
    Waiter *waiter = new_waiter(self->state, self);
    if (waiter == NULL)
        return ACT_FAILED;
    act->wait.listens = true;
    act->wait.restless = false;
    il_store_relaxed(&tasks_act, 1);
    int result = act->take(self, act);
    waiter->act = *act;
    waiter->over = result != ACT_PENDING;
    if (result == ACT_PENDING)
        *pending = (PyObject *)waiter;
    else
        Py_DECREF(waiter);
    return result;
}

/* Whether a task is asked for the like of a thread's token. Values and Arrays are re-entrant locks, too. */
static bool knows_tasks(const Handle *self)
{
    return self->kind == IL_KIND_RLOCK || self->kind == IL_KIND_RWLOCK || self->kind == IL_KIND_CONDITION ||
           self->kind == IL_KIND_VALUE || self->kind == IL_KIND_ARRAY;
}

int tasks_may_come(Handle *self)
{
    if (il_load_relaxed(&tasks_matter) || !knows_tasks(self) ||
        PyDict_GetItemString(PyImport_GetModuleDict(), "asyncio.tasks") == NULL)
        return 0;
    return tasks_begin(self);
}

int tasks_begin(Handle *self)
{
    ModuleState *state = state_of(Py_TYPE(self));
    if (state->settle != NULL)
        return 0;
    if (state->hub_sleep != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "asyncio's tasks cannot wait in a program whose threads gevent has replaced");
        return -1;
    }
    PyObject *aio = PyImport_ImportModule("interlock.aio");
    PyObject *lent = aio != NULL ? PyObject_GetAttrString(aio, "LENT") : NULL;
    Py_XDECREF(aio);
    PyObject *running, *current, *token, *hold, *settle;
    int failed = lent == NULL || !PyArg_ParseTuple(lent, "OOOOO", &running, &current, &token, &hold, &settle);
    if (!failed) {
        Py_XSETREF(state->running_loop, Py_NewRef(running));
        Py_XSETREF(state->current_task, Py_NewRef(current));
        Py_XSETREF(state->token_of_task, Py_NewRef(token));
        Py_XSETREF(state->settle_hold, Py_NewRef(hold));
        Py_XSETREF(state->settle, Py_NewRef(settle));
#if PY_VERSION_HEX < 0x030C0000
        /* Modules/_asynciomodule.c of 3.11; the module in Python, and later versions, have other places for it. */
        if (PyCFunction_Check(running))
            Py_XSETREF(state->loop_key, PyUnicode_InternFromString("__asyncio_running_event_loop__"));
        PyErr_Clear(); /* without it, asyncio is asked */
#endif
        il_store_release(&tasks_matter, 1);
    }
    Py_XDECREF(lent);
    return failed ? -1 : 0;
}

PyObject *begun(Handle *self, Act *act)
{
    PyObject *waiter;
    if (tasks_begin(self) < 0)
        return NULL;
    int result = begin_act(self, act, &waiter);
    return result == ACT_PENDING ? waiter : outcome(self, act, result);
}

/* --- greenlets --- */

static int look_again(Handle *Py_UNUSED(self), Act *Py_UNUSED(act))
{
    return ACT_DONE;
}

int hub_sleep(Handle *self, const il_wait *wait)
{
    Waiter *waiter = new_waiter(self->state, self);
    if (waiter == NULL)
        return PERFORM_FAILED;
    /* A copy: this stack is not to be looked into while other greenlets run. */
    waiter->act = (Act){.take = look_again, .wait = *wait};
    PyObject *slept = PyObject_CallOneArg(self->state->hub_sleep, (PyObject *)waiter);
    waiter->over = true;
    Py_DECREF(waiter);
    Py_XDECREF(slept);
    return slept != NULL ? IL_OK : PERFORM_FAILED;
}

static int lend_hub(ModuleState *state)
{
    PyObject *hub = PyImport_ImportModule("interlock.hub");
    PyObject *lent = hub != NULL ? PyObject_GetAttrString(hub, "LENT") : NULL;
    PyObject *running, *current, *token, *sleep;
    Py_XDECREF(hub);
    int failed = lent == NULL || !PyArg_ParseTuple(lent, "OOOO", &running, &current, &token, &sleep);
    if (!failed) {
        Py_XSETREF(state->running_loop, Py_NewRef(running));
        Py_XSETREF(state->current_task, Py_NewRef(current));
        Py_XSETREF(state->token_of_task, Py_NewRef(token));
        Py_XSETREF(state->hub_sleep, Py_NewRef(sleep));
        Py_CLEAR(state->loop_key);
        il_store_relaxed(&tasks_act, 1);
        il_store_release(&tasks_matter, 1);
    }
    Py_XDECREF(lent);
    return failed ? -1 : 0;
}

int hub_look(ModuleState *state)
{
    if (state->hub_sleep != NULL)
        return 0;
    if (state->hub_module == NULL && (state->hub_module = PyUnicode_InternFromString("gevent.monkey")) == NULL)
        return -1;
    PyObject *monkey = PyImport_GetModule(state->hub_module);
    if (monkey == NULL)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *answer = PyObject_CallMethod(monkey, "is_module_patched", "s", "threading");
    int patched = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    Py_DECREF(monkey);
    return patched <= 0 ? patched : lend_hub(state);
}

PyObject *handle_aenter(PyObject *object, PyObject *Py_UNUSED(unused))
{
    Handle *self = (Handle *)object;
    ModuleState *state = self->state;
    if (knows_tasks(self) && state->settle == NULL && tasks_begin(self) < 0)
        return NULL;
    uint64_t agent = 0;
    il_store_relaxed(&tasks_act, 1);
    int result = self->at_once != NULL ? self->at_once(self, &agent) : ACT_PENDING;
    PyObject *waiter;
    if (result == ACT_PENDING) {
        Act act = {.take = self->take, .abandon = self->abandon, .undo = self->give, .token = agent, .wait = {.deadline_ns = IL_FOREVER}};
        result = begin_act(self, &act, &waiter);
    }
    if (result != ACT_PENDING)
        return result == ACT_DONE ? Py_NewRef(state->ready_true) : NULL;
    PyObject *rest = tasks_begin(self) == 0 ? PyObject_CallOneArg(state->settle, waiter) : NULL;
    Py_DECREF(waiter);
    return rest;
}

PyObject *handle_aexit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    PyObject *done = ((Handle *)object)->give(object, NULL);
    if (done == NULL)
        return NULL;
    Py_DECREF(done);
    return Py_NewRef(((Handle *)object)->state->ready_none);
}

/* give_back(): what a task was granted and has no use for. */
static PyObject *waiter_give_back(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Waiter *self = (Waiter *)object;
    if (self->act.undo == NULL)
        Py_RETURN_NONE;
    uint64_t before = acting_for;
    acting_for = self->act.token; /* the task may be gone */
    PyObject *done = self->act.undo((PyObject *)self->handle, NULL);
    acting_for = before;
    return done;
}

static PyObject *waiter_step(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return step((Waiter *)object);
}

/* abandon() -> whether it has to go on until it ends, for the lock that it must have again. */
static PyObject *waiter_abandon(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Waiter *self = (Waiter *)object;
    bool goes_on = false;
    if (self->stepping) {
        self->dropped = true;
        Py_RETURN_FALSE;
    }
    if (!self->over && self->act.abandon != NULL && self->made_at == il_load_relaxed(&forked_from))
        goes_on = self->act.abandon(self->handle, &self->act);
    self->over = !goes_on;
    return PyBool_FromLong(goes_on);
}

static int waiter_traverse(PyObject *object, visitproc visit, void *arg)
{
    Waiter *self = (Waiter *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->handle);
    Py_VISIT(self->owner);
    return 0;
}

static int waiter_clear(PyObject *object)
{
    Py_CLEAR(((Waiter *)object)->owner);
    return 0;
}

static void waiter_dealloc(PyObject *object)
{
    Waiter *self = (Waiter *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (!self->over && self->act.abandon != NULL && self->made_at == il_load_relaxed(&forked_from) &&
        self->act.abandon(self->handle, &self->act))
        self->act.abandon(self->handle, &self->act);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->handle);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef waiter_methods[] = {
    {"step", waiter_step, METH_NOARGS, NULL},
    {"abandon", waiter_abandon, METH_NOARGS, NULL},
    {"give_back", waiter_give_back, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef waiter_members[] = {
    {"owner", T_OBJECT, offsetof(Waiter, owner), 0, NULL},
    {"handle", T_OBJECT, offsetof(Waiter, handle), READONLY, NULL},
    {"over", T_BOOL, offsetof(Waiter, over), READONLY, NULL},
    {"stage", T_UBYTE, offsetof(Waiter, act) + offsetof(Act, stage), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot waiter_slots[] = {
    {Py_tp_doc, PyDoc_STR("A wait that is pending.")},
    {Py_tp_methods, waiter_methods},
    {Py_tp_members, waiter_members},
    {Py_tp_traverse, waiter_traverse},
    {Py_tp_clear, waiter_clear},
    {Py_tp_dealloc, waiter_dealloc},
    {0, NULL},
};

PyType_Spec waiter_spec = {
    .name = "interlock._engine.Waiter",
    .basicsize = sizeof(Waiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = waiter_slots,
};

/* --- where a loop looks --- */

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
    waiter->due_ns = waiter->dormant ? waiter->act.wait.deadline_ns : waiter->act.wait.due_ns;
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

/* Port(space) */
static PyObject *port_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    ModuleState *state = state_of(type);
    PyObject *space;
    if (state == NULL || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) ||
        !PyArg_ParseTuple(args, "O!", state->space_type, &space))
        return NULL;
    Port *self = (Port *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->space = (SpaceObject *)Py_NewRef(space);
    int code = il_port_open(&self->port, self->space->segment);
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
    if (self->port.listed) /* else it is the parent's to hear */
        il_signal_hear(self->port.fd);
    PyObject *found = candidates(self, il_clock_ns()), *done = found != NULL ? PyList_New(0) : NULL;
    for (Py_ssize_t i = 0; done != NULL && i < PyList_GET_SIZE(found); i++) {
        Waiter *waiter = (Waiter *)PyList_GET_ITEM(found, i);
        if (waiter->port != self)
            continue;
        PyObject *result = step(waiter), *error = NULL;
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
