#ifndef PC_TRUST_ENVELOPE_H
#define PC_TRUST_ENVELOPE_H
/*
 * The two envelopes that documents travel in (PROTOCOL.md 1.2): owners' (SSHSIG texts) and hosts' (one Ed25519 signature).
 * Pure: bytes in, answer out. An envelope proves nothing until somebody who knows the keys asks.
 */
#include <stddef.h>
#include <stdint.h>

#define PC_SIGNATURES_MAX 16
#define PC_DOCUMENT_MAX (1u << 20)
#define PC_HOST_ID_LEN 32 /* hex digits of a host's identity, the first half of SHA-256 over its public key */
#define PC_NAME_MAX 64    /* longest name, without the closing 0 */
#define PC_SHA256_HEX 64

/* An owners' document with its signatures, exactly as they came. Owned; free with pc_envelope_clear. */
struct pc_envelope {
    char *document;
    size_t len;
    uint32_t signatures;
    struct {
        char *text;
        size_t len;
    } signature[PC_SIGNATURES_MAX];
    char sha256[PC_SHA256_HEX + 1]; /* of the document, hex */
};

/* Parses {"document","signatures"}. PC_E_SYNTAX, PC_E_LIMIT, -ENOMEM. */
int pc_envelope_parse(const char *json, size_t len, struct pc_envelope *out);
/* Makes one of parts (copied). signatures may be 0: an order nobody approved yet. */
int pc_envelope_make(const void *document, size_t len, struct pc_envelope *out);
int pc_envelope_add(struct pc_envelope *e, const char *signature, size_t len); /* the same text twice: added once */
/* JSON text, malloc'd, with its length; to be freed by the caller. */
int pc_envelope_format(const struct pc_envelope *e, char **json, size_t *len);
void pc_envelope_clear(struct pc_envelope *e);

/* A host's document: parsed and its signature checked. `kind` is the word of PROTOCOL 1.1 ("result", "ack", ...). */
struct pc_host_envelope {
    char *document;
    size_t len;
    uint8_t key[32], signature[64];
    char id[PC_HOST_ID_LEN + 1]; /* of key */
    char sha256[PC_SHA256_HEX + 1];
};
int pc_host_envelope_open(const char *json, size_t len, const char *kind, struct pc_host_envelope *out); /* PC_E_SIGNATURE when forged */
/* Signs with the 32-byte Ed25519 seed; malloc'd JSON. */
int pc_host_envelope_seal(const void *document, size_t len, const char *kind, const uint8_t seed[32], char **json, size_t *json_len);
void pc_host_envelope_clear(struct pc_host_envelope *e);
/* HOSTID of a raw Ed25519 public key. */
void pc_host_id(const uint8_t key[32], char out[PC_HOST_ID_LEN + 1]);
#endif
