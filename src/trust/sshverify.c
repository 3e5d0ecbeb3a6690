/*
 * Owns the check of one SSH signature blob against one key: RFC 8709 (Ed25519), RFC 5656 (ECDSA), RFC 8332 (RSA with
 * SHA-2), and OpenSSH's PROTOCOL.u2f for hardware keys, whose signatures are over the hash of the data, the application
 * and a counter; in a browser (webauthn) over a JSON text that holds the data. Knows nothing of SSHSIG: see sshsig.c.
 */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/sshkey_impl.h"

#include <errno.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <string.h>

#define ED25519_SIGNATURE 64
#define SHA256_BYTES 32
/* Room for what is signed; the caller's data and webauthn's texts were bounded when the armour was read. */
#define SIGNED_MAX (1u << 20)

/* What a signature blob holds. */
struct parts {
    struct pc_span type, sig;
    uint8_t flags; /* from here: hardware keys only */
    uint32_t counter;
    bool webauthn;
    struct pc_span origin, client, extensions; /* webauthn */
};

static int split(const struct pc_sshkey *key, struct pc_span blob, struct parts *p)
{
    struct pc_cur c;
    pc_cur_init(&c, blob.p, blob.len);
    *p = (struct parts){.type = pc_ssh_text(&c), .sig = pc_ssh_string(&c)};
    if (key->kind->hardware) {
        p->flags = pc_cur_u8(&c);
        p->counter = pc_ssh_u32(&c);
    }
    p->webauthn = key->kind->hardware && key->kind->names[1] && pc_span_is(p->type, key->kind->names[1]);
    if (p->webauthn) {
        p->origin = pc_ssh_text(&c);
        p->client = pc_ssh_string(&c);
        p->extensions = pc_ssh_string(&c);
    }
    return pc_cur_end(&c);
}

/* --- libcrypto -------------------------------------------------------------------------------------------------- */

static int check(const struct pc_sshkey *key, const char *digest, struct pc_span sig, struct pc_span data)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx)
        return -ENOMEM;
    bool good = EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL, key->pkey, NULL) == 1 &&
        EVP_DigestVerify(ctx, sig.p, sig.len, data.p, data.len) == 1;
    EVP_MD_CTX_free(ctx);
    return good ? 0 : PC_E_SIGNATURE;
}

static int check_ed25519(const struct pc_sshkey *key, const struct parts *p, struct pc_span data)
{
    if (!p->webauthn && !pc_span_is(p->type, key->kind->names[0]))
        return PC_E_SYNTAX;
    return p->sig.len == ED25519_SIGNATURE ? check(key, NULL, p->sig, data) : PC_E_SYNTAX;
}

/* SSH has the numbers r and s as two mpints, libcrypto wants DER. */
static int check_ecdsa(const struct pc_sshkey *key, const struct parts *p, struct pc_span data)
{
    struct pc_cur c;
    if (!p->webauthn && !pc_span_is(p->type, key->kind->names[0]))
        return PC_E_SYNTAX;
    pc_cur_init(&c, p->sig.p, p->sig.len);
    struct pc_span r = pc_ssh_mpint(&c), s = pc_ssh_mpint(&c);
    int bad = pc_cur_end(&c);
    if (bad)
        return bad;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *bn_r = BN_bin2bn(r.p, (int)r.len, NULL), *bn_s = BN_bin2bn(s.p, (int)s.len, NULL);
    unsigned char *der = NULL;
    int len = -1;
    if (pair && bn_r && bn_s && ECDSA_SIG_set0(pair, bn_r, bn_s) == 1) {
        bn_r = bn_s = NULL; /* now pair's */
        len = i2d_ECDSA_SIG(pair, &der);
    }
    int result = len > 0 ? check(key, key->kind->digest, (struct pc_span){der, (size_t)len}, data) : -ENOMEM;
    OPENSSL_free(der);
    BN_free(bn_r);
    BN_free(bn_s);
    ECDSA_SIG_free(pair);
    return result;
}

static int check_rsa(const struct pc_sshkey *key, const struct parts *p, struct pc_span data)
{
    size_t size = (size_t)EVP_PKEY_get_size(key->pkey);
    const char *digest = pc_span_is(p->type, "rsa-sha2-512") ? "SHA512"
        : pc_span_is(p->type, "rsa-sha2-256")                ? "SHA256"
                                                             : NULL;
    if (!digest)
        return PC_E_UNSUPPORTED;
    if (p->sig.len > size)
        return PC_E_SYNTAX;
    /* Some implementations drop leading zeros of the number; OpenSSH puts them back, and so do we. */
    _free_ uint8_t *whole = calloc(1, size);
    if (!whole)
        return -ENOMEM;
    memcpy(whole + size - p->sig.len, p->sig.p, p->sig.len);
    return check(key, digest, (struct pc_span){whole, size}, data);
}

