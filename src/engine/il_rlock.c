/* The re-entrant lock: a mutex whose holder may take it again.
 *
 * The word says which process; `holder` says which thread or task of it, and is cleared before every release, so a thread
 * that finds its own token under its own slot holds the lock. `depth` counts, and only the holder touches it. */
#include "il_engine.h"

int il_rlock_lock(il_space *space, il_mutex *mutex, uint64_t key, uint64_t holder, il_wait *wait)
{
    if (il_rlock_mine(space, mutex, key, holder)) {
        uint32_t depth = il_load_relaxed(&mutex->depth);
        if (depth == UINT32_MAX)
            return IL_DEPTH;
        il_store_relaxed(&mutex->depth, depth + 1);
        return IL_OK;
    }
    int code = il_mutex_lock(space, mutex, key, holder, wait);
    if (code == IL_OK)
        il_store_relaxed(&mutex->depth, 1);
    return code;
}

int il_rlock_unlock(il_space *space, il_mutex *mutex, uint64_t key, uint64_t holder, unsigned flags)
{
    if (!il_rlock_mine(space, mutex, key, holder)) {
        if (il_load_relaxed(&space->wiped))
            return IL_WIPED;
        if ((il_load_relaxed(&mutex->word) & IL_GENERATION) != key)
            return IL_STALE;
        int held = il_mutex_locked(space, mutex, key);
        return held > 0 ? IL_NOT_OWNER : held == 0 ? IL_NOT_HELD : held;
    }
    uint32_t depth = il_load_relaxed(&mutex->depth);
    if (depth > 1) {
        il_store_relaxed(&mutex->depth, depth - 1);
        return IL_OK;
    }
    il_store_relaxed(&mutex->depth, 0);
    il_store_relaxed(&mutex->holder, 0);
    return il_mutex_unlock(space, mutex, key, flags);
}
