/* Barrier: parties wait until all of them are there.
 *
 * The last party to arrive in a round acts (runs the action) while the others go on waiting, and then ends the round:
 *
 *   (none)    a party, not the last -> WAITING   unless one acts: then it stays outside until the round has ended
 *             the last one          -> ACTING
 *   WAITING,  the actor             -> GRANTED for all   the action went well
 *   ACTING                          -> BROKEN for all    the action failed
 *             anybody               -> BROKEN for all    abort, reset, a deadline, the death of a party or of the actor
 *   WAITING   itself                -> (none)            a signal: the others go on waiting
 *
 * How a round ends is written into its word before it is carried out, and the next round begins when it has been: whoever next
 * holds the stripe carries out what a dead one began. So all who wait are of one round.
 *
 * Whoever waits asks at the end of each slice whether the next NEIGHBOURS in the queue live, as a ring: so every death is
 * seen by somebody who lives, and many parties do not all ask about all. The last party asks about all, so none passes a
 * barrier with the dead. */
#include "il_internal.h"
#include "il_platform.h"

enum { NEIGHBOURS = 16 };

static il_state *state_of(const il_space *space, il_ref ref)
{
    return &il_ref_cell(space, ref)->state;
}

static bool waits(il_record *record)
{
    uint32_t state = il_load_relaxed(&record->state);
    return state == IL_WAIT_WAITING || state == IL_WAIT_ACTING;
}

/* Carries out the end of the round, if it is being ended. Held, in all of the static functions below: the stripe. */
static void carry_out(il_space *space, il_ref ref)
{
    il_state *state = state_of(space, ref);
    uint32_t round = il_load_relaxed(&state->queue.round), how = round & IL_BARRIER_HOW;
    if (how == 0)
        return;
    for (uint32_t at = il_load_relaxed(&state->queue.first); at != 0; at = il_load_relaxed(&space->records[at].next)) {
        il_record *record = &space->records[at];
        if (!waits(record))
            continue;
        /* Release: what the parties did before is seen by all of them. */
        il_store_release(&record->state, how == IL_BARRIER_PASS ? IL_WAIT_GRANTED : IL_WAIT_BROKEN);
        il__wake(space, &record->state, INT32_MAX);
    }
    if (how != IL_BARRIER_PASS)
        il_store_release(&state->queue.broken, how == IL_BARRIER_BREAK);
    il_store_release(&state->queue.round, (round & ~(uint32_t)IL_BARRIER_HOW) + IL_BARRIER_ONCE);
}

static void end_round(il_space *space, il_ref ref, uint32_t how)
{
    il_u32 *round = &state_of(space, ref)->queue.round;
    il_store_release(round, il_load_relaxed(round) | how);
    carry_out(space, ref);
}

/* Locks the stripe and sees to what the dead left; `wait` as for il__object_lock. */
static int begin(il_space *space, il_ref ref, const il_wait *wait)
{
    const il_cell *cell = il_ref_cell(space, ref);
    int code = il__object_lock(space, ref, wait);
    if (code != IL_OK)
        return code;
    carry_out(space, ref);
    uint32_t next;
    for (uint32_t at = il_load_relaxed(&cell->state.queue.first); at != 0; at = next) {
        next = il_load_relaxed(&space->records[at].next);
        if (!il__record_is_left(&space->records[at]))
            continue;
        if (waits(&space->records[at]))
            end_round(space, ref, IL_BARRIER_BREAK);
        il__queue_remove(space, ref, at);
    }
    return IL_OK;
}

static uint32_t first_of(const il_space *space, il_ref ref)
{
    return il_load_relaxed(&state_of(space, ref)->queue.first);
}

static uint32_t next_of(const il_space *space, uint32_t at)
{
    return il_load_relaxed(&space->records[at].next);
}

/* Breaks the barrier if one of the parties behind a record is dead, asking about `most` of them; from the first if the record is 0.
 * `slot`: whom to reap then, without the stripe; 0: somebody else has. */
