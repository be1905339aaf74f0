/* Virtual processes: every one has an il_process and a view of its own on one mapping, and consists of two threads. To be run
 * under ThreadSanitizer: what the locks guard is plain memory, so an acquisition that does not happen after the release
 * before it is a reported race, and so is any word of the engine's own that is not written as its guard says.
 *
 * A virtual process dies by letting go of its byte lock while it holds whatever it holds: its threads stop, nothing is
 * unlocked. The others have to find out, free what it left, and tell it by the orphan mark. */
#include <pthread.h>
#include <sys/mman.h>

#include "check.h"

enum {
    LANES = 5,          /* virtual processes at a time */
    LIVES = 200,        /* that follow each other in one lane */
    TURNS = 300,        /* of each thread of a life */
    SHARED = 4,         /* names that all fight for: even ones are mutexes, odd ones re-entrant */
    STORM_NAMES = 60000, /* names that are looked up at random, more than the table keeps */
    STORM_START = 45000, /* of these are bound before, so that storms evict */
    HOT_NAMES = 48,     /* the first of them, which are drawn more often and by references that may be stale */
};

static il_space *base;

/* Guarded by the shared name's lock. Plain on purpose. */
static struct {
    uint64_t count;
    uint64_t fence;
    bool left; /* its last owner died */
} guarded[SHARED];
static uint64_t storm_count[STORM_NAMES]; /* guarded by the storm name's lock, plain too */
static uint64_t storm_fence[STORM_NAMES];

/* What they must add up to. Relaxed, so as to order nothing. */
static il_u64 tally[SHARED], storm_tally[STORM_NAMES], deaths, orphans, timeouts, stales;

typedef struct {
    il_space *space;
    uint64_t token;  /* this thread's, never 0 */
    uint64_t random;
    il_ref hot[HOT_NAMES];
    bool die;        /* stop while holding something */
    il_u32 *dying;   /* one of this process's threads has stopped: stop too, and wait for nothing that it may hold */
} actor;

static uint32_t draw(actor *self, uint32_t below)
{
    self->random ^= self->random << 13;
    self->random ^= self->random >> 7;
    self->random ^= self->random << 17;
    return (uint32_t)(self->random >> 32) % below;
}

static void resolve(actor *self, const char *name, uint8_t kind, il_ref *ref)
{
    uint8_t found;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    CHECK_CODE(il_table_resolve(self->space, name, strlen(name), kind, 0, &wait, ref, &found), IL_OK);
}

static uint64_t some_deadline(actor *self)
{
    switch (draw(self, 4)) {
    case 0: return IL_NOW;
    case 1: return il_clock_ns() + draw(self, 3000000);
    default: return self->dying != NULL ? il_clock_ns() + 20 * MS : IL_FOREVER;
    }
}

/* Takes the lock that *ref refers to, or its name when that is nothing or stale. False: not in time. */
static bool take(actor *self, const char *name, uint8_t kind, il_ref *ref, il_wait *wait)
{
    for (;;) {
        if (*ref == 0)
            resolve(self, name, kind, ref);
        il_cell *cell = il_ref_cell(self->space, *ref);
        int code;
        if (kind == IL_KIND_RLOCK)
            code = il_rlock_lock(self->space, &cell->mutex, il_ref_key(*ref), self->token, wait);
        else if (il_mutex_try_fast(&cell->mutex, il_ref_key(*ref), il_self(self->space), self->token))
            code = IL_OK;
        else
            code = il_mutex_lock(self->space, &cell->mutex, il_ref_key(*ref), self->token, wait);
        if (code == IL_OK)
            return true;
        if (code == IL_STALE) {
            il_add_relaxed(&stales, 1);
            *ref = 0;
            *wait = (il_wait){.deadline_ns = wait->deadline_ns};
            continue;
        }
        CHECK(code == IL_BUSY || code == IL_TIMEDOUT);
        il_add_relaxed(&timeouts, 1);
        return false;
    }
}

static void give_back(actor *self, uint8_t kind, il_ref ref)
{
    il_mutex *mutex = &il_ref_cell(self->space, ref)->mutex;
    if (kind == IL_KIND_RLOCK)
        CHECK_CODE(il_rlock_unlock(self->space, mutex, il_ref_key(ref), self->token, 0), IL_OK);
    else if (!il_mutex_unlock_fast(mutex, il_ref_key(ref), il_self(self->space)))
        CHECK_CODE(il_mutex_unlock(self->space, mutex, il_ref_key(ref), 0), IL_OK);
}

/* One acquisition of a shared name. True: died holding it. */
static bool shared_turn(actor *self, bool die)
{
    uint32_t i = draw(self, SHARED);
    uint8_t kind = i & 1 ? IL_KIND_RLOCK : IL_KIND_LOCK;
    char name[16];
    il_ref ref = 0;
    il_wait wait = {.deadline_ns = some_deadline(self)};
    snprintf(name, sizeof name, "shared%u", i);
    if (!take(self, name, kind, &ref, &wait))
        return false;
    il_mutex *mutex = &il_ref_cell(self->space, ref)->mutex;
    uint64_t fence = il_load_relaxed(&mutex->fence);
    CHECK(fence > guarded[i].fence);
    guarded[i].fence = fence;
    CHECK(wait.orphan == guarded[i].left);
    if (wait.orphan)
        il_add_relaxed(&orphans, 1);
    guarded[i].left = false;
    uint32_t depth = 1;
    for (; kind == IL_KIND_RLOCK && depth < 3 && draw(self, 2); depth++)
        CHECK_CODE(il_rlock_lock(self->space, mutex, il_ref_key(ref), self->token, &wait), IL_OK);
    guarded[i].count++;
    il_add_relaxed(&tally[i], 1);
    CHECK(il_load_relaxed(&mutex->fence) == fence);
    if (die) {
        guarded[i].left = true;
        return true;
    }
    while (depth-- > 0)
        give_back(self, kind, ref);
    return false;
}

