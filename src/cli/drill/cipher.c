/*
 * Owns the reversible change of a file's bytes: ChaCha20 over the ranges of a shape, base64 on top, or zeros (wipe).
 * Works on memory only; who reads and writes the files is none of its business.
 */
#include "cli/drill/cipher.h"

#include "base/err.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BLOCK ((size_t)1 << 16)
#define CHACHA_BLOCK 64

struct drill_cipher {
    EVP_CIPHER_CTX *ctx;
    uint8_t tmp[BLOCK];
};

int drill_cipher_new(const uint8_t key[DRILL_KEY_BYTES], struct drill_cipher **out)
{
    struct drill_cipher *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->ctx = EVP_CIPHER_CTX_new();
    if (!c->ctx || EVP_EncryptInit_ex(c->ctx, EVP_chacha20(), NULL, key, NULL) != 1) {
        drill_cipher_free(c);
        return -ENOMEM;
    }
    *out = c;
    return 0;
}

void drill_cipher_free(struct drill_cipher *c)
{
    if (!c)
        return;
    EVP_CIPHER_CTX_free(c->ctx);
    free(c);
}

/* Sets the stream of file `index` to byte off, a multiple of the cipher's block. */
static int seek_stream(struct drill_cipher *c, uint32_t index, uint64_t off)
{
    uint8_t iv[16] = {0};
    uint32_t counter = (uint32_t)(off / CHACHA_BLOCK);
    for (int i = 0; i < 4; i++) {
        iv[i] = (uint8_t)(counter >> (8 * i));
        iv[4 + i] = (uint8_t)(index >> (8 * i));
    }
    return EVP_EncryptInit_ex(c->ctx, NULL, NULL, NULL, iv) == 1 ? 0 : PC_E_UNSUPPORTED;
}

/* Takes from `from` only the bytes that belong to damaged pieces. */
static void take_pieces(const struct drill_shape *s, uint8_t *to, const uint8_t *from, uint64_t off, size_t len)
{
    if (s->stride == UINT64_MAX) {
        memcpy(to, from, len);
        return;
    }
    for (size_t i = 0; i < len;) {
        uint64_t in = (off + i) % s->stride;
        uint64_t left = in < s->chunk ? s->chunk - in : s->stride - in;
        size_t n = left < len - i ? (size_t)left : len - i;
        if (in < s->chunk)
            memcpy(to + i, from + i, n);
        i += n;
    }
}

static int xor_range(struct drill_cipher *c, uint32_t index, const struct drill_shape *s, uint8_t *image,
                     struct drill_range range)
{
    int r = seek_stream(c, index, range.off);
    for (uint64_t done = 0; r == 0 && done < range.len;) {
        size_t n = range.len - done < BLOCK ? (size_t)(range.len - done) : BLOCK;
        int made;
        uint8_t *at = image + range.off + done;
        if (EVP_EncryptUpdate(c->ctx, c->tmp, &made, at, (int)n) != 1 || made != (int)n)
            return PC_E_UNSUPPORTED;
        take_pieces(s, at, c->tmp, range.off + done, n);
        done += n;
    }
    return r;
}

static int xor_image(struct drill_cipher *c, uint32_t index, const struct drill_shape *s, uint8_t *image)
{
    struct drill_range range = {0, 0};
    int r = 0;
    while (r == 0 && drill_shape_next(s, &range))
        r = xor_range(c, index, s, image, range);
    return r;
}

int drill_damage_image(struct drill_cipher *c, uint32_t index, const struct drill_shape *shape, uint8_t *image,
                       uint8_t *wide, uint8_t **result)
{
    if (shape->pattern == DRILL_WIPE) {
        memset(image, 0, shape->size);
        *result = image;
        return 0;
    }
    int r = xor_image(c, index, shape, image);
    if (r < 0)
        return r;
    if (shape->pattern == DRILL_BASE64)
        EVP_EncodeBlock(wide, image, (int)shape->size);
    *result = shape->pattern == DRILL_BASE64 ? wide : image;
    return 0;
}

int drill_restore_image(struct drill_cipher *c, uint32_t index, const struct drill_shape *shape, uint8_t *damaged,
                        uint8_t *out, uint8_t **result)
{
    if (shape->pattern == DRILL_WIPE)
        return PC_E_UNSUPPORTED;
    uint8_t *image = damaged;
    if (shape->pattern == DRILL_BASE64) {
        /* decodes padding to zero bytes, up to two past the size: the caller's out has room for them */
        if (EVP_DecodeBlock(out, damaged, (int)shape->new_size) < (int)shape->size)
            return PC_E_SYNTAX;
        image = out;
    }
    int r = xor_image(c, index, shape, image);
    if (r == 0)
        *result = image;
    return r;
}

int drill_sha256(const void *data, size_t len, uint8_t out[32])
{
    return EVP_Digest(data, len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : PC_E_UNSUPPORTED;
}

int drill_key_check(const uint8_t key[DRILL_KEY_BYTES], uint8_t out[DRILL_KEY_CHECK_BYTES])
{
    static const char label[] = "portcullis drill key";
    uint8_t text[sizeof label + DRILL_KEY_BYTES], sum[32];
    memcpy(text, label, sizeof label);
    memcpy(text + sizeof label, key, DRILL_KEY_BYTES);
    int r = drill_sha256(text, sizeof text, sum);
    if (r == 0)
        memcpy(out, sum, DRILL_KEY_CHECK_BYTES);
    return r;
}

int drill_random(void *out, size_t len)
{
    uint8_t bytes[64];
    if (len > sizeof bytes)
        return PC_E_LIMIT;
    ssize_t n = getrandom(bytes, len, 0);
    if (n != (ssize_t)len)
        return n < 0 ? -errno : -EIO;
    memcpy(out, bytes, len);
    return 0;
}
