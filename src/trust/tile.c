/*
 * Owns the tiled form of the log: paths, widths, nodes out of tiles, entry bundles. The server hands it request paths,
 * clients hand it what a server sent. Must not fetch or store anything.
 */
#include "trust/tile.h"

#include "base/err.h"

#include <stdio.h>
#include <string.h>

/* --- paths -------------------------------------------------------------------------------------------------------- */

/* The level of tree nodes that a tile of this level is made of. */
static unsigned tree_level(unsigned tile_level)
{
    return 8 * tile_level;
}

static bool tile_exists_somewhere(const struct pc_tile *t)
{
    if (t->level > PC_TILE_LEVEL_MAX || (t->entries && t->level > 0) || t->width < 1 || t->width > PC_TILE_WIDTH)
        return false;
    uint64_t nodes = PC_MERKLE_SIZE_MAX >> tree_level(t->level);
    return t->index <= nodes / PC_TILE_WIDTH && nodes - t->index * PC_TILE_WIDTH >= t->width;
}

int pc_tile_path_format(const struct pc_tile *t, char *out, size_t cap)
{
    if (!tile_exists_somewhere(t))
        return PC_E_RANGE;
    char level[12] = "entries", index[32] = "", partial[8] = "";
    if (!t->entries)
        snprintf(level, sizeof level, "%u", t->level);
    uint64_t unit = 1;
    while (t->index / unit >= 1000)
        unit *= 1000;
    size_t used = 0;
    for (; unit > 0; unit /= 1000)
        used += (size_t)snprintf(index + used, sizeof index - used, unit > 1 ? "x%03u/" : "%03u",
                                 (unsigned)(t->index / unit % 1000));
    if (t->width < PC_TILE_WIDTH)
        snprintf(partial, sizeof partial, ".p/%u", t->width);
    char path[PC_TILE_PATH_MAX];
    int n = snprintf(path, sizeof path, "tile/%s/%s%s", level, index, partial);
    if ((size_t)n >= cap)
        return PC_E_LIMIT;
    memcpy(out, path, (size_t)n + 1);
    return n;
}

/* Reads `digits` decimal digits (or, when 0, as many as there are up to 3) at *p. */
static bool take_number(const char **p, unsigned digits, unsigned *out)
{
    unsigned v = 0, n = 0;
    for (; n < (digits ? digits : 3) && **p >= '0' && **p <= '9'; n++, (*p)++)
        v = v * 10 + (unsigned)(**p - '0');
    *out = v;
    return digits ? n == digits : n > 0;
}

static bool take_word(const char **p, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*p, word, n) != 0)
        return false;
    *p += n;
    return true;
}

static int take_index(const char **p, uint64_t *out)
{
    uint64_t v = 0;
    for (;;) {
        bool more = take_word(p, "x");
        unsigned group;
        if (!take_number(p, 3, &group))
            return PC_E_SYNTAX;
        if (v > (UINT64_MAX - group) / 1000)
            return PC_E_RANGE;
        v = v * 1000 + group;
        if (!more)
            break;
        if (!take_word(p, "/"))
            return PC_E_SYNTAX;
    }
    *out = v;
    return 0;
}

int pc_tile_path_parse(const char *path, struct pc_tile *out)
{
    if (strnlen(path, PC_TILE_PATH_MAX) == PC_TILE_PATH_MAX)
        return PC_E_SYNTAX;
    const char *p = path;
    struct pc_tile t = {.width = PC_TILE_WIDTH};
    unsigned level = 0, width;
    if (!take_word(&p, "tile/"))
        return PC_E_SYNTAX;
    t.entries = take_word(&p, "entries");
    if ((!t.entries && !take_number(&p, 0, &level)) || !take_word(&p, "/"))
        return PC_E_SYNTAX;
    if (level > PC_TILE_LEVEL_MAX)
        return PC_E_RANGE;
    t.level = (uint8_t)level;
    int r = take_index(&p, &t.index);
    if (r < 0)
        return r;
    if (take_word(&p, ".p/")) {
        if (!take_number(&p, 0, &width) || width < 1 || width >= PC_TILE_WIDTH)
            return PC_E_SYNTAX;
        t.width = (uint16_t)width;
    }
    if (*p)
        return PC_E_SYNTAX;
    /* Printing it again refuses every other spelling: leading zeros of level and width, leading groups x000. */
    char again[PC_TILE_PATH_MAX];
    r = pc_tile_path_format(&t, again, sizeof again);
    if (r < 0)
        return r;
    if (strcmp(path, again) != 0)
        return PC_E_SYNTAX;
    *out = t;
    return 0;
}

