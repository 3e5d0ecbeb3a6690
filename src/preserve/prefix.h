#ifndef PC_PRESERVE_PREFIX_H
#define PC_PRESERVE_PREFIX_H
#include <stdint.h>

/*
 * What is kept of a content that stays in the live file (PC_HOW_LENGTH): enough to tell another one from it, not the
 * content. Of up to PC_PREFIX_WHOLE bytes every byte counts; of more the head, the tail and windows between, at places
 * that are drawn by lot and known to the index alone. A change between the windows is not told.
 */
#define PC_PREFIX_WHOLE (1u << 20)
#define PC_SHA256_LEN 32
struct pc_prefix {
    uint64_t seed;
    uint8_t sha256[PC_SHA256_LEN];
};
/* Of the first `size` bytes. PC_E_CHANGED: the file is shorter; or -errno. Any thread. */
int pc_prefix_take(int fd, uint64_t size, struct pc_prefix *out);
/* Whether the first `size` bytes look the same still. 1, 0 (also when the file is shorter) or -errno. */
int pc_prefix_holds(int fd, uint64_t size, const struct pc_prefix *was);
#endif
