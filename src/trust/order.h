#ifndef PC_TRUST_ORDER_H
#define PC_TRUST_ORDER_H
/*
 * Orders (PROTOCOL.md 1.6): the document, the table of actions, the words of refusal. Pure. What a host does with one
 * is bundle.h's.
 */
#include "trust/class.h"
#include "trust/envelope.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PC_ORDER_LIST_MAX 256       /* hosts in a `hosts` list; more of them have a `hosts_root` */
#define PC_ORDER_HOSTS_MAX 1000000  /* hosts of an order */
#define PC_RINGS_MAX 32
#define PC_RING_EARLY_MAX 1000      /* hosts of a ring that another follows: their reports must fit one frame */
#define PC_SEQUENCE_GAP 10000
#define PC_SAYS_MAX 1000
#define PC_WINDOW_MAX (30 * 86400)
#define PC_WINDOW_STANDING_MAX (400 * 86400)
#define PC_FUTURE_GRACE 300 /* seconds that an order may come before its time */

enum pc_check { /* PROTOCOL 1.9, in its order; pc_check_word() gives the word */
                PC_CHECK_OK,
                PC_CHECK_SYNTAX,
                PC_CHECK_ACTION,
                PC_CHECK_CLASS,
                PC_CHECK_COUNT,
                PC_CHECK_WINDOW, /* the document by itself */
                PC_CHECK_TENANT,
                PC_CHECK_CAP,
                PC_CHECK_NOT_ME,
                PC_CHECK_REPLAYED,
                PC_CHECK_SIGNATURE,
                PC_CHECK_QUORUM,
                PC_CHECK_EXPIRED,
                PC_CHECK_FUTURE,
                PC_CHECK_DWELL,
                PC_CHECK_LOG,
                PC_CHECK_CONSISTENCY,
                PC_CHECK_SEQUENCE,
                PC_CHECK_SEQUENCE_GAP,
                PC_CHECK_HALTED,
                PC_CHECK_STALE,
                PC_CHECK_RING,   /* at the start */
                PC_CHECK_MEMORY, /* the checker ran out of memory: no verdict, ask again */
                PC_CHECK_SPACE,  /* the host cannot write it down: no verdict either, deliver it again */
                PC_CHECKS
};
const char *pc_check_word(enum pc_check c); /* "not-me"; "" for OK. Static. */
const char *pc_check_text(enum pc_check c); /* one sentence for people. Static. */
/* The check with this word, or -1. */
int pc_check_find(const char *word);

struct pc_field;
struct pc_action { /* one row of the table of 1.6 */
    const char *name;
    unsigned classes;  /* bits 1 << enum pc_class */
    const char *brief; /* what it does, for people */
    const struct pc_field *fields;
    int (*check)(const void *params, const void *read, char *why, size_t why_len);
};
const struct pc_action *pc_action_find(const char *name); /* or NULL */
const struct pc_action *pc_actions(size_t *n);
/*
 * Are these the parameters (json_t *, an object) of the action? 0; PC_E_SYNTAX with the reason in why (may be NULL);
 * -ENOMEM.
 */
int pc_action_check(const struct pc_action *a, const void *params, char *why, size_t why_len);

struct pc_order {
    char id[PC_ID_LEN + 1], tenant[PC_NAME_MAX + 1], action[32], says[PC_SAYS_MAX + 1], sha256[PC_SHA256_HEX + 1];
    enum pc_class class_;
    const struct pc_action *row; /* of action */
    void *params;                /* json_t *, owned */
    uint32_t hosts;              /* how many: `count` */
    bool rooted;                 /* the hosts are the leaves beneath root; else they are listed in host */
    uint8_t root[32];
    struct pc_host_ref *host;    /* owned; NULL when rooted */
    int64_t not_before, expires; /* unix seconds */
    uint64_t sequence;
    uint32_t dwell;              /* seconds; UINT32_MAX: the trust file's */
    uint32_t rings;              /* >= 1 */
    struct { uint32_t hosts, soak; } ring[PC_RINGS_MAX];
    uint32_t halt_failures, halt_incidents;
    bool standing;               /* class B */
    struct {
        uint8_t days;
        uint16_t from, until;
        uint32_t every;
    } when; /* days: bit 0 monday; minutes of the day; seconds */
};
/*
 * Parses and checks all that needs no memory, key or clock: PC_CHECK_SYNTAX, ACTION, CLASS, COUNT, WINDOW, or MEMORY.
 * On success *out owns what it holds. The reason in words goes to why (may be NULL).
 */
enum pc_check pc_order_parse(const void *doc, size_t len, struct pc_order *out, char *why, size_t why_len);
void pc_order_clear(struct pc_order *o);
/* Ring of the host at this position (0 .. hosts - 1); rings when there is no such position. */
uint32_t pc_order_ring_of(const struct pc_order *o, uint32_t position);
/* Position of the first host of ring k <= rings; with k == rings: hosts. */
uint32_t pc_order_ring_start(const struct pc_order *o, uint32_t k);

/*
 * Where a host is among the hosts of an order with a root: the leaf "NAME#HOSTID", its index and the proof
 * (PROTOCOL 1.8, `place`).
 */
#define PC_PLACE_PROOF_MAX 20 /* 2^20 > PC_ORDER_HOSTS_MAX */
struct pc_place {
    struct pc_host_ref host;
    uint32_t index;
    uint32_t n;
    uint8_t proof[PC_PLACE_PROOF_MAX][32];
};
/*
 * Position of a host (name and id must both be equal), or -1. place: what came along for it; may be NULL for a list,
 * which needs none.
 */
int64_t pc_order_position(const struct pc_order *o, const struct pc_host_ref *host, const struct pc_place *place);
/* The tree over hosts in their order (borrowed: they must live as long). n >= 1. PC_E_LIMIT, -ENOMEM. */
struct pc_host_tree;
int pc_host_tree_new(const struct pc_host_ref *hosts, uint32_t n, struct pc_host_tree **out);
void pc_host_tree_free(struct pc_host_tree *t); /* NULL is fine */
const uint8_t *pc_host_tree_root(const struct pc_host_tree *t);
int pc_host_tree_place(const struct pc_host_tree *t, uint32_t index, struct pc_place *out); /* PC_E_RANGE */

/*
 * The standing order's own bounds: is this moment of the host's local time (weekday: 0 monday .. 6 sunday; minute of
 * the day) inside days and hours, and is `every` over since last_run (unix seconds; 0: never)?
 */
bool pc_standing_open(const struct pc_order *o, unsigned weekday, unsigned minute, int64_t now, int64_t last_run);
#endif
