/* The kinds with a queue: condition and barrier. Order, notifications and rounds, and what becomes of them when those who
 * stand in the queue die. */
#include "basic.h"

/* Views of one space with a slot each: virtual processes, which die by being closed. */
enum { VIEWS = 4 };

static void open_views(const il_space *space, il_space *views[VIEWS])
{
    for (int i = 0; i < VIEWS; i++) {
        views[i] = view_of(space);
        CHECK_CODE(il_attach(views[i]), IL_OK);
    }
}

static void close_views(il_space *views[VIEWS])
{
    for (int i = 0; i < VIEWS; i++) {
        if (views[i] != NULL)
            il_space_close(views[i]);
        views[i] = NULL;
    }
}

/* --- condition --- */

static il_ticket condition_enter(il_space *space, il_ref ref)
{
    il_ticket ticket = 0;
    il_wait wait = for_ever();
    CHECK_CODE(il_condition_enter(space, ref, &wait, &ticket), IL_OK);
    return ticket;
}

static int condition_wait(il_space *space, il_ref ref, il_ticket ticket, il_wait wait)
{
    return il_condition_wait(space, ref, ticket, &wait);
}

/* Whether it had been notified. */
static bool condition_leave(il_space *space, il_ref ref, il_ticket ticket)
{
    int notified = il_condition_leave(space, ref, ticket, NULL, false);
    CHECK(notified == 0 || notified == 1);
    return notified;
}

static void notify(il_space *space, il_ref ref, uint32_t count)
{
    CHECK_CODE(il_condition_notify(space, ref, NULL, count, NULL), IL_OK);
}

static uint32_t waiters(il_space *space, il_ref ref)
{
    uint32_t count = UINT32_MAX;
    CHECK_CODE(il_condition_waiters(space, ref, NULL, &count), IL_OK);
    return count;
}

