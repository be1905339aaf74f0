/* Process slots: who is alive, and who may speak for the dead.
 *
 * Slot k belongs to whoever holds the kernel's write lock (F_OFD_SETLK) on byte k of the space's file. The lock's open file
 * description is pinned by a mapping that no fork inherits, so it lives exactly as long as the address space of its
 * process: the kernel lets go of it when no thread of that process can run any more, however it ended. No pid is asked.
 *
 * Invariant 1: whoever holds byte k has exclusive rights over slot k, as its live owner or as its reaper. Claiming a slot
 * and reaping a dead one are one act: lock the byte, sweep all that names k, reset. So a reaper's death is harmless (the
 * next one sweeps again), and a slot number is never reused while a word still names its former owner.
 *
 *   byte k free, pid = 0    unused or swept     -> anyone may lock the byte and claim it
 *   byte k held, pid = 0    being claimed or just swept
 *   byte k held, pid != 0   alive, or being swept
 *   byte k free, pid != 0   dead, not yet swept -> anyone may lock the byte, sweep, and free or claim it
 *
 * To tell "alive" from "being swept", whoever locks byte k in order to sweep first locks the sweeper's byte of k, and frees
 * it when the sweep is done. */
#include "il_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "il_platform.h"

enum {
    SWEEPERS_AT = IL_SLOTS_LIMIT + 1, /* the sweeper's byte of slot k is this much further on */
    SWEEP_PATIENCE_NS = 20000000,     /* a sweep that takes longer is stuck (stopped, or swapped out): do not wait for it */
    SWEEP_NAP_NS = 50000,
};

static void store_text(il_u64 *words, const char *text, size_t size)
{
    for (size_t i = 0; i < size / 8; i++) {
        uint64_t word;
        memcpy(&word, text + 8 * i, 8);
        il_store_relaxed(&words[i], word);
    }
}

static void load_text(const il_u64 *words, char *text, size_t size)
{
    for (size_t i = 0; i < size / 8; i++) {
        uint64_t word = il_load_relaxed(&words[i]);
        memcpy(text + 8 * i, &word, 8);
    }
    text[size - 1] = '\0';
}

static bool is_mapped_file(const il_space *space, int fd)
{
    struct stat found;
    return fstat(fd, &found) == 0 && found.st_dev == space->device && found.st_ino == space->inode;
}

int il__reopen(il_space *space)
{
    int fd = open(space->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        bool gone = errno == ENOENT || errno == ELOOP;
        space->error = (il_error){.code = gone ? IL_WIPED : IL_SYSTEM, .sys_errno = errno};
        if (gone)
            il_store_relaxed(&space->wiped, 1);
        return -1;
    }
    if (!is_mapped_file(space, fd)) {
        close(fd);
        il_store_relaxed(&space->wiped, 1);
        space->error = (il_error){.code = IL_WIPED};
        return -1;
    }
    return fd;
}

/* A byte that is being locked: its descriptor, open until the sweep is over, and the pin that outlives it. */
typedef struct {
    uint32_t k;
    int fd;
    void *pin;
} claim;

static int system_error(il_space *space, int failed)
{
    space->error = (il_error){.code = IL_SYSTEM, .sys_errno = -failed};
    return IL_SYSTEM;
}

/* Locks the sweeper's byte and byte k, in this order. -EAGAIN: the slot is alive, or another sweeps it. */
static int lock_both(int fd, uint32_t k)
{
    int held = il_byte_locked(fd, k);
    if (held != 0)
        return held < 0 ? held : -EAGAIN;
    int failed = il_byte_lock(fd, SWEEPERS_AT + k);
    if (failed != 0)
        return failed;
    failed = il_byte_lock(fd, k);
    if (failed != 0)
        il_byte_unlock(fd, SWEEPERS_AT + k);
    return failed;
}

/* Locks the first byte to be had of [first, last], pinned so that not even a stray close of all descriptors frees it early.
 * IL_BUSY: none is. Held: the fork mutex. */
