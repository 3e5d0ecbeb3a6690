#ifndef PC_STORE_STORE_H
#define PC_STORE_STORE_H
/*
 * What the server keeps, behind one table of functions: SQLite for one server, PostgreSQL when several server processes
 * share a fleet. Everything in here is the attacker's if the server is taken: nothing a host believes may depend on it.
 * One conformance suite runs over both (tests/store).
 *
 * An open store belongs to one thread; a process may open the same one several times. Strings are valid UTF-8, else
 * -EINVAL. What is handed to a callback lives until the callback returns; a callback that returns non-zero ends the
 * listing, and a negative value is returned. A callback may use the store.
 *
 * Operations outside begin .. commit are a transaction of their own; inside they join it. Errors:
 *   PC_E_NOTFOUND, PC_E_CHANGED, PC_E_STATE: refused, nothing was done, the transaction goes on.
 *   -EAGAIN: another process was in the way (deadlock); -EIO: the database says no, or is gone; -ENOSPC, -ENOMEM,
 * -EBUSY, PC_E_CORRUPT: an open transaction is lost. Roll back; do all of it again if that makes sense. A lost
 * connection is made anew at the next begin, or operation outside a transaction. error() tells more.
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
    char server[40]; /* which server process holds its link; "" none */
    uint64_t sequence, checkpoint_size;
};
struct pc_store_order {
    char sha256[65], id[33], action[32], class_[2], state[16];
    uint64_t sequence, log_index; /* log_index UINT64_MAX: not logged yet */
    int64_t created, expires;
    uint32_t approvals, needed, hosts; /* approvals: how many texts are kept; order_add ignores it */
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
/* A host's envelope, as report_add has it. */
struct pc_store_report {
    const char *kind, *key, *host_id, *sha256;
    int64_t time;
    struct pc_store_blob envelope;
    bool added;
};
/* A node of the log's Merkle tree. */
struct pc_store_node {
    uint8_t level;
    uint64_t index;
    uint8_t hash[32];
};

#define PC_STORE_EVENTS_MAX 1000      /* newest events that are kept of a host */
#define PC_STORE_CHECKPOINTS_MAX 1000 /* newest checkpoints that are kept */
#define PC_STORE_NOTIFY_MAX 7999      /* bytes of a notification */

struct pc_store_ops {
    void (*close)(struct pc_store *s);
    /* The database's own words for the last -errno. */
    const char *(*error)(struct pc_store *s);
    /* Runs missing migrations; *version is the schema's after. PC_E_UNSUPPORTED: made by a newer program. */
    int (*migrate)(struct pc_store *s, uint32_t *version);
    int (*begin)(struct pc_store *s);  /* PC_E_STATE: one is open */
    int (*commit)(struct pc_store *s); /* -EIO also when an operation in it failed: nothing of it was kept then */
    int (*rollback)(struct pc_store *s);
    /*
     * A consistent copy while running, into a new file (-EEXIST), mode 0600. PC_E_UNSUPPORTED for PostgreSQL: pg_dump
     * does it there. PC_E_STATE inside a transaction.
     */
    int (*backup)(struct pc_store *s, const char *path);

    /* Small settings and counters of the server (CA serial, statement, trust document ...). */
    int (*put)(struct pc_store *s, const char *key, struct pc_store_blob value);
    int (*get)(struct pc_store *s, const char *key, void **value, size_t *len); /* malloc'd, a NUL after the end */
    int (*drop)(struct pc_store *s, const char *key);                           /* none is fine */

    /*
     * Tokens: only their SHA-256 is kept. kind "enroll" (used once) or "look"/"operate"; expires 0: never.
     * PC_E_NOTFOUND: no such token of this kind, expired, or spent. add: PC_E_STATE when it is there.
     */
    int (*token_add)(struct pc_store *s, const char *sha256, const char *kind, const char *name, int64_t expires);
    int (*token_use)(struct pc_store *s, const char *sha256, const char *kind, int64_t now); /* enroll: spent at once */
    int (*token_check)(struct pc_store *s, const char *sha256, int64_t now, char kind[16]);

