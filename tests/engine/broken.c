/* Broken engines: functions of the engine whose calls across files come here instead, by the linker's --wrap. Which of them,
 * and what they do, says BREAK; see the Makefile. */
#include <string.h>

#include "il_internal.h"

#define BROKEN(name) (strcmp(BREAK, name) == 0)

#ifdef BREAK_il_slot_alive
int __wrap_il_slot_alive(il_space *space, uint32_t k);
int __wrap_il_slot_alive(il_space *space, uint32_t k)
{
    (void)space;
    (void)k;
    return BROKEN("alive"); /* else: everybody is dead */
}
#endif

#ifdef BREAK_il_reap
int __wrap_il_reap(il_space *space, uint32_t k);
int __wrap_il_reap(il_space *space, uint32_t k)
{
    il__table_sweep(space, k); /* without asking for the byte */
    return IL_OK;
}
#endif

#ifdef BREAK_il__table_sweep
void __wrap_il__table_sweep(il_space *space, uint32_t k);
void __wrap_il__table_sweep(il_space *space, uint32_t k)
{
    (void)space;
    (void)k;
}
#endif

#ifdef BREAK_il__mutex_orphan
void __real_il__mutex_orphan(il_space *space, il_mutex *mutex, uint32_t k, bool mark);
void __wrap_il__mutex_orphan(il_space *space, il_mutex *mutex, uint32_t k, bool mark);
void __wrap_il__mutex_orphan(il_space *space, il_mutex *mutex, uint32_t k, bool mark)
{
    (void)mark;
    __real_il__mutex_orphan(space, mutex, k, false);
}
#endif

#ifdef BREAK_il__share_sweep
void __wrap_il__share_sweep(il_space *space, il_record *record, uint64_t count);
void __wrap_il__share_sweep(il_space *space, il_record *record, uint64_t count)
{
    (void)space;
    (void)record;
    (void)count;
}
#endif

#ifdef BREAK_il__records_sweep
void __wrap_il__records_sweep(il_space *space, uint32_t k);
void __wrap_il__records_sweep(il_space *space, uint32_t k)
{
    (void)space;
    (void)k;
}
#endif

#ifdef BREAK_il__record_lives
bool __wrap_il__record_lives(il_space *space, il_record *record);
bool __wrap_il__record_lives(il_space *space, il_record *record)
{
    (void)space;
    (void)record;
    return true;
}
#endif
