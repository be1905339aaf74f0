/* The kinds with shares: reader-writer lock and bounded semaphore. Who excludes whom, what the dead had comes back, and the
 * records of names that are forgotten are used again. */
#include "basic.h"

enum { HOLDER = 7 };

static il_share share_of(il_space *space, il_ref ref)
{
    il_share share = 0;
    CHECK_CODE(il_share_of(space, ref, NULL, &share), IL_OK);
    return share;
}

/* --- reader-writer lock, as the binding uses it --- */

static int read_lock(il_space *space, il_ref ref, il_share share, il_wait wait)
{
    if (il_rwlock_read_fast(space, cell_of(space, ref), il_ref_key(ref), share))
        return IL_OK;
    return il_rwlock_read(space, ref, share, HOLDER, false, &wait);
}

static bool read_unlock(il_space *space, il_ref ref, il_share share)
{
    return il_rwlock_leave(cell_of(space, ref), il_share_count(space, share), share);
}

/* `orphan`: whether the last writer died, if it is wanted. */
static int write_lock(il_space *space, il_ref ref, il_wait wait, bool *orphan)
{
    int code = IL_OK;
    bool drained = false;
    wait.orphan = false;
    if (il_self(space) != 0 && il_mutex_try_fast(mutex_of(space, ref), il_ref_key(ref), il_self(space), HOLDER))
        drained = il_rwlock_is_drained(space, ref);
    else
        code = lock_with(space, ref, &wait);
    if (code == IL_OK && !drained) {
        code = il_rwlock_drain(space, ref, &wait);
        if (code != IL_OK)
            il_rwlock_undo(space, ref, &wait);
    }
    if (orphan != NULL)
        *orphan = wait.orphan;
    return code;
}

