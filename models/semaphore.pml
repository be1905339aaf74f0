/* The semaphore's word (src/engine/il_semaphore.c).
 *
 * As in lock_word.pml, each STEP is one access to shared memory or one futex call, a process may be killed before each or
 * while it sleeps, and time is a choice.
 *
 * Parameters (models/check gives them):
 *   N, ROUNDS     processes, and how often each takes a permit and gives it back
 *   PERMITS       at first
 *   GIVERS        processes 1 to GIVERS only give, and the others only take, so often that it comes out even
 *   CRASHES       how many deaths at most
 *   LEAVERS       the last LEAVERS processes may leave a wait by deadline or signal
 *   NO_SLICES     no slice ever ends: nothing but a wake ends a sleep
 *   the switches under "Mutations" */

#ifndef N
#define N 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef PERMITS
#define PERMITS 1
#endif
#ifndef GIVERS
#define GIVERS 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif
#ifdef NO_SLICES
#define slices false
#else
#define slices true
#endif
#define may_leave (me > N - LEAVERS)

/* Mutations. */
#ifdef MUTATE_NO_PASS_ON /* a woken waiter leaves without a word */
#define passes_on false
#else
#define passes_on true
#endif
#ifdef MUTATE_FORGET_SLEEPERS /* who slept takes a permit without WAITERS */
#define kept_waiters(seen) 0
#else
#define kept_waiters(seen) (slept -> WAITERS : (seen & WAITERS))
#endif
#ifdef MUTATE_NO_CHAIN /* who wakes and finds more permits than it takes wakes nobody */
#define chains false
#else
#define chains true
#endif
#ifdef MUTATE_RELEASE_BY_STORE /* not a compare-and-swap */
#define same_word true
#else
#define same_word (word == seen)
#endif

#define COUNT 7
#define WAITERS 8
byte word = PERMITS;
byte asleep; /* bit p - 1: process p sleeps on the word */

/* For the properties only. */
byte taken = 0; /* permits that the living have, or have used up */
byte given = 0; /* permits that givers made */
byte lost = 0;  /* permits that the dead had */
byte crashes = 0;
#define conserved ((word & COUNT) + taken + lost == PERMITS + given)

#define bit_of(p) (1 << (p - 1))
#define STEP(...)                                                                                                      \
    if                                                                                                                 \
    :: atomic { __VA_ARGS__; assert(conserved) }                                                                       \
    :: CRASH                                                                                                           \
    fi
#define CRASH                                                                                                          \
    atomic {                                                                                                           \
        crashes < CRASHES;                                                                                             \
        crashes++;                                                                                                     \
        asleep = asleep & ~bit_of(me);                                                                                 \
        taken = taken - mine;                                                                                          \
        lost = lost + mine;                                                                                            \
        goto done                                                                                                      \
    }
#define WAKE                                                                                                           \
    if                                                                                                                 \
    :: asleep & 1 -> asleep = asleep & ~1                                                                              \
    :: asleep & 2 -> asleep = asleep & ~2                                                                              \
    :: asleep & 4 -> asleep = asleep & ~4                                                                              \
    :: asleep & 8 -> asleep = asleep & ~8                                                                              \
    :: else                                                                                                            \
    fi

active [N] proctype process()
{
    byte me = _pid + 1;
    byte rounds = ROUNDS;
    byte seen;
    byte mine;      /* permits this process has */
    bool slept;     /* il_wait.slept */
    bool used_wake; /* il_wait.woken */
    bool more;

next_round:
    atomic {
        seen = 0; slept = false; used_wake = false; more = false;
        if
        :: rounds == 0 -> goto done
        :: else -> rounds--
        fi;
        if
        :: me <= GIVERS -> goto release
        :: else
        fi
    }

again: /* il_semaphore_acquire, and il_semaphore_try_fast, which is its first turn */
    STEP(
        seen = word;
        if
        :: (seen & COUNT) > 0 -> goto take
        :: else
        fi;
        if
        :: may_leave -> goto leave
        :: true
        fi;
        if
        :: seen & WAITERS -> goto sleep
        :: else
        fi
    );
    STEP(
        if
        :: word == seen -> word = seen | WAITERS
        :: else -> goto again
        fi
    );
sleep:
    STEP(
        slept = true;
        used_wake = false;
        if
        :: word == WAITERS -> asleep = asleep | bit_of(me)
        :: else -> goto again
        fi
    );
    if
    :: atomic { !(asleep & bit_of(me)); used_wake = true; goto again }
    :: atomic { (asleep & bit_of(me)) && slices; asleep = asleep & ~bit_of(me); goto again }
    :: atomic { (asleep & bit_of(me)) && may_leave; asleep = asleep & ~bit_of(me); goto leave }
    :: CRASH
    fi;

take:
    STEP(
        if
        :: word == seen ->
            word = (seen - 1) | kept_waiters(seen);
            taken++;
            mine++;
            more = slept && (seen & COUNT) > 1 && chains
        :: else -> goto again
        fi
    );
    if
    :: more -> STEP( WAKE )
    :: else
    fi;
    atomic {
        if
        :: GIVERS > 0 -> mine = 0; goto next_round /* a permit that was taken is used up: `taken` keeps it */
        :: else
        fi
    };

release: /* il_semaphore_release, and il_semaphore_release_fast, which is the case without WAITERS */
    STEP( seen = word );
    STEP(
        if
        :: same_word ->
            word = (seen & COUNT) + 1;
            if
            :: me <= GIVERS -> given++
            :: else -> taken--; mine--
            fi;
            if
            :: seen & WAITERS
            :: else -> goto next_round
            fi
        :: else -> goto release
        fi
    );
    STEP( WAKE );
    goto next_round;

leave: /* pass_on */
    if
    :: used_wake && passes_on
    :: else -> goto next_round
    fi;
mark:
    STEP(
        seen = word;
        if
        :: seen & COUNT -> goto wake
        :: !(seen & COUNT) && (seen & WAITERS) -> goto next_round
        :: else
        fi
    );
    STEP(
        if
        :: word == seen -> word = WAITERS; goto next_round
        :: else -> goto mark
        fi
    );
wake:
    STEP( WAKE; goto next_round );

done:
    skip
}
