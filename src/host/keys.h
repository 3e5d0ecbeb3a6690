#ifndef PC_HOST_KEYS_H
#define PC_HOST_KEYS_H
/*
 * The host's two keys, made on the host and never leaving it: the identity key signs what the host says and is read by
 * root alone; the link key is the client key of the TLS connection and belongs to the link's user. A stolen link key
 * can be silent or noisy, it cannot sign a result.
 */
#include <stddef.h>
#include <stdint.h>

/* A fresh Ed25519 seed and its public key. 0 or -EIO. */
int pc_key_make(uint8_t seed[32], uint8_t key[32]);
/* Public key of a seed. */
int pc_key_of_seed(const uint8_t seed[32], uint8_t key[32]);
/* Seed and public key of such a PEM text as pc_key_link_files makes. PC_E_SYNTAX. */
int pc_key_of_pem(const char *pem, uint8_t seed[32], uint8_t key[32]);
/*
 * PEM texts of the link key and of its self-signed certificate for `name` (100 years: the server knows the key, not the
 * dates). malloc'd.
 */
int pc_key_link_files(const uint8_t seed[32], const char *name, char **key_pem, char **cert_pem);
/*
 * SHA-256 of the DER of the first certificate in a PEM text, as "AB:CD:...", as `openssl x509 -fingerprint -sha256`
 * prints it. PC_E_SYNTAX.
 */
int pc_key_fingerprint(const char *pem, char out[100]);
/* SHA-256 as 64 hex digits. */
void pc_key_sha256(const void *data, size_t len, char out[65]);
#endif
