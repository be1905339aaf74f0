/* Event: a flag that many may wait for.
 *
 * One word, [ generation | times set | WAITERS | SET ]:
 *
 *   clear           set    -> SET, times set + 1, WAITERS cleared; if it was set, all sleepers are woken
 *                   wait   -> WAITERS set; then it sleeps on the low half
 *   SET             clear  -> clear
 *                   set    -> unchanged
 *
 * A waiter returns once the flag is set, or was set since it began: it compares the count, which wraps after 2^30 settings.
 * So a set() followed at once by a clear() is missed by nobody who waited. No step leaves anything half done, so set() may be
 * interrupted by a signal handler that sets, and a setter's death between the word and the wake costs its waiters a slice. */
#include "il_internal.h"
#include "il_platform.h"

static il_u32 *futex_of(il_u64 *flag)
{
    return (il_u32 *)(void *)flag;
}

static int gone(const il_space *space)
{
    return il_load_relaxed(&space->wiped) ? IL_WIPED : IL_STALE;
}

int il_event_set(il_space *space, il_cell *cell, uint64_t key)
{
    il_u64 *flag = &cell->state.flag;
    uint64_t word = il_load_relaxed(flag), next;
    do {
        if ((word & IL_GENERATION) != key)
            return gone(space);
        uint32_t times = (uint32_t)word & ~(IL_FLAG_SET | IL_FLAG_WAITERS);
        next = word & IL_FLAG_SET ? word : key | (uint32_t)(times + IL_FLAG_ONCE) | IL_FLAG_SET;
        /* Release, also when it is set already: what this setter did before is seen by whoever finds it set. */
    } while (!il_cas_release(flag, &word, next));
    if (word & IL_FLAG_WAITERS)
        il__wake(space, futex_of(flag), INT32_MAX);
    return IL_OK;
}

int il_event_clear(il_space *space, il_cell *cell, uint64_t key)
{
    il_u64 *flag = &cell->state.flag;
    uint64_t word = il_load_relaxed(flag);
    do {
        if ((word & IL_GENERATION) != key)
            return gone(space);
    } while ((word & IL_FLAG_SET) && !il_cas_release(flag, &word, word & ~(uint64_t)IL_FLAG_SET));
    return IL_OK;
}

int il_event_wait(il_space *space, il_cell *cell, uint64_t key, il_wait *wait)
{
    il_u64 *flag = &cell->state.flag;
    for (;;) {
        /* Acquire: pairs with the release of the setter. */
        uint64_t word = il_load_acquire(flag);
        if ((word & IL_GENERATION) != key) {
            wait->began_ns = 0; /* the count of another event says nothing */
            return gone(space);
        }
        uint32_t times = (uint32_t)word & ~(IL_FLAG_SET | IL_FLAG_WAITERS);
        if (word & IL_FLAG_SET)
            return IL_OK;
        if (wait->deadline_ns == IL_NOW)
            return IL_BUSY;
        if (wait->began_ns == 0)
            wait->times = times;
        uint64_t now = il__wait_now(wait);
        if (times != wait->times)
            return IL_OK;
        if (now >= wait->deadline_ns)
            return IL_TIMEDOUT;
        if (!(word & IL_FLAG_WAITERS)) {
            if (!il_cas_relaxed(flag, &word, word | IL_FLAG_WAITERS))
                continue;
            word |= IL_FLAG_WAITERS;
        }
        int code = il__wait_sleep(space, futex_of(flag), (uint32_t)word, 0, wait, now);
        if (code == IL_BUSY && il__wait_returns(wait))
            code = IL_INTERRUPTED;
        if (code != IL_OK && code != IL_BUSY)
            return code;
    }
}
