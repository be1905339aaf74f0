/* The bounded semaphore (src/engine/il_bounded.c): shares, the permits nobody has, and a permit that a share keeps.
 *
 * As in lock_word.pml, each STEP is one access to shared memory or one futex call, a process may be killed before each or
 * while it sleeps, and time is a choice. The mutex is as lock_word.pml shows it: the dead do not keep it, and whoever has it next
 * finds it marked.
 *
 * Parameters (models/check gives them):
 *   N, ROUNDS     processes, and how often each takes a permit and gives it back
 *   BOUND         permits
 *   TAKES         how many permits each takes in a round, one after another (1 or 2)
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
#ifndef BOUND
#define BOUND 1
#endif
#ifndef TAKES
#define TAKES 1
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
#ifdef MUTATE_KEEP_UNSEEN /* who keeps a permit does not look for waiters afterwards */
#define looks_after false
#else
#define looks_after true
#endif
#ifdef MUTATE_GATHER_FIRST /* who will wait gathers before it says so */
#define says_first false
#else
#define says_first true
#endif
#ifdef MUTATE_HINT_FIRST /* who keeps a permit leaves the hint before it, and not again after it */
#define hints_after false
#else
#define hints_after true
#endif
#ifdef MUTATE_WALK_FIRST /* the hint is cleared after the walk */
#define clears_first false
#else
#define clears_first true
#endif
#ifdef MUTATE_FORGET_SLEEPERS /* who slept takes a permit without WAITERS */
#define remembers false
#else
#define remembers true
#endif
#ifdef MUTATE_KEPT_UNCOUNTED /* whoever counts anew overlooks what is kept */
#define counts_kept false
#else
#define counts_kept true
#endif
#ifdef MUTATE_HINT_LOST /* whoever counts anew leaves no hint */
#define hints_anew false
#else
#define hints_anew true
#endif

byte mutex = 0; /* its holder */
bool marked = false, stale = false;
byte free = BOUND;
bool waiters = false;
bool hint = false;
byte held[N + 1]; /* a share: what its process has … */
bool kept[N + 1]; /* … and the one that it has given back and keeps */
byte asleep; /* bit p - 1: process p sleeps on `free` */
bool dead[N + 1];

/* For the properties only. */
byte used = 0; /* permits that the living believe to have */
byte giving = 0; /* processes that live and are just giving one back, their own or a dead one's */
byte crashes = 0;
/* A dead process's share that has not been emptied yet. */
#if N > 2
#define unswept (is_left(1) || is_left(2) || is_left(3))
#else
#define unswept (is_left(1) || is_left(2))
#endif
#define is_left(p) (dead[p] && (held[p] > 0 || kept[p]))

#define bit_of(p) (1 << (p - 1))
#define STEP(...)                                                                                                      \
    if                                                                                                                 \
    :: atomic { __VA_ARGS__; assert(used <= BOUND) }                                                                   \
    :: CRASH                                                                                                           \
    fi
#define CRASH                                                                                                          \
    atomic {                                                                                                           \
        crashes < CRASHES;                                                                                             \
        crashes++;                                                                                                     \
        asleep = asleep & ~bit_of(me);                                                                                 \
        used = used - mine;                                                                                            \
        dead[me] = true;                                                                                               \
        if                                                                                                             \
        :: mutex == me -> mutex = 0; marked = true                                                                     \
        :: else                                                                                                        \
        fi;                                                                                                            \
        goto done                                                                                                      \
    }
#define WAKE                                                                                                           \
    if                                                                                                                 \
    :: asleep & 1 -> asleep = asleep & ~1                                                                              \
    :: asleep & 2 -> asleep = asleep & ~2                                                                              \
    :: asleep & 4 -> asleep = asleep & ~4                                                                              \
    :: else                                                                                                            \
    fi

