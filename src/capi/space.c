/* Spaces: segments, which handles keep as well. */
#include <limits.h>

#include "capi.h"

static il_process process;
static pthread_once_t started = PTHREAD_ONCE_INIT;
/* Settled at first use: a change of the environment later on must not make two locks of one name. Guard: settling, which is
 * taken before the engine's own mutexes, and by fork. */
static char default_path[PATH_MAX];
static pthread_mutex_t settling = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
    pthread_mutex_lock(&settling);
    il_process_before_fork(&process);
}

static void after_fork(void)
{
    il_process_after_fork(&process, false);
    pthread_mutex_unlock(&settling);
}

static void after_fork_child(void)
{
    il_process_after_fork(&process, true);
    pthread_mutex_unlock(&settling);
    capi_thread_token = 0;
    capi_forget_reads();
}

static void start_process(void)
{
    il_process_init(&process);
    pthread_atfork(before_fork, after_fork, after_fork_child);
}

static int open_segment(const char *path, il_space **segment)
{
    il_error error;
    il_options options = {0};
    int code = capi_slots(&options.slots);
    if (code == INTERLOCK_OK && il_space_use(&process, path, &options, segment, &error) != IL_OK)
        code = capi_fail_open(path, &error);
    return code;
}

int interlock_space_open(const char *url, interlock_space **space)
{
    char path[PATH_MAX];
    pthread_once(&started, start_process);
    *space = NULL;
    interlock_space *made = malloc(sizeof *made);
    if (made == NULL)
        return capi_fail(INTERLOCK_NO_MEMORY, NULL);
    pthread_mutex_lock(&settling);
    bool settled = url == NULL && default_path[0] != '\0';
    int code = settled ? INTERLOCK_OK : capi_place(url, path, sizeof path);
    if (code == INTERLOCK_OK && url == NULL && !settled)
        memcpy(default_path, path, sizeof path);
    if (code == INTERLOCK_OK)
        code = open_segment(url == NULL ? default_path : path, &made->segment);
    pthread_mutex_unlock(&settling);
    if (code == INTERLOCK_OK)
        *space = made;
    else
        free(made);
    return code;
}

void interlock_space_close(interlock_space *space)
{
    if (space != NULL)
        il_space_leave(space->segment);
    free(space);
}

const char *interlock_space_path(const interlock_space *space)
{
    return space->segment->path;
}

int interlock_space_unlink(interlock_space *space, const char *name)
{
    int code = IL_INTERRUPTED;
    if (space == NULL || name == NULL)
        return capi_fail(INTERLOCK_ARGUMENT, "interlock_space_unlink: NULL is no %s", space == NULL ? "space" : "name");
    size_t length = strlen(name);
    if (length == 0 || length > IL_NAME_MAX)
        return capi_fail(INTERLOCK_ABSENT, "'%s'", name);
    while (code == IL_INTERRUPTED) {
        il_wait wait = {.deadline_ns = IL_FOREVER};
        code = il_table_unlink(space->segment, name, length, &wait);
    }
    if (code != IL_OK && code != IL_BUSY)
        capi_fail(code, "'%s' of the space at %s", name, space->segment->path);
    return code;
}
