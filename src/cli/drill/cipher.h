#ifndef PC_CLI_DRILL_CIPHER_H
#define PC_CLI_DRILL_CIPHER_H
#include "cli/drill/shape.h"

#include <stddef.h>
#include <stdint.h>

#define DRILL_KEY_BYTES 32
#define DRILL_KEY_CHECK_BYTES 8

/* ChaCha20 under one key; every file has its own nonce, its index. Not shared between threads; survives fork. */
struct drill_cipher;
int drill_cipher_new(const uint8_t key[DRILL_KEY_BYTES], struct drill_cipher **out); /* -ENOMEM */
void drill_cipher_free(struct drill_cipher *c);

/*
 * Turns the image of a file (shape->size bytes, only the shape's ranges need to be filled in) into its damaged image.
 * For base64 the result goes to `wide` (shape->new_size + 1 bytes), otherwise it stays in `image`. *result: which.
 */
int drill_damage_image(struct drill_cipher *c, uint32_t index, const struct drill_shape *shape, uint8_t *image,
                       uint8_t *wide, uint8_t **result);
/*
 * The way back, for a whole damaged image of shape->new_size bytes: *result is inside damaged or out (shape->size + 4
 * bytes). PC_E_UNSUPPORTED for wipe, which keeps nothing; PC_E_SYNTAX for text that is no base64.
 */
int drill_restore_image(struct drill_cipher *c, uint32_t index, const struct drill_shape *shape, uint8_t *damaged,
                        uint8_t *out, uint8_t **result);

int drill_sha256(const void *data, size_t len, uint8_t out[32]);
/* A few bytes that tell a wrong key from the right one and give nothing else away. */
int drill_key_check(const uint8_t key[DRILL_KEY_BYTES], uint8_t out[DRILL_KEY_CHECK_BYTES]);
int drill_random(void *out, size_t len);
#endif
