/* Names: found, kept apart, evicted, listed, forgotten. */
#include "basic.h"

static void names(void)
{
    char *path, name[IL_NAME_MAX];
    il_space *space = fresh(&path, 8);
    il_ref a = find(space, "a"), b = find(space, "b"), ref;
    uint8_t found;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    CHECK(a != b && il_ref_key(a) != 0 && find(space, "a") == a && find(space, "b") == b);
    CHECK(il_ref_cell(space, a)->name_length == 1 && strcmp(il_ref_cell(space, a)->name, "a") == 0);

    /* Any bytes, any length. */
    memset(name, 'x', sizeof name);
    il_ref refs[IL_NAME_MAX + 1];
    for (size_t length = 0; length <= IL_NAME_MAX; length++) {
        CHECK_CODE(il_table_resolve(space, name, length, IL_KIND_LOCK, 0, &wait, &refs[length], &found), IL_OK);
        CHECK(il_ref_cell(space, refs[length])->name_length == length);
        for (size_t i = 0; i < length; i++)
            CHECK(refs[i] != refs[length]);
    }
    for (size_t length = 0; length <= IL_NAME_MAX; length++) {
        CHECK_CODE(il_table_resolve(space, name, length, IL_KIND_LOCK, 0, &wait, &ref, &found), IL_OK);
        CHECK(ref == refs[length]);
    }
    CHECK_CODE(il_table_resolve(space, "a\0b", 3, IL_KIND_LOCK, 0, &wait, &ref, &found), IL_OK);
    CHECK(ref != a);
    done(space, path);
}

static void kinds(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    uint8_t found = 0;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    il_ref lock = find(space, "lock"), ref;

    /* In use by a living process, this one or another: refused, and told as what. */
    CHECK_CODE(il_table_resolve(space, "lock", 4, IL_KIND_RLOCK, 0, &wait, &ref, &found), IL_KIND);
    CHECK(found == IL_KIND_LOCK);
    CHECK_CODE(il_table_resolve(other, "lock", 4, IL_KIND_RLOCK, 0, &wait, &ref, &found), IL_KIND);
    CHECK_CODE(il_table_resolve(other, "lock", 4, IL_KIND_LOCK, 1, &wait, &ref, &found), IL_PARAMETER);
    CHECK(find(space, "lock") == lock);

    /* Left idle by a dead one: free for any kind, and the old reference is stale. */
    ref = find(other, "left");
    CHECK_CODE(try_lock(other, ref), IL_OK);
    CHECK_CODE(unlock(other, ref), IL_OK);
    uint64_t fence = fence_of(space, ref);
    il_space_close(other);
    il_ref anew;
    CHECK_CODE(resolve(space, "left", IL_KIND_RLOCK, &anew), IL_OK);
    CHECK(anew != ref && il_ref_cell(space, anew) == il_ref_cell(space, ref));
    CHECK_CODE(try_lock(space, ref), IL_STALE);
    CHECK(fence_of(space, anew) >= fence);

    /* Left held by a dead one: still what it was, until its state is dealt with. */
    other = view_of(space);
    ref = find(other, "held");
    CHECK_CODE(try_lock(other, ref), IL_OK);
    il_space_close(other);
    CHECK_CODE(resolve(space, "held", IL_KIND_RLOCK, &anew), IL_KIND);
    CHECK_CODE(try_lock(space, ref), IL_OK);
    done(space, path);
}

static void unlinking(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    CHECK_CODE(unlink_name(space, "x"), IL_ABSENT);
    il_ref ref = find(space, "x");
    for (int i = 0; i < 5; i++) {
        CHECK_CODE(try_lock(space, ref), IL_OK);
        CHECK_CODE(unlink_name(space, "x"), IL_BUSY);
        CHECK_CODE(unlock(space, ref), IL_OK);
    }
    uint64_t fence = fence_of(space, ref);
    CHECK_CODE(unlink_name(space, "x"), IL_OK);
    CHECK_CODE(unlink_name(space, "x"), IL_ABSENT);
    CHECK(!il_mutex_try_fast(mutex_of(space, ref), il_ref_key(ref), il_self(space), 7));
    CHECK_CODE(try_lock(space, ref), IL_STALE);
    CHECK_CODE(unlock(space, ref), IL_STALE);
    il_ref anew = find(space, "x");
    CHECK(anew != ref);
    CHECK_CODE(try_lock(space, anew), IL_OK);
    CHECK(fence_of(space, anew) > fence);
    CHECK_CODE(unlock(space, anew), IL_OK);
    done(space, path);
}