static void conditions(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *views[VIEWS];
    il_ref ref = find_as(space, "c", IL_KIND_CONDITION, 0);
    open_views(space, views);
    il_ticket tickets[VIEWS];
    CHECK(waiters(space, ref) == 0);
    notify(space, ref, 5); /* of nobody: forgotten */
    for (uint32_t i = 0; i < VIEWS; i++) {
        tickets[i] = condition_enter(views[i], ref);
        CHECK(waiters(space, ref) == i + 1);
    }
    CHECK_CODE(unlink_name(space, "c"), IL_BUSY);
    uint64_t began = il_clock_ns();
    CHECK_CODE(condition_wait(views[0], ref, tickets[0], until_ns(7 * MS)), IL_TIMEDOUT);
    CHECK(il_clock_ns() - began >= 7 * MS);
    /* In the order of arrival, each once. */
    notify(space, ref, 0);
    CHECK_CODE(condition_wait(views[0], ref, tickets[0], until_now()), IL_TIMEDOUT);
    notify(space, ref, 1);
    notify(views[3], ref, 1);
    for (uint32_t i = 0; i < VIEWS; i++)
        CHECK_CODE(condition_wait(views[i], ref, tickets[i], until_now()), i < 2 ? IL_OK : IL_TIMEDOUT);
    CHECK(waiters(space, ref) == 2);
    CHECK(condition_leave(views[1], ref, tickets[1]));
    CHECK(condition_leave(views[0], ref, tickets[0]));
    /* Who leaves unnotified is passed over, and who leaves but has no use for it passes it on. */
    CHECK(!condition_leave(views[2], ref, tickets[2]));
    tickets[0] = condition_enter(views[0], ref);
    notify(space, ref, 1);
    CHECK_CODE(condition_wait(views[3], ref, tickets[3], for_ever()), IL_OK);
    CHECK_CODE(il_condition_leave(views[3], ref, tickets[3], NULL, true), 1);
    CHECK_CODE(condition_wait(views[0], ref, tickets[0], for_ever()), IL_OK);
    CHECK(condition_leave(views[0], ref, tickets[0]));
    /* Who was notified leaves without the stripe, and the next who notifies or enters takes its record out. */
    CHECK(records_in_use(space) == 1);
    notify(space, ref, 1);
    CHECK(records_in_use(space) == 0);
    for (uint32_t i = 0; i < 3; i++) {
        tickets[i] = condition_enter(views[i], ref);
        CHECK(records_in_use(space) == 1);
        notify(space, ref, 1);
        CHECK(condition_leave(views[i], ref, tickets[i]));
        CHECK(waiters(space, ref) == 0 && records_in_use(space) == 1);
    }
    notify(space, ref, 0);
    CHECK(records_in_use(space) == 0);
    /* Whom to wake later: those who sleep. */
    uint32_t asleep = 77;
    CHECK_CODE(il_condition_notify(space, ref, NULL, 1, &asleep), IL_OK);
    CHECK(asleep == 0);
    for (uint32_t i = 0; i < 4; i++)
        tickets[i] = condition_enter(views[0], ref);
    CHECK_CODE(il_condition_notify(space, ref, NULL, 1, &asleep), IL_OK);
    CHECK(asleep == 0);
    CHECK_CODE(condition_wait(views[0], ref, tickets[0], until_now()), IL_OK);
    CHECK(condition_leave(views[0], ref, tickets[0]));
    for (uint32_t i = 1; i < 4; i++)
        CHECK_CODE(condition_wait(views[0], ref, tickets[i], until_ns(1 * MS)), IL_TIMEDOUT);
    CHECK_CODE(il_condition_notify(space, ref, NULL, 1, &asleep), IL_OK);
    CHECK(asleep == (uint32_t)tickets[1]);
    il_condition_wake(space, ref, asleep);
    tickets[0] = condition_enter(views[0], ref);
    CHECK_CODE(il_condition_notify(space, ref, NULL, 9, &asleep), IL_OK);
    CHECK(asleep == IL_SEVERAL);
    il_condition_wake(space, ref, asleep);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_CODE(condition_wait(views[0], ref, tickets[i], until_now()), IL_OK);
        CHECK(condition_leave(views[0], ref, tickets[i]));
    }
    /* A place belongs to the process that took it, not to its child. */
    tickets[0] = condition_enter(space, ref);
    pid_t child = check_fork();
    if (child == 0) {
        CHECK_CODE(condition_wait(space, ref, tickets[0], for_ever()), IL_NOT_OWNER);
        CHECK_CODE(il_condition_leave(space, ref, tickets[0], NULL, false), IL_NOT_OWNER);
        _exit(0);
    }
    CHECK_CHILD(child);
    CHECK(waiters(views[0], ref) == 1);
    CHECK(!condition_leave(space, ref, tickets[0]));
    CHECK_CODE(unlink_name(space, "c"), IL_OK);
    CHECK_CODE(il_condition_notify(space, ref, NULL, 1, NULL), IL_STALE);
    CHECK_CODE(il_condition_enter(space, ref, &(il_wait){.deadline_ns = IL_NOW}, &tickets[0]), IL_STALE);
    uint32_t count;
    CHECK_CODE(il_condition_waiters(space, ref, NULL, &count), IL_STALE);
    close_views(views);
    done(space, path);
}

/* Sleepers in processes of their own are notified in the order of arrival. */
static void condition_order(void)
{
    char *path;
    il_space *space = fresh(&path, 16);
    enum { CHILDREN = 5, ROUNDS = 10 };
    il_ref ref = find_as(space, "c", IL_KIND_CONDITION, 0);
    struct {
        il_u32 awake, order[CHILDREN];
    } *seen = common(4096);
    for (int round = 0; round < ROUNDS; round++) {
        pid_t children[CHILDREN];
        il_store_relaxed(&seen->awake, 0);
        for (uint32_t i = 0; i < CHILDREN; i++) {
            children[i] = check_fork();
            if (children[i] == 0) {
                il_ticket ticket = condition_enter(space, ref);
                CHECK_CODE(condition_wait(space, ref, ticket, for_ever()), IL_OK);
                il_store_relaxed(&seen->order[il_add_relaxed(&seen->awake, 1)], i);
                CHECK(condition_leave(space, ref, ticket));
                _exit(0);
            }
            AWAIT(waiters(space, ref) == i + 1);
        }
        for (uint32_t i = 0; i < CHILDREN; i++) {
            notify(space, ref, 1);
            AWAIT(il_load_relaxed(&seen->awake) == i + 1);
        }
        for (uint32_t i = 0; i < CHILDREN; i++) {
            CHECK_CHILD(children[i]);
            CHECK(il_load_relaxed(&seen->order[i]) == i);
        }
    }
    munmap(seen, 4096);
    done(space, path);
}

