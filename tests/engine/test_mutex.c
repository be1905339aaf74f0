/* The lock word: timeouts, owners, reservations, re-entrance, contention. */
#include "basic.h"

static void timeouts(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "x");
    CHECK_CODE(try_lock(other, ref), IL_OK);
    CHECK_CODE(try_lock(space, ref), IL_BUSY);
    static const uint64_t lengths[] = {1, 100000, MS, 3 * MS, 30 * MS, 120 * MS};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint64_t began = il_clock_ns();
        CHECK_CODE(lock_for(space, ref, lengths[i]), IL_TIMEDOUT);
        CHECK(il_clock_ns() - began >= lengths[i]);
    }
    /* A deadline that has passed. */
    CHECK_CODE(lock_with(space, ref, &(il_wait){.deadline_ns = 1}), IL_TIMEDOUT);
    /* A signal; then the same wait goes on to its deadline. */
    catch_signals();
    CHECK_CODE(unlock(other, ref), IL_OK);
    CHECK_CODE(try_lock(other, ref), IL_OK);
    il_u32 *interrupted = common(4096);
    pid_t child = interrupter(&mutex_of(space, ref)->word, IL_RESERVED, interrupted);
    il_wait wait = for_ever();
    CHECK_CODE(lock_with(space, ref, &wait), IL_INTERRUPTED);
    il_store_release(interrupted, 1);
    CHECK_CHILD(child);
    munmap(interrupted, 4096);
    wait.deadline_ns = il_clock_ns() + 20 * MS;
    CHECK_CODE(lock_with(space, ref, &wait), IL_TIMEDOUT);
    CHECK(il_clock_ns() >= wait.deadline_ns);
    CHECK_CODE(unlock(other, ref), IL_OK);
    il_space_close(other);
    done(space, path);
}

static void owners(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "x");
    il_mutex *mutex = mutex_of(space, ref);
    uint64_t key = il_ref_key(ref);
    CHECK_CODE(il_attach(other), IL_OK);
    CHECK_CODE(unlock(space, ref), IL_NOT_HELD);
    CHECK_CODE(try_lock(space, ref), IL_OK);
    CHECK_CODE(try_lock(space, ref), IL_BUSY);
    CHECK_CODE(unlock(other, ref), IL_NOT_OWNER);
    CHECK(!il_mutex_unlock_fast(mutex, key, il_self(other)));
    CHECK_CODE(il_mutex_unlock(other, mutex, key, IL_UNLOCK_FOREIGN), IL_OK);
    CHECK_CODE(unlock(space, ref), IL_NOT_HELD);
    CHECK(il_mutex_try_fast(mutex, key, il_self(other), 9));
    CHECK(!il_mutex_try_fast(mutex, key, il_self(space), 9));
    CHECK(il_mutex_unlock_fast(mutex, key, il_self(other)));
    uint64_t fence = fence_of(space, ref);
    for (uint64_t i = 1; i <= 10; i++) {
        CHECK_CODE(try_lock(i & 1 ? space : other, ref), IL_OK);
        CHECK(fence_of(space, ref) == fence + i);
        CHECK_CODE(unlock(i & 1 ? space : other, ref), IL_OK);
    }
    il_space_close(other);
    done(space, path);
}

/* A free lock that is reserved for waiters: not for a newcomer's try, but for anybody after a few milliseconds. */
static void reservation(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_ref ref = find(space, "x");
    il_mutex *mutex = mutex_of(space, ref);
    CHECK_CODE(il_attach(space), IL_OK);
    uint64_t now = il_clock_ns();
    il_store_relaxed(&mutex->reserved_ns, now);
    il_store_relaxed(&mutex->word, il_ref_key(ref) | IL_RESERVED);
    int code = try_lock(space, ref);
    CHECK(code == IL_BUSY || il_clock_ns() - now > 3 * MS);
    CHECK(!il_mutex_try_fast(mutex, il_ref_key(ref), il_self(space), 7));
    if (code == IL_BUSY) {
        CHECK_CODE(lock_for(space, ref, 20 * SECOND), IL_OK);
        CHECK(il_clock_ns() - now >= 3 * MS);
    }
    CHECK_CODE(unlock(space, ref), IL_OK);
    CHECK(il_load_relaxed(&mutex->word) == il_ref_key(ref));
    done(space, path);
}

