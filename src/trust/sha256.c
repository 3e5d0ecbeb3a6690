/*
 * Owns the one call into OpenSSL's SHA-256. Everything else in trust hashes through pc_sha256.
 *
 * It uses the SHA256_* functions and not EVP_Digest: those allocate and look the algorithm up on every call, so they
 * can fail, and a hash of a log entry that "failed" has no safe value. These work on memory of ours and cannot fail.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "trust/sha256.h"

#include <openssl/sha.h>

void pc_sha256(const struct pc_bytes *parts, size_t n, uint8_t out[PC_HASH_LEN])
{
    SHA256_CTX ctx;
    SHA256_Init(&ctx);
    for (size_t i = 0; i < n; i++)
        if (parts[i].len > 0)
            SHA256_Update(&ctx, parts[i].data, parts[i].len);
    SHA256_Final(out, &ctx);
}
