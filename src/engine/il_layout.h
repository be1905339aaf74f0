/* What lies in a space's file: fixed-width fields, offsets and no pointers, 64-byte lines.
 *
 *   header | process slots | stripes | records | tags | cells
 *
 * The header, the slots, the stripes and the first level of records, tags and cells are reserved (fallocate) before the
 * file gets its name, so nobody ever sees a half-made space. Tags and cells then grow level by level: level L holds
 * IL_WAYS * (stripe_count << 2L) cells, right behind the cells of level L - 1, so a cell's index and address never change.
 * Records grow likewise. The file is sparse: room for a level is reserved just before the level is published in the header.
 *
 * "Guard" below says who may write a field. "Stripe" is the stripe mutex of the cell's name; "owner" is whoever the word
 * names; "byte k" is the kernel lock on byte k of the file, which process slot k is made of (il_slot.c). */
#ifndef IL_LAYOUT_H
#define IL_LAYOUT_H

#include <stddef.h>

#include "il_atomic.h"

#define IL_MAGIC "INTERLK"
#define IL_LAYOUT_VERSION 3u
#define IL_BYTE_ORDER 0x01020304u

enum {
    IL_NAME_MAX = 255,           /* bytes of a name, without a terminator */
    IL_WAYS = 8,                 /* cells of one bucket: the cells that one name can have in one level */
    IL_STRIPES = 256,            /* buckets of level 0, and mutexes of the table */
    IL_LEVELS = 6,               /* most levels: 2.8 million cells */
    IL_SOFT_LEVELS = 3,          /* up to here a full bucket grows the table; beyond, idle cells are evicted first */
    IL_RECORDS = 1024,           /* records of level 0; each level has four times as many as all before it */
    IL_RECORD_LEVELS = 6,        /* most levels: 3.2 million records */
    IL_SLOTS_DEFAULT = 8192,     /* most processes that use one space at a time */
    IL_SLOTS_LIMIT = 0xFFFF,     /* what the word's owner field can name */
    IL_PROGRAM_MAX = 160,        /* bytes of a process's command line kept for people to read, with terminator */
    IL_DEAD_PROGRAM_MAX = 64,    /* bytes of it that outlive the process, in the cell it died on */
    IL_HOST_MAX = 64,            /* bytes of its host name, with terminator */
    IL_BUCKETS = 256,            /* of futexes that somebody listens to */
    IL_CHANNELS = 64,            /* of processes that listen */
    IL_DATA_AT = 64,             /* where the content begins in the file of a Value or an Array */
};

/* The lock word: [ generation : 32 | half : 32 ]. The futex is the half.
 *
 *   bits 0-15  OWNER     process slot that holds it, 0 when free. Written by CAS from 0 to one's own slot, and back by
 *                        the owner or by the reaper who holds that slot's byte.
 *   bit 16     WAITERS   somebody may sleep on the half. Set by whoever is about to sleep, or took the lock after having
 *                        slept (others may still sleep); cleared by release. Legal to be set with no sleeper (one wake
 *                        for nothing). Others may sleep without it while the one whom a release woke is on its way to the
 *                        lock: it sets the bit when it takes the lock, sleeps again or leaves, and its death costs the
 *                        others one slice.
 *   bit 17     RESERVED  a waiter has waited long: the next release leaves the lock free but reserved, and only those who
 *                        already waited may take it. Legal to be missing (less fair). Stale after a crash: expires by
 *                        `reserved_ns`.
 *   bit 18     ORPHAN    the last owner died holding it. Set by the reaper; kept while the successor holds it, so that a
 *                        successor's own death does not lose it; cleared by a release in good order. Illegal to be set
 *                        when no owner died.
 *   bit 19     FILLING   OWNER is giving the cell another name. Set together with a new generation, by CAS from idle.
 *
 * The generation changes whenever the cell gets another name, so whoever still refers to the old name finds a word that
 * does not match and looks the name up again. Generation 0 is never used by a named cell. */
#define IL_OWNER 0x0000FFFFu
#define IL_WAITERS 0x00010000u
#define IL_RESERVED 0x00020000u
#define IL_ORPHAN 0x00040000u
#define IL_FILLING 0x00080000u
#define IL_GENERATION 0xFFFFFFFF00000000u

