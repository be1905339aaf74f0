/* What the victims do, and what must be true after their death. */
#include "il_hash.h"
#include "il_platform.h"
#include "stage.h"

void nothing(void)
{
}

void attach(void)
{
    CHECK_CODE(il_attach(stage.space), IL_OK);
    il_store_relaxed(&shared->victim_slot, il_self(stage.space));
}

/* Free lock, taken and given back as the binding does. */
static void act_fast(void)
{
    il_mutex *mutex = mutex_of(stage.lock);
    uint64_t key = il_ref_key(stage.lock);
    if (!il_mutex_try_fast(mutex, key, il_self(stage.space), TOKEN))
        il_mutex_lock(stage.space, mutex, key, TOKEN, &(il_wait){.deadline_ns = IL_FOREVER});
    leave(&shared->gates[0], VICTIM, mutex, enter(&shared->gates[0], VICTIM, mutex));
    if (!il_mutex_unlock_fast(mutex, key, il_self(stage.space)))
        il_mutex_unlock(stage.space, mutex, key, 0);
}

static void act_lock_unlock(void)
{
    il_mutex *mutex = mutex_of(stage.lock);
    uint64_t key = il_ref_key(stage.lock);
    il_mutex_lock(stage.space, mutex, key, TOKEN, &(il_wait){.deadline_ns = IL_FOREVER});
    leave(&shared->gates[0], VICTIM, mutex, enter(&shared->gates[0], VICTIM, mutex));
    il_mutex_unlock(stage.space, mutex, key, 0);
}

static void judge_lock_at_once(void)
{
    succeed_at(&shared->gates[0], stage.lock, IL_NOW, stage.was_owner);
    JUDGED(il_load_relaxed(&mutex_of(stage.lock)->word) == il_ref_key(stage.lock), "an idle lock is marked");
}

static void judge_lock(void)
{
    succeed_at(&shared->gates[0], stage.lock, il_clock_ns() + hang_limit_ns, stage.was_owner);
    JUDGED(il_load_relaxed(&mutex_of(stage.lock)->word) == il_ref_key(stage.lock), "an idle lock is marked");
}

/* The victim holds the lock, a waiter sleeps, the victim gives the lock back. */
static uint64_t victims_fence;

static void prepare_hold(void)
{
    attach();
    CHECK(il_mutex_try_fast(mutex_of(stage.lock), il_ref_key(stage.lock), il_self(stage.space), TOKEN));
    victims_fence = enter(&shared->gates[0], VICTIM, mutex_of(stage.lock));
}

static void meanwhile_waiter(void)
{
    give_order(0, WAIT_FOR_LOCK, 3); /* so its first sleep is a long one, and no reservation */
    AWAIT((il_load_relaxed(&mutex_of(stage.lock)->word) & IL_WAITERS) && asleep(shared->helpers[0].pid), "no waiter");
    JUDGED(!(il_load_relaxed(&mutex_of(stage.lock)->word) & IL_RESERVED), "reserved too soon");
}

static void meanwhile_reserver(void)
{
    give_order(0, WAIT_FOR_LOCK, 0);
    AWAIT((il_load_relaxed(&mutex_of(stage.lock)->word) & IL_RESERVED) && asleep(shared->helpers[0].pid), "no waiter");
}

static void act_unlock(void)
{
    il_mutex *mutex = mutex_of(stage.lock);
    leave(&shared->gates[0], VICTIM, mutex, victims_fence);
    il_mutex_unlock(stage.space, mutex, il_ref_key(stage.lock), 0);
}

static void judge_waiter(void)
{
    helper_must_finish(0, stage.was_owner);
    stage.was_owner = false;
    judge_lock();
}

/* The victim holds the lock, the judge listens for it, the victim gives the lock back. */
static il_wait judges_wait;

static int listen_for_lock(void)
{
    return il_mutex_lock(stage.space, mutex_of(stage.lock), il_ref_key(stage.lock), TOKEN, &judges_wait);
}

static void meanwhile_listener(void)
{
    judges_wait = (il_wait){.deadline_ns = il_clock_ns() + hang_limit_ns, .listens = true};
    JUDGED(listen_for_lock() == IL_PENDING, "not pending");
}

