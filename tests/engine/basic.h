/* Short forms that the tests of the engine's promises share, and the list of those tests. */
#ifndef BASIC_H
#define BASIC_H

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "check.h"
#include "il_hash.h"

typedef struct {
    const char *name;
    void (*run)(void);
} test;

/* Each list ends with a NULL name. */
extern const test file_tests[], name_tests[], liveness_tests[], mutex_tests[], kind_tests[],
    queue_tests[], rwlock_tests[], bounded_tests[], share_tests[], data_tests[], listen_tests[], note_tests[];

extern il_process process;

static inline int try_open(const char *path, const il_options *options, il_space **space, il_error *error)
{
    *space = NULL;
    return il_space_open(&process, path, options, space, error);
}

static inline il_space *open_space(const char *path, uint32_t slots)
{
    il_space *space;
    il_error error;
    CHECK_CODE(try_open(path, &(il_options){.slots = slots}, &space, &error), IL_OK);
    return space;
}

static inline il_space *fresh(char **path, uint32_t slots)
{
    static int count;
    char name[32];
    snprintf(name, sizeof name, "space-%d", count++);
    *path = check_path(name);
    return open_space(*path, slots);
}

static inline void done(il_space *space, char *path)
{
    il_space_close(space);
    unlink(path);
    free(path);
}

/* Linked records, whoever owns them. */
static inline uint32_t records_in_use(const il_space *space)
{
    uint32_t count = 0, all = il_records_of_levels(il_load_acquire(&space->header->record_levels));
    for (uint32_t i = 1; i < all; i++)
        count += il_load_relaxed(&space->records[i].object) != 0;
    return count;
}

static inline il_space *view_of(const il_space *space)
{
    il_space *view;
    CHECK_CODE(il_space_view(&process, space, &view), IL_OK);
    return view;
}

static inline int resolve(il_space *space, const char *name, uint8_t kind, il_ref *ref)
{
    uint8_t found;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    return il_table_resolve(space, name, strlen(name), kind, 0, &wait, ref, &found);
}

static inline il_ref find(il_space *space, const char *name)
{
    il_ref ref = 0;
    CHECK_CODE(resolve(space, name, IL_KIND_LOCK, &ref), IL_OK);
    return ref;
}

/* The same for a kind with a parameter. */
static inline int resolve_as(il_space *space, const char *name, uint8_t kind, uint64_t parameter, il_ref *ref, uint8_t *found)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    return il_table_resolve(space, name, strlen(name), kind, parameter, &wait, ref, found);
}

static inline il_ref find_as(il_space *space, const char *name, uint8_t kind, uint64_t parameter)
{
    il_ref ref = 0;
    uint8_t found = IL_KIND_NONE;
    CHECK_CODE(resolve_as(space, name, kind, parameter, &ref, &found), IL_OK);
    CHECK(found == kind || found == IL_KIND_NONE);
    return ref;
}

static inline int unlink_name(il_space *space, const char *name)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    return il_table_unlink(space, name, strlen(name), &wait);
}

static inline il_cell *cell_of(const il_space *space, il_ref ref)
{
    return il_ref_cell(space, ref);
}

static inline il_mutex *mutex_of(const il_space *space, il_ref ref)
{
    return &il_ref_cell(space, ref)->mutex;
}

static inline int lock_with(il_space *space, il_ref ref, il_wait *wait)
{
    return il_mutex_lock(space, mutex_of(space, ref), il_ref_key(ref), 7, wait);
}

static inline int try_lock(il_space *space, il_ref ref)
{
    return lock_with(space, ref, &(il_wait){.deadline_ns = IL_NOW});
}

static inline int lock_for(il_space *space, il_ref ref, uint64_t ns)
{
    return lock_with(space, ref, &(il_wait){.deadline_ns = il_clock_ns() + ns});
}

static inline int unlock(il_space *space, il_ref ref)
{
    return il_mutex_unlock(space, mutex_of(space, ref), il_ref_key(ref), 0);
}

static inline uint64_t fence_of(const il_space *space, il_ref ref)
{
    return il_load_relaxed(&mutex_of(space, ref)->fence);
}

static inline il_wait until_now(void)
{
    return (il_wait){.deadline_ns = IL_NOW};
}

static inline il_wait until_ns(uint64_t ns)
{
    return (il_wait){.deadline_ns = il_clock_ns() + ns};
}

static inline il_wait for_ever(void)
{
    return (il_wait){.deadline_ns = IL_FOREVER};
}

/* Waits until another process or thread has got somewhere; the hang limit of the whole test is its end. */
#define AWAIT(condition)                                                                                               \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            sched_yield();                                                                                             \
    } while (0)

/* Whether the process sleeps in the kernel. */
static inline bool is_asleep(pid_t pid)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    const char *end = strrchr(text, ')');
    return end != NULL && end[2] == 'S';
}

/* Memory that forked children have in common. */
static inline void *common(size_t size)
{
    void *made = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(made != MAP_FAILED);
    return made;
}

/* A pipe over which processes tell each other that they got somewhere. */
typedef struct {
    int ends[2];
} signal_pipe;

static inline signal_pipe pipe_new(void)
{
    signal_pipe made;
    CHECK(pipe2(made.ends, O_CLOEXEC) == 0);
    return made;
}

static inline void tell(signal_pipe *to)
{
    CHECK(write(to->ends[1], "", 1) == 1);
}

static inline void hear(signal_pipe *from)
{
    char byte;
    CHECK(read(from->ends[0], &byte, 1) == 1);
}

static inline void pipe_free(signal_pipe *gone)
{
    close(gone->ends[0]);
    close(gone->ends[1]);
}

static inline int files_in_directory(void)
{
    DIR *directory = opendir(check.directory);
    int count = 0;
    CHECK(directory != NULL);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += strncmp(entry->d_name, "test-", 5) == 0;
    closedir(directory);
    return count;
}

static inline void check_ignore(int signal)
{
    (void)signal;
}

static inline void catch_signals(void)
{
    struct sigaction action = {.sa_handler = check_ignore};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
}

/* A child that interrupts its parent whenever that sleeps on a word with this bit set, until `done` is: a signal that comes between
 * two slices interrupts nothing. */
static inline pid_t interrupter(il_u64 *word, uint64_t bit, il_u32 *done)
{
    pid_t parent = getpid(), child = check_fork();
    if (child == 0) {
        while (!il_load_acquire(done)) {
            AWAIT(il_load_acquire(done) || ((il_load_relaxed(word) & bit) && is_asleep(parent)));
            kill(parent, SIGUSR1);
        }
        _exit(0);
    }
    return child;
}

#endif
