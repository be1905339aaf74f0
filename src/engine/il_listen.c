/* Waiting without a thread for each: for event loops, where thousands of tasks wait in one thread that must not sleep.
 *
 * A wait that listens does all that a sleeping one does, and then, instead of the futex call, leaves its process's channel in
 * the bucket of the futex and returns IL_PENDING. Whoever wakes sleepers of that futex rings up the channels of the bucket:
 *
 *   listener   changes the word (WAITERS …)      waker   changes the word (frees the lock, gives the permit …)
 *              its bit into `listeners`                  fence, if the word says that there may be waiters
 *              fence                                     takes all bits out of `listeners`: rings + 1; each bell + 1, a wake
 *              the word is as expected: pending          wakes a sleeper
 *              else: tries again
 *
 * Of the two fences one comes first: either the listener sees the word changed, or the waker sees the bit. All who listen are
 * rung up and try, as many as there are processes that wait; so nobody has to pass on what it has no use for. A bit may be left by
 * a wait that is over, or be another futex's of the same bucket: a ring for nothing. A waker that dies between two steps costs
 * the listeners a slice: every pending wait has a time when it is looked at again, at the pace of il_wait.c.
 *
 * The loops themselves look, in their own threads, when their descriptors are told: whatever they are granted is theirs at once,
 * and a cancelled task was either granted or not. The kernel tells them where it can (il_uring_linux.c): of the bell's wake, which
 * saves the second wake of a thread between, and when the earliest wait is due.
 *
 * Where it cannot, one thread per process sleeps on the bells of the spaces in which it listens, and until the earliest wait is due.
 * It does no more than to tell, so it needs neither Python nor its locks. It starts with the first wait that is pending, and ends
 * when there has been none for a second.
 *
 * Channels are process slots modulo IL_CHANNELS: processes that share one are rung up together. models/listen.pml is this
 * protocol. */
#include <errno.h>
#include <unistd.h>

#include "il_internal.h"
#include "il_platform.h"

enum { LATER_NS = 5000000, IDLE_NS = 1000000000 };

static uint32_t channel_of(const il_space *space)
{
    return il_self(space) % IL_CHANNELS;
}

/* Rings up those who listen to the futex. Whether there are any. */
static bool ring(il_space *space, il_u32 *futex)
{
    il_header *header = space->header;
    uint32_t bucket = il_bucket_of(space, futex);
    /* Either a listener sees what was done to the futex, or we see the listener. */
    il_fence();
    uint64_t channels = il_load_relaxed(&header->listeners[bucket]);
    while (channels != 0 && !il_cas_relaxed(&header->listeners[bucket], &channels, 0)) {
    }
    if (channels == 0)
        return false;
    il_add_release(&header->rings[bucket], 1);
    for (uint32_t channel = 0; channel < IL_CHANNELS; channel++) {
        if (channels >> channel & 1) {
            /* Release: who finds the bell changed finds the ring. */
            il_add_release(&header->bells[channel], 1);
            il_futex_wake(&header->bells[channel], INT32_MAX);
        }
    }
    return true;
}

int il__wake(il_space *space, il_u32 *futex, int count)
{
    bool rung = ring(space, futex); /* first: a loop has the longer way */
    return il_futex_wake(futex, count) + rung;
}

/* Leaves the channel, unless it is there. True: the futex is still as expected. */
static bool leave_channel(il_space *space, const il_wait *wait)
{
    il_u64 *listeners = &space->header->listeners[il_bucket_of(space, wait->futex)];
    uint64_t bit = 1ull << channel_of(space), there = il_load_relaxed(listeners);
    while (!(there & bit) && !il_cas_relaxed(listeners, &there, there | bit)) {
    }
    il_fence(); /* as in il__wake */
    return il_load_relaxed(wait->futex) == wait->expected;
}

