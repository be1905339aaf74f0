/* Virtual processes, as in test_virtual.c, on the kinds that are not plain locks: what semaphores, bounded semaphores and
 * reader-writer locks guard, and what conditions, events and barriers hand over, is plain memory.
 *
 * A virtual process dies with what it reads, writes, has a permit of or waits for. */
#include <pthread.h>

#include "check.h"

enum {
    LANES = 4,     /* virtual processes at a time */
    LIVES = 60,    /* that follow each other in one lane */
    TURNS = 150,   /* of a life */
    ROUNDS = 1500, /* of a game or a barrier */
    HOLDER = 7,
};

static il_space *base;
static il_ref semaphore, bounded, rwlock, condition, turn_lock, crowd, barrier, event;

/* Plain on purpose. Guarded: by the semaphore's only permit, by the bounded semaphore's, by the lock's writer. */
static uint64_t by_permit, by_bounded, by_writer[2];
/* Guarded by turn_lock. */
static uint32_t turn;
static uint64_t turns_taken;
/* Each lane's own until the barrier. */
static uint64_t brought[LANES];
/* The setter's until the event. */
static uint64_t published;

/* Relaxed, so as to order nothing. */
static il_u64 tally_permit, tally_bounded, tally_writer, reads, deaths, orphans;

typedef struct {
    il_process process;
    il_space *space;
    il_share reads, permits;
    uint64_t random;
} life;

static uint32_t draw(life *self, uint32_t below)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return (uint32_t)(self->random >> 32) % below;
}

static il_cell *cell_of(il_ref ref)
{
    return il_ref_cell(base, ref);
}

static il_wait some_wait(life *self)
{
    switch (draw(self, 3)) {
    case 0: return (il_wait){.deadline_ns = IL_NOW};
    case 1: return (il_wait){.deadline_ns = il_clock_ns() + draw(self, 2000000)};
    default: return (il_wait){.deadline_ns = IL_FOREVER};
    }
}

static bool in_time(int code)
{
    CHECK(code == IL_OK || code == IL_BUSY || code == IL_TIMEDOUT);
    return code == IL_OK;
}

static void be_born(life *self, uint64_t seed)
{
    il_process_init(&self->process);
    self->random = seed;
    CHECK_CODE(il_space_view(&self->process, base, &self->space), IL_OK);
    CHECK_CODE(il_share_of(self->space, rwlock, NULL, &self->reads), IL_OK);
    CHECK_CODE(il_share_of(self->space, bounded, NULL, &self->permits), IL_OK);
}

static void pass_away(life *self)
{
    il_space_close(self->space);
    pthread_mutex_destroy(&self->process.fork_mutex);
}

static void semaphore_turn(life *self)
{
    il_wait wait = some_wait(self);
    il_cell *cell = cell_of(semaphore);
    uint64_t key = il_ref_key(semaphore);
    if (!il_semaphore_try_fast(cell, key) && !in_time(il_semaphore_acquire(self->space, cell, key, &wait)))
        return;
    by_permit++;
    il_add_relaxed(&tally_permit, 1);
    if (!il_semaphore_release_fast(cell, key, 1))
        CHECK_CODE(il_semaphore_release(self->space, cell, key, 1, 1), IL_OK);
}

/* In these, true: died with it. */
static bool bounded_turn(life *self, bool die)
{
    il_wait wait = some_wait(self);
    if (!il_bounded_acquire_fast(self->space, self->permits) && !il_bounded_try(self->space, bounded, self->permits) &&
        !in_time(il_bounded_acquire(self->space, bounded, self->permits, HOLDER, &wait)))
        return false;
    by_bounded++;
    il_add_relaxed(&tally_bounded, 1);
    if (die)
        return true;
    int given = il_bounded_release_fast(self->space, bounded, self->permits);
    if (given != IL_GIVEN) {
        il_wait patient = {.deadline_ns = IL_FOREVER};
        uint32_t count = given == IL_NOT_GIVEN ? 1 : 0;
        CHECK_CODE(il_bounded_release(self->space, bounded, self->permits, HOLDER, count, &patient), IL_OK);
    }
    return false;
}

static bool read_turn(life *self, bool die)
{
    il_wait wait = some_wait(self);
    if (!il_rwlock_read_fast(self->space, cell_of(rwlock), il_ref_key(rwlock), self->reads) &&
        !in_time(il_rwlock_read(self->space, rwlock, self->reads, HOLDER, false, &wait)))
        return false;
    bool left = (il_load_relaxed(&cell_of(rwlock)->mutex.word) & IL_ORPHAN) != 0;
    CHECK(left || by_writer[0] == by_writer[1]);
    il_add_relaxed(&reads, 1);
    if (!die)
        CHECK(il_rwlock_leave(self->space, cell_of(rwlock), il_share_count(self->space, self->reads), self->reads));
    return die;
}

