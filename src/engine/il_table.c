/* Names: where a name's cell is, and which cells a dead process left.
 *
 * A cache, not a store. A name has IL_WAYS possible cells per level (a set-associative table: no chains, no free list, no
 * counts, hence nothing that a crash could leave wrong), and all of them are guarded by one stripe mutex. An idle cell
 * (free, no waiter, no dead owner to remember) may be given to another name at any time; whoever referred to the old name
 * finds another generation and looks the name up again. So a lock per key costs bounded memory for ever.
 *
 * Giving a cell to a name, by a process that holds the stripe:
 *
 *   idle, generation g    -> FILLING | slot, generation g+1    CAS; nobody else touches the cell any more
 *   floor := max(floor, cell's fence); write kind NONE, name, counters, kind, tag
 *   FILLING | slot        -> free, generation g+1              store
 *
 * If the filler dies, the reaper empties the cell: floor, kind NONE, tag 0, then free. The cells are swept before the
 * stripes, so nobody searches a stripe while a half-filled cell lies in it. */
#include <string.h>

#include "il_internal.h"
#include "il_hash.h"
#include "il_platform.h"

enum { ROUSED_NS = 20000000 }; /* within this, whoever was roused has set its flag again */

static uint32_t tag_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) | 1u;
}

uint32_t il__bucket_of(uint64_t hash, uint32_t level)
{
    uint32_t buckets = (uint32_t)IL_STRIPES << (2 * level);
    return il_cells_of_levels(level) + IL_WAYS * ((uint32_t)hash & (buckets - 1));
}

static il_mutex *stripe_of(const il_space *space, uint64_t hash)
{
    return &space->stripes[(uint32_t)hash & (IL_STRIPES - 1)];
}

static uint64_t next_generation(uint64_t word)
{
    uint64_t key = (word & IL_GENERATION) + (1ull << 32);
    return key != 0 ? key : 1ull << 32;
}

/* Whether nothing is lost if an object that nobody holds is forgotten. Held: the stripe. */
static bool is_forgettable(const il_space *space, const il_cell *cell)
{
    switch (il_load_relaxed(&cell->kind)) {
    case IL_KIND_NONE:
    case IL_KIND_LOCK:
    case IL_KIND_RLOCK:
    case IL_KIND_RWLOCK:
    case IL_KIND_BOUNDED_SEMAPHORE:
        return true;
    case IL_KIND_CONDITION:
        return il__queue_count(space, cell) == 0;
    case IL_KIND_BARRIER: /* one that the dead have broken is to stay broken */
        return il_load_relaxed(&cell->state.queue.first) == 0 && il_load_relaxed(&cell->state.queue.broken) == 0;
    default:
        return false;
    }
}

/* Whether somebody may wait for an object that is not waited for by its word. Held: the stripe. */
static bool is_waited_for(const il_space *space, const il_cell *cell)
{
    switch (il_load_relaxed(&cell->kind)) {
    case IL_KIND_SEMAPHORE:
        return (il_load_relaxed(&cell->state.permits) & IL_PERMIT_WAITERS) != 0;
    case IL_KIND_EVENT:
        return (il_load_relaxed(&cell->state.flag) & IL_FLAG_WAITERS) != 0;
    case IL_KIND_CONDITION:
    case IL_KIND_BARRIER:
        return il__queue_count(space, cell) != 0;
    default:
        return false;
    }
}

/* The flags may be left from waiters who gave up, and the rest from the dead. Sends those who wait for a semaphore or an event
 * round, which set their flag again, and reaps the dead. Held: nothing. */
static void rouse(il_space *space, il_ref ref)
{
    il_cell *cell = il_ref_cell(space, ref);
    uint8_t kind = il_load_relaxed(&cell->kind);
    uint64_t word = il_load_relaxed(&cell->state.permits);
    uint32_t owner = (uint32_t)il_load_relaxed(&cell->mutex.word) & IL_OWNER;
    if (owner != 0 && il_slot_alive(space, owner) == 0)
        il_reap(space, owner);
    if (kind == IL_KIND_CONDITION || kind == IL_KIND_BARRIER) {
        il__queue_reap(space, ref);
    } else if (kind == IL_KIND_RWLOCK || kind == IL_KIND_BOUNDED_SEMAPHORE) {
        il__shares_reap(space, ref);
    } else if ((kind == IL_KIND_SEMAPHORE || kind == IL_KIND_EVENT) && (word & IL_GENERATION) == il_ref_key(ref)) {
        uint64_t flag = kind == IL_KIND_SEMAPHORE ? IL_PERMIT_WAITERS : IL_FLAG_WAITERS;
        il_cas_relaxed(&cell->state.permits, &word, word & ~flag);
        il__wake(space, (il_u32 *)(void *)&cell->state.permits, INT32_MAX);
        il_nap(ROUSED_NS);
    }
}

