/* Who waits for whom: notes of long waits, and the cycles in them.
 *
 * A wait costs nothing here until its first slice has ended. Then it takes a record (il_queue.c) and notes in it, for anybody to
 * read, what is wanted, by which thread or task, and since when; beside it, in records of their own, what that one reads
 * meanwhile, since an RWLock knows how many read in a process and not who. The note goes when the wait ends.
 *
 *   free      the waiter -> being made  as every record; a reaper frees it again
 *   made      the waiter -> NOTE, HAS   once all is written
 *   NOTE, HAS the waiter -> free        at the end of the wait; or a reaper, if it died: it is linked to nothing
 *
 * Readers take a copy and look at the owner word again: its turn has risen if the record was used anew.
 *
 * Whoever has waited for half a second, and for one, walks from what it wants to whoever has that, to what that one waits for, and
 * so on. A cycle is a deadlock if it is seen twice with the same notes: each party has then been waiting all the time, and has what
 * it had, or it could not have got it back. (Unless a thread may release what another one took, as with Lock, and is about to.) One
 * of the parties tells, and one may be the victim: the latest to begin, since it finds the whole cycle. If it cannot, another one
 * does somewhat later, and so on; the note of who has told says so. What a party reads is noted at its first look, for the others' second.
 *
 * An owner that is a process and no thread, as of a BoundedSemaphore's permits, ends the walk: whichever of its threads gives them
 * back, nobody knows. */
#include <stdlib.h>

#include "il_internal.h"
#include "il_platform.h"

enum { LOOK_FIRST_NS = 500000000, TELL_AFTER_NS = 1000000000, LOOK_TWICE_NS = 100000000 };
#define LOOK_RARELY_NS 60000000000u

static void write_note(il_space *space, il_ticket ticket, uint32_t state, const il_wait *wait, il_ref wanted)
{
    il_record *record = &space->records[(uint32_t)ticket];
    il_store_relaxed(&record->next, 0);
    il_store_relaxed(&record->wanted, wanted);
    il_store_relaxed(&record->agent, wait->agent);
    il_store_relaxed(&record->since, wait->began_ns);
    il_store_relaxed(&record->manner, wait->manner);
    /* Release: pairs with the acquire in read_note. */
    il_store_release(&record->state, state);
}

void il__wait_lasts(il_space *space, il_wait *wait)
{
    if (wait->wanted == 0)
        return;
    uint64_t now = il_clock_ns();
    if (wait->note != 0 && !il__record_is_mine(space, wait->note)) {
        wait->note = 0; /* in a child that a signal handler forked */
        wait->has = false;
    }
    if (wait->note == 0 && il__record_new(space, &wait->note) == IL_OK) {
        il_add_relaxed(&space->slots[il_self(space)].waits, 1);
        write_note(space, wait->note, IL_NOTE, wait, wait->wanted);
    }
    /* One look also without a use for it: what is read meanwhile is noted then, and others' circles may lead through that. */
    if (wait->note == 0 || (wait->manner & IL_MANNER_NOTICE) ||
        (wait->has && !(wait->manner & (IL_MANNER_LOGS | IL_MANNER_RAISES))))
        return;
    if (wait->look_ns == 0)
        wait->look_ns = wait->began_ns + LOOK_FIRST_NS;
    wait->looks = now >= wait->look_ns;
}

void il_wait_has(il_space *space, il_wait *wait, il_ref ref)
{
    il_ticket ticket;
    if (wait->note == 0 || !il__record_is_mine(space, wait->note) || il__record_new(space, &ticket) != IL_OK)
        return;
    il_record *note = &space->records[(uint32_t)wait->note];
    write_note(space, ticket, IL_HAS, wait, ref);
    il_store_relaxed(&space->records[(uint32_t)ticket].next, il_load_relaxed(&note->next));
    il_store_relaxed(&note->next, (uint32_t)ticket);
}