static void rwlocks(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find_as(space, "rw", IL_KIND_RWLOCK, 0);
    il_share mine = share_of(space, ref), its = share_of(other, ref);
    CHECK(mine != its && share_of(space, ref) == mine && share_of(other, ref) == its);
    CHECK(records_in_use(space) == 2);
    /* Readers together, as often as they like; a writer not. */
    CHECK_CODE(read_lock(space, ref, mine, until_now()), IL_OK);
    CHECK_CODE(read_lock(other, ref, its, until_now()), IL_OK);
    CHECK_CODE(read_lock(other, ref, its, until_now()), IL_OK);
    CHECK(il_rwlock_readers(space, ref) == 3);
    CHECK_CODE(write_lock(space, ref, until_now(), NULL), IL_BUSY);
    uint64_t began = il_clock_ns();
    CHECK_CODE(write_lock(space, ref, until_ns(7 * MS), NULL), IL_TIMEDOUT);
    CHECK(il_clock_ns() - began >= 7 * MS);
    CHECK_CODE(unlink_name(space, "rw"), IL_BUSY);
    CHECK(read_unlock(space, ref, mine) && read_unlock(other, ref, its));
    CHECK(!read_unlock(space, ref, mine));
    CHECK_CODE(write_lock(space, ref, until_now(), NULL), IL_BUSY);
    CHECK_CODE(unlink_name(space, "rw"), IL_BUSY);
    /* A waiting writer stops newcomers, but not who reads already. */
    CHECK_CODE(try_lock(space, ref), IL_OK);
    il_wait now = until_now();
    CHECK_CODE(il_rwlock_drain(space, ref, &now), IL_BUSY);
    CHECK_CODE(read_lock(other, ref, its, until_now()), IL_BUSY);
    CHECK_CODE(il_rwlock_read(other, ref, its, HOLDER, true, &now), IL_OK);
    CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_NOT_HELD); /* only at the gate */
    CHECK_CODE(il_rwlock_downgrade(space, ref, mine), IL_NOT_HELD);
    CHECK(read_unlock(other, ref, its) && read_unlock(other, ref, its) && !read_unlock(other, ref, its));
    CHECK_CODE(il_rwlock_drain(space, ref, &now), IL_OK);
    /* A writer alone. */
    CHECK_CODE(read_lock(other, ref, its, until_now()), IL_BUSY);
    CHECK_CODE(read_lock(other, ref, its, until_ns(3 * MS)), IL_TIMEDOUT);
    CHECK_CODE(read_lock(space, ref, mine, until_now()), IL_BUSY);
    now = until_now();
    CHECK_CODE(il_rwlock_read(space, ref, mine, HOLDER, true, &now), IL_BUSY);
    CHECK_CODE(write_lock(other, ref, until_now(), NULL), IL_BUSY);
    CHECK_CODE(il_rwlock_write_unlock(other, ref, 0), IL_NOT_OWNER);
    CHECK_CODE(il_rwlock_downgrade(other, ref, its), IL_NOT_HELD);
    CHECK_CODE(unlink_name(other, "rw"), IL_BUSY);
    CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_OK);
    CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_NOT_HELD);
    /* Down, with no writer in between, and readers let in. */
    CHECK_CODE(write_lock(other, ref, for_ever(), NULL), IL_OK);
    CHECK_CODE(il_rwlock_downgrade(other, ref, its), IL_OK);
    CHECK(il_rwlock_readers(space, ref) == 1);
    CHECK_CODE(write_lock(space, ref, until_now(), NULL), IL_BUSY);
    CHECK_CODE(read_lock(space, ref, mine, until_now()), IL_OK);
    CHECK(read_unlock(other, ref, its) && read_unlock(space, ref, mine));
    CHECK(il_load_relaxed(&mutex_of(space, ref)->word) == il_ref_key(ref));
    /* Gone, and come back. */
    CHECK_CODE(unlink_name(space, "rw"), IL_OK);
    CHECK(records_in_use(space) == 0);
    CHECK(!il_rwlock_read_fast(space, cell_of(space, ref), il_ref_key(ref), mine));
    CHECK(!read_unlock(space, ref, mine));
    CHECK_CODE(read_lock(space, ref, mine, for_ever()), IL_STALE);
    CHECK_CODE(lock_with(space, ref, &now), IL_STALE);
    CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_STALE);
    CHECK_CODE(il_share_of(space, ref, NULL, &mine), IL_STALE);
    il_ref again = find_as(space, "rw", IL_KIND_RWLOCK, 0);
    CHECK(again != ref);
    mine = share_of(space, again);
    CHECK_CODE(read_lock(space, again, mine, until_now()), IL_OK);
    CHECK(!read_unlock(other, again, its)); /* the share of the one before */
    CHECK(read_unlock(space, again, mine));
    il_space_close(other);
    done(space, path);
}

