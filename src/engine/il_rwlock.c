/* RWLock: many readers or one writer.
 *
 * The cell's mutex is the gate: the writer holds it, and so does, for a moment, a reader who has to wait. Each process counts its
 * readers in its own share, so readers that need not wait touch no line that others write ("big reader" locks: Corbet, LWN 2000;
 * BRAVO: Dice & Kogan 2019).
 *
 *   reader   count + 1, then the gate is free                    -> reads
 *            count + 1, then the gate is not free -> count - 1, then locks the gate, count + 1, unlocks it: reads
 *            count - 1; then wakes the writer if that one is draining and was the last of this process
 *   writer   locks the gate, fence, waits until the count of every share is 0, depth = 1: writes
 *            depth = 0, unlocks the gate
 *   down     count + 1, depth = 0, unlocks the gate
 *
 * A waiting writer has the gate, so it stops new readers; whoever waits at the gate, reader or writer, gets it by the mutex's
 * own fairness (il_mutex.c). So neither side starves: nobody waits for more than those who wait already, each for one turn,
 * and for the readers inside to leave. A thread that reads already may read again past a waiting writer, who waits for it
 * anyway.
 *
 * Deaths: a dead reader's count is emptied by the reaper; the writer asks about those it waits for. A dead writer's gate is
 * freed as every mutex is, and marked as left by a dead owner only if it was writing (depth 1). */
#include "il_internal.h"
#include "il_platform.h"

static il_u32 *futex_of(il_u64 *count)
{
    return (il_u32 *)(void *)count;
}

void il__rwlock_wake(il_space *space, il_u64 *count)
{
    il__wake(space, futex_of(count), 1);
}

/* One reader of this process more, unless the share has gone. */
static bool enter(il_u64 *count, il_share share)
{
    uint64_t had = il_load_relaxed(count);
    do {
        if (had >> 32 != share >> 32)
            return false;
    } while (!il_cas_acquire(count, &had, had + 1));
    return true;
}

int il_rwlock_read(il_space *space, il_ref ref, il_share share, uint64_t holder, bool again, il_wait *wait)
{
    il_cell *cell = il_ref_cell(space, ref);
    il_u64 *count = il_share_count(space, share);
    if (again) {
        uint64_t had = il_load_relaxed(count);
        /* While this process counts as reading, no writer can get in. */
        while (had >> 32 == share >> 32 && (uint32_t)had != 0) {
            if (il_cas_acquire(count, &had, had + 1))
                return IL_OK;
        }
    }
    int code = il_mutex_lock(space, &cell->mutex, il_ref_key(ref), holder, wait);
    if (code != IL_OK)
        return code;
    il_store_relaxed(&cell->mutex.depth, 0); /* of a dead writer, if at all */
    bool entered = enter(count, share);
    il_mutex_unlock(space, &cell->mutex, il_ref_key(ref), wait->orphan ? IL_UNLOCK_KEEP_ORPHAN : 0);
    return entered ? IL_OK : IL_STALE;
}

bool il_rwlock_is_drained(il_space *space, il_ref ref)
{
    il_cell *cell = il_ref_cell(space, ref);
    /* Either a reader sees the gate closed, or we see its count: all accesses to the two are seq_cst, as theirs are. */
    for (uint32_t at = il_load_seq_cst(&cell->state.shares.first); at != 0; at = il_load_relaxed(&space->records[at].next)) {
        if ((uint32_t)il_load_seq_cst(&space->records[at].count) != 0)
            return false;
    }
    il_store_relaxed(&cell->state.shares.draining, 0); /* of a writer that died over it */
    il_store_release(&cell->mutex.depth, 1);
    return true;
}

/* Not in a child that a signal handler forked in the middle of the wait. */
static bool has_gate(il_space *space, il_ref ref)
{
    uint32_t slot = il_self(space);
    uint64_t word = il_load_relaxed(&il_ref_cell(space, ref)->mutex.word);
    return slot != 0 && (word & (IL_GENERATION | IL_OWNER)) == (il_ref_key(ref) | slot);
}

