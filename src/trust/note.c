/*
 * Owns signed notes: taking them apart, checking and making signatures. Hosts, witnesses and clients hand it notes from
 * the network; trusts no byte of them. Must not know what a note's text means (checkpoint.c does) or which keys count.
 */
#include "trust/note.h"

#include "base/base64.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <string.h>

#define ED25519_LEN 64
static const char sig_start[] = "\xe2\x80\x94 "; /* em dash, space */

/* --- parsing ------------------------------------------------------------------------------------------------------ */

/* Valid UTF-8 without control characters but newline. */
static bool is_plain_text(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0, n; i < len; i += n) {
        n = pc_utf8_len(p + i, len - i);
        if (n == 0 || (p[i] < 0x20 && p[i] != '\n'))
            return false;
    }
    return true;
}

static uint32_t be32(const uint8_t p[4])
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* One signature line, without its newline. */
static int parse_sig(const char *line, size_t len, struct pc_note_sig *out)
{
    const size_t start = sizeof sig_start - 1;
    if (len < start || memcmp(line, sig_start, start) != 0)
        return PC_E_SYNTAX;
    const char *name = line + start, *end = line + len;
    const char *space = memchr(name, ' ', (size_t)(end - name));
    if (!space || !pc_note_name_valid(name, (size_t)(space - name)))
        return PC_E_SYNTAX;
    uint8_t blob[4 + PC_NOTE_SIG_MAX];
    struct pc_note_sig s = {.name = name, .name_len = (size_t)(space - name), .base64 = space + 1};
    s.base64_len = (size_t)(end - s.base64);
    ssize_t n = pc_base64_decode(s.base64, s.base64_len, 0, blob, sizeof blob);
    if (n < 0)
        return (int)n;
    if (n < 5)
        return PC_E_SYNTAX;
    s.id = be32(blob);
    *out = s;
    return 0;
}

/* The last empty line ends the text, so the text may have empty lines of its own: where the signatures begin. */
static const char *find_signatures(const char *note, size_t len)
{
    for (size_t i = len; i >= 3; i--)
        if (note[i - 1] == '\n' && note[i - 2] == '\n')
            return note + i;
    return NULL;
}

int pc_note_parse(const char *note, size_t len, struct pc_note *out)
{
    if (len > PC_NOTE_MAX)
        return PC_E_LIMIT;
    if (len == 0 || note[len - 1] != '\n' || !is_plain_text(note, len))
        return PC_E_SYNTAX;
    const char *line = find_signatures(note, len), *end = note + len;
    if (!line)
        return PC_E_SYNTAX;
    struct pc_note n = {.text = note, .text_len = (size_t)(line - note) - 1};
    while (line < end) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));
        if (n.n_sigs == PC_NOTE_SIGS_MAX)
            return PC_E_LIMIT;
        int r = parse_sig(line, (size_t)(eol - line), &n.sig[n.n_sigs]);
        if (r < 0)
            return r;
        n.n_sigs++;
        line = eol + 1;
    }
    if (n.n_sigs == 0)
        return PC_E_SYNTAX;
    *out = n;
    return 0;
}

/* --- Ed25519 ------------------------------------------------------------------------------------------------------ */

static int ed25519_verify(const uint8_t key[32], const uint8_t sig[ED25519_LEN], const void *msg, size_t len)
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int r = -ENOMEM;
    if (pkey && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, pkey) == 1)
        r = EVP_DigestVerify(ctx, sig, ED25519_LEN, msg, len) == 1 ? 0 : PC_E_SIGNATURE;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return r;
}

static int ed25519_sign(const uint8_t seed[32], const void *msg, size_t len, uint8_t sig[ED25519_LEN])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = ED25519_LEN;
    int r = -ENOMEM;
    if (pkey && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, pkey) == 1 &&
        EVP_DigestSign(ctx, sig, &n, msg, len) == 1 && n == ED25519_LEN)
        r = 0;
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    return r;
}

/* --- what is signed ----------------------------------------------------------------------------------------------- */

/* The message of cosignature/v1: two lines before the text, so that it is nobody's plain signature of the text. */
static int cosigned_message(struct pc_buf *b, int64_t time, const char *text, size_t len)
{
    pc_buf_addf(b, "cosignature/v1\ntime %" PRId64 "\n", time);
    pc_buf_add(b, text, len);
    return b->failed ? -ENOMEM : 0;
}

/* One line's signature over the text, by a key of the line's name and id. */
static int verify_plain(const struct pc_note *note, const uint8_t *sig, size_t len, const struct pc_vkey *key,
                        int64_t *time)
{
    (void)time;
    if (len != ED25519_LEN)
        return PC_E_SIGNATURE;
    return ed25519_verify(key->key, sig, note->text, note->text_len);
}

