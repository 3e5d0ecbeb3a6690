#ifndef PC_TRUST_TRUSTFILE_H
#define PC_TRUST_TRUSTFILE_H
/*
 * The trust file (PROTOCOL.md 1.3), revocations (1.4), the server statement (1.5) and the one question all of them and
 * every order end in: which distinct owners, holding this class, not revoked, signed these bytes?
 *
 * Functions with a `word` set it on failure to what is wrong, in the manner of PROTOCOL 1.9: "syntax", "tenant",
 * "version", "owner", "signature", "quorum", "limit", "memory".
 */
#include "trust/class.h"
#include "trust/envelope.h"
#include "trust/note_key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_OWNERS_MAX 64
#define PC_WITNESSES_MAX 16
#define PC_VERSION_STEP_MAX 1000 /* a new trust file is at most so much newer than the pinned one */
#define PC_DWELL_MAX 604800
#define PC_SILENCE_DEFAULT 900

#define PC_NS_ORDER "order@portcullis"
#define PC_NS_TRUST "trust@portcullis"
#define PC_NS_REVOKE "revoke@portcullis"
#define PC_NS_SERVER "server@portcullis"

struct pc_sshkey;
struct pc_owner {
    char name[PC_NAME_MAX + 1];
    struct pc_sshkey *key;
    char fingerprint[64]; /* "SHA256:..." */
    unsigned classes;     /* bits 1 << enum pc_class */
    bool hardware;        /* the key must be a hardware key */
};
struct pc_trust {
    char tenant[PC_NAME_MAX + 1];
    uint64_t version;
    int64_t created; /* unix seconds */
    uint32_t owners;
    struct pc_owner owner[PC_OWNERS_MAX];
    uint32_t threshold[PC_CLASSES]; /* A: 0 */
    uint32_t cap[PC_CLASSES];       /* hosts an order may name; classes without a cap: UINT32_MAX */
    uint32_t dwell, silence;        /* seconds */
    struct pc_vkey log;             /* its name is the log's origin */
    uint32_t witnesses, witnesses_needed;
    struct pc_vkey witness[PC_WITNESSES_MAX];
    char sha256[PC_SHA256_HEX + 1]; /* of the document */
};
/*
 * Parses and checks every rule of 1.3; *out, about 16 KiB, is to be cleared. PC_E_SYNTAX, PC_E_LIMIT or -ENOMEM; why
 * (may be NULL) says which rule.
 */
int pc_trust_parse(const void *doc, size_t len, struct pc_trust *out, char *why, size_t why_len);
/* Frees the keys and empties it; an empty one is fine. */
void pc_trust_clear(struct pc_trust *t);

/* Keys that count no more, by fingerprint. The host keeps them on disk; bounded. */
#define PC_REVOKED_MAX 256
struct pc_revoked {
    uint32_t n;
    char fingerprint[PC_REVOKED_MAX][64];
};
bool pc_revoked_has(const struct pc_revoked *r, const char *fingerprint);

/* Who signed: distinct owners holding the class, not revoked. */
struct pc_approvers {
    uint32_t n;                        /* counts */
    uint32_t owner[PC_SIGNATURES_MAX]; /* indexes in trust.owner, distinct */
    uint32_t revoked;                  /* good signatures by revoked keys: not counted */
};
/*
 * PC_E_SIGNATURE: a signature does not verify in this namespace, or is by a key that the trust file does not list.
 * -ENOMEM. 0: out tells (perhaps fewer than the threshold). A hardware key's signature that nobody touched the key for
 * is never counted. r NULL: nothing is revoked.
 */
int pc_trust_approvers(const struct pc_trust *t, const struct pc_revoked *r, enum pc_class c, const char *ns,
                       const struct pc_envelope *e, struct pc_approvers *out);
/* The same for documents that may well be signed by people of another version of the trust file: those do not count. */
int pc_trust_approvers_known(const struct pc_trust *t, const struct pc_revoked *r, enum pc_class c, const char *ns,
                             const struct pc_envelope *e, struct pc_approvers *out);

/*
 * May `next` replace `t`? 0 and *out, parsed, to be cleared; PC_E_SYNTAX, PC_E_REFUSED, PC_E_SIGNATURE, -ENOMEM and the
 * word.
 */
int pc_trust_may_replace(const struct pc_trust *t, const struct pc_revoked *r, const struct pc_envelope *next,
                         struct pc_trust *out, const char **word);

struct pc_revocation { /* the document, before anybody believes it */
    char tenant[PC_NAME_MAX + 1], owner[PC_NAME_MAX + 1], key[64], reason[201];
    int64_t created;
};
int pc_revocation_parse(const void *doc, size_t len, struct pc_revocation *out, char *why, size_t why_len);
/*
 * Checks a revocation: signed by the key that it revokes, or by enough other owners holding T. On success adds the
 * fingerprint to r (once). PC_E_LIMIT when r is full; else errors as above.
 */
int pc_revocation_apply(const struct pc_trust *t, struct pc_revoked *r, const struct pc_envelope *e, const char **word);

struct pc_server_statement {
    char tenant[PC_NAME_MAX + 1];
    uint64_t version;
    int64_t created;
    char url[512], link[300]; /* "https://HOST:PORT", "HOST:PORT" */
    char *ca;                 /* PEM, owned */
};
/* The document alone, to be cleared. */
int pc_server_statement_parse(const void *doc, size_t len, struct pc_server_statement *out, char *why, size_t why_len);
/* ... and signed by the quorum for T, with a version higher than above_version. Errors as of pc_trust_may_replace. */
int pc_server_statement_open(const struct pc_trust *t, const struct pc_revoked *r, uint64_t above_version,
                             const struct pc_envelope *e, struct pc_server_statement *out, const char **word);
void pc_server_statement_clear(struct pc_server_statement *s);
#endif
