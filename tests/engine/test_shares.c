/* Shares when names are forgotten or processes replaced: the records are used again, by nobody who must not. */
#include "shares.h"

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
    CHECK(il_rwlock_leave(other, cell_of(other, another), il_share_count(other, its), its));
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
    {"eviction_frees_records", eviction_frees_records},
    {"inherited_share", inherited_share},
    {"record_taken_while_dropping", record_taken_while_dropping},
    {"unlinking_after_the_dead", unlinking_after_the_dead},
    {NULL, NULL},
};
