/* Short forms for the kinds of which a process has shares, used as the binding uses them. */
#ifndef SHARES_H
#define SHARES_H

#include "basic.h"

enum { HOLDER = 7 };

static inline il_share share_of(il_space *space, il_ref ref)
{
    il_share share = 0;
    CHECK_CODE(il_share_of(space, ref, NULL, &share), IL_OK);
    return share;
}

static inline int read_lock(il_space *space, il_ref ref, il_share share, il_wait wait)
{
    if (il_rwlock_read_fast(space, cell_of(space, ref), il_ref_key(ref), share))
        return IL_OK;
    return il_rwlock_read(space, ref, share, HOLDER, false, &wait);
}

static inline bool read_unlock(il_space *space, il_ref ref, il_share share)
{
    return il_rwlock_leave(space, cell_of(space, ref), il_share_count(space, share), share);
}

static inline int bounded_acquire(il_space *space, il_ref ref, il_share share, il_wait wait)
{
    if (il_bounded_acquire_fast(space, share) || il_bounded_try(space, ref, share))
        return IL_OK;
    return il_bounded_acquire(space, ref, share, HOLDER, &wait);
}

static inline int give_back(il_space *space, il_ref ref, il_share share, uint32_t count)
{
    il_wait wait = for_ever();
    return il_bounded_release(space, ref, share, HOLDER, count, &wait);
}

static inline int bounded_release(il_space *space, il_ref ref, il_share share)
{
    int given = il_bounded_release_fast(space, ref, share);
    return given == IL_GIVEN ? IL_OK : give_back(space, ref, share, given == IL_NOT_GIVEN ? 1 : 0);
}

#endif
