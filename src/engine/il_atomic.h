/* Atomic operations whose names say their order. There are no bare atomics elsewhere in the engine.
 *
 * A compare-and-swap takes the expected value by pointer and, when it fails, leaves there what it found. */
#ifndef IL_ATOMIC_H
#define IL_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic(uint64_t) il_u64;
typedef _Atomic(uint32_t) il_u32;
typedef _Atomic(uint8_t) il_u8;

_Static_assert(sizeof(il_u64) == 8 && sizeof(il_u32) == 4 && sizeof(il_u8) == 1, "atomics must be plain words");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "atomics must work between processes");

#define il_load_relaxed(p) atomic_load_explicit((p), memory_order_relaxed)
#define il_load_acquire(p) atomic_load_explicit((p), memory_order_acquire)
#define il_store_relaxed(p, v) atomic_store_explicit((p), (v), memory_order_relaxed)
#define il_store_release(p, v) atomic_store_explicit((p), (v), memory_order_release)
#define il_store_seq_cst(p, v) atomic_store_explicit((p), (v), memory_order_seq_cst)
#define il_load_seq_cst(p) atomic_load_explicit((p), memory_order_seq_cst)
/* Orders a store before it against a load after it, as nothing weaker does. */
#define il_fence() atomic_thread_fence(memory_order_seq_cst)
#define il_add_relaxed(p, v) atomic_fetch_add_explicit((p), (v), memory_order_relaxed)
#define il_add_release(p, v) atomic_fetch_add_explicit((p), (v), memory_order_release)

static inline bool il_cas_relaxed(il_u64 *p, uint64_t *expected, uint64_t desired)
{
    return atomic_compare_exchange_strong_explicit(p, expected, desired, memory_order_relaxed, memory_order_relaxed);
}

static inline bool il_cas_acquire(il_u64 *p, uint64_t *expected, uint64_t desired)
{
    return atomic_compare_exchange_strong_explicit(p, expected, desired, memory_order_acquire, memory_order_relaxed);
}

static inline bool il_cas_release(il_u64 *p, uint64_t *expected, uint64_t desired)
{
    return atomic_compare_exchange_strong_explicit(p, expected, desired, memory_order_release, memory_order_relaxed);
}

static inline bool il_cas_seq_cst(il_u64 *p, uint64_t *expected, uint64_t desired)
{
    return atomic_compare_exchange_strong_explicit(p, expected, desired, memory_order_seq_cst, memory_order_relaxed);
}

static inline bool il_cas32_relaxed(il_u32 *p, uint32_t *expected, uint32_t desired)
{
    return atomic_compare_exchange_strong_explicit(p, expected, desired, memory_order_relaxed, memory_order_relaxed);
}

static inline bool il_cas32_acquire(il_u32 *p, uint32_t *expected, uint32_t desired)
{
    return atomic_compare_exchange_strong_explicit(p, expected, desired, memory_order_acquire, memory_order_relaxed);
}

static inline bool il_cas32_release(il_u32 *p, uint32_t *expected, uint32_t desired)
{
    return atomic_compare_exchange_strong_explicit(p, expected, desired, memory_order_release, memory_order_relaxed);
}

#endif