/* Keeps every fence that this cell gave out below those of whatever name comes next. The cell is the caller's. */
static void raise_floor(il_space *space, il_cell *cell)
{
    uint64_t fence = il_load_relaxed(&cell->mutex.fence), floor = il_load_relaxed(&space->header->fence_floor);
    while (floor < fence && !il_cas_relaxed(&space->header->fence_floor, &floor, fence)) {
    }
}

/* Leaves a cell that is the caller's without a name, and free. */
static void empty(il_space *space, uint32_t index, uint64_t key)
{
    il_cell *cell = &space->cells[index];
    raise_floor(space, cell);
    il_store_relaxed(&cell->kind, IL_KIND_NONE);
    il_store_relaxed(&cell->state.permits, 0); /* of no generation: whoever comes late looks the name up again */
    il_store_relaxed(&space->tags[index], 0);
    /* Release: pairs with the acquire CAS of the next filler. */
    il_store_release(&cell->mutex.word, key);
}

static uint64_t previous_generation(uint64_t key)
{
    key -= 1ull << 32;
    return key != 0 ? key : IL_GENERATION;
}

static bool has_data(const il_cell *cell)
{
    uint8_t kind = il_load_relaxed(&cell->kind);
    return kind == IL_KIND_VALUE || kind == IL_KIND_ARRAY;
}

static bool has_shares(const il_cell *cell)
{
    uint8_t kind = il_load_relaxed(&cell->kind);
    return kind == IL_KIND_RWLOCK || kind == IL_KIND_BOUNDED_SEMAPHORE;
}

/* The reaper: ends what a dead filler began. It may have died before it knew whether the object could be forgotten: if somebody
 * has some of it, it could not. Its data goes last, so an object that still has its kind has that too. */
static void give_up(il_space *space, uint32_t index, uint64_t word)
{
    il_cell *cell = &space->cells[index];
    uint64_t key = word & IL_GENERATION;
    if (has_data(cell) || (has_shares(cell) && !il__shares_drop(space, cell)))
        il_store_release(&cell->mutex.word, previous_generation(key) | (word & IL_ORPHAN));
    else
        empty(space, index, key);
}

/* Makes an idle cell the caller's. */
static bool seize(il_space *space, il_cell *cell, uint32_t remembered, uint64_t *key)
{
    uint64_t word = il_load_relaxed(&cell->mutex.word);
    if (il__mutex_unclaimed(&cell->mutex, (uint32_t)word))
        remembered |= IL_RESERVED | IL_WAITERS;
    if (((uint32_t)word & ~remembered) != 0)
        return false;
    *key = next_generation(word);
    /* Acquire: pairs with the release of the last owner or filler. */
    if (!il_cas_acquire(&cell->mutex.word, &word, *key | IL_FILLING | (word & IL_ORPHAN) | il_self(space)))
        return false;
    if (!has_shares(cell) || il__shares_drop(space, cell))
        return true;
    /* Somebody reads, or has permits: back to the generation that was, in which nobody has missed anything. */
    il_store_release(&cell->mutex.word, word);
    return false;
}