static bool write_turn(life *self, bool die)
{
    il_wait wait = some_wait(self);
    il_mutex *mutex = &cell_of(rwlock)->mutex;
    if (!il_mutex_try_fast(mutex, il_ref_key(rwlock), il_self(self->space), HOLDER) &&
        !in_time(il_mutex_lock(self->space, mutex, il_ref_key(rwlock), HOLDER, &wait)))
        return false;
    if (!in_time(il_rwlock_drain(self->space, rwlock, &wait))) {
        il_rwlock_undo(self->space, rwlock, &wait);
        return false;
    }
    CHECK(wait.orphan || by_writer[0] == by_writer[1]);
    il_add_relaxed(&orphans, wait.orphan);
    by_writer[1] = ++by_writer[0];
    il_add_relaxed(&tally_writer, 1);
    if (die) {
        by_writer[0]++;
        il_add_relaxed(&tally_writer, 1);
        return true;
    }
    if (draw(self, 3) == 0) {
        CHECK_CODE(il_rwlock_downgrade(self->space, rwlock, self->reads), IL_OK);
        CHECK(by_writer[0] == by_writer[1]);
        CHECK(il_rwlock_leave(self->space, cell_of(rwlock), il_share_count(self->space, self->reads), self->reads));
    } else {
        CHECK_CODE(il_rwlock_write_unlock(self->space, rwlock, 0), IL_OK);
    }
    return false;
}

/* Waits in a crowd that nobody looks after but the crowd, and dies in it or is notified, or leaves. */
static void crowd_turn(life *self, bool die)
{
    il_ticket ticket;
    il_wait wait = {.deadline_ns = il_clock_ns() + draw(self, 1000000)};
    CHECK_CODE(il_condition_enter(self->space, crowd, &(il_wait){.deadline_ns = IL_FOREVER}, &ticket), IL_OK);
    CHECK_CODE(il_condition_notify(self->space, crowd, NULL, draw(self, 3), NULL), IL_OK);
    if (die)
        return;
    in_time(il_condition_wait(self->space, crowd, ticket, &wait));
    int notified = il_condition_leave(self->space, crowd, ticket, NULL, draw(self, 2));
    CHECK(notified == 0 || notified == 1);
}

/* --- a lane: lives in a storm, then games that nobody dies in --- */

static void storm(uint64_t lane)
{
    for (uint64_t n = 0; n < LIVES; n++) {
        life self;
        be_born(&self, lane * 977 + n * 31 + 1);
        for (int i = 0; i < TURNS; i++) {
            semaphore_turn(&self);
            bounded_turn(&self, false);
            read_turn(&self, false);
            if (draw(&self, 3) == 0)
                write_turn(&self, false);
            if (draw(&self, 8) == 0)
                crowd_turn(&self, false);
        }
        bool dead = n % 4 == 3;
        while (!dead) {
            if (n % 2)
                crowd_turn(&self, true);
            dead = n % 4 == 0 ? write_turn(&self, true) : n % 4 == 1 ? read_turn(&self, true) : bounded_turn(&self, true);
        }
        il_add_relaxed(&deaths, n % 4 != 3);
        pass_away(&self);
    }
}

static void lock_turn(life *self)
{
    il_mutex *mutex = &cell_of(turn_lock)->mutex;
    uint64_t key = il_ref_key(turn_lock);
    il_wait wait = {.deadline_ns = IL_FOREVER};
    if (!il_mutex_try_fast(mutex, key, il_self(self->space), HOLDER))
        CHECK_CODE(il_mutex_lock(self->space, mutex, key, HOLDER, &wait), IL_OK);
}

static void unlock_turn(life *self)
{
    CHECK_CODE(il_mutex_unlock(self->space, &cell_of(turn_lock)->mutex, il_ref_key(turn_lock), 0), IL_OK);
}

/* Each in its turn, as the binding waits on a condition. */
static void ping_pong(life *self, uint32_t lane)
{
    for (int round = 0; round < ROUNDS; round++) {
        lock_turn(self);
        while (turn != lane) {
            il_ticket ticket;
            il_wait wait = {.deadline_ns = IL_FOREVER};
            CHECK_CODE(il_condition_enter(self->space, condition, &wait, &ticket), IL_OK);
            unlock_turn(self);
            CHECK_CODE(il_condition_wait(self->space, condition, ticket, &wait), IL_OK);
            lock_turn(self);
            CHECK(il_condition_leave(self->space, condition, ticket, NULL, false) == 1);
        }
        turns_taken++;
        turn = (lane + 1) % LANES;
        CHECK_CODE(il_condition_notify(self->space, condition, NULL, UINT32_MAX, NULL), IL_OK);
        unlock_turn(self);
    }
}

