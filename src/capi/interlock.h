/* interlock: locks by name, between threads, processes and programs.
 *
 *     interlock_space *space;
 *     interlock_lock *orders;
 *     int code = interlock_space_open(NULL, &space);
 *     if (code == INTERLOCK_OK)
 *         code = interlock_lock_open(space, "orders", &orders);
 *     if (code == INTERLOCK_OK)
 *         code = interlock_lock_acquire(orders, INTERLOCK_FOREVER, 0);
 *     if (code != INTERLOCK_OK) {
 *         fprintf(stderr, "%s\n", interlock_last_error());
 *         return 1;
 *     }
 *     ...                      // nobody else on this machine is in here
 *     interlock_lock_release(orders);
 *
 * This is the lock that Python programs have by `interlock.Lock("orders")`. To compile and link, where Python has interlock:
 *
 *     cc program.c $(interlock config --cflags --libs)
 *
 * Kinds: Lock, RLock, RWLock, Semaphore, BoundedSemaphore, Event, Barrier. Not here: Condition, Value and Array; on_recover, for
 * which there is interlock_lock_recovered; anonymous objects; foreign_release; a barrier's action; waiting in event loops.
 *
 * Results. Functions that return int return INTERLOCK_OK, which is 0, or one of the negative codes below; those that answer a
 * question return 1 for yes, 0 for no, or a code. interlock_strerror() says what a code means; interlock_last_error() says
 * what was wrong with what, and what to do.
 *
 * Time. Timeouts are nanoseconds on the monotonic clock. 0 (INTERLOCK_NOW): do not wait, and INTERLOCK_BUSY when there is nothing
 * to be had. More: INTERLOCK_TIMEDOUT when the time is over. INTERLOCK_FOREVER: for ever. Other negative ones are refused.
 *
 * Signals. Their handlers run while a function waits, and then it goes on waiting, as pthread_mutex_lock does. With the flag
 * INTERLOCK_INTERRUPTIBLE it returns INTERLOCK_INTERRUPTED, and has taken nothing. As with every system call, a handler that runs
 * just before the thread sleeps interrupts nothing: use a timeout as well where that matters. No function may be called in a
 * signal handler.
 *
 * Threads. A space, and a handle of an object, may be used by any number of threads at a time. To close it while another
 * thread uses it is an error, as with fclose.
 *
 * Owners. A Lock, a writer's side and a permit of a BoundedSemaphore belong to the process: any of its threads may release what
 * another has taken. An RLock belongs to the thread. A Semaphore's permits, and events, belong to nobody. A process that has
 * Python's interlock loaded beside this library is two owners: one for the locks taken in Python and one for those taken in C.
 *
 * Fork. Handles work in a forked child, and nothing that the parent holds is the child's: it waits for it like any other
 * process. After vfork(), or a bare clone() that shares memory, nothing here may be used before exec.
 *
 * Death. What a process holds when it ends, however it ends, is free for others at once when they try, within milliseconds
 * when they wait. The next one to take a Lock, an RLock or an RWLock is told (interlock_lock_recovered): what the lock protects
 * may be half changed. A thread that ends without releasing leaves its lock held, as long as its process lives.
 *
 * Deadlocks. Whoever waits long is seen in Python's wait graph (Space.wait_graph, Space.deadlocks), so a thread in Python that is
 * part of a circle with threads in C finds it. A wait in C is not ended on account of one: use timeouts.
 *
 * Versions. Functions and codes are added, and none is changed or taken away. A file that another layout version of interlock made is
 * refused with INTERLOCK_LAYOUT: a program that is linked statically is to be linked anew then. */
#ifndef INTERLOCK_H
#define INTERLOCK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define INTERLOCK_API __attribute__((visibility("default")))
#else
#define INTERLOCK_API
#endif

/* Results. */
enum {
    INTERLOCK_OK = 0,
    INTERLOCK_BUSY = -1,        /* another has it, and the timeout was 0; of unlink: it is in use */
    INTERLOCK_TIMEDOUT = -2,    /* the timeout is over */
    INTERLOCK_INTERRUPTED = -3, /* a signal handler ran, and INTERLOCK_INTERRUPTIBLE was given */
    INTERLOCK_NOT_HELD = -5,    /* released without being held */
    INTERLOCK_NOT_OWNER = -6,   /* released by another than its owner */
    INTERLOCK_DEPTH = -7,       /* an RLock was taken 4294967295 times by its thread */
    INTERLOCK_KIND = -8,        /* the name is in use for another kind of object */
    INTERLOCK_PARAMETER = -9,   /* the name is in use with another number of permits or parties */
    INTERLOCK_ABSENT = -10,     /* no object has this name */
    INTERLOCK_OVERFLOW = -26,   /* more permits than a semaphore can have */
    INTERLOCK_BROKEN = -27,     /* the barrier is broken */
    INTERLOCK_DEADLOCK = -29,   /* this thread would wait for itself */

