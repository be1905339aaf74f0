/* Waiting without a thread: what is pending is rung up when it may go on, whatever the kind, and told to the port's
 * descriptor. */
#include <poll.h>

#include "shares.h"

static bool by_ring; /* the kernel tells; else, and where it cannot, the thread */

static il_wait listening(uint64_t deadline_ns)
{
    return (il_wait){.deadline_ns = deadline_ns, .listens = true};
}

static bool is_told(const il_port *port, int milliseconds)
{
    struct pollfd fd = {.fd = port->fd, .events = POLLIN};
    return poll(&fd, 1, milliseconds) == 1;
}

/* Waits until the port is told, and the wait is no longer as it was. */
static void until_ripe(il_space *space, il_port *port, il_wait *wait)
{
    for (bool ripe = il_wait_is_ripe(space, wait, 0); !ripe; ripe = il_wait_is_ripe(space, wait, 0)) {
        CHECK(il_port_expect(port, IL_FOREVER) == IL_OK);
        if (il_wait_is_ripe(space, wait, 0))
            break;
        CHECK(is_told(port, 60000));
        il_port_hear(port);
    }
}

static void listening_for_a_lock(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "l");
    il_mutex *mutex = mutex_of(space, ref);
    il_port port;
    CHECK_CODE(il_port_open(&port, space, by_ring), IL_OK);
    for (int way = 0; way < 3; way++) {
        il_wait wait = listening(IL_FOREVER);
        CHECK_CODE(try_lock(other, ref), IL_OK);
        CHECK_CODE(il_mutex_lock(space, mutex, il_ref_key(ref), HOLDER, &wait), IL_PENDING);
        CHECK(wait.due_ns > il_clock_ns() - 1 * SECOND && wait.due_ns < il_clock_ns() + 1 * SECOND);
        CHECK(!il_wait_is_ripe(space, &wait, 0) && il_wait_is_ripe(space, &wait, wait.due_ns));
        CHECK_CODE(il_mutex_lock(space, mutex, il_ref_key(ref), HOLDER, &wait), IL_PENDING);
        if (way < 2) {
            CHECK_CODE(unlock(other, ref), IL_OK);
            if (way == 1) /* and has been taken again meanwhile */
                CHECK_CODE(try_lock(other, ref), IL_OK);
        } else {
            il_space_close(other);
            CHECK_CODE(il_reap(space, il_load_relaxed(&mutex->word) & IL_OWNER), IL_OK);
            other = view_of(space);
        }
        until_ripe(space, &port, &wait);
        if (way == 1) {
            CHECK_CODE(il_mutex_lock(space, mutex, il_ref_key(ref), HOLDER, &wait), IL_PENDING);
            CHECK_CODE(unlock(other, ref), IL_OK);
            until_ripe(space, &port, &wait);
        }
        CHECK_CODE(il_mutex_lock(space, mutex, il_ref_key(ref), HOLDER, &wait), IL_OK);
        CHECK(wait.orphan == (way == 2));
        CHECK_CODE(unlock(space, ref), IL_OK);
    }
    CHECK(il_port_expect(&port, 0) == IL_OK);
    il_port_close(&port);
    il_space_close(other);
    done(space, path);
}

/* Nobody says that the owner died, and nobody rings: the wait is due. */
static void listening_slices(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "l");
    il_mutex *mutex = mutex_of(space, ref);
    il_port port;
    CHECK_CODE(il_port_open(&port, space, by_ring), IL_OK);
    for (int dead = 0; dead < 2; dead++) {
        uint64_t deadline = il_clock_ns() + 30 * MS;
        il_wait wait = listening(dead ? IL_FOREVER : deadline);
        CHECK_CODE(try_lock(other, ref), IL_OK);
        if (dead)
            il_space_close(other);
        int code, turns = 0;
        while ((code = il_mutex_lock(space, mutex, il_ref_key(ref), HOLDER, &wait)) == IL_PENDING) {
            CHECK(il_port_expect(&port, wait.due_ns) == IL_OK);
            CHECK(is_told(&port, 60000));
            il_port_hear(&port);
            turns++;
        }
        CHECK(turns >= 1 && turns < 1000);
        CHECK(dead ? code == IL_OK && wait.orphan : code == IL_TIMEDOUT && il_clock_ns() >= deadline);
        if (!dead)
            CHECK_CODE(unlock(other, ref), IL_OK);
    }
    CHECK_CODE(unlock(space, ref), IL_OK);
    il_port_close(&port);
    done(space, path);
}

