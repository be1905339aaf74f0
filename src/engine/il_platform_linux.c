#include "il_platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t il_clock_ns(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

uint64_t il_clock_coarse_ns(void)
{
    return clock_of(CLOCK_MONOTONIC_COARSE);
}

uint64_t il_clock_wall_ns(void)
{
    return clock_of(CLOCK_REALTIME);
}

int il_futex_wait(il_u32 *half, uint32_t expected, uint64_t deadline_ns)
{
    struct timespec until = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
    /* BITSET for the absolute deadline; without CLOCK_REALTIME it is on the monotonic clock. Not PRIVATE: shared. */
    long failed = syscall(SYS_futex, half, FUTEX_WAIT_BITSET, expected, &until, NULL, FUTEX_BITSET_MATCH_ANY);
    return failed == 0 ? 0 : -errno;
}

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449 /* the same on all processors; absent from older headers */
#endif

enum { LOOK_NS = 2000000 };

int il_futex_wait_any(const il_watched *watched, int count, uint64_t deadline_ns)
{
    struct {
        uint64_t value, address;
        uint32_t flags, reserved;
    } waits[IL_WATCHED_MOST];
    struct timespec until = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
    if (count == 1)
        return il_futex_wait(watched[0].half, watched[0].expected, deadline_ns);
    for (int i = 0; i < count; i++) {
        waits[i].value = watched[i].expected;
        waits[i].address = (uint64_t)(uintptr_t)watched[i].half;
        waits[i].flags = 2; /* FUTEX_32, not FUTEX_PRIVATE_FLAG */
        waits[i].reserved = 0;
    }
    long woken = syscall(SYS_futex_waitv, waits, count, 0, &until, CLOCK_MONOTONIC);
    if (woken < 0 && (errno == ENOSYS || errno == EPERM)) {
        /* Before Linux 5.16, or in a container that forbids it: the first of them, and soon a look at all. */
        uint64_t soon_ns = il_clock_ns() + LOOK_NS;
        return il_futex_wait(watched[0].half, watched[0].expected, soon_ns < deadline_ns ? soon_ns : deadline_ns);
    }
    return woken >= 0 ? 0 : -errno;
}

int il_signal_new(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd >= 0 ? fd : -errno;
}

void il_signal_tell(int fd)
{
    uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof one);
    (void)written; /* it fails when it has been told 2^64 - 1 times and not heard: then it is readable */
}

void il_signal_hear(int fd)
{
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got; /* it fails when nothing was told */
}

int il_thread_start(void *(*run)(void *), void *argument)
{
    enum { STACK = 128 * 1024 };
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    static const int own_faults[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP}; /* blocked, they would end the process unheard */
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own_faults / sizeof *own_faults; i++)
        sigdelset(&all, own_faults[i]);
    int failed = pthread_attr_init(&attributes);
    if (failed != 0)
        return -failed;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -failed;
}

int il_futex_wake(il_u32 *half, int count)
{
    long woken = syscall(SYS_futex, half, FUTEX_WAKE, count, NULL, NULL, 0);
    return woken < 0 ? 0 : (int)woken;
}

int il_nap(uint64_t nanoseconds)
{
    struct timespec t = {(time_t)(nanoseconds / 1000000000u), (long)(nanoseconds % 1000000000u)};
    return nanosleep(&t, NULL) == 0 ? 0 : -errno;
}

void il_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

int il_processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return CPU_COUNT(&set);
}

uint32_t il_thread_id(void)
{
    return (uint32_t)syscall(SYS_gettid);
}

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

void *il_wiped_page_new(void)
{
    void *page = mmap(NULL, page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return NULL;
    if (madvise(page, page_size(), MADV_WIPEONFORK) != 0) {
        munmap(page, page_size());
        return NULL;
    }
    return page;
}

void il_wiped_page_free(void *page)
{
    munmap(page, page_size());
}

int il_pin(int fd, void **pin)
{
    void *page = mmap(NULL, page_size(), PROT_NONE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    if (madvise(page, page_size(), MADV_DONTFORK) != 0) {
        int failed = -errno;
        munmap(page, page_size());
        return failed;
    }
    *pin = page;
    return 0;
}

void il_unpin(void *pin)
{
    munmap(pin, page_size());
}

static struct flock byte(uint64_t k)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)k, .l_len = 1};
}

