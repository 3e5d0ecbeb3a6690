/*
 * Owns how the keys of an object become the members of a struct: by a list of fields, with no key that is not in it.
 * Knows the types that documents are made of; the lists belong to the documents.
 */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "trust/json.h"
#include "trust/names.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static bool read_name(const json_t *v, const struct pc_field *f, void *out)
{
    if (!json_is_string(v) || !pc_name_valid(json_string_value(v)))
        return false;
    strcpy(out, json_string_value(v)); /* valid: at most PC_NAME_MAX */
    return true;
}

static bool read_host(const json_t *v, const struct pc_field *f, void *out)
{
    return json_is_string(v) && pc_host_ref_parse(json_string_value(v), out) == 0;
}

static bool sized(const json_t *v, const struct pc_field *f)
{
    return json_is_string(v) && json_string_length(v) >= f->min && json_string_length(v) <= f->max;
}

static bool read_text(const json_t *v, const struct pc_field *f, void *out)
{
    if (!sized(v, f))
        return false;
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return true;
}

static bool borrow(const json_t *v, void *out)
{
    *(const json_t **)out = v;
    return true;
}

static bool read_string(const json_t *v, const struct pc_field *f, void *out)
{
    return sized(v, f) && borrow(v, out);
}

static bool read_hex(const json_t *v, const struct pc_field *f, void *out)
{
    if (!json_is_string(v) || !pc_hex_valid(json_string_value(v), f->max))
        return false;
    memcpy(out, json_string_value(v), f->max + 1);
    return true;
}

static bool in_range(const json_t *v, const struct pc_field *f)
{
    uint64_t n = (uint64_t)json_integer_value(v); /* never negative: json.c */
    return json_is_integer(v) && n >= f->min && n <= f->max;
}

static bool read_u32(const json_t *v, const struct pc_field *f, void *out)
{
    if (!in_range(v, f))
        return false;
    *(uint32_t *)out = (uint32_t)json_integer_value(v);
    return true;
}

static bool read_u64(const json_t *v, const struct pc_field *f, void *out)
{
    if (!in_range(v, f))
        return false;
    *(uint64_t *)out = (uint64_t)json_integer_value(v);
    return true;
}

static bool read_time(const json_t *v, const struct pc_field *f, void *out)
{
    return json_is_string(v) && pc_time_parse(json_string_value(v), out) == 0;
}

static bool read_bool(const json_t *v, const struct pc_field *f, void *out)
{
    if (!json_is_boolean(v))
        return false;
    *(bool *)out = json_is_true(v);
    return true;
}

static bool read_array(const json_t *v, const struct pc_field *f, void *out)
{
    return json_is_array(v) && json_array_size(v) >= f->min && json_array_size(v) <= f->max && borrow(v, out);
}

static bool read_object(const json_t *v, const struct pc_field *f, void *out)
{
    return json_is_object(v) && borrow(v, out);
}

/* What a value must be, in words; sized ones are followed by their bounds. */
static const struct {
    bool (*read)(const json_t *v, const struct pc_field *f, void *out);
    const char *words;
    enum { PLAIN, EXACT, BOUNDS } bounds;
} types[] = {
    [PC_FIELD_NAME] = {read_name, "a name ([a-z0-9._-], at most 64)", PLAIN},
    [PC_FIELD_HOST] = {read_host, "NAME#HOSTID", PLAIN},
    [PC_FIELD_TEXT] = {read_text, "a text, in bytes", BOUNDS},
    [PC_FIELD_STRING] = {read_string, "a text, in bytes", BOUNDS},
    [PC_FIELD_HEX] = {read_hex, "lower-case hex digits", EXACT},
    [PC_FIELD_U32] = {read_u32, "a number", BOUNDS},
    [PC_FIELD_U64] = {read_u64, "a number", BOUNDS},
    [PC_FIELD_TIME] = {read_time, "a time like 2026-11-21T18:03:00Z", PLAIN},
    [PC_FIELD_BOOL] = {read_bool, "true or false", PLAIN},
    [PC_FIELD_ARRAY] = {read_array, "a list, with elements", BOUNDS},
    [PC_FIELD_OBJECT] = {read_object, "an object", PLAIN},
};

