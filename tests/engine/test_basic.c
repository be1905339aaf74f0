/* The engine's promises one by one, with real processes. Waits are asserted from below only. */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "check.h"
#include "il_hash.h"

static il_process process;

static void before_fork(void)
{
    il_process_before_fork(&process);
}

static void after_fork(void)
{
    il_process_after_fork(&process);
}

/* --- short forms --- */

static int try_open(const char *path, const il_options *options, il_space **space, il_error *error)
{
    *space = NULL;
    return il_space_open(&process, path, options, space, error);
}

static il_space *open_space(const char *path, uint32_t slots)
{
    il_space *space;
    il_error error;
    CHECK_CODE(try_open(path, &(il_options){.slots = slots}, &space, &error), IL_OK);
    return space;
}

static il_space *fresh(char **path, uint32_t slots)
{
    static int count;
    char name[32];
    snprintf(name, sizeof name, "space-%d", count++);
    *path = check_path(name);
    return open_space(*path, slots);
}

static void done(il_space *space, char *path)
{
    il_space_close(space);
    unlink(path);
    free(path);
}

static il_space *view_of(const il_space *space)
{
    il_space *view;
    CHECK_CODE(il_space_view(&process, space, &view), IL_OK);
    return view;
}

static int resolve(il_space *space, const char *name, uint8_t kind, il_ref *ref)
{
    uint8_t found;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    return il_table_resolve(space, name, strlen(name), kind, 0, &wait, ref, &found);
}

static il_ref find(il_space *space, const char *name)
{
    il_ref ref = 0;
    CHECK_CODE(resolve(space, name, IL_KIND_LOCK, &ref), IL_OK);
    return ref;
}

static int unlink_name(il_space *space, const char *name)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    return il_table_unlink(space, name, strlen(name), &wait);
}

static il_mutex *mutex_of(const il_space *space, il_ref ref)
{
    return &il_ref_cell(space, ref)->mutex;
}

static int lock_with(il_space *space, il_ref ref, il_wait *wait)
{
    return il_mutex_lock(space, mutex_of(space, ref), il_ref_key(ref), 7, wait);
}

static int try_lock(il_space *space, il_ref ref)
{
    return lock_with(space, ref, &(il_wait){.deadline_ns = IL_NOW});
}

static int lock_for(il_space *space, il_ref ref, uint64_t ns)
{
    return lock_with(space, ref, &(il_wait){.deadline_ns = il_clock_ns() + ns});
}

static int unlock(il_space *space, il_ref ref)
{
    return il_mutex_unlock(space, mutex_of(space, ref), il_ref_key(ref), 0);
}

static uint64_t fence_of(const il_space *space, il_ref ref)
{
    return il_load_relaxed(&mutex_of(space, ref)->fence);
}

/* A pipe over which processes tell each other that they got somewhere. */
typedef struct {
    int ends[2];
} signal_pipe;

static signal_pipe pipe_new(void)
{
    signal_pipe made;
    CHECK(pipe2(made.ends, O_CLOEXEC) == 0);
    return made;
}

static void tell(signal_pipe *to)
{
    CHECK(write(to->ends[1], "", 1) == 1);
}

static void hear(signal_pipe *from)
{
    char byte;
    CHECK(read(from->ends[0], &byte, 1) == 1);
}

static void pipe_free(signal_pipe *gone)
{
    close(gone->ends[0]);
    close(gone->ends[1]);
}

static int files_in_directory(void)
{
    DIR *directory = opendir(check.directory);
    int count = 0;
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += strncmp(entry->d_name, "test-", 5) == 0;
    closedir(directory);
    return count;
}

/* --- files --- */

static void make_and_reopen(void)
{
    char *path = check_path("space");
    il_space *space, *again;
    il_error error;
    struct stat file;
    CHECK_CODE(try_open(path, &(il_options){.must_exist = true}, &space, &error), IL_NO_SPACE_FILE);
    CHECK(access(path, F_OK) != 0 && files_in_directory() == 0);

    space = open_space(path, 16);
    CHECK(stat(path, &file) == 0 && (file.st_mode & 07777) == 0600 && file.st_nlink == 1);
    CHECK(files_in_directory() == 1);
    CHECK(memcmp(space->header->magic, IL_MAGIC, 8) == 0 && space->header->slot_count == 16);
    CHECK(il_self(space) == 0);
    CHECK_CODE(il_space_check(space, true), IL_OK);

    uint64_t id = space->header->id;
    CHECK_CODE(try_open(path, &(il_options){.must_exist = true, .id = id, .slots = 99}, &again, &error), IL_OK);
    CHECK(again->header->id == id && again->header->slot_count == 16);
    il_ref here = find(space, "same"), there = find(again, "same");
    CHECK(here == there);
    CHECK(il_self(space) != 0 && il_self(again) != 0 && il_self(space) != il_self(again));
    CHECK_CODE(try_lock(space, here), IL_OK);
    CHECK_CODE(try_lock(again, there), IL_BUSY);
    il_space_close(again);
    CHECK_CODE(unlock(space, here), IL_OK);

    CHECK_CODE(try_open(path, &(il_options){.id = id + 1}, &again, &error), IL_REPLACED);
    done(space, path);
}

