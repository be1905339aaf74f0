/* The bounded semaphore: there are never more permits than there may be, nor fewer once those who had them are dead. */
#include "shares.h"

/* Takes one that is there. A try counts anew before it fails, and so does who has slept: that would hide a wrong count. */
static void acquire_at_once(il_space *space, il_ref ref, il_share share)
{
    il_wait wait = until_ns(60 * SECOND);
    if (il_bounded_acquire_fast(space, share) || il_bounded_try(space, ref, share))
        return;
    CHECK_CODE(il_bounded_acquire(space, ref, share, HOLDER, &wait), IL_OK);
    CHECK(!wait.slept);
}

/* All permits can be taken at once, and not one more. */
static void all_are_there(il_space *space, il_ref ref, uint32_t bound)
{
    il_share mine = share_of(space, ref);
    for (uint32_t i = 0; i < bound; i++)
        acquire_at_once(space, ref, mine);
    CHECK_CODE(bounded_acquire(space, ref, mine, until_now()), IL_BUSY);
    CHECK_CODE(give_back(space, ref, mine, bound), IL_OK);
    CHECK(il_bounded_free(space, ref) == bound);
}

static void boundeds(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    enum { BOUND = 3 };
    il_ref ref = find_as(space, "b", IL_KIND_BOUNDED_SEMAPHORE, BOUND);
    il_ref none = find_as(space, "0", IL_KIND_BOUNDED_SEMAPHORE, 0);
    il_share mine = share_of(space, ref), its = share_of(other, ref);
    CHECK(il_bounded_free(space, ref) == BOUND);
    CHECK_CODE(bounded_release(space, ref, mine), IL_NOT_HELD);
    CHECK_CODE(bounded_acquire(space, ref, mine, until_now()), IL_OK);
    CHECK_CODE(il_bounded_acquire(other, ref, its, HOLDER, &(il_wait){.deadline_ns = IL_NOW}), IL_OK);
    CHECK_CODE(bounded_acquire(other, ref, its, for_ever()), IL_OK);
    CHECK_CODE(bounded_acquire(space, ref, mine, until_now()), IL_BUSY);
    uint64_t began = il_clock_ns();
    CHECK_CODE(bounded_acquire(other, ref, its, until_ns(7 * MS)), IL_TIMEDOUT);
    CHECK(il_clock_ns() - began >= 7 * MS && il_bounded_free(space, ref) == 0);
    CHECK_CODE(unlink_name(space, "b"), IL_BUSY);
    /* Permits are the process's: no other gives them back, and none gives back more than it has. */
    CHECK_CODE(give_back(space, ref, mine, 2), IL_NOT_HELD);
    CHECK_CODE(bounded_release(space, ref, mine), IL_OK);
    CHECK_CODE(bounded_release(space, ref, mine), IL_NOT_HELD);
    CHECK_CODE(give_back(other, ref, its, 3), IL_NOT_HELD);
    CHECK(il_bounded_free(space, ref) == 1);
    CHECK_CODE(give_back(other, ref, its, 2), IL_OK);
    all_are_there(space, ref, BOUND);
    all_are_there(other, ref, BOUND);
    all_are_there(space, none, 0);
    CHECK_CODE(unlink_name(space, "b"), IL_OK);
    CHECK(!il_bounded_acquire_fast(space, mine) && il_bounded_release_fast(space, ref, mine) == IL_NOT_GIVEN);
    CHECK(!il_bounded_try(space, ref, mine));
    CHECK_CODE(bounded_acquire(space, ref, mine, for_ever()), IL_STALE);
    CHECK_CODE(give_back(space, ref, mine, 1), IL_STALE);
    CHECK_CODE(il_share_of(space, ref, NULL, &mine), IL_STALE);
    all_are_there(space, find_as(space, "b", IL_KIND_BOUNDED_SEMAPHORE, BOUND + 1), BOUND + 1);
    il_space_close(other);
    done(space, path);
}

/* What a share keeps is there for everybody: its process, who finds none free, a sleeper, and whoever comes after its death or
 * an attempt to forget the name. */
