/* Condition: threads wait in the order of arrival until they are notified. Its lock is the binding's business.
 *
 *   (none)    waiter, with the lock   -> WAITING   enters at the end of the queue, then releases the lock and sleeps
 *   WAITING   notifier                -> GRANTED   the first who live; then they are woken
 *             the waiter              -> (none)    deadline or signal
 *   GRANTED   the waiter              -> (none)    it leaves the queue, and takes the lock again
 *
 * Nobody's death swallows a notification. A notifier asks the kernel whether the waiter lives before it grants. A waiter that
 * dies between GRANTED and leaving still stands in the queue as GRANTED, and is looked after by the waiters behind it, at the
 * ends of their slices, and by the next notifier: once it is known to be dead, its notification goes to the first who lives.
 * A notifier that dies midway has notified some of those it meant to. */
#include "il_engine.h"
#include "il_platform.h"

enum { WAKE_AT_ONCE = 64 };

static bool alive(il_space *space, uint32_t owner)
{
    return owner != 0 && (owner == il_self(space) || il_slot_alive(space, owner) != 0);
}

/* Grants to the first `count` who wait and live, WAKE_AT_ONCE at most, and notes whom to wake. Returns how many. Held: the
 * stripe. */
static int grant(il_space *space, il_ref ref, uint32_t count, il_u32 **wake)
{
    il_state *state = &il_ref_cell(space, ref)->state;
    int granted = 0;
    for (uint32_t at = il_load_relaxed(&state->queue.first); at != 0 && count > 0 && granted < WAKE_AT_ONCE;
         at = il_load_relaxed(&space->records[at].next)) {
        il_record *record = &space->records[at];
        if (il_load_relaxed(&record->state) != IL_WAIT_WAITING || !alive(space, il__record_owner(record)))
            continue;
        /* Release: what the notifier did before is seen by the waiter. */
        il_store_release(&record->state, IL_WAIT_GRANTED);
        wake[granted++] = &record->state;
        count--;
    }
    return granted;
}

/* The record may serve another wait by now; then the wake is one for nothing. */
static void wake_all(il_u32 **wake, int count)
{
    for (int i = 0; i < count; i++)
        il_futex_wake(wake[i], 1);
}

int il_condition_enter(il_space *space, il_ref ref, uint32_t *record)
{
    int code = il__record_new(space, record);
    if (code != IL_OK)
        return code;
    il_store_relaxed(&space->records[*record].state, IL_WAIT_WAITING);
    code = il__object_lock(space, ref);
    if (code != IL_OK) {
        il__record_free(space, *record);
        return code;
    }
    il__queue_append(space, ref, *record);
    il__object_unlock(space, ref);
    return IL_OK;
}

int il_condition_notify(il_space *space, il_ref ref, uint32_t count)
{
    il_u32 *wake[WAKE_AT_ONCE];
    uint32_t left[IL_WAIT_STATES] = {0};
    int granted;
    do {
        int code = il__object_lock(space, ref);
        if (code != IL_OK)
            return code;
        il__queue_tidy(space, ref, left);
        count = count < UINT32_MAX - left[IL_WAIT_GRANTED] ? count + left[IL_WAIT_GRANTED] : UINT32_MAX;
        left[IL_WAIT_GRANTED] = 0;
        granted = grant(space, ref, count, wake);
        il__object_unlock(space, ref);
        wake_all(wake, granted);
        count -= (uint32_t)granted;
    } while (granted == WAKE_AT_ONCE && count > 0);
    return IL_OK;
}

/* Looks after those before us who were notified and have not left yet: if one is dead, its notification goes to another.
 * Behind us nobody can be, since we live and wait. */
static int look_after(il_space *space, il_ref ref, uint32_t record)
{
    uint32_t dead = 0;
    int code = il__object_lock(space, ref);
    if (code != IL_OK)
        return code;
    il_state *state = &il_ref_cell(space, ref)->state;
    uint32_t at = il_load_relaxed(&state->queue.first);
    for (; at != 0 && at != record && dead == 0; at = il_load_relaxed(&space->records[at].next)) {
        uint32_t owner = il__record_owner(&space->records[at]);
        if (il_load_relaxed(&space->records[at].state) == IL_WAIT_GRANTED && !alive(space, owner))
            dead = at;
    }
    uint32_t owner = dead != 0 ? il__record_owner(&space->records[dead]) : 0;
    il__object_unlock(space, ref);
    if (owner != 0)
        il_reap(space, owner); /* or another does: then the next slice finds the record left */
    return dead != 0 ? il_condition_notify(space, ref, 0) : IL_OK;
}

int il_condition_wait(il_space *space, il_ref ref, uint32_t record, il_wait *wait)
{
    il_u32 *state = &space->records[record].state;
    for (;;) {
        /* Acquire: pairs with the release of the notifier. */
        if (il_load_acquire(state) != IL_WAIT_WAITING)
            return IL_OK;
        uint64_t now = il__wait_now(space, wait);
        if (now >= wait->deadline_ns)
            return IL_TIMEDOUT;
        int code = il__wait_sleep(space, state, IL_WAIT_WAITING, 0, wait, now);
        if (code == IL_BUSY) {
            code = look_after(space, ref, record);
            if (code == IL_OK && wait->restless)
                code = IL_INTERRUPTED;
        }
        if (code != IL_OK)
            return code;
    }
}

int il_condition_leave(il_space *space, il_ref ref, uint32_t record, bool pass_on)
{
    il_u32 *wake[1];
    int code = il__object_lock(space, ref), granted = 0;
    if (code != IL_OK)
        return code;
    bool notified = il_load_acquire(&space->records[record].state) == IL_WAIT_GRANTED;
    if (notified && pass_on)
        granted = grant(space, ref, 1, wake);
    /* After the grant: a death in between notifies two, which a condition may, and not none. */
    il__queue_remove(space, ref, record);
    il__object_unlock(space, ref);
    wake_all(wake, granted);
    return notified;
}

int il_condition_waiters(il_space *space, il_ref ref, uint32_t *count)
{
    int code = il__object_lock(space, ref);
    if (code != IL_OK)
        return code;
    *count = il__queue_tidy(space, ref, NULL);
    il__object_unlock(space, ref);
    return IL_OK;
}