/* Several processes make the same space at once: all get the same one. */
static void make_together(void)
{
    char *path = check_path("together");
    signal_pipe go = pipe_new(), end = pipe_new(), ids = pipe_new();
    enum { MAKERS = 8 };
    pid_t makers[MAKERS];
    for (int i = 0; i < MAKERS; i++) {
        makers[i] = check_fork();
        if (makers[i] == 0) {
            hear(&go);
            il_space *space = open_space(path, 32);
            CHECK(write(ids.ends[1], &space->header->id, 8) == 8);
            hear(&end);
            _exit(0);
        }
    }
    uint64_t first = 0, id;
    for (int i = 0; i < MAKERS; i++)
        tell(&go);
    for (int i = 0; i < MAKERS; i++) {
        CHECK(read(ids.ends[0], &id, 8) == 8);
        CHECK(first == 0 || id == first);
        first = id;
    }
    for (int i = 0; i < MAKERS; i++)
        tell(&end);
    for (int i = 0; i < MAKERS; i++)
        CHECK_CHILD(makers[i]);
    CHECK(files_in_directory() == 1);
    unlink(path);
    free(path);
    pipe_free(&go);
    pipe_free(&end);
    pipe_free(&ids);
}

static void write_file(const char *path, const void *bytes, size_t length, mode_t mode)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    CHECK(fd >= 0 && write(fd, bytes, length) == (ssize_t)length && fchmod(fd, mode) == 0);
    close(fd);
}

static unsigned char *read_file(const char *path, size_t *length)
{
    struct stat file;
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && fstat(fd, &file) == 0);
    *length = (size_t)file.st_size;
    unsigned char *bytes = malloc(*length + 1);
    CHECK(bytes != NULL && read(fd, bytes, *length) == (ssize_t)*length);
    close(fd);
    return bytes;
}