typedef struct il_mutex {
    il_u64 word;
    il_u64 holder;      /* guard: owner. Token of the thread or task in charge, 0 when free; the low half is its thread id */
    il_u64 fence;       /* guard: owner. Rises by one with every acquisition */
    il_u32 depth;       /* guard: owner. How many times the holder acquired it; used by re-entrant kinds only */
    il_u32 recoveries;  /* guard: reaper. Owners who died holding it */
    il_u64 reserved_ns; /* guard: owner, just before it releases with RESERVED. Monotonic time */
    il_u64 since;       /* anybody, a hint: milliseconds since boot << 24 | low bits of the fence it was seen with */
    il_u64 contended;   /* guard: owner. Acquisitions that found it taken */
    il_u64 waited_ns;   /* guard: owner. Time that those waited, in sum */
} il_mutex;
_Static_assert(sizeof(il_mutex) == 64, "a mutex is one cache line");

/* Kinds of named objects. A kind's number never changes within a layout version. */
enum {
    IL_KIND_NONE = 0,
    IL_KIND_LOCK = 1,
    IL_KIND_RLOCK = 2,
    IL_KIND_SEMAPHORE = 3,
    IL_KIND_EVENT = 4,
    IL_KIND_CONDITION = 5,
    IL_KIND_BARRIER = 6,
    IL_KIND_RWLOCK = 7,
    IL_KIND_BOUNDED_SEMAPHORE = 8,
    IL_KIND_VALUE = 9,
    IL_KIND_ARRAY = 10,
};

/* What a kind keeps beside its mutex, or instead of it. */
typedef union il_state {
    /* Semaphore: [ generation : 32 | WAITERS : 1 | permits : 31 ]. The futex is the low half. Written by anybody, by CAS. The
     * cell's word carries the same generation and never an owner, except while the cell gets its name. */
    il_u64 permits;
    /* Event: [ generation : 32 | how often set : 30 | WAITERS : 1 | SET : 1 ]. As for a semaphore. */
    il_u64 flag;
    /* Condition and Barrier: who waits, in the order of arrival. Guard: stripe. */
    struct {
        il_u64 none;  /* 0: of no generation, for those who take it for permits or a flag that was there before */
        il_u32 first; /* index of a record; 0: none */
        il_u32 last;  /* a hint: a record of the queue behind which the last one is found, or 0 */
        il_u32 round; /* barrier: [ rounds that have ended : 30 | how this one is being ended : 2 ]; a futex */
        il_u32 broken; /* barrier */
    } queue;
    /* RWLock and BoundedSemaphore: what each process has of it. */
    struct {
        il_u64 none;     /* 0, as above */
        il_u32 first;    /* index of a record; 0: none. Guard: stripe */
        il_u32 draining; /* RWLock: the writer waits for readers to leave. Guard: owner */
        il_u32 free;     /* BoundedSemaphore: [ WAITERS : 1 | permits nobody has : 31 ], a futex. Guard of the permits: owner */
        il_u32 unused;
        il_u32 hint;     /* BoundedSemaphore: a share may keep a permit. Set by anybody, cleared by the owner. May be set late, on a
                          * name that moved in meanwhile: no other kind has anything there */
    } shares;
    /* Value and Array: the rest is in a file of its own (il_data.c). */
    struct {
        il_u64 none; /* 0, as above */
        il_u32 made; /* the file exists, or has been deleted by a stranger. Guard: its byte 0, shared */
    } data;
    uint64_t line[8];
} il_state;

_Static_assert(offsetof(il_state, shares.hint) >= offsetof(il_state, queue.broken) + sizeof(il_u32) &&
                   offsetof(il_state, shares.hint) >= offsetof(il_state, data.made) + sizeof(il_u32),
               "who gives a permit back late writes into no other kind's state");