static int claim_begin(il_space *space, uint32_t first, uint32_t last, claim *taken)
{
    *taken = (claim){.fd = il__reopen(space)};
    if (taken->fd < 0)
        return space->error.code;
    int failed = il_pin(taken->fd, &taken->pin);
    if (failed != 0) {
        close(taken->fd);
        return system_error(space, failed);
    }
    for (taken->k = first; taken->k <= last; taken->k++) {
        failed = lock_both(taken->fd, taken->k);
        if (failed != -EAGAIN)
            break;
    }
    /* Not our file any more: another thread closed the descriptor under us and its number was used again. */
    if (failed == 0 && !is_mapped_file(space, taken->fd))
        failed = -EBADF;
    if (failed == 0)
        return IL_OK;
    if (is_mapped_file(space, taken->fd))
        close(taken->fd);
    il_unpin(taken->pin);
    return failed == -EAGAIN ? IL_BUSY : system_error(space, failed);
}

/* The sweep is over; byte k stays locked for as long as the pin. False: another thread closed the descriptor under us, so the
 * sweeper's byte could not be freed, and the pin must go. */
static bool claim_end(il_space *space, const claim *taken)
{
    if (!is_mapped_file(space, taken->fd))
        return false;
    il_byte_unlock(taken->fd, SWEEPERS_AT + taken->k);
    close(taken->fd);
    return true;
}

/* Writes into slot k, whose byte we hold, who we are. */
static void introduce(il_space *space, uint32_t k)
{
    il_slot *slot = &space->slots[k];
    char program[IL_PROGRAM_MAX] = "", host[IL_HOST_MAX] = "";
    uint64_t pid_space = 0;
    il_describe_self(program, sizeof program, host, sizeof host, &pid_space);
    store_text(slot->program, program, sizeof program);
    store_text(slot->host, host, sizeof host);
    il_store_relaxed(&slot->pid_space, pid_space);
    il_store_relaxed(&slot->started_ns, il_clock_wall_ns());
    il_store_relaxed(&slot->waits, 0);
    il_store_relaxed(&slot->epoch, il_load_relaxed(&slot->epoch) + 1);
    il_store_relaxed(&slot->pid, (uint32_t)getpid());
    uint32_t seen = il_load_relaxed(&space->header->slots_seen);
    while (seen < k && !il_cas32_relaxed(&space->header->slots_seen, &seen, k)) {
    }
}

/* Held: the fork mutex. */
static int attach(il_space *space)
{
    uint32_t last = space->header->slot_count - 1;
    claim taken;
    if (il_load_relaxed(&space->wiped))
        return IL_WIPED;
    int code = claim_begin(space, 1, last, &taken);
    if (code == IL_BUSY) {
        code = IL_SLOTS_FULL;
        space->error = (il_error){.code = code, .found = last};
    }
    if (code != IL_OK)
        return code;
    if (il_load_relaxed(&space->slots[taken.k].pid) != 0)
        il__table_sweep(space, taken.k);
    introduce(space, taken.k);
    if (!claim_end(space, &taken)) {
        il_store_relaxed(&space->slots[taken.k].pid, 0);
        il_unpin(taken.pin);
        return system_error(space, -EBADF);
    }
    /* In a forked child this was the parent's pin, which is not mapped here: forgotten, never unmapped. */
    space->pin = taken.pin;
    /* Release: another thread of this process that reads its slot number finds the slot set up. */
    il_store_release(space->self, taken.k);
    return IL_OK;
}

int il_attach(il_space *space)
{
    pthread_mutex_lock(&space->process->fork_mutex);
    int code = il_self(space) == 0 ? attach(space) : IL_OK;
    pthread_mutex_unlock(&space->process->fork_mutex);
    return code;
}