/* Opening a file with these bytes and mode gives `code`, and changes neither. */
static void refused(const void *bytes, size_t length, mode_t mode, int code, uint32_t found)
{
    char *path = check_path("refused");
    il_space *space;
    il_error error;
    struct stat before, after;
    size_t length_after;
    write_file(path, bytes, length, mode);
    CHECK(stat(path, &before) == 0);
    CHECK_CODE(try_open(path, &(il_options){0}, &space, &error), code);
    CHECK(error.code == code && error.found == found && space == NULL);
    CHECK(stat(path, &after) == 0 && before.st_ino == after.st_ino && before.st_mode == after.st_mode);
    CHECK(before.st_mtim.tv_sec == after.st_mtim.tv_sec && before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
    unsigned char *kept = read_file(path, &length_after);
    CHECK(length_after == length && memcmp(kept, bytes, length) == 0);
    free(kept);
    unlink(path);
    free(path);
    CHECK(files_in_directory() == 0);
}

static void refused_files(void)
{
    char *path;
    size_t length;
    il_space *space = fresh(&path, 4);
    unsigned char *good = read_file(path, &length), garbage[8192];
    done(space, path);
    il_header *header = (il_header *)(void *)good, kept = *header;
    for (size_t i = 0; i < sizeof garbage; i++)
        garbage[i] = (unsigned char)(i * 7 + 1);

    refused("", 0, 0600, IL_GARBAGE, 0);
    refused("INTERLK", 8, 0600, IL_GARBAGE, 0);
    refused(garbage, sizeof garbage, 0600, IL_GARBAGE, 0);
    refused(good, sizeof *header - 1, 0600, IL_GARBAGE, 0);
    refused(good, sizeof *header, 0600, IL_GARBAGE, IL_LAYOUT_VERSION);
    refused(good, length - 4096, 0600, IL_GARBAGE, IL_LAYOUT_VERSION);
    header->layout_version = 77;
    refused(good, length, 0600, IL_LAYOUT, 77);
    *header = kept;
    header->byte_order = 0x04030201;
    refused(good, length, 0600, IL_LAYOUT, IL_LAYOUT_VERSION);
    *header = kept;
    header->slot_count = 1;
    refused(good, length, 0600, IL_GARBAGE, IL_LAYOUT_VERSION);
    header->slot_count = 5000000;
    refused(good, length, 0600, IL_GARBAGE, IL_LAYOUT_VERSION);
    *header = kept;
    header->cells_at += 4096;
    refused(good, length, 0600, IL_GARBAGE, IL_LAYOUT_VERSION);
    *header = kept;
    il_store_relaxed(&header->levels, 0);
    refused(good, length, 0600, IL_GARBAGE, IL_LAYOUT_VERSION);
    il_store_relaxed(&header->levels, IL_LEVELS + 1);
    refused(good, length, 0600, IL_GARBAGE, IL_LAYOUT_VERSION);
    il_store_relaxed(&header->levels, 2); /* longer than the file */
    refused(good, length, 0600, IL_GARBAGE, IL_LAYOUT_VERSION);
    *header = kept;
    refused(good, length, 0644, IL_UNSAFE, 0);
    refused(good, length, 0620, IL_UNSAFE, 0);

    /* The same bytes unchanged are a good space. */
    char *copy = check_path("copy");
    write_file(copy, good, length, 0600);
    space = open_space(copy, 0);
    CHECK(space->header->id == kept.id);
    il_space_close(space);

    /* Things that are not files. */
    char *other = check_path("other");
    il_error error;
    CHECK(symlink(copy, other) == 0);
    CHECK_CODE(try_open(other, &(il_options){0}, &space, &error), IL_UNSAFE);
    unlink(other);
    CHECK(mkfifo(other, 0600) == 0);
    CHECK_CODE(try_open(other, &(il_options){0}, &space, &error), IL_GARBAGE);
    unlink(other);
    CHECK(mkdir(other, 0700) == 0);
    CHECK_CODE(try_open(other, &(il_options){0}, &space, &error), IL_SYSTEM);
    rmdir(other);
    unlink(copy);
    free(other);
    free(copy);
    free(good);
}

/* The file of an earlier boot is replaced, or removed when nothing may be made. */
static void earlier_boot(void)
{
    char *path;
    il_error error;
    for (int must_exist = 0; must_exist < 2; must_exist++) {
        il_space *space = fresh(&path, 4);
        uint64_t id = space->header->id;
        space->header->boot_id[3] ^= 1;
        il_space_close(space);
        int code = try_open(path, &(il_options){.must_exist = must_exist}, &space, &error);
        CHECK_CODE(code, must_exist ? IL_NO_SPACE_FILE : IL_OK);
        if (space != NULL) {
            CHECK(space->header->id != id);
            done(space, path);
        } else {
            CHECK(access(path, F_OK) != 0);
            free(path);
        }
    }
    CHECK(files_in_directory() == 0);
}

/* Numbers of slots that no space can have are refused before anything is made. */
static void slot_counts(void)
{
    static const uint32_t impossible[] = {1, IL_SLOTS_LIMIT + 2u, UINT32_MAX};
    il_error error;
    il_space *space;
    char *path = check_path("slots");
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        CHECK(try_open(path, &(il_options){.slots = impossible[i]}, &space, &error) != IL_OK);
        CHECK(access(path, F_OK) != 0);
    }
    free(path);
    space = fresh(&path, 2);
    CHECK_CODE(il_attach(space), IL_OK);
    done(space, path);
    space = fresh(&path, IL_SLOTS_LIMIT + 1u);
    CHECK_CODE(il_attach(space), IL_OK);
    done(space, path);
}

/* A space made anew, soon after its forerunner was removed, starts above all fences that were given out there. */
static void fences_of_a_successor(void)
{
    char *path;
    il_space *space = fresh(&path, 4);
    il_ref ref = find(space, "x");
    for (int i = 0; i < 100; i++) {
        CHECK_CODE(try_lock(space, ref), IL_OK);
        CHECK_CODE(unlock(space, ref), IL_OK);
    }
    uint64_t fence = fence_of(space, ref);
    il_space_close(space);
    CHECK(unlink(path) == 0);
    check_sleep_ms(2);
    space = open_space(path, 4);
    ref = find(space, "x");
    CHECK_CODE(try_lock(space, ref), IL_OK);
    CHECK(fence_of(space, ref) > fence);
    done(space, path);
}

