/* Files: made, opened, refused. */
#include "basic.h"

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

const test file_tests[] = {
    {"make_and_reopen", make_and_reopen},
    {"make_together", make_together},
    {"refused_files", refused_files},
    {"earlier_boot", earlier_boot},
    {"slot_counts", slot_counts},
    {"fences_of_a_successor", fences_of_a_successor},
    {NULL, NULL},
};
