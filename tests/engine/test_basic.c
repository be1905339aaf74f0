/* The engine's promises one by one, with real processes. Waits are asserted from below only.
 *
 *   test_basic [directory [name]] */
#include "basic.h"

il_process process;

static void before_fork(void)
{
    il_process_before_fork(&process);
}

static void after_fork(void)
{
    il_process_after_fork(&process, false);
}

static void after_fork_child(void)
{
    il_process_after_fork(&process, true);
}

static void run(const test *tests, const char *only)
{
    for (; tests->name != NULL; tests++) {
        if (only != NULL && strcmp(only, tests->name) != 0)
            continue;
        uint64_t began = il_clock_ns();
        tests->run();
        printf("ok %-36s %6.0f ms\n", tests->name, (double)(il_clock_ns() - began) / 1e6);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    check_begin(argc, argv, 120);
    il_process_init(&process);
    CHECK(pthread_atfork(before_fork, after_fork, after_fork_child) == 0);
    const char *only = argc > 2 ? argv[2] : NULL;
    run(file_tests, only);
    run(name_tests, only);
    run(liveness_tests, only);
    run(mutex_tests, only);
    run(kind_tests, only);
    run(queue_tests, only);
    run(rwlock_tests, only);
    run(bounded_tests, only);
    run(listen_tests, only);
    run(note_tests, only);
    run(share_tests, only);
    run(data_tests, only);
    check_clean();
    return 0;
}