static void listening_for_every_kind(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_port port;
    CHECK_CODE(il_port_open(&port, space, by_ring), IL_OK);
    il_ref semaphore = find_as(space, "s", IL_KIND_SEMAPHORE, il_semaphore_parameter(0, IL_PERMITS));
    il_ref event = find_as(space, "e", IL_KIND_EVENT, 0);
    il_ref bounded = find_as(space, "b", IL_KIND_BOUNDED_SEMAPHORE, 1);
    il_ref rwlock = find_as(space, "rw", IL_KIND_RWLOCK, 0);
    il_ref condition = find_as(space, "c", IL_KIND_CONDITION, 0);
    il_ref barrier = find_as(space, "ba", IL_KIND_BARRIER, 2);
    il_wait wait = listening(IL_FOREVER), now = until_now();

    CHECK_CODE(il_semaphore_acquire(space, cell_of(space, semaphore), il_ref_key(semaphore), &wait), IL_PENDING);
    CHECK_CODE(il_semaphore_release(other, cell_of(space, semaphore), il_ref_key(semaphore), IL_PERMITS, 1), IL_OK);
    until_ripe(space, &port, &wait);
    CHECK_CODE(il_semaphore_acquire(space, cell_of(space, semaphore), il_ref_key(semaphore), &wait), IL_OK);

    wait = listening(IL_FOREVER);
    CHECK_CODE(il_event_wait(space, cell_of(space, event), il_ref_key(event), &wait), IL_PENDING);
    CHECK_CODE(il_event_set(other, cell_of(space, event), il_ref_key(event)), IL_OK);
    CHECK_CODE(il_event_clear(other, cell_of(space, event), il_ref_key(event)), IL_OK);
    until_ripe(space, &port, &wait);
    CHECK_CODE(il_event_wait(space, cell_of(space, event), il_ref_key(event), &wait), IL_OK); /* it was set meanwhile */

    il_share mine = share_of(space, bounded), its = share_of(other, bounded);
    wait = listening(IL_FOREVER);
    CHECK_CODE(bounded_acquire(other, bounded, its, now), IL_OK);
    CHECK_CODE(il_bounded_acquire(space, bounded, mine, HOLDER, &wait), IL_PENDING);
    CHECK_CODE(bounded_release(other, bounded, its), IL_OK);
    until_ripe(space, &port, &wait);
    CHECK_CODE(il_bounded_acquire(space, bounded, mine, HOLDER, &wait), IL_OK);
    CHECK(il_bounded_free(space, bounded) == 0);

    mine = share_of(space, rwlock), its = share_of(other, rwlock);
    wait = listening(IL_FOREVER);
    CHECK_CODE(read_lock(other, rwlock, its, now), IL_OK);
    CHECK_CODE(il_mutex_lock(space, mutex_of(space, rwlock), il_ref_key(rwlock), HOLDER, &wait), IL_OK);
    CHECK_CODE(il_rwlock_drain(space, rwlock, &wait), IL_PENDING);
    il_wait reading = listening(IL_FOREVER);
    CHECK_CODE(il_rwlock_read(other, rwlock, share_of(other, rwlock), HOLDER, false, &reading), IL_PENDING);
    CHECK(read_unlock(other, rwlock, its));
    until_ripe(space, &port, &wait);
    CHECK_CODE(il_rwlock_drain(space, rwlock, &wait), IL_OK);
    CHECK_CODE(il_rwlock_write_unlock(space, rwlock, 0), IL_OK);
    CHECK(il_wait_is_ripe(other, &reading, 0));
    CHECK_CODE(il_rwlock_read(other, rwlock, its, HOLDER, false, &reading), IL_OK);
    CHECK(read_unlock(other, rwlock, its));

    il_ticket ticket;
    wait = listening(IL_FOREVER);
    CHECK_CODE(il_condition_enter(space, condition, &now, &ticket), IL_OK);
    CHECK_CODE(il_condition_wait(space, condition, ticket, &wait), IL_PENDING);
    CHECK_CODE(il_condition_notify(other, condition, NULL, 1, NULL), IL_OK);
    until_ripe(space, &port, &wait);
    CHECK_CODE(il_condition_wait(space, condition, ticket, &wait), IL_OK);
    CHECK_CODE(il_condition_leave(space, condition, ticket, NULL, false), 1);

    uint32_t place;
    il_ticket last;
    wait = listening(IL_FOREVER);
    CHECK_CODE(il_barrier_enter(space, barrier, &wait, &ticket, &place), IL_OK);
    CHECK_CODE(il_barrier_wait(space, barrier, ticket, &wait), IL_PENDING);
    now = until_now();
    CHECK_CODE(il_barrier_enter(other, barrier, &now, &last, &place), IL_LAST);
    CHECK_CODE(il_barrier_finish(other, barrier, last, true), IL_OK);
    until_ripe(space, &port, &wait);
    CHECK_CODE(il_barrier_wait(space, barrier, ticket, &wait), IL_OK);

    il_port_close(&port);
    il_space_close(other);
    done(space, path);
}

