/* RLock: the thread that has it may take it again, and alone may release it. */
#include "capi.h"

int interlock_rlock_open(interlock_space *space, const char *name, interlock_rlock **lock)
{
    int code;
    *lock = (interlock_rlock *)capi_open(space, name, IL_KIND_RLOCK, 0, &code);
    return code;
}

void interlock_rlock_close(interlock_rlock *lock)
{
    capi_close((capi_handle *)lock);
}

static int acquire_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    (void)unused;
    return il_rlock_lock(handle->space, capi_mutex(handle, ref), il_ref_key(ref), capi_token(), wait);
}

int interlock_rlock_acquire(interlock_rlock *lock, int64_t timeout_ns, unsigned flags)
{
    capi_handle *handle = &lock->handle;
    int code = capi_check_wait(timeout_ns, flags);
    if (code != INTERLOCK_OK)
        return code;
    il_ref ref = il_load_relaxed(&handle->ref);
    if (il_mutex_try_fast(capi_mutex(handle, ref), il_ref_key(ref), il_self(handle->space), capi_token())) {
        il_store_relaxed(&capi_mutex(handle, ref)->depth, 1);
        return INTERLOCK_OK;
    }
    il_wait wait = capi_wait(handle, timeout_ns);
    return capi_perform(handle, acquire_once, NULL, &wait, flags, &ref);
}

static int release(capi_handle *handle, il_ref ref, unsigned flags)
{
    return il_rlock_unlock(handle->space, capi_mutex(handle, ref), il_ref_key(ref), capi_token(), flags);
}

int interlock_rlock_release(interlock_rlock *lock)
{
    return capi_give_back(&lock->handle, release, 0);
}

int interlock_rlock_release_unrepaired(interlock_rlock *lock)
{
    return capi_give_back(&lock->handle, release, IL_UNLOCK_KEEP_ORPHAN);
}

int interlock_rlock_recovered(interlock_rlock *lock, interlock_owner *dead)
{
    return capi_recovered(&lock->handle, dead);
}

int interlock_rlock_owner(interlock_rlock *lock, interlock_owner *owner)
{
    return capi_owner(&lock->handle, owner);
}

int interlock_rlock_fence(interlock_rlock *lock, uint64_t *fence)
{
    return capi_fence(&lock->handle, fence);
}
