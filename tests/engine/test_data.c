/* The data of Values and Arrays: made whole, shared, kept while anybody has it, and never left over for ever. */
#include "basic.h"

enum { SIZE = 1000 };

static il_content content_of(unsigned char byte)
{
    static unsigned char first[SIZE];
    memset(first, byte, sizeof first);
    return (il_content){.size = SIZE, .first = first};
}

static int open_data(il_space *space, il_ref ref, const il_content *content, il_data *data)
{
    il_error error;
    int code;
    do
        code = il_data_open(space, ref, content, data, &error);
    while (code == IL_BUSY);
    return code;
}

static il_ref find_array(il_space *space, const char *name)
{
    return find_as(space, name, IL_KIND_ARRAY, 42);
}

static bool is_whole(const il_data *data, unsigned char byte)
{
    for (int i = 0; i < SIZE; i++) {
        if (data->bytes[i] != byte)
            return false;
    }
    return true;
}

/* The first opener's content counts; whoever has it mapped keeps it; the file goes with the name. */
static void data_is_shared(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find_array(space, "a");
    il_content ones = content_of(1);
    il_data mine, its;
    CHECK_CODE(open_data(space, ref, &(il_content){.size = SIZE, .must_exist = true}, &mine), IL_ABSENT);
    CHECK_CODE(open_data(space, ref, &ones, &mine), IL_OK);
    il_content twos = content_of(2);
    CHECK_CODE(open_data(other, ref, &twos, &its), IL_OK);
    CHECK(is_whole(&mine, 1) && is_whole(&its, 1) && mine.bytes != its.bytes);
    CHECK(((uintptr_t)mine.bytes & 63) == 0);
    its.bytes[SIZE - 1] = 3;
    CHECK(mine.bytes[SIZE - 1] == 3);
    il_data_close(&mine);
    CHECK_CODE(unlink_name(space, "a"), IL_BUSY);
    il_data_let_go(&its);
    CHECK(is_whole(&its, 0));
    CHECK(files_in_directory() == 2);
    CHECK_CODE(unlink_name(space, "a"), IL_OK);
    CHECK(files_in_directory() == 1);
    CHECK_CODE(open_data(space, ref, &ones, &mine), IL_STALE);
    munmap(its.base, its.mapped);
    il_space_close(other);
    done(space, path);
}

/* A forked child has the data without having said so; its death lets go of it. */
static void data_outlives_its_maker(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    signal_pipe go = pipe_new();
    il_ref ref = find_array(space, "a");
    il_content ones = content_of(1);
    il_data data;
    CHECK_CODE(open_data(space, ref, &ones, &data), IL_OK);
    pid_t child = check_fork();
    if (child == 0) {
        hear(&go);
        data.bytes[0] = 9;
        tell(&go);
        pause();
    }
    il_data_close(&data);
    CHECK_CODE(unlink_name(space, "a"), IL_BUSY);
    CHECK_CODE(il_table_forget(space, ref, true, &(il_wait){.deadline_ns = IL_NOW}), IL_BUSY);
    tell(&go);
    while (true) { /* until it has the byte that is meant for us */
        CHECK_CODE(open_data(space, ref, &ones, &data), IL_OK);
        bool seen = *(volatile unsigned char *)data.bytes == 9;
        il_data_close(&data);
        if (seen)
            break;
    }
    check_kill(child);
    CHECK_CODE(unlink_name(space, "a"), IL_OK);
    CHECK(files_in_directory() == 1);
    pipe_free(&go);
    done(space, path);
}

/* An object whose maker died before it had data gets some from the next opener, or can go. */
static void object_without_data(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_content ones = content_of(1);
    il_data data;
    find_array(space, "gone");
    CHECK_CODE(unlink_name(space, "gone"), IL_OK);
    il_ref ref = find_array(space, "kept");
    CHECK_CODE(open_data(space, ref, &ones, &data), IL_OK);
    il_data_close(&data);
    /* It has data: not to be forgotten by one who only wants its own mistake undone. */
    CHECK_CODE(il_table_forget(space, ref, false, &(il_wait){.deadline_ns = IL_NOW}), IL_BUSY);
    CHECK_CODE(il_table_forget(space, ref, true, &(il_wait){.deadline_ns = IL_NOW}), IL_OK);
    CHECK(files_in_directory() == 1);
    done(space, path);
}

