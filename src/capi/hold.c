/* What can be asked of a lock: who has it, how often it was taken, and whether a dead owner left it. */
#include "capi.h"

_Static_assert(sizeof((interlock_owner){0}.host) == IL_HOST_MAX && sizeof((interlock_owner){0}.program) == IL_PROGRAM_MAX,
               "an owner's texts fit");

static void tell(const il_owner *from, uint64_t died_ns, interlock_owner *to)
{
    *to = (interlock_owner){.pid = from->pid, .thread = from->thread, .since_ns = from->since_ns, .died_ns = died_ns};
    memcpy(to->host, from->host, sizeof to->host);
    memcpy(to->program, from->program, sizeof to->program);
}

void capi_dead_owner(capi_handle *handle, il_ref ref, interlock_owner *dead)
{
    const il_cell *cell = il_ref_cell(handle->space, ref);
    il_owner owner;
    if (dead == NULL)
        return;
    il_cell_dead_owner(cell, &owner);
    tell(&owner, il_load_relaxed(&cell->dead_ns), dead);
}

int capi_fence(capi_handle *handle, uint64_t *fence)
{
    il_ref ref;
    int code = capi_present(handle, &ref);
    if (code != IL_OK && code != IL_ABSENT)
        return code;
    /* A forgotten name goes on above all that was forgotten. */
    *fence = il_load_relaxed(code == IL_OK ? &capi_mutex(handle, ref)->fence : &handle->space->header->fence_floor);
    return INTERLOCK_OK;
}

int capi_owner(capi_handle *handle, interlock_owner *owner)
{
    il_ref ref;
    il_owner found;
    int code = capi_present(handle, &ref);
    if (code == IL_OK)
        code = il_mutex_owner(handle->space, capi_mutex(handle, ref), il_ref_key(ref), &found);
    if (code == IL_NOT_HELD || code == IL_ABSENT)
        return 0;
    if (code != IL_OK)
        return capi_fail_on(handle, code);
    if (owner != NULL)
        tell(&found, 0, owner);
    return 1;
}

int capi_recovered(capi_handle *handle, interlock_owner *dead)
{
    il_ref ref;
    int code = capi_present(handle, &ref);
    if (code != IL_OK)
        return code == IL_ABSENT ? 0 : code;
    uint32_t half = (uint32_t)il_load_relaxed(&capi_mutex(handle, ref)->word), slot = il_self(handle->space);
    if (slot == 0 || (half & IL_OWNER) != slot || !(half & IL_ORPHAN))
        return 0;
    capi_dead_owner(handle, ref, dead);
    return 1;
}