/* However far the victim came with its ringing, the listener gets the lock when it is due at latest. */
static void judge_listener(void)
{
    int code;
    while ((code = listen_for_lock()) == IL_PENDING) {
        while (!il_wait_is_ripe(stage.space, &judges_wait, il_clock_ns()))
            il_nap(100000);
    }
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(judges_wait.orphan == stage.was_owner, "the orphan mark is wrong");
    il_mutex_unlock(stage.space, mutex_of(stage.lock), il_ref_key(stage.lock), 0);
    stage.was_owner = false;
    judge_lock();
}

/* The judge holds the lock, and the victim begins to listen for it. */
static void meanwhile_held(void)
{
    CHECK_CODE(il_mutex_lock(stage.space, mutex_of(stage.lock), il_ref_key(stage.lock), TOKEN, &(il_wait){.deadline_ns = IL_NOW}),
               IL_OK);
}

static void act_listen(void)
{
    judges_wait = (il_wait){.deadline_ns = IL_FOREVER, .listens = true};
    listen_for_lock();
    judges_wait.due_ns = 1; /* and again, at the end of a slice */
    listen_for_lock();
}

/* The judge holds the lock; the victim's wait is noted, and what it reads, and given up. */
static void act_note(void)
{
    judges_wait = (il_wait){.deadline_ns = IL_FOREVER, .listens = true, .wanted = stage.lock, .agent = TOKEN};
    listen_for_lock();
    judges_wait.due_ns = 1; /* the end of a slice */
    listen_for_lock();
    il_wait_has(stage.space, &judges_wait, stage.lock);
    il_wait_end(stage.space, &judges_wait);
}

/* The victim takes the lock away from the judge. */
static void act_break(void)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    il_owner owner;
    const il_cell *cell = il_ref_cell(stage.space, stage.lock);
    il_table_break(stage.space, cell->name, cell->name_length, &wait, &owner);
}

/* Held as before, or free and marked. */
static void judge_broken(void)
{
    uint64_t word = il_load_relaxed(&mutex_of(stage.lock)->word), key = il_ref_key(stage.lock);
    bool broken = word == (key | IL_ORPHAN);
    JUDGED(broken || word == (key | il_self(stage.space)), "neither held nor broken");
    int code = il_mutex_unlock(stage.space, mutex_of(stage.lock), key, 0);
    JUDGED(code == (broken ? IL_NOT_HELD : IL_OK), il_status_name(code));
    bool told = il_cell_broken_by(stage.space, il_ref_cell(stage.space, stage.lock)) != 0;
    JUDGED(told || !broken, "the one it was taken from is not told");
    stage.was_owner = broken;
    judge_lock();
}

static void judge_held(void)
{
    JUDGED(!stage.was_owner, "it has a lock that is held");
    il_mutex_unlock(stage.space, mutex_of(stage.lock), il_ref_key(stage.lock), 0);
    il_nap(4000000); /* a reservation that nobody uses is void after that */
    judge_lock();
}

static void judge_note(void)
{
    il_waiting note;
    uint32_t slot = il_load_relaxed(&shared->victim_slot), all = il_records_of_levels(il_load_relaxed(&stage.space->header->record_levels));
    JUDGED(il_waits(stage.space, &note, 1) <= 1, "two notes of one wait");
    int code = slot != 0 ? il_reap(stage.space, slot) : IL_OK;
    JUDGED(code == IL_OK || code == IL_BUSY, il_status_name(code));
    JUDGED(il_waits(stage.space, &note, 1) == 0, "the note of a dead one stays");
    for (uint32_t i = 1; i < all; i++)
        JUDGED(slot == 0 || il__record_owner(&stage.space->records[i]) != slot, "a record of a dead one stays");
    judge_held();
}

/* The lock is free and reserved, as a woken heir's death leaves it. */
static void meanwhile_reserved(void)
{
    il_mutex *mutex = mutex_of(stage.lock);
    il_store_relaxed(&mutex->reserved_ns, il_clock_ns());
    il_store_release(&mutex->word, il_ref_key(stage.lock) | IL_RESERVED);
}

