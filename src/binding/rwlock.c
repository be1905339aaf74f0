/* RWLock's two views, ReadLock and WriteLock: lock-like handles of one object.
 *
 * Each thread notes what it, or a task that runs in it, reads, so that it may read again past a waiting writer, and is refused,
 * instead of waiting for itself, when it asks to write. The note is a hint: another thread may release what this one took. */
#include "binding.h"

typedef struct {
    il_space *space;
    il_ref ref;
    il_share share;
    uint32_t count;
    uint64_t agent; /* the task that reads; 0: this thread */
} Read;

/* A hash table with linear probing (Knuth 6.4). A note that counts nothing stays, to be used again, until its room is needed. */
typedef struct {
    Read *table;       /* `space` is NULL where there is no note */
    size_t used, size; /* a power of two, or 0 */
    Read *latest;      /* the note that was last asked for, or NULL */
} Reads;

enum { LEAST_NOTES = 16 };

THREAD_LOCAL Reads *thread_reads; /* NULL until this thread reads something */
static pthread_key_t reads_key;
static pthread_once_t reads_once = PTHREAD_ONCE_INIT;

static void free_reads(void *mine)
{
    free(((Reads *)mine)->table);
    free(mine);
    thread_reads = NULL;
}

static void make_reads_key(void)
{
    pthread_key_create(&reads_key, free_reads);
}

/* What this thread waits to write while a signal handler runs in it: the handler would wait for the thread that it interrupts. */
typedef struct Drain {
    const il_space *space;
    il_ref ref;
    struct Drain *outer;
} Drain;

THREAD_LOCAL Drain *thread_draining;

void forget_reads(void)
{
    for (size_t i = 0; thread_reads != NULL && i < thread_reads->size; i++)
        thread_reads->table[i].count = 0;
    thread_draining = NULL;
}

static bool is_of(const Read *read, const il_space *space, il_ref ref, uint64_t agent)
{
    return read->ref == ref && read->agent == agent && read->space == space;
}

/* Where the note is, or would be. There is always an empty place. */
static Read *place_of(const Reads *mine, const il_space *space, il_ref ref, uint64_t agent)
{
    size_t at = (size_t)((ref ^ agent) * 0x9E3779B97F4A7C15u >> 32);
    for (;; at++) {
        Read *read = &mine->table[at & (mine->size - 1)];
        if (read->space == NULL || is_of(read, space, ref, agent))
            return read;
    }
}

static Read *find_read(const il_space *space, il_ref ref, uint64_t agent)
{
    Reads *mine = thread_reads;
    if (mine == NULL)
        return NULL;
    if (mine->latest != NULL && is_of(mine->latest, space, ref, agent))
        return mine->latest;
    Read *read = place_of(mine, space, ref, agent);
    if (read->space == NULL)
        return NULL;
    return mine->latest = read;
}

/* Room for one note more, and an empty place besides. */
static bool has_room(const Reads *mine)
{
    return mine != NULL && mine->used + 1 <= mine->size / 4 * 3;
}

/* Makes room for one note more, before the lock is taken. -1 with an exception. */
static int make_room(void)
{
    Reads *mine = thread_reads;
    if (has_room(mine))
        return 0;
    pthread_once(&reads_once, make_reads_key);
    Reads more = {.size = LEAST_NOTES};
    size_t live = 0;
    for (size_t i = 0; mine != NULL && i < mine->size; i++)
        live += mine->table[i].count != 0;
    while (more.size / 2 <= live)
        more.size *= 2;
    more.table = calloc(more.size, sizeof *more.table);
    if (mine == NULL && more.table != NULL)
        mine = calloc(1, sizeof *mine);
    if (mine == NULL || more.table == NULL) {
        free(more.table);
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < mine->size; i++) {
        const Read *read = &mine->table[i];
        if (read->count == 0)
            continue;
        *place_of(&more, read->space, read->ref, read->agent) = *read;
        more.used++;
    }
    free(mine->table);
    *mine = more;
    if (thread_reads == NULL)
        pthread_setspecific(reads_key, mine);
    thread_reads = mine;
    return 0;
}

static void note_read(il_space *space, il_ref ref, il_share share, uint64_t agent)
{
    Read *read = find_read(space, ref, agent);
    if (read == NULL && make_room() < 0) {
        PyErr_Clear(); /* a signal handler has used up the room: without a note then */
        return;
    }
    if (read == NULL) {
        read = place_of(thread_reads, space, ref, agent);
        *read = (Read){.space = space, .ref = ref, .agent = agent};
        thread_reads->used++;
    }
    read->share = share;
    read->count++;
}

