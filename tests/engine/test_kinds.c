/* The kinds without shares: semaphore, event, condition, barrier. What each operation returns, within a process and between
 * several; what deaths leave; what is left of an object whose name has gone. */
#include "basic.h"

/* --- the name's kind and parameter --- */

static void kinds_and_parameters(void)
{
    static const struct {
        uint8_t kind;
        uint64_t parameter, other;
    } of[] = {
        {IL_KIND_SEMAPHORE, (uint64_t)5 << 32 | 2, (uint64_t)5 << 32 | 3}, /* bound 5; another initial value */
        {IL_KIND_EVENT, 0, 1},
        {IL_KIND_CONDITION, 77, 78},
        {IL_KIND_BARRIER, 3, 4},
        {IL_KIND_RWLOCK, 0, 1},
        {IL_KIND_BOUNDED_SEMAPHORE, 2, 3},
    };
    enum { KINDS = sizeof of / sizeof *of };
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    for (size_t i = 0; i < KINDS; i++) {
        char name[16];
        uint8_t found = IL_KIND_NONE;
        il_ref ref, wrong = 0;
        snprintf(name, sizeof name, "kind%zu", i);
        ref = find_as(space, name, of[i].kind, of[i].parameter);
        CHECK(find_as(other, name, of[i].kind, of[i].parameter) == ref);
        CHECK_CODE(resolve_as(other, name, of[i].kind, of[i].other, &wrong, &found), IL_PARAMETER);
        CHECK(found == of[i].kind && wrong == 0);
        uint64_t parameter = 0;
        il_wait wait = for_ever();
        CHECK_CODE(il_table_parameter(other, name, strlen(name), of[i].kind, &wait, &parameter), IL_OK);
        CHECK(parameter == of[i].parameter);
        CHECK_CODE(il_table_parameter(other, name, strlen(name), IL_KIND_LOCK, &wait, &parameter), IL_ABSENT);
        for (size_t j = 0; j < KINDS; j++) {
            if (j == i)
                continue;
            CHECK_CODE(resolve_as(other, name, of[j].kind, of[j].parameter, &wrong, &found), IL_KIND);
            CHECK(found == of[i].kind && wrong == 0);
        }
        CHECK(find_as(space, name, of[i].kind, of[i].parameter) == ref);
        /* Gone, it may come back as anything. */
        CHECK_CODE(unlink_name(other, name), IL_OK);
        CHECK_CODE(unlink_name(other, name), IL_ABSENT);
        size_t j = (i + 1) % KINDS;
        CHECK(find_as(other, name, of[j].kind, of[j].parameter) != ref);
    }
    il_space_close(other);
    done(space, path);
}

/* --- semaphore --- */

static uint32_t value_of(il_space *space, il_ref ref)
{
    uint32_t value;
    CHECK_CODE(il_semaphore_value(cell_of(space, ref), il_ref_key(ref), &value), IL_OK);
    return value;
}

static int acquire(il_space *space, il_ref ref, il_wait wait)
{
    return il_semaphore_acquire(space, cell_of(space, ref), il_ref_key(ref), &wait);
}

static int release(il_space *space, il_ref ref, uint32_t bound, uint32_t count)
{
    return il_semaphore_release(space, cell_of(space, ref), il_ref_key(ref), bound, count);
}

