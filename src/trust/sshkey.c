/*
 * Owns public keys: reading them from a line or a blob, the table of kinds that are trusted with anything, and their
 * names and fingerprints. sshverify.c checks signatures with them; which key may do what is the policy's affair.
 */
#include "trust/sshkey.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/sshkey_impl.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <string.h>
#include <strings.h>

#define ED25519_BYTES 32
#define EC_POINT_MAX 133 /* P-521, uncompressed */
#define BLOB_MAX PC_BASE64_RAW_SIZE(PC_SSHKEY_LINE_MAX)

static const struct pc_sshkey_kind kinds[] = {
    {.names = {"ssh-ed25519"}, .label = "ED25519", .label_is_name = true, .family = PC_FAMILY_ED25519},
    {.names = {"sk-ssh-ed25519@openssh.com"},
     .label = "ED25519-SK",
     .label_is_name = true,
     .hardware = true,
     .family = PC_FAMILY_ED25519},
    {.names = {"ecdsa-sha2-nistp256"},
     .label = "ECDSA",
     .family = PC_FAMILY_ECDSA,
     .curve = "nistp256",
     .group = "P-256",
     .digest = "SHA256"},
    {.names = {"ecdsa-sha2-nistp384"},
     .label = "ECDSA",
     .family = PC_FAMILY_ECDSA,
     .curve = "nistp384",
     .group = "P-384",
     .digest = "SHA384"},
    {.names = {"ecdsa-sha2-nistp521"},
     .label = "ECDSA",
     .family = PC_FAMILY_ECDSA,
     .curve = "nistp521",
     .group = "P-521",
     .digest = "SHA512"},
    {.names = {"sk-ecdsa-sha2-nistp256@openssh.com", "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"},
     .label = "ECDSA-SK",
     .hardware = true,
     .family = PC_FAMILY_ECDSA,
     .curve = "nistp256",
     .group = "P-256",
     .digest = "SHA256"},
    {.names = {"ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"},
     .label = "RSA",
     .label_is_name = true,
     .family = PC_FAMILY_RSA},
};

static const struct pc_sshkey_kind *find_kind(struct pc_span name, bool in_blob)
{
    for (const struct pc_sshkey_kind *k = kinds; k < kinds + PC_ARRAY_SIZE(kinds); k++) {
        for (size_t i = 0; i < PC_ARRAY_SIZE(k->names) && k->names[i]; i++)
            if (pc_span_is(name, k->names[i]))
                return k;
        if (in_blob && k->label_is_name && name.len == strlen(k->label) &&
            strncasecmp((const char *)name.p, k->label, name.len) == 0)
            return k;
    }
    return NULL;
}

/* --- one function a family: reads the numbers after the type name, writes them canonically, makes the EVP key ---- */

static int read_ed25519(struct pc_sshkey *key, struct pc_cur *c)
{
    struct pc_span pk = pc_ssh_string(c);
    if (c->failed || pk.len != ED25519_BYTES)
        return PC_E_SYNTAX;
    key->pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pk.p, pk.len);
    return key->pkey ? pc_ssh_put_string(&key->blob, pk.p, pk.len) : -ENOMEM;
}