int il__wait_listen(il_space *space, il_u32 *futex, uint32_t expected, uint64_t until_ns, il_wait *wait, uint64_t now)
{
    if (wait->due_ns != 0 && now >= wait->due_ns) {
        wait->due_ns = 0;
        wait->slices++;
        il__wait_lasts(space, wait);
        int code = il_space_check(space, false);
        return code == IL_OK ? IL_BUSY : code;
    }
    wait->slept = true;
    wait->futex = futex;
    wait->expected = expected;
    if (wait->due_ns == 0 || (until_ns != 0 && until_ns < wait->due_ns))
        wait->due_ns = until_ns < wait->deadline_ns ? until_ns : wait->deadline_ns;
    return leave_channel(space, wait) ? IL_PENDING : IL_OK;
}

int il_wait_later(il_space *space, il_wait *wait)
{
    uint64_t soon = il_clock_ns() + LATER_NS;
    wait->futex = &space->header->bells[channel_of(space)]; /* of no matter, but that it is one */
    wait->expected = il_load_relaxed(wait->futex);
    wait->due_ns = soon < wait->deadline_ns ? soon : wait->deadline_ns;
    return IL_PENDING;
}

bool il_wait_is_ripe(il_space *space, il_wait *wait, uint64_t now)
{
    return now >= wait->due_ns || il_load_relaxed(wait->futex) != wait->expected || !leave_channel(space, wait);
}

/* --- the thread that listens --- */

static il_u32 *bell_of(const il_port *port)
{
    return &port->space->header->bells[channel_of(port->space)];
}

static bool rings(const il_port *port)
{
    return port->ring.fd >= 0;
}

/* Held, as in all below: ports_mutex. Tells those who were rung up or are due. */
static void tell(il_process *process)
{
    uint64_t now = il_clock_ns();
    for (il_port *port = process->ports; port != NULL; port = port->next) {
        if (rings(port))
            continue;
        /* Acquire: pairs with the release of who rang. */
        uint32_t value = il_load_acquire(bell_of(port));
        bool told = !port->idle && (value != port->seen || now >= port->due_ns);
        port->seen = value;
        if (told) {
            port->due_ns = IL_FOREVER;
            il_signal_tell(port->fd);
        }
    }
}

/* What to sleep on, one for each space and channel, and until when. */
static int plan(const il_process *process, il_watched *watched, uint64_t *due)
{
    int count = 0;
    bool idle = true;
    *due = IL_FOREVER;
    for (const il_port *port = process->ports; port != NULL; port = port->next) {
        int i = 0;
        if (rings(port) || port->idle)
            continue;
        idle = false;
        if (port->due_ns < *due)
            *due = port->due_ns;
        while (i < count && watched[i].half != bell_of(port))
            i++;
        if (i == count && count < IL_WATCHED_MOST)
            watched[count++] = (il_watched){bell_of(port), port->seen};
    }
    return idle ? 0 : count;
}

/* The thread is to plan anew. Whoever else hears the bell that it sleeps on hears nothing new. */
static void poke(il_process *process)
{
    uint32_t before = il_add_relaxed(process->asleep_on, 1);
    for (il_port *port = process->ports; port != NULL; port = port->next) {
        if (!rings(port) && bell_of(port) == process->asleep_on && port->seen == before)
            port->seen = before + 1;
    }
    il_futex_wake(process->asleep_on, INT32_MAX);
    process->asleep_on = &process->nothing;
    process->planned_ns = 0;
}

static void *listen(void *argument)
{
    il_process *process = argument;
    uint64_t idle_since = 0;
    pthread_mutex_lock(&process->ports_mutex);
    for (;;) {
        il_watched watched[IL_WATCHED_MOST] = {{&process->nothing, il_load_relaxed(&process->nothing)}};
        uint64_t due, now = il_clock_ns();
        int count = plan(process, watched, &due);
        if (count != 0)
            idle_since = 0;
        else if (idle_since == 0)
            idle_since = now;
        else if (now - idle_since >= IDLE_NS)
            break;
        if (count == 0)
            due = idle_since + IDLE_NS;
        process->planned_ns = due;
        process->asleep_on = watched[0].half;
        pthread_mutex_unlock(&process->ports_mutex);
        /* Of several, one whose mapping goes meanwhile makes the call fail; then its port is not in the list any more. */
        il_futex_wait_any(watched, count != 0 ? count : 1, due);
        pthread_mutex_lock(&process->ports_mutex);
        tell(process);
    }
    process->listening = false;
    pthread_mutex_unlock(&process->ports_mutex);
    return NULL;
}

