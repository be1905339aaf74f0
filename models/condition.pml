/* The condition's queue (src/engine/il_condition.c, il_queue.c), and the wait above it (src/binding/condition.c).
 *
 * Consumers take items that producers make, as textbooks have it: who finds none waits, who made one notifies one. A death at any
 * step must not leave a living consumer waiting beside an item.
 *
 * Each STEP is what one holder of the stripe does, or one step of the condition's lock; a process may be killed before each or
 * while it sleeps. What a death within the stripe leaves is what a death before or after it leaves: each operation has one store
 * that counts. Only who takes out those who left does that in steps: the name of a dead owner may go at any time, stripe or no
 * stripe. The lock and the stripe are as lock_word.pml shows it: the dead do not keep them. Every sleep is cut into slices, so a
 * wake is no more than the end of one, and is not modelled.
 *
 * Parameters (models/check gives them):
 *   CONSUMERS, PRODUCERS   processes
 *   ITEMS                  how many items each producer makes
 *   CRASHES                how many consumers die at most
 *   QUITTERS               the last QUITTERS consumers may quit a wait by an exception, never to come back
 *   LEAVERS                the last LEAVERS consumers may end a wait by its deadline, and look again
 *   the switches under "Mutations" */

#ifndef CONSUMERS
#define CONSUMERS 3
#endif
#ifndef PRODUCERS
#define PRODUCERS 1
#endif
#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef QUITTERS
#define QUITTERS 0
#endif
#ifndef LEAVERS
#define LEAVERS 0
#endif
#define may_quit (me > CONSUMERS - QUITTERS)
#define may_leave (me > CONSUMERS - LEAVERS)

/* Mutations. */
#ifdef MUTATE_NO_LOOK /* nobody looks after those before it */
#define looks false
#else
#define looks true
#endif
#ifdef MUTATE_LEAVE_FIRST /* a notified waiter leaves the queue before it has the lock */
#define leaves_first true
#else
#define leaves_first false
#endif
#ifdef MUTATE_NO_PASS_ON /* who quits keeps its notification */
#define passes_on false
#else
#define passes_on true
#endif
#ifdef MUTATE_TIDY_FIRST /* the dead are taken out, and what they were notified of goes with them */
#define passes_left_on false
#else
#define passes_left_on true
#endif
#ifdef MUTATE_TWO_LOOKS /* first it is counted what the dead were notified of, then the dead are taken out: more, perhaps */
#define looks_once false
#else
#define looks_once true
#endif
#ifdef MUTATE_ENTER_LATE /* the lock is released before the waiter stands in the queue */
#define enters_first false
#else
#define enters_first true
#endif

#define OUT 0 /* LEFT, too */
#define WAITING 1 /* ASLEEP, too */
#define GRANTED 2

#define QUEUE 8
#define GONE (CONSUMERS + 1) /* a record that its waiter has given up and nobody has taken out yet */

byte items = 0;
byte producers_left = PRODUCERS;
byte crashes = 0;
byte lock = 0;   /* its holder, 0: free */
byte stripe = 0; /* likewise */
byte queue[QUEUE];
byte length = 0;
byte state[CONSUMERS + 2];
bool dead[CONSUMERS + 2];     /* no instruction will come from it any more … */
bool disowned[CONSUMERS + 2]; /* … and a reaper has taken its name off the record */

#define STEP(...)                                                                                                      \
    if                                                                                                                 \
    :: atomic { __VA_ARGS__ }                                                                                          \
    :: CRASH                                                                                                           \
    fi
#define CRASH                                                                                                          \
    atomic {                                                                                                           \
        crashes < CRASHES && me <= CONSUMERS;                                                                          \
        crashes++;                                                                                                     \
        dead[me] = true;                                                                                               \
        if                                                                                                             \
        :: lock == me -> lock = 0                                                                                      \
        :: else                                                                                                        \
        fi;                                                                                                            \
        if                                                                                                             \
        :: stripe == me -> stripe = 0                                                                                  \
        :: else                                                                                                        \
        fi;                                                                                                            \
        goto done                                                                                                      \
    }

#define is_granted_to_dead(at) (at < length && state[queue[at]] == GRANTED && dead[queue[at]])
#define before_me(at, rest) (queue[at] != me && (is_granted_to_dead(at) || rest))
#define one_died_before_me                                                                                             \
    before_me(0, before_me(1, before_me(2, before_me(3, before_me(4, before_me(5, before_me(6, false)))))))

inline remove(at) {
    for (j : at .. QUEUE - 2) {
        queue[j] = queue[j + 1];
    }
    length--;
    queue[length] = 0
}

/* To the first n. */
inline grant() {
    for (i : 0 .. QUEUE - 1) {
        if
        :: i < length && n > 0 && state[queue[i]] == WAITING && !disowned[queue[i]] -> state[queue[i]] = GRANTED; n--
        :: else
        fi
    }
    i = 0;
    n = 0
}

