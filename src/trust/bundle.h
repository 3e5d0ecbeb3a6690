#ifndef PC_TRUST_BUNDLE_H
#define PC_TRUST_BUNDLE_H
/*
 * What a host does with an order: the rules of PROTOCOL.md 1.8 - 1.10, each rule one check with its own word, in one
 * table (checks.c). Pure: the caller (runner, server, command line) brings the bytes, the time and what it remembers,
 * and keeps what it is told to remember. In all of it: `why` (may be NULL) gets the reason in words; on failure no
 * out-parameter is touched.
 */
#include "trust/checkpoint.h"
#include "trust/order.h"
#include "trust/trustfile.h"

/* What a host remembers between orders; the runner keeps it on disk. */
struct pc_memory {
    struct pc_host_ref me;
    uint64_t sequence;               /* highest accepted */
    struct pc_checkpoint checkpoint; /* last accepted, with its time; size 0 and no origin: none */
    bool (*known)(void *ctx, const char *order_sha256);  /* accepted before; NULL: nothing was */
    bool (*halted)(void *ctx, const char *order_sha256); /* NULL: nothing is */
    void *ctx;
};

struct pc_bundle; /* a parsed bundle of 1.8; holds its order */
/* PC_CHECK_SYNTAX, ACTION, CLASS, COUNT, WINDOW, MEMORY. To be freed. */
enum pc_check pc_bundle_parse(const char *json, size_t len, struct pc_bundle **out, char *why, size_t why_len);
void pc_bundle_free(struct pc_bundle *b); /* NULL is fine */
const struct pc_order *pc_bundle_order(const struct pc_bundle *b);
const struct pc_envelope *pc_bundle_envelope(const struct pc_bundle *b);
/* Position of the bundle's own host in the order, or -1: what `place` proves, or where `me` is in the list. */
int64_t pc_bundle_position(const struct pc_bundle *b, const struct pc_host_ref *me);
/* The bundle's checkpoint text, for the evidence (NULL: none). */
const char *pc_bundle_checkpoint_text(const struct pc_bundle *b);

/*
 * Every check of 1.9 from `tenant` to `halted`, in the table's order. On PC_CHECK_OK *checkpoint is what the caller
 * must remember from now on (its size is 0 when the bundle is a stop whose log part is absent or does not hold:
 * remember nothing), and *approvers who approved. On PC_CHECK_CONSISTENCY the caller keeps both checkpoint texts as
 * evidence. An order accepted before answers PC_CHECK_REPLAYED.
 */
enum pc_check pc_bundle_check(const struct pc_bundle *b, const struct pc_trust *t, const struct pc_revoked *r,
                              const struct pc_memory *m, int64_t now, struct pc_checkpoint *checkpoint,
                              struct pc_approvers *approvers, char *why, size_t why_len);

/*
 * What an owner can know before any host is asked: TENANT, CAP, SIGNATURE, EXPIRED, DWELL, MEMORY; whether enough
 * owners approved is for the caller to say, from *approvers.
 */
enum pc_check pc_order_may_submit(const struct pc_order *o, const struct pc_envelope *e, const struct pc_trust *t,
                                  const struct pc_revoked *r, int64_t now, struct pc_approvers *approvers, char *why,
                                  size_t why_len);

/* A checkpoint frame (3.1 type 7): signature, witnesses, consistency with memory. SYNTAX, LOG, CONSISTENCY, MEMORY. */
enum pc_check pc_checkpoint_accept(const char *json, size_t len, const struct pc_trust *t, const struct pc_memory *m,
                                   struct pc_checkpoint *out, char *why, size_t why_len);
/*
 * A start frame (type 5) of an accepted standing order: a logged run higher than last_run. *run is its number. SYNTAX,
 * CLASS (not standing), SEQUENCE (not higher), LOG, CONSISTENCY, MEMORY. Whether it may run now: pc_standing_open and
 * pc_order_may_start.
 */
enum pc_check pc_start_check(const char *json, size_t len, const struct pc_order *o, const struct pc_trust *t,
                             const struct pc_memory *m, uint64_t last_run, uint64_t *run, struct pc_checkpoint *out,
                             char *why, size_t why_len);
/*
 * A continue (1.10) that opens ring `ring` (>= 1) of run `run` (0: not a standing order). SYNTAX, RING, LOG,
 * CONSISTENCY, MEMORY.
 */
enum pc_check pc_continue_check(const char *json, size_t len, const struct pc_order *o, const struct pc_trust *t,
                                const struct pc_memory *m, uint32_t ring, uint64_t run, struct pc_checkpoint *out,
                                char *why, size_t why_len);
/*
 * The order and ring that a continue or a start names, unchecked, to find the order by. PC_E_SYNTAX, PC_E_LIMIT,
 * -ENOMEM.
 */
struct pc_names_order {
    char order_sha256[PC_SHA256_HEX + 1];
    uint32_t ring; /* a start: 0 */
    uint64_t run;
};
int pc_continue_names(const char *json, size_t len, struct pc_names_order *out);
int pc_start_names(const char *json, size_t len, struct pc_names_order *out);

/*
 * Whether an accepted order may start now: halted, window, dwell over (waited: seconds since acceptance by a clock that
 * neither stops nor jumps), approvals counted again with what is revoked by now, log fresh, ring open. Each answer is
 * "not now"; only HALTED, EXPIRED and QUORUM are final.
 */
struct pc_start_facts {
    int64_t now;
    uint64_t waited;
    bool ring_open, halted;
    bool outside; /* a standing order, and not now its days and hours, in the host's local time */
};
enum pc_check pc_order_may_start(const struct pc_order *o, const struct pc_envelope *e, const struct pc_trust *t,
                                 const struct pc_revoked *r, const struct pc_memory *m, const struct pc_start_facts *f,
                                 char *why, size_t why_len);
/* Is the last accepted checkpoint's time within `silence` of now? */
bool pc_checkpoint_fresh(const struct pc_checkpoint *c, const struct pc_trust *t, int64_t now);
#endif
