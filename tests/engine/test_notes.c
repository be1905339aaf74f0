/* Notes of long waits: who waits for whom, and the cycles in them. */
#include "shares.h"

enum { NOTES = 16 };

/* A wait of this kind, as if its first slice had ended. */
static il_wait noted(il_space *space, il_ref wanted, uint64_t agent, uint8_t manner)
{
    il_wait wait = {.deadline_ns = IL_FOREVER, .wanted = wanted, .agent = agent, .manner = manner, .began_ns = il_clock_ns()};
    il__wait_lasts(space, &wait);
    CHECK(wait.note != 0 && !wait.looks);
    return wait;
}

static void hold(il_space *space, il_ref ref, uint64_t token)
{
    il_wait wait = {.deadline_ns = IL_NOW};
    CHECK_CODE(il_mutex_lock(space, mutex_of(space, ref), il_ref_key(ref), token, &wait), IL_OK);
}

static uint32_t holders_of(il_space *space, il_ref ref, il_holding *found)
{
    return il_holders(space, &(il_waiting){.wanted = ref}, found, NOTES);
}

static void notes_come_and_go(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "l");
    il_waiting found[NOTES];
    CHECK(il_waits(space, found, NOTES) == 0);
    il_wait silent = {.deadline_ns = IL_FOREVER, .began_ns = 1};
    il__wait_lasts(space, &silent);
    CHECK(silent.note == 0);
    CHECK_CODE(il_attach(other), IL_OK);
    il_wait wait = noted(other, ref, 77, 0);
    il__wait_lasts(other, &wait);
    CHECK(il_waits(space, found, NOTES) == 1);
    CHECK(found[0].slot == il_self(other) && found[0].wanted == ref && found[0].agent == 77 && found[0].since_ns == wait.began_ns);
    il_wait_has(other, &wait, ref);
    CHECK(il_waits(space, found, 0) == 1);
    il_wait_end(other, &wait);
    CHECK(il_waits(space, found, NOTES) == 0);
    il_wait_end(other, &wait);
    /* What it took is free again, the note and what hung on it. */
    for (uint32_t i = 1; i < il_records_of_levels(1); i++)
        CHECK(il__record_is_left(&space->records[i]) && il_load_relaxed(&space->records[i].state) == 0);
    /* And of one who dies with it. */
    wait = noted(other, ref, 77, 0);
    il_wait_has(other, &wait, ref);
    uint32_t slot = il_self(other);
    il_space_close(other);
    CHECK_CODE(il_reap(space, slot), IL_OK);
    CHECK(il_waits(space, found, NOTES) == 0);
    for (uint32_t i = 1; i < il_records_of_levels(1); i++)
        CHECK(il__record_is_left(&space->records[i]) && il_load_relaxed(&space->records[i].state) == 0);
    done(space, path);
}

static void notes_of_a_real_wait(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "l");
    il_waiting found[NOTES];
    il_holding holders[NOTES];
    hold(other, ref, 5);
    CHECK(holders_of(space, ref, holders) == 1 && holders[0].slot == il_self(other) && holders[0].agent == 5);
    il_wait wait = {.deadline_ns = IL_FOREVER, .restless = true, .wanted = ref, .agent = 6};
    while (wait.slices < 2)
        CHECK_CODE(il_mutex_lock(space, mutex_of(space, ref), il_ref_key(ref), 6, &wait), IL_INTERRUPTED);
    CHECK(il_waits(other, found, NOTES) == 1 && found[0].agent == 6 && found[0].slot == il_self(space));
    CHECK(il_holders(other, &found[0], holders, NOTES) == 1 && holders[0].agent == 5);
    CHECK_CODE(unlock(other, ref), IL_OK);
    CHECK_CODE(il_mutex_lock(space, mutex_of(space, ref), il_ref_key(ref), 6, &wait), IL_OK);
    il_wait_end(space, &wait);
    CHECK(il_waits(space, found, NOTES) == 0);
    CHECK_CODE(unlock(space, ref), IL_OK);
    CHECK(holders_of(space, ref, holders) == 0);
    /* Whoever takes it next has it before it says so: meanwhile it is not the last one's. */
    CHECK(il_mutex_try_fast(mutex_of(space, ref), il_ref_key(ref), il_self(space), 6));
    CHECK(il_mutex_unlock_fast(mutex_of(space, ref), il_ref_key(ref), il_self(space)));
    CHECK(il_mutex_try_bare(mutex_of(space, ref), il_ref_key(ref), il_self(space)));
    CHECK(!il_rlock_mine(space, mutex_of(space, ref), il_ref_key(ref), 6) && holders_of(space, ref, holders) == 0);
    CHECK_CODE(unlock(space, ref), IL_OK);
    il_space_close(other);
    done(space, path);
}

