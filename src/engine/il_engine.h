/* The engine: named objects in one shared-memory file per space.
 *
 * There are no globals but the list of mapped ranges that the SIGBUS handler needs (il_truncation_linux.c): everything else
 * hangs on an il_process, so several virtual processes can run as threads of one program under a race detector.
 *
 * `int` results are codes of il_status.h. */
#ifndef IL_ENGINE_H
#define IL_ENGINE_H

#include <pthread.h>
#include <sys/types.h>

#include "il_layout.h"
#include "il_platform.h"
#include "il_status.h"

/* What one process has once, for all its spaces. */
typedef struct il_process {
    /* Guards the list of segments; taken before the others, and by fork (il_opened.c). */
    pthread_mutex_t opening_mutex;
    struct il_space *opened;
    /* Held while a descriptor is open whose lock must not reach a forked child, and by fork itself. */
    pthread_mutex_t fork_mutex;
    /* Set once before the first space is opened: several processors, so a short spin can pay. */
    bool spins;
    /* When a thread of it last began to wait for a lock, monotonic. A hint. */
    _Alignas(64) il_u64 contended_ns;
    /* Waiting without a thread for each (il_listen.c). Guard: ports_mutex, which is held across fork. */
    pthread_mutex_t ports_mutex;
    struct il_port *ports;
    bool listening;      /* there is the listening thread */
    uint64_t planned_ns; /* when it wakes at latest … */
    il_u32 *asleep_on;   /* … and what it sleeps on: the bell of a port in the list, or this: */
    il_u32 nothing;
} il_process;

void il_process_init(il_process *process);
/* For pthread_atfork: prepare; parent and child. */
void il_process_before_fork(il_process *process);
void il_process_after_fork(il_process *process, bool child);

/* Why an open failed, for a person. */
typedef struct il_error {
    int code;
    int sys_errno;     /* 0 when no system call failed */
    uint32_t found;    /* LAYOUT: the version found; ORPHANED_USERS: a pid; SLOTS_FULL: how many slots */
    uint64_t wanted;   /* SPACE_FULL: bytes that could not be had */
} il_error;

typedef struct il_space {
    /* Read-only after open. */
    il_process *process;
    unsigned char *base;
    size_t mapped;
    il_header *header;
    il_slot *slots;
    il_mutex *stripes;
    il_record *records;
    il_u32 *tags;
    il_cell *cells;
    dev_t device;
    ino_t inode;
    uint64_t id; /* the header's, which a truncated and regrown file has lost */
    char *path;
    /* The process slot, in a page that reads 0 in a forked child: 0 means "not attached yet". */
    il_u32 *self;
    void *pin; /* guard: fork mutex. Meaningful only while *self is not 0 */
    _Atomic int probe_fd; /* for asking about byte locks; verified before each use, since anybody may close it */
    il_u64 checked_ns;    /* when the file was last seen in its place */
    il_u64 alive;         /* who was last found alive when a task wanted its lock: slot << 48 | in which 2^20 ns. A hint */
    il_u64 next_sweep_ns; /* when to look again for the data that killed processes left */
    il_u32 wiped;         /* the file is gone, replaced or truncated: refuse everything */
    il_error error;       /* guard: fork mutex. Details of the last failed claim or growth */
    struct il_space *next; /* guard of these: opening_mutex. In the process's list, */
    size_t users;          /* how many use it */
} il_space;

typedef struct il_options {
    uint32_t slots;   /* process slots of a space that is made; 0: the default */
    bool must_exist;  /* never make the space */
    uint64_t id;      /* 0, or the id that the space must have */
} il_options;

/* Opens the space at `path`, and makes it unless told not to. */
int il_space_open(il_process *process, const char *path, const il_options *options, il_space **out, il_error *error);

/* Lets go of the mapping and of the process slot. Nothing of this space may be in use or held. */
void il_space_close(il_space *space);

/* The same, but one segment for each file: opens it, or uses the open one, which must have the id; one more user, and one less, the
 * last of whom closes it unless this process holds something in it. */
int il_space_use(il_process *process, const char *path, const il_options *options, il_space **out, il_error *error);
void il_space_keep(il_space *space);
void il_space_leave(il_space *space);

