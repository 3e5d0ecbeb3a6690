/* Owns which bytes each pattern damages. Pure arithmetic; the cipher and the write paths ask it for ranges. */
#include "cli/drill/shape.h"

#define PAGE 4096ULL
#define MIB (1ULL << 20)
/* percent-5: pieces of 4 KiB every 80 KiB in large files; in small ones eight or more pieces, never below 16 bytes. */
#define FIVE_PERCENT_STRIDE_MAX (80ULL << 10)
#define FIVE_PERCENT_STRIDE_MIN 320ULL

const char *const drill_pattern_names[DRILL_PATTERNS + 1] = {
    [DRILL_HEAD_4K] = "head-4k",       [DRILL_FULL] = "full",
    [DRILL_ALTERNATE_16] = "alternate-16", [DRILL_ONE_MIB_ON_OFF] = "one-mib-on-off",
    [DRILL_PERCENT_5] = "percent-5",   [DRILL_FIRST_MIB] = "first-mib",
    [DRILL_BASE64] = "base64",         [DRILL_WIPE] = "wipe",
};

static uint64_t clamp(uint64_t v, uint64_t min, uint64_t max)
{
    return v < min ? min : v > max ? max : v;
}

static uint64_t base64_size(uint64_t n)
{
    return (n + 2) / 3 * 4;
}

void drill_shape_of(enum drill_pattern pattern, uint64_t size, struct drill_shape *out)
{
    struct drill_shape s = {.pattern = pattern, .size = size, .new_size = size, .chunk = size, .stride = UINT64_MAX};
    switch (pattern) {
    case DRILL_HEAD_4K:
        s.chunk = PAGE;
        break;
    case DRILL_ALTERNATE_16:
        s.chunk = 16;
        s.stride = 32;
        break;
    case DRILL_ONE_MIB_ON_OFF:
        s.chunk = MIB;
        s.stride = 2 * MIB;
        break;
    case DRILL_PERCENT_5:
        /* multiples of 64: the cipher can only start at its own block size */
        s.stride = clamp(size / 8, FIVE_PERCENT_STRIDE_MIN, FIVE_PERCENT_STRIDE_MAX) / 64 * 64;
        s.chunk = s.stride / 20 / 16 * 16;
        break;
    case DRILL_FIRST_MIB:
        s.chunk = MIB;
        break;
    case DRILL_BASE64:
        s.new_size = base64_size(size);
        break;
    default: /* full, wipe: all of it */
        break;
    }
    *out = s;
}

static bool dense(const struct drill_shape *s)
{
    return s->stride != UINT64_MAX && s->stride - s->chunk < PAGE;
}

static uint64_t piece_len(const struct drill_shape *s, uint64_t off)
{
    return off + s->chunk > s->size ? s->size - off : s->chunk;
}

bool drill_shape_next(const struct drill_shape *s, struct drill_range *r)
{
    if (s->size == 0)
        return false;
    bool first = r->len == 0;
    if (dense(s) && first) {
        uint64_t last = (s->size - 1) / s->stride * s->stride;
        *r = (struct drill_range){0, last + piece_len(s, last)};
        return true;
    }
    if (dense(s) || (!first && s->stride == UINT64_MAX))
        return false;
    uint64_t off = first ? 0 : r->off + s->stride;
    if (off >= s->size)
        return false;
    *r = (struct drill_range){off, piece_len(s, off)};
    return true;
}

bool drill_shape_hits(const struct drill_shape *s, uint64_t off)
{
    return off < s->size && (s->stride == UINT64_MAX ? off : off % s->stride) < s->chunk;
}

uint64_t drill_shape_bound(uint64_t size)
{
    return base64_size(size);
}
