/* Kill after every instruction.
 *
 * A victim does one operation under ptrace. It is stepped i instructions into it and killed, for i = 0, 1, 2 … until it gets
 * to the end. After each kill others must be able to go on: take the locks, at once where the owner is dead; find every
 * name in one cell, with no fence below an earlier one; get every slot. Two detectors watch the exclusive sections: a word
 * in memory of its own that says who is inside, and the fences, which have to rise from one holder to the next.
 *
 * Long operations contain loops over the whole table in which round after round does the same. There, rounds next to
 * anything else are stepped through, and those between are passed over with a breakpoint: see `points_of`.
 *
 * A finding is printed as a line that begins with FOUND, and ends the run with status 1. The broken builds (BREAK) must end
 * that way.
 *
 *   stepper [--hang-limit-ms N] [directory [scenario …]] */
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include "il_hash.h"
#include "il_platform.h"
#include "stage.h"

#if !defined(__x86_64__)
#error "the stepper knows the registers and the breakpoint instruction of x86-64 only"
#endif

enum { TRACE_MAX = 400000, HOT = 100, EDGE = 24 };

static uint64_t trace[TRACE_MAX]; /* addresses of the victim's instructions */
extern char __executable_start, etext;

/* Stops the victim, which is at its end or at its start, for the judge. */
static void marker(void)
{
    syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
}