int il_port_open(il_port *port, il_space *space, bool may_ring)
{
    il_process *process = space->process;
    int code = il_self(space) != 0 ? IL_OK : il_attach(space);
    if (code != IL_OK)
        return code;
    int fd = il_signal_new();
    if (fd < 0) {
        errno = -fd;
        return IL_SYSTEM;
    }
    *port = (il_port){.space = space, .fd = fd, .due_ns = IL_FOREVER, .idle = true, .listed = true, .ring = {.fd = -1}};
    if (may_ring)
        (void)il_uring_open(&port->ring, fd); /* it cannot: the thread does */
    pthread_mutex_lock(&process->ports_mutex);
    port->seen = il_load_relaxed(bell_of(port));
    port->next = process->ports;
    process->ports = port;
    pthread_mutex_unlock(&process->ports_mutex);
    return IL_OK;
}

void il_port_close(il_port *port)
{
    il_process *process = port->space->process;
    pthread_mutex_lock(&process->ports_mutex);
    if (port->listed) {
        if (!rings(port) && process->listening && process->asleep_on == bell_of(port))
            poke(process);
        il_port **at = &process->ports;
        while (*at != port)
            at = &(*at)->next;
        *at = port->next;
    }
    pthread_mutex_unlock(&process->ports_mutex);
    il_uring_close(&port->ring);
    close(port->fd);
}

/* It cannot go on as it did: its loop runs in another thread now, perhaps. So the listening thread tells from now on. It goes by
 * `seen`, so what the kernel was to tell is not lost. */
static void ring_no_more(il_port *port)
{
    pthread_mutex_lock(&port->space->process->ports_mutex);
    il_uring_close(&port->ring);
    port->idle = true;
    pthread_mutex_unlock(&port->space->process->ports_mutex);
}

void il_port_hear(il_port *port)
{
    if (!port->listed)
        return; /* it is the parent's to hear */
    if (!rings(port)) {
        il_signal_hear(port->fd);
        return;
    }
    if (il_uring_hear(&port->ring) != 0)
        ring_no_more(port);
    else
        port->seen = il_load_acquire(bell_of(port)); /* as in tell() */
}

/* The same as of the thread below, of the kernel. */
static bool expect_ring(il_port *port, uint64_t due_ns)
{
    if (port->idle && due_ns != 0) /* whoever rang meanwhile did not ring for us; and what begins now is looked at once more */
        port->seen = il_load_acquire(bell_of(port));
    port->idle = due_ns == 0; /* what was expected is left to come: to take it back costs more */
    return port->idle || il_uring_expect(&port->ring, bell_of(port), port->seen, due_ns) == 0;
}

int il_port_expect(il_port *port, uint64_t due_ns)
{
    il_process *process = port->space->process;
    int failed = 0;
    if (rings(port)) {
        if (!port->listed || expect_ring(port, due_ns))
            return IL_OK;
        ring_no_more(port);
    }
    pthread_mutex_lock(&process->ports_mutex);
    bool begins = port->idle;
    port->idle = due_ns == 0;
    port->due_ns = due_ns != 0 ? due_ns : IL_FOREVER;
    if (!port->idle && port->listed) {
        if (!process->listening) {
            process->planned_ns = 0;
            process->asleep_on = &process->nothing;
            failed = il_thread_start(listen, process);
            process->listening = failed == 0;
        } else if (begins || port->due_ns < process->planned_ns) {
            poke(process); /* it may not sleep on this bell yet, or later than it should */
        }
    }
    pthread_mutex_unlock(&process->ports_mutex);
    errno = -failed;
    return failed == 0 ? IL_OK : IL_SYSTEM;
}

void il__ports_before_fork(il_process *process)
{
    pthread_mutex_lock(&process->ports_mutex);
}

void il__ports_after_fork(il_process *process, bool child)
{
    if (child) {
        for (il_port *port = process->ports; port != NULL; port = port->next)
            port->listed = false;
        process->ports = NULL;
        process->listening = false;
    }
    pthread_mutex_unlock(&process->ports_mutex);
}