/* Waits in vain until the lock is reserved: on a slow machine the deadline may come before the waiter is old enough. */
static void wait_until_reserved(il_space *space, il_ref ref)
{
    do
        CHECK_CODE(lock_for(space, ref, 5 * MS), IL_TIMEDOUT);
    while (!(il_load_relaxed(&mutex_of(space, ref)->word) & IL_RESERVED));
}

/* A name whose waiters gave up, and whose owner then died, is held and waited for by nobody: it can be unlinked. */
static void unlinking_after_waiters(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "x");
    CHECK_CODE(try_lock(other, ref), IL_OK);
    wait_until_reserved(space, ref);
    CHECK_CODE(unlock(other, ref), IL_OK);
    CHECK_CODE(unlink_name(space, "x"), IL_OK);

    ref = find(space, "x");
    CHECK_CODE(try_lock(other, ref), IL_OK);
    wait_until_reserved(space, ref);
    uint32_t dead = il_self(other);
    il_space_close(other);
    CHECK_CODE(il_reap(space, dead), IL_OK);
    check_sleep_ms(5); /* longer than a reservation counts */
    CHECK_CODE(unlink_name(space, "x"), IL_OK);

    /* A heir that was woken for a reserved lock, waited some more, and died. */
    ref = find(space, "x");
    il_store_relaxed(&mutex_of(space, ref)->word, il_ref_key(ref) | IL_RESERVED | IL_WAITERS);
    il_store_relaxed(&mutex_of(space, ref)->reserved_ns, il_clock_ns());
    check_sleep_ms(5);
    CHECK_CODE(unlink_name(space, "x"), IL_OK);
    done(space, path);
}

/* What was locked is unlocked, even when the name itself has gone with the end of the file. */
static void truncated_meanwhile(void)
{
    enum { COUNT = 3000 };
    char *path, name[32];
    il_space *space = fresh(&path, 8);
    il_wait wait = {.deadline_ns = IL_FOREVER};
    for (int i = 0; i < COUNT; i++) { /* of several levels */
        snprintf(name, sizeof name, "n%d", i);
        find(space, name);
    }
    for (int i = COUNT - 1; i >= 0; i--) {
        uint32_t index = 0;
        snprintf(name, sizeof name, "n%d", i);
        CHECK_CODE(il__name_lock(space, name, strlen(name), &wait, &index), IL_OK);
        CHECK_CODE(il__name_unlock(space, index, IL_OK), IL_OK);
        for (uint32_t stripe = 0; stripe < IL_STRIPES; stripe++)
            CHECK((il_load_relaxed(&space->stripes[stripe].word) & IL_OWNER) == 0);
        if (i == 0) {
            CHECK_CODE(il__name_lock(space, name, strlen(name), &wait, &index), IL_OK);
            CHECK(truncate(path, (off_t)((unsigned char *)space->records - space->base)) == 0);
            CHECK_CODE(il__name_unlock(space, index, (int)space->cells[index].hash), IL_WIPED);
        }
    }
    for (uint32_t stripe = 0; stripe < IL_STRIPES; stripe++)
        CHECK((il_load_relaxed(&space->stripes[stripe].word) & IL_OWNER) == 0);
    done(space, path);
}

