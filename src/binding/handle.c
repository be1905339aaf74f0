/* What all handles share: names, spaces, recovery, and what can be asked of a lock. */
#include <stdio.h>

#include "binding.h"
#include "il_platform.h"

il_u32 forks;
il_u32 forked_from;

ModuleState *state_of(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &engine_module);
    return module != NULL ? PyModule_GetState(module) : NULL;
}

/* --- making --- */

int check_not_forgotten(PyTypeObject *type, uint8_t kind, PyObject *name)
{
    const char *option = kind == IL_KIND_BARRIER                                          ? "parties"
                         : kind == IL_KIND_SEMAPHORE || kind == IL_KIND_BOUNDED_SEMAPHORE ? "value"
                                                                                          : NULL;
    if (name == NULL || !PyLong_Check(name))
        return 0;
    if (option != NULL)
        PyErr_Format(PyExc_TypeError,
                     "%s() takes a name (str) first, not int: write %s(\"name\", %S), or %s(%s=%S) for an anonymous one",
                     type->tp_name, type->tp_name, name, type->tp_name, option, name);
    else
        PyErr_Format(PyExc_TypeError, "%s() takes a name (str) first, not int: write %s(\"%S\")", type->tp_name,
                     type->tp_name, name);
    return -1;
}

static int check_name(PyTypeObject *type, uint8_t kind, PyObject *given, PyObject **name)
{
    if (given == NULL || given == Py_None) {
        uint64_t random[2];
        char text[48];
        int failed = il_random(random, sizeof random);
        if (failed != 0) {
            errno = -failed;
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        snprintf(text, sizeof text, "anonymous-%016llx%016llx", (unsigned long long)random[0],
                 (unsigned long long)random[1]);
        *name = PyUnicode_FromString(text);
        return *name != NULL ? 0 : -1;
    }
    if (check_not_forgotten(type, kind, given) < 0)
        return -1;
    if (!PyUnicode_Check(given)) {
        PyErr_Format(PyExc_TypeError, "%s() takes a name (str) first, not %.100s%s", type->tp_name, Py_TYPE(given)->tp_name,
                     kind == IL_KIND_CONDITION ? "; a lock is passed as lock=…" : "");
        return -1;
    }
    Py_ssize_t length;
    const char *bytes = PyUnicode_AsUTF8AndSize(given, &length);
    if (bytes == NULL)
        return -1;
    if (length == 0)
        PyErr_SetString(PyExc_ValueError, "a name must not be empty; pass None for an anonymous object");
    else if (length > IL_NAME_MAX)
        PyErr_Format(PyExc_ValueError, "a name has at most %d bytes in UTF-8, this one has %zd", IL_NAME_MAX, length);
    else if (memchr(bytes, '\0', (size_t)length) != NULL)
        PyErr_SetString(PyExc_ValueError, "a name must not contain a NUL character");
    else {
        *name = Py_NewRef(given);
        return 0;
    }
    return -1;
}

static SpaceObject *space_for(ModuleState *state, PyObject *given)
{
    bool is_default = given == NULL || given == Py_None;
    SpaceObject *kept = (SpaceObject *)atomic_load_explicit(&state->default_space, memory_order_acquire);
    if (is_default && kept != NULL && kept->self == kept->segment->self)
        return (SpaceObject *)Py_NewRef(kept);
    if (state->find_space == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "interlock is being torn down with its interpreter");
        return NULL;
    }
    PyObject *found = given != NULL && PyObject_TypeCheck(given, state->space_type)
                          ? Py_NewRef(given)
                          : PyObject_CallOneArg(state->find_space, given != NULL ? given : Py_None);
    if (found == NULL)
        return NULL;
    if (!PyObject_TypeCheck(found, state->space_type)) {
        PyErr_Format(PyExc_TypeError, "space must be a Space or its URL, not %.100s", Py_TYPE(found)->tp_name);
        Py_CLEAR(found);
    } else if (((SpaceObject *)found)->segment == NULL) {
        PyErr_SetString(PyExc_ValueError, "this Space was never opened: its __init__ was not called, or failed");
        Py_CLEAR(found);
    } else if (is_default) {
        PyObject *none = NULL;
        if (atomic_compare_exchange_strong(&state->default_space, &none, found))
            Py_INCREF(found);
    }
    return (SpaceObject *)found;
}

