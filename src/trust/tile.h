#ifndef PC_TRUST_TILE_H
#define PC_TRUST_TILE_H
#include "base/buf.h"
#include "trust/merkle.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * How a log is served and kept: C2SP tlog-tiles. A hash tile (level, index) is up to 256 nodes of tree level 8 * level
 * side by side; an entry bundle is the up to 256 entries beneath one tile of level 0. Full ones never change.
 */
#define PC_TILE_WIDTH 256
/* Highest level of a hash tile that a tree of PC_MERKLE_SIZE_MAX leaves has. */
#define PC_TILE_LEVEL_MAX 7
/* Longest path with its NUL: tile/entries/, seven groups of index, .p/255. */
#define PC_TILE_PATH_MAX 64

struct pc_tile {
    bool entries;   /* an entry bundle; level is 0 then */
    uint8_t level;  /* 0 .. PC_TILE_LEVEL_MAX */
    uint64_t index; /* within the level, from the left */
    uint16_t width; /* hashes or entries in it: 1 .. 255, or PC_TILE_WIDTH when full */
};

/*
 * "tile/<level>/<index>[.p/<width>]" or "tile/entries/<index>[.p/<width>]", without a leading slash. The path has one
 * spelling only. parse: PC_E_SYNTAX, or PC_E_RANGE for a tile that no tree has. format: writes at most cap bytes with
 * the NUL; the length, PC_E_RANGE for such a tile, or PC_E_LIMIT.
 */
int pc_tile_path_parse(const char *path, struct pc_tile *out);
int pc_tile_path_format(const struct pc_tile *tile, char *out, size_t cap);
/*
 * How wide hash tile (level, index) is in a tree of `size` leaves; for level 0 also the width of the entry bundle. 0
 * when that tree has no such tile.
 */
unsigned pc_tile_width(uint64_t size, unsigned level, uint64_t index);

/*
 * A tree kept as hash tiles, as a source of nodes: pc_tile_node is a pc_merkle_read whose ctx is a struct pc_tiles.
 * load writes the first tile->width hashes of the tile to out (room for PC_TILE_WIDTH); a full tile may stand in for a
 * partial one. 0, or negative, which the function that asked returns.
 */
struct pc_tiles {
    int (*load)(void *ctx, const struct pc_tile *tile, uint8_t (*out)[PC_HASH_LEN]);
    void *ctx;
    uint64_t size; /* of the tree; no tile is asked for that this tree does not have, nor wider than it is there */
};
/* PC_E_RANGE: the node is not complete in a tree of that size. Needs 8 KiB of stack. */
int pc_tile_node(void *tiles, unsigned level, uint64_t index, uint8_t out[PC_HASH_LEN]);

/* --- entry bundles: entries one after the other, each after its length as a 16-bit big-endian number ----------------
 */

#define PC_ENTRY_MAX 65535
/* Appends one entry. PC_E_RANGE: longer than PC_ENTRY_MAX; else as pc_buf_add. */
int pc_entries_add(struct pc_buf *bundle, const void *entry, size_t len);
/*
 * The next entry at the cursor, as bytes inside the caller's memory. 1: *entry is set. 0: the end. PC_E_SYNTAX: cut
 * off.
 */
int pc_entries_next(struct pc_cur *c, struct pc_bytes *entry);
/*
 * Hashes the entries of a whole bundle into out[0 .. width). PC_E_SYNTAX: cut off, or fewer entries than width.
 * PC_E_TRAILING: more. PC_E_RANGE: width is not 1 .. PC_TILE_WIDTH. On failure out is not untouched.
 */
int pc_entries_hash(const void *bundle, size_t len, unsigned width, uint8_t (*out)[PC_HASH_LEN]);
#endif
