/* Semaphore: a count that anybody may raise, and that nobody is the owner of.
 *
 * One word, [ generation | WAITERS | permits ], and every operation is one compare-and-swap on it:
 *
 *   permits n > 0   acquire  -> n - 1      whoever slept sets WAITERS along with it, since others may still sleep
 *   permits 0       acquire  -> 0, WAITERS set; then it sleeps on the low half
 *   permits n       release  -> n + m      WAITERS cleared; if it was set, up to m sleepers are woken
 *
 * So a death at any instruction neither loses a permit nor makes one. What a process took before it died stays taken: a
 * permit has no owner here, and another process may well be meant to give it back.
 *
 * A release clears WAITERS, so those that follow at once wake nobody: whoever wakes and finds more permits than it takes wakes
 * the next. A wake that a waiter used up and cannot use (deadline, signal) is passed on. One that dies with a waiter costs the
 * others a slice. */
#include "il_internal.h"
#include "il_platform.h"

static il_u32 *futex_of(il_u64 *permits)
{
    return (il_u32 *)(void *)permits;
}

/* Leaving after a wake was used up: there may be a permit with others asleep, or none and they are to be woken for the next. */
static void pass_on(il_space *space, il_u64 *permits, uint64_t key)
{
    uint64_t word = il_load_relaxed(permits);
    while ((word & IL_GENERATION) == key && (word & (IL_PERMITS | IL_PERMIT_WAITERS)) == 0) {
        if (il_cas_relaxed(permits, &word, word | IL_PERMIT_WAITERS))
            return;
    }
    if ((word & IL_PERMITS) != 0 || (word & IL_GENERATION) != key)
        il__wake(space, futex_of(permits), 1);
}

int il_semaphore_acquire(il_space *space, il_cell *cell, uint64_t key, il_wait *wait)
{
    il_u64 *permits = &cell->state.permits;
    int code = IL_OK;
    for (;;) {
        uint64_t word = il_load_relaxed(permits);
        uint32_t half = (uint32_t)word;
        if ((word & IL_GENERATION) != key) {
            code = il_load_relaxed(&space->wiped) ? IL_WIPED : IL_STALE;
            break;
        }
        if ((half & IL_PERMITS) != 0) {
            /* Acquire: pairs with the release of whoever gave the permit. */
            if (!il_cas_acquire(permits, &word, (word - 1) | (wait->slept ? IL_PERMIT_WAITERS : 0)))
                continue;
            /* Permits that came while we were on our way woke nobody, since WAITERS was clear. */
            if (wait->slept && (half & IL_PERMITS) > 1)
                il__wake(space, futex_of(permits), 1);
            wait->woken = false;
            return IL_OK;
        }
        code = IL_BUSY;
        if (wait->deadline_ns == IL_NOW)
            break;
        uint64_t now = il__wait_now(wait);
        code = now >= wait->deadline_ns ? IL_TIMEDOUT : il__wait_nap(wait, now);
        if (code == IL_OK)
            continue;
        if (code != IL_BUSY)
            break;
        if (!(half & IL_PERMIT_WAITERS) && !il_cas_relaxed(permits, &word, word | IL_PERMIT_WAITERS))
            continue;
        code = il__wait_sleep(space, futex_of(permits), IL_PERMIT_WAITERS, 0, wait, now);
        if (code == IL_BUSY && il__wait_returns(wait))
            code = IL_INTERRUPTED;
        if (code != IL_OK && code != IL_BUSY)
            break;
    }
    if (wait->woken)
        pass_on(space, permits, key);
    wait->woken = false;
    return code;
}

int il_semaphore_release(il_space *space, il_cell *cell, uint64_t key, uint32_t bound, uint32_t count)
{
    il_u64 *permits = &cell->state.permits;
    uint64_t word = il_load_relaxed(permits), next;
    do {
        if ((word & IL_GENERATION) != key)
            return il_load_relaxed(&space->wiped) ? IL_WIPED : IL_STALE;
        uint64_t had = word & IL_PERMITS;
        if (had + count > bound)
            return IL_OVERFLOW;
        next = key | (had + count);
        /* Release: pairs with the acquire of whoever takes the permit. */
    } while (!il_cas_release(permits, &word, next));
    if (word & IL_PERMIT_WAITERS)
        il__wake(space, futex_of(permits), count < INT32_MAX ? (int)count : INT32_MAX);
    return IL_OK;
}

int il_semaphore_value(il_cell *cell, uint64_t key, uint32_t *value)
{
    uint64_t word = il_load_acquire(&cell->state.permits);
    *value = (uint32_t)(word & IL_PERMITS);
    return (word & IL_GENERATION) == key ? IL_OK : IL_STALE;
}