/* The first of two dies before it is notified, or after, or between being notified and being reaped: the second gets on. */
static void condition_deaths(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *views[VIEWS];
    il_ref ref = find_as(space, "c", IL_KIND_CONDITION, 0);
    for (int way = 0; way < 4; way++) {
        open_views(space, views);
        condition_enter(views[0], ref);
        il_ticket second = condition_enter(views[1], ref), third = condition_enter(views[2], ref);
        if (way == 0)
            notify(space, ref, 1);
        uint32_t dead = il_self(views[0]);
        il_space_close(views[0]);
        views[0] = NULL;
        if (way == 1)
            CHECK(waiters(space, ref) == 2); /* known to be dead before */
        if (way == 2) {
            notify(space, ref, 1);
            CHECK_CODE(il_reap(space, dead), IL_OK);
            notify(space, ref, 0); /* the next notifier finds out */
            CHECK_CODE(condition_wait(views[1], ref, second, until_now()), IL_OK);
        } else if (way != 0) {
            notify(space, ref, 1);
        }
        CHECK_CODE(condition_wait(views[1], ref, second, for_ever()), IL_OK);
        /* One notification, so one who gets on. */
        CHECK_CODE(condition_wait(views[2], ref, third, until_now()), IL_TIMEDOUT);
        CHECK(waiters(space, ref) == 1);
        CHECK(condition_leave(views[1], ref, second));
        notify(space, ref, 1);
        CHECK(condition_leave(views[2], ref, third));
        close_views(views);
    }
    CHECK_CODE(unlink_name(space, "c"), IL_OK);
    /* Only the dead wait: then the name may go. */
    ref = find_as(space, "c", IL_KIND_CONDITION, 0);
    open_views(space, views);
    condition_enter(views[0], ref);
    CHECK_CODE(unlink_name(space, "c"), IL_BUSY);
    close_views(views);
    CHECK_CODE(unlink_name(space, "c"), IL_OK);
    done(space, path);
}

/* A sleeper that was notified is killed before it can run: the one behind it, which sleeps, gets the notification. */
static void condition_passes_on(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_ref ref = find_as(space, "c", IL_KIND_CONDITION, 0);
    for (int round = 0; round < 5; round++) {
        pid_t children[2];
        for (uint32_t i = 0; i < 2; i++) {
            children[i] = check_fork();
            if (children[i] == 0) {
                il_ticket ticket = condition_enter(space, ref);
                CHECK_CODE(condition_wait(space, ref, ticket, for_ever()), IL_OK);
                CHECK(condition_leave(space, ref, ticket));
                _exit(0);
            }
            AWAIT(waiters(space, ref) == i + 1 && is_asleep(children[i]));
        }
        int status;
        CHECK(kill(children[0], SIGSTOP) == 0);
        CHECK(waitpid(children[0], &status, WUNTRACED) == children[0] && WIFSTOPPED(status));
        notify(space, ref, 1);
        CHECK(waiters(space, ref) == 1);
        check_kill(children[0]);
        CHECK_CHILD(children[1]);
        CHECK(waiters(space, ref) == 0);
    }
    done(space, path);
}

/* More waiters than there are records at first: the file grows, under several threads at once, and what the waiters used can
 * be used again. */
enum { CROWD = 800 };

typedef struct {
    il_space *space;
    il_ref ref;
    il_ticket tickets[CROWD];
} crowd;

static void *enter_crowd(void *argument)
{
    crowd *self = argument;
    for (int i = 0; i < CROWD; i++)
        self->tickets[i] = condition_enter(self->space, self->ref);
    return NULL;
}

