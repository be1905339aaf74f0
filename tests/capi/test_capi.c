/* The C API: each function and each code that can be brought about, with real processes. Waits are asserted from below only.
 *
 *   test_capi [directory [name …]] */
#include <sys/syscall.h>

#include "../engine/basic.h"
#include "capi.h"

#define TRY(call) CHECK_CODE(call, INTERLOCK_OK)

static interlock_space *space;

/* A space of its own for each test. */
static void begin(void)
{
    static int count;
    char url[64];
    snprintf(url, sizeof url, "shm:test-%d", count++);
    TRY(interlock_space_open(url, &space));
}

static void end(void)
{
    CHECK(unlink(interlock_space_path(space)) == 0);
    interlock_space_close(space);
}

static bool says(const char *text)
{
    bool found = strstr(interlock_last_error(), text) != NULL;
    if (!found)
        fprintf(stderr, "last error: %s\n", interlock_last_error());
    return found;
}

/* Whether the thread sleeps on a futex that processes share. */
static bool sleeps(pid_t pid, pid_t thread)
{
    char path[64], text[128] = "";
    long number;
    unsigned long word, operation;
    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", (int)pid, (int)thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    return got > 0 && sscanf(text, "%ld %lx %lx", &number, &word, &operation) == 3 && number == SYS_futex &&
           (operation & 0x80) == 0;
}

/* A thread that calls a function with a handle and keeps what it returned. */
typedef struct {
    pthread_t thread;
    int (*call)(void *);
    void *argument;
    _Atomic(pid_t) id;
    int returned;
} task;

static void *run_task(void *argument)
{
    task *self = argument;
    self->id = (pid_t)il_thread_id();
    self->returned = self->call(self->argument);
    return NULL;
}

static void start(task *self, int (*call)(void *), void *argument)
{
    *self = (task){.call = call, .argument = argument};
    CHECK(pthread_create(&self->thread, NULL, run_task, self) == 0);
}

static int result(task *self)
{
    CHECK(pthread_join(self->thread, NULL) == 0);
    return self->returned;
}

static int in_thread(int (*call)(void *), void *argument)
{
    task other;
    start(&other, call, argument);
    return result(&other);
}

static void start_asleep(task *self, int (*call)(void *), void *argument)
{
    start(self, call, argument);
    AWAIT(self->id != 0 && sleeps(getpid(), self->id));
}

/* Calls that threads make. */
static int lock_wait(void *lock) { return interlock_lock_acquire(lock, INTERLOCK_FOREVER, 0); }
static int lock_give(void *lock) { return interlock_lock_release(lock); }
static int rlock_try(void *lock) { return interlock_rlock_acquire(lock, INTERLOCK_NOW, 0); }
static int rlock_give(void *lock) { return interlock_rlock_release(lock); }
static int write_wait(void *lock) { return interlock_rwlock_write(lock, INTERLOCK_FOREVER, 0); }
static int write_give(void *lock) { return interlock_rwlock_end_write(lock); }
static int write_try(void *lock) { return interlock_rwlock_write(lock, INTERLOCK_NOW, 0); }
static int read_try(void *lock) { return interlock_rwlock_read(lock, INTERLOCK_NOW, 0); }
static int read_give(void *lock) { return interlock_rwlock_end_read(lock); }
static int semaphore_wait(void *semaphore) { return interlock_semaphore_acquire(semaphore, INTERLOCK_FOREVER, 0); }
static int bounded_wait(void *semaphore) { return interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_FOREVER, 0); }
static int event_wait(void *event) { return interlock_event_wait(event, INTERLOCK_FOREVER, 0); }
static int barrier_wait(void *barrier) { return interlock_barrier_wait(barrier, INTERLOCK_FOREVER, 0, NULL); }

/* A child that calls a function, says so, and is killed holding what it got. Returns its pid. */
static pid_t die_after(int (*call)(void *), void *argument)
{
    signal_pipe called = pipe_new();
    pid_t child = check_fork();
    if (child == 0) {
        TRY(call(argument));
        tell(&called);
        for (;;)
            pause();
    }
    hear(&called);
    check_kill(child);
    pipe_free(&called);
    return child;
}

