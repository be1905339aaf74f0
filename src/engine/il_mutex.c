/* The lock word: taking it, waiting for it, giving it back, and freeing it for the dead.
 *
 * States of a word (its bits are in il_layout.h) and who may leave them:
 *
 *   free             anyone          -> held                  CAS 0 -> slot
 *   held             a waiter        -> held + WAITERS        CAS, then it sleeps on the half
 *                    a waiter >1 ms  -> held + WAITERS + RESERVED
 *                    the owner       -> free, or free + RESERVED when RESERVED was set; then wakes one if WAITERS was set
 *                    the reaper      -> free + ORPHAN, once the owner is proven dead; then wakes one if WAITERS was set
 *   free + RESERVED  a waiter        -> held                  newcomers only after the reservation has expired
 *                    the releaser    -> free                  when its wake found nobody asleep
 *   free + ORPHAN    as free; the taker keeps ORPHAN in the word until it releases in good order
 *
 * Whoever cannot have it sleeps in slices (il_wait.c); at the end of one it asks the kernel whether the owner lives and
 * reaps it if not. All waiters write the same bits, so they cannot invalidate each other's expected value in turns.
 *
 * A waiter that used up a wake and leaves without the lock (deadline, signal, stale name) passes the wake on.
 *
 * Fairness: barging, for speed. After IL_RESERVE_AFTER_NS a waiter reserves; the next release then is a hand-off to the
 * waiters. This is the idea of Go's sync.Mutex starvation mode and of parking_lot's eventual fairness, made crash-safe by
 * the expiry. */
#include "il_internal.h"
#include "il_platform.h"

enum {
    RESERVED_FOR_NS = 3000000, /* a reservation nobody used is void after this: about a scheduler tick */
    SPIN_ROUNDS = 15,
};

