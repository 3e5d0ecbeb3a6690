#ifndef PC_TRUST_ORDER_H
#define PC_TRUST_ORDER_H
/*
 * Orders, bundles, rings: the rules of PROTOCOL.md 1.6 - 1.10, each rule one check with its own word, in one table. Pure: the
 * caller (runner, server, command line) brings the bytes, the time and what it remembers, and keeps what it is told to remember.
 */
#include "trust/checkpoint.h"
#include "trust/trustfile.h"

#define PC_ORDER_HOSTS_MAX 20000
#define PC_RINGS_MAX 32
#define PC_SEQUENCE_GAP 10000

enum pc_check { /* PROTOCOL 1.9, in order; pc_check_word() gives the word */
    PC_CHECK_OK, PC_CHECK_SYNTAX, PC_CHECK_TENANT, PC_CHECK_ACTION, PC_CHECK_CLASS, PC_CHECK_COUNT, PC_CHECK_CAP,
    PC_CHECK_NOT_ME, PC_CHECK_SIGNATURE, PC_CHECK_QUORUM, PC_CHECK_EXPIRED, PC_CHECK_FUTURE, PC_CHECK_WINDOW,
    PC_CHECK_DWELL, PC_CHECK_LOG, PC_CHECK_CONSISTENCY, PC_CHECK_REPLAYED, PC_CHECK_SEQUENCE, PC_CHECK_SEQUENCE_GAP,
    PC_CHECK_HALTED, PC_CHECK_STALE, PC_CHECK_RING, PC_CHECKS
};
const char *pc_check_word(enum pc_check c);
const char *pc_check_text(enum pc_check c); /* one sentence for people */

struct pc_host_ref {
    char name[PC_NAME_MAX + 1];
    char id[PC_HOST_ID_LEN + 1];
};
/* "NAME#HOSTID". PC_E_SYNTAX. */
int pc_host_ref_parse(const char *text, struct pc_host_ref *out);

struct pc_action { /* one row of the table of 1.6 */
    const char *name;
    unsigned classes; /* bits 1 << enum pc_class */
    int (*check)(const void *params /* json_t * */, char *why, size_t why_len);
};
const struct pc_action *pc_action_find(const char *name);
const struct pc_action *pc_actions(size_t *n);

struct pc_order {
    char id[33], tenant[PC_NAME_MAX + 1], action[32], says[1001], sha256[PC_SHA256_HEX + 1];
    enum pc_class class_;
    void *params;                    /* json_t *, owned */
    uint32_t hosts;
    struct pc_host_ref *host;        /* owned */
    int64_t not_before, expires;     /* unix seconds */
    uint64_t sequence;
    uint32_t dwell;                  /* seconds; UINT32_MAX: the trust file's */
    uint32_t rings;                  /* >= 1 */
    struct { uint32_t hosts, soak; } ring[PC_RINGS_MAX];
    uint32_t halt_failures, halt_incidents;
    bool standing;
    struct { uint8_t days; uint16_t from, until; uint32_t every; } when; /* days: bit 0 monday; minutes of the day; seconds */
};
/* Parses and checks all that needs no memory, key or clock (syntax, action, class, count). */
enum pc_check pc_order_parse(const void *doc, size_t len, struct pc_order *out, char *why, size_t why_len);
void pc_order_clear(struct pc_order *o);
/* Index in hosts, or -1. Both name and id must be equal. */
int64_t pc_order_position(const struct pc_order *o, const struct pc_host_ref *me);
uint32_t pc_order_ring_of(const struct pc_order *o, uint32_t position);

/* What a host remembers between orders; the runner keeps it on disk. */
struct pc_memory {
    struct pc_host_ref me;
    uint64_t sequence;               /* highest accepted */
    struct pc_checkpoint checkpoint; /* last accepted; size 0: none */
    int64_t checkpoint_time;         /* its time line; 0: none */
    bool (*known)(void *ctx, const char *order_sha256);  /* accepted before */
    bool (*halted)(void *ctx, const char *order_sha256);
    void *ctx;
};
struct pc_bundle; /* a parsed bundle of 1.8; opaque; holds its order */
enum pc_check pc_bundle_parse(const char *json, size_t len, struct pc_bundle **out, char *why, size_t why_len);
void pc_bundle_free(struct pc_bundle *b);
const struct pc_order *pc_bundle_order(const struct pc_bundle *b);
const struct pc_envelope *pc_bundle_envelope(const struct pc_bundle *b);