static pid_t start_victim(const scenario *scenario)
{
    il_process_before_fork(&stage.process);
    pid_t victim = check_fork();
    il_process_after_fork(&stage.process, victim == 0);
    if (victim == 0) {
        scenario->prepare();
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        marker();
        scenario->act();
        marker();
        _exit(0);
    }
    int status;
    CHECK(waitpid(victim, &status, 0) == victim && WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    scenario->meanwhile();
    return victim;
}

/* Lets the victim go on. True: it got to its end. */
static bool go_on(pid_t victim, int how, int signal)
{
    int status;
    CHECK(ptrace((enum __ptrace_request)how, victim, NULL, (void *)(intptr_t)signal) == 0);
    while (waitpid(victim, &status, 0) != victim)
        CHECK(errno == EINTR);
    JUDGED(WIFSTOPPED(status), "the victim ended by itself");
    if (WSTOPSIG(status) == SIGBUS) /* its file was cut: it knows what to do */
        return go_on(victim, how, SIGBUS);
    CHECK(WSTOPSIG(status) == SIGSTOP || WSTOPSIG(status) == SIGTRAP);
    return WSTOPSIG(status) == SIGSTOP;
}

static bool step(pid_t victim, long count)
{
    for (long i = 0; i < count; i++) {
        if (go_on(victim, PTRACE_SINGLESTEP, 0))
            return true;
    }
    return false;
}

static uint64_t position(pid_t victim)
{
    errno = 0;
    long at = ptrace(PTRACE_PEEKUSER, victim, offsetof(struct user_regs_struct, rip), NULL);
    CHECK(errno == 0);
    return (uint64_t)at;
}

static void poke(pid_t victim, uint64_t at, uint64_t word)
{
    CHECK(ptrace(PTRACE_POKETEXT, victim, at, word) == 0);
}

/* Runs the victim until it is about to execute the instruction at `at` for the n-th time. True: it got to its end before. */
static bool run_to(pid_t victim, uint64_t at, long n)
{
    errno = 0;
    uint64_t text = (uint64_t)ptrace(PTRACE_PEEKTEXT, victim, at, NULL);
    CHECK(errno == 0);
    if (position(victim) == at)
        n--;
    while (n-- > 0) {
        if (position(victim) == at && step(victim, 1))
            return true;
        poke(victim, at, (text & ~(uint64_t)0xFF) | 0xCC);
        if (go_on(victim, PTRACE_CONT, 0))
            return true;
        CHECK(position(victim) == at + 1);
        CHECK(ptrace(PTRACE_POKEUSER, victim, offsetof(struct user_regs_struct, rip), at) == 0);
        poke(victim, at, text);
    }
    return false;
}

static int by_address(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static long occurrences(const uint64_t *sorted, long count, uint64_t at)
{
    long low = 0, high = count;
    while (low < high) {
        long middle = (low + high) / 2;
        if (sorted[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    long first = low;
    while (low < count && sorted[low] == at && low - first <= HOT)
        low++;
    return low - first;
}

/* A kill point and how to get there: run until `at` comes up for the n-th time, then step. */
typedef struct {
    long index, n, steps;
    uint64_t at;
} point;

/* All of a trace but the middle of long loops: instructions that are executed more than HOT times, and so are the EDGE ones
 * on either side. */
static point *points_of(long length, long *count)
{
    uint64_t *sorted = malloc((size_t)length * sizeof *sorted);
    bool *hot = calloc((size_t)length, sizeof *hot);
    point *points = malloc((size_t)(length + 1) * sizeof *points);
    CHECK(sorted != NULL && hot != NULL && points != NULL);
    memcpy(sorted, trace, (size_t)length * sizeof *sorted);
    qsort(sorted, (size_t)length, sizeof *sorted, by_address);
    for (long i = 0; i < length; i++)
        hot[i] = occurrences(sorted, length, trace[i]) > HOT;
    *count = 0;
    point last = {0, 0, 0, 0};
    long since_cold = 0;
    for (long i = 0; i < length; i++) {
        since_cold = hot[i] ? since_cold + 1 : 0;
        bool ours = trace[i] >= (uint64_t)(uintptr_t)&__executable_start && trace[i] < (uint64_t)(uintptr_t)&etext;
        if (!hot[i] && ours) {
            last = (point){.index = i, .n = 1, .at = trace[i]};
            for (long j = 0; j < i; j++)
                last.n += trace[j] == trace[i];
        }
        bool near = since_cold <= EDGE;
        for (long j = i + 1; !near && j < length && j <= i + EDGE; j++)
            near = !hot[j];
        if (near)
            points[(*count)++] = (point){.index = i, .n = last.n, .at = last.at, .steps = i - last.index};
    }
    free(sorted);
    free(hot);
    return points;
}

/* Records the victim's way from start to end. */
static long record(pid_t victim)
{
    long length = 0;
    do {
        CHECK(length < TRACE_MAX);
        trace[length++] = position(victim);
    } while (!step(victim, 1));
    return length;
}

static bool victim_holds_a_name(void)
{
    uint32_t cells = il_cells_of_levels(il_load_relaxed(&stage.space->header->levels));
    for (uint32_t i = 0; i < cells; i++) {
        uint32_t half = (uint32_t)il_load_relaxed(&stage.space->cells[i].mutex.word);
        if ((half & (IL_OWNER | IL_FILLING)) == il_load_relaxed(&shared->victim_slot))
            return true;
    }
    return false;
}

/* Whose byte locks are held: of each slot, and of each slot's sweeper (il_slot.c). */
static uint32_t bytes_locked(void)
{
    enum { SLOTS = 16 };
    uint32_t held = 0;
    int fd = open(stage.path, O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0);
    for (uint32_t k = 1; k < SLOTS; k++) {
        held |= (uint32_t)(il_byte_locked(fd, k) > 0) << k;
        held |= (uint32_t)(il_byte_locked(fd, IL_SLOTS_LIMIT + 1 + k) > 0) << (SLOTS + k);
    }
    close(fd);
    return held;
}

static uint32_t locked_before;

/* A process is dead once its memory is gone, and that stays for as long as somebody looks at it: a ps or pgrep that happens to
 * run on this machine. Bounded, since helpers may have got their slots meanwhile. */
static void await_death(void)
{
    uint64_t end = il_clock_ns() + 100 * MS;
    while ((bytes_locked() & ~locked_before) != 0 && il_clock_ns() < end)
        nap();
}

/* The victim is where it is to die. */
static void execute(const scenario *scenario, pid_t victim, bool finished)
{
    stage.finished = finished;
    uint32_t owner = (uint32_t)il_load_relaxed(&mutex_of(stage.lock)->word) & IL_OWNER;
    stage.was_owner = owner != 0 && owner == il_load_relaxed(&shared->victim_slot);
    if (stage.object != 0) {
        /* Before others get to see to it. */
        uint32_t victim_slot = il_load_relaxed(&shared->victim_slot), length;
        il_mutex *mutex = mutex_of(stage.object);
        owner = (uint32_t)il_load_relaxed(&mutex->word) & IL_OWNER;
        stage.was_writer = owner != 0 && owner == victim_slot && il_load_relaxed(&mutex->depth) != 0;
        uint8_t kind = il_load_relaxed(&il_ref_cell(stage.space, stage.object)->kind);
        stage.was_queued = (kind == IL_KIND_CONDITION || kind == IL_KIND_BARRIER) && stands_in_list(victim_slot, &length);
    }
    if (scenario->mode == CUT && !finished) {
        bool granted = victim_holds_a_name(); /* before the cut, and for all to see */
        CHECK(truncate(stage.path, 0) == 0);
        CHECK(go_on(victim, PTRACE_CONT, 0));
        int code = shared->second_result;
        JUDGED(granted || code != IL_OK, "a lock was granted that nobody else sees");
        JUDGED(code == IL_OK || code == IL_WIPED || code == IL_STALE || code == IL_BUSY, il_status_name(code));
    }
    il_store_relaxed(&shared->condemned, VICTIM);
    check_kill(victim);
    await_death();
    scenario->judge();
    no_complaints();
    il_store_relaxed(&shared->condemned, NOBODY);
    for (int i = 0; i < GATES; i++)
        il_store_relaxed(&shared->gates[i].inside, NOBODY);
}

static pid_t raise_curtain(const scenario *scenario)
{
    hang_watch();
    scenario->arrange();
    locked_before = bytes_locked();
    return start_victim(scenario);
}

/* An object whose name does not share the bucket whose cells the scenarios about names count. */
static il_ref find_apart(const char *like, uint8_t kind)
{
    char name[32];
    int number = 0;
    do
        snprintf(name, sizeof name, "%s-%d", like, number++);
    while ((il__hash(stage.space->header->hash_key, name, strlen(name)) & (IL_STRIPES - 1)) == 0);
    return find(stage.space, name, kind);
}

static void play(const scenario *scenario)
{
    uint64_t began = il_clock_ns();
    il_error error;
    char name[64];
    long killed = 0, passed = 0, missed = 0;
    memset(&stage, 0, sizeof stage);
    memset(shared, 0, sizeof *shared);
    stage.scenario = scenario->name;
    il_process_init(&stage.process);
    stage.process.spins = false; /* all run on one processor */
    snprintf(name, sizeof name, "stepper-%s", scenario->name);
    stage.path = check_path(name);
    stage.bits = IL_STRIPES - 1;
    /* As many slots as there are claimants: a slot lost is noticed. */
    CHECK_CODE(il_space_open(&stage.process, stage.path, &(il_options){.slots = 6}, &stage.space, &error), IL_OK);
    CHECK_CODE(il_attach(stage.space), IL_OK);
    stage.lock = find_apart("lock", IL_KIND_LOCK);
    stage.second = find_apart("second", IL_KIND_LOCK);
    stage.rlock = find_apart("rlock", IL_KIND_RLOCK);
    stage.help = scenario->help;
    scenario->begin();
    bool helpers = scenario->meanwhile != nothing;
    for (uint32_t n = 0; helpers && n < HELPERS; n++)
        start_helper(n);

    if (scenario->mode == FAR) {
        pid_t victim = raise_curtain(scenario);
        long length = record(victim), count;
        execute(scenario, victim, true);
        point *points = points_of(length, &count);
        passed = length - count;
        for (; killed < count; killed++) {
            point *to = &points[killed];
            stage.point = to->index;
            victim = raise_curtain(scenario);
            bool finished = (to->at != 0 && run_to(victim, to->at, to->n)) || step(victim, to->steps);
            missed += finished || position(victim) != trace[to->index];
            execute(scenario, victim, finished);
        }
        free(points);
        /* Some paths depend on the time; nearly all kills have to be where they were meant to be. */
        CHECK(missed <= count / 20);
    } else {
        bool finished = false;
        for (; !finished; killed++) {
            stage.point = killed;
            pid_t victim = raise_curtain(scenario);
            finished = step(victim, killed);
            execute(scenario, victim, finished);
        }
    }
    for (uint32_t n = 0; helpers && n < HELPERS; n++)
        check_kill(shared->helpers[n].pid);
    if (stage.heir != NULL)
        il_space_close(stage.heir);
    il_space_close(stage.space);
    unlink(stage.path);
    free(stage.path);
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    printf("ok %-18s %5ld kill points", scenario->name, killed);
    if (passed > 0)
        printf(" (of %ld; %ld in the middle of loops)", killed + passed, passed);
    if (missed > 0)
        printf(" (%ld elsewhere than meant)", missed);
    printf(" %8.1f s\n", (double)(il_clock_ns() - began) / 1e9);
    fflush(stdout);
}

static void work(int worker, char **names)
{
    cpu_set_t all, one;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++) {
        /* Stepping is several times faster when both processes share a processor. */
        if (CPU_ISSET(cpu, &all) && (seen++ == (size_t)worker || CPU_COUNT(&one) == 0)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
        }
    }
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    signal(SIGALRM, on_hang);
    const scenario *lists[] = {scenarios, kind_scenarios, share_scenarios, data_scenarios};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (const scenario *next = lists[i]; next->name != NULL; next++) {
            bool wanted = (names == NULL || *names == NULL);
            for (char **name = names; name != NULL && *name != NULL; name++)
                wanted |= strcmp(*name, next->name) == 0;
            if (wanted && next->worker == worker)
                play(next);
        }
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--hang-limit-ms") == 0) {
        hang_limit_ns = strtoull(argv[2], NULL, 10) * MS;
        argc -= 2;
        argv += 2;
    }
    check_begin(argc, argv, 900);
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint64_t began = il_clock_ns();
    pid_t workers[2];
    for (int i = 0; i < 2; i++) {
        workers[i] = check_fork();
        if (workers[i] == 0)
            work(i, argc > 2 ? argv + 2 : NULL);
    }
    bool good = true;
    for (int left = 2; left > 0 && good; left--) {
        int status;
        pid_t ended = wait(&status);
        for (int i = 0; i < 2; i++) {
            if (workers[i] == ended) {
                check_wait_done(ended);
                good = good && status == 0;
            }
        }
    }
    check_clean();
    if (good)
        printf("ok all in %.1f s\n", (double)(il_clock_ns() - began) / 1e9);
    return good ? 0 : 1;
}
