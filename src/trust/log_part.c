/*
 * Owns the proof that something was logged, as it travels: entry, inclusion, checkpoint, consistency. What the entry
 * must say is entry.c's; how trees and notes work is the log's own (merkle.h, checkpoint.h).
 */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/parts.h"

#include <errno.h>
#include <string.h>

int pc_hashes_read(const json_t *list, const char *what, uint8_t (*out)[32], uint32_t max, uint32_t *n,
                   struct pc_why why)
{
    size_t i;
    json_t *v;
    if (json_array_size(list) > max)
        return pc_why(why, PC_E_SYNTAX, "\"%s\" has more than %u hashes", what, max);
    json_array_foreach((json_t *)list, i, v)
        if (!json_is_string(v) || pc_base64_decode(json_string_value(v), json_string_length(v), 0, out[i], 32) != 32)
            return pc_why(why, PC_E_SYNTAX, "\"%s\" must be base64 of hashes", what);
    *n = (uint32_t)json_array_size(list);
    return 0;
}

static int copy_note(const json_t *text, char **out, size_t *len)
{
    *len = json_string_length(text);
    *out = strdup(json_string_value(text));
    return *out ? 0 : -ENOMEM;
}

static const char *const keys[] = {"entry", "index", "proof", "checkpoint", "from", "consistency"};

int pc_log_part_read(const json_t *object, const struct pc_log_raw *raw, struct pc_log_part *out, struct pc_why why)
{
    size_t there = 0;
    for (size_t i = 0; i < PC_ARRAY_SIZE(keys); i++)
        there += json_object_get(object, keys[i]) != NULL;
    if (there != 0 && there != PC_ARRAY_SIZE(keys))
        return pc_why(why, PC_E_SYNTAX,
                      "entry, index, proof, checkpoint, from and consistency come together or not at all");
    if (there == 0)
        return 0;
    struct pc_log_part p = {.index = raw->index, .follow.from = raw->from};
    int r = pc_hashes_read(raw->proof, "proof", p.proof, PC_MERKLE_PROOF_MAX, &p.n, why);
    if (r == 0)
        r = pc_hashes_read(raw->consistency, "consistency", p.follow.proof, PC_MERKLE_PROOF_MAX, &p.follow.n, why);
    if (r == 0)
        r = pc_json_base64(raw->entry, PC_DOCUMENT_SMALL_MAX, &p.entry, &p.entry_len);
    if (r == 0)
        r = copy_note(raw->checkpoint, &p.checkpoint, &p.checkpoint_len);
    if (r < 0) {
        pc_log_part_clear(&p);
        return pc_why(why, r, "\"entry\" must be base64 of at most %u bytes", PC_DOCUMENT_SMALL_MAX);
    }
    *out = p;
    return 0;
}

void pc_log_part_clear(struct pc_log_part *p)
{
    free(p->entry);
    free(p->checkpoint);
    *p = (struct pc_log_part){0};
}

/* Errors of the log's functions to ours, with words. */
static int refuse(int r, const char *what, struct pc_why why)
{
    if (r == 0 || r == -ENOMEM)
        return r;
    return pc_why(why, PC_E_REFUSED, "%s: %s", what, pc_strerror(r));
}

/* Opens a checkpoint with the trust file's keys. 0; PC_E_REFUSED with the reason; -ENOMEM. */
static int log_open(const char *note, size_t len, const struct pc_trust *t, struct pc_checkpoint *out,
                    struct pc_why why)
{
    int r = pc_checkpoint_open(note, len, &t->log, t->witness, t->witnesses, t->witnesses_needed, out);
    if (r == PC_E_REFUSED)
        return pc_why(why, PC_E_REFUSED, "the checkpoint is cosigned by fewer than %u witnesses", t->witnesses_needed);
    return refuse(r, "the checkpoint is not the log's", why);
}