void il_wait_end(il_space *space, il_wait *wait)
{
    if (wait->note != 0 && il__record_is_mine(space, wait->note)) {
        il_add_relaxed(&space->slots[il_self(space)].waits, UINT32_MAX); /* one less */
        for (uint32_t at = (uint32_t)wait->note, next; at != 0; at = next) {
            il_record *record = &space->records[at];
            next = il_load_relaxed(&record->next);
            il_store_relaxed(&record->state, 0);
            il__record_free(space, (il_ticket)il_load_relaxed(&record->owner) << 32 | at);
        }
    }
    wait->note = 0;
    wait->look_ns = wait->seen = 0;
    wait->looks = wait->has = false;
}

/* A copy of a note in this state. False: there is none, or not any more. */
static bool read_note(il_space *space, uint32_t index, uint32_t state, il_waiting *found)
{
    il_record *record = &space->records[index];
    uint32_t owner = il_load_acquire(&record->owner);
    /* Acquire: pairs with the release in write_note. */
    if ((owner & IL_OWNER) == 0 || il_load_acquire(&record->state) != state)
        return false;
    *found = (il_waiting){.record = index,
                          .slot = owner & IL_OWNER,
                          .wanted = il_load_relaxed(&record->wanted),
                          .agent = il_load_relaxed(&record->agent),
                          .since_ns = il_load_relaxed(&record->since),
                          .manner = (uint32_t)il_load_relaxed(&record->manner)};
    il_fence(); /* the copy before the second look */
    return il_load_relaxed(&record->owner) == owner && il_load_relaxed(&record->state) == state;
}

static uint32_t notes_in(il_space *space, uint32_t state, il_waiting *found, uint32_t room)
{
    /* Acquire: pairs with the release in grow(). */
    uint32_t count = il_records_of_levels(il_load_acquire(&space->header->record_levels)), used = 0;
    for (uint32_t i = 1; i < count; i++) {
        il_waiting one;
        if (!read_note(space, i, state, &one))
            continue;
        if (used < room)
            found[used] = one;
        used++;
    }
    return used;
}

uint32_t il_waits(il_space *space, il_waiting *found, uint32_t room)
{
    return notes_in(space, IL_NOTE, found, room);
}

/* Those who have some of it, process by process. */
static uint32_t sharers(il_space *space, il_ref ref, il_holding *found, uint32_t room)
{
    uint32_t used = 0, at = il_load_acquire(&il_ref_cell(space, ref)->state.shares.first);
    for (; at != 0 && used < room; at = il_load_relaxed(&space->records[at].next)) {
        il_record *record = &space->records[at];
        uint32_t slot = il__record_owner(record);
        if (il_load_relaxed(&record->object) != ref)
            break; /* the name has gone, and the list with it */
        if (slot != 0 && (il_load_relaxed(&record->count) & IL_PERMITS) != 0)
            found[used++] = (il_holding){.slot = slot};
    }
    return used;
}

uint32_t il_holders(il_space *space, const il_waiting *waiting, il_holding *found, uint32_t room)
{
    il_ref ref = waiting->wanted;
    il_cell *cell = il_ref_cell(space, ref);
    uint64_t word = il_load_acquire(&cell->mutex.word);
    uint8_t kind = il_load_relaxed(&cell->kind);
    uint64_t holder = il_load_relaxed(&cell->mutex.holder);
    uint32_t slot = word & IL_OWNER;
    il_fence(); /* the rest before the second look */
    if ((word & (IL_GENERATION | IL_FILLING)) != il_ref_key(ref) || il_load_relaxed(&cell->mutex.word) != word ||
        (waiting->manner & IL_MANNER_NOTICE) || room == 0)
        return 0;
    if (kind == IL_KIND_BOUNDED_SEMAPHORE)
        return sharers(space, ref, found, room);
    if (slot == 0 || holder == 0)
        return 0;
    if (kind == IL_KIND_RWLOCK && slot == waiting->slot && holder == waiting->agent)
        return sharers(space, ref, found, room); /* it has the gate, and waits for those who read */
    found[0] = (il_holding){slot, holder};
    return 1;
}

