/*
 * Owns what a frame may change in the host's memory. Each function: ask src/trust, write down, then believe. Nothing is
 * acknowledged before it is on disk, and the copy in this process changes only after the disk has it. What an accepted
 * order then does is schedule.c's.
 */
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "trust/json.h"

#include <errno.h>
#include <string.h>

/* The signed note of a frame, for the evidence. NULL: none. malloc'd. */
static char *note_of(const char *json, size_t len)
{
    _json_ json_t *o = NULL;
    (void)pc_json_parse(json, len, PC_ENVELOPE_MAX, &o, (struct pc_why){0});
    const char *text = json_string_value(json_object_get(o, "checkpoint"));
    return text ? strdup(text) : NULL;
}

/* Writes a checkpoint down, with its note; believing it is believe_checkpoint's, after the transaction. */
static int keep_checkpoint(struct pc_runner *r, const struct pc_checkpoint *c, const char *note)
{
    _buf_free_ struct pc_buf text;
    pc_buf_init(&text, 16u << 10);
    if (c->size == 0)
        return 0;
    int e = pc_checkpoint_format(c, &text);
    if (e == 0)
        e = pc_memory_put(r->file, "checkpoint", text.data, text.len);
    if (e == 0 && note)
        e = pc_memory_put(r->file, "checkpoint-note", note, strlen(note));
    return e;
}

static void believe_checkpoint(struct pc_runner *r, const struct pc_checkpoint *c, char **note)
{
    if (c->size == 0)
        return;
    r->memory.checkpoint = *c;
    if (*note) {
        free(r->checkpoint_note);
        r->checkpoint_note = TAKE_PTR(*note);
    }
    char body[64];
    int n = snprintf(body, sizeof body, "{\"checkpoint_size\":%llu}", (unsigned long long)c->size);
    (void)pc_peer_send(r, PC_FRAME_SEEN, body, (size_t)n);
}

/* Where nothing was believed yet of this log there is nothing that it could contradict. */
static void keep_evidence(struct pc_runner *r, const char *theirs, const char *why)
{
    if (r->memory.checkpoint.size == 0)
        return;
    int e = pc_memory_evidence(r->file, pc_now(), r->checkpoint_note ? r->checkpoint_note : "", theirs ? theirs : "",
                               why);
    if (e == PC_E_LIMIT && !pc_bucket_take(&r->refusals, pc_boot_ns(), 1))
        return;
    pc_tell_event(r, PC_LEVEL_ALERT, "split-log",
                  "the server showed a log that is not the continuation of the one seen before: %s%s", why,
                  e == 0            ? "; both checkpoints are kept as evidence"
                  : e == PC_E_LIMIT ? "; enough evidence is kept already"
                                    : "; the evidence could not be kept");
}

static void say_refused(struct pc_runner *r, enum pc_check c, const char *what, const char *sha256, const char *why)
{
    pc_tell_event(r, PC_LEVEL_WARNING, "refused", "check %s: %s%s%.12s: %s", pc_check_word(c), what,
                  sha256[0] ? " " : "", sha256, why[0] ? why : pc_check_text(c));
}

/*
 * A stop needs one owner only, and its number is not checked: if it moved the sequence, one stolen key could shut out
 * every later order.
 */
static bool counts(const struct pc_order *o, const struct pc_runner *r)
{
    return o->class_ != PC_CLASS_S && o->sequence > r->memory.sequence;
}

