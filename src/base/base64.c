/*
 * Owns base64. Bytes in, bytes out; what the bytes mean is the caller's affair. Not constant in time: not for
 * secrets.
 */
#include "base/base64.h"

#include "base/err.h"

#include <stdbool.h>

static const char standard[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char for_urls[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* The six bits of a character, or -1. */
static int sextet(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* True when in[at..len) is exactly `pads` times "=", with white space between where that is allowed. */
static bool is_padding(const char *in, size_t at, size_t len, unsigned flags, int pads)
{
    for (; at < len; at++) {
        if (in[at] == '=')
            pads--;
        else if (!(flags & PC_BASE64_SPACE) || !is_space(in[at]))
            return false;
    }
    return pads == 0;
}

ssize_t pc_base64_decode(const char *in, size_t len, unsigned flags, void *out, size_t cap)
{
    uint8_t *to = out;
    uint32_t bits = 0;
    int have = 0; /* bits of the current byte and of the rest: 0, 6, 4, 2 */
    size_t n = 0, at = 0;
    for (; at < len && in[at] != '='; at++) {
        if ((flags & PC_BASE64_SPACE) && is_space(in[at]))
            continue;
        int six = sextet(in[at]);
        if (six < 0)
            return PC_E_SYNTAX;
        bits = bits << 6 | (uint32_t)six;
        have += 6;
        if (have < 8)
            continue;
        have -= 8;
        if (n == cap)
            return PC_E_LIMIT;
        to[n++] = (uint8_t)(bits >> have);
        bits &= (1u << have) - 1;
    }
    if (have == 6 || bits != 0)
        return PC_E_SYNTAX;
    return is_padding(in, at, len, flags, have / 2) ? (ssize_t)n : PC_E_SYNTAX;
}

static size_t encode(const uint8_t *data, size_t len, const char *alphabet, bool pad, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t bits =
            (uint32_t)data[i] << 16 | (have > 1 ? (uint32_t)data[i + 1] << 8 : 0) | (have > 2 ? data[i + 2] : 0);
        for (size_t k = 0; k <= have; k++)
            out[n++] = alphabet[bits >> (18 - 6 * k) & 63];
        for (size_t k = have; pad && k < 3; k++)
            out[n++] = '=';
    }
    out[n] = 0;
    return n;
}

size_t pc_base64_encode(const void *data, size_t len, char *out)
{
    return encode(data, len, standard, true, out);
}

size_t pc_base64url_encode(const void *data, size_t len, char *out)
{
    return encode(data, len, for_urls, false, out);
}