/* The parameters in bld as a public key of a type; NULL when libcrypto refuses them. */
static EVP_PKEY *make_pkey(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (params && ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

/*
 * The sanity of coordinates that OpenSSH asks for: each longer than half of the order, and below it. That the point is
 * on the curve was checked when it was read; all these curves have cofactor 1, so that it is in the right group.
 */
static bool has_sane_coordinates(const EVP_PKEY *pkey, struct pc_span point)
{
    int half = (int)(point.len - 1) / 2;
    BIGNUM *order = NULL, *x = BN_bin2bn(point.p + 1, half, NULL), *y = BN_bin2bn(point.p + 1 + half, half, NULL);
    bool sane = x && y && EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_EC_ORDER, &order) == 1 &&
        BN_num_bits(x) > BN_num_bits(order) / 2 && BN_num_bits(y) > BN_num_bits(order) / 2 &&
        BN_sub_word(order, 1) == 1 && BN_cmp(x, order) < 0 && BN_cmp(y, order) < 0;
    BN_free(x);
    BN_free(y);
    BN_free(order);
    return sane;
}

static int read_ecdsa(struct pc_sshkey *key, struct pc_cur *c)
{
    struct pc_span curve = pc_ssh_text(c), point = pc_ssh_string(c);
    if (c->failed || !pc_span_is(curve, key->kind->curve))
        return PC_E_SYNTAX;
    if (point.len < 3 || point.len > EC_POINT_MAX || point.p[0] != POINT_CONVERSION_UNCOMPRESSED)
        return PC_E_SYNTAX;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (bld && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, key->kind->group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.p, point.len) == 1)
        key->pkey = make_pkey("EC", bld);
    OSSL_PARAM_BLD_free(bld);
    if (!key->pkey || !has_sane_coordinates(key->pkey, point))
        return PC_E_SYNTAX;
    int r = pc_ssh_put_text(&key->blob, key->kind->curve);
    return r < 0 ? r : pc_ssh_put_string(&key->blob, point.p, point.len);
}

/* An exponent of 1 would make every message its own signature; an even number is no RSA exponent and no modulus. */
static bool is_strong_rsa(const BIGNUM *n, const BIGNUM *e)
{
    return BN_num_bits(n) >= PC_SSHKEY_RSA_MIN_BITS && BN_is_odd(n) && BN_is_odd(e) && !BN_is_one(e);
}

static int read_rsa(struct pc_sshkey *key, struct pc_cur *c)
{
    struct pc_span e = pc_ssh_mpint(c), n = pc_ssh_mpint(c);
    if (c->failed)
        return PC_E_SYNTAX;
    BIGNUM *bn_e = BN_bin2bn(e.p, (int)e.len, NULL), *bn_n = BN_bin2bn(n.p, (int)n.len, NULL);
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    int r = bn_e && bn_n && bld ? 0 : -ENOMEM;
    if (r == 0 && !is_strong_rsa(bn_n, bn_e))
        r = PC_E_KEY;
    if (r == 0 && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn_n) == 1 &&
        OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, bn_e) == 1)
        key->pkey = make_pkey("RSA", bld);
    OSSL_PARAM_BLD_free(bld);
    BN_free(bn_e);
    BN_free(bn_n);
    if (r < 0)
        return r;
    if (!key->pkey)
        return PC_E_SYNTAX;
    r = pc_ssh_put_mpint(&key->blob, e);
    return r < 0 ? r : pc_ssh_put_mpint(&key->blob, n);
}

static int read_application(struct pc_sshkey *key, struct pc_cur *c)
{
    struct pc_span application = pc_ssh_text(c);
    if (c->failed)
        return PC_E_SYNTAX;
    int r = pc_ssh_put_string(&key->blob, application.p, application.len);
    if (r < 0)
        return r;
    /* The blob is complete: its memory stays where it is. */
    key->application =
        (struct pc_span){(const uint8_t *)key->blob.data + key->blob.len - application.len, application.len};
    return 0;
}

