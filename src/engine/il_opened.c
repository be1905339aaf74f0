/* The segments that a process has open: one for each file, however many use it.
 *
 * One goes when nobody uses it any more (so no handle exists and no thread waits inside), unless this process still holds something
 * in it. */
#include <string.h>

#include "il_internal.h"

/* Held: opening_mutex. */
static int use_opened(il_space *space, const il_options *options)
{
    int code = il_space_check(space, true);
    if (code == IL_OK && options->id != 0 && options->id != space->header->id)
        code = IL_REPLACED;
    space->users += code == IL_OK;
    return code;
}

int il_space_use(il_process *process, const char *path, const il_options *options, il_space **out, il_error *error)
{
    *error = (il_error){0};
    pthread_mutex_lock(&process->opening_mutex);
    *out = process->opened;
    while (*out != NULL && strcmp((*out)->path, path) != 0)
        *out = (*out)->next;
    int code = *out != NULL ? use_opened(*out, options) : il_space_open(process, path, options, out, error);
    if (code != IL_OK) {
        error->code = code;
    } else if ((*out)->users == 0) {
        (*out)->users = 1;
        (*out)->next = process->opened;
        process->opened = *out;
    }
    pthread_mutex_unlock(&process->opening_mutex);
    return code;
}

void il_space_keep(il_space *space)
{
    pthread_mutex_lock(&space->process->opening_mutex);
    space->users++;
    pthread_mutex_unlock(&space->process->opening_mutex);
}

void il_space_leave(il_space *space)
{
    il_process *process = space->process;
    pthread_mutex_lock(&process->opening_mutex);
    if (--space->users == 0 && (il_load_relaxed(&space->wiped) || !il_holds(space))) {
        il_space **at = &process->opened;
        while (*at != space)
            at = &(*at)->next;
        *at = space->next;
        il_space_close(space);
    }
    pthread_mutex_unlock(&process->opening_mutex);
}
