/* The stage of the stepper: who plays, what they share, and how the judge waits and complains. */
#ifndef STAGE_H
#define STAGE_H

#include <sys/time.h>

#include "check.h"

enum { NOBODY, VICTIM, JUDGE, HELPER }; /* HELPER + n: the n-th helper */
enum { HELPERS = 2, GATES = 3, FAMILY = 24, TOKEN = 7 };

/* Detectors of one lock. */
typedef struct {
    il_u32 inside;
    il_u64 last_fence;
} gate;

typedef enum { REST, WAIT_FOR_LOCK, HOLD_UNTIL_RESERVED, HELP } order; /* HELP: what the scenario says */

typedef struct {
    gate gates[GATES];
    il_u32 condemned;   /* who will not execute another instruction */
    il_u32 complaints;  /* of those who cannot stop the run themselves */
    il_u32 victim_slot;
    _Atomic int result, second_result;
    il_u32 release;
    il_u32 reading; /* the victim is inside as a reader */
    struct {
        il_u32 order; /* futex */
        il_u32 slices;
        _Atomic int code;
        il_u32 orphan;
        il_u64 ticket; /* its place in a queue */
        _Atomic pid_t pid;
    } helpers[HELPERS];
} shared_memory;

typedef struct {
    const char *scenario;
    long point;
    il_process process;
    char *path;
    il_space *space;
    il_ref lock, second, rlock;
    bool was_owner; /* the victim owned `lock` when it was killed */
    bool was_writer; /* … was writing to `object`, in which a death counts … */
    bool was_queued; /* … stood in its queue */
    bool finished;  /* the victim got to the end */
    uint64_t fence_floor;
    /* The names that share their buckets of all levels in use; see `gather`. */
    uint32_t bits, next_number;
    uint64_t fences[FAMILY];
    char family[FAMILY][16];
    char name[16]; /* what the victim looks up */
    il_ref ref;
    uint32_t dead;  /* slot of a process that died before */
    il_space *heir; /* a view, in scenarios that need another process in the judge */
    int (*help)(uint32_t n);
    /* Of the scenarios about other kinds than locks. */
    il_ref object, bounded, condition;
    il_ticket ticket;
    il_share share, heirs_share;
} the_stage;

/* How far the stepper goes through a scenario: every instruction; every instruction outside of long loops; every instruction,
 * but the file is truncated there and nobody killed. */
typedef enum { BY_STEPS = 0, FAR = 1, CUT = 2 } mode;

/* arrange and judge run in the judge, prepare and act in the victim, meanwhile in the judge between the two; begin, once and
 * before there are helpers, in the judge, and help in a helper that was told to. */
typedef struct {
    const char *name;
    int worker;
    mode mode;
    void (*arrange)(void), (*prepare)(void), (*meanwhile)(void), (*act)(void), (*judge)(void), (*begin)(void);
    int (*help)(uint32_t n);
} scenario;

/* Each list ends with a NULL name. */
extern const scenario scenarios[], kind_scenarios[], share_scenarios[], data_scenarios[];
void attach(void);

/* Whether a process stands in the list of the object's records, and how long that is. */
bool stands_in_list(uint32_t slot, uint32_t *length);
void nothing(void);

extern shared_memory *shared;
extern uint64_t hang_limit_ns;
extern the_stage stage;

_Noreturn void found(int line, const char *what);

#define JUDGED(condition, what)                                                                                        \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            found(__LINE__, what);                                                                                     \
    } while (0)

void on_hang(int signal);
void hang_watch(void);
void nap(void);
void no_complaints(void);

#define AWAIT(condition, what)                                                                                         \
    do {                                                                                                               \
        uint64_t await_end = il_clock_ns() + hang_limit_ns;                                                            \
        while (!(condition)) {                                                                                         \
            no_complaints();                                                                                           \
            JUDGED(il_clock_ns() < await_end, what);                                                                   \
            nap();                                                                                                     \
        }                                                                                                              \
    } while (0)

static inline il_mutex *mutex_of(il_ref ref)
{
    return &il_ref_cell(stage.space, ref)->mutex;
}

/* Both detectors. Complaints are counted, since a victim has no voice. */
static inline uint64_t enter(gate *at, uint32_t who, il_mutex *mutex)
{
    uint32_t before = atomic_exchange_explicit(&at->inside, who, memory_order_relaxed);
    if (before != NOBODY && before != il_load_relaxed(&shared->condemned))
        il_add_relaxed(&shared->complaints, 1);
    uint64_t fence = il_load_relaxed(&mutex->fence);
    if (fence <= il_load_relaxed(&at->last_fence))
        il_add_relaxed(&shared->complaints, 1);
    il_store_relaxed(&at->last_fence, fence);
    return fence;
}

static inline void leave(gate *at, uint32_t who, il_mutex *mutex, uint64_t fence)
{
    if (il_load_relaxed(&mutex->fence) != fence ||
        atomic_exchange_explicit(&at->inside, NOBODY, memory_order_relaxed) != who)
        il_add_relaxed(&shared->complaints, 1);
}

/* The judge takes the lock after the victim's death, and gives it back. */
void succeed_at(gate *at, il_ref ref, uint64_t deadline_ns, int orphan);
il_ref find(il_space *space, const char *name, uint8_t kind);

/* Helpers: other living processes. */
void start_helper(uint32_t n);
void give_order(uint32_t n, order what, uint32_t slices);
bool asleep(pid_t pid); /* whether the process sleeps in the kernel */
void helper_must_finish(uint32_t n, int orphan);

#endif
