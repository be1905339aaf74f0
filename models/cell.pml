/* Giving a cell to another name (src/engine/il_table.c), while others use it by handles that they got for the old name.
 *
 * Each STEP is one access to shared memory or one byte-lock call of the C code, and a process may be killed before each.
 * All cells belong to one stripe, and all names have the same tag: the worst case of a full, unlucky bucket.
 *
 * Left out, because models/lock_word.pml is about it: waiting. Who finds a lock held by a living process tries again
 * or gives up; who finds the stripe so waits until that changes.
 *
 * Parameters (models/check gives them):
 *   N        processes, as many slots
 *   CELLS    cells of the bucket
 *   NAMES    names that want one
 *   FILLS    how often a cell may change its name in all, which bounds the run; generations never wrap around within it
 *   CRASHES  how many deaths at most; a new process may take the place of each dead one
 *   FENCES   model the fences too, with this many acquisitions in all
 *   the switches under "Mutations", each of which breaks the protocol */

#ifndef N
#define N 2
#endif
#ifndef CELLS
#define CELLS 2
#endif
#ifndef NAMES
#define NAMES 3
#endif
#ifndef FILLS
#define FILLS 4
#endif
#ifndef CRASHES
#define CRASHES 0
#endif

/* Mutations. */
#ifdef MUTATE_SAME_GENERATION /* the filler does not change the generation */
#define next_generation(seen) generation_of(seen)
#else
#define next_generation(seen) (generation_of(seen) + GENERATION)
#endif
#ifdef MUTATE_SEIZE_BY_STORE /* the filler looks whether the cell is idle, then stores */
#define seizes(c) true
#else
#define seizes(c) (word[c] == seen)
#endif
#ifdef MUTATE_SEIZE_ORPHANS /* a name whose owner died is forgotten like any other */
#define remembered 0
#else
#define remembered (unlinking -> 0 : ORPHAN)
#endif
#ifdef MUTATE_STRIPES_FIRST /* the reaper frees the dead one's stripe before its cells */
#define stripes_first true
#else
#define stripes_first false
#endif
#ifdef MUTATE_NOT_EMPTIED /* the filler leaves the old kind, and the reaper frees a half-filled cell as it is */
#define hides false
#define empties false
#else
#define hides true
#define empties true
#endif
#ifdef MUTATE_NO_FLOOR /* nobody keeps the evicted name's fence */
#define keeps_floor false
#else
#define keeps_floor true
#endif

/* The word: il_layout.h. WAITERS and RESERVED are left out with waiting; for a filler they are one more reason why a cell
 * is not idle, as ORPHAN is. */
#define OWNER 7
#define FILLING 8
#define ORPHAN 16
#define GENERATION 32
#define half_of(value) (value & 31)
#define generation_of(value) (value & ~31)
short word[CELLS] = GENERATION;
bool tag[CELLS];     /* every name has the same */
bool kind[CELLS];    /* false: IL_KIND_NONE */
byte name[CELLS];    /* the first half of the name … */
byte name_end[CELLS]; /* … and the second, written one after the other */
byte stripe;         /* the stripe's word: its owner only */
/* The names "aa", "bb" and "ab": half of one and half of another may look like a third. */
#define start_of(n) (n == 2 -> 2 : 1)
#define end_of(n) (n == 1 -> 1 : 2)
#ifdef FENCES
byte fence[CELLS];
byte fence_floor;
#endif

/* Processes, slots and names count from 1; 0 is nobody. At first process p lives in slot p. */
#if N == 2
#define FIRST_OWNERS {0, 1, 2}
#define FIRST_USED {0, 1, 1}
#else
#define FIRST_OWNERS {0, 1, 2, 3}
#define FIRST_USED {0, 1, 1, 1}
#endif
byte byte_lock[N + 1] = FIRST_OWNERS; /* who holds byte k */
bool used[N + 1] = FIRST_USED;        /* il_slot.pid != 0 */

/* For the properties only. */
byte holder[NAMES + 1];  /* [0] stays 0; the living process that has this name's lock */
bool bequest[NAMES + 1]; /* its last owner died holding it */
byte named[CELLS];       /* the name that a cell was last published for, 0 while it has none */
byte fills;
byte crashes;
#ifdef FENCES
byte last_fence[NAMES + 1]; /* the highest fence that an owner of this name has seen */
byte grants;
#endif

