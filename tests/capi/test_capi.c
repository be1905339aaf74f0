/* The C API: each function and each code that can be brought about, with real processes.
 *
 *   test_capi [directory [name …]] */
#include "parts.h"

static void run(const test *tests, int argc, char **argv)
{
    for (; tests->name != NULL; tests++) {
        bool wanted = argc <= 2;
        for (int at = 2; at < argc; at++)
            wanted = wanted || strcmp(argv[at], tests->name) == 0;
        if (!wanted)
            continue;
        uint64_t began = il_clock_ns();
        tests->run();
        printf("ok capi %-31s %6.0f ms\n", tests->name, (double)(il_clock_ns() - began) / 1e6);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    check_begin(argc, argv, 120);
    setenv("INTERLOCK_DIR", check.directory, 1);
    unsetenv("INTERLOCK_SPACE");
    unsetenv("INTERLOCK_SLOTS");
    const test *all[] = {place_tests, holding_tests, signalling_tests, process_tests};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        run(all[i], argc, argv);
    check_clean();
    return 0;
}