    /* Hosts. add: PC_E_STATE when name, id or link key is taken. */
    int (*host_add)(struct pc_store *s, const struct pc_store_host *h, struct pc_store_blob enroll_envelope);
    int (*host_by_id)(struct pc_store *s, const char *id, struct pc_store_host *out);
    int (*host_by_name)(struct pc_store *s, const char *name, struct pc_store_host *out);
    int (*host_by_link_key)(struct pc_store *s, const uint8_t key[32], struct pc_store_host *out);
    /* Sets agent, address, last_seen, online, server, sequence, checkpoint_size of the host with this id. */
    int (*host_seen)(struct pc_store *s, const struct pc_store_host *h);
    /* The same for many, none of them twice. Unknown ones, and those that are to be offline but are linked to another
     * server by now, stay as they are. */
    int (*hosts_seen)(struct pc_store *s, const struct pc_store_host *h, size_t n);
    /* By name, from the one after after_name ("": the first) on. */
    int (*hosts)(struct pc_store *s, const char *after_name, uint32_t max,
                 int (*each)(void *ctx, const struct pc_store_host *h), void *ctx);

    /* Orders: document and signatures as given; state of each host. */
    int (*order_add)(struct pc_store *s, const struct pc_store_order *o, struct pc_store_blob document,
                     const struct pc_store_order_host *hosts); /* o->hosts of them; exists (sha256 or id): PC_E_STATE */
    /* 1: added; 0: was there. */
    int (*order_approval)(struct pc_store *s, const char *sha256, const char *signature_sha256,
                          struct pc_store_blob text);
    /* Compare-and-set of the state, else PC_E_CHANGED. log_index UINT64_MAX leaves that as it is. */
    int (*order_state)(struct pc_store *s, const char *sha256, const char *from, const char *to, uint64_t log_index);
    /* document may be NULL; else malloc'd. */
    int (*order_get)(struct pc_store *s, const char *sha256_or_id, struct pc_store_order *out, void **document,
                     size_t *len);
    int (*order_approvals)(struct pc_store *s, const char *sha256, int (*each)(void *ctx, struct pc_store_blob text),
                           void *ctx); /* in the order they came */
    /* Newest first, created before `before`: max of them, and the rest of the second that the last one falls in. */
    int (*orders)(struct pc_store *s, int64_t before, uint32_t max,
                  int (*each)(void *ctx, const struct pc_store_order *o), void *ctx);
    /* Those that are not "done", "halted" or "expired": max of them, by sha256, from the one after after_sha256 on ("":
     * from the first). How many there were. */
    int (*orders_open)(struct pc_store *s, const char *after_sha256, uint32_t max,
                       int (*each)(void *ctx, const struct pc_store_order *o), void *ctx);
    int (*order_hosts)(struct pc_store *s, const char *sha256,
                       int (*each)(void *ctx, const struct pc_store_order_host *h), void *ctx); /* as in order_add */
    int (*order_host_get)(struct pc_store *s, const char *sha256, const char *host_id, struct pc_store_order_host *out);
    /* Sets state, why, outcome, exit, changed. */
    int (*order_host_set)(struct pc_store *s, const struct pc_store_order_host *h);
    /*
     * The same for many, none of them twice, but only forward: "queued", "delivered", "accepted", "running", then all
     * others. With `again` also from one of these places to the same. Unknown ones are passed over.
     */
    int (*order_hosts_advance)(struct pc_store *s, const struct pc_store_order_host *h, size_t n, bool again);
    /* How many hosts of an order are in each state. */
    int (*order_states)(struct pc_store *s, const char *sha256, int (*each)(void *ctx, const char *state, uint32_t n),
                        void *ctx);
    /* What is still to be delivered to a host, by sequence: logged, not expired, host state "queued" or "delivered". */
    int (*pending)(struct pc_store *s, const char *host_id, int64_t now,
                   int (*each)(void *ctx, const struct pc_store_order *o), void *ctx);

