/* Looking at names, for those who only ask. Nothing here makes a name, or takes a lock but a stripe's; a glance not even that. */
#include <string.h>

#include "il_internal.h"

int il_table_look(il_space *space, const char *name, size_t length, il_wait *wait, il_facts *facts)
{
    uint32_t index;
    int code = il__name_lock(space, name, length, wait, &index);
    if (code != IL_OK)
        return code;
    const il_cell *cell = &space->cells[index];
    uint64_t word = il_load_relaxed(&cell->mutex.word), fence = il_load_relaxed(&cell->mutex.fence);
    *facts = (il_facts){.ref = (word & IL_GENERATION) | index,
                        .kind = il_load_relaxed(&cell->kind),
                        .half = (uint32_t)word,
                        .depth = il_load_relaxed(&cell->mutex.depth),
                        .recoveries = il_load_relaxed(&cell->mutex.recoveries),
                        .parameter = cell->parameter,
                        .state = il_load_relaxed(&cell->state.permits),
                        .fence = fence,
                        .taken = fence - cell->fence_base,
                        .contended = il_load_relaxed(&cell->mutex.contended),
                        .waited_ns = il_load_relaxed(&cell->mutex.waited_ns),
                        .dead_ns = il_load_relaxed(&cell->dead_ns)};
    il_cell_dead_owner(cell, &facts->dead);
    return il__name_unlock(space, index, IL_OK);
}

int il_table_list(il_space *space, uint32_t stripe, il_entry *entries, int room, il_wait *wait)
{
    int code = il__stripe_lock(space, stripe, wait), count = 0;
    if (code != IL_OK)
        return code;
    uint32_t levels = il_load_acquire(&space->header->levels);
    for (uint32_t level = 0; level < levels; level++) {
        uint32_t buckets = 1u << (2 * level);
        for (uint32_t b = 0; b < buckets; b++) {
            uint32_t first = il__bucket_of(stripe + (uint64_t)b * IL_STRIPES, level);
            for (uint32_t i = first; i < first + IL_WAYS; i++) {
                il_cell *cell = &space->cells[i];
                if (il_load_relaxed(&space->tags[i]) == 0 || il_load_relaxed(&cell->kind) == IL_KIND_NONE)
                    continue;
                if (count < room) {
                    il_entry *entry = &entries[count];
                    entry->length = cell->name_length;
                    memcpy(entry->name, cell->name, cell->name_length);
                    entry->name[cell->name_length] = '\0';
                    entry->kind = il_load_relaxed(&cell->kind);
                    entry->half = (uint32_t)il_load_relaxed(&cell->mutex.word);
                    entry->fence = il_load_relaxed(&cell->mutex.fence);
                    entry->ref = (il_load_relaxed(&cell->mutex.word) & IL_GENERATION) | i;
                }
                count++;
            }
        }
    }
    il_mutex_unlock(space, &space->stripes[stripe], 0, 0);
    return count;
}

uint32_t il_table_glance(il_space *space, il_glance *found, uint32_t room)
{
    /* Acquire: pairs with the release of whoever adds a level. */
    uint32_t cells = il_cells_of_levels(il_load_acquire(&space->header->levels)), used = 0;
    for (uint32_t i = 0; i < cells; i++) {
        if (il_load_relaxed(&space->tags[i]) == 0)
            continue;
        il_cell *cell = &space->cells[i];
        uint64_t word = il_load_acquire(&cell->mutex.word);
        il_glance one = {.ref = (word & IL_GENERATION) | i,
                         .fence = il_load_relaxed(&cell->mutex.fence),
                         .holder = il_load_relaxed(&cell->mutex.holder),
                         .half = (uint32_t)word,
                         .depth = il_load_relaxed(&cell->mutex.depth),
                         .kind = il_load_relaxed(&cell->kind)};
        il_fence(); /* the copy before the second look */
        uint64_t again = il_load_relaxed(&cell->mutex.word);
        if (one.kind == IL_KIND_NONE || (word & IL_FILLING) || (again & (IL_GENERATION | IL_FILLING)) != (word & IL_GENERATION))
            continue;
        if (((word ^ again) & IL_OWNER) != 0 || (word & IL_OWNER) == 0)
            one.holder = 0;
        if (used < room)
            found[used] = one;
        used++;
    }
    return used;
}

bool il_holds(const il_space *space)
{
    uint32_t slot = il_self(space), cells = il_cells_of_levels(il_load_acquire(&space->header->levels));
    for (uint32_t i = 0; slot != 0 && i < cells; i++) {
        if ((il_load_relaxed(&space->cells[i].mutex.word) & IL_OWNER) == slot)
            return true;
    }
    uint32_t records = il_records_of_levels(il_load_acquire(&space->header->record_levels));
    for (uint32_t i = 1; slot != 0 && i < records; i++) {
        il_record *record = &space->records[i];
        if (il__record_owner(record) == slot && il_load_relaxed(&record->state) == IL_SHARE &&
            (il_load_relaxed(&record->count) & IL_PERMITS) != 0) /* what it keeps, nobody has */
            return true;
    }
    return false;
}
