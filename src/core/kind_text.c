/* Owns the question whether content is plain text, and in which encoding. */
#include "core/bytes.h"
#include "core/kind_impl.h"

#include <string.h>

/* Control bytes that text files do hold: \b \t \n \v \f \r, 0x1a (DOS end of file), escape. */
#define ALLOWED (1u << 8 | 1u << 9 | 1u << 10 | 1u << 11 | 1u << 12 | 1u << 13 | 1u << 26 | 1u << 27)

/* What no text file of any 8-bit encoding holds; a tenth of random bytes is one of these. */
static bool is_forbidden(uint8_t b)
{
    return b < 0x20 && !(ALLOWED >> b & 1);
}

struct text_scan {
    uint32_t forbidden, high, bad_utf8, total, c1;
};

#define EACH(byte) (0x0101010101010101ULL * (byte))

/* Eight bytes at once: no high bit. Control bytes among them are counted. */
static bool ascii8(const uint8_t *p, struct text_scan *t)
{
    uint64_t v;
    memcpy(&v, p, 8);
    if (v & EACH(0x80u))
        return false;
    /* A set bit marks a control byte, or its neighbour by borrowing, which the test below lets pass. */
    for (uint64_t low = (v - EACH(0x20u)) & EACH(0x80u); low; low &= low - 1)
        t->forbidden += is_forbidden(p[__builtin_ctzll(low) / 8]);
    return true;
}

typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* Sixteen bytes of plain ASCII with the common white space: what most text is made of. */
static bool plain16(const uint8_t *p)
{
    bytes16 v;
    uint64_t bad[2];
    memcpy(&v, p, sizeof v);
    bytes16 odd = (bytes16)((v < 0x20) & (v != '\n') & (v != '\t') & (v != '\r')) | (bytes16)(v > 0x7f);
    memcpy(bad, &odd, sizeof bad);
    return !(bad[0] | bad[1]);
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
        if (i + 16 <= n && plain16(p + i)) {
            i += 16;
            continue;
        }
        if (i + 8 <= n && ascii8(p + i, t)) {
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

/* One window in pieces: a random piece must not hide in the average of a long text. */
#define PIECE 4096u
#define PIECE_FORBIDDEN 16u

static bool scan_window(const struct pc_window *w, bool first, struct text_scan *t)
{
    for (uint32_t off = 0; off < w->len; off += PIECE) {
        uint32_t before = t->forbidden;
        scan(w->data + off, w->len - off < PIECE ? w->len - off : PIECE, first && off == 0, t);
        if (t->forbidden - before > PIECE_FORBIDDEN || t->forbidden > 2 + t->total / 1000)
            return false;
    }
    return true;
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
enum pc_proof pc_check_textual(const struct pc_view *v, struct pc_sight *sight)
{
    enum pc_proof wide = utf16(v, sight);
    if (wide)
        return wide;
    struct text_scan t = {0};
    for (uint32_t i = 0; i < v->c->count; i++) {
        const struct pc_window *w = &v->c->win[i];
        if (w->len == 0 || is_zero(w->data, w->len)) /* a hole left by a log cut while it was open */
            continue;
        if (!scan_window(w, i == 0, &t))
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
