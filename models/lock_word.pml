/* The lock word (src/engine/il_mutex.c) and the reaping of dead processes (src/engine/il_slot.c).
 *
 * Each STEP is one access to shared memory, one futex call or one byte-lock call of the C code, and a process may be killed
 * before each of them, or while it sleeps. Everything between two steps is local to a process, so a death there looks
 * like a death before the next step.
 *
 * Time is a choice: a slice, a deadline or a reservation may end at any moment, and a sleeper whose sleep may end can
 * always go on. So no result depends on a constant of il_mutex.c.
 *
 * Nothing counts rounds, unless ROUNDS is given: a process takes the lock for ever, and may stop after any round. So a
 * sleeper whose wake was lost is found as a deadlock, in the run where all others stop.
 *
 * Parameters (models/check gives them):
 *   N             processes, 2 to 4; as many slots
 *   CRASHES       how many deaths at most
 *   BIRTHS        how many new processes at most, each in the place of a dead one; as many as deaths if not given
 *   LEAVERS       processes 1 to LEAVERS may leave a wait by deadline or signal; the others are patient
 *   FOREIGN       how often a process may release a lock that another has (IL_UNLOCK_FOREIGN)
 *   EVICTIONS     how often a process may give the cell to another name when it finds it idle, sleepers or not
 *   NO_SLICES     no slice ever ends, so nothing but a wake ends a sleep on a held lock
 *   ROUNDS        each process takes the lock this often, unless it dies
 *   TIDY          also: when all have gone, nothing is left in the word but what is meant to be
 *   the switches under "Mutations", each of which breaks the protocol */

#ifndef N
#define N 3
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef BIRTHS
#define BIRTHS CRASHES
#endif
#if BIRTHS < CRASHES
#define BORN births < BIRTHS -> births++
#else
#define BORN true /* so that spin sees a local step */
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif
#ifndef FOREIGN
#define FOREIGN 0
#endif
#ifndef EVICTIONS
#define EVICTIONS 0
#endif

/* What the C code does; each mutation makes one of these untrue. */
#ifdef NO_SLICES
#define slices false
#else
#define slices true
#endif
#define may_leave (me <= LEAVERS)

/* Mutations. */
#ifdef MUTATE_SLEEP_UNCOMPARED /* FUTEX_WAIT does not compare: tests the model of the futex */
#define same_half true
#else
#define same_half (half == want)
#endif
#ifdef MUTATE_NO_WAKE /* a release wakes nobody */
#define wakes false
#else
#define wakes true
#endif
#ifdef MUTATE_NO_PASS_ON /* a woken waiter leaves without a word */
#define passes_on false
#else
#define passes_on true
#endif
#ifdef MUTATE_FORGET_SLEEPERS /* who slept takes the lock without WAITERS */
#define kept_waiters(seen) 0
#else
#define kept_waiters(seen) ((slept || (seen & RESERVED)) -> WAITERS : (seen & WAITERS))
#endif
#ifdef MUTATE_FORGET_ORPHAN /* the successor takes ORPHAN out of the word */
#define kept_orphan(seen) 0
#else
#define kept_orphan(seen) (seen & ORPHAN)
#endif
#ifdef MUTATE_NO_EXPIRY /* a reservation never ends by itself */
#define expires false
#else
#define expires true
#endif
#ifdef MUTATE_NO_PROBE /* nobody asks whether the owner lives */
#define probes false
#else
#define probes true
#endif
#ifdef MUTATE_REAP_UNPROVEN /* a slice's end is taken for the owner's death */
#define byte_free(k) true
#else
#define byte_free(k) (byte_lock[k] == 0)
#endif
#if defined(MUTATE_REAP_UNPROVEN) || defined(MUTATE_REAP_UNLOCKED) /* the reaper asks, but does not lock the byte */
#define locks_byte false
#else
#define locks_byte true
#endif
#ifdef MUTATE_CLAIM_UNSWEPT /* a new process does not sweep the slot it gets */
#define claimer_sweeps false
#else
#define claimer_sweeps true
#endif
#ifdef MUTATE_SWEPT_TOO_EARLY /* a slot is declared swept before it is */
#define swept_last false
#else
#define swept_last true
#endif

