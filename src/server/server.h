#ifndef PC_SERVER_SERVER_H
#define PC_SERVER_SERVER_H
/*
 * What the parts of the running server share. All of it belongs to the loop's thread. Who does what:
 *
 *     serve.c     start, timers, signals, end       intake.c    owners' documents: orders, trust, revocations
 *     hub.c       links: who is connected           deliver.c   bundles and stops to hosts; what they missed
 *     reports.c   what hosts send                   inspect.c   checks it, on the threads of pool.c
 *     progress.c  states of orders                  rings.c     rings, runs of standing orders
 *     looks.c     questions to hosts                watch.c     server-sent events
 *     writer.c    group commit (its own thread)     logview.c   checkpoints and proofs
 *     policy.c    what the owners said              logged.c    entries of owners' documents
 *     stops.c     the fast way of a stop            others.c    what other servers say
 *     api*.c      the HTTP API
 */
#include "base/buf.h"
#include "net/conn.h"
#include "net/http.h"
#include "server/logview.h"
#include "server/policy.h"
#include "server/state.h"
#include "server/writer.h"
#include "store/store.h"

#include <event2/event.h>

struct pc_hub;
struct pc_parcels;
struct pc_delivery;
struct pc_looks;
struct pc_watch;
struct pc_progress;
struct pc_inspection;

struct pc_server {
    struct event_base *base;
    struct pc_server_state *state;
    char name[40];          /* of this process, in the store's `server` column */
    struct pc_store *store; /* for reading; what changes something is a job */
    struct pc_store *ears;  /* hears other processes. Its own connection: a query on it would swallow what makes its
                               descriptor readable */
    struct pc_writer *writer;
    struct pc_logview *log;
    struct pc_vkey log_key;
    struct pc_server_policy *policy;
    struct pc_hub *hub;
    struct pc_delivery *delivery;
    struct pc_looks *looks;
    struct pc_watch *watch;
    struct pc_progress *progress;
    struct pc_inspection *inspection;
    struct pc_http *http;
    struct event *tick, *notify;
    int notify_fd; /* PC_E_UNSUPPORTED: there are no other servers */
    bool deaf;     /* they cannot be heard now */
    uint64_t log_size; /* up to where this server knows what hosts must get; not heard since */
    bool stopping;
    struct {
        char sha256[PC_SHA256_HEX + 1];
        uint64_t links;
    } stop[8]; /* the newest that other processes told of (stops.c) */
    uint32_t stops;
    char *policy_mark; /* PC_KEY_POLICY as it was when policy was read */
    int64_t started;
};

