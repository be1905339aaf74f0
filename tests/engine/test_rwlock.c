/* The reader-writer lock: who excludes whom, and what the dead had comes back. */
#include "shares.h"

/* `orphan`: whether the last writer died, if it is wanted. */
static int write_lock(il_space *space, il_ref ref, il_wait wait, bool *orphan)
{
    int code = IL_OK;
    bool drained = false;
    wait.orphan = false;
    if (il_self(space) != 0 && il_rwlock_gate_fast(mutex_of(space, ref), il_ref_key(ref), il_self(space), HOLDER))
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

const test rwlock_tests[] = {
    {"rwlocks", rwlocks},
    {"rwlock_deaths", rwlock_deaths},
    {"rwlock_sleepers", rwlock_sleepers},
    {"rwlock_contention", rwlock_contention},
    {NULL, NULL},
};
