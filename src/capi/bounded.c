/* BoundedSemaphore: permits that belong to the process which took them. */
#include "capi.h"

int interlock_bounded_semaphore_open(interlock_space *space, const char *name, uint32_t bound,
                                     interlock_bounded_semaphore **semaphore)
{
    int code;
    *semaphore = NULL;
    if (bound > INTERLOCK_PERMITS_MAX)
        return capi_fail(INTERLOCK_ARGUMENT, "a bounded semaphore of %u permits", bound);
    *semaphore = (interlock_bounded_semaphore *)capi_open(space, name, IL_KIND_BOUNDED_SEMAPHORE, bound, &code);
    return code;
}

void interlock_bounded_semaphore_close(interlock_bounded_semaphore *semaphore)
{
    capi_close((capi_handle *)semaphore);
}

static int acquire_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    il_share share;
    (void)unused;
    int code = capi_share(handle, ref, wait, &share);
    return code == IL_OK ? il_bounded_acquire(handle->space, ref, share, capi_token(), wait) : code;
}

int interlock_bounded_semaphore_acquire(interlock_bounded_semaphore *semaphore, int64_t timeout_ns, unsigned flags)
{
    capi_handle *handle = &semaphore->handle;
    int code = capi_check_wait(timeout_ns, flags);
    if (code != INTERLOCK_OK)
        return code;
    il_ref ref = il_load_relaxed(&handle->ref);
    il_share share = capi_kept_share(handle);
    if (share != 0 && (il_bounded_acquire_fast(handle->space, share) || il_bounded_try(handle->space, ref, share)))
        return INTERLOCK_OK;
    il_wait wait = capi_wait(handle, timeout_ns);
    return capi_perform(handle, acquire_once, NULL, &wait, flags, &ref);
}

static int release_once(capi_handle *handle, il_ref ref, il_wait *wait, void *argument)
{
    il_share share;
    int code = capi_share(handle, ref, wait, &share);
    if (code == IL_OK)
        code = il_bounded_release(handle->space, ref, share, capi_token(), *(const uint32_t *)argument, wait);
    return code;
}

int interlock_bounded_semaphore_release(interlock_bounded_semaphore *semaphore, uint32_t count)
{
    capi_handle *handle = &semaphore->handle;
    if (count == 0 || count > INTERLOCK_PERMITS_MAX)
        return capi_fail(INTERLOCK_ARGUMENT, "%u permits to release", count);
    il_ref ref = il_load_relaxed(&handle->ref);
    il_share share = capi_kept_share(handle);
    if (count == 1 && share != 0) {
        int given = il_bounded_release_fast(handle->space, ref, share);
        if (given == IL_GIVEN)
            return INTERLOCK_OK;
        if (given == IL_GIVEN_MEANWHILE) {
            /* It is given back, whatever comes of waking those who wait: without that they wake at the ends of their slices. */
            il_wait wait = {.deadline_ns = IL_NOW};
            if (il_bounded_release(handle->space, ref, share, capi_token(), 0, &wait) != IL_BUSY)
                return INTERLOCK_OK;
            count = 0;
        }
    }
    return capi_perform_quickly(handle, release_once, &count);
}

int interlock_bounded_semaphore_value(interlock_bounded_semaphore *semaphore, uint32_t *value)
{
    capi_handle *handle = &semaphore->handle;
    il_ref ref;
    int code = capi_present(handle, &ref);
    if (code != IL_OK && code != IL_ABSENT)
        return code;
    *value = code == IL_OK ? il_bounded_free(handle->space, ref) : (uint32_t)handle->parameter;
    return INTERLOCK_OK;
}
