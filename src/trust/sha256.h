#ifndef PC_TRUST_SHA256_H
#define PC_TRUST_SHA256_H
#include <stddef.h>
#include <stdint.h>

#define PC_HASH_LEN 32

/* A run of bytes that somebody else owns. data may be NULL when len is 0. */
struct pc_bytes {
    const void *data;
    size_t len;
};

/* SHA-256 (FIPS 180-4) of the n parts, one after the other, as if they were one. Cannot fail. out may overlap no part.
 */
void pc_sha256(const struct pc_bytes *parts, size_t n, uint8_t out[PC_HASH_LEN]);
#endif