/* What a dead process leaves: a reading, a writing, the gate, a way down. */
static void rwlock_deaths(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_ref ref = find_as(space, "rw", IL_KIND_RWLOCK, 0);
    il_share mine = share_of(space, ref);
    bool orphan;
    for (int round = 0; round < 3; round++) {
        /* A reader, twice over: a try to write succeeds at once, and nothing is marked. */
        il_space *dead = view_of(space);
        il_share its = share_of(dead, ref);
        CHECK_CODE(read_lock(dead, ref, its, until_now()), IL_OK);
        CHECK_CODE(read_lock(dead, ref, its, until_now()), IL_OK);
        CHECK_CODE(write_lock(space, ref, until_now(), NULL), IL_BUSY);
        il_space_close(dead);
        CHECK_CODE(write_lock(space, ref, until_now(), &orphan), IL_OK);
        CHECK(!orphan && il_rwlock_readers(space, ref) == 0);
        CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_OK);
        /* A writer: the mark stays through readers and through one who gives up, until a writer leaves in good order. */
        dead = view_of(space);
        CHECK_CODE(write_lock(dead, ref, until_now(), &orphan), IL_OK);
        CHECK(!orphan);
        il_space_close(dead);
        for (int reading = 0; reading < 2; reading++) {
            CHECK_CODE(read_lock(space, ref, mine, until_now()), IL_OK);
            CHECK(il_load_relaxed(&mutex_of(space, ref)->word) & IL_ORPHAN);
            dead = view_of(space);
            CHECK_CODE(write_lock(dead, ref, until_now(), &orphan), IL_BUSY);
            CHECK(orphan && (il_load_relaxed(&mutex_of(space, ref)->word) & IL_ORPHAN));
            CHECK(read_unlock(space, ref, mine));
            il_space_close(dead);
        }
        dead = view_of(space);
        CHECK_CODE(write_lock(dead, ref, until_now(), &orphan), IL_OK);
        CHECK(orphan);
        il_space_close(dead);
        CHECK_CODE(write_lock(space, ref, until_now(), &orphan), IL_OK);
        CHECK(orphan);
        CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_OK);
        CHECK(il_load_relaxed(&mutex_of(space, ref)->word) == il_ref_key(ref));
        /* Only at the gate, before or while draining: it wrote nothing. */
        for (int draining = 0; draining < 2; draining++) {
            dead = view_of(space);
            CHECK_CODE(read_lock(space, ref, mine, until_now()), IL_OK);
            CHECK_CODE(try_lock(dead, ref), IL_OK);
            il_wait now = until_now();
            if (draining)
                CHECK_CODE(il_rwlock_drain(dead, ref, &now), IL_BUSY);
            il_space_close(dead);
            CHECK(read_unlock(space, ref, mine));
            CHECK_CODE(write_lock(space, ref, until_now(), &orphan), IL_OK);
            CHECK(!orphan);
            CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_OK);
        }
        /* On its way down it had written in good order. */
        dead = view_of(space);
        its = share_of(dead, ref);
        CHECK_CODE(write_lock(dead, ref, until_now(), NULL), IL_OK);
        CHECK_CODE(il_rwlock_downgrade(dead, ref, its), IL_OK);
        il_space_close(dead);
        CHECK_CODE(write_lock(space, ref, until_now(), &orphan), IL_OK);
        CHECK(!orphan);
        CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_OK);
        /* The records of the dead are taken over, so there are as many as there were users at a time. */
        CHECK(records_in_use(space) <= 2);
    }
    done(space, path);
}

/* Sleepers: a writer behind readers, and a reader and a writer behind a writer; the one they wait for leaves or is killed. */
static void rwlock_sleepers(void)
{
    char *path;
    il_space *space = fresh(&path, 16);
    il_ref ref = find_as(space, "rw", IL_KIND_RWLOCK, 0);
    il_share mine = share_of(space, ref);
    for (int way = 0; way < 8; way++) {
        bool holder_writes = way & 1, sleeper_writes = way & 2, killed = way & 4;
        if (!holder_writes && !sleeper_writes)
            continue;
        signal_pipe held = pipe_new(), leave = pipe_new();
        pid_t holder = check_fork();
        if (holder == 0) {
            il_share its = share_of(space, ref);
            if (holder_writes)
                CHECK_CODE(write_lock(space, ref, for_ever(), NULL), IL_OK);
            else
                CHECK_CODE(read_lock(space, ref, its, for_ever()), IL_OK);
            tell(&held);
            hear(&leave);
            if (holder_writes)
                CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_OK);
            else
                CHECK(read_unlock(space, ref, its));
            _exit(0);
        }
        hear(&held);
        pid_t sleeper = check_fork();
        if (sleeper == 0) {
            il_share its = share_of(space, ref);
            bool orphan = false;
            if (sleeper_writes)
                CHECK_CODE(write_lock(space, ref, for_ever(), &orphan), IL_OK);
            else
                CHECK_CODE(read_lock(space, ref, its, for_ever()), IL_OK);
            if (sleeper_writes)
                CHECK(orphan == (killed && holder_writes));
            if (sleeper_writes)
                CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_OK);
            else
                CHECK(read_unlock(space, ref, its));
            _exit(0);
        }
        uint32_t waits = holder_writes ? IL_WAITERS : IL_OWNER; /* at the gate, or in it */
        AWAIT((il_load_relaxed(&mutex_of(space, ref)->word) & waits) && is_asleep(sleeper));
        if (killed)
            check_kill(holder);
        else
            tell(&leave);
        CHECK_CHILD(sleeper);
        if (!killed)
            CHECK_CHILD(holder);
        pipe_free(&held);
        pipe_free(&leave);
        CHECK_CODE(write_lock(space, ref, for_ever(), NULL), IL_OK);
        CHECK_CODE(il_rwlock_downgrade(space, ref, mine), IL_OK);
        CHECK(read_unlock(space, ref, mine));
    }
    done(space, path);
}