static inline uint32_t owner_of(uint32_t half)
{
    return half & IL_OWNER;
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the word's first four bytes must be its half");

/* The futex: the half with the flags and the owner, which is the low one on the little-endian machines we run on. */
static inline il_u32 *futex_of(il_mutex *mutex)
{
    return (il_u32 *)(void *)&mutex->word;
}

/* Stamps "held by the present owner since" unless this hold has its stamp already. A hint: a racing stamp of another hold
 * carries another fence and is ignored by readers. */
static void stamp_since(il_mutex *mutex, uint64_t fence, uint64_t now)
{
    uint64_t stamp = (now / 1000000u) << 24 | (fence & 0xFFFFFFu);
    if ((il_load_relaxed(&mutex->since) & 0xFFFFFFu) != (fence & 0xFFFFFFu))
        il_store_relaxed(&mutex->since, stamp);
}

/* The owner's notes after taking the lock the long way. */
static void settle(il_mutex *mutex, uint64_t holder, il_wait *wait, uint32_t half)
{
    uint64_t fence = il_load_relaxed(&mutex->fence) + 1;
    il_store_relaxed(&mutex->holder, holder);
    il_store_relaxed(&mutex->fence, fence);
    if (wait->began_ns != 0) {
        uint64_t now = il_clock_ns();
        il_store_relaxed(&mutex->contended, il_load_relaxed(&mutex->contended) + 1);
        il_store_relaxed(&mutex->waited_ns, il_load_relaxed(&mutex->waited_ns) + (now - wait->began_ns));
        stamp_since(mutex, fence, now);
    }
    wait->orphan = (half & IL_ORPHAN) != 0;
}

/* Leaving after a wake was used up: the lock may be free with others asleep, or held by one who took it without WAITERS. */
static void pass_on(il_space *space, il_mutex *mutex, uint64_t key)
{
    uint64_t word = il_load_relaxed(&mutex->word);
    for (;;) {
        uint32_t half = (uint32_t)word;
        if ((word & IL_GENERATION) != key || owner_of(half) == 0) {
            il__wake(space, futex_of(mutex), 1);
            return;
        }
        if ((half & IL_WAITERS) || il_cas_relaxed(&mutex->word, &word, word | IL_WAITERS))
            return;
    }
}

/* Frees what a dead owner holds. IL_OK: the word is worth another look, for the owner was dead or is no longer that; IL_BUSY:
 * it lives and has the lock, or there is none. */
static int reap_if_dead(il_space *space, il_mutex *mutex, uint32_t owner, bool listens)
{
    if (owner == 0 || owner == il_self(space))
        return IL_BUSY;
    /* Many tasks may wait for what one process has: for them it is asked about once in a millisecond. */
    uint64_t asked = listens ? (uint64_t)owner << 48 | (il_clock_ns() >> 20 & 0xFFFFFFFFFFFFu) : 0;
    if (listens && il_load_relaxed(&space->alive) == asked)
        return owner_of((uint32_t)il_load_relaxed(&mutex->word)) != owner ? IL_OK : IL_BUSY;
    int code = il_slot_alive(space, owner);
    if (listens && code == 1)
        il_store_relaxed(&space->alive, asked);
    if (code == 0) {
        code = il_reap(space, owner);
        if (code == IL_BUSY)
            code = il_slot_alive(space, owner); /* another got to reap it first: until it has done so */
    }
    if (code <= 0)
        return code;
    return owner_of((uint32_t)il_load_relaxed(&mutex->word)) != owner ? IL_OK : IL_BUSY;
}

/* Watches the word for a moment before sleep. True: it is free. */
static bool spin(const il_space *space, il_mutex *mutex, uint64_t key)
{
    if (!space->process->spins)
        return false;
    for (int round = 0; round < SPIN_ROUNDS; round++) {
        il_pause();
        uint64_t word = il_load_relaxed(&mutex->word);
        if ((word & (IL_GENERATION | IL_OWNER | IL_RESERVED)) == key)
            return true;
    }
    return false;
}

int il_mutex_lock(il_space *space, il_mutex *mutex, uint64_t key, uint64_t holder, il_wait *wait)
{
    int code = il_self(space) != 0 ? IL_OK : il_attach(space);
    if (code != IL_OK)
        return code;
    uint32_t slot = il_self(space);
    bool spun = wait->listens && wait->slept; /* before the first sleep alone */
    bool looked = false; /* the last look before leaving: once, since a second owner by then is the lock's ordinary use */

    for (;;) {
        uint64_t word = il_load_relaxed(&mutex->word);
        uint32_t half = (uint32_t)word, owner = owner_of(half);
        if ((word & IL_GENERATION) != key) {
            code = IL_STALE;
            break;
        }
        if (owner == 0) {
            bool entitled = !(half & IL_RESERVED) || wait->slept ||
                            il_clock_ns() - il_load_relaxed(&mutex->reserved_ns) > RESERVED_FOR_NS;
            if (entitled) {
                /* Others may still sleep if we did, or if the lock was reserved for some. */
                uint32_t kept = (half & (IL_ORPHAN | IL_WAITERS)) |
                                (wait->slept || (half & IL_RESERVED) ? IL_WAITERS : 0);
                /* Acquire: pairs with the release CAS in il_mutex_unlock and il__mutex_orphan. */
                if (!il_cas_acquire(&mutex->word, &word, key | slot | kept))
                    continue;
                settle(mutex, holder, wait, half);
                return IL_OK;
            }
        }
        if (wait->deadline_ns == IL_NOW) {
            code = looked ? IL_BUSY : reap_if_dead(space, mutex, owner, wait->listens);
            looked = true;
            if (code == IL_OK)
                continue;
            break;
        }
        uint64_t now = il__wait_now_for_lock(space, wait);
        if (!spun && !wait->rushed && owner != 0) {
            spun = true;
            if (spin(space, mutex, key))
                continue;
        }
        if (now >= wait->deadline_ns) {
            code = looked ? IL_BUSY : reap_if_dead(space, mutex, owner, wait->listens);
            looked = true;
            if (code == IL_OK)
                continue;
            if (code == IL_BUSY)
                code = IL_TIMEDOUT;
            break;
        }
        /* To nap is to ask for no wake. If we used up one, whoever else sleeps waits for us: we shall take the lock with
         * WAITERS set, or set it below. */
        code = owner != 0 ? il__wait_nap(wait, now) : IL_BUSY;
        if (code == IL_OK)
            continue;
        if (code == IL_INTERRUPTED)
            break;
        /* A first, short slice, to reserve the lock at its end. */
        uint64_t until = wait->slices == 0 ? now + IL_RESERVE_AFTER_NS : 0;
        uint32_t want = half | IL_WAITERS;
        if (owner == 0)
            until = il_load_relaxed(&mutex->reserved_ns) + RESERVED_FOR_NS + 1;
        else if (now - wait->began_ns >= IL_RESERVE_AFTER_NS) {
            want |= IL_RESERVED;
            stamp_since(mutex, il_load_relaxed(&mutex->fence), now);
        }
        /* Relaxed: nothing is published by it, and the sleep itself compares the half again in the kernel. */
        if (want != half && !il_cas_relaxed(&mutex->word, &word, key | want))
            continue;
        code = il__wait_sleep(space, futex_of(mutex), want, until, wait, now);
        if (code == IL_BUSY) {
            code = reap_if_dead(space, mutex, owner, wait->listens);
            if (code == IL_SYSTEM)
                code = IL_BUSY; /* could not ask, for want of a descriptor perhaps: ask again after the next slice */
            if (code == IL_BUSY && il__wait_returns(wait))
                code = IL_INTERRUPTED;
        }
        if (code != IL_OK && code != IL_BUSY)
            break;
    }
    if (wait->woken)
        pass_on(space, mutex, key);
    wait->woken = false;
    if (wait->listens && code == IL_TIMEDOUT)
        il_mutex_withdraw(mutex, key);
    return code;
}

void il_mutex_withdraw(il_mutex *mutex, uint64_t key)
{
    uint64_t word = il_load_relaxed(&mutex->word);
    while ((word & IL_GENERATION) == key && (word & IL_RESERVED) &&
           !il_cas_relaxed(&mutex->word, &word, word & ~(uint64_t)IL_RESERVED)) {
    }
}

int il_mutex_unlock(il_space *space, il_mutex *mutex, uint64_t key, unsigned flags)
{
    uint32_t slot = il_self(space);
    uint64_t word = il_load_relaxed(&mutex->word), next = 0;
    uint32_t half = 0;
    for (bool done = false; !done;) {
        half = (uint32_t)word;
        if ((word & IL_GENERATION) != key || owner_of(half) == 0) {
            if (il_load_relaxed(&space->wiped))
                return IL_WIPED;
            return (word & IL_GENERATION) != key ? IL_STALE : IL_NOT_HELD;
        }
        if (owner_of(half) != slot) {
            /* A dead owner's lock is nobody's, and only the reaper frees it: so that its successor learns of the death. */
            int code = reap_if_dead(space, mutex, owner_of(half), false);
            if (code == IL_OK) {
                word = il_load_relaxed(&mutex->word);
                continue;
            }
            if (code != IL_BUSY)
                return code;
            if (!(flags & IL_UNLOCK_FOREIGN))
                return IL_NOT_OWNER;
        }
        next = key | (half & IL_RESERVED) | (flags & IL_UNLOCK_KEEP_ORPHAN ? half & IL_ORPHAN : 0);
        if (half & IL_RESERVED)
            il_store_relaxed(&mutex->reserved_ns, il_clock_ns());
        il_store_relaxed(&mutex->holder, 0); /* as in il_mutex_unlock_fast */
        /* Release: pairs with every acquire CAS that takes the lock. */
        done = il_cas_release(&mutex->word, &word, next);
    }
    if (half & (IL_WAITERS | IL_RESERVED)) {
        int woken = il__wake(space, futex_of(mutex), 1);
        /* Nobody sleeps, so nobody is there to use the reservation. Failing means that somebody took the lock, or is about to
         * sleep on it until the reservation expires. */
        if (woken == 0 && (half & IL_RESERVED))
            il_cas_relaxed(&mutex->word, &next, next & ~(uint64_t)IL_RESERVED);
    }
    return IL_OK;
}

int il_mutex_locked(il_space *space, il_mutex *mutex, uint64_t key)
{
    for (;;) {
        uint64_t word = il_load_relaxed(&mutex->word);
        uint32_t owner = owner_of((uint32_t)word);
        if ((word & IL_GENERATION) != key || owner == 0)
            return 0;
        int alive = owner == il_self(space) ? 1 : il_slot_alive(space, owner);
        if (alive <= 0 || owner_of((uint32_t)il_load_relaxed(&mutex->word)) == owner)
            return alive;
    }
}

int il_mutex_owner(il_space *space, il_mutex *mutex, uint64_t key, il_owner *owner)
{
    uint64_t word = il_load_acquire(&mutex->word);
    uint32_t slot = owner_of((uint32_t)word);
    int alive = il_mutex_locked(space, mutex, key);
    if (alive <= 0)
        return alive < 0 ? alive : IL_NOT_HELD;
    if ((word & IL_GENERATION) != key || slot == 0)
        return IL_NOT_HELD;
    il_slot_describe(space, slot, owner);
    owner->thread = (uint32_t)il_load_relaxed(&mutex->holder);
    uint64_t fence = il_load_relaxed(&mutex->fence), now = il_clock_ns();
    stamp_since(mutex, fence, now);
    uint64_t since = il_load_relaxed(&mutex->since);
    owner->since_ns = (since & 0xFFFFFFu) == (fence & 0xFFFFFFu)
                          ? il_clock_wall_ns() - (now - (since >> 24) * 1000000u)
                          : 0;
    return IL_OK;
}

bool il__mutex_unclaimed(il_mutex *mutex, uint32_t half)
{
    return (half & (IL_OWNER | IL_RESERVED)) == IL_RESERVED &&
           il_clock_ns() - il_load_relaxed(&mutex->reserved_ns) > RESERVED_FOR_NS;
}

/* The caller holds the byte of the dead owner k, so nobody can become k; but a foreign release may still write k away, and
 * then the word is somebody else's. The notes before the CAS may in that case hit the next owner's: they tell, and decide
 * nothing, since an RLock knows no foreign release. A reaper that dies midway leaves `recoveries` counted twice. */
void il__mutex_orphan(il_space *space, il_mutex *mutex, uint32_t k, bool mark)
{
    uint64_t word = il_load_relaxed(&mutex->word), next;
    uint32_t half = (uint32_t)word;
    if (owner_of(half) != k)
        return;
    il_store_relaxed(&mutex->holder, 0);
    il_store_relaxed(&mutex->recoveries, il_load_relaxed(&mutex->recoveries) + 1);
    do {
        half = (uint32_t)word;
        if (owner_of(half) != k)
            return;
        /* A reservation dies with the owner: those it was for may be dead as well, and a newcomer's try must succeed. */
        next = (word & (IL_GENERATION | IL_ORPHAN)) | (mark ? IL_ORPHAN : 0);
        /* Release: what the reaper repaired is seen by the next owner. */
    } while (!il_cas_release(&mutex->word, &word, next));
    if (half & (IL_WAITERS | IL_RESERVED))
        il__wake(space, futex_of(mutex), 1);
}