static void storm_turn(actor *self)
{
    bool hot = draw(self, 2);
    uint32_t i = draw(self, hot ? HOT_NAMES : STORM_NAMES);
    char name[16];
    il_ref ref = hot ? self->hot[i] : 0;
    il_wait wait = {.deadline_ns = IL_FOREVER};
    snprintf(name, sizeof name, "storm%u", i);
    if (draw(self, 16) == 0) {
        int code = il_table_unlink(self->space, name, strlen(name), &wait);
        CHECK(code == IL_OK || code == IL_ABSENT || code == IL_BUSY);
        return;
    }
    CHECK(take(self, name, IL_KIND_LOCK, &ref, &wait) && !wait.orphan);
    uint64_t fence = il_load_relaxed(&il_ref_cell(self->space, ref)->mutex.fence);
    CHECK(fence > storm_fence[i]);
    storm_fence[i] = fence;
    storm_count[i]++;
    il_add_relaxed(&storm_tally[i], 1);
    give_back(self, IL_KIND_LOCK, ref);
    if (hot)
        self->hot[i] = ref;
}

static void *live(void *argument)
{
    actor *self = argument;
    for (int turn = 0; turn < TURNS && !(self->dying != NULL && il_load_relaxed(self->dying)); turn++) {
        shared_turn(self, false);
        storm_turn(self);
    }
    while (self->die && !shared_turn(self, true)) {
    }
    if (self->die)
        il_store_relaxed(self->dying, 1);
    return NULL;
}

static void *lane(void *argument)
{
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    for (uint64_t life = 0; life < LIVES; life++) {
        il_process process;
        il_space *space;
        pthread_t thread;
        il_process_init(&process);
        CHECK_CODE(il_space_view(&process, base, &space), IL_OK);
        bool violent = life % 3 != 2;
        il_u32 stopped = 0, *dying = violent ? &stopped : NULL;
        actor first = {.space = space, .token = seed << 32 | life << 1 | 1, .random = seed * 977 + life * 31 + 1,
                       .die = violent, .dying = dying},
              second = {.space = space, .token = seed << 32 | life << 1 | 1 << 20, .random = seed * 389 + life * 97 + 1,
                        .die = life % 3 == 1, .dying = dying};
        CHECK(pthread_create(&thread, NULL, live, &second) == 0);
        live(&first);
        CHECK(pthread_join(thread, NULL) == 0);
        if (violent)
            il_add_relaxed(&deaths, 1);
        il_space_close(space);
        pthread_mutex_destroy(&process.fork_mutex);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    check_begin(argc, argv, 120);
    il_process process;
    il_process_init(&process);
    char *path = check_path("virtual");
    il_error error;
    CHECK_CODE(il_space_open(&process, path, &(il_options){.slots = 2 * LANES}, &base, &error), IL_OK);

    actor self = {.space = base, .token = 1, .random = 1};
    char name[16];
    il_ref ref;
    for (uint32_t i = 0; i < STORM_START; i++) {
        snprintf(name, sizeof name, "storm%u", i);
        resolve(&self, name, IL_KIND_LOCK, &ref);
    }
    CHECK(il_load_relaxed(&base->header->levels) == IL_SOFT_LEVELS);

    pthread_t lanes[LANES];
    for (uintptr_t i = 0; i < LANES; i++)
        CHECK(pthread_create(&lanes[i], NULL, lane, (void *)(i + 1)) == 0);
    for (int i = 0; i < LANES; i++)
        CHECK(pthread_join(lanes[i], NULL) == 0);

    uint64_t total = 0;
    for (uint32_t i = 0; i < SHARED; i++) {
        CHECK(guarded[i].count == il_load_relaxed(&tally[i]) && guarded[i].count > 0);
        total += guarded[i].count;
    }
    for (uint32_t i = 0; i < STORM_NAMES; i++) {
        CHECK(storm_count[i] == il_load_relaxed(&storm_tally[i]));
        total += storm_count[i];
    }
    CHECK(il_load_relaxed(&orphans) > 0 && il_load_relaxed(&timeouts) > 0);
    printf("ok %llu acquisitions, %llu deaths, %llu orphans taken over, %llu not in time, %llu stale\n",
           (unsigned long long)total, (unsigned long long)il_load_relaxed(&deaths),
           (unsigned long long)il_load_relaxed(&orphans), (unsigned long long)il_load_relaxed(&timeouts),
           (unsigned long long)il_load_relaxed(&stales));
    il_space_close(base);
    unlink(path);
    free(path);
    check_clean();
    return 0;
}
