/* BoundedSemaphore: a limit. A permit belongs to the process that took it and comes back when that dies.
 *
 * What each process has is in its share, which is the truth; `free`, what nobody has, is a cache of bound - sum. Both change under
 * the cell's mutex only, and a death in between marks the mutex; whoever has it next counts anew. So permits neither leak nor
 * multiply.
 *
 *   acquire   free > 0     -> share + 1, free - 1
 *             free = 0     -> WAITERS set in `free`, the mutex unlocked, sleep on `free`; at the end of a slice, and before a try
 *                             fails, the processes that have permits are asked about, and the dead are reaped
 *   release   share >= n   -> share - n, free + n, WAITERS cleared; n are woken if it was set
 *   reaper                 -> share = 0, stale = 1, one is woken. It never waits for the mutex
 *   mutex marked, or stale -> free = bound - sum, by whoever locks the mutex next */
#include "il_engine.h"
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
    for (uint32_t at = il_load_acquire(&cell->state.shares.first); at != 0; at = il_load_relaxed(&space->records[at].next))
        taken += (uint32_t)il_load_acquire(&space->records[at].count); /* pairs with the reaper's release */
    uint32_t kept = il_load_relaxed(&cell->state.shares.free) & IL_PERMIT_WAITERS;
    il_store_relaxed(&cell->state.shares.free, kept | (taken < bound ? bound - (uint32_t)taken : 0));
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
static int leave(il_u32 *free, il_wait *wait, int code)
{
    if (wait->woken && (il_load_relaxed(free) & IL_PERMITS) != 0)
        il_futex_wake(free, 1);
    wait->woken = false;
    return code;
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
            return leave(free, wait, code == IL_TIMEDOUT && wait->deadline_ns == IL_NOW ? IL_BUSY : code);
        /* A reaper may have died between emptying a share and saying so, and nobody asks about an empty share's owner. */
        if (doubt)
            recount(space, cell);
        doubt = false;
        uint64_t had = il_load_relaxed(count);
        uint32_t left = il_load_relaxed(free);
        if (had >> 32 != share >> 32) {
            unlock(space, ref);
            return IL_STALE;
        }
        if ((left & IL_PERMITS) != 0) {
            il_store_release(count, had + 1);
            il_store_release(free, (left - 1) | (wait->slept ? IL_PERMIT_WAITERS : 0));
            unlock(space, ref);
            /* Permits that came while we were on our way woke nobody, since WAITERS was clear. */
            if (wait->slept && (left & IL_PERMITS) > 1)
                il_futex_wake(free, 1);
            wait->woken = false;
            return IL_OK;
        }
        bool waits = wait->deadline_ns != IL_NOW;
        uint64_t now = il__wait_now(wait);
        if (waits && now < wait->deadline_ns)
            il_store_relaxed(free, IL_PERMIT_WAITERS);
        unlock(space, ref);
        if (!waits || now >= wait->deadline_ns) {
            if (!looked) {
                il__shares_reap(space, ref);
                looked = doubt = true;
                continue;
            }
            return waits ? IL_TIMEDOUT : IL_BUSY;
        }
        code = il__wait_sleep(space, free, IL_PERMIT_WAITERS, 0, wait, now);
        if (code == IL_BUSY) {
            il__shares_reap(space, ref);
            doubt = true;
            code = wait->restless ? IL_INTERRUPTED : IL_OK;
        }
        if (code != IL_OK)
            return leave(free, wait, code);
    }
}

int il_bounded_release(il_space *space, il_ref ref, il_share share, uint64_t holder, uint32_t count)
{
    il_cell *cell = il_ref_cell(space, ref);
    il_u64 *mine = il_share_count(space, share);
    il_wait gate = {.deadline_ns = IL_FOREVER};
    int code;
    do
        code = lock(space, ref, holder, &gate);
    while (code == IL_INTERRUPTED);
    if (code != IL_OK)
        return code;
    uint64_t had = il_load_relaxed(mine);
    uint32_t left = il_load_relaxed(&cell->state.shares.free);
    if (had >> 32 != share >> 32 || (uint32_t)had < count) {
        unlock(space, ref);
        return had >> 32 != share >> 32 ? IL_STALE : IL_NOT_HELD;
    }
    il_store_release(mine, had - count);
    il_store_release(&cell->state.shares.free, (left & IL_PERMITS) + count);
    unlock(space, ref);
    if (left & IL_PERMIT_WAITERS)
        il_futex_wake(&cell->state.shares.free, count < INT32_MAX ? (int)count : INT32_MAX);
    return IL_OK;
}

uint32_t il_bounded_free(il_space *space, il_ref ref)
{
    return il_load_relaxed(&il_ref_cell(space, ref)->state.shares.free) & IL_PERMITS;
}