int il_rwlock_drain(il_space *space, il_ref ref, il_wait *wait)
{
    il_cell *cell = il_ref_cell(space, ref);
    if (!has_gate(space, ref))
        return il_load_relaxed(&space->wiped) ? IL_WIPED : IL_NOT_OWNER;
    il_store_relaxed(&cell->mutex.depth, 0);
    il_store_relaxed(&cell->state.shares.draining, 1);
    /* Either a reader sees the gate closed and us draining, or we see its count: its own accesses are seq_cst. */
    il_fence();
    /* New records come at the head, of processes that find the gate closed. */
    uint32_t at = il_load_acquire(&cell->state.shares.first);
    while (at != 0) {
        il_record *record = &space->records[at];
        /* Acquire: pairs with the release of a reader that leaves. */
        uint32_t readers = (uint32_t)il_load_acquire(&record->count);
        if (readers == 0) {
            at = il_load_relaxed(&record->next);
            continue;
        }
        uint64_t now = il__wait_now(wait);
        if (wait->deadline_ns == IL_NOW || now >= wait->deadline_ns) {
            if (il__shares_reap(space, ref))
                continue;
            return wait->deadline_ns == IL_NOW ? IL_BUSY : IL_TIMEDOUT;
        }
        int code = il__wait_sleep(space, futex_of(&record->count), readers, 0, wait, now);
        wait->woken = false; /* it was for us alone */
        if (code == IL_BUSY) {
            il__shares_reap(space, ref);
            code = il__wait_returns(wait) ? IL_INTERRUPTED : IL_OK;
        }
        if (code != IL_OK)
            return code;
    }
    il_store_relaxed(&cell->state.shares.draining, 0);
    il_store_release(&cell->mutex.depth, 1);
    return IL_OK;
}

void il_rwlock_undo(il_space *space, il_ref ref, const il_wait *wait)
{
    il_cell *cell = il_ref_cell(space, ref);
    if (!has_gate(space, ref))
        return;
    il_store_relaxed(&cell->state.shares.draining, 0);
    il_mutex_unlock(space, &cell->mutex, il_ref_key(ref), wait->orphan ? IL_UNLOCK_KEEP_ORPHAN : 0);
}

int il_rwlock_write_unlock(il_space *space, il_ref ref, unsigned flags)
{
    il_mutex *mutex = &il_ref_cell(space, ref)->mutex;
    uint32_t slot = il_self(space);
    uint64_t word = il_load_relaxed(&mutex->word);
    if (slot != 0 && (word & (IL_GENERATION | IL_OWNER)) == (il_ref_key(ref) | slot)) {
        if (il_load_relaxed(&mutex->depth) == 0)
            return IL_NOT_HELD; /* another thread of ours is at the gate */
        il_store_relaxed(&mutex->depth, 0);
        if (il_mutex_unlock_fast(mutex, il_ref_key(ref), slot))
            return IL_OK;
    }
    return il_mutex_unlock(space, mutex, il_ref_key(ref), flags);
}

int il_rwlock_downgrade(il_space *space, il_ref ref, il_share share)
{
    il_mutex *mutex = &il_ref_cell(space, ref)->mutex;
    uint32_t slot = il_self(space);
    if (slot == 0 || (il_load_relaxed(&mutex->word) & (IL_GENERATION | IL_OWNER)) != (il_ref_key(ref) | slot) ||
        il_load_relaxed(&mutex->depth) == 0)
        return IL_NOT_HELD;
    if (!enter(il_share_count(space, share), share))
        return IL_STALE;
    return il_rwlock_write_unlock(space, ref, 0);
}

uint64_t il_rwlock_readers(il_space *space, il_ref ref)
{
    uint64_t sum = 0;
    uint32_t at = il_load_acquire(&il_ref_cell(space, ref)->state.shares.first);
    for (; at != 0 && il_load_relaxed(&space->records[at].object) == ref; at = il_load_relaxed(&space->records[at].next))
        sum += (uint32_t)il_load_relaxed(&space->records[at].count);
    return sum;
}
