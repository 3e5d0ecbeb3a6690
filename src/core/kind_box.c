/* Owns the checks of what is made to be unreadable without a key. Here a magic alone must never pass as harmless. */
#include "core/bytes.h"
#include "core/kind_impl.h"

/* --- openpgp (RFC 4880, 9580) ------------------------------------------------------------------------------------- */

struct packet {
    uint32_t tag, body, len; /* len 0xffffffff: to the end, or in pieces */
};

static bool packet_at(const uint8_t *p, uint32_t n, struct packet *out)
{
    if (n < 6 || !(p[0] & 0x80))
        return false;
    if (p[0] & 0x40) { /* new format */
        out->tag = p[0] & 0x3f;
        if (p[1] < 192)
            *out = (struct packet){out->tag, 2, p[1]};
        else if (p[1] < 224)
            *out = (struct packet){out->tag, 3, ((p[1] - 192u) << 8) + p[2] + 192};
        else if (p[1] == 255)
            *out = (struct packet){out->tag, 6, pc_be32(p + 2)};
        else
            *out = (struct packet){out->tag, 2, 0xffffffff};
        return true;
    }
    out->tag = p[0] >> 2 & 15;
    switch (p[0] & 3) {
    case 0:
        *out = (struct packet){out->tag, 2, p[1]};
        break;
    case 1:
        *out = (struct packet){out->tag, 3, pc_be16(p + 1)};
        break;
    case 2:
        *out = (struct packet){out->tag, 5, pc_be32(p + 1)};
        break;
    default:
        *out = (struct packet){out->tag, 1, 0xffffffff};
    }
    return true;
}

/* A session key: encrypted to a public key (version 3 or 6) or from a passphrase (version 4 to 6). */
static bool is_session_key(const struct packet *k, const uint8_t *body, uint32_t n)
{
    if (k->len > 1100 || n < 6)
        return false;
    if (k->tag == 3)
        return body[0] >= 4 && body[0] <= 6 && (body[0] > 4 || (body[1] >= 1 && body[1] <= 13 && body[2] <= 4));
    return k->tag == 1 && (body[0] == 3 || body[0] == 6);
}

/* Any number of session keys, then encrypted data (tags 9, 18, 20). */
enum pc_proof pc_check_gpg(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint64_t at = 0;
    for (int keys = 0; keys < 64; keys++) {
        struct packet k;
        if (at + 6 > v->head_len || !packet_at(v->head + at, (uint32_t)(v->head_len - at), &k))
            return PC_PROOF_NONE;
        if (keys > 0 && (k.tag == 9 || k.tag == 18 || k.tag == 20))
            return PC_PROOF_STRUCTURE;
        at += k.body;
        if (at + 6 > v->head_len || !is_session_key(&k, v->head + at, (uint32_t)(v->head_len - at)))
            return PC_PROOF_NONE;
        at += k.len;
    }
    return PC_PROOF_NONE;
}

/* Key rings: a public or secret key packet of version 4, then a user name or a signature. */
enum pc_proof pc_check_gpg_keys(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    struct packet k, next;
    if (!packet_at(v->head, v->head_len, &k) || (k.tag != 6 && k.tag != 5 && k.tag != 2) || k.len > 8192 || k.len < 16)
        return PC_PROOF_NONE;
    if (k.body >= v->head_len || v->head[k.body] < 3 || v->head[k.body] > 6)
        return PC_PROOF_NONE;
    uint64_t at = (uint64_t)k.body + k.len;
    if (k.tag == 2)
        return at == v->size ? PC_PROOF_STRUCTURE : PC_PROOF_NONE; /* a detached signature */
    if (at + 6 > v->head_len || !packet_at(v->head + at, (uint32_t)(v->head_len - at), &next))
        return PC_PROOF_NONE;
    /* signature, subkeys, trust, user name, user picture */
    const uint32_t may_follow = 1u << 2 | 1u << 7 | 1u << 12 | 1u << 13 | 1u << 14 | 1u << 17;
    return next.tag < 32 && may_follow >> next.tag & 1 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

/* "Salted__", eight bytes of salt, then cipher blocks. */
enum pc_proof pc_check_openssl(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    return v->size > 16 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

/* DER: SEQUENCE { OBJECT IDENTIFIER envelopedData (1.2.840.113549.1.7.3) or authEnvelopedData (...1.9.16.1.23) */
enum pc_proof pc_check_cms(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint32_t n = v->head_len < 24 ? v->head_len : 24;
    bool enveloped = pc_find_bytes(v->head, n, "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03", 11) ||
                     pc_find_bytes(v->head, n, "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17", 11);
    return enveloped ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_luks(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint16_t version = v->head_len >= 8 ? pc_be16(v->head + 6) : 0;
    return version >= 1 && version <= 2 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}
