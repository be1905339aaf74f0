/* Kill after every instruction.
 *
 * A victim does one operation under ptrace. It is stepped i instructions into it and killed, for i = 0, 1, 2 … until it gets
 * to the end. After each kill others must be able to go on: take the locks, at once where the owner is dead; find every
 * name in one cell, with no fence below an earlier one; get every slot. Two detectors watch the exclusive sections: a word
 * in memory of its own that says who is inside, and the fences, which have to rise from one holder to the next.
 *
 * Long operations contain loops over the whole table in which round after round does the same. There, rounds next to
 * anything else are stepped through, and those between are passed over with a breakpoint: see `points_of`.
 *
 * A finding is printed as a line that begins with FOUND, and ends the run with status 1. The broken builds (BREAK) must end
 * that way.
 *
 *   stepper [--hang-limit-ms N] [directory [scenario …]] */
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>

#include "check.h"
#include "il_hash.h"

#if !defined(__x86_64__)
#error "the stepper knows the registers and the breakpoint instruction of x86-64 only"
#endif

/* --- broken engines --- */

#ifdef BREAK
#define BROKEN(name) (strcmp(BREAK, name) == 0)
#endif

#ifdef BREAK_il_slot_alive
int __wrap_il_slot_alive(il_space *space, uint32_t k);
int __wrap_il_slot_alive(il_space *space, uint32_t k)
{
    (void)space;
    (void)k;
    return BROKEN("alive"); /* else: everybody is dead */
}
#endif

#ifdef BREAK_il_reap
int __wrap_il_reap(il_space *space, uint32_t k);
int __wrap_il_reap(il_space *space, uint32_t k)
{
    il__table_sweep(space, k); /* without asking for the byte */
    return IL_OK;
}
#endif

#ifdef BREAK_il__table_sweep
void __wrap_il__table_sweep(il_space *space, uint32_t k);
void __wrap_il__table_sweep(il_space *space, uint32_t k)
{
    (void)space;
    (void)k;
}
#endif

#ifdef BREAK_il__mutex_orphan
void __real_il__mutex_orphan(il_mutex *mutex, uint32_t k, bool mark);
void __wrap_il__mutex_orphan(il_mutex *mutex, uint32_t k, bool mark);
void __wrap_il__mutex_orphan(il_mutex *mutex, uint32_t k, bool mark)
{
    (void)mark;
    __real_il__mutex_orphan(mutex, k, false);
}
#endif

/* --- the stage --- */

enum { NOBODY, VICTIM, JUDGE, HELPER }; /* HELPER + n: the n-th helper */
enum { HELPERS = 2, GATES = 3, FAMILY = 24, TOKEN = 7 };

/* Detectors of one lock. */
typedef struct {
    il_u32 inside;
    il_u64 last_fence;
} gate;

typedef enum { REST, WAIT_FOR_LOCK, HOLD_UNTIL_RESERVED } order;

typedef struct {
    gate gates[GATES];
    il_u32 condemned;   /* who will not execute another instruction */
    il_u32 complaints;  /* of those who cannot stop the run themselves */
    il_u32 victim_slot;
    _Atomic int result, second_result;
    il_u32 release;
    struct {
        il_u32 order; /* futex */
        il_u32 slices;
        _Atomic int code;
        il_u32 orphan;
        _Atomic pid_t pid;
    } helpers[HELPERS];
} shared_memory;

static shared_memory *shared;
static uint64_t hang_limit_ns = 10 * SECOND;

static struct {
    const char *scenario;
    long point;
    il_process process;
    char *path;
    il_space *space;
    il_ref lock, second, rlock;
    bool was_owner; /* the victim owned `lock` when it was killed */
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
} stage;

_Noreturn static void found(int line, const char *what)
{
    printf("FOUND %s, after instruction %ld (line %d): %s\n", stage.scenario, stage.point, line, what);
    fflush(stdout);
    check_clean();
    _exit(1);
}

#define JUDGED(condition, what)                                                                                        \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            found(__LINE__, what);                                                                                     \
    } while (0)

static void on_hang(int signal)
{
    (void)signal;
    char text[160];
    int length = snprintf(text, sizeof text, "FOUND %s, after instruction %ld: nobody gets on\n", stage.scenario, stage.point);
    _exit(write(1, text, (size_t)length) == length ? 1 : 2);
}

static void hang_watch(void)
{
    uint64_t ns = 3 * hang_limit_ns;
    struct itimerval limit = {.it_value = {(time_t)(ns / SECOND), (suseconds_t)(ns % SECOND / 1000)}};
    setitimer(ITIMER_REAL, &limit, NULL);
}

static void nap(void)
{
    struct timespec pause = {0, 30000};
    nanosleep(&pause, NULL);
}

static void no_complaints(void)
{
    JUDGED(il_load_relaxed(&shared->complaints) == 0, "two were inside at a time, or a fence did not rise");
}

#define AWAIT(condition, what)                                                                                         \
    do {                                                                                                               \
        uint64_t await_end = il_clock_ns() + hang_limit_ns;                                                            \
        while (!(condition)) {                                                                                         \
            no_complaints();                                                                                           \
            JUDGED(il_clock_ns() < await_end, what);                                                                   \
            nap();                                                                                                     \
        }                                                                                                              \
    } while (0)