    /* The space cannot be used. */
    INTERLOCK_SPACE_FULL = -11,      /* no room in the file system */
    INTERLOCK_TABLE_FULL = -12,      /* too many names are in use at once */
    INTERLOCK_SLOTS_FULL = -13,      /* too many processes use it */
    INTERLOCK_NO_SPACE_FILE = -14,   /* its file is removed again and again */
    INTERLOCK_GARBAGE = -15,         /* its file is something else, or damaged */
    INTERLOCK_LAYOUT = -16,          /* another layout version made it */
    INTERLOCK_WIPED = -18,           /* its file was deleted, replaced or truncated while in use */
    INTERLOCK_UNSAFE = -19,          /* its file is another user's, or others may write it */
    INTERLOCK_REMOTE = -20,          /* its directory is on a network or FUSE file system */
    INTERLOCK_NO_LIVENESS = -21,     /* the kernel lacks what recovery needs */
    INTERLOCK_NO_FALLOCATE = -22,    /* the file system cannot reserve room */
    INTERLOCK_SYSTEM = -23,          /* a system call failed */
    INTERLOCK_ORPHANED_USERS = -24,  /* its file was deleted, and a living process still uses it */
    INTERLOCK_NO_UNNAMED = -25,      /* the file system has no O_TMPFILE */

    /* The call is wrong. */
    INTERLOCK_ARGUMENT = -64,  /* an argument is out of range, or NULL */
    INTERLOCK_NAME = -65,      /* no name: those have 1 to 255 bytes of UTF-8 */
    INTERLOCK_URL = -66,       /* no URL of a space */
    INTERLOCK_DIRECTORY = -67, /* the directory for spaces cannot be used */
    INTERLOCK_SETTING = -68,   /* INTERLOCK_SLOTS is no number in its range */
    INTERLOCK_NO_MEMORY = -69  /* malloc failed */
};

/* What a code means, and what to do about it. Never NULL, never freed. */
INTERLOCK_API const char *interlock_strerror(int code);

/* The latest failure in this thread but INTERLOCK_BUSY, INTERLOCK_TIMEDOUT and INTERLOCK_INTERRUPTED: with names, paths and
 * numbers. Never NULL; valid until the next failure in this thread. */
INTERLOCK_API const char *interlock_last_error(void);

#define INTERLOCK_NOW ((int64_t)0)
#define INTERLOCK_FOREVER ((int64_t)-1)

/* A flag of functions that wait. */
#define INTERLOCK_INTERRUPTIBLE 1u

/* What is known of a process that holds something, or died holding it. Texts end with a NUL and may be cut short. */
typedef struct interlock_owner {
    uint32_t pid;
    uint32_t thread;   /* kernel thread id; 0: not known */
    uint64_t since_ns; /* wall clock: when it took it; 0: not known */
    uint64_t died_ns;  /* wall clock: when its death was noticed; 0: it lives */
    char host[64];     /* "" of a dead one */
    char program[160]; /* its command line */
} interlock_owner;

/* --- spaces: where names live --- */

typedef struct interlock_space interlock_space;

/* Opens a space, and makes it if it is not there yet. `url`: "shm:NAME", or NULL for the default space, which is INTERLOCK_SPACE
 * of the environment, else "shm:default". The environment is asked once; INTERLOCK_DIR and INTERLOCK_SLOTS mean what they do
 * in Python. All texts are UTF-8. On failure *space is NULL. */
INTERLOCK_API int interlock_space_open(const char *url, interlock_space **space);

/* Handles made from it stay good. NULL: nothing to do. */
INTERLOCK_API void interlock_space_close(interlock_space *space);

/* The space's file. Valid until the space is closed. */
INTERLOCK_API const char *interlock_space_path(const interlock_space *space);

