#ifndef PC_BASE_BASE64_H
#define PC_BASE_BASE64_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Base64 of RFC 4648 section 4, decoded strictly, so that a value has one spelling: padding is required, bits that no
 * byte uses are zero, nothing follows the padding.
 */

/* Skip white space anywhere, as the armour of keys and signatures needs; without it white space is an error. */
#define PC_BASE64_SPACE 1u

/*
 * Bytes that encoding len bytes takes, with the NUL at the end; and those that decoding len characters takes at
 * most.
 */
#define PC_BASE64_SIZE(len) (((len) + 2) / 3 * 4 + 1)
#define PC_BASE64_RAW_SIZE(len) ((len) / 4 * 3 + 3)

/*
 * Decodes len characters into out. flags: 0 or PC_BASE64_SPACE. Returns the number of bytes, PC_E_SYNTAX for what is
 * not base64, or PC_E_LIMIT when cap bytes are not enough (then out holds the beginning).
 */
ssize_t pc_base64_decode(const char *in, size_t len, unsigned flags, void *out, size_t cap);
/* Encodes with padding and a NUL into out, which has PC_BASE64_SIZE(len) bytes. Returns the length without the NUL. */
size_t pc_base64_encode(const void *data, size_t len, char *out);
/* The same in the alphabet of RFC 4648 section 5 ("-" and "_") without padding. */
size_t pc_base64url_encode(const void *data, size_t len, char *out);
#endif
