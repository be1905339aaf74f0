/* What the engine does not yet live up to: run only when named. A test that has come to pass goes to another list. */
#include "basic.h"

static il_share share_of(il_space *space, il_ref ref)
{
    il_share share = 0;
    CHECK_CODE(il_share_of(space, ref, &share), IL_OK);
    return share;
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
            CHECK(il_bounded_acquire_fast(dead, ref, its));
        else
            CHECK(il_rwlock_read_fast(dead, cell_of(dead, ref), il_ref_key(ref), its));
        CHECK_CODE(unlink_name(space, taken ? "b" : "rw"), IL_BUSY);
        il_space_close(dead);
        CHECK_CODE(unlink_name(space, taken ? "b" : "rw"), IL_OK);
    }
    done(space, path);
}

const test open_tests[] = {
    {"inherited_share", inherited_share},
    {"record_taken_while_dropping", record_taken_while_dropping},
    {"unlinking_after_the_dead", unlinking_after_the_dead},
    {NULL, NULL},
};
