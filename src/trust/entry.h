#ifndef PC_TRUST_ENTRY_H
#define PC_TRUST_ENTRY_H
/*
 * Entries of the log (PROTOCOL.md 1.7), made by the server and read by hosts. format: malloc'd text; PC_E_LIMIT: it
 * would be longer than PC_ENTRY_MAX; -ENOMEM.
 */
#include "trust/envelope.h"
#include "trust/order.h"

/*
 * `order`, or `stop` for class S: names the order and every approval in the envelope, and holds the document and the
 * approvals' texts. 1: they have no room; the entry only names them, and pc_entry_part's go ahead of it.
 */
int pc_entry_order(const struct pc_order *o, const struct pc_envelope *e, int64_t time, char **out, size_t *len);
/* `trust`, `revoke`, `server`: likewise. */
int pc_entry_owners(const char *tenant, const char *type, const struct pc_envelope *e, int64_t time, char **out,
                    size_t *len);
/*
 * `part`: one of the pieces of an owners' envelope (its JSON text, whole) that has no room in the entry which names it.
 * They are logged right ahead of that entry, in order. part < pc_entry_parts(whole_len), which is 1..PC_PARTS_MAX for
 * any envelope of ours, else 0.
 */
#define PC_PART_BYTES 45000
#define PC_PARTS_MAX 32
uint32_t pc_entry_parts(size_t whole_len);
int pc_entry_part(const char *tenant, const char *document_sha256, const char *whole, size_t whole_len, uint32_t part,
                  int64_t time, char **out, size_t *len);
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

/*
 * `halt`: the reports of a ring are worse than the order's halt rule allows; no later ring is opened. because: the
 * SHA-256 of the ring reports that count against it, the first PC_HALT_REPORTS_MAX of them.
 */
#define PC_HALT_REPORTS_MAX 512
struct pc_entry_halt {
    char order_sha256[PC_SHA256_HEX + 1];
    uint64_t run, failures, incidents; /* of the whole ring */
    uint32_t ring;                     /* the one that reported */
    uint32_t n;
    uint8_t because[PC_HALT_REPORTS_MAX][32];
};
int pc_entry_halt(const char *tenant, const struct pc_entry_halt *h, int64_t time, char **out, size_t *len);

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

/* What the entry of an owners' document says: `order`, `stop`, `trust`, `revoke`, `server`. To be cleared. */
struct pc_entry_signed {
    char sha256[PC_SHA256_HEX + 1]; /* of the document */
    char id[PC_ID_LEN + 1];         /* of an order, else "" */
    uint32_t n;
    char approval[PC_SIGNATURES_MAX][PC_SHA256_HEX + 1]; /* SHA-256 of each signature's text */
    bool has_document, has_texts;
    struct pc_envelope e; /* what of it is in the entry; its hashes are those above */
};
/*
 * Reads it, and demands that what it holds is what it names. PC_E_SYNTAX with the reason, -ENOMEM. Entries that were
 * written before there were texts in them have none.
 */
int pc_entry_signed_read(const struct pc_entry *e, struct pc_entry_signed *out, char *why, size_t why_len);
/*
 * Puts what the entry names in place of what it holds, out of an envelope that has it all (parts put together, or what
 * a server shows). Other signatures in it are left out. PC_E_NOTFOUND: it has not all, or another document; the entry
 * is as it was then. -ENOMEM.
 */
int pc_entry_signed_fill(struct pc_entry_signed *s, const struct pc_envelope *from);
void pc_entry_signed_clear(struct pc_entry_signed *s);

/* A `part`, read: a piece of the envelope's text, owned (free it). PC_E_SYNTAX, -ENOMEM. */
struct pc_entry_piece {
    char sha256[PC_SHA256_HEX + 1]; /* of the document in the envelope */
    uint32_t part, parts;
    char *data;
    size_t len;
};
int pc_entry_part_read(const struct pc_entry *e, struct pc_entry_piece *out, char *why, size_t why_len);
/* A `halt`, read. PC_E_SYNTAX. */
int pc_entry_halt_read(const struct pc_entry *e, struct pc_entry_halt *out, char *why, size_t why_len);
#endif
