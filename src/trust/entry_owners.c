/*
 * Owns the log's entries of what owners signed (PROTOCOL.md 1.7): made so that whoever has the log alone can tell who
 * signed what, and read so that nothing but that comes out. Must not judge the signatures: that is approve.c's.
 */
#include "trust/entry.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/parts.h"
#include "trust/tile.h"

#include <errno.h>
#include <string.h>

/* --- making ------------------------------------------------------------------------------------------------------ */

/* One string for each signature: its text, or the hex SHA-256 of it. */
static json_t *list_of(const struct pc_envelope *e, bool texts)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < e->signatures; i++) {
        char hash[PC_SHA256_HEX + 1];
        pc_sha256_text(e->signature[i].text, e->signature[i].len, hash);
        json_t *one = texts ? json_stringn(e->signature[i].text, e->signature[i].len) : json_string(hash);
        if (json_array_append_new(list, one) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* Adds the document and the signatures' texts to a body; NULL when there is no memory. */
static json_t *with_all(json_t *body, const struct pc_envelope *e)
{
    if (body && json_object_set_new(body, "document", pc_json_base64_new(e->document, e->len)) == 0 &&
        (e->signatures == 0 || json_object_set_new(body, "texts", list_of(e, true)) == 0))
        return body;
    json_decref(body);
    return NULL;
}

/* The entry with all in it, or, when that is too long, with what names it. 0, 1, negative. */
static int make(const char *tenant, const char *type, json_t *body, const struct pc_envelope *e, int64_t time,
                char **out, size_t *len)
{
    json_t *names = json_deep_copy(body);
    int r = pc_entry_finish(tenant, type, time, with_all(body, e), out, len);
    if (r != PC_E_LIMIT) {
        json_decref(names);
        return r;
    }
    r = pc_entry_finish(tenant, type, time, names, out, len);
    return r < 0 ? r : 1;
}

int pc_entry_order(const struct pc_order *o, const struct pc_envelope *e, int64_t time, char **out, size_t *len)
{
    json_t *body = json_pack("{s:s, s:s, s:o}", "order_sha256", o->sha256, "id", o->id, "approvals", list_of(e, false));
    return make(o->tenant, o->class_ == PC_CLASS_S ? "stop" : "order", body, e, time, out, len);
}

int pc_entry_owners(const char *tenant, const char *type, const struct pc_envelope *e, int64_t time, char **out,
                    size_t *len)
{
    json_t *body = json_pack("{s:s, s:o}", "sha256", e->sha256, "signatures", list_of(e, false));
    return make(tenant, type, body, e, time, out, len);
}

uint32_t pc_entry_parts(size_t whole_len)
{
    size_t n = (whole_len + PC_PART_BYTES - 1) / PC_PART_BYTES;
    return n > PC_PARTS_MAX ? 0 : (uint32_t)n;
}

int pc_entry_part(const char *tenant, const char *document_sha256, const char *whole, size_t whole_len, uint32_t part,
                  int64_t time, char **out, size_t *len)
{
    size_t from = (size_t)part * PC_PART_BYTES;
    size_t n = whole_len - from < PC_PART_BYTES ? whole_len - from : PC_PART_BYTES;
    return pc_entry_finish(tenant, "part", time,
                           json_pack("{s:s, s:I, s:I, s:o}", "sha256", document_sha256, "part", (json_int_t)part,
                                     "parts", (json_int_t)pc_entry_parts(whole_len), "data",
                                     pc_json_base64_new(whole + from, n)),
                           out, len);
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

struct body {
    char sha256[PC_SHA256_HEX + 1], id[PC_ID_LEN + 1];
    const json_t *approvals, *texts, *document;
};
#define BODY(member) offsetof(struct body, member)
static const struct pc_field order_fields[] = {
    {"order_sha256", PC_FIELD_HEX, BODY(sha256), 0, PC_SHA256_HEX, false},
    {"id", PC_FIELD_HEX, BODY(id), 0, PC_ID_LEN, false},
    {"approvals", PC_FIELD_ARRAY, BODY(approvals), 1, PC_SIGNATURES_MAX, false},
    {"document", PC_FIELD_STRING, BODY(document), 4, PC_ENTRY_MAX, true},
    {"texts", PC_FIELD_ARRAY, BODY(texts), 1, PC_SIGNATURES_MAX, true},
    {0},
};
static const struct pc_field owners_fields[] = {
    {"sha256", PC_FIELD_HEX, BODY(sha256), 0, PC_SHA256_HEX, false},
    {"signatures", PC_FIELD_ARRAY, BODY(approvals), 0, PC_SIGNATURES_MAX, false},
    {"document", PC_FIELD_STRING, BODY(document), 4, PC_ENTRY_MAX, true},
    {"texts", PC_FIELD_ARRAY, BODY(texts), 1, PC_SIGNATURES_MAX, true},
    {0},
};

static int read_approvals(const struct body *b, struct pc_entry_signed *s, struct pc_why why)
{
    for (size_t i = 0; i < json_array_size(b->approvals); i++) {
        const char *hash = json_string_value(json_array_get(b->approvals, i));
        if (!hash || !pc_hex_valid(hash, PC_SHA256_HEX))
            return pc_why(why, PC_E_SYNTAX, "a signature is named by something else than a SHA-256");
        for (uint32_t k = 0; k < s->n; k++)
            if (strcmp(s->approval[k], hash) == 0)
                return pc_why(why, PC_E_SYNTAX, "a signature is named twice");
        snprintf(s->approval[s->n++], sizeof s->approval[0], "%s", hash);
    }
    return 0;
}

static int read_document(const struct body *b, struct pc_entry_signed *s, struct pc_why why)
{
    _free_ char *bytes = NULL;
    size_t len;
    if (!b->document)
        return 0;
    int r = pc_json_base64(b->document, PC_ENTRY_MAX, &bytes, &len);
    if (r == 0)
        r = pc_envelope_make(bytes, len, &s->e);
    if (r == -ENOMEM)
        return r;
    if (r < 0 || strcmp(s->e.sha256, s->sha256) != 0)
        return pc_why(why, PC_E_SYNTAX, "it does not hold the document that it names");
    s->has_document = true;
    return 0;
}

static int read_texts(const struct body *b, struct pc_entry_signed *s, struct pc_why why)
{
    if (!b->texts)
        return 0;
    bool good = s->has_document && json_array_size(b->texts) == s->n;
    for (uint32_t i = 0; good && i < s->n; i++) {
        const json_t *text = json_array_get(b->texts, i);
        char hash[PC_SHA256_HEX + 1] = "";
        if (json_is_string(text))
            pc_sha256_text(json_string_value(text), json_string_length(text), hash);
        good = strcmp(hash, s->approval[i]) == 0;
        int r = good ? pc_envelope_add(&s->e, json_string_value(text), json_string_length(text)) : 0;
        if (r == -ENOMEM)
            return r;
        good = good && r == 0;
    }
    s->has_texts = good;
    return good ? 0 : pc_why(why, PC_E_SYNTAX, "it does not hold the signatures that it names");
}

static bool is_order(const struct pc_entry *e)
{
    return strcmp(e->type, "order") == 0 || strcmp(e->type, "stop") == 0;
}

int pc_entry_signed_read(const struct pc_entry *e, struct pc_entry_signed *out, char *why_text, size_t why_len)
{
    struct pc_why why = {why_text, why_len};
    struct pc_entry_signed s = {0};
    struct body b = {0};
    pc_why_clear(why);
    int r = pc_fields_read(e->body, "entry", is_order(e) ? order_fields : owners_fields, &b, why);
    memcpy(s.sha256, b.sha256, sizeof s.sha256);
    memcpy(s.id, b.id, sizeof s.id);
    if (r == 0)
        r = read_approvals(&b, &s, why);
    if (r == 0)
        r = read_document(&b, &s, why);
    if (r == 0)
        r = read_texts(&b, &s, why);
    if (r < 0) {
        pc_entry_signed_clear(&s);
        return r;
    }
    *out = s;
    return 0;
}

static bool is_named(const struct pc_entry_signed *s, const char *text, size_t len)
{
    char hash[PC_SHA256_HEX + 1];
    pc_sha256_text(text, len, hash);
    for (uint32_t i = 0; i < s->n; i++)
        if (strcmp(s->approval[i], hash) == 0)
            return true;
    return false;
}

int pc_entry_signed_fill(struct pc_entry_signed *s, const struct pc_envelope *from)
{
    struct pc_envelope e = {0};
    if (strcmp(from->sha256, s->sha256) != 0)
        return PC_E_NOTFOUND;
    int r = pc_envelope_make(from->document, from->len, &e);
    for (uint32_t i = 0; i < from->signatures && r == 0; i++)
        if (is_named(s, from->signature[i].text, from->signature[i].len))
            r = pc_envelope_add(&e, from->signature[i].text, from->signature[i].len);
    if (r == 0 && e.signatures != s->n)
        r = PC_E_NOTFOUND;
    if (r < 0) {
        pc_envelope_clear(&e);
        return r;
    }
    pc_envelope_clear(&s->e);
    s->e = e;
    s->has_document = s->has_texts = true;
    return 0;
}

void pc_entry_signed_clear(struct pc_entry_signed *s)
{
    pc_envelope_clear(&s->e);
    *s = (struct pc_entry_signed){0};
}

struct part_draft {
    struct pc_entry_piece piece;
    const json_t *data;
};
#define PART(member) offsetof(struct part_draft, member)
static const struct pc_field part_fields[] = {
    {"sha256", PC_FIELD_HEX, PART(piece.sha256), 0, PC_SHA256_HEX, false},
    {"part", PC_FIELD_U32, PART(piece.part), 0, PC_PARTS_MAX - 1, false},
    {"parts", PC_FIELD_U32, PART(piece.parts), 1, PC_PARTS_MAX, false},
    {"data", PC_FIELD_STRING, PART(data), 4, PC_ENTRY_MAX, false},
    {0},
};

int pc_entry_part_read(const struct pc_entry *e, struct pc_entry_piece *out, char *why_text, size_t why_len)
{
    struct pc_why why = {why_text, why_len};
    struct part_draft d = {0};
    pc_why_clear(why);
    int r = pc_fields_read(e->body, "entry", part_fields, &d, why);
    if (r == 0 && d.piece.part >= d.piece.parts)
        r = pc_why(why, PC_E_SYNTAX, "a part beyond the last one");
    if (r == 0)
        r = pc_json_base64(d.data, PC_ENTRY_MAX, &d.piece.data, &d.piece.len);
    if (r == PC_E_SYNTAX || r == PC_E_LIMIT)
        return pc_why(why, PC_E_SYNTAX, "not a part of an envelope");
    if (r < 0)
        return r;
    *out = d.piece;
    return 0;
}