/* --- cycles --- */

typedef struct {
    il_space *space;
    il_waiting *waits, *has; /* copies of all notes */
    uint32_t waits_count, has_count;
    uint32_t steps; /* left to be made: a walk has an end, however tangled the graph is */
    il_waiting *path;
    uint32_t length;
} walk;

enum { STEPS_MOST = 4096 };

/* Whether the one who waits is whoever has it: the very thread or task; of those who read, one that says so. */
static bool is_holder(const walk *on, const il_waiting *waiting, il_ref ref, const il_holding *holding)
{
    if (waiting->slot != holding->slot || waiting->agent == 0)
        return false;
    if (holding->agent != 0 && (waiting->manner & IL_MANNER_SLEEPS))
        return (uint32_t)waiting->agent == (uint32_t)holding->agent; /* the thread, and whatever of it owns */
    if (holding->agent != 0)
        return waiting->agent == holding->agent;
    for (uint32_t i = 0; i < on->has_count; i++) {
        if (on->has[i].slot == waiting->slot && on->has[i].agent == waiting->agent && on->has[i].wanted == ref)
            return true;
    }
    return false;
}

static bool is_on_path(const walk *on, uint32_t record)
{
    for (uint32_t i = 0; i < on->length; i++) {
        if (on->path[i].record == record)
            return true;
    }
    return false;
}

/* Whether it is permits: their owners are processes, and no thread of them in particular. */
static bool is_counted(const il_space *space, il_ref ref)
{
    return il_load_relaxed(&il_ref_cell(space, ref)->kind) == IL_KIND_BOUNDED_SEMAPHORE;
}

/* Whether a way leads from the last one on the path back to the first; the path is the cycle then. */
static bool closes(walk *on)
{
    il_waiting last = on->path[on->length - 1];
    if ((last.manner & IL_MANNER_ANYBODY) || is_counted(on->space, last.wanted))
        return false;
    il_holding holders[IL_CYCLE_MOST];
    uint32_t count = il_holders(on->space, &last, holders, IL_CYCLE_MOST);
    for (uint32_t i = 0; i < count * on->waits_count && on->steps > 0; i++) {
        const il_waiting *next = &on->waits[i % on->waits_count];
        if (!is_holder(on, next, last.wanted, &holders[i / on->waits_count]))
            continue;
        if (next->record == on->path[0].record)
            return true;
        if (on->length == IL_CYCLE_MOST || is_on_path(on, next->record))
            continue;
        on->steps--;
        on->path[on->length++] = *next;
        if (closes(on))
            return true;
        on->length--;
    }
    return false;
}

/* Whether a process has it of which anything waits. */
static bool has_waiting_holder(il_space *space, const il_waiting *waiting)
{
    il_holding holders[IL_CYCLE_MOST];
    uint32_t count = is_counted(space, waiting->wanted) ? 0 : il_holders(space, waiting, holders, IL_CYCLE_MOST);
    for (uint32_t i = 0; i < count; i++) {
        if (il_load_relaxed(&space->slots[holders[i].slot].waits) != 0)
            return true;
    }
    return false;
}

uint32_t il_cycle(il_space *space, uint32_t record, il_waiting *cycle)
{
    walk on = {.space = space, .steps = STEPS_MOST, .path = cycle};
    uint32_t waits_room = 0, has_room = 0;
    if (!read_note(space, record, IL_NOTE, &cycle[0]))
        return 0;
    on.length = 1;
    /* Nearly always nobody has it who waits: that is found out without copies. */
    if (!has_waiting_holder(space, &cycle[0]))
        return 0;
    for (;;) {
        on.waits_count = notes_in(space, IL_NOTE, on.waits, waits_room);
        on.has_count = notes_in(space, IL_HAS, on.has, has_room);
        if (on.waits_count <= waits_room && on.has_count <= has_room)
            break;
        waits_room = on.waits_count + IL_CYCLE_MOST;
        has_room = on.has_count + IL_CYCLE_MOST;
        free(on.waits);
        free(on.has);
        on.waits = malloc(waits_room * sizeof *on.waits);
        on.has = malloc(has_room * sizeof *on.has);
        if (on.waits == NULL || on.has == NULL)
            break;
    }
    bool found = on.waits != NULL && on.has != NULL && closes(&on);
    free(on.waits);
    free(on.has);
    return found ? on.length : 0;
}