/* A second il_space on the same mapping, for another virtual process of the same program; it never unmaps the range. */
int il_space_view(il_process *process, const il_space *space, il_space **out);

/* Whether the file is still in its place: IL_OK or IL_WIPED. Asks the kernel at most every 50 ms unless `now`. */
int il_space_check(il_space *space, bool now);

/* --- process slots (il_slot.c) --- */

/* This process's slot, 0 when it has none yet. One load. */
static inline uint32_t il_self(const il_space *space)
{
    return il_load_relaxed(space->self);
}

/* Gives this process a slot unless it has one. */
int il_attach(il_space *space);

/* Whether the process of slot k is alive: 1 or 0, or a code. */
int il_slot_alive(il_space *space, uint32_t k);

/* Frees everything that the dead process of slot k left. IL_OK, or IL_BUSY when it lives or another reaps it now. */
int il_reap(il_space *space, uint32_t k);

typedef struct il_owner {
    uint32_t pid, thread;
    uint64_t since_ns;   /* wall clock; 0: not known */
    uint64_t started_ns; /* wall clock; when the process got its slot */
    uint64_t pid_space;
    char host[IL_HOST_MAX];
    char program[IL_PROGRAM_MAX];
} il_owner;

/* What is known of slot k's process. */
void il_slot_describe(const il_space *space, uint32_t k, il_owner *owner);

/* Whether this process holds any object of the space. Looks at every cell. */
bool il_holds(const il_space *space);

/* What is known of the last owner that died holding this cell's object. Its program is cut short. */
void il_cell_dead_owner(const il_cell *cell, il_owner *owner);

/* --- names (il_table.c) --- */

/* Where a name lives: generation << 32 | cell index. One word, so threads may share it without a lock. 0: nowhere yet. */
typedef uint64_t il_ref;

static inline il_cell *il_ref_cell(const il_space *space, il_ref ref)
{
    return &space->cells[(uint32_t)ref];
}

static inline uint64_t il_ref_key(il_ref ref)
{
    return ref & IL_GENERATION;
}

/* A place in a queue, or a note: [ the record's owner word : 32 | its index : 32 ]. */
typedef uint64_t il_ticket;

/* When to stop waiting, and what a wait has gone through so far; one per blocking call, kept across interruptions. */
typedef struct il_wait {
    uint64_t deadline_ns; /* monotonic; IL_NOW: do not wait; IL_FOREVER */
    uint64_t began_ns;    /* 0: has not had to wait yet */
    uint32_t slices;      /* slices slept to their end */
    uint32_t paid;        /* how many of them have paid for their successor (il_mutex.c) */
    uint64_t napping_ns;  /* since when it takes naps; 0: has not begun */
    uint32_t times;       /* of an event: how often it had been set when the wait began */
    bool slept;           /* went to sleep */
    bool woken;           /* the last sleep ended by a wake, which is to be used or passed on */
    bool rushed;          /* what is waited for changes hands faster than a sleeper can be woken */
    bool restless;        /* in: return IL_INTERRUPTED after every slice, for a caller who has other things to look after */
    bool listens;         /* in: do not sleep, but return IL_PENDING; call again when the futex has been rung up, or at `due_ns` */
    uint64_t due_ns;      /* 0: it does not listen yet */
    il_u32 *futex;        /* what it listens to … */
    uint32_t expected;    /* … as long as it has this value */
    bool orphan;          /* out: the lock was left by a dead owner */
    /* For others to see, once it takes long (il_note.c). */
    uint8_t manner;       /* in: IL_MANNER_… */
    bool looks;           /* it came back with IL_INTERRUPTED, for the caller to look for a deadlock */
    bool told, has;       /* the caller's: a deadlock was told already; what is read meanwhile is noted */
    il_ref wanted;        /* in: what is waited for; 0: of no interest to anybody */
    uint64_t agent;       /* in: by whom */
    il_ticket note;       /* 0: there is none */
    uint64_t look_ns;     /* when to look for a deadlock next … */
    uint64_t seen;        /* … and the one that was found last time, as a number, 0: none; … */
    uint32_t sightings;   /* … how often it was found again */
} il_wait;

#define IL_NOW 0u
#define IL_FOREVER UINT64_MAX

