/*
 * Owns SSHSIG: the armour, the fields of a signature, and what exactly was signed. sshkey.c reads the key in it and
 * sshverify.c checks the signature proper; whether that key may say this is the policy's affair.
 */
#include "trust/sshsig.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/sshkey_impl.h"

#include <errno.h>
#include <string.h>

#define BEGIN "-----BEGIN SSH SIGNATURE-----\n"
#define END "\n-----END SSH SIGNATURE-----"
#define MAGIC "SSHSIG"
#define MAGIC_LEN (sizeof MAGIC - 1)
#define VERSION 1

static const struct hash {
    const char *name;
    size_t bytes;
} hashes[] = {{"sha256", 32}, {"sha512", 64}};

struct pc_sshsig {
    struct pc_sshkey *key;
    const struct hash *hash;
    struct pc_span ns, blob; /* in raw */
    uint8_t raw[];
};

/*
 * Finds the base64 between the armour's lines. As in OpenSSH the first line is the very first and ends in "\n" alone,
 * what follows the end mark does not matter, and one NUL before it is nothing.
 */
static int find_base64(const char *armored, size_t len, struct pc_span *out)
{
    const size_t begin = sizeof BEGIN - 1;
    if (len > PC_SSHSIG_ARMOUR_MAX)
        return PC_E_LIMIT;
    if (len < begin || memcmp(armored, BEGIN, begin) != 0)
        return PC_E_SYNTAX;
    const char *end = memmem(armored + begin, len - begin, END, sizeof END - 1);
    if (!end)
        return PC_E_SYNTAX;
    size_t n = (size_t)(end - armored) - begin;
    if (n && armored[begin + n - 1] == 0)
        n--;
    *out = (struct pc_span){(const uint8_t *)armored + begin, n};
    return 0;
}

static const struct hash *find_hash(struct pc_span name)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(hashes); i++)
        if (pc_span_is(name, hashes[i].name))
            return &hashes[i];
    return NULL;
}

/* Magic and version; the cursor then stands at the key. */
static int skip_preamble(struct pc_cur *c)
{
    const void *magic = pc_cur_take(c, MAGIC_LEN);
    uint32_t version = pc_ssh_u32(c);
    if (c->failed || memcmp(magic, MAGIC, MAGIC_LEN) != 0)
        return PC_E_SYNTAX;
    return version > VERSION ? PC_E_UNSUPPORTED : 0;
}

static int parse_fields(struct pc_sshsig *sig, size_t len)
{
    struct pc_cur c;
    pc_cur_init(&c, sig->raw, len);
    int r = skip_preamble(&c);
    if (r < 0)
        return r;
    struct pc_span key = pc_ssh_string(&c);
    sig->ns = pc_ssh_text(&c);
    pc_ssh_string(&c); /* reserved */
    struct pc_span hash = pc_ssh_text(&c);
    sig->blob = pc_ssh_string(&c);
    r = pc_cur_end(&c);
    if (r < 0)
        return r;
    sig->hash = find_hash(hash);
    return sig->hash ? pc_sshkey_parse_blob(key.p, key.len, &sig->key) : PC_E_UNSUPPORTED;
}

/* The signature's bytes, in a structure with room for them. */
static int decode(const char *armored, size_t len, struct pc_sshsig **out, size_t *raw_len)
{
    struct pc_span text;
    int r = find_base64(armored, len, &text);
    if (r < 0)
        return r;
    struct pc_sshsig *sig = calloc(1, sizeof *sig + PC_BASE64_RAW_SIZE(text.len));
    if (!sig)
        return -ENOMEM;
    ssize_t n =
        pc_base64_decode((const char *)text.p, text.len, PC_BASE64_SPACE, sig->raw, PC_BASE64_RAW_SIZE(text.len));
    if (n < 0) {
        free(sig);
        return (int)n;
    }
    *out = sig;
    *raw_len = (size_t)n;
    return 0;
}

int pc_sshsig_parse(const char *armored, size_t len, struct pc_sshsig **out)
{
    struct pc_sshsig *sig;
    size_t raw_len;
    int r = decode(armored, len, &sig, &raw_len);
    if (r < 0)
        return r;
    r = parse_fields(sig, raw_len);
    if (r < 0)
        pc_sshsig_free(sig);
    else
        *out = sig;
    return r;
}

void pc_sshsig_free(struct pc_sshsig *sig)
{
    if (sig)
        pc_sshkey_free(sig->key);
    free(sig);
}

const char *pc_sshsig_hash(const struct pc_sshsig *sig)
{
    return sig->hash->name;
}

const struct pc_sshkey *pc_sshsig_signer(const struct pc_sshsig *sig)
{
    return sig->key;
}

