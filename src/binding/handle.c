/* What all handles share: names, spaces, waiting with signals let in, and what can be asked of a lock. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "binding.h"
#include "il_platform.h"

THREAD_LOCAL uint64_t thread_token;
THREAD_LOCAL bool thread_is_main;
static il_u32 tokens;
il_u32 forks;
il_u32 forked_from;

ModuleState *state_of(PyTypeObject *type)
{
    PyObject *module = PyType_GetModuleByDef(type, &engine_module);
    return module != NULL ? PyModule_GetState(module) : NULL;
}

uint64_t next_token(void)
{
    return (uint64_t)(il_add_relaxed(&tokens, 1) + 1) << 32 | il_thread_id();
}

uint64_t new_token(void)
{
    thread_token = next_token();
    thread_is_main = (uint32_t)thread_token == (uint32_t)getpid();
    return thread_token;
}

il_u32 tasks_matter, tasks_act;

THREAD_LOCAL uint64_t acting_for;

#ifndef Py_GIL_DISABLED
static bool is_referent(PyObject *reference, PyObject *object)
{
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *referent = NULL;
    PyWeakref_GetRef(reference, &referent);
    Py_XDECREF(referent);
    return referent == object;
#else
    return PyWeakref_GetObject(reference) == object;
#endif
}
#endif

/* The token of a task. 0 with an exception. */
static uint64_t token_of_task(ModuleState *state, PyObject *task)
{
#ifndef Py_GIL_DISABLED
    if (state->last_task != NULL && is_referent(state->last_task, task))
        return state->last_token;
#endif
    PyObject *found = PyObject_CallOneArg(state->token_of_task, task);
    uint64_t token = found != NULL ? PyLong_AsUnsignedLongLong(found) : 0;
    Py_XDECREF(found);
    if (PyErr_Occurred())
        return 0;
#ifndef Py_GIL_DISABLED
    PyObject *reference = PyWeakref_NewRef(task, NULL);
    if (reference == NULL)
        return 0;
    Py_XSETREF(state->last_task, reference);
    state->last_token = token;
#endif
    return token;
}

uint64_t find_agent(Handle *self)
{
    ModuleState *state = self->state;
    if (acting_for != 0)
        return acting_for;
    if (il_load_relaxed(self->space->self) == 0 && hub_look(state) < 0)
        return 0;
    if (state->token_of_task == NULL)
        return this_token();
    /* Cheaper than to ask asyncio: in most threads no loop has ever run. */
    if (state->loop_key != NULL) {
        PyObject *notes = PyThreadState_GetDict();
        if (notes != NULL && PyDict_GetItemWithError(notes, state->loop_key) == NULL)
            return PyErr_Occurred() ? 0 : this_token();
    }
    PyObject *loop = PyObject_CallNoArgs(state->running_loop);
    PyObject *task = loop != NULL && loop != Py_None ? PyObject_CallOneArg(state->current_task, loop) : Py_XNewRef(loop);
    uint64_t token = task == NULL ? 0 : task == Py_None ? this_token() : token_of_task(state, task);
    Py_XDECREF(loop);
    Py_XDECREF(task);
    return token;
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

/* Finds or makes the handle's cell, whose reference `seen` is stale. `wait` says for how long the table may be waited for. 0,
 * or -1 with an exception, or a code of IL_BUSY, IL_TIMEDOUT and IL_INTERRUPTED, which are the caller's to judge. */
static int resolve(Handle *self, il_ref seen, il_wait *wait)
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
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$OOp", keywords, &name, &space, &on_recover, &foreign_release))
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

/* --- arguments of acquire --- */

enum { TIMEOUT_MAX_SECONDS = 9223372036 }; /* threading.TIMEOUT_MAX: 2^63 ns */

/* The timeout is in seconds, -1 (exactly) and None meaning for ever. */
static int deadline_of(PyObject *timeout, bool blocking, uint64_t *deadline)
{
    *deadline = blocking ? IL_FOREVER : IL_NOW;
    if (timeout == NULL || timeout == Py_None)
        return 0;
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0) {
        if (PyErr_Occurred() == NULL)
            return 0;
        if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_SetString(PyExc_OverflowError, "timeout value is too large: None is for ever");
        }
        return -1;
    }
    if (!blocking)
        PyErr_SetString(PyExc_ValueError, "can't specify a timeout for a non-blocking call");
    else if (isnan(seconds) || seconds < 0)
        PyErr_SetString(PyExc_ValueError, "timeout value must be a non-negative number of seconds, or -1 or None for ever");
    else if (seconds > (double)TIMEOUT_MAX_SECONDS)
        PyErr_SetString(PyExc_OverflowError, "timeout value is too large: None is for ever");
    else {
        *deadline = seconds == 0 ? IL_NOW : il_clock_ns() + (uint64_t)ceil(seconds * 1e9);
        return 0;
    }
    return -1;
}