/* Finds `name` or makes it. IL_KIND / IL_PARAMETER: it is in use as something else; `found_kind` says as what. */
int il_table_resolve(il_space *space, const char *name, size_t length, uint8_t kind, uint64_t parameter, il_wait *wait,
                     il_ref *ref, uint8_t *found_kind);

/* Finds `name` of this kind and with this parameter, and makes nothing. IL_ABSENT. */
int il_table_find(il_space *space, const char *name, size_t length, uint8_t kind, uint64_t parameter, il_wait *wait,
                  il_ref *ref);

/* Which parameter `name` of this kind has. IL_ABSENT. */
int il_table_parameter(il_space *space, const char *name, size_t length, uint8_t kind, il_wait *wait, uint64_t *parameter);

/* Forgets a name that nobody holds or waits for. IL_ABSENT, IL_BUSY. */
int il_table_unlink(il_space *space, const char *name, size_t length, il_wait *wait);

/* The same for an object that nobody else has a handle of; with its data, or only if it has none. IL_STALE, IL_BUSY. */
int il_table_forget(il_space *space, il_ref ref, bool with_data, il_wait *wait);

/* Takes a lock away from the living process that holds it, as its death would: the next owner is told, by IL_ORPHAN. IL_ABSENT;
 * IL_NOT_HELD: nobody has it; IL_KIND: it is no lock with an owner. `victim`: whose it was. */
int il_table_break(il_space *space, const char *name, size_t length, il_wait *wait, il_owner *victim);
/* Whether the lock was taken from this process so, which has not been told: by which pid, else 0. It is told by that. */
uint32_t il_cell_broken_by(il_space *space, il_cell *cell);

typedef struct il_entry {
    char name[IL_NAME_MAX + 1];
    uint8_t length, kind;
    uint32_t half;
    uint64_t fence;
    il_ref ref;
} il_entry;

/* Copies the named cells of one stripe into `entries`, up to `room`. Returns how many there are, or a code. */
int il_table_list(il_space *space, uint32_t stripe, il_entry *entries, int room, il_wait *wait);

/* Who has what, of a named cell at one moment. */
typedef struct il_glance {
    il_ref ref;
    uint64_t fence, holder; /* its token; 0: nobody has it, or it is being taken or given back */
    uint32_t half, depth;
    uint8_t kind;
} il_glance;

/* Copies that of all named cells, up to `room`. Locks nothing: names that move meanwhile are left out. Returns how many. */
uint32_t il_table_glance(il_space *space, il_glance *found, uint32_t room);

/* What a cell says of its object. */
typedef struct il_facts {
    il_ref ref;
    uint8_t kind;
    uint32_t half, depth, recoveries;
    uint64_t parameter, state; /* `state`: a semaphore's permits, or an event's flag, as in il_state */
    uint64_t fence, taken, contended, waited_ns;
    il_owner dead; /* the last owner that died, if any did */
    uint64_t dead_ns;
} il_facts;
/* Copies that of a name, whatever its kind, and makes nothing. IL_ABSENT. */
int il_table_look(il_space *space, const char *name, size_t length, il_wait *wait, il_facts *facts);

/* Cells in the first `levels` levels. */
static inline uint32_t il_cells_of_levels(uint32_t levels)
{
    return (uint32_t)IL_WAYS * IL_STRIPES * (((1u << (2 * levels)) - 1u) / 3u);
}

/* Records in the first `levels` levels. */
static inline uint32_t il_records_of_levels(uint32_t levels)
{
    return (uint32_t)IL_RECORDS * (((1u << (2 * levels)) - 1u) / 3u);
}

/* --- waiting without a thread (il_listen.c) --- */

/* Where an event loop listens: its descriptor is readable when waits of this space should be looked at again. */
typedef struct il_port {
    il_space *space;
    struct il_port *next;
    int fd;
    /* Guard of these: ports_mutex. */
    bool listed;     /* else: of the process that this one was forked from */
    uint32_t seen;   /* the bell's value when it was last looked at */
    uint64_t due_ns; /* when to be told at latest; IL_FOREVER */
    bool idle;       /* nothing waits here */
    il_uring ring;   /* the loop's thread's own: the kernel tells `fd`; else the listening thread does */
} il_port;

