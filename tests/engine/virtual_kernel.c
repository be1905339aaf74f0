/* What the kernel does between virtual processes, for the race detector: linked in front of the engine by --wrap. */
#include "il_engine.h"
#include "il_platform.h"

/* What the kernel promises and the race detector cannot know: whoever gets a byte lock comes after whoever let go of it. */
static il_u32 kernel;

void __real_il_unpin(void *pin);
void __wrap_il_unpin(void *pin);
int __real_il_byte_lock(int fd, uint64_t k);
int __wrap_il_byte_lock(int fd, uint64_t k);

void __wrap_il_unpin(void *pin)
{
    atomic_fetch_add_explicit(&kernel, 1, memory_order_release);
    __real_il_unpin(pin);
}

int __wrap_il_byte_lock(int fd, uint64_t k)
{
    int failed = __real_il_byte_lock(fd, k);
    if (failed == 0)
        (void)il_load_acquire(&kernel);
    return failed;
}
