#ifndef PC_TRUST_ENTRY_H
#define PC_TRUST_ENTRY_H
/*
 * Entries of the log (PROTOCOL.md 1.7), made by the server and read by hosts. format: malloc'd text; PC_E_LIMIT: it
 * would be longer than PC_ENTRY_MAX; -ENOMEM.
 */
#include "trust/envelope.h"
#include "trust/order.h"

/*
 * `order`, or `stop` for class S: names the order and every approval in the envelope; holds the document when there is
 * room.
 */
int pc_entry_order(const struct pc_order *o, const struct pc_envelope *e, int64_t time, char **out, size_t *len);
/* `start`: run `run` of a standing order. */
int pc_entry_start(const char *tenant, const char *order_sha256, uint64_t run, int64_t time, char **out, size_t *len);
/* `continue`: opens ring `ring`; reports: SHA-256 of the ring report documents, in the order of the frame. */
int pc_entry_continue(const char *tenant, const char *order_sha256, uint64_t run, uint32_t ring,
                      const uint8_t (*reports)[32], uint32_t n, int64_t time, char **out, size_t *len);
/*
 * `ack`, `refusal`, `result`, `ring`, `enroll`, `incident`: the envelope when there is room, else what it was: its
 * hash, key and signature.
 */
int pc_entry_host(const char *tenant, const char *type, const struct pc_host_envelope *e, int64_t time, char **out,
                  size_t *len);
/* `trust`, `revoke`, `server`: with the document when there is room. */
int pc_entry_owners(const char *tenant, const char *type, const struct pc_envelope *e, int64_t time, char **out,
                    size_t *len);

/* An entry, read: what every one has. */
struct pc_entry {
    char tenant[PC_NAME_MAX + 1], type[32];
    int64_t time;
    const void *body; /* json_t *, an object, inside *root */
};
/*
 * *root (json_t *, json_decref it) keeps the body alive. PC_E_SYNTAX with the reason in why (may be NULL), PC_E_LIMIT,
 * -ENOMEM.
 */
int pc_entry_parse(const void *text, size_t len, struct pc_entry *out, void **root, char *why, size_t why_len);
#endif