/* To be told by the kernel if `may_ring` and it can. IL_OK, or IL_SYSTEM with errno, or what il_attach returns. */
int il_port_open(il_port *port, il_space *space, bool may_ring);
void il_port_close(il_port *port);
/* Hears what was told: to be called before the waits are looked at. */
void il_port_hear(il_port *port);
/* Says when to be told at latest; 0: nothing waits here any more. IL_OK, or IL_SYSTEM with errno: no thread can be started. */
int il_port_expect(il_port *port, uint64_t due_ns);

/* Which bucket a futex belongs to. */
static inline uint32_t il_bucket_of(const il_space *space, const il_u32 *futex)
{
    uint32_t line = (uint32_t)(((uintptr_t)futex - (uintptr_t)space->header) / 64);
    return line * 0x9E3779B1u >> 24; /* Fibonacci hashing, Knuth 6.4 */
}
_Static_assert(IL_BUCKETS == 256, "a bucket is 8 bits");

/* One of the engine's own locks was not to be had in a moment: it is pending, to be tried again soon. IL_PENDING. */
int il_wait_later(il_space *space, il_wait *wait);

/* Whether a wait that was pending may have come to its end, or has to be looked at for another reason. If not, it goes on
 * listening. */
bool il_wait_is_ripe(il_space *space, il_wait *wait, uint64_t now);

/* --- who waits for whom (il_note.c) --- */

/* A wait has ended, or is given up: its note goes. For every wait that had something `wanted`, whatever came of it. */
void il_wait_end(il_space *space, il_wait *wait);
/* Besides, whoever waits here reads this meanwhile. Once there is a note. */
void il_wait_has(il_space *space, il_wait *wait, il_ref ref);

/* Somebody who waits. */
typedef struct il_waiting {
    uint32_t record, slot;
    il_ref wanted;
    uint64_t agent, since_ns;
    uint32_t manner;
} il_waiting;
/* Those who wait, up to `room`: how many there are. A snapshot, in which each is whole. */
uint32_t il_waits(il_space *space, il_waiting *found, uint32_t room);

/* Whoever has what somebody waits for. */
typedef struct il_holding {
    uint32_t slot;
    uint64_t agent; /* 0: some thread of the process */
} il_holding;
/* … up to `room`; how many there are. */
uint32_t il_holders(il_space *space, const il_waiting *waiting, il_holding *found, uint32_t room);

/* The cycle that leads from this wait back to it: how many parties it has, 0: none was found. */
enum { IL_CYCLE_MOST = 64 };
uint32_t il_cycle(il_space *space, uint32_t record, il_waiting *cycle);

/* A wait that came back with `looks` looks for a deadlock that it is part of. What it is to do about one, of IL_MANNER_LOGS and
 * IL_MANNER_RAISES, each of which one party of a deadlock is told, once; its cycle begins with itself. */
uint32_t il_wait_look(il_space *space, il_wait *wait, il_waiting *cycle, uint32_t *count);

/* --- the lock word (il_mutex.c) --- */

/* Takes a free, unremarkable mutex: one compare-and-swap. False: take the long way. */
static inline bool il_mutex_try_fast(il_mutex *mutex, uint64_t key, uint32_t slot, uint64_t holder)
{
    uint64_t expected = key;
    /* Acquire: pairs with the release CAS of whoever left the word free. Slot 0 never gets here: it would store "free". */
    if (slot == 0 || !il_cas_acquire(&mutex->word, &expected, key | slot))
        return false;
    /* Ours now, so plain read-modify-write: relaxed, because whoever trusts them read the word first. */
    il_store_relaxed(&mutex->holder, holder);
    il_store_relaxed(&mutex->fence, il_load_relaxed(&mutex->fence) + 1);
    return true;
}

/* As il_mutex_try_fast, for a mutex that guards the engine's own data: nobody asks which thread has it. */
static inline bool il_mutex_try_bare(il_mutex *mutex, uint64_t key, uint32_t slot)
{
    uint64_t expected = key;
    /* Acquire: as there. */
    return slot != 0 && il_cas_acquire(&mutex->word, &expected, key | slot);
}

