/* Who is alive, and what the dead leave; what happens when the file is taken away. */
#include "basic.h"

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
    enum { MIDDLE_OF_CELLS = 3 };
    static const double parts[] = {0, 0.1, 0.5, 0, 0.999}; /* of the file, but for one */
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
            uint64_t middle = space->header->cells_at + il_cells_of_levels(1) / 2 * sizeof(il_cell);
            off_t end = i == MIDDLE_OF_CELLS ? (off_t)middle : (off_t)((double)file.st_size * parts[i]);
            CHECK(truncate(path, end) == 0);
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

const test liveness_tests[] = {
    {"out_of_slots", out_of_slots},
    {"liveness_probes", liveness_probes},
    {"wiped_by_unlink", wiped_by_unlink},
    {"wiped_by_replacement", wiped_by_replacement},
    {"wiped_by_truncation", wiped_by_truncation},
    {"foreign_bus_error", foreign_bus_error},
    {"fork_keeps_to_the_parent", fork_keeps_to_the_parent},
    {"fork_does_not_keep_the_dead_alive", fork_does_not_keep_the_dead_alive},
    {"exec_frees", exec_frees},
    {"closing_all_descriptors_keeps", closing_all_descriptors_keeps},
    {"death_is_remembered", death_is_remembered},
    {"zombies_and_headless", zombies_and_headless},
    {"sleeper_recovers", sleeper_recovers},
    {NULL, NULL},
};
