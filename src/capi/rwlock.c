/* RWLock: many readers or one writer.
 *
 * Each thread notes what it reads, so that it may read again past a waiting writer, and is refused, instead of waiting for itself,
 * when it asks to write. The note is a hint: another thread may release what this one took. */
#include "capi.h"

typedef struct reading {
    struct reading *next;
    il_space *space;
    il_ref ref;
    il_share share;
    uint32_t count; /* 0: the note is to be used again */
} reading;

static _Thread_local reading *readings;
static pthread_key_t readings_key;
static pthread_once_t readings_once = PTHREAD_ONCE_INIT;

static void free_readings(void *first)
{
    for (reading *at = first, *next; at != NULL; at = next) {
        next = at->next;
        free(at);
    }
    readings = NULL;
}

static void make_readings_key(void)
{
    pthread_key_create(&readings_key, free_readings);
}

void capi_forget_reads(void)
{
    for (reading *at = readings; at != NULL; at = at->next)
        at->count = 0;
}

/* This thread's note of what it reads; NULL: none. */
static reading *find(const il_space *space, il_ref ref)
{
    reading *at = readings;
    while (at != NULL && (at->count == 0 || at->ref != ref || at->space != space))
        at = at->next;
    return at;
}

/* A note to use, made before the lock is taken, so that nothing can fail afterwards. NULL with the failure noted. */
static reading *spare(void)
{
    reading *at = readings;
    while (at != NULL && at->count != 0)
        at = at->next;
    if (at != NULL)
        return at;
    pthread_once(&readings_once, make_readings_key);
    at = calloc(1, sizeof *at);
    if (at == NULL) {
        capi_fail(INTERLOCK_NO_MEMORY, NULL);
        return NULL;
    }
    at->next = readings;
    readings = at;
    pthread_setspecific(readings_key, readings);
    return at;
}

static void note(reading *unused, il_space *space, il_ref ref, il_share share)
{
    reading *at = find(space, ref);
    if (at == NULL) {
        at = unused;
        at->space = space;
        at->ref = ref;
    }
    at->share = share;
    at->count++;
}

/* Whether this thread reads. If another one released what this one took, the note goes when nobody in this process reads. */
static bool reads_here(const capi_handle *handle, il_ref ref)
{
    reading *at = find(handle->space, ref);
    uint64_t count = at != NULL ? il_load_relaxed(il_share_count(handle->space, at->share)) : 0;
    if (at != NULL && ((uint32_t)count == 0 || count >> 32 != at->share >> 32))
        at->count = 0;
    return at != NULL && at->count != 0;
}

/* Whether this process writes. */
static bool writes(capi_handle *handle, il_ref ref)
{
    il_mutex *mutex = capi_mutex(handle, ref);
    uint32_t slot = il_self(handle->space);
    return slot != 0 && (il_load_relaxed(&mutex->word) & (IL_GENERATION | IL_OWNER)) == (il_ref_key(ref) | slot) &&
           il_load_relaxed(&mutex->depth) != 0;
}

static bool writes_here(capi_handle *handle, il_ref ref)
{
    return writes(handle, ref) && il_load_relaxed(&capi_mutex(handle, ref)->holder) == capi_token();
}

int interlock_rwlock_open(interlock_space *space, const char *name, interlock_rwlock **lock)
{
    int code;
    *lock = (interlock_rwlock *)capi_open(space, name, IL_KIND_RWLOCK, 0, &code);
    return code;
}

void interlock_rwlock_close(interlock_rwlock *lock)
{
    capi_close((capi_handle *)lock);
}

/* --- reading --- */

static int read_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    il_share share;
    (void)unused;
    int code = capi_share(handle, ref, wait, &share);
    return code == IL_OK ? il_rwlock_read(handle->space, ref, share, capi_token(), reads_here(handle, ref), wait) : code;
}

int interlock_rwlock_read(interlock_rwlock *lock, int64_t timeout_ns, unsigned flags)
{
    capi_handle *handle = &lock->handle;
    int code = capi_check_wait(timeout_ns, flags);
    if (code != INTERLOCK_OK)
        return code;
    reading *unused = spare();
    if (unused == NULL)
        return INTERLOCK_NO_MEMORY;
    il_ref ref = il_load_relaxed(&handle->ref);
    il_share share = capi_kept_share(handle);
    if (share == 0 || !il_rwlock_read_fast(handle->space, il_ref_cell(handle->space, ref), il_ref_key(ref), share)) {
        if (writes_here(handle, ref))
            return capi_fail_on(handle, IL_DEADLOCK);
        il_wait wait = capi_wait(handle, timeout_ns);
        code = capi_perform(handle, read_once, NULL, &wait, flags, &ref);
        if (code != IL_OK)
            return code;
        share = capi_kept_share(handle);
    }
    note(unused, handle->space, ref, share);
    return INTERLOCK_OK;
}

int interlock_rwlock_end_read(interlock_rwlock *lock)
{
    capi_handle *handle = &lock->handle;
    il_space *space = handle->space;
    il_share share;
    il_ref ref;
    int code = capi_present(handle, &ref);
    if (code == IL_OK)
        code = capi_share(handle, ref, NULL, &share);
    if (code == IL_OK && !il_rwlock_leave(space, il_ref_cell(space, ref), il_share_count(space, share), share))
        code = il_load_relaxed(&space->wiped) ? IL_WIPED : IL_NOT_HELD;
    if (code != IL_OK)
        return capi_fail_on(handle, code == IL_ABSENT || code == IL_STALE ? IL_NOT_HELD : code);
    reading *at = find(space, ref);
    if (at != NULL)
        at->count--;
    return INTERLOCK_OK;
}