static void rlocks(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = 0;
    CHECK_CODE(resolve(space, "r", IL_KIND_RLOCK, &ref), IL_OK);
    il_mutex *mutex = mutex_of(space, ref);
    uint64_t key = il_ref_key(ref);
    il_wait now = {.deadline_ns = IL_NOW};
    CHECK_CODE(il_attach(other), IL_OK);
    CHECK_CODE(il_rlock_unlock(space, mutex, key, 1, 0), IL_NOT_HELD);
    for (uint32_t depth = 1; depth <= 3; depth++) {
        CHECK_CODE(il_rlock_lock(space, mutex, key, 1, &now), IL_OK);
        CHECK(il_load_relaxed(&mutex->depth) == depth);
    }
    uint64_t fence = fence_of(space, ref);
    /* Another thread of the same process, and the same token in another process. */
    CHECK_CODE(il_rlock_lock(space, mutex, key, 2, &now), IL_BUSY);
    CHECK_CODE(il_rlock_unlock(space, mutex, key, 2, 0), IL_NOT_OWNER);
    CHECK_CODE(il_rlock_lock(other, mutex, key, 1, &now), IL_BUSY);
    CHECK_CODE(il_rlock_unlock(other, mutex, key, 1, 0), IL_NOT_OWNER);
    for (uint32_t depth = 3; depth-- > 0;) {
        CHECK(il_rlock_mine(space, mutex, key, 1));
        CHECK_CODE(il_rlock_unlock(space, mutex, key, 1, 0), IL_OK);
        CHECK(il_load_relaxed(&mutex->depth) == depth);
    }
    CHECK(!il_rlock_mine(space, mutex, key, 1));
    CHECK_CODE(il_rlock_unlock(space, mutex, key, 1, 0), IL_NOT_HELD);
    CHECK_CODE(il_rlock_lock(other, mutex, key, 1, &now), IL_OK);
    CHECK(fence_of(space, ref) == fence + 1);
    il_store_relaxed(&mutex->depth, UINT32_MAX);
    CHECK_CODE(il_rlock_lock(other, mutex, key, 1, &now), IL_DEPTH);
    CHECK(il_load_relaxed(&mutex->depth) == UINT32_MAX);
    /* A deep hold dies with its process, whole. */
    il_space_close(other);
    now = (il_wait){.deadline_ns = IL_NOW};
    CHECK_CODE(il_rlock_lock(space, mutex, key, 2, &now), IL_OK);
    CHECK(now.orphan && il_load_relaxed(&mutex->depth) == 1);
    CHECK_CODE(il_rlock_unlock(space, mutex, key, 2, 0), IL_OK);
    CHECK(il_load_relaxed(&mutex->word) == key);
    done(space, path);
}

/* Sleeps that wakes end leave no debt behind, which would delay the next recovery in the space. */
static void wakes_are_free(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    enum { WAITERS = 4, WAKES = 500 };
    il_ref ref = find(space, "x");
    CHECK_CODE(try_lock(space, ref), IL_OK);
    il_u64 *slices = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(slices != MAP_FAILED);
    pid_t children[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        children[i] = check_fork();
        if (children[i] == 0) {
            il_wait wait = {.deadline_ns = IL_FOREVER};
            CHECK_CODE(lock_with(space, ref, &wait), IL_OK);
            il_store_relaxed(slices, il_load_relaxed(slices) + wait.slices);
            CHECK_CODE(unlock(space, ref), IL_OK);
            _exit(0);
        }
    }
    for (int woken = 0; woken < WAKES;) {
        woken += il_futex_wake((il_u32 *)(void *)&mutex_of(space, ref)->word, 1);
        sched_yield();
    }
    uint64_t debt = il_load_relaxed(&space->header->next_wake_ns), now = il_clock_ns();
    CHECK_CODE(unlock(space, ref), IL_OK);
    for (int i = 0; i < WAITERS; i++)
        CHECK_CHILD(children[i]);
    CHECK(debt <= now + il_load_relaxed(slices) * MS);
    munmap(slices, 4096);
    done(space, path);
}

/* Many processes, a plain counter in shared memory, and some killed while at it. */
typedef struct {
    volatile uint64_t counter;
    volatile uint32_t inside;
} contest;

static void contention(void)
{
    char *path;
    il_space *space = fresh(&path, 64);
    enum { PROCESSES = 6, TURNS = 200000 };
    contest *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    signal_pipe go = pipe_new();
    pid_t children[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = check_fork();
        if (children[i] == 0) {
            il_ref ref = find(space, "x");
            hear(&go);
            for (int turn = 0; turn < TURNS; turn++) {
                CHECK_CODE(lock_for(space, ref, 60 * SECOND), IL_OK);
                CHECK(shared->inside == 0);
                shared->inside = il_self(space);
                shared->counter++;
                CHECK(shared->inside == il_self(space));
                shared->inside = 0;
                CHECK_CODE(unlock(space, ref), IL_OK);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++)
        tell(&go);
    for (int i = 0; i < PROCESSES; i++)
        CHECK_CHILD(children[i]);
    pipe_free(&go);
    CHECK(shared->counter == PROCESSES * TURNS);
    munmap(shared, 4096);
    done(space, path);
}

const test mutex_tests[] = {
    {"timeouts", timeouts},
    {"owners", owners},
    {"reservation", reservation},
    {"rlocks", rlocks},
    {"wakes_are_free", wakes_are_free},
    {"contention", contention},
    {NULL, NULL},
};
