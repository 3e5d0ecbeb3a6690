#ifndef PC_STORE_STORE_H
#define PC_STORE_STORE_H
/*
 * What the server keeps, behind one table of functions: SQLite (sqlite.c) for one server, PostgreSQL (postgres.c) when several server processes share a
 * fleet. Everything in here is the attacker's if the server is taken: nothing a host believes may depend on it. One conformance suite runs over both.
 *
 * An open store belongs to one thread. Texts handed to callbacks live until the callback returns. Errors: PC_E_NOTFOUND, PC_E_CHANGED (a
 * compare-and-set lost: read again, try again), PC_E_STATE, -EIO (the database says no; pc_store_error tells why), -ENOSPC, PC_E_CORRUPT.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_store;

struct pc_store_host {
    char name[65], id[33];
    uint8_t key[32], link_key[32];
    char agent[32], address[64];
    int64_t enrolled, last_seen; /* unix seconds */
    bool online;
    char server[40];             /* which server process holds its link; "" none */
    uint64_t sequence, checkpoint_size;
};
struct pc_store_order {
    char sha256[65], id[33], action[32], class_[2], state[16];
    uint64_t sequence, log_index; /* log_index UINT64_MAX: not logged yet */
    int64_t created, expires;
    uint32_t approvals, needed, hosts;
};
struct pc_store_order_host {
    char sha256[65], host_id[33], host[65], state[16], why[32], outcome[16];
    uint32_t ring;
    int exit;
    int64_t changed;
};
struct pc_store_blob {
    const void *data;
    size_t len;
};

/* One entry to append, with its leaf hash; the store gives it its place. */
struct pc_store_node {
    uint8_t level;
    uint64_t index;
    uint8_t hash[32];
};

struct pc_store_ops {
    void (*close)(struct pc_store *s);
    const char *(*error)(struct pc_store *s);
    /* Runs missing migrations; *version is the schema's after. PC_E_UNSUPPORTED: made by a newer program. */
    int (*migrate)(struct pc_store *s, uint32_t *version);
    int (*begin)(struct pc_store *s);
    int (*commit)(struct pc_store *s);
    int (*rollback)(struct pc_store *s);
    /* A consistent copy while running. SQLite: into a new file. PostgreSQL: PC_E_UNSUPPORTED (pg_dump does it; the message says so). */
    int (*backup)(struct pc_store *s, const char *path);

    /* small settings and counters of the server (CA serial, statement, trust document ...) */
    int (*put)(struct pc_store *s, const char *key, struct pc_store_blob value);
    int (*get)(struct pc_store *s, const char *key, void **value, size_t *len); /* malloc'd */

    /* tokens: only their SHA-256 is kept. kind "enroll" (used once, until expires) or "look"/"operate" */
    int (*token_add)(struct pc_store *s, const char *sha256, const char *kind, const char *name, int64_t expires);
    int (*token_use)(struct pc_store *s, const char *sha256, const char *kind, int64_t now);  /* enroll: atomically spent */
    int (*token_check)(struct pc_store *s, const char *sha256, int64_t now, char kind[16]);

    /* hosts */
    int (*host_add)(struct pc_store *s, const struct pc_store_host *h, struct pc_store_blob enroll_envelope); /* name taken: PC_E_STATE */
    int (*host_by_id)(struct pc_store *s, const char *id, struct pc_store_host *out);
    int (*host_by_name)(struct pc_store *s, const char *name, struct pc_store_host *out);
    int (*host_by_link_key)(struct pc_store *s, const uint8_t key[32], struct pc_store_host *out);
    int (*host_seen)(struct pc_store *s, const struct pc_store_host *h); /* agent, address, last_seen, online, server, sequence, checkpoint_size */
    int (*hosts)(struct pc_store *s, const char *after_name, uint32_t max, int (*each)(void *ctx, const struct pc_store_host *h), void *ctx);