static void listing(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    enum { COUNT = 1000 };
    static unsigned char seen[COUNT];
    static il_entry entries[64];
    char name[32];
    int total = 0;
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "n%d", i);
        il_ref ref = find(space, name);
        if (i % 3 == 0)
            CHECK_CODE(try_lock(space, ref), IL_OK);
    }
    for (uint32_t stripe = 0; stripe < IL_STRIPES; stripe++) {
        il_wait wait = {.deadline_ns = IL_FOREVER};
        int count = il_table_list(space, stripe, entries, 64, &wait);
        CHECK(count >= 0 && count <= 64);
        for (int i = 0; i < count; i++) {
            int number = atoi(entries[i].name + 1);
            CHECK(number < COUNT && seen[number]++ == 0 && entries[i].kind == IL_KIND_LOCK);
            CHECK(((entries[i].half & IL_OWNER) != 0) == (number % 3 == 0));
            il_facts facts;
            CHECK_CODE(il_table_look(space, entries[i].name, entries[i].length, &wait, &facts), IL_OK);
            CHECK(facts.ref == entries[i].ref && facts.half == entries[i].half && facts.kind == IL_KIND_LOCK);
            CHECK(facts.fence == entries[i].fence && facts.taken == (number % 3 == 0) && facts.dead.pid == 0);
        }
        total += count;
    }
    CHECK(total == COUNT);
    static il_glance glances[COUNT];
    int held = 0;
    CHECK(il_table_glance(space, NULL, 0) == COUNT && il_table_glance(space, glances, COUNT) == COUNT);
    for (int i = 0; i < COUNT; i++) {
        bool has = glances[i].holder != 0;
        held += has;
        CHECK(glances[i].kind == IL_KIND_LOCK && has == ((glances[i].half & IL_OWNER) != 0));
        CHECK(glances[i].fence == il_ref_cell(space, glances[i].ref)->fence_base + has);
    }
    CHECK(held == (COUNT + 2) / 3);
    il_wait wait = {.deadline_ns = IL_FOREVER};
    il_facts none;
    CHECK_CODE(il_table_look(space, "nobody made it", 14, &wait, &none), IL_ABSENT);
    CHECK_CODE(il_table_look(space, "nobody made it", 14, &wait, &none), IL_ABSENT); /* asking has not made it */
    done(space, path);
}

static void eviction(void)
{
    char *path, name[32];
    il_space *space = fresh(&path, 8);
    enum { COUNT = 150000, HELD = 50 };
    static il_ref refs[COUNT];
    static uint64_t fences[COUNT];
    il_ref held[HELD];
    for (int i = 0; i < HELD; i++) {
        snprintf(name, sizeof name, "held%d", i);
        held[i] = find(space, name);
        CHECK_CODE(try_lock(space, held[i]), IL_OK);
    }
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "n%d", i);
        refs[i] = find(space, name);
        for (int turn = 0; turn <= i % 3; turn++) {
            CHECK_CODE(try_lock(space, refs[i]), IL_OK);
            uint64_t fence = fence_of(space, refs[i]);
            CHECK(fence > fences[i]);
            fences[i] = fence;
            CHECK_CODE(unlock(space, refs[i]), IL_OK);
        }
    }
    /* More names than cells, and the table did not grow beyond what idle names may take. */
    uint32_t capacity = il_cells_of_levels(IL_SOFT_LEVELS);
    CHECK(COUNT > 2 * capacity && il_load_relaxed(&space->header->levels) == IL_SOFT_LEVELS);

    int stale = 0;
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "n%d", i);
        int code = try_lock(space, refs[i]);
        if (code == IL_STALE) {
            stale++;
            refs[i] = find(space, name);
            code = try_lock(space, refs[i]);
        }
        CHECK_CODE(code, IL_OK);
        CHECK(fence_of(space, refs[i]) > fences[i]);
        fences[i] = fence_of(space, refs[i]);
        CHECK_CODE(unlock(space, refs[i]), IL_OK);
    }
    CHECK(stale >= (int)(COUNT - capacity));
    for (int i = 0; i < HELD; i++) {
        snprintf(name, sizeof name, "held%d", i);
        CHECK(find(space, name) == held[i]);
        CHECK_CODE(unlock(space, held[i]), IL_OK);
    }
    done(space, path);
}

