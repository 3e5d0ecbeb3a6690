/* Any bytes as a tile's path: what is taken has one spelling, and a tree that has the tile. */
#include "trust/tile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[2 * PC_TILE_PATH_MAX], again[PC_TILE_PATH_MAX];
    struct pc_tile t;
    size_t n = size < sizeof path - 1 ? size : sizeof path - 1;
    memcpy(path, data, n);
    path[n] = 0;
    if (pc_tile_path_parse(path, &t) < 0)
        return 0;
    if (pc_tile_path_format(&t, again, sizeof again) < 0 || strcmp(path, again) != 0)
        abort();
    if (pc_tile_width(PC_MERKLE_SIZE_MAX, t.level, t.index) < t.width)
        abort();
    return 0;
}
