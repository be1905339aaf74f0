/* BoundedSemaphore: a limit. A permit belongs to the process that took it and comes back when that dies.
 *
 * What each process has is in its share, which is the truth; `free`, what nobody has, is a cache of bound - sum. Permits move
 * between the two under the cell's mutex only, and a death in between marks the mutex; whoever has it next counts anew. So
 * permits neither leak nor multiply.
 *
 * Within its share, a process gives one permit back and takes it again without the mutex: the share keeps it (IL_KEPT) until
 * somebody wants it who finds none free. `hint` says that a share may keep one.
 *
 *   acquire   kept         -> share + 1, not kept        one compare-and-swap
 *             free > 0     -> share + 1, free - 1
 *             free = 0     -> gathers what shares keep, if there is the hint; if that is none, sets WAITERS, gathers again, unlocks
 *                             the mutex and sleeps on `free`; at the end of a slice, and before a try fails, the processes
 *                             that have permits are asked about, and the dead are reaped
 *   release   no WAITERS   -> share - 1, kept; then the hint, if it is missing; then looks for WAITERS that came meanwhile
 *             else         -> share - n, and what was kept; free + all that, WAITERS cleared; as many are woken
 *   reaper                 -> share = 0, stale = 1, one is woken. It never waits for the mutex
 *   mutex marked, or stale -> free = bound - sum, by whoever locks the mutex next
 *
 * Nobody who set WAITERS takes it back, only who gives a permit and wakes: another may fall asleep on account of it meanwhile.
 * models/bounded.pml is this file. */
#include "il_internal.h"
#include "il_platform.h"

static uint32_t bound_of(const il_cell *cell)
{
    return (uint32_t)cell->parameter;
}

/* Held, as in all below: the mutex. */
static void recount(il_space *space, il_cell *cell)
{
    uint64_t taken = 0;
    uint32_t bound = bound_of(cell);
    il_store_relaxed(&cell->stale, 0);
    /* The flag goes first: a reaper that empties a share from here on sets it again. */
    il_fence();
    for (uint32_t at = il_load_acquire(&cell->state.shares.first); at != 0; at = il_load_relaxed(&space->records[at].next)) {
        uint64_t count = il_load_acquire(&space->records[at].count); /* pairs with the reaper's release */
        taken += (count & IL_PERMITS) + ((count & IL_KEPT) != 0);
    }
    /* Whoever died may have been gathering. */
    il_store_relaxed(&cell->state.shares.hint, 1);
    uint32_t kept = il_load_relaxed(&cell->state.shares.free) & IL_PERMIT_WAITERS;
    il_store_relaxed(&cell->state.shares.free, kept | (taken < bound ? bound - (uint32_t)taken : 0));
}

/* Takes from the shares what they keep. How many that were. */
static uint32_t gather(il_space *space, il_cell *cell)
{
    uint32_t found = 0;
    il_u32 *hint = &cell->state.shares.hint;
    /* Either we see the hint of one who keeps a permit, or that sees WAITERS, if we have set it. */
    il_fence();
    if (!il_load_relaxed(hint))
        return 0;
    il_store_relaxed(hint, 0);
    /* Either we see what it keeps, or it sees that the hint is missing. */
    il_fence();
    for (uint32_t at = il_load_acquire(&cell->state.shares.first); at != 0; at = il_load_relaxed(&space->records[at].next)) {
        il_u64 *count = &space->records[at].count;
        uint64_t had = il_load_relaxed(count);
        while ((had & IL_KEPT) && !il_cas_acquire(count, &had, had & ~(uint64_t)IL_KEPT)) {
        }
        found += (had & IL_KEPT) != 0;
    }
    return found;
}

static int lock(il_space *space, il_ref ref, uint64_t holder, il_wait *wait)
{
    il_cell *cell = il_ref_cell(space, ref);
    wait->orphan = false;
    if (!il_mutex_try_bare(&cell->mutex, il_ref_key(ref), il_self(space))) {
        int code = il_mutex_lock(space, &cell->mutex, il_ref_key(ref), holder, wait);
        if (code != IL_OK)
            return code;
    }
    if (wait->orphan || il_load_acquire(&cell->stale))
        recount(space, cell);
    return IL_OK;
}

static void unlock(il_space *space, il_ref ref)
{
    il_mutex *mutex = &il_ref_cell(space, ref)->mutex;
    if (!il_mutex_unlock_fast(mutex, il_ref_key(ref), il_self(space)))
        il_mutex_unlock(space, mutex, il_ref_key(ref), 0);
}

/* Leaving after a wake was used up: there may be a permit with others asleep. */
static int leave(il_space *space, il_u32 *free, il_wait *wait, int code)
{
    if (wait->woken)
        il__wake(space, free, 1);
    wait->woken = false;
    return code;
}

bool il_bounded_try(il_space *space, il_ref ref, il_share share)
{
    il_cell *cell = il_ref_cell(space, ref);
    il_u64 *count = il_share_count(space, share);
    if (!il_mutex_try_bare(&cell->mutex, il_ref_key(ref), il_self(space)))
        return false;
    uint32_t left = il_load_relaxed(&cell->state.shares.free);
    bool can = (left & IL_PERMITS) != 0 && il_load_relaxed(count) >> 32 == share >> 32 && !il_load_relaxed(&cell->stale);
    if (can) {
        il_add_release(count, 1);
        il_store_release(&cell->state.shares.free, left - 1);
    }
    unlock(space, ref);
    return can;
}

