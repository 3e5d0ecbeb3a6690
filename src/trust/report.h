#ifndef PC_TRUST_REPORT_H
#define PC_TRUST_REPORT_H
/*
 * Hosts' documents (PROTOCOL.md 1.10, 1.11): JSON text without envelope, both ways. What is parsed is as good as
 * whoever signed it. format: malloc'd text; -ENOMEM, PC_E_LIMIT. parse: PC_E_SYNTAX, PC_E_LIMIT, -ENOMEM.
 */
#include "trust/checkpoint.h"
#include "trust/order.h"

#define PC_OUTPUT_MAX (256u << 10)

/* What a host saw of the log last. */
struct pc_seen {
    uint64_t size; /* 0: nothing yet */
    uint8_t root[32];
};

struct pc_ack {
    char tenant[PC_NAME_MAX + 1], order_sha256[PC_SHA256_HEX + 1], text[513];
    struct pc_host_ref host;
    enum pc_check verdict; /* PC_CHECK_OK: accepted */
    int64_t time;
    struct pc_seen seen;
};
int pc_ack_format(const struct pc_ack *a, char **json,
                  size_t *len); /* a text that is not UTF-8 is escaped, and cut to its bound */
int pc_ack_parse(const void *doc, size_t len, struct pc_ack *out);

struct pc_result {
    char tenant[PC_NAME_MAX + 1];
    char order_sha256[PC_SHA256_HEX + 1], look[PC_ID_LEN + 1]; /* one of the two; the other is "" */
    struct pc_host_ref host;
    uint64_t run;
    char outcome[16];  /* ok, failed, timeout, unknown, halted, refused */
    int exit, signal;  /* -1: none */
    const void *output; /* format: borrowed. parse: owned */
    size_t output_len; /* what is kept, <= PC_OUTPUT_MAX */
    char output_sha256[PC_SHA256_HEX + 1]; /* of all that the program wrote */
    bool truncated;
    const void *data;  /* json_t *, an object, or NULL. format: borrowed. parse: owned */
    int64_t started, ended;
    struct pc_seen seen;
};
int pc_result_format(const struct pc_result *r, char **json, size_t *len);
int pc_result_parse(const void *doc, size_t len, struct pc_result *out);
void pc_result_clear(struct pc_result *r); /* only of a parsed one */

struct pc_ring_report {
    char tenant[PC_NAME_MAX + 1], order_sha256[PC_SHA256_HEX + 1], outcome[16]; /* ok, failed, unknown, refused */
    struct pc_host_ref host;
    uint32_t ring, incidents;
    uint64_t run; /* 0: not a standing order */
    int64_t started, ended, soaked; /* soaked: ended and what passed since by a clock that neither stops nor jumps */
};
int pc_ring_report_format(const struct pc_ring_report *r, char **json, size_t *len);
int pc_ring_report_parse(const void *doc, size_t len, struct pc_ring_report *out);

struct pc_enroll {
    char tenant[PC_NAME_MAX + 1], host[PC_NAME_MAX + 1];
    uint8_t link_key[32];
    char token_sha256[PC_SHA256_HEX + 1], trust_sha256[PC_SHA256_HEX + 1];
    int64_t created;
};
int pc_enroll_format(const struct pc_enroll *e, char **json, size_t *len);
int pc_enroll_parse(const void *doc, size_t len, struct pc_enroll *out);
#endif
