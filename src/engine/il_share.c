/* Shares: what one process has of an object, one record for each process that ever used it.
 *
 * A share's record is on a cache line of its own, so those who read, or take permits, do not slow each other down. It is
 * linked to its object once and stays: a process that dies leaves the record empty and without an owner (the reaper), and the
 * next process to come takes it over. So an object has no more records than it had users at one time. They are freed when
 * the object is forgotten or unlinked.
 *
 * `count` is its process's to write, but not its alone: the reaper empties it, whoever has a bounded semaphore's mutex takes what
 * it keeps (il_bounded.c), and who forgets the object raises its turn. So all write it by compare-and-swap, or by an addition
 * that leaves the rest alone. */
#include "il_internal.h"
#include "il_platform.h"

static il_share refer(il_space *space, uint32_t index)
{
    return (il_load_relaxed(&space->records[index].count) & IL_GENERATION) | index;
}

/* Whether its process has nothing. It may keep what nobody has. */
static bool is_empty(uint64_t count)
{
    return (count & IL_PERMITS) == 0;
}

/* This process's record in the object's list, or one left by the dead, now ours; 0: none. Held: the stripe. */
static uint32_t find(il_space *space, il_state *state)
{
    uint32_t self = il_self(space), left = 0;
    for (uint32_t at = il_load_relaxed(&state->shares.first); at != 0; at = il_load_relaxed(&space->records[at].next)) {
        if (il__record_owner(&space->records[at]) == self)
            return at;
        if (il__record_is_left(&space->records[at]))
            left = at;
    }
    if (left != 0) {
        il_u32 *owner = &space->records[left].owner;
        /* Nobody else takes over a linked record: we hold the stripe. */
        il_store_relaxed(owner, ((il_load_relaxed(owner) & ~IL_OWNER) + IL_RECORD_TURN) | self);
    }
    return left;
}

int il_share_of(il_space *space, il_ref ref, const il_wait *wait, il_share *share)
{
    il_ticket ticket;
    int code = il__record_new(space, &ticket);
    if (code != IL_OK)
        return code;
    il_wait inside = wait != NULL ? il__wait_inside(wait) : (il_wait){0};
    code = il__object_lock(space, ref, wait != NULL ? &inside : NULL);
    if (code != IL_OK) {
        il__record_free(space, ticket);
        return code;
    }
    uint32_t fresh = (uint32_t)ticket;
    il_state *state = &il_ref_cell(space, ref)->state;
    uint32_t index = find(space, state);
    if (index == 0) {
        il_record *record = &space->records[fresh];
        index = fresh;
        il_store_relaxed(&record->state, IL_SHARE);
        il_store_relaxed(&record->count, (il_load_relaxed(&record->count) & IL_GENERATION) + (1ull << 32));
        il_store_relaxed(&record->next, il_load_relaxed(&state->shares.first));
        il_store_release(&record->object, ref);
        /* Release: a writer that walks the list finds the record whole. */
        il_store_release(&state->shares.first, index);
    }
    *share = refer(space, index);
    il__object_unlock(space, ref);
    if (index != fresh)
        il__record_free(space, ticket);
    return IL_OK;
}

/* `count` was read while the record was the dead process's: as long as its turn is there, it still is. */
void il__share_sweep(il_space *space, il_record *record, uint64_t count)
{
    il_ref ref = il_load_relaxed(&record->object);
    if (ref == 0)
        return;
    il_cell *cell = il_ref_cell(space, ref);
    /* The turn rises, so that a child of the dead one that gets its slot does not take the share for its own. */
    uint64_t turn = count >> 32;
    while (count >> 32 == turn && !il_cas_release(&record->count, &count, (turn + 1) << 32)) { /* somebody gathers */
    }
    /* Either who counts anew finds it empty, or the flag outlives that one's clearing of it. */
    il_fence();
    /* Also when it was empty: a reaper may have died between the two. The name may have moved on: then it is for nothing. */
    il_store_release(&cell->stale, 1);
    il__wake(space, &cell->state.shares.free, 1);
    il__rwlock_wake(space, &record->count);
}

bool il__shares_drop(il_space *space, il_cell *cell)
{
    il_u32 *first = &cell->state.shares.first;
    /* What a share keeps goes with its turn: if we do not come to the end, or die before it, it has to be counted anew. */
    il_store_release(&cell->stale, 1);
    /* Those who try to read now find the cell being filled, and leave again: either they see that, or we see them. */
    il_fence();
    for (uint32_t at = il_load_relaxed(first); at != 0; at = il_load_relaxed(&space->records[at].next)) {
        uint64_t count = il_load_acquire(&space->records[at].count);
        if (!is_empty(count) || !il_cas_acquire(&space->records[at].count, &count, ((count >> 32) + 1) << 32))
            return false;
    }
    for (uint32_t at = il_load_relaxed(first), next; at != 0; at = next) {
        il_record *record = &space->records[at];
        uint32_t owner = il_load_relaxed(&record->owner);
        next = il_load_relaxed(&record->next);
        il_store_release(first, next);
        il_store_relaxed(&record->state, 0);
        il_store_release(&record->object, 0);
        /* Release: pairs with the acquire in il__record_new. Or a reaper has just taken the owner off. */
        il_cas32_release(&record->owner, &owner, owner & ~IL_OWNER);
    }
    return true;
}

bool il__shares_reap(il_space *space, il_ref ref)
{
    bool reaped = false;
    /* The list only grows while the object has its name; a record that went with the name ends the walk at worst. */
    uint32_t at = il_load_acquire(&il_ref_cell(space, ref)->state.shares.first);
    for (; at != 0; at = il_load_relaxed(&space->records[at].next)) {
        il_record *record = &space->records[at];
        uint32_t owner = il__record_owner(record);
        if (il_load_relaxed(&record->object) != ref)
            break;
        if (owner != 0 && owner != il_self(space) && (uint32_t)il_load_relaxed(&record->count) != 0 &&
            il_slot_alive(space, owner) == 0)
            reaped = il_reap(space, owner) == IL_OK || reaped;
    }
    return reaped;
}

uint32_t il_portions(il_space *space, il_portion *found, uint32_t room)
{
    /* Acquire: pairs with the release in grow(). */
    uint32_t count = il_records_of_levels(il_load_acquire(&space->header->record_levels)), used = 0;
    for (uint32_t i = 1; i < count; i++) {
        il_record *record = &space->records[i];
        uint32_t owner = il_load_acquire(&record->owner);
        if ((owner & IL_OWNER) == 0 || il_load_relaxed(&record->state) != IL_SHARE)
            continue;
        il_portion one = {.object = il_load_relaxed(&record->object),
                          .slot = owner & IL_OWNER,
                          .count = (uint32_t)il_load_relaxed(&record->count) & IL_PERMITS};
        il_fence(); /* the copy before the second look */
        if (one.count == 0 || il_load_relaxed(&record->owner) != owner || il_load_relaxed(&record->state) != IL_SHARE)
            continue;
        if (used < room)
            found[used] = one;
        used++;
    }
    return used;
}
