/* What all handles share: names, waiting through signals, stale references looked up again, shares. */
#include "capi.h"

_Thread_local uint64_t capi_thread_token;
static il_u32 tokens;

uint64_t capi_new_token(void)
{
    capi_thread_token = (uint64_t)(il_add_relaxed(&tokens, 1) + 1) << 32 | il_thread_id();
    return capi_thread_token;
}

/* With which parameter the object is in use, if it still is. */
static int fail_parameter(capi_handle *handle)
{
    il_error error = {.code = IL_PARAMETER};
    il_wait wait = {.deadline_ns = il_clock_ns() + 1000000000};
    int code = il_table_parameter(handle->space, handle->name, handle->length, handle->kind, &wait, &error.wanted);
    error.found = code == IL_OK && error.wanted != handle->parameter;
    return capi_fail_with(handle, IL_PARAMETER, &error);
}

/* Finds or makes the handle's cell, whose reference `seen` is stale. A stale reference never becomes valid again, so if another
 * thread was faster, its one stays. IL_BUSY, IL_TIMEDOUT and IL_INTERRUPTED are the caller's to judge. */
static int resolve(capi_handle *handle, il_ref seen, il_wait *wait)
{
    enum { TRIES = 100 };
    uint8_t found = IL_KIND_NONE;
    il_ref ref = 0;
    int code = IL_BUSY;
    /* A try looks a few times: nearly always nobody has the stripe, or not for long. */
    for (int tries = 0; code == IL_BUSY && tries < TRIES; tries++)
        code = il_table_resolve(handle->space, handle->name, handle->length, handle->kind, handle->parameter, wait, &ref, &found);
    if (code == IL_OK)
        il_cas_relaxed(&handle->ref, &seen, ref);
    else if (code == IL_KIND)
        capi_fail_with(handle, code, &(il_error){.code = code, .found = found});
    else if (code == IL_PARAMETER)
        fail_parameter(handle);
    else
        capi_fail_on(handle, code);
    return code;
}

capi_handle *capi_open(interlock_space *space, const char *name, uint8_t kind, uint64_t parameter, int *code)
{
    if (space == NULL || name == NULL) {
        *code = capi_fail(INTERLOCK_ARGUMENT, "NULL is no %s: look at what opening it returned", space == NULL ? "space" : "name");
        return NULL;
    }
    size_t length = strnlen(name, IL_NAME_MAX + 1);
    if (length == 0 || length > IL_NAME_MAX || !capi_is_utf8(name)) {
        *code = capi_fail(INTERLOCK_NAME, "'%.255s'", name);
        return NULL;
    }
    capi_handle *made = calloc(1, sizeof *made);
    if (made == NULL) {
        *code = capi_fail(INTERLOCK_NO_MEMORY, NULL);
        return NULL;
    }
    made->space = space->segment;
    made->kind = kind;
    made->parameter = parameter;
    made->length = (uint8_t)length;
    memcpy(made->name, name, length);
    il_wait wait = {.deadline_ns = IL_FOREVER};
    do
        *code = resolve(made, 0, &wait);
    while (*code == IL_INTERRUPTED);
    if (*code != IL_OK) {
        free(made);
        return NULL;
    }
    il_space_keep(made->space);
    return made;
}

void capi_close(capi_handle *handle)
{
    if (handle != NULL)
        il_space_leave(handle->space);
    free(handle);
}

int capi_check_wait(int64_t timeout_ns, unsigned flags)
{
    if (timeout_ns < INTERLOCK_FOREVER)
        return capi_fail(INTERLOCK_ARGUMENT, "a timeout of %lld ns", (long long)timeout_ns);
    if ((flags & ~INTERLOCK_INTERRUPTIBLE) != 0)
        return capi_fail(INTERLOCK_ARGUMENT, "unknown flags: %#x", flags);
    return INTERLOCK_OK;
}

il_wait capi_wait(const capi_handle *handle, int64_t timeout_ns)
{
    bool notice = handle->kind == IL_KIND_SEMAPHORE || handle->kind == IL_KIND_EVENT || handle->kind == IL_KIND_BARRIER;
    uint64_t deadline = timeout_ns == INTERLOCK_NOW ? IL_NOW : IL_FOREVER;
    if (timeout_ns > 0)
        deadline = il_clock_ns() + (uint64_t)timeout_ns; /* no overflow: the clock is below 2^63 */
    /* Seen in the wait graph; what comes of a deadlock is for a party in Python to say. */
    return (il_wait){.deadline_ns = deadline, .manner = notice ? IL_MANNER_NOTICE : 0, .agent = capi_token()};
}

int capi_perform(capi_handle *handle, capi_operation operation, void *argument, il_wait *wait, unsigned flags, il_ref *where)
{
    for (;;) {
        il_ref ref = il_load_relaxed(&handle->ref);
        wait->wanted = ref;
        int code = operation(handle, ref, wait, argument);
        if (code != IL_INTERRUPTED || (flags & INTERLOCK_INTERRUPTIBLE))
            capi_wait_end(handle, wait);
        if (code == IL_STALE) {
            code = resolve(handle, ref, wait);
            if (code == IL_OK || code == IL_INTERRUPTED)
                continue; /* a signal that came while the name was looked up is not worth telling */
            return code;
        }
        if (code == IL_INTERRUPTED && !(flags & INTERLOCK_INTERRUPTIBLE))
            continue;
        *where = ref;
        return code == IL_LAST || code == IL_BROKEN ? code : capi_fail_on(handle, code);
    }
}

int capi_perform_quickly(capi_handle *handle, capi_operation operation, void *argument)
{
    il_ref ref;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    return capi_perform(handle, operation, argument, &wait, 0, &ref);
}

int capi_present(capi_handle *handle, il_ref *ref)
{
    for (;;) {
        il_ref seen = il_load_relaxed(&handle->ref), found = 0;
        *ref = seen;
        /* Acquire: pairs with the release of whoever gave the cell its name. */
        if ((il_load_acquire(&capi_mutex(handle, seen)->word) & IL_GENERATION) == il_ref_key(seen))
            return IL_OK;
        il_wait wait = {.deadline_ns = IL_FOREVER};
        int code = il_table_find(handle->space, handle->name, handle->length, handle->kind, handle->parameter, &wait, &found);
        if (code == IL_OK)
            il_cas_relaxed(&handle->ref, &seen, found);
        else if (code == IL_ABSENT)
            return code;
        else if (code != IL_INTERRUPTED)
            return capi_fail_on(handle, code);
    }
}

int capi_give_back(capi_handle *handle, capi_giving give, unsigned flags)
{
    int code = IL_STALE;
    while (code == IL_STALE) {
        il_ref ref;
        code = capi_present(handle, &ref);
        if (code == IL_OK)
            code = give(handle, ref, flags);
        else if (code != IL_ABSENT)
            return code;
    }
    return capi_fail_on(handle, code == IL_ABSENT ? IL_NOT_HELD : code);
}

int capi_share(capi_handle *handle, il_ref ref, const il_wait *wait, il_share *share)
{
    *share = capi_kept_share(handle);
    if (*share != 0 && il_load_relaxed(il_share_count(handle->space, *share)) >> 32 == *share >> 32)
        return IL_OK;
    int code = il_share_of(handle->space, ref, wait, share);
    if (code == IL_OK) {
        il_store_relaxed(&handle->share, *share);
        /* Release: pairs with the acquire in capi_kept_share. */
        il_store_release(&handle->share_slot, il_self(handle->space));
    }
    return code;
}
