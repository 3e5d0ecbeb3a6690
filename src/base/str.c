/* Owns parsing and printing of small text values. Pure: no I/O, no allocation. */
#include "base/str.h"

#include "base/err.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse_number(const char *s, uint64_t *out, const char **rest)
{
    if (*s < '0' || *s > '9')
        return PC_E_SYNTAX;
    errno = 0;
    char *end;
    unsigned long long v = strtoull(s, &end, 10);
    if (errno == ERANGE)
        return PC_E_RANGE;
    *out = v;
    *rest = end;
    return 0;
}

int pc_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t v;
    const char *rest;
    int r = parse_number(s, &v, &rest);
    if (r < 0)
        return r;
    if (*rest)
        return PC_E_SYNTAX;
    if (v < min || v > max)
        return PC_E_RANGE;
    *out = v;
    return 0;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static int parse_with_units(const char *s, const struct unit *units, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t v;
    const char *rest;
    int r = parse_number(s, &v, &rest);
    if (r < 0)
        return r;
    for (const struct unit *u = units; u->name; u++) {
        if (strcmp(u->name, rest) != 0)
            continue;
        if (v > UINT64_MAX / u->factor)
            return PC_E_RANGE;
        v *= u->factor;
        if (v < min || v > max)
            return PC_E_RANGE;
        *out = v;
        return 0;
    }
    return PC_E_SYNTAX;
}

int pc_parse_size(const char *s, uint64_t min, uint64_t max, uint64_t *out)
{
    static const struct unit units[] = {{"", 1},           {"k", 1ULL << 10}, {"K", 1ULL << 10}, {"M", 1ULL << 20},
                                        {"G", 1ULL << 30}, {"T", 1ULL << 40}, {NULL, 0}};
    return parse_with_units(s, units, min, max, out);
}

int pc_parse_duration(const char *s, uint64_t min_ns, uint64_t max_ns, uint64_t *out)
{
    static const struct unit units[] = {{"", 1000000000ULL},
                                        {"ms", 1000000ULL},
                                        {"s", 1000000000ULL},
                                        {"m", 60 * 1000000000ULL},
                                        {"h", 3600 * 1000000000ULL},
                                        {"d", 86400 * 1000000000ULL},
                                        {NULL, 0}};
    return parse_with_units(s, units, min_ns, max_ns, out);
}

int pc_split_address(const char *text, char *host, size_t host_cap, const char **port)
{
    const char *colon = strrchr(text, ':');
    uint64_t number;
    if (!colon || pc_parse_u64(colon + 1, 1, 65535, &number) < 0)
        return PC_E_SYNTAX;
    size_t len = (size_t)(colon - text);
    if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    } else if (memchr(text, ':', len)) {
        return PC_E_SYNTAX;
    }
    if (len >= host_cap)
        return PC_E_SYNTAX;
    memcpy(host, text, len);
    host[len] = 0;
    if (port)
        *port = colon + 1;
    return (int)number;
}

bool pc_path_beneath(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    if (n == 1 && dir[0] == '/')
        return path[0] == '/';
    return strncmp(path, dir, n) == 0 && (path[n] == 0 || path[n] == '/');
}

size_t pc_utf8_len(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xf0 && p[0] <= 0xf4 ? 4 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

void pc_utf8_cut(char *text)
{
    size_t len = strlen(text);
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)text[len - back];
        if (c >= 0x80 && c < 0xc0)
            continue; /* not the first byte of one */
        if (c >= 0xc0 && !pc_utf8_len((const unsigned char *)text + len - back, back))
            text[len - back] = 0;
        return;
    }
}

static void put(char *out, size_t cap, size_t at, const char *text, size_t n)
{
    if (at + n < cap)
        memcpy(out + at, text, n);
}

size_t pc_escape_name(const char *in, size_t len, char *out, size_t cap)
{
    const unsigned char *p = (const unsigned char *)in;
    size_t used = 0, end = 0;
    for (size_t i = 0; i < len;) {
        char esc[5];
        size_t n = pc_utf8_len(p + i, len - i);
        size_t put_len;
        if (n == 0 || p[i] < 0x20 || p[i] == 0x7f) {
            snprintf(esc, sizeof esc, "\\x%02x", p[i]);
            put(out, cap, used, esc, put_len = 4);
            n = 1;
        } else if (p[i] == '\\') {
            put(out, cap, used, "\\\\", put_len = 2);
        } else {
            put(out, cap, used, in + i, put_len = n);
        }
        if (used + put_len < cap)
            end = used + put_len;
        used += put_len;
        i += n;
    }
    if (cap)
        out[end < cap ? end : cap - 1] = 0;
    return used;
}

void pc_hex(const void *data, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = 0;
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int pc_unhex(const char *hex, void *out, size_t cap)
{
    size_t n = strlen(hex);
    if (n % 2)
        return PC_E_SYNTAX;
    if (n / 2 > cap)
        return PC_E_LIMIT;
    for (size_t i = 0; i < n; i++)
        if (nibble(hex[i]) < 0)
            return PC_E_SYNTAX;
    for (size_t i = 0; i < n / 2; i++)
        ((unsigned char *)out)[i] = (unsigned char)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    return (int)(n / 2);
}

uint64_t pc_hash64(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3ULL;
    return h ^ h >> 29;
}

int pc_unescape_name(const char *in, char *out, size_t cap)
{
    size_t used = 0;
    while (*in) {
        unsigned char c = (unsigned char)*in;
        if (c != '\\') {
            in++;
        } else if (in[1] == '\\') {
            in += 2;
        } else {
            if (in[1] != 'x' || nibble(in[2]) < 0 || nibble(in[3]) < 0)
                return PC_E_SYNTAX;
            c = (unsigned char)(nibble(in[2]) << 4 | nibble(in[3]));
            in += 4;
        }
        if (used + 1 >= cap || used >= INT_MAX - 1)
            return PC_E_LIMIT;
        out[used++] = (char)c;
    }
    if (cap == 0)
        return PC_E_LIMIT;
    out[used] = 0;
    return (int)used;
}