/* --- names --- */

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
    CHECK_CODE(unlock(space, ref), IL_NOT_HELD);
    il_ref anew = find(space, "x");
    CHECK(anew != ref);
    CHECK_CODE(try_lock(space, anew), IL_OK);
    CHECK(fence_of(space, anew) > fence);
    CHECK_CODE(unlock(space, anew), IL_OK);
    done(space, path);
}

/* A name whose waiters gave up, and whose owner then died, is held and waited for by nobody: it can be unlinked. */
static void unlinking_after_waiters(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "x");
    CHECK_CODE(try_lock(other, ref), IL_OK);
    CHECK_CODE(lock_for(space, ref, 5 * MS), IL_TIMEDOUT);
    CHECK(il_load_relaxed(&mutex_of(space, ref)->word) & IL_RESERVED);
    CHECK_CODE(unlock(other, ref), IL_OK);
    CHECK_CODE(unlink_name(space, "x"), IL_OK);

    ref = find(space, "x");
    CHECK_CODE(try_lock(other, ref), IL_OK);
    CHECK_CODE(lock_for(space, ref, 5 * MS), IL_TIMEDOUT);
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
        }
        total += count;
    }
    CHECK(total == COUNT);
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
        int code = IL_OK;
        for (int i = 0; code == IL_OK; i++) {
            snprintf(name, sizeof name, "n%d", i);
            code = resolve(space, name, IL_KIND_LOCK, &ref);
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

/* --- slots --- */

static void out_of_slots(void)
{
    char *path;
    il_space *space = fresh(&path, 4), *views[4];
    for (int i = 0; i < 4; i++)
        views[i] = view_of(space);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_CODE(il_attach(views[i]), IL_OK);
        CHECK(il_self(views[i]) == i + 1);
        CHECK_CODE(il_attach(views[i]), IL_OK);
        CHECK(il_self(views[i]) == i + 1);
    }
    CHECK_CODE(il_attach(views[3]), IL_SLOTS_FULL);
    CHECK(il_self(views[3]) == 0 && views[3]->error.code == IL_SLOTS_FULL && views[3]->error.found == 3);
    il_ref ref;
    CHECK_CODE(resolve(views[3], "x", IL_KIND_LOCK, &ref), IL_SLOTS_FULL);
    /* A dead process's slot is taken over, and what it held is freed by that. */
    ref = find(views[1], "x");
    CHECK_CODE(try_lock(views[1], ref), IL_OK);
    uint32_t epoch = il_load_relaxed(&space->slots[2].epoch);
    il_space_close(views[1]);
    CHECK_CODE(il_attach(views[3]), IL_OK);
    CHECK(il_self(views[3]) == 2 && il_load_relaxed(&space->slots[2].epoch) == epoch + 1);
    CHECK(((uint32_t)il_load_relaxed(&mutex_of(space, ref)->word) & (IL_OWNER | IL_ORPHAN)) == IL_ORPHAN);
    il_wait wait = {.deadline_ns = IL_NOW};
    CHECK_CODE(lock_with(views[3], ref, &wait), IL_OK);
    CHECK(wait.orphan);
    il_space_close(views[0]);
    il_space_close(views[2]);
    il_space_close(views[3]);
    done(space, path);
}

static void liveness_probes(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *view = view_of(space);
    CHECK_CODE(il_attach(space), IL_OK);
    CHECK_CODE(il_attach(view), IL_OK);
    CHECK(il_slot_alive(space, il_self(view)) == 1 && il_slot_alive(view, il_self(space)) == 1);
    CHECK(il_slot_alive(space, 0) == 0 && il_slot_alive(space, 5) == 0 && il_slot_alive(space, 10000) == 0);
    CHECK_CODE(il_reap(space, il_self(view)), IL_BUSY);
    CHECK_CODE(il_reap(space, il_self(space)), IL_BUSY);
    /* The descriptor to ask with was closed by a stranger, and its number used for another file. */
    int fd = atomic_load(&space->probe_fd);
    CHECK(fd >= 0 && close(fd) == 0);
    int other = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(other >= 0 && dup2(other, fd) == fd);
    CHECK(il_slot_alive(space, il_self(view)) == 1);
    CHECK(fcntl(fd, F_GETFD) >= 0); /* theirs, so left alone */
    close(fd);
    close(other);
    uint32_t dead = il_self(view);
    il_space_close(view);
    CHECK(il_slot_alive(space, dead) == 0);
    CHECK_CODE(il_reap(space, dead), IL_OK);
    CHECK(il_load_relaxed(&space->slots[dead].pid) == 0);
    done(space, path);
}