#ifdef MUTATE_ORPHAN_UNCHECKED /* the reaper's CAS takes the word as it finds it, whoever owns it by then */
#define checks_owner false
#else
#define checks_owner true
#endif

/* The word: il_layout.h. The futex is the half, so sleepers of several generations may lie in one queue. Whatever else
 * there is about names, models/cell.pml has it. */
#define OWNER 7
#define WAITERS 8
#define RESERVED 16
#define ORPHAN 32
#define FILLING 64
byte half;
byte generation;
#define is_word(expected) (half == (expected) && generation == key) /* what a CAS compares */

/* Process numbers and slots count from 1; 0 is nobody. At first process p lives in slot p. */
#if N == 2
#define FIRST_OWNERS {0, 1, 2}
#define FIRST_USED {0, 1, 1}
#elif N == 3
#define FIRST_OWNERS {0, 1, 2, 3}
#define FIRST_USED {0, 1, 1, 1}
#else
#define FIRST_OWNERS {0, 1, 2, 3, 4}
#define FIRST_USED {0, 1, 1, 1, 1}
#endif
byte byte_lock[N + 1] = FIRST_OWNERS; /* who holds byte k */
byte sweeper[N + 1];                  /* who holds the sweeper's byte of k */
bool used[N + 1] = FIRST_USED;        /* il_slot.pid != 0: k was given out and not swept since */
byte asleep;                          /* bit p - 1: process p is asleep on the half */

/* For the properties only. */
byte holder;  /* the living process inside the critical section */
bool bequest; /* an owner died holding the lock, and no release in good order came after */
byte crashes;
byte births;
byte foreign_releases;
byte evictions;
byte gone;    /* processes that have ended, dead or done */
byte patient = N - LEAVERS; /* processes that never leave a wait, and have not ended */

#define STEP(...)                                                                                                      \
    if                                                                                                                 \
    :: atomic { __VA_ARGS__ }                                                                                          \
    :: CRASH                                                                                                           \
    fi

/* The kernel frees the byte locks of a process once none of its threads can run any more. A process that is dying but still
 * holds its byte is no different from one that is not scheduled, so one step suffices. */
#define CRASH                                                                                                          \
    atomic {                                                                                                           \
        crashes < CRASHES;                                                                                             \
        crashes++;                                                                                                     \
        asleep = asleep & ~bit_of(me);                                                                                 \
        byte_lock[self] = (byte_lock[self] == me -> 0 : byte_lock[self]);                                              \
        byte_lock[k] = (byte_lock[k] == me -> 0 : byte_lock[k]);                                                       \
        sweeper[k] = (sweeper[k] == me -> 0 : sweeper[k]);                                                             \
        bequest = bequest || holder == me;                                                                             \
        holder = (holder == me -> 0 : holder);                                                                         \
        goto dead                                                                                                      \
    }

#define bit_of(p) (1 << (p - 1))

/* FUTEX_WAKE of one. Anyone may be the one: the kernel's order is not relied on. */
#define WAKE(woken)                                                                                                    \
    if                                                                                                                 \
    :: asleep & 1 -> asleep = asleep & ~1; woken = true                                                                \
    :: asleep & 2 -> asleep = asleep & ~2; woken = true                                                                \
    :: asleep & 4 -> asleep = asleep & ~4; woken = true                                                                \
    :: asleep & 8 -> asleep = asleep & ~8; woken = true                                                                \
    :: else -> woken = false                                                                                           \
    fi

/* The moment of taking the lock, found as `seen`. */
#define GRANTED(seen)                                                                                                  \
    assert(holder == 0);                                                                                               \
    assert(((seen & ORPHAN) != 0) == bequest);                                                                         \
    holder = me

/* Nothing is remembered from one round to the next. */
#define FORGET                                                                                                         \
    k = 0; seen = 0; want = 0;                                                                                         \
    slept = false; used_wake = false; expired = false; leaving = false; releasing = false;                                \
    second_look = false; keep = false; woken = false

/* What the last one may leave behind: 0, if nobody dies or leaves a wait. A waiter who leaves may leave the lock free and
 * reserved. A process may die with the lock, and nobody be there to see it. */
#define tidy                                                                                                           \
    (half == 0 || (LEAVERS > 0 && (half & (OWNER | RESERVED)) == RESERVED) || crashes > 0)

