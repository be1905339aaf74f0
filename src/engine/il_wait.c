/* Sleeping, for every kind of object: in slices, within a budget, and with naps where sleep does not pay.
 *
 * No wake is needed for correctness. Sleep is cut into slices, and at the end of one the sleeper looks again, which for an
 * object with an owner includes asking the kernel whether that lives. So a crash between "store" and "wake", or of a woken
 * waiter before it acts, delays others by a slice and never for ever.
 *
 * Slices are SLICE_MIN_NS, then growing to SLICE_MAX_NS, so that a lone waiter finds a dead owner soon. With many
 * sleepers that would keep a processor busy; hence every slice that ends buys its successor from a budget of the whole
 * space, one per WAKE_COST_NS (a virtual-clock rate limiter, ITU-T I.371's GCRA, in one word that a crash cannot leave
 * wrong, since it is a time that passes). A sleep that a wake ends costs nothing, or a busy lock would leave a debt to
 * whoever waits next. A thousand sleepers on one lock still look every millisecond between them.
 *
 * On an object that changes hands every few hundred nanoseconds, a wake for each attempt costs the owners more than the
 * work they do, and so does a line that travels between processors all the time. So a waiter that sees such an object
 * takes naps without asking for a wake, until it has what it wants or is IL_RESERVE_AFTER_NS older. It sees one by being woken
 * and overtaken, by a futex that changed before it was asleep, or, for a lock, by having had to wait for one just before. To
 * nap is no more than to be slow: no other process can tell. */
#include <errno.h>

#include "il_internal.h"
#include "il_platform.h"

enum {
    SLICE_MIN_NS = 5000000,
    SLICE_MAX_NS = 15000000,  /* keeps recovery from a dead owner below 15 ms in the median */
    WAKE_COST_NS = 1000000,   /* slice ends of a space are at least this far apart: 1000 a second, about 1 % of a core */
    WAKE_DEBT_NS = 500000000, /* longest slice that the budget may impose */
    NAP_NS = 20000,
    PATIENCE_NS = 20000000, /* within this, a process that holds one of the engine's own locks has let go, or is found dead */
    LOOP_PATIENCE_NS = 2000000, /* the same for a loop, in which others wait meanwhile: it comes back later */
    RUSH_NS = 2000, /* a process that has to wait for a lock twice within this is on one that changes hands fast */
};

il_wait il__wait_inside(const il_wait *wait)
{
    uint64_t deadline = wait->deadline_ns;
    if (deadline == IL_NOW || wait->listens)
        deadline = il_clock_ns() + (wait->listens ? LOOP_PATIENCE_NS : PATIENCE_NS);
    return (il_wait){.deadline_ns = deadline, .restless = wait->restless};
}

uint64_t il__wait_now(il_wait *wait)
{
    uint64_t now = il_clock_ns();
    if (wait->began_ns == 0)
        wait->began_ns = now;
    return now;
}

uint64_t il__wait_now_for_lock(il_space *space, il_wait *wait)
{
    bool begins = wait->began_ns == 0;
    uint64_t now = il__wait_now(wait);
    if (begins) {
        il_u64 *before = &space->process->contended_ns;
        wait->rushed = now - il_load_relaxed(before) < RUSH_NS;
        il_store_relaxed(before, now);
    }
    return now;
}

int il__wait_nap(il_wait *wait, uint64_t now)
{
    if (!wait->rushed || wait->listens)
        return IL_BUSY;
    if (wait->napping_ns == 0)
        wait->napping_ns = now;
    if (now - wait->napping_ns >= IL_RESERVE_AFTER_NS)
        return IL_BUSY;
    return il_nap(NAP_NS) == 0 ? IL_OK : IL_INTERRUPTED;
}

/* The end of the next slice. */
static uint64_t slice_end(il_space *space, il_wait *wait, uint64_t now)
{
    uint64_t length = (uint64_t)SLICE_MIN_NS * (wait->slices != 0 ? wait->slices : 1);
    uint64_t end = now + (length < SLICE_MAX_NS ? length : SLICE_MAX_NS);
    if (wait->paid == wait->slices) /* a wake ended the sleep, not its slice */
        return end;
    wait->paid = wait->slices;
    /* Losing the race only makes this one free, so one attempt is enough. */
    il_u64 *next = &space->header->next_wake_ns;
    uint64_t paid = il_load_relaxed(next);
    uint64_t due = (paid > now ? paid : now) + WAKE_COST_NS;
    if (due > now + WAKE_DEBT_NS)
        due = now + WAKE_DEBT_NS;
    il_cas_relaxed(next, &paid, due);
    return due > end ? due : end;
}

int il__wait_sleep(il_space *space, il_u32 *futex, uint32_t expected, uint64_t until_ns, il_wait *wait, uint64_t now)
{
    if (wait->listens && wait->due_ns != 0)
        return il__wait_listen(space, futex, expected, until_ns, wait, now);
    uint64_t end = until_ns != 0 ? until_ns : slice_end(space, wait, now);
    if (wait->look_ns > now && wait->look_ns < end)
        end = wait->look_ns;
    if (wait->listens)
        return il__wait_listen(space, futex, expected, end, wait, now);
    int slept = il_futex_wait(futex, expected, end < wait->deadline_ns ? end : wait->deadline_ns);
    wait->slept = true;
    wait->woken = slept == 0;
    wait->rushed = wait->woken || slept == -EAGAIN;
    wait->napping_ns = 0;
    if (slept == -EINTR)
        return IL_INTERRUPTED;
    if (slept != -ETIMEDOUT)
        return IL_OK;
    wait->slices++;
    il__wait_lasts(space, wait);
    int code = il_space_check(space, false);
    return code == IL_OK ? IL_BUSY : code;
}