/* --- the file is gone --- */

static void wiped_by_unlink(void)
{
    char *path;
    il_error error;
    il_space *space = fresh(&path, 8), *anew;
    il_ref ref = find(space, "x");
    CHECK_CODE(try_lock(space, ref), IL_OK);
    signal_pipe ready = pipe_new(), go = pipe_new();
    pid_t child = check_fork();
    if (child == 0) {
        CHECK_CODE(il_attach(space), IL_OK);
        tell(&ready);
        /* Asleep when it happens. */
        CHECK_CODE(lock_for(space, ref, 20 * SECOND), IL_WIPED);
        tell(&ready);
        hear(&go);
        _exit(0);
    }
    hear(&ready);
    while (!(il_load_relaxed(&mutex_of(space, ref)->word) & IL_WAITERS))
        sched_yield();
    CHECK(unlink(path) == 0);
    hear(&ready);
    CHECK_CODE(il_space_check(space, true), IL_WIPED);
    il_wait wait = {.deadline_ns = IL_FOREVER};
    CHECK_CODE(resolve(space, "y", IL_KIND_LOCK, &ref), IL_WIPED);
    CHECK_CODE(il_table_unlink(space, "x", 1, &wait), IL_WIPED);
    CHECK(il_table_list(space, 0, NULL, 0, &wait) == IL_WIPED);
    /* A new space in its place would exclude nobody who still uses the old one. */
    CHECK_CODE(try_open(path, &(il_options){0}, &anew, &error), IL_ORPHANED_USERS);
    CHECK(error.found == (uint32_t)child && access(path, F_OK) != 0);
    tell(&go);
    CHECK_CHILD(child);
    uint64_t fence = il_load_relaxed(&space->header->fence_floor);
    il_space_close(space);
    anew = open_space(path, 8);
    CHECK(il_load_relaxed(&anew->header->fence_floor) >= fence);
    done(anew, path);
    pipe_free(&ready);
    pipe_free(&go);
}

static void wiped_by_replacement(void)
{
    char *path, *other;
    il_space *space = fresh(&path, 8), *second = fresh(&other, 8);
    CHECK_CODE(il_attach(space), IL_OK);
    CHECK(rename(other, path) == 0);
    /* Not noticed by way of the path yet, but no slot of the old file is given out or swept by way of the new one. */
    il_space *view = view_of(space);
    CHECK_CODE(il_attach(view), IL_WIPED);
    CHECK_CODE(il_reap(space, 1), IL_WIPED);
    CHECK_CODE(il_space_check(space, false), IL_WIPED);
    il_space_close(view);
    il_space_close(space);
    free(other);
    done(second, path);
}

static void wiped_by_truncation(void)
{
    static const double parts[] = {0, 0.1, 0.5, 0.96, 0.999};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        pid_t child = check_fork();
        if (child == 0) {
            char *path, name[32];
            struct stat file;
            il_space *space = fresh(&path, 64);
            enum { COUNT = 500 };
            il_ref refs[COUNT];
            for (int n = 0; n < COUNT; n++) {
                snprintf(name, sizeof name, "n%d", n);
                refs[n] = find(space, name);
            }
            CHECK_CODE(try_lock(space, refs[0]), IL_OK);
            CHECK_CODE(try_lock(space, refs[1]), IL_OK);
            CHECK(stat(path, &file) == 0);
            CHECK(truncate(path, (off_t)((double)file.st_size * parts[i])) == 0);
            int lost = 0;
            for (int n = 0; n < COUNT; n++) {
                il_mutex *mutex = mutex_of(space, refs[n]);
                if (n > 1 && il_mutex_try_fast(mutex, il_ref_key(refs[n]), il_self(space), 7)) {
                    CHECK(il_mutex_unlock_fast(mutex, il_ref_key(refs[n]), il_self(space)));
                    continue;
                }
                int code = n > 1 ? try_lock(space, refs[n]) : unlock(space, refs[n]);
                lost += code != IL_OK;
                if (code != IL_OK && n > 1 && code != IL_WIPED)
                    CHECK_CODE(code, IL_STALE);
                if (code != IL_OK && n <= 1)
                    CHECK_CODE(code, IL_WIPED);
            }
            CHECK(lost > 0 || parts[i] > 0.99);
            CHECK_CODE(il_space_check(space, true), IL_WIPED);
            il_ref ref;
            CHECK_CODE(resolve(space, "n5", IL_KIND_LOCK, &ref), IL_WIPED);
            CHECK_CODE(resolve(space, "new", IL_KIND_LOCK, &ref), IL_WIPED);
            done(space, path);
            _exit(0);
        }
        CHECK_CHILD(child);
    }
}