static void meet(life *self)
{
    il_ticket ticket;
    uint32_t place;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    int code = il_barrier_enter(self->space, barrier, &wait, &ticket, &place);
    if (code == IL_LAST)
        code = il_barrier_finish(self->space, barrier, ticket, true);
    else if (code == IL_OK)
        code = il_barrier_wait(self->space, barrier, ticket, &wait);
    CHECK_CODE(code, IL_OK);
}

/* What each brought is everybody's to read between one barrier and the next. */
static void rounds(life *self, uint32_t lane)
{
    for (uint64_t round = 1; round <= ROUNDS / 3; round++) {
        brought[lane] = round;
        meet(self);
        for (int i = 0; i < LANES; i++)
            CHECK(brought[i] == round);
        meet(self);
    }
}

/* What is published before the event is set is read by all who waited for it. */
static void publish(life *self, uint32_t lane)
{
    il_cell *cell = cell_of(event);
    uint64_t key = il_ref_key(event);
    for (uint64_t round = 1; round <= ROUNDS / 3; round++) {
        if (lane == 0) {
            published = round;
            CHECK_CODE(il_event_set(self->space, cell, key), IL_OK);
        } else {
            il_wait wait = {.deadline_ns = IL_FOREVER};
            CHECK_CODE(il_event_wait(self->space, cell, key, &wait), IL_OK);
        }
        CHECK(published == round);
        meet(self);
        if (lane == 0)
            CHECK_CODE(il_event_clear(self->space, cell, key), IL_OK);
        meet(self);
    }
}

static void *lane(void *argument)
{
    uint32_t number = (uint32_t)(uintptr_t)argument;
    life self;
    storm(number + 1);
    be_born(&self, number + 1);
    ping_pong(&self, number);
    rounds(&self, number);
    publish(&self, number);
    pass_away(&self);
    return NULL;
}

static il_ref find_as(const char *name, uint8_t kind, uint64_t parameter)
{
    il_ref ref;
    uint8_t found;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    CHECK_CODE(il_table_resolve(base, name, strlen(name), kind, parameter, &wait, &ref, &found), IL_OK);
    return ref;
}

int main(int argc, char **argv)
{
    check_begin(argc, argv, 120);
    il_process process;
    il_process_init(&process);
    char *path = check_path("virtual-kinds");
    il_error error;
    CHECK_CODE(il_space_open(&process, path, &(il_options){.slots = 2 * LANES + 2}, &base, &error), IL_OK);
    semaphore = find_as("semaphore", IL_KIND_SEMAPHORE, il_semaphore_parameter(1, 1));
    bounded = find_as("bounded", IL_KIND_BOUNDED_SEMAPHORE, 1);
    rwlock = find_as("rwlock", IL_KIND_RWLOCK, 0);
    condition = find_as("condition", IL_KIND_CONDITION, 0);
    crowd = find_as("crowd", IL_KIND_CONDITION, 0);
    turn_lock = find_as("lock", IL_KIND_LOCK, 0);
    barrier = find_as("barrier", IL_KIND_BARRIER, LANES);
    event = find_as("event", IL_KIND_EVENT, 0);

    pthread_t lanes[LANES];
    for (uintptr_t i = 0; i < LANES; i++)
        CHECK(pthread_create(&lanes[i], NULL, lane, (void *)i) == 0);
    for (int i = 0; i < LANES; i++)
        CHECK(pthread_join(lanes[i], NULL) == 0);

    CHECK(by_permit == il_load_relaxed(&tally_permit) && by_bounded == il_load_relaxed(&tally_bounded));
    CHECK(by_writer[0] == il_load_relaxed(&tally_writer) && turns_taken == LANES * ROUNDS);
    CHECK(il_load_relaxed(&orphans) > 0);
    printf("ok %llu permits, %llu of the bounded kind, %llu writings, %llu readings, %llu deaths, %llu orphans taken over\n",
           (unsigned long long)by_permit, (unsigned long long)by_bounded, (unsigned long long)by_writer[0],
           (unsigned long long)il_load_relaxed(&reads), (unsigned long long)il_load_relaxed(&deaths),
           (unsigned long long)il_load_relaxed(&orphans));
    il_space_close(base);
    unlink(path);
    free(path);
    check_clean();
    return 0;
}
