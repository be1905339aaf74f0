/* Queues of waiters: a record for each, linked in the order of arrival, under the object's stripe.
 *
 * What a death may leave, and why it does no harm:
 *   - a record being made, in no queue: the reaper frees it, since it names no object yet;
 *   - a record whose waiter died in the queue: the reaper takes the name of the owner off it and nothing else, because it must
 *     not wait for the stripe; whoever holds the stripe next draws the consequences and takes it out;
 *   - a record that names its object and is not linked yet, or no longer: stays out of use until the object's name goes. There
 *     are two instructions in which to die for that;
 *   - a queue half changed: every link is written so that the queue is whole before and after. `last` is only a hint, and is
 *     never left at a record that is taken out.
 *
 * A waiter that was notified of a condition leaves its record the same way, alive: it says so in `state`, takes its name off, and
 * the record is taken out later (il_condition.c). */
#include "il_internal.h"
#include "il_platform.h"

/* The stripe mutex of a cell: that of its bucket (il_table.c). */
static il_mutex *stripe_of(const il_space *space, il_ref ref)
{
    uint32_t index = (uint32_t)ref, level = 0;
    while (index >= il_cells_of_levels(level + 1))
        level++;
    return &space->stripes[(index - il_cells_of_levels(level)) / IL_WAYS & (IL_STRIPES - 1)];
}

int il__object_lock(il_space *space, il_ref ref, const il_wait *wait)
{
    il_mutex *stripe = stripe_of(space, ref);
    int code = IL_OK;
    if (!il_mutex_try_bare(stripe, 0, il_self(space))) {
        il_wait own = {.deadline_ns = wait != NULL ? wait->deadline_ns : IL_FOREVER, .restless = wait != NULL && wait->restless};
        do
            code = il_mutex_lock(space, stripe, 0, IL_STRIPE_HOLDER, &own);
        while (code == IL_INTERRUPTED && wait == NULL);
    }
    if (code != IL_OK)
        return code;
    if (il_load_relaxed(&space->wiped))
        code = IL_WIPED;
    else if ((il_load_relaxed(&il_ref_cell(space, ref)->mutex.word) & IL_GENERATION) != il_ref_key(ref))
        code = IL_STALE;
    if (code != IL_OK)
        il__object_unlock(space, ref);
    return code;
}

void il__object_unlock(il_space *space, il_ref ref)
{
    il_mutex *stripe = stripe_of(space, ref);
    if (!il_mutex_unlock_fast(stripe, 0, il_self(space)))
        il_mutex_unlock(space, stripe, 0, 0);
}

/* Whether a record without an owner is free: it names no object, or one whose name has gone and with it the queue. */
static bool is_unused(const il_space *space, il_record *record)
{
    il_ref ref = il_load_relaxed(&record->object);
    if (ref == 0)
        return true;
    /* Not while the cell is being filled: whoever does that may still walk the list, or give the old name back. Acquire: pairs
     * with the release at the end of that. */
    uint64_t word = il_load_acquire(&il_ref_cell(space, ref)->mutex.word);
    return !(word & IL_FILLING) && (word & IL_GENERATION) != il_ref_key(ref);
}

int il__record_new(il_space *space, il_ticket *ticket)
{
    int code = il_self(space) != 0 ? IL_OK : il_attach(space);
    while (code == IL_OK) {
        /* Acquire: pairs with the release in grow(). */
        uint32_t levels = il_load_acquire(&space->header->record_levels), count = il_records_of_levels(levels);
        uint32_t start = il_load_relaxed(&space->header->record_hint);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t at = (start + i) % count;
            il_record *record = &space->records[at];
            /* Acquire: pairs with the release in il__queue_remove. The turn in `owner` tells whether the record was in use
             * between the two loads and the compare-and-swap. Record 0 is never used: 0 ends a queue. */
            uint32_t owner = il_load_acquire(&record->owner);
            if (at == 0 || (owner & IL_OWNER) != 0 || !is_unused(space, record) ||
                !il_cas32_acquire(&record->owner, &owner, (owner + IL_RECORD_TURN) | il_self(space)))
                continue;
            il_store_relaxed(&record->object, 0);
            il_store_relaxed(&space->header->record_hint, at + 1);
            *ticket = (uint64_t)((owner + IL_RECORD_TURN) | il_self(space)) << 32 | at;
            return IL_OK;
        }
        code = il__segment_grow_records(space, levels);
    }
    return code;
}

