/* Who waits for whom: what the engine's notes (il_note.c) say, as rows for interlock.watch, and deadlocks told. */
#include "binding.h"
#include "il_platform.h"

/* This thread tells of a deadlock just now: what its logging waits for is no other one. */
THREAD_LOCAL bool telling;

il_wait *shown(Handle *self, Act *act, bool deaf)
{
    il_wait *wait = &act->wait;
    /* A task that is not asked for as the owner of this kind is not the thread that it runs in, either. */
    bool nobody = wait->listens || self->state->hub_sleep != NULL;
    wait->agent = act->token != 0 ? act->token : nobody ? 0 : this_token();
    if (self->kind == IL_KIND_SEMAPHORE || self->kind == IL_KIND_EVENT || self->kind == IL_KIND_BARRIER)
        wait->manner = IL_MANNER_NOTICE;
    else if (self->foreign_release)
        wait->manner = IL_MANNER_ANYBODY;
    else
        wait->manner = wait->told || telling ? 0 : deaf ? self->space->manner & IL_MANNER_LOGS : self->space->manner;
    if (!nobody)
        wait->manner |= IL_MANNER_SLEEPS;
    return wait;
}

/* --- rows --- */

/* Name and kind of what a reference refers to; "" and 0 if the name has moved on. */
static PyObject *name_of(il_space *space, il_ref ref, uint8_t *kind)
{
    il_cell *cell = il_ref_cell(space, ref);
    char name[IL_NAME_MAX + 1];
    uint64_t before = il_load_acquire(&cell->mutex.word);
    uint8_t length = cell->name_length;
    *kind = il_load_relaxed(&cell->kind);
    memcpy(name, cell->name, sizeof name);
    il_fence(); /* the copy before the second look */
    bool whole = (before & (IL_GENERATION | IL_FILLING)) == il_ref_key(ref) &&
                 (il_load_relaxed(&cell->mutex.word) & (IL_GENERATION | IL_FILLING)) == il_ref_key(ref);
    if (!whole)
        *kind = IL_KIND_NONE;
    return PyUnicode_DecodeUTF8(name, whole ? length : 0, "replace");
}

/* _named(reference) -> (name, kind); ("", 0) if the name has moved on. */
PyObject *space_named(PyObject *object, PyObject *given)
{
    il_space *space = segment_of((SpaceObject *)object);
    uint64_t ref = space != NULL ? PyLong_AsUnsignedLongLong(given) : 0;
    uint8_t kind;
    if (space == NULL || PyErr_Occurred())
        return NULL;
    if ((uint32_t)ref >= il_cells_of_levels(il_load_acquire(&space->header->levels)))
        return Py_BuildValue("sI", "", IL_KIND_NONE);
    PyObject *name = name_of(space, ref, &kind);
    return name != NULL ? Py_BuildValue("NB", name, kind) : NULL;
}

static PyObject *party_row(il_space *space, uint32_t slot, uint64_t agent)
{
    il_owner owner;
    il_slot_describe(space, slot, &owner);
    owner.thread = (uint32_t)agent;
    return owner_row(&owner, 0);
}

/* Wall clock of a monotonic time, always the same in one process. */
static uint64_t wall_ns(uint64_t monotonic_ns)
{
    static il_u64 ahead; /* of the monotonic clock, when this was first asked; never 0 then */
    uint64_t none = 0;
    if (il_load_relaxed(&ahead) == 0)
        il_cas_relaxed(&ahead, &none, il_clock_wall_ns() - il_clock_ns());
    return monotonic_ns + il_load_relaxed(&ahead);
}

static PyObject *mark(uint32_t slot, uint64_t token)
{
    return Py_BuildValue("IK", slot, (unsigned long long)token);
}

