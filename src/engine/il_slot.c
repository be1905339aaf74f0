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
 *   byte k free, pid != 0   dead, not yet swept -> anyone may lock the byte, sweep, and free or claim it */
#include "il_engine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "il_platform.h"

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

/* Sweeps slot k and leaves it unused. Held: byte k. */
static void sweep(il_space *space, uint32_t k)
{
    il_slot *slot = &space->slots[k];
    if (il_load_relaxed(&slot->pid) == 0)
        return;
    il__table_sweep(space, k);
    il_store_relaxed(&slot->pid, 0);
}

/* Locks byte k with a descriptor of its own, pinned so that not even a stray close of all descriptors frees it early.
 * Held: the fork mutex. */
static int lock_byte(il_space *space, uint32_t first, uint32_t last, uint32_t *got, void **pin)
{
    int fd = il__reopen(space);
    if (fd < 0)
        return space->error.code;
    int code = IL_OK, failed = il_pin(fd, pin);
    if (failed != 0) {
        space->error = (il_error){.code = IL_SYSTEM, .sys_errno = -failed};
        close(fd);
        return IL_SYSTEM;
    }
    uint32_t k = first;
    for (; k <= last; k++) {
        failed = il_byte_lock(fd, k);
        if (failed != -EAGAIN)
            break;
    }
    if (failed == -EAGAIN)
        code = IL_BUSY;
    else if (failed != 0 || !is_mapped_file(space, fd)) {
        /* Not our file any more: another thread closed the descriptor under us and its number was used again. */
        space->error = (il_error){.code = IL_SYSTEM, .sys_errno = failed != 0 ? -failed : EBADF};
        code = IL_SYSTEM;
    }
    close(fd);
    if (code != IL_OK)
        il_unpin(*pin);
    *got = k;
    return code;
}

int il_attach(il_space *space)
{
    pthread_mutex_lock(&space->process->fork_mutex);
    int code = IL_OK;
    if (il_self(space) == 0) {
        uint32_t k, last = space->header->slot_count - 1;
        /* In a forked child `pin` is the parent's and was not inherited: forget it, never unmap it. */
        code = il_load_relaxed(&space->wiped) ? IL_WIPED : lock_byte(space, 1, last, &k, &space->pin);
        if (code == IL_BUSY) {
            code = IL_SLOTS_FULL;
            space->error = (il_error){.code = code, .found = last};
        }
        if (code == IL_OK) {
            il_slot *slot = &space->slots[k];
            sweep(space, k);
            char program[IL_PROGRAM_MAX] = "", host[IL_HOST_MAX] = "";
            uint64_t pid_space = 0;
            il_describe_self(program, sizeof program, host, sizeof host, &pid_space);
            store_text(slot->program, program, sizeof program);
            store_text(slot->host, host, sizeof host);
            il_store_relaxed(&slot->pid_space, pid_space);
            il_store_relaxed(&slot->started_ns, il_clock_wall_ns());
            il_store_relaxed(&slot->epoch, il_load_relaxed(&slot->epoch) + 1);
            il_store_relaxed(&slot->pid, (uint32_t)getpid());
            uint32_t seen = il_load_relaxed(&space->header->slots_seen);
            while (seen < k && !atomic_compare_exchange_weak(&space->header->slots_seen, &seen, k)) {
            }
            /* Release: another thread of this process that reads its slot number finds the slot set up. */
            il_store_release(space->self, k);
        }
    }
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
    int fd = probe_descriptor(space);
    if (fd < 0)
        return il_load_relaxed(&space->wiped) ? IL_WIPED : IL_SYSTEM;
    int held = il_byte_locked(fd, k);
    /* A descriptor closed under us answers for another file: a wrong "dead" is caught by the reaper, who locks the byte
     * before he touches anything, a wrong "alive" by the next slice. */
    return held >= 0 ? held : 1;
}

int il_reap(il_space *space, uint32_t k)
{
    /* One reaper at a time per process, with fork held off. */
    pthread_mutex_lock(&space->process->fork_mutex);
    void *pin;
    uint32_t got;
    int code = lock_byte(space, k, k, &got, &pin);
    if (code == IL_OK) {
        sweep(space, k);
        il_unpin(pin);
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