static void semaphores(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    enum { BOUND = 3 };
    uint64_t parameter = il_semaphore_parameter(2, BOUND);
    CHECK(il_semaphore_bound(parameter) == BOUND);
    il_ref ref = find_as(space, "s", IL_KIND_SEMAPHORE, parameter);
    il_cell *cell = cell_of(space, ref);
    uint64_t key = il_ref_key(ref);
    CHECK(value_of(space, ref) == 2);
    CHECK(il_semaphore_try_fast(cell, key));
    CHECK_CODE(acquire(other, ref, until_now()), IL_OK);
    CHECK(!il_semaphore_try_fast(cell, key));
    CHECK_CODE(acquire(other, ref, until_now()), IL_BUSY);
    uint64_t began = il_clock_ns();
    CHECK_CODE(acquire(other, ref, until_ns(7 * MS)), IL_TIMEDOUT);
    CHECK(il_clock_ns() - began >= 7 * MS);
    /* Anybody may give a permit, also one that was never taken, up to the bound and all or nothing. The sleeper has left
     * its mark, so the quick way is closed. */
    CHECK(!il_semaphore_release_fast(cell, key, BOUND));
    CHECK_CODE(release(space, ref, BOUND, BOUND + 1), IL_OVERFLOW);
    CHECK_CODE(release(space, ref, BOUND, UINT32_MAX), IL_OVERFLOW);
    CHECK(value_of(space, ref) == 0);
    CHECK_CODE(release(space, ref, BOUND, 1), IL_OK);
    CHECK(il_semaphore_release_fast(cell, key, BOUND));
    CHECK_CODE(release(other, ref, BOUND, 2), IL_OVERFLOW);
    CHECK(value_of(other, ref) == 2);
    CHECK_CODE(release(other, ref, BOUND, 1), IL_OK);
    CHECK_CODE(release(other, ref, BOUND, 1), IL_OVERFLOW);
    CHECK(!il_semaphore_release_fast(cell, key, BOUND));
    CHECK(value_of(other, ref) == BOUND);
    /* The largest bound there is does not overflow. */
    il_ref big = find_as(space, "big", IL_KIND_SEMAPHORE, il_semaphore_parameter(IL_PERMITS, IL_PERMITS));
    CHECK(value_of(space, big) == IL_PERMITS);
    CHECK_CODE(release(space, big, IL_PERMITS, 1), IL_OVERFLOW);
    CHECK_CODE(acquire(space, big, until_now()), IL_OK);
    CHECK_CODE(release(space, big, IL_PERMITS, 2), IL_OVERFLOW);
    CHECK_CODE(release(space, big, IL_PERMITS, 1), IL_OK);
    /* A permit has no owner: what a dead process took stays taken, until somebody gives it. */
    CHECK_CODE(il_attach(other), IL_OK);
    CHECK_CODE(acquire(other, ref, until_now()), IL_OK);
    uint32_t dead = il_self(other);
    il_space_close(other);
    CHECK_CODE(il_reap(space, dead), IL_OK);
    CHECK(value_of(space, ref) == BOUND - 1);
    done(space, path);
}

static void semaphore_sleepers(void)
{
    char *path;
    il_space *space = fresh(&path, 16);
    enum { CHILDREN = 4, BOUND = 100 };
    il_ref ref = find_as(space, "s", IL_KIND_SEMAPHORE, il_semaphore_parameter(0, BOUND));
    il_u64 *permits = &cell_of(space, ref)->state.permits;
    /* A signal ends a wait, and the same wait goes on to its deadline. */
    catch_signals();
    il_u32 *interrupted = common(4096);
    pid_t child = interrupter(permits, IL_PERMIT_WAITERS, interrupted);
    il_wait wait = for_ever();
    CHECK_CODE(il_semaphore_acquire(space, cell_of(space, ref), il_ref_key(ref), &wait), IL_INTERRUPTED);
    il_store_release(interrupted, 1);
    CHECK_CHILD(child);
    munmap(interrupted, 4096);
    wait.deadline_ns = il_clock_ns() + 5 * MS;
    CHECK_CODE(il_semaphore_acquire(space, cell_of(space, ref), il_ref_key(ref), &wait), IL_TIMEDOUT);
    /* One release of several permits serves as many sleepers. */
    CHECK_CODE(release(space, ref, BOUND, 1), IL_OK);
    CHECK_CODE(acquire(space, ref, until_now()), IL_OK);
    for (int killed = 0; killed < 2; killed++) {
        pid_t children[CHILDREN];
        for (int i = 0; i < CHILDREN; i++) {
            children[i] = check_fork();
            if (children[i] == 0) {
                CHECK_CODE(acquire(space, ref, for_ever()), IL_OK);
                _exit(0);
            }
        }
        for (int i = 0; i < CHILDREN; i++)
            AWAIT((il_load_relaxed(permits) & IL_PERMIT_WAITERS) && is_asleep(children[i]));
        /* While they wait, the name stays. */
        CHECK_CODE(unlink_name(space, "s"), IL_BUSY);
        for (int i = 0; i < CHILDREN; i++)
            AWAIT((il_load_relaxed(permits) & IL_PERMIT_WAITERS) && is_asleep(children[i]));
        if (killed)
            check_kill(children[0]); /* no permit is lost with it */
        CHECK_CODE(release(space, ref, BOUND, CHILDREN), IL_OK);
        for (int i = killed; i < CHILDREN; i++)
            CHECK_CHILD(children[i]);
        CHECK(value_of(space, ref) == (uint32_t)killed);
    }
    CHECK_CODE(acquire(space, ref, until_now()), IL_OK);
    CHECK_CODE(unlink_name(space, "s"), IL_OK);
    /* References to what has gone. */
    uint32_t value;
    CHECK(!il_semaphore_try_fast(cell_of(space, ref), il_ref_key(ref)));
    CHECK(!il_semaphore_release_fast(cell_of(space, ref), il_ref_key(ref), BOUND));
    CHECK_CODE(acquire(space, ref, until_now()), IL_STALE);
    CHECK_CODE(release(space, ref, BOUND, 1), IL_STALE);
    CHECK_CODE(il_semaphore_value(cell_of(space, ref), il_ref_key(ref), &value), IL_STALE);
    il_ref again = find_as(space, "s", IL_KIND_SEMAPHORE, il_semaphore_parameter(1, 2));
    CHECK(again != ref && value_of(space, again) == 1);
    CHECK_CODE(acquire(space, ref, for_ever()), IL_STALE);
    done(space, path);
}