static void name_of(const il_space *space, il_ref ref, char name[PATH_MAX + 64])
{
    snprintf(name, PATH_MAX + 64, "%s.%016llx-%016llx", space->path, (unsigned long long)space->id, (unsigned long long)ref);
}

/* Somebody removes the file behind our back: nobody gets another one of the same name beside it. */
static void deleted_by_a_stranger(void)
{
    char *path, name[PATH_MAX + 64];
    il_space *space = fresh(&path, 8);
    il_content ones = content_of(1);
    il_data data, again;
    il_ref ref = find_array(space, "a");
    CHECK_CODE(open_data(space, ref, &ones, &data), IL_OK);
    name_of(space, ref, name);
    CHECK(unlink(name) == 0);
    CHECK_CODE(open_data(space, ref, &ones, &again), IL_DATA_LOST);
    il_data_close(&data);
    CHECK_CODE(unlink_name(space, "a"), IL_OK);
    /* Garbage in its place is not used either. */
    ref = find_array(space, "a");
    CHECK_CODE(open_data(space, ref, &ones, &data), IL_OK);
    il_data_close(&data);
    name_of(space, ref, name);
    CHECK(truncate(name, 100) == 0);
    CHECK_CODE(open_data(space, ref, &ones, &again), IL_DATA_LOST);
    CHECK_CODE(unlink_name(space, "a"), IL_OK);
    CHECK(files_in_directory() == 1);
    done(space, path);
}

static void touch(const char *name)
{
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    close(fd);
}

/* What killed processes leave is found, and nothing else. */
static void leftovers(void)
{
    char *path, name[PATH_MAX + 64];
    il_space *space = fresh(&path, 8);
    il_content named = content_of(1), anonymous = content_of(2);
    anonymous.anonymous = true;
    il_data data;
    /* 1. In use. 2. Named. 3. Anonymous, of a living maker. 4. Anonymous, in use, its maker dead. All stay. */
    il_ref kept = find_array(space, "kept");
    il_data in_use;
    CHECK_CODE(open_data(space, kept, &anonymous, &in_use), IL_OK);
    CHECK_CODE(open_data(space, find_array(space, "named"), &named, &data), IL_OK);
    il_data_close(&data);
    CHECK_CODE(open_data(space, find_array(space, "ours"), &anonymous, &data), IL_OK);
    il_data_close(&data);
    il_space *dead = view_of(space);
    il_data others;
    CHECK_CODE(open_data(dead, find_array(dead, "others"), &anonymous, &others), IL_OK);
    /* 5. Anonymous, its maker dead. 6. Of a reference that is no more. 7. Of a space that was here before. They go. */
    CHECK_CODE(open_data(dead, find_array(dead, "orphan"), &anonymous, &data), IL_OK);
    il_data_close(&data);
    il_space_close(dead);
    il_ref gone = find_array(space, "gone");
    CHECK_CODE(unlink_name(space, "gone"), IL_OK);
    name_of(space, gone, name);
    touch(name);
    snprintf(name, sizeof name, "%s.%016llx-%016llx", path, (unsigned long long)space->id + 1, (unsigned long long)kept);
    touch(name);
    /* 8. Of another space, and no data at all: not ours to judge. */
    snprintf(name, sizeof name, "%s0.%016llx-%016llx", path, (unsigned long long)space->id, (unsigned long long)gone);
    touch(name);
    CHECK(files_in_directory() == 9);
    il_data_sweep(space);
    CHECK(files_in_directory() == 6);
    CHECK(unlink(name) == 0);
    il_wait wait = for_ever();
    il_ref ref;
    CHECK_CODE(il_table_find(space, "orphan", 6, IL_KIND_ARRAY, 42, &wait, &ref), IL_ABSENT);
    CHECK_CODE(il_table_find(space, "others", 6, IL_KIND_ARRAY, 42, &wait, &ref), IL_OK);
    il_data_close(&others);
    il_data_sweep(space);
    CHECK_CODE(il_table_find(space, "others", 6, IL_KIND_ARRAY, 42, &wait, &ref), IL_ABSENT);
    il_data_close(&in_use);
    CHECK_CODE(unlink_name(space, "kept"), IL_OK);
    CHECK_CODE(unlink_name(space, "named"), IL_OK);
    CHECK_CODE(unlink_name(space, "ours"), IL_OK);
    CHECK(files_in_directory() == 1);
    done(space, path);
}

