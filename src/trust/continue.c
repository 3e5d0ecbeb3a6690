/*
 * Owns what opens a ring (PROTOCOL.md 1.10) and what starts a run of a standing order: frames whose order a host has
 * accepted. The earlier ring's own reports are the ticket; the server only carries them.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/parts.h"
#include "trust/report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct raw {
    struct pc_names_order names;
    const json_t *reports;
    struct pc_log_raw log;
};
static const struct pc_field continue_fields[] = {
    {"order_sha256", PC_FIELD_HEX, offsetof(struct raw, names.order_sha256), 0, PC_SHA256_HEX, false},
    {"run", PC_FIELD_U64, offsetof(struct raw, names.run), 0, PC_JSON_NUMBER_MAX, false},
    {"ring", PC_FIELD_U32, offsetof(struct raw, names.ring), 1, PC_RINGS_MAX - 1, false},
    {"reports", PC_FIELD_ARRAY, offsetof(struct raw, reports), 0, PC_RING_EARLY_MAX, false},
    PC_LOG_FIELDS(struct raw, log, false),
    {0},
};
static const struct pc_field start_fields[] = {
    {"order_sha256", PC_FIELD_HEX, offsetof(struct raw, names.order_sha256), 0, PC_SHA256_HEX, false},
    {"run", PC_FIELD_U64, offsetof(struct raw, names.run), 1, PC_JSON_NUMBER_MAX, false},
    PC_LOG_FIELDS(struct raw, log, false),
    {0},
};
struct raw_report {
    const json_t *envelope, *place;
};
static const struct pc_field report_fields[] = {
    {"envelope", PC_FIELD_OBJECT, offsetof(struct raw_report, envelope), 0, 0, false},
    {"place", PC_FIELD_OBJECT, offsetof(struct raw_report, place), 0, 0, true},
    {0},
};

static int read_frame(const char *json, size_t len, const char *what, const struct pc_field *fields, struct raw *out,
                      json_t **root, struct pc_why why)
{
    int r = pc_json_parse(json, len, PC_ENVELOPE_MAX, root, why);
    return r < 0 ? r : pc_fields_read(*root, what, fields, out, why);
}

static int names(const char *json, size_t len, const char *what, const struct pc_field *fields,
                 struct pc_names_order *out)
{
    struct raw raw = {0};
    _json_ json_t *root = NULL;
    int r = read_frame(json, len, what, fields, &raw, &root, (struct pc_why){0});
    if (r == 0)
        *out = raw.names;
    return r;
}

int pc_continue_names(const char *json, size_t len, struct pc_names_order *out)
{
    return names(json, len, "continue", continue_fields, out);
}

int pc_start_names(const char *json, size_t len, struct pc_names_order *out)
{
    return names(json, len, "start", start_fields, out);
}

/* --- the reports of the ring before ------------------------------------------------------------------------------- */

struct tally {
    const struct pc_order *o;
    uint32_t ring, first; /* that reported; position of its first host */
    uint64_t run;
    bool *seen; /* by position in the ring */
    uint32_t reports, failures;
    uint64_t incidents;
    uint8_t (*hash)[32]; /* of the documents */
    struct pc_why why;
};

static int refuse(const struct tally *t, uint32_t i, const char *words)
{
    return pc_why(t->why, PC_E_REFUSED, "report %" PRIu32 ": %s", i, words);
}

/* The report's host, by its own key, as a position in the ring; or an error. */
static int position(struct tally *t, const struct pc_host_envelope *e, const struct pc_ring_report *r,
                    const struct pc_place *place, uint32_t *out)
{
    if (strcmp(e->id, r->host.id) != 0)
        return refuse(t, t->reports, "signed with a key that is not that host's");
    int64_t at = pc_order_position(t->o, &r->host, place);
    if (at < 0 || pc_order_ring_of(t->o, (uint32_t)at) != t->ring)
        return refuse(t, t->reports, "by a host that is not in the ring before");
    if (t->seen[at - t->first])
        return refuse(t, t->reports, "the same host twice");
    *out = (uint32_t)at - t->first;
    return 0;
}

static int about_this(struct tally *t, const struct pc_ring_report *r)
{
    if (strcmp(r->order_sha256, t->o->sha256) != 0 || strcmp(r->tenant, t->o->tenant) != 0)
        return refuse(t, t->reports, "about another order");
    if (r->ring != t->ring || r->run != t->run)
        return refuse(t, t->reports, "about another ring or run");
    if (r->soaked < r->ended || (uint64_t)(r->soaked - r->ended) < t->o->ring[t->ring].soak)
        return refuse(t, t->reports, "made before its soak was over");
    return 0;
}

/* One report into the tally. */
static int add(struct tally *t, const struct pc_host_envelope *e, const struct pc_place *place)
{
    struct pc_ring_report r;
    uint32_t at = 0;
    int s = pc_ring_report_parse(e->document, e->len, &r);
    if (s < 0)
        return s == -ENOMEM ? s : refuse(t, t->reports, "not a ring/1 document");
    s = about_this(t, &r);
    if (s == 0)
        s = position(t, e, &r, place, &at);
    if (s < 0)
        return s;
    t->seen[at] = true;
    t->failures += strcmp(r.outcome, "ok") != 0;
    t->incidents += r.incidents;
    pc_unhex(e->sha256, t->hash[t->reports], 32);
    t->reports++;
    return 0;
}