/* A task may end what was noted as its thread's, before tasks were asked for. */
static void unnote_read(const il_space *space, il_ref ref, uint64_t agent)
{
    Read *read = find_read(space, ref, agent);
    if (agent != 0 && (read == NULL || read->count == 0))
        read = find_read(space, ref, 0);
    if (read != NULL && read->count != 0)
        read->count--;
}

void show_reads(il_space *space, il_wait *wait)
{
    const Reads *mine = thread_reads;
    bool sleeps = wait->agent == this_token(); /* and with it all its tasks */
    for (size_t i = 0; mine != NULL && !wait->has && i < mine->size; i++) {
        if (mine->table[i].count != 0 && mine->table[i].space == space && (sleeps || mine->table[i].agent == wait->agent))
            il_wait_has(space, wait, mine->table[i].ref);
    }
    wait->has = true;
}

/* The task that runs in this thread, as notes have it. -1 with an exception. */
static int agent_here(Handle *self, uint64_t *agent)
{
    *agent = 0;
    if (!il_load_relaxed(&tasks_act) && il_load_relaxed(self->space->self) != 0)
        return 0;
    uint64_t token = agent_token(self);
    *agent = token != this_token() ? token : 0;
    return token != 0 ? 0 : -1;
}

/* Whether this thread, or task, reads. Another thread may have released what this one took: then the note goes, at the latest when nobody
 * in this process reads any more. */
static bool reads_here(Handle *self, il_ref ref, uint64_t agent)
{
    il_space *space = self->space->segment;
    Read *read = find_read(space, ref, agent);
    uint64_t count = read != NULL ? il_load_relaxed(il_share_count(space, read->share)) : 0;
    if (read != NULL && ((uint32_t)count == 0 || count >> 32 != read->share >> 32))
        read->count = 0;
    return read != NULL && read->count != 0;
}

static bool drains_here(Handle *self, il_ref ref)
{
    for (const Drain *at = thread_draining; at != NULL; at = at->outer) {
        if (at->space == self->space->segment && at->ref == ref)
            return true;
    }
    return false;
}

static int refuse(Handle *self)
{
    raise_code(state_of(Py_TYPE(self)), IL_DEADLOCK, self->space, self, NULL, 0);
    return -1;
}

/* Whether this process writes. */
static bool writes(Handle *self, il_ref ref)
{
    il_mutex *mutex = mutex_of(self, ref);
    uint32_t slot = il_load_relaxed(self->space->self);
    return slot != 0 && (il_load_relaxed(&mutex->word) & (IL_GENERATION | IL_OWNER)) == (il_ref_key(ref) | slot) &&
           il_load_relaxed(&mutex->depth) != 0;
}

/* --- reading --- */

static int write_take(Handle *self, Act *act);

typedef struct {
    Handle *self;
    const Act *act;
} call;

static int read_once(il_space *space, il_ref ref, il_wait *wait, void *argument)
{
    const call *how = argument;
    il_share share;
    int code = share_of(how->self, ref, wait, &share);
    if (code != IL_OK)
        return code;
    return il_rwlock_read(space, ref, share, token_of(how->act), reads_here(how->self, ref, how->act->token), wait);
}

enum { READ_WANTS = 0, READ_REPAIRS = 1 }; /* then: stages of writing */

/* Repairs are for a writer to make; then it goes on as a reader. */
static int read_repair(Handle *self, Act *act)
{
    il_space *space = self->space->segment;
    il_share share;
    act->stage -= READ_REPAIRS;
    int taken = write_take(self, act);
    act->stage += READ_REPAIRS;
    if (taken != ACT_DONE)
        return taken;
    il_ref ref = il_load_relaxed(&self->ref);
    int code = share_of(self, ref, NULL, &share);
    if (code == IL_OK)
        code = il_rwlock_downgrade(space, ref, share);
    if (code != IL_OK) {
        il_rwlock_write_unlock(space, ref, 0);
        raise_code(state_of(Py_TYPE(self)), code, self->space, self, NULL, 0);
        return ACT_FAILED;
    }
    note_read(space, ref, kept_share(self), act->token);
    return ACT_DONE;
}