int64_t pc_server_now(void); /* unix seconds */
/* One line on stderr: "TIME portcullis-server: AREA: ...". At most 20 lines a second; then it counts. */
void pc_server_log(const char *area, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* What the server does by itself every second. */
void pc_server_second(struct pc_server *s);
/* The owners' documents changed: makes a new snapshot, tells logview, pushes to hosts. */
void pc_server_policy_changed(struct pc_server *s);

/* --- others.c: other server processes ----------------------------------------------------------------------------- */
/* Listens to them, or anew. Every second. */
void pc_others_listen(struct pc_server *s);
/* "SHA256 PROCESS": takes the hash. false: this process said it itself, or it is none of these. */
bool pc_told_by_other(const struct pc_server *s, const char *what, char sha256[PC_SHA256_HEX + 1]);
/* What they appended to the log. Every second. */
void pc_others_look(struct pc_server *s, int64_t now);

/* --- hub.c: the hosts that are connected -------------------------------------------------------------------------- */
struct pc_link {
    struct pc_link *next; /* of the same bucket */
    struct pc_conn *conn;
    struct pc_server *server;
    struct pc_host_ref ref;
    char agent[32];
    uint64_t checkpoint_size, sequence;            /* as the host said */
    uint64_t sent_size, sent_before;               /* tree that it was sent last; at the heartbeat before */
    int64_t next_checkpoint, last_seen, connected; /* unix seconds */
    uint16_t event_allowance;
    uint64_t serial;                        /* no two links of this process have the same */
    uint32_t checking;                      /* documents that are with the pool (inspect.c) */
    bool held;                              /* not read until there is room for more */
    struct pc_link *held_next, *held_prev;  /* in the list of those */
    uint8_t lag; /* heartbeats for which it has not confirmed what it was sent */
    bool dirty;  /* last_seen and others are not in the store yet */
    /* Something for it could not be read, was not heard of, or did not fit: it gets nothing but stops before that. */
    bool behind;
    struct {
        bool cut;
        uint64_t sequence;
        char sha256[PC_SHA256_HEX + 1];
    } had; /* it was given what is pending up to this order, and more did not fit */
};
int pc_hub_new(struct pc_server *s, SSL_CTX *ctx, int listen_fd, struct pc_hub **out);
void pc_hub_free(struct pc_hub *h);
void pc_hub_stop_listening(struct pc_hub *h);
void pc_hub_certificate(struct pc_hub *h, SSL_CTX *ctx);
/* NULL: not connected here. */
struct pc_link *pc_hub_find(struct pc_hub *h, const char *host_id);
void pc_hub_each(struct pc_hub *h, void (*each)(struct pc_link *l, void *ctx), void *ctx);
uint32_t pc_hub_online(const struct pc_hub *h);
/* The serial of the newest link. */
uint64_t pc_hub_links(const struct pc_hub *h);
const struct pc_conn_counters *pc_hub_counters(const struct pc_hub *h);
void pc_hub_tick(struct pc_hub *h, int64_t now);

/* --- reports.c ---------------------------------------------------------------------------------------------------- */
/* A frame of a host that said hello. false: it may not send this; close it. */
bool pc_server_report_frame(struct pc_link *l, enum pc_frame_type type, const uint8_t *body, size_t len);
extern uint64_t pc_server_reports_taken, pc_server_reports_forged, pc_server_reports_unstored;

/* --- inspect.c: hosts' documents, checked by worker threads ------------------------------------------------------- */
int pc_inspection_new(struct pc_server *s, struct pc_inspection **out);
/* Waits for what the workers have; it is with the writer then. NULL is fine. */
void pc_inspection_drain(struct pc_inspection *in);
void pc_inspection_free(struct pc_inspection *in);
/* The link goes: it is not in the list of those on hold any more. */
void pc_inspect_forget(struct pc_link *l);
/* For metrics: documents with the workers, links on hold, workers. */
void pc_inspection_facts(const struct pc_inspection *in, uint32_t *checking, uint32_t *held, unsigned *threads);

/* --- deliver.c ---------------------------------------------------------------------------------------------------- */
int pc_delivery_new(struct pc_server *s, struct pc_delivery **out);
void pc_delivery_free(struct pc_delivery *d);
struct pc_parcels *pc_delivery_parcels(struct pc_delivery *d);
/* A logged order: to every host of it that is connected here (or when the checkpoint with it is published). after: only
 * over links with a serial above this, because the others had it as a stop; 0: all. */
void pc_deliver_order(struct pc_server *s, const char *order_sha256, uint64_t after);
/* A stop, before it is logged. hosts: its hosts (n). Returns how many were sent to. */
uint32_t pc_deliver_stop(struct pc_server *s, const struct pc_order *o, const struct pc_envelope *e,
                         const struct pc_host_ref *hosts, uint32_t n);
/* A host has connected, or missed something: all that it must know or do. -errno: the database cannot be read, and
 * something is missing. */
int pc_deliver_pending(struct pc_link *l);
/* Something that hosts must get was not read, or not heard of: every host that is connected gets what is pending anew,
 * in the order of its numbers, as soon as the database answers. why: for the log. */
void pc_delivery_missed(struct pc_server *s, const char *why);
/* Are there hosts that have not got it yet? */
bool pc_delivery_behind(const struct pc_server *s);
/* A continue or start of this order is logged, but not in a published checkpoint: hosts get it then. */
void pc_delivery_rings_wait(struct pc_delivery *d, const char *order_sha256);
void pc_deliver_policy(struct pc_link *l);
void pc_deliver_checkpoint(struct pc_link *l);
/* A logged continue or start of an order: `prefix` is the frame's JSON without its log part, '{' included and open;
 * index: the entry's. */
void pc_deliver_signal(struct pc_server *s, struct pc_link *l, enum pc_frame_type type, const char *prefix, size_t len,
                       uint64_t index);
void pc_delivery_published(struct pc_delivery *d);
void pc_delivery_tick(struct pc_delivery *d, int64_t now);

/* --- progress.c --------------------------------------------------------------------------------------------------- */
int pc_progress_new(struct pc_server *s, struct pc_progress **out);
/* Looks at all open orders at once: before hosts connect, so that they miss nothing. -errno: they cannot be read. */
int pc_progress_load(struct pc_progress *p);
void pc_progress_free(struct pc_progress *p);
/* Something about the order changed: look at it soon. */
void pc_progress_dirty(struct pc_server *s, const char *order_sha256);
/* Continues and starts that a host which has connected must have. -errno: they cannot be read. */
int pc_progress_pending(struct pc_link *l);
/* A continue or start of this order was logged, by another process or by this one before it was published: to all of
 * its hosts that are here. */
void pc_rings_told(struct pc_server *s, const char *order_sha256);
void pc_progress_tick(struct pc_progress *p, int64_t now);

/* --- intake.c ----------------------------------------------------------------------------------------------------- */
/* Each answers r, now or later. */
void pc_server_take_order(struct pc_server *s, struct pc_http_request *r);
/* Of somebody whose token cannot be looked up: a stop that its quorum signed, and nothing else. */
void pc_server_take_stop(struct pc_server *s, struct pc_http_request *r);
void pc_server_take_trust(struct pc_server *s, struct pc_http_request *r);
void pc_server_take_revoke(struct pc_server *s, struct pc_http_request *r);
void pc_server_take_statement(struct pc_server *s, struct pc_http_request *r);
void pc_server_take_start(struct pc_server *s, struct pc_http_request *r);
void pc_server_take_enroll(struct pc_server *s, struct pc_http_request *r);
/* Another process took a stop: "SHA256 PROCESS" (stops.c). */
void pc_stop_told(struct pc_server *s, const char *what);
/* Over which links up to which it was sent when it was told; 0: it was not. */
uint64_t pc_stop_links(struct pc_server *s, const char *sha256);
/* The hosts of an order in ring order: the list of the document, or what was handed in with it. malloc'd. */
int pc_server_order_hosts(struct pc_store *s, const char *order_sha256, struct pc_host_ref **out, uint32_t *n);

/* --- looks.c ------------------------------------------------------------------------------------------------------ */
int pc_looks_new(struct pc_server *s, struct pc_looks **out);
void pc_looks_free(struct pc_looks *l);
void pc_looks_ask(struct pc_server *s, struct pc_http_request *r);
void pc_looks_show(struct pc_server *s, struct pc_http_request *r, const char *id);
void pc_looks_notified(struct pc_server *s, const char *text);
/* What was asked by this look; NULL: nothing known. */
const char *pc_looks_action(struct pc_server *s, const char *id);

/* --- watch.c ------------------------------------------------------------------------------------------------------ */
int pc_watch_new(struct pc_server *s, struct pc_watch **out);
void pc_watch_free(struct pc_watch *w);
void pc_watch_add(struct pc_server *s, struct pc_http_request *r);
/* To everybody who watches: one event with JSON data. */
void pc_watch_say(struct pc_server *s, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void pc_watch_tick(struct pc_watch *w);

/* --- api.c -------------------------------------------------------------------------------------------------------- */
void pc_api_request(void *server, struct pc_http_request *r);
void pc_api_metrics(struct pc_server *s, struct pc_http_request *r);
/* Does the store answer, and were the last writes committed? why: one line. */
bool pc_api_healthy(struct pc_server *s, char *why, size_t why_len);
#endif