/* --- trees as tiles ----------------------------------------------------------------------------------------------- */

unsigned pc_tile_width(uint64_t size, unsigned level, uint64_t index)
{
    if (level > PC_TILE_LEVEL_MAX || size > PC_MERKLE_SIZE_MAX)
        return 0;
    uint64_t nodes = size >> tree_level(level);
    if (index > nodes / PC_TILE_WIDTH)
        return 0;
    uint64_t left = nodes - index * PC_TILE_WIDTH;
    return left < PC_TILE_WIDTH ? (unsigned)left : PC_TILE_WIDTH;
}

int pc_tile_node(void *tiles, unsigned level, uint64_t index, uint8_t out[PC_HASH_LEN])
{
    const struct pc_tiles *src = tiles;
    if (level > 62 || src->size > PC_MERKLE_SIZE_MAX || index >= src->size >> level)
        return PC_E_RANGE;
    /* The node is the root of 2^up hashes of its tile; they start at number `first` of the level's hashes. */
    unsigned up = level % 8;
    uint64_t first = index << up;
    struct pc_tile t = {.level = (uint8_t)(level / 8), .index = first / PC_TILE_WIDTH};
    t.width = (uint16_t)pc_tile_width(src->size, t.level, t.index);
    uint8_t hashes[PC_TILE_WIDTH][PC_HASH_LEN];
    int r = src->load(src->ctx, &t, hashes);
    if (r < 0)
        return r;
    uint8_t(*part)[PC_HASH_LEN] = hashes + first % PC_TILE_WIDTH;
    for (unsigned n = 1u << up; n > 1; n /= 2)
        for (unsigned i = 0; i < n / 2; i++)
            pc_merkle_node(part[2 * i], part[2 * i + 1], part[i]);
    memcpy(out, part[0], PC_HASH_LEN);
    return 0;
}

/* --- entry bundles ------------------------------------------------------------------------------------------------ */

int pc_entries_add(struct pc_buf *bundle, const void *entry, size_t len)
{
    if (len > PC_ENTRY_MAX)
        return PC_E_RANGE;
    const uint8_t prefix[2] = {(uint8_t)(len >> 8), (uint8_t)len};
    int r = pc_buf_add(bundle, prefix, sizeof prefix);
    return r < 0 ? r : pc_buf_add(bundle, entry, len);
}

int pc_entries_next(struct pc_cur *c, struct pc_bytes *entry)
{
    if (c->failed)
        return PC_E_SYNTAX;
    if (c->left == 0)
        return 0;
    size_t len = (size_t)pc_cur_u8(c) << 8;
    len |= pc_cur_u8(c);
    const void *data = pc_cur_take(c, len);
    if (c->failed)
        return PC_E_SYNTAX;
    *entry = (struct pc_bytes){data, len};
    return 1;
}

int pc_entries_hash(const void *bundle, size_t len, unsigned width, uint8_t (*out)[PC_HASH_LEN])
{
    if (width < 1 || width > PC_TILE_WIDTH)
        return PC_E_RANGE;
    struct pc_cur c;
    pc_cur_init(&c, bundle, len);
    for (unsigned i = 0; i < width; i++) {
        struct pc_bytes entry;
        if (pc_entries_next(&c, &entry) != 1)
            return PC_E_SYNTAX;
        pc_merkle_leaf(entry.data, entry.len, out[i]);
    }
    return pc_cur_end(&c);
}
