#ifndef PC_CLI_NET_LOG_AUDIT_H
#define PC_CLI_NET_LOG_AUDIT_H
#include "cli/net/fleet.h"
#include "cli/net/log_walk.h"

/*
 * What every entry of the log must be: well formed, about this tenant; an order with the approvals of a quorum of the
 * owners, and so every change of who they are; a host's document signed by that host; a halt that hosts' reports bear
 * out; and every checkpoint that a host says it saw, a beginning of this very log. Signatures come out of the log
 * itself; older servers logged orders with the signatures' hashes only, then they are fetched from the server.
 */
#define PC_AUDIT_PROBLEMS_SHOWN 100
#define PC_AUDIT_PROBLEMS_MAX 10000 /* then the rest is not looked at */
#define PC_AUDIT_REPORTS_MAX                                                                                           \
    100000 /* bad ring reports that are remembered; halts that name later ones are noted, not checked */

/* Parts of an envelope, until the entry comes that names it: the next one. */
struct pc_audit_pieces {
    char sha256[PC_SHA256_HEX + 1];
    uint32_t next, parts; /* parts 0: none */
    struct pc_buf text;
};

struct pc_audit {
    struct pc_fleet *fleet;
    struct pc_log_walk *walk;       /* for the roots */
    bool log_only;                  /* ask for nothing that is not in the log itself */
    json_t *counts;                 /* entries by type */
    json_t *problems;               /* the first of [{"index", "what"}] */
    json_t *notes;                  /* what could not be checked, in words */
    uint64_t n_problems, orders_checked, orders_unchecked, seen_checked, outside;
    /* trust files, revocations, statements: by their signatures; logged without them */
    uint64_t changes_checked, changes_unchecked;
    /* inside */
    /* SHA-256 of each logged order -> {"rings", "failures", "incidents"}; "halted" with the run that was */
    json_t *orders;
    json_t *bad;    /* SHA-256 of each ring report that counts against its ring -> what it says */
    struct pc_audit_pieces pieces;
    int status;         /* the audit cannot go on */
    uint64_t statement; /* newest version */
    bool any_trust;     /* one was logged before this entry */
    struct pc_trust *trust; /* in force at this entry: the fleet's, or the one of a former version */
    struct pc_trust former;
    bool has_former, unknown_trust;
    struct pc_revoked revoked;
};
int pc_audit_init(struct pc_audit *a, struct pc_fleet *f, struct pc_log_walk *walk, bool log_only);
void pc_audit_clear(struct pc_audit *a);
/* For pc_log_walk. Nonzero only when the audit cannot go on (the server does not answer, too many problems). */
int pc_audit_entry(void *audit, uint64_t index, const void *data, size_t len);
/* Something wrong at an entry; what came from others is escaped when it is printed. */
void pc_audit_problem(struct pc_audit *a, uint64_t index, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void pc_audit_note(struct pc_audit *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct pc_entry;
struct pc_entry_signed;
struct pc_ring_report;
/* Fills in what came in parts; clears those. False: the entry has not all of it, and they neither. */
bool pc_audit_complete(struct pc_audit *a, struct pc_entry_signed *s);
/* Remembers a ring report that its host signed, for halts. */
void pc_audit_report(struct pc_audit *a, uint64_t index, const char *sha256, const struct pc_ring_report *r);
/* One kind of entry each (log_audit_hosts.c, log_audit_owners.c, log_audit_trust.c, log_audit_rings.c). */
int pc_audit_host(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
int pc_audit_order(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
int pc_audit_ring(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
int pc_audit_halt(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
int pc_audit_owners(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
int pc_audit_part(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
#endif