/* --- looking --- */

/* What tells a cycle from another one: the same parties, waiting for the same since the same time. */
static uint64_t fingerprint(const il_waiting *cycle, uint32_t count)
{
    uint64_t sum = count;
    for (uint32_t i = 0; i < count; i++)
        sum += (cycle[i].record ^ cycle[i].since_ns ^ cycle[i].wanted) * 0x9E3779B97F4A7C15u; /* in any order */
    return sum | 1;
}

/* How many of those who are in this manner began later than the first of the cycle, who is; UINT32_MAX: it is not. */
static uint32_t rank(const il_waiting *cycle, uint32_t count, uint32_t manner)
{
    uint32_t later = 0;
    for (uint32_t i = 1; i < count; i++) {
        bool after = cycle[i].since_ns > cycle[0].since_ns ||
                     (cycle[i].since_ns == cycle[0].since_ns && cycle[i].record > cycle[0].record);
        later += (cycle[i].manner & manner) != 0 && after;
    }
    return cycle[0].manner & manner ? later : UINT32_MAX;
}

/* What it is up to the first of the cycle to do, having seen it again so often. The latest acts at once; if it cannot, since its
 * loop is stopped perhaps, the one before it does, later. */
static unsigned duty(il_space *space, const il_waiting *cycle, uint32_t count, uint32_t sightings)
{
    bool told = false;
    for (uint32_t i = 0; i < count; i++) {
        told = told || (cycle[i].manner & IL_MANNER_TOLD);
        if (cycle[i].slot != il_self(space) && il_slot_alive(space, cycle[i].slot) == 0)
            return 0; /* it died waiting; what it has goes to the next */
    }
    uint32_t logs = rank(cycle, count, IL_MANNER_LOGS), raises = rank(cycle, count, IL_MANNER_RAISES);
    return (raises != UINT32_MAX && sightings >= 1 + 2 * raises ? IL_MANNER_RAISES : 0u) |
           (logs != UINT32_MAX && !told && sightings >= 1 + 2 * logs ? IL_MANNER_LOGS : 0u);
}

uint32_t il_wait_look(il_space *space, il_wait *wait, il_waiting *cycle, uint32_t *count)
{
    uint64_t now = il_clock_ns(), waited = now - wait->began_ns;
    wait->looks = false;
    bool noted = wait->note != 0 && il__record_is_mine(space, wait->note);
    *count = noted ? il_cycle(space, (uint32_t)wait->note, cycle) : 0;
    uint64_t seen = *count != 0 ? fingerprint(cycle, *count) : 0;
    wait->sightings = seen != 0 && seen == wait->seen ? wait->sightings + 1 : 0;
    if (noted && seen != wait->seen)
        il_store_relaxed(&space->records[(uint32_t)wait->note].manner, wait->manner); /* what it told of is over */
    wait->seen = seen;
    if (waited < TELL_AFTER_NS) {
        wait->look_ns = wait->began_ns + TELL_AFTER_NS;
        return 0;
    }
    uint64_t again = seen == 0 ? waited : wait->sightings == 0 ? LOOK_TWICE_NS : LOOK_FIRST_NS;
    wait->look_ns = now + (again < LOOK_RARELY_NS ? again : LOOK_RARELY_NS);
    unsigned what = wait->sightings != 0 ? duty(space, cycle, *count, wait->sightings) : 0;
    if (what & IL_MANNER_LOGS)
        il_store_relaxed(&space->records[(uint32_t)wait->note].manner, wait->manner | IL_MANNER_TOLD);
    return what;
}