/* Frees a mutex that this process holds and nobody waits for. False: take the long way. */
static inline bool il_mutex_unlock_fast(il_mutex *mutex, uint64_t key, uint32_t slot)
{
    uint64_t expected = key | slot;
    if (slot == 0 || il_load_relaxed(&mutex->word) != expected)
        return false;
    /* Whoever takes it next has it before it says so: until then nobody is known to have it, and not we. */
    il_store_relaxed(&mutex->holder, 0);
    /* Release: pairs with every acquire CAS. */
    return il_cas_release(&mutex->word, &expected, key);
}

/* Takes the mutex, waiting as `wait` says. IL_OK, IL_BUSY, IL_TIMEDOUT, IL_INTERRUPTED, IL_STALE, or an error. After
 * IL_INTERRUPTED call again with the same `wait`. The holder's token must not be 0. */
int il_mutex_lock(il_space *space, il_mutex *mutex, uint64_t key, uint64_t holder, il_wait *wait);

/* A wait that listened is given up: what it reserved, perhaps, it has no use for. Others may have reserved it as well, and do so
 * again at the end of a slice. */
void il_mutex_withdraw(il_mutex *mutex, uint64_t key);

enum {
    IL_UNLOCK_FOREIGN = 1,     /* whoever owns it */
    IL_UNLOCK_KEEP_ORPHAN = 2, /* it stays marked as left by a dead owner */
};
/* Frees the mutex. IL_OK, IL_NOT_HELD, IL_NOT_OWNER; IL_STALE: look the name up again. */
int il_mutex_unlock(il_space *space, il_mutex *mutex, uint64_t key, unsigned flags);

/* Whether somebody alive holds it: 1 or 0, or a code. */
int il_mutex_locked(il_space *space, il_mutex *mutex, uint64_t key);

/* Who holds it: IL_OK, or IL_NOT_HELD. A snapshot. */
int il_mutex_owner(il_space *space, il_mutex *mutex, uint64_t key, il_owner *owner);

/* --- the re-entrant lock (il_rlock.c): a mutex whose holder counts --- */

int il_rlock_lock(il_space *space, il_mutex *mutex, uint64_t key, uint64_t holder, il_wait *wait);
int il_rlock_unlock(il_space *space, il_mutex *mutex, uint64_t key, uint64_t holder, unsigned flags);

/* Whether this very holder has it. */
static inline bool il_rlock_mine(const il_space *space, il_mutex *mutex, uint64_t key, uint64_t holder)
{
    uint32_t slot = il_self(space);
    /* Acquire: pairs with the release of whoever gave the cell its name, and cleared `holder` of what was there before. */
    uint64_t word = il_load_acquire(&mutex->word);
    /* The token is stored by its holder and cleared before every release, so only its own thread can find its own token
     * under its own slot. */
    return slot != 0 && (word & (IL_GENERATION | IL_OWNER | IL_FILLING)) == (key | slot) &&
           il_load_relaxed(&mutex->holder) == holder;
}

/* --- the semaphore (il_semaphore.c): a count without owners --- */

/* A semaphore's parameter: [ bound : 32 | initial permits : 32 ]. */
static inline uint64_t il_semaphore_parameter(uint32_t initial, uint32_t bound)
{
    return (uint64_t)bound << 32 | initial;
}

static inline uint32_t il_semaphore_bound(uint64_t parameter)
{
    return (uint32_t)(parameter >> 32);
}

/* Takes a permit when there is one and nobody sleeps. False: take the long way. */
static inline bool il_semaphore_try_fast(il_cell *cell, uint64_t key)
{
    uint64_t word = il_load_relaxed(&cell->state.permits);
    /* Acquire: pairs with the release of whoever gave the permit. */
    return (word & IL_GENERATION) == key && (word & IL_PERMITS) != 0 &&
           il_cas_acquire(&cell->state.permits, &word, word - 1);
}

/* Gives a permit when nobody sleeps. False: take the long way. */
static inline bool il_semaphore_release_fast(il_cell *cell, uint64_t key, uint32_t bound)
{
    uint64_t word = il_load_relaxed(&cell->state.permits);
    /* Release: pairs with the acquire of whoever takes it. */
    return (word & IL_GENERATION) == key && !(word & IL_PERMIT_WAITERS) &&
           (word & IL_PERMITS) < bound && il_cas_release(&cell->state.permits, &word, word + 1);
}

