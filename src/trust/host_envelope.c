/*
 * Owns the hosts' envelope: a document, the Ed25519 key of the host and its signature. Verifies with the key that came
 * along; whether that key is anybody's, the caller knows (a host's id is the hash of its key). Verifying is
 * libsodium's, at less than half the time of libcrypto's, and most of what a fleet costs its server (decision 0019); it
 * needs neither sodium_init's random numbers nor its choice of implementations.
 */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/envelope.h"
#include "trust/parts.h"
#include "trust/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <sodium/crypto_sign.h>
#include <stdio.h>
#include <string.h>

#define KEY_LEN 32
#define SIGNATURE_LEN 64

static void free_context(EVP_MD_CTX **c)
{
    EVP_MD_CTX_free(*c);
}
static void free_key(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}
#define _context_ __attribute__((cleanup(free_context)))
#define _key_ __attribute__((cleanup(free_key)))

void pc_sha256_text(const void *data, size_t len, char out[PC_SHA256_HEX + 1])
{
    uint8_t hash[32];
    pc_sha256(&(struct pc_bytes){data, len}, 1, hash);
    pc_hex(hash, sizeof hash, out);
}

void pc_host_id(const uint8_t key[KEY_LEN], char out[PC_HOST_ID_LEN + 1])
{
    char whole[PC_SHA256_HEX + 1];
    pc_sha256_text(key, KEY_LEN, whole);
    memcpy(out, whole, PC_HOST_ID_LEN);
    out[PC_HOST_ID_LEN] = 0;
}

/* What a host signs: "portcullis KIND/1\n" and the document, so that a signature of one kind is none of another. */
static int signed_bytes(const char *kind, const void *document, size_t len, char **out, size_t *out_len)
{
    size_t cap = strlen(kind) + sizeof "portcullis /1\n";
    char *bytes = malloc(cap + len);
    if (!bytes)
        return -ENOMEM;
    size_t n = (size_t)snprintf(bytes, cap, "portcullis %s/1\n", kind);
    if (len)
        memcpy(bytes + n, document, len);
    *out = bytes;
    *out_len = n + len;
    return 0;
}

static int verify(const struct pc_host_envelope *e, const char *kind)
{
    _free_ char *bytes = NULL;
    size_t n;
    int r = signed_bytes(kind, e->document, e->len, &bytes, &n);
    if (r < 0)
        return r;
    return crypto_sign_verify_detached(e->signature, (const unsigned char *)bytes, n, e->key) == 0 ? 0 : PC_E_SIGNATURE;
}

struct raw {
    const json_t *document, *key, *signature;
};
static const struct pc_field fields[] = {
    {"document", PC_FIELD_STRING, offsetof(struct raw, document), 1, PC_ENVELOPE_MAX, false},
    {"key", PC_FIELD_STRING, offsetof(struct raw, key), PC_BASE64_SIZE(KEY_LEN) - 1, PC_BASE64_SIZE(KEY_LEN) - 1,
     false},
    {"signature", PC_FIELD_STRING, offsetof(struct raw, signature), PC_BASE64_SIZE(SIGNATURE_LEN) - 1,
     PC_BASE64_SIZE(SIGNATURE_LEN) - 1, false},
    {0},
};

/* Exactly len bytes of base64. */
static int read_exact(const json_t *string, uint8_t *out, size_t len)
{
    ssize_t n = pc_base64_decode(json_string_value(string), json_string_length(string), 0, out, len);
    return n == (ssize_t)len ? 0 : PC_E_SYNTAX;
}

/* All of it but the signature's truth. */
static int read_unverified(const json_t *object, struct pc_host_envelope *out, struct pc_why why)
{
    struct raw raw = {0};
    struct pc_host_envelope e = {0};
    int r = pc_fields_read(object, "envelope", fields, &raw, why);
    if (r < 0)
        return r;
    if (read_exact(raw.key, e.key, sizeof e.key) < 0 || read_exact(raw.signature, e.signature, sizeof e.signature) < 0)
        return pc_why(why, PC_E_SYNTAX, "envelope: \"key\" and \"signature\" must be base64 of 32 and 64 bytes");
    r = pc_json_base64(raw.document, PC_RESULT_DOCUMENT_MAX, &e.document, &e.len);
    if (r < 0)
        return pc_why(why, r, "envelope: \"document\" must be base64 of at most %u bytes", PC_RESULT_DOCUMENT_MAX);
    pc_host_id(e.key, e.id);
    pc_sha256_text(e.document, e.len, e.sha256);
    *out = e;
    return 0;
}

int pc_host_envelope_read(const json_t *object, const char *kind, struct pc_host_envelope *out, struct pc_why why)
{
    struct pc_host_envelope e = {0};
    int r = read_unverified(object, &e, why);
    if (r < 0)
        return r;
    r = verify(&e, kind);
    if (r < 0)
        pc_host_envelope_clear(&e);
    else
        *out = e;
    return r == PC_E_SIGNATURE
               ? pc_why(why, r, "envelope: not the key's signature over this document as a \"%s\"", kind)
               : r;
}

int pc_host_envelope_open(const char *json, size_t len, const char *kind, struct pc_host_envelope *out)
{
    _json_ json_t *object = NULL;
    int r = pc_json_parse(json, len, PC_ENVELOPE_MAX, &object, (struct pc_why){0});
    return r < 0 ? r : pc_host_envelope_read(object, kind, out, (struct pc_why){0});
}

int pc_host_envelope_kept(const char *json, size_t len, struct pc_host_envelope *out)
{
    _json_ json_t *object = NULL;
    int r = pc_json_parse(json, len, PC_ENVELOPE_MAX, &object, (struct pc_why){0});
    return r < 0 ? r : read_unverified(object, out, (struct pc_why){0});
}

/* Public key and signature over the document, with libcrypto's one-shot Ed25519. */
static int sign(const void *document, size_t len, const char *kind, const uint8_t seed[KEY_LEN],
                uint8_t key_out[KEY_LEN], uint8_t signature[SIGNATURE_LEN])
{
    _free_ char *bytes = NULL;
    size_t n, key_len = KEY_LEN, signature_len = SIGNATURE_LEN;
    int r = signed_bytes(kind, document, len, &bytes, &n);
    if (r < 0)
        return r;
    _key_ EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, KEY_LEN);
    _context_ EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (!key || !c)
        return -ENOMEM;
    if (EVP_PKEY_get_raw_public_key(key, key_out, &key_len) != 1 || EVP_DigestSignInit(c, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(c, signature, &signature_len, (const unsigned char *)bytes, n) != 1)
        return PC_E_STATE;
    return 0;
}

int pc_host_envelope_seal(const void *document, size_t len, const char *kind, const uint8_t seed[32], char **json,
                          size_t *json_len)
{
    uint8_t key[KEY_LEN], signature[SIGNATURE_LEN];
    if (len > PC_RESULT_DOCUMENT_MAX)
        return PC_E_LIMIT;
    int r = sign(document, len, kind, seed, key, signature);
    if (r < 0)
        return r;
    return pc_json_text(json_pack("{s:o, s:o, s:o}", "document", pc_json_base64_new(document, len), "key",
                                  pc_json_base64_new(key, sizeof key), "signature",
                                  pc_json_base64_new(signature, sizeof signature)),
                        json, json_len);
}

void pc_host_envelope_clear(struct pc_host_envelope *e)
{
    free(e->document);
    *e = (struct pc_host_envelope){0};
}