/* A fault that is not the engine's kills as ever. */
static void foreign_bus_error(void)
{
    pid_t child = check_fork();
    if (child == 0) {
        char *path;
        fresh(&path, 8);
        unlink(path);
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        char *name = check_path("short");
        int fd = open(name, O_CREAT | O_RDWR, 0600);
        volatile char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        unlink(name);
        fclose(stderr); /* a sanitizer's own handler may be next, and talk */
        close(2);
        page[0] = 1;
        _exit(0);
    }
    int status = check_wait(child);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS) || (WIFEXITED(status) && WEXITSTATUS(status) != 0));
}

/* --- fork, exec, death --- */

static void fork_keeps_to_the_parent(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_ref ref = find(space, "x");
    CHECK_CODE(try_lock(space, ref), IL_OK);
    uint32_t slot = il_self(space);
    pid_t child = check_fork();
    if (child == 0) {
        CHECK(il_self(space) == 0);
        CHECK(!il_mutex_try_fast(mutex_of(space, ref), il_ref_key(ref), il_self(space), 7));
        CHECK(!il_mutex_unlock_fast(mutex_of(space, ref), il_ref_key(ref), il_self(space)));
        CHECK_CODE(unlock(space, ref), IL_NOT_OWNER);
        CHECK(il_mutex_locked(space, mutex_of(space, ref), il_ref_key(ref)) == 1);
        CHECK_CODE(try_lock(space, ref), IL_BUSY);
        CHECK(il_self(space) != 0 && il_self(space) != slot);
        CHECK_CODE(unlock(space, ref), IL_NOT_OWNER);
        il_ref own = find(space, "own");
        CHECK_CODE(try_lock(space, own), IL_OK);
        il_space_close(space); /* and with it goes "own" */
        _exit(0);
    }
    CHECK_CHILD(child);
    CHECK(il_self(space) == slot);
    CHECK_CODE(try_lock(space, find(space, "own")), IL_OK);
    CHECK_CODE(unlock(space, ref), IL_OK);
    done(space, path);
}

/* The parent dies; its lock is free although its child, forked while it was held, lives on. */
static void fork_does_not_keep_the_dead_alive(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_ref ref = find(space, "x");
    signal_pipe ready = pipe_new(), hold = pipe_new(), never = pipe_new();
    pid_t parent = check_fork();
    if (parent == 0) {
        CHECK_CODE(try_lock(space, ref), IL_OK);
        /* Not by check_fork: it has to outlive its parent. It ends with the test's end of the pipe. */
        pid_t grandchild = fork();
        if (grandchild == 0) {
            char byte;
            close(never.ends[1]);
            tell(&ready);
            CHECK(read(never.ends[0], &byte, 1) == 0);
            tell(&ready);
            _exit(0);
        }
        hear(&hold);
        _exit(1);
    }
    hear(&ready);
    CHECK_CODE(try_lock(space, ref), IL_BUSY);
    check_kill(parent);
    il_wait wait = {.deadline_ns = IL_NOW};
    CHECK_CODE(lock_with(space, ref, &wait), IL_OK);
    CHECK(wait.orphan);
    close(never.ends[1]);
    hear(&ready);
    close(never.ends[0]);
    pipe_free(&ready);
    pipe_free(&hold);
    done(space, path);
}

static void exec_frees(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_ref ref = find(space, "x");
    int program[2];
    CHECK(pipe2(program, O_CLOEXEC) == 0);
    pid_t child = check_fork();
    if (child == 0) {
        CHECK_CODE(try_lock(space, ref), IL_OK);
        CHECK(dup2(program[0], 0) == 0);
        close(program[1]);
        execlp("cat", "cat", (char *)NULL);
        _exit(1);
    }
    il_wait wait = {.deadline_ns = il_clock_ns() + 20 * SECOND};
    while (il_load_relaxed(&mutex_of(space, ref)->word) == il_ref_key(ref))
        sched_yield();
    CHECK_CODE(lock_with(space, ref, &wait), IL_OK);
    CHECK(wait.orphan && waitpid(child, NULL, WNOHANG) == 0); /* the program runs on */
    close(program[0]);
    close(program[1]);
    CHECK_CHILD(child);
    done(space, path);
}

