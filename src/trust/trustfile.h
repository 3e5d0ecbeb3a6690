#ifndef PC_TRUST_TRUSTFILE_H
#define PC_TRUST_TRUSTFILE_H
/*
 * The trust file (PROTOCOL.md 1.3), revocations (1.4), the server statement (1.5) and the one question all of them and every order
 * end in: which distinct owners, holding this class, not revoked, signed these bytes?
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

struct pc_sshkey;
struct pc_owner {
    char name[PC_NAME_MAX + 1];
    struct pc_sshkey *key;
    char fingerprint[64];
    unsigned classes; /* bit 1 << enum pc_class */
    bool hardware;    /* only signatures of a hardware key with a touch count */
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
    char sha256[PC_SHA256_HEX + 1];
};
/* Parses and checks every rule of 1.3. On failure says which rule in why (may be NULL). */
int pc_trust_parse(const void *doc, size_t len, struct pc_trust *out, char *why, size_t why_len);
void pc_trust_clear(struct pc_trust *t);

/* Keys that count no more, by fingerprint. The host keeps them on disk; bounded. */
#define PC_REVOKED_MAX 256
struct pc_revoked {
    uint32_t n;
    char fingerprint[PC_REVOKED_MAX][64];
};
bool pc_revoked_has(const struct pc_revoked *r, const char *fingerprint);

/* Who signed: distinct owners holding the class, not revoked, hardware rule kept. */
struct pc_approvers {
    uint32_t n;                       /* counts */
    uint32_t owner[PC_SIGNATURES_MAX]; /* indexes in trust.owner, distinct */
    uint32_t revoked;                 /* good signatures by revoked keys: not counted */
};
/* PC_E_SIGNATURE: one signature does not verify, or is by nobody we know. 0: out tells (perhaps fewer than the threshold). */
int pc_trust_approvers(const struct pc_trust *t, const struct pc_revoked *r, enum pc_class c, const char *ns,
                       const struct pc_envelope *e, struct pc_approvers *out);

/* May `next` replace `t`? Error word of PROTOCOL 1.9 style in word ("tenant", "version", "signature", "quorum"). */
int pc_trust_may_replace(const struct pc_trust *t, const struct pc_revoked *r, const struct pc_envelope *next,
                         struct pc_trust *out, const char **word);
/* Checks a revocation; on success adds the fingerprint to r. PC_E_LIMIT when r is full. */
int pc_revocation_apply(const struct pc_trust *t, struct pc_revoked *r, const struct pc_envelope *e, const char **word);

struct pc_server_statement {
    uint64_t version;
    char url[512], link[300];
    char *ca; /* PEM, owned */
};
int pc_server_statement_open(const struct pc_trust *t, const struct pc_revoked *r, uint64_t above_version,
                             const struct pc_envelope *e, struct pc_server_statement *out, const char **word);
void pc_server_statement_clear(struct pc_server_statement *s);
#endif
