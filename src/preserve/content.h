#ifndef PC_PRESERVE_CONTENT_H
#define PC_PRESERVE_CONTENT_H
#include <stdbool.h>
#include <stdint.h>

/* Moving and comparing file content. Positions of both descriptors are undefined afterwards. */

/*
 * fn is called again and again while this thread moves or compares content (pc_store_breathe, store.h), by whom has
 * many things to look at, too.
 */
void pc_content_breathe_by(void (*fn)(void *arg), void *arg);
void pc_content_breathe(void);

/* Shares all blocks (FICLONE). 0 or -errno. */
int pc_content_clone(int in, int out);
/* Copies the first `size` bytes into the empty file out, keeping holes. 0 or -errno; PC_E_CHANGED: in became shorter.
 */
int pc_content_copy(int in, int out, uint64_t size);
/*
 * How much of the first `size` bytes is data, not hole, as the file system tells now: of a file whose size reached the
 * disk and whose data did not it is less than was written. 0 or -errno.
 */
int pc_content_data(int fd, uint64_t size, uint64_t *out);
/* Copies as pc_content_copy does, through a zstd stream, which has a checksum. */
int pc_content_pack(int in, int out, uint64_t size);
/* Reverse; runs of zeros become holes. PC_E_CORRUPT when the stream is damaged or not exactly `size` bytes long. */
int pc_content_unpack(int in, int out, uint64_t size);
/* Whether the first `size` bytes of both are the same. 1, 0 or an error; PC_E_CORRUPT when one is shorter. */
int pc_content_same(int a, int b, uint64_t size);
/* The same of at most eight places of 16 KiB each, spread over the file. */
int pc_content_alike(int a, int b, uint64_t size);
/*
 * Whether the first `size` bytes of both rest on the same blocks of the disk, as a clone and its file do until one of
 * them is written. 1; 0; PC_E_UNSUPPORTED: that cannot be told (too many pieces, packed or inline data), or an error.
 * Writes out what a has in memory.
 */
int pc_content_shared(int a, int b, uint64_t size);
#endif
