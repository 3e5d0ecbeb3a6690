#ifndef PC_CORE_HIST_H
#define PC_CORE_HIST_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Byte histogram and the questions asked of it. Plain memory; start from {0}. */
struct pc_hist {
    uint32_t n;
    uint32_t c[256];
};
/* Fewer bytes than this say nothing about their order. */
#define PC_HIST_MIN 32

void pc_hist_add(struct pc_hist *h, const uint8_t *p, size_t n);
void pc_hist_merge(struct pc_hist *into, const struct pc_hist *from);
/*
 * Bytes look drawn evenly from all 256 values: ciphertext, but good compressors' output as well. Works from 32 bytes
 * up: the chi-square of random bytes is 255 +- 23 whatever their number, while text of 32 bytes already has over 500.
 */
bool pc_hist_random(const struct pc_hist *h);
/* Printable bytes drawn evenly from 16 to 94 signs (hex, base32, base64, ascii85): encoded randomness. */
bool pc_hist_encoded(const struct pc_hist *h);
/* All bytes are the same value. False when there are none. */
bool pc_bytes_constant(const uint8_t *p, size_t n);
#endif
