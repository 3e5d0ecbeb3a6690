/*
 * Owns the judgement of orders in the log, and puts together what owners signed when it came in parts. Signatures stand
 * in the log; only what an older server logged by their hashes is fetched from the server, which must be able to show
 * every one.
 */
#include "cli/net/log_audit.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/entry.h"
#include "trust/json.h"

#include <inttypes.h>
#include <string.h>

/* --- parts -------------------------------------------------------------------------------------------------------- */

static bool take_piece(struct pc_audit_pieces *p, const struct pc_entry_piece *piece)
{
    if (piece->part == 0) {
        pc_buf_reset(&p->text);
        memcpy(p->sha256, piece->sha256, sizeof p->sha256);
        p->parts = piece->parts;
        p->next = 0;
    }
    if (piece->part != p->next || piece->parts != p->parts || strcmp(piece->sha256, p->sha256) != 0)
        return false;
    p->next++;
    return pc_buf_add(&p->text, piece->data, piece->len) >= 0;
}

int pc_audit_part(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    struct pc_audit_pieces *p = &a->pieces;
    struct pc_entry_piece piece;
    char why[200];
    bool unfinished = p->parts && p->next < p->parts;
    if (pc_entry_part_read(e, &piece, why, sizeof why) < 0) {
        pc_audit_problem(a, index, "part: %s", why);
        return 0;
    }
    if (p->parts && (!unfinished || piece.part == 0))
        pc_audit_problem(a, index, "the parts before this one belong to no entry");
    if (!take_piece(p, &piece))
        pc_audit_problem(a, index, "part %" PRIu32 " of %.16s does not follow the entry before it", piece.part,
                         piece.sha256);
    free(piece.data);
    return 0;
}

bool pc_audit_complete(struct pc_audit *a, struct pc_entry_signed *s)
{
    struct pc_audit_pieces *p = &a->pieces;
    struct pc_envelope whole = {0};
    bool full = s->has_document && (s->has_texts || s->n == 0);
    if (!full && p->parts && p->next == p->parts && pc_envelope_parse(p->text.data, p->text.len, &whole) == 0) {
        full = pc_entry_signed_fill(s, &whole) == 0;
        if (full)
            p->parts = 0;
        pc_envelope_clear(&whole);
    }
    return full;
}

/* --- orders ------------------------------------------------------------------------------------------------------- */

static void check_quorum(struct pc_audit *a, uint64_t index, const struct pc_order *o, const struct pc_envelope *e)
{
    struct pc_approvers who;
    const struct pc_trust *t = a->trust;
    if (a->unknown_trust) {
        pc_audit_problem(a, index, "order %s: approved under a trust file that you do not have", o->id);
        return;
    }
    a->orders_checked++;
    if (pc_trust_approvers_known(t, &a->revoked, o->class_, PC_NS_ORDER, e, &who) < 0)
        pc_audit_problem(a, index, "order %s: an approval does not verify", o->id);
    else if (who.n < t->threshold[o->class_])
        pc_audit_problem(a, index, "order %s: NO QUORUM: %" PRIu32 " of %" PRIu32 " owners approved it%s", o->id, who.n,
                         t->threshold[o->class_],
                         who.revoked ? " (signatures by keys that the log says are revoked do not count)" : "");
}

static void judge_order(struct pc_audit *a, uint64_t index, const struct pc_entry *entry,
                        const struct pc_entry_signed *s, bool full)
{
    struct pc_order o;
    char why[256] = "";
    if (pc_order_parse(s->e.document, s->e.len, &o, why, sizeof why) != PC_CHECK_OK) {
        pc_audit_problem(a, index, "order %s: not an order: %s", s->id, why);
        return;
    }
    bool stop = o.class_ == PC_CLASS_S;
    if (strcmp(o.id, s->id) != 0 || strcmp(o.tenant, a->fleet->trust.tenant) != 0 ||
        stop != (strcmp(entry->type, "stop") == 0))
        pc_audit_problem(a, index, "order %s: the entry says other things of it than the document", s->id);
    json_object_set_new(a->orders, s->sha256,
                        json_pack("{s:I,s:I,s:I}", "rings", (json_int_t)o.rings, "failures",
                                  (json_int_t)o.halt_failures, "incidents", (json_int_t)o.halt_incidents));
    if (full)
        check_quorum(a, index, &o, &s->e);
    pc_order_clear(&o);
}

/*
 * What the server shows of an order beside the log: document and signatures. PC_E_NOTFOUND, or *status when it does not
 * answer.
 */
static int ask_order(struct pc_audit *a, const struct pc_entry_signed *s, struct pc_envelope *out, int *status)
{
    char path[PC_SHA256_HEX + 16];
    struct pc_buf text;
    bool found = false;
    _json_ json_t *answer = NULL;
    snprintf(path, sizeof path, "/v1/orders/%s", s->sha256);
    *status = pc_fleet_bytes(a->fleet, path, PC_ANSWER_MAX, &text, &found);
    if (*status)
        return PC_E_STATE;
    int r = found ? pc_answer_parse(text.data ? text.data : "", text.len, &answer) : PC_E_NOTFOUND;
    pc_buf_free(&text);
    _free_ char *document = NULL;
    size_t len = 0, i;
    const json_t *one;
    if (r == 0 && !s->has_document)
        r = pc_json_base64(json_object_get(answer, "document"), PC_DOCUMENT_SMALL_MAX, &document, &len);
    if (r == 0)
        r = pc_envelope_make(document ? document : s->e.document, document ? len : s->e.len, out);
    json_array_foreach(json_object_get(answer, "signatures"), i, one)
        if (r == 0 && json_is_string(one))
            r = pc_envelope_add(out, json_string_value(one), json_string_length(one));
    return r;
}

/* Of an older server's entry: what the entry names, from the server. */
static int fetch(struct pc_audit *a, uint64_t index, struct pc_entry_signed *s, bool *full)
{
    struct pc_envelope shown = {0};
    int status = 0;
    int r = ask_order(a, s, &shown, &status);
    *full = r == 0 && pc_entry_signed_fill(s, &shown) == 0;
    if (!status && !*full)
        pc_audit_problem(a, index, "order %s: the server does not show the %s that it logged", s->id,
                         s->has_document || strcmp(shown.sha256, s->sha256) == 0 ? "approvals" : "document");
    pc_envelope_clear(&shown);
    return status;
}

int pc_audit_order(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    struct pc_entry_signed s = {0};
    char why[200];
    int status = 0;
    if (pc_entry_signed_read(e, &s, why, sizeof why) < 0) {
        pc_audit_problem(a, index, "%s: not the body of an order: %s", e->type, why);
        return 0;
    }
    bool full = pc_audit_complete(a, &s);
    if (!full && a->log_only) {
        a->orders_unchecked++;
        if (!s.has_document) {
            pc_audit_note(a, "entry %" PRIu64 ": a document too large for the log was not looked at", index);
            json_object_set_new(a->orders, s.sha256, json_object());
        }
    } else if (!full) {
        status = fetch(a, index, &s, &full);
    }
    if (full || (a->log_only && s.has_document))
        judge_order(a, index, e, &s, full);
    pc_entry_signed_clear(&s);
    return status;
}