int pc_sshsig_algorithm(const char *armored, size_t len, char out[PC_SSHSIG_ALGORITHM_SIZE])
{
    struct pc_sshsig *sig;
    struct pc_cur c, in_key;
    size_t raw_len;
    int r = decode(armored, len, &sig, &raw_len);
    if (r < 0)
        return r;
    pc_cur_init(&c, sig->raw, raw_len);
    r = skip_preamble(&c);
    struct pc_span key = pc_ssh_string(&c);
    pc_cur_init(&in_key, key.p, key.len);
    struct pc_span name = pc_ssh_text(&in_key);
    bool good = r == 0 && !c.failed && !in_key.failed && name.len && name.len < PC_SSHSIG_ALGORITHM_SIZE;
    for (size_t i = 0; good && i < name.len; i++)
        good = name.p[i] > ' ' && name.p[i] < 0x7f;
    if (good) {
        memcpy(out, name.p, name.len);
        out[name.len] = 0;
    }
    free(sig);
    return good ? 0 : PC_E_SYNTAX;
}

int pc_sshsig_key(const char *armored, size_t len, struct pc_sshkey **out)
{
    struct pc_sshsig *sig;
    int r = pc_sshsig_parse(armored, len, &sig);
    if (r < 0)
        return r;
    *out = TAKE_PTR(sig->key);
    pc_sshsig_free(sig);
    return 0;
}

/* The bytes that the key signed: not the message, but its digest with what it was signed for. */
static int to_be_signed(const struct pc_sshsig *sig, const uint8_t *digest, const char *ns, struct pc_buf *out)
{
    pc_buf_add(out, MAGIC, MAGIC_LEN);
    pc_ssh_put_text(out, ns);
    pc_ssh_put_text(out, ""); /* reserved */
    pc_ssh_put_text(out, sig->hash->name);
    return pc_ssh_put_string(out, digest, sig->hash->bytes);
}

static void fill_in(const struct pc_sshsig *sig, const struct pc_sk_details *sk, struct pc_sshsig_info *info)
{
    bool hardware = pc_sshkey_is_hardware(sig->key);
    *info = (struct pc_sshsig_info){
        .sk_flags = sk->flags,
        .sk_counter = sk->counter,
        .hardware = hardware,
        .webauthn = sk->webauthn,
        .user_present = hardware && (sk->flags & PC_SK_USER_PRESENT),
        .user_verified = hardware && (sk->flags & PC_SK_USER_VERIFIED),
    };
    memcpy(info->hash, sig->hash->name, strlen(sig->hash->name) + 1);
}

int pc_sshsig_verify_digest(const struct pc_sshsig *sig, const uint8_t *digest, size_t digest_len, const char *ns,
                            const struct pc_sshkey *key, unsigned flags, struct pc_sshsig_info *info)
{
    struct pc_sk_details sk;
    if (!key || !ns || !*ns || digest_len != sig->hash->bytes)
        return -EINVAL;
    if (!pc_span_is(sig->ns, ns))
        return PC_E_NAMESPACE;
    if (!pc_sshkey_equal(sig->key, key))
        return PC_E_KEY;
    struct pc_buf data _buf_free_;
    pc_buf_init(&data, PC_SSHSIG_ARMOUR_MAX);
    int r = to_be_signed(sig, digest, ns, &data);
    if (r == 0)
        r = pc_sshkey_verify(key, sig->blob, (struct pc_span){(const uint8_t *)data.data, data.len}, &sk);
    if (r < 0)
        return r;
    if (pc_sshkey_is_hardware(key) && !(sk.flags & PC_SK_USER_PRESENT) && !(flags & PC_SSHSIG_UNTOUCHED))
        return PC_E_PRESENCE;
    if (info)
        fill_in(sig, &sk, info);
    return 0;
}

int pc_sshsig_verify(const char *armored, size_t len, const void *msg, size_t msg_len, const char *ns,
                     const struct pc_sshkey *key, struct pc_sshsig_info *info)
{
    struct pc_sshsig *sig;
    uint8_t digest[PC_SSHSIG_DIGEST_MAX];
    unsigned n = 0;
    int r = pc_sshsig_parse(armored, len, &sig);
    if (r < 0)
        return r;
    const EVP_MD *md = EVP_get_digestbyname(sig->hash->name);
    if (md && EVP_Digest(msg, msg_len, digest, &n, md, NULL) == 1)
        r = pc_sshsig_verify_digest(sig, digest, n, ns, key, 0, info);
    else
        r = PC_E_STATE;
    pc_sshsig_free(sig);
    return r;
}