/* Puts a reference that was looked up in the place of the one that was found stale. If another thread was faster, its one
 * stays: a stale reference never becomes valid again, so nobody can replace the one of a lock that is held. */
static void replace_ref(Handle *self, il_ref seen, il_ref found)
{
    il_cas_relaxed(&self->ref, &seen, found);
}

enum { STRIPE_TRIES = 100 };

/* With which parameter the object is in use, if it still is and its stripe is to be had. */
static il_error parameter_in_use(Handle *self, const char *name, size_t length)
{
    il_error error = {.code = IL_PARAMETER};
    int code = IL_BUSY;
    for (int tries = 0; code == IL_BUSY && tries < STRIPE_TRIES; tries++) {
        il_wait now = {.deadline_ns = IL_NOW};
        code = il_table_parameter(self->space->segment, name, length, self->kind, &now, &error.wanted);
    }
    error.found = code == IL_OK && error.wanted != self->parameter;
    return error;
}

int resolve(Handle *self, il_ref seen, il_wait *wait)
{
    il_space *segment = self->space->segment;
    Py_ssize_t length;
    const char *name = PyUnicode_AsUTF8AndSize(self->name, &length);
    if (name == NULL)
        return -1;
    il_ref ref = 0;
    uint8_t found = 0;
    /* Nearly always nobody has the stripe, or not for long: not worth letting go of the GIL. */
    int code = IL_BUSY;
    for (int tries = 0; code == IL_BUSY && tries < STRIPE_TRIES; tries++) {
        il_wait now = {.deadline_ns = IL_NOW};
        code = il_table_resolve(segment, name, (size_t)length, self->kind, self->parameter, &now, &ref, &found);
    }
    if (code == IL_BUSY && wait->deadline_ns != IL_NOW) {
        Py_BEGIN_ALLOW_THREADS;
        code = il_table_resolve(segment, name, (size_t)length, self->kind, self->parameter, wait, &ref, &found);
        Py_END_ALLOW_THREADS;
    }
    if (code == IL_OK)
        replace_ref(self, seen, ref);
    else if (code == IL_PARAMETER) {
        il_error other = parameter_in_use(self, name, (size_t)length);
        raise_code(state_of(Py_TYPE(self)), code, self->space, self, &other, found);
    } else if (code != IL_BUSY && code != IL_TIMEDOUT && code != IL_INTERRUPTED)
        raise_code(state_of(Py_TYPE(self)), code, self->space, self, NULL, found);
    else
        return code;
    return code == IL_OK ? 0 : -1;
}

void raise_closed(SpaceObject *space, Handle *handle)
{
    il_error closed = {.code = IL_NO_SPACE_FILE, .found = 1};
    raise_code(state_of(Py_TYPE(space)), IL_NO_SPACE_FILE, space, handle, &closed, 0);
}

int check_open(Handle *self)
{
    if (self->space->self == self->space->segment->self)
        return 0;
    raise_closed(self->space, self);
    return -1;
}