/* --- hardware keys ---------------------------------------------------------------------------------------------- */

#define CLIENT_START "{\"type\":\"webauthn.get\",\"challenge\":\""
#define CLIENT_ORIGIN "\",\"origin\":\""
#define FLAG_ATTESTED 0x40
#define FLAG_EXTENSIONS 0x80

/*
 * What a browser signs has to start with the data as challenge and with the origin, spelled in one way only; so a text
 * compare will do where else a JSON parser would have to be trusted. What follows (crossOrigin, ...) is not looked at.
 */
static int check_client(const struct parts *p, struct pc_span data)
{
    if ((p->origin.len && memchr(p->origin.p, '"', p->origin.len)) || (p->flags & FLAG_ATTESTED))
        return PC_E_SYNTAX;
    if (!(p->flags & FLAG_EXTENSIONS) != (p->extensions.len == 0))
        return PC_E_SYNTAX;
    struct pc_buf want _buf_free_;
    pc_buf_init(&want, SIGNED_MAX);
    _free_ char *challenge = malloc(PC_BASE64_SIZE(data.len));
    if (!challenge)
        return -ENOMEM;
    pc_buf_add(&want, CLIENT_START, strlen(CLIENT_START));
    pc_buf_add(&want, challenge, pc_base64url_encode(data.p, data.len, challenge));
    pc_buf_add(&want, CLIENT_ORIGIN, strlen(CLIENT_ORIGIN));
    pc_buf_add(&want, p->origin.p, p->origin.len);
    if (pc_buf_add(&want, "\"", 1) < 0)
        return PC_E_LIMIT;
    return p->client.len >= want.len && memcmp(p->client.p, want.data, want.len) == 0 ? 0 : PC_E_SIGNATURE;
}

static int add_hash(struct pc_buf *b, struct pc_span of)
{
    uint8_t digest[SHA256_BYTES];
    if (EVP_Digest(of.p, of.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return PC_E_STATE;
    return pc_buf_add(b, digest, sizeof digest);
}

/* What the security key signed: hash of the application, flags, counter, extensions, hash of the data. */
static int wrap(const struct pc_sshkey *key, const struct parts *p, struct pc_span data, struct pc_buf *out)
{
    int r = p->webauthn ? check_client(p, data) : 0;
    if (r == 0)
        r = add_hash(out, key->application);
    if (r < 0)
        return r;
    pc_buf_add(out, &p->flags, 1);
    pc_ssh_put_u32(out, p->counter);
    r = pc_buf_add(out, p->extensions.p, p->extensions.len);
    return r < 0 ? r : add_hash(out, p->webauthn ? p->client : data);
}

static int check_parts(const struct pc_sshkey *key, const struct parts *p, struct pc_span data)
{
    static int (*const by_family[])(const struct pc_sshkey *, const struct parts *, struct pc_span) = {
        [PC_FAMILY_ED25519] = check_ed25519, [PC_FAMILY_ECDSA] = check_ecdsa, [PC_FAMILY_RSA] = check_rsa};
    if (!key->kind->hardware)
        return by_family[key->kind->family](key, p, data);
    struct pc_buf wrapped _buf_free_;
    pc_buf_init(&wrapped, SIGNED_MAX);
    int r = wrap(key, p, data, &wrapped);
    if (r < 0)
        return r;
    return by_family[key->kind->family](key, p, (struct pc_span){(const uint8_t *)wrapped.data, wrapped.len});
}

int pc_sshkey_verify(const struct pc_sshkey *key, struct pc_span blob, struct pc_span data,
                     struct pc_sk_details *details)
{
    struct parts p;
    int r = split(key, blob, &p);
    if (r < 0)
        return r;
    ERR_set_mark(); /* see pc_sshkey_parse_blob */
    r = check_parts(key, &p, data);
    ERR_pop_to_mark();
    if (r == 0)
        *details = (struct pc_sk_details){.flags = p.flags, .counter = p.counter, .webauthn = p.webauthn};
    return r;
}
