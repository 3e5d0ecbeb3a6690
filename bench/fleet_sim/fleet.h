#ifndef SIM_FLEET_H
#define SIM_FLEET_H
/*
 * What the parts of the simulator share; one thread, one loop. Who does what:
 *
 *     fleet.c     connections: dialling, backoff, keeping alive      answers.c   documents that agents sign, sent until the server has them
 *     agent.c     frames from the server                             marks.c     when what happened, and the figures made of it
 *     words.c     commands from standard input, answers as JSON lines
 */
#include "identity.h"
#include "options.h"

#include "net/conn.h"
#include "trust/bundle.h"
#include "trust/trustfile.h"

#include <event2/event.h>
#include <openssl/x509.h>

/* What an agent answers an order with; FLOOD: many results of its, signed beforehand (words.c). */
enum sim_kind { SIM_ACK, SIM_RESULT, SIM_FLOOD, SIM_KINDS };

/* A signed document that the server has not said `got` to. */
struct sim_doc {
    uint8_t sha256[32];
    struct pc_frame *frame;
    uint32_t order; /* index */
    enum sim_kind kind;
    int64_t sent; /* monotonic seconds; 0: not yet */
};
struct sim_agent {
    struct sim_fleet *fleet;
    uint32_t index;
    bool full; /* checks everything, as a host does */
    bool welcomed;
    struct sim_identity id;
    X509 *cert;
    EVP_PKEY *link_key;
    struct pc_conn *conn; /* NULL: none */
    uint64_t dial_ns;     /* not before */
    uint32_t failures;    /* connections that ended before `welcome`, one after the other */
    int64_t said;         /* monotonic seconds */
    struct pc_checkpoint seen;
    uint64_t sequence;
    struct sim_doc *docs;
    uint32_t n_docs, cap_docs;
};

/* An order as the agents have met it. Times are monotonic nanoseconds, 0: not yet. */
struct sim_order {
    char *document; /* base64, as in the bundle */
    size_t document_len;
    char sha256[PC_SHA256_HEX + 1];
    enum pc_class class_;
    uint64_t sequence;
    struct sim_part {
        uint64_t arrived, got[SIM_KINDS];
        struct pc_frame *ack; /* for when it comes again */
        uint8_t ack_sha256[32];
    } *part; /* of each agent */
    uint32_t arrived, again, sent[SIM_KINDS], got[SIM_KINDS];
    uint32_t refused[PC_CHECKS];
};

struct sim_work {
    uint32_t agent, order;
    enum sim_kind kind;
    enum pc_check verdict;
};

struct sim_fleet {
    const struct sim_options *options;
    struct event_base *base;
    SSL_CTX *tls;
    struct pc_conn_set *set;
    struct sockaddr_storage to;
    socklen_t to_len;
    char name[256]; /* what the server's certificate must be for */
    struct pc_trust trust;
    struct sim_agent *agent;
    uint32_t agents, welcomed;
    uint64_t random;
    uint64_t all_welcomed_ns, first_down_ns, dials, downs;
    uint32_t frames_unknown, checkpoints_refused;
    struct sim_order *order;
    uint32_t orders, cap_orders;
    struct sim_queue {
        struct sim_work *work;
        size_t at, n, cap; /* what is to be done: from at to n */
    } queue[2];            /* acks first: on a real host a result comes when the program has run */
    struct event *work_event;
    /* the last checkpoint read, so that it is read once for all who get it */
    char *note_body;
    size_t note_len;
    struct pc_checkpoint note;
    struct { uint64_t fired_ns, done_ns; uint32_t total, got; } flood;
};

/* --- agent.c */
void sim_agent_frame(struct pc_conn *c, enum pc_frame_type type, const uint8_t *body, size_t len);

/* --- answers.c */
int sim_answers_start(struct sim_fleet *f);
/* Later, when nothing more urgent is to do: the agents of a real fleet do not wait for each other's signatures. */
void sim_answer_later(struct sim_fleet *f, struct sim_work w);
/* Signs one result for the flood; it is sent by sim_send_docs. -ENOMEM, PC_E_*. */
int sim_flood_result(struct sim_agent *a, uint32_t order, uint64_t run);
/* Sends what has not been sent on this connection, or long ago. all: everything. */
void sim_send_docs(struct sim_agent *a, bool all);
void sim_got(struct sim_agent *a, const uint8_t sha256[32]);

/* --- marks.c */
/* The order of a bundle, known or new; NULL: no order in there. */
struct sim_order *sim_order_of(struct sim_fleet *f, const char *body, size_t len);
struct sim_order *sim_order_find(struct sim_fleet *f, const char *sha256);
/* Prints the JSON lines of words.c. */
void sim_say_status(const struct sim_fleet *f);
void sim_say_order(const struct sim_fleet *f, const struct sim_order *o, uint64_t since_ns);

/* --- words.c */
int sim_words_start(struct sim_fleet *f);

/* --- fleet.c */
int64_t sim_mono_s(void);
#endif