static void records_grow(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *views[VIEWS];
    crowd *crowds = malloc(VIEWS * sizeof *crowds);
    CHECK(crowds != NULL && il_load_relaxed(&space->header->record_levels) == 1);
    il_ref ref = find_as(space, "c", IL_KIND_CONDITION, 0);
    uint32_t levels = 0;
    for (int round = 0; round < 3; round++) {
        pthread_t threads[VIEWS];
        open_views(space, views);
        for (int v = 0; v < VIEWS; v++) {
            crowds[v].space = views[v];
            crowds[v].ref = ref;
            CHECK(pthread_create(&threads[v], NULL, enter_crowd, &crowds[v]) == 0);
        }
        for (int v = 0; v < VIEWS; v++)
            CHECK(pthread_join(threads[v], NULL) == 0);
        CHECK(waiters(space, ref) == VIEWS * CROWD && records_in_use(space) == VIEWS * CROWD);
        CHECK(VIEWS * CROWD > IL_RECORDS && il_load_relaxed(&space->header->record_levels) >= 2);
        CHECK(round == 0 || il_load_relaxed(&space->header->record_levels) == levels);
        levels = il_load_relaxed(&space->header->record_levels);
        CHECK_CODE(il_space_check(space, true), IL_OK);
        notify(space, ref, VIEWS * CROWD - 1);
        CHECK(waiters(space, ref) == 1);
        notify(space, ref, UINT32_MAX);
        for (int v = 0; v < VIEWS && round < 2; v++) {
            for (int i = 0; i < CROWD; i++) {
                CHECK_CODE(condition_wait(views[v], ref, crowds[v].tickets[i], until_now()), IL_OK);
                CHECK(condition_leave(views[v], ref, crowds[v].tickets[i]));
            }
        }
        /* The last crowd dies instead. */
        close_views(views);
        CHECK(waiters(space, ref) == 0);
        notify(space, ref, 0);
        CHECK(records_in_use(space) == 0);
    }
    free(crowds);
    done(space, path);
}

/* --- barrier --- */

static int barrier_enter(il_space *space, il_ref ref, il_ticket *ticket, uint32_t *place)
{
    il_wait wait = for_ever();
    return il_barrier_enter(space, ref, &wait, ticket, place);
}

static il_ticket arrive(il_space *space, il_ref ref, int wanted)
{
    il_ticket ticket = 0;
    uint32_t place;
    CHECK_CODE(barrier_enter(space, ref, &ticket, &place), wanted);
    return ticket;
}

static int barrier_wait(il_space *space, il_ref ref, il_ticket ticket, il_wait wait)
{
    return il_barrier_wait(space, ref, ticket, &wait);
}

static void looks(il_space *space, il_ref ref, uint32_t waiting, bool broken)
{
    uint32_t found;
    bool is_broken;
    CHECK_CODE(il_barrier_look(space, ref, NULL, &found, &is_broken), IL_OK);
    CHECK(found == waiting && is_broken == broken);
}

