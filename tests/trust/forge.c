/*
 * Owns the making of keys and signatures for tests. It is the other side of src/trust: written from OpenSSH's PROTOCOL
 * files (sshsig, u2f), sharing with the code under test only how strings and numbers are laid out.
 */
#include "forge.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "trust/sshwire.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <string.h>

#define ROOM 65536

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "forge: %s failed\n", what);
        exit(1);
    }
}

static void put_bn(struct pc_buf *b, const BIGNUM *bn)
{
    uint8_t bytes[2048];
    int n = BN_bn2bin(bn, bytes);
    pc_ssh_put_mpint(b, (struct pc_span){bytes, (size_t)n});
}

static void put_param(struct pc_buf *b, const EVP_PKEY *pkey, const char *name)
{
    BIGNUM *bn = NULL;
    must(EVP_PKEY_get_bn_param(pkey, name, &bn) == 1, name);
    put_bn(b, bn);
    BN_free(bn);
}

static void put_point(struct pc_buf *b, const EVP_PKEY *pkey, const char *curve)
{
    uint8_t point[256];
    size_t n;
    must(EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &n) == 1, "point");
    pc_ssh_put_text(b, curve);
    pc_ssh_put_string(b, point, n);
}

static void put_raw(struct pc_buf *b, const EVP_PKEY *pkey)
{
    uint8_t raw[64];
    size_t n = sizeof raw;
    must(EVP_PKEY_get_raw_public_key(pkey, raw, &n) == 1, "raw public key");
    pc_ssh_put_string(b, raw, n);
}

struct forge_key forge_key(const char *type, const char *application, int rsa_bits)
{
    struct forge_key key = {.type = type, .application = application};
    const char *nist = strstr(type, "nistp");
    pc_buf_init(&key.blob, ROOM);
    pc_ssh_put_text(&key.blob, type);
    if (strstr(type, "ed25519")) {
        key.pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        must(key.pkey, "keygen");
        put_raw(&key.blob, key.pkey);
    } else if (nist) {
        char curve[9], group[6];
        snprintf(curve, sizeof curve, "%.8s", nist);
        snprintf(group, sizeof group, "P-%s", curve + strlen("nistp"));
        key.pkey = EVP_EC_gen(group);
        must(key.pkey, "keygen");
        /* OpenSSH takes uncompressed points only, which is what libcrypto makes. */
        put_point(&key.blob, key.pkey, curve);
    } else {
        key.pkey = EVP_RSA_gen((unsigned)rsa_bits);
        must(key.pkey, "keygen");
        put_param(&key.blob, key.pkey, OSSL_PKEY_PARAM_RSA_E);
        put_param(&key.blob, key.pkey, OSSL_PKEY_PARAM_RSA_N);
    }
    if (application)
        pc_ssh_put_text(&key.blob, application);
    return key;
}

void forge_key_free(struct forge_key *key)
{
    EVP_PKEY_free(key->pkey);
    pc_buf_free(&key->blob);
}

char *forge_line(const struct forge_key *key)
{
    size_t type = strlen(key->type);
    char *line = malloc(type + 1 + PC_BASE64_SIZE(key->blob.len));
    must(line, "malloc");
    memcpy(line, key->type, type);
    line[type] = ' ';
    pc_base64_encode(key->blob.data, key->blob.len, line + type + 1);
    return line;
}

static void hash(const char *name, const void *data, size_t len, struct pc_buf *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t n;
    must(EVP_Q_digest(NULL, name, NULL, data, len, digest, &n) == 1, name);
    pc_buf_add(out, digest, n);
}

static size_t sign(const struct forge_key *key, const char *digest, const struct pc_buf *data, uint8_t *out, size_t cap)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = cap;
    must(EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, key->pkey, NULL) == 1 &&
             EVP_DigestSign(ctx, out, &n, (const uint8_t *)data->data, data->len) == 1,
         "sign");
    EVP_MD_CTX_free(ctx);
    return n;
}

static const char *digest_of(const struct forge_key *key, const struct forge_how *how)
{
    if (strstr(key->type, "ed25519"))
        return NULL;
    if (strcmp(key->type, "ssh-rsa") == 0)
        return !how->rsa || strcmp(how->rsa, "rsa-sha2-512") == 0 ? "SHA512"
            : strcmp(how->rsa, "ssh-rsa") == 0                    ? "SHA1"
                                                                  : "SHA256";
    return strstr(key->type, "384") ? "SHA384" : strstr(key->type, "521") ? "SHA512" : "SHA256";
}

