/* The C API: events and barriers; waits and signals. */
#include "parts.h"

/* --- Event and Barrier --- */

static void events(void)
{
    begin();
    interlock_event *event;
    TRY(interlock_event_open(space, "x", &event));
    CHECK(interlock_event_is_set(event) == 0);
    CHECK_CODE(interlock_event_wait(event, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
    CHECK_CODE(interlock_event_wait(event, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    task waiter;
    start_asleep(&waiter, event_wait, event);
    TRY(interlock_event_set(event));
    TRY(interlock_event_clear(event)); /* missed by nobody who waited */
    TRY(result(&waiter));
    TRY(interlock_event_set(event));
    CHECK(interlock_event_is_set(event) == 1);
    TRY(interlock_event_wait(event, INTERLOCK_NOW, 0));
    TRY(in_child(event_wait, event));
    TRY(interlock_space_unlink(space, "x"));
    CHECK(interlock_event_is_set(event) == 0);
    CHECK_CODE(interlock_event_wait(event, -2, 0), INTERLOCK_ARGUMENT);
    interlock_event_close(event);
    end();
}

static void barriers(void)
{
    begin();
    interlock_barrier *barrier;
    uint32_t place = 7;
    TRY(interlock_barrier_open(space, "x", 2, &barrier));
    task other;
    start_asleep(&other, barrier_wait, barrier);
    TRY(interlock_barrier_wait(barrier, INTERLOCK_FOREVER, 0, &place));
    TRY(result(&other));
    CHECK(place == 1);
    /* Aborted, and reset. */
    start_asleep(&other, barrier_wait, barrier);
    TRY(interlock_barrier_abort(barrier));
    CHECK_CODE(result(&other), INTERLOCK_BROKEN);
    CHECK_CODE(barrier_wait(barrier), INTERLOCK_BROKEN);
    CHECK(says("reset"));
    TRY(interlock_barrier_reset(barrier));
    start_asleep(&other, barrier_wait, barrier);
    TRY(interlock_barrier_reset(barrier));
    CHECK_CODE(result(&other), INTERLOCK_BROKEN);
    /* Whose time is over breaks it. */
    CHECK_CODE(interlock_barrier_wait(barrier, INTERLOCK_NOW, 0, NULL), INTERLOCK_BROKEN);
    TRY(interlock_barrier_reset(barrier));
    CHECK_CODE(interlock_barrier_wait(barrier, (int64_t)MS, 0, NULL), INTERLOCK_BROKEN);
    TRY(interlock_barrier_reset(barrier));
    /* And so does a death. */
    interlock_barrier *three;
    TRY(interlock_barrier_open(space, "y", 3, &three));
    pid_t child = check_fork();
    if (child == 0) {
        barrier_wait(three);
        _exit(1);
    }
    AWAIT(sleeps(child, child));
    start_asleep(&other, barrier_wait, three);
    check_kill(child);
    CHECK_CODE(result(&other), INTERLOCK_BROKEN);
    CHECK_CODE(interlock_barrier_wait(barrier, -2, 0, NULL), INTERLOCK_ARGUMENT);
    interlock_barrier_close(barrier);
    interlock_barrier_close(three);
    end();
}

/* --- signals --- */

static void ignore(int signal)
{
    (void)signal;
}

/* A child that interrupts its parent's main thread whenever that sleeps, `times` times; 0: until it is killed. */
static pid_t pest(int times)
{
    pid_t parent = getpid(), child = check_fork();
    if (child != 0)
        return child;
    for (int sent = 0; times == 0 || sent < times; sent++) {
        AWAIT(sleeps(parent, parent));
        kill(parent, SIGUSR1);
        sched_yield();
    }
    _exit(0);
}

static void signals(void)
{
    begin();
    interlock_lock *lock;
    interlock_rlock *rlock;
    interlock_rwlock *rwlock, *read;
    interlock_semaphore *semaphore;
    interlock_bounded_semaphore *bounded;
    interlock_event *event;
    interlock_barrier *barrier;
    struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    TRY(interlock_lock_open(space, "lock", &lock));
    TRY(interlock_rlock_open(space, "rlock", &rlock));
    TRY(interlock_rwlock_open(space, "rwlock", &rwlock));
    TRY(interlock_rwlock_open(space, "read", &read));
    TRY(interlock_semaphore_open(space, "semaphore", 0, &semaphore));
    TRY(interlock_bounded_semaphore_open(space, "bounded", 0, &bounded));
    TRY(interlock_event_open(space, "event", &event));
    TRY(interlock_barrier_open(space, "barrier", 2, &barrier));
    TRY(lock_wait(lock));
    TRY(in_thread(rlock_try, rlock));
    TRY(in_thread(write_try, rwlock));
    TRY(in_thread(read_try, read));

    const int64_t ever = INTERLOCK_FOREVER;
    const unsigned flags = INTERLOCK_INTERRUPTIBLE;
    pid_t child = pest(0);
    CHECK_CODE(interlock_lock_acquire(lock, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_rlock_acquire(rlock, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_rwlock_read(rwlock, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_rwlock_write(rwlock, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_rwlock_write(read, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_semaphore_acquire(semaphore, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_bounded_semaphore_acquire(bounded, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_event_wait(event, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_barrier_wait(barrier, ever, flags, NULL), INTERLOCK_INTERRUPTED);
    check_kill(child);
    /* Nothing of it was taken, nor is broken. */
    TRY(in_thread(read_try, read));
    task other;
    start_asleep(&other, barrier_wait, barrier);
    TRY(barrier_wait(barrier));
    TRY(result(&other));

    /* Without the flag they go on, to their deadline. */
    child = pest(3);
    uint64_t began = il_clock_ns();
    CHECK_CODE(interlock_lock_acquire(lock, 50 * (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK(il_clock_ns() - began >= 50 * MS);
    CHECK_CODE(interlock_rwlock_write(read, 50 * (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK_CODE(interlock_barrier_wait(barrier, 50 * (int64_t)MS, 0, NULL), INTERLOCK_BROKEN);
    CHECK_CODE(interlock_event_wait(event, 50 * (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    kill(child, SIGKILL);
    check_wait(child);
    TRY(interlock_lock_release(lock));
    TRY(write_give(rwlock));
    TRY(read_give(read));
    TRY(read_give(read));
    interlock_lock_close(lock);
    interlock_rlock_close(rlock);
    interlock_rwlock_close(rwlock);
    interlock_rwlock_close(read);
    interlock_semaphore_close(semaphore);
    interlock_bounded_semaphore_close(bounded);
    interlock_event_close(event);
    interlock_barrier_close(barrier);
    end();
}

const test signalling_tests[] = {
    {"events", events},
    {"barriers", barriers},
    {"signals", signals},
    {NULL, NULL},
};