/* Having got in: on, or out again to repair what a dead writer left. */
static int read_entered(Handle *self, il_ref ref, Act *act)
{
    il_space *space = self->space->segment;
    bool left = (il_load_relaxed(&mutex_of(self, ref)->word) & IL_ORPHAN) != 0;
    if (left && self->on_recover != NULL && !reads_here(self, ref, act->token)) {
        il_rwlock_leave(space, il_ref_cell(space, ref), il_share_count(space, kept_share(self)), kept_share(self));
        act->stage = READ_REPAIRS;
        return read_repair(self, act);
    }
    note_read(space, ref, kept_share(self), act->token);
    return ACT_DONE;
}

static int read_take(Handle *self, Act *act)
{
    il_ref ref = il_load_relaxed(&self->ref);
    if (act->stage >= READ_REPAIRS)
        return read_repair(self, act);
    if (act->token == 0 && agent_here(self, &act->token) < 0)
        return ACT_FAILED;
    if (make_room() < 0)
        return ACT_FAILED;
    if (drains_here(self, ref) || (writes(self, ref) && il_load_relaxed(&mutex_of(self, ref)->holder) == token_of(act)))
        return refuse(self);
    call how = {self, act};
    int result = act_result(perform(self, read_once, &how, shown(self, act, false), &ref));
    return result == ACT_DONE ? read_entered(self, ref, act) : result;
}

/* Reads, if this thread or task has done so before and nobody writes or waits to. */
static int read_at_once(Handle *self, uint64_t *agent)
{
    il_space *space = self->space->segment;
    il_ref ref = il_load_relaxed(&self->ref);
    il_share share = kept_share(self);
    if (agent_here(self, agent) < 0)
        return ACT_FAILED;
    Read *read = find_read(space, ref, *agent);
    if (read == NULL || share == 0 || (self->on_recover != NULL && read->count == 0) ||
        !il_rwlock_read_fast(space, il_ref_cell(space, ref), il_ref_key(ref), share))
        return ACT_PENDING;
    read->share = share;
    read->count++;
    return ACT_DONE;
}

static int read_take_until(Handle *self, uint64_t deadline)
{
    uint64_t agent;
    int result = read_at_once(self, &agent);
    if (result != ACT_PENDING)
        return result;
    Act act = act_until(deadline);
    act.token = agent;
    return go_through(self, &act, read_take);
}

static PyObject *read_release(PyObject *object, PyObject *Py_UNUSED(unused))
{
    Handle *self = (Handle *)object;
    il_space *space = self->space->segment;
    il_ref ref = il_load_relaxed(&self->ref);
    uint64_t agent;
    int failed;
    if (agent_here(self, &agent) < 0)
        return NULL;
    il_ref present = present_ref(self, &failed); /* another handle may have looked the name up again, and read or downgraded */
    if (failed)
        return NULL;
    if (present != 0)
        ref = present;
    il_share share = kept_share(self);
    if (share != 0 && (il_load_relaxed(il_share_count(space, share)) >> 32) != share >> 32)
        share = 0;
    /* Reading begun by another handle, or by a downgrade, is in the same share. */
    if (share == 0 && share_of(self, ref, NULL, &share) != IL_OK)
        share = 0;
    if (share != 0 && il_rwlock_leave(space, il_ref_cell(space, ref), il_share_count(space, share), share)) {
        unnote_read(space, ref, agent);
        Py_RETURN_NONE;
    }
    return released(self, il_load_relaxed(&space->wiped) ? IL_WIPED : IL_NOT_HELD);
}

static bool write_abandon(Handle *self, Act *act);

static bool read_abandon(Handle *self, Act *act)
{
    if (act->stage >= READ_REPAIRS) {
        act->stage -= READ_REPAIRS;
        return write_abandon(self, act);
    }
    return lock_abandon(self, act);
}

static PyObject *read_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *self = handle_new(type, args, kwargs, IL_KIND_RWLOCK, read_take, read_release);
    if (self == NULL)
        return NULL;
    ((Handle *)self)->at_once = read_at_once;
    ((Handle *)self)->abandon = read_abandon;
    return self;
}

static PyObject *read_locked(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Handle *self = (Handle *)object;
    int failed;
    il_ref ref = present_ref(self, &failed);
    return failed ? NULL : PyBool_FromLong(ref != 0 && il_rwlock_readers(self->space->segment, ref) != 0);
}

/* --- writing --- */

enum { WRITE_WANTS = 0, WRITE_DRAINS = 1 };

static int drain_once(il_space *space, il_ref ref, il_wait *wait, void *Py_UNUSED(argument))
{
    return il_rwlock_drain(space, ref, wait);
}

