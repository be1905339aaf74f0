/* The public codes: what they mean, which of the engine's they are, and what the last failure of a thread was. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "capi.h"

/* Code, what is wrong, and what to do. */
#define MEANINGS(X)                                                                                                    \
    X(INTERLOCK_OK, "done")                                                                                            \
    X(INTERLOCK_BUSY, "in use by another")                                                                             \
    X(INTERLOCK_TIMEDOUT, "not to be had in the time given")                                                           \
    X(INTERLOCK_INTERRUPTED, "a signal handler ran during the wait")                                                   \
    X(INTERLOCK_NOT_HELD, "not held: release only what was acquired")                                                  \
    X(INTERLOCK_NOT_OWNER,                                                                                             \
      "held by another process or thread: only its owner may release it (a forked child owns nothing that its parent holds)") \
    X(INTERLOCK_DEPTH, "acquired too many times by one thread")                                                        \
    X(INTERLOCK_KIND, "the name is in use for another kind of object: use another name, or unlink that object")        \
    X(INTERLOCK_PARAMETER, "the name is in use with another size: open it with the same, or unlink that object")       \
    X(INTERLOCK_ABSENT, "no object of the space has this name")                                                        \
    X(INTERLOCK_OVERFLOW, "more permits than a semaphore can have: release no more than was acquired")                 \
    X(INTERLOCK_BROKEN, "the barrier is broken: a party died, gave up or aborted; reset it to use it again")           \
    X(INTERLOCK_DEADLOCK,                                                                                              \
      "this thread would wait for itself: release what it has first, or downgrade from writing to reading")            \
    X(INTERLOCK_SPACE_FULL,                                                                                            \
      "no room in the space's file system: free some, or set INTERLOCK_DIR to a directory with more")                  \
    X(INTERLOCK_TABLE_FULL, "too many names are held or remembered at once: unlink some, or use several spaces")       \
    X(INTERLOCK_SLOTS_FULL,                                                                                            \
      "all process slots belong to living processes: end some, or make the space anew with INTERLOCK_SLOTS set higher") \
    X(INTERLOCK_NO_SPACE_FILE, "the space's file is removed again and again: find out by whom")                        \
    X(INTERLOCK_GARBAGE, "the file is no interlock space, or is damaged; it was left as it is: move it away")          \
    X(INTERLOCK_LAYOUT,                                                                                                \
      "the space was made by another version of interlock, and was left as it is: run one version at a time, use another " \
      "INTERLOCK_DIR, or remove the file once no program uses it")                                                     \
    X(INTERLOCK_WIPED,                                                                                                 \
      "the space's file was deleted, replaced or truncated while in use: restart all programs that use it")            \
    X(INTERLOCK_UNSAFE,                                                                                                \
      "the space's file belongs to another user, or lets others in: it must be yours with mode 0600; set INTERLOCK_DIR " \
      "to a directory of your own")                                                                                    \
    X(INTERLOCK_REMOTE, "the file system does not share memory between machines: set INTERLOCK_DIR to a local one")    \
    X(INTERLOCK_NO_LIVENESS, "the kernel lacks open-file-description locks that survive close (Linux 3.15 has them)")  \
    X(INTERLOCK_NO_FALLOCATE,                                                                                          \
      "the file system cannot reserve room: set INTERLOCK_DIR to a directory on tmpfs, ext4, xfs or btrfs")            \
    X(INTERLOCK_SYSTEM, "a system call failed")                                                                        \
    X(INTERLOCK_ORPHANED_USERS, "the space's file was deleted while a process uses it: end that process first")        \
    X(INTERLOCK_NO_UNNAMED,                                                                                            \
      "the file system has no O_TMPFILE: set INTERLOCK_DIR to a directory on tmpfs, ext4, xfs or btrfs")               \
    X(INTERLOCK_ARGUMENT, "an argument is out of range, or NULL")                                                      \
    X(INTERLOCK_NAME, "a name has 1 to 255 bytes of UTF-8")                                                            \
    X(INTERLOCK_URL,                                                                                                   \
      "a space is \"shm:NAME\", NAME of 1 to 200 bytes of UTF-8 (three for each that is not a letter, digit or one of -_.)") \
    X(INTERLOCK_DIRECTORY, "no directory for spaces: set INTERLOCK_DIR to one of your own")                            \
    X(INTERLOCK_SETTING, "INTERLOCK_SLOTS must be a number from 1 to 65535")                                           \
    X(INTERLOCK_NO_MEMORY, "out of memory")