#define STEP(...)                                                                                                      \
    if                                                                                                                 \
    :: atomic { __VA_ARGS__ }                                                                                          \
    :: atomic { /* killed; see models/lock_word.pml */                                                                 \
           crashes < CRASHES;                                                                                          \
           crashes++;                                                                                                  \
           byte_lock[self] = (byte_lock[self] == me -> 0 : byte_lock[self]);                                           \
           byte_lock[k] = (byte_lock[k] == me -> 0 : byte_lock[k]);                                                    \
           bequest[mine] = bequest[mine] || holder[mine] == me;                                                        \
           holder[mine] = (holder[mine] == me -> 0 : holder[mine]);                                                    \
           goto dead                                                                                                   \
       }                                                                                                               \
    fi

active [N] proctype process()
{
    byte me = _pid + 1;
    byte self = me; /* our slot */
    byte k;         /* the slot being swept or claimed */
    byte mine;      /* the name that the handle is for */
    short key;      /* the handle's generation; 0: look the name up */
    byte at;        /* the handle's cell */
    byte c;         /* the cell being looked at */
    short seen;
    bool unlinking, evicting, claiming;

next_round:
    atomic {
        seen = 0; k = 0; c = 0; unlinking = false; evicting = false;
        if
        :: goto done
        :: mine != 0 /* again, by the same handle */
        :: mine = 1; key = 0; at = 0
        :: NAMES >= 2 -> mine = 2; key = 0; at = 0
        :: NAMES >= 3 -> mine = 3; key = 0; at = 0
        fi;
        if
        :: key = 0; at = 0; unlinking = true; goto resolve
        :: key == 0 -> goto resolve
        :: key != 0
        fi
    }

    /* il_mutex_try_fast, il_mutex_lock */
again:
    STEP(
        seen = word[at];
        if
        :: generation_of(seen) != key -> key = 0; at = 0; seen = 0; goto resolve /* IL_STALE */
        :: generation_of(seen) == key && (seen & OWNER) != 0 && byte_lock[seen & OWNER] != 0 -> goto next_round
        :: generation_of(seen) == key && (seen & OWNER) != 0 && byte_lock[seen & OWNER] == 0 ->
            k = seen & OWNER; goto reap
        :: generation_of(seen) == key && (seen & OWNER) == 0
        fi
    );
    STEP(
        if
        :: word[at] == seen ->
            assert(named[at] == mine && kind[at] && tag[at]);
            assert(holder[mine] == 0);
            assert(((seen & ORPHAN) != 0) == bequest[mine]);
            holder[mine] = me;
            word[at] = seen | self
        :: else -> goto again
        fi
    );
#ifdef FENCES
    STEP( seen = fence[at] + 1 ); /* settle: the fence is the owner's */
    STEP(
        fence[at] = seen;
        assert(seen > last_fence[mine]);
        last_fence[mine] = seen;
        grants++
    );
#endif
    /* il_mutex_unlock */
    STEP(
        assert(named[at] == mine && kind[at] && tag[at]);
        assert(holder[mine] == me && word[at] == (key | self | (bequest[mine] -> ORPHAN : 0)));
        holder[mine] = 0;
        bequest[mine] = false;
        word[at] = key;
#ifdef FENCES
        if
        :: grants >= FENCES -> goto done
        :: else
        fi;
#endif
        goto next_round
    );

resolve: /* lock_stripe */
    STEP(
        stripe == 0 || byte_lock[stripe] == 0; /* else it sleeps */
        if
        :: stripe == 0 -> stripe = self; c = 0
        :: else -> k = stripe; goto reap
        fi
    );

search:
    STEP(
        if
        :: tag[c]
        :: else -> goto not_here
        fi
    );
    STEP(
        if
        :: kind[c]
        :: else -> goto not_here
        fi
    );
    STEP(
        if
        :: name[c] == start_of(mine)
        :: else -> goto not_here
        fi
    );
    STEP(
        if
        :: name_end[c] == end_of(mine) -> at = c; c = 0; goto found
        :: else
        fi
    );
not_here:
    atomic {
        c++;
        if
        :: c < CELLS -> goto search
        :: else -> c = 0
        fi;
        if
        :: unlinking -> goto unlock_stripe
        :: else
        fi
    }

find_room: /* first the unused cells, then any */
    STEP(
        if
        :: (evicting || !tag[c]) && fills < FILLS
        :: else -> goto no_room
        fi
    );
seize:
    STEP(
        seen = word[c];
        if
        :: (seen & (OWNER | FILLING | remembered)) == 0
        :: else -> goto no_room
        fi
    );
    STEP(
        if
        :: seizes(c) ->
            key = next_generation(seen);
            word[c] = key | FILLING | self;
            named[c] = 0;
            fills++;
            at = c;
            seen = 0;
            bequest[mine] = bequest[mine] && !unlinking
        :: else -> goto no_room
        fi
    );

    /* fill, empty */
#ifdef FENCES
    STEP( seen = fence[c] );
    STEP( fence_floor = (keeps_floor && fence_floor < seen -> seen : fence_floor) );
#endif
    STEP( kind[c] = kind[c] && !hides );
    STEP( tag[c] = tag[c] && !hides && !unlinking );
    if
    :: unlinking ->
        STEP( word[c] = key; key = 0; at = 0 )
    :: else ->
#ifdef FENCES
        STEP( seen = fence_floor );
        STEP( fence[c] = seen; seen = 0 );
#endif
        STEP( name[c] = start_of(mine) );
        STEP( name_end[c] = end_of(mine) );
        STEP( word[c] = key );
        STEP( kind[c] = true );
        STEP(
            tag[c] = true;
            assert(CELLS == 1 || named[CELLS - 1 - c] != mine || !tag[CELLS - 1 - c]); /* one cell for a name */
            named[c] = mine
        )
    fi;
    goto unlock_stripe;

no_room:
    atomic {
        seen = 0;
        if
        :: unlinking -> goto unlock_stripe /* IL_BUSY */
        :: else -> c++
        fi;
        if
        :: c < CELLS -> goto find_room
        :: c == CELLS && !evicting -> evicting = true; c = 0; goto find_room
        :: else -> goto unlock_stripe /* the table would grow */
        fi
    }

found:
    STEP(
        seen = word[at];
        assert(!(seen & FILLING) && named[at] == mine);
        if
        :: unlinking -> c = at; goto seize
        :: else -> key = generation_of(seen)
        fi
    );

unlock_stripe:
    STEP(
        assert(stripe == self);
        stripe = 0;
        seen = 0; c = 0; evicting = false;
        if
        :: unlinking -> key = 0; at = 0; mine = 0; goto next_round
        :: !unlinking && key == 0 -> mine = 0; goto next_round
        :: else -> goto again
        fi
    );

reap: /* il_reap: lock the byte */
    STEP(
        seen = 0;
        if
        :: byte_lock[k] == 0 -> byte_lock[k] = me
        :: else -> k = 0; goto next_try
        fi
    );
sweep: /* Held: byte k. il__table_sweep */
    STEP(
        c = 0;
        if
        :: claiming && !used[k] -> goto swept
        :: else -> stripe = (stripes_first && stripe == k -> 0 : stripe)
        fi
    );
sweep_cell:
    STEP(
        seen = word[c];
        if
        :: (seen & OWNER) != k -> goto next_cell
        :: (seen & OWNER) == k && (seen & FILLING) && empties
        :: (seen & OWNER) == k && (seen & FILLING) && !empties -> goto sweep_free
        :: (seen & OWNER) == k && !(seen & FILLING) -> goto sweep_orphan
        fi
    );
    /* empty */
#ifdef FENCES
    STEP( fence_floor = (keeps_floor && fence_floor < fence[c] -> fence[c] : fence_floor) );
#endif
    STEP( kind[c] = false );
    STEP( tag[c] = false );
sweep_free:
    STEP( word[c] = generation_of(seen); goto next_cell );
sweep_orphan:
    STEP(
        assert(word[c] == seen); /* nobody else writes the owner of a byte that is ours, or its word's other bits here */
        word[c] = generation_of(seen) | ORPHAN
    );
next_cell:
    atomic {
        seen = 0;
        c++;
        if
        :: c < CELLS -> goto sweep_cell
        :: else -> c = 0
        fi
    }
    STEP( stripe = (stripe == k -> 0 : stripe) );
    STEP( used[k] = false );
swept:
    STEP(
        if
        :: claiming ->
            used[k] = true;
            self = k;
            claiming = false;
            goto next_round
        :: else ->
            byte_lock[k] = 0;
            k = 0
        fi
    );
next_try:
    if
    :: key != 0 -> goto again
    :: key == 0 -> goto resolve
    fi;

dead: /* Another process may be started. */
    atomic {
        self = 0; k = 0; c = 0; seen = 0; mine = 0; key = 0; at = 0;
        unlinking = false; evicting = false; claiming = false
    }
    if
    :: goto done
    :: k = 1; claiming = true
    fi;
claim: /* il_attach: the first byte that can be locked */
    STEP(
        if
        :: byte_lock[k] == 0 -> byte_lock[k] = me; goto sweep
        :: byte_lock[k] != 0 && k < N -> k++; goto claim
        :: byte_lock[k] != 0 && k == N -> claiming = false; goto done
        fi
    );

done:
    atomic {
        if
        :: self != 0 && byte_lock[self] == me -> byte_lock[self] = 0
        :: else
        fi;
        self = 0; k = 0; mine = 0; key = 0; at = 0; seen = 0
    }
}
