#ifndef PC_HOST_MEMORY_H
#define PC_HOST_MEMORY_H
/*
 * What the runner must not forget: fleet.db (SQLite, WAL, synchronous FULL). Everything a host believes besides owners'
 * signatures is in here: the trust file, revoked keys, the last checkpoint, orders and how far they are, envelopes that
 * the server has not confirmed, running dead-man timers.
 *
 * Each call is one transaction of its own unless pc_memory_begin came before. Errors: PC_E_NOTFOUND, PC_E_STATE (is
 * there already), PC_E_LIMIT (a bound of ours), -ENOSPC (no room: nothing was changed), -EIO (the file says no),
 * -ENOMEM.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pc_memory_file;
/* Opens dir/fleet.db, which is made (0600) when it is missing. why: SQLite's words for an error. */
int pc_memory_open(const char *dir, struct pc_memory_file **out, char *why, size_t why_len);
void pc_memory_close(struct pc_memory_file *m); /* NULL is fine */
/* What follows is one transaction, until pc_memory_end; not nested. */
int pc_memory_begin(struct pc_memory_file *m);
/* Ends the transaction: commits when r is 0, else takes everything back. Returns r, or why the commit failed. */
int pc_memory_end(struct pc_memory_file *m, int r);

/* Single values by name. *value malloc'd, NUL-terminated past len. */
int pc_memory_put(struct pc_memory_file *m, const char *name, const void *value, size_t len);
int pc_memory_get(struct pc_memory_file *m, const char *name, char **value, size_t *len);
int pc_memory_put_number(struct pc_memory_file *m, const char *name, uint64_t value);
uint64_t pc_memory_number(struct pc_memory_file *m, const char *name); /* 0 when it is not there */

/*
 * Forgets the log and what came by it: checkpoint, sequence, orders, envelopes, revoked keys, the server statement. For
 * an enrolment with another log.
 */
int pc_memory_forget(struct pc_memory_file *m);

/* Only how far the log was: for a trust file that names another. */
int pc_memory_forget_log(struct pc_memory_file *m);

/* How far an accepted order is. */
enum pc_order_state {
    PC_ORDER_WAITING = 1, /* for its time, its dwell, its ring */
    PC_ORDER_RUNNING,     /* start written down */
    PC_ORDER_SOAKING,     /* done; the ring report is due when the soak is over */
    PC_ORDER_STANDING,    /* class B: waits for starts */
    PC_ORDER_DONE
};
struct pc_kept_order {
    char sha256[65], id[33], action[32], class_[2], outcome[16];
    enum pc_order_state state;
    uint64_t sequence, run;           /* run: number of the last start; 0: never */
    int64_t accepted, started, ended, expires; /* unix seconds */
    char boot[33];                    /* boot id under which since_boot counts */
    uint64_t since_boot;              /* CLOCK_BOOTTIME seconds at which the dwell began, or the soak */
    uint32_t ring, soak, incidents;   /* incidents: the guard's count at the start, then those of the soak */
    bool ring_open;
};
/*
 * A new order with its signed envelope (JSON text); PC_E_STATE when it is known. set changes all but what the owners
 * signed.
 */
int pc_memory_order_add(struct pc_memory_file *m, const struct pc_kept_order *o, const void *envelope, size_t len);
int pc_memory_order_get(struct pc_memory_file *m, const char *sha256, struct pc_kept_order *out);
int pc_memory_order_set(struct pc_memory_file *m, const struct pc_kept_order *o);
/* The envelope it came in: *json malloc'd, NUL-terminated past len. */
int pc_memory_order_envelope(struct pc_memory_file *m, const char *sha256, char **json, size_t *len);
/*
 * The signed envelope that tells the server how the order stands (ack, then result): kept with the order for a
 * re-delivery.
 */
int pc_memory_order_answer(struct pc_memory_file *m, const char *sha256, int type, const char *json, size_t len);
int pc_memory_order_answers(struct pc_memory_file *m, const char *sha256,
                            int (*each)(void *ctx, int type, const char *json, size_t len), void *ctx);
/*
 * Orders in a state, oldest sequence first; each may change the order it is shown. A non-zero return ends the walk and
 * is returned.
 */