/* A ring of parties, each in a process of its own: all see it, once the last one waits; and no more once one has given up. */
static void cycles_of_owners(void)
{
    char *path;
    il_space *space = fresh(&path, 16);
    enum { MOST = 10 };
    il_space *party[MOST];
    il_ref ref[MOST];
    il_waiting cycle[IL_CYCLE_MOST];
    for (uint32_t i = 0; i < MOST; i++) {
        char name[] = {(char)('a' + i), 0};
        party[i] = view_of(space);
        ref[i] = find(space, name);
        hold(party[i], ref[i], 100 + i);
    }
    for (uint32_t count = 1; count <= MOST; count++) {
        il_wait wait[MOST];
        for (uint32_t i = 0; i < count; i++) {
            wait[i] = noted(party[i], ref[(i + 1) % count], 100 + i, 0);
            CHECK(il_cycle(space, (uint32_t)wait[i].note, cycle) == (i + 1 == count ? count : 0));
        }
        for (uint32_t i = 0; i < count; i++) {
            CHECK(il_cycle(space, (uint32_t)wait[i].note, cycle) == count);
            for (uint32_t j = 0; j < count; j++)
                CHECK(cycle[j].slot == il_self(party[(i + j) % count]) && cycle[j].wanted == ref[(i + j + 1) % count]);
        }
        /* One more, who waits for a party and for whom nobody waits, is in no cycle. */
        il_wait outsider = noted(space, ref[0], 99, 0);
        CHECK(il_cycle(space, (uint32_t)outsider.note, cycle) == 0);
        il_wait_end(space, &outsider);
        /* Another thread of the process that has it is not its owner. */
        il_wait_end(party[0], &wait[0]);
        wait[0] = noted(party[0], ref[1 % count], 98, 0);
        CHECK(il_cycle(space, (uint32_t)wait[count - 1].note, cycle) == 0);
        for (uint32_t i = 0; i < count; i++)
            il_wait_end(party[i], &wait[i]);
    }
    for (uint32_t i = 0; i < MOST; i++) {
        CHECK_CODE(unlock(party[i], ref[i]), IL_OK);
        il_space_close(party[i]);
    }
    done(space, path);
}

