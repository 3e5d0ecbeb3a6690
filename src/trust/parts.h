#ifndef PC_TRUST_PARTS_H
#define PC_TRUST_PARTS_H
/* Inside the trust layer: pieces that several documents hold, read from JSON that was parsed already. */
#include "trust/bundle.h"
#include "trust/envelope.h"
#include "trust/json.h"

/* As pc_envelope_parse and pc_host_envelope_open, for an object inside another. */
int pc_envelope_read(const json_t *object, struct pc_envelope *out, struct pc_why why);
int pc_host_envelope_read(const json_t *object, const char *kind, struct pc_host_envelope *out, struct pc_why why);
/* {"host","index","proof"}. */
int pc_place_read(const json_t *object, struct pc_place *out, struct pc_why why);
/* A list of at most max base64 hashes. */
int pc_hashes_read(const json_t *list, const char *what, uint8_t (*out)[32], uint32_t max, uint32_t *n,
                   struct pc_why why);

/* "consistency from the tree size `from`" (PROTOCOL 1.8). */
struct pc_follow {
    uint64_t from;
    uint32_t n;
    uint8_t proof[PC_MERKLE_PROOF_MAX][PC_HASH_LEN];
};
/* The part of bundles, starts and continues that shows that they were logged. Owned. */
struct pc_log_part {
    char *entry, *checkpoint; /* NULL: there is no such part */
    size_t entry_len, checkpoint_len;
    uint64_t index;
    uint32_t n;
    uint8_t proof[PC_MERKLE_PROOF_MAX][PC_HASH_LEN];
    struct pc_follow follow;
};
/* Its keys in a struct that has these members. */
struct pc_log_raw {
    const json_t *entry, *proof, *checkpoint, *consistency;
    uint64_t index, from;
};
#define PC_LOG_FIELDS(type, member, may_lack)                                                                          \
    {"entry", PC_FIELD_STRING, offsetof(type, member.entry), 4, 90000, may_lack},                                      \
        {"index", PC_FIELD_U64, offsetof(type, member.index), 0, PC_JSON_NUMBER_MAX, may_lack},                        \
        {"proof", PC_FIELD_ARRAY, offsetof(type, member.proof), 0, PC_MERKLE_PROOF_MAX, may_lack},                     \
        {"checkpoint", PC_FIELD_STRING, offsetof(type, member.checkpoint), 1, PC_NOTE_MAX, may_lack},                  \
        {"from", PC_FIELD_U64, offsetof(type, member.from), 0, PC_JSON_NUMBER_MAX, may_lack},                          \
    {                                                                                                                  \
        "consistency", PC_FIELD_ARRAY, offsetof(type, member.consistency), 0, PC_MERKLE_PROOF_MAX, may_lack            \
    }

/* object: where raw was read from, to see which keys there are: all or none. */
int pc_log_part_read(const json_t *object, const struct pc_log_raw *raw, struct pc_log_part *out, struct pc_why why);
void pc_log_part_clear(struct pc_log_part *p);

/* Opens the checkpoint and verifies that the entry is in its tree. Errors as above. */
int pc_log_included(const struct pc_log_part *p, const struct pc_trust *t, struct pc_checkpoint *out,
                    struct pc_why why);
/* Does it continue what the host remembers? A memory of another log (the quorum has named a new one) is none. */
int pc_log_follows(const struct pc_follow *follow, const struct pc_memory *m, const struct pc_checkpoint *c,
                   struct pc_why why);
/* Both, for what is not an order: PC_CHECK_LOG, PC_CHECK_CONSISTENCY, PC_CHECK_MEMORY. */
enum pc_check pc_log_part_check(const struct pc_log_part *p, const struct pc_trust *t, const struct pc_memory *m,
                                struct pc_checkpoint *out, struct pc_why why);

/* The whole entry around a body, which is taken over (also NULL: -ENOMEM). Errors as of entry.h. */
int pc_entry_finish(const char *tenant, const char *type, int64_t time, json_t *body, char **out, size_t *len);
/* Does the entry say this? 0; PC_E_REFUSED with the reason; -ENOMEM. */
int pc_entry_is_order(const struct pc_log_part *p, const struct pc_order *o, const struct pc_envelope *e,
                      struct pc_why why);
int pc_entry_is_start(const struct pc_log_part *p, const struct pc_order *o, uint64_t run, struct pc_why why);
int pc_entry_is_continue(const struct pc_log_part *p, const struct pc_order *o, uint64_t run, uint32_t ring,
                         const uint8_t (*reports)[32], uint32_t n, struct pc_why why);

struct pc_bundle {
    struct pc_envelope envelope;
    struct pc_order order;
    struct pc_log_part log;
    bool placed;
    struct pc_place place;
};
#endif
