/*
 * Owns getting the log from the server and putting its tree together again (log_walk.h). Must not judge what entries
 * say, and must not believe a tile: every hash is computed here from the entries, the server's are only compared.
 */
#include "cli/net/log_walk.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <inttypes.h>
#include <string.h>

#define BUNDLE_MAX ((size_t)PC_TILE_WIDTH * (PC_ENTRY_MAX + 2))
#define QUIET_NS (2 * PC_NS_PER_S)
#define REDRAW_NS (PC_NS_PER_S / 5)

/* --- single pieces ------------------------------------------------------------------------------------------------ */

int pc_log_newest(struct pc_fleet *f, unsigned needed, struct pc_buf *note, struct pc_checkpoint *out)
{
    struct pc_buf text;
    const struct pc_trust *t = &f->trust;
    int status = pc_fleet_bytes(f, "/log/checkpoint", PC_NOTE_MAX, &text, NULL);
    if (status)
        return status;
    int r = pc_checkpoint_open(text.data ? text.data : "", text.len, &t->log, t->witness, t->witnesses, needed, out);
    if (r == 0) {
        *note = text;
        return 0;
    }
    pc_buf_free(&text);
    if (r == PC_E_REFUSED)
        return pc_cli_fail(PC_EXIT_FAILED,
                           "the log's checkpoint is cosigned by fewer than %u of the witnesses of your trust file",
                           needed);
    return pc_cli_fail(PC_EXIT_FAILED, "the log's checkpoint is not one of the log of your trust file (%s): %s",
                       t->log.name, pc_strerror(r));
}

/* One path. *found false: the server has no such tile (any more). */
static int get_tile(struct pc_fleet *f, const struct pc_tile *tile, struct pc_buf *out, bool *found)
{
    char path[PC_TILE_PATH_MAX + 8] = "/log/";
    if (pc_tile_path_format(tile, path + 5, sizeof path - 5) < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "no log has a tile of level %u, number %" PRIu64, tile->level, tile->index);
    return pc_fleet_bytes(f, path, tile->entries ? BUNDLE_MAX : PC_TILE_WIDTH * PC_HASH_LEN, out, found);
}

int pc_log_tile(struct pc_fleet *f, const struct pc_tile *tile, struct pc_buf *out)
{
    struct pc_tile full = *tile;
    bool found = false;
    int status = get_tile(f, tile, out, &found);
    if (status || found)
        return status;
    full.width = PC_TILE_WIDTH;
    if (tile->width < PC_TILE_WIDTH) /* filled up meanwhile */
        status = get_tile(f, &full, out, &found);
    if (status || found)
        return status;
    return pc_cli_fail(PC_EXIT_FAILED,
                       "the server does not show a part of the log that its checkpoint covers: %s %" PRIu64
                       " of level %u",
                       tile->entries ? "entries" : "tile", tile->index, tile->level);
}

/* --- earlier beginnings ------------------------------------------------------------------------------------------- */

/* The leaf hashes of a full tile, for log_roots.c. */
static int fetch_leaves(void *ctx, uint64_t index, uint8_t (*out)[PC_HASH_LEN])
{
    struct pc_log_walk *w = ctx;
    const struct pc_tile tile = {.index = index, .width = PC_TILE_WIDTH};
    _buf_free_ struct pc_buf shown;
    pc_buf_init(&shown, 0);
    int status = pc_log_tile(w->fleet, &tile, &shown);
    if (status)
        return status;
    if (shown.len < (size_t)PC_TILE_WIDTH * PC_HASH_LEN)
        return PC_E_UNVERIFIED;
    memcpy(out, shown.data, (size_t)PC_TILE_WIDTH * PC_HASH_LEN);
    return 0;
}

int pc_log_walk_root(struct pc_log_walk *w, uint64_t size, uint8_t out[PC_HASH_LEN])
{
    int r = pc_log_roots_get(&w->roots, size, out);
    if (r == PC_E_UNVERIFIED)
        return pc_cli_fail(PC_EXIT_FAILED,
                           "tile %" PRIu64 " of level 0 holds other hashes now than the entries beneath it have",
                           size / PC_TILE_WIDTH);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "the first %" PRIu64 " entries: %s", size, pc_strerror(r)) : r;
}

/* --- the walk ----------------------------------------------------------------------------------------------------- */

struct progress {
    uint64_t started, drawn;
};

static void draw(const struct pc_log_walk *w, struct progress *p, uint64_t done)
{
    uint64_t now = pc_mono_ns();
    char all[32], here[32];
    if (!w->fleet->cli->progress || now - p->started < QUIET_NS || now - p->drawn < REDRAW_NS)
        return;
    p->drawn = now;
    fprintf(stderr, "\r\033[K%s of %s entries", pc_amount((json_int_t)done, here),
            pc_amount((json_int_t)w->head->size, all));
}

static void undraw(const struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
}

/* The hashes that each level's last tile has so far. */
struct tiles {
    struct pc_log_walk *walk;
    uint8_t hash[PC_TILE_LEVEL_MAX + 1][PC_TILE_WIDTH][PC_HASH_LEN];
    int status;
};

