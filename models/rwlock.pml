/* The reader-writer lock (src/engine/il_rwlock.c): counts of readers, one per process, against a gate.
 *
 * The gate is a mutex, whose own protocol is lock_word.pml's: here it is taken in one step when it is free, and freed by a
 * reaper when its owner is dead. As there, each STEP is one access to shared memory or one futex call, and a process may be
 * killed before each.
 *
 * Parameters (models/check gives them):
 *   N, ROUNDS     processes, and how often each reads or writes, as it likes
 *   CRASHES       how many deaths at most
 *   LEAVERS       the last LEAVERS processes may give up draining
 *   NO_SLICES     no slice ever ends: nothing but a wake ends a writer's sleep
 *   the switches under "Mutations" */

#ifndef N
#define N 3
#endif
#ifndef ROUNDS
#define ROUNDS 2
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
#ifdef MUTATE_CHECK_FIRST /* a reader looks at the gate before it counts itself, and not after */
#define checks_after false
#else
#define checks_after true
#endif
#ifdef MUTATE_NO_WAKE /* a reader that leaves wakes nobody */
#define wakes false
#else
#define wakes true
#endif
#ifdef MUTATE_BACK_OFF_QUIETLY /* a reader that finds the gate closed leaves without looking for a writer that drains */
#define backs_off_loudly false
#else
#define backs_off_loudly true
#endif

byte gate;            /* who has it; 0: nobody */
byte count[N + 1];    /* readers of each process */
bool draining;
byte asleep;          /* who sleeps on a count; 0: nobody. One at most: the owner of the gate */
byte asleep_on;
bool alive[N + 1] = true;

/* For the properties only. */
byte reading;
byte writing;
byte crashes;

#define STEP(...)                                                                                                      \
    if                                                                                                                 \
    :: atomic { __VA_ARGS__ }                                                                                          \
    :: CRASH                                                                                                           \
    fi
#define CRASH                                                                                                          \
    atomic {                                                                                                           \
        crashes < CRASHES;                                                                                             \
        crashes++;                                                                                                     \
        alive[me] = false;                                                                                             \
        asleep = (asleep == me -> 0 : asleep);                                                                         \
        reading = reading - reads;                                                                                     \
        writing = writing - writes;                                                                                    \
        goto done                                                                                                      \
    }

active [N] proctype process()
{
    byte me = _pid + 1;
    byte rounds = ROUNDS;
    byte reads, writes; /* whether it is inside */
    byte p;             /* whose count the writer looks at */
    byte seen;
    bool again;         /* after this leaving, to the gate */

next_round:
    atomic {
        p = 0; seen = 0; again = false;
        if
        :: rounds == 0 -> goto done
        :: else -> rounds--
        fi;
        if
        :: goto read
        :: goto write
        fi
    }

read: /* il_rwlock_read_fast */
    if
    :: !checks_after -> STEP( if :: gate != 0 -> goto at_gate :: else fi )
    :: else
    fi;
    STEP( count[me]++ );
    STEP(
        if
        :: gate == 0 || !checks_after -> reading++; reads = 1; assert(writing == 0); goto leave
        :: else -> again = true
        fi
    );
leave: /* il_rwlock_leave */
    STEP(
        count[me]--;
        reading = reading - reads;
        reads = 0
    );
    STEP(
        if
        :: wakes && draining && count[me] == 0 && (!again || backs_off_loudly) && asleep != 0 && asleep_on == me ->
            asleep = 0
        :: else
        fi;
        if
        :: again -> again = false
        :: else -> goto next_round
        fi
    );
at_gate: /* il_rwlock_read */
    if
    :: atomic { gate == 0; gate = me }
    :: CRASH
    fi;
    STEP( count[me]++; reading++; reads = 1; assert(writing == 0) );
    STEP( gate = 0; goto leave );

write:
    if
    :: atomic { gate == 0; gate = me; p = 1 }
    :: CRASH
    fi;
    STEP( draining = true );
drain: /* il_rwlock_drain */
    STEP(
        seen = count[p];
        if
        :: seen == 0 && p < N -> p++; goto drain
        :: seen == 0 && p == N -> goto drained
        :: else
        fi;
        if
        :: may_leave -> goto undo
        :: true
        fi
    );
    STEP( /* futex_wait compares */
        if
        :: count[p] == seen -> asleep = me; asleep_on = p
        :: else -> goto drain
        fi
    );
    if
    :: atomic { asleep != me; goto drain }
    :: atomic { asleep == me && slices; asleep = 0; goto drain }
    :: atomic { asleep == me && may_leave; asleep = 0; goto undo }
    :: CRASH
    fi;
drained:
    STEP( draining = false );
    STEP( writing++; writes = 1; assert(writing == 1 && reading == 0) );
    STEP( writing--; writes = 0; assert(reading == 0) );
    if
    :: goto unlock
    :: goto downgrade
    fi;
downgrade:
    STEP( count[me]++; reading++; reads = 1 );
    STEP( gate = 0; goto leave );
undo:
    STEP( draining = false );
unlock:
    STEP( gate = 0; goto next_round );

done:
    skip
}

/* il_reap: the dead one's count is emptied, its gate freed. */
active proctype reaper()
{
    byte p;
end:
    do
    :: atomic {
           if
           :: !alive[1] && (count[1] != 0 || gate == 1) -> p = 1
           :: !alive[2] && (count[2] != 0 || gate == 2) -> p = 2
#if N > 2
           :: !alive[3] && (count[3] != 0 || gate == 3) -> p = 3
#endif
           fi
       };
       if
       :: count[p] != 0 -> atomic { count[p] = 0; asleep = (asleep_on == p -> 0 : asleep) }
       :: else
       fi;
       if
       :: gate == p -> gate = 0
       :: else
       fi
    od
}