/* Waits until the readers have left. Held: the gate, which is let go of again if it is not to be. */
static int drain(Handle *self, Act *act)
{
    il_space *space = self->space->segment;
    int code;
    bool goes_on = true;
    act->stage = WRITE_DRAINS;
    do {
        code = call_asleep(self, drain_once, act->ref, shown(self, act, false), NULL);
        if (code == IL_INTERRUPTED) {
            Drain here = {space, act->ref, thread_draining};
            thread_draining = &here;
            goes_on = look_after(self, &act->wait, false) == 0;
            thread_draining = here.outer;
        }
    } while (code == IL_INTERRUPTED && goes_on);
    if (code == IL_PENDING)
        return ACT_PENDING;
    act->stage = WRITE_WANTS;
    if (code == IL_OK)
        return act->wait.orphan && self->on_recover != NULL ? recover(self, act->ref) : ACT_DONE;
    il_rwlock_undo(space, act->ref, &act->wait);
    if (code == IL_INTERRUPTED || code == PERFORM_FAILED)
        return ACT_FAILED;
    if (code == IL_BUSY || code == IL_TIMEDOUT)
        return ACT_NOT_IN_TIME;
    raise_code(state_of(Py_TYPE(self)), code, self->space, self, NULL, 0);
    return ACT_FAILED;
}

static int write_take(Handle *self, Act *act)
{
    if (act->stage == WRITE_DRAINS)
        return drain(self, act);
    act->ref = il_load_relaxed(&self->ref);
    if (act->token == 0 && agent_here(self, &act->token) < 0)
        return ACT_FAILED;
    if (reads_here(self, act->ref, act->token) || drains_here(self, act->ref))
        return refuse(self);
    int result = take_bare(self, il_mutex_lock, act, false, &act->ref);
    return result == ACT_DONE ? drain(self, act) : result;
}

static int write_take_until(Handle *self, uint64_t deadline)
{
    il_ref ref = il_load_relaxed(&self->ref);
    uint64_t agent;
    if (agent_here(self, &agent) < 0)
        return ACT_FAILED;
    if (reads_here(self, ref, agent) || drains_here(self, ref))
        return refuse(self);
    uint32_t slot = il_load_relaxed(self->space->self);
    bool taken = il_rwlock_gate_fast(mutex_of(self, ref), il_ref_key(ref), slot, agent != 0 ? agent : this_token());
    if (taken && il_rwlock_is_drained(self->space->segment, ref))
        return ACT_DONE;
    Act act = act_until(deadline);
    act.token = agent;
    act.ref = ref;
    return go_through(self, &act, taken ? drain : write_take);
}

/* Gives up a wait that has the gate. */
static bool write_abandon(Handle *self, Act *act)
{
    if (act->stage == WRITE_DRAINS)
        il_rwlock_undo(self->space->segment, act->ref, &act->wait);
    else
        lock_abandon(self, act);
    return false;
}

static PyObject *write_release(PyObject *object, PyObject *Py_UNUSED(unused))
{
    Handle *self = (Handle *)object;
    il_ref at = il_load_relaxed(&self->ref);
    if (il_rwlock_write_unlock_fast(mutex_of(self, at), il_ref_key(at), il_load_relaxed(self->space->self)))
        Py_RETURN_NONE;
    int failed, code = il_rwlock_write_unlock(self->space->segment, at, 0);
    while (code == IL_STALE) {
        il_ref ref = present_ref(self, &failed);
        if (failed)
            return NULL;
        code = ref == 0 ? IL_NOT_HELD : il_rwlock_write_unlock(self->space->segment, ref, 0);
    }
    return released(self, code);
}

static PyObject *write_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *self = handle_new(type, args, kwargs, IL_KIND_RWLOCK, write_take, write_release);
    if (self != NULL)
        ((Handle *)self)->abandon = write_abandon;
    return self;
}

static PyObject *write_locked(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Handle *self = (Handle *)object;
    int failed, locked = 0;
    il_ref ref = present_ref(self, &failed);
    if (ref != 0 && il_load_relaxed(&mutex_of(self, ref)->depth) != 0)
        locked = il_mutex_locked(self->space->segment, mutex_of(self, ref), il_ref_key(ref));
    return failed ? NULL : PyBool_FromLong(locked > 0);
}

static PyObject *write_downgrade(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Handle *self = (Handle *)object;
    il_space *space = self->space->segment;
    il_ref ref = il_load_relaxed(&self->ref);
    il_share share;
    uint64_t agent;
    if (agent_here(self, &agent) < 0 || make_room() < 0)
        return NULL;
    int code = writes(self, ref) ? share_of(self, ref, NULL, &share) : IL_NOT_HELD;
    if (code == IL_OK)
        code = il_rwlock_downgrade(space, ref, share);
    if (code == IL_OK)
        note_read(space, ref, share, agent);
    return released(self, code);
}