static void begin_state(il_cell *cell, uint64_t key, uint8_t kind, uint64_t parameter)
{
    uint64_t first = 0;
    if (kind == IL_KIND_SEMAPHORE)
        first = key | (uint32_t)parameter;
    else if (kind == IL_KIND_EVENT)
        first = key;
    /* Release: pairs with the acquire of a late comer who finds another generation. */
    il_store_release(&cell->state.permits, first);
    if (kind == IL_KIND_CONDITION || kind == IL_KIND_BARRIER) {
        il_store_relaxed(&cell->state.queue.first, 0);
        il_store_relaxed(&cell->state.queue.last, 0);
        il_store_relaxed(&cell->state.queue.round, 0);
        il_store_relaxed(&cell->state.queue.broken, 0);
    } else if (kind == IL_KIND_VALUE || kind == IL_KIND_ARRAY) {
        il_store_relaxed(&cell->state.data.made, 0);
    } else if (kind == IL_KIND_RWLOCK || kind == IL_KIND_BOUNDED_SEMAPHORE) {
        il_store_relaxed(&cell->state.shares.first, 0);
        il_store_relaxed(&cell->state.shares.draining, 0);
        il_store_relaxed(&cell->state.shares.free, (uint32_t)parameter);
    }
}

static void fill(il_space *space, uint32_t index, uint64_t key, uint64_t hash, const char *name, size_t length,
                 uint8_t kind, uint64_t parameter)
{
    il_cell *cell = &space->cells[index];
    raise_floor(space, cell);
    il_store_release(&cell->kind, IL_KIND_NONE);
    il_store_release(&space->tags[index], 0);
    uint64_t floor = il_load_relaxed(&space->header->fence_floor);
    il_store_relaxed(&cell->mutex.holder, 0);
    il_store_relaxed(&cell->mutex.fence, floor);
    il_store_relaxed(&cell->mutex.depth, 0);
    il_store_relaxed(&cell->mutex.recoveries, 0);
    il_store_relaxed(&cell->mutex.since, 0);
    il_store_relaxed(&cell->mutex.contended, 0);
    il_store_relaxed(&cell->mutex.waited_ns, 0);
    il_store_relaxed(&cell->dead_pid, 0);
    il_store_relaxed(&cell->broken_slot, 0);
    begin_state(cell, key, kind, parameter);
    cell->hash = hash;
    cell->fence_base = floor;
    cell->parameter = parameter;
    cell->user_slot = 0;
    cell->name_length = (uint8_t)length;
    memcpy(cell->name, name, length);
    cell->name[length] = '\0';
    /* Release: pairs with the acquire CAS of the first owner. The kind only after that: a reaper who finds the cell being filled
     * and of a kind takes it for one that was being dropped, and may give it its old generation back. The tag last: without one,
     * the cell is free for the next name. Nobody searches the stripe before we, or our reaper, let go of it. */
    il_store_release(&cell->mutex.word, key);
    il_store_release(&cell->kind, kind);
    il_store_release(&space->tags[index], tag_of(hash));
}

/* The index of a name's cell, or UINT32_MAX. Held: the stripe. */
static uint32_t search(const il_space *space, uint64_t hash, const char *name, size_t length, uint32_t levels)
{
    for (uint32_t level = 0; level < levels; level++) {
        uint32_t first = il__bucket_of(hash, level);
        for (uint32_t i = first; i < first + IL_WAYS; i++) {
            if (il_load_relaxed(&space->tags[i]) != tag_of(hash))
                continue;
            const il_cell *cell = &space->cells[i];
            if (il_load_relaxed(&cell->kind) != IL_KIND_NONE && cell->hash == hash && cell->name_length == length &&
                memcmp(cell->name, name, length) == 0)
                return i;
        }
    }
    return UINT32_MAX;
}

/* A cell for a new name, made the caller's. Held: the stripe. */
static uint32_t find_room(il_space *space, uint64_t hash, uint32_t levels, bool evict, uint64_t *key)
{
    for (uint32_t level = 0; level < levels; level++) {
        uint32_t first = il__bucket_of(hash, level);
        for (uint32_t i = first; i < first + IL_WAYS; i++) {
            if (il_load_relaxed(&space->tags[i]) == 0 && seize(space, &space->cells[i], 0, key))
                return i;
        }
    }
    /* Evict at random, the high levels first: a name in use every day is more likely to live in a low one. */
    for (uint32_t level = levels; evict && level-- > 0;) {
        uint32_t first = il__bucket_of(hash, level), start = (uint32_t)(hash >> 40);
        for (uint32_t i = 0; i < IL_WAYS; i++) {
            uint32_t index = first + (start + i) % IL_WAYS;
            il_cell *cell = &space->cells[index];
            if (is_forgettable(space, cell) && seize(space, cell, 0, key))
                return index;
        }
    }
    return UINT32_MAX;
}