static int compare(struct tiles *t, unsigned level, uint64_t index, unsigned width)
{
    const struct pc_tile tile = {.level = (uint8_t)level, .index = index, .width = (uint16_t)width};
    _buf_free_ struct pc_buf shown;
    pc_buf_init(&shown, 0);
    int status = pc_log_tile(t->walk->fleet, &tile, &shown);
    if (status)
        return status;
    if (shown.len < (size_t)width * PC_HASH_LEN || memcmp(shown.data, t->hash[level], (size_t)width * PC_HASH_LEN) != 0)
        return pc_cli_fail(PC_EXIT_FAILED,
                           "tile %" PRIu64 " of level %u holds other hashes than the entries beneath it have", index,
                           level);
    return 0;
}

/* A pc_merkle_emit. Levels between those of tiles are not shown by any tile. */
static int keep_node(void *ctx, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN])
{
    struct tiles *t = ctx;
    unsigned slot = (unsigned)(index % PC_TILE_WIDTH);
    int r = pc_log_roots_node(&t->walk->roots, level, index, hash);
    if (r < 0)
        return r;
    if (level % 8 || level / 8 > PC_TILE_LEVEL_MAX)
        return 0;
    memcpy(t->hash[level / 8][slot], hash, PC_HASH_LEN);
    if (slot == PC_TILE_WIDTH - 1)
        t->status = compare(t, level / 8, index / PC_TILE_WIDTH, PC_TILE_WIDTH);
    return t->status ? PC_E_UNVERIFIED : 0;
}

static int compare_last(struct tiles *t, uint64_t size)
{
    int status = 0;
    for (unsigned level = 0; level <= PC_TILE_LEVEL_MAX && status == 0; level++) {
        uint64_t nodes = level < 8 ? size >> (8 * level) : 0;
        if (nodes % PC_TILE_WIDTH)
            status = compare(t, level, nodes / PC_TILE_WIDTH, (unsigned)(nodes % PC_TILE_WIDTH));
    }
    return status;
}

static int take_entry(struct pc_log_walk *w, struct pc_merkle_frontier *f, struct tiles *tiles,
                      const struct pc_bytes *entry)
{
    uint8_t leaf[PC_HASH_LEN];
    pc_log_roots_keep(&w->roots, f);
    int status = w->entry(w->ctx, f->size, entry->data, entry->len);
    if (status)
        return status;
    pc_merkle_leaf(entry->data, entry->len, leaf);
    int r = pc_merkle_append(f, leaf, keep_node, tiles);
    if (tiles->status)
        return tiles->status;
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "entry %" PRIu64 ": %s", f->size, pc_strerror(r)) : 0;
}

/* The entries beneath one tile of level 0. */
static int take_bundle(struct pc_log_walk *w, struct pc_merkle_frontier *f, struct tiles *tiles, struct progress *p)
{
    uint64_t index = f->size / PC_TILE_WIDTH;
    unsigned width = pc_tile_width(w->head->size, 0, index);
    const struct pc_tile tile = {.entries = true, .index = index, .width = (uint16_t)width};
    _buf_free_ struct pc_buf bundle;
    pc_buf_init(&bundle, 0);
    struct pc_cur c;
    int status = pc_log_tile(w->fleet, &tile, &bundle);
    if (status)
        return status;
    pc_cur_init(&c, bundle.data ? bundle.data : "", bundle.len);
    for (unsigned i = 0; i < width && status == 0; i++) {
        struct pc_bytes entry;
        if (pc_entries_next(&c, &entry) != 1)
            return pc_cli_fail(PC_EXIT_FAILED, "entries %" PRIu64 " of the log are cut off: %u of %u are there", index,
                               i, width);
        draw(w, p, f->size);
        status = take_entry(w, f, tiles, &entry);
    }
    return status;
}

static int check_root(struct pc_log_walk *w)
{
    uint8_t root[PC_HASH_LEN];
    int status = pc_log_walk_root(w, w->head->size, root);
    if (status || memcmp(root, w->head->root, PC_HASH_LEN) == 0)
        return status;
    return pc_cli_fail(
        PC_EXIT_FAILED,
        "the %" PRIu64
        " entries that the server shows do not have the root that the log signed: it shows you another log",
        w->head->size);
}

int pc_log_walk(struct pc_log_walk *w)
{
    static const struct pc_merkle_frontier nothing;
    _free_ struct pc_merkle_frontier *f = malloc(sizeof *f);
    _free_ struct tiles *tiles = calloc(1, sizeof *tiles);
    struct progress p = {.started = pc_mono_ns()};
    int status = 0;
    if (!f || !tiles)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    if (w->head->size > PC_LOG_WALK_MAX)
        return pc_cli_fail(PC_EXIT_FAILED, "the log has %" PRIu64 " entries: this command walks up to %" PRIu64,
                           w->head->size, PC_LOG_WALK_MAX);
    *f = nothing;
    tiles->walk = w;
    if (pc_log_roots_init(&w->roots, fetch_leaves, w) < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    while (status == 0 && f->size < w->head->size)
        status = take_bundle(w, f, tiles, &p);
    pc_log_roots_keep(&w->roots, f);
    if (status == 0)
        status = check_root(w);
    if (status == 0)
        status = compare_last(tiles, w->head->size);
    undraw(&p);
    return status;
}

void pc_log_walk_clear(struct pc_log_walk *w)
{
    pc_log_roots_clear(&w->roots);
}
