/* SipHash-1-3 of a name under a space's key (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): keyed, so
 * that names cannot be chosen to share a bucket. */
#ifndef IL_HASH_H
#define IL_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t il__rotl(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

#define IL_SIPROUND                                                                                                    \
    do {                                                                                                               \
        v0 += v1, v1 = il__rotl(v1, 13), v1 ^= v0, v0 = il__rotl(v0, 32);                                              \
        v2 += v3, v3 = il__rotl(v3, 16), v3 ^= v2;                                                                     \
        v0 += v3, v3 = il__rotl(v3, 21), v3 ^= v0;                                                                     \
        v2 += v1, v1 = il__rotl(v1, 17), v1 ^= v2, v2 = il__rotl(v2, 32);                                              \
    } while (0)

static inline uint64_t il__hash(const uint64_t key[2], const char *bytes, size_t length)
{
    uint64_t v0 = key[0] ^ 0x736f6d6570736575u, v1 = key[1] ^ 0x646f72616e646f6du;
    uint64_t v2 = key[0] ^ 0x6c7967656e657261u, v3 = key[1] ^ 0x7465646279746573u;
    uint64_t last = (uint64_t)length << 56, word;
    size_t whole = length & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        memcpy(&word, bytes + i, 8);
        v3 ^= word;
        IL_SIPROUND;
        v0 ^= word;
    }
    for (size_t i = whole; i < length; i++)
        last |= (uint64_t)(unsigned char)bytes[i] << (8 * (i - whole));
    v3 ^= last;
    IL_SIPROUND;
    v0 ^= last;
    v2 ^= 0xff;
    IL_SIPROUND;
    IL_SIPROUND;
    IL_SIPROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}

#endif
