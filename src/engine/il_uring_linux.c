/* A descriptor that the kernel tells of a futex's wake, with no thread between: io_uring's futex wait, since Linux 6.7.
 *
 * A waker's futex call then makes the descriptor readable itself, and the loop that polls it is the first to run. The ring is one
 * thread's alone (SINGLE_ISSUER), and what came of a wait is written down when that thread asks for it (DEFER_TASKRUN), so no
 * thread is interrupted on account of it. Two requests are under way at most: a wait for the futex, and a timer.
 *
 * The descriptor is told when there is something to be written down, and again when that is done; hence it is heard last. What
 * comes between is seen by the flag that the kernel sets before it tells. It sets it after it has put down what it is for: one that
 * comes late stays set, with nothing behind it, until something else is written down.
 *
 * Timers are told how long, not until when: the kernel reads a time as its own clock's, also where a time namespace has another.
 *
 * The numbers and structures are those of <linux/io_uring.h>, which older systems have without the half of them. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "il_platform.h"

#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425 /* these are the same on all processors */
#define SYS_io_uring_enter 426
#define SYS_io_uring_register 427
#endif

enum {
    ENTRIES = 4,
    /* IORING_… */
    SETUP_TASKRUN_FLAG = 1 << 9,
    SETUP_SINGLE_ISSUER = 1 << 12,
    SETUP_DEFER_TASKRUN = 1 << 13,
    FEAT_SINGLE_MMAP = 1 << 0,
    FEAT_CQE_SKIP = 1 << 11,
    OFF_SQES = 0x10000000,
    ENTER_GETEVENTS = 1 << 0,
    REGISTER_EVENTFD = 4,
    REGISTER_PROBE = 8,
    SQ_CQ_OVERFLOW = 1 << 1,
    SQ_TASKRUN = 1 << 2,
    OP_TIMEOUT = 11,
    OP_TIMEOUT_REMOVE = 12,
    OP_FUTEX_WAIT = 51,
    TIMEOUT_UPDATE = 1 << 1,
    /* IOSQE_, IO_URING_OP_, FUTEX2_ */
    CQE_SKIP_SUCCESS = 1 << 6,
    OP_SUPPORTED = 1 << 0,
    SIZE_U32 = 2,
    /* Which request it was. */
    FUTEX = 1,
    TIMER = 2,
    UPDATE = 3,
};

typedef struct {
    uint32_t head, tail, mask, entries, flags, dropped, array, reserved;
    uint64_t address;
} put_offsets;

typedef struct {
    uint32_t head, tail, mask, entries, overflow, completions, flags, reserved;
    uint64_t address;
} read_offsets;

typedef struct {
    uint32_t put_entries, read_entries, flags, thread_cpu, thread_idle, features, shared_fd, reserved[3];
    put_offsets put;
    read_offsets read;
} parameters;

typedef struct {
    uint8_t operation, flags;
    uint16_t priority;
    int32_t fd; /* of a futex: its flags */
    uint64_t offset; /* of a futex: the value; of a timer: how many completions end it; of an update: how long */
    uint64_t address;
    uint32_t length, operation_flags;
    uint64_t user_data;
    uint16_t buffer, personality;
    uint32_t file;
    uint64_t mask, reserved;
} submission;

typedef struct {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
} completion;

typedef struct {
    uint8_t last, count;
    uint16_t reserved;
    uint32_t reserved_too[3];
    struct {
        uint8_t operation, reserved;
        uint16_t flags;
        uint32_t reserved_too;
    } operations[OP_FUTEX_WAIT + 1];
} probe;

_Static_assert(sizeof(parameters) == 120 && sizeof(submission) == 64 && sizeof(completion) == 16, "as the kernel has them");

static int enter(const il_uring *ring, uint32_t count, uint32_t flags)
{
    for (;;) {
        long put = syscall(SYS_io_uring_enter, ring->fd, count, 0, flags, NULL, 0);
        if (put == (long)count)
            return 0;
        if (put >= 0)
            return -EIO;
        if (errno != EINTR)
            return -errno;
    }
}

static bool can_wait(const il_uring *ring)
{
    probe found = {0};
    return syscall(SYS_io_uring_register, ring->fd, REGISTER_PROBE, &found, OP_FUTEX_WAIT + 1) == 0 &&
           (found.operations[OP_FUTEX_WAIT].flags & OP_SUPPORTED) != 0;
}

static void *map(const il_uring *ring, size_t size, long offset)
{
    void *where = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd, offset);
    return where != MAP_FAILED ? where : NULL;
}

