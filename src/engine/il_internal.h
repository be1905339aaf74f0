/* Between the engine's files: what nobody else calls. */
#ifndef IL_INTERNAL_H
#define IL_INTERNAL_H

#include "il_engine.h"

/* Makes sure that nobody has the data mapped, and that nobody comes to: a claim, to be dropped; IL_BUSY, or an error. Held from
 * then on: the fork mutex. */
int il__data_claim(il_space *space, il_ref ref);
bool il__data_exists(const il_space *space, il_ref ref);
void il__data_drop(il_space *space, il_ref ref, int claim, bool forgotten);
enum { IL_CLAIMED_NONE = INT32_MAX }; /* a claim on an object that has no data yet */

/* The reaper: empties the share of a dead process. */
void il__share_sweep(il_space *space, il_record *record, uint64_t count);
/* Lets go of an object's shares if nobody has any of it. Held: the stripe, and the cell is being filled. */
bool il__shares_drop(il_space *space, il_cell *cell);
/* Asks about all who have some of it, and reaps the dead: whether any was. */
bool il__shares_reap(il_space *space, il_ref ref);

/* The token of a stripe's holder; any but 0 will do, since a stripe is never asked which thread has it. */
enum { IL_STRIPE_HOLDER = 1 };

/* Locks the stripe of an object: IL_OK; IL_STALE: the name has moved; IL_WIPED; and what il_mutex_lock returns, unless `wait` is
 * NULL: for ever, whatever signals come. */
int il__object_lock(il_space *space, il_ref ref, const il_wait *wait);
void il__object_unlock(il_space *space, il_ref ref);

/* Index of the first of the cells that a hash can have in a level. Buckets of all levels with one hash share the stripe,
 * because a bucket's number modulo IL_STRIPES is the stripe's. */
uint32_t il__bucket_of(uint64_t hash, uint32_t level);
/* Locks the stripe of a hash: IL_OK; IL_WIPED; and what il_mutex_lock returns. */
int il__stripe_lock(il_space *space, uint64_t hash, il_wait *wait);
/* Finds the cell of a name, whatever its kind, and locks its stripe. IL_OK; IL_ABSENT, and what il__stripe_lock returns: nothing is
 * locked then. */
int il__name_lock(il_space *space, const char *name, size_t length, il_wait *wait, uint32_t *index);
/* Unlocks it. The code that it is given, unless the space was wiped meanwhile. */
int il__name_unlock(il_space *space, uint32_t index, int code);

/* A wait for a lock of the engine's own, for one who waits for an object. Such a lock is held for a moment only, so that even a
 * try has patience with it, but not for ever: its holder may have been stopped. */
il_wait il__wait_inside(const il_wait *wait);

/* A record of this process's own, in no queue yet. Held: no stripe. */
int il__record_new(il_space *space, il_ticket *ticket);
void il__record_free(il_space *space, il_ticket ticket);
/* Whether it is still this process's: not in a child that was forked meanwhile. */
static inline bool il__record_is_mine(const il_space *space, il_ticket ticket)
{
    return il_load_relaxed(&space->records[(uint32_t)ticket].owner) == (uint32_t)(ticket >> 32) &&
           ((uint32_t)(ticket >> 32) & IL_OWNER) == il_self(space);
}
static inline uint32_t il__record_owner(const il_record *record)
{
    return il_load_relaxed(&record->owner) & IL_OWNER;
}

/* Whether nobody has it any more: its process died, or left. Acquire: pairs with the release of who took the name off. */
static inline bool il__record_is_left(const il_record *record)
{
    return (il_load_acquire(&record->owner) & IL_OWNER) == 0;
}

/* Held, in all of these: the object's stripe. Removing frees the record, which is ours or left. */
void il__queue_append(il_space *space, il_ref ref, uint32_t index);
void il__queue_remove(il_space *space, il_ref ref, uint32_t index);
/* How many records have an owner. */
uint32_t il__queue_count(const il_space *space, const il_cell *cell);
/* Whether the record's process lives. Asks the kernel, and does not wait. */
bool il__record_lives(il_space *space, il_record *record);
/* Reaps the dead who stand in the queue. Held: no stripe. */
void il__queue_reap(il_space *space, il_ref ref);
/* Whether the process lives that holds slot k and has made use of it: as il_slot_alive, and never waits. */
bool il__slot_lives(il_space *space, uint32_t k);
/* Takes the name of slot k off its records. Held: byte k. */
void il__records_sweep(il_space *space, uint32_t k);

enum { IL_RESERVE_AFTER_NS = 1000000 }; /* a waiter this old no longer stands back for speed */

/* The time, and the beginning of the wait if it had not begun. */
uint64_t il__wait_now(il_wait *wait);
/* The same; two waits of this process for locks, right after each other, are taken for a rush. */
uint64_t il__wait_now_for_lock(il_space *space, il_wait *wait);
/* Takes a nap if what is waited for changes hands too fast for sleep to pay: IL_OK, IL_INTERRUPTED; IL_BUSY: sleep. */
int il__wait_nap(il_wait *wait, uint64_t now);
/* Sleeps while *futex is `expected`: until woken or interrupted, to the deadline, to `until_ns`, or, if that is 0, to the end
 * of a slice. IL_OK: look again; IL_BUSY: the time is over; IL_INTERRUPTED; IL_WIPED. */
int il__wait_sleep(il_space *space, il_u32 *futex, uint32_t expected, uint64_t until_ns, il_wait *wait, uint64_t now);
/* The same for one that listens; `until_ns` is the end of the slice. */
int il__wait_listen(il_space *space, il_u32 *futex, uint32_t expected, uint64_t until_ns, il_wait *wait, uint64_t now);

/* Whether the caller is to be let look after other things at the end of a slice. */
static inline bool il__wait_returns(const il_wait *wait)
{
    return wait->restless || wait->looks;
}

/* A slice of a wait has ended: it is noted, and is to look for a deadlock if it is time to. */
void il__wait_lasts(il_space *space, il_wait *wait);

/* Wakes up to `count` sleepers of a futex of the space and rings up those who listen to it. How many there were: those who listen
 * count as one. */
int il__wake(il_space *space, il_u32 *futex, int count);

void il__ports_before_fork(il_process *process);
void il__ports_after_fork(il_process *process, bool child);

/* Opens the space's file once more, verified to be the mapped one; -1 with space->error set. Held: the fork mutex. */
int il__reopen(il_space *space);

/* Clears what slot k, which is dead and whose byte the caller holds, owns. */
void il__table_sweep(il_space *space, uint32_t k);
/* Whether it is free and reserved, but for nobody: its heirs died or left. Who still sleeps on it looks its name up again. */
bool il__mutex_unclaimed(il_mutex *mutex, uint32_t half);
void il__mutex_orphan(il_space *space, il_mutex *mutex, uint32_t k, bool mark);

/* Publishes one more level of cells, or of records, than `levels`, unless somebody else already has. Held: no stripe. */
int il__segment_grow(il_space *space, uint32_t levels);
int il__segment_grow_records(il_space *space, uint32_t levels);

/* Watches [base, base + length) for accesses beyond the end of a truncated file, which set *wiped instead of killing. */
int il__truncation_watch(void *base, size_t length, il_u32 *wiped);
void il__truncation_unwatch(void *base);

#endif