/* Every check of 1.9 up to `halted`, in the table's order. On PC_CHECK_OK: *checkpoint (if the bundle has one) is what the caller must remember.
 * On PC_CHECK_CONSISTENCY the caller keeps both checkpoint texts as evidence. A look-alike of an accepted order answers PC_CHECK_REPLAYED. */
enum pc_check pc_bundle_check(const struct pc_bundle *b, const struct pc_trust *t, const struct pc_revoked *r, const struct pc_memory *m,
                              int64_t now, struct pc_checkpoint *checkpoint, int64_t *checkpoint_time, struct pc_approvers *approvers,
                              char *why, size_t why_len);
/* The bundle's checkpoint text (NULL: none). */
const char *pc_bundle_checkpoint_text(const struct pc_bundle *b);

/* A checkpoint frame (3.1 type 7): signature, witnesses, consistency with memory. */
enum pc_check pc_checkpoint_accept(const char *json, size_t len, const struct pc_trust *t, const struct pc_memory *m,
                                   struct pc_checkpoint *out, int64_t *time, char *why, size_t why_len);
/* A continue (1.10) for ring `ring` of an accepted order. */
enum pc_check pc_continue_check(const char *json, size_t len, const struct pc_order *o, const struct pc_trust *t, const struct pc_memory *m,
                                uint32_t ring, struct pc_checkpoint *out, int64_t *time, char *why, size_t why_len);
/* The standing order's own bounds: is `local` (broken-down local time) inside days and hours, and `every` over since `last_run`? */
struct tm;
bool pc_standing_open(const struct pc_order *o, const struct tm *local, int64_t now, int64_t last_run);
/* Whether an order may start now: dwell over (waited: seconds since acceptance by a clock that does not jump), not expired, not revoked below
 * quorum (approvers are counted again), checkpoint fresh, ring open. */
struct pc_start_facts { int64_t now; uint64_t waited; bool ring_open, halted; };
enum pc_check pc_order_may_start(const struct pc_order *o, const struct pc_envelope *e, const struct pc_trust *t, const struct pc_revoked *r,
                                 const struct pc_memory *m, const struct pc_start_facts *f, char *why, size_t why_len);

/* Hosts' documents (1.11): builders, malloc'd JSON text without envelope. */
struct pc_result {
    const char *tenant, *order_sha256, *look; /* one of the two */
    struct pc_host_ref host;
    uint64_t run;
    const char *outcome;
    int exit, signal; /* -1: none */
    const void *output;
    size_t output_len; /* what is kept, <= 256 KiB */
    char output_sha256[PC_SHA256_HEX + 1];
    bool truncated;
    const void *data; /* json_t * or NULL; borrowed */
    int64_t started, ended;
    struct pc_checkpoint checkpoint;
};
int pc_result_format(const struct pc_result *r, char **json, size_t *len);
int pc_ack_format(const char *tenant, const struct pc_host_ref *host, const char *order_sha256, enum pc_check verdict, const char *text,
                  int64_t time, const struct pc_checkpoint *seen, char **json, size_t *len);
struct pc_ring_report {
    char tenant[PC_NAME_MAX + 1], order_sha256[PC_SHA256_HEX + 1], outcome[16];
    struct pc_host_ref host;
    uint32_t ring, incidents;
    int64_t started, ended, soaked;
};
int pc_ring_report_format(const struct pc_ring_report *r, char **json, size_t *len);
int pc_ring_report_parse(const void *doc, size_t len, struct pc_ring_report *out);

/* RFC 3339 UTC with whole seconds, both ways. */
int pc_time_parse(const char *text, int64_t *out);
void pc_time_format(int64_t t, char out[24]);
#endif