/* Those who have what is waited for, as rows, and as marks. */
static bool holders_rows(il_space *space, const il_waiting *waiting, PyObject **rows, PyObject **marks)
{
    il_holding holders[IL_CYCLE_MOST];
    uint32_t count = il_holders(space, waiting, holders, IL_CYCLE_MOST);
    *rows = PyTuple_New(count);
    *marks = PyTuple_New(count);
    bool made = *rows != NULL && *marks != NULL;
    for (uint32_t i = 0; made && i < count; i++) {
        PyObject *row = party_row(space, holders[i].slot, holders[i].agent), *own = mark(holders[i].slot, holders[i].agent);
        made = row != NULL && own != NULL;
        PyTuple_SET_ITEM(*rows, (Py_ssize_t)i, row);
        PyTuple_SET_ITEM(*marks, (Py_ssize_t)i, own);
    }
    return made;
}

/* (key, party, since, name, kind, for a notice, holders, reference, mark, holders' marks); the key is the wait's own. A mark is
 * (slot, token), which tells parties from each other. A thread that sleeps has the low half of its token alone, its number: whatever
 * of it owns, a task of its loop too, sleeps with it. */
static PyObject *waiting_row(il_space *space, const il_waiting *waiting)
{
    uint8_t kind;
    PyObject *name = name_of(space, waiting->wanted, &kind), *party = party_row(space, waiting->slot, waiting->agent);
    PyObject *own = mark(waiting->slot, waiting->manner & IL_MANNER_SLEEPS ? (uint32_t)waiting->agent : waiting->agent);
    PyObject *holders, *marks, *row = NULL;
    if (holders_rows(space, waiting, &holders, &marks) && name != NULL && party != NULL && own != NULL)
        row = Py_BuildValue("(IK)OKOBOOKOO", waiting->record, (unsigned long long)waiting->since_ns, party,
                            (unsigned long long)wall_ns(waiting->since_ns), name, kind,
                            waiting->manner & IL_MANNER_NOTICE ? Py_True : Py_False, holders, (unsigned long long)waiting->wanted,
                            own, marks);
    Py_XDECREF(name);
    Py_XDECREF(party);
    Py_XDECREF(own);
    Py_XDECREF(holders);
    Py_XDECREF(marks);
    return row;
}

static PyObject *waiting_rows(il_space *space, const il_waiting *waits, uint32_t count)
{
    PyObject *rows = PyList_New(0);
    for (uint32_t i = 0; rows != NULL && i < count; i++) {
        PyObject *row = waiting_row(space, &waits[i]);
        if (row == NULL || PyList_Append(rows, row) < 0)
            Py_CLEAR(rows);
        Py_XDECREF(row);
    }
    return rows;
}