/* reap_if_dead is done: IL_OK, or IL_BUSY. */
#define LOOK_AGAIN                                                                                                     \
    k = 0; second_look = false;                                                                                        \
    if                                                                                                                 \
    :: releasing -> goto foreign                                                                                       \
    :: else -> seen = 0; goto again                                                                                    \
    fi
#define NOT_REAPED                                                                                                     \
    k = 0; second_look = false;                                                                                        \
    if                                                                                                                 \
    :: releasing -> goto foreign_release                                                                               \
    :: !releasing && !leaving -> seen = 0; goto again                                                                  \
    :: !releasing && leaving -> LEAVE                                                                                  \
    fi
#define LEAVE                                                                                                          \
    if                                                                                                                 \
    :: used_wake && passes_on -> goto pass_on                                                                          \
    :: else -> goto next_round                                                                                         \
    fi

active [N] proctype process()
{
    byte me = _pid + 1;
    byte self = me;   /* our slot */
    byte k;           /* the slot being asked about, swept or claimed */
    byte seen, want;  /* the half as it was read; as we want it */
    bool slept;       /* il_wait.slept */
    bool used_wake;   /* the last sleep ended by a wake */
    bool expired;     /* the deadline ended our sleep: do not sleep again */
    bool leaving;     /* il_mutex_lock's `looked`: the deadline has passed, and this was the last look at the owner */
    bool releasing;   /* il_mutex_unlock of another's lock */
    bool second_look; /* another got to reap it first */
    bool claiming;    /* the sweep is part of il_attach */
    byte key;         /* the generation of our handle */
    bool stale;       /* our handle is to be had anew */
    bool keep;        /* IL_UNLOCK_KEEP_ORPHAN */
    bool woken;
#ifdef ROUNDS
    byte rounds = ROUNDS;
#endif

next_round:
    atomic {
        FORGET;
#ifdef ROUNDS
        if
        :: rounds == 0 -> goto done
        :: else -> rounds--
        fi
#else
        if
        :: goto done
        :: skip
        fi
#endif
    }

#if EVICTIONS > 0
    if
    :: stale -> goto resolve
    :: !stale
    :: evictions < EVICTIONS -> goto evict
    fi;
locking:
#endif
#if FOREIGN > 0
    if
    :: foreign_releases < FOREIGN -> foreign_releases++; releasing = true; goto foreign
    :: skip
    fi;
#endif

    /* il_mutex_try_fast */
    STEP(
        if
        :: is_word(0) -> GRANTED(0); half = self; goto unlock
        :: else
        fi
    );

again: /* the loop of il_mutex_lock */
    STEP(
        k = 0;
        want = 0;
        seen = half;
        if
        :: generation != key -> /* IL_STALE */
            stale = true;
            LEAVE
        :: else
        fi;
        if
        :: (seen & OWNER) == 0 && (slept || !(seen & RESERVED)) -> goto take
        :: (seen & OWNER) == 0 && !slept && (seen & RESERVED) ->
            if
            :: expires -> goto take /* reserved too long ago */
            :: skip
            fi
        :: else
        fi;
        if
        :: leaving -> LEAVE
        :: !leaving && (expired || may_leave) ->
            leaving = true;
            goto probe
        :: !leaving && !expired
        fi;
        want = seen | WAITERS;
        if
        :: (seen & OWNER) != 0 -> want = want | RESERVED /* has waited long */
        :: skip
        fi;
        if
        :: want == seen -> goto sleep
        :: else
        fi
    );

    STEP(
        if
        :: is_word(seen) -> half = want
        :: else -> goto again
        fi
    );

sleep: /* il_futex_wait */
    STEP(
        slept = true;
        used_wake = false;
        if
        :: same_half -> asleep = asleep | bit_of(me)
        :: else -> goto again
        fi
    );
    if
    :: atomic { !(asleep & bit_of(me)); used_wake = true; goto again }
    :: atomic { /* the slice ends, or the reservation */
           (asleep & bit_of(me)) && ((seen & OWNER) != 0 -> slices : expires);
           asleep = asleep & ~bit_of(me)
       }
    :: atomic { /* the deadline */
           (asleep & bit_of(me)) && may_leave;
           asleep = asleep & ~bit_of(me);
           expired = true
       }
    :: atomic { /* a signal */
           (asleep & bit_of(me)) && may_leave;
           asleep = asleep & ~bit_of(me);
           goto next_round
       }
    :: CRASH
    fi;

probe: /* reap_if_dead, il_slot_alive: the kernel is asked about the owner's byte … */
    STEP(
        k = seen & OWNER;
        want = 0;
        if
        :: k == 0 || k == self || !probes -> NOT_REAPED
        :: else
        fi;
        if
        :: byte_free(k) && !second_look -> goto reap
        :: byte_free(k) && second_look -> LOOK_AGAIN
        :: !byte_free(k)
        fi
    );
    STEP( /* … and the sweeper's */
        if
        :: sweeper[k] != 0 -> goto probe /* a nap */
        :: skip /* alive, or out of patience */
        fi
    );
    STEP(
        if
        :: (half & OWNER) != k -> LOOK_AGAIN
        :: else -> NOT_REAPED
        fi
    );

reap: /* il_reap, claim_begin, lock_both */
    STEP(
        if
        :: byte_free(k)
        :: else -> goto not_locked
        fi
    );
    STEP(
        if
        :: sweeper[k] == 0 -> sweeper[k] = (locks_byte -> me : 0)
        :: else -> goto not_locked
        fi
    );
    STEP(
        if
        :: byte_free(k) ->
            byte_lock[k] = (locks_byte -> me : byte_lock[k]);
            if
            :: claiming && (!used[k] || !claimer_sweeps) -> goto swept
            :: else -> goto sweep
            fi
        :: else
        fi
    );
    STEP( sweeper[k] = 0 );
not_locked:
    atomic {
        if
        :: !claiming -> second_look = true; goto probe
        :: claiming && k < N -> k++; goto reap
        :: claiming && k == N -> claiming = false; k = 0; goto done /* IL_SLOTS_FULL */
        fi
    }

sweep: /* il__table_sweep. Held: byte k. */
    STEP(
        used[k] = used[k] && swept_last;
        seen = half;
        if
        :: (seen & OWNER) != k -> goto clean
        :: (seen & OWNER) == k && (seen & FILLING)
        :: (seen & OWNER) == k && !(seen & FILLING) -> goto orphan
        fi
    );
    STEP( half = 0; goto clean ); /* empty */
orphan: /* il__mutex_orphan */
    STEP(
        seen = half;
        if
        :: checks_owner && (seen & OWNER) != k -> goto clean
        :: else
        fi
    );
orphan_free:
    STEP(
        if
        :: half == seen -> /* the generation cannot change: the owner is ours */
            half = ORPHAN;
            if
            :: seen & (WAITERS | RESERVED)
            :: else -> goto clean
            fi
        :: else ->
            seen = half;
            if
            :: checks_owner && (seen & OWNER) != k -> goto clean
            :: else -> goto orphan_free
            fi
        fi
    );
    STEP( WAKE(woken) );
clean:
    STEP(
        seen = 0;
        woken = false;
        used[k] = false;
        if
        :: claiming
        :: else -> goto swept
        fi
    );
swept:
    STEP(
        if
        :: claiming -> /* il_attach: nothing may name a slot that gets a new process */
            assert((half & OWNER) != k);
            used[k] = true
        :: else
        fi
    );
    STEP( sweeper[k] = 0 ); /* claim_end */
    STEP(
        if
        :: claiming ->
            claiming = false;
            self = k;
            goto next_round
        :: else -> /* il_unpin */
            byte_lock[k] = (locks_byte -> 0 : byte_lock[k]);
            LOOK_AGAIN
        fi
    );

pass_on:
    STEP(
        seen = half;
        if
        :: generation != key || (seen & OWNER) == 0 -> goto pass_wake
        :: generation == key && (seen & OWNER) != 0 && (seen & WAITERS) -> goto next_round
        :: else
        fi
    );
pass_mark:
    STEP(
        if
        :: is_word(seen) -> half = seen | WAITERS; goto next_round
        :: else ->
            seen = half;
            if
            :: generation != key || (seen & OWNER) == 0 -> goto pass_wake
            :: generation == key && (seen & OWNER) != 0 && (seen & WAITERS) -> goto next_round
            :: else -> goto pass_mark
            fi
        fi
    );
pass_wake:
    STEP( WAKE(woken); goto next_round );

take: /* Others may still sleep if we did, or if the lock was reserved for some. */
    STEP(
        if
        :: is_word(seen) ->
            GRANTED(seen);
            half = self | kept_waiters(seen) | kept_orphan(seen);
            seen = 0; slept = false; used_wake = false; expired = false
        :: else -> goto again
        fi
    );

unlock: /* Inside the critical section, up to the step that frees the word. */
    /* il_mutex_unlock_fast */
    STEP(
        assert((holder == me) == ((half & OWNER) == self));
        assert(FOREIGN > 0 || holder == me);
        if
        :: is_word(self) ->
            assert(!bequest);
            half = 0;
            holder = 0;
            goto next_round
        :: else
        fi
    );
    STEP(
        seen = half;
        if
        :: (seen & OWNER) != self -> goto next_round /* another released it: IL_NOT_HELD, IL_NOT_OWNER */
        :: else
        fi;
        if
        :: seen & ORPHAN -> keep = true
        :: keep = false
        fi
    );
release: /* il_mutex_unlock */
    STEP(
        assert((holder == me) == ((half & OWNER) == self));
        if
        :: is_word(seen) ->
            want = (seen & RESERVED) | (keep -> seen & ORPHAN : 0);
            half = want;
            holder = 0;
            bequest = bequest && keep;
            keep = false;
            if
            :: (seen & (WAITERS | RESERVED)) && wakes
            :: else -> goto next_round
            fi
        :: else ->
            seen = half;
            if
            :: (seen & OWNER) != self -> goto next_round
            :: else -> goto release
            fi
        fi
    );
wake:
    STEP(
        WAKE(woken);
        if
        :: !woken && (seen & RESERVED) -> seen = 0
        :: else -> goto next_round
        fi
    );
    /* Nobody is there to use the reservation. */
    STEP(
        if
        :: is_word(want) -> half = want & ~RESERVED
        :: else
        fi;
        goto next_round
    );

foreign: /* il_mutex_unlock, by another than the owner */
    STEP(
        seen = half;
        if
        :: generation != key || (seen & OWNER) == 0 -> goto next_round /* IL_NOT_HELD */
        :: else -> goto probe
        fi
    );
foreign_release: /* the owner was alive a moment ago */
    STEP(
        if
        :: is_word(seen) ->
            want = seen & RESERVED;
            half = want;
            holder = 0;
            bequest = false;
            if
            :: seen & (WAITERS | RESERVED) -> goto wake
            :: else -> goto next_round
            fi
        :: else ->
            seen = half;
            if
            :: generation != key || (seen & OWNER) == 0 -> goto next_round
            :: else -> goto probe
            fi
        fi
    );

#if EVICTIONS > 0
resolve: /* il_table_resolve, which needs the stripe, hence waits for whoever fills the cell, and reaps the dead */
    STEP(
        !(half & FILLING) || byte_lock[half & OWNER] == 0;
        if
        :: half & FILLING -> seen = half; goto probe
        :: else -> stale = false; key = generation; goto locking
        fi
    );

evict: /* Held: the stripe. seize, fill */
    STEP(
        if
        :: half == 0 || (expires && (half & (OWNER | RESERVED | ORPHAN)) == RESERVED) -> /* il__mutex_unclaimed */
            generation++;
            evictions++;
            half = FILLING | self
        :: else -> goto next_round
        fi
    );
    STEP( half = 0; goto next_round );
#endif

dead: /* Another process may be started. */
    atomic {
        FORGET;
        self = 0;
        stale = EVICTIONS > 0;
        if
        :: claiming = false; goto done
        :: BORN; claiming = true; k = 1; goto reap /* il_attach: the first byte that can be locked */
        fi
    }
done:
    atomic {
        if
        :: self != 0 && byte_lock[self] == me -> byte_lock[self] = 0 /* il_space_close; the slot is left unswept */
        :: else
        fi;
        self = 0; k = 0; claiming = false;
        gone++;
        patient = (may_leave -> patient : patient - 1);
#ifdef TIDY
        assert(gone < N || tidy)
#endif
    }
}

/* As long as a patient process wants the lock, somebody gets it again and again, and gives it back. */
ltl progress { ([]<> (holder == 0)) && ([]<> (holder != 0 || patient == 0)) }
/* With ROUNDS: every process that lives gets the lock as often as it wants to. */
ltl all_served { <> (gone == N) }
