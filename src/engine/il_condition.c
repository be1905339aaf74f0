/* Condition: threads wait in the order of arrival until they are notified. Its lock is the binding's business.
 *
 *   (none)    waiter, with the lock   -> WAITING   enters at the end of the queue, then releases the lock
 *   WAITING   the waiter              -> ASLEEP    and sleeps
 *   WAITING,  notifier                -> GRANTED   the first who live; who was ASLEEP is woken, at best once the lock is free
 *   ASLEEP    the waiter              -> (none)    deadline or signal, once it has the lock back
 *   GRANTED   the waiter              -> LEFT      once it has the lock back; then its record has no owner
 *   no owner  notifier, newcomer      -> (none)    whether it left or died; of the dead who were GRANTED, others are notified
 *
 * Nobody's death swallows a notification. A waiter stays in the queue until it has the lock again; if it dies before, or was
 * dead when it was notified, it still stands there as GRANTED, and is looked after by the waiters behind it, at the ends of their
 * slices, and by the next notifier or newcomer: once it is known to be dead, its notification goes to the first who lives. (To
 * ask about everybody before notifying him would cost more than the notification.) Only then is its record taken out, so a death
 * in between notifies one too many, which a condition may, and not one too few. A notifier that dies midway has notified some of
 * those it meant to. */
#include "il_internal.h"
#include "il_platform.h"

static bool waits(uint32_t state)
{
    return state == IL_WAIT_WAITING || state == IL_WAIT_ASLEEP;
}

/* Grants to the first `count` who wait and are not known to be dead. Of those who sleep, `asleep` is the record of the one,
 * IL_SEVERAL, or 0; NULL: they are woken now. Held: the stripe. */
static void grant(il_space *space, il_ref ref, uint64_t count, uint32_t *asleep)
{
    uint32_t sleepers = 0;
    uint32_t at = il_load_relaxed(&il_ref_cell(space, ref)->state.queue.first);
    for (; at != 0 && count > 0; at = il_load_relaxed(&space->records[at].next)) {
        il_record *record = &space->records[at];
        uint32_t state = il_load_relaxed(&record->state);
        if (!waits(state) || il__record_is_left(record))
            continue;
        /* Release: what the notifier did before is seen by the waiter. Fails at most once, when that goes to sleep. */
        while (!il_cas32_release(&record->state, &state, IL_WAIT_GRANTED)) {
        }
        count--;
        if (state != IL_WAIT_ASLEEP)
            continue;
        sleepers = sleepers == 0 ? at : IL_SEVERAL;
        if (asleep == NULL)
            il__wake(space, &record->state, 1);
    }
    if (asleep != NULL)
        *asleep = sleepers;
}

/* Takes out who left or died, and passes on what the dead were notified of. Held: the stripe. */
static void take_out_left(il_space *space, il_ref ref)
{
    uint32_t next;
    for (uint32_t at = il_load_relaxed(&il_ref_cell(space, ref)->state.queue.first); at != 0; at = next) {
        il_record *record = &space->records[at];
        next = il_load_relaxed(&record->next);
        /* Asked once for each, since a reaper may take an owner's name off at any time. */
        if (!il__record_is_left(record))
            continue;
        if (il_load_relaxed(&record->state) == IL_WAIT_GRANTED)
            grant(space, ref, 1, NULL);
        il__queue_remove(space, ref, at);
    }
}

int il_condition_enter(il_space *space, il_ref ref, const il_wait *wait, il_ticket *ticket)
{
    int code = il__record_new(space, ticket);
    if (code != IL_OK)
        return code;
    il_store_relaxed(&space->records[(uint32_t)*ticket].state, IL_WAIT_WAITING);
    code = il__object_lock(space, ref, wait);
    if (code != IL_OK) {
        il__record_free(space, *ticket);
        return code;
    }
    /* Else, while nobody notifies, the records of those who were notified and left would pile up. */
    take_out_left(space, ref);
    il__queue_append(space, ref, (uint32_t)*ticket);
    il__object_unlock(space, ref);
    return IL_OK;
}

int il_condition_notify(il_space *space, il_ref ref, const il_wait *wait, uint32_t count, uint32_t *asleep)
{
    int code = il__object_lock(space, ref, wait);
    if (code != IL_OK)
        return code;
    grant(space, ref, count, asleep);
    take_out_left(space, ref);
    il__object_unlock(space, ref);
    return IL_OK;
}

