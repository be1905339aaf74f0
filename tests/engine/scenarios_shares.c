/* What the victims do with reader-writer locks and bounded semaphores, and with the shares of others. */
#include "stage.h"

enum { BOUND = 3 };

static il_ref find_as(const char *name, uint8_t kind, uint64_t parameter)
{
    uint8_t found_kind;
    il_ref ref = 0;
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = il_table_resolve(stage.space, name, strlen(name), kind, parameter, &wait, &ref, &found_kind);
    JUDGED(code == IL_OK, il_status_name(code));
    return ref;
}

static void share_of(il_space *space, il_ref ref, il_share *share)
{
    int code = il_share_of(space, ref, NULL, share);
    JUDGED(code == IL_OK, il_status_name(code));
}

/* Not a share's record among those with an object is out of use for ever: linked, or free to be taken. */
static uint32_t records_linked(il_ref ref)
{
    uint32_t count = 0;
    for (uint32_t at = il_load_relaxed(&il_ref_cell(stage.space, ref)->state.shares.first); at != 0 && count < IL_RECORDS;
         at = il_load_relaxed(&stage.space->records[at].next)) {
        JUDGED(il_load_relaxed(&stage.space->records[at].object) == ref, "another object's share is in the list");
        count++;
    }
    JUDGED(count < IL_RECORDS, "the list of shares has no end");
    return count;
}

/* --- reader-writer lock --- */

static void begin_rwlock(void)
{
    stage.object = find_as("rw", IL_KIND_RWLOCK, 0);
    CHECK_CODE(il_space_view(&stage.process, stage.space, &stage.heir), IL_OK);
    CHECK_CODE(il_attach(stage.heir), IL_OK);
    share_of(stage.space, stage.object, &stage.share);
    share_of(stage.heir, stage.object, &stage.heirs_share);
}

static int read_lock(il_space *space, il_share share, il_wait wait)
{
    if (il_rwlock_read_fast(space, il_ref_cell(space, stage.object), il_ref_key(stage.object), share))
        return IL_OK;
    return il_rwlock_read(space, stage.object, share, TOKEN, false, &wait);
}

static bool read_unlock(il_space *space, il_share share)
{
    return il_rwlock_leave(space, il_ref_cell(space, stage.object), il_share_count(space, share), share);
}

static int write_lock(il_space *space, il_wait wait, bool *orphan)
{
    il_mutex *mutex = mutex_of(stage.object);
    int code = IL_OK;
    bool drained = false;
    wait.orphan = false;
    if (il_rwlock_gate_fast(mutex, il_ref_key(stage.object), il_self(space), TOKEN))
        drained = il_rwlock_is_drained(space, stage.object);
    else
        code = il_mutex_lock(space, mutex, il_ref_key(stage.object), TOKEN, &wait);
    if (code == IL_OK && !drained) {
        code = il_rwlock_drain(space, stage.object, &wait);
        if (code != IL_OK)
            il_rwlock_undo(space, stage.object, &wait);
    }
    *orphan = wait.orphan;
    return code;
}

static const il_wait now = {.deadline_ns = IL_NOW}, always = {.deadline_ns = IL_FOREVER};

static void judge_reader(void)
{
    bool orphan;
    int code = read_lock(stage.heir, stage.heirs_share, now);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(write_lock(stage.space, now, &orphan) == IL_BUSY, "a writer beside a reader");
    JUDGED(il_rwlock_readers(stage.space, stage.object) >= 1, "a reader is not counted");
    JUDGED(read_unlock(stage.heir, stage.heirs_share), "not given back");
}

static void judge_writer(bool orphaned)
{
    bool orphan;
    int code = write_lock(stage.space, now, &orphan);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(orphan == orphaned, "the orphan mark is wrong");
    JUDGED(read_lock(stage.heir, stage.heirs_share, now) == IL_BUSY, "a reader beside a writer");
    JUDGED(write_lock(stage.heir, now, &orphan) == IL_BUSY, "two writers");
    JUDGED(il_rwlock_write_unlock(stage.space, stage.object, 0) == IL_OK, "not given back");
}