static int read_numbers(struct pc_sshkey *key, struct pc_cur *c)
{
    static int (*const read[])(struct pc_sshkey *, struct pc_cur *) = {
        [PC_FAMILY_ED25519] = read_ed25519, [PC_FAMILY_ECDSA] = read_ecdsa, [PC_FAMILY_RSA] = read_rsa};
    int r = pc_ssh_put_text(&key->blob, key->kind->names[0]);
    if (r == 0)
        r = read[key->kind->family](key, c);
    if (r == 0 && key->kind->hardware)
        r = read_application(key, c);
    return r < 0 ? r : pc_cur_end(c);
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

int pc_sshkey_parse_blob(const uint8_t *blob, size_t len, struct pc_sshkey **out)
{
    struct pc_cur c;
    if (len > BLOB_MAX)
        return PC_E_LIMIT;
    pc_cur_init(&c, blob, len);
    struct pc_span type = pc_ssh_text(&c);
    if (c.failed || !type.len)
        return PC_E_SYNTAX;
    const struct pc_sshkey_kind *kind = find_kind(type, true);
    if (!kind)
        return PC_E_UNSUPPORTED;
    struct pc_sshkey *key = calloc(1, sizeof *key);
    if (!key)
        return -ENOMEM;
    key->kind = kind;
    pc_buf_init(&key->blob, BLOB_MAX);
    /* A library has no business in the caller's error queue: TLS code in the same thread looks at it. */
    ERR_set_mark();
    int r = read_numbers(key, &c);
    ERR_pop_to_mark();
    if (r < 0)
        pc_sshkey_free(key);
    else
        *out = key;
    return r;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The next word of the line, up to a blank; the line goes on after it. */
static struct pc_span next_word(const char **line, size_t *left)
{
    size_t n = 0;
    while (*left && is_blank(**line))
        (*line)++, (*left)--;
    while (n < *left && !is_blank((*line)[n]))
        n++;
    struct pc_span word = {(const uint8_t *)*line, n};
    *line += n;
    *left -= n;
    return word;
}

static int drop_line_end(const char *line, size_t *len)
{
    if (*len > PC_SSHKEY_LINE_MAX)
        return PC_E_LIMIT;
    if (*len && line[*len - 1] == '\n')
        (*len)--;
    if (*len && line[*len - 1] == '\r')
        (*len)--;
    if (memchr(line, '\n', *len))
        return PC_E_TRAILING;
    return memchr(line, 0, *len) ? PC_E_SYNTAX : 0;
}

int pc_sshkey_parse_line(const char *line, size_t len, struct pc_sshkey **out)
{
    struct pc_sshkey *key;
    int r = drop_line_end(line, &len);
    if (r < 0)
        return r;
    struct pc_span type = next_word(&line, &len), text = next_word(&line, &len);
    if (!type.len || !text.len)
        return PC_E_SYNTAX;
    _free_ uint8_t *blob = malloc(PC_BASE64_RAW_SIZE(text.len));
    if (!blob)
        return -ENOMEM;
    ssize_t n = pc_base64_decode((const char *)text.p, text.len, PC_BASE64_SPACE, blob, PC_BASE64_RAW_SIZE(text.len));
    if (n < 0)
        return (int)n;
    r = pc_sshkey_parse_blob(blob, (size_t)n, &key);
    if (r < 0)
        return r;
    if (key->kind != find_kind(type, false)) {
        pc_sshkey_free(key);
        return PC_E_SYNTAX;
    }
    *out = key;
    return 0;
}

void pc_sshkey_free(struct pc_sshkey *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    pc_buf_free(&key->blob);
    free(key);
}

bool pc_sshkey_equal(const struct pc_sshkey *a, const struct pc_sshkey *b)
{
    return a->blob.len == b->blob.len && memcmp(a->blob.data, b->blob.data, a->blob.len) == 0;
}

const char *pc_sshkey_type(const struct pc_sshkey *key)
{
    return key->kind->names[0];
}

const char *pc_sshkey_label(const struct pc_sshkey *key)
{
    return key->kind->label;
}

int pc_sshkey_fingerprint(const struct pc_sshkey *key, char out[PC_SSHKEY_FINGERPRINT_SIZE])
{
    static const char prefix[] = "SHA256:";
    uint8_t digest[32];
    if (EVP_Digest(key->blob.data, key->blob.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return PC_E_STATE;
    memcpy(out, prefix, sizeof prefix - 1);
    size_t n = pc_base64_encode(digest, sizeof digest, out + sizeof prefix - 1);
    out[sizeof prefix - 1 + n - 1] = 0; /* ssh-keygen leaves the padding out; 32 bytes have one "=" */
    return 0;
}

bool pc_sshkey_is_hardware(const struct pc_sshkey *key)
{
    return key->kind->hardware;
}

const uint8_t *pc_sshkey_blob(const struct pc_sshkey *key, size_t *len)
{
    *len = key->blob.len;
    return (const uint8_t *)key->blob.data;
}