    /*
     * Hosts' envelopes, kept whole; kind "result", "ring", "ack"; key: order sha256 or look id; sha256: the document's.
     * 1: added; 0: was there. Listed in the order they came.
     */
    int (*report_add)(struct pc_store *s, const char *kind, const char *key, const char *host_id, const char *sha256,
                      int64_t time, struct pc_store_blob envelope);
    /* Many at once; sets `added` of each, true for one of those that are the same. */
    int (*reports_add)(struct pc_store *s, struct pc_store_report *r, size_t n);
    int (*reports)(struct pc_store *s, const char *kind, const char *key,
                   int (*each)(void *ctx, const char *host_id, struct pc_store_blob envelope), void *ctx);
    /* One of them, by its document's sha256: the host's, or with host_id NULL whoever's came first. malloc'd. */
    int (*report_get)(struct pc_store *s, const char *sha256, const char *host_id, void **envelope, size_t *len);
    /* Sets (set not NULL), or reads (malloc'd), the newest inventory, metrics ... of a host. */
    int (*latest)(struct pc_store *s, const char *host_id, const char *action, const struct pc_store_blob *set,
                  void **envelope, size_t *len);
    int (*event_add)(struct pc_store *s, const char *host_id, int64_t time, const char *kind, const char *text);
    int (*events)(struct pc_store *s, const char *host_id, uint32_t max,
                  int (*each)(void *ctx, int64_t time, const char *kind, const char *text),
                  void *ctx); /* newest first */

    /* The log. Inside a transaction log_size makes other appenders wait for its end, so that the answer stays true. */
    int (*log_size)(struct pc_store *s, uint64_t *size);
    /*
     * Appends if the size is still `at` (else PC_E_CHANGED): entries, completed nodes, the new checkpoint. n may be 0:
     * only a new text for the checkpoint of that size. Appenders of all processes stand in line here until they commit.
     */
    int (*log_append)(struct pc_store *s, uint64_t at, const struct pc_store_blob *entries, size_t n,
                      const struct pc_store_node *nodes, size_t n_nodes, const char *checkpoint);
    int (*log_entries)(struct pc_store *s, uint64_t from, uint32_t max,
                       int (*each)(void *ctx, uint64_t index, struct pc_store_blob entry), void *ctx);
    int (*log_node)(struct pc_store *s, uint8_t level, uint64_t index, uint8_t out[32]);
    /* Consecutive nodes of a level into out; how many there were, at most max. For tiles. */
    int (*log_nodes)(struct pc_store *s, uint8_t level, uint64_t from, uint32_t max, uint8_t (*out)[32]);
    /* Remembers which entry is the order's (type "order", "stop", "continue" ...): the newest of a type counts. */
    int (*log_name)(struct pc_store *s, const char *order_sha256, const char *type, uint64_t index);
    int (*log_find)(struct pc_store *s, const char *order_sha256, const char *type, uint64_t *index);
    int (*checkpoint)(struct pc_store *s, uint64_t size /* 0: newest */, char **text); /* malloc'd */
    /* Replaces the newest checkpoint's text by one with more cosignatures. PC_E_CHANGED: size is not the newest. */
    int (*cosign)(struct pc_store *s, uint64_t size, const char *text);

    /*
     * Several processes: tell the others (at commit), hear the others. SQLite: nothing to do, fd PC_E_UNSUPPORTED.
     * fd: readable when there is something to read; ask again after -EIO. One's own texts come back too.
     */
    int (*notify)(struct pc_store *s, const char *text);
    int (*notify_fd)(struct pc_store *s);
    int (*notify_read)(struct pc_store *s, int (*each)(void *ctx, const char *text), void *ctx);

    /*
     * For a store whose thread has other work: no statement takes longer than about ms. One that would, or a database
     * that cannot be connected to, fails with -EBUSY or -EIO, and so does, at once, what is asked in the time after it
     * that is four times as long: whoever does not answer holds the thread up for a fifth of its time at most. To be
     * called once, after connecting; ms is 100 or more. Without it, a statement may take minutes.
     */
    int (*hasten)(struct pc_store *s, uint32_t ms);
};
struct pc_store {
    const struct pc_store_ops *ops;
};
/* Is this failure the database's or the moment's (connection lost, disk full, busy), and not one of what was asked for?
 * The same may work later. */
bool pc_store_away(int err);
/* "sqlite:/path/server.db" or "postgresql://...". *out owned; ops->close. why: what failed, for people. */
int pc_store_connect(const char *where, struct pc_store **out, char *why, size_t why_len);
#endif