/* The victim waits for a lock that one helper holds until it is reserved, and another helper waits for too. */
static void meanwhile_crowd(void)
{
    il_store_relaxed(&shared->release, 0);
    give_order(0, HOLD_UNTIL_RESERVED, 0);
    AWAIT(il_load_relaxed(&mutex_of(stage.lock)->word) & IL_OWNER, "no holder");
    give_order(1, WAIT_FOR_LOCK, 1);
    AWAIT((il_load_relaxed(&mutex_of(stage.lock)->word) & IL_WAITERS) && asleep(shared->helpers[1].pid), "no waiter");
}

static void judge_crowd(void)
{
    il_store_relaxed(&shared->release, 1);
    helper_must_finish(0, false);
    helper_must_finish(1, -1);
    succeed_at(&shared->gates[0], stage.lock, il_clock_ns() + hang_limit_ns, -1);
}

/* Re-entrant, to a depth of two. */
static void act_rlock(void)
{
    il_mutex *mutex = mutex_of(stage.rlock);
    uint64_t key = il_ref_key(stage.rlock);
    il_wait wait = {.deadline_ns = IL_FOREVER};
    il_rlock_lock(stage.space, mutex, key, TOKEN, &wait);
    uint64_t fence = enter(&shared->gates[1], VICTIM, mutex);
    il_rlock_lock(stage.space, mutex, key, TOKEN, &wait);
    il_rlock_unlock(stage.space, mutex, key, TOKEN, 0);
    leave(&shared->gates[1], VICTIM, mutex, fence);
    il_rlock_unlock(stage.space, mutex, key, TOKEN, 0);
}

static void judge_rlock(void)
{
    il_mutex *mutex = mutex_of(stage.rlock);
    uint64_t key = il_ref_key(stage.rlock);
    il_wait wait = {.deadline_ns = IL_NOW};
    bool owned = (il_load_relaxed(&mutex->word) & IL_OWNER) != 0;
    JUDGED(!il_rlock_mine(stage.space, mutex, key, TOKEN), "a dead process's lock is mine");
    for (uint32_t depth = 1; depth <= 2; depth++) {
        int code = il_rlock_lock(stage.space, mutex, key, TOKEN, &wait);
        JUDGED(code == IL_OK, il_status_name(code));
        JUDGED(il_load_relaxed(&mutex->depth) == depth, "the depth is wrong");
    }
    JUDGED(wait.orphan == owned, "the orphan mark is wrong");
    uint64_t fence = enter(&shared->gates[1], JUDGE, mutex);
    leave(&shared->gates[1], JUDGE, mutex, fence);
    JUDGED(il_rlock_unlock(stage.space, mutex, key, TOKEN, 0) == IL_OK, "not given back");
    JUDGED(il_rlock_unlock(stage.space, mutex, key, TOKEN, 0) == IL_OK, "not given back");
    JUDGED(il_load_relaxed(&mutex->word) == key, "an idle lock is marked");
    no_complaints();
}

/* --- names. All names used share their buckets in the levels in use, so a few cells are all that matter --- */

static uint64_t hash_of(const char *name)
{
    return il__hash(stage.space->header->hash_key, name, strlen(name));
}

/* A name that was never used before, in bucket 0 of every level. */
static void fresh_name(char *name)
{
    do
        snprintf(name, 16, "%u", stage.next_number++);
    while ((hash_of(name) & stage.bits) != 0);
}

/* Index of the n-th cell that these names can have. */
static uint32_t family_cell(uint32_t n)
{
    return il_cells_of_levels(n / IL_WAYS) + n % IL_WAYS;
}

/* Every cell in order, every name in one cell, no fence lost; returns how many cells have a name. */
static uint32_t judge_table(void)
{
    uint32_t cells = IL_WAYS * il_load_relaxed(&stage.space->header->levels), named = 0;
    const char *names[FAMILY];
    uint64_t floor = il_load_relaxed(&stage.space->header->fence_floor);
    JUDGED(floor >= stage.fence_floor, "the fence floor went back");
    stage.fence_floor = floor;
    for (uint32_t n = 0; n < cells; n++) {
        uint32_t index = family_cell(n);
        il_cell *cell = &stage.space->cells[index];
        uint64_t word = il_load_relaxed(&cell->mutex.word);
        JUDGED((uint32_t)word == 0, "a cell is not idle");
        bool has_tag = il_load_relaxed(&stage.space->tags[index]) != 0;
        JUDGED(has_tag == (il_load_relaxed(&cell->kind) != IL_KIND_NONE), "tag and kind disagree");
        if (!has_tag)
            continue;
        JUDGED(cell->hash == hash_of(cell->name) && strlen(cell->name) == cell->name_length, "a cell is half filled");
        for (uint32_t i = 0; i < named; i++)
            JUDGED(strcmp(names[i], cell->name) != 0, "a name is in two cells");
        names[named++] = cell->name;
    }
    /* What each name's fence was before: it is still there with that, or gone and below the floor. */
    for (uint32_t i = 0; i < FAMILY; i++) {
        if (stage.family[i][0] == '\0')
            continue;
        uint64_t fence = floor;
        for (uint32_t n = 0; n < cells; n++) {
            il_cell *cell = &stage.space->cells[family_cell(n)];
            if (il_load_relaxed(&cell->kind) != IL_KIND_NONE && strcmp(cell->name, stage.family[i]) == 0)
                fence = il_load_relaxed(&cell->mutex.fence);
        }
        JUDGED(fence >= stage.fences[i], "a name's fence went back");
    }
    return named;
}