static bool break_if_dead(il_space *space, il_ref ref, uint32_t index, uint32_t most, uint32_t *slot)
{
    uint32_t at = index != 0 ? next_of(space, index) : first_of(space, ref), asked = 0;
    if (at == 0)
        at = first_of(space, ref);
    while (at != 0 && at != index && asked < most) {
        il_record *record = &space->records[at];
        if (waits(record)) {
            *slot = il__record_owner(record);
            if (!il__record_lives(space, record)) {
                end_round(space, ref, IL_BARRIER_BREAK);
                return true;
            }
            asked++;
        }
        at = next_of(space, at);
        if (at == 0 && index != 0) /* the ring's end */
            at = first_of(space, ref);
    }
    *slot = 0;
    return false;
}

static uint32_t count_present(il_space *space, il_ref ref, bool *acts)
{
    uint32_t count = 0;
    *acts = false;
    for (uint32_t at = first_of(space, ref); at != 0; at = next_of(space, at)) {
        count += waits(&space->records[at]);
        *acts = *acts || il_load_relaxed(&space->records[at].state) == IL_WAIT_ACTING;
    }
    return count;
}

static void unlock_and_wake(il_space *space, il_ref ref)
{
    il__object_unlock(space, ref);
    il__wake(space, &state_of(space, ref)->queue.round, INT32_MAX); /* those outside */
}

/* At the end of a slice: breaks the barrier if a party is found dead. `index`: our own record, or 0. */
static int look_after(il_space *space, il_ref ref, uint32_t index, const il_wait *wait)
{
    il_wait inside = il__wait_inside(wait);
    int code = begin(space, ref, wait->listens ? &inside : NULL);
    if (code == IL_TIMEDOUT)
        return IL_OK; /* at the end of the next slice, then */
    if (code != IL_OK)
        return code;
    uint32_t dead;
    break_if_dead(space, ref, index, NEIGHBOURS, &dead);
    unlock_and_wake(space, ref);
    if (dead != 0)
        il_reap(space, dead);
    return IL_OK;
}

/* One attempt. IL_BUSY: somebody acts, in round `round`. Held: the stripe. */
static int enter(il_space *space, il_ref ref, uint32_t index, uint32_t *place, uint32_t *round)
{
    il_state *state = state_of(space, ref);
    bool acts;
    uint32_t dead;
    *place = count_present(space, ref, &acts);
    *round = il_load_relaxed(&state->queue.round);
    if (il_load_relaxed(&state->queue.broken))
        return IL_BROKEN;
    if (acts)
        return IL_BUSY;
    bool last = *place + 1 >= il_ref_cell(space, ref)->parameter;
    if (last && break_if_dead(space, ref, 0, UINT32_MAX, &dead))
        return IL_BROKEN;
    il_store_relaxed(&space->records[index].state, last ? IL_WAIT_ACTING : IL_WAIT_WAITING);
    il__queue_append(space, ref, index);
    return last ? IL_LAST : IL_OK;
}

int il_barrier_enter(il_space *space, il_ref ref, il_wait *wait, il_ticket *ticket, uint32_t *place)
{
    int code = il__record_new(space, ticket);
    il_wait own = {.deadline_ns = IL_FOREVER}, *outside = wait->listens ? wait : &own;
    while (code == IL_OK) {
        uint32_t round = 0;
        code = begin(space, ref, wait);
        if (code != IL_OK)
            break;
        code = enter(space, ref, (uint32_t)*ticket, place, &round);
        il__object_unlock(space, ref);
        if (code != IL_BUSY)
            break;
        code = il__wait_sleep(space, &state_of(space, ref)->queue.round, round, 0, outside, il_clock_ns());
        if (code == IL_BUSY) {
            code = look_after(space, ref, 0, wait);
            if (code == IL_OK && il__wait_returns(wait))
                code = IL_INTERRUPTED;
        }
    }
    if (code != IL_OK && code != IL_LAST)
        il__record_free(space, *ticket);
    return code;
}

/* Leaves the queue: what became of the wait. Held: the stripe. */
static int leave(il_space *space, il_ref ref, il_ticket ticket)
{
    if (!il__record_is_mine(space, ticket))
        return IL_NOT_OWNER;
    uint32_t state = il_load_acquire(&space->records[(uint32_t)ticket].state);
    il__queue_remove(space, ref, (uint32_t)ticket);
    return state == IL_WAIT_GRANTED ? IL_OK : IL_BROKEN;
}