/* One thread serves the ports of several spaces, sleeps on what is there, and wakes for one that comes. */
static void several_ports(void)
{
    enum { SPACES = 3 };
    char *paths[SPACES];
    il_space *spaces[SPACES];
    il_port ports[SPACES];
    for (int i = 0; i < SPACES; i++) {
        spaces[i] = fresh(&paths[i], 8);
        CHECK_CODE(il_port_open(&ports[i], spaces[i], by_ring), IL_OK);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < SPACES; i++) {
            il_space *other = view_of(spaces[i]);
            il_ref ref = find(spaces[i], "l");
            il_wait wait = listening(IL_FOREVER);
            CHECK_CODE(try_lock(other, ref), IL_OK);
            CHECK_CODE(il_mutex_lock(spaces[i], mutex_of(spaces[i], ref), il_ref_key(ref), HOLDER, &wait), IL_PENDING);
            CHECK(il_port_expect(&ports[i], IL_FOREVER) == IL_OK);
            CHECK(!is_told(&ports[i], 2));
            CHECK_CODE(unlock(other, ref), IL_OK);
            CHECK(is_told(&ports[i], 60000));
            il_port_hear(&ports[i]);
            for (int k = 0; k < SPACES; k++)
                CHECK(k == i || !is_told(&ports[k], 0));
            if (round == 1)
                CHECK(il_port_expect(&ports[i], 0) == IL_OK); /* else it goes on, with nothing that wakes it */
            il_space_close(other);
        }
    }
    for (int i = 0; i < SPACES; i++) {
        il_port_close(&ports[i]);
        done(spaces[i], paths[i]);
    }
}

/* The thread looks at the bells of a file that a stranger cuts off, and says that it is time to look. */
static void listening_in_a_lost_space(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "l");
    il_port port;
    CHECK_CODE(il_port_open(&port, space, by_ring), IL_OK);
    il_wait wait = listening(IL_FOREVER);
    CHECK_CODE(try_lock(other, ref), IL_OK);
    CHECK_CODE(il_mutex_lock(space, mutex_of(space, ref), il_ref_key(ref), HOLDER, &wait), IL_PENDING);
    CHECK(il_port_expect(&port, wait.due_ns) == IL_OK);
    CHECK(truncate(path, 0) == 0);
    int code = IL_PENDING;
    for (int turns = 0; code == IL_PENDING; turns++) {
        CHECK(turns < 1000 && is_told(&port, 60000));
        il_port_hear(&port);
        code = il_mutex_lock(space, mutex_of(space, ref), il_ref_key(ref), HOLDER, &wait);
        CHECK(il_port_expect(&port, code == IL_PENDING ? wait.due_ns : 0) == IL_OK);
    }
    CHECK(code == IL_WIPED || code == IL_STALE);
    il_port_close(&port);
    il_space_close(other);
    done(space, path);
}