int il_bounded_acquire(il_space *space, il_ref ref, il_share share, uint64_t holder, il_wait *wait)
{
    il_cell *cell = il_ref_cell(space, ref);
    il_u32 *free = &cell->state.shares.free;
    il_u64 *count = il_share_count(space, share);
    bool looked = false, doubt = false;
    for (;;) {
        il_wait gate = il__wait_inside(wait);
        int code = lock(space, ref, holder, &gate);
        if (code != IL_OK)
            return leave(space, free, wait, code == IL_TIMEDOUT && wait->deadline_ns == IL_NOW ? IL_BUSY : code);
        /* A reaper may have died between emptying a share and saying so, and nobody asks about an empty share's owner. */
        if (doubt)
            recount(space, cell);
        doubt = false;
        if (il_load_relaxed(count) >> 32 != share >> 32) {
            unlock(space, ref);
            return leave(space, free, wait, IL_STALE);
        }
        uint32_t left = il_load_relaxed(free);
        if ((left & IL_PERMITS) == 0)
            left += gather(space, cell);
        uint64_t now = (left & IL_PERMITS) == 0 && wait->deadline_ns != IL_NOW ? il__wait_now(wait) : 0;
        bool sleeps = (left & IL_PERMITS) == 0 && now < wait->deadline_ns;
        if (sleeps || wait->slept) {
            /* Others may still sleep if we did. */
            left |= IL_PERMIT_WAITERS;
            il_store_relaxed(free, left);
            left += gather(space, cell);
        }
        if ((left & IL_PERMITS) != 0) {
            il_add_release(count, 1);
            il_store_release(free, left - 1);
            unlock(space, ref);
            /* Permits that came while WAITERS was clear woke nobody. */
            if ((left & IL_PERMIT_WAITERS) && (left & IL_PERMITS) > 1)
                il__wake(space, free, 1);
            wait->woken = false;
            return IL_OK;
        }
        il_store_relaxed(free, left);
        unlock(space, ref);
        if (!sleeps) {
            if (!looked) {
                il__shares_reap(space, ref);
                looked = doubt = true;
                continue;
            }
            return wait->deadline_ns != IL_NOW ? IL_TIMEDOUT : IL_BUSY;
        }
        code = il__wait_sleep(space, free, IL_PERMIT_WAITERS, 0, wait, now);
        if (code == IL_BUSY) {
            il__shares_reap(space, ref);
            doubt = true;
            code = il__wait_returns(wait) ? IL_INTERRUPTED : IL_OK;
        }
        if (code != IL_OK)
            return leave(space, free, wait, code);
    }
}

int il_bounded_release(il_space *space, il_ref ref, il_share share, uint64_t holder, uint32_t count, const il_wait *wait)
{
    il_cell *cell = il_ref_cell(space, ref);
    il_u32 *free = &cell->state.shares.free;
    il_u64 *mine = il_share_count(space, share);
    il_wait gate = il__wait_inside(wait);
    int code;
    do
        code = lock(space, ref, holder, &gate);
    while (code == IL_INTERRUPTED);
    if (code != IL_OK)
        /* Could not ask whether the mutex's owner lives: then it is to be waited for. */
        return code == IL_TIMEDOUT || (code == IL_SYSTEM && wait->deadline_ns == IL_NOW) ? IL_BUSY : code;
    uint32_t left = il_load_relaxed(free);
    bool waited_for = (left & IL_PERMIT_WAITERS) != 0;
    uint64_t had = il_load_relaxed(mine), has;
    do { /* against other threads, which take what is kept or give theirs back */
        if (had >> 32 != share >> 32 || (had & IL_PERMITS) < count) {
            unlock(space, ref);
            return had >> 32 != share >> 32 ? IL_STALE : IL_NOT_HELD;
        }
        has = (waited_for ? had & ~(uint64_t)IL_KEPT : had) - count;
    } while (!il_cas_release(mine, &had, has));
    uint32_t given = count + (waited_for && (had & IL_KEPT));
    if (given > 0)
        il_store_release(free, (left & IL_PERMITS) + given);
    unlock(space, ref);
    if (waited_for && given > 0)
        il__wake(space, free, given < INT32_MAX ? (int)given : INT32_MAX);
    return IL_OK;
}

uint32_t il_bounded_free(il_space *space, il_ref ref)
{
    il_cell *cell = il_ref_cell(space, ref);
    uint64_t taken = 0;
    uint32_t at = il_load_acquire(&cell->state.shares.first);
    /* A record that went with the name ends the walk, as in il__shares_reap. */
    for (; at != 0 && il_load_relaxed(&space->records[at].object) == ref; at = il_load_relaxed(&space->records[at].next))
        taken += il_load_relaxed(&space->records[at].count) & IL_PERMITS;
    return taken < bound_of(cell) ? bound_of(cell) - (uint32_t)taken : 0;
}
