#ifndef PC_CORE_UNPACK_H
#define PC_CORE_UNPACK_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Trial decoders. Each decodes the first bytes of a packed stream and says whether they were valid: the proof that
 * bytes which look random are a compressor's output. They allocate nothing: the libraries get an arena on the stack.
 */
#define PC_UNPACK_OUT (8u << 10)
struct pc_unpacked {
    bool valid;    /* no error up to the end of input, of output, or of the stream */
    bool complete; /* the stream ended, checksum and all */
    uint32_t len;
    uint8_t data[PC_UNPACK_OUT]; /* the first bytes */
};
/* wrap: zlib window bits (31 gzip, 15 zlib, -15 raw deflate). */
void pc_unpack_deflate(const uint8_t *in, size_t n, int wrap, struct pc_unpacked *out);
void pc_unpack_zstd(const uint8_t *in, size_t n, struct pc_unpacked *out);
void pc_unpack_xz(const uint8_t *in, size_t n, struct pc_unpacked *out);
/* Raw LZMA1 with the property byte (lc, lp, pb) of .lzma and 7z; raw LZMA2. */
void pc_unpack_lzma1(const uint8_t *in, size_t n, uint8_t props, struct pc_unpacked *out);
void pc_unpack_lzma2(const uint8_t *in, size_t n, struct pc_unpacked *out);
/*
 * Formats whose decoder would need megabytes, or is not linked: their code tables and references are walked without
 * producing output. True when everything up to the end of input holds.
 */
bool pc_walk_bzip2(const uint8_t *in, size_t n);
/* stored: all of the first block is literal bytes. */
bool pc_walk_lz4_block(const uint8_t *in, size_t n, bool *stored);
bool pc_walk_compress(const uint8_t *in, size_t n);
#endif