/* Readers and writers over two words that writers change one after the other, some killed in between; who writes next puts
 * the words right. */
typedef struct {
    volatile uint64_t first, second;
    volatile uint32_t writing;
    il_u32 turns[8], orphans;
} page;

enum { ACTORS = 6 };

static void rwlock_actor(il_space *space, il_ref ref, page *on, int i, uint32_t turns)
{
    il_share share = share_of(space, ref);
    for (uint32_t turn = 0; turn < turns; turn++) {
        bool orphan;
        if ((turn + (uint32_t)i) % 4 == 0) {
            CHECK_CODE(write_lock(space, ref, until_ns(60 * SECOND), &orphan), IL_OK);
            CHECK(orphan || (on->writing == 0 && on->first == on->second));
            if (orphan) {
                il_add_relaxed(&on->orphans, 1);
                on->second = on->first;
            }
            on->writing = (uint32_t)getpid();
            on->first++;
            on->second++;
            CHECK(on->writing == (uint32_t)getpid() && on->first == on->second);
            on->writing = 0;
            if (turn % 8 == 0) {
                CHECK_CODE(il_rwlock_downgrade(space, ref, share), IL_OK);
                CHECK(on->writing == 0 && on->first == on->second);
                CHECK(read_unlock(space, ref, share));
            } else {
                CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_OK);
            }
        } else {
            CHECK_CODE(read_lock(space, ref, share, until_ns(60 * SECOND)), IL_OK);
            /* The mark cannot change while we read. */
            if (!(il_load_relaxed(&mutex_of(space, ref)->word) & IL_ORPHAN))
                CHECK(on->writing == 0 && on->first == on->second);
            CHECK(read_unlock(space, ref, share));
        }
        il_add_relaxed(&on->turns[i], 1);
    }
    _exit(0);
}

static void rwlock_contention(void)
{
    char *path;
    il_space *space = fresh(&path, 32);
    enum { TURNS = 8000, KILLS = 20 };
    il_ref ref = find_as(space, "rw", IL_KIND_RWLOCK, 0);
    page *on = common(4096);
    for (int killing = 0; killing < 2; killing++) {
        pid_t children[ACTORS];
        memset(on, 0, sizeof *on);
        for (int i = 0; i < ACTORS; i++) {
            children[i] = check_fork();
            if (children[i] == 0)
                rwlock_actor(space, ref, on, i, killing ? UINT32_MAX : TURNS);
        }
        for (int kills = 0; killing && kills < KILLS; kills++) {
            int i = kills % ACTORS;
            uint32_t from = il_load_relaxed(&on->turns[i]);
            AWAIT(il_load_relaxed(&on->turns[i]) - from >= 50u + (uint32_t)kills);
            check_kill(children[i]);
            children[i] = check_fork();
            if (children[i] == 0)
                rwlock_actor(space, ref, on, i, UINT32_MAX);
        }
        for (int i = 0; i < ACTORS; i++) {
            if (killing)
                check_kill(children[i]);
            else
                CHECK_CHILD(children[i]);
        }
        CHECK(killing || on->first == ACTORS * TURNS / 4);
        CHECK_CODE(write_lock(space, ref, until_ns(60 * SECOND), NULL), IL_OK);
        CHECK_CODE(il_rwlock_write_unlock(space, ref, 0), IL_OK);
        CHECK(il_rwlock_readers(space, ref) == 0 && records_in_use(space) <= ACTORS + 3);
    }
    munmap(on, 4096);
    done(space, path);
}

/* --- bounded semaphore --- */

static int bounded_acquire(il_space *space, il_ref ref, il_share share, il_wait wait)
{
    if (il_bounded_acquire_fast(space, share) || il_bounded_try(space, ref, share))
        return IL_OK;
    return il_bounded_acquire(space, ref, share, HOLDER, &wait);
}

