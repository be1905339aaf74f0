/* The C API: spaces and names, and spaces in trouble. */
#include "parts.h"

/* --- spaces and names --- */

static void codes(void)
{
    int known = 0;
    for (int code = 10; code > -200; code--)
        known += strcmp(interlock_strerror(code), "unknown code") != 0;
    CHECK(known == 33);
    CHECK(strcmp(interlock_strerror(INTERLOCK_OK), "done") == 0);
    CHECK(strcmp(interlock_strerror(IL_STALE), "unknown code") == 0);
    CHECK(strcmp(interlock_strerror(IL_PENDING), "unknown code") == 0);
}

static void urls(void)
{
    static const char *const wrong[] = {"", "shm:", "orders", "redis:x", "SHM:x", "shm:\xff", "shm:\xed\xa0\x80"};
    interlock_space *none;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        none = (interlock_space *)1;
        CHECK_CODE(interlock_space_open(wrong[i], &none), INTERLOCK_URL);
        CHECK(none == NULL && says("shm:NAME"));
    }
    char longest[4 + 201 + 1] = "shm:";
    memset(longest + 4, 'x', 201);
    CHECK_CODE(interlock_space_open(longest, &none), INTERLOCK_URL);
    longest[204] = '\0';
    TRY(interlock_space_open(longest, &none));
    unlink(interlock_space_path(none));
    interlock_space_close(none);
    interlock_space_close(NULL);
    /* The default one, asked for once. */
    interlock_space *again;
    TRY(interlock_space_open(NULL, &none));
    CHECK(strstr(interlock_space_path(none), "-default.ilk") != NULL);
    setenv("INTERLOCK_SPACE", "shm:other", 1);
    TRY(interlock_space_open(NULL, &again));
    CHECK(strcmp(interlock_space_path(none), interlock_space_path(again)) == 0);
    unsetenv("INTERLOCK_SPACE");
    unlink(interlock_space_path(none));
    interlock_space_close(none);
    interlock_space_close(again);
}

static void settings(void)
{
    interlock_space *none;
    static const char *const slots[] = {"0", "65536", "-1", "1x", "99999999999999999999", " 1"};
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        setenv("INTERLOCK_SLOTS", slots[i], 1);
        CHECK_CODE(interlock_space_open("shm:test-slots", &none), INTERLOCK_SETTING);
        CHECK(says(slots[i]) && says("INTERLOCK_SLOTS"));
    }
    unsetenv("INTERLOCK_SLOTS");
    char *file = check_path("file");
    close(open(file, O_CREAT | O_CLOEXEC, 0600));
    const char *directories[] = {"relative", "/nowhere/at/all", file};
    for (size_t i = 0; i < 3; i++) {
        setenv("INTERLOCK_DIR", directories[i], 1);
        CHECK_CODE(interlock_space_open("shm:x", &none), INTERLOCK_DIRECTORY);
        CHECK(says(directories[i]) && says("INTERLOCK_DIR"));
    }
    CHECK(unlink(file) == 0 && mkdir(file, 0777) == 0 && chmod(file, 0777) == 0);
    setenv("INTERLOCK_DIR", file, 1);
    CHECK_CODE(interlock_space_open("shm:x", &none), INTERLOCK_DIRECTORY);
    CHECK(says("written by other users"));
    setenv("INTERLOCK_DIR", check.directory, 1);
    rmdir(file);
    free(file);
}

static void names(void)
{
    begin();
    char longest[257];
    memset(longest, 'x', 256);
    longest[256] = '\0';
    static const char *const wrong[] = {"",
                                        "\xff",
                                        "a\x80",
                                        "\xc0\xaf",
                                        "\xed\xa0\x80",
                                        "\xf4\x90\x80\x80",
                                        "\xe2\x82",
                                        "\xf0\x8f\xbf\xbf"};
    interlock_lock *lock;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        lock = (interlock_lock *)1;
        CHECK_CODE(interlock_lock_open(space, wrong[i], &lock), INTERLOCK_NAME);
        CHECK(lock == NULL);
    }
    CHECK_CODE(interlock_lock_open(space, longest, &lock), INTERLOCK_NAME);
    longest[255] = '\0';
    static const char *const right[] = {"x", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x94\x92", "\xf4\x8f\xbf\xbf", "a b/c%"};
    for (size_t i = 0; i <= sizeof right / sizeof *right; i++) {
        TRY(interlock_lock_open(space, i == 0 ? longest : right[i - 1], &lock));
        TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
        TRY(interlock_lock_release(lock));
        interlock_lock_close(lock);
    }
    CHECK_CODE(interlock_lock_open(NULL, "x", &lock), INTERLOCK_ARGUMENT);
    CHECK(says("NULL is no space"));
    CHECK_CODE(interlock_lock_open(space, NULL, &lock), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_space_unlink(NULL, "x"), INTERLOCK_ARGUMENT);
    interlock_lock_close(NULL);
    end();
}

