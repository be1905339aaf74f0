/* Waiting without a thread (src/engine/il_listen.c): the channel left in the futex's bucket, the ring, the thread or the
 * kernel that tells the loop's descriptor, and the loop that looks.
 *
 * What is waited for is a permit: `word` is 0 or 1, with WAITERS as il_semaphore.c has it (all kinds set such a mark by
 * compare-and-swap before they sleep, and all who free clear it). Tasks and one thread that sleeps want it in turns. Each STEP is
 * one access to shared memory or one system call. There are no deaths here, and no slice ever ends: so whoever is not rung up
 * waits for ever, and the search finds it.
 *
 * Parameters (models/check gives them):
 *   LOOPS        processes with a loop in which one task waits
 *   SLEEPERS     threads that wait in the kernel
 *   ROUNDS       how often each takes the permit and gives it back
 *   LEAVERS      the last LEAVERS loops may cancel their wait
 *   SHARED       all loops are of one channel
 *   KERNEL       the kernel tells the loops, which ask it for each wake of their bell; else each has a thread that does
 *   the switches under "Mutations" */

#ifndef LOOPS
#define LOOPS 2
#endif
#ifndef SLEEPERS
#define SLEEPERS 0
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif
#ifdef SHARED
#define channel 0
#define CHANNELS 1
#define heard_by(l) (armed[l])
#else
#define channel me
#define CHANNELS LOOPS
#define heard_by(l) (armed[l] && l == c)
#endif

/* Mutations. */
#ifdef MUTATE_NO_SECOND_LOOK /* pending without having looked at the word after the channel was left */
#define looks_again false
#else
#define looks_again true
#endif
#ifdef MUTATE_LISTEN_FIRST /* rings are looked for before the word is changed */
#define rings_last false
#else
#define rings_last true
#endif
#ifdef MUTATE_SEEN_LATE /* the bell's value is taken note of after the loop has been told */
#define sees_first false
#else
#define sees_first true
#endif
#define PROCESSES (LOOPS + SLEEPERS)

bool permit = true, waiters = false;
bool listening[CHANNELS]; /* the bucket's bits */
byte rings = 0; /* of the bucket */
byte bell[CHANNELS];
bool told[LOOPS]; /* the loop's descriptor is readable */
bool armed[LOOPS]; /* the kernel waits for the loop's bell to be woken */
byte asleep;      /* bit: this thread sleeps on the word */
byte running = PROCESSES;

#define bit_of(p) (1 << (p))
#define STEP(...) atomic { __VA_ARGS__ }

#ifdef KERNEL
#define by_kernel true
#else
#define by_kernel false
#endif

/* The wake of a bell: whoever waits for it in the kernel is told. */
inline wake() {
    STEP(
        l = 0;
        do
        :: l < LOOPS ->
            if
            :: heard_by(l) -> armed[l] = false; told[l] = true
            :: else
            fi;
            l++
        :: else -> break
        od;
        l = 0
    )
}

/* The release of il_semaphore.c with il__wake() */
inline give() {
    had = false;
    if
    :: !rings_last -> STEP( rung = listening[0]; listening[0] = false )
    :: else
    fi;
    STEP( permit = true; had = waiters; waiters = false );
    if
    :: !had -> goto next
    :: else
    fi;
    STEP( c = 0; rings = (rings + 1) % 4 ); /* before the bells; whether or not there is one to ring is no matter */
    do
    :: c < CHANNELS && rings_last ->
        STEP( rung = listening[c]; listening[c] = false );
        if
        :: rung -> STEP( bell[c] = (bell[c] + 1) % 4 ); wake()
        :: else
        fi;
        c++
    :: c == 0 && !rings_last -> if :: rung -> STEP( bell[0] = (bell[0] + 1) % 4 ); wake() :: else fi; c++
    :: else -> break
    od;
    STEP(
        if
        :: asleep & 1 -> asleep = asleep & ~1
        :: asleep & 2 -> asleep = asleep & ~2
        :: asleep & 4 -> asleep = asleep & ~4
        :: else
        fi
    )
}

/* The thread of each process that listens */
active [LOOPS] proctype listener()
{
    byte me = _pid;
    byte seen = 0, value;

    do
    :: STEP( !by_kernel && bell[channel] != seen; value = bell[channel]; seen = (sees_first -> value : seen) );
       STEP( told[me] = true );
       if
       :: sees_first
       :: else -> STEP( seen = bell[channel] )
       fi
    :: running == 0 -> break
    od
}

/* il_uring_expect() */
inline expect() {
    STEP(
        if
        :: !sees_first -> known = bell[channel]
        :: else
        fi;
        if
        :: armed[me]
        :: !armed[me] && bell[channel] == known -> armed[me] = true
        :: !armed[me] && bell[channel] != known -> told[me] = true
        fi
    )
}

active [LOOPS] proctype loop()
{
    byte me = _pid - LOOPS;
    byte rounds = ROUNDS;
    byte c, seen, l, known;
    bool slept, had, rung, ripe, watched;

next:
    if
    :: rounds == 0 -> goto done
    :: else -> rounds--; slept = false; watched = false
    fi;
try:
    STEP(
        if
        :: permit -> permit = false; waiters = waiters || slept; goto taken
        :: else
        fi;
        waiters = true
    );
    STEP( listening[channel] = true; slept = true );
    STEP(
        if
        :: looks_again && (permit || !waiters) -> goto try
        :: else
        fi
    );
    if
    :: by_kernel && !watched -> /* Port.watch(): nobody listened to the bell before */
        STEP( known = bell[channel]; watched = true );
        expect();
        goto look
    :: else -> goto again
    fi;
pending:
    if
    :: STEP( told[me]; told[me] = false )
    :: STEP( me >= LOOPS - LEAVERS; goto done )
    fi;
    if
    :: by_kernel && sees_first -> STEP( known = bell[channel] ) /* il_port_hear() */
    :: else
    fi;
    STEP( ripe = rings != seen; seen = rings );
    if
    :: !ripe -> goto again
    :: else
    fi;
look:
    STEP( /* il_wait_is_ripe */
        if
        :: permit || !waiters -> goto try
        :: else
        fi
    );
    STEP( listening[channel] = true );
    STEP(
        if
        :: permit || !waiters -> goto try
        :: else
        fi
    );
again:
    if
    :: by_kernel -> expect()
    :: else
    fi;
    goto pending;
taken:
    give();
    goto next;
done:
    STEP( running-- )
}

active [SLEEPERS] proctype sleeper()
{
    byte me = _pid - 2 * LOOPS;
    byte rounds = ROUNDS;
    byte c, l;
    bool slept, had, rung;

next:
    if
    :: rounds == 0 -> goto done
    :: else -> rounds--; slept = false
    fi;
try:
    STEP(
        if
        :: permit -> permit = false; waiters = waiters || slept; goto taken
        :: else
        fi;
        waiters = true
    );
    STEP(
        slept = true;
        if
        :: !permit && waiters -> asleep = asleep | bit_of(me)
        :: else -> goto try
        fi
    );
    STEP( !(asleep & bit_of(me)) );
    goto try;
taken:
    give();
    goto next;
done:
    STEP( running-- )
}