/* Forgets an object that nobody holds or waits for; handles of it make it anew when next used. INTERLOCK_ABSENT, INTERLOCK_BUSY. */
INTERLOCK_API int interlock_space_unlink(interlock_space *space, const char *name);

/* --- Lock: one owner, a process --- */

typedef struct interlock_lock interlock_lock;

/* A handle of the lock of this name, which is made if need be. On failure *lock is NULL. So for all kinds. */
INTERLOCK_API int interlock_lock_open(interlock_space *space, const char *name, interlock_lock **lock);

/* Frees the handle and releases nothing. NULL: nothing to do. So for all kinds. */
INTERLOCK_API void interlock_lock_close(interlock_lock *lock);

/* A thread whose process has it already waits like any other. */
INTERLOCK_API int interlock_lock_acquire(interlock_lock *lock, int64_t timeout_ns, unsigned flags);
INTERLOCK_API int interlock_lock_release(interlock_lock *lock);

/* Releases a lock that a dead owner left, without having repaired what it protects: its next owner is told as well. */
INTERLOCK_API int interlock_lock_release_unrepaired(interlock_lock *lock);

/* Whether this process holds it and took it over from a dead owner; that is in *dead then, which may be NULL. */
INTERLOCK_API int interlock_lock_recovered(interlock_lock *lock, interlock_owner *dead);

/* Whether somebody alive holds it; that is in *owner then, which may be NULL. A snapshot. */
INTERLOCK_API int interlock_lock_owner(interlock_lock *lock, interlock_owner *owner);

/* The number of the latest acquisition. It rises with every one, in every process: pass it along with writes, so that a store
 * can refuse a former owner's. */
INTERLOCK_API int interlock_lock_fence(interlock_lock *lock, uint64_t *fence);

/* --- RLock: one owner, a thread, which may take it again --- */

typedef struct interlock_rlock interlock_rlock;

INTERLOCK_API int interlock_rlock_open(interlock_space *space, const char *name, interlock_rlock **lock);
INTERLOCK_API void interlock_rlock_close(interlock_rlock *lock);
INTERLOCK_API int interlock_rlock_acquire(interlock_rlock *lock, int64_t timeout_ns, unsigned flags);
/* Undoes one acquire; the last one gives the lock back. */
INTERLOCK_API int interlock_rlock_release(interlock_rlock *lock);
INTERLOCK_API int interlock_rlock_release_unrepaired(interlock_rlock *lock);
INTERLOCK_API int interlock_rlock_recovered(interlock_rlock *lock, interlock_owner *dead);
INTERLOCK_API int interlock_rlock_owner(interlock_rlock *lock, interlock_owner *owner);
INTERLOCK_API int interlock_rlock_fence(interlock_rlock *lock, uint64_t *fence);

/* --- RWLock: many readers or one writer --- */

typedef struct interlock_rwlock interlock_rwlock;

INTERLOCK_API int interlock_rwlock_open(interlock_space *space, const char *name, interlock_rwlock **lock);
INTERLOCK_API void interlock_rwlock_close(interlock_rwlock *lock);

/* A thread that reads may read again, also while a writer waits. One that writes gets INTERLOCK_DEADLOCK: to go on reading
 * it downgrades. */
INTERLOCK_API int interlock_rwlock_read(interlock_rwlock *lock, int64_t timeout_ns, unsigned flags);
/* Ends one reading, of this thread or another one of the process. */
INTERLOCK_API int interlock_rwlock_end_read(interlock_rwlock *lock);

/* INTERLOCK_DEADLOCK in a thread that reads or writes already. */
INTERLOCK_API int interlock_rwlock_write(interlock_rwlock *lock, int64_t timeout_ns, unsigned flags);
INTERLOCK_API int interlock_rwlock_end_write(interlock_rwlock *lock);
INTERLOCK_API int interlock_rwlock_end_write_unrepaired(interlock_rwlock *lock);
/* From writing to reading, with nobody in between. interlock_rwlock_end_read ends it. */
INTERLOCK_API int interlock_rwlock_downgrade(interlock_rwlock *lock);

/* While reading or writing: whether a writer died, and nobody has written in good order since. */
INTERLOCK_API int interlock_rwlock_recovered(interlock_rwlock *lock, interlock_owner *dead);
/* Whether somebody alive writes. */
INTERLOCK_API int interlock_rwlock_writer(interlock_rwlock *lock, interlock_owner *owner);
/* How many readings there are, those of dead processes included until a writer asks. A snapshot. */
INTERLOCK_API int interlock_rwlock_readers(interlock_rwlock *lock, uint64_t *readers);
INTERLOCK_API int interlock_rwlock_fence(interlock_rwlock *lock, uint64_t *fence);

