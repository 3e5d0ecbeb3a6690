/*
 * Owns the walks over packed formats that are proven without producing output: bzip2's code tables, lz4's and
 * compress's references. Random bytes fail each of them within a few hundred bytes.
 */
#include "core/unpack.h"

/* --- bzip2 -------------------------------------------------------------------------------------------------------- */

struct bits {
    const uint8_t *p;
    size_t left_bits, at;
};

/* Most significant first; past the end it yields zeros and at runs beyond left_bits. */
static uint32_t take(struct bits *b, int n)
{
    uint32_t v = 0;
    for (; n > 0; n--, b->at++)
        v = v << 1 | (b->at < b->left_bits ? b->p[b->at >> 3] >> (7 - (b->at & 7)) & 1u : 0);
    return v;
}

static bool ended(const struct bits *b)
{
    return b->at > b->left_bits;
}

static int count_symbols(struct bits *b)
{
    uint32_t rows = take(b, 16);
    int n = 0;
    for (int i = 0; i < 16; i++)
        if (rows & 0x8000u >> i)
            n += __builtin_popcount(take(b, 16));
    return n;
}

static bool walk_selectors(struct bits *b, uint32_t selectors, uint32_t groups)
{
    for (uint32_t i = 0; i < selectors && !ended(b); i++) {
        uint32_t ones = 0;
        while (take(b, 1) && ++ones < groups) {
        }
        if (ones >= groups)
            return false;
    }
    return true;
}

/* One table of code lengths: between 1 and 20, and together exactly a full prefix code. */
static bool walk_code_table(struct bits *b, int symbols)
{
    uint32_t len = take(b, 5), kraft = 0;
    for (int i = 0; i < symbols; i++) {
        while (len >= 1 && len <= 20 && take(b, 1))
            len += take(b, 1) ? (uint32_t)-1 : 1u;
        if (len < 1 || len > 20)
            return false;
        kraft += 1u << (20 - len);
        if (ended(b))
            return true;
    }
    return kraft <= 1u << 20;
}

bool pc_walk_bzip2(const uint8_t *in, size_t n)
{
    struct bits b = {.p = in, .left_bits = n * 8};
    if (n < 14 || take(&b, 24) != 0x425a68 || in[3] < '1' || in[3] > '9')
        return false;
    take(&b, 8);
    uint32_t hi = take(&b, 24), lo = take(&b, 24);
    if (hi == 0x177245 && lo == 0x385090) /* nothing inside */
        return true;
    if (hi != 0x314159 || lo != 0x265359)
        return false;
    take(&b, 32);
    take(&b, 1);
    uint32_t origin = take(&b, 24);
    int symbols = count_symbols(&b) + 2;
    uint32_t groups = take(&b, 3), selectors = take(&b, 15);
    if (origin > (uint32_t)(in[3] - '0') * 100000u || groups < 2 || groups > 6 || selectors < 1 || symbols < 3)
        return ended(&b);
    if (!walk_selectors(&b, selectors, groups))
        return false;
    for (uint32_t g = 0; g < groups && !ended(&b); g++)
        if (!walk_code_table(&b, symbols))
            return false;
    return true;
}

/* --- lz4 ---------------------------------------------------------------------------------------------------------- */

/* Length continued in bytes of 255; false when the input ends inside. */
static bool more_length(const uint8_t *in, size_t n, size_t *at, size_t *len)
{
    uint8_t b = 255;
    while (b == 255) {
        if (*at >= n)
            return false;
        b = in[(*at)++];
        *len += b;
    }
    return true;
}

bool pc_walk_lz4_block(const uint8_t *in, size_t n, bool *stored)
{
    size_t at = 0, made = 0, copied = 0;
    while (at < n) {
        uint8_t token = in[at++];
        size_t literals = token >> 4, match = token & 15;
        if (literals == 15 && !more_length(in, n, &at, &literals))
            break;
        at += literals;
        made += literals;
        if (at + 2 > n)
            break;
        size_t back = (size_t)in[at] | (size_t)in[at + 1] << 8;
        at += 2;
        if (back == 0 || back > made)
            return false;
        if (match == 15 && !more_length(in, n, &at, &match))
            break;
        made += match + 4;
        copied += match + 4;
    }
    *stored = copied * 64 < made;
    return true;
}

/* --- compress ----------------------------------------------------------------------------------------------------- */

bool pc_walk_compress(const uint8_t *in, size_t n)
{
    if (n < 5 || (in[2] & 0x60) || (in[2] & 31) < 9 || (in[2] & 31) > 16)
        return false;
    unsigned max_bits = in[2] & 31, width = 9;
    uint32_t next = in[2] & 0x80 ? 257 : 256;
    size_t bit = 24;
    /* One width only: the first 256 codes, each of them at most one past the last one defined. */
    for (int i = 0; i < 255 && bit + width <= n * 8; i++, bit += width) {
        uint32_t v = in[bit >> 3] | (uint32_t)(bit / 8 + 1 < n ? in[bit / 8 + 1] : 0) << 8;
        uint32_t code = v >> (bit & 7) & 0x1ff;
        if (code > next || (i == 0 && code > 255) || (in[2] & 0x80 && code == 256))
            return code == 256 && i > 0;
        if (i > 0)
            next++;
    }
    return max_bits >= 9;
}