Handle *handle_make(PyTypeObject *type, PyObject *name, PyObject *space, uint8_t kind, uint64_t parameter)
{
    ModuleState *state = state_of(type);
    PyObject *checked;
    if (state == NULL || check_name(type, kind, name, &checked) < 0)
        return NULL;
    SpaceObject *place = hub_look(state) == 0 ? space_for(state, space) : NULL;
    Handle *self = place != NULL ? (Handle *)type->tp_alloc(type, 0) : NULL;
    if (self == NULL) {
        Py_DECREF(checked);
        Py_XDECREF(place);
        return NULL;
    }
    self->space = place;
    self->state = state;
    self->name = checked;
    self->kind = kind;
    self->parameter = parameter;
    self->made_at = il_load_relaxed(&forks);
    self->rules = kind == IL_KIND_SEMAPHORE || kind == IL_KIND_BOUNDED_SEMAPHORE ? RULES_SEMAPHORE : RULES_LOCK;
    il_wait wait = {.deadline_ns = IL_FOREVER, .restless = true};
    int code = check_open(self) < 0 ? -1 : IL_INTERRUPTED;
    while (code == IL_INTERRUPTED) {
        code = resolve(self, 0, &wait);
        if (code == IL_INTERRUPTED && PyErr_CheckSignals() != 0)
            code = -1;
    }
    if (code != 0 || tasks_may_come(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->rooted = name == NULL || name == Py_None;
    self->made_by = il_load_relaxed(place->self);
    return self;
}

int check_on_recover(PyObject **given)
{
    if (*given == Py_None)
        *given = NULL;
    if (*given == NULL || PyCallable_Check(*given))
        return 0;
    PyErr_Format(PyExc_TypeError, "on_recover must be callable, not %.100s", Py_TYPE(*given)->tp_name);
    return -1;
}

bool lock_abandon(Handle *self, Act *Py_UNUSED(act))
{
    il_ref ref = il_load_relaxed(&self->ref);
    il_mutex_withdraw(mutex_of(self, ref), il_ref_key(ref));
    return false;
}

PyObject *handle_new(PyTypeObject *type, PyObject *args, PyObject *kwargs, uint8_t kind,
                     int (*take_it)(Handle *, Act *), PyObject *(*give_it)(PyObject *, PyObject *))
{
    static char *keywords[] = {"name", "space", "on_recover", "foreign_release", NULL};
    PyObject *name = NULL, *space = NULL, *on_recover = NULL;
    int foreign_release = 0;
    const char *format = kind == IL_KIND_LOCK ? "|O$OOp:Lock" : "|O$OOp:RLock";
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, keywords, &name, &space, &on_recover, &foreign_release))
        return NULL;
    if (check_on_recover(&on_recover) < 0)
        return NULL;
    if (foreign_release && kind != IL_KIND_LOCK) {
        PyErr_SetString(PyExc_TypeError, "foreign_release is for Lock: a re-entrant lock is released by its owner alone");
        return NULL;
    }
    Handle *self = handle_make(type, name, space, kind, 0);
    if (self != NULL) {
        self->take = take_it;
        self->give = give_it;
        self->abandon = lock_abandon;
        self->on_recover = Py_XNewRef(on_recover);
        self->foreign_release = foreign_release != 0;
    }
    return (PyObject *)self;
}