inline count_left() {
    for (i : 0 .. QUEUE - 1) {
        if
        :: i < length && disowned[queue[i]] && state[queue[i]] == GRANTED -> n++
        :: else
        fi
    }
}

/* take_out_left(): whether a record is left is seen once; then what follows from it; then the record goes. Held: the stripe. */
inline take_out_left() {
    do
    :: at < length ->
        STEP( left = disowned[queue[at]]; at = at + (left -> 0 : 1) );
        if
        :: left && passes_left_on && looks_once && state[queue[at]] == GRANTED -> STEP( n = 1; grant() )
        :: else
        fi;
        if
        :: left -> STEP( remove(at); j = 0; left = false )
        :: else
        fi
    :: else -> break
    od;
    at = 0
}

/* il_condition_notify() */
inline notify(count) {
    STEP(
        stripe == 0;
        stripe = me;
        n = count;
        if
        :: looks_once
        :: else -> count_left()
        fi;
        grant()
    );
    take_out_left();
    STEP( stripe = 0 )
}

/* il__queue_remove() of one's own record */
inline leave() {
    i = 0;
    do
    :: i < length && queue[i] != me -> i++
    :: else -> break
    od;
    if
    :: i < length -> remove(i)
    :: else
    fi;
    state[me] = OUT
}

active [CONSUMERS] proctype consumer()
{
    byte me = _pid + 1;
    byte i, j, n, at, found;
    bool quits, has, left;
    disowned[GONE] = true;

again:
    atomic { quits = false; has = false; left = false; found = 0; i = 0; j = 0; n = 0; at = 0 }
    STEP( lock == 0; lock = me );
look:
    STEP(
        if
        :: items > 0 -> items--; lock = 0; goto done
        :: items == 0 && enters_first
        :: items == 0 && !enters_first -> lock = 0
        fi
    );
    STEP( stripe == 0; stripe = me ); /* il_condition_enter */
    take_out_left();
    STEP( assert(length < QUEUE); queue[length] = me; length++; state[me] = WAITING; stripe = 0 );
    if
    :: enters_first -> STEP( lock = 0 )
    :: else
    fi;

sleep:
    if
    :: atomic { state[me] == GRANTED; goto take_back }
    :: atomic { /* look_after, at the end of a slice: the first notified one before me that is dead */
        looks && stripe == 0 && state[me] == WAITING && one_died_before_me;
        i = 0;
        do
        :: found == 0 ->
            if
            :: is_granted_to_dead(i) -> found = queue[i]
            :: else
            fi;
            i++
        :: else -> break
        od;
        i = 0
       }
    :: atomic { may_leave && state[me] == WAITING; goto take_back }
    :: atomic { may_quit; quits = true; goto take_back }
    :: atomic { items == 0 && producers_left == 0; goto done }
    :: CRASH
    fi;
    STEP( disowned[found] = true; found = 0 ); /* il_reap */
    notify(0);
    goto sleep;

take_back:
    if
    :: leaves_first -> STEP( stripe == 0; leave(); i = 0; j = 0 ); STEP( lock == 0; lock = me ); goto again_locked
    :: else
    fi;
    STEP( lock == 0; lock = me );
    if
    :: state[me] == GRANTED && !quits -> goto leave_granted
    :: else
    fi;
    STEP( /* il_condition_leave, under the stripe */
        stripe == 0;
        n = state[me];
        if
        :: n == GRANTED && quits && passes_on -> n = 1; grant()
        :: else
        fi;
        leave();
        i = 0; j = 0; n = 0;
        /* At once: who dies with the lock, after wait() has returned, was no waiter any more. The lock tells of that death. */
        if
        :: !quits && items > 0 -> items--; lock = 0; goto done
        :: else
        fi
    );
    goto again_locked;

leave_granted: /* il_condition_leave, without the stripe */
    STEP( state[me] = OUT; has = items > 0; items = items - (has -> 1 : 0) ); /* at once, as above */
    STEP(
        i = 0;
        do
        :: i < length && queue[i] != me -> i++
        :: else -> break
        od;
        if
        :: i < length -> queue[i] = GONE
        :: else
        fi;
        i = 0
    );
    if
    :: has -> STEP( lock = 0; goto done )
    :: else
    fi;
again_locked:
    if
    :: quits -> STEP( lock = 0; goto done )
    :: else -> goto look
    fi;

done:
    skip
}

active [PRODUCERS] proctype producer()
{
    byte me = _pid + 1;
    byte made = 0, i, j, n, at;
    bool left;

    do
    :: made < ITEMS ->
        atomic { lock == 0; lock = me; items++ }
        notify(1);
        atomic { lock = 0; made++ }
    :: else -> break
    od;
    atomic { producers_left-- }

done: /* does not die: who does before it notifies has the lock, which tells of that */
    skip
}

/* Somebody else who asks about the dead, at any time or never. */
#define REAP(p) :: atomic { p <= CONSUMERS && dead[p] && !disowned[p]; disowned[p] = true }
active proctype reaper()
{
    do
    REAP(1)
    REAP(2)
    REAP(3)
    REAP(4)
    :: break
    od
}