static int lock_byte(int fd, struct flock lock)
{
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

int il_byte_lock(int fd, uint64_t k)
{
    return lock_byte(fd, byte(k));
}

int il_byte_share(int fd, uint64_t k)
{
    struct flock lock = byte(k);
    lock.l_type = F_RDLCK;
    return lock_byte(fd, lock);
}

void il_byte_unlock(int fd, uint64_t k)
{
    struct flock lock = byte(k);
    lock.l_type = F_UNLCK;
    fcntl(fd, F_OFD_SETLK, &lock);
}

int il_any_byte_locked(int fd, uint64_t first, uint64_t count)
{
    struct flock lock = byte(first);
    lock.l_len = (off_t)count;
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

int il_byte_locked(int fd, uint64_t k)
{
    struct flock lock = byte(k);
    if (fcntl(fd, F_OFD_GETLK, &lock) != 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

/* Another open file description of fd's file. */
static int open_again(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int other = open(path, O_RDWR | O_CLOEXEC);
    return other < 0 ? -errno : other;
}

/* Whether byte 1 is held, seen through a descriptor of one's own. */
static int held_as_seen_by_another(int fd)
{
    int other = open_again(fd);
    if (other < 0)
        return other;
    int held = il_byte_locked(other, 1);
    close(other);
    return held;
}

int il_liveness_works(int fd)
{
    int pinned = open_again(fd);
    if (pinned < 0)
        return pinned;
    void *pin = NULL;
    uint32_t *page = il_wiped_page_new();
    int works = il_pin(pinned, &pin);
    if (works == 0)
        works = il_byte_lock(pinned, 1);
    close(pinned);
    if (works != 0 || page == NULL) {
        if (pin != NULL)
            il_unpin(pin);
        if (page != NULL)
            il_wiped_page_free(page);
        return works == -EINVAL || works == 0 ? 0 : works;
    }
    *page = 1;
    /* 1. The lock outlives its descriptor. 2. A child does not inherit it, and sees the page as zeros. The child is made
     * by the bare system call and without an exit signal, so no handler of the program notices it. */
    works = held_as_seen_by_another(fd);
    int to_child[2] = {-1, -1}, to_parent[2] = {-1, -1};
    if (works == 1 && pipe2(to_child, O_CLOEXEC) == 0 && pipe2(to_parent, O_CLOEXEC) == 0) {
        long child = syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
        if (child == 0) {
            char answer = *(volatile uint32_t *)page == 0, go;
            close(to_child[1]);
            if (write(to_parent[1], &answer, 1) != 1 || read(to_child[0], &go, 1) != 0)
                syscall(SYS_exit_group, 1);
            syscall(SYS_exit_group, 0); /* not _exit: a race detector's waits for locks that threads of the parent had */
        }
        char answer = 0;
        if (child < 0 || read(to_parent[0], &answer, 1) != 1 || answer != 1)
            works = child < 0 ? -errno : 0;
        il_unpin(pin);
        pin = NULL;
        if (works == 1)
            works = held_as_seen_by_another(fd) == 0;
        close(to_child[1]);
        to_child[1] = -1;
        while (child > 0 && waitpid((pid_t)child, NULL, __WALL) < 0 && errno == EINTR) {
        }
    }
    for (int i = 0; i < 2; i++) {
        if (to_child[i] >= 0)
            close(to_child[i]);
        if (to_parent[i] >= 0)
            close(to_parent[i]);
    }
    if (pin != NULL)
        il_unpin(pin);
    il_wiped_page_free(page);
    return works;
}

int il_unnamed_file(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

int il_name_file(int fd, const char *path)
{
    char unnamed[64];
    snprintf(unnamed, sizeof unnamed, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, unnamed, AT_FDCWD, path, AT_SYMLINK_FOLLOW) == 0 ? 0 : -errno;
}

/* Bytes of memory and swap that are to be had, as the kernel sees it; UINT64_MAX: it does not say. */
static uint64_t memory_left(void)
{
    uint64_t left = 0;
    bool known = false;
    char line[128];
    FILE *lines = fopen("/proc/meminfo", "re");
    while (lines != NULL && fgets(line, sizeof line, lines) != NULL) {
        unsigned long long kib;
        bool available = sscanf(line, "MemAvailable: %llu", &kib) == 1;
        if (available || sscanf(line, "SwapFree: %llu", &kib) == 1)
            left += kib * 1024;
        known = known || available;
    }
    if (lines != NULL)
        fclose(lines);
    return known ? left : UINT64_MAX;
}

bool il_has_room(int fd, uint64_t length)
{
    struct statfs found;
    if (fstatfs(fd, &found) != 0)
        return true;
    /* Some have no limit, and say 0. */
    if (found.f_blocks != 0 && length / (uint64_t)found.f_bsize >= (uint64_t)found.f_bavail)
        return false;
    /* One in memory may promise more than there is, and then the kernel kills somebody. */
    return found.f_type != TMPFS_MAGIC || length < memory_left();
}

int il_reserve(int fd, uint64_t offset, uint64_t length)
{
    while (fallocate(fd, 0, (off_t)offset, (off_t)length) != 0) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

int il_file_system_is_local(int fd)
{
    struct statfs found;
    if (fstatfs(fd, &found) != 0)
        return -errno;
    switch ((unsigned long)found.f_type) {
    case NFS_SUPER_MAGIC:
    case SMB_SUPER_MAGIC:
    case AFS_SUPER_MAGIC:
    case CODA_SUPER_MAGIC:
    case NCP_SUPER_MAGIC:
    case 0xFF534D42: /* CIFS */
    case 0xFE534D42: /* SMB2 */
    case 0x01021997: /* 9P */
    case 0x65735546: /* FUSE: may be anything */
    case 0x00C36400: /* Ceph */
    case 0x0BD00BD0: /* Lustre */
    case 0x47504653: /* GPFS */
        return 0;
    default:
        return 1;
    }
}

int il_random(void *bytes, size_t length)
{
    while (getrandom(bytes, length, 0) != (ssize_t)length) {
        if (errno != EINTR)
            return -errno;
    }
    return 0;
}

/* Reads a small file whole. Returns how many bytes, or -errno. */
static ssize_t slurp(const char *path, char *bytes, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t got = read(fd, bytes, size);
    int failed = errno;
    close(fd);
    return got < 0 ? -failed : got;
}

int il_boot_id(uint8_t id[16])
{
    char text[40];
    ssize_t got = slurp("/proc/sys/kernel/random/boot_id", text, sizeof text);
    if (got < 0)
        return (int)got;
    memset(id, 0, 16);
    unsigned nibble = 0;
    for (ssize_t i = 0; i < got && nibble < 32; i++) {
        char c = text[i];
        unsigned value = c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
        if (value == 16)
            continue;
        id[nibble / 2] = (uint8_t)((unsigned)id[nibble / 2] << 4 | value);
        nibble++;
    }
    return nibble == 32 ? 0 : -EIO;
}

uint32_t il_deleted_file_user(const char *path)
{
    char wanted[PATH_MAX + 16];
    snprintf(wanted, sizeof wanted, " %s (deleted)\n", path);
    DIR *processes = opendir("/proc");
    if (processes == NULL)
        return 0;
    uint32_t user = 0;
    struct dirent *entry;
    while (user == 0 && (entry = readdir(processes)) != NULL) {
        char *end;
        unsigned long pid = strtoul(entry->d_name, &end, 10);
        if (*end != '\0' || pid == 0 || (pid_t)pid == getpid())
            continue;
        char maps[64], *line = NULL;
        size_t room = 0;
        snprintf(maps, sizeof maps, "/proc/%lu/maps", pid);
        FILE *lines = fopen(maps, "re");
        if (lines == NULL)
            continue;
        while (user == 0 && getline(&line, &room, lines) > 0) {
            size_t length = strlen(line), tail = strlen(wanted);
            if (length > tail && strcmp(line + length - tail, wanted) == 0)
                user = (uint32_t)pid;
        }
        free(line);
        fclose(lines);
    }
    closedir(processes);
    return user;
}

void il_describe_self(char *program, size_t program_size, char *host, size_t host_size, uint64_t *pid_space)
{
    ssize_t got = slurp("/proc/self/cmdline", program, program_size - 1);
    for (ssize_t i = 0; i < got; i++) {
        if (program[i] == '\0')
            program[i] = ' ';
    }
    while (got > 0 && program[got - 1] == ' ')
        got--;
    program[got > 0 ? got : 0] = '\0';
    if (gethostname(host, host_size) != 0)
        host[0] = '\0';
    host[host_size - 1] = '\0';
    struct stat found;
    *pid_space = stat("/proc/self/ns/pid", &found) == 0 ? (uint64_t)found.st_ino : 0;
}