/* Two who read, each what the other wants to write. */
static void cycles_of_readers(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_space *party[2] = {view_of(space), view_of(space)};
    il_ref ref[2] = {find_as(space, "a", IL_KIND_RWLOCK, 0), find_as(space, "b", IL_KIND_RWLOCK, 0)};
    il_waiting cycle[IL_CYCLE_MOST];
    il_wait wait[2];
    for (int i = 0; i < 2; i++)
        CHECK_CODE(read_lock(party[i], ref[i], share_of(party[i], ref[i]), for_ever()), IL_OK);
    for (uint32_t i = 0; i < 2; i++) {
        hold(party[i], ref[1 - i], 100 + i); /* the gate */
        wait[i] = noted(party[i], ref[1 - i], 100 + i, 0);
    }
    CHECK(il_cycle(space, (uint32_t)wait[0].note, cycle) == 0); /* which thread of the process reads is not known yet */
    il_wait_has(party[0], &wait[0], ref[0]);
    CHECK(il_cycle(space, (uint32_t)wait[0].note, cycle) == 0);
    il_wait_has(party[1], &wait[1], ref[1]);
    CHECK(il_cycle(space, (uint32_t)wait[0].note, cycle) == 2 && cycle[1].slot == il_self(party[1]));
    CHECK(il_cycle(space, (uint32_t)wait[1].note, cycle) == 2 && cycle[1].slot == il_self(party[0]));
    wait[0].has = true;
    il_wait_end(party[0], &wait[0]);
    CHECK(!wait[0].has); /* or what it reads would not be noted with its next note */
    wait[0] = noted(party[0], ref[1], 100, IL_MANNER_ANYBODY);
    il_wait_has(party[0], &wait[0], ref[0]);
    CHECK(il_cycle(space, (uint32_t)wait[0].note, cycle) == 0); /* anybody may release what it waits for */
    CHECK(il_cycle(space, (uint32_t)wait[1].note, cycle) == 0);
    il_wait_end(party[0], &wait[0]);
    wait[0] = noted(party[0], ref[1], 100, 0);
    il_wait_has(party[0], &wait[0], ref[0]);
    CHECK(il_cycle(space, (uint32_t)wait[1].note, cycle) == 2);
    CHECK(read_unlock(party[0], ref[0], share_of(party[0], ref[0])));
    CHECK(il_cycle(space, (uint32_t)wait[0].note, cycle) == 0);
    for (int i = 0; i < 2; i++) {
        il_wait_end(party[i], &wait[i]);
        il_space_close(party[i]);
    }
    done(space, path);
}

/* One party is told, after a second, at the second look, and once. */
static void looking(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_space *party[2] = {view_of(space), view_of(space)};
    il_ref ref[2] = {find(space, "a"), find(space, "b")};
    il_wait wait[2];
    il_waiting cycle[IL_CYCLE_MOST];
    uint32_t count;
    for (uint32_t i = 0; i < 2; i++)
        hold(party[i], ref[i], 100 + i);
    for (uint32_t i = 0; i < 2; i++) {
        wait[i] = noted(party[i], ref[1 - i], 100 + i, i == 0 ? IL_MANNER_LOGS | IL_MANNER_RAISES : IL_MANNER_LOGS);
        CHECK(il_wait_look(party[i], &wait[i], cycle, &count) == 0 && count == 2 * i);
    }
    /* It is too young: the second look comes when it is a second old. */
    CHECK(wait[1].look_ns == wait[1].began_ns + SECOND);
    CHECK(il_wait_look(party[1], &wait[1], cycle, &count) == 0 && count == 2);
    for (int i = 0; i < 2; i++)
        wait[i].began_ns -= SECOND;
    CHECK(il_wait_look(party[0], &wait[0], cycle, &count) == 0 && count == 2); /* its first one that finds it */
    CHECK(il_wait_look(party[0], &wait[0], cycle, &count) == IL_MANNER_RAISES && cycle[0].slot == il_self(party[0]));
    CHECK(il_wait_look(party[1], &wait[1], cycle, &count) == IL_MANNER_LOGS && cycle[0].slot == il_self(party[1]));
    /* Another wait of the same party is another cycle. */
    il_wait_end(party[0], &wait[0]);
    CHECK(il_wait_look(party[1], &wait[1], cycle, &count) == 0 && count == 0);
    wait[0] = noted(party[0], ref[1], 100, 0);
    CHECK(il_wait_look(party[1], &wait[1], cycle, &count) == 0 && count == 2);
    CHECK(il_wait_look(party[1], &wait[1], cycle, &count) == IL_MANNER_LOGS);
    for (int i = 0; i < 2; i++) {
        il_wait_end(party[i], &wait[i]);
        il_space_close(party[i]);
    }
    done(space, path);
}

const test note_tests[] = {
    {"notes_come_and_go", notes_come_and_go},
    {"notes_of_a_real_wait", notes_of_a_real_wait},
    {"cycles_of_owners", cycles_of_owners},
    {"cycles_of_readers", cycles_of_readers},
    {"looking", looking},
    {NULL, NULL},
};
