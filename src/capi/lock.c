/* Lock: a named mutex. Any thread of the owning process may release it. */
#include "capi.h"

int interlock_lock_open(interlock_space *space, const char *name, interlock_lock **lock)
{
    int code;
    *lock = (interlock_lock *)capi_open(space, name, IL_KIND_LOCK, 0, &code);
    return code;
}

void interlock_lock_close(interlock_lock *lock)
{
    capi_close((capi_handle *)lock);
}

static int acquire_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    (void)unused;
    /* The token is asked for each time: a signal handler may have forked. */
    return il_mutex_lock(handle->space, capi_mutex(handle, ref), il_ref_key(ref), capi_token(), wait);
}

int interlock_lock_acquire(interlock_lock *lock, int64_t timeout_ns, unsigned flags)
{
    capi_handle *handle = &lock->handle;
    int code = capi_check_wait(timeout_ns, flags);
    if (code != INTERLOCK_OK)
        return code;
    il_ref ref = il_load_relaxed(&handle->ref);
    if (il_mutex_try_fast(capi_mutex(handle, ref), il_ref_key(ref), il_self(handle->space), capi_token()))
        return INTERLOCK_OK;
    il_wait wait = capi_wait(handle, timeout_ns);
    return capi_perform(handle, acquire_once, NULL, &wait, flags, &ref);
}

static int release(capi_handle *handle, il_ref ref, unsigned flags)
{
    return il_mutex_unlock(handle->space, capi_mutex(handle, ref), il_ref_key(ref), flags);
}

int interlock_lock_release(interlock_lock *lock)
{
    capi_handle *handle = &lock->handle;
    il_ref ref = il_load_relaxed(&handle->ref);
    if (il_mutex_unlock_fast(capi_mutex(handle, ref), il_ref_key(ref), il_self(handle->space)))
        return INTERLOCK_OK;
    return capi_give_back(handle, release, 0);
}

int interlock_lock_release_unrepaired(interlock_lock *lock)
{
    return capi_give_back(&lock->handle, release, IL_UNLOCK_KEEP_ORPHAN);
}

int interlock_lock_recovered(interlock_lock *lock, interlock_owner *dead)
{
    return capi_recovered(&lock->handle, dead);
}

int interlock_lock_owner(interlock_lock *lock, interlock_owner *owner)
{
    return capi_owner(&lock->handle, owner);
}

int interlock_lock_fence(interlock_lock *lock, uint64_t *fence)
{
    return capi_fence(&lock->handle, fence);
}