static il_mutex *mutex_of(il_ref ref)
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
static void succeed_at(gate *at, il_ref ref, uint64_t deadline_ns, int orphan)
{
    il_wait wait = {.deadline_ns = deadline_ns};
    int code = il_mutex_lock(stage.space, mutex_of(ref), il_ref_key(ref), TOKEN, &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(orphan < 0 || wait.orphan == (orphan != 0), "the orphan mark is wrong");
    uint64_t fence = enter(at, JUDGE, mutex_of(ref));
    leave(at, JUDGE, mutex_of(ref), fence);
    code = il_mutex_unlock(stage.space, mutex_of(ref), il_ref_key(ref), 0);
    JUDGED(code == IL_OK, il_status_name(code));
    no_complaints();
}

static il_ref find(il_space *space, const char *name, uint8_t kind)
{
    il_ref ref = 0;
    uint8_t kind_found;
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = il_table_resolve(space, name, strlen(name), kind, 0, &wait, &ref, &kind_found);
    JUDGED(code == IL_OK, il_status_name(code));
    return ref;
}

/* --- helpers: other living processes --- */

static void helper_life(uint32_t n)
{
    CHECK_CODE(il_attach(stage.space), IL_OK);
    for (;;) {
        il_u32 *order_word = &shared->helpers[n].order;
        while (il_load_acquire(order_word) == REST)
            il_futex_wait(order_word, REST, il_clock_ns() + SECOND);
        il_mutex *mutex = mutex_of(stage.lock);
        il_wait wait = {.deadline_ns = il_clock_ns() + hang_limit_ns, .slices = il_load_relaxed(&shared->helpers[n].slices)};
        int code = il_mutex_lock(stage.space, mutex, il_ref_key(stage.lock), TOKEN, &wait);
        if (code == IL_OK) {
            uint64_t fence = enter(&shared->gates[0], HELPER + n, mutex);
            if (il_load_relaxed(order_word) == HOLD_UNTIL_RESERVED) {
                while (!(il_load_relaxed(&mutex->word) & IL_RESERVED) && !il_load_relaxed(&shared->release))
                    nap();
            }
            leave(&shared->gates[0], HELPER + n, mutex, fence);
            code = il_mutex_unlock(stage.space, mutex, il_ref_key(stage.lock), 0);
        }
        il_store_relaxed(&shared->helpers[n].orphan, wait.orphan);
        atomic_store(&shared->helpers[n].code, code);
        il_store_release(order_word, REST);
    }
}

static void start_helper(uint32_t n)
{
    il_process_before_fork(&stage.process);
    pid_t pid = check_fork();
    il_process_after_fork(&stage.process);
    if (pid == 0) {
        setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
        helper_life(n);
    }
    shared->helpers[n].pid = pid;
}

static void give_order(uint32_t n, order what, uint32_t slices)
{
    il_store_relaxed(&shared->helpers[n].slices, slices);
    il_store_release(&shared->helpers[n].order, (uint32_t)what);
    il_futex_wake(&shared->helpers[n].order, 1);
}

/* Whether the process sleeps in the kernel. */
static bool asleep(pid_t pid)
{
    char path[64], text[256], *end;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    CHECK(got > 0);
    text[got] = '\0';
    end = strrchr(text, ')');
    return end != NULL && end[2] == 'S';
}

static void helper_must_finish(uint32_t n, int orphan)
{
    AWAIT(il_load_acquire(&shared->helpers[n].order) == REST, "a waiter never comes back");
    int code = shared->helpers[n].code;
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(orphan < 0 || il_load_relaxed(&shared->helpers[n].orphan) == (orphan != 0), "the orphan mark is wrong");
    no_complaints();
}

/* --- scenarios: arrange and judge run in the judge, prepare and act in the victim, meanwhile in the judge between the two --- */

static void nothing(void)
{
}

static void attach(void)
{
    CHECK_CODE(il_attach(stage.space), IL_OK);
    il_store_relaxed(&shared->victim_slot, il_self(stage.space));
}

/* Free lock, taken and given back as the binding does. */
static void act_fast(void)
{
    il_mutex *mutex = mutex_of(stage.lock);
    uint64_t key = il_ref_key(stage.lock);
    if (!il_mutex_try_fast(mutex, key, il_self(stage.space), TOKEN))
        il_mutex_lock(stage.space, mutex, key, TOKEN, &(il_wait){.deadline_ns = IL_FOREVER});
    leave(&shared->gates[0], VICTIM, mutex, enter(&shared->gates[0], VICTIM, mutex));
    if (!il_mutex_unlock_fast(mutex, key, il_self(stage.space)))
        il_mutex_unlock(stage.space, mutex, key, 0);
}

static void act_lock_unlock(void)
{
    il_mutex *mutex = mutex_of(stage.lock);
    uint64_t key = il_ref_key(stage.lock);
    il_mutex_lock(stage.space, mutex, key, TOKEN, &(il_wait){.deadline_ns = IL_FOREVER});
    leave(&shared->gates[0], VICTIM, mutex, enter(&shared->gates[0], VICTIM, mutex));
    il_mutex_unlock(stage.space, mutex, key, 0);
}

static void judge_lock_at_once(void)
{
    succeed_at(&shared->gates[0], stage.lock, IL_NOW, stage.was_owner);
    JUDGED(il_load_relaxed(&mutex_of(stage.lock)->word) == il_ref_key(stage.lock), "an idle lock is marked");
}

static void judge_lock(void)
{
    succeed_at(&shared->gates[0], stage.lock, il_clock_ns() + hang_limit_ns, stage.was_owner);
    JUDGED(il_load_relaxed(&mutex_of(stage.lock)->word) == il_ref_key(stage.lock), "an idle lock is marked");
}

/* The victim holds the lock, a waiter sleeps, the victim gives the lock back. */
static uint64_t victims_fence;

static void prepare_hold(void)
{
    attach();
    CHECK(il_mutex_try_fast(mutex_of(stage.lock), il_ref_key(stage.lock), il_self(stage.space), TOKEN));
    victims_fence = enter(&shared->gates[0], VICTIM, mutex_of(stage.lock));
}

static void meanwhile_waiter(void)
{
    give_order(0, WAIT_FOR_LOCK, 3); /* so its first sleep is a long one, and no reservation */
    AWAIT((il_load_relaxed(&mutex_of(stage.lock)->word) & IL_WAITERS) && asleep(shared->helpers[0].pid), "no waiter");
    JUDGED(!(il_load_relaxed(&mutex_of(stage.lock)->word) & IL_RESERVED), "reserved too soon");
}

static void meanwhile_reserver(void)
{
    give_order(0, WAIT_FOR_LOCK, 0);
    AWAIT((il_load_relaxed(&mutex_of(stage.lock)->word) & IL_RESERVED) && asleep(shared->helpers[0].pid), "no waiter");
}

static void act_unlock(void)
{
    il_mutex *mutex = mutex_of(stage.lock);
    leave(&shared->gates[0], VICTIM, mutex, victims_fence);
    il_mutex_unlock(stage.space, mutex, il_ref_key(stage.lock), 0);
}

static void judge_waiter(void)
{
    helper_must_finish(0, stage.was_owner);
    stage.was_owner = false;
    judge_lock();
}

/* The lock is free and reserved, as a woken heir's death leaves it. */
static void meanwhile_reserved(void)
{
    il_mutex *mutex = mutex_of(stage.lock);
    il_store_relaxed(&mutex->reserved_ns, il_clock_ns());
    il_store_release(&mutex->word, il_ref_key(stage.lock) | IL_RESERVED);
}

/* The victim waits for a lock that one helper holds until it is reserved, and another helper waits for too. */
static void meanwhile_crowd(void)
{
    il_store_relaxed(&shared->release, 0);
    give_order(0, HOLD_UNTIL_RESERVED, 0);
    AWAIT(il_load_relaxed(&mutex_of(stage.lock)->word) & IL_OWNER, "no holder");
    give_order(1, WAIT_FOR_LOCK, 1);
    AWAIT((il_load_relaxed(&mutex_of(stage.lock)->word) & IL_WAITERS) && asleep(shared->helpers[1].pid), "no waiter");
}

static void judge_crowd(void)
{
    il_store_relaxed(&shared->release, 1);
    helper_must_finish(0, false);
    helper_must_finish(1, -1);
    succeed_at(&shared->gates[0], stage.lock, il_clock_ns() + hang_limit_ns, -1);
}

/* Re-entrant, to a depth of two. */
static void act_rlock(void)
{
    il_mutex *mutex = mutex_of(stage.rlock);
    uint64_t key = il_ref_key(stage.rlock);
    il_wait wait = {.deadline_ns = IL_FOREVER};
    il_rlock_lock(stage.space, mutex, key, TOKEN, &wait);
    uint64_t fence = enter(&shared->gates[1], VICTIM, mutex);
    il_rlock_lock(stage.space, mutex, key, TOKEN, &wait);
    il_rlock_unlock(stage.space, mutex, key, TOKEN, 0);
    leave(&shared->gates[1], VICTIM, mutex, fence);
    il_rlock_unlock(stage.space, mutex, key, TOKEN, 0);
}

static void judge_rlock(void)
{
    il_mutex *mutex = mutex_of(stage.rlock);
    uint64_t key = il_ref_key(stage.rlock);
    il_wait wait = {.deadline_ns = IL_NOW};
    bool owned = (il_load_relaxed(&mutex->word) & IL_OWNER) != 0;
    JUDGED(!il_rlock_mine(stage.space, mutex, key, TOKEN), "a dead process's lock is mine");
    for (uint32_t depth = 1; depth <= 2; depth++) {
        int code = il_rlock_lock(stage.space, mutex, key, TOKEN, &wait);
        JUDGED(code == IL_OK, il_status_name(code));
        JUDGED(il_load_relaxed(&mutex->depth) == depth, "the depth is wrong");
    }
    JUDGED(wait.orphan == owned, "the orphan mark is wrong");
    uint64_t fence = enter(&shared->gates[1], JUDGE, mutex);
    leave(&shared->gates[1], JUDGE, mutex, fence);
    JUDGED(il_rlock_unlock(stage.space, mutex, key, TOKEN, 0) == IL_OK, "not given back");
    JUDGED(il_rlock_unlock(stage.space, mutex, key, TOKEN, 0) == IL_OK, "not given back");
    JUDGED(il_load_relaxed(&mutex->word) == key, "an idle lock is marked");
    no_complaints();
}

/* --- names. All names used share their buckets in the levels in use, so a few cells are all that matter --- */

static uint64_t hash_of(const char *name)
{
    return il__hash(stage.space->header->hash_key, name, strlen(name));
}

/* A name that was never used before, in bucket 0 of every level. */
static void fresh_name(char *name)
{
    do
        snprintf(name, 16, "%u", stage.next_number++);
    while ((hash_of(name) & stage.bits) != 0);
}

/* Index of the n-th cell that these names can have. */
static uint32_t family_cell(uint32_t n)
{
    return il_cells_of_levels(n / IL_WAYS) + n % IL_WAYS;
}

/* Every cell in order, every name in one cell, no fence lost; returns how many cells have a name. */
static uint32_t judge_table(void)
{
    uint32_t cells = IL_WAYS * il_load_relaxed(&stage.space->header->levels), named = 0;
    const char *names[FAMILY];
    uint64_t floor = il_load_relaxed(&stage.space->header->fence_floor);
    JUDGED(floor >= stage.fence_floor, "the fence floor went back");
    stage.fence_floor = floor;
    for (uint32_t n = 0; n < cells; n++) {
        uint32_t index = family_cell(n);
        il_cell *cell = &stage.space->cells[index];
        uint64_t word = il_load_relaxed(&cell->mutex.word);
        JUDGED((uint32_t)word == 0, "a cell is not idle");
        bool has_tag = il_load_relaxed(&stage.space->tags[index]) != 0;
        JUDGED(has_tag == (il_load_relaxed(&cell->kind) != IL_KIND_NONE), "tag and kind disagree");
        if (!has_tag)
            continue;
        JUDGED(cell->hash == hash_of(cell->name) && strlen(cell->name) == cell->name_length, "a cell is half filled");
        for (uint32_t i = 0; i < named; i++)
            JUDGED(strcmp(names[i], cell->name) != 0, "a name is in two cells");
        names[named++] = cell->name;
    }
    /* What each name's fence was before: it is still there with that, or gone and below the floor. */
    for (uint32_t i = 0; i < FAMILY; i++) {
        if (stage.family[i][0] == '\0')
            continue;
        uint64_t fence = floor;
        for (uint32_t n = 0; n < cells; n++) {
            il_cell *cell = &stage.space->cells[family_cell(n)];
            if (il_load_relaxed(&cell->kind) != IL_KIND_NONE && strcmp(cell->name, stage.family[i]) == 0)
                fence = il_load_relaxed(&cell->mutex.fence);
        }
        JUDGED(fence >= stage.fences[i], "a name's fence went back");
    }
    return named;
}

/* Notes the names of all cells and their fences. */
static void remember(void)
{
    uint32_t cells = IL_WAYS * il_load_relaxed(&stage.space->header->levels);
    memset(stage.family, 0, sizeof stage.family);
    for (uint32_t n = 0; n < cells && n < FAMILY; n++) {
        il_cell *cell = &stage.space->cells[family_cell(n)];
        if (il_load_relaxed(&cell->kind) != IL_KIND_NONE) {
            memcpy(stage.family[n], cell->name, sizeof stage.family[n]);
            stage.fences[n] = il_load_relaxed(&cell->mutex.fence);
        }
    }
}

static void use(il_ref ref, uint64_t above)
{
    for (int turn = 0; turn < 3; turn++) {
        il_wait wait = {.deadline_ns = IL_NOW};
        int code = il_mutex_lock(stage.space, mutex_of(ref), il_ref_key(ref), TOKEN, &wait);
        JUDGED(code == IL_OK && !wait.orphan, il_status_name(code));
        uint64_t fence = il_load_relaxed(&mutex_of(ref)->fence);
        JUDGED(fence > above, "a fence did not rise");
        above = fence;
        JUDGED(il_mutex_unlock(stage.space, mutex_of(ref), il_ref_key(ref), 0) == IL_OK, "not given back");
    }
}

static void arrange_empty(void)
{
    memset(stage.family, 0, sizeof stage.family);
    fresh_name(stage.name);
}

static void act_resolve(void)
{
    uint8_t kind_found;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result =
        il_table_resolve(stage.space, stage.name, strlen(stage.name), IL_KIND_LOCK, 0, &wait, &stage.ref, &kind_found);
}

static void act_unlink(void)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result = il_table_unlink(stage.space, stage.name, strlen(stage.name), &wait);
}