void il_condition_wake(il_space *space, il_ref ref, uint32_t asleep)
{
    if (asleep != IL_SEVERAL) {
        /* It may serve another wait by now; then the wake is one for nothing. */
        il__wake(space, &space->records[asleep].state, 1);
        return;
    }
    if (il__object_lock(space, ref, NULL) != IL_OK)
        return;
    uint32_t at = il_load_relaxed(&il_ref_cell(space, ref)->state.queue.first);
    for (; at != 0; at = il_load_relaxed(&space->records[at].next)) {
        if (il_load_relaxed(&space->records[at].state) == IL_WAIT_GRANTED)
            il__wake(space, &space->records[at].state, 1);
    }
    il__object_unlock(space, ref);
}

/* Looks after those before us who were notified and have not left yet: if one is dead, its notification goes to another.
 * Behind us nobody can be, since we live and wait. */
static int look_after(il_space *space, il_ref ref, uint32_t index, const il_wait *wait)
{
    uint32_t dead = 0;
    il_wait inside = il__wait_inside(wait);
    const il_wait *how = wait->listens ? &inside : NULL;
    int code = il__object_lock(space, ref, how);
    if (code == IL_TIMEDOUT)
        return IL_OK; /* at the end of the next slice, then */
    if (code != IL_OK)
        return code;
    uint32_t at = il_load_relaxed(&il_ref_cell(space, ref)->state.queue.first);
    for (; at != 0 && at != index && dead == 0; at = il_load_relaxed(&space->records[at].next)) {
        if (il_load_relaxed(&space->records[at].state) == IL_WAIT_GRANTED && !il__record_lives(space, &space->records[at]))
            dead = at;
    }
    uint32_t owner = dead != 0 ? il__record_owner(&space->records[dead]) : 0;
    il__object_unlock(space, ref);
    if (owner != 0)
        il_reap(space, owner); /* or another does: then the next slice finds the record left */
    code = dead != 0 ? il_condition_notify(space, ref, how, 0, NULL) : IL_OK;
    return code == IL_TIMEDOUT ? IL_OK : code;
}

int il_condition_wait(il_space *space, il_ref ref, il_ticket ticket, il_wait *wait)
{
    il_u32 *state = &space->records[(uint32_t)ticket].state;
    for (;;) {
        if (!il__record_is_mine(space, ticket))
            return il_load_relaxed(&space->wiped) ? IL_WIPED : IL_NOT_OWNER;
        /* Acquire: pairs with the release of the notifier. */
        uint32_t seen = il_load_acquire(state);
        if (!waits(seen))
            return IL_OK;
        uint64_t now = il__wait_now(wait);
        if (now >= wait->deadline_ns)
            return IL_TIMEDOUT;
        if (seen == IL_WAIT_WAITING && !il_cas32_relaxed(state, &seen, IL_WAIT_ASLEEP))
            continue;
        int code = il__wait_sleep(space, state, IL_WAIT_ASLEEP, 0, wait, now);
        if (code == IL_BUSY) {
            code = look_after(space, ref, (uint32_t)ticket, wait);
            if (code == IL_OK && il__wait_returns(wait))
                code = IL_INTERRUPTED;
        }
        if (code != IL_OK)
            return code;
    }
}

int il_condition_leave(il_space *space, il_ref ref, il_ticket ticket, const il_wait *wait, bool pass_on)
{
    if (!pass_on && il__record_is_mine(space, ticket) &&
        il_load_acquire(&space->records[(uint32_t)ticket].state) == IL_WAIT_GRANTED) {
        /* In this order, since a record without an owner that says GRANTED is a dead one's. No stripe: the next
         * notifier or newcomer takes the record out, as it does a dead one's. */
        il_store_release(&space->records[(uint32_t)ticket].state, IL_WAIT_LEFT);
        il__record_free(space, ticket);
        return true;
    }
    int code = il__object_lock(space, ref, wait);
    if (code != IL_OK)
        return code;
    if (!il__record_is_mine(space, ticket)) {
        il__object_unlock(space, ref);
        return IL_NOT_OWNER;
    }
    bool notified = il_load_acquire(&space->records[(uint32_t)ticket].state) == IL_WAIT_GRANTED;
    if (notified && pass_on)
        grant(space, ref, 1, NULL);
    il__queue_remove(space, ref, (uint32_t)ticket);
    il__object_unlock(space, ref);
    return notified;
}

int il_condition_waiters(il_space *space, il_ref ref, const il_wait *wait, uint32_t *count)
{
    il__queue_reap(space, ref);
    int code = il__object_lock(space, ref, wait);
    if (code != IL_OK)
        return code;
    *count = 0;
    uint32_t at = il_load_relaxed(&il_ref_cell(space, ref)->state.queue.first);
    for (; at != 0; at = il_load_relaxed(&space->records[at].next))
        *count += !il__record_is_left(&space->records[at]) && waits(il_load_relaxed(&space->records[at].state));
    il__object_unlock(space, ref);
    return IL_OK;
}
