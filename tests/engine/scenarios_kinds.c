/* What the victims do with semaphores, events, conditions and barriers. */
#include "stage.h"

static void begin(uint8_t kind, uint64_t parameter)
{
    uint8_t found_kind;
    il_wait wait = {.deadline_ns = IL_NOW};
    CHECK_CODE(il_table_resolve(stage.space, "object", 6, kind, parameter, &wait, &stage.object, &found_kind), IL_OK);
}

static il_cell *object(void)
{
    return il_ref_cell(stage.space, stage.object);
}

static uint64_t key(void)
{
    return il_ref_key(stage.object);
}

static bool is_done(uint32_t n)
{
    return il_load_acquire(&shared->helpers[n].order) == REST;
}

static il_wait patience(void)
{
    return (il_wait){.deadline_ns = il_clock_ns() + hang_limit_ns};
}

/* --- semaphore --- */

enum { BOUND = 2 };

static void begin_semaphore(void)
{
    begin(IL_KIND_SEMAPHORE, il_semaphore_parameter(BOUND, BOUND));
}

static void begin_empty_semaphore(void)
{
    begin(IL_KIND_SEMAPHORE, il_semaphore_parameter(0, BOUND));
}

static int take_permit(il_wait wait)
{
    return il_semaphore_acquire(stage.space, object(), key(), &wait);
}

static int give_permit(void)
{
    return il_semaphore_release(stage.space, object(), key(), BOUND, 1);
}

static uint32_t permits(void)
{
    uint32_t value = UINT32_MAX;
    JUDGED(il_semaphore_value(object(), key(), &value) == IL_OK, "the semaphore has gone");
    return value;
}

static void act_semaphore(void)
{
    if (!il_semaphore_try_fast(object(), key()))
        take_permit((il_wait){.deadline_ns = IL_FOREVER});
    if (!il_semaphore_release_fast(object(), key(), BOUND))
        give_permit();
    take_permit((il_wait){.deadline_ns = IL_FOREVER});
    give_permit();
}

/* A permit that the dead one had stays taken, and is there for anybody to give. */
static void judge_semaphore(void)
{
    uint32_t left = permits();
    JUDGED(left == BOUND || left == BOUND - 1, "permits were lost or made");
    JUDGED(!stage.finished || left == BOUND, "a permit was not given back");
    for (uint32_t n = 0; n < left; n++)
        JUDGED(take_permit((il_wait){.deadline_ns = IL_NOW}) == IL_OK, "a permit cannot be taken");
    JUDGED(take_permit((il_wait){.deadline_ns = IL_NOW}) == IL_BUSY, "a permit too many");
    for (uint32_t n = 0; n < BOUND; n++)
        JUDGED(give_permit() == IL_OK, "a permit cannot be given");
    JUDGED(give_permit() == IL_OVERFLOW, "more permits than the bound");
}

static int help_semaphore(uint32_t n)
{
    (void)n;
    return take_permit(patience());
}

/* A sleeper that asks to be woken, for want of a permit. */
static bool wants_permit(void)
{
    return (uint32_t)il_load_relaxed(&object()->state.permits) == IL_PERMIT_WAITERS && asleep(shared->helpers[0].pid);
}

static void meanwhile_wants_permit(void)
{
    give_order(0, HELP, 0);
    AWAIT(wants_permit(), "no waiter");
}

static void act_give_permit(void)
{
    give_permit();
}

static void judge_given_permit(void)
{
    AWAIT(is_done(0) || wants_permit(), "a permit is there, and the waiter does not take it");
    JUDGED(!stage.finished || is_done(0), "a permit was lost");
    if (!is_done(0))
        JUDGED(give_permit() == IL_OK, "a permit cannot be given");
    helper_must_finish(0, -1);
    JUDGED(permits() == 0, "permits were lost or made");
}

/* --- event --- */

static void begin_event(void)
{
    begin(IL_KIND_EVENT, 0);
}

static int help_event(uint32_t n)
{
    (void)n;
    il_wait wait = patience();
    return il_event_wait(stage.space, object(), key(), &wait);
}

static bool wants_event(void)
{
    uint64_t word = il_load_relaxed(&object()->state.flag);
    return (word & IL_FLAG_WAITERS) && !(word & IL_FLAG_SET) && asleep(shared->helpers[0].pid);
}

static void arrange_event(void)
{
    JUDGED(il_event_clear(stage.space, object(), key()) == IL_OK, "the event has gone");
}

static void meanwhile_event(void)
{
    give_order(0, HELP, 0);
    AWAIT(wants_event(), "no waiter");
}

static void act_event(void)
{
    il_event_set(stage.space, object(), key());
}

