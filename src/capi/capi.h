/* What the files of the C API share. Its interface, with units, errors, fork and death: interlock.h.
 *
 * A function of the API checks its arguments, finds the object's cell (handle.c) and calls the engine: what the binding does for
 * Python, without Python. Names begin with capi_; none of them is visible outside of the library. */
#ifndef CAPI_H
#define CAPI_H

#include <stdlib.h>
#include <string.h>

#include "il_engine.h"
#include "il_platform.h"
#include "interlock.h"

#pragma GCC visibility push(hidden)

/* A handle: a name in a space. Kinds differ in their functions only. */
typedef struct {
    il_u64 ref; /* il_ref; 0 until found. Atomic, because threads look it up again on their own */
    il_space *space;
    il_u64 share;     /* il_share, of kinds that have them … */
    il_u32 share_slot; /* … and the process slot whose it is: a forked child finds its own */
    uint64_t parameter;
    uint8_t kind, length;
    char name[IL_NAME_MAX + 1];
} capi_handle;

struct interlock_lock { capi_handle handle; };
struct interlock_rlock { capi_handle handle; };
struct interlock_rwlock { capi_handle handle; };
struct interlock_semaphore { capi_handle handle; };
struct interlock_bounded_semaphore { capi_handle handle; };
struct interlock_event { capi_handle handle; };
struct interlock_barrier { capi_handle handle; };

struct interlock_space {
    il_space *segment; /* of which there is one for each file, in this process */
};

/* --- status.c --- */

/* Notes a failure for interlock_last_error, and returns its code. `format` says what about it is particular; NULL: nothing. */
__attribute__((format(printf, 2, 3))) int capi_fail(int code, const char *format, ...);
/* The same for a code of the engine; IL_BUSY, IL_TIMEDOUT and IL_INTERRUPTED are noted nowhere. */
int capi_fail_on(const capi_handle *handle, int code);
/* The same with what is known of it: for IL_KIND, `found` is the kind that it is; for IL_PARAMETER, `wanted` is what it has if
 * `found` says that it is known. */
int capi_fail_with(const capi_handle *handle, int code, const il_error *error);
int capi_fail_open(const char *path, const il_error *error);

/* --- place.c: which file a space is --- */

/* The file of the space that `url` names, NULL: the default one. INTERLOCK_OK or a failure, noted. */
int capi_place(const char *url, char *path, size_t size);
/* The process slots of a space that is made, from the environment; 0: the default. */
int capi_slots(uint32_t *slots);
bool capi_is_utf8(const char *text);

/* --- handle.c --- */

/* This thread's token: a number no other thread of this process ever had << 32 | its kernel thread id. 0: not made yet; a forked
 * child makes new ones. */
extern _Thread_local uint64_t capi_thread_token;
uint64_t capi_new_token(void);

static inline uint64_t capi_token(void)
{
    uint64_t token = capi_thread_token;
    return token != 0 ? token : capi_new_token();
}

/* A handle of a kind, or NULL with the failure noted and its code in *code. */
capi_handle *capi_open(interlock_space *space, const char *name, uint8_t kind, uint64_t parameter, int *code);
void capi_close(capi_handle *handle);

/* Judges the arguments of a function that waits: INTERLOCK_OK or a failure, noted. */
int capi_check_wait(int64_t timeout_ns, unsigned flags);
/* A wait of this thread for the handle's object, to the end of a timeout, which was checked. */
il_wait capi_wait(const capi_handle *handle, int64_t timeout_ns);
/* It has come to its end, or is given up: nobody is to see it any more. */
static inline void capi_wait_end(const capi_handle *handle, il_wait *wait)
{
    if (wait->note != 0)
        il_wait_end(handle->space, wait);
}

/* What an engine function does with the object that a handle refers to. */
typedef int (*capi_operation)(capi_handle *handle, il_ref ref, il_wait *wait, void *argument);

/* Does it; looks the name up again when it has moved, and goes on after signals unless they may interrupt. `where` is what it was
 * done on. Failures are noted, but not those that `operation` alone can judge: IL_LAST and IL_BROKEN. */
int capi_perform(capi_handle *handle, capi_operation operation, void *argument, il_wait *wait, unsigned flags, il_ref *where);
/* The same for what takes no time but that of the engine's own locks. */
int capi_perform_quickly(capi_handle *handle, capi_operation operation, void *argument);

/* Where the handle's name is now, for questions and releases. IL_OK; IL_ABSENT: nowhere, so nobody has it; or a failure, noted. */
int capi_present(capi_handle *handle, il_ref *ref);
/* Gives back, by `give`, wherever the name is now; IL_NOT_HELD if it is nowhere. The code, noted if it is a failure. */
typedef int (*capi_giving)(capi_handle *handle, il_ref ref, unsigned flags);
int capi_give_back(capi_handle *handle, capi_giving give, unsigned flags);

/* This process's share of the object, found or made: IL_OK or a code of the engine. */
int capi_share(capi_handle *handle, il_ref ref, const il_wait *wait, il_share *share);

/* The share that was used last, if it is this process's; 0: none. */
static inline il_share capi_kept_share(capi_handle *handle)
{
    /* Acquire: pairs with the release in capi_share. */
    uint32_t slot = il_load_acquire(&handle->share_slot);
    return slot != 0 && slot == il_self(handle->space) ? il_load_relaxed(&handle->share) : 0;
}

static inline il_mutex *capi_mutex(capi_handle *handle, il_ref ref)
{
    return &il_ref_cell(handle->space, ref)->mutex;
}

/* --- hold.c: what can be asked of a lock --- */

int capi_fence(capi_handle *handle, uint64_t *fence);
int capi_owner(capi_handle *handle, interlock_owner *owner);
int capi_recovered(capi_handle *handle, interlock_owner *dead);
/* Who died holding it last; NULL: nobody asks. */
void capi_dead_owner(capi_handle *handle, il_ref ref, interlock_owner *dead);

/* --- rwlock.c --- */

/* In a forked child, which reads nothing. */
void capi_forget_reads(void);

#pragma GCC visibility pop

#endif
