/* Any bytes as an entry bundle: what is read, written again, is the same bytes; hashing agrees with reading. */
#include "base/err.h"
#include "trust/tile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t hashes[PC_TILE_WIDTH][PC_HASH_LEN];
    _buf_free_ struct pc_buf b;
    struct pc_cur c;
    struct pc_bytes e;
    unsigned n = 0;
    int r;
    pc_buf_init(&b, size);
    pc_cur_init(&c, data, size);
    while ((r = pc_entries_next(&c, &e)) == 1) {
        if (pc_entries_add(&b, e.data, e.len) < 0)
            abort();
        n++;
    }
    if (r == 0 && (b.len != size || (size && memcmp(b.data, data, size) != 0)))
        abort();
    if (r == 0 && n >= 1 && n <= PC_TILE_WIDTH && pc_entries_hash(data, size, n, hashes) != 0)
        abort();
    if (n >= 2 && n <= PC_TILE_WIDTH && pc_entries_hash(data, size, n - 1, hashes) != PC_E_TRAILING)
        abort();
    return 0;
}