static void kinds_and_sizes(void)
{
    begin();
    interlock_lock *lock;
    interlock_rlock *rlock;
    interlock_rwlock *rwlock;
    interlock_semaphore *semaphore, *other;
    interlock_bounded_semaphore *bounded;
    interlock_event *event;
    interlock_barrier *barrier;
    TRY(interlock_semaphore_open(space, "x", 3, &semaphore));
    CHECK_CODE(interlock_lock_open(space, "x", &lock), INTERLOCK_KIND);
    CHECK(says("Lock 'x'") && says("it is a Semaphore") && says("unlink"));
    CHECK_CODE(interlock_rlock_open(space, "x", &rlock), INTERLOCK_KIND);
    CHECK_CODE(interlock_rwlock_open(space, "x", &rwlock), INTERLOCK_KIND);
    CHECK_CODE(interlock_event_open(space, "x", &event), INTERLOCK_KIND);
    CHECK_CODE(interlock_barrier_open(space, "x", 3, &barrier), INTERLOCK_KIND);
    CHECK_CODE(interlock_bounded_semaphore_open(space, "x", 3, &bounded), INTERLOCK_KIND);
    CHECK_CODE(interlock_semaphore_open(space, "x", 4, &other), INTERLOCK_PARAMETER);
    CHECK(other == NULL && says("(it has 3)"));
    TRY(interlock_bounded_semaphore_open(space, "bounded", 2, &bounded));
    interlock_bounded_semaphore *more;
    CHECK_CODE(interlock_bounded_semaphore_open(space, "bounded", 3, &more), INTERLOCK_PARAMETER);
    TRY(interlock_barrier_open(space, "barrier", 2, &barrier));
    interlock_barrier *larger;
    CHECK_CODE(interlock_barrier_open(space, "barrier", 3, &larger), INTERLOCK_PARAMETER);
    /* Sizes that are none. */
    CHECK_CODE(interlock_semaphore_open(space, "y", INTERLOCK_PERMITS_MAX + 1, &other), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_bounded_semaphore_open(space, "y", INTERLOCK_PERMITS_MAX + 1, &more), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_barrier_open(space, "y", 0, &larger), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_barrier_open(space, "y", 0x80000000u, &larger), INTERLOCK_ARGUMENT);
    CHECK(larger == NULL && more == NULL && other == NULL);
    /* Unlinked, a name may become another kind; the handle of the old one is told. */
    TRY(interlock_space_unlink(space, "x"));
    uint32_t value;
    TRY(interlock_semaphore_value(semaphore, &value));
    CHECK(value == 3);
    TRY(interlock_lock_open(space, "x", &lock));
    CHECK_CODE(interlock_semaphore_acquire(semaphore, INTERLOCK_NOW, 0), INTERLOCK_KIND);
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK_CODE(interlock_space_unlink(space, "x"), INTERLOCK_BUSY);
    TRY(interlock_lock_release(lock));
    uint64_t fence, later;
    TRY(interlock_lock_fence(lock, &fence));
    TRY(interlock_space_unlink(space, "x"));
    CHECK(interlock_lock_owner(lock, NULL) == 0 && interlock_lock_recovered(lock, NULL) == 0);
    TRY(interlock_lock_fence(lock, &later));
    CHECK(later >= fence);
    CHECK_CODE(interlock_lock_release(lock), INTERLOCK_NOT_HELD);
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    TRY(interlock_lock_fence(lock, &later));
    CHECK(later > fence);
    TRY(interlock_lock_release(lock));
    CHECK_CODE(interlock_space_unlink(space, "nobody's"), INTERLOCK_ABSENT);
    CHECK_CODE(interlock_space_unlink(space, ""), INTERLOCK_ABSENT);
    CHECK(says("no object"));
    interlock_lock_close(lock);
    interlock_semaphore_close(semaphore);
    interlock_bounded_semaphore_close(bounded);
    interlock_barrier_close(barrier);
    end();
}

/* Whether a process has a slot of the space. */
static bool is_used(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    int used = il_any_byte_locked(fd, 1, 100);
    close(fd);
    return used == 1;
}

/* However many spaces a process opens on one file, it is one owner. */
static void one_owner(void)
{
    begin();
    interlock_space *second;
    interlock_lock *lock, *same;
    TRY(interlock_space_open("shm:one-owner", &second));
    char *path = strdup(interlock_space_path(second));
    TRY(interlock_lock_open(second, "x", &lock));
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    interlock_lock_close(lock);
    interlock_space_close(second); /* nobody refers to it now, and it stays, since it is held */
    CHECK(is_used(path));
    TRY(interlock_space_open("shm:one-owner", &second));
    TRY(interlock_lock_open(second, "x", &same));
    interlock_space_close(second); /* the handle keeps it */
    CHECK_CODE(interlock_lock_acquire(same, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
    TRY(interlock_lock_release(same));
    interlock_lock_close(same);
    CHECK(!is_used(path));
    unlink(path);
    free(path);
    end();
}

/* --- spaces in trouble --- */

static void write_file(const char *path, const void *bytes, size_t length, off_t at)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && pwrite(fd, bytes, length, at) == (ssize_t)length);
    close(fd);
}

