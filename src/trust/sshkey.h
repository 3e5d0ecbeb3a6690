#ifndef PC_TRUST_SSHKEY_H
#define PC_TRUST_SSHKEY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Public keys as OpenSSH writes them: ssh-ed25519, ecdsa-sha2-nistp256/384/521, ssh-rsa, and the hardware kinds
 * sk-ssh-ed25519@openssh.com and sk-ecdsa-sha2-nistp256@openssh.com. What OpenSSH 9.2 reads as one of them is read,
 * with its leniencies (other names for a type, leading zeros), except keys that are too weak to be anybody's word:
 *   - RSA under 3072 bits (ssh-keygen takes 1024), with an even modulus, or with an exponent that is even or 1;
 *   - DSA and certificates, which are not supported.
 * A key never changes after it was parsed: any number of threads may use it.
 */
struct pc_sshkey;

#define PC_SSHKEY_RSA_MIN_BITS 3072
/* Longest line and blob that are looked at. The largest key, RSA with 16384 bits, is a line of 2.8 KiB. */
#define PC_SSHKEY_LINE_MAX 16384
#define PC_SSHKEY_FINGERPRINT_SIZE 64

/*
 * "ssh-ed25519 AAAA... comment": one line of a .pub file, or of authorized_keys without options. Blanks before it, a
 * missing comment and one line end are fine. 0 and *out, to be freed; PC_E_SYNTAX (not a key, or its two type names
 * differ), PC_E_TRAILING (bytes after the key, or a second line), PC_E_UNSUPPORTED (a kind of key that is not in the
 * list above), PC_E_KEY (too weak), PC_E_LIMIT (longer than PC_SSHKEY_LINE_MAX), -ENOMEM.
 */
int pc_sshkey_parse_line(const char *line, size_t len, struct pc_sshkey **out);
/* The bytes that are base64 in such a line (RFC 4253 section 6.6). Errors as above. */
int pc_sshkey_parse_blob(const uint8_t *blob, size_t len, struct pc_sshkey **out);
/* NULL is fine. */
void pc_sshkey_free(struct pc_sshkey *key);

/*
 * True when it is the same key, however it was written: same kind, same numbers, same application for a hardware
 * key.
 */
bool pc_sshkey_equal(const struct pc_sshkey *a, const struct pc_sshkey *b);
/* "ssh-ed25519", "sk-ssh-ed25519@openssh.com": the name in a .pub file. Static. */
const char *pc_sshkey_type(const struct pc_sshkey *key);
/* "ED25519-SK", as ssh-keygen prints. Static. */
const char *pc_sshkey_label(const struct pc_sshkey *key);
/* "SHA256:..." as ssh-keygen -l prints it. 0, or PC_E_STATE when libcrypto has no SHA-256. */
int pc_sshkey_fingerprint(const struct pc_sshkey *key, char out[PC_SSHKEY_FINGERPRINT_SIZE]);
/* True for a key in a security key: its signatures say whether somebody touched it. */
bool pc_sshkey_is_hardware(const struct pc_sshkey *key);
/* The canonical blob, which is the key's own memory. Equal keys have equal blobs. */
const uint8_t *pc_sshkey_blob(const struct pc_sshkey *key, size_t *len);
#endif