/* --- what both have --- */

static int take_until(Handle *self, uint64_t deadline)
{
    return self->take == read_take ? read_take_until(self, deadline) : write_take_until(self, deadline);
}

static PyObject *view_acquire(PyObject *object, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    uint64_t deadline = IL_FOREVER;
    if ((nargs != 0 || kwnames != NULL) && parse_acquire((Handle *)object, args, nargs, kwnames, &deadline) < 0)
        return NULL;
    int taken = take_until((Handle *)object, deadline);
    return taken < 0 ? NULL : PyBool_FromLong(taken);
}

static PyObject *view_enter(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    if (take_until((Handle *)object, IL_FOREVER) < 0)
        return NULL;
    Py_RETURN_TRUE;
}

static PyObject *view_exit(PyObject *object, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(nargs))
{
    return ((Handle *)object)->give(object, NULL);
}

static PyMethodDef read_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))view_acquire, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
               "Begin to read, once more if this thread reads already; wait for it at most `timeout` seconds\n"
               "(-1 or None: for ever).\n\n"
               "Returns whether it was granted.\n"
               "Raises DeadlockDetected in the thread that writes (use downgrade), and what Lock.acquire raises.")},
    {"release", read_release, METH_NOARGS,
     PyDoc_STR("release($self, /)\n--\n\nEnd one reading.\n\nRaises NotHeld when no thread of this process reads.")},
    {"locked", read_locked, METH_NOARGS, PyDoc_STR("locked($self, /)\n--\n\nWhether anybody reads. A snapshot.")},
    {"__enter__", view_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))view_exit, METH_FASTCALL, NULL},
    {"__aenter__", handle_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))handle_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef write_methods[] = {
    {"acquire", (PyCFunction)(void (*)(void))view_acquire, METH_FASTCALL | METH_KEYWORDS,
     PyDoc_STR("acquire($self, /, blocking=True, timeout=-1)\n--\n\n"
               "Begin to write, when nobody reads or writes; wait for it at most `timeout` seconds (-1 or None: for ever).\n\n"
               "Returns whether it was granted.\n"
               "Raises DeadlockDetected in a thread that reads, and what Lock.acquire raises.")},
    {"release", write_release, METH_NOARGS,
     PyDoc_STR("release($self, /)\n--\n\n"
               "End writing, from any thread of the process that began it.\n\n"
               "Raises NotHeld when nobody writes, NotOwner when another process does.")},
    {"locked", write_locked, METH_NOARGS, PyDoc_STR("locked($self, /)\n--\n\nWhether somebody alive writes. A snapshot.")},
    {"_downgrade", write_downgrade, METH_NOARGS, NULL},
    {"__enter__", view_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))view_exit, METH_FASTCALL, NULL},
    {"__aenter__", handle_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))handle_aexit, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

/* A reader is told of a writer who died, and does not take the mark away. */
static PyObject *read_recovered(PyObject *object, void *Py_UNUSED(closure))
{
    Handle *self = (Handle *)object;
    int failed;
    il_ref ref = present_ref(self, &failed);
    il_share share = kept_share(self);
    if (failed)
        return NULL;
    if (ref == 0 || share == 0 || !(il_load_relaxed(&mutex_of(self, ref)->word) & IL_ORPHAN) ||
        (uint32_t)il_load_relaxed(il_share_count(self->space->segment, share)) == 0)
        Py_RETURN_NONE;
    return dead_owner(self, ref);
}

static PyGetSetDef read_getset[] = {
    {"recovered", read_recovered, NULL,
     PyDoc_STR("The Owner who died writing, while it is read and if nobody has written in good order since; else None."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot read_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of RWLock.read.")},
    {Py_tp_new, read_new},
    {Py_tp_methods, read_methods},
    {Py_tp_getset, read_getset},
    {0, NULL},
};

static PyType_Slot write_slots[] = {
    {Py_tp_doc, PyDoc_STR("The hot half of RWLock.write.")},
    {Py_tp_new, write_new},
    {Py_tp_methods, write_methods},
    {0, NULL},
};

PyType_Spec read_lock_spec = {
    .name = "interlock._engine.ReadLock",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = read_slots,
};

PyType_Spec write_lock_spec = {
    .name = "interlock._engine.WriteLock",
    .basicsize = sizeof(Handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = write_slots,
};