#define IL_PERMITS 0x7FFFFFFFu
#define IL_PERMIT_WAITERS 0x80000000u /* somebody may sleep on the permits: as WAITERS of the lock word */
#define IL_KEPT 0x80000000u           /* in a share's count: one more that it has given back and keeps until another wants it */
#define IL_FLAG_SET 1u
#define IL_FLAG_WAITERS 2u /* somebody may sleep until it is set */
#define IL_FLAG_ONCE 4u    /* one in the count of settings */

typedef struct il_cell {
    il_mutex mutex;
    il_state state;
    /* Below: guarded by the stripe and FILLING together, unless said otherwise. */
    uint64_t hash;
    il_u8 kind; /* also: the reaper, who sets NONE in a cell that its filler left */
    uint8_t name_length;
    uint16_t user_slot;  /* guard: stripe. A process that looked the name up, noted while it lives … */
    uint32_t user_epoch; /* … and the epoch of its slot then, to tell whether it still does */
    uint64_t parameter;  /* the kind's size or bound; must be equal in every opener */
    uint64_t fence_base; /* the fence when the name moved in */
    il_u32 dead_pid;     /* guard: reaper. The last owner that died */
    il_u32 dead_thread;  /* guard: reaper. Its thread id, 0 when unknown */
    il_u64 dead_ns;      /* guard: reaper. When that was noticed, wall clock */
    il_u32 stale;        /* guard: a reaper, or who would forget the name, sets it; the owner clears it. A share was emptied: see
                          * il_bounded.c. Legal to be set for nothing, also on a name that moved in meanwhile */
    il_u32 broken_by;    /* whose pid took it from … */
    il_u32 broken_slot;  /* … this process, which has not been told yet; 0: nobody. Guard of these: stripe; who is told clears the slot */
    il_u32 broken_epoch;
    il_u64 dead_program[IL_DEAD_PROGRAM_MAX / 8]; /* guard: reaper. Start of its command line, since its slot is reused */
    char name[IL_NAME_MAX + 1];
} il_cell;
_Static_assert(offsetof(il_cell, hash) == 128 && sizeof(il_cell) == 512, "a cell is eight cache lines");

/* A thread that waits in an object's queue; what one process has of an object: its share; or a note of who waits long (il_note.c).
 *
 *   free        owner 0, object 0
 *   being made  owner k, object 0         anyone, by CAS of the owner from 0; a reaper frees it again
 *   linked      owner k, object set       reached from the object; guard of `next`: the stripe
 *   left        owner 0, object set       its process died, or left a condition (LEFT); whoever holds the stripe next takes it
 *                                         out, or takes the share over
 *
 * So `owner` alone says whose death concerns it, and the sweep need not wait for the stripe. */
typedef struct il_record {
    il_u32 owner;  /* [ turn : 16 | process slot : 16 ]. The turn rises with every use */
    il_u32 state;  /* IL_WAIT_…, and its futex, guard: stripe, without which the waiter writes ASLEEP and LEFT; or IL_SHARE */
    il_u64 object; /* an il_ref */
    il_u32 next;   /* guard: stripe. 0: the last one */
    il_u32 thread; /* guard: owner. Kernel thread id */
    il_u64 count;  /* of a share: [ turn : 32 | KEPT : 1 | how many : 31 ]; the futex is the low half. Guard: owner, by CAS; the
                    * reaper, and who forgets the name; KEPT: who has the mutex takes it off. The turn rises when the share goes, so
                    * that who still refers to it finds out */
    /* Of a note, guard: owner. */
    il_u64 wanted; /* an il_ref: what it waits for, or (IL_HAS) has */
    il_u64 agent;  /* the token of the thread or task; 0: a task that is none of the object's owners */
    il_u64 since;  /* of IL_NOTE: monotonic time */
    il_u64 manner; /* of IL_NOTE: IL_MANNER_… */
} il_record;
_Static_assert(sizeof(il_record) == 64, "a record is one cache line");

#define IL_RECORD_TURN 0x00010000u