active [N] proctype process()
{
    byte me = _pid + 1;
    byte rounds = ROUNDS;
    byte mine;   /* permits this process believes to have */
    byte left, i, sum, give, is_giving;
    bool slept, others, said, doubt, sure, looked, found, acquiring;

next_round:
    atomic {
        i = 0; left = 0; sum = 0; give = 0; slept = false; others = false; doubt = false; looked = false; found = false;
        acquiring = false; said = false; sure = false;
        if
        :: mine > 0 && mine == TAKES -> goto release
        :: mine < TAKES && rounds > 0 -> goto acquire
        :: rounds == 0 -> goto done
        fi
    }

acquire: /* il_bounded_acquire_fast */
    STEP(
        if
        :: kept[me] -> kept[me] = false; held[me]++; mine++; used++; goto next_round
        :: else
        fi
    );

again: /* il_bounded_acquire: the mutex, and what its last holder or a reaper left */
    acquiring = true;
lock:
    STEP( mutex == 0; mutex = me; found = marked || stale || doubt; sure = doubt; doubt = false );
    if
    :: found -> goto recount
    :: else -> goto locked
    fi;
recount:
    STEP( stale = false; marked = false; i = 1; sum = 0 );
    do
    :: i <= N -> STEP( sum = sum + held[i] + (kept[i] && counts_kept -> 1 : 0); i++ )
    :: else -> break
    od;
    STEP( hint = hint || hints_anew );
    STEP( free = (sum < BOUND -> BOUND - sum : 0); i = 0; sum = 0 );
locked:
    if
    :: acquiring
    :: else -> goto give_back
    fi;

    STEP( left = free; others = waiters; said = false );
    if
    :: left == 0 -> goto gather
    :: left > 0 && slept && remembers -> goto say
    :: else -> goto take
    fi;

say: /* never taken back but by who gives a permit: another may fall asleep for it */
    STEP( waiters = true; others = true; said = true );
gather:
    STEP(
        if
        :: hint -> i = 1
        :: else -> goto gathered
        fi
    );
    if
    :: clears_first -> STEP( hint = false )
    :: else
    fi;
    do
    :: i <= N -> STEP(
            if
            :: kept[i] -> kept[i] = false; left++
            :: else
            fi;
            i++
        )
    :: else -> break
    od;
    if
    :: !clears_first -> STEP( hint = false )
    :: else
    fi;
gathered:
    i = 0;
    if
    :: !said && slept && remembers -> goto say
    :: !said && left == 0 && says_first -> goto say
    :: !said && left == 0 && !says_first -> STEP( waiters = true ); said = true
    :: !said && left == 0 && may_leave && !(slept && remembers) -> goto none /* a try, or its deadline has passed */
    :: else
    fi;
    if
    :: left == 0 -> goto none
    :: else
    fi;
take:
    STEP( held[me]++ );
    STEP( free = left - 1 );
    STEP( mutex = 0; mine++; used++ );
    if
    :: others && left > 1 -> STEP( WAKE )
    :: else
    fi;
    goto next_round;

none:
    /* Who may leave without having said so found none, but one may have come right after. */
    assert(!sure || !said || used > 0 || giving > 0 || unswept || stale);
    STEP( free = 0 );
    STEP( mutex = 0 );
    if
    :: may_leave && looked -> goto done
    :: may_leave -> looked = true; goto look
    :: !said -> goto again
    :: said
    fi;
    STEP(
        slept = true;
        if
        :: free == 0 && waiters -> asleep = asleep | bit_of(me)
        :: else -> goto again
        fi
    );
    if
    :: atomic { !(asleep & bit_of(me)); goto again }
    :: atomic { (asleep & bit_of(me)) && slices; asleep = asleep & ~bit_of(me) }
    :: atomic { (asleep & bit_of(me)) && may_leave; asleep = asleep & ~bit_of(me); goto done }
    :: CRASH
    fi;
look: /* il__shares_reap, and the sweep of a share */
    doubt = true;
    i = 1;
    do
    :: i <= N ->
        if
        :: dead[i] && (held[i] > 0 || kept[i]) ->
            STEP( held[i] = 0; kept[i] = false; giving++; is_giving = 1 );
            STEP( stale = true; giving--; is_giving = 0 );
            STEP( WAKE )
        :: else
        fi;
        i++
    :: else -> break
    od;
    i = 0;
    goto again;

release: /* il_bounded_release_fast */
    STEP(
        give = 1;
        if
        :: waiters || kept[me] -> goto lock
        :: else
        fi
    );
    STEP( held[me]--; kept[me] = true; mine--; used--; give = 0; giving++; is_giving = 1 );
    if
    :: hints_after -> STEP(
            if
            :: hint -> skip
            :: else -> hint = true
            fi
        )
    :: else
    fi;
    STEP(
        if
        :: waiters && looks_after
        :: else -> goto given
        fi
    );
    goto lock;

give_back: /* il_bounded_release: what is to be given and, for those who wait, what is kept */
    STEP(
        left = free;
        others = waiters;
        mine = mine - give;
        used = used - give;
        giving = giving + 1 - is_giving;
        is_giving = 1;
        held[me] = held[me] - give;
        if
        :: others && kept[me] -> kept[me] = false; give++
        :: else
        fi
    );
    STEP(
        free = left + give;
        if
        :: give > 0 -> waiters = false
        :: else
        fi
    );
    STEP( mutex = 0 );
    do
    :: others && give > 0 -> STEP( WAKE; give-- )
    :: else -> break
    od;
given:
    atomic { giving = giving - is_giving; is_giving = 0 }
    if
    :: mine == 0 -> rounds--; goto next_round
    :: mine > 0 -> atomic { others = false; give = 0; goto release }
    fi;

done:
    skip
}
