/*
 * Owns the keys of signed notes: names, ids, text forms. Settings, trust files and key files hand it text. Must not
 * draw random numbers: seeds come from the caller.
 */
#include "trust/note_key.h"

#include "base/base64.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/sha256.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* --- names and ids ------------------------------------------------------------------------------------------------ */

/* All that Unicode calls white space, in UTF-8; so that a name is one word wherever it is printed. */
static const char *const spaces[] = {
    "\t",           "\n",           "\v",           "\f",           "\r",           " ",
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81", "\xe2\x80\x82",
    "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86", "\xe2\x80\x87", "\xe2\x80\x88",
    "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8", "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f",
    "\xe3\x80\x80",
};

static bool is_space(const char *p, size_t n)
{
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
        if (strlen(spaces[i]) == n && memcmp(spaces[i], p, n) == 0)
            return true;
    return false;
}

bool pc_note_name_valid(const char *name, size_t len)
{
    if (len < 1 || len > PC_NOTE_NAME_MAX)
        return false;
    for (size_t i = 0, n; i < len; i += n) {
        n = pc_utf8_len((const unsigned char *)name + i, len - i);
        if (n == 0 || (unsigned char)name[i] < 0x20 || name[i] == '+' || is_space(name + i, n))
            return false;
    }
    return true;
}

static bool algorithm_known(unsigned alg)
{
    return alg == PC_SIG_ED25519 || alg == PC_SIG_COSIGNATURE;
}

int pc_vkey_make(const char *name, enum pc_sig_alg alg, const uint8_t key[32], struct pc_vkey *out)
{
    size_t len = strnlen(name, PC_NOTE_NAME_MAX + 1);
    if (!pc_note_name_valid(name, len))
        return PC_E_SYNTAX;
    if (!algorithm_known(alg))
        return PC_E_UNSUPPORTED;
    struct pc_vkey v = {.alg = alg};
    memcpy(v.name, name, len);
    memcpy(v.key, key, sizeof v.key);
    const uint8_t separator[2] = {'\n', (uint8_t)alg};
    uint8_t hash[PC_HASH_LEN];
    pc_sha256((struct pc_bytes[]){{name, len}, {separator, sizeof separator}, {key, sizeof v.key}}, 3, hash);
    v.id = (uint32_t)hash[0] << 24 | (uint32_t)hash[1] << 16 | (uint32_t)hash[2] << 8 | hash[3];
    *out = v;
    return 0;
}

int pc_skey_make(const char *name, enum pc_sig_alg alg, const uint8_t seed[32], struct pc_skey *out)
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof out->seed);
    uint8_t public[32];
    size_t len = sizeof public;
    int ok = pkey && EVP_PKEY_get_raw_public_key(pkey, public, &len) == 1;
    EVP_PKEY_free(pkey);
    if (!ok)
        return -ENOMEM;
    struct pc_vkey pub;
    int r = pc_vkey_make(name, alg, public, &pub);
    if (r < 0)
        return r;
    out->pub = pub;
    memcpy(out->seed, seed, sizeof out->seed);
    return 0;
}

/* --- text --------------------------------------------------------------------------------------------------------- */

/* "NAME+ID+base64(algorithm || 32 bytes)", public and private alike. */
struct parts {
    char name[PC_NOTE_NAME_MAX + 1];
    char id[9];
    uint8_t material[33];
};

static int split(const char *text, struct parts *out)
{
    const char *id = strchr(text, '+');
    if (!id || !pc_note_name_valid(text, (size_t)(id - text)))
        return PC_E_SYNTAX;
    memcpy(out->name, text, (size_t)(id - text));
    out->name[id - text] = 0;
    const char *base64 = strchr(++id, '+');
    if (!base64 || base64 - id != 8)
        return PC_E_SYNTAX;
    memcpy(out->id, id, 8);
    out->id[8] = 0;
    base64++;
    ssize_t n = pc_base64_decode(base64, strlen(base64), 0, out->material, sizeof out->material);
    if (n < 1)
        return PC_E_SYNTAX;
    if (!algorithm_known(out->material[0]))
        return PC_E_UNSUPPORTED;
    return n == sizeof out->material ? 0 : PC_E_SYNTAX;
}

/* The id in the text must be the one that the key has: a typing mistake in a key is found here. */
static int check_id(const char *id, const struct pc_vkey *key)
{
    char hex[9];
    snprintf(hex, sizeof hex, "%08x", key->id);
    return strcmp(hex, id) == 0 ? 0 : PC_E_SYNTAX;
}

static int join(const char *prefix, const struct pc_vkey *key, const uint8_t secret_or_key[32], char *out, size_t cap)
{
    uint8_t material[33] = {(uint8_t)key->alg};
    char base64[PC_BASE64_SIZE(sizeof material)];
    memcpy(material + 1, secret_or_key, 32);
    pc_base64_encode(material, sizeof material, base64);
    int n = snprintf(NULL, 0, "%s%s+%08x+%s", prefix, key->name, key->id, base64);
    if ((size_t)n < cap)
        snprintf(out, cap, "%s%s+%08x+%s", prefix, key->name, key->id, base64);
    OPENSSL_cleanse(material, sizeof material);
    OPENSSL_cleanse(base64, sizeof base64);
    return (size_t)n < cap ? n : PC_E_LIMIT;
}

int pc_vkey_parse(const char *text, struct pc_vkey *out)
{
    struct parts p;
    struct pc_vkey key;
    int r = split(text, &p);
    if (r == 0)
        r = pc_vkey_make(p.name, p.material[0], p.material + 1, &key);
    if (r == 0)
        r = check_id(p.id, &key);
    if (r == 0)
        *out = key;
    return r;
}

int pc_vkey_format(const struct pc_vkey *key, char *out, size_t cap)
{
    return join("", key, key->key, out, cap);
}

static const char private_prefix[] = "PRIVATE+KEY+";

int pc_skey_parse(const char *text, struct pc_skey *out)
{
    if (strncmp(text, private_prefix, sizeof private_prefix - 1) != 0)
        return PC_E_SYNTAX;
    struct parts p;
    struct pc_skey key;
    int r = split(text + sizeof private_prefix - 1, &p);
    if (r == 0)
        r = pc_skey_make(p.name, p.material[0], p.material + 1, &key);
    if (r == 0)
        r = check_id(p.id, &key.pub);
    if (r == 0)
        *out = key;
    OPENSSL_cleanse(&p, sizeof p);
    OPENSSL_cleanse(&key, sizeof key);
    return r;
}

int pc_skey_format(const struct pc_skey *key, char *out, size_t cap)
{
    return join(private_prefix, &key->pub, key->seed, out, cap);
}