static void bounded_kept(void)
{
    char *path;
    il_space *space = fresh(&path, 16), *other = view_of(space);
    enum { BOUND = 2 };
    il_ref ref = find_as(space, "b", IL_KIND_BOUNDED_SEMAPHORE, BOUND);
    il_share mine = share_of(space, ref), its = share_of(other, ref);
    il_cell *cell = cell_of(space, ref);
    il_u32 *free = &cell->state.shares.free, *hint = &cell->state.shares.hint;
    uint32_t slot;
    for (int way = 0; way < 6; way++) {
        acquire_at_once(other, ref, its);
        il_store_relaxed(hint, 0); /* as one leaves it who has gathered */
        CHECK(il_bounded_release_fast(other, ref, its) == IL_GIVEN);
        CHECK(il_load_relaxed(hint) == 1);
        CHECK(il_load_relaxed(free) == BOUND - 1 && il_bounded_free(space, ref) == BOUND);
        switch (way) {
        case 0:
            CHECK(il_bounded_acquire_fast(other, its) && !il_bounded_acquire_fast(other, its));
            CHECK(il_bounded_release_fast(other, ref, its) == IL_GIVEN);
            break;
        case 1: /* a second one is not kept */
            CHECK_CODE(bounded_acquire(other, ref, its, until_now()), IL_OK);
            CHECK_CODE(bounded_acquire(other, ref, its, until_now()), IL_OK);
            CHECK(il_bounded_free(space, ref) == 0);
            CHECK_CODE(bounded_release(other, ref, its), IL_OK);
            CHECK(il_bounded_release_fast(other, ref, its) == IL_NOT_GIVEN);
            CHECK_CODE(bounded_release(other, ref, its), IL_OK);
            CHECK(il_load_relaxed(free) == BOUND - 1);
            break;
        case 2: /* who waits gets it: kept before, or given while it waits */
            acquire_at_once(space, ref, mine);
            acquire_at_once(space, ref, mine);
            CHECK(il_load_relaxed(hint) == 0 && !il_bounded_acquire_fast(other, its));
            CHECK_CODE(give_back(space, ref, mine, 1), IL_OK);
            acquire_at_once(other, ref, its);
            CHECK_CODE(bounded_acquire(space, ref, mine, until_ns(1 * MS)), IL_TIMEDOUT);
            CHECK(il_load_relaxed(free) == IL_PERMIT_WAITERS);
            CHECK(il_bounded_release_fast(other, ref, its) == IL_NOT_GIVEN);
            CHECK_CODE(bounded_release(other, ref, its), IL_OK);
            CHECK(il_load_relaxed(free) == 1);
            CHECK_CODE(bounded_release(space, ref, mine), IL_OK);
            break;
        case 3: /* an attempt to forget the name, while one has a permit */
            acquire_at_once(space, ref, mine);
            CHECK(il_load_relaxed(&cell->stale) == 0);
            CHECK_CODE(unlink_name(space, "b"), IL_BUSY);
            CHECK(il_load_relaxed(&cell->stale) == 1);
            CHECK_CODE(bounded_release(space, ref, share_of(space, ref)), IL_OK);
            mine = share_of(space, ref), its = share_of(other, ref);
            break;
        default: /* its death, and that it is noticed */
            CHECK(il_load_relaxed(&cell->stale) == 0);
            slot = il_self(other);
            il_space_close(other);
            other = view_of(space);
            if (way == 5) {
                CHECK_CODE(il_reap(space, slot), IL_OK);
                CHECK(il_load_relaxed(&cell->stale) == 1);
            }
            break;
        }
        CHECK(il_bounded_free(space, ref) == BOUND);
        all_are_there(space, ref, BOUND);
        its = share_of(other, ref);
    }
    il_space_close(other);
    done(space, path);
}

