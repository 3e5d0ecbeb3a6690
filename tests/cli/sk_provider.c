/*
 * A security key in software, as a middleware that ssh-keygen and ssh-agent load ($SSH_SK_PROVIDER, -w, ssh-add -S): so that tests sign with the hardware keys
 * that owners have. Written from OpenSSH's description of that interface (PROTOCOL.u2f, and the version 10 ABI of OpenSSH 8.9 and later). The key handle is
 * the private seed: it protects nothing. ecdsa and resident keys are not in it.
 *
 *   PC_SK_COUNTER    file that holds the number of signatures made so far; without it the counter is 0, as of keys that count nothing
 *   PC_SK_UNTOUCHED  when set, nobody touches it: it signs all the same, and says so in the flags, as a key that is broken or was tampered with
 *   PC_SK_ABSENT     when set, it is not plugged in
 */
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABI 0x000a0000u
#define ED25519 1
#define TOUCH 0x01
#define GENERAL (-1)
#define UNSUPPORTED (-2)
#define NO_DEVICE (-4)
#define EXPORT __attribute__((visibility("default")))

struct option;
struct enrolled {
    uint8_t flags;
    uint8_t *public_key;
    size_t public_key_len;
    uint8_t *key_handle;
    size_t key_handle_len;
    uint8_t *signature;
    size_t signature_len;
    uint8_t *certificate;
    size_t certificate_len;
    uint8_t *authdata;
    size_t authdata_len;
};
struct signed_ {
    uint8_t flags;
    uint32_t counter;
    uint8_t *r;
    size_t r_len;
    uint8_t *s;
    size_t s_len;
};
struct resident;

EXPORT uint32_t sk_api_version(void);
EXPORT int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags, const char *pin,
                     struct option **options, struct enrolled **out);
EXPORT int sk_sign(uint32_t alg, const uint8_t *data, size_t len, const char *application, const uint8_t *handle, size_t handle_len, uint8_t flags,
                   const char *pin, struct option **options, struct signed_ **out);
EXPORT int sk_load_resident_keys(const char *pin, struct option **options, struct resident ***keys, size_t *n);

uint32_t sk_api_version(void)
{
    return ABI;
}

static int check(uint32_t alg)
{
    return getenv("PC_SK_ABSENT") ? NO_DEVICE : alg != ED25519 ? UNSUPPORTED : 0;
}

/* What OpenSSH frees must be allocated one by one. */
static uint8_t *copy(const void *data, size_t len)
{
    uint8_t *p = malloc(len);
    return p ? memcpy(p, data, len) : NULL;
}

int sk_enroll(uint32_t alg, const uint8_t *challenge, size_t challenge_len, const char *application, uint8_t flags, const char *pin, struct option **options,
              struct enrolled **out)
{
    (void)challenge, (void)challenge_len, (void)application, (void)pin, (void)options;
    uint8_t seed[32], key[32], attested[64] = "nobody attests this key";
    size_t len = sizeof key;
    int r = check(alg);
    if (r < 0)
        return r;
    struct enrolled *e = calloc(1, sizeof *e);
    EVP_PKEY *pkey = RAND_bytes(seed, sizeof seed) == 1 ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed) : NULL;
    if (!e || !pkey || EVP_PKEY_get_raw_public_key(pkey, key, &len) != 1) {
        free(e);
        EVP_PKEY_free(pkey);
        return GENERAL;
    }
    EVP_PKEY_free(pkey);
    *e = (struct enrolled){.flags = flags, .public_key = copy(key, sizeof key), .public_key_len = sizeof key, .key_handle = copy(seed, sizeof seed),
                           .key_handle_len = sizeof seed, .signature = copy(attested, sizeof attested), .signature_len = sizeof attested};
    *out = e;
    return 0;
}

/* One more than the last time, over all processes that use it. */
static uint32_t count(void)
{
    const char *path = getenv("PC_SK_COUNTER");
    unsigned n = 0;
    FILE *f = path ? fopen(path, "r") : NULL;
    if (f) {
        (void)!fscanf(f, "%u", &n);
        fclose(f);
    }
    f = path ? fopen(path, "w") : NULL;
    if (!f)
        return 0;
    fprintf(f, "%u\n", n + 1);
    fclose(f);
    return n + 1;
}

/* SHA-256 of the application, flags, counter, SHA-256 of the message: what the key itself signs. */
static void to_be_signed(const char *application, const struct signed_ *s, const uint8_t *data, size_t len, uint8_t out[69])
{
    SHA256((const uint8_t *)application, strlen(application), out);
    out[32] = s->flags;
    for (int i = 0; i < 4; i++)
        out[33 + i] = (uint8_t)(s->counter >> (24 - 8 * i));
    SHA256(data, len, out + 37);
}

int sk_sign(uint32_t alg, const uint8_t *data, size_t len, const char *application, const uint8_t *handle, size_t handle_len, uint8_t flags, const char *pin,
            struct option **options, struct signed_ **out)
{
    (void)pin, (void)options;
    uint8_t text[69], made[64];
    size_t made_len = sizeof made;
    int r = check(alg);
    if (r < 0)
        return r;
    struct signed_ *s = calloc(1, sizeof *s);
    EVP_PKEY *pkey = handle_len == 32 ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, handle, handle_len) : NULL;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    r = s && pkey && ctx ? 0 : GENERAL;
    if (r == 0) {
        s->flags = getenv("PC_SK_UNTOUCHED") ? 0 : flags & TOUCH;
        s->counter = count();
        to_be_signed(application, s, data, len, text);
        if (EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) != 1 || EVP_DigestSign(ctx, made, &made_len, text, sizeof text) != 1)
            r = GENERAL;
    }
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    if (r < 0) {
        free(s);
        return r;
    }
    s->r = copy(made, made_len);
    s->r_len = made_len;
    *out = s;
    return 0;
}

int sk_load_resident_keys(const char *pin, struct option **options, struct resident ***keys, size_t *n)
{
    (void)pin, (void)options, (void)keys, (void)n;
    return UNSUPPORTED;
}
