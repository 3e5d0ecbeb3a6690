/*
 * Owns what JSON a document may be (PROTOCOL.md section 1): one object, strict, bounded in bytes, depth and values.
 * Makes jansson's values of it and knows nothing of what they mean (fields.c, and whoever lists the fields).
 */
#include "trust/json.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct parser {
    const unsigned char *start, *p, *end;
    char *scratch; /* as long as the text: the string being decoded */
    unsigned depth;
    uint32_t containers, values;
    struct pc_why why;
};

int pc_why(struct pc_why w, int r, const char *fmt, ...)
{
    if (!w.text || w.cap == 0 || w.text[0])
        return r;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(w.text, w.cap, fmt, ap);
    va_end(ap);
    return r;
}

void pc_why_clear(struct pc_why w)
{
    if (w.text && w.cap)
        w.text[0] = 0;
}

static int bad(const struct parser *p, const char *what)
{
    return pc_why(p->why, PC_E_SYNTAX, "byte %zu: %s", (size_t)(p->p - p->start), what);
}

static int value(struct parser *p, json_t **out);

static void skip_space(struct parser *p)
{
    while (p->p < p->end && (*p->p == ' ' || *p->p == '\t' || *p->p == '\n' || *p->p == '\r'))
        p->p++;
}

static bool take(struct parser *p, char c)
{
    if (p->p >= p->end || *p->p != (unsigned char)c)
        return false;
    p->p++;
    return true;
}

/* Four hex digits of \uXXXX, either case. */
static int hex4(struct parser *p, unsigned *out)
{
    unsigned v = 0;
    if (p->end - p->p < 4)
        return bad(p, "\\u needs four hex digits");
    for (int i = 0; i < 4; i++, p->p++) {
        unsigned c = *p->p, letter = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if (letter >= 'a' && letter <= 'f')
            v = v << 4 | (letter - 'a' + 10);
        else
            return bad(p, "\\u needs four hex digits");
    }
    *out = v;
    return 0;
}

static size_t put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    return n;
}