/* --- Semaphore: a count for signalling. Nobody owns a permit, so what a dead process took stays taken --- */

typedef struct interlock_semaphore interlock_semaphore;

#define INTERLOCK_PERMITS_MAX 0x7FFFFFFFu

/* `value`: how many permits it has when it is made. INTERLOCK_PARAMETER: it was made with another. */
INTERLOCK_API int interlock_semaphore_open(interlock_space *space, const char *name, uint32_t value,
                                           interlock_semaphore **semaphore);
INTERLOCK_API void interlock_semaphore_close(interlock_semaphore *semaphore);
INTERLOCK_API int interlock_semaphore_acquire(interlock_semaphore *semaphore, int64_t timeout_ns, unsigned flags);
/* Gives `count` permits, one or more, whoever took any. INTERLOCK_OVERFLOW: none was given. */
INTERLOCK_API int interlock_semaphore_release(interlock_semaphore *semaphore, uint32_t count);
/* How many there are to be had. A snapshot. */
INTERLOCK_API int interlock_semaphore_value(interlock_semaphore *semaphore, uint32_t *value);

/* --- BoundedSemaphore: a limit. A permit belongs to the process that took it, and comes back when that dies --- */

typedef struct interlock_bounded_semaphore interlock_bounded_semaphore;

INTERLOCK_API int interlock_bounded_semaphore_open(interlock_space *space, const char *name, uint32_t bound,
                                                   interlock_bounded_semaphore **semaphore);
INTERLOCK_API void interlock_bounded_semaphore_close(interlock_bounded_semaphore *semaphore);
INTERLOCK_API int interlock_bounded_semaphore_acquire(interlock_bounded_semaphore *semaphore, int64_t timeout_ns,
                                                      unsigned flags);
/* Gives back `count` permits, one or more. INTERLOCK_NOT_HELD: this process has fewer, and none was given back. */
INTERLOCK_API int interlock_bounded_semaphore_release(interlock_bounded_semaphore *semaphore, uint32_t count);
/* How many nobody has. A snapshot, in which the dead have theirs until somebody needs them. */
INTERLOCK_API int interlock_bounded_semaphore_value(interlock_bounded_semaphore *semaphore, uint32_t *value);

/* --- Event: a flag to wait for --- */

typedef struct interlock_event interlock_event;

INTERLOCK_API int interlock_event_open(interlock_space *space, const char *name, interlock_event **event);
INTERLOCK_API void interlock_event_close(interlock_event *event);
INTERLOCK_API int interlock_event_set(interlock_event *event);
INTERLOCK_API int interlock_event_clear(interlock_event *event);
INTERLOCK_API int interlock_event_is_set(interlock_event *event);
/* Returns once it is set, or was since the wait began. */
INTERLOCK_API int interlock_event_wait(interlock_event *event, int64_t timeout_ns, unsigned flags);

/* --- Barrier: parties wait until all of them are there --- */

typedef struct interlock_barrier interlock_barrier;

/* `parties`: 1 to 2147483647. INTERLOCK_PARAMETER: it is for another number. */
INTERLOCK_API int interlock_barrier_open(interlock_space *space, const char *name, uint32_t parties,
                                         interlock_barrier **barrier);
INTERLOCK_API void interlock_barrier_close(interlock_barrier *barrier);
/* INTERLOCK_OK: all have come; *place, which may be NULL, is another for each, from 0 to parties - 1. INTERLOCK_BROKEN: a party died,
 * or its timeout was over (this one's, perhaps), or the barrier was aborted or reset. INTERLOCK_INTERRUPTED: the others go on
 * waiting, for somebody else in this one's place. */
INTERLOCK_API int interlock_barrier_wait(interlock_barrier *barrier, int64_t timeout_ns, unsigned flags, uint32_t *place);
/* Breaks it for all who wait and all who come. */
INTERLOCK_API int interlock_barrier_abort(interlock_barrier *barrier);
/* Breaks it for all who wait, and makes it good again. */
INTERLOCK_API int interlock_barrier_reset(interlock_barrier *barrier);

#ifdef __cplusplus
}
#endif

#endif