int pc_log_included(const struct pc_log_part *p, const struct pc_trust *t, struct pc_checkpoint *out, struct pc_why why)
{
    uint8_t leaf[PC_HASH_LEN];
    struct pc_checkpoint c;
    if (!p->entry)
        return pc_why(why, PC_E_REFUSED, "it came without the log's proof");
    int r = log_open(p->checkpoint, p->checkpoint_len, t, &c, why);
    if (r < 0)
        return r;
    pc_merkle_leaf(p->entry, p->entry_len, leaf);
    r = pc_merkle_verify_inclusion(p->index, c.size, leaf, p->proof, p->n, c.root);
    if (r < 0)
        return refuse(r, "the entry is not in the log", why);
    *out = c;
    return 0;
}

int pc_log_follows(const struct pc_follow *follow, const struct pc_memory *m, const struct pc_checkpoint *c,
                   struct pc_why why)
{
    struct pc_checkpoint last = m->checkpoint;
    if (strcmp(last.origin, c->origin) != 0)
        last = (struct pc_checkpoint){0};
    if (last.size == 0)
        memcpy(last.origin, c->origin, sizeof last.origin);
    if (c->size > last.size && follow->from != last.size)
        return pc_why(why, PC_E_REFUSED, "the proof of consistency does not start at the tree that this host has seen");
    return refuse(pc_checkpoint_follows(&last, c, follow->proof, follow->n),
                  "the log's tree does not continue the last one", why);
}

enum pc_check pc_log_part_check(const struct pc_log_part *p, const struct pc_trust *t, const struct pc_memory *m,
                                struct pc_checkpoint *out, struct pc_why why)
{
    struct pc_checkpoint c;
    int r = pc_log_included(p, t, &c, why);
    if (r < 0)
        return r == -ENOMEM ? PC_CHECK_MEMORY : PC_CHECK_LOG;
    r = pc_log_follows(&p->follow, m, &c, why);
    if (r < 0)
        return r == -ENOMEM ? PC_CHECK_MEMORY : PC_CHECK_CONSISTENCY;
    *out = c;
    return PC_CHECK_OK;
}

/* --- checkpoint frames -------------------------------------------------------------------------------------------- */

struct checkpoint_frame {
    const json_t *checkpoint, *consistency;
    uint64_t from;
};
static const struct pc_field checkpoint_fields[] = {
    {"checkpoint", PC_FIELD_STRING, offsetof(struct checkpoint_frame, checkpoint), 1, PC_NOTE_MAX, false},
    {"from", PC_FIELD_U64, offsetof(struct checkpoint_frame, from), 0, PC_JSON_NUMBER_MAX, false},
    {"consistency", PC_FIELD_ARRAY, offsetof(struct checkpoint_frame, consistency), 0, PC_MERKLE_PROOF_MAX, false},
    {0},
};

enum pc_check pc_checkpoint_accept(const char *json, size_t len, const struct pc_trust *t, const struct pc_memory *m,
                                   struct pc_checkpoint *out, char *text, size_t cap)
{
    struct pc_why why = {text, cap};
    struct checkpoint_frame f = {0};
    struct pc_checkpoint c;
    _json_ json_t *root = NULL;
    pc_why_clear(why);
    int r = pc_json_parse(json, len, PC_ENVELOPE_MAX, &root, why);
    if (r == 0)
        r = pc_fields_read(root, "checkpoint", checkpoint_fields, &f, why);
    struct pc_follow follow = {.from = f.from};
    if (r == 0)
        r = pc_hashes_read(f.consistency, "consistency", follow.proof, PC_MERKLE_PROOF_MAX, &follow.n, why);
    if (r < 0)
        return r == -ENOMEM ? PC_CHECK_MEMORY : PC_CHECK_SYNTAX;
    r = log_open(json_string_value(f.checkpoint), json_string_length(f.checkpoint), t, &c, why);
    if (r < 0)
        return r == -ENOMEM ? PC_CHECK_MEMORY : PC_CHECK_LOG;
    r = pc_log_follows(&follow, m, &c, why);
    if (r < 0)
        return r == -ENOMEM ? PC_CHECK_MEMORY : PC_CHECK_CONSISTENCY;
    *out = c;
    return PC_CHECK_OK;
}

bool pc_checkpoint_fresh(const struct pc_checkpoint *c, const struct pc_trust *t, int64_t now)
{
    int64_t age = now - c->time;
    return c->size > 0 && c->time > 0 && age <= (int64_t)t->silence && -age <= (int64_t)t->silence;
}