/* Everything that accepting an order changes, in one transaction. */
static int write_order(struct pc_runner *r, const struct pc_bundle *b, const struct pc_checkpoint *seen)
{
    const struct pc_order *o = pc_bundle_order(b);
    int64_t place = pc_bundle_position(b, &r->memory.me);
    _free_ char *envelope = NULL;
    size_t len;
    int e = place < 0 ? PC_E_NOTFOUND : pc_envelope_format(pc_bundle_envelope(b), &envelope, &len);
    if (e < 0)
        return e;
    struct pc_kept_order k = {.state = o->standing ? PC_ORDER_STANDING : PC_ORDER_WAITING,
                              .sequence = o->sequence,
                              .accepted = pc_now(),
                              .expires = o->expires,
                              .since_boot = pc_boot_s(),
                              .ring = pc_order_ring_of(o, (uint32_t)place)};
    k.soak = o->ring[k.ring].soak;
    k.ring_open = k.ring == 0;
    snprintf(k.sha256, sizeof k.sha256, "%s", o->sha256);
    snprintf(k.id, sizeof k.id, "%s", o->id);
    snprintf(k.action, sizeof k.action, "%s", o->action);
    snprintf(k.class_, sizeof k.class_, "%s", pc_class_letter(o->class_));
    snprintf(k.boot, sizeof k.boot, "%s", r->boot);
    e = pc_memory_begin(r->file);
    if (e < 0)
        return e;
    e = pc_memory_order_add(r->file, &k, envelope, len);
    if (e == 0 && counts(o, r))
        e = pc_memory_put_number(r->file, "sequence", o->sequence);
    if (e == 0)
        e = keep_checkpoint(r, seen, pc_bundle_checkpoint_text(b));
    struct pc_checkpoint old = r->memory.checkpoint;
    if (seen->size)
        r->memory.checkpoint =
            *seen; /* the ack names the checkpoint that proved the order; believed only after the commit */
    if (e == 0)
        e = pc_tell_ack(r, o->sha256, PC_CHECK_OK, "", true);
    r->memory.checkpoint = old;
    return pc_memory_end(r->file, e);
}

static uint32_t orders_open(struct pc_runner *r)
{
    return pc_memory_order_count(r->file, PC_ORDER_WAITING) + pc_memory_order_count(r->file, PC_ORDER_RUNNING) +
           pc_memory_order_count(r->file, PC_ORDER_SOAKING) + pc_memory_order_count(r->file, PC_ORDER_STANDING);
}

/* A class S order must always find a place: stopping is what a full host may need. */
static bool has_room(struct pc_runner *r, const struct pc_order *o)
{
    return o->class_ == PC_CLASS_S ||
           (orders_open(r) < PC_ORDERS_WAITING_MAX && pc_memory_outbox_count(r->file) < PC_OUTBOX_MAX);
}

static enum pc_check accept_order(struct pc_runner *r, const struct pc_bundle *b, const struct pc_checkpoint *seen,
                                  char *why, size_t why_len)
{
    const struct pc_order *o = pc_bundle_order(b);
    int e = has_room(r, o) ? write_order(r, b, seen) : PC_E_LIMIT;
    if (e == PC_E_LIMIT)
        snprintf(why, why_len, "%d orders are waiting here already, or the outbox is full", PC_ORDERS_WAITING_MAX);
    else if (e < 0)
        snprintf(why, why_len, "it could not be written down: %s", e == -ENOSPC ? "the disk is full" : pc_strerror(e));
    if (e < 0)
        return PC_CHECK_SPACE;
    if (counts(o, r))
        r->memory.sequence = o->sequence;
    const char *text = pc_bundle_checkpoint_text(b);
    _free_ char *note = text ? strdup(text) : NULL;
    believe_checkpoint(r, seen, &note);
    pc_event(r->log, PC_LEVEL_NOTICE, "accepted", NULL, "order %.12s: %s, class %s, sequence %llu", o->sha256,
             o->action, pc_class_letter(o->class_), (unsigned long long)o->sequence);
    return PC_CHECK_OK;
}

/* The hash of a document that is no order, so that even that can be refused by name. */
static void name_malformed(const char *json, size_t len, char sha256[65])
{
    _json_ json_t *o = NULL;
    struct pc_envelope e = {0};
    (void)pc_json_parse(json, len, PC_ENVELOPE_MAX, &o, (struct pc_why){0});
    _free_ char *order = json_dumps(json_object_get(o, "order"), JSON_COMPACT);
    if (order && pc_envelope_parse(order, strlen(order), &e) == 0)
        snprintf(sha256, 65, "%s", e.sha256);
    pc_envelope_clear(&e);
}