/* Notes the names of all cells and their fences. */
static void remember(void)
{
    uint32_t cells = IL_WAYS * il_load_relaxed(&stage.space->header->levels);
    memset(stage.family, 0, sizeof stage.family);
    for (uint32_t n = 0; n < cells && n < FAMILY; n++) {
        il_cell *cell = &stage.space->cells[family_cell(n)];
        if (il_load_relaxed(&cell->kind) != IL_KIND_NONE) {
            memcpy(stage.family[n], cell->name, sizeof stage.family[n]);
            stage.fences[n] = il_load_relaxed(&cell->mutex.fence);
        }
    }
}

static void use(il_ref ref, uint64_t above)
{
    for (int turn = 0; turn < 3; turn++) {
        il_wait wait = {.deadline_ns = IL_NOW};
        int code = il_mutex_lock(stage.space, mutex_of(ref), il_ref_key(ref), TOKEN, &wait);
        JUDGED(code == IL_OK && !wait.orphan, il_status_name(code));
        uint64_t fence = il_load_relaxed(&mutex_of(ref)->fence);
        JUDGED(fence > above, "a fence did not rise");
        above = fence;
        JUDGED(il_mutex_unlock(stage.space, mutex_of(ref), il_ref_key(ref), 0) == IL_OK, "not given back");
    }
}

static void arrange_empty(void)
{
    memset(stage.family, 0, sizeof stage.family);
    fresh_name(stage.name);
}

static void act_resolve(void)
{
    uint8_t kind_found;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result =
        il_table_resolve(stage.space, stage.name, strlen(stage.name), IL_KIND_LOCK, 0, &wait, &stage.ref, &kind_found);
}

static void act_unlink(void)
{
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result = il_table_unlink(stage.space, stage.name, strlen(stage.name), &wait);
}

static void judge_name(void)
{
    /* The stripe may have been the dead one's. A try gets it. */
    il_ref ref = find(stage.space, stage.name, IL_KIND_LOCK);
    JUDGED(find(stage.space, stage.name, IL_KIND_LOCK) == ref, "a name moves about");
    judge_table();
    use(ref, stage.fence_floor);
    judge_table();
}