int il_uring_open(il_uring *ring, int signal)
{
    parameters p = {.flags = SETUP_TASKRUN_FLAG | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN};
    *ring = (il_uring){.fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p), .signal = signal};
    if (ring->fd < 0)
        return -errno;
    size_t puts = p.put.array + p.put_entries * sizeof(uint32_t);
    size_t reads = p.read.completions + p.read_entries * sizeof(completion);
    ring->rings_size = puts > reads ? puts : reads;
    ring->entries_size = p.put_entries * sizeof(submission);
    int code = 0;
    if ((p.features & FEAT_SINGLE_MMAP) == 0 || (p.features & FEAT_CQE_SKIP) == 0 || !can_wait(ring))
        code = -EOPNOTSUPP;
    else if ((ring->rings = map(ring, ring->rings_size, 0)) == NULL ||
             (ring->entries = map(ring, ring->entries_size, OFF_SQES)) == NULL ||
             syscall(SYS_io_uring_register, ring->fd, REGISTER_EVENTFD, &signal, 1) != 0)
        code = -errno;
    if (code != 0) {
        il_uring_close(ring);
        return code;
    }
    unsigned char *base = ring->rings;
    ring->put = (il_u32 *)(base + p.put.tail);
    ring->flags = (il_u32 *)(base + p.put.flags);
    ring->queue = (il_u32 *)(base + p.put.array);
    ring->put_mask = p.put_entries - 1;
    ring->read = (il_u32 *)(base + p.read.head);
    ring->filled = (il_u32 *)(base + p.read.tail);
    ring->completions = base + p.read.completions;
    ring->read_mask = p.read_entries - 1;
    return 0;
}

void il_uring_close(il_uring *ring)
{
    if (ring->rings != NULL)
        munmap(ring->rings, ring->rings_size);
    if (ring->entries != NULL)
        munmap(ring->entries, ring->entries_size);
    if (ring->fd >= 0)
        close(ring->fd); /* which ends what is under way */
    *ring = (il_uring){.fd = -1};
}

static void put(il_uring *ring, submission request)
{
    uint32_t tail = il_load_relaxed(ring->put), at = tail & ring->put_mask;
    ((submission *)ring->entries)[at] = request;
    il_store_relaxed(&ring->queue[at], at);
    il_store_release(ring->put, tail + 1);
}

int il_uring_expect(il_uring *ring, il_u32 *half, uint32_t expected, uint64_t due_ns)
{
    uint64_t now = il_clock_ns(), left = due_ns > now ? due_ns - now : 0;
    struct {
        int64_t seconds, nanoseconds;
    } span = {(int64_t)(left / 1000000000u), (int64_t)(left % 1000000000u)};
    uint32_t count = 0;
    if (!ring->waits) {
        put(ring, (submission){.operation = OP_FUTEX_WAIT, .fd = SIZE_U32, .address = (uintptr_t)half, .offset = expected,
                               .mask = UINT32_MAX, .user_data = FUTEX});
        ring->waits = true;
        count++;
    }
    if (ring->due_ns == 0 && due_ns != UINT64_MAX) {
        put(ring, (submission){.operation = OP_TIMEOUT, .fd = -1, .address = (uintptr_t)&span, .length = 1, .user_data = TIMER});
        ring->due_ns = due_ns;
        count++;
    } else if (due_ns < ring->due_ns) {
        put(ring, (submission){.operation = OP_TIMEOUT_REMOVE, .flags = CQE_SKIP_SUCCESS, .fd = -1, .address = TIMER,
                               .offset = (uintptr_t)&span, .operation_flags = TIMEOUT_UPDATE, .user_data = UPDATE});
        ring->due_ns = due_ns;
        count++;
    }
    return count == 0 ? 0 : enter(ring, count, 0);
}

/* Whether the request ended as one may. */
static bool take(il_uring *ring, const completion *end)
{
    switch (end->user_data) {
    case FUTEX:
        ring->waits = false;
        return end->result == 0 || end->result == -EAGAIN;
    case TIMER:
        ring->due_ns = 0;
        return end->result == -ETIME;
    default: /* an update that came too late: the timer's own end comes, or has come */
        return end->result == -ENOENT || end->result == -EALREADY;
    }
}

int il_uring_hear(il_uring *ring)
{
    for (bool heard = false;; heard = true) {
        int code = 0;
        if ((il_load_acquire(ring->flags) & (SQ_TASKRUN | SQ_CQ_OVERFLOW)) != 0)
            code = enter(ring, 0, ENTER_GETEVENTS);
        uint32_t at = il_load_relaxed(ring->read), filled = il_load_acquire(ring->filled);
        if (heard && code == 0 && at == filled)
            return 0; /* nothing since it was heard, whatever the flag says: it is told of what comes now */
        for (; code == 0 && at != filled; at++) {
            if (!take(ring, (const completion *)ring->completions + (at & ring->read_mask)))
                code = -EIO;
        }
        il_store_release(ring->read, at);
        il_signal_hear(ring->signal);
        il_fence();
        if (code != 0 || ((il_load_acquire(ring->flags) & (SQ_TASKRUN | SQ_CQ_OVERFLOW)) == 0 &&
                          il_load_acquire(ring->filled) == il_load_relaxed(ring->read)))
            return code;
    }
}
