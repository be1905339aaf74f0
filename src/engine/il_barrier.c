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
#include "il_engine.h"
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
        il_futex_wake(&record->state, INT32_MAX);
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

/* Locks the stripe and sees to what the dead left. */
static int begin(il_space *space, il_ref ref)
{
    uint32_t left[IL_WAIT_STATES] = {0};
    int code = il__object_lock(space, ref);
    if (code != IL_OK)
        return code;
    carry_out(space, ref);
    il__queue_tidy(space, ref, left);
    if (left[IL_WAIT_WAITING] + left[IL_WAIT_ACTING] > 0)
        end_round(space, ref, IL_BARRIER_BREAK);
    return IL_OK;
}

/* Asks about the parties behind a record, or from the first if it is 0; returns the slot of a dead one, or 0. `actor`: only
 * about the one who acts. */
static uint32_t find_dead(il_space *space, il_ref ref, uint32_t record, uint32_t most, bool actor)
{
    uint32_t first = il_load_relaxed(&state_of(space, ref)->queue.first);
    uint32_t at = record != 0 ? il_load_relaxed(&space->records[record].next) : first;
    for (uint32_t asked = 0; asked < most && at != record; at = il_load_relaxed(&space->records[at].next)) {
        if (at == 0) { /* the ring's end */
            if (record == 0)
                return 0;
            at = first;
            if (at == record || at == 0)
                return 0;
        }
        uint32_t owner = il__record_owner(&space->records[at]);
        if (!waits(&space->records[at]) || (actor && il_load_relaxed(&space->records[at].state) != IL_WAIT_ACTING))
            continue;
        if (owner != 0 && owner != il_self(space) && il_slot_alive(space, owner) == 0)
            return owner;
        asked++;
    }
    return 0;
}

static uint32_t count_present(il_space *space, il_ref ref, bool *acts)
{
    uint32_t count = 0;
    *acts = false;
    for (uint32_t at = il_load_relaxed(&state_of(space, ref)->queue.first); at != 0;
         at = il_load_relaxed(&space->records[at].next)) {
        count += waits(&space->records[at]);
        *acts = *acts || il_load_relaxed(&space->records[at].state) == IL_WAIT_ACTING;
    }
    return count;
}

/* At the end of a slice: breaks the barrier if a party is found dead. */
static int look_after(il_space *space, il_ref ref, uint32_t record, bool actor)
{
    int code = begin(space, ref);
    if (code != IL_OK)
        return code;
    uint32_t dead = find_dead(space, ref, record, record != 0 ? NEIGHBOURS : UINT32_MAX, actor);
    if (dead != 0)
        end_round(space, ref, IL_BARRIER_BREAK);
    il__object_unlock(space, ref);
    if (dead != 0) {
        il_futex_wake(&state_of(space, ref)->queue.round, INT32_MAX);
        il_reap(space, dead);
    }
    return IL_OK;
}

static void unlock_and_wake(il_space *space, il_ref ref)
{
    il__object_unlock(space, ref);
    il_futex_wake(&state_of(space, ref)->queue.round, INT32_MAX); /* those outside */
}

/* One attempt. IL_BUSY: somebody acts, in round `round`. Held: the stripe. */
static int enter(il_space *space, il_ref ref, uint32_t index, uint32_t *place, uint32_t *round)
{
    il_state *state = state_of(space, ref);
    bool acts;
    *place = count_present(space, ref, &acts);
    *round = il_load_relaxed(&state->queue.round);
    if (il_load_relaxed(&state->queue.broken))
        return IL_BROKEN;
    if (acts)
        return IL_BUSY;
    bool last = *place + 1 >= il_ref_cell(space, ref)->parameter;
    if (last && find_dead(space, ref, 0, UINT32_MAX, false) != 0) {
        end_round(space, ref, IL_BARRIER_BREAK);
        return IL_BROKEN;
    }
    il_store_relaxed(&space->records[index].state, last ? IL_WAIT_ACTING : IL_WAIT_WAITING);
    il__queue_append(space, ref, index);
    return last ? IL_LAST : IL_OK;
}