void chain_error(PyObject *type, PyObject *value, PyObject *traceback)
{
    if (type != NULL) {
        PyObject *later_type, *later, *later_traceback;
        PyErr_NormalizeException(&type, &value, &traceback);
        PyErr_Fetch(&later_type, &later, &later_traceback);
        PyErr_NormalizeException(&later_type, &later, &later_traceback);
        if (later != value)
            PyException_SetContext(later, Py_XNewRef(value));
        PyErr_Restore(later_type, later, later_traceback);
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
}

int share_of(Handle *self, il_ref ref, const il_wait *wait, il_share *share)
{
    *share = kept_share(self);
    if (*share != 0 && il_load_relaxed(il_share_count(self->space->segment, *share)) >> 32 == *share >> 32)
        return IL_OK;
    int code = il_share_of(self->space->segment, ref, wait, share);
    if (code == IL_OK) {
        il_store_relaxed(&self->share, *share);
        il_store_release(&self->share_slot, il_self(self->space->segment));
    }
    return code;
}

void forget_object(il_space *segment, il_ref ref, bool with_data)
{
    int code = IL_BUSY;
    for (int tries = 0; code == IL_BUSY && tries < STRIPE_TRIES; tries++)
        code = il_table_forget(segment, ref, with_data, &(il_wait){.deadline_ns = IL_NOW});
}

/* Forgets an anonymous object with state to keep, which nobody else can have a handle of. If its stripe is taken it stays until
 * the space goes. */
static void forget(Handle *self)
{
    il_space *segment = self->space->segment;
    bool lasting = self->kind == IL_KIND_SEMAPHORE || self->kind == IL_KIND_EVENT || self->kind == IL_KIND_BARRIER;
    if (!lasting || !self->rooted || self->made_at != il_load_relaxed(&forks) || self->space->self != segment->self ||
        self->made_by != il_self(segment))
        return;
    forget_object(segment, il_load_relaxed(&self->ref), false);
}

int handle_traverse(PyObject *object, visitproc visit, void *arg)
{
    Handle *self = (Handle *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->space);
    Py_VISIT(self->name);
    Py_VISIT(self->on_recover);
    return 0;
}

int handle_clear(PyObject *object)
{
    /* The space stays: a finalizer may still release this lock. */
    Py_CLEAR(((Handle *)object)->on_recover);
    return 0;
}

void handle_dealloc(PyObject *object)
{
    Handle *self = (Handle *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    if (self->weakrefs != NULL)
        PyObject_ClearWeakRefs(object);
    forget(self);
    Py_CLEAR(self->on_recover);
    Py_CLEAR(self->space);
    Py_CLEAR(self->name);
    type->tp_free(object);
    Py_DECREF(type);
}

/* --- taking and releasing --- */

static PyObject *record_of(Handle *self, const il_owner *owner, uint64_t died_ns)
{
    PyObject *row = owner_row(owner, died_ns), *record = NULL;
    if (row != NULL)
        record = PyObject_CallFunction(self->state->owner_of, "O", row); /* a tuple: so many arguments */
    Py_XDECREF(row);
    return record;
}

PyObject *dead_owner(Handle *self, il_ref ref)
{
    const il_cell *cell = il_ref_cell(self->space->segment, ref);
    il_owner owner;
    il_cell_dead_owner(cell, &owner);
    return record_of(self, &owner, il_load_relaxed(&cell->dead_ns));
}

/* Lets the user repair what a dead owner left half done. On an exception the lock is free again, and still marked. */
int recover(Handle *self, il_ref ref)
{
    PyObject *owner = dead_owner(self, ref), *result = NULL;
    if (owner != NULL)
        result = PyObject_CallOneArg(self->on_recover, owner);
    Py_XDECREF(owner);
    if (result != NULL) {
        Py_DECREF(result);
        return 1;
    }
    il_mutex *mutex = mutex_of(self, ref);
    il_store_relaxed(&mutex->depth, 1); /* however often on_recover took it again */
    if (self->kind == IL_KIND_RWLOCK)
        il_rwlock_write_unlock(self->space->segment, ref, IL_UNLOCK_KEEP_ORPHAN);
    else if (self->kind != IL_KIND_LOCK)
        il_rlock_unlock(self->space->segment, mutex, il_ref_key(ref), il_load_relaxed(&mutex->holder),
                        IL_UNLOCK_KEEP_ORPHAN);
    else
        il_mutex_unlock(self->space->segment, mutex, il_ref_key(ref), IL_UNLOCK_KEEP_ORPHAN);
    return -1;
}

PyObject *released(Handle *self, int code)
{
    if (code == IL_OK)
        Py_RETURN_NONE;
    il_error error = {.code = code};
    bool broken = code == IL_NOT_HELD || code == IL_NOT_OWNER;
    if (broken)
        error.found = il_cell_broken_by(self->space->segment, il_ref_cell(self->space->segment, il_load_relaxed(&self->ref)));
    return raise_code(self->state, code, self->space, self, broken && error.found != 0 ? &error : NULL, 0);
}

il_ref present_ref(Handle *self, int *failed)
{
    il_space *segment = self->space->segment;
    *failed = 0;
    for (;;) {
        il_ref ref = il_load_relaxed(&self->ref), found = 0;
        /* Acquire: pairs with the release of whoever gave the cell its name. */
        if ((il_load_acquire(&mutex_of(self, ref)->word) & IL_GENERATION) == il_ref_key(ref))
            return ref;
        Py_ssize_t length;
        const char *name = PyUnicode_AsUTF8AndSize(self->name, &length);
        il_wait wait = {.deadline_ns = IL_FOREVER, .restless = true};
        int code = IL_ABSENT;
        if (name != NULL) {
            Py_BEGIN_ALLOW_THREADS;
            code = il_table_find(segment, name, (size_t)length, self->kind, self->parameter, &wait, &found);
            Py_END_ALLOW_THREADS;
        }
        if (name != NULL && code == IL_OK)
            replace_ref(self, ref, found);
        else if (name != NULL && code == IL_ABSENT)
            return 0;
        else if (name == NULL || code != IL_INTERRUPTED || PyErr_CheckSignals() != 0) {
            if (!PyErr_Occurred())
                raise_code(state_of(Py_TYPE(self)), code, self->space, self, NULL, 0);
            *failed = -1;
            return 0;
        }
    }
}

/* --- asking --- */

static PyObject *handle_locked(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Handle *self = (Handle *)object;
    int failed, locked = 0;
    il_ref ref = present_ref(self, &failed);
    if (ref != 0)
        locked = il_mutex_locked(self->space->segment, mutex_of(self, ref), il_ref_key(ref));
    if (locked < 0)
        return raise_code(state_of(Py_TYPE(self)), locked, self->space, self, NULL, 0);
    return failed ? NULL : PyBool_FromLong(locked);
}

static PyObject *handle_owner(PyObject *object, void *Py_UNUSED(closure))
{
    Handle *self = (Handle *)object;
    int failed, code = IL_NOT_HELD;
    il_ref ref = present_ref(self, &failed);
    il_owner owner;
    if (ref != 0)
        code = il_mutex_owner(self->space->segment, mutex_of(self, ref), il_ref_key(ref), &owner);
    if (failed)
        return NULL;
    if (code == IL_NOT_HELD)
        Py_RETURN_NONE;
    if (code != IL_OK)
        return raise_code(state_of(Py_TYPE(self)), code, self->space, self, NULL, 0);
    return record_of(self, &owner, 0);
}

static PyObject *handle_fence(PyObject *object, void *Py_UNUSED(closure))
{
    Handle *self = (Handle *)object;
    int failed;
    il_ref ref = present_ref(self, &failed);
    il_u64 *fence = ref != 0 ? &mutex_of(self, ref)->fence : &self->space->segment->header->fence_floor;
    return failed ? NULL : PyLong_FromUnsignedLongLong(il_load_relaxed(fence));
}

static PyObject *handle_recovered(PyObject *object, void *Py_UNUSED(closure))
{
    Handle *self = (Handle *)object;
    int failed;
    il_ref ref = present_ref(self, &failed);
    uint32_t half = ref != 0 ? (uint32_t)il_load_relaxed(&mutex_of(self, ref)->word) : 0;
    uint32_t slot = il_self(self->space->segment);
    if (failed)
        return NULL;
    if (slot == 0 || (half & IL_OWNER) != slot || !(half & IL_ORPHAN))
        Py_RETURN_NONE;
    return dead_owner(self, ref);
}

static PyObject *handle_counts(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Handle *self = (Handle *)object;
    int failed;
    il_ref ref = present_ref(self, &failed);
    if (failed)
        return NULL;
    if (ref == 0)
        return Py_BuildValue("KKId", 0ull, 0ull, 0u, 0.0);
    const il_mutex *mutex = mutex_of(self, ref);
    uint64_t base = il_ref_cell(self->space->segment, ref)->fence_base;
    return Py_BuildValue("KKId", (unsigned long long)(il_load_relaxed(&mutex->fence) - base),
                         (unsigned long long)il_load_relaxed(&mutex->contended),
                         (unsigned int)il_load_relaxed(&mutex->recoveries),
                         (double)il_load_relaxed(&mutex->waited_ns) / 1e9);
}

/* Somebody may get a handle of it from what this handle pickles to. */
static PyObject *handle_travels(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    ((Handle *)object)->rooted = false;
    Py_RETURN_NONE;
}

static PyObject *handle_name(PyObject *object, void *Py_UNUSED(closure))
{
    ((Handle *)object)->rooted = false; /* who knows the name may open it */
    return Py_NewRef(((Handle *)object)->name);
}

static PyObject *handle_waiters(PyObject *object, void *Py_UNUSED(closure))
{
    PyObject *watch = PyImport_ImportModule("interlock.watch");
    PyObject *found = watch != NULL ? PyObject_CallMethod(watch, "waiters", "O", object) : NULL;
    Py_XDECREF(watch);
    return found;
}

/* _ask(timeout) -> True, False or a Waiter: acquires in a task. */
static PyObject *handle_ask(PyObject *object, PyObject *timeout)
{
    Handle *self = (Handle *)object;
    bool strict = self->rules == RULES_LOCK && self->give != NULL;
    Act act = {.take = self->take, .abandon = self->abandon, .undo = self->give};
    if (self->take == NULL) {
        PyErr_Format(PyExc_TypeError, "%.100s cannot be waited for", Py_TYPE(self)->tp_name);
        return NULL;
    }
    if (PyBool_Check(timeout)) {
        PyErr_SetString(PyExc_TypeError, "timeout is a number of seconds, or None for ever, not a bool: to try without waiting, timeout=0");
        return NULL;
    }
    if ((strict ? deadline_from(NULL, timeout, &act.wait.deadline_ns) : lenient_deadline(timeout, &act.wait.deadline_ns)) < 0)
        return NULL;
    return begun(self, &act);
}

static PyMethodDef handle_methods[] = {
    {"_ask", handle_ask, METH_O, NULL},
    {"__init_subclass__", (PyCFunction)(void (*)(void))handle_init_subclass, METH_VARARGS | METH_KEYWORDS | METH_CLASS, NULL},
    {"_travels", handle_travels, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef handle_getset[] = {
    {"name", handle_name, NULL, PyDoc_STR("The name, made up for an anonymous object."), NULL},
    {"waiters", handle_waiters, NULL,
     PyDoc_STR("Who waits for it, a list of Waiting, the longest first. A snapshot of those who have waited for more than\n"
               "some milliseconds."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef handle_members[] = {
    {"_kind", T_UBYTE, offsetof(Handle, kind), READONLY, NULL},
    {"_name", T_OBJECT_EX, offsetof(Handle, name), READONLY, NULL},
    {"_rules", T_UBYTE, offsetof(Handle, rules), 0, NULL},
    {"space", T_OBJECT_EX, offsetof(Handle, space), READONLY, PyDoc_STR("The Space the name lives in.")},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Handle, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_doc, PyDoc_STR("Base of all handles: a name in a space.")},
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_traverse, handle_traverse},
    {Py_tp_clear, handle_clear},
    {Py_tp_methods, handle_methods},
    {Py_tp_getset, handle_getset},
    {Py_tp_members, handle_members},
    {0, NULL},
};

PyType_Spec handle_spec = {
    .name = "interlock._engine.Handle",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = handle_slots,
};

/* --- what is lock-like besides --- */

static PyMethodDef locklike_methods[] = {
    {"locked", handle_locked, METH_NOARGS,
     PyDoc_STR("locked($self, /)\n--\n\nWhether somebody alive holds it, this process included.")},
    {"_counts", handle_counts, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef locklike_getset[] = {
    {"owner", handle_owner, NULL, PyDoc_STR("Who holds it, an Owner, or None. A snapshot."), NULL},
    {"fence", handle_fence, NULL,
     PyDoc_STR("The number of the latest acquisition. It rises with every acquisition of this name, in every process:\n"
               "pass it along with writes, so that a store can refuse a former owner's."),
     NULL},
    {"recovered", handle_recovered, NULL,
     PyDoc_STR("The Owner from whose death this acquisition took over, while it is held; else None."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef locklike_members[] = {
    {"on_recover", T_OBJECT, offsetof(Handle, on_recover), READONLY, PyDoc_STR("The function given, or None.")},
    {"_foreign_release", T_BOOL, offsetof(Handle, foreign_release), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot locklike_slots[] = {
    {Py_tp_doc, PyDoc_STR("Base of the handles that are lock-like.")},
    {Py_tp_methods, locklike_methods},
    {Py_tp_getset, locklike_getset},
    {Py_tp_members, locklike_members},
    {0, NULL},
};

PyType_Spec locklike_spec = {
    .name = "interlock._engine.LockHandle",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = locklike_slots,
};
