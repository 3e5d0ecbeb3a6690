#ifndef PC_CLI_DRILL_SHAPE_H
#define PC_CLI_DRILL_SHAPE_H
#include <stdbool.h>
#include <stdint.h>

/* What part of a file a pattern damages, and how. Names are what --pattern takes. */
enum drill_pattern {
    DRILL_HEAD_4K,
    DRILL_FULL,
    DRILL_ALTERNATE_16,
    DRILL_ONE_MIB_ON_OFF,
    DRILL_PERCENT_5,
    DRILL_FIRST_MIB,
    DRILL_BASE64,
    DRILL_WIPE,
    DRILL_PATTERNS
};
extern const char *const drill_pattern_names[DRILL_PATTERNS + 1]; /* NULL-terminated */

/*
 * The damage as pieces of `chunk` bytes every `stride` bytes from the start of the file. Pieces nearer to each other
 * than a page are moved in one transfer (the bytes between keep their value).
 */
struct drill_shape {
    enum drill_pattern pattern;
    uint64_t size, new_size; /* bytes before and after */
    uint64_t chunk, stride;
};
struct drill_range {
    uint64_t off, len;
};
void drill_shape_of(enum drill_pattern pattern, uint64_t size, struct drill_shape *out);
/* The next range to transfer; *r starts as {0, 0}. False at the end. */
bool drill_shape_next(const struct drill_shape *s, struct drill_range *r);
/* True when the byte at off is inside a damaged piece. */
bool drill_shape_hits(const struct drill_shape *s, uint64_t off);
/* Largest size a file of `size` bytes can have after any damage. */
uint64_t drill_shape_bound(uint64_t size);
#endif