/* Whether the process noted as a name's user still lives: the first to look it up since the one before died. Others may
 * use it too; the engine keeps no count of handles that a death could leave wrong. Held: the stripe. */
static bool in_use(il_space *space, const il_cell *cell)
{
    const il_slot *slot = &space->slots[cell->user_slot];
    return cell->user_slot != 0 && il_load_relaxed(&slot->epoch) == cell->user_epoch &&
           (cell->user_slot == il_self(space) || il_slot_alive(space, cell->user_slot) != 0);
}

int il__stripe_lock(il_space *space, uint64_t hash, il_wait *wait)
{
    /* Only when to stop counts here: the wait for a stripe is not a wait for the object. */
    il_wait own = {.deadline_ns = wait->deadline_ns, .restless = wait->restless};
    int code = il_space_check(space, false);
    if (code == IL_OK)
        code = il_mutex_lock(space, stripe_of(space, hash), 0, IL_STRIPE_HOLDER, &own);
    if (code == IL_OK && il_load_relaxed(&space->wiped)) {
        code = IL_WIPED;
        il_mutex_unlock(space, stripe_of(space, hash), 0, 0);
    }
    return code;
}

int il__name_lock(il_space *space, const char *name, size_t length, il_wait *wait, uint32_t *index)
{
    uint64_t hash = il__hash(space->header->hash_key, name, length);
    int code = il__stripe_lock(space, hash, wait);
    if (code != IL_OK)
        return code;
    *index = search(space, hash, name, length, il_load_acquire(&space->header->levels));
    if (*index != UINT32_MAX)
        return IL_OK;
    il_mutex_unlock(space, stripe_of(space, hash), 0, 0);
    return il_load_relaxed(&space->wiped) ? IL_WIPED : IL_ABSENT;
}

/* By its number, and not by the hash in it: that is zero if the space was truncated meanwhile. */
static il_mutex *stripe_of_cell(const il_space *space, uint32_t index)
{
    return stripe_of(space, index / IL_WAYS);
}

int il__name_unlock(il_space *space, uint32_t index, int code)
{
    il_mutex_unlock(space, stripe_of_cell(space, index), 0, 0);
    return il_load_relaxed(&space->wiped) ? IL_WIPED : code;
}

int il_table_resolve(il_space *space, const char *name, size_t length, uint8_t kind, uint64_t parameter, il_wait *wait,
                     il_ref *ref, uint8_t *found_kind)
{
    uint64_t hash = il__hash(space->header->hash_key, name, length), key = 0;
    bool evict = false;
    for (;;) {
        int code = il__stripe_lock(space, hash, wait);
        if (code != IL_OK)
            return code;
        /* Acquire: pairs with the release in il__segment_grow. */
        uint32_t levels = il_load_acquire(&space->header->levels);
        uint32_t index = search(space, hash, name, length, levels);
        if (index != UINT32_MAX) {
            il_cell *cell = &space->cells[index];
            key = il_load_relaxed(&cell->mutex.word) & IL_GENERATION;
            *found_kind = il_load_relaxed(&cell->kind);
            if (*found_kind != kind || cell->parameter != parameter) {
                code = *found_kind != kind ? IL_KIND : IL_PARAMETER;
                if (is_forgettable(space, cell) && !in_use(space, cell) && seize(space, cell, 0, &key)) {
                    fill(space, index, key, hash, name, length, kind, parameter);
                    code = IL_OK;
                }
            }
        } else {
            index = find_room(space, hash, levels, evict || levels >= IL_SOFT_LEVELS, &key);
            if (index != UINT32_MAX)
                fill(space, index, key, hash, name, length, kind, parameter);
            else
                code = IL_TABLE_FULL;
        }
        if (code == IL_OK) {
            il_cell *cell = &space->cells[index];
            if (!in_use(space, cell)) {
                cell->user_slot = (uint16_t)il_self(space);
                cell->user_epoch = il_load_relaxed(&space->slots[cell->user_slot].epoch);
            }
            *ref = key | index;
        }
        il_mutex_unlock(space, stripe_of(space, hash), 0, 0);
        /* Truncated meanwhile: what was found or filled may be a page of zeros that only this process sees. The mark was
         * set by a signal handler of this very thread, or before. */
        atomic_signal_fence(memory_order_seq_cst);
        if (il_load_relaxed(&space->wiped))
            return IL_WIPED;
        if (code != IL_TABLE_FULL)
            return code;
        /* Never while the stripe is held: reserving room may take long. */
        code = il__segment_grow(space, levels);
        if (code == IL_SPACE_FULL && !evict) {
            evict = true; /* no room to grow into: then idle names make way earlier than they would */
            continue;
        }
        if (code != IL_OK)
            return code;
    }
}

