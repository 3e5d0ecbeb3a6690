#ifndef PC_SERVER_POLICY_H
#define PC_SERVER_POLICY_H
/*
 * What the owners said that the server must know: trust file, revocations, server statement, as they are kept in the
 * store (owners' envelopes, JSON). A policy is an immutable snapshot with a count of references, so that the writer's
 * thread and the loop can each hold the one they began with. The server checks to save owners from mistakes; hosts
 * check again and are the ones that count.
 */
#include "store/store.h"
#include "trust/order.h"
#include "trust/trustfile.h"

struct pc_server_policy {
    bool has_trust;
    struct pc_trust trust;
    struct pc_revoked revoked;
    char *trust_json, *revocations_json,
        *statement_json; /* the envelope; a JSON array of envelopes; the envelope. NULL: none */
    uint64_t statement_version;
    char statement_sha256[PC_SHA256_HEX + 1];
};
/* Keys in the store. */
#define PC_KEY_TRUST "trust"
#define PC_KEY_REVOCATIONS "revocations"
#define PC_KEY_STATEMENT "statement"
#define PC_KEY_POLICY "policy"     /* changes whenever one of these three does */
#define PC_KEY_SEQUENCE "sequence" /* highest sequence of an order ever taken, decimal text */

/* From the store. One reference; PC_E_CORRUPT when what is kept does not parse. why: one line. */
int pc_server_policy_load(struct pc_store *s, struct pc_server_policy **out, char *why, size_t why_len);
struct pc_server_policy *pc_server_policy_ref(struct pc_server_policy *p);
void pc_server_policy_unref(struct pc_server_policy *p); /* any thread; NULL is fine */

/* A word of PROTOCOL 1.9 and the reason, when hosts would refuse this. highest: of the log's orders. PC_CHECK_OK. */
enum pc_check pc_server_policy_check_order(const struct pc_server_policy *p, const struct pc_order *o,
                                           const struct pc_envelope *e, uint64_t highest, int64_t now,
                                           struct pc_approvers *approvers, char *why, size_t why_len);
/* Takes another trust file, revocation or statement into the store (inside a transaction). 0; 1: it is there already,
 * and nothing was changed; PC_E_REFUSED with the word in why. */
int pc_server_policy_put_trust(struct pc_store *s, const struct pc_envelope *e, char *why, size_t why_len);
int pc_server_policy_put_revocation(struct pc_store *s, const struct pc_envelope *e, char *why, size_t why_len);
int pc_server_policy_put_statement(struct pc_store *s, const struct pc_envelope *e, char *why, size_t why_len);
#endif