/* Heard once for each time it was told. */
static void told_by_the_kernel(void)
{
    il_u32 half = 7;
    int fd = il_signal_new(), code;
    il_port port = {.fd = fd};
    il_uring *ring = &port.ring;
    if ((code = il_uring_open(ring, fd)) != 0) {
        CHECK(code == -ENOSYS || code == -EPERM || code == -EINVAL || code == -EOPNOTSUPP);
        printf("   this kernel tells nobody of futexes: %s; the thread does, here and below\n", strerror(-code));
        close(fd);
        return;
    }
    for (int round = 0; round < 5; round++) {
        CHECK(il_uring_expect(ring, &half, 7, IL_FOREVER) == 0 && !is_told(&port, 2));
        CHECK(il_uring_expect(ring, &half, 7, IL_FOREVER) == 0); /* it waits already */
        CHECK(il_futex_wake(&half, INT32_MAX) == 1);
        CHECK(is_told(&port, 60000) && il_uring_hear(ring) == 0 && !is_told(&port, 2));
        CHECK(il_uring_hear(ring) == 0 && !is_told(&port, 0));
    }
    CHECK(il_uring_expect(ring, &half, 8, IL_FOREVER) == 0 && is_told(&port, 0)); /* not as expected */
    CHECK(il_uring_hear(ring) == 0 && !is_told(&port, 2));

    uint64_t now = il_clock_ns();
    CHECK(il_uring_expect(ring, &half, 7, now + 3600 * SECOND) == 0);
    CHECK(il_uring_expect(ring, &half, 7, now + 7200 * SECOND) == 0 && !is_told(&port, 2));
    CHECK(il_uring_expect(ring, &half, 7, now + 50 * MS) == 0); /* earlier */
    CHECK(is_told(&port, 60000) && il_clock_ns() >= now + 50 * MS && il_uring_hear(ring) == 0 && !is_told(&port, 2));
    CHECK(il_uring_expect(ring, &half, 7, now) == 0 && is_told(&port, 0)); /* over already */
    CHECK(il_uring_hear(ring) == 0 && il_futex_wake(&half, INT32_MAX) == 1); /* it waited all the time */
    CHECK(is_told(&port, 60000) && il_uring_hear(ring) == 0 && !is_told(&port, 2));

    /* A wake and a time at once; and a time that is changed as it comes. */
    for (int round = 0; round < 200; round++) {
        now = il_clock_ns();
        CHECK(il_uring_expect(ring, &half, 7, now + MS) == 0);
        if (round % 2 == 0)
            il_nap(MS - 50000 + (uint64_t)round * 500);
        CHECK(il_uring_expect(ring, &half, 7, now + MS / 2) == 0);
        il_futex_wake(&half, INT32_MAX);
        while (ring->waits || ring->due_ns != 0)
            CHECK(is_told(&port, 60000) && il_uring_hear(ring) == 0);
        CHECK(!is_told(&port, 0));
    }
    il_uring_close(ring);
    CHECK(ring->fd == -1 && !is_told(&port, 0));
    close(fd);
}

/* The kernel says that there is something, and there is nothing: it was late to say so. */
static void told_too_late(void)
{
    il_u32 half = 7;
    int fd = il_signal_new();
    il_port port = {.fd = fd};
    il_uring *ring = &port.ring;
    if (il_uring_open(ring, fd) == 0) {
        for (int round = 0; round < 3; round++) {
            CHECK(il_uring_expect(ring, &half, 7, IL_FOREVER) == 0);
            il_store_relaxed(ring->flags, il_load_relaxed(ring->flags) | 1 << 2); /* IORING_SQ_TASKRUN */
            il_signal_tell(fd);
            CHECK(il_uring_hear(ring) == 0 && ring->waits && !is_told(&port, 0));
            CHECK(il_futex_wake(&half, INT32_MAX) == 1 && is_told(&port, 60000));
            CHECK(il_uring_hear(ring) == 0 && !ring->waits && !is_told(&port, 2));
        }
        il_uring_close(ring);
    }
    close(fd);
}

/* As in a container that was moved from a machine that has run for longer. */
static void told_in_another_time(void)
{
    enum { NEWTIME = 0x80 }; /* CLONE_NEWTIME */
    pid_t child = check_fork();
    if (child == 0) {
        static const char ahead[] = "monotonic 100000 0\n";
        int offsets = unshare(CLONE_NEWUSER | NEWTIME) == 0 ? open("/proc/self/timens_offsets", O_WRONLY) : -1;
        if (offsets < 0 || write(offsets, ahead, sizeof ahead - 1) != (ssize_t)sizeof ahead - 1) {
            printf("   no time namespace: %s\n", strerror(errno));
            fflush(stdout);
            _exit(0);
        }
        uint64_t before = il_clock_ns();
        pid_t inner = fork();
        if (inner == 0) {
            il_u32 half = 7;
            int fd = il_signal_new();
            il_port port = {.fd = fd};
            CHECK(il_clock_ns() > before + 50000 * SECOND);
            if (il_uring_open(&port.ring, fd) == 0) {
                uint64_t now = il_clock_ns();
                CHECK(il_uring_expect(&port.ring, &half, 7, now + 20 * MS) == 0 && is_told(&port, 10000));
                CHECK(il_clock_ns() >= now + 20 * MS && il_uring_hear(&port.ring) == 0);
                now = il_clock_ns();
                CHECK(il_uring_expect(&port.ring, &half, 7, now + 3600 * SECOND) == 0 && !is_told(&port, 2));
                CHECK(il_uring_expect(&port.ring, &half, 7, now + 20 * MS) == 0 && is_told(&port, 10000));
            }
            _exit(0);
        }
        int status = 1;
        CHECK(inner > 0 && waitpid(inner, &status, 0) == inner && status == 0);
        _exit(0);
    }
    CHECK_CHILD(child);
}