/* The owner is the caller. */
static void disown(il_record *record)
{
    /* Release: pairs with the acquire in il__record_new. */
    il_store_release(&record->owner, il_load_relaxed(&record->owner) & ~IL_OWNER);
}

void il__record_free(il_space *space, il_ticket ticket)
{
    if (il__record_is_mine(space, ticket))
        disown(&space->records[(uint32_t)ticket]);
}

/* The stores in this file that a death may come between are releases, so that the compiler keeps their order. */

void il__queue_append(il_space *space, il_ref ref, uint32_t index)
{
    il_state *state = &il_ref_cell(space, ref)->state;
    il_store_relaxed(&space->records[index].next, 0);
    il_store_release(&space->records[index].object, ref);
    uint32_t last = il_load_relaxed(&state->queue.last);
    if (last == 0)
        last = il_load_relaxed(&state->queue.first);
    for (uint32_t next; last != 0 && (next = il_load_relaxed(&space->records[last].next)) != 0;)
        last = next;
    il_store_release(last == 0 ? &state->queue.first : &space->records[last].next, index);
    il_store_release(&state->queue.last, index);
}

void il__queue_remove(il_space *space, il_ref ref, uint32_t index)
{
    il_state *state = &il_ref_cell(space, ref)->state;
    uint32_t before = 0, at = il_load_relaxed(&state->queue.first);
    while (at != 0 && at != index) {
        before = at;
        at = il_load_relaxed(&space->records[at].next);
    }
    if (at == index) {
        if (il_load_relaxed(&state->queue.last) == index)
            il_store_release(&state->queue.last, before);
        il_store_release(before == 0 ? &state->queue.first : &space->records[before].next,
                         il_load_relaxed(&space->records[index].next));
    }
    /* Ours, or left; to be known before anybody else can take it. */
    il_record *record = &space->records[index];
    bool mine = !il__record_is_left(record);
    il_store_release(&record->object, 0);
    if (mine)
        disown(record);
}

uint32_t il__queue_count(const il_space *space, const il_cell *cell)
{
    uint32_t count = 0;
    for (uint32_t at = il_load_relaxed(&cell->state.queue.first); at != 0; at = il_load_relaxed(&space->records[at].next))
        count += !il__record_is_left(&space->records[at]);
    return count;
}

bool il__record_lives(il_space *space, il_record *record)
{
    uint32_t owner = il__record_owner(record);
    return owner != 0 && (owner == il_self(space) || il__slot_lives(space, owner));
}

void il__queue_reap(il_space *space, il_ref ref)
{
    uint32_t dead;
    do {
        dead = 0;
        if (il__object_lock(space, ref, NULL) != IL_OK)
            return;
        uint32_t at = il_load_relaxed(&il_ref_cell(space, ref)->state.queue.first);
        for (; at != 0 && dead == 0; at = il_load_relaxed(&space->records[at].next)) {
            uint32_t owner = il__record_owner(&space->records[at]);
            if (owner != 0 && !il__record_lives(space, &space->records[at]))
                dead = owner;
        }
        il__object_unlock(space, ref);
    } while (dead != 0 && il_reap(space, dead) == IL_OK);
}

void il__records_sweep(il_space *space, uint32_t k)
{
    uint32_t count = il_records_of_levels(il_load_acquire(&space->header->record_levels));
    for (uint32_t i = 1; i < count; i++) {
        il_record *record = &space->records[i];
        uint64_t count = il_load_acquire(&record->count);
        uint32_t owner = il_load_acquire(&record->owner);
        if ((owner & IL_OWNER) != k)
            continue;
        /* Acquire: the second look at the owner comes after it. */
        uint32_t state = il_load_acquire(&record->state);
        if (state == IL_SHARE)
            il__share_sweep(space, record, count);
        else if ((state == IL_NOTE || state == IL_HAS) && il_load_relaxed(&record->owner) == owner)
            il_store_relaxed(&record->state, 0); /* or it would be the next owner's, for a moment */
        /* The owner is ours to speak for, but whoever forgets the object may free its shares at the same time. */
        il_cas32_release(&record->owner, &owner, owner & ~IL_OWNER);
    }
}
