/* What the engine's tests share: a check that names its line, a directory for the space files that is always removed,
 * children that never outlive the test, and a hang limit.
 *
 * A failed check ends the process with status 1: the test itself, or the child in which it failed. */
#ifndef CHECK_H
#define CHECK_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "il_internal.h"
#include "il_platform.h"

#define MS ((uint64_t)1000000)
#define SECOND ((uint64_t)1000000000)

typedef struct {
    pid_t self; /* the test's main process */
    char directory[PATH_MAX - 128];
    bool own_directory; /* made by us, so ours to remove */
    pid_t children[64]; /* started and not yet waited for; 0: none */
} check_state;

extern check_state check; /* check.c */

static inline void check_clean(void)
{
    if (getpid() != check.self)
        return;
    for (size_t i = 0; i < sizeof check.children / sizeof *check.children; i++) {
        if (check.children[i] > 0) {
            kill(check.children[i], SIGKILL);
            waitpid(check.children[i], NULL, __WALL);
        }
    }
    /* In a directory that was given, what is not named after us is somebody else's. */
    char named[32];
    snprintf(named, sizeof named, "test-%d-", (int)check.self);
    DIR *directory = opendir(check.directory);
    struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        bool ours = strncmp(entry->d_name, named, strlen(named)) == 0 ||
                    (check.own_directory && strncmp(entry->d_name, "interlock-", 10) == 0);
        if (ours && unlinkat(dirfd(directory), entry->d_name, 0) != 0)
            unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
    }
    if (directory != NULL)
        closedir(directory);
    if (check.own_directory)
        rmdir(check.directory);
}

_Noreturn static inline void check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, what);
    check_clean();
    _exit(1);
}

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            check_failed(__FILE__, __LINE__, "not true: " #condition);                                                 \
    } while (0)

/* Compares codes of il_status.h, and names both when they differ. */
#define CHECK_CODE(call, wanted)                                                                                       \
    do {                                                                                                               \
        int check_got = (call), check_wanted = (wanted);                                                               \
        if (check_got != check_wanted) {                                                                               \
            char check_text[256];                                                                                      \
            snprintf(check_text, sizeof check_text, "%s is %s, not %s", #call, il_status_name(check_got),              \
                     il_status_name(check_wanted));                                                                    \
            check_failed(__FILE__, __LINE__, check_text);                                                              \
        }                                                                                                              \
    } while (0)

static inline void check_stopped(int signal)
{
    static const char text[] = "the test hangs\n";
    ssize_t told = signal == SIGALRM ? write(2, text, sizeof text - 1) : 0;
    (void)told;
    check_clean();
    _exit(1);
}

/* argv[1] is the directory to work in; without it one is made in /dev/shm. */
static inline void check_begin(int argc, char **argv, unsigned hang_limit_s)
{
    check.self = getpid();
    if (argc > 1) {
        snprintf(check.directory, sizeof check.directory, "%s", argv[1]);
    } else {
        snprintf(check.directory, sizeof check.directory, "/dev/shm/interlock-test-XXXXXX");
        CHECK(mkdtemp(check.directory) != NULL);
        check.own_directory = true;
    }
    signal(SIGALRM, check_stopped);
    signal(SIGTERM, check_stopped);
    signal(SIGINT, check_stopped);
    alarm(hang_limit_s);
}

/* A file name in the test's directory; the text is the caller's to free, or to leave. All names begin alike so that
 * check_clean finds them. */
static inline char *check_path(const char *name)
{
    char *path = malloc(PATH_MAX);
    CHECK(path != NULL);
    snprintf(path, PATH_MAX, "%s/test-%d-%s", check.directory, (int)check.self, name);
    return path;
}

/* As fork(); the child dies with the test, and is waited for or killed by it. */
static inline pid_t check_fork(void)
{
    fflush(NULL);
    pid_t parent = getpid(), child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        if (parent == check.self)
            memset(check.children, 0, sizeof check.children);
        return 0;
    }
    for (size_t i = 0; i < sizeof check.children / sizeof *check.children; i++) {
        if (check.children[i] == 0) {
            check.children[i] = child;
            break;
        }
    }
    return child;
}

/* The child was waited for: its number means nothing any more. */
static inline void check_wait_done(pid_t child)
{
    for (size_t i = 0; i < sizeof check.children / sizeof *check.children; i++) {
        if (check.children[i] == child)
            check.children[i] = 0;
    }
}

/* Waits for the child's end and gives its wait status. */
static inline int check_wait(pid_t child)
{
    int status;
    while (waitpid(child, &status, __WALL) != child)
        CHECK(errno == EINTR);
    check_wait_done(child);
    return status;
}

/* The child did its own checks and ended well. */
#define CHECK_CHILD(child) CHECK(check_wait(child) == 0)

static inline void check_kill(pid_t child)
{
    CHECK(kill(child, SIGKILL) == 0);
    check_wait(child);
}

static inline void check_sleep_ms(unsigned ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) {
    }
}

#endif