/* IL_OK, IL_BUSY, IL_TIMEDOUT, IL_INTERRUPTED, IL_STALE or an error, as il_mutex_lock. */
int il_semaphore_acquire(il_space *space, il_cell *cell, uint64_t key, il_wait *wait);
/* Gives `count` permits at once. IL_OVERFLOW: there would be more than the bound, and none was given. */
int il_semaphore_release(il_space *space, il_cell *cell, uint64_t key, uint32_t bound, uint32_t count);
int il_semaphore_value(il_cell *cell, uint64_t key, uint32_t *value);

/* --- the event (il_event.c) --- */

int il_event_set(il_space *space, il_cell *cell, uint64_t key);
int il_event_clear(il_space *space, il_cell *cell, uint64_t key);
/* IL_OK: it is set, or was since the wait began. */
int il_event_wait(il_space *space, il_cell *cell, uint64_t key, il_wait *wait);

/* --- the condition (il_condition.c): a queue of waiters; its lock is the caller's business --- */

/* Enters the queue. The caller has the condition's lock and releases it then. */
int il_condition_enter(il_space *space, il_ref ref, const il_wait *wait, il_ticket *ticket);
/* Waits until notified. After IL_OK, IL_TIMEDOUT or an error take the lock back and leave the queue; after IL_INTERRUPTED wait
 * again, or do that. IL_NOT_OWNER: it is the wait of the process that this one was forked from. */
int il_condition_wait(il_space *space, il_ref ref, il_ticket ticket, il_wait *wait);
/* Leaves the queue: 1 if it was notified by then, 0 if not, or a code, IL_BUSY if `wait` does not let it wait for the stripe (NULL: it
 * does). `pass_on`: give the notification to another. */
int il_condition_leave(il_space *space, il_ref ref, il_ticket ticket, const il_wait *wait, bool pass_on);
/* Notifies the first `count` who wait and live. `asleep`: NULL to wake them at once, or where to note whom to wake once the lock has
 * been released: woken before, they would only sleep again on the lock. 0: nobody. */
int il_condition_notify(il_space *space, il_ref ref, const il_wait *wait, uint32_t count, uint32_t *asleep);
void il_condition_wake(il_space *space, il_ref ref, uint32_t asleep);
#define IL_SEVERAL UINT32_MAX
/* How many wait: a snapshot. */
int il_condition_waiters(il_space *space, il_ref ref, const il_wait *wait, uint32_t *count);

/* --- the barrier (il_barrier.c); its cell's parameter is the number of parties --- */

/* Arrives. IL_OK: wait; IL_LAST: all the others are here, run the action and finish; IL_BROKEN: it was, or just broke;
 * IL_INTERRUPTED: a signal, while the last of the round before acts. `place`: 0 for the first. */
int il_barrier_enter(il_space *space, il_ref ref, il_wait *wait, il_ticket *ticket, uint32_t *place);
/* Waits until the barrier is passed or broken: IL_OK or IL_BROKEN. After IL_INTERRUPTED wait again or leave. */
int il_barrier_wait(il_space *space, il_ref ref, il_ticket ticket, il_wait *wait);
/* Lets all go, or breaks the barrier, after IL_LAST. IL_BROKEN: it was broken or reset meanwhile. */
int il_barrier_finish(il_space *space, il_ref ref, il_ticket ticket, bool passed);
/* Gives up waiting after a signal. */
int il_barrier_leave(il_space *space, il_ref ref, il_ticket ticket);
/* Sends all who wait away with IL_BROKEN; the barrier is good again, or stays broken. */
int il_barrier_reset(il_space *space, il_ref ref, const il_wait *wait);
int il_barrier_abort(il_space *space, il_ref ref, const il_wait *wait);
/* How many wait, and whether it is broken: a snapshot. */
int il_barrier_look(il_space *space, il_ref ref, const il_wait *wait, uint32_t *waiting, bool *broken);

/* --- shares (il_share.c): what one process has of an object --- */

/* A share as its process refers to it: [ turn : 32 | record : 32 ]. 0: none. Valid for one process slot only. */
typedef uint64_t il_share;