int il_barrier_enter(il_space *space, il_ref ref, il_wait *wait, uint32_t *index, uint32_t *place)
{
    int code = il__record_new(space, index);
    if (code != IL_OK)
        return code;
    for (;;) {
        uint32_t round = 0;
        code = begin(space, ref);
        if (code != IL_OK)
            break;
        code = enter(space, ref, *index, place, &round);
        il__object_unlock(space, ref);
        if (code != IL_BUSY)
            break;
        il_wait outside = {.deadline_ns = IL_FOREVER};
        code = il__wait_sleep(space, &state_of(space, ref)->queue.round, round, 0, &outside, il_clock_ns());
        if (code == IL_BUSY) {
            code = look_after(space, ref, 0, true);
            if (code == IL_OK && wait->restless)
                code = IL_INTERRUPTED;
        }
        if (code != IL_OK)
            break;
    }
    if (code != IL_OK && code != IL_LAST)
        il__record_free(space, *index);
    return code;
}

/* Leaves the queue: what became of the wait. */
static int leave(il_space *space, il_ref ref, uint32_t index)
{
    uint32_t state = il_load_acquire(&space->records[index].state);
    il__queue_remove(space, ref, index);
    return state == IL_WAIT_GRANTED ? IL_OK : IL_BROKEN;
}

int il_barrier_wait(il_space *space, il_ref ref, uint32_t index, il_wait *wait)
{
    il_u32 *state = &space->records[index].state;
    for (;;) {
        uint64_t now = il__wait_now(space, wait);
        /* Acquire: pairs with the release of whoever ends the round. */
        bool late = now >= wait->deadline_ns, over = il_load_acquire(state) != IL_WAIT_WAITING, acts = false;
        if (over || late) {
            int code = begin(space, ref);
            if (code != IL_OK)
                return code;
            over = il_load_acquire(state) != IL_WAIT_WAITING;
            if (!over)
                count_present(space, ref, &acts);
            if (!over && !acts) { /* late */
                end_round(space, ref, IL_BARRIER_BREAK);
                over = true;
            }
            if (over)
                code = leave(space, ref, index);
            il__object_unlock(space, ref);
            if (over)
                return code;
        }
        /* Once all are there, no deadline counts: the action decides. */
        il_wait patient = *wait;
        if (late)
            patient.deadline_ns = IL_FOREVER;
        int code = il__wait_sleep(space, state, IL_WAIT_WAITING, 0, &patient, now);
        patient.deadline_ns = wait->deadline_ns;
        *wait = patient;
        if (code == IL_BUSY) {
            code = look_after(space, ref, index, false);
            if (code == IL_OK && wait->restless)
                code = IL_INTERRUPTED;
        }
        if (code != IL_OK)
            return code;
    }
}

int il_barrier_finish(il_space *space, il_ref ref, uint32_t index, bool passed)
{
    int code = begin(space, ref);
    if (code != IL_OK)
        return code;
    if (il_load_relaxed(&space->records[index].state) == IL_WAIT_ACTING)
        end_round(space, ref, passed ? IL_BARRIER_PASS : IL_BARRIER_BREAK);
    code = leave(space, ref, index);
    unlock_and_wake(space, ref);
    return code;
}

int il_barrier_leave(il_space *space, il_ref ref, uint32_t index)
{
    int code = begin(space, ref);
    if (code != IL_OK)
        return code;
    leave(space, ref, index);
    il__object_unlock(space, ref);
    return IL_OK;
}

static int send_away(il_space *space, il_ref ref, uint32_t how)
{
    int code = begin(space, ref);
    if (code != IL_OK)
        return code;
    end_round(space, ref, how);
    unlock_and_wake(space, ref);
    return IL_OK;
}

int il_barrier_reset(il_space *space, il_ref ref)
{
    return send_away(space, ref, IL_BARRIER_RESET);
}

int il_barrier_abort(il_space *space, il_ref ref)
{
    return send_away(space, ref, IL_BARRIER_BREAK);
}

int il_barrier_look(il_space *space, il_ref ref, uint32_t *waiting, bool *broken)
{
    bool acts;
    int code = begin(space, ref);
    if (code != IL_OK)
        return code;
    *waiting = count_present(space, ref, &acts);
    *broken = il_load_relaxed(&state_of(space, ref)->queue.broken) != 0;
    il__object_unlock(space, ref);
    return IL_OK;
}