static void judge_event(void)
{
    AWAIT(is_done(0) || wants_event(), "the event is set, and the waiter stays");
    JUDGED(!stage.finished || is_done(0), "the event was not set");
    if (!is_done(0))
        JUDGED(il_event_set(stage.space, object(), key()) == IL_OK, "the event has gone");
    helper_must_finish(0, -1);
    il_wait wait = {.deadline_ns = IL_NOW};
    JUDGED(il_event_wait(stage.space, object(), key(), &wait) == IL_OK, "an event that was set is not");
}

/* --- condition --- */

static void begin_condition(void)
{
    begin(IL_KIND_CONDITION, 0);
}

static int help_condition(uint32_t n)
{
    il_ticket ticket;
    il_wait wait = patience();
    int code = il_condition_enter(stage.space, stage.object, &wait, &ticket);
    if (code != IL_OK)
        return code;
    code = il_condition_wait(stage.space, stage.object, ticket, &wait);
    int notified = il_condition_leave(stage.space, stage.object, ticket, NULL, false);
    (void)n;
    return code != IL_OK || notified < 0 ? code : notified ? IL_OK : IL_NOT_HELD;
}

static uint32_t waiters(void)
{
    uint32_t count = UINT32_MAX;
    il_wait wait = patience();
    int code = il_condition_waiters(stage.space, stage.object, &wait, &count);
    JUDGED(code == IL_OK, il_status_name(code));
    return count;
}

static void notify(uint32_t count)
{
    il_wait wait = patience();
    int code = il_condition_notify(stage.space, stage.object, &wait, count, NULL);
    JUDGED(code == IL_OK, il_status_name(code));
}

static bool victim_stands_in_queue(uint32_t *length)
{
    return stands_in_list(il_load_relaxed(&shared->victim_slot), length);
}

static void one_more_waits(uint32_t n, uint32_t count)
{
    give_order(n, HELP, 0);
    AWAIT(waiters() == count && asleep(shared->helpers[n].pid), "no waiter");
}

/* And another has left, for the victim to take its record out. */
static void meanwhile_one_waits(void)
{
    il_ticket ticket;
    il_wait wait = patience();
    int code = il_condition_enter(stage.space, stage.object, &wait, &ticket);
    JUDGED(code == IL_OK, il_status_name(code));
    one_more_waits(0, 2);
    notify(1);
    JUDGED(il_condition_leave(stage.space, stage.object, ticket, NULL, false) == 1, "the first in the queue was not notified");
}

static void meanwhile_two_wait(void)
{
    one_more_waits(0, 1);
    one_more_waits(1, 2);
}

/* The victim's wait comes and goes. */
static void act_condition(void)
{
    il_ticket ticket;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result = il_condition_enter(stage.space, stage.object, &wait, &ticket);
    shared->second_result = il_condition_leave(stage.space, stage.object, ticket, NULL, true);
}

static void judge_condition(void)
{
    uint32_t length;
    JUDGED(!stage.finished || (shared->result == IL_OK && shared->second_result == 0), "the victim's own wait went wrong");
    JUDGED(waiters() == 1, "the dead wait, or the living do not");
    notify(1);
    helper_must_finish(0, -1);
    notify(0);
    JUDGED(!victim_stands_in_queue(&length) && length == 0, "somebody is left in the queue");
}

/* The victim notifies the first of two. */
static void act_notify(void)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result = il_condition_notify(stage.space, stage.object, &wait, 1, NULL);
}

static void judge_notify(void)
{
    uint32_t waiting = waiters();
    JUDGED(waiting == 1 || (waiting == 2 && !stage.finished), "notifications were lost or made");
    JUDGED(!is_done(1), "the second was notified before the first");
    if (waiting == 2)
        notify(1);
    helper_must_finish(0, -1);
    JUDGED(waiters() == 1 && !is_done(1), "one notification, and both have it");
    notify(1);
    helper_must_finish(1, -1);
    JUDGED(waiters() == 0, "somebody is left in the queue");
}

/* The victim was notified, and a helper waits behind it. */
static void prepare_waits(void)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    attach();
    CHECK_CODE(il_condition_enter(stage.space, stage.object, &wait, &stage.ticket), IL_OK);
}

static void meanwhile_notified(void)
{
    one_more_waits(0, 2);
    notify(1);
}

static void act_notified(void)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result = il_condition_wait(stage.space, stage.object, stage.ticket, &wait);
    shared->second_result = il_condition_leave(stage.space, stage.object, stage.ticket, NULL, false);
}

static void judge_notified(void)
{
    JUDGED(!stage.finished || (shared->result == IL_OK && shared->second_result == 1), "the victim's own wait went wrong");
    /* If it stood there, nobody but the helper is there to see to it. */
    if (!stage.was_queued) {
        JUDGED(waiters() == 1, "one notification, and two have it");
        notify(1);
    }
    helper_must_finish(0, -1);
    JUDGED(waiters() == 0, "somebody is left in the queue");
}

/* --- barrier --- */

static void begin_barrier(void)
{
    begin(IL_KIND_BARRIER, 2);
}