/* The deadline has passed, or the wait is over. IL_BUSY: all are there, and the action decides. */
static int conclude(il_space *space, il_ref ref, il_ticket ticket)
{
    bool acts;
    int code = begin(space, ref, NULL);
    if (code != IL_OK)
        return code;
    bool over = il_load_relaxed(&space->records[(uint32_t)ticket].state) != IL_WAIT_WAITING;
    count_present(space, ref, &acts);
    if (!over && acts)
        code = IL_BUSY;
    else if (!over && il__record_is_mine(space, ticket))
        end_round(space, ref, IL_BARRIER_BREAK);
    if (code == IL_OK)
        code = leave(space, ref, ticket);
    il__object_unlock(space, ref);
    return code;
}

int il_barrier_wait(il_space *space, il_ref ref, il_ticket ticket, il_wait *wait)
{
    il_u32 *state = &space->records[(uint32_t)ticket].state;
    for (;;) {
        if (!il__record_is_mine(space, ticket))
            return il_load_relaxed(&space->wiped) ? IL_WIPED : IL_NOT_OWNER;
        uint64_t now = il__wait_now(wait);
        /* Acquire: pairs with the release of whoever ends the round. */
        if (now >= wait->deadline_ns || il_load_acquire(state) != IL_WAIT_WAITING) {
            int code = conclude(space, ref, ticket);
            if (code != IL_BUSY)
                return code;
            wait->deadline_ns = IL_FOREVER;
        }
        int code = il__wait_sleep(space, state, IL_WAIT_WAITING, 0, wait, now);
        if (code == IL_BUSY) {
            code = look_after(space, ref, (uint32_t)ticket, wait);
            if (code == IL_OK && il__wait_returns(wait))
                code = IL_INTERRUPTED;
        }
        if (code != IL_OK)
            return code;
    }
}

int il_barrier_finish(il_space *space, il_ref ref, il_ticket ticket, bool passed)
{
    uint32_t dead = 0;
    int code = begin(space, ref, NULL);
    if (code != IL_OK)
        return code;
    if (il__record_is_mine(space, ticket) &&
        il_load_relaxed(&space->records[(uint32_t)ticket].state) == IL_WAIT_ACTING) {
        /* Or one died during the action. */
        if (!passed || !break_if_dead(space, ref, 0, UINT32_MAX, &dead))
            end_round(space, ref, passed ? IL_BARRIER_PASS : IL_BARRIER_BREAK);
    }
    code = leave(space, ref, ticket);
    unlock_and_wake(space, ref);
    if (dead != 0)
        il_reap(space, dead);
    return code;
}

int il_barrier_leave(il_space *space, il_ref ref, il_ticket ticket)
{
    int code = begin(space, ref, NULL);
    if (code != IL_OK)
        return code;
    code = leave(space, ref, ticket);
    il__object_unlock(space, ref);
    return code;
}

static int send_away(il_space *space, il_ref ref, const il_wait *wait, uint32_t how)
{
    int code = begin(space, ref, wait);
    if (code != IL_OK)
        return code;
    end_round(space, ref, how);
    unlock_and_wake(space, ref);
    return IL_OK;
}

int il_barrier_reset(il_space *space, il_ref ref, const il_wait *wait)
{
    return send_away(space, ref, wait, IL_BARRIER_RESET);
}

int il_barrier_abort(il_space *space, il_ref ref, const il_wait *wait)
{
    return send_away(space, ref, wait, IL_BARRIER_BREAK);
}

int il_barrier_look(il_space *space, il_ref ref, const il_wait *wait, uint32_t *waiting, bool *broken)
{
    bool acts;
    il__queue_reap(space, ref);
    int code = begin(space, ref, wait);
    if (code != IL_OK)
        return code;
    *waiting = count_present(space, ref, &acts);
    *broken = il_load_relaxed(&state_of(space, ref)->queue.broken) != 0;
    il__object_unlock(space, ref);
    return IL_OK;
}