    /* orders: document and signatures as given; state of each host */
    int (*order_add)(struct pc_store *s, const struct pc_store_order *o, struct pc_store_blob document,
                     const struct pc_store_order_host *hosts); /* exists: PC_E_STATE */
    int (*order_approval)(struct pc_store *s, const char *sha256, const char *signature_sha256, struct pc_store_blob text); /* again: 0, nothing */
    int (*order_state)(struct pc_store *s, const char *sha256, const char *from, const char *to, uint64_t log_index); /* compare-and-set */
    int (*order_get)(struct pc_store *s, const char *sha256_or_id, struct pc_store_order *out, void **document, size_t *len);
    int (*order_approvals)(struct pc_store *s, const char *sha256, int (*each)(void *ctx, struct pc_store_blob text), void *ctx);
    int (*orders)(struct pc_store *s, int64_t before, uint32_t max, int (*each)(void *ctx, const struct pc_store_order *o), void *ctx);
    int (*order_hosts)(struct pc_store *s, const char *sha256, int (*each)(void *ctx, const struct pc_store_order_host *h), void *ctx);
    int (*order_host_set)(struct pc_store *s, const struct pc_store_order_host *h);
    /* what is still to be delivered to a host: orders logged, not expired, host state queued or delivered */
    int (*pending)(struct pc_store *s, const char *host_id, int64_t now, int (*each)(void *ctx, const struct pc_store_order *o), void *ctx);

    /* hosts' envelopes (results, ring reports, acks), kept whole; kind "result", "ring", "ack"; key: order sha256 or look id */
    int (*report_add)(struct pc_store *s, const char *kind, const char *key, const char *host_id, const char *sha256, int64_t time,
                      struct pc_store_blob envelope); /* same sha256 again: 0, nothing */
    int (*reports)(struct pc_store *s, const char *kind, const char *key, int (*each)(void *ctx, const char *host_id, struct pc_store_blob envelope), void *ctx);
    int (*latest)(struct pc_store *s, const char *host_id, const char *action, struct pc_store_blob *set, void **envelope, size_t *len); /* set or read the newest inventory/metrics */
    int (*event_add)(struct pc_store *s, const char *host_id, int64_t time, const char *kind, const char *text); /* bounded: newest 1,000 a host */
    int (*events)(struct pc_store *s, const char *host_id, uint32_t max, int (*each)(void *ctx, int64_t time, const char *kind, const char *text), void *ctx);

    /* the log */
    int (*log_size)(struct pc_store *s, uint64_t *size);
    /* Appends in one transaction if the size is still `at` (else PC_E_CHANGED): entries, completed nodes, the new checkpoint. Under PostgreSQL an
     * advisory lock keeps appenders of several processes in line. */
    int (*log_append)(struct pc_store *s, uint64_t at, const struct pc_store_blob *entries, size_t n, const struct pc_store_node *nodes, size_t n_nodes,
                      const char *checkpoint);
    int (*log_entries)(struct pc_store *s, uint64_t from, uint32_t max, int (*each)(void *ctx, uint64_t index, struct pc_store_blob entry), void *ctx);
    int (*log_node)(struct pc_store *s, uint8_t level, uint64_t index, uint8_t out[32]);
    int (*log_find)(struct pc_store *s, const char *order_sha256, const char *type, uint64_t *index); /* the entry of an order */
    int (*checkpoint)(struct pc_store *s, uint64_t size /* 0: newest */, char **text); /* malloc'd */
    int (*cosign)(struct pc_store *s, uint64_t size, const char *text); /* replaces the newest checkpoint's text by one with more cosignatures */

    /* several processes: tell the others, hear the others. SQLite: nothing to do. fd: -1 or a descriptor to poll. */
    int (*notify)(struct pc_store *s, const char *text);
    int (*notify_fd)(struct pc_store *s);
    int (*notify_read)(struct pc_store *s, int (*each)(void *ctx, const char *text), void *ctx);
};
struct pc_store {
    const struct pc_store_ops *ops;
};
/* "sqlite:/path/server.db" or "postgresql://...". *out owned; ops->close. */
int pc_store_open(const char *where, struct pc_store **out, char *why, size_t why_len);
#endif
