#ifndef PC_CORE_GIST_H
#define PC_CORE_GIST_H
#include <stdbool.h>
#include <stdint.h>

struct pc_content;

/*
 * What one file's beginning says, in two numbers, so that a file made now can be known as the unpacked or packed form
 * of one deleted a moment ago, without keeping either. 0: not known.
 */
struct pc_gist {
    uint64_t own;   /* of its first bytes */
    uint64_t inner; /* of the first bytes of what it packs (gzip, zlib, zstd, xz, a zip's first member) */
};

/* Fills out from the first window. Pure. */
void pc_gist_of(const struct pc_content *c, struct pc_gist *out);
/* True when one is the other one packed, or both are the same packed. */
bool pc_gist_packs(const struct pc_gist *a, const struct pc_gist *b);
#endif
