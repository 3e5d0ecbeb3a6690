/* Owns how names and keys follow from seed and number. Holds nothing. */
#include "identity.h"

#include "trust/envelope.h"
#include "trust/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

static void derive(const char *seed, uint32_t number, const char *purpose, uint8_t out[32])
{
    char text[32];
    int n = snprintf(text, sizeof text, "%s %u ", purpose, number);
    const struct pc_bytes parts[] = {{"portcullis fleet-sim ", 21}, {text, (size_t)n}, {seed, strlen(seed)}};
    pc_sha256(parts, 3, out);
}

static int public_key(const uint8_t seed[32], uint8_t out[32])
{
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    size_t len = 32;
    int ok = k && EVP_PKEY_get_raw_public_key(k, out, &len) == 1;
    EVP_PKEY_free(k);
    return ok ? 0 : -EIO;
}

int sim_identity_make(const char *seed, uint32_t number, struct sim_identity *out)
{
    struct sim_identity i;
    derive(seed, number, "identity", i.seed);
    derive(seed, number, "link", i.link_seed);
    int ret = public_key(i.seed, i.key);
    if (ret == 0)
        ret = public_key(i.link_seed, i.link_key);
    if (ret < 0)
        return ret;
    snprintf(i.ref.name, sizeof i.ref.name, "sim-%06u", number);
    pc_host_id(i.key, i.ref.id);
    *out = i;
    return 0;
}