/* Meets whoever else comes. */
static int meet(void)
{
    il_ticket ticket;
    uint32_t place;
    il_wait wait = patience();
    int code = il_barrier_enter(stage.space, stage.object, &wait, &ticket, &place);
    if (code == IL_LAST)
        return il_barrier_finish(stage.space, stage.object, ticket, true);
    wait = (il_wait){.deadline_ns = IL_FOREVER};
    return code == IL_OK ? il_barrier_wait(stage.space, stage.object, ticket, &wait) : code;
}

static int help_barrier(uint32_t n)
{
    (void)n;
    return meet();
}

static uint32_t parties(bool *broken)
{
    uint32_t waiting = 0;
    int code = il_barrier_look(stage.space, stage.object, NULL, &waiting, broken);
    JUDGED(code == IL_OK, il_status_name(code));
    return waiting;
}

static void meanwhile_barrier(void)
{
    bool broken;
    give_order(0, HELP, 0);
    AWAIT(parties(&broken) == 1 && asleep(shared->helpers[0].pid), "no waiter");
}

static void act_barrier(void)
{
    shared->result = meet();
}

/* The helper waits, alone, and nothing has become of its wait. */
static bool waits_alone(void)
{
    uint32_t length, first = il_load_relaxed(&object()->state.queue.first);
    return !victim_stands_in_queue(&length) && length == 1 && first != 0 &&
           il_load_relaxed(&stage.space->records[first].state) == IL_WAIT_WAITING && asleep(shared->helpers[0].pid);
}

/* The one who waits finds out by itself what became of the last party; the judge comes if that never came. */
static void judge_barrier(void)
{
    bool broken;
    uint32_t length;
    AWAIT(is_done(0) || waits_alone(), "a party waits for the dead");
    JUDGED(!stage.finished || (is_done(0) && shared->result == IL_OK), "all were there, and it was not passed");
    if (!is_done(0)) {
        int code = meet();
        JUDGED(code == IL_OK, il_status_name(code));
    }
    AWAIT(is_done(0), "a party never comes back");
    int code = shared->helpers[0].code;
    JUDGED(code == IL_OK || (code == IL_BROKEN && !stage.finished), il_status_name(code));
    JUDGED(parties(&broken) == 0 && (!broken || code == IL_BROKEN), "the barrier is broken for nothing");
    JUDGED(il_barrier_reset(stage.space, stage.object, NULL) == IL_OK, "the barrier has gone");
    JUDGED(parties(&broken) == 0 && !broken, "not reset");
    JUDGED(!victim_stands_in_queue(&length) && length == 0, "somebody is left in the queue");
}

/* The victim is the one who waits, and the last party comes and goes meanwhile. */
static void prepare_first(void)
{
    uint32_t place;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    attach();
    CHECK_CODE(il_barrier_enter(stage.space, stage.object, &wait, &stage.ticket, &place), IL_OK);
}

static void meanwhile_last(void)
{
    give_order(0, HELP, 0);
    helper_must_finish(0, -1);
}

static void act_passed(void)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result = il_barrier_wait(stage.space, stage.object, stage.ticket, &wait);
}

/* The round was over: its dead do not break the next. */
static void judge_passed(void)
{
    bool broken;
    JUDGED(!stage.finished || shared->result == IL_OK, "the victim's own wait went wrong");
    give_order(0, HELP, 0);
    int code = meet();
    JUDGED(code == IL_OK, il_status_name(code));
    helper_must_finish(0, -1);
    JUDGED(parties(&broken) == 0 && !broken, "the dead of an earlier round have broken the barrier");
}

const scenario kind_scenarios[] = {
    {"semaphore", 0, BY_STEPS, nothing, attach, nothing, act_semaphore, judge_semaphore, begin_semaphore, NULL},
    {"semaphore-waiter", 0, BY_STEPS, nothing, attach, meanwhile_wants_permit, act_give_permit, judge_given_permit,
     begin_empty_semaphore, help_semaphore},
    {"event-waiter", 0, BY_STEPS, arrange_event, attach, meanwhile_event, act_event, judge_event, begin_event, help_event},
    {"condition", 0, BY_STEPS, nothing, attach, meanwhile_one_waits, act_condition, judge_condition, begin_condition,
     help_condition},
    {"notify", 0, BY_STEPS, nothing, attach, meanwhile_two_wait, act_notify, judge_notify, begin_condition, help_condition},
    {"notified", 0, BY_STEPS, nothing, prepare_waits, meanwhile_notified, act_notified, judge_notified, begin_condition,
     help_condition},
    {"barrier-last", 1, BY_STEPS, nothing, attach, meanwhile_barrier, act_barrier, judge_barrier, begin_barrier, help_barrier},
    {"barrier-passed", 1, BY_STEPS, nothing, prepare_first, meanwhile_last, act_passed, judge_passed, begin_barrier,
     help_barrier},
    {.name = NULL},
};