static int give_back(il_space *space, il_ref ref, il_share share, uint32_t count)
{
    il_wait wait = for_ever();
    return il_bounded_release(space, ref, share, HOLDER, count, &wait);
}

static int bounded_release(il_space *space, il_ref ref, il_share share)
{
    int given = il_bounded_release_fast(space, ref, share);
    return given == IL_GIVEN ? IL_OK : give_back(space, ref, share, given == IL_NOT_GIVEN ? 1 : 0);
}

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
    enum { BOUND = 2, TURNS = 10000, KILLS = 30 };
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

/* --- forgetting --- */

/* More names than the table keeps: whose turn it is takes the cell of an idle one, and the records that went with it are
 * used again. What is in use, or has something to remember, stays. */
static void eviction_frees_records(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    enum { NAMES = 100000 };
    il_ref read = find_as(space, "read", IL_KIND_RWLOCK, 0), taken = find_as(space, "taken", IL_KIND_BOUNDED_SEMAPHORE, 2);
    il_ref event = find_as(space, "event", IL_KIND_EVENT, 0);
    il_ref semaphore = find_as(space, "semaphore", IL_KIND_SEMAPHORE, il_semaphore_parameter(1, 1));
    il_ref condition = find_as(space, "condition", IL_KIND_CONDITION, 0);
    il_ref barrier = find_as(space, "barrier", IL_KIND_BARRIER, 2);
    il_share reads = share_of(space, read), takes = share_of(space, taken);
    il_ticket waits;
    uint32_t place, half = 0, levels = 0;
    il_wait wait = for_ever();
    CHECK_CODE(read_lock(space, read, reads, until_now()), IL_OK);
    CHECK_CODE(bounded_acquire(space, taken, takes, until_now()), IL_OK);
    CHECK_CODE(il_event_set(space, cell_of(space, event), il_ref_key(event)), IL_OK);
    CHECK_CODE(il_condition_enter(space, condition, &wait, &waits), IL_OK);
    CHECK_CODE(il_barrier_enter(space, barrier, &wait, &waits, &place), IL_OK);
    for (uint32_t i = 0; i < NAMES; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%u", i);
        if (i & 1) {
            il_ref ref = find_as(space, name, IL_KIND_RWLOCK, 0);
            il_share share = share_of(space, ref);
            CHECK_CODE(read_lock(space, ref, share, until_now()), IL_OK);
            CHECK(read_unlock(space, ref, share));
        } else {
            il_ref ref = find_as(space, name, IL_KIND_BOUNDED_SEMAPHORE, 1);
            il_share share = share_of(space, ref);
            CHECK_CODE(bounded_acquire(space, ref, share, until_now()), IL_OK);
            CHECK_CODE(bounded_release(space, ref, share), IL_OK);
        }
        if (i == NAMES / 2) {
            half = records_in_use(space);
            levels = il_load_relaxed(&space->header->record_levels);
        }
    }
    CHECK(il_load_relaxed(&space->header->levels) == IL_SOFT_LEVELS);
    CHECK(records_in_use(space) <= il_cells_of_levels(IL_SOFT_LEVELS) && half <= il_cells_of_levels(IL_SOFT_LEVELS));
    CHECK(il_load_relaxed(&space->header->record_levels) == levels);
    CHECK(find_as(space, "read", IL_KIND_RWLOCK, 0) == read && find_as(space, "event", IL_KIND_EVENT, 0) == event);
    CHECK(find_as(space, "taken", IL_KIND_BOUNDED_SEMAPHORE, 2) == taken);
    CHECK(find_as(space, "semaphore", IL_KIND_SEMAPHORE, il_semaphore_parameter(1, 1)) == semaphore);
    CHECK(find_as(space, "condition", IL_KIND_CONDITION, 0) == condition);
    CHECK(find_as(space, "barrier", IL_KIND_BARRIER, 2) == barrier);
    CHECK(read_unlock(space, read, reads));
    CHECK_CODE(bounded_release(space, taken, takes), IL_OK);
    done(space, path);
}

