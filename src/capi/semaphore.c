/* Semaphore: a named count without owners. */
#include "capi.h"

_Static_assert(INTERLOCK_PERMITS_MAX == IL_PERMITS, "as many permits as the word has bits for");

int interlock_semaphore_open(interlock_space *space, const char *name, uint32_t value, interlock_semaphore **semaphore)
{
    int code;
    *semaphore = NULL;
    if (value > INTERLOCK_PERMITS_MAX)
        return capi_fail(INTERLOCK_ARGUMENT, "a semaphore of %u permits", value);
    uint64_t parameter = il_semaphore_parameter(value, INTERLOCK_PERMITS_MAX);
    *semaphore = (interlock_semaphore *)capi_open(space, name, IL_KIND_SEMAPHORE, parameter, &code);
    return code;
}

void interlock_semaphore_close(interlock_semaphore *semaphore)
{
    capi_close((capi_handle *)semaphore);
}

static int acquire_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    (void)unused;
    return il_semaphore_acquire(handle->space, il_ref_cell(handle->space, ref), il_ref_key(ref), wait);
}

int interlock_semaphore_acquire(interlock_semaphore *semaphore, int64_t timeout_ns, unsigned flags)
{
    capi_handle *handle = &semaphore->handle;
    int code = capi_check_wait(timeout_ns, flags);
    if (code != INTERLOCK_OK)
        return code;
    il_ref ref = il_load_relaxed(&handle->ref);
    if (il_semaphore_try_fast(il_ref_cell(handle->space, ref), il_ref_key(ref)))
        return INTERLOCK_OK;
    il_wait wait = capi_wait(handle, timeout_ns);
    return capi_perform(handle, acquire_once, NULL, &wait, flags, &ref);
}

static int release_once(capi_handle *handle, il_ref ref, il_wait *wait, void *argument)
{
    (void)wait;
    return il_semaphore_release(handle->space, il_ref_cell(handle->space, ref), il_ref_key(ref), INTERLOCK_PERMITS_MAX,
                                *(const uint32_t *)argument);
}

int interlock_semaphore_release(interlock_semaphore *semaphore, uint32_t count)
{
    capi_handle *handle = &semaphore->handle;
    if (count == 0 || count > INTERLOCK_PERMITS_MAX)
        return capi_fail(INTERLOCK_ARGUMENT, "%u permits to release", count);
    il_ref ref = il_load_relaxed(&handle->ref);
    if (count == 1 && il_semaphore_release_fast(il_ref_cell(handle->space, ref), il_ref_key(ref), INTERLOCK_PERMITS_MAX))
        return INTERLOCK_OK;
    return capi_perform_quickly(handle, release_once, &count);
}

int interlock_semaphore_value(interlock_semaphore *semaphore, uint32_t *value)
{
    capi_handle *handle = &semaphore->handle;
    int code = IL_STALE;
    while (code == IL_STALE) {
        il_ref ref;
        code = capi_present(handle, &ref);
        if (code == IL_OK)
            code = il_semaphore_value(il_ref_cell(handle->space, ref), il_ref_key(ref), value);
    }
    if (code != IL_ABSENT)
        return code;
    *value = (uint32_t)handle->parameter; /* it was unlinked: its name begins anew */
    return INTERLOCK_OK;
}