enum { CONTENDERS = 6 };

static void semaphore_contention(void)
{
    char *path;
    il_space *space = fresh(&path, 16);
    enum { PERMITS = 2, TURNS = 20000 };
    il_ref ref = find_as(space, "s", IL_KIND_SEMAPHORE, il_semaphore_parameter(PERMITS, PERMITS));
    il_u32 *inside = common(4096);
    signal_pipe go = pipe_new();
    pid_t children[CONTENDERS];
    for (int i = 0; i < CONTENDERS; i++) {
        children[i] = check_fork();
        if (children[i] == 0) {
            il_cell *cell = cell_of(space, ref);
            hear(&go);
            for (int turn = 0; turn < TURNS; turn++) {
                if (!il_semaphore_try_fast(cell, il_ref_key(ref)))
                    CHECK_CODE(acquire(space, ref, until_ns(60 * SECOND)), IL_OK);
                CHECK(il_add_relaxed(inside, 1) < PERMITS);
                il_add_relaxed(inside, -1u);
                if (!il_semaphore_release_fast(cell, il_ref_key(ref), PERMITS))
                    CHECK_CODE(release(space, ref, PERMITS, 1), IL_OK);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < CONTENDERS; i++)
        tell(&go);
    for (int i = 0; i < CONTENDERS; i++)
        CHECK_CHILD(children[i]);
    pipe_free(&go);
    CHECK(value_of(space, ref) == PERMITS);
    munmap(inside, 4096);
    done(space, path);
}

/* Where a contender is, written around each operation, so that after its death it is known what it may have. */
enum { HAS_NONE, MAY_HAVE_ONE, HAS_ONE };

static void semaphore_kills(void)
{
    char *path;
    il_space *space = fresh(&path, 16);
    enum { KILLS = 30, PERMITS = KILLS + 2 };
    il_ref ref = find_as(space, "s", IL_KIND_SEMAPHORE, il_semaphore_parameter(PERMITS, PERMITS));
    struct {
        il_u32 at, turns;
    } *life = common(4096);
    pid_t children[CONTENDERS] = {0};
    uint32_t sure = 0, unsure = 0;
    for (int killed = -CONTENDERS; killed < KILLS; killed++) {
        int i = (killed + CONTENDERS) % CONTENDERS;
        if (killed >= 0) {
            /* Somewhere in a turn: no two are alike. */
            uint32_t from = il_load_relaxed(&life[i].turns);
            AWAIT(il_load_relaxed(&life[i].turns) - from >= 20u + (uint32_t)killed);
            check_kill(children[i]);
            sure += il_load_relaxed(&life[i].at) == HAS_ONE;
            unsure += il_load_relaxed(&life[i].at) == MAY_HAVE_ONE;
            il_store_relaxed(&life[i].at, HAS_NONE);
        }
        children[i] = check_fork();
        if (children[i] == 0) {
            for (;;) {
                il_store_relaxed(&life[i].at, MAY_HAVE_ONE);
                CHECK_CODE(acquire(space, ref, for_ever()), IL_OK);
                il_store_relaxed(&life[i].at, HAS_ONE);
                il_add_relaxed(&life[i].turns, 1);
                il_store_relaxed(&life[i].at, MAY_HAVE_ONE);
                CHECK_CODE(release(space, ref, PERMITS, 1), IL_OK);
                il_store_relaxed(&life[i].at, HAS_NONE);
            }
        }
    }
    for (int i = 0; i < CONTENDERS; i++) {
        check_kill(children[i]);
        sure += il_load_relaxed(&life[i].at) == HAS_ONE;
        unsure += il_load_relaxed(&life[i].at) == MAY_HAVE_ONE;
    }
    uint32_t value = value_of(space, ref);
    CHECK(value <= PERMITS - sure && value + sure + unsure >= PERMITS);
    munmap(life, 4096);
    done(space, path);
}

/* --- event --- */

static int await_event(il_space *space, il_ref ref, il_wait wait)
{
    return il_event_wait(space, cell_of(space, ref), il_ref_key(ref), &wait);
}

static void events(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find_as(space, "e", IL_KIND_EVENT, 0);
    il_cell *cell = cell_of(space, ref);
    uint64_t key = il_ref_key(ref);
    CHECK_CODE(await_event(space, ref, until_now()), IL_BUSY);
    CHECK_CODE(il_event_clear(space, cell, key), IL_OK);
    uint64_t began = il_clock_ns();
    CHECK_CODE(await_event(space, ref, until_ns(7 * MS)), IL_TIMEDOUT);
    CHECK(il_clock_ns() - began >= 7 * MS);
    for (int times = 0; times < 2; times++) {
        CHECK_CODE(il_event_set(other, cell, key), IL_OK);
        CHECK_CODE(await_event(space, ref, until_now()), IL_OK);
        CHECK_CODE(await_event(other, ref, for_ever()), IL_OK);
    }
    CHECK_CODE(il_event_clear(space, cell, key), IL_OK);
    CHECK_CODE(await_event(other, ref, until_now()), IL_BUSY);
    /* A wait that had begun sees a pulse in between; one that had not does not. */
    catch_signals();
    il_u32 *interrupted = common(4096);
    pid_t child = interrupter(&cell->state.flag, IL_FLAG_WAITERS, interrupted);
    il_wait wait = for_ever();
    CHECK_CODE(il_event_wait(space, cell, key, &wait), IL_INTERRUPTED);
    il_store_release(interrupted, 1);
    CHECK_CHILD(child);
    munmap(interrupted, 4096);
    CHECK_CODE(il_event_set(other, cell, key), IL_OK);
    CHECK_CODE(il_event_clear(other, cell, key), IL_OK);
    CHECK_CODE(il_event_wait(space, cell, key, &wait), IL_OK);
    CHECK_CODE(await_event(space, ref, until_now()), IL_BUSY);
    /* An event that is set outlives whoever set it, and is not forgotten for want of room: see `eviction_frees_records`. */
    CHECK_CODE(il_attach(other), IL_OK);
    CHECK_CODE(il_event_set(other, cell, key), IL_OK);
    uint32_t dead = il_self(other);
    il_space_close(other);
    CHECK_CODE(il_reap(space, dead), IL_OK);
    CHECK_CODE(await_event(space, ref, until_now()), IL_OK);
    CHECK_CODE(unlink_name(space, "e"), IL_OK);
    CHECK_CODE(await_event(space, ref, for_ever()), IL_STALE);
    CHECK_CODE(il_event_set(space, cell, key), IL_STALE);
    CHECK_CODE(il_event_clear(space, cell, key), IL_STALE);
    il_ref again = find_as(space, "e", IL_KIND_EVENT, 0);
    CHECK(again != ref);
    CHECK_CODE(await_event(space, again, until_now()), IL_BUSY);
    CHECK_CODE(il_event_set(space, cell, key), IL_STALE);
    CHECK_CODE(await_event(space, again, until_now()), IL_BUSY);
    done(space, path);
}

/* set() followed at once by clear() is missed by nobody who waited, and wakes all of them. */
static void event_pulses(void)
{
    char *path;
    il_space *space = fresh(&path, 16);
    enum { CHILDREN = 3, PULSES = 40 };
    il_ref ref = find_as(space, "e", IL_KIND_EVENT, 0);
    il_u64 *flag = &cell_of(space, ref)->state.flag;
    il_u32 *awake = common(4096), *cleared = awake + 1;
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = check_fork();
        if (children[i] == 0) {
            for (uint32_t pulse = 0; pulse < PULSES; pulse++) {
                CHECK_CODE(await_event(space, ref, for_ever()), IL_OK);
                il_add_relaxed(awake, 1);
                AWAIT(il_load_relaxed(awake) >= (pulse + 1) * CHILDREN && il_load_relaxed(cleared) > pulse);
            }
            _exit(0);
        }
    }
    for (uint32_t pulse = 0; pulse < PULSES; pulse++) {
        for (int i = 0; i < CHILDREN; i++)
            AWAIT(il_load_relaxed(awake) == pulse * CHILDREN && (il_load_relaxed(flag) & IL_FLAG_WAITERS) &&
                  is_asleep(children[i]));
        if (pulse == 0) {
            CHECK_CODE(unlink_name(space, "e"), IL_BUSY);
            for (int i = 0; i < CHILDREN; i++)
                AWAIT((il_load_relaxed(flag) & IL_FLAG_WAITERS) && is_asleep(children[i]));
        }
        CHECK_CODE(il_event_set(space, cell_of(space, ref), il_ref_key(ref)), IL_OK);
        CHECK_CODE(il_event_clear(space, cell_of(space, ref), il_ref_key(ref)), IL_OK);
        il_add_relaxed(cleared, 1);
    }
    for (int i = 0; i < CHILDREN; i++)
        CHECK_CHILD(children[i]);
    CHECK_CODE(unlink_name(space, "e"), IL_OK);
    munmap(awake, 4096);
    done(space, path);
}

const test kind_tests[] = {
    {"kinds_and_parameters", kinds_and_parameters},
    {"semaphores", semaphores},
    {"semaphore_sleepers", semaphore_sleepers},
    {"semaphore_contention", semaphore_contention},
    {"semaphore_kills", semaphore_kills},
    {"events", events},
    {"event_pulses", event_pulses},
    {NULL, NULL},
};