/* The descriptor to ask with: opened on first use and kept, but anybody may have closed it and reused its number. */
static int probe_descriptor(il_space *space)
{
    int fd = atomic_load_explicit(&space->probe_fd, memory_order_relaxed);
    if (fd >= 0 && is_mapped_file(space, fd))
        return fd;
    pthread_mutex_lock(&space->process->fork_mutex);
    int kept = atomic_load_explicit(&space->probe_fd, memory_order_relaxed);
    if (kept == fd) {
        int low = il__reopen(space);
        fd = -1;
        if (low >= 0) {
            /* High up, out of the way of programs that count on the low numbers. */
            fd = fcntl(low, F_DUPFD_CLOEXEC, 200);
            if (fd < 0)
                fd = fcntl(low, F_DUPFD_CLOEXEC, 3);
            if (fd < 0)
                space->error = (il_error){.code = IL_SYSTEM, .sys_errno = errno};
            close(low);
        }
        atomic_store_explicit(&space->probe_fd, fd, memory_order_relaxed);
    } else {
        fd = kept;
    }
    pthread_mutex_unlock(&space->process->fork_mutex);
    return fd;
}

int il_slot_alive(il_space *space, uint32_t k)
{
    if (k == 0 || k >= space->header->slot_count)
        return 0;
    for (uint64_t patience = 0;;) {
        int fd = probe_descriptor(space);
        if (fd < 0)
            return il_load_relaxed(&space->wiped) ? IL_WIPED : IL_SYSTEM;
        /* A descriptor closed under us answers for another file, or fails: so look at it again before a "dead" is believed; a
         * wrong "alive" is caught by the next slice. */
        int held = il_byte_locked(fd, k);
        if (held == 0 && !is_mapped_file(space, fd))
            continue;
        if (held == 0)
            return 0;
        if (il_byte_locked(fd, SWEEPERS_AT + k) <= 0)
            return 1;
        uint64_t now = il_clock_ns();
        if (patience == 0)
            patience = now + SWEEP_PATIENCE_NS;
        if (now >= patience)
            return 1;
        il_nap(SWEEP_NAP_NS);
    }
}

bool il__slot_lives(il_space *space, uint32_t k)
{
    for (;;) {
        int fd = probe_descriptor(space);
        if (fd < 0)
            return true; /* could not ask */
        int held = il_byte_locked(fd, k), swept = il_byte_locked(fd, SWEEPERS_AT + k);
        /* A process that has made use of its slot does not hold the sweeper's byte, so somebody sweeps after it. */
        if (is_mapped_file(space, fd))
            return held != 0 && swept <= 0;
    }
}

int il_reap(il_space *space, uint32_t k)
{
    if (k >= space->header->slot_count) {
        space->error = (il_error){.code = IL_GARBAGE};
        return IL_GARBAGE;
    }
    /* One reaper at a time per process, with fork held off. */
    pthread_mutex_lock(&space->process->fork_mutex);
    claim taken;
    int code = claim_begin(space, k, k, &taken);
    if (code == IL_OK) {
        il__table_sweep(space, k);
        il_store_relaxed(&space->slots[k].pid, 0);
        /* At once, and not only with the last user of the descriptor, who may be a child on its way to exec. */
        if (is_mapped_file(space, taken.fd))
            il_byte_unlock(taken.fd, k);
        claim_end(space, &taken);
        il_unpin(taken.pin);
    }
    pthread_mutex_unlock(&space->process->fork_mutex);
    return code;
}

void il_cell_dead_owner(const il_cell *cell, il_owner *owner)
{
    *owner = (il_owner){.pid = il_load_relaxed(&cell->dead_pid), .thread = il_load_relaxed(&cell->dead_thread)};
    load_text(cell->dead_program, owner->program, IL_DEAD_PROGRAM_MAX);
}

void il_slot_describe(const il_space *space, uint32_t k, il_owner *owner)
{
    const il_slot *slot = &space->slots[k];
    *owner = (il_owner){.pid = il_load_relaxed(&slot->pid),
                        .started_ns = il_load_relaxed(&slot->started_ns),
                        .pid_space = il_load_relaxed(&slot->pid_space)};
    load_text(slot->host, owner->host, sizeof owner->host);
    load_text(slot->program, owner->program, sizeof owner->program);
}