int il_table_find(il_space *space, const char *name, size_t length, uint8_t kind, uint64_t parameter, il_wait *wait,
                  il_ref *ref)
{
    uint32_t index;
    int code = il__name_lock(space, name, length, wait, &index);
    if (code != IL_OK)
        return code;
    const il_cell *cell = &space->cells[index];
    if (il_load_relaxed(&cell->kind) != kind || cell->parameter != parameter)
        code = IL_ABSENT;
    else
        *ref = (il_load_relaxed(&cell->mutex.word) & IL_GENERATION) | index;
    return il__name_unlock(space, index, code);
}

int il_table_parameter(il_space *space, const char *name, size_t length, uint8_t kind, il_wait *wait, uint64_t *parameter)
{
    uint32_t index;
    int code = il__name_lock(space, name, length, wait, &index);
    if (code != IL_OK)
        return code;
    if (il_load_relaxed(&space->cells[index].kind) != kind)
        code = IL_ABSENT;
    else
        *parameter = space->cells[index].parameter;
    return il__name_unlock(space, index, code);
}

/* What its successor is told of an owner who died, or whose lock was broken. */
static void note_owner(il_space *space, il_cell *cell, uint32_t k)
{
    il_store_relaxed(&cell->dead_pid, il_load_relaxed(&space->slots[k].pid));
    il_store_relaxed(&cell->dead_thread, (uint32_t)il_load_relaxed(&cell->mutex.holder));
    il_store_relaxed(&cell->dead_ns, il_clock_wall_ns());
    for (int j = 0; j < IL_DEAD_PROGRAM_MAX / 8; j++)
        il_store_relaxed(&cell->dead_program[j], il_load_relaxed(&space->slots[k].program[j]));
}

/* Whether it is a lock, and process k, who holds its mutex, has it alone; or nobody (0) does. */
static bool can_break(il_cell *cell, uint32_t k)
{
    switch (il_load_relaxed(&cell->kind)) {
    case IL_KIND_LOCK:
    case IL_KIND_RLOCK:
    case IL_KIND_CONDITION:
    case IL_KIND_VALUE:
    case IL_KIND_ARRAY:
        return true;
    case IL_KIND_RWLOCK: /* and not one who is at the gate for a moment, or waits there for readers */
        return k == 0 || il_load_relaxed(&cell->mutex.depth) != 0;
    default:
        return false;
    }
}

int il_table_break(il_space *space, const char *name, size_t length, il_wait *wait, il_owner *victim)
{
    uint32_t index;
    int code = il__name_lock(space, name, length, wait, &index);
    if (code != IL_OK)
        return code;
    il_cell *cell = &space->cells[index];
    uint32_t k = (uint32_t)il_load_relaxed(&cell->mutex.word) & IL_OWNER;
    code = !can_break(cell, k) ? IL_KIND : k != 0 ? IL_OK : IL_NOT_HELD;
    if (code == IL_OK) {
        il_slot_describe(space, k, victim);
        victim->thread = (uint32_t)il_load_relaxed(&cell->mutex.holder);
        note_owner(space, cell, k);
        il_store_relaxed(&cell->broken_by, il_load_relaxed(&space->slots[il_self(space)].pid));
        il_store_relaxed(&cell->broken_epoch, il_load_relaxed(&space->slots[k].epoch));
        il_store_release(&cell->broken_slot, k);
        il__mutex_orphan(space, &cell->mutex, k, true);
    }
    return il__name_unlock(space, index, code);
}