/* This process's share of an object, made if there is none: IL_OK, IL_STALE or an error; and unless `wait` is NULL (for ever) IL_BUSY,
 * IL_TIMEDOUT or IL_INTERRUPTED. */
int il_share_of(il_space *space, il_ref ref, const il_wait *wait, il_share *share);

static inline il_u64 *il_share_count(const il_space *space, il_share share)
{
    return &space->records[(uint32_t)share].count;
}

/* What a process has of an object: so many reads, or permits. */
typedef struct il_portion {
    il_ref object;
    uint32_t slot, count;
} il_portion;
/* Those of all objects, up to `room`: how many there are. A snapshot, in which each is whole. */
uint32_t il_portions(il_space *space, il_portion *found, uint32_t room);

/* --- the reader-writer lock (il_rwlock.c) --- */

void il__rwlock_wake(il_space *space, il_u64 *count);

/* One reader of this process less, if there is one. */
static inline bool il_rwlock_leave(il_space *space, il_cell *cell, il_u64 *count, il_share share)
{
    uint64_t had = il_load_relaxed(count);
    do {
        if (had >> 32 != share >> 32 || (uint32_t)had == 0)
            return false;
        /* Also a release: pairs with the writer's acquire when it finds nobody reading. */
    } while (!il_cas_seq_cst(count, &had, had - 1));
    /* Either the writer sees that we have left, or we see it draining. */
    if ((uint32_t)had == 1 && il_load_seq_cst(&cell->state.shares.draining))
        il__rwlock_wake(space, count);
    return true;
}

/* Takes the lock for reading if no writer has or wants it. False: take the long way. */
static inline bool il_rwlock_read_fast(il_space *space, il_cell *cell, uint64_t key, il_share share)
{
    il_u64 *count = il_share_count(space, share);
    uint64_t had = il_load_relaxed(count);
    if (had >> 32 != share >> 32 || !il_cas_seq_cst(count, &had, had + 1))
        return false;
    /* Either the writer sees our count, or we see the writer. Also an acquire: pairs with the release of the one before. */
    if ((il_load_seq_cst(&cell->mutex.word) & ~(uint64_t)IL_ORPHAN) == key)
        return true;
    il_rwlock_leave(space, cell, count, share);
    return false;
}
/* IL_OK, and what il_mutex_lock returns. `again`: this very thread reads already, so it need not stand back for a writer. */
int il_rwlock_read(il_space *space, il_ref ref, il_share share, uint64_t holder, bool again, il_wait *wait);
/* Writing: lock the cell's mutex, then drain it of readers. IL_OK: held. After IL_INTERRUPTED drain again or undo; after
 * anything else undo. */
int il_rwlock_drain(il_space *space, il_ref ref, il_wait *wait);
/* il_mutex_try_fast for a writer: in the order of all accesses, so that either it or a reader sees the other. */
static inline bool il_rwlock_gate_fast(il_mutex *mutex, uint64_t key, uint32_t slot, uint64_t holder)
{
    uint64_t expected = key;
    if (slot == 0 || !il_cas_seq_cst(&mutex->word, &expected, key | slot))
        return false;
    il_store_relaxed(&mutex->holder, holder);
    il_store_relaxed(&mutex->fence, il_load_relaxed(&mutex->fence) + 1);
    return true;
}

/* Whether nobody reads; if so it is held for writing. Held: the cell's mutex, by il_rwlock_gate_fast. */
bool il_rwlock_is_drained(il_space *space, il_ref ref);
void il_rwlock_undo(il_space *space, il_ref ref, const il_wait *wait);
int il_rwlock_write_unlock(il_space *space, il_ref ref, unsigned flags);

/* The same if this process writes and nobody waits. False: take the long way. */
static inline bool il_rwlock_write_unlock_fast(il_mutex *mutex, uint64_t key, uint32_t slot)
{
    if (slot == 0 || il_load_relaxed(&mutex->word) != (key | slot) || il_load_relaxed(&mutex->depth) == 0)
        return false;
    il_store_relaxed(&mutex->depth, 0);
    if (il_mutex_unlock_fast(mutex, key, slot))
        return true;
    il_store_relaxed(&mutex->depth, 1); /* somebody has begun to wait */
    return false;
}