/* What became of a wait. Illegal to go back to WAITING. */
enum {
    IL_WAIT_LEFT = 0,    /* it has left the condition, and gives up the record. Guard: the waiter, from GRANTED */
    IL_WAIT_WAITING = 1,
    IL_WAIT_GRANTED = 2, /* notified; or the barrier is passed */
    IL_WAIT_ACTING = 3,  /* the last to reach a barrier, who runs its action while the others wait */
    IL_WAIT_BROKEN = 4,  /* the barrier is broken */
    IL_WAIT_ASLEEP = 5,  /* it waits for a condition and is to be woken. Guard: the waiter, by CAS from WAITING */
    IL_SHARE = 6,
    IL_NOTE = 7, /* somebody waits. Names no object in `object`, so that whoever reaps its process frees it */
    IL_HAS = 8,  /* and this is what it reads meanwhile; `next` leads from the note to these */
};

/* How it waits, and what is to become of a deadlock. */
enum {
    IL_MANNER_NOTICE = 1, /* for something that nobody has: a notification, an event, a permit, the other parties */
    IL_MANNER_LOGS = 2,   /* a deadlock is to be logged … */
    IL_MANNER_RAISES = 4, /* … or to end this wait */
    IL_MANNER_ANYBODY = 8, /* for what anybody may release: no circle leads through it */
    IL_MANNER_TOLD = 16,  /* it has told of one: nobody else logs it */
    IL_MANNER_SLEEPS = 32, /* its thread does nothing else meanwhile, for none of its tasks */
};
enum { IL_BARRIER_PASS = 1, IL_BARRIER_BREAK = 2, IL_BARRIER_RESET = 3, IL_BARRIER_HOW = 3, IL_BARRIER_ONCE = 4 };

typedef struct il_slot {
    il_u32 pid;   /* guard: byte k. 0: swept, nothing names this slot */
    il_u32 epoch; /* guard: byte k. Rises with every process that gets the slot */
    il_u64 started_ns;   /* guard: byte k. When it got the slot, wall clock */
    il_u64 pid_space;    /* guard: byte k. Inode of its PID namespace */
    il_u32 waits;        /* how many of its waits are noted (il_note.c). Guard: the process; reset with byte k. A hint */
    il_u32 spare;
    il_u64 host[IL_HOST_MAX / 8];       /* guard: byte k. Text, read and written by words */
    il_u64 program[IL_PROGRAM_MAX / 8]; /* guard: byte k */
} il_slot;
_Static_assert(sizeof(il_slot) == 256, "a slot is four cache lines");

typedef struct il_header {
    /* Read-only after creation. */
    char magic[8];
    uint32_t layout_version;
    uint32_t byte_order;
    uint32_t header_size, slot_size, cell_size;
    uint32_t slot_count, stripe_count, level_limit, record_size;
    uint64_t slots_at, stripes_at, records_at, tags_at, cells_at, end_at; /* byte offsets; end_at: end of the address range */
    uint8_t boot_id[16];
    uint64_t id;          /* random: tells this file from a later one of the same name */
    uint64_t hash_key[2]; /* random: names cannot be chosen so as to share a bucket */
    uint64_t created_ns;  /* wall clock */
    /* Hints and growth, on a line of their own. */
    _Alignas(64) il_u32 levels; /* levels in use. Only ever rises, after the level's room is reserved */
    il_u32 record_levels;       /* levels of records in use, likewise */
    il_u32 record_hint;         /* where to look for a free record next */
    il_u32 slots_seen;          /* highest slot ever claimed. Only ever rises */
    il_u64 fence_floor;         /* no evicted name had a higher fence. Only ever rises */
    il_u64 next_wake_ns;        /* the pace of slice ends in the whole space (il_wait.c) */
    /* Those who wait without a thread of their own (il_listen.c). */
    _Alignas(64) il_u64 listeners[IL_BUCKETS]; /* bit c: a process of channel c listens to futexes of this bucket. Legal to be
                                                * set for nothing; or to be missing, which costs a slice */
    il_u32 rings[IL_BUCKETS];                  /* how often listeners of this bucket were rung up */
    il_u32 bells[IL_CHANNELS];                 /* a futex: changes whenever processes of this channel are rung up */
} il_header;

enum { IL_HEADER_SIZE = 4096 };
_Static_assert(sizeof(il_header) <= IL_HEADER_SIZE, "the header fits its page");

#endif