enum pc_check pc_take_order(struct pc_runner *r, const char *json, size_t len, char sha256[65], char *why,
                            size_t why_len)
{
    struct pc_bundle *b;
    struct pc_checkpoint seen = {0};
    struct pc_approvers who = {0};
    sha256[0] = 0;
    enum pc_check c = pc_bundle_parse(json, len, &b, why, why_len);
    if (c != PC_CHECK_OK) {
        name_malformed(json, len, sha256);
        return c;
    }
    snprintf(sha256, 65, "%s", pc_bundle_order(b)->sha256);
    c = pc_bundle_check(b, &r->trust, &r->revoked, &r->memory, pc_now(), &seen, &who, why, why_len);
    if (c == PC_CHECK_CONSISTENCY)
        keep_evidence(r, pc_bundle_checkpoint_text(b), why);
    if (c == PC_CHECK_OK)
        c = accept_order(r, b, &seen, why, why_len);
    pc_bundle_free(b);
    return c;
}

/*
 * A refusal is told, at a bounded rate: it is the server's word that made us say it. Kept in the outbox when there is
 * room for it.
 */
static void refuse_order(struct pc_runner *r, enum pc_check c, const char *sha256, const char *why)
{
    if (!pc_bucket_take(&r->refusals, pc_boot_ns(), 1))
        return;
    say_refused(r, c, "order", sha256, why);
    if (sha256[0]) {
        int e = pc_tell_ack(r, sha256, c, why, false);
        if (e < 0)
            pc_event(r->log, PC_LEVEL_ERROR, "memory", NULL, "the refusal could not be kept for the server: %s",
                     pc_strerror(e));
    }
}

void pc_intake_bundle(struct pc_runner *r, const char *json, size_t len)
{
    char sha256[65], why[256] = "";
    enum pc_check c = pc_take_order(r, json, len, sha256, why, sizeof why);
    if (c == PC_CHECK_MEMORY)
        return; /* no verdict: the server delivers again */
    if (c == PC_CHECK_REPLAYED) {
        /* each costs writes: a server may not make us wear out the disk */
        if (!pc_bucket_take(&r->refusals, pc_boot_ns(), 1))
            return;
        int e = pc_tell_again(r, sha256);
        pc_event(r->log, PC_LEVEL_INFO, "replayed", NULL,
                 "check replayed: order %.12s was accepted before: its state %s", sha256,
                 e < 0 ? "cannot be sent again now" : "is sent again");
    } else if (c != PC_CHECK_OK) {
        refuse_order(r, c, sha256, why);
    } else {
        pc_schedule(r); /* not for each frame: it looks at all orders that wait */
    }
}

/*
 * Shared end of continue, start and checkpoint frames: one transaction for the checkpoint and, if there is one, the
 * order's row.
 */
static int write_step(struct pc_runner *r, const struct pc_checkpoint *seen, const char *note,
                      const struct pc_kept_order *row)
{
    int e = pc_memory_begin(r->file);
    if (e < 0)
        return e;
    e = keep_checkpoint(r, seen, note);
    if (e == 0 && row)
        e = pc_memory_order_set(r->file, row);
    return pc_memory_end(r->file, e);
}

static void end_step(struct pc_runner *r, enum pc_check c, const struct pc_checkpoint *seen, char *note,
                     const struct pc_kept_order *row, const char *what, const char *why)
{
    _free_ char *owned = note;
    const char *sha256 = row ? row->sha256 : "";
    if (c == PC_CHECK_MEMORY)
        return;
    if (c == PC_CHECK_CONSISTENCY)
        keep_evidence(r, owned, why);
    if (c != PC_CHECK_OK) {
        if (pc_bucket_take(&r->refusals, pc_boot_ns(), 1))
            say_refused(r, c, what, sha256, why);
        return;
    }
    int e = write_step(r, seen, owned, row);
    if (e < 0)
        pc_event(r->log, PC_LEVEL_ERROR, "memory", NULL, "%s: not written down, and so not believed: %s", what,
                 pc_strerror(e));
    else
        believe_checkpoint(r, seen, &owned);
}