/* Readers and writers get in at once and exclude each other, whoever comes first after the death. */
static void judge_rwlock(void)
{
    il_mutex *mutex = mutex_of(stage.object);
    if (stage.point & 1)
        judge_reader();
    judge_writer(stage.was_writer);
    judge_reader();
    judge_writer(false);
    JUDGED(il_rwlock_readers(stage.space, stage.object) == 0, "the dead read");
    JUDGED(il_load_relaxed(&mutex->word) == il_ref_key(stage.object), "an idle lock is marked");
    JUDGED(records_linked(stage.object) <= 4, "there are more shares than users");
}

static il_share victims_share;

static void prepare_share(void)
{
    attach();
    CHECK_CODE(il_share_of(stage.space, stage.object, NULL, &victims_share), IL_OK);
}

static void act_read(void)
{
    if (read_lock(stage.space, victims_share, always) == IL_OK)
        read_unlock(stage.space, victims_share);
    il_wait wait = always;
    if (il_rwlock_read(stage.space, stage.object, victims_share, TOKEN, false, &wait) == IL_OK)
        read_unlock(stage.space, victims_share);
}

static void act_write(void)
{
    bool orphan;
    if (write_lock(stage.space, always, &orphan) == IL_OK)
        il_rwlock_write_unlock(stage.space, stage.object, 0);
}

static void act_downgrade(void)
{
    bool orphan;
    if (write_lock(stage.space, always, &orphan) != IL_OK)
        return;
    if (il_rwlock_downgrade(stage.space, stage.object, victims_share) == IL_OK)
        read_unlock(stage.space, victims_share);
}

/* A helper waits to write, while the victim reads or writes; it complains if it gets in beside it. */
static int help_write(uint32_t n)
{
    bool orphan;
    int code = write_lock(stage.space, (il_wait){.deadline_ns = il_clock_ns() + hang_limit_ns}, &orphan);
    if (code != IL_OK)
        return code;
    if (il_load_relaxed(&shared->reading) && il_load_relaxed(&shared->condemned) != VICTIM)
        il_add_relaxed(&shared->complaints, 1);
    il_store_relaxed(&shared->helpers[n].orphan, orphan);
    return il_rwlock_write_unlock(stage.space, stage.object, 0);
}

static void prepare_reading(void)
{
    prepare_share();
    CHECK_CODE(read_lock(stage.space, victims_share, now), IL_OK);
    il_store_relaxed(&shared->reading, 1);
}

static void prepare_writing(void)
{
    bool orphan;
    prepare_share();
    CHECK_CODE(write_lock(stage.space, now, &orphan), IL_OK);
    il_store_relaxed(&shared->reading, 1);
}

static void meanwhile_writer_drains(void)
{
    il_mutex *mutex = mutex_of(stage.object);
    give_order(0, HELP, 0);
    il_u32 *draining = &il_ref_cell(stage.space, stage.object)->state.shares.draining;
    AWAIT((il_load_relaxed(&mutex->word) & IL_OWNER) && il_load_relaxed(draining) && asleep(shared->helpers[0].pid),
          "no waiter");
}

static void meanwhile_writer_waits(void)
{
    give_order(0, HELP, 0);
    AWAIT((il_load_relaxed(&mutex_of(stage.object)->word) & IL_WAITERS) && asleep(shared->helpers[0].pid), "no waiter");
}

static void act_read_unlock(void)
{
    il_store_relaxed(&shared->reading, 0);
    read_unlock(stage.space, victims_share);
}

static void judge_writer_gets_in(void)
{
    helper_must_finish(0, false);
    il_store_relaxed(&shared->reading, 0);
    judge_rwlock();
}

/* Down to reading, and out. */
static void act_down_and_out(void)
{
    if (il_rwlock_downgrade(stage.space, stage.object, victims_share) == IL_OK)
        act_read_unlock();
}

static void judge_writer_gets_in_behind(void)
{
    helper_must_finish(0, stage.was_writer);
    stage.was_writer = false;
    il_store_relaxed(&shared->reading, 0);
    judge_rwlock();
}

