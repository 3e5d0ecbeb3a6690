#ifndef PC_NET_PKI_H
#define PC_NET_PKI_H
/*
 * Keys and certificates of the server's own small authority, through OpenSSL. P-256, because browsers do not take
 * Ed25519 certificates. Draws random numbers; touches no file. Texts are malloc'd PEM; a private key's text is cleansed
 * by pc_pki_free_key.
 */
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

/* A new authority, path length 0, valid for `days`. `name` (<= 64 bytes) becomes the subject's common name. -EINVAL,
 * -ENOMEM. */
int pc_pki_authority(const char *name, unsigned days, char **cert_pem, char **key_pem);
/* A server certificate for names[0..n) (DNS names, IPv4 or IPv6 addresses), signed by the authority. -EINVAL, -ENOMEM.
 */
int pc_pki_server(const char *ca_cert_pem, const char *ca_key_pem, const char *const *names, size_t n, unsigned days,
                  char **cert_pem, char **key_pem);
/* Seconds until the first certificate in the text ends (negative: it ended). INT64_MIN: not a certificate. */
int64_t pc_pki_left(const char *cert_pem, int64_t now);
void pc_pki_free_key(char *pem);
/* A self-signed certificate around a link key, good for no name: the key is all that counts. *key and *cert owned by
 * the caller. */
int pc_pki_link(const uint8_t seed[32], EVP_PKEY **key, X509 **cert);
/* Random bytes fit for keys. -EIO: the system has none. */
int pc_random(void *out, size_t len);
#endif