void pc_intake_continue(struct pc_runner *r, const char *json, size_t len)
{
    struct pc_names_order named;
    struct pc_loaded l;
    struct pc_checkpoint seen = {0};
    char why[256] = "";
    if (pc_continue_names(json, len, &named) < 0 || pc_order_load(r, named.order_sha256, &l) < 0) {
        end_step(r, PC_CHECK_SYNTAX, &seen, NULL, NULL, "continue", "malformed, or of an order that is not here");
        return;
    }
    struct pc_kept_order *k = &l.kept;
    uint64_t run = l.order.standing ? k->run : 0;
    if (k->state == PC_ORDER_WAITING && !k->ring_open && named.ring == k->ring && named.run == run) {
        enum pc_check c = pc_continue_check(json, len, &l.order, &r->trust, &r->memory, k->ring, run, &seen, why,
                                            sizeof why);
        k->ring_open = c == PC_CHECK_OK;
        end_step(r, c, &seen, note_of(json, len), k, "continue of order", why);
        if (c == PC_CHECK_OK) {
            pc_event(r->log, PC_LEVEL_NOTICE, "continue", NULL, "order %.12s: ring %u may start", k->sha256, k->ring);
            pc_schedule(r);
        }
    }
    pc_loaded_clear(&l);
}

/*
 * A run of a standing order, inside its own bounds. A run that comes at the wrong time is over before it began:
 * refused, and its number is spent. False: nothing was done, because too many were refused just now: each costs
 * writes.
 */
static bool begin_run(struct pc_runner *r, struct pc_loaded *l, uint64_t run)
{
    bool open = pc_order_open(&l->order, l->kept.started);
    if (l->kept.state == PC_ORDER_STANDING && open) {
        l->kept.state = PC_ORDER_WAITING;
        l->kept.ring_open = l->kept.ring == 0;
        l->kept.run = run;
        return true;
    }
    if (!pc_bucket_take(&r->refusals, pc_boot_ns(), 1))
        return false;
    struct pc_result result;
    pc_result_begin(r, &result);
    snprintf(result.order_sha256, sizeof result.order_sha256, "%s", l->kept.sha256);
    snprintf(result.outcome, sizeof result.outcome, "refused");
    result.run = run;
    result.output = open ? "the run before is not over" : "outside the days, hours or distance that the order allows";
    result.output_len = strlen(result.output);
    pc_sha256_text(result.output, result.output_len, result.output_sha256);
    int e = pc_tell_result(r, &result, false);
    if (l->kept.state == PC_ORDER_STANDING)
        l->kept.run = run;
    pc_tell_event(r, PC_LEVEL_WARNING, "refused", "check window: run %llu of order %.12s: %s%s",
                  (unsigned long long)run, l->kept.sha256, (const char *)result.output,
                  e < 0 ? " (and the server cannot be told)" : "");
    return true;
}

void pc_intake_start(struct pc_runner *r, const char *json, size_t len)
{
    struct pc_names_order named;
    struct pc_loaded l;
    struct pc_checkpoint seen = {0};
    uint64_t run = 0;
    char why[256] = "";
    if (pc_start_names(json, len, &named) < 0 || pc_order_load(r, named.order_sha256, &l) < 0) {
        end_step(r, PC_CHECK_SYNTAX, &seen, NULL, NULL, "start", "malformed, or of an order that is not here");
        return;
    }
    enum pc_check c = pc_start_check(json, len, &l.order, &r->trust, &r->memory, l.kept.run, &run, &seen, why,
                                     sizeof why);
    if (c != PC_CHECK_OK || begin_run(r, &l, run))
        end_step(r, c, &seen, note_of(json, len), &l.kept, "start of order", why);
    pc_loaded_clear(&l);
    if (c == PC_CHECK_OK)
        pc_schedule(r);
}

void pc_intake_checkpoint(struct pc_runner *r, const char *json, size_t len)
{
    struct pc_checkpoint seen = {0};
    char why[256] = "";
    enum pc_check c = pc_checkpoint_accept(json, len, &r->trust, &r->memory, &seen, why, sizeof why);
    end_step(r, c, &seen, c == PC_CHECK_OK || c == PC_CHECK_CONSISTENCY ? note_of(json, len) : NULL, NULL, "checkpoint",
             why);
}

void pc_intake_got(struct pc_runner *r, const char *json, size_t len)
{
    _json_ json_t *o = NULL;
    (void)pc_json_parse(json, len, 1024, &o, (struct pc_why){0});
    const char *sha256 = json_string_value(json_object_get(o, "sha256"));
    if (sha256 && pc_hex_valid(sha256, PC_SHA256_HEX))
        (void)pc_memory_outbox_done(r->file, sha256); /* when it fails it is sent once more */
}
