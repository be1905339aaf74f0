/* Waiting in tasks and greenlets: an act that is pending as a Python object, and an awaitable for one that is not.
 *
 * A step of an act is always taken in the thread of the loop. So a task that is cancelled finds its act either pending, and abandons it,
 * or done, and gives back what it got. */
#include "task.h"

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

PyObject *take_step(Waiter *self)
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
        if (result == ACT_PENDING)
            il_wait_end(self->handle->space->segment, &self->act.wait);
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
    waiter->act.wait.note = 0; /* the wait itself ends it */
    PyObject *slept = PyObject_CallOneArg(self->state->hub_sleep, (PyObject *)waiter);
    waiter->over = true;
    Py_DECREF(waiter);
    Py_XDECREF(slept);
    return slept != NULL ? IL_OK : PERFORM_FAILED;
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

/* tell(done, error or None): its task goes on. Once: what comes of the telling itself, Ctrl-C, is no second end. */
static PyObject *waiter_tell(PyObject *object, PyObject *args)
{
    Waiter *self = (Waiter *)object;
    PyObject *error;
    int done;
    if (!PyArg_ParseTuple(args, "pO", &done, &error))
        return NULL;
    if (!self->told) {
        self->told = true;
        tell_wait(self->handle, &self->act, done, error != Py_None ? error : NULL);
    }
    Py_RETURN_NONE;
}

static PyObject *waiter_step(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return take_step((Waiter *)object);
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
    if (!goes_on)
        il_wait_end(self->handle->space->segment, &self->act.wait);
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
    if (!self->over)
        il_wait_end(self->handle->space->segment, &self->act.wait);
    Py_CLEAR(self->owner);
    Py_CLEAR(self->handle);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef waiter_methods[] = {
    {"step", waiter_step, METH_NOARGS, NULL},
    {"abandon", waiter_abandon, METH_NOARGS, NULL},
    {"give_back", waiter_give_back, METH_NOARGS, NULL},
    {"tell", waiter_tell, METH_VARARGS, NULL},
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
