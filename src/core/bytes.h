#ifndef PC_CORE_BYTES_H
#define PC_CORE_BYTES_H
#include <stdint.h>
#include <string.h>

/* Unaligned numbers of either byte order, out of memory the caller has bounds-checked. */
static inline uint16_t pc_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t pc_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t pc_le64(const uint8_t *p)
{
    return pc_le32(p) | (uint64_t)pc_le32(p + 4) << 32;
}
static inline uint16_t pc_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t pc_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}
static inline uint64_t pc_be64(const uint8_t *p)
{
    return (uint64_t)pc_be32(p) << 32 | pc_be32(p + 4);
}
/*
 * A number for these bytes, for telling equal from other content fast: not secret, and who wants to can collide. Never
 * 0.
 */
static inline uint64_t pc_bytes_hash(const uint8_t *p, uint32_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15ULL ^ n;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        h = (h ^ x) * 0xff51afd7ed558ccdULL;
        h ^= h >> 32;
    }
    for (; n; n--, p++)
        h = (h ^ *p) * 0x100000001b3ULL;
    return h ? h : 1;
}
#endif
