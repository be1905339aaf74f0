/* Barrier: parties that wait until all of them are there. */
#include "capi.h"

int interlock_barrier_open(interlock_space *space, const char *name, uint32_t parties, interlock_barrier **barrier)
{
    int code;
    *barrier = NULL;
    if (parties == 0 || parties > INT32_MAX)
        return capi_fail(INTERLOCK_ARGUMENT, "a barrier of %u parties", parties);
    *barrier = (interlock_barrier *)capi_open(space, name, IL_KIND_BARRIER, parties, &code);
    return code;
}

void interlock_barrier_close(interlock_barrier *barrier)
{
    capi_close((capi_handle *)barrier);
}

typedef struct {
    il_ticket ticket;
    uint32_t place;
} arrival;

static int enter_once(capi_handle *handle, il_ref ref, il_wait *wait, void *argument)
{
    arrival *here = argument;
    return il_barrier_enter(handle->space, ref, wait, &here->ticket, &here->place);
}

int interlock_barrier_wait(interlock_barrier *barrier, int64_t timeout_ns, unsigned flags, uint32_t *place)
{
    capi_handle *handle = &barrier->handle;
    arrival here = {0};
    il_ref ref;
    int code = capi_check_wait(timeout_ns, flags);
    if (code != INTERLOCK_OK)
        return code;
    /* Entering waits for the last of the round before, if at all: the timeout counts from then on. */
    il_wait wait = {.deadline_ns = IL_FOREVER};
    code = capi_perform(handle, enter_once, &here, &wait, flags, &ref);
    if (code == IL_LAST) {
        code = il_barrier_finish(handle->space, ref, here.ticket, true);
    } else if (code == IL_OK) {
        wait = capi_wait(handle, timeout_ns);
        wait.wanted = ref;
        do
            code = il_barrier_wait(handle->space, ref, here.ticket, &wait);
        while (code == IL_INTERRUPTED && !(flags & INTERLOCK_INTERRUPTIBLE));
        capi_wait_end(handle, &wait);
        if (code == IL_INTERRUPTED && il_barrier_leave(handle->space, ref, here.ticket) == IL_OK)
            code = IL_OK; /* all had come by then */
    }
    if (place != NULL)
        *place = here.place;
    return capi_fail_on(handle, code);
}

static int abort_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    (void)unused;
    return il_barrier_abort(handle->space, ref, wait);
}

static int reset_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    (void)unused;
    return il_barrier_reset(handle->space, ref, wait);
}

int interlock_barrier_abort(interlock_barrier *barrier)
{
    return capi_perform_quickly(&barrier->handle, abort_once, NULL);
}

int interlock_barrier_reset(interlock_barrier *barrier)
{
    return capi_perform_quickly(&barrier->handle, reset_once, NULL);
}