static void closing_all_descriptors_keeps(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_ref ref = find(space, "x");
    signal_pipe ready = pipe_new(), go = pipe_new();
    pid_t child = check_fork();
    if (child == 0) {
        CHECK_CODE(try_lock(space, ref), IL_OK);
        CHECK(il_slot_alive(space, il_self(space)) == 1); /* opens the descriptor to ask with */
        int out = dup2(ready.ends[1], 0), in = dup2(go.ends[0], 1);
        CHECK(out == 0 && in == 1);
        for (int fd = 2; fd < 1024; fd++)
            close(fd);
        char byte = 0;
        if (write(0, &byte, 1) != 1 || read(1, &byte, 1) != 1)
            _exit(1);
        CHECK_CODE(unlock(space, ref), IL_OK);
        CHECK_CODE(try_lock(space, ref), IL_OK);
        if (write(0, &byte, 1) != 1 || read(1, &byte, 1) != 1)
            _exit(1);
        _exit(0);
    }
    hear(&ready);
    CHECK_CODE(try_lock(space, ref), IL_BUSY);
    CHECK_CODE(lock_for(space, ref, 20 * MS), IL_TIMEDOUT);
    tell(&go);
    hear(&ready);
    CHECK_CODE(try_lock(space, ref), IL_BUSY);
    tell(&go);
    CHECK_CHILD(child);
    CHECK_CODE(try_lock(space, ref), IL_OK);
    pipe_free(&ready);
    pipe_free(&go);
    done(space, path);
}

static void death_is_remembered(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_ref ref = find(space, "x");
    il_mutex *mutex = mutex_of(space, ref);
    il_owner owner;
    pid_t dead = 0;
    /* Two successive owners die: the second had it from a dead one itself. */
    for (int i = 0; i < 2; i++) {
        signal_pipe ready = pipe_new(), go = pipe_new();
        pid_t child = check_fork();
        if (child == 0) {
            il_wait wait = {.deadline_ns = IL_NOW};
            CHECK_CODE(lock_with(space, ref, &wait), IL_OK);
            CHECK(wait.orphan == (i == 1));
            tell(&ready);
            hear(&go);
            _exit(1);
        }
        hear(&ready);
        CHECK(il_mutex_locked(space, mutex, il_ref_key(ref)) == 1);
        CHECK_CODE(il_mutex_owner(space, mutex, il_ref_key(ref), &owner), IL_OK);
        CHECK(owner.pid == (uint32_t)child && owner.thread == 7 && strstr(owner.program, "test_basic") != NULL);
        CHECK_CODE(try_lock(space, ref), IL_BUSY);
        check_kill(child);
        dead = child;
        CHECK(il_mutex_locked(space, mutex, il_ref_key(ref)) == 0);
        CHECK_CODE(il_mutex_owner(space, mutex, il_ref_key(ref), &owner), IL_NOT_HELD);
        pipe_free(&ready);
        pipe_free(&go);
    }
    il_wait wait = {.deadline_ns = IL_NOW};
    CHECK_CODE(lock_with(space, ref, &wait), IL_OK);
    CHECK(wait.orphan && il_load_relaxed(&mutex->recoveries) == 2);
    il_cell *cell = il_ref_cell(space, ref);
    CHECK(il_load_relaxed(&cell->dead_pid) == (uint32_t)dead && il_load_relaxed(&cell->dead_thread) == 7);
    CHECK(il_load_relaxed(&cell->dead_ns) != 0);
    /* Kept on request, gone after a release in good order. */
    CHECK_CODE(il_mutex_unlock(space, mutex, il_ref_key(ref), IL_UNLOCK_KEEP_ORPHAN), IL_OK);
    wait = (il_wait){.deadline_ns = IL_NOW};
    CHECK_CODE(lock_with(space, ref, &wait), IL_OK);
    CHECK(wait.orphan);
    CHECK_CODE(unlock(space, ref), IL_OK);
    wait = (il_wait){.deadline_ns = IL_NOW};
    CHECK_CODE(lock_with(space, ref, &wait), IL_OK);
    CHECK(!wait.orphan);
    done(space, path);
}

