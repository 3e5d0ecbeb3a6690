/* Owns the question whether content is plain text, and in which encoding. */
#include "core/bytes.h"
#include "core/kind_impl.h"

#include <string.h>

/* What no text file of any 8-bit encoding holds; a tenth of random bytes is one of these. */
static bool is_forbidden(uint8_t b)
{
    return b < 0x20 && b != '\t' && b != '\n' && b != '\r' && b != '\f' && b != '\v' && b != '\b' && b != 0x1b && b != 0x1a;
}

struct text_scan {
    uint32_t forbidden, high, bad_utf8, total, c1;
};

static bool all_ascii8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    /* no high bit, and no byte below 0x20 */
    return !((v | (v - 0x2020202020202020ULL)) & 0x8080808080808080ULL);
}

static uint32_t utf8_more(uint8_t b)
{
    return b >= 0xc2 && b <= 0xdf ? 1 : b >= 0xe0 && b <= 0xef ? 2 : b >= 0xf0 && b <= 0xf4 ? 3 : 0;
}

/* A window may begin or end inside a character: those bytes are not held against it. */
static void scan(const uint8_t *p, uint32_t n, bool first, struct text_scan *t)
{
    uint32_t i = 0;
    while (!first && i < n && i < 3 && (p[i] & 0xc0) == 0x80)
        i++;
    t->total += n;
    while (i < n) {
        if (i + 8 <= n && all_ascii8(p + i)) {
            i += 8;
            continue;
        }
        uint8_t b = p[i++];
        if (b < 0x80) {
            t->forbidden += is_forbidden(b);
            continue;
        }
        t->high++;
        t->c1 += b < 0xa0;
        uint32_t more = utf8_more(b), k = 0;
        while (k < more && i + k < n && (p[i + k] & 0xc0) == 0x80)
            k++;
        if (more && (k == more || i + k == n)) {
            t->high += k;
            i += k;
        } else {
            t->bad_utf8++;
        }
    }
}

static bool is_zero(const uint8_t *p, uint32_t n)
{
    return p[0] == 0 && (n == 1 || memcmp(p, p + 1, n - 1) == 0);
}

static enum pc_proof utf16(const struct pc_view *v, struct pc_sight *sight)
{
    bool le = v->head_len >= 4 && v->head[0] == 0xff && v->head[1] == 0xfe;
    bool be = v->head_len >= 4 && v->head[0] == 0xfe && v->head[1] == 0xff;
    if (!le && !be)
        return PC_PROOF_NONE;
    uint32_t n = v->head_len & ~1u, strange = 0;
    n = n > 16384 ? 16384 : n;
    for (uint32_t i = 2; i < n; i += 2) {
        uint16_t u = le ? pc_le16(v->head + i) : pc_be16(v->head + i);
        strange += (u < 0x20 && u != '\n' && u != '\r' && u != '\t') || (u >= 0xd800 && u < 0xf900) || u >= 0xfff0;
    }
    if (strange * 50 > n)
        return PC_PROOF_NONE;
    sight->kind = PC_KIND_TEXT_UTF16;
    return PC_PROOF_STRUCTURE;
}

/* Kinds of text told by how they begin. */
static uint8_t refine(const struct pc_view *v, uint8_t kind)
{
    static const struct {
        const char *begin;
        uint8_t kind;
    } begins[] = {{"-----BEGIN ", PC_KIND_PEM}, {"{\\rtf", PC_KIND_RTF},       {"<svg", PC_KIND_SVG},
                  {"From ", PC_KIND_MAIL},      {"Return-Path:", PC_KIND_MAIL}, {"Received:", PC_KIND_MAIL},
                  {"Delivered-To:", PC_KIND_MAIL}, {"MIME-Version:", PC_KIND_MAIL}, {"Date: ", PC_KIND_MAIL},
                  {"Subject: ", PC_KIND_MAIL},  {"From: ", PC_KIND_MAIL},       {"Message-I", PC_KIND_MAIL}};
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
        size_t n = strlen(begins[i].begin);
        if (v->head_len >= n && memcmp(v->head, begins[i].begin, n) == 0)
            return begins[i].kind;
    }
    uint32_t near_len = v->head_len < 1024 ? v->head_len : 1024;
    if (near_len > 5 && memcmp(v->head, "<?xml", 5) == 0 && pc_find_bytes(v->head, near_len, "<svg", 4))
        return PC_KIND_SVG;
    return kind;
}

/* Text everywhere it was read; a head of text alone is what is left of a text file encrypted in pieces. */
enum pc_proof pc_check_text(const struct pc_view *v, struct pc_sight *sight)
{
    enum pc_proof wide = utf16(v, sight);
    if (wide)
        return wide;
    struct text_scan t = {0};
    for (uint32_t i = 0; i < v->c->count; i++) {
        const struct pc_window *w = &v->c->win[i];
        if (w->len == 0 || is_zero(w->data, w->len)) /* a hole left by a log cut while it was open */
            continue;
        scan(w->data, w->len, i == 0, &t);
        if (t.forbidden > 2 + t.total / 1000)
            return PC_PROOF_NONE;
    }
    if (t.total == 0)
        return PC_PROOF_NONE;
    bool utf8 = t.bad_utf8 * 200 <= t.high;
    /* Few bytes prove little: short binary without control bytes is common, short 8-bit text is not. */
    if (!utf8 && (t.total < 256 ? t.high * 4 > t.total : t.c1 * 2 > t.total))
        return PC_PROOF_NONE;
    sight->kind = refine(v, utf8 ? PC_KIND_TEXT_UTF8 : PC_KIND_TEXT_8BIT);
    return PC_PROOF_STRUCTURE;
}