/* --- a process's first share of an object --- */

/* Of an object that nobody has used: the victim's is a new record. */
static void arrange_unused(void)
{
    il_wait wait = now;
    int code = il_table_unlink(stage.space, "rw", 2, &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    stage.object = find_as("rw", IL_KIND_RWLOCK, 0);
}

/* Of one that a dead process has used: the victim takes its record over. */
static void arrange_left(void)
{
    il_space *dead;
    il_share share;
    CHECK_CODE(il_space_view(&stage.process, stage.space, &dead), IL_OK);
    share_of(dead, stage.object, &share);
    JUDGED(read_lock(dead, share, now) == IL_OK, "a reader does not get in");
    uint32_t k = il_self(dead);
    il_space_close(dead);
    JUDGED(il_reap(stage.space, k) == IL_OK, "a dead slot is not swept");
}

static void act_share(void)
{
    shared->result = il_share_of(stage.space, stage.object, NULL, &victims_share);
}

static void judge_share(void)
{
    JUDGED(!stage.finished || shared->result == IL_OK, il_status_name(shared->result));
    uint32_t victim = il_load_relaxed(&shared->victim_slot);
    share_of(stage.space, stage.object, &stage.share);
    share_of(stage.heir, stage.object, &stage.heirs_share);
    judge_rwlock();
    JUDGED(il_reap(stage.space, victim) == IL_OK, "a dead slot is not swept");
    for (uint32_t i = 1; i < IL_RECORDS; i++)
        JUDGED((il_load_relaxed(&stage.space->records[i].owner) & IL_OWNER) != victim, "a record is still the dead one's");
}

/* --- bounded semaphore --- */

static void begin_bounded(void)
{
    stage.object = stage.bounded = find_as("bounded", IL_KIND_BOUNDED_SEMAPHORE, BOUND);
    share_of(stage.space, stage.bounded, &stage.share);
}

static void begin_bounded_one(void)
{
    stage.object = stage.bounded = find_as("bounded", IL_KIND_BOUNDED_SEMAPHORE, 1);
    share_of(stage.space, stage.bounded, &stage.share);
}

static int take_permit(il_share share, il_wait wait)
{
    return il_bounded_acquire(stage.space, stage.bounded, share, TOKEN, &wait);
}

static int give_permits(il_share share, uint32_t count)
{
    il_wait wait = always;
    return il_bounded_release(stage.space, stage.bounded, share, TOKEN, count, &wait);
}

/* All of them can be taken, at once, and not one more. */
static void judge_permits(il_share share, uint32_t bound)
{
    for (uint32_t n = 0; n < bound; n++) {
        int code = take_permit(share, now);
        JUDGED(code == IL_OK, il_status_name(code));
    }
    JUDGED(take_permit(share, now) == IL_BUSY, "permits were made");
    JUDGED(give_permits(share, bound) == IL_OK, "not given back");
    JUDGED(il_bounded_free(stage.space, stage.bounded) == bound, "the free permits are miscounted");
    JUDGED(il_load_relaxed(&mutex_of(stage.bounded)->word) == il_ref_key(stage.bounded), "an idle lock is marked");
    JUDGED(records_linked(stage.bounded) <= 4, "there are more shares than users");
}

static void judge_bounded(void)
{
    judge_permits(stage.share, BOUND);
}

/* The victim's share keeps a permit. */
static void prepare_kept(void)
{
    prepare_share();
    CHECK_CODE(take_permit(victims_share, now), IL_OK);
    CHECK(il_bounded_release_fast(stage.space, stage.bounded, victims_share) == IL_GIVEN);
}

static void act_bounded_fast(void)
{
    if (il_bounded_acquire_fast(stage.space, victims_share))
        il_bounded_release_fast(stage.space, stage.bounded, victims_share);
}

/* The only permit is kept by another's share, and the victim gathers it. */
static void arrange_kept(void)
{
    CHECK_CODE(take_permit(stage.share, now), IL_OK);
    CHECK(il_bounded_release_fast(stage.space, stage.bounded, stage.share) == IL_GIVEN);
}

static void act_gather(void)
{
    take_permit(victims_share, always);
    il_bounded_release_fast(stage.space, stage.bounded, victims_share);
}

static void judge_bounded_one(void)
{
    judge_permits(stage.share, 1);
}

static void act_bounded(void)
{
    take_permit(victims_share, always);
    take_permit(victims_share, always);
    give_permits(victims_share, 2);
}

/* The victim has the only permit and gives it back, and a helper sleeps for want of it. */
static int help_bounded(uint32_t n)
{
    il_share share;
    (void)n;
    int code = il_share_of(stage.space, stage.bounded, NULL, &share);
    if (code == IL_OK)
        code = take_permit(share, (il_wait){.deadline_ns = il_clock_ns() + hang_limit_ns});
    return code == IL_OK ? give_permits(share, 1) : code;
}

static void prepare_permit(void)
{
    prepare_share();
    CHECK_CODE(take_permit(victims_share, now), IL_OK);
}

static void meanwhile_wants_permit(void)
{
    give_order(0, HELP, 0);
    AWAIT((il_load_relaxed(&il_ref_cell(stage.space, stage.bounded)->state.shares.free) & IL_PERMIT_WAITERS) &&
              asleep(shared->helpers[0].pid), "no waiter");
}

static void act_give_permit(void)
{
    give_permits(victims_share, 1);
}

static void judge_taken_over(void)
{
    helper_must_finish(0, -1);
    judge_permits(stage.share, 1);
}

/* --- the reaper of one who read, had permits and waited --- */

static il_share permits_share;

static void begin_reap(void)
{
    begin_bounded();
    permits_share = stage.share;
    begin_rwlock();
    stage.condition = find_as("condition", IL_KIND_CONDITION, 0);
}

/* In the slot above a free one, which is for the reaper. */
static void arrange_dead_user(void)
{
    il_space *room, *dead;
    il_share share;
    il_wait wait = now;
    CHECK_CODE(il_space_view(&stage.process, stage.space, &room), IL_OK);
    CHECK_CODE(il_attach(room), IL_OK);
    CHECK_CODE(il_space_view(&stage.process, stage.space, &dead), IL_OK);
    share_of(dead, stage.object, &share);
    JUDGED(read_lock(dead, share, now) == IL_OK && read_lock(dead, share, now) == IL_OK, "a reader does not get in");
    share_of(dead, stage.bounded, &share);
    for (int n = 0; n < 2; n++)
        JUDGED(il_bounded_acquire(dead, stage.bounded, share, TOKEN, &wait) == IL_OK, "a permit cannot be taken");
    CHECK_CODE(il_condition_enter(dead, stage.condition, &wait, &stage.ticket), IL_OK);
    stage.dead = il_self(dead);
    uint32_t k = il_self(room);
    il_space_close(dead);
    il_space_close(room);
    CHECK_CODE(il_reap(stage.space, k), IL_OK);
}

static void act_reap(void)
{
    shared->result = il_reap(stage.space, stage.dead);
}

static void judge_reaped(void)
{
    uint32_t waiting;
    JUDGED(!stage.finished || shared->result == IL_OK, il_status_name(shared->result));
    judge_permits(permits_share, BOUND); /* at once, before anybody has a reason to ask about the dead one */
    judge_rwlock();
    il_wait wait = now;
    int code = il_condition_waiters(stage.space, stage.condition, &wait, &waiting);
    JUDGED(code == IL_OK && waiting == 0, "the dead wait");
    code = il_condition_notify(stage.space, stage.condition, &wait, 0, NULL);
    JUDGED(code == IL_OK && il_load_relaxed(&il_ref_cell(stage.space, stage.condition)->state.queue.first) == 0,
           "the dead stand in a queue");
    code = il_reap(stage.space, stage.dead);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(il_load_relaxed(&stage.space->slots[stage.dead].pid) == 0, "the dead slot was not swept");
    judge_permits(permits_share, BOUND);
}

/* --- somebody asks to forget what is in use, and dies --- */

static void begin_in_use(void)
{
    begin_reap();
    share_of(stage.heir, stage.bounded, &permits_share);
}

static void arrange_in_use(void)
{
    JUDGED(read_lock(stage.heir, stage.heirs_share, now) == IL_OK, "a reader does not get in");
    for (int n = 0; n < BOUND; n++) {
        il_wait wait = now;
        int code = il_bounded_acquire(stage.heir, stage.bounded, permits_share, TOKEN, &wait);
        JUDGED(code == IL_OK, il_status_name(code));
    }
}

static void act_unlink_read(void)
{
    il_wait wait = always;
    shared->result = il_table_unlink(stage.space, "rw", 2, &wait);
}

static void act_unlink_bounded(void)
{
    il_wait wait = always;
    shared->result = il_table_unlink(stage.space, "bounded", 7, &wait);
}

static void judge_in_use(void)
{
    bool orphan;
    JUDGED(!stage.finished || shared->result == IL_BUSY, "what is in use was forgotten");
    /* Whoever looks the names up finds what the heir has. */
    stage.object = find_as("rw", IL_KIND_RWLOCK, 0);
    stage.bounded = find_as("bounded", IL_KIND_BOUNDED_SEMAPHORE, BOUND);
    share_of(stage.space, stage.bounded, &stage.share);
    JUDGED(write_lock(stage.space, now, &orphan) == IL_BUSY, "a writer beside a reader");
    JUDGED(take_permit(stage.share, now) == IL_BUSY, "permits were made");
    JUDGED(read_unlock(stage.heir, stage.heirs_share), "a reader has been forgotten");
    il_wait wait = now;
    JUDGED(il_bounded_release(stage.heir, stage.bounded, permits_share, TOKEN, BOUND, &wait) == IL_OK, "permits have been forgotten");
    judge_permits(stage.share, BOUND);
}

const scenario share_scenarios[] = {
    {"read", 1, BY_STEPS, nothing, prepare_share, nothing, act_read, judge_rwlock, begin_rwlock, NULL},
    {"write", 1, BY_STEPS, nothing, prepare_share, nothing, act_write, judge_rwlock, begin_rwlock, NULL},
    {"downgrade", 1, BY_STEPS, nothing, prepare_share, nothing, act_downgrade, judge_rwlock, begin_rwlock, NULL},
    {"read-writer", 1, BY_STEPS, nothing, prepare_reading, meanwhile_writer_drains, act_read_unlock, judge_writer_gets_in,
     begin_rwlock, help_write},
    {"downgrade-writer", 1, BY_STEPS, nothing, prepare_writing, meanwhile_writer_waits, act_down_and_out,
     judge_writer_gets_in_behind, begin_rwlock, help_write},
    {"share-new", 0, BY_STEPS, arrange_unused, attach, nothing, act_share, judge_share, begin_rwlock, NULL},
    {"share-left", 0, BY_STEPS, arrange_left, attach, nothing, act_share, judge_share, begin_rwlock, NULL},
    {"bounded-fast", 0, BY_STEPS, nothing, prepare_kept, nothing, act_bounded_fast, judge_bounded, begin_bounded, NULL},
    {"bounded-gather", 0, BY_STEPS, arrange_kept, prepare_share, nothing, act_gather, judge_bounded_one, begin_bounded_one, NULL},
    {"bounded", 0, BY_STEPS, nothing, prepare_share, nothing, act_bounded, judge_bounded, begin_bounded, NULL},
    {"bounded-waiter", 0, BY_STEPS, nothing, prepare_permit, meanwhile_wants_permit, act_give_permit, judge_taken_over,
     begin_bounded_one, help_bounded},
    {"reap-shares", 0, FAR, arrange_dead_user, attach, nothing, act_reap, judge_reaped, begin_reap, NULL},
    {"unlink-read", 0, BY_STEPS, arrange_in_use, attach, nothing, act_unlink_read, judge_in_use, begin_in_use, NULL},
    {"unlink-permits", 0, BY_STEPS, arrange_in_use, attach, nothing, act_unlink_bounded, judge_in_use, begin_in_use, NULL},
    {.name = NULL},
};
