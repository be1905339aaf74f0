/* A space's file that somebody truncates turns every access behind its new end into SIGBUS. That must not kill the
 * program: the handler puts a page of zeros there and marks the space as wiped. A word of zeros matches no generation, so
 * the operation takes the long way, finds the mark and reports IL_WIPED.
 *
 * The list of ranges is the engine's only global: a signal handler has nothing else to look at. Faults elsewhere go to
 * whoever handled SIGBUS before. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "il_internal.h"

enum { WATCHED_MAX = 1024 };

static struct {
    _Atomic(uintptr_t) base; /* 0: unused. Stored last, cleared first */
    _Atomic(size_t) length;
    _Atomic(il_u32 *) wiped;
} watched[WATCHED_MAX];

static pthread_mutex_t registering = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before;
static bool installed;
static size_t page;

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    /* Sent, and not a fault: then si_addr is no address. faulthandler, when enabled after us, reports a fault, hands back to us
     * and raises the signal once more; the instruction will fault again, and then it is ours to handle. */
    bool fault = info->si_code > 0;
    if (!fault && info->si_code == SI_TKILL && info->si_pid == getpid() && before.sa_handler == SIG_DFL)
        return;
    uintptr_t address = (uintptr_t)info->si_addr;
    for (int i = 0; fault && i < WATCHED_MAX; i++) {
        uintptr_t base = atomic_load_explicit(&watched[i].base, memory_order_acquire);
        if (base == 0 || address < base || address >= base + atomic_load_explicit(&watched[i].length, memory_order_relaxed))
            continue;
        int saved = errno;
        /* First: whoever sees the page of zeros must find the mark. */
        il_store_relaxed(atomic_load_explicit(&watched[i].wiped, memory_order_relaxed), 1);
        void *at = (void *)(address & ~(uintptr_t)(page - 1));
        if (mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at) {
            errno = saved;
            return;
        }
    }
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(signal, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(signal);
    } else {
        /* Not ours and nobody's: die of it as if we were not here, by the same fault or once more by the same signal. */
        sigaction(signal, &before, NULL);
        if (!fault)
            raise(signal);
    }
}

int il__truncation_watch(void *base, size_t length, il_u32 *wiped)
{
    int code = IL_SYSTEM;
    pthread_mutex_lock(&registering);
    if (!installed) {
        struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
        page = (size_t)sysconf(_SC_PAGESIZE);
        installed = sigaction(SIGBUS, &action, &before) == 0;
    }
    for (int i = 0; installed && i < WATCHED_MAX; i++) {
        if (atomic_load_explicit(&watched[i].base, memory_order_relaxed) != 0)
            continue;
        atomic_store_explicit(&watched[i].length, length, memory_order_relaxed);
        atomic_store_explicit(&watched[i].wiped, wiped, memory_order_relaxed);
        atomic_store_explicit(&watched[i].base, (uintptr_t)base, memory_order_release);
        code = IL_OK;
        break;
    }
    pthread_mutex_unlock(&registering);
    return code;
}

void il__truncation_unwatch(void *base)
{
    pthread_mutex_lock(&registering);
    for (int i = 0; i < WATCHED_MAX; i++) {
        if (atomic_load_explicit(&watched[i].base, memory_order_relaxed) == (uintptr_t)base)
            atomic_store_explicit(&watched[i].base, 0, memory_order_relaxed);
    }
    pthread_mutex_unlock(&registering);
}