/* After "\u": the character, of one or two escapes. */
static int unicode(struct parser *p, char *out, size_t *n)
{
    unsigned c = 0, low = 0;
    int r = hex4(p, &c);
    if (r < 0)
        return r;
    if (c == 0)
        return bad(p, "a NUL character in a string");
    if (c >= 0xdc00 && c <= 0xdfff)
        return bad(p, "half of a surrogate pair");
    if (c >= 0xd800 && c <= 0xdbff) {
        if (!take(p, '\\') || !take(p, 'u'))
            return bad(p, "half of a surrogate pair");
        r = hex4(p, &low);
        if (r < 0)
            return r;
        if (low < 0xdc00 || low > 0xdfff)
            return bad(p, "half of a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *n += put_utf8(out + *n, c);
    return 0;
}

static int escape(struct parser *p, char *out, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (p->p >= p->end)
        return bad(p, "the string does not end");
    char c = (char)*p->p++;
    if (c == 'u')
        return unicode(p, out, n);
    const char *at = c ? strchr(from, c) : NULL;
    if (!at)
        return bad(p, "unknown escape");
    out[(*n)++] = to[at - from];
    return 0;
}

/*
 * A string into the scratch buffer, which stays valid until the next one. An escape is never shorter than what it
 * stands for.
 */
static int string(struct parser *p, size_t *len)
{
    size_t n = 0;
    if (!take(p, '"'))
        return bad(p, "a string is expected");
    while (!take(p, '"')) {
        if (p->p >= p->end)
            return bad(p, "the string does not end");
        if (*p->p < 0x20)
            return bad(p, "a control character in a string");
        if (take(p, '\\')) {
            int r = escape(p, p->scratch, &n);
            if (r < 0)
                return r;
            continue;
        }
        size_t more = pc_utf8_len(p->p, (size_t)(p->end - p->p));
        if (more == 0)
            return bad(p, "not UTF-8");
        memcpy(p->scratch + n, p->p, more);
        n += more;
        p->p += more;
    }
    p->scratch[n] = 0;
    *len = n;
    return 0;
}

/* One key and its value into object. */
static int member(struct parser *p, json_t *object)
{
    size_t len;
    int r = string(p, &len);
    if (r < 0)
        return r;
    if (json_object_get(object, p->scratch))
        return bad(p, "the same key twice");
    _free_ char *key = strdup(p->scratch);
    if (!key)
        return -ENOMEM;
    skip_space(p);
    if (!take(p, ':'))
        return bad(p, "\":\" is expected");
    json_t *v = NULL;
    r = value(p, &v);
    if (r < 0)
        return r;
    return json_object_set_new_nocheck(object, key, v) < 0 ? -ENOMEM : 0;
}

static int element(struct parser *p, json_t *array)
{
    json_t *v = NULL;
    int r = value(p, &v);
    if (r < 0)
        return r;
    return json_array_append_new(array, v) < 0 ? -ENOMEM : 0;
}

/* What is between the brackets, and the closing one. */
static int members(struct parser *p, json_t *container, char closing, int (*one)(struct parser *p, json_t *container))
{
    skip_space(p);
    if (take(p, closing))
        return 0;
    do {
        skip_space(p);
        int r = one(p, container);
        if (r < 0)
            return r;
        skip_space(p);
    } while (take(p, ','));
    return take(p, closing) ? 0 : bad(p, "\",\" or a closing bracket is expected");
}

static int container(struct parser *p, json_t **out)
{
    bool object = *p->p++ == '{';
    if (++p->depth > PC_JSON_DEPTH_MAX)
        return bad(p, "nested too deep");
    if (++p->containers > PC_JSON_CONTAINERS_MAX)
        return pc_why(p->why, PC_E_LIMIT, "more than %d objects and arrays", PC_JSON_CONTAINERS_MAX);
    _json_ json_t *made = object ? json_object() : json_array();
    if (!made)
        return -ENOMEM;
    int r = object ? members(p, made, '}', member) : members(p, made, ']', element);
    if (r < 0)
        return r;
    p->depth--;
    *out = TAKE_PTR(made);
    return 0;
}

static int number(struct parser *p, json_t **out)
{
    uint64_t v = 0;
    const unsigned char *first = p->p;
    for (; p->p < p->end && *p->p >= '0' && *p->p <= '9'; p->p++) {
        v = v * 10 + (uint64_t)(*p->p - '0');
        if (v > PC_JSON_NUMBER_MAX)
            return bad(p, "a number above 2^53-1");
    }
    if (p->p == first)
        return bad(p, "a value is expected (numbers are whole and not negative)");
    if (*first == '0' && p->p - first > 1)
        return bad(p, "a number with a leading zero");
    if (p->p < p->end && (*p->p == '.' || *p->p == 'e' || *p->p == 'E'))
        return bad(p, "a number that is not written as a whole one");
    *out = json_integer((json_int_t)v);
    return *out ? 0 : -ENOMEM;
}

static bool word(struct parser *p, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(p->end - p->p) < n || memcmp(p->p, text, n) != 0)
        return false;
    p->p += n;
    return true;
}

static int value(struct parser *p, json_t **out)
{
    if (++p->values > PC_JSON_VALUES_MAX)
        return pc_why(p->why, PC_E_LIMIT, "more than %d values", PC_JSON_VALUES_MAX);
    skip_space(p);
    if (p->p < p->end && (*p->p == '{' || *p->p == '['))
        return container(p, out);
    if (p->p < p->end && *p->p == '"') {
        size_t len;
        int r = string(p, &len);
        if (r < 0)
            return r;
        *out = json_stringn_nocheck(p->scratch, len);
        return *out ? 0 : -ENOMEM;
    }
    if (word(p, "true"))
        *out = json_true();
    else if (word(p, "false"))
        *out = json_false();
    else if (word(p, "null"))
        *out = json_null();
    else
        return number(p, out);
    return 0;
}

int pc_json_parse(const char *text, size_t len, size_t max, json_t **out, struct pc_why why)
{
    if (len > max)
        return pc_why(why, PC_E_LIMIT, "%zu bytes: more than %zu", len, max);
    _free_ char *scratch = malloc(len + 1);
    if (!scratch)
        return -ENOMEM;
    const unsigned char *start = (const unsigned char *)text;
    struct parser p = {.start = start, .p = start, .end = start + len, .scratch = scratch, .why = why};
    if (len == 0 || *start != '{')
        return bad(&p, "\"{\" is expected");
    _json_ json_t *made = NULL;
    int r = value(&p, &made);
    if (r < 0)
        return r;
    take(&p, '\n');
    if (p.p < p.end)
        return bad(&p, "something after the object");
    *out = TAKE_PTR(made);
    return 0;
}