/* More than the file system has: a code, and the name is as good as new. */
static void data_too_large(void)
{
    char *path;
    il_space *space = fresh(&path, 8);
    il_error error;
    il_data data;
    il_ref ref = find_array(space, "a");
    il_content endless = {.size = 1ull << 60};
    CHECK_CODE(il_data_open(space, ref, &endless, &data, &error), IL_SPACE_FULL);
    CHECK(error.wanted == endless.size);
    endless.size = UINT64_MAX;
    CHECK_CODE(il_data_open(space, ref, &endless, &data, &error), IL_SPACE_FULL);
    CHECK(files_in_directory() == 1);
    done(space, path);
}

/* Processes open, make and forget one object all the time: whoever has it has the one that everybody else gets. */
static void data_contention(void)
{
    enum { PROCESSES = 4, ROUNDS = 400 };
    struct tally {
        il_u32 opened, forgotten;
    } *tally = common(sizeof *tally);
    char *path;
    il_space *space = fresh(&path, 16);
    il_content ones = content_of(1);
    pid_t children[PROCESSES];
    for (int n = 0; n < PROCESSES; n++) {
        children[n] = check_fork();
        if (children[n] != 0)
            continue;
        for (int round = 0; round < ROUNDS; round++) {
            il_data data;
            il_ref ref;
            int code;
            do {
                ref = find_array(space, "a");
                code = open_data(space, ref, &ones, &data);
            } while (code == IL_STALE);
            CHECK_CODE(code, IL_OK);
            CHECK(data.bytes[SIZE - 1] == 1);
            CHECK(find_array(space, "a") == ref);
            il_data again;
            CHECK_CODE(open_data(space, ref, &(il_content){.size = SIZE, .must_exist = true}, &again), IL_OK);
            *(volatile unsigned char *)again.bytes = (unsigned char)n;
            il_data_close(&again);
            il_data_close(&data);
            il_add_relaxed(&tally->opened, 1);
            code = unlink_name(space, "a");
            CHECK(code == IL_OK || code == IL_BUSY || code == IL_ABSENT);
            if (code == IL_OK)
                il_add_relaxed(&tally->forgotten, 1);
        }
        _exit(0);
    }
    for (int n = 0; n < PROCESSES; n++)
        CHECK_CHILD(children[n]);
    CHECK(il_load_relaxed(&tally->opened) == PROCESSES * ROUNDS && il_load_relaxed(&tally->forgotten) > 0);
    il_data_sweep(space);
    int code = unlink_name(space, "a");
    CHECK(code == IL_OK || code == IL_ABSENT);
    CHECK(files_in_directory() == 1);
    munmap(tally, sizeof *tally);
    done(space, path);
}

const test data_tests[] = {
    {"data_is_shared", data_is_shared},
    {"data_outlives_its_maker", data_outlives_its_maker},
    {"object_without_data", object_without_data},
    {"deleted_by_a_stranger", deleted_by_a_stranger},
    {"leftovers", leftovers},
    {"data_too_large", data_too_large},
    {"data_contention", data_contention},
    {NULL, NULL},
};