static void put_signature(const struct forge_key *key, const struct forge_how *how, const struct pc_buf *data,
                          struct pc_buf *out)
{
    uint8_t sig[2048];
    size_t n = sign(key, digest_of(key, how), data, sig, sizeof sig);
    if (!strstr(key->type, "nistp")) {
        pc_ssh_put_string(out, sig, n);
        return;
    }
    const uint8_t *p = sig;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &p, (long)n);
    struct pc_buf inner _buf_free_;
    pc_buf_init(&inner, ROOM);
    put_bn(&inner, ECDSA_SIG_get0_r(pair));
    put_bn(&inner, ECDSA_SIG_get0_s(pair));
    pc_ssh_put_string(out, inner.data, inner.len);
    ECDSA_SIG_free(pair);
}

/* The text that a browser makes and signs. */
static void client_text(const struct forge_how *how, const struct pc_buf *data, struct pc_buf *out)
{
    _free_ char *challenge = malloc(PC_BASE64_SIZE(data->len));
    must(challenge, "malloc");
    pc_base64url_encode(data->data, data->len, challenge);
    if (how->client)
        pc_buf_addf(out, "%s", how->client);
    else
        pc_buf_addf(out, "{\"type\":\"webauthn.get\",\"challenge\":\"%s\",\"origin\":\"%s\",\"crossOrigin\":false}",
                    challenge, how->origin);
}

static void sign_hardware(const struct forge_key *key, const struct forge_how *how, const struct pc_buf *data,
                          struct pc_buf *out)
{
    struct pc_buf wrapped _buf_free_, client _buf_free_;
    const char *extensions = how->extensions ? how->extensions : "";
    pc_buf_init(&wrapped, ROOM);
    pc_buf_init(&client, ROOM);
    if (how->origin)
        client_text(how, data, &client);
    hash("SHA256", key->application, strlen(key->application), &wrapped);
    pc_buf_add(&wrapped, &how->flags, 1);
    pc_ssh_put_u32(&wrapped, how->counter);
    pc_buf_add(&wrapped, extensions, strlen(extensions));
    hash("SHA256", how->origin ? client.data : data->data, how->origin ? client.len : data->len, &wrapped);
    pc_ssh_put_text(out, how->origin ? "webauthn-sk-ecdsa-sha2-nistp256@openssh.com" : key->type);
    put_signature(key, how, &wrapped, out);
    pc_buf_add(out, &how->flags, 1);
    pc_ssh_put_u32(out, how->counter);
    if (how->origin) {
        pc_ssh_put_text(out, how->origin);
        pc_ssh_put_string(out, client.data, client.len);
        pc_ssh_put_text(out, extensions);
    }
}

static void put_start(struct pc_buf *b)
{
    pc_buf_add(b, "SSHSIG", 6);
}

struct pc_buf forge_sign(const struct forge_key *key, const struct forge_how *how, const void *msg, size_t len)
{
    struct pc_buf raw, digest _buf_free_, data _buf_free_, blob _buf_free_;
    pc_buf_init(&raw, ROOM);
    pc_buf_init(&digest, ROOM);
    pc_buf_init(&data, ROOM);
    pc_buf_init(&blob, ROOM);
    hash(strcmp(how->hash, "sha256") == 0 ? "SHA256" : "SHA512", msg, len, &digest);
    put_start(&data);
    pc_ssh_put_text(&data, how->ns);
    pc_ssh_put_text(&data, "");
    pc_ssh_put_text(&data, how->hash);
    pc_ssh_put_string(&data, digest.data, digest.len);
    if (key->application) {
        sign_hardware(key, how, &data, &blob);
    } else {
        pc_ssh_put_text(&blob, strcmp(key->type, "ssh-rsa") != 0 ? key->type : how->rsa ? how->rsa : "rsa-sha2-512");
        put_signature(key, how, &data, &blob);
    }
    put_start(&raw);
    pc_ssh_put_u32(&raw, 1);
    pc_ssh_put_string(&raw, key->blob.data, key->blob.len);
    pc_ssh_put_text(&raw, how->ns);
    pc_ssh_put_text(&raw, "");
    pc_ssh_put_text(&raw, how->hash);
    must(pc_ssh_put_string(&raw, blob.data, blob.len) == 0, "buffer");
    return raw;
}

char *forge_armour(const void *raw, size_t len)
{
    _free_ char *text = malloc(PC_BASE64_SIZE(len));
    struct pc_buf out;
    must(text, "malloc");
    size_t n = pc_base64_encode(raw, len, text);
    pc_buf_init(&out, 4 * ROOM);
    pc_buf_addf(&out, "-----BEGIN SSH SIGNATURE-----\n");
    for (size_t i = 0; i < n; i += 70)
        pc_buf_addf(&out, "%.70s\n", text + i);
    must(pc_buf_addf(&out, "-----END SSH SIGNATURE-----\n") == 0, "buffer");
    return out.data;
}