static int add_json(struct tally *t, const json_t *report)
{
    struct raw_report raw = {0};
    struct pc_host_envelope e;
    struct pc_place place;
    int r = pc_fields_read(report, "reports", report_fields, &raw, t->why);
    if (r == 0 && raw.place)
        r = pc_place_read(raw.place, &place, t->why);
    if (r == 0)
        r = pc_host_envelope_read(raw.envelope, "ring", &e, t->why);
    if (r < 0)
        return r;
    r = add(t, &e, raw.place ? &place : NULL);
    pc_host_envelope_clear(&e);
    return r;
}

/* A host that did not report counts as one that failed: else a stolen server would just keep the bad news back. */
static int good_enough(const struct tally *t)
{
    uint32_t hosts = t->o->ring[t->ring].hosts, bad = t->failures + (hosts - t->reports);
    if (bad > t->o->halt_failures)
        return pc_why(t->why, PC_E_REFUSED,
                      "%" PRIu32 " hosts of the ring before failed or did not report: %" PRIu32 " may", bad,
                      t->o->halt_failures);
    if (t->incidents > t->o->halt_incidents)
        return pc_why(t->why, PC_E_REFUSED, "%" PRIu64 " incidents in the ring before: %" PRIu32 " may be",
                      t->incidents, t->o->halt_incidents);
    return 0;
}

static int tally(struct tally *t, const json_t *reports)
{
    for (size_t i = 0; i < json_array_size(reports); i++) {
        int r = t->reports < t->o->ring[t->ring].hosts ? add_json(t, json_array_get(reports, i))
                                                       : refuse(t, t->reports, "one too many");
        if (r < 0)
            return r;
    }
    return good_enough(t);
}

static enum pc_check check_of(int r, enum pc_check otherwise)
{
    return r == 0 ? PC_CHECK_OK : r == -ENOMEM ? PC_CHECK_MEMORY : otherwise;
}

/* The log part of a frame, and whether its entry says what the frame says. */
static enum pc_check check_log(const json_t *root, const struct raw *raw, const struct pc_order *o,
                               const struct tally *t, const struct pc_trust *trust, const struct pc_memory *m,
                               struct pc_checkpoint *out, struct pc_why why)
{
    struct pc_log_part part = {0};
    struct pc_checkpoint c;
    enum pc_check check = check_of(pc_log_part_read(root, &raw->log, &part, why), PC_CHECK_SYNTAX);
    if (check == PC_CHECK_OK && t)
        check = check_of(pc_entry_is_continue(&part, o, t->run, t->ring + 1, t->hash, t->reports, why), PC_CHECK_LOG);
    if (check == PC_CHECK_OK && !t)
        check = check_of(pc_entry_is_start(&part, o, raw->names.run, why), PC_CHECK_LOG);
    if (check == PC_CHECK_OK)
        check = pc_log_part_check(&part, trust, m, &c, why);
    if (check == PC_CHECK_OK)
        *out = c;
    pc_log_part_clear(&part);
    return check;
}

enum pc_check pc_continue_check(const char *json, size_t len, const struct pc_order *o, const struct pc_trust *trust,
                                const struct pc_memory *m, uint32_t ring, uint64_t run, struct pc_checkpoint *out,
                                char *text, size_t cap)
{
    struct pc_why why = {text, cap};
    struct raw raw = {0};
    _json_ json_t *root = NULL;
    pc_why_clear(why);
    int r = read_frame(json, len, "continue", continue_fields, &raw, &root, why);
    if (r < 0)
        return check_of(r, PC_CHECK_SYNTAX);
    if (ring == 0 || ring >= o->rings || raw.names.ring != ring || raw.names.run != run ||
        strcmp(raw.names.order_sha256, o->sha256) != 0) {
        pc_why(why, 0, "it is for another order, run or ring");
        return PC_CHECK_RING;
    }
    uint32_t hosts = o->ring[ring - 1].hosts;
    bool *seen _free_ = calloc(hosts, sizeof *seen);
    uint8_t(*hash)[32] _free_ = calloc(hosts, sizeof *hash);
    if (!seen || !hash)
        return PC_CHECK_MEMORY;
    struct tally t = {.o = o,
                      .ring = ring - 1,
                      .first = pc_order_ring_start(o, ring - 1),
                      .run = run,
                      .seen = seen,
                      .hash = hash,
                      .why = why};
    r = tally(&t, raw.reports);
    if (r < 0)
        return check_of(r, r == PC_E_SYNTAX || r == PC_E_LIMIT ? PC_CHECK_SYNTAX : PC_CHECK_RING);
    return check_log(root, &raw, o, &t, trust, m, out, why);
}

enum pc_check pc_start_check(const char *json, size_t len, const struct pc_order *o, const struct pc_trust *t,
                             const struct pc_memory *m, uint64_t last_run, uint64_t *run, struct pc_checkpoint *out,
                             char *text, size_t cap)
{
    struct pc_why why = {text, cap};
    struct raw raw = {0};
    _json_ json_t *root = NULL;
    pc_why_clear(why);
    int r = read_frame(json, len, "start", start_fields, &raw, &root, why);
    if (r < 0)
        return check_of(r, PC_CHECK_SYNTAX);
    if (!o->standing || strcmp(raw.names.order_sha256, o->sha256) != 0) {
        pc_why(why, 0, "it is not for this standing order");
        return PC_CHECK_CLASS;
    }
    if (raw.names.run <= last_run) {
        pc_why(why, 0, "run %" PRIu64 ": run %" PRIu64 " was started before", raw.names.run, last_run);
        return PC_CHECK_SEQUENCE;
    }
    enum pc_check c = check_log(root, &raw, o, NULL, t, m, out, why);
    if (c == PC_CHECK_OK)
        *run = raw.names.run;
    return c;
}