static int verify_timed(const struct pc_note *note, const uint8_t *sig, size_t len, const struct pc_vkey *key,
                        int64_t *time)
{
    if (len != 8 + ED25519_LEN || sig[0] & 0x80)
        return PC_E_SIGNATURE;
    int64_t t = (int64_t)((uint64_t)be32(sig) << 32 | be32(sig + 4));
    _buf_free_ struct pc_buf msg;
    pc_buf_init(&msg, note->text_len + 64);
    int r = cosigned_message(&msg, t, note->text, note->text_len);
    if (r == 0)
        r = ed25519_verify(key->key, sig + 8, msg.data, msg.len);
    if (r == 0 && t > *time)
        *time = t;
    return r;
}

typedef int verify_line(const struct pc_note *note, const uint8_t *sig, size_t len, const struct pc_vkey *key,
                        int64_t *time);

static bool is_by(const struct pc_note_sig *s, const struct pc_vkey *key)
{
    return s->id == key->id && s->name_len == strlen(key->name) && memcmp(s->name, key->name, s->name_len) == 0;
}

static int verify_lines(const struct pc_note *note, const struct pc_vkey *key, verify_line *verify, int64_t *time)
{
    bool found = false;
    for (size_t i = 0; i < note->n_sigs; i++) {
        const struct pc_note_sig *s = &note->sig[i];
        if (!is_by(s, key))
            continue;
        uint8_t blob[4 + PC_NOTE_SIG_MAX];
        ssize_t n = pc_base64_decode(s->base64, s->base64_len, 0, blob, sizeof blob);
        if (n < 5)
            return PC_E_SYNTAX;
        int r = verify(note, blob + 4, (size_t)n - 4, key, time);
        if (r < 0)
            return r;
        found = true;
    }
    return found ? 0 : PC_E_NOTFOUND;
}

int pc_note_verify(const struct pc_note *note, const struct pc_vkey *key)
{
    if (key->alg != PC_SIG_ED25519)
        return PC_E_UNSUPPORTED;
    return verify_lines(note, key, verify_plain, NULL);
}

int pc_note_verify_cosignature(const struct pc_note *note, const struct pc_vkey *key, int64_t *time)
{
    if (key->alg != PC_SIG_COSIGNATURE)
        return PC_E_UNSUPPORTED;
    int64_t newest = 0;
    int r = verify_lines(note, key, verify_timed, &newest);
    if (r == 0 && time)
        *time = newest;
    return r;
}

/* --- signing ------------------------------------------------------------------------------------------------------ */

static int check_text(const char *text, size_t len)
{
    if (len > PC_NOTE_MAX)
        return PC_E_LIMIT;
    return len > 0 && text[len - 1] == '\n' && is_plain_text(text, len) ? 0 : PC_E_SYNTAX;
}

static int add_line(struct pc_buf *out, const struct pc_vkey *key, const uint8_t *sig, size_t len)
{
    uint8_t blob[4 + 8 + ED25519_LEN] = {(uint8_t)(key->id >> 24), (uint8_t)(key->id >> 16), (uint8_t)(key->id >> 8),
                                         (uint8_t)key->id};
    char base64[PC_BASE64_SIZE(sizeof blob)];
    memcpy(blob + 4, sig, len);
    pc_base64_encode(blob, 4 + len, base64);
    return pc_buf_addf(out, "%s%s %s\n", sig_start, key->name, base64);
}

int pc_note_sign(const char *text, size_t len, const struct pc_skey *key, struct pc_buf *out)
{
    if (key->pub.alg != PC_SIG_ED25519)
        return PC_E_UNSUPPORTED;
    uint8_t sig[ED25519_LEN];
    int r = check_text(text, len);
    if (r == 0)
        r = ed25519_sign(key->seed, text, len, sig);
    if (r < 0)
        return r;
    pc_buf_add(out, text, len);
    pc_buf_add(out, "\n", 1);
    return add_line(out, &key->pub, sig, sizeof sig);
}

int pc_note_cosign(const char *text, size_t len, const struct pc_skey *key, int64_t time, struct pc_buf *out)
{
    if (key->pub.alg != PC_SIG_COSIGNATURE)
        return PC_E_UNSUPPORTED;
    if (time < 0)
        return PC_E_RANGE;
    int r = check_text(text, len);
    if (r < 0)
        return r;
    _buf_free_ struct pc_buf msg;
    pc_buf_init(&msg, len + 64);
    r = cosigned_message(&msg, time, text, len);
    uint8_t sig[8 + ED25519_LEN];
    for (unsigned i = 0; i < 8; i++)
        sig[i] = (uint8_t)((uint64_t)time >> (56 - 8 * i));
    if (r == 0)
        r = ed25519_sign(key->seed, msg.data, msg.len, sig + 8);
    return r < 0 ? r : add_line(out, &key->pub, sig, sizeof sig);
}
