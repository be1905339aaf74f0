#include "stage.h"

shared_memory *shared;
uint64_t hang_limit_ns = 10 * SECOND;
the_stage stage;

_Noreturn void found(int line, const char *what)
{
    printf("FOUND %s, after instruction %ld (line %d): %s\n", stage.scenario, stage.point, line, what);
    fflush(stdout);
    check_clean();
    _exit(1);
}

void on_hang(int signal)
{
    (void)signal;
    char text[160];
    int length = snprintf(text, sizeof text, "FOUND %s, after instruction %ld: nobody gets on\n", stage.scenario, stage.point);
    _exit(write(1, text, (size_t)length) == length ? 1 : 2);
}

void hang_watch(void)
{
    uint64_t ns = 3 * hang_limit_ns;
    struct itimerval limit = {.it_value = {(time_t)(ns / SECOND), (suseconds_t)(ns % SECOND / 1000)}};
    setitimer(ITIMER_REAL, &limit, NULL);
}

void nap(void)
{
    struct timespec pause = {0, 30000};
    nanosleep(&pause, NULL);
}

void no_complaints(void)
{
    JUDGED(il_load_relaxed(&shared->complaints) == 0, "two were inside at a time, or a fence did not rise");
}

void succeed_at(gate *at, il_ref ref, uint64_t deadline_ns, int orphan)
{
    il_wait wait = {.deadline_ns = deadline_ns};
    int code = il_mutex_lock(stage.space, mutex_of(ref), il_ref_key(ref), TOKEN, &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(orphan < 0 || wait.orphan == (orphan != 0), "the orphan mark is wrong");
    uint64_t fence = enter(at, JUDGE, mutex_of(ref));
    leave(at, JUDGE, mutex_of(ref), fence);
    code = il_mutex_unlock(stage.space, mutex_of(ref), il_ref_key(ref), 0);
    JUDGED(code == IL_OK, il_status_name(code));
    no_complaints();
}

il_ref find(il_space *space, const char *name, uint8_t kind)
{
    il_ref ref = 0;
    uint8_t kind_found;
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = il_table_resolve(space, name, strlen(name), kind, 0, &wait, &ref, &kind_found);
    JUDGED(code == IL_OK, il_status_name(code));
    return ref;
}

bool stands_in_list(uint32_t slot, uint32_t *length)
{
    bool found_it = false;
    *length = 0;
    /* A queue and a list of shares begin in the same place. */
    uint32_t at = il_load_relaxed(&il_ref_cell(stage.space, stage.object)->state.queue.first);
    for (; at != 0 && *length < IL_RECORDS; at = il_load_relaxed(&stage.space->records[at].next)) {
        found_it |= (il_load_relaxed(&stage.space->records[at].owner) & IL_OWNER) == slot &&
                    il_load_relaxed(&stage.space->records[at].state) != IL_WAIT_LEFT;
        ++*length;
    }
    JUDGED(*length < IL_RECORDS, "the list has no end");
    return found_it;
}

/* --- helpers: other living processes --- */

static void helper_life(uint32_t n)
{
    CHECK_CODE(il_attach(stage.space), IL_OK);
    for (;;) {
        il_u32 *order_word = &shared->helpers[n].order;
        while (il_load_acquire(order_word) == REST)
            il_futex_wait(order_word, REST, il_clock_ns() + SECOND);
        if (il_load_relaxed(order_word) == HELP) {
            atomic_store(&shared->helpers[n].code, stage.help(n));
            il_store_release(order_word, REST);
            continue;
        }
        il_mutex *mutex = mutex_of(stage.lock);
        il_wait wait = {.deadline_ns = il_clock_ns() + hang_limit_ns, .slices = il_load_relaxed(&shared->helpers[n].slices)};
        int code = il_mutex_lock(stage.space, mutex, il_ref_key(stage.lock), TOKEN, &wait);
        if (code == IL_OK) {
            uint64_t fence = enter(&shared->gates[0], HELPER + n, mutex);
            if (il_load_relaxed(order_word) == HOLD_UNTIL_RESERVED) {
                while (!(il_load_relaxed(&mutex->word) & IL_RESERVED) && !il_load_relaxed(&shared->release))
                    nap();
            }
            leave(&shared->gates[0], HELPER + n, mutex, fence);
            code = il_mutex_unlock(stage.space, mutex, il_ref_key(stage.lock), 0);
        }
        il_store_relaxed(&shared->helpers[n].orphan, wait.orphan);
        atomic_store(&shared->helpers[n].code, code);
        il_store_release(order_word, REST);
    }
}

void start_helper(uint32_t n)
{
    il_process_before_fork(&stage.process);
    pid_t pid = check_fork();
    il_process_after_fork(&stage.process, pid == 0);
    if (pid == 0) {
        setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
        helper_life(n);
    }
    shared->helpers[n].pid = pid;
}

void give_order(uint32_t n, order what, uint32_t slices)
{
    il_store_relaxed(&shared->helpers[n].slices, slices);
    il_store_release(&shared->helpers[n].order, (uint32_t)what);
    il_futex_wake(&shared->helpers[n].order, 1);
}

bool asleep(pid_t pid)
{
    char path[64], text[256], *end;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    CHECK(got > 0);
    text[got] = '\0';
    end = strrchr(text, ')');
    return end != NULL && end[2] == 'S';
}

void helper_must_finish(uint32_t n, int orphan)
{
    AWAIT(il_load_acquire(&shared->helpers[n].order) == REST, "a waiter never comes back");
    int code = shared->helpers[n].code;
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(orphan < 0 || il_load_relaxed(&shared->helpers[n].orphan) == (orphan != 0), "the orphan mark is wrong");
    no_complaints();
}
