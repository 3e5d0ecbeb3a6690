/*
 * Owns the owners' envelope: a document and the texts of its signatures, carried byte for byte. Does not look into
 * either; the trust file says whose signatures they are (approve.c).
 */
#include "trust/envelope.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/parts.h"

#include <errno.h>
#include <string.h>

static int copy(const void *data, size_t len, char **out)
{
    char *text = malloc(len + 1);
    if (!text)
        return -ENOMEM;
    if (len)
        memcpy(text, data, len);
    text[len] = 0;
    *out = text;
    return 0;
}

int pc_envelope_make(const void *document, size_t len, struct pc_envelope *out)
{
    struct pc_envelope e = {.len = len};
    if (len > PC_DOCUMENT_MAX)
        return PC_E_LIMIT;
    int r = copy(document, len, &e.document);
    if (r < 0)
        return r;
    pc_sha256_text(e.document, len, e.sha256);
    *out = e;
    return 0;
}

static bool has(const struct pc_envelope *e, const char *signature, size_t len)
{
    for (uint32_t i = 0; i < e->signatures; i++)
        if (e->signature[i].len == len && memcmp(e->signature[i].text, signature, len) == 0)
            return true;
    return false;
}

int pc_envelope_add(struct pc_envelope *e, const char *signature, size_t len)
{
    if (has(e, signature, len))
        return 0;
    if (e->signatures == PC_SIGNATURES_MAX || len > PC_SIGNATURE_TEXT_MAX)
        return PC_E_LIMIT;
    int r = copy(signature, len, &e->signature[e->signatures].text);
    if (r < 0)
        return r;
    e->signature[e->signatures++].len = len;
    return 0;
}

void pc_envelope_clear(struct pc_envelope *e)
{
    free(e->document);
    for (uint32_t i = 0; i < e->signatures; i++)
        free(e->signature[i].text);
    *e = (struct pc_envelope){0};
}

struct raw {
    const json_t *document, *signatures;
};
static const struct pc_field fields[] = {
    {"document", PC_FIELD_STRING, offsetof(struct raw, document), 1, PC_ENVELOPE_MAX, false},
    {"signatures", PC_FIELD_ARRAY, offsetof(struct raw, signatures), 0, PC_SIGNATURES_MAX, false},
    {0},
};

static int read_signatures(const json_t *list, struct pc_envelope *e, struct pc_why why)
{
    size_t i;
    json_t *s;
    json_array_foreach((json_t *)list, i, s) {
        if (!json_is_string(s) || has(e, json_string_value(s), json_string_length(s)))
            return pc_why(why, PC_E_SYNTAX, "envelope: \"signatures\" must be distinct texts");
        int r = pc_envelope_add(e, json_string_value(s), json_string_length(s));
        if (r < 0)
            return pc_why(why, r, "envelope: a signature is longer than %d bytes", PC_SIGNATURE_TEXT_MAX);
    }
    return 0;
}

int pc_envelope_read(const json_t *object, struct pc_envelope *out, struct pc_why why)
{
    struct raw raw = {0};
    struct pc_envelope e = {0};
    int r = pc_fields_read(object, "envelope", fields, &raw, why);
    if (r < 0)
        return r;
    r = pc_json_base64(raw.document, PC_DOCUMENT_MAX, &e.document, &e.len);
    if (r < 0)
        return pc_why(why, r, "envelope: \"document\" must be base64 of at most %u bytes", PC_DOCUMENT_MAX);
    pc_sha256_text(e.document, e.len, e.sha256);
    r = read_signatures(raw.signatures, &e, why);
    if (r < 0)
        pc_envelope_clear(&e);
    else
        *out = e;
    return r;
}

int pc_envelope_parse(const char *json, size_t len, struct pc_envelope *out)
{
    _json_ json_t *object = NULL;
    int r = pc_json_parse(json, len, PC_ENVELOPE_MAX, &object, (struct pc_why){0});
    return r < 0 ? r : pc_envelope_read(object, out, (struct pc_why){0});
}

int pc_envelope_format(const struct pc_envelope *e, char **json, size_t *len)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < e->signatures; i++)
        if (json_array_append_new(list, json_stringn(e->signature[i].text, e->signature[i].len)) < 0) {
            json_decref(list);
            return -ENOMEM;
        }
    return pc_json_text(
        json_pack("{s:o, s:o}", "document", pc_json_base64_new(e->document, e->len), "signatures", list), json, len);
}
