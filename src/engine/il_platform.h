/* What the engine asks of the operating system. One file per platform implements it (il_platform_linux.c).
 *
 * Calls that return int return 0, or -errno, unless said otherwise. */
#ifndef IL_PLATFORM_H
#define IL_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "il_atomic.h"

/* Nanoseconds of the monotonic clock; `coarse` is cheaper and up to 4 ms late. `wall` is the time of day. */
uint64_t il_clock_ns(void);
uint64_t il_clock_coarse_ns(void);
uint64_t il_clock_wall_ns(void);

/* Sleeps while *half == expected, until a wake, a signal or the monotonic deadline. Shared between processes.
 * 0: woken (a wake was used up); -EAGAIN: the value differs; -ETIMEDOUT; -EINTR. Nothing may be held. */
int il_futex_wait(il_u32 *half, uint32_t expected, uint64_t deadline_ns);

/* The same on several at once; which of them it was, is not told. Where the kernel cannot (before Linux 5.16, or in a container that
 * forbids it), on the first alone, and for two milliseconds at most: look at all of them. */
typedef struct {
    il_u32 *half;
    uint32_t expected;
} il_watched;
int il_futex_wait_any(const il_watched *watched, int count, uint64_t deadline_ns);
enum { IL_WATCHED_MOST = 128 };

/* A descriptor that polls as readable once told, until it is heard. -errno. */
int il_signal_new(void);
void il_signal_tell(int fd);
void il_signal_hear(int fd);

/* Lets the kernel itself tell such a descriptor, once a futex is woken or a time has come: io_uring's futex wait, since Linux 6.7.
 * For one thread, which opens it. -ENOSYS, -EPERM, -EINVAL, -EOPNOTSUPP: not here; then and after any other failure it is of no
 * use but to be closed. */
typedef struct {
    int fd; /* of the ring; -1: there is none */
    int signal;
    void *rings, *entries;
    size_t rings_size, entries_size;
    il_u32 *flags, *put, *queue; /* submissions: the kernel's flags, the tail, the array */
    il_u32 *read, *filled;       /* completions: the head, the kernel's tail */
    void *completions;
    uint32_t put_mask, read_mask;
    bool waits;      /* for the futex */
    uint64_t due_ns; /* 0: for no time */
} il_uring;
int il_uring_open(il_uring *ring, int signal);
void il_uring_close(il_uring *ring);
/* Tells when *half is woken, unless it tells of a wake already; at once if it is not `expected`. And at a time, or earlier. */
int il_uring_expect(il_uring *ring, il_u32 *half, uint32_t expected, uint64_t due_ns);
/* Hears what was told. */
int il_uring_hear(il_uring *ring);

/* Starts a thread that no signal handler runs in and nobody waits for. */
int il_thread_start(void *(*run)(void *), void *argument);

/* Wakes up to `count` sleepers, longest sleeper first. Returns how many it woke. */
int il_futex_wake(il_u32 *half, int count);

/* Sleeps about this long. 0, or -EINTR. */
int il_nap(uint64_t nanoseconds);

/* One short pause of a spinning processor. */
void il_pause(void);

/* Processors this process may run on. */
int il_processors(void);

/* This thread's kernel id. */
uint32_t il_thread_id(void);

/* A page of zeros that a forked child, by whatever call it was forked, sees as zeros again. NULL: not to be had. */
void *il_wiped_page_new(void);
void il_wiped_page_free(void *page);

/* Pins the open file description of fd: a mapping that no fork inherits keeps it open after fd is closed. Held: the fork
 * mutex, since a child forked between open and close would keep it open too. */
int il_pin(int fd, void **pin);
void il_unpin(void *pin);

/* Locks byte k for the open file description of fd, without waiting. -EAGAIN: another has it. */
int il_byte_lock(int fd, uint64_t k);

/* The same, shared with all who share it. */
int il_byte_share(int fd, uint64_t k);

void il_byte_unlock(int fd, uint64_t k);

/* Whether another open file description holds byte k: 1 or 0, or -errno. */
int il_byte_locked(int fd, uint64_t k);

/* Whether the byte lock, the pin and the wiped page do what the engine needs, tried with a child. fd is a fresh file, the
 * fork mutex is held. 1 or 0, or -errno. */
int il_liveness_works(int fd);

/* A file of the directory that has no name yet and vanishes with its last user; gives it a name unless that is taken
 * (-EEXIST). */
int il_unnamed_file(const char *directory);
int il_name_file(int fd, const char *path);

/* Whether the file system, and the memory that it may consist of, has this much room left as far as can be known. */
bool il_has_room(int fd, uint64_t length);

/* Reserves room so that no access in the range can fail. -ENOSPC, -EOPNOTSUPP. */
int il_reserve(int fd, uint64_t offset, uint64_t length);

/* Whether anybody holds a byte of [first, first + count): 1 or 0, or -errno. */
int il_any_byte_locked(int fd, uint64_t first, uint64_t count);

/* Whether memory mapped from files of this file system is shared by all who can open them. 1, 0 or -errno. */
int il_file_system_is_local(int fd);

/* Random bytes; 16 bytes that change with every boot. */
int il_random(void *bytes, size_t length);
int il_boot_id(uint8_t id[16]);

/* pid of a living process that has `path` mapped although its file was deleted, 0 when there is none to be seen. */
uint32_t il_deleted_file_user(const char *path);

/* This process's command line with spaces between its words, cut to fit; its host's name; its PID namespace. */
void il_describe_self(char *program, size_t program_size, char *host, size_t host_size, uint64_t *pid_space);

#endif