static void judge_new_name(void)
{
    judge_name();
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = il_table_unlink(stage.space, stage.name, strlen(stage.name), &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(judge_table() == 0, "an unlinked name is still there");
}

/* All cells of the names' buckets are taken: one must make way. */
static void arrange_full(void)
{
    stage.bits = (IL_STRIPES << (2 * (IL_SOFT_LEVELS - 1))) - 1;
    uint32_t named;
    do {
        char name[16];
        fresh_name(name);
        use(find(stage.space, name, IL_KIND_LOCK), 0);
        named = 0;
        for (uint32_t n = 0; n < FAMILY; n++)
            named += il_load_relaxed(&stage.space->tags[family_cell(n)]) != 0;
    } while (named < FAMILY);
    JUDGED(il_load_relaxed(&stage.space->header->levels) == IL_SOFT_LEVELS, "not as big as it was to be");
    JUDGED(judge_table() == FAMILY, "not full");
    remember();
    fresh_name(stage.name);
}

static void judge_eviction(void)
{
    /* Before anything is put right: whoever takes the stripe has to have seen to the half-filled cell. */
    judge_name();
    JUDGED(judge_table() >= FAMILY - 1, "more than one name made way");
}

/* The same for an Array, which is not forgotten as easily as a lock: what its filler leaves half done must not pass for an Array
 * that was about to be forgotten. The name that made way keeps its handles, none of which may come to life again. */
static il_ref references[FAMILY];

static void arrange_full_with_references(void)
{
    arrange_full();
    for (uint32_t n = 0; n < FAMILY; n++)
        references[n] = find(stage.space, stage.family[n], IL_KIND_LOCK);
}

static void act_resolve_array(void)
{
    uint8_t kind_found;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    shared->result = il_table_resolve(stage.space, stage.name, strlen(stage.name), IL_KIND_ARRAY, 1, &wait, &stage.ref, &kind_found);
}

static void judge_references(void)
{
    uint8_t kind_found;
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = il_table_resolve(stage.space, stage.name, strlen(stage.name), IL_KIND_ARRAY, 1, &wait, &stage.ref, &kind_found);
    JUDGED(code == IL_OK, il_status_name(code));
    for (uint32_t n = 0; n < FAMILY; n++) {
        wait = (il_wait){.deadline_ns = IL_NOW};
        code = il_mutex_lock(stage.space, mutex_of(references[n]), il_ref_key(references[n]), TOKEN, &wait);
        if (code == IL_STALE)
            continue;
        JUDGED(code == IL_OK, il_status_name(code));
        JUDGED(find(stage.space, stage.family[n], IL_KIND_LOCK) == references[n], "a handle of the old name has what is now another's");
        il_mutex_unlock(stage.space, mutex_of(references[n]), il_ref_key(references[n]), 0);
    }
    code = il_table_unlink(stage.space, stage.name, strlen(stage.name), &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(judge_table() >= FAMILY - 2, "too many names made way");
}

static void arrange_named(void)
{
    memset(stage.family, 0, sizeof stage.family);
    fresh_name(stage.name);
    use(find(stage.space, stage.name, IL_KIND_LOCK), stage.fence_floor);
    remember();
}

/* A full bucket in a table that may grow: room for a level is reserved and published. A space of its own each time. */
static void open_fresh(void)
{
    il_error error;
    if (stage.space != NULL)
        il_space_close(stage.space);
    unlink(stage.path);
    int code = il_space_open(&stage.process, stage.path, &(il_options){.slots = 8}, &stage.space, &error);
    JUDGED(code == IL_OK, il_status_name(code));
    CHECK_CODE(il_attach(stage.space), IL_OK);
    stage.fence_floor = 0;
    il_store_relaxed(&shared->gates[0].last_fence, 0);
    stage.lock = find(stage.space, "lock", IL_KIND_LOCK);
}

static void arrange_growing(void)
{
    open_fresh();
    for (uint32_t n = 0; n < IL_WAYS; n++) {
        char name[16];
        do
            fresh_name(name);
        while (((uint32_t)hash_of(name) & (IL_STRIPES - 1)) != 0);
        use(find(stage.space, name, IL_KIND_LOCK), 0);
        if (il_load_relaxed(&stage.space->header->levels) != 1) { /* "lock" was in the same bucket */
            open_fresh();
            n = UINT32_MAX;
        }
    }
    remember();
    fresh_name(stage.name);
}

static void judge_growth(void)
{
    uint32_t levels = il_load_relaxed(&stage.space->header->levels);
    JUDGED(il_space_check(stage.space, true) == IL_OK, "the file is too short for what was published");
    JUDGED(levels == 1 || levels == 2, "not grown by one level");
    judge_name();
    JUDGED(il_load_relaxed(&stage.space->header->levels) == 2, "not grown by one level");
    succeed_at(&shared->gates[0], stage.lock, IL_NOW, false);
}

/* The file is cut instead of the victim killed. No name may be granted in memory that only the victim sees. */
static void act_resolve_and_lock(void)
{
    act_resolve();
    shared->second_result = shared->result;
    if (shared->result == IL_OK)
        shared->second_result = il_mutex_lock(stage.space, mutex_of(stage.ref), il_ref_key(stage.ref), TOKEN,
                                              &(il_wait){.deadline_ns = IL_NOW});
}

static void arrange_cut(void)
{
    open_fresh();
    fresh_name(stage.name);
    shared->result = shared->second_result = 1;
}

/* --- slots --- */

static void act_attach(void)
{
    shared->result = il_attach(stage.space);
}

/* All slots can be had: the file has exactly as many as there are claimants. */
static void judge_slots(void)
{
    uint32_t count = stage.space->header->slot_count - 1;
    il_space *views[8];
    bool taken[9] = {false};
    taken[il_self(stage.space)] = true;
    for (uint32_t i = 0; i + 1 < count; i++) {
        CHECK_CODE(il_space_view(&stage.process, stage.space, &views[i]), IL_OK);
        int code = il_attach(views[i]);
        JUDGED(code == IL_OK, il_status_name(code));
        uint32_t k = il_self(views[i]);
        JUDGED(k >= 1 && k <= count && !taken[k], "a slot was given out twice");
        taken[k] = true;
        JUDGED(il_load_relaxed(&stage.space->slots[k].pid) == (uint32_t)getpid(), "the slot's pid is wrong");
        JUDGED(il_slot_alive(stage.space, k) == 1, "alive, and said to be dead");
        JUDGED(il_load_relaxed(&stage.space->header->slots_seen) >= k, "slots_seen is too low");
    }
    for (uint32_t i = 0; i + 1 < count; i++) {
        uint32_t k = il_self(views[i]);
        il_space_close(views[i]);
        JUDGED(il_reap(stage.space, k) == IL_OK, "a dead slot is not swept");
    }
    judge_lock_at_once();
}

/* A process died: it held two locks, a re-entrant one twice, and a stripe while it filled a cell. */
static void arrange_dead(void)
{
    il_space *dead;
    CHECK_CODE(il_space_view(&stage.process, stage.space, &dead), IL_OK);
    CHECK_CODE(il_attach(dead), IL_OK);
    stage.dead = il_self(dead);
    CHECK(il_mutex_try_fast(mutex_of(stage.lock), il_ref_key(stage.lock), stage.dead, TOKEN));
    CHECK(il_mutex_try_fast(mutex_of(stage.second), il_ref_key(stage.second), stage.dead, TOKEN));
    il_wait wait = {.deadline_ns = IL_NOW};
    for (int depth = 0; depth < 2; depth++)
        CHECK_CODE(il_rlock_lock(dead, mutex_of(stage.rlock), il_ref_key(stage.rlock), TOKEN, &wait), IL_OK);
    memset(stage.family, 0, sizeof stage.family);
    fresh_name(stage.name);
    il_ref half_filled = find(stage.space, stage.name, IL_KIND_LOCK);
    use(half_filled, 0);
    remember();
    CHECK_CODE(il_mutex_lock(dead, &stage.space->stripes[(uint32_t)hash_of(stage.name) & (IL_STRIPES - 1)], 0, 1, &wait),
               IL_OK);
    il_store_relaxed(&mutex_of(half_filled)->word, (il_ref_key(half_filled) + (1ull << 32)) | IL_FILLING | stage.dead);
    stage.ref = half_filled;
    il_space_close(dead);
}

/* The same, with a free slot below the dead one, for the reaper. */
static void arrange_dead_and_room(void)
{
    il_space *room;
    CHECK_CODE(il_space_view(&stage.process, stage.space, &room), IL_OK);
    CHECK_CODE(il_attach(room), IL_OK);
    arrange_dead();
    uint32_t k = il_self(room);
    il_space_close(room);
    CHECK_CODE(il_reap(stage.space, k), IL_OK);
}

static void act_reap(void)
{
    shared->result = il_reap(stage.space, stage.dead);
}

static void judge_dead(void)
{
    JUDGED(!stage.finished || shared->result == IL_OK, il_status_name(shared->result));
    /* The stripe first, then the locks; each one at once. */
    judge_name();
    JUDGED(find(stage.space, stage.name, IL_KIND_LOCK) != stage.ref, "the half-filled cell was kept");
    succeed_at(&shared->gates[0], stage.lock, IL_NOW, true);
    succeed_at(&shared->gates[2], stage.second, IL_NOW, true);
    il_mutex *mutex = mutex_of(stage.rlock);
    il_wait wait = {.deadline_ns = IL_NOW};
    int code = il_rlock_lock(stage.space, mutex, il_ref_key(stage.rlock), TOKEN, &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(wait.orphan && il_load_relaxed(&mutex->depth) == 1, "the re-entrant lock is not as new");
    JUDGED(il_rlock_unlock(stage.space, mutex, il_ref_key(stage.rlock), TOKEN, 0) == IL_OK, "not given back");
    wait = (il_wait){.deadline_ns = IL_NOW};
    code = il_table_unlink(stage.space, stage.name, strlen(stage.name), &wait);
    JUDGED(code == IL_OK, il_status_name(code));
    /* Swept, perhaps, by one who died before noting it down: then it is swept again. */
    code = il_reap(stage.space, stage.dead);
    JUDGED(code == IL_OK, il_status_name(code));
    JUDGED(il_load_relaxed(&stage.space->slots[stage.dead].pid) == 0, "the dead slot was not swept");
}

static void prepare_outsider(void)
{
    /* Not attached: the victim's claim is the operation. */
    il_store_relaxed(&shared->victim_slot, 0);
}

static void judge_claim_of_dead(void)
{
    /* Dead, or claimed by the victim who is dead now: all the same. */
    for (uint32_t k = 1; k < stage.space->header->slot_count; k++) {
        if (k != il_self(stage.space) && il_load_relaxed(&stage.space->slots[k].pid) != 0)
            JUDGED(il_reap(stage.space, k) == IL_OK, "a dead slot is not swept");
    }
    judge_dead();
    judge_slots();
}

const scenario scenarios[] = {
    {"fast", 0, BY_STEPS, nothing, attach, nothing, act_fast, judge_lock_at_once, nothing, NULL},
    {"lock-unlock", 0, BY_STEPS, nothing, attach, nothing, act_lock_unlock, judge_lock_at_once, nothing, NULL},
    {"unlock-waiters", 0, BY_STEPS, nothing, prepare_hold, meanwhile_waiter, act_unlock, judge_waiter, nothing, NULL},
    {"unlock-reserved", 0, BY_STEPS, nothing, prepare_hold, meanwhile_reserver, act_unlock, judge_waiter, nothing, NULL},
    {"unlock-listener", 0, BY_STEPS, nothing, prepare_hold, meanwhile_listener, act_unlock, judge_listener, nothing, NULL},
    {"listen", 0, BY_STEPS, nothing, attach, meanwhile_held, act_listen, judge_held, nothing, NULL},
    {"note", 0, BY_STEPS, nothing, attach, meanwhile_held, act_note, judge_note, nothing, NULL},
    {"break", 0, BY_STEPS, nothing, attach, meanwhile_held, act_break, judge_broken, nothing, NULL},
    {"lock-reserved", 0, BY_STEPS, nothing, attach, meanwhile_reserved, act_lock_unlock, judge_lock, nothing, NULL},
    {"lock-in-a-crowd", 0, BY_STEPS, nothing, attach, meanwhile_crowd, act_lock_unlock, judge_crowd, nothing, NULL},
    {"rlock", 0, BY_STEPS, nothing, attach, nothing, act_rlock, judge_rlock, nothing, NULL},
    {"resolve-empty", 1, BY_STEPS, arrange_empty, attach, nothing, act_resolve, judge_new_name, nothing, NULL},
    {"resolve-evict", 1, BY_STEPS, arrange_full, attach, nothing, act_resolve, judge_eviction, nothing, NULL},
    {"resolve-array", 0, BY_STEPS, arrange_full_with_references, attach, nothing, act_resolve_array, judge_references, nothing, NULL},
    {"unlink", 1, BY_STEPS, arrange_named, attach, nothing, act_unlink, judge_new_name, nothing, NULL},
    {"resolve-grow", 1, BY_STEPS, arrange_growing, attach, nothing, act_resolve, judge_growth, nothing, NULL},
    {"attach", 0, FAR, nothing, prepare_outsider, nothing, act_attach, judge_slots, nothing, NULL},
    {"attach-over-dead", 0, FAR, arrange_dead, prepare_outsider, nothing, act_attach, judge_claim_of_dead, nothing, NULL},
    {"reap", 1, FAR, arrange_dead_and_room, attach, nothing, act_reap, judge_dead, nothing, NULL},
    {"resolve-cut", 1, CUT, arrange_cut, attach, nothing, act_resolve_and_lock, nothing, nothing, NULL},
    {.name = NULL},
};