static void barriers(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *views[VIEWS];
    enum { PARTIES = 3 };
    il_ref ref = find_as(space, "b", IL_KIND_BARRIER, PARTIES), alone = find_as(space, "alone", IL_KIND_BARRIER, 1);
    il_ticket tickets[PARTIES];
    uint32_t place;
    open_views(space, views);
    for (int round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < PARTIES; i++) {
            looks(space, ref, i, false);
            CHECK_CODE(barrier_enter(views[i], ref, &tickets[i], &place), i + 1 < PARTIES ? IL_OK : IL_LAST);
            CHECK(place == i);
        }
        CHECK_CODE(unlink_name(space, "b"), IL_BUSY);
        CHECK_CODE(il_barrier_finish(views[2], ref, tickets[2], true), IL_OK);
        for (int i = 0; i < 2; i++)
            CHECK_CODE(barrier_wait(views[i], ref, tickets[i], until_now()), IL_OK);
        looks(space, ref, 0, false);
        CHECK_CODE(il_barrier_finish(space, alone, arrive(space, alone, IL_LAST), true), IL_OK);
    }
    /* All three in one process; the action fails; it stays broken until it is reset. */
    for (int i = 0; i < PARTIES; i++)
        tickets[i] = arrive(space, ref, i + 1 < PARTIES ? IL_OK : IL_LAST);
    CHECK_CODE(il_barrier_finish(space, ref, tickets[2], false), IL_BROKEN);
    for (int i = 0; i < 2; i++)
        CHECK_CODE(barrier_wait(space, ref, tickets[i], for_ever()), IL_BROKEN);
    looks(views[0], ref, 0, true);
    arrive(views[0], ref, IL_BROKEN);
    CHECK_CODE(il_barrier_reset(views[1], ref, NULL), IL_OK);
    looks(views[0], ref, 0, false);
    /* Who comes too late breaks it for all. */
    tickets[0] = arrive(views[0], ref, IL_OK);
    tickets[1] = arrive(views[1], ref, IL_OK);
    uint64_t began = il_clock_ns();
    CHECK_CODE(barrier_wait(views[1], ref, tickets[1], until_ns(7 * MS)), IL_BROKEN);
    CHECK(il_clock_ns() - began >= 7 * MS);
    CHECK_CODE(barrier_wait(views[0], ref, tickets[0], for_ever()), IL_BROKEN);
    looks(space, ref, 0, true);
    CHECK_CODE(il_barrier_reset(space, ref, NULL), IL_OK);
    /* A reset sends away who waits, and the barrier is good; so does an abort, and it is not. */
    for (int abort = 0; abort < 2; abort++) {
        tickets[0] = arrive(views[0], ref, IL_OK);
        CHECK_CODE(abort ? il_barrier_abort(space, ref, NULL) : il_barrier_reset(space, ref, NULL), IL_OK);
        looks(space, ref, 0, abort);
        CHECK_CODE(barrier_wait(views[0], ref, tickets[0], for_ever()), IL_BROKEN);
    }
    CHECK_CODE(il_barrier_reset(space, ref, NULL), IL_OK);
    /* Reset or aborted during the action: it did not pass. */
    for (int i = 0; i < PARTIES; i++)
        tickets[i] = arrive(views[i], ref, i + 1 < PARTIES ? IL_OK : IL_LAST);
    CHECK_CODE(il_barrier_reset(space, ref, NULL), IL_OK);
    CHECK_CODE(il_barrier_finish(views[2], ref, tickets[2], true), IL_BROKEN);
    for (int i = 0; i < 2; i++)
        CHECK_CODE(barrier_wait(views[i], ref, tickets[i], for_ever()), IL_BROKEN);
    /* Who leaves after a signal is missed by nobody. */
    tickets[0] = arrive(views[0], ref, IL_OK);
    tickets[1] = arrive(views[1], ref, IL_OK);
    il_barrier_leave(views[0], ref, tickets[0]);
    looks(space, ref, 1, false);
    tickets[0] = arrive(views[0], ref, IL_OK);
    tickets[2] = arrive(views[2], ref, IL_LAST);
    CHECK_CODE(il_barrier_finish(views[2], ref, tickets[2], true), IL_OK);
    for (int i = 0; i < 2; i++)
        CHECK_CODE(barrier_wait(views[i], ref, tickets[i], until_now()), IL_OK);
    CHECK(records_in_use(space) == 0);
    CHECK_CODE(unlink_name(space, "b"), IL_OK);
    CHECK_CODE(barrier_enter(space, ref, &tickets[0], &place), IL_STALE);
    CHECK_CODE(il_barrier_reset(space, ref, NULL), IL_STALE);
    CHECK_CODE(il_barrier_abort(space, ref, NULL), IL_STALE);
    bool broken;
    CHECK_CODE(il_barrier_look(space, ref, NULL, &place, &broken), IL_STALE);
    close_views(views);
    done(space, path);
}

/* A party that died breaks the barrier: for those who wait, for the last to come, for the one that acts. */
static void barrier_deaths(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *views[VIEWS];
    enum { PARTIES = 3 };
    il_ref ref = find_as(space, "b", IL_KIND_BARRIER, PARTIES);
    for (int way = 0; way < 5; way++) {
        il_ticket tickets[PARTIES] = {0};
        open_views(space, views);
        tickets[0] = arrive(views[0], ref, IL_OK);
        tickets[1] = arrive(views[1], ref, IL_OK);
        if (way == 3 || way == 4)
            tickets[2] = arrive(views[2], ref, IL_LAST);
        int dying = way == 3 ? 2 : 0; /* in the midst of the action, or waiting */
        uint32_t dead = il_self(views[dying]);
        il_space_close(views[dying]);
        views[dying] = NULL;
        switch (way) {
        case 0: /* found by those who wait */
            CHECK_CODE(barrier_wait(views[1], ref, tickets[1], for_ever()), IL_BROKEN);
            break;
        case 1: /* found by the last to come */
            arrive(views[2], ref, IL_BROKEN);
            CHECK_CODE(barrier_wait(views[1], ref, tickets[1], until_now()), IL_BROKEN);
            break;
        case 2: /* reaped by somebody else meanwhile */
            CHECK_CODE(il_reap(space, dead), IL_OK);
            looks(space, ref, 0, true);
            CHECK_CODE(barrier_wait(views[1], ref, tickets[1], until_now()), IL_BROKEN);
            break;
        case 3:
            CHECK_CODE(barrier_wait(views[0], ref, tickets[0], for_ever()), IL_BROKEN);
            CHECK_CODE(barrier_wait(views[1], ref, tickets[1], for_ever()), IL_BROKEN);
            break;
        default: /* nobody passes a barrier with the dead */
            CHECK_CODE(il_barrier_finish(views[2], ref, tickets[2], true), IL_BROKEN);
            CHECK_CODE(barrier_wait(views[1], ref, tickets[1], for_ever()), IL_BROKEN);
        }
        looks(space, ref, 0, true);
        CHECK_CODE(il_barrier_reset(space, ref, NULL), IL_OK);
        CHECK(records_in_use(space) == 0);
        close_views(views);
    }
    done(space, path);
}