uint32_t il_cell_broken_by(il_space *space, il_cell *cell)
{
    uint32_t slot = il_self(space), by = il_load_relaxed(&cell->broken_by);
    if (slot == 0 || il_load_acquire(&cell->broken_slot) != slot ||
        il_load_relaxed(&cell->broken_epoch) != il_load_relaxed(&space->slots[slot].epoch))
        return 0;
    il_store_relaxed(&cell->broken_slot, 0);
    return by;
}

/* Forgets the name of a cell that nobody uses, or says IL_BUSY. Held: the stripe, which is let go. */
static int drop(il_space *space, uint32_t index, bool with_data)
{
    il_cell *cell = &space->cells[index];
    uint64_t word = il_load_relaxed(&cell->mutex.word), key;
    il_ref ref = (word & IL_GENERATION) | index;
    bool data = has_data(cell);
    int code = IL_OK, claim = data ? il__data_claim(space, ref) : 0;
    uint32_t remembered = IL_ORPHAN;
    /* Who has no mapping has no handle. So if it is held, nobody can release it any more, nor waits for it. */
    if (data && claim >= 0 && ((uint32_t)word & IL_OWNER) == il_self(space))
        remembered |= il_self(space) | IL_WAITERS | IL_RESERVED;
    if (claim < 0)
        code = claim;
    else if (data && !with_data && (claim != IL_CLAIMED_NONE || il_load_relaxed(&cell->state.data.made)))
        code = IL_BUSY; /* it has some, or had until a stranger deleted it */
    else if (is_waited_for(space, cell) || !seize(space, cell, remembered, &key))
        code = IL_BUSY;
    else if (claim == IL_CLAIMED_NONE && il__data_exists(space, ref)) {
        /* Made in between: whoever did either sees the cell being filled, and looks the name up again, or is seen here. */
        il_store_release(&cell->mutex.word, il_ref_key(ref) | (il_load_relaxed(&cell->mutex.word) & IL_ORPHAN));
        code = IL_BUSY;
    } else
        empty(space, index, key);
    il_mutex_unlock(space, stripe_of_cell(space, index), 0, 0);
    if (data && claim >= 0)
        il__data_drop(space, ref, claim, code == IL_OK);
    return code;
}

/* One attempt. IL_BUSY: whoever waits for `ref` is to be roused, and whoever has it to be shown alive, before that is final. */
static int unlink_once(il_space *space, const char *name, size_t length, il_wait *wait, il_ref *ref)
{
    uint32_t index;
    int code = il__name_lock(space, name, length, wait, &index);
    if (code != IL_OK)
        return code;
    *ref = (il_load_relaxed(&space->cells[index].mutex.word) & IL_GENERATION) | index;
    return drop(space, index, true);
}

int il_table_unlink(il_space *space, const char *name, size_t length, il_wait *wait)
{
    il_ref ref = 0;
    int code = unlink_once(space, name, length, wait, &ref);
    if (code == IL_BUSY) {
        rouse(space, ref);
        code = unlink_once(space, name, length, wait, &ref);
    }
    return code;
}

int il_table_forget(il_space *space, il_ref ref, bool with_data, il_wait *wait)
{
    int code = il__object_lock(space, ref, wait);
    return code == IL_OK ? drop(space, (uint32_t)ref, with_data) : code;
}

/* Held: byte k. */
void il__table_sweep(il_space *space, uint32_t k)
{
    uint32_t cells = il_cells_of_levels(il_load_acquire(&space->header->levels));
    for (uint32_t i = 0; i < cells; i++) {
        il_cell *cell = &space->cells[i];
        uint64_t word = il_load_relaxed(&cell->mutex.word);
        if ((word & IL_OWNER) != k)
            continue;
        if (word & IL_FILLING) {
            give_up(space, i, word);
            continue;
        }
        note_owner(space, cell, k);
        /* One who was only at the gate of a reader-writer lock left nothing half done. */
        bool writing = il_load_relaxed(&cell->mutex.depth) != 0;
        il__mutex_orphan(space, &cell->mutex, k, il_load_relaxed(&cell->kind) != IL_KIND_RWLOCK || writing);
    }
    il__records_sweep(space, k);
    for (uint32_t i = 0; i < IL_STRIPES; i++) {
        if ((il_load_relaxed(&space->stripes[i].word) & IL_OWNER) == k)
            il__mutex_orphan(space, &space->stripes[i], k, false);
    }
}
