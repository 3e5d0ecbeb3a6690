/* Owns the shape of an order bundle (PROTOCOL.md 1.8). What a host must find true in it is checks.c's. */
#include "base/cleanup.h"
#include "trust/parts.h"

#include <errno.h>

struct raw {
    const json_t *order, *place;
    struct pc_log_raw log;
};
static const struct pc_field fields[] = {
    {"order", PC_FIELD_OBJECT, offsetof(struct raw, order), 0, 0, false},
    {"place", PC_FIELD_OBJECT, offsetof(struct raw, place), 0, 0, true},
    PC_LOG_FIELDS(struct raw, log, true),
    {0},
};

struct place {
    struct pc_place p;
    const json_t *proof;
};
static const struct pc_field place_fields[] = {
    {"host", PC_FIELD_HOST, offsetof(struct place, p.host), 0, 0, false},
    {"index", PC_FIELD_U32, offsetof(struct place, p.index), 0, PC_ORDER_HOSTS_MAX - 1, false},
    {"proof", PC_FIELD_ARRAY, offsetof(struct place, proof), 0, PC_PLACE_PROOF_MAX, false},
    {0},
};

int pc_place_read(const json_t *object, struct pc_place *out, struct pc_why why)
{
    struct place place = {0};
    int r = pc_fields_read(object, "place", place_fields, &place, why);
    if (r == 0)
        r = pc_hashes_read(place.proof, "place", place.p.proof, PC_PLACE_PROOF_MAX, &place.p.n, why);
    if (r == 0)
        *out = place.p;
    return r;
}

/* Everything but the order's own document. */
static int read_parts(const json_t *object, struct pc_bundle *b, struct pc_why why)
{
    struct raw raw = {0};
    int r = pc_fields_read(object, "bundle", fields, &raw, why);
    if (r == 0 && raw.place) {
        r = pc_place_read(raw.place, &b->place, why);
        b->placed = r == 0;
    }
    if (r == 0)
        r = pc_log_part_read(object, &raw.log, &b->log, why);
    if (r == 0)
        r = pc_envelope_read(raw.order, &b->envelope, why);
    return r;
}

enum pc_check pc_bundle_parse(const char *json, size_t len, struct pc_bundle **out, char *text, size_t cap)
{
    struct pc_why why = {text, cap};
    _json_ json_t *object = NULL;
    pc_why_clear(why);
    int r = pc_json_parse(json, len, PC_ENVELOPE_MAX, &object, why);
    struct pc_bundle *b = r == 0 ? calloc(1, sizeof *b) : NULL;
    if (r == 0)
        r = b ? read_parts(object, b, why) : -ENOMEM;
    enum pc_check c = r == 0 ? PC_CHECK_OK : r == -ENOMEM ? PC_CHECK_MEMORY : PC_CHECK_SYNTAX;
    if (c == PC_CHECK_OK)
        c = pc_order_parse(b->envelope.document, b->envelope.len, &b->order, text, cap);
    if (c != PC_CHECK_OK)
        pc_bundle_free(b);
    else
        *out = b;
    return c;
}

void pc_bundle_free(struct pc_bundle *b)
{
    if (!b)
        return;
    pc_envelope_clear(&b->envelope);
    pc_order_clear(&b->order);
    pc_log_part_clear(&b->log);
    free(b);
}

const struct pc_order *pc_bundle_order(const struct pc_bundle *b)
{
    return &b->order;
}

const struct pc_envelope *pc_bundle_envelope(const struct pc_bundle *b)
{
    return &b->envelope;
}

int64_t pc_bundle_position(const struct pc_bundle *b, const struct pc_host_ref *me)
{
    return pc_order_position(&b->order, me, b->placed ? &b->place : NULL);
}

const char *pc_bundle_checkpoint_text(const struct pc_bundle *b)
{
    return b->log.checkpoint;
}