int pc_memory_orders(struct pc_memory_file *m, enum pc_order_state state,
                     int (*each)(void *ctx, const struct pc_kept_order *o), void *ctx);
uint32_t pc_memory_order_count(struct pc_memory_file *m, enum pc_order_state state);
/*
 * When more than so many pages of 4 KiB are in use: of the orders that are done, the oldest first, only what keeps them
 * from being run again is kept, and short answers; not what was signed, nor long results (the server had those, or is
 * still to get them from the outbox).
 */
int pc_memory_orders_trim(struct pc_memory_file *m, uint64_t pages);
/* Forgets orders done and expired before `before`, but not their place in the sequence. */
int pc_memory_orders_forget(struct pc_memory_file *m, int64_t before);

/*
 * Orders that a signed halt stopped, and keys that a signed revocation took out: for good. An order that cannot be
 * looked up counts as halted.
 */
int pc_memory_halt(struct pc_memory_file *m, const char *order_sha256);
bool pc_memory_halted(struct pc_memory_file *m, const char *order_sha256);
int pc_memory_revoke(struct pc_memory_file *m, const char *fingerprint);
int pc_memory_revoked(struct pc_memory_file *m, int (*each)(void *ctx, const char *fingerprint), void *ctx);

/*
 * Envelopes for the server, in order, until it says `got`. keep false: may be dropped when there are many (refusals,
 * answers to looks); the oldest of those make room. The same one (by sha256) twice is one. PC_E_LIMIT: PC_OUTBOX_MAX
 * wait, or for one that is to be kept PC_OUTBOX_KEPT_MAX: who sees to it that no order is taken beyond the first keeps
 * the rest for the ends of those that were, and for stops. done: also when it is not there.
 */
#define PC_OUTBOX_MAX 4096
#define PC_OUTBOX_KEPT_MAX 8192
int pc_memory_outbox_add(struct pc_memory_file *m, int type, const char *sha256, const char *json, size_t len,
                         bool keep);
int pc_memory_outbox_done(struct pc_memory_file *m, const char *sha256);
/* The first one after number `after`: *number, *type, *json (malloc'd). PC_E_NOTFOUND: no more. */
int pc_memory_outbox_next(struct pc_memory_file *m, uint64_t after, uint64_t *number, int *type, char **json,
                          size_t *len);
uint32_t pc_memory_outbox_count(struct pc_memory_file *m);

/* Dead-man timers of stops: what to undo, and when. */
struct pc_kept_timer {
    uint64_t number;
    char kind[16], order_sha256[65];
    char boot[33];
    uint64_t until_boot; /* CLOCK_BOOTTIME seconds under that boot */
    int64_t until, made; /* unix seconds: what counts after a reboot, never longer than until - made from then */
    char *data;          /* JSON text of the action, owned by whoever made the struct */
};
int pc_memory_timer_add(struct pc_memory_file *m, struct pc_kept_timer *t); /* sets number */
/* Puts one back under the number that it had; one that is there stays as it is. */
int pc_memory_timer_restore(struct pc_memory_file *m, const struct pc_kept_timer *t);
/* set: boot, until_boot, until and data of this number; data: only that (JSON text), PC_E_NOTFOUND: it is not there. */
int pc_memory_timer_set(struct pc_memory_file *m, const struct pc_kept_timer *t);
int pc_memory_timer_data(struct pc_memory_file *m, uint64_t number, const char *data);
/* removes all others of the kind */
int pc_memory_timer_only(struct pc_memory_file *m, const char *kind, uint64_t number);
int pc_memory_timer_done(struct pc_memory_file *m, uint64_t number);
int pc_memory_timers(struct pc_memory_file *m, int (*each)(void *ctx, const struct pc_kept_timer *t), void *ctx);

/*
 * Two checkpoints that cannot both be true: what an auditor needs to show that the server lied. At most 64 are kept,
 * the first ones.
 */
int pc_memory_evidence(struct pc_memory_file *m, int64_t time, const char *ours, const char *theirs, const char *why);
uint32_t pc_memory_evidence_count(struct pc_memory_file *m);
#endif