/* All who wait and live, to be freed with PyMem_Free. NULL with an exception. */
static il_waiting *waits_of(il_space *space, uint32_t *count)
{
    il_waiting *waits = NULL;
    uint32_t room = 0, live = 0;
    while ((*count = il_waits(space, waits, room)) > room || waits == NULL) {
        room = *count + IL_CYCLE_MOST;
        PyMem_Free(waits);
        if ((waits = PyMem_Malloc(room * sizeof *waits)) == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
    }
    for (uint32_t i = 0; i < *count; i++) {
        if (waits[i].slot == il_self(space) || il_slot_alive(space, waits[i].slot) != 0)
            waits[live++] = waits[i];
    }
    *count = live;
    return waits;
}

/* _waits() -> a row for each wait that has lasted for more than a moment. */
PyObject *space_waits(PyObject *object, PyObject *Py_UNUSED(unused))
{
    il_space *space = segment_of((SpaceObject *)object);
    uint32_t count;
    il_waiting *waits = space != NULL ? waits_of(space, &count) : NULL;
    PyObject *rows = waits != NULL ? waiting_rows(space, waits, count) : NULL;
    PyMem_Free(waits);
    return rows;
}

/* _cycles() -> a list of rows for each party of a cycle: the cycle, from that party on. */
PyObject *space_cycles(PyObject *object, PyObject *Py_UNUSED(unused))
{
    il_space *space = segment_of((SpaceObject *)object);
    uint32_t count;
    il_waiting *waits = space != NULL ? waits_of(space, &count) : NULL, cycle[IL_CYCLE_MOST];
    PyObject *found = waits != NULL ? PyList_New(0) : NULL;
    for (uint32_t i = 0; found != NULL && i < count; i++) {
        uint32_t length = il_cycle(space, waits[i].record, cycle);
        PyObject *rows = length != 0 ? waiting_rows(space, cycle, length) : NULL;
        if (length != 0 && (rows == NULL || PyList_Append(found, rows) < 0))
            Py_CLEAR(found);
        Py_XDECREF(rows);
    }
    PyMem_Free(waits);
    return found;
}

/* _processes() -> (slot, pid, program, host, when it got its slot, whether it lives), of each process that uses the space. */
PyObject *space_processes(PyObject *object, PyObject *Py_UNUSED(unused))
{
    il_space *space = segment_of((SpaceObject *)object);
    PyObject *rows = space != NULL ? PyList_New(0) : NULL;
    uint32_t last = space != NULL ? il_load_relaxed(&space->header->slots_seen) : 0;
    for (uint32_t slot = 1; rows != NULL && slot <= last; slot++) {
        il_owner owner;
        il_slot_describe(space, slot, &owner);
        if (owner.pid == 0)
            continue;
        int alive = slot == il_self(space) ? 1 : il_slot_alive(space, slot);
        PyObject *program = PyUnicode_DecodeFSDefault(owner.program), *host = PyUnicode_DecodeFSDefault(owner.host), *row = NULL;
        if (program != NULL && host != NULL)
            row = Py_BuildValue("IIOOKO", slot, owner.pid, program, host, (unsigned long long)owner.started_ns,
                                alive != 0 ? Py_True : Py_False);
        Py_XDECREF(program);
        Py_XDECREF(host);
        if (row == NULL || PyList_Append(rows, row) < 0)
            Py_CLEAR(rows);
        Py_XDECREF(row);
    }
    return rows;
}

/* --- deadlocks --- */

static int tell(Handle *self, const il_waiting *cycle, uint32_t count, unsigned how)
{
    ModuleState *state = self->state;
    PyObject *rows = waiting_rows(self->space->segment, cycle, count), *done = NULL;
    bool before = telling;
    telling = true;
    if (rows != NULL && state->tell_deadlock != NULL)
        done = PyObject_CallFunction(state->tell_deadlock, "OOOO", self, rows, how & IL_MANNER_LOGS ? Py_True : Py_False,
                                     how & IL_MANNER_RAISES ? Py_True : Py_False);
    telling = before;
    Py_XDECREF(rows);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

int look_after(Handle *self, il_wait *wait, bool deaf)
{
    il_space *space = self->space->segment;
    bool failed = !deaf && PyErr_CheckSignals() != 0;
    if (!failed && wait->looks) {
        il_waiting cycle[IL_CYCLE_MOST];
        uint32_t count;
        show_reads(space, wait);
        unsigned how;
        Py_BEGIN_ALLOW_THREADS; /* there may be thousands of notes */
        how = il_wait_look(space, wait, cycle, &count);
        Py_END_ALLOW_THREADS;
        failed = how != 0 && tell(self, cycle, count, how) < 0;
        if (failed && deaf) { /* logging has failed, and this wait has to go on */
            put_off((PyObject *)self);
            failed = false;
        }
    }
    if (failed) {
        /* What it has reserved, perhaps, it has no use for. */
        if (wait->wanted != 0)
            il_mutex_withdraw(&il_ref_cell(space, wait->wanted)->mutex, il_ref_key(wait->wanted));
        il_wait_end(space, wait);
    }
    return failed ? -1 : 0;
}

int tell_own_lock(Handle *self, il_wait *wait)
{
    il_space *space = self->space->segment;
    il_ref ref = il_load_relaxed(&self->ref);
    uint64_t token = this_token();
    unsigned how = self->space->manner;
    if (how == 0 || telling || self->foreign_release || !il_rlock_mine(space, mutex_of(self, ref), il_ref_key(ref), token))
        return 0;
    if (hub_look(self->state) < 0) /* it may have come since the handle was made */
        return -1;
    if (self->state->hub_sleep != NULL)
        return 0;
    il_waiting mine = {.slot = il_self(space), .wanted = ref, .agent = token, .since_ns = il_clock_ns(), .manner = how};
    wait->told = true;
    return tell(self, &mine, 1, how);
}