int lenient_deadline(PyObject *timeout, uint64_t *deadline)
{
    if (timeout != NULL && timeout != Py_None) {
        double seconds = PyFloat_AsDouble(timeout);
        if (seconds == -1.0 && PyErr_Occurred())
            return -1;
        if (isnan(seconds)) {
            PyErr_SetString(PyExc_ValueError, "timeout value must be a number of seconds, or None for ever, not NaN");
            return -1;
        }
        if (seconds <= 0) {
            *deadline = IL_NOW;
            return 0;
        }
    }
    return deadline_of(timeout, true, deadline);
}

int deadline_from(PyObject *blocking, PyObject *timeout, uint64_t *deadline)
{
    int blocks = blocking != NULL ? PyObject_IsTrue(blocking) : 1;
    return blocks < 0 ? -1 : deadline_of(timeout, blocks, deadline);
}

int parse_acquire(Handle *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, uint64_t *deadline)
{
    PyObject *blocking = NULL, *timeout = NULL;
    Py_ssize_t named = kwnames != NULL ? PyTuple_GET_SIZE(kwnames) : 0;
    if (nargs > 2) {
        PyErr_Format(PyExc_TypeError, "acquire() takes at most 2 arguments (%zd given)", nargs + named);
        return -1;
    }
    if (nargs > 0)
        blocking = args[0];
    if (nargs > 1)
        timeout = args[1];
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *key = PyTuple_GET_ITEM(kwnames, i), **into;
        if (PyUnicode_CompareWithASCIIString(key, "timeout") == 0)
            into = &timeout;
        else if (PyUnicode_CompareWithASCIIString(key, "blocking") == 0 ||
                 PyUnicode_CompareWithASCIIString(key, "block") == 0)
            into = &blocking;
        else {
            PyErr_Format(PyExc_TypeError, "acquire() got an unexpected keyword argument %R", key);
            return -1;
        }
        if (*into != NULL) {
            PyErr_Format(PyExc_TypeError, "acquire() got multiple values for argument %R", key);
            return -1;
        }
        *into = args[nargs + i];
    }
    int blocks = blocking != NULL ? PyObject_IsTrue(blocking) : 1;
    if (blocks < 0)
        return -1;
    if (blocks && self->rules != RULES_LOCK)
        return lenient_deadline(timeout, deadline);
    return deadline_of(self->rules == RULES_MULTIPROCESSING ? NULL : timeout, blocks, deadline);
}

/* --- taking and releasing --- */