static void *expect_elsewhere(void *argument)
{
    il_port *port = argument;
    CHECK(il_port_expect(port, port->due_ns == IL_FOREVER ? IL_FOREVER - 1 : IL_FOREVER) == IL_OK);
    return NULL;
}

static void *open_elsewhere(void *argument)
{
    il_port *port = argument;
    CHECK_CODE(il_port_open(port, port->space, true), IL_OK);
    CHECK(il_port_expect(port, IL_FOREVER) == IL_OK);
    return NULL;
}

/* A loop that goes on in another thread, which the kernel's ring is not for. */
static void a_loop_changes_threads(void)
{
    char *path;
    il_space *space = fresh(&path, 8), *other = view_of(space);
    il_ref ref = find(space, "l");
    il_port port = {.space = space};
    pthread_t thread;
    enum { NOT_YET, HERE, AND_IS_RUNG_UP, IN_A_THREAD_THAT_ENDS, WAYS };
    for (int waits = NOT_YET; waits < WAYS; waits++) { /* already */
        il_wait wait = listening(IL_FOREVER);
        CHECK_CODE(try_lock(other, ref), IL_OK);
        CHECK_CODE(il_mutex_lock(space, mutex_of(space, ref), il_ref_key(ref), HOLDER, &wait), IL_PENDING);
        if (waits == IN_A_THREAD_THAT_ENDS)
            CHECK(pthread_create(&thread, NULL, open_elsewhere, &port) == 0 && pthread_join(thread, NULL) == 0);
        else
            CHECK_CODE(il_port_open(&port, space, true), IL_OK);
        if (waits == HERE || waits == AND_IS_RUNG_UP)
            CHECK(il_port_expect(&port, IL_FOREVER) == IL_OK);
        if (waits == AND_IS_RUNG_UP) { /* between a look and what follows it */
            CHECK_CODE(unlock(other, ref), IL_OK);
            if (port.ring.fd >= 0) /* else the thread tells it once */
                il_signal_hear(port.fd);
        }
        if (waits != IN_A_THREAD_THAT_ENDS)
            CHECK(pthread_create(&thread, NULL, expect_elsewhere, &port) == 0 && pthread_join(thread, NULL) == 0);
        if (waits != AND_IS_RUNG_UP)
            CHECK_CODE(unlock(other, ref), IL_OK);
        CHECK(is_told(&port, 60000));
        until_ripe(space, &port, &wait);
        CHECK_CODE(il_mutex_lock(space, mutex_of(space, ref), il_ref_key(ref), HOLDER, &wait), IL_OK);
        CHECK_CODE(unlock(space, ref), IL_OK);
        il_port_close(&port);
    }
    il_space_close(other);
    done(space, path);
}

#define BY_RING(test)                                                                                                  \
    static void test##_by_ring(void)                                                                                   \
    {                                                                                                                  \
        by_ring = true;                                                                                                \
        test();                                                                                                        \
        by_ring = false;                                                                                               \
    }
BY_RING(listening_for_a_lock)
BY_RING(listening_slices)
BY_RING(listening_for_every_kind)
BY_RING(several_ports)
BY_RING(listening_in_a_lost_space)

#define BOTH_WAYS(test) {#test, test}, {#test "_by_ring", test##_by_ring}

const test listen_tests[] = {
    {"told_by_the_kernel", told_by_the_kernel},
    {"told_too_late", told_too_late},
    {"told_in_another_time", told_in_another_time},
    BOTH_WAYS(listening_for_a_lock),
    BOTH_WAYS(listening_slices),
    BOTH_WAYS(listening_for_every_kind),
    BOTH_WAYS(several_ports),
    BOTH_WAYS(listening_in_a_lost_space),
    {"a_loop_changes_threads", a_loop_changes_threads},
    {NULL, NULL},
};