/* Held names never make way: the table grows as far as it takes. */
static void growth(void)
{
    char *path, name[32];
    il_space *space = fresh(&path, 8), *other = open_space(path, 0);
    enum { COUNT = 60000 };
    static il_ref refs[COUNT];
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "n%d", i);
        refs[i] = find(space, name);
        CHECK_CODE(try_lock(space, refs[i]), IL_OK);
    }
    uint32_t levels = il_load_relaxed(&space->header->levels);
    CHECK(levels > IL_SOFT_LEVELS);
    struct stat file;
    CHECK(stat(path, &file) == 0 && (uint64_t)file.st_size >= space->header->cells_at +
                                                                  il_cells_of_levels(levels) * sizeof(il_cell));
    CHECK_CODE(il_space_check(space, true), IL_OK);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof name, "n%d", i);
        CHECK(find(space, name) == refs[i]);
        /* Seen through a mapping that was made before the file grew. */
        CHECK(find(other, name) == refs[i]);
        CHECK_CODE(try_lock(other, refs[i]), IL_BUSY);
    }
    /* The death of an owner of very many. */
    il_space_close(space);
    for (int i = 0; i < COUNT; i++) {
        il_wait wait = {.deadline_ns = IL_NOW};
        CHECK_CODE(lock_with(other, refs[i], &wait), IL_OK);
        CHECK(wait.orphan);
        CHECK_CODE(unlock(other, refs[i]), IL_OK);
    }
    done(other, path);
}

/* All cells that a name can have are held. Names that share all buckets are found by trying. */
static void crowded_bucket(void)
{
    char *path, name[32];
    il_space *space = fresh(&path, 8);
    const uint32_t shared = (IL_STRIPES << (2 * 3)) - 1; /* bits that choose the bucket in levels 0 to 3 */
    enum { FIT = 4 * IL_WAYS };
    il_ref refs[FIT + 1];
    int count = 0;
    for (uint32_t i = 0; count <= FIT; i++) {
        int length = snprintf(name, sizeof name, "%u", i);
        if ((il__hash(space->header->hash_key, name, (size_t)length) & shared) != 0)
            continue;
        /* One level more for every IL_WAYS held names. */
        refs[count] = find(space, name);
        CHECK(il_load_relaxed(&space->header->levels) == (uint32_t)count / IL_WAYS + 1);
        for (int j = 0; j < count; j++)
            CHECK((uint32_t)refs[j] != (uint32_t)refs[count]);
        CHECK_CODE(try_lock(space, refs[count]), IL_OK);
        count++;
    }
    for (int i = 0; i <= FIT; i++)
        CHECK_CODE(unlock(space, refs[i]), IL_OK);
    done(space, path);
}

/* No room to grow: an error, not a crash, and what is there stays good. */
static void no_room(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    pid_t child = check_fork();
    if (child == 0) {
        char name[32];
        struct stat file;
        CHECK(stat(path, &file) == 0);
        signal(SIGXFSZ, SIG_IGN);
        struct rlimit limit = {(rlim_t)file.st_size, (rlim_t)file.st_size};
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        il_ref kept = find(space, "kept"), ref = 0;
        CHECK_CODE(try_lock(space, kept), IL_OK);
        /* Idle names make way for others. */
        for (int i = 0; i < 20000; i++) {
            snprintf(name, sizeof name, "idle-%d", i);
            CHECK_CODE(resolve(space, name, IL_KIND_LOCK, &ref), IL_OK);
        }
        int code = IL_OK;
        for (int i = 0; code == IL_OK; i++) {
            snprintf(name, sizeof name, "held-%d", i);
            code = resolve(space, name, IL_KIND_LOCK, &ref);
            if (code == IL_OK)
                CHECK_CODE(try_lock(space, ref), IL_OK);
        }
        CHECK_CODE(code, IL_SPACE_FULL);
        CHECK(space->error.code == IL_SPACE_FULL && space->error.sys_errno == EFBIG && space->error.wanted > 0);
        CHECK(il_load_relaxed(&space->header->levels) == 1);
        CHECK(find(space, "kept") == kept);
        CHECK_CODE(unlock(space, kept), IL_OK);
        _exit(0);
    }
    CHECK_CHILD(child);
    CHECK_CODE(try_lock(space, find(space, "kept")), IL_OK);
    done(space, path);
}

const test name_tests[] = {
    {"names", names},
    {"kinds", kinds},
    {"unlinking", unlinking},
    {"truncated_meanwhile", truncated_meanwhile},
    {"listing", listing},
    {"eviction", eviction},
    {"growth", growth},
    {"crowded_bucket", crowded_bucket},
    {"no_room", no_room},
    {"unlinking_after_waiters", unlinking_after_waiters},
    {NULL, NULL},
};
