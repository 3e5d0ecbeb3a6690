#ifndef PC_TRUST_ENVELOPE_H
#define PC_TRUST_ENVELOPE_H
/*
 * The two envelopes that documents travel in (PROTOCOL.md 1.2): owners' (SSHSIG texts) and hosts' (one Ed25519
 * signature). Pure: bytes in, answer out. An envelope proves nothing until somebody who knows the keys asks.
 */
#include "trust/names.h"

#include <stddef.h>
#include <stdint.h>

#define PC_SIGNATURES_MAX 16
#define PC_SIGNATURE_TEXT_MAX 8192
#define PC_DOCUMENT_MAX (256u << 10)   /* no owners' document is larger: a trust file */
#define PC_DOCUMENT_SMALL_MAX (64u << 10) /* an order, and every kind without a limit of its own */
#define PC_TRUST_DOCUMENT_MAX PC_DOCUMENT_MAX
#define PC_RESULT_DOCUMENT_MAX (512u << 10)
#define PC_ENVELOPE_MAX (2u << 20)      /* the JSON text of anything that travels */

/* An owners' document with its signatures, exactly as they came. Owned; free with pc_envelope_clear. */
struct pc_envelope {
    char *document; /* document[len] is 0 */
    size_t len;
    uint32_t signatures;
    struct {
        char *text;
        size_t len;
    } signature[PC_SIGNATURES_MAX];
    char sha256[PC_SHA256_HEX + 1]; /* of the document, hex */
};

/*
 * Parses {"document","signatures"}: 0..16 signatures, none twice. PC_E_SYNTAX, PC_E_LIMIT, -ENOMEM. The document is not
 * looked at: it is whatever was signed.
 */
int pc_envelope_parse(const char *json, size_t len, struct pc_envelope *out);
/* Makes one of a document (copied) that nobody signed yet. PC_E_LIMIT, -ENOMEM. */
int pc_envelope_make(const void *document, size_t len, struct pc_envelope *out);
/* Adds a signature (copied); the same text twice is added once. PC_E_LIMIT: too many, or longer than 8 KiB; -ENOMEM. */
int pc_envelope_add(struct pc_envelope *e, const char *signature, size_t len);
/* JSON text, malloc'd, with its length; to be freed by the caller. -ENOMEM. */
int pc_envelope_format(const struct pc_envelope *e, char **json, size_t *len);
/* Frees what it holds and empties it; an empty one is fine. */
void pc_envelope_clear(struct pc_envelope *e);

/*
 * A host's document whose signature was checked, by the key that it came with: whose key that is, the caller must know.
 */
struct pc_host_envelope {
    char *document; /* document[len] is 0 */
    size_t len;
    uint8_t key[32], signature[64];
    char id[PC_HOST_ID_LEN + 1];    /* of key */
    char sha256[PC_SHA256_HEX + 1]; /* of the document */
};
/*
 * Parses and verifies. `kind` is the word of PROTOCOL 1.1 ("enroll", "result", "ring", "ack"). PC_E_SYNTAX, PC_E_LIMIT,
 * PC_E_SIGNATURE (forged, or made for another kind), -ENOMEM.
 */
int pc_host_envelope_open(const char *json, size_t len, const char *kind, struct pc_host_envelope *out);
/*
 * The same without verifying: only for what this program itself opened, and kept where nobody else writes. Not for
 * anything that a decision rests on: whoever is told of it verifies it.
 */
int pc_host_envelope_kept(const char *json, size_t len, struct pc_host_envelope *out);
/* Signs with the 32-byte Ed25519 seed; malloc'd JSON. PC_E_STATE: libcrypto cannot; -ENOMEM. */
int pc_host_envelope_seal(const void *document, size_t len, const char *kind, const uint8_t seed[32], char **json,
                          size_t *json_len);
void pc_host_envelope_clear(struct pc_host_envelope *e);
/* HOSTID of a raw Ed25519 public key. */
void pc_host_id(const uint8_t key[32], char out[PC_HOST_ID_LEN + 1]);
/* Hex SHA-256, as documents name each other. */
void pc_sha256_text(const void *data, size_t len, char out[PC_SHA256_HEX + 1]);
#endif