static void refused_spaces(void)
{
    TRY(interlock_space_open("shm:test-refused", &space));
    char *path = strdup(interlock_space_path(space));
    CHECK(path != NULL);
    interlock_space_close(space);
    const uint32_t version = 999;
    write_file(path, &version, sizeof version, offsetof(il_header, layout_version));
    CHECK_CODE(interlock_space_open("shm:test-refused", &space), INTERLOCK_LAYOUT);
    CHECK(space == NULL && says("layout version is 999") && says(path));
    write_file(path, "no magic", 8, 0);
    CHECK_CODE(interlock_space_open("shm:test-refused", &space), INTERLOCK_GARBAGE);
    CHECK(chmod(path, 0644) == 0);
    CHECK_CODE(interlock_space_open("shm:test-refused", &space), INTERLOCK_UNSAFE);
    CHECK(unlink(path) == 0 && mkdir(path, 0700) == 0);
    CHECK_CODE(interlock_space_open("shm:test-refused", &space), INTERLOCK_SYSTEM);
    CHECK(says("(Is a directory)"));
    CHECK(rmdir(path) == 0 && symlink("/nowhere", path) == 0);
    CHECK_CODE(interlock_space_open("shm:test-refused", &space), INTERLOCK_UNSAFE);
    CHECK(unlink(path) == 0);
    free(path);
}

static void no_room(void)
{
    interlock_space *full;
    pid_t child = check_fork();
    if (child == 0) {
        struct rlimit limit = {65536, 65536};
        signal(SIGXFSZ, SIG_IGN);
        CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
        CHECK_CODE(interlock_space_open("shm:test-full", &full), INTERLOCK_SPACE_FULL);
        CHECK(says("more bytes are needed") && says("INTERLOCK_DIR"));
        _exit(0);
    }
    CHECK_CHILD(child);
}

static void few_slots(void)
{
    setenv("INTERLOCK_SLOTS", "1", 1);
    begin();
    unsetenv("INTERLOCK_SLOTS");
    interlock_lock *lock;
    TRY(interlock_lock_open(space, "x", &lock));
    TRY(lock_wait(lock));
    pid_t child = check_fork();
    if (child == 0) {
        CHECK_CODE(interlock_lock_acquire(lock, INTERLOCK_NOW, 0), INTERLOCK_SLOTS_FULL);
        CHECK(says("(there are 1)") && says("INTERLOCK_SLOTS"));
        _exit(0);
    }
    CHECK_CHILD(child);
    TRY(lock_give(lock));
    interlock_lock_close(lock);
    end();
}

static void wiped(void)
{
    interlock_lock *lock, *other;
    interlock_space *again;
    TRY(interlock_space_open("shm:test-wiped", &space));
    TRY(interlock_lock_open(space, "x", &lock));
    TRY(lock_wait(lock));
    CHECK(unlink(interlock_space_path(space)) == 0);
    CHECK_CODE(interlock_space_open("shm:test-wiped", &again), INTERLOCK_WIPED);
    CHECK_CODE(interlock_lock_acquire(lock, INTERLOCK_FOREVER, 0), INTERLOCK_WIPED);
    CHECK(says("restart all programs"));
    CHECK_CODE(interlock_lock_open(space, "y", &other), INTERLOCK_WIPED);
    interlock_lock_close(lock);
    interlock_space_close(space);
    TRY(interlock_space_open("shm:test-wiped", &space)); /* nobody uses the old one any more */
    end();
}

static void orphaned_users(void)
{
    signal_pipe has = pipe_new();
    pid_t child = check_fork();
    if (child == 0) {
        interlock_lock *lock;
        TRY(interlock_space_open("shm:test-orphaned", &space));
        TRY(interlock_lock_open(space, "x", &lock));
        TRY(lock_wait(lock));
        CHECK(unlink(interlock_space_path(space)) == 0);
        tell(&has);
        for (;;)
            pause();
    }
    hear(&has);
    char pid[32];
    snprintf(pid, sizeof pid, "(process %d)", (int)child);
    CHECK_CODE(interlock_space_open("shm:test-orphaned", &space), INTERLOCK_ORPHANED_USERS);
    CHECK(says(pid));
    check_kill(child);
    TRY(interlock_space_open("shm:test-orphaned", &space));
    pipe_free(&has);
    end();
}

const test place_tests[] = {
    {"codes", codes},
    {"urls", urls},
    {"settings", settings},
    {"names", names},
    {"kinds_and_sizes", kinds_and_sizes},
    {"one_owner", one_owner},
    {"refused_spaces", refused_spaces},
    {"no_room", no_room},
    {"few_slots", few_slots},
    {"wiped", wiped},
    {"orphaned_users", orphaned_users},
    {NULL, NULL},
};