/* A zombie is dead; a process whose first thread has ended is alive. */
static void *outlive(void *pipes)
{
    signal_pipe *both = pipes;
    check_sleep_ms(20);
    tell(&both[0]);
    hear(&both[1]);
    _exit(0);
}

static void zombies_and_headless(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_ref ref = find(space, "x");
    signal_pipe pipes[2] = {pipe_new(), pipe_new()};
    pid_t child = check_fork();
    if (child == 0) {
        pthread_t thread;
        CHECK_CODE(try_lock(space, ref), IL_OK);
        CHECK(pthread_create(&thread, NULL, outlive, pipes) == 0);
        pthread_exit(NULL);
    }
    hear(&pipes[0]);
    CHECK_CODE(try_lock(space, ref), IL_BUSY);
    tell(&pipes[1]);
    siginfo_t info;
    CHECK(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0); /* dead, and not collected */
    CHECK_CODE(try_lock(space, ref), IL_OK);
    CHECK_CHILD(child);
    pipe_free(&pipes[0]);
    pipe_free(&pipes[1]);
    done(space, path);
}

/* Dead owner, sleeping waiter: nobody wakes it, and it gets the lock. */
static void sleeper_recovers(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "x");
    CHECK_CODE(try_lock(other, ref), IL_OK);
    signal_pipe ready = pipe_new();
    pid_t child = check_fork();
    if (child == 0) {
        CHECK_CODE(il_attach(space), IL_OK);
        tell(&ready);
        il_wait wait = {.deadline_ns = il_clock_ns() + 20 * SECOND};
        CHECK_CODE(lock_with(space, ref, &wait), IL_OK);
        CHECK(wait.orphan && wait.slept && wait.slices > 0);
        _exit(0);
    }
    hear(&ready);
    while (!(il_load_relaxed(&mutex_of(space, ref)->word) & IL_RESERVED))
        sched_yield();
    il_space_close(other);
    CHECK_CHILD(child);
    pipe_free(&ready);
    done(space, path);
}

/* --- the mutex --- */

static void ignore(int signal)
{
    (void)signal;
}

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
    struct sigaction action = {.sa_handler = ignore};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    pid_t self = getpid(), child = check_fork();
    if (child == 0) {
        while (!(il_load_relaxed(&mutex_of(space, ref)->word) & IL_RESERVED))
            sched_yield();
        kill(self, SIGUSR1);
        _exit(0);
    }
    CHECK_CODE(unlock(other, ref), IL_OK);
    CHECK_CODE(try_lock(other, ref), IL_OK);
    il_wait wait = {.deadline_ns = il_clock_ns() + 200 * MS};
    CHECK_CODE(lock_with(space, ref, &wait), IL_INTERRUPTED);
    CHECK_CODE(lock_with(space, ref, &wait), IL_TIMEDOUT);
    CHECK(il_clock_ns() >= wait.deadline_ns);
    CHECK_CHILD(child);
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

int main(int argc, char **argv)
{
    check_begin(argc, argv, 120);
    il_process_init(&process);
    CHECK(pthread_atfork(before_fork, after_fork, after_fork) == 0);

    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {
#define T(name) {#name, name}
        T(make_and_reopen), T(make_together), T(refused_files), T(earlier_boot),
        T(names), T(kinds), T(unlinking), T(listing), T(eviction), T(growth), T(crowded_bucket), T(no_room),
        T(out_of_slots), T(liveness_probes),
        T(wiped_by_unlink), T(wiped_by_replacement), T(wiped_by_truncation), T(foreign_bus_error),
        T(fork_keeps_to_the_parent), T(fork_does_not_keep_the_dead_alive), T(exec_frees),
        T(closing_all_descriptors_keeps), T(death_is_remembered), T(zombies_and_headless), T(sleeper_recovers),
        T(timeouts), T(owners), T(reservation), T(rlocks), T(contention),
        T(slot_counts), T(fences_of_a_successor), T(unlinking_after_waiters),
#undef T
    };
    const char *only = argc > 2 ? argv[2] : NULL;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (only != NULL && strcmp(only, tests[i].name) != 0)
            continue;
        uint64_t began = il_clock_ns();
        tests[i].run();
        printf("ok %-36s %6.0f ms\n", tests[i].name, (double)(il_clock_ns() - began) / 1e6);
        fflush(stdout);
    }
    check_clean();
    return 0;
}
