#ifndef PC_CORE_BYTES_H
#define PC_CORE_BYTES_H
#include <stdint.h>

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
#endif