/* A parent reads, forks and dies. Its child gets the parent's process slot, and takes the parent's share for its own, since
 * the slot's number is the same. The record has no owner any more: nobody would notice the child's death. */
static void inherited_share(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *parent = view_of(space), *child = view_of(space);
    il_ref ref = find_as(space, "rw", IL_KIND_RWLOCK, 0);
    CHECK_CODE(il_attach(space), IL_OK);
    il_share kept = share_of(parent, ref);
    uint32_t slot = il_self(parent);
    il_space_close(parent);
    CHECK_CODE(il_attach(child), IL_OK); /* by the use of some other object */
    CHECK(il_self(child) == slot);
    bool reads = il_rwlock_read_fast(child, cell_of(child, ref), il_ref_key(ref), kept);
    CHECK(!reads); /* as kept_share() of the binding has it */
    il_space_close(child);
    done(space, path);
}

/* A record left by the dead in an object's list is free as soon as its object is being forgotten, but before it is known
 * whether that can be: in between, another process makes it its share of another object. */
static void record_taken_while_dropping(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *dead = view_of(space), *other = view_of(space);
    il_ref ref = find_as(space, "rw", IL_KIND_RWLOCK, 0), another = find_as(space, "another", IL_KIND_RWLOCK, 0);
    CHECK_CODE(il_attach(space), IL_OK);
    il_share left = share_of(dead, ref);
    uint32_t slot = il_self(dead);
    il_space_close(dead);
    CHECK_CODE(il_reap(space, slot), IL_OK);
    /* As seize() of il_table.c begins. */
    il_cell *cell = cell_of(space, ref);
    il_store_release(&cell->mutex.word, (il_ref_key(ref) + (1ull << 32)) | IL_FILLING | il_self(space));
    /* Meanwhile. */
    CHECK_CODE(il_attach(other), IL_OK);
    il_store_relaxed(&space->header->record_hint, (uint32_t)left);
    il_share its = share_of(other, another);
    CHECK(il_rwlock_read_fast(other, cell_of(other, another), il_ref_key(another), its));
    CHECK((uint32_t)its != (uint32_t)left);
    /* As it goes on. */
    CHECK(il__shares_drop(space, cell));
    il_store_release(&cell->mutex.word, il_ref_key(ref) + (1ull << 32));
    CHECK(il_rwlock_leave(cell_of(other, another), il_share_count(other, its), its));
    il_space_close(other);
    done(space, path);
}

/* The only ones who have something of an object are dead: its name may go. */
static void unlinking_after_the_dead(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    for (int taken = 0; taken < 2; taken++) {
        il_space *dead = view_of(space);
        il_ref ref = taken ? find_as(space, "b", IL_KIND_BOUNDED_SEMAPHORE, 1) : find_as(space, "rw", IL_KIND_RWLOCK, 0);
        il_share its = share_of(dead, ref);
        if (taken)
            CHECK_CODE(bounded_acquire(dead, ref, its, until_now()), IL_OK); /* not fast, if it got the other's stale cell */
        else
            CHECK(il_rwlock_read_fast(dead, cell_of(dead, ref), il_ref_key(ref), its));
        CHECK_CODE(unlink_name(space, taken ? "b" : "rw"), IL_BUSY);
        il_space_close(dead);
        CHECK_CODE(unlink_name(space, taken ? "b" : "rw"), IL_OK);
    }
    done(space, path);
}

const test share_tests[] = {
    {"rwlocks", rwlocks},
    {"rwlock_deaths", rwlock_deaths},
    {"rwlock_sleepers", rwlock_sleepers},
    {"rwlock_contention", rwlock_contention},
    {"boundeds", boundeds},
    {"bounded_kept", bounded_kept},
    {"bounded_deaths", bounded_deaths},
    {"bounded_contention", bounded_contention},
    {"eviction_frees_records", eviction_frees_records},
    {"inherited_share", inherited_share},
    {"record_taken_while_dropping", record_taken_while_dropping},
    {"unlinking_after_the_dead", unlinking_after_the_dead},
    {NULL, NULL},
};
