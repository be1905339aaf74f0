/* The C API: forks, and threads. */
#include "parts.h"

/* --- fork --- */

static void forks(void)
{
    begin();
    interlock_lock *lock;
    interlock_rlock *rlock;
    interlock_rwlock *rwlock;
    TRY(interlock_lock_open(space, "lock", &lock));
    TRY(interlock_rlock_open(space, "rlock", &rlock));
    TRY(interlock_rwlock_open(space, "rwlock", &rwlock));
    TRY(lock_wait(lock));
    TRY(rlock_try(rlock));
    TRY(read_try(rwlock));
    pid_t child = check_fork();
    if (child == 0) {
        interlock_lock *mine;
        interlock_owner owner;
        CHECK_CODE(interlock_lock_acquire(lock, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
        CHECK(interlock_lock_owner(lock, &owner) == 1 && owner.pid == (uint32_t)getppid());
        CHECK_CODE(rlock_try(rlock), INTERLOCK_BUSY);
        CHECK_CODE(write_try(rwlock), INTERLOCK_BUSY); /* it is the parent that reads, so this is no deadlock */
        TRY(interlock_lock_open(space, "child's", &mine));
        TRY(lock_wait(mine));
        CHECK(interlock_lock_owner(mine, &owner) == 1);
        CHECK(owner.pid == (uint32_t)getpid() && owner.thread == (uint32_t)getpid());
        interlock_lock_close(mine);
        interlock_lock_close(lock);
        interlock_rlock_close(rlock);
        interlock_rwlock_close(rwlock);
        interlock_space_close(space);
        _exit(0);
    }
    CHECK_CHILD(child);
    TRY(lock_give(lock));
    TRY(rlock_give(rlock));
    TRY(read_give(rwlock));
    interlock_lock_close(lock);
    interlock_rlock_close(rlock);
    interlock_rwlock_close(rwlock);
    TRY(interlock_lock_open(space, "child's", &lock));
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_lock_recovered(lock, NULL) == 1);
    TRY(interlock_lock_release(lock));
    interlock_lock_close(lock);
    end();
}

/* --- threads: for the race detector, too --- */

enum { THREADS = 4, ROUNDS = 2000 };

typedef struct {
    interlock_lock *lock;
    interlock_rlock *rlock;
    interlock_rwlock *rwlock;
    interlock_semaphore *semaphore;
    interlock_bounded_semaphore *bounded;
    interlock_barrier *barrier;
    interlock_event *event;
    unsigned locked, relocked, written, signalled, bounded_count; /* each under its own lock */
    _Atomic unsigned seen;
} shared_handles;

static int use_all(void *argument)
{
    shared_handles *of = argument;
    for (int i = 0; i < ROUNDS; i++) {
        interlock_lock *own;
        interlock_space *opened;
        TRY(lock_wait(of->lock));
        of->locked++;
        TRY(lock_give(of->lock));
        TRY(interlock_rlock_acquire(of->rlock, INTERLOCK_FOREVER, 0));
        TRY(interlock_rlock_acquire(of->rlock, INTERLOCK_FOREVER, 0));
        of->relocked++;
        TRY(rlock_give(of->rlock));
        TRY(rlock_give(of->rlock));
        if (i % 8 == 0) {
            TRY(write_wait(of->rwlock));
            of->written++;
            TRY(write_give(of->rwlock));
            TRY(interlock_space_open("shm:test-threads", &opened));
            TRY(interlock_lock_open(opened, "own", &own));
            interlock_space_close(opened);
            CHECK_CODE(interlock_lock_acquire(own, -3, 0), INTERLOCK_ARGUMENT);
            CHECK(says("-3 ns"));
            interlock_lock_close(own);
        } else {
            TRY(interlock_rwlock_read(of->rwlock, INTERLOCK_FOREVER, 0));
            of->seen += of->written & 1;
            TRY(read_give(of->rwlock));
        }
        TRY(semaphore_wait(of->semaphore));
        of->signalled++;
        TRY(interlock_semaphore_release(of->semaphore, 1));
        TRY(bounded_wait(of->bounded));
        of->bounded_count++;
        TRY(bounded_give(of->bounded));
        if (i % 256 == 0)
            TRY(barrier_wait(of->barrier));
    }
    return event_wait(of->event);
}

static void threads(void)
{
    begin();
    shared_handles of = {0};
    task tasks[THREADS];
    TRY(interlock_lock_open(space, "lock", &of.lock));
    TRY(interlock_rlock_open(space, "rlock", &of.rlock));
    TRY(interlock_rwlock_open(space, "rwlock", &of.rwlock));
    TRY(interlock_semaphore_open(space, "semaphore", 1, &of.semaphore));
    TRY(interlock_bounded_semaphore_open(space, "bounded", 1, &of.bounded));
    TRY(interlock_barrier_open(space, "barrier", THREADS, &of.barrier));
    TRY(interlock_event_open(space, "event", &of.event));
    for (int i = 0; i < THREADS; i++)
        start(&tasks[i], use_all, &of);
    TRY(interlock_event_set(of.event));
    for (int i = 0; i < THREADS; i++)
        TRY(result(&tasks[i]));
    CHECK(of.locked == THREADS * ROUNDS && of.relocked == of.locked && of.signalled == of.locked);
    CHECK(of.bounded_count == of.locked && of.written == of.locked / 8);
    interlock_lock_close(of.lock);
    interlock_rlock_close(of.rlock);
    interlock_rwlock_close(of.rwlock);
    interlock_semaphore_close(of.semaphore);
    interlock_bounded_semaphore_close(of.bounded);
    interlock_barrier_close(of.barrier);
    interlock_event_close(of.event);
    interlock_space *made;
    TRY(interlock_space_open("shm:test-threads", &made));
    CHECK(unlink(interlock_space_path(made)) == 0);
    interlock_space_close(made);
    end();
}

const test process_tests[] = {
    {"forks", forks},
    {"threads", threads},
    {NULL, NULL},
};
