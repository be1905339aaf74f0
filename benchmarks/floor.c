/* The floor: what the same work costs without Python. `floor KIND MEASURE …`, KIND being "word" (interlock's engine) or
 * "robust" (a process-shared robust pthread mutex).
 *
 *   floor KIND pair DIRECTORY CALLS          nanoseconds of one uncontended lock and unlock
 *   floor KIND rate DIRECTORY PROCESSES MS   increments a second under contention
 *   floor KIND pingpong DIRECTORY ROUNDS     microseconds from one process to another and back, by a bare futex
 *   floor KIND recover DIRECTORY ROUNDS      a line of milliseconds from the holder's SIGKILL to the waiter having it */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "il_engine.h"
#include "il_platform.h"

typedef struct {
    pthread_mutex_t robust;
    volatile uint64_t counter;
    _Atomic uint64_t stamp;
    _Atomic int go;
    il_u32 turn;
} shared_memory;

static shared_memory *memory;
static il_space *space;
static il_ref ref;
static bool use_word;

static void lock(void)
{
    if (use_word) {
        il_wait wait = {.deadline_ns = IL_FOREVER};
        il_mutex *mutex = &il_ref_cell(space, ref)->mutex;
        if (!il_mutex_try_fast(mutex, il_ref_key(ref), il_self(space), 1) &&
            il_mutex_lock(space, mutex, il_ref_key(ref), 1, &wait) != IL_OK)
            abort();
    } else if (pthread_mutex_lock(&memory->robust) == EOWNERDEAD) {
        pthread_mutex_consistent(&memory->robust);
    }
}

static void unlock(void)
{
    if (!use_word) {
        pthread_mutex_unlock(&memory->robust);
        return;
    }
    il_mutex *mutex = &il_ref_cell(space, ref)->mutex;
    if (!il_mutex_unlock_fast(mutex, il_ref_key(ref), il_self(space)))
        il_mutex_unlock(space, mutex, il_ref_key(ref), 0);
}

static void pair(long calls)
{
    uint64_t before = il_clock_ns();
    for (long i = 0; i < calls; i++) {
        lock();
        unlock();
    }
    printf("%.2f\n", (double)(il_clock_ns() - before) / (double)calls);
}

static void rate(int processes, uint64_t ms)
{
    for (int i = 0; i < processes; i++) {
        if (fork() != 0)
            continue;
        while (!memory->go) {
        }
        uint64_t end = il_clock_ns() + ms * 1000000;
        while (il_clock_ns() < end) {
            for (int n = 0; n < 200; n++) {
                lock();
                memory->counter++;
                unlock();
            }
        }
        _exit(0);
    }
    usleep(20000);
    memory->go = 1;
    while (wait(NULL) > 0) {
    }
    printf("%.0f\n", (double)memory->counter * 1000.0 / (double)ms);
}

static void play(uint32_t mine, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        while (il_load_acquire(&memory->turn) != mine)
            il_futex_wait(&memory->turn, 1 - mine, IL_FOREVER);
        il_store_release(&memory->turn, 1 - mine);
        il_futex_wake(&memory->turn, 1);
    }
}

static void pingpong(int rounds)
{
    if (fork() == 0) {
        play(1, rounds);
        _exit(0);
    }
    usleep(20000);
    uint64_t before = il_clock_ns();
    play(0, rounds);
    wait(NULL);
    printf("%.3f\n", (double)(il_clock_ns() - before) / rounds / 1000);
}

static void recover(int rounds)
{
    for (int round = 0; round < rounds; round++) {
        memory->go = 0;
        pid_t holder = fork();
        if (holder == 0) {
            lock();
            memory->go = 1;
            for (;;)
                pause();
        }
        while (!memory->go)
            usleep(100);
        pid_t waiter = fork();
        if (waiter == 0) {
            lock();
            memory->stamp = il_clock_ns();
            unlock();
            _exit(0);
        }
        usleep(50000 + 10000 * (useconds_t)(round % 7));
        uint64_t before = il_clock_ns();
        kill(holder, SIGKILL);
        waitpid(waiter, NULL, 0);
        waitpid(holder, NULL, 0);
        printf("%.3f ", (double)(memory->stamp - before) / 1e6);
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    use_word = strcmp(argv[1], "word") == 0;
    memory = mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t how;
    pthread_mutexattr_init(&how);
    pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&memory->robust, &how);

    static il_process process;
    il_process_init(&process);
    char path[4096];
    snprintf(path, sizeof path, "%s/floor.ilk", argv[3]);
    il_error error;
    uint8_t found;
    il_wait forever = {.deadline_ns = IL_FOREVER};
    il_options options = {0};
    if (il_space_open(&process, path, &options, &space, &error) != IL_OK ||
        il_table_resolve(space, "floor", 5, IL_KIND_LOCK, 0, &forever, &ref, &found) != IL_OK)
        return 1;

    if (strcmp(argv[2], "pair") == 0)
        pair(atol(argv[4]));
    else if (strcmp(argv[2], "rate") == 0 && argc > 5)
        rate(atoi(argv[4]), (uint64_t)atol(argv[5]));
    else if (strcmp(argv[2], "pingpong") == 0)
        pingpong(atoi(argv[4]));
    else if (strcmp(argv[2], "recover") == 0)
        recover(atoi(argv[4]));
    unlink(path);
    return 0;
}
