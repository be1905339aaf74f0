/* Spaces: opening segments, one per file and process however many spaces and handles stand for it. */
#include <limits.h>

#include "capi.h"

/* The segments of this process. One goes when nothing refers to it any more, unless this process still holds something in it. */
typedef struct opened {
    struct opened *next;
    il_space *segment;
    size_t users; /* spaces and handles */
} opened;

static il_process process;
static pthread_once_t started = PTHREAD_ONCE_INIT;
static opened *all;
/* Guards the list and default_path. Taken before the engine's own mutexes, and by fork. */
static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
/* Settled at first use: a change of the environment later on must not make two locks of one name. */
static char default_path[PATH_MAX];

static void before_fork(void)
{
    pthread_mutex_lock(&opening);
    il_process_before_fork(&process);
}

static void after_fork(void)
{
    il_process_after_fork(&process, false);
    pthread_mutex_unlock(&opening);
}

static void after_fork_child(void)
{
    il_process_after_fork(&process, true);
    pthread_mutex_unlock(&opening);
    capi_thread_token = 0;
    capi_forget_reads();
}

static void start_process(void)
{
    il_process_init(&process);
    pthread_atfork(before_fork, after_fork, after_fork_child);
}

/* Held: opening. */
static opened *find(const char *path)
{
    opened *entry = all;
    while (entry != NULL && strcmp(entry->segment->path, path) != 0)
        entry = entry->next;
    return entry;
}

/* Held: opening. */
static int open_segment(const char *path, il_space **segment)
{
    il_error error = {0};
    opened *entry = find(path);
    if (entry != NULL) {
        error.code = il_space_check(entry->segment, true);
        if (error.code != IL_OK)
            return capi_fail_open(path, &error);
        entry->users++;
        *segment = entry->segment;
        return INTERLOCK_OK;
    }
    il_options options = {0};
    int code = capi_slots(&options.slots);
    if (code != INTERLOCK_OK)
        return code;
    entry = malloc(sizeof *entry);
    if (entry == NULL)
        return capi_fail(INTERLOCK_NO_MEMORY, NULL);
    if (il_space_open(&process, path, &options, segment, &error) != IL_OK) {
        free(entry);
        return capi_fail_open(path, &error);
    }
    *entry = (opened){.next = all, .segment = *segment, .users = 1};
    all = entry;
    return INTERLOCK_OK;
}

int interlock_space_open(const char *url, interlock_space **space)
{
    char path[PATH_MAX];
    pthread_once(&started, start_process);
    *space = NULL;
    interlock_space *made = malloc(sizeof *made);
    if (made == NULL)
        return capi_fail(INTERLOCK_NO_MEMORY, NULL);
    pthread_mutex_lock(&opening);
    bool settled = url == NULL && default_path[0] != '\0';
    int code = settled ? INTERLOCK_OK : capi_place(url, path, sizeof path);
    if (code == INTERLOCK_OK && url == NULL && !settled)
        memcpy(default_path, path, sizeof path);
    if (code == INTERLOCK_OK)
        code = open_segment(url == NULL ? default_path : path, &made->segment);
    pthread_mutex_unlock(&opening);
    if (code == INTERLOCK_OK)
        *space = made;
    else
        free(made);
    return code;
}

void capi_segment_keep(il_space *segment)
{
    pthread_mutex_lock(&opening);
    find(segment->path)->users++;
    pthread_mutex_unlock(&opening);
}

void capi_segment_leave(il_space *segment)
{
    pthread_mutex_lock(&opening);
    for (opened **at = &all; *at != NULL; at = &(*at)->next) {
        opened *entry = *at;
        if (entry->segment != segment)
            continue;
        if (--entry->users == 0 && (il_load_relaxed(&segment->wiped) || !il_holds(segment))) {
            *at = entry->next;
            il_space_close(segment);
            free(entry);
        }
        break;
    }
    pthread_mutex_unlock(&opening);
}

void interlock_space_close(interlock_space *space)
{
    if (space != NULL)
        capi_segment_leave(space->segment);
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