/* The engine's codes are handed on as they are. */
#define SAME(code) _Static_assert((int)INTERLOCK_##code == (int)IL_##code, "a public code is the engine's")
SAME(OK);
SAME(BUSY);
SAME(TIMEDOUT);
SAME(INTERRUPTED);
SAME(NOT_HELD);
SAME(NOT_OWNER);
SAME(DEPTH);
SAME(KIND);
SAME(PARAMETER);
SAME(ABSENT);
SAME(SPACE_FULL);
SAME(TABLE_FULL);
SAME(SLOTS_FULL);
SAME(NO_SPACE_FILE);
SAME(GARBAGE);
SAME(LAYOUT);
SAME(WIPED);
SAME(UNSAFE);
SAME(REMOTE);
SAME(NO_LIVENESS);
SAME(NO_FALLOCATE);
SAME(SYSTEM);
SAME(ORPHANED_USERS);
SAME(NO_UNNAMED);
SAME(OVERFLOW);
SAME(BROKEN);
SAME(DEADLOCK);
_Static_assert(IL_SLOTS_LIMIT == 65535, "as the text of INTERLOCK_SETTING says");

static _Thread_local char last_error[1024];

const char *interlock_strerror(int code)
{
    switch (code) {
#define X(name, text)                                                                                                  \
    case name:                                                                                                         \
        return text;
        MEANINGS(X)
#undef X
    default:
        return "unknown code";
    }
}

const char *interlock_last_error(void)
{
    return last_error;
}

int capi_fail(int code, const char *format, ...)
{
    size_t used = 0;
    if (format != NULL) {
        va_list rest;
        va_start(rest, format);
        int length = vsnprintf(last_error, sizeof last_error, format, rest);
        va_end(rest);
        /* What is to be done must fit behind it. */
        used = length < 0 ? 0 : (size_t)length < sizeof last_error / 2 ? (size_t)length : sizeof last_error / 2;
    }
    snprintf(last_error + used, sizeof last_error - used, "%s%s", used > 0 ? ": " : "", interlock_strerror(code));
    return code;
}

static const char *kind_name(unsigned kind)
{
    static const char *const names[] = {
        [IL_KIND_LOCK] = "Lock",           [IL_KIND_RLOCK] = "RLock",     [IL_KIND_SEMAPHORE] = "Semaphore",
        [IL_KIND_EVENT] = "Event",         [IL_KIND_CONDITION] = "Condition", [IL_KIND_BARRIER] = "Barrier",
        [IL_KIND_RWLOCK] = "RWLock",       [IL_KIND_BOUNDED_SEMAPHORE] = "BoundedSemaphore",
        [IL_KIND_VALUE] = "Value",         [IL_KIND_ARRAY] = "Array",
    };
    return kind < sizeof names / sizeof *names && names[kind] != NULL ? names[kind] : "object";
}

/* What the engine knows beside a code, in brackets. */
static void describe(char *text, size_t size, int code, const il_error *error)
{
    text[0] = '\0';
    if (code == IL_LAYOUT)
        snprintf(text, size, " (its layout version is %u, and this program's %u)", error->found, IL_LAYOUT_VERSION);
    else if (code == IL_ORPHANED_USERS)
        snprintf(text, size, " (process %u)", error->found);
    else if (code == IL_SLOTS_FULL)
        snprintf(text, size, " (there are %u)", error->found);
    else if (code == IL_SPACE_FULL)
        snprintf(text, size, " (%llu more bytes are needed)", (unsigned long long)error->wanted);
    else if (code == IL_KIND)
        snprintf(text, size, " (it is %s %s)", error->found == IL_KIND_ARRAY || error->found == IL_KIND_EVENT ? "an" : "a",
                 kind_name(error->found));
    else if (code == IL_PARAMETER && error->found != 0)
        snprintf(text, size, " (it has %llu)", (unsigned long long)(error->wanted & IL_PERMITS));
    else if (error->sys_errno != 0)
        snprintf(text, size, " (%s)", strerror(error->sys_errno));
}

int capi_fail_open(const char *path, const il_error *error)
{
    char more[256];
    describe(more, sizeof more, error->code, error);
    return capi_fail(error->code, "the space at %s%s", path, more);
}

int capi_fail_with(const capi_handle *handle, int code, const il_error *error)
{
    char more[256];
    describe(more, sizeof more, code, error);
    return capi_fail(code, "%s '%s' of the space at %s%s", kind_name(handle->kind), handle->name, handle->space->path, more);
}

int capi_fail_on(const capi_handle *handle, int code)
{
    if (code == IL_OK || code == IL_BUSY || code == IL_TIMEDOUT || code == IL_INTERRUPTED)
        return code;
    /* Another thread may be writing it. */
    pthread_mutex_lock(&handle->space->process->fork_mutex);
    il_error error = handle->space->error.code == code ? handle->space->error : (il_error){0};
    pthread_mutex_unlock(&handle->space->process->fork_mutex);
    return capi_fail_with(handle, code, &error);
}