static void judge_name(void)
{
    /* The stripe may have been the dead one's. A try gets it. */
    il_ref ref = find(stage.space, stage.name, IL_KIND_LOCK);
    JUDGED(find(stage.space, stage.name, IL_KIND_LOCK) == ref, "a name moves about");
    judge_table();
    use(ref, stage.fence_floor);
    judge_table();
}

static void judge_new_name(void)
{
    judge_name();
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = il_table_unlink(stage.space, stage.name, strlen(stage.name), &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(judge_table() == 0, "an unlinked name is still there");
}

/* All cells of the names' buckets are taken: one must make way. */
static void arrange_full(void)
{
    stage.bits = (IL_STRIPES << (2 * (IL_SOFT_LEVELS - 1))) - 1;
    uint32_t named;
    do {
        char name[16];
        fresh_name(name);
        use(find(stage.space, name, IL_KIND_LOCK), 0);
        named = 0;
        for (uint32_t n = 0; n < FAMILY; n++)
            named += il_load_relaxed(&stage.space->tags[family_cell(n)]) != 0;
    } while (named < FAMILY);
    JUDGED(il_load_relaxed(&stage.space->header->levels) == IL_SOFT_LEVELS, "not as big as it was to be");
    JUDGED(judge_table() == FAMILY, "not full");
    remember();
    fresh_name(stage.name);
}

static void judge_eviction(void)
{
    /* Before anything is put right: whoever takes the stripe has to have seen to the half-filled cell. */
    judge_name();
    JUDGED(judge_table() >= FAMILY - 1, "more than one name made way");
}

static void arrange_named(void)
{
    memset(stage.family, 0, sizeof stage.family);
    fresh_name(stage.name);
    use(find(stage.space, stage.name, IL_KIND_LOCK), stage.fence_floor);
    remember();
}

/* A full bucket in a table that may grow: room for a level is reserved and published. A space of its own each time. */
static void open_fresh(void)
{
    il_error error;
    if (stage.space != NULL)
        il_space_close(stage.space);
    unlink(stage.path);
    int code = il_space_open(&stage.process, stage.path, &(il_options){.slots = 8}, &stage.space, &error);
    JUDGED(code == IL_OK, il_status_name(code));
    CHECK_CODE(il_attach(stage.space), IL_OK);
    stage.fence_floor = 0;
    il_store_relaxed(&shared->gates[0].last_fence, 0);
    stage.lock = find(stage.space, "lock", IL_KIND_LOCK);
}

static void arrange_growing(void)
{
    open_fresh();
    for (uint32_t n = 0; n < IL_WAYS; n++) {
        char name[16];
        do
            fresh_name(name);
        while (((uint32_t)hash_of(name) & (IL_STRIPES - 1)) != 0);
        use(find(stage.space, name, IL_KIND_LOCK), 0);
        if (il_load_relaxed(&stage.space->header->levels) != 1) { /* "lock" was in the same bucket */
            open_fresh();
            n = UINT32_MAX;
        }
    }
    remember();
    fresh_name(stage.name);
}

static void judge_growth(void)
{
    uint32_t levels = il_load_relaxed(&stage.space->header->levels);
    JUDGED(il_space_check(stage.space, true) == IL_OK, "the file is too short for what was published");
    JUDGED(levels == 1 || levels == 2, "not grown by one level");
    judge_name();
    JUDGED(il_load_relaxed(&stage.space->header->levels) == 2, "not grown by one level");
    succeed_at(&shared->gates[0], stage.lock, IL_NOW, false);
}

/* The file is cut instead of the victim killed. No name may be granted in memory that only the victim sees. */
static void act_resolve_and_lock(void)
{
    act_resolve();
    shared->second_result = shared->result;
    if (shared->result == IL_OK)
        shared->second_result = il_mutex_lock(stage.space, mutex_of(stage.ref), il_ref_key(stage.ref), TOKEN,
                                              &(il_wait){.deadline_ns = IL_NOW});
}

static void arrange_cut(void)
{
    open_fresh();
    fresh_name(stage.name);
    shared->result = shared->second_result = 1;
}

/* --- slots --- */

static void act_attach(void)
{
    shared->result = il_attach(stage.space);
}

/* All slots can be had: the file has exactly as many as there are claimants. */
static void judge_slots(void)
{
    uint32_t count = stage.space->header->slot_count - 1;
    il_space *views[8];
    bool taken[9] = {false};
    taken[il_self(stage.space)] = true;
    for (uint32_t i = 0; i + 1 < count; i++) {
        CHECK_CODE(il_space_view(&stage.process, stage.space, &views[i]), IL_OK);
        int code = il_attach(views[i]);
        JUDGED(code == IL_OK, il_status_name(code));
        uint32_t k = il_self(views[i]);
        JUDGED(k >= 1 && k <= count && !taken[k], "a slot was given out twice");
        taken[k] = true;
        JUDGED(il_load_relaxed(&stage.space->slots[k].pid) == (uint32_t)getpid(), "the slot's pid is wrong");
        JUDGED(il_slot_alive(stage.space, k) == 1, "alive, and said to be dead");
        JUDGED(il_load_relaxed(&stage.space->header->slots_seen) >= k, "slots_seen is too low");
    }
    for (uint32_t i = 0; i + 1 < count; i++) {
        uint32_t k = il_self(views[i]);
        il_space_close(views[i]);
        JUDGED(il_reap(stage.space, k) == IL_OK, "a dead slot is not swept");
    }
    judge_lock_at_once();
}

/* A process died: it held two locks, a re-entrant one twice, and a stripe while it filled a cell. */
static void arrange_dead(void)
{
    il_space *dead;
    CHECK_CODE(il_space_view(&stage.process, stage.space, &dead), IL_OK);
    CHECK_CODE(il_attach(dead), IL_OK);
    stage.dead = il_self(dead);
    CHECK(il_mutex_try_fast(mutex_of(stage.lock), il_ref_key(stage.lock), stage.dead, TOKEN));
    CHECK(il_mutex_try_fast(mutex_of(stage.second), il_ref_key(stage.second), stage.dead, TOKEN));
    il_wait wait = {.deadline_ns = IL_NOW};
    for (int depth = 0; depth < 2; depth++)
        CHECK_CODE(il_rlock_lock(dead, mutex_of(stage.rlock), il_ref_key(stage.rlock), TOKEN, &wait), IL_OK);
    memset(stage.family, 0, sizeof stage.family);
    fresh_name(stage.name);
    il_ref half_filled = find(stage.space, stage.name, IL_KIND_LOCK);
    use(half_filled, 0);
    remember();
    CHECK_CODE(il_mutex_lock(dead, &stage.space->stripes[(uint32_t)hash_of(stage.name) & (IL_STRIPES - 1)], 0, 1, &wait),
               IL_OK);
    il_store_relaxed(&mutex_of(half_filled)->word, (il_ref_key(half_filled) + (1ull << 32)) | IL_FILLING | stage.dead);
    stage.ref = half_filled;
    il_space_close(dead);
}

/* The same, with a free slot below the dead one, for the reaper. */
static void arrange_dead_and_room(void)
{
    il_space *room;
    CHECK_CODE(il_space_view(&stage.process, stage.space, &room), IL_OK);
    CHECK_CODE(il_attach(room), IL_OK);
    arrange_dead();
    uint32_t k = il_self(room);
    il_space_close(room);
    CHECK_CODE(il_reap(stage.space, k), IL_OK);
}

static void act_reap(void)
{
    shared->result = il_reap(stage.space, stage.dead);
}

static void judge_dead(void)
{
    JUDGED(!stage.finished || shared->result == IL_OK, il_status_name(shared->result));
    /* The stripe first, then the locks; each one at once. */
    judge_name();
    JUDGED(find(stage.space, stage.name, IL_KIND_LOCK) != stage.ref, "the half-filled cell was kept");
    succeed_at(&shared->gates[0], stage.lock, IL_NOW, true);
    succeed_at(&shared->gates[2], stage.second, IL_NOW, true);
    il_mutex *mutex = mutex_of(stage.rlock);
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = il_rlock_lock(stage.space, mutex, il_ref_key(stage.rlock), TOKEN, &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(wait.orphan && il_load_relaxed(&mutex->depth) == 1, "the re-entrant lock is not as new");
    JUDGED(il_rlock_unlock(stage.space, mutex, il_ref_key(stage.rlock), TOKEN, 0) == IL_OK, "not given back");
    wait = (il_wait){.deadline_ns = IL_NOW};
    code = il_table_unlink(stage.space, stage.name, strlen(stage.name), &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    /* Swept, perhaps, by one who died before noting it down: then it is swept again. */
    code = il_reap(stage.space, stage.dead);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(il_load_relaxed(&stage.space->slots[stage.dead].pid) == 0, "the dead slot was not swept");
}

static void prepare_outsider(void)
{
    /* Not attached: the victim's claim is the operation. */
    il_store_relaxed(&shared->victim_slot, 0);
}

static void judge_claim_of_dead(void)
{
    /* Dead, or claimed by the victim who is dead now: all the same. */
    for (uint32_t k = 1; k < stage.space->header->slot_count; k++) {
        if (k != il_self(stage.space) && il_load_relaxed(&stage.space->slots[k].pid) != 0)
            JUDGED(il_reap(stage.space, k) == IL_OK, "a dead slot is not swept");
    }
    judge_dead();
    judge_slots();
}

typedef enum { BY_STEPS = 0, FAR = 1, CUT = 2 } mode;

static const struct scenario {
    const char *name;
    int worker;
    mode mode;
    void (*arrange)(void), (*prepare)(void), (*meanwhile)(void), (*act)(void), (*judge)(void);
} scenarios[] = {
    {"fast", 0, BY_STEPS, nothing, attach, nothing, act_fast, judge_lock_at_once},
    {"lock-unlock", 0, BY_STEPS, nothing, attach, nothing, act_lock_unlock, judge_lock_at_once},
    {"unlock-waiters", 0, BY_STEPS, nothing, prepare_hold, meanwhile_waiter, act_unlock, judge_waiter},
    {"unlock-reserved", 0, BY_STEPS, nothing, prepare_hold, meanwhile_reserver, act_unlock, judge_waiter},
    {"lock-reserved", 0, BY_STEPS, nothing, attach, meanwhile_reserved, act_lock_unlock, judge_lock},
    {"lock-in-a-crowd", 0, BY_STEPS, nothing, attach, meanwhile_crowd, act_lock_unlock, judge_crowd},
    {"rlock", 0, BY_STEPS, nothing, attach, nothing, act_rlock, judge_rlock},
    {"resolve-empty", 1, BY_STEPS, arrange_empty, attach, nothing, act_resolve, judge_new_name},
    {"resolve-evict", 1, BY_STEPS, arrange_full, attach, nothing, act_resolve, judge_eviction},
    {"unlink", 1, BY_STEPS, arrange_named, attach, nothing, act_unlink, judge_new_name},
    {"resolve-grow", 1, BY_STEPS, arrange_growing, attach, nothing, act_resolve, judge_growth},
    {"attach", 0, FAR, nothing, prepare_outsider, nothing, act_attach, judge_slots},
    {"attach-over-dead", 0, FAR, arrange_dead, prepare_outsider, nothing, act_attach, judge_claim_of_dead},
    {"reap", 1, FAR, arrange_dead_and_room, attach, nothing, act_reap, judge_dead},
    {"resolve-cut", 1, CUT, arrange_cut, attach, nothing, act_resolve_and_lock, nothing},
};

/* --- stepping --- */

enum { TRACE_MAX = 400000, HOT = 100, EDGE = 24 };

static uint64_t trace[TRACE_MAX]; /* addresses of the victim's instructions */
extern char __executable_start, etext;

/* Stops the victim, which is at its end or at its start, for the judge. */
static void marker(void)
{
    syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
}

static pid_t start_victim(const struct scenario *scenario)
{
    il_process_before_fork(&stage.process);
    pid_t victim = check_fork();
    il_process_after_fork(&stage.process);
    if (victim == 0) {
        scenario->prepare();
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        marker();
        scenario->act();
        marker();
        _exit(0);
    }
    int status;
    CHECK(waitpid(victim, &status, 0) == victim && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    scenario->meanwhile();
    return victim;
}

/* Lets the victim go on. True: it got to its end. */
static bool go_on(pid_t victim, int how, int signal)
{
    int status;
    CHECK(ptrace((enum __ptrace_request)how, victim, NULL, (void *)(intptr_t)signal) == 0);
    while (waitpid(victim, &status, 0) != victim)
        CHECK(errno == EINTR);
    JUDGED(WIFSTOPPED(status), "the victim ended by itself");
    if (WSTOPSIG(status) == SIGBUS) /* its file was cut: it knows what to do */
        return go_on(victim, how, SIGBUS);
    CHECK(WSTOPSIG(status) == SIGSTOP || WSTOPSIG(status) == SIGTRAP);
    return WSTOPSIG(status) == SIGSTOP;
}

static bool step(pid_t victim, long count)
{
    for (long i = 0; i < count; i++) {
        if (go_on(victim, PTRACE_SINGLESTEP, 0))
            return true;
    }
    return false;
}

static uint64_t position(pid_t victim)
{
    errno = 0;
    long at = ptrace(PTRACE_PEEKUSER, victim, offsetof(struct user_regs_struct, rip), NULL);
    CHECK(errno == 0);
    return (uint64_t)at;
}

static void poke(pid_t victim, uint64_t at, uint64_t word)
{
    CHECK(ptrace(PTRACE_POKETEXT, victim, at, word) == 0);
}

/* Runs the victim until it is about to execute the instruction at `at` for the n-th time. True: it got to its end before. */
static bool run_to(pid_t victim, uint64_t at, long n)
{
    errno = 0;
    uint64_t text = (uint64_t)ptrace(PTRACE_PEEKTEXT, victim, at, NULL);
    CHECK(errno == 0);
    if (position(victim) == at)
        n--;
    while (n-- > 0) {
        if (position(victim) == at && step(victim, 1))
            return true;
        poke(victim, at, (text & ~(uint64_t)0xFF) | 0xCC);
        if (go_on(victim, PTRACE_CONT, 0))
            return true;
        CHECK(position(victim) == at + 1);
        CHECK(ptrace(PTRACE_POKEUSER, victim, offsetof(struct user_regs_struct, rip), at) == 0);
        poke(victim, at, text);
    }
    return false;
}

static int by_address(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static long occurrences(const uint64_t *sorted, long count, uint64_t at)
{
    long low = 0, high = count;
    while (low < high) {
        long middle = (low + high) / 2;
        if (sorted[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    long first = low;
    while (low < count && sorted[low] == at && low - first <= HOT)
        low++;
    return low - first;
}

/* A kill point and how to get there: run until `at` comes up for the n-th time, then step. */
typedef struct {
    long index, n, steps;
    uint64_t at;
} point;

/* All of a trace but the middle of long loops: instructions that are executed more than HOT times, and so are the EDGE ones
 * on either side. */
static point *points_of(long length, long *count)
{
    uint64_t *sorted = malloc((size_t)length * sizeof *sorted);
    bool *hot = calloc((size_t)length, sizeof *hot);
    point *points = malloc((size_t)(length + 1) * sizeof *points);
    CHECK(sorted != NULL && hot != NULL && points != NULL);
    memcpy(sorted, trace, (size_t)length * sizeof *sorted);
    qsort(sorted, (size_t)length, sizeof *sorted, by_address);
    for (long i = 0; i < length; i++)
        hot[i] = occurrences(sorted, length, trace[i]) > HOT;
    *count = 0;
    point last = {0, 0, 0, 0};
    long since_cold = 0;
    for (long i = 0; i < length; i++) {
        since_cold = hot[i] ? since_cold + 1 : 0;
        bool ours = trace[i] >= (uint64_t)(uintptr_t)&__executable_start && trace[i] < (uint64_t)(uintptr_t)&etext;
        if (!hot[i] && ours) {
            last = (point){.index = i, .n = 1, .at = trace[i]};
            for (long j = 0; j < i; j++)
                last.n += trace[j] == trace[i];
        }
        bool near = since_cold <= EDGE;
        for (long j = i + 1; !near && j < length && j <= i + EDGE; j++)
            near = !hot[j];
        if (near)
            points[(*count)++] = (point){.index = i, .n = last.n, .at = last.at, .steps = i - last.index};
    }
    free(sorted);
    free(hot);
    return points;
}

/* Records the victim's way from start to end. */
static long record(pid_t victim)
{
    long length = 0;
    do {
        CHECK(length < TRACE_MAX);
        trace[length++] = position(victim);
    } while (!step(victim, 1));
    return length;
}

static bool victim_holds_a_name(void)
{
    uint32_t cells = il_cells_of_levels(il_load_relaxed(&stage.space->header->levels));
    for (uint32_t i = 0; i < cells; i++) {
        uint32_t half = (uint32_t)il_load_relaxed(&stage.space->cells[i].mutex.word);
        if ((half & (IL_OWNER | IL_FILLING)) == il_load_relaxed(&shared->victim_slot))
            return true;
    }
    return false;
}

/* The victim is where it is to die. */
static void execute(const struct scenario *scenario, pid_t victim, bool finished)
{
    stage.finished = finished;
    uint32_t owner = (uint32_t)il_load_relaxed(&mutex_of(stage.lock)->word) & IL_OWNER;
    stage.was_owner = owner != 0 && owner == il_load_relaxed(&shared->victim_slot);
    if (scenario->mode == CUT && !finished) {
        bool granted = victim_holds_a_name(); /* before the cut, and for all to see */
        CHECK(truncate(stage.path, 0) == 0);
        CHECK(go_on(victim, PTRACE_CONT, 0));
        int code = shared->second_result;
        JUDGED(granted || code != IL_OK, "a lock was granted that nobody else sees");
        JUDGED(code == IL_OK || code == IL_WIPED || code == IL_STALE || code == IL_BUSY, il_status_name(code));
    }
    il_store_relaxed(&shared->condemned, VICTIM);
    check_kill(victim);
    scenario->judge();
    no_complaints();
    il_store_relaxed(&shared->condemned, NOBODY);
    for (int i = 0; i < GATES; i++)
        il_store_relaxed(&shared->gates[i].inside, NOBODY);
}

static pid_t raise_curtain(const struct scenario *scenario)
{
    hang_watch();
    scenario->arrange();
    return start_victim(scenario);
}

static void play(const struct scenario *scenario)
{
    uint64_t began = il_clock_ns();
    il_error error;
    char name[64];
    long killed = 0, passed = 0, missed = 0;
    memset(&stage, 0, sizeof stage);
    memset(shared, 0, sizeof *shared);
    stage.scenario = scenario->name;
    il_process_init(&stage.process);
    stage.process.spins = false; /* all run on one processor */
    snprintf(name, sizeof name, "stepper-%s", scenario->name);
    stage.path = check_path(name);
    stage.bits = IL_STRIPES - 1;
    /* As many slots as there are claimants: a slot lost is noticed. */
    CHECK_CODE(il_space_open(&stage.process, stage.path, &(il_options){.slots = 6}, &stage.space, &error), IL_OK);
    CHECK_CODE(il_attach(stage.space), IL_OK);
    stage.lock = find(stage.space, "lock", IL_KIND_LOCK);
    stage.second = find(stage.space, "second", IL_KIND_LOCK);
    stage.rlock = find(stage.space, "rlock", IL_KIND_RLOCK);
    bool helpers = scenario->meanwhile != nothing;
    for (uint32_t n = 0; helpers && n < HELPERS; n++)
        start_helper(n);

    if (scenario->mode == FAR) {
        pid_t victim = raise_curtain(scenario);
        long length = record(victim), count;
        execute(scenario, victim, true);
        point *points = points_of(length, &count);
        passed = length - count;
        for (; killed < count; killed++) {
            point *to = &points[killed];
            stage.point = to->index;
            victim = raise_curtain(scenario);
            bool finished = (to->at != 0 && run_to(victim, to->at, to->n)) || step(victim, to->steps);
            missed += finished || position(victim) != trace[to->index];
            execute(scenario, victim, finished);
        }
        free(points);
        /* Some paths depend on the time; nearly all kills have to be where they were meant to be. */
        CHECK(missed <= count / 20);
    } else {
        bool finished = false;
        for (; !finished; killed++) {
            stage.point = killed;
            pid_t victim = raise_curtain(scenario);
            finished = step(victim, killed);
            execute(scenario, victim, finished);
        }
    }
    for (uint32_t n = 0; helpers && n < HELPERS; n++)
        check_kill(shared->helpers[n].pid);
    il_space_close(stage.space);
    unlink(stage.path);
    free(stage.path);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("ok %-18s %5ld kill points", scenario->name, killed);
    if (passed > 0)
        printf(" (of %ld; %ld in the middle of loops)", killed + passed, passed);
    if (missed > 0)
        printf(" (%ld elsewhere than meant)", missed);
    printf(" %8.1f s\n", (double)(il_clock_ns() - began) / 1e9);
    fflush(stdout);
}

static void work(int worker, char **names)
{
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++) {
        /* Stepping is several times faster when both processes share a processor. */
        if (CPU_ISSET(cpu, &all) && (seen++ == (size_t)worker || CPU_COUNT(&one) == 0)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
        }
    }
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    signal(SIGALRM, on_hang);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        bool wanted = names == NULL || *names == NULL;
        for (char **name = names; name != NULL && *name != NULL; name++)
            wanted |= strcmp(*name, scenarios[i].name) == 0;
        if (wanted && scenarios[i].worker == worker)
            play(&scenarios[i]);
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--hang-limit-ms") == 0) {
        hang_limit_ns = strtoull(argv[2], NULL, 10) * MS;
        argc -= 2;
        argv += 2;
    }
    check_begin(argc, argv, 900);
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint64_t began = il_clock_ns();
    pid_t workers[2];
    for (int i = 0; i < 2; i++) {
        workers[i] = check_fork();
        if (workers[i] == 0)
            work(i, argc > 2 ? argv + 2 : NULL);
    }
    bool good = true;
    for (int left = 2; left > 0 && good; left--) {
        int status;
        pid_t ended = wait(&status);
        for (int i = 0; i < 2; i++) {
            if (workers[i] == ended) {
                check_wait_done(ended);
                good = good && status == 0;
            }
        }
    }
    check_clean();
    if (good)
        printf("ok all in %.1f s\n", (double)(il_clock_ns() - began) / 1e9);
    return good ? 0 : 1;
}