/* --- writing --- */

static int gate_once(capi_handle *handle, il_ref ref, il_wait *wait, void *unused)
{
    (void)unused;
    return il_mutex_lock(handle->space, capi_mutex(handle, ref), il_ref_key(ref), capi_token(), wait);
}

/* Waits until the readers have left. Held: the gate, which is let go of again if it is not to be. */
static int drain(capi_handle *handle, il_ref ref, il_wait *wait, unsigned flags)
{
    int code;
    wait->wanted = ref;
    do
        code = il_rwlock_drain(handle->space, ref, wait);
    while (code == IL_INTERRUPTED && !(flags & INTERLOCK_INTERRUPTIBLE));
    capi_wait_end(handle, wait);
    if (code != IL_OK)
        il_rwlock_undo(handle->space, ref, wait);
    return capi_fail_on(handle, code);
}

int interlock_rwlock_write(interlock_rwlock *lock, int64_t timeout_ns, unsigned flags)
{
    capi_handle *handle = &lock->handle;
    int code = capi_check_wait(timeout_ns, flags);
    if (code != INTERLOCK_OK)
        return code;
    il_ref ref = il_load_relaxed(&handle->ref);
    if (reads_here(handle, ref) || writes_here(handle, ref))
        return capi_fail_on(handle, IL_DEADLOCK);
    bool gate = il_rwlock_gate_fast(capi_mutex(handle, ref), il_ref_key(ref), il_self(handle->space), capi_token());
    if (gate && il_rwlock_is_drained(handle->space, ref))
        return INTERLOCK_OK;
    il_wait wait = capi_wait(handle, timeout_ns);
    if (!gate)
        code = capi_perform(handle, gate_once, NULL, &wait, flags, &ref);
    return code == IL_OK ? drain(handle, ref, &wait, flags) : code;
}

static int end_write(capi_handle *handle, il_ref ref, unsigned flags)
{
    return il_rwlock_write_unlock(handle->space, ref, flags);
}

int interlock_rwlock_end_write(interlock_rwlock *lock)
{
    capi_handle *handle = &lock->handle;
    il_ref ref = il_load_relaxed(&handle->ref);
    if (il_rwlock_write_unlock_fast(capi_mutex(handle, ref), il_ref_key(ref), il_self(handle->space)))
        return INTERLOCK_OK;
    return capi_give_back(handle, end_write, 0);
}

int interlock_rwlock_end_write_unrepaired(interlock_rwlock *lock)
{
    return capi_give_back(&lock->handle, end_write, IL_UNLOCK_KEEP_ORPHAN);
}

int interlock_rwlock_downgrade(interlock_rwlock *lock)
{
    capi_handle *handle = &lock->handle;
    il_share share = 0;
    il_ref ref;
    reading *unused = spare();
    if (unused == NULL)
        return INTERLOCK_NO_MEMORY;
    int code = capi_present(handle, &ref);
    if (code == IL_OK)
        code = writes(handle, ref) ? capi_share(handle, ref, NULL, &share) : IL_NOT_HELD;
    if (code == IL_OK)
        code = il_rwlock_downgrade(handle->space, ref, share);
    if (code != IL_OK)
        return capi_fail_on(handle, code == IL_ABSENT ? IL_NOT_HELD : code);
    note(unused, handle->space, ref, share);
    return INTERLOCK_OK;
}

/* --- asking --- */

int interlock_rwlock_recovered(interlock_rwlock *lock, interlock_owner *dead)
{
    capi_handle *handle = &lock->handle;
    il_ref ref;
    int code = capi_present(handle, &ref);
    if (code != IL_OK)
        return code == IL_ABSENT ? 0 : code;
    il_share share = capi_kept_share(handle);
    bool reads = share != 0 && (uint32_t)il_load_relaxed(il_share_count(handle->space, share)) != 0;
    if (!(reads || writes(handle, ref)) || !(il_load_relaxed(&capi_mutex(handle, ref)->word) & IL_ORPHAN))
        return 0;
    capi_dead_owner(handle, ref, dead);
    return 1;
}

int interlock_rwlock_writer(interlock_rwlock *lock, interlock_owner *owner)
{
    capi_handle *handle = &lock->handle;
    il_ref ref;
    int code = capi_present(handle, &ref);
    if (code != IL_OK)
        return code == IL_ABSENT ? 0 : code;
    /* The gate may be a reader's, or of a writer that still waits. */
    return il_load_relaxed(&capi_mutex(handle, ref)->depth) != 0 ? capi_owner(handle, owner) : 0;
}

int interlock_rwlock_readers(interlock_rwlock *lock, uint64_t *readers)
{
    capi_handle *handle = &lock->handle;
    il_ref ref;
    int code = capi_present(handle, &ref);
    if (code != IL_OK && code != IL_ABSENT)
        return code;
    *readers = code == IL_OK ? il_rwlock_readers(handle->space, ref) : 0;
    return INTERLOCK_OK;
}

int interlock_rwlock_fence(interlock_rwlock *lock, uint64_t *fence)
{
    return capi_fence(&lock->handle, fence);
}