/* The permits of the dead come back: to a try, to a sleeper, and whatever was half done when they died. */
static void bounded_deaths(void)
{
    char *path;
    il_space *space = fresh(&path, 16);
    enum { BOUND = 3 };
    il_ref ref = find_as(space, "b", IL_KIND_BOUNDED_SEMAPHORE, BOUND);
    il_state *state = &cell_of(space, ref)->state;
    il_share mine = share_of(space, ref);
    for (int way = 0; way < 6; way++) {
        il_space *dead = view_of(space);
        il_share its = share_of(dead, ref);
        CHECK_CODE(bounded_acquire(space, ref, mine, until_now()), IL_OK);
        CHECK_CODE(bounded_acquire(dead, ref, its, until_now()), IL_OK);
        CHECK_CODE(bounded_acquire(dead, ref, its, until_now()), IL_OK);
        CHECK_CODE(bounded_acquire(space, ref, mine, until_now()), IL_BUSY);
        uint32_t slot = il_self(dead);
        if (way >= 2) {
            /* In the mutex, with the cache of free permits wrong one way or the other. */
            CHECK_CODE(try_lock(dead, ref), IL_OK);
            if (way == 3)
                il_store_relaxed(&state->shares.free, 1); /* the count was not yet written */
            else if (way == 4)
                il_store_relaxed(il_share_count(dead, its), il_load_relaxed(il_share_count(dead, its)) - 1);
            else if (way == 5)
                il_store_relaxed(&state->shares.free, BOUND + 5);
        }
        il_space_close(dead);
        if (way == 1) { /* noticed before anybody needs it */
            CHECK_CODE(il_reap(space, slot), IL_OK);
            CHECK(il_load_relaxed(&cell_of(space, ref)->stale) == 1);
        } else {
            CHECK_CODE(bounded_acquire(space, ref, mine, until_now()), IL_OK);
            CHECK_CODE(give_back(space, ref, mine, 1), IL_OK);
        }
        acquire_at_once(space, ref, mine);
        acquire_at_once(space, ref, mine);
        CHECK_CODE(bounded_acquire(space, ref, mine, until_now()), IL_BUSY);
        CHECK_CODE(give_back(space, ref, mine, BOUND), IL_OK);
        all_are_there(space, ref, BOUND);
        CHECK(il_load_relaxed(&cell_of(space, ref)->mutex.word) == il_ref_key(ref));
        CHECK(records_in_use(space) == 2);
    }
    /* A sleeper, whom a release or a kill lets go on. */
    for (int killed = 0; killed < 2; killed++) {
        signal_pipe held = pipe_new(), leave = pipe_new();
        pid_t children[2];
        for (int i = 0; i < 2; i++) {
            children[i] = check_fork();
            if (children[i] == 0) {
                il_share its = share_of(space, ref);
                for (int n = 0; n < BOUND; n++)
                    CHECK_CODE(bounded_acquire(space, ref, its, for_ever()), IL_OK);
                if (i == 0) {
                    tell(&held);
                    hear(&leave);
                }
                CHECK_CODE(give_back(space, ref, its, BOUND), IL_OK);
                _exit(0);
            }
            if (i == 0)
                hear(&held);
        }
        AWAIT((il_load_relaxed(&state->shares.free) & IL_PERMIT_WAITERS) && is_asleep(children[1]));
        if (killed) {
            check_kill(children[0]);
        } else {
            tell(&leave);
            CHECK_CHILD(children[0]);
        }
        CHECK_CHILD(children[1]);
        all_are_there(space, ref, BOUND);
        pipe_free(&held);
        pipe_free(&leave);
    }
    done(space, path);
}

static void bounded_actor(il_space *space, il_ref ref, il_u32 *inside, il_u32 *turns, uint32_t most)
{
    il_share share = share_of(space, ref);
    for (uint32_t turn = 0; turn < most; turn++) {
        CHECK_CODE(bounded_acquire(space, ref, share, until_ns(60 * SECOND)), IL_OK);
        if (inside != NULL) {
            CHECK(il_add_relaxed(inside, 1) < 2);
            il_add_relaxed(inside, -1u);
        }
        il_add_relaxed(turns, 1);
        CHECK_CODE(bounded_release(space, ref, share), IL_OK);
    }
    _exit(0);
}

static void bounded_contention(void)
{
    char *path;
    il_space *space = fresh(&path, 32);
    enum { ACTORS = 6, BOUND = 2, TURNS = 10000, KILLS = 30 };
    il_ref ref = find_as(space, "b", IL_KIND_BOUNDED_SEMAPHORE, BOUND);
    il_u32 *inside = common(4096), *turns = inside + 64;
    for (int killing = 0; killing < 2; killing++) {
        pid_t children[ACTORS];
        for (int i = 0; i < ACTORS; i++) {
            children[i] = check_fork();
            if (children[i] == 0)
                bounded_actor(space, ref, killing ? NULL : inside, &turns[i], killing ? UINT32_MAX : TURNS);
        }
        for (int kills = 0; killing && kills < KILLS; kills++) {
            int i = kills % ACTORS;
            uint32_t from = il_load_relaxed(&turns[i]);
            AWAIT(il_load_relaxed(&turns[i]) - from >= 50u + (uint32_t)kills);
            check_kill(children[i]);
            children[i] = check_fork();
            if (children[i] == 0)
                bounded_actor(space, ref, NULL, &turns[i], UINT32_MAX);
        }
        for (int i = 0; i < ACTORS; i++) {
            if (killing)
                check_kill(children[i]);
            else
                CHECK_CHILD(children[i]);
        }
        /* What those who left keep is there at once, what the killed had for who tries: some were killed while they reaped. */
        il_share mine = share_of(space, ref);
        for (int i = 0; killing && i < BOUND; i++)
            CHECK_CODE(bounded_acquire(space, ref, mine, until_now()), IL_OK);
        if (killing)
            CHECK_CODE(give_back(space, ref, mine, BOUND), IL_OK);
        all_are_there(space, ref, BOUND);
    }
    munmap(inside, 4096);
    done(space, path);
}

const test bounded_tests[] = {
    {"boundeds", boundeds},
    {"bounded_kept", bounded_kept},
    {"bounded_deaths", bounded_deaths},
    {"bounded_contention", bounded_contention},
    {NULL, NULL},
};