static PyObject *record_of(Handle *self, const il_owner *owner, uint64_t died_ns)
{
    PyObject *program = PyUnicode_DecodeFSDefault(owner->program), *host = PyUnicode_DecodeFSDefault(owner->host);
    PyObject *record = NULL;
    if (program != NULL && host != NULL)
        record = PyObject_CallFunction(state_of(Py_TYPE(self))->owner_of, "IIOOKK", owner->pid, owner->thread, program,
                                       host, (unsigned long long)owner->since_ns, (unsigned long long)died_ns);
    Py_XDECREF(program);
    Py_XDECREF(host);
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

il_wait wait_until(uint64_t deadline)
{
    /* Python runs signal handlers in the main thread. A signal that comes just before the engine sleeps interrupts nothing, so
     * that thread comes back after every slice to look. */
    return (il_wait){.deadline_ns = deadline, .restless = this_token() != 0 && thread_is_main};
}

/* Having to wait long for one of the engine's own locks is not the end of the caller's time. */
static int call_listening(il_space *space, operation call, il_ref ref, il_wait *wait, void *argument)
{
    int code = call(space, ref, wait, argument);
    return code == IL_TIMEDOUT && il_clock_ns() < wait->deadline_ns ? il_wait_later(space, wait) : code;
}

int call_asleep(Handle *self, operation call, il_ref ref, il_wait *wait, void *argument)
{
    il_space *space = self->space->segment;
    int code;
    if (wait->listens)
        return call_listening(space, call, ref, wait, argument);
    if (wait->deadline_ns == IL_NOW)
        return call(space, ref, wait, argument);
    uint32_t now = il_load_relaxed(&forks) + 1;
    if (il_load_relaxed(&self->looked_at) != now) {
        if (hub_look(self->state) < 0)
            return PERFORM_FAILED;
        il_store_relaxed(&self->looked_at, now);
    }
    if (self->state->hub_sleep == NULL) {
        Py_BEGIN_ALLOW_THREADS;
        code = call(space, ref, wait, argument);
        Py_END_ALLOW_THREADS;
        return code;
    }
    wait->restless = false; /* the hub lets signal handlers run */
    do {
        wait->listens = true;
        code = call_listening(space, call, ref, wait, argument);
        wait->listens = false;
    } while (code == IL_PENDING && (code = hub_sleep(self, wait)) == IL_OK);
    return code;
}

static int perform_with(Handle *self, operation call, void *argument, il_wait *wait, bool deaf, il_ref *where)
{
    for (;;) {
        il_ref ref = il_load_relaxed(&self->ref);
        if (check_open(self) < 0)
            return PERFORM_FAILED;
        int code = call_asleep(self, call, ref, wait, argument);
        if (code == PERFORM_FAILED)
            return code;
        if (code == IL_STALE) {
            code = resolve(self, ref, wait);
            if (code == -1)
                return PERFORM_FAILED;
            if (code == IL_OK)
                continue;
        }
        *where = ref;
        switch (code) {
        case IL_OK:
        case IL_BUSY:
        case IL_TIMEDOUT:
        case IL_BROKEN:
        case IL_LAST:
        case IL_OVERFLOW:
        case IL_PENDING:
            return code;
        case IL_INTERRUPTED:
            if (!deaf && PyErr_CheckSignals() != 0)
                return PERFORM_FAILED;
            break;
        default:
            raise_code(state_of(Py_TYPE(self)), code, self->space, self, NULL, 0);
            return PERFORM_FAILED;
        }
    }
}

int perform(Handle *self, operation call, void *argument, il_wait *wait, il_ref *where)
{
    return perform_with(self, call, argument, wait, false, where);
}

int perform_quickly(Handle *self, operation call, void *argument, il_ref *where)
{
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = perform(self, call, argument, &wait, where);
    if (code != IL_BUSY)
        return code;
    wait = wait_until(IL_FOREVER);
    return perform(self, call, argument, &wait, where);
}

Act act_until(uint64_t deadline)
{
    return (Act){.wait = wait_until(deadline)};
}

typedef struct {
    lock_function lock;
    const Act *act;
} taking;

static int take_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    const taking *how = argument;
    /* Asked for each time: a signal handler may have forked. */
    return how->lock(space, &il_ref_cell(space, ref)->mutex, il_ref_key(ref), token_of(how->act), wait);
}

int take_bare(Handle *self, lock_function lock, Act *act, bool deaf, il_ref *taken)
{
    taking how = {lock, act};
    return act_result(perform_with(self, take_once, &how, &act->wait, deaf, taken));
}

static int take_with(Handle *self, lock_function lock, Act *act, bool deaf, il_ref *taken)
{
    int result = take_bare(self, lock, act, deaf, taken);
    return result == ACT_DONE && act->wait.orphan && self->on_recover != NULL ? recover(self, *taken) : result;
}

int take(Handle *self, lock_function lock, Act *act, il_ref *taken)
{
    return take_with(self, lock, act, false, taken);
}

int take_deaf(Handle *self, lock_function lock, Act *act, il_ref *taken)
{
    return take_with(self, lock, act, true, taken);
}

PyObject *released(Handle *self, int code)
{
    if (code == IL_OK)
        Py_RETURN_NONE;
    return raise_code(state_of(Py_TYPE(self)), code, self->space, self, NULL, 0);
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
    if ((strict ? deadline_of(timeout, true, &act.wait.deadline_ns) : lenient_deadline(timeout, &act.wait.deadline_ns)) < 0)
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
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef handle_members[] = {
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
    {"owner", handle_owner, NULL, PyDoc_STR("Who holds it: an Owner, or None. A snapshot."), NULL},
    {"fence", handle_fence, NULL,
     PyDoc_STR("The number of the latest acquisition. It rises with every acquisition of this name, in every process:\n"
               "pass it along with writes, so that a store can refuse a former owner's."),
     NULL},
    {"recovered", handle_recovered, NULL,
     PyDoc_STR("While held: the Owner from whose death this acquisition took over, else None."), NULL},
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
