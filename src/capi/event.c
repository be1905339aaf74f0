/* Event: a named flag. */
#include "capi.h"

int interlock_event_open(interlock_space *space, const char *name, interlock_event **event)
{
    int code;
    *event = (interlock_event *)capi_open(space, name, IL_KIND_EVENT, 0, &code);
    return code;
}

void interlock_event_close(interlock_event *event)
{
    capi_close((capi_handle *)event);
}

static int set_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    (void)wait;
    (void)unused;
    return il_event_set(handle->space, il_ref_cell(handle->space, ref), il_ref_key(ref));
}

static int clear_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    (void)wait;
    (void)unused;
    return il_event_clear(handle->space, il_ref_cell(handle->space, ref), il_ref_key(ref));
}

static int wait_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    (void)unused;
    return il_event_wait(handle->space, il_ref_cell(handle->space, ref), il_ref_key(ref), wait);
}

int interlock_event_set(interlock_event *event)
{
    return capi_perform_quickly(&event->handle, set_once, NULL);
}

int interlock_event_clear(interlock_event *event)
{
    return capi_perform_quickly(&event->handle, clear_once, NULL);
}

int interlock_event_is_set(interlock_event *event)
{
    capi_handle *handle = &event->handle;
    il_ref ref;
    int code = capi_present(handle, &ref);
    if (code != IL_OK)
        return code == IL_ABSENT ? 0 : code;
    /* Acquire: pairs with the release of the setter. */
    uint64_t word = il_load_acquire(&il_ref_cell(handle->space, ref)->state.flag);
    return (word & (IL_GENERATION | IL_FLAG_SET)) == (il_ref_key(ref) | IL_FLAG_SET);
}

int interlock_event_wait(interlock_event *event, int64_t timeout_ns, unsigned flags)
{
    capi_handle *handle = &event->handle;
    il_ref ref;
    int code = capi_check_wait(timeout_ns, flags);
    if (code != INTERLOCK_OK)
        return code;
    il_wait wait = capi_wait(handle, timeout_ns);
    return capi_perform(handle, wait_once, NULL, &wait, flags, &ref);
}