/* From writing to reading, with nobody in between. */
int il_rwlock_downgrade(il_space *space, il_ref ref, il_share share);
/* How many processes' reads there are, in sum. */
uint64_t il_rwlock_readers(il_space *space, il_ref ref);

/* --- the bounded semaphore (il_bounded.c): permits that belong to the process which took them --- */

/* Takes the permit that the share keeps. False: it keeps none; take the long way. */
static inline bool il_bounded_acquire_fast(il_space *space, il_share share)
{
    il_u64 *count = il_share_count(space, share);
    uint64_t had = il_load_relaxed(count);
    while ((had & IL_KEPT) && had >> 32 == share >> 32) {
        /* Acquire: pairs with the release of who gave it back, perhaps another thread. */
        if (il_cas_acquire(count, &had, (had & ~(uint64_t)IL_KEPT) + 1))
            return true;
    }
    return false;
}

enum { IL_GIVEN, IL_GIVEN_MEANWHILE, IL_NOT_GIVEN };

/* Gives one permit back, for the share to keep. IL_NOT_GIVEN: take the long way. IL_GIVEN_MEANWHILE: somebody waits; give
 * back what is kept, by il_bounded_release of 0. */
static inline int il_bounded_release_fast(il_space *space, il_ref ref, il_share share)
{
    il_cell *cell = il_ref_cell(space, ref);
    il_u64 *count = il_share_count(space, share);
    uint64_t had = il_load_relaxed(count);
    do {
        if (had >> 32 != share >> 32 || (had & IL_PERMITS) == 0 || (had & IL_KEPT) ||
            (il_load_relaxed(&cell->state.shares.free) & IL_PERMIT_WAITERS))
            return IL_NOT_GIVEN;
        /* In the order of all: see gather() in il_bounded.c. */
    } while (!il_cas_seq_cst(count, &had, (had - 1) | IL_KEPT));
    if (!il_load_seq_cst(&cell->state.shares.hint))
        il_store_seq_cst(&cell->state.shares.hint, 1);
    return il_load_seq_cst(&cell->state.shares.free) & IL_PERMIT_WAITERS ? IL_GIVEN_MEANWHILE : IL_GIVEN;
}

/* IL_OK, IL_BUSY, IL_TIMEDOUT, IL_INTERRUPTED, IL_STALE or an error. */
int il_bounded_acquire(il_space *space, il_ref ref, il_share share, uint64_t holder, il_wait *wait);
/* As its first turn, if nobody is at the mutex and one is free. False: take the long way. */
bool il_bounded_try(il_space *space, il_ref ref, il_share share);
/* IL_NOT_HELD: this process has fewer than `count`, and none was given back. IL_BUSY: not in the time that `wait` allows. */
int il_bounded_release(il_space *space, il_ref ref, il_share share, uint64_t holder, uint32_t count, const il_wait *wait);
/* How many permits nobody has: a snapshot, in which the dead have theirs until somebody needs them. */
uint32_t il_bounded_free(il_space *space, il_ref ref);

/* --- the data of a Value or an Array (il_data.c) --- */

/* Mapped until closed; a forked child has it too. */
typedef struct il_data {
    void *base;
    size_t mapped;
    unsigned char *bytes; /* the content, on a cache line of its own */
} il_data;

typedef struct il_content {
    uint64_t size;
    const void *first; /* the content at first, NULL: zeros */
    bool must_exist;   /* never make it */
    bool anonymous;    /* to be forgotten once its maker is dead and nobody has it mapped */
} il_content;

/* Maps the data of an object, and makes it unless told not to: IL_OK, IL_STALE, IL_ABSENT, IL_SPACE_FULL, IL_DATA_LOST or another
 * error; IL_BUSY: somebody is about to forget it, or was, so try again. */
int il_data_open(il_space *space, il_ref ref, const il_content *content, il_data *data, il_error *error);
void il_data_close(il_data *data);
/* Puts memory of no meaning in its place, at the end of the program, when somebody may still look there. */
void il_data_let_go(il_data *data);
/* Removes what killed processes left: files of forgotten objects, and anonymous objects that nobody can come for. */
void il_data_sweep(il_space *space);

#endif
