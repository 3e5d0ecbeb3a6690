#ifndef PC_TRUST_JSON_H
#define PC_TRUST_JSON_H
/*
 * JSON as PROTOCOL.md section 1 allows it, read into jansson's values. Not read by jansson: its lexer takes numbers and
 * spellings that we refuse, has no bound on how many values a text may make of few bytes, and loses bytes when memory
 * is short (2.14, lex_save).
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a function says in words why it refused; text may be NULL. What came from the document is escaped. */
struct pc_why {
    char *text;
    size_t cap;
};
/*
 * Writes the words (the first ones stay: whoever knows most speaks first) and returns r: `return pc_why(w, PC_E_SYNTAX,
 * "...")`.
 */
int pc_why(struct pc_why w, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Empties the words. */
void pc_why_clear(struct pc_why w);

#define PC_JSON_DEPTH_MAX 8
#define PC_JSON_CONTAINERS_MAX 16384 /* objects and arrays: at most some 5 MiB of memory */
#define PC_JSON_VALUES_MAX 131072    /* values of any kind */
#define PC_JSON_NUMBER_MAX ((UINT64_C(1) << 53) - 1)

/*
 * Parses one object of at most max bytes. 0 and *out (json_decref it); PC_E_LIMIT: larger than max or than the bounds
 * above; PC_E_SYNTAX; -ENOMEM. Nothing may follow the object but one newline, nothing may come before it.
 */
int pc_json_parse(const char *text, size_t len, size_t max, json_t **out, struct pc_why why);

/* What the value of a key must be, and what it becomes in the caller's struct. */
enum pc_field_type {
    PC_FIELD_NAME,   /* char[PC_NAME_MAX + 1] */
    PC_FIELD_HOST,   /* struct pc_host_ref */
    PC_FIELD_TEXT,   /* char[max + 1]; min..max bytes */
    PC_FIELD_STRING, /* const json_t *, borrowed; min..max bytes */
    PC_FIELD_HEX,    /* char[max + 1]; exactly max lower-case digits */
    PC_FIELD_U32,    /* uint32_t; min..max */
    PC_FIELD_U64,    /* uint64_t; min..max */
    PC_FIELD_TIME,   /* int64_t, seconds since 1970 */
    PC_FIELD_BOOL,   /* bool */
    PC_FIELD_ARRAY,  /* const json_t *, borrowed; min..max elements */
    PC_FIELD_OBJECT, /* const json_t *, borrowed */
};
struct pc_field {
    const char *key; /* NULL ends the list */
    enum pc_field_type type;
    size_t offset;
    uint64_t min, max;
    bool optional; /* absent: the struct keeps what it had */
};
/*
 * Reads an object into out by a list of fields; every key of the object must be in the list. 0, or PC_E_SYNTAX, with
 * out partly filled in. `what` is what the object is called in words.
 */
int pc_fields_read(const json_t *object, const char *what, const struct pc_field *fields, void *out, struct pc_why why);
/*
 * A whole document: parses, demands "portcullis": kind as the first key, reads the other keys. *root (json_decref it)
 * keeps what was borrowed alive. Errors as of both.
 */
int pc_document_read(const char *text, size_t len, size_t max, const char *kind, const struct pc_field *fields,
                     void *out, json_t **root, struct pc_why why);
/*
 * Only the kind ("order/1"): parses all, and copies the value of the first key; "" when that is not "portcullis".
 * PC_E_SYNTAX also for one longer than cap.
 */
int pc_document_kind(const char *text, size_t len, size_t max, char *out, size_t cap);

/*
 * base64 of a JSON string into new memory (one byte more than *len, 0). PC_E_SYNTAX, PC_E_LIMIT (more than max bytes),
 * -ENOMEM.
 */
int pc_json_base64(const json_t *string, size_t max, char **out, size_t *len);
/* A JSON string that is base64 of the bytes; NULL without memory. */
json_t *pc_json_base64_new(const void *data, size_t len);
/* Compact text of a value, which is taken over (also NULL: -ENOMEM). malloc'd. */
int pc_json_text(json_t *value, char **out, size_t *len);

static inline void pc_json_decrefp(json_t **j)
{
    json_decref(*j);
}
#define _json_ __attribute__((cleanup(pc_json_decrefp)))
#endif
