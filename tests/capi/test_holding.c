/* The C API: what is held, by whom, and after a death. */
#include "parts.h"

/* --- Lock --- */

static void locks(void)
{
    begin();
    interlock_lock *lock, *same;
    interlock_owner owner;
    uint64_t fence, later;
    TRY(interlock_lock_open(space, "x", &lock));
    TRY(interlock_lock_open(space, "x", &same));
    CHECK_CODE(interlock_lock_release(lock), INTERLOCK_NOT_HELD);
    CHECK(says("Lock 'x'") && says("release only what was acquired"));
    CHECK(interlock_lock_owner(lock, &owner) == 0);
    TRY(interlock_lock_acquire(lock, INTERLOCK_FOREVER, 0));
    CHECK_CODE(interlock_lock_acquire(same, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
    uint64_t began = il_clock_ns();
    CHECK_CODE(interlock_lock_acquire(same, 30 * (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK(il_clock_ns() - began >= 30 * MS);
    CHECK_CODE(interlock_lock_acquire(same, 1, 0), INTERLOCK_TIMEDOUT);
    CHECK(interlock_lock_owner(same, &owner) == 1);
    CHECK(owner.pid == (uint32_t)getpid() && owner.thread == il_thread_id() && owner.died_ns == 0);
    CHECK(strstr(owner.program, "test_capi") != NULL && owner.host[0] != '\0');
    CHECK(interlock_lock_recovered(lock, &owner) == 0);
    CHECK_CODE(in_child(lock_give, lock), INTERLOCK_NOT_OWNER);
    TRY(in_thread(lock_give, same));
    TRY(interlock_lock_fence(lock, &fence));
    TRY(interlock_lock_acquire(same, INT64_MAX, INTERLOCK_INTERRUPTIBLE));
    TRY(interlock_lock_fence(lock, &later));
    CHECK(later == fence + 1);
    task waiter;
    start_asleep(&waiter, lock_wait, lock);
    TRY(interlock_lock_release(lock));
    TRY(result(&waiter));
    TRY(interlock_lock_release(lock));
    /* Arguments. */
    CHECK_CODE(interlock_lock_acquire(lock, -2, 0), INTERLOCK_ARGUMENT);
    CHECK(says("-2 ns"));
    CHECK_CODE(interlock_lock_acquire(lock, 0, 2), INTERLOCK_ARGUMENT);
    CHECK(interlock_lock_owner(lock, NULL) == 0);
    interlock_lock_close(lock);
    interlock_lock_close(same);
    end();
}

static void lock_deaths(void)
{
    begin();
    interlock_lock *lock;
    interlock_owner dead = {0};
    TRY(interlock_lock_open(space, "x", &lock));
    pid_t child = die_after(lock_wait, lock);
    CHECK(interlock_lock_owner(lock, NULL) == 0);
    CHECK(interlock_lock_recovered(lock, &dead) == 0);
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_lock_recovered(lock, &dead) == 1 && interlock_lock_recovered(lock, NULL) == 1);
    CHECK(dead.pid == (uint32_t)child && dead.thread == (uint32_t)child && dead.died_ns != 0);
    CHECK(strstr(dead.program, "test_capi") != NULL);
    TRY(interlock_lock_release_unrepaired(lock));
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_lock_recovered(lock, NULL) == 1);
    TRY(interlock_lock_release(lock));
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_lock_recovered(lock, NULL) == 0);
    TRY(interlock_lock_release_unrepaired(lock));
    CHECK_CODE(interlock_lock_release_unrepaired(lock), INTERLOCK_NOT_HELD);
    /* One who sleeps. */
    signal_pipe has = pipe_new();
    child = check_fork();
    if (child == 0) {
        TRY(lock_wait(lock));
        tell(&has);
        for (;;)
            pause();
    }
    hear(&has);
    task waiter;
    start_asleep(&waiter, lock_wait, lock);
    check_kill(child);
    TRY(result(&waiter));
    CHECK(interlock_lock_recovered(lock, &dead) == 1 && dead.pid == (uint32_t)child);
    TRY(interlock_lock_release(lock));
    pipe_free(&has);
    interlock_lock_close(lock);
    end();
}

/* --- RLock --- */

static void rlocks(void)
{
    begin();
    interlock_rlock *lock;
    interlock_owner owner;
    uint64_t fence, later;
    TRY(interlock_rlock_open(space, "x", &lock));
    CHECK_CODE(interlock_rlock_release(lock), INTERLOCK_NOT_HELD);
    TRY(interlock_rlock_fence(lock, &fence));
    for (int i = 0; i < 3; i++)
        TRY(interlock_rlock_acquire(lock, INTERLOCK_FOREVER, 0));
    CHECK(interlock_rlock_owner(lock, &owner) == 1 && owner.thread == il_thread_id());
    CHECK_CODE(in_thread(rlock_try, lock), INTERLOCK_BUSY);
    CHECK_CODE(in_thread(rlock_give, lock), INTERLOCK_NOT_OWNER);
    CHECK_CODE(in_child(rlock_give, lock), INTERLOCK_NOT_OWNER);
    CHECK_CODE(in_child(rlock_try, lock), INTERLOCK_BUSY);
    il_u32 *depth = &capi_mutex(&lock->handle, il_load_relaxed(&lock->handle.ref))->depth;
    il_store_relaxed(depth, UINT32_MAX);
    CHECK_CODE(interlock_rlock_acquire(lock, INTERLOCK_NOW, 0), INTERLOCK_DEPTH);
    il_store_relaxed(depth, 3);
    for (int i = 0; i < 3; i++) {
        CHECK_CODE(in_thread(rlock_try, lock), INTERLOCK_BUSY);
        TRY(interlock_rlock_release(lock));
    }
    TRY(interlock_rlock_fence(lock, &later));
    CHECK(later == fence + 1);
    TRY(in_thread(rlock_try, lock)); /* a thread that ends holding it */
    CHECK_CODE(interlock_rlock_acquire(lock, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK_CODE(interlock_rlock_acquire(lock, -2, 0), INTERLOCK_ARGUMENT);
    interlock_rlock_close(lock);
    /* Deaths. */
    TRY(interlock_rlock_open(space, "y", &lock));
    pid_t child = die_after(rlock_try, lock);
    TRY(interlock_rlock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_rlock_recovered(lock, &owner) == 1 && owner.pid == (uint32_t)child);
    TRY(interlock_rlock_release_unrepaired(lock));
    TRY(interlock_rlock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_rlock_recovered(lock, NULL) == 1);
    TRY(interlock_rlock_release(lock));
    interlock_rlock_close(lock);
    end();
}

/* --- RWLock --- */

static void rwlocks(void)
{
    begin();
    interlock_rwlock *lock;
    interlock_owner owner;
    uint64_t readers, fence, later;
    TRY(interlock_rwlock_open(space, "x", &lock));
    CHECK_CODE(interlock_rwlock_end_read(lock), INTERLOCK_NOT_HELD);
    CHECK_CODE(interlock_rwlock_end_write(lock), INTERLOCK_NOT_HELD);
    CHECK_CODE(interlock_rwlock_downgrade(lock), INTERLOCK_NOT_HELD);
    TRY(read_try(lock));
    TRY(in_thread(read_try, lock));
    TRY(in_child(read_try, lock)); /* which ends, and reads no more */
    CHECK_CODE(in_child(read_give, lock), INTERLOCK_NOT_HELD);
    CHECK_CODE(in_thread(write_try, lock), INTERLOCK_BUSY);
    CHECK_CODE(write_try(lock), INTERLOCK_DEADLOCK);
    CHECK(says("downgrade"));
    TRY(interlock_rwlock_readers(lock, &readers));
    CHECK(readers == 2);
    CHECK(interlock_rwlock_writer(lock, &owner) == 0);
    /* A waiting writer keeps out new readers, and not who reads already. */
    task writer;
    start_asleep(&writer, write_wait, lock);
    CHECK(interlock_rwlock_writer(lock, &owner) == 0);
    CHECK_CODE(in_thread(read_try, lock), INTERLOCK_BUSY);
    TRY(read_try(lock));
    for (int i = 0; i < 3; i++)
        TRY(read_give(lock));
    TRY(result(&writer));
    CHECK(interlock_rwlock_writer(lock, &owner) == 1 && owner.pid == (uint32_t)getpid());
    CHECK_CODE(read_try(lock), INTERLOCK_BUSY);
    CHECK_CODE(interlock_rwlock_read(lock, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK_CODE(in_child(write_give, lock), INTERLOCK_NOT_OWNER);
    TRY(interlock_rwlock_fence(lock, &fence));
    TRY(write_give(lock));
    TRY(write_try(lock));
    TRY(interlock_rwlock_fence(lock, &later));
    CHECK(later > fence);
    CHECK_CODE(read_try(lock), INTERLOCK_DEADLOCK);
    CHECK_CODE(write_try(lock), INTERLOCK_DEADLOCK);
    TRY(interlock_rwlock_downgrade(lock));
    TRY(in_thread(read_try, lock));
    TRY(read_give(lock));
    TRY(in_thread(read_give, lock));
    CHECK_CODE(read_give(lock), INTERLOCK_NOT_HELD);
    /* What another thread has released leaves no note that refuses. */
    TRY(read_try(lock));
    TRY(in_thread(read_give, lock));
    TRY(write_try(lock));
    TRY(write_give(lock));
    CHECK_CODE(interlock_rwlock_read(lock, -2, 0), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_rwlock_write(lock, -2, 0), INTERLOCK_ARGUMENT);
    /* Several at a time. */
    interlock_rwlock *others[20];
    for (int i = 0; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        TRY(interlock_rwlock_open(space, name, &others[i]));
        TRY(read_try(others[i]));
    }
    for (int i = 0; i < 20; i++)
        CHECK_CODE(write_try(others[i]), INTERLOCK_DEADLOCK);
    for (int i = 0; i < 20; i++) {
        TRY(read_give(others[i]));
        TRY(write_try(others[i]));
        TRY(write_give(others[i]));
        interlock_rwlock_close(others[i]);
    }
    interlock_rwlock_close(lock);
    end();
}

static void rwlock_deaths(void)
{
    begin();
    interlock_rwlock *lock;
    interlock_owner dead;
    TRY(interlock_rwlock_open(space, "x", &lock));
    die_after(read_try, lock);
    TRY(write_try(lock));
    CHECK(interlock_rwlock_recovered(lock, NULL) == 0); /* a reader leaves nothing half done */
    TRY(write_give(lock));
    pid_t child = die_after(write_try, lock);
    CHECK(interlock_rwlock_recovered(lock, &dead) == 0);
    TRY(read_try(lock));
    CHECK(interlock_rwlock_recovered(lock, &dead) == 1 && dead.pid == (uint32_t)child);
    TRY(read_give(lock));
    TRY(write_try(lock));
    CHECK(interlock_rwlock_recovered(lock, &dead) == 1 && dead.pid == (uint32_t)child);
    TRY(interlock_rwlock_end_write_unrepaired(lock));
    TRY(write_try(lock));
    CHECK(interlock_rwlock_recovered(lock, NULL) == 1);
    TRY(write_give(lock));
    TRY(read_try(lock));
    CHECK(interlock_rwlock_recovered(lock, NULL) == 0);
    TRY(read_give(lock));
    interlock_rwlock_close(lock);
    end();
}

/* --- Semaphore and BoundedSemaphore --- */

static void semaphores(void)
{
    begin();
    interlock_semaphore *semaphore;
    uint32_t value;
    TRY(interlock_semaphore_open(space, "x", 1, &semaphore));
    TRY(interlock_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    CHECK_CODE(interlock_semaphore_acquire(semaphore, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
    CHECK_CODE(interlock_semaphore_acquire(semaphore, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    task waiter;
    start_asleep(&waiter, semaphore_wait, semaphore);
    TRY(interlock_semaphore_release(semaphore, 3));
    TRY(result(&waiter));
    TRY(interlock_semaphore_value(semaphore, &value));
    CHECK(value == 2);
    TRY(interlock_semaphore_release(semaphore, 1));
    CHECK_CODE(interlock_semaphore_release(semaphore, 0), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_semaphore_release(semaphore, INTERLOCK_PERMITS_MAX + 1), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_semaphore_release(semaphore, INTERLOCK_PERMITS_MAX), INTERLOCK_OVERFLOW);
    TRY(interlock_semaphore_release(semaphore, INTERLOCK_PERMITS_MAX - 3));
    CHECK_CODE(interlock_semaphore_release(semaphore, 1), INTERLOCK_OVERFLOW);
    TRY(interlock_semaphore_value(semaphore, &value));
    CHECK(value == INTERLOCK_PERMITS_MAX);
    die_after(semaphore_wait, semaphore);
    TRY(interlock_semaphore_value(semaphore, &value));
    CHECK(value == INTERLOCK_PERMITS_MAX - 1); /* it stays taken */
    CHECK_CODE(interlock_semaphore_acquire(semaphore, -2, 0), INTERLOCK_ARGUMENT);
    interlock_semaphore_close(semaphore);
    end();
}

static void bounded_semaphores(void)
{
    begin();
    interlock_bounded_semaphore *semaphore;
    uint32_t value;
    TRY(interlock_bounded_semaphore_open(space, "x", 3, &semaphore));
    CHECK_CODE(bounded_give(semaphore), INTERLOCK_NOT_HELD);
    for (int i = 0; i < 3; i++)
        TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    CHECK_CODE(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
    CHECK_CODE(interlock_bounded_semaphore_acquire(semaphore, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK_CODE(in_child(bounded_give, semaphore), INTERLOCK_NOT_HELD);
    CHECK_CODE(interlock_bounded_semaphore_release(semaphore, 0), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_bounded_semaphore_release(semaphore, 4), INTERLOCK_NOT_HELD);
    TRY(interlock_bounded_semaphore_release(semaphore, 2));
    TRY(interlock_bounded_semaphore_value(semaphore, &value));
    CHECK(value == 2);
    task waiter;
    TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    start_asleep(&waiter, bounded_wait, semaphore);
    TRY(bounded_give(semaphore));
    TRY(result(&waiter));
    TRY(interlock_bounded_semaphore_release(semaphore, 3));
    /* A kept permit is given to another process. */
    TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    TRY(bounded_give(semaphore));
    for (int i = 0; i < 3; i++)
        die_after(bounded_wait, semaphore);
    for (int i = 0; i < 3; i++)
        TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    CHECK_CODE(interlock_bounded_semaphore_acquire(semaphore, -2, 0), INTERLOCK_ARGUMENT);
    interlock_bounded_semaphore_close(semaphore);
    end();
}

const test holding_tests[] = {
    {"locks", locks},
    {"lock_deaths", lock_deaths},
    {"rlocks", rlocks},
    {"rwlocks", rwlocks},
    {"rwlock_deaths", rwlock_deaths},
    {"semaphores", semaphores},
    {"bounded_semaphores", bounded_semaphores},
    {NULL, NULL},
};