/* Processes that meet again and again; nobody goes ahead of anybody. Then one is killed. */
static void barrier_rounds(void)
{
    char *path;
    il_space *space = fresh(&path, 16);
    enum { PARTIES = 4, ROUNDS = 300 };
    il_ref ref = find_as(space, "b", IL_KIND_BARRIER, PARTIES);
    struct {
        il_u32 arrived[ROUNDS + 1], acted[ROUNDS + 1], rounds;
    } *seen = common(16384);
    CHECK(sizeof *seen <= 16384);
    pid_t children[PARTIES];
    for (int killing = 0; killing < 6; killing++) {
        CHECK_CODE(il_barrier_reset(space, ref, NULL), IL_OK);
        memset(seen, 0, sizeof *seen);
        for (int i = 0; i < PARTIES; i++) {
            children[i] = check_fork();
            if (children[i] == 0) {
                for (uint32_t round = 0; killing || round < ROUNDS; round++) {
                    uint32_t at = round < ROUNDS ? round : ROUNDS;
                    il_ticket ticket;
                    uint32_t place;
                    il_add_relaxed(&seen->arrived[at], 1);
                    int code = barrier_enter(space, ref, &ticket, &place);
                    if (code == IL_LAST) {
                        CHECK(killing || il_load_relaxed(&seen->arrived[at]) == PARTIES);
                        il_add_relaxed(&seen->acted[at], 1);
                        il_add_relaxed(&seen->rounds, 1);
                        code = il_barrier_finish(space, ref, ticket, true);
                    } else if (code == IL_OK) {
                        code = barrier_wait(space, ref, ticket, for_ever());
                    }
                    CHECK(code == IL_OK || (killing && code == IL_BROKEN));
                    if (code == IL_BROKEN)
                        _exit(0);
                    CHECK(killing || il_load_relaxed(&seen->arrived[at]) == PARTIES);
                    CHECK(killing || il_load_relaxed(&seen->acted[at]) == 1);
                }
                _exit(0);
            }
        }
        if (killing) {
            uint32_t waiting = 0;
            bool broken = false;
            AWAIT(il_load_relaxed(&seen->rounds) >= 100);
            check_kill(children[0]);
            /* It stood in the queue, which is noticed; or it had just left, and is now missing for ever. */
            while (!broken && waiting < PARTIES - 1)
                CHECK_CODE(il_barrier_look(space, ref, NULL, &waiting, &broken), IL_OK);
            if (!broken)
                CHECK_CODE(il_barrier_abort(space, ref, NULL), IL_OK);
        }
        for (int i = killing != 0; i < PARTIES; i++)
            CHECK_CHILD(children[i]);
        looks(space, ref, 0, killing != 0);
    }
    munmap(seen, 16384);
    done(space, path);
}

const test queue_tests[] = {
    {"conditions", conditions},
    {"condition_order", condition_order},
    {"condition_deaths", condition_deaths},
    {"condition_passes_on", condition_passes_on},
    {"records_grow", records_grow},
    {"barriers", barriers},
    {"barrier_deaths", barrier_deaths},
    {"barrier_rounds", barrier_rounds},
    {NULL, NULL},
};