/* What a function returns in a forked child. */
static int in_child(int (*call)(void *), void *argument)
{
    pid_t child = check_fork();
    if (child == 0)
        _exit(-call(argument));
    int status = check_wait(child);
    CHECK(WIFEXITED(status));
    return -WEXITSTATUS(status);
}

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

/* --- Lock --- */

static void locks(void)
{
    begin();
    interlock_lock *lock, *same;
    interlock_owner owner;
    uint64_t fence, later;
    TRY(interlock_lock_open(space, "x", &lock));
    TRY(interlock_lock_open(space, "x", &same));
    CHECK_CODE(interlock_lock_release(lock), INTERLOCK_NOT_HELD);
    CHECK(says("Lock 'x'") && says("release only what was acquired"));
    CHECK(interlock_lock_owner(lock, &owner) == 0);
    TRY(interlock_lock_acquire(lock, INTERLOCK_FOREVER, 0));
    CHECK_CODE(interlock_lock_acquire(same, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
    uint64_t began = il_clock_ns();
    CHECK_CODE(interlock_lock_acquire(same, 30 * (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK(il_clock_ns() - began >= 30 * MS);
    CHECK_CODE(interlock_lock_acquire(same, 1, 0), INTERLOCK_TIMEDOUT);
    CHECK(interlock_lock_owner(same, &owner) == 1);
    CHECK(owner.pid == (uint32_t)getpid() && owner.thread == il_thread_id() && owner.died_ns == 0);
    CHECK(strstr(owner.program, "test_capi") != NULL && owner.host[0] != '\0');
    CHECK(interlock_lock_recovered(lock, &owner) == 0);
    CHECK_CODE(in_child(lock_give, lock), INTERLOCK_NOT_OWNER);
    TRY(in_thread(lock_give, same));
    TRY(interlock_lock_fence(lock, &fence));
    TRY(interlock_lock_acquire(same, INT64_MAX, INTERLOCK_INTERRUPTIBLE));
    TRY(interlock_lock_fence(lock, &later));
    CHECK(later == fence + 1);
    task waiter;
    start_asleep(&waiter, lock_wait, lock);
    TRY(interlock_lock_release(lock));
    TRY(result(&waiter));
    TRY(interlock_lock_release(lock));
    /* Arguments. */
    CHECK_CODE(interlock_lock_acquire(lock, -2, 0), INTERLOCK_ARGUMENT);
    CHECK(says("-2 ns"));
    CHECK_CODE(interlock_lock_acquire(lock, 0, 2), INTERLOCK_ARGUMENT);
    CHECK(interlock_lock_owner(lock, NULL) == 0);
    interlock_lock_close(lock);
    interlock_lock_close(same);
    end();
}

static void lock_deaths(void)
{
    begin();
    interlock_lock *lock;
    interlock_owner dead = {0};
    TRY(interlock_lock_open(space, "x", &lock));
    pid_t child = die_after(lock_wait, lock);
    CHECK(interlock_lock_owner(lock, NULL) == 0);
    CHECK(interlock_lock_recovered(lock, &dead) == 0);
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_lock_recovered(lock, &dead) == 1 && interlock_lock_recovered(lock, NULL) == 1);
    CHECK(dead.pid == (uint32_t)child && dead.thread == (uint32_t)child && dead.died_ns != 0);
    CHECK(strstr(dead.program, "test_capi") != NULL);
    TRY(interlock_lock_release_unrepaired(lock));
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_lock_recovered(lock, NULL) == 1);
    TRY(interlock_lock_release(lock));
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_lock_recovered(lock, NULL) == 0);
    TRY(interlock_lock_release_unrepaired(lock));
    CHECK_CODE(interlock_lock_release_unrepaired(lock), INTERLOCK_NOT_HELD);
    /* One who sleeps. */
    signal_pipe has = pipe_new();
    child = check_fork();
    if (child == 0) {
        TRY(lock_wait(lock));
        tell(&has);
        for (;;)
            pause();
    }
    hear(&has);
    task waiter;
    start_asleep(&waiter, lock_wait, lock);
    check_kill(child);
    TRY(result(&waiter));
    CHECK(interlock_lock_recovered(lock, &dead) == 1 && dead.pid == (uint32_t)child);
    TRY(interlock_lock_release(lock));
    pipe_free(&has);
    interlock_lock_close(lock);
    end();
}

/* --- RLock --- */

static void rlocks(void)
{
    begin();
    interlock_rlock *lock;
    interlock_owner owner;
    uint64_t fence, later;
    TRY(interlock_rlock_open(space, "x", &lock));
    CHECK_CODE(interlock_rlock_release(lock), INTERLOCK_NOT_HELD);
    TRY(interlock_rlock_fence(lock, &fence));
    for (int i = 0; i < 3; i++)
        TRY(interlock_rlock_acquire(lock, INTERLOCK_FOREVER, 0));
    CHECK(interlock_rlock_owner(lock, &owner) == 1 && owner.thread == il_thread_id());
    CHECK_CODE(in_thread(rlock_try, lock), INTERLOCK_BUSY);
    CHECK_CODE(in_thread(rlock_give, lock), INTERLOCK_NOT_OWNER);
    CHECK_CODE(in_child(rlock_give, lock), INTERLOCK_NOT_OWNER);
    CHECK_CODE(in_child(rlock_try, lock), INTERLOCK_BUSY);
    il_u32 *depth = &capi_mutex(&lock->handle, il_load_relaxed(&lock->handle.ref))->depth;
    il_store_relaxed(depth, UINT32_MAX);
    CHECK_CODE(interlock_rlock_acquire(lock, INTERLOCK_NOW, 0), INTERLOCK_DEPTH);
    il_store_relaxed(depth, 3);
    for (int i = 0; i < 3; i++) {
        CHECK_CODE(in_thread(rlock_try, lock), INTERLOCK_BUSY);
        TRY(interlock_rlock_release(lock));
    }
    TRY(interlock_rlock_fence(lock, &later));
    CHECK(later == fence + 1);
    TRY(in_thread(rlock_try, lock)); /* a thread that ends holding it */
    CHECK_CODE(interlock_rlock_acquire(lock, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK_CODE(interlock_rlock_acquire(lock, -2, 0), INTERLOCK_ARGUMENT);
    interlock_rlock_close(lock);
    /* Deaths. */
    TRY(interlock_rlock_open(space, "y", &lock));
    pid_t child = die_after(rlock_try, lock);
    TRY(interlock_rlock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_rlock_recovered(lock, &owner) == 1 && owner.pid == (uint32_t)child);
    TRY(interlock_rlock_release_unrepaired(lock));
    TRY(interlock_rlock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_rlock_recovered(lock, NULL) == 1);
    TRY(interlock_rlock_release(lock));
    interlock_rlock_close(lock);
    end();
}

/* --- RWLock --- */

static void rwlocks(void)
{
    begin();
    interlock_rwlock *lock;
    interlock_owner owner;
    uint64_t readers, fence, later;
    TRY(interlock_rwlock_open(space, "x", &lock));
    CHECK_CODE(interlock_rwlock_end_read(lock), INTERLOCK_NOT_HELD);
    CHECK_CODE(interlock_rwlock_end_write(lock), INTERLOCK_NOT_HELD);
    CHECK_CODE(interlock_rwlock_downgrade(lock), INTERLOCK_NOT_HELD);
    TRY(read_try(lock));
    TRY(in_thread(read_try, lock));
    TRY(in_child(read_try, lock)); /* which ends, and reads no more */
    CHECK_CODE(in_child(read_give, lock), INTERLOCK_NOT_HELD);
    CHECK_CODE(in_thread(write_try, lock), INTERLOCK_BUSY);
    CHECK_CODE(write_try(lock), INTERLOCK_DEADLOCK);
    CHECK(says("downgrade"));
    TRY(interlock_rwlock_readers(lock, &readers));
    CHECK(readers == 2);
    CHECK(interlock_rwlock_writer(lock, &owner) == 0);
    /* A waiting writer keeps out new readers, and not who reads already. */
    task writer;
    start_asleep(&writer, write_wait, lock);
    CHECK(interlock_rwlock_writer(lock, &owner) == 0);
    CHECK_CODE(in_thread(read_try, lock), INTERLOCK_BUSY);
    TRY(read_try(lock));
    for (int i = 0; i < 3; i++)
        TRY(read_give(lock));
    TRY(result(&writer));
    CHECK(interlock_rwlock_writer(lock, &owner) == 1 && owner.pid == (uint32_t)getpid());
    CHECK_CODE(read_try(lock), INTERLOCK_BUSY);
    CHECK_CODE(interlock_rwlock_read(lock, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK_CODE(in_child(write_give, lock), INTERLOCK_NOT_OWNER);
    TRY(interlock_rwlock_fence(lock, &fence));
    TRY(write_give(lock));
    TRY(write_try(lock));
    TRY(interlock_rwlock_fence(lock, &later));
    CHECK(later > fence);
    CHECK_CODE(read_try(lock), INTERLOCK_DEADLOCK);
    CHECK_CODE(write_try(lock), INTERLOCK_DEADLOCK);
    TRY(interlock_rwlock_downgrade(lock));
    TRY(in_thread(read_try, lock));
    TRY(read_give(lock));
    TRY(in_thread(read_give, lock));
    CHECK_CODE(read_give(lock), INTERLOCK_NOT_HELD);
    /* What another thread has released leaves no note that refuses. */
    TRY(read_try(lock));
    TRY(in_thread(read_give, lock));
    TRY(write_try(lock));
    TRY(write_give(lock));
    CHECK_CODE(interlock_rwlock_read(lock, -2, 0), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_rwlock_write(lock, -2, 0), INTERLOCK_ARGUMENT);
    /* Several at a time. */
    interlock_rwlock *others[20];
    for (int i = 0; i < 20; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        TRY(interlock_rwlock_open(space, name, &others[i]));
        TRY(read_try(others[i]));
    }
    for (int i = 0; i < 20; i++)
        CHECK_CODE(write_try(others[i]), INTERLOCK_DEADLOCK);
    for (int i = 0; i < 20; i++) {
        TRY(read_give(others[i]));
        TRY(write_try(others[i]));
        TRY(write_give(others[i]));
        interlock_rwlock_close(others[i]);
    }
    interlock_rwlock_close(lock);
    end();
}

static void rwlock_deaths(void)
{
    begin();
    interlock_rwlock *lock;
    interlock_owner dead;
    TRY(interlock_rwlock_open(space, "x", &lock));
    die_after(read_try, lock);
    TRY(write_try(lock));
    CHECK(interlock_rwlock_recovered(lock, NULL) == 0); /* a reader leaves nothing half done */
    TRY(write_give(lock));
    pid_t child = die_after(write_try, lock);
    CHECK(interlock_rwlock_recovered(lock, &dead) == 0);
    TRY(read_try(lock));
    CHECK(interlock_rwlock_recovered(lock, &dead) == 1 && dead.pid == (uint32_t)child);
    TRY(read_give(lock));
    TRY(write_try(lock));
    CHECK(interlock_rwlock_recovered(lock, &dead) == 1 && dead.pid == (uint32_t)child);
    TRY(interlock_rwlock_end_write_unrepaired(lock));
    TRY(write_try(lock));
    CHECK(interlock_rwlock_recovered(lock, NULL) == 1);
    TRY(write_give(lock));
    TRY(read_try(lock));
    CHECK(interlock_rwlock_recovered(lock, NULL) == 0);
    TRY(read_give(lock));
    interlock_rwlock_close(lock);
    end();
}

/* --- Semaphore and BoundedSemaphore --- */

static void semaphores(void)
{
    begin();
    interlock_semaphore *semaphore;
    uint32_t value;
    TRY(interlock_semaphore_open(space, "x", 1, &semaphore));
    TRY(interlock_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    CHECK_CODE(interlock_semaphore_acquire(semaphore, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
    CHECK_CODE(interlock_semaphore_acquire(semaphore, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    task waiter;
    start_asleep(&waiter, semaphore_wait, semaphore);
    TRY(interlock_semaphore_release(semaphore, 3));
    TRY(result(&waiter));
    TRY(interlock_semaphore_value(semaphore, &value));
    CHECK(value == 2);
    TRY(interlock_semaphore_release(semaphore, 1));
    CHECK_CODE(interlock_semaphore_release(semaphore, 0), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_semaphore_release(semaphore, INTERLOCK_PERMITS_MAX + 1), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_semaphore_release(semaphore, INTERLOCK_PERMITS_MAX), INTERLOCK_OVERFLOW);
    TRY(interlock_semaphore_release(semaphore, INTERLOCK_PERMITS_MAX - 3));
    CHECK_CODE(interlock_semaphore_release(semaphore, 1), INTERLOCK_OVERFLOW);
    TRY(interlock_semaphore_value(semaphore, &value));
    CHECK(value == INTERLOCK_PERMITS_MAX);
    die_after(semaphore_wait, semaphore);
    TRY(interlock_semaphore_value(semaphore, &value));
    CHECK(value == INTERLOCK_PERMITS_MAX - 1); /* it stays taken */
    CHECK_CODE(interlock_semaphore_acquire(semaphore, -2, 0), INTERLOCK_ARGUMENT);
    interlock_semaphore_close(semaphore);
    end();
}

static int bounded_give(void *semaphore) { return interlock_bounded_semaphore_release(semaphore, 1); }

static void bounded_semaphores(void)
{
    begin();
    interlock_bounded_semaphore *semaphore;
    uint32_t value;
    TRY(interlock_bounded_semaphore_open(space, "x", 3, &semaphore));
    CHECK_CODE(bounded_give(semaphore), INTERLOCK_NOT_HELD);
    for (int i = 0; i < 3; i++)
        TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    CHECK_CODE(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
    CHECK_CODE(interlock_bounded_semaphore_acquire(semaphore, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK_CODE(in_child(bounded_give, semaphore), INTERLOCK_NOT_HELD);
    CHECK_CODE(interlock_bounded_semaphore_release(semaphore, 0), INTERLOCK_ARGUMENT);
    CHECK_CODE(interlock_bounded_semaphore_release(semaphore, 4), INTERLOCK_NOT_HELD);
    TRY(interlock_bounded_semaphore_release(semaphore, 2));
    TRY(interlock_bounded_semaphore_value(semaphore, &value));
    CHECK(value == 2);
    task waiter;
    TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    start_asleep(&waiter, bounded_wait, semaphore);
    TRY(bounded_give(semaphore));
    TRY(result(&waiter));
    TRY(interlock_bounded_semaphore_release(semaphore, 3));
    /* A kept permit is given to another process. */
    TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    TRY(bounded_give(semaphore));
    for (int i = 0; i < 3; i++)
        die_after(bounded_wait, semaphore);
    for (int i = 0; i < 3; i++)
        TRY(interlock_bounded_semaphore_acquire(semaphore, INTERLOCK_NOW, 0));
    CHECK_CODE(interlock_bounded_semaphore_acquire(semaphore, -2, 0), INTERLOCK_ARGUMENT);
    interlock_bounded_semaphore_close(semaphore);
    end();
}

/* --- Event and Barrier --- */

static void events(void)
{
    begin();
    interlock_event *event;
    TRY(interlock_event_open(space, "x", &event));
    CHECK(interlock_event_is_set(event) == 0);
    CHECK_CODE(interlock_event_wait(event, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
    CHECK_CODE(interlock_event_wait(event, (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    task waiter;
    start_asleep(&waiter, event_wait, event);
    TRY(interlock_event_set(event));
    TRY(interlock_event_clear(event)); /* missed by nobody who waited */
    TRY(result(&waiter));
    TRY(interlock_event_set(event));
    CHECK(interlock_event_is_set(event) == 1);
    TRY(interlock_event_wait(event, INTERLOCK_NOW, 0));
    TRY(in_child(event_wait, event));
    TRY(interlock_space_unlink(space, "x"));
    CHECK(interlock_event_is_set(event) == 0);
    CHECK_CODE(interlock_event_wait(event, -2, 0), INTERLOCK_ARGUMENT);
    interlock_event_close(event);
    end();
}

static void barriers(void)
{
    begin();
    interlock_barrier *barrier;
    uint32_t place = 7;
    TRY(interlock_barrier_open(space, "x", 2, &barrier));
    task other;
    start_asleep(&other, barrier_wait, barrier);
    TRY(interlock_barrier_wait(barrier, INTERLOCK_FOREVER, 0, &place));
    TRY(result(&other));
    CHECK(place == 1);
    /* Aborted, and reset. */
    start_asleep(&other, barrier_wait, barrier);
    TRY(interlock_barrier_abort(barrier));
    CHECK_CODE(result(&other), INTERLOCK_BROKEN);
    CHECK_CODE(barrier_wait(barrier), INTERLOCK_BROKEN);
    CHECK(says("reset"));
    TRY(interlock_barrier_reset(barrier));
    start_asleep(&other, barrier_wait, barrier);
    TRY(interlock_barrier_reset(barrier));
    CHECK_CODE(result(&other), INTERLOCK_BROKEN);
    /* Whose time is over breaks it. */
    CHECK_CODE(interlock_barrier_wait(barrier, INTERLOCK_NOW, 0, NULL), INTERLOCK_BROKEN);
    TRY(interlock_barrier_reset(barrier));
    CHECK_CODE(interlock_barrier_wait(barrier, (int64_t)MS, 0, NULL), INTERLOCK_BROKEN);
    TRY(interlock_barrier_reset(barrier));
    /* And so does a death. */
    interlock_barrier *three;
    TRY(interlock_barrier_open(space, "y", 3, &three));
    pid_t child = check_fork();
    if (child == 0) {
        barrier_wait(three);
        _exit(1);
    }
    AWAIT(sleeps(child, child));
    start_asleep(&other, barrier_wait, three);
    check_kill(child);
    CHECK_CODE(result(&other), INTERLOCK_BROKEN);
    CHECK_CODE(interlock_barrier_wait(barrier, -2, 0, NULL), INTERLOCK_ARGUMENT);
    interlock_barrier_close(barrier);
    interlock_barrier_close(three);
    end();
}

/* --- signals --- */

static void ignore(int signal)
{
    (void)signal;
}

/* A child that interrupts its parent's main thread whenever that sleeps, `times` times; 0: until it is killed. */
static pid_t pest(int times)
{
    pid_t parent = getpid(), child = check_fork();
    if (child != 0)
        return child;
    for (int sent = 0; times == 0 || sent < times; sent++) {
        AWAIT(sleeps(parent, parent));
        kill(parent, SIGUSR1);
        sched_yield();
    }
    _exit(0);
}

static void signals(void)
{
    begin();
    interlock_lock *lock;
    interlock_rlock *rlock;
    interlock_rwlock *rwlock, *read;
    interlock_semaphore *semaphore;
    interlock_bounded_semaphore *bounded;
    interlock_event *event;
    interlock_barrier *barrier;
    struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    TRY(interlock_lock_open(space, "lock", &lock));
    TRY(interlock_rlock_open(space, "rlock", &rlock));
    TRY(interlock_rwlock_open(space, "rwlock", &rwlock));
    TRY(interlock_rwlock_open(space, "read", &read));
    TRY(interlock_semaphore_open(space, "semaphore", 0, &semaphore));
    TRY(interlock_bounded_semaphore_open(space, "bounded", 0, &bounded));
    TRY(interlock_event_open(space, "event", &event));
    TRY(interlock_barrier_open(space, "barrier", 2, &barrier));
    TRY(lock_wait(lock));
    TRY(in_thread(rlock_try, rlock));
    TRY(in_thread(write_try, rwlock));
    TRY(in_thread(read_try, read));

    const int64_t ever = INTERLOCK_FOREVER;
    const unsigned flags = INTERLOCK_INTERRUPTIBLE;
    pid_t child = pest(0);
    CHECK_CODE(interlock_lock_acquire(lock, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_rlock_acquire(rlock, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_rwlock_read(rwlock, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_rwlock_write(rwlock, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_rwlock_write(read, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_semaphore_acquire(semaphore, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_bounded_semaphore_acquire(bounded, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_event_wait(event, ever, flags), INTERLOCK_INTERRUPTED);
    CHECK_CODE(interlock_barrier_wait(barrier, ever, flags, NULL), INTERLOCK_INTERRUPTED);
    check_kill(child);
    /* Nothing of it was taken, nor is broken. */
    TRY(in_thread(read_try, read));
    task other;
    start_asleep(&other, barrier_wait, barrier);
    TRY(barrier_wait(barrier));
    TRY(result(&other));

    /* Without the flag they go on, to their deadline. */
    child = pest(3);
    uint64_t began = il_clock_ns();
    CHECK_CODE(interlock_lock_acquire(lock, 50 * (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK(il_clock_ns() - began >= 50 * MS);
    CHECK_CODE(interlock_rwlock_write(read, 50 * (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    CHECK_CODE(interlock_barrier_wait(barrier, 50 * (int64_t)MS, 0, NULL), INTERLOCK_BROKEN);
    CHECK_CODE(interlock_event_wait(event, 50 * (int64_t)MS, 0), INTERLOCK_TIMEDOUT);
    kill(child, SIGKILL);
    check_wait(child);
    TRY(interlock_lock_release(lock));
    TRY(write_give(rwlock));
    TRY(read_give(read));
    TRY(read_give(read));
    interlock_lock_close(lock);
    interlock_rlock_close(rlock);
    interlock_rwlock_close(rwlock);
    interlock_rwlock_close(read);
    interlock_semaphore_close(semaphore);
    interlock_bounded_semaphore_close(bounded);
    interlock_event_close(event);
    interlock_barrier_close(barrier);
    end();
}

/* --- fork --- */

static void forks(void)
{
    begin();
    interlock_lock *lock;
    interlock_rlock *rlock;
    interlock_rwlock *rwlock;
    TRY(interlock_lock_open(space, "lock", &lock));
    TRY(interlock_rlock_open(space, "rlock", &rlock));
    TRY(interlock_rwlock_open(space, "rwlock", &rwlock));
    TRY(lock_wait(lock));
    TRY(rlock_try(rlock));
    TRY(read_try(rwlock));
    pid_t child = check_fork();
    if (child == 0) {
        interlock_lock *mine;
        interlock_owner owner;
        CHECK_CODE(interlock_lock_acquire(lock, INTERLOCK_NOW, 0), INTERLOCK_BUSY);
        CHECK(interlock_lock_owner(lock, &owner) == 1 && owner.pid == (uint32_t)getppid());
        CHECK_CODE(rlock_try(rlock), INTERLOCK_BUSY);
        CHECK_CODE(write_try(rwlock), INTERLOCK_BUSY); /* it is the parent that reads, so this is no deadlock */
        TRY(interlock_lock_open(space, "child's", &mine));
        TRY(lock_wait(mine));
        CHECK(interlock_lock_owner(mine, &owner) == 1);
        CHECK(owner.pid == (uint32_t)getpid() && owner.thread == (uint32_t)getpid());
        interlock_lock_close(mine);
        interlock_lock_close(lock);
        interlock_rlock_close(rlock);
        interlock_rwlock_close(rwlock);
        interlock_space_close(space);
        _exit(0);
    }
    CHECK_CHILD(child);
    TRY(lock_give(lock));
    TRY(rlock_give(rlock));
    TRY(read_give(rwlock));
    interlock_lock_close(lock);
    interlock_rlock_close(rlock);
    interlock_rwlock_close(rwlock);
    TRY(interlock_lock_open(space, "child's", &lock));
    TRY(interlock_lock_acquire(lock, INTERLOCK_NOW, 0));
    CHECK(interlock_lock_recovered(lock, NULL) == 1);
    TRY(interlock_lock_release(lock));
    interlock_lock_close(lock);
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

/* --- threads: for the race detector, too --- */

enum { THREADS = 4, ROUNDS = 2000 };

typedef struct {
    interlock_lock *lock;
    interlock_rlock *rlock;
    interlock_rwlock *rwlock;
    interlock_semaphore *semaphore;
    interlock_bounded_semaphore *bounded;
    interlock_barrier *barrier;
    interlock_event *event;
    unsigned locked, relocked, written, signalled, bounded_count; /* each under its own lock */
    _Atomic unsigned seen;
} shared_handles;

static int use_all(void *argument)
{
    shared_handles *of = argument;
    for (int i = 0; i < ROUNDS; i++) {
        interlock_lock *own;
        interlock_space *opened;
        TRY(lock_wait(of->lock));
        of->locked++;
        TRY(lock_give(of->lock));
        TRY(interlock_rlock_acquire(of->rlock, INTERLOCK_FOREVER, 0));
        TRY(interlock_rlock_acquire(of->rlock, INTERLOCK_FOREVER, 0));
        of->relocked++;
        TRY(rlock_give(of->rlock));
        TRY(rlock_give(of->rlock));
        if (i % 8 == 0) {
            TRY(write_wait(of->rwlock));
            of->written++;
            TRY(write_give(of->rwlock));
            TRY(interlock_space_open("shm:test-threads", &opened));
            TRY(interlock_lock_open(opened, "own", &own));
            interlock_space_close(opened);
            CHECK_CODE(interlock_lock_acquire(own, -3, 0), INTERLOCK_ARGUMENT);
            CHECK(says("-3 ns"));
            interlock_lock_close(own);
        } else {
            TRY(interlock_rwlock_read(of->rwlock, INTERLOCK_FOREVER, 0));
            of->seen += of->written & 1;
            TRY(read_give(of->rwlock));
        }
        TRY(semaphore_wait(of->semaphore));
        of->signalled++;
        TRY(interlock_semaphore_release(of->semaphore, 1));
        TRY(bounded_wait(of->bounded));
        of->bounded_count++;
        TRY(bounded_give(of->bounded));
        if (i % 256 == 0)
            TRY(barrier_wait(of->barrier));
    }
    return event_wait(of->event);
}

static void threads(void)
{
    begin();
    shared_handles of = {0};
    task tasks[THREADS];
    TRY(interlock_lock_open(space, "lock", &of.lock));
    TRY(interlock_rlock_open(space, "rlock", &of.rlock));
    TRY(interlock_rwlock_open(space, "rwlock", &of.rwlock));
    TRY(interlock_semaphore_open(space, "semaphore", 1, &of.semaphore));
    TRY(interlock_bounded_semaphore_open(space, "bounded", 1, &of.bounded));
    TRY(interlock_barrier_open(space, "barrier", THREADS, &of.barrier));
    TRY(interlock_event_open(space, "event", &of.event));
    for (int i = 0; i < THREADS; i++)
        start(&tasks[i], use_all, &of);
    TRY(interlock_event_set(of.event));
    for (int i = 0; i < THREADS; i++)
        TRY(result(&tasks[i]));
    CHECK(of.locked == THREADS * ROUNDS && of.relocked == of.locked && of.signalled == of.locked);
    CHECK(of.bounded_count == of.locked && of.written == of.locked / 8);
    interlock_lock_close(of.lock);
    interlock_rlock_close(of.rlock);
    interlock_rwlock_close(of.rwlock);
    interlock_semaphore_close(of.semaphore);
    interlock_bounded_semaphore_close(of.bounded);
    interlock_barrier_close(of.barrier);
    interlock_event_close(of.event);
    interlock_space *made;
    TRY(interlock_space_open("shm:test-threads", &made));
    CHECK(unlink(interlock_space_path(made)) == 0);
    interlock_space_close(made);
    end();
}

static const test tests[] = {
    {"codes", codes},
    {"urls", urls},
    {"settings", settings},
    {"names", names},
    {"kinds_and_sizes", kinds_and_sizes},
    {"one_owner", one_owner},
    {"locks", locks},
    {"lock_deaths", lock_deaths},
    {"rlocks", rlocks},
    {"rwlocks", rwlocks},
    {"rwlock_deaths", rwlock_deaths},
    {"semaphores", semaphores},
    {"bounded_semaphores", bounded_semaphores},
    {"events", events},
    {"barriers", barriers},
    {"signals", signals},
    {"forks", forks},
    {"refused_spaces", refused_spaces},
    {"no_room", no_room},
    {"few_slots", few_slots},
    {"wiped", wiped},
    {"orphaned_users", orphaned_users},
    {"threads", threads},
};

int main(int argc, char **argv)
{
    check_begin(argc, argv, 120);
    setenv("INTERLOCK_DIR", check.directory, 1);
    unsetenv("INTERLOCK_SPACE");
    unsetenv("INTERLOCK_SLOTS");
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        bool wanted = argc <= 2;
        for (int at = 2; at < argc; at++)
            wanted = wanted || strcmp(argv[at], tests[i].name) == 0;
        if (!wanted)
            continue;
        uint64_t began = il_clock_ns();
        tests[i].run();
        printf("ok capi %-31s %6.0f ms\n", tests[i].name, (double)(il_clock_ns() - began) / 1e6);
        fflush(stdout);
    }
    check_clean();
    return 0;
}
