/* What the tests of the C API share. Waits are asserted from below only. */
#ifndef INTERLOCK_TESTS_CAPI_PARTS_H
#define INTERLOCK_TESTS_CAPI_PARTS_H

#include "../engine/basic.h"
#include "capi.h"

#define TRY(call) CHECK_CODE(call, INTERLOCK_OK)

extern interlock_space *space; /* the test's own, from begin() to end() */

/* A thread that calls a function with a handle and keeps what it returned. */
typedef struct {
    pthread_t thread;
    int (*call)(void *);
    void *argument;
    _Atomic(pid_t) id;
    int returned;
} task;

/* A space of its own for each test. */
void begin(void);
void end(void);
/* Whether the last error says so. */
bool says(const char *text);
/* Whether the thread sleeps on a futex that processes share. */
bool sleeps(pid_t pid, pid_t thread);
void start(task *self, int (*call)(void *), void *argument);
/* What it returned. */
int result(task *self);
/* What it returns in another thread. */
int in_thread(int (*call)(void *), void *argument);
/* The same, and waits until it sleeps. */
void start_asleep(task *self, int (*call)(void *), void *argument);
/* A child that calls a function, says so, and is killed holding what it got. Returns its pid. */
pid_t die_after(int (*call)(void *), void *argument);
/* What a function returns in a forked child. */
int in_child(int (*call)(void *), void *argument);

/* Calls that threads make. */
static inline int lock_wait(void *lock) { return interlock_lock_acquire(lock, INTERLOCK_FOREVER, 0); }
static inline int lock_give(void *lock) { return interlock_lock_release(lock); }
static inline int rlock_try(void *lock) { return interlock_rlock_acquire(lock, INTERLOCK_NOW, 0); }
static inline int rlock_give(void *lock) { return interlock_rlock_release(lock); }
static inline int write_wait(void *lock) { return interlock_rwlock_write(lock, INTERLOCK_FOREVER, 0); }
static inline int write_give(void *lock) { return interlock_rwlock_end_write(lock); }
static inline int write_try(void *lock) { return interlock_rwlock_write(lock, INTERLOCK_NOW, 0); }
static inline int read_try(void *lock) { return interlock_rwlock_read(lock, INTERLOCK_NOW, 0); }
static inline int read_give(void *lock) { return interlock_rwlock_end_read(lock); }
static inline int semaphore_wait(void *semaphore) { return interlock_semaphore_acquire(semaphore, INTERLOCK_FOREVER, 0); }
static inline int bounded_wait(void *semaphore) { return interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_FOREVER, 0); }
static inline int event_wait(void *event) { return interlock_event_wait(event, INTERLOCK_FOREVER, 0); }
static inline int barrier_wait(void *barrier) { return interlock_barrier_wait(barrier, INTERLOCK_FOREVER, 0, NULL); }
static inline int bounded_give(void *semaphore) { return interlock_bounded_semaphore_release(semaphore, 1); }

extern const test place_tests[], holding_tests[], signalling_tests[], process_tests[];

#endif
