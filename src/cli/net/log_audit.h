#ifndef PC_CLI_NET_LOG_AUDIT_H
#define PC_CLI_NET_LOG_AUDIT_H
#include "cli/net/fleet.h"
#include "cli/net/log_walk.h"

/*
 * What every entry of the log must be: well formed, about this tenant; an order with the approvals of a quorum of the owners; a host's document
 * signed by that host; and every checkpoint that a host says it saw, a beginning of this very log.
 */
#define PC_AUDIT_PROBLEMS_SHOWN 100
#define PC_AUDIT_PROBLEMS_MAX 10000 /* then the rest is not looked at */

struct pc_audit {
    struct pc_fleet *fleet;
    const struct pc_log_walk *walk; /* for the roots */
    bool log_only;                  /* ask for nothing that is not in the log itself: approvals are not checked */
    json_t *counts;                 /* entries by type */
    json_t *problems;               /* the first of [{"index", "what"}] */
    json_t *notes;                  /* what could not be checked, in words */
    uint64_t n_problems, orders_checked, orders_unchecked, seen_checked, outside;
    /* inside */
    json_t *orders; /* SHA-256 of each logged order -> its class */
    struct pc_trust *trust; /* in force at this entry: the fleet's, or the one of a former version */
    struct pc_trust former;
    bool has_former, unknown_trust;
    struct pc_revoked revoked;
};
int pc_audit_init(struct pc_audit *a, struct pc_fleet *f, const struct pc_log_walk *walk, bool log_only);
void pc_audit_clear(struct pc_audit *a);
/* For pc_log_walk. Nonzero only when the audit cannot go on (the server does not answer, too many problems). */
int pc_audit_entry(void *audit, uint64_t index, const void *data, size_t len);
/* Something wrong at an entry; what came from others is escaped when it is printed. */
void pc_audit_problem(struct pc_audit *a, uint64_t index, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void pc_audit_note(struct pc_audit *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct pc_entry;
/* One kind of entry each (log_audit_hosts.c, log_audit_owners.c). */
int pc_audit_host(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
int pc_audit_order(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
int pc_audit_ring(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
int pc_audit_owners(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
#endif