static int refuse(const char *what, const struct pc_field *f, struct pc_why why)
{
    const char *words = types[f->type].words;
    if (types[f->type].bounds == EXACT)
        return pc_why(why, PC_E_SYNTAX, "%s: \"%s\" must be %" PRIu64 " %s", what, f->key, f->max, words);
    if (types[f->type].bounds == BOUNDS)
        return pc_why(why, PC_E_SYNTAX, "%s: \"%s\" must be %s: %" PRIu64 " to %" PRIu64, what, f->key, words, f->min,
                      f->max);
    return pc_why(why, PC_E_SYNTAX, "%s: \"%s\" must be %s", what, f->key, words);
}

static int unknown(const char *what, const char *key, struct pc_why why)
{
    char shown[64];
    pc_escape_name(key, strlen(key), shown, sizeof shown);
    return pc_why(why, PC_E_SYNTAX, "%s: unknown key \"%s\"", what, shown);
}

static bool listed(const struct pc_field *fields, const char *key)
{
    for (const struct pc_field *f = fields; f->key; f++)
        if (strcmp(f->key, key) == 0)
            return true;
    return false;
}

/* `also`: a key that is known to the caller, or NULL. */
static int read_all(const json_t *object, const char *what, const char *also, const struct pc_field *fields, void *out,
                    struct pc_why why)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)object, key, v)
        if (!(also && strcmp(key, also) == 0) && !listed(fields, key))
            return unknown(what, key, why);
    for (const struct pc_field *f = fields; f->key; f++) {
        v = json_object_get(object, f->key);
        if (!v && !f->optional)
            return pc_why(why, PC_E_SYNTAX, "%s: \"%s\" is missing", what, f->key);
        if (v && !types[f->type].read(v, f, (char *)out + f->offset))
            return refuse(what, f, why);
    }
    return 0;
}

int pc_fields_read(const json_t *object, const char *what, const struct pc_field *fields, void *out, struct pc_why why)
{
    if (!json_is_object(object))
        return pc_why(why, PC_E_SYNTAX, "%s: not an object", what);
    return read_all(object, what, NULL, fields, out, why);
}

/* The value of the first key, when that is "portcullis"; else "". */
static const char *kind_of(json_t *root)
{
    void *first = json_object_iter(root);
    if (!first || strcmp(json_object_iter_key(first), "portcullis") != 0 ||
        !json_is_string(json_object_iter_value(first)))
        return "";
    return json_string_value(json_object_iter_value(first));
}

int pc_document_read(const char *text, size_t len, size_t max, const char *kind, const struct pc_field *fields,
                     void *out, json_t **root, struct pc_why why)
{
    _json_ json_t *made = NULL;
    int r = pc_json_parse(text, len, max, &made, why);
    if (r < 0)
        return r;
    if (strcmp(kind_of(made), kind) != 0)
        return pc_why(why, PC_E_SYNTAX, "the first key must be \"portcullis\": \"%s\"", kind);
    r = read_all(made, kind, "portcullis", fields, out, why);
    if (r < 0)
        return r;
    *root = TAKE_PTR(made);
    return 0;
}

int pc_document_kind(const char *text, size_t len, size_t max, char *out, size_t cap)
{
    _json_ json_t *made = NULL;
    int r = pc_json_parse(text, len, max, &made, (struct pc_why){0});
    if (r < 0)
        return r;
    if (strlen(kind_of(made)) >= cap)
        return PC_E_SYNTAX;
    strcpy(out, kind_of(made));
    return 0;
}

int pc_json_base64(const json_t *string, size_t max, char **out, size_t *len)
{
    size_t n = json_string_length(string);
    if (n / 4 * 3 > max + 2)
        return PC_E_LIMIT;
    _free_ char *data = malloc(PC_BASE64_RAW_SIZE(n) + 1);
    if (!data)
        return -ENOMEM;
    ssize_t got = pc_base64_decode(json_string_value(string), n, 0, data, PC_BASE64_RAW_SIZE(n));
    if (got < 0)
        return (int)got;
    if ((size_t)got > max)
        return PC_E_LIMIT;
    data[got] = 0;
    *out = TAKE_PTR(data);
    *len = (size_t)got;
    return 0;
}

json_t *pc_json_base64_new(const void *data, size_t len)
{
    _free_ char *text = malloc(PC_BASE64_SIZE(len));
    if (!text)
        return NULL;
    size_t n = pc_base64_encode(data, len, text);
    return json_stringn_nocheck(text, n);
}

int pc_json_text(json_t *value, char **out, size_t *len)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    if (!text)
        return -ENOMEM;
    *out = text;
    *len = strlen(text);
    return 0;
}
