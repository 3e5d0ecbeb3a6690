#ifndef PC_NET_TLS_H
#define PC_NET_TLS_H
/*
 * TLS 1.3 as Portcullis uses it, through OpenSSL: nothing older, no renegotiation, no tickets (a reconnecting host
 * proves its key again), no compression. Contexts are made once and shared by all connections of their kind. Errors go
 * to `why` as one line for people.
 */
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

/* The server's side. With `hosts`, a client must show a certificate with an Ed25519 key; WHO that key is, is asked
 * later of the store: no certificate authority vouches for hosts (PROTOCOL.md 3). PEM texts; the chain may hold more
 * than one certificate. *out is to be freed with SSL_CTX_free. -EINVAL. */
int pc_tls_server(const char *chain_pem, const char *key_pem, int hosts, SSL_CTX **out, char *why, size_t why_len);
/* The client's side: trusts ca_pem only; seed (32-byte Ed25519 private key) makes the link certificate, NULL: none.
 * -EINVAL. */
int pc_tls_client(const char *ca_pem, const uint8_t *seed, SSL_CTX **out, char *why, size_t why_len);
/* Which name or address the server's certificate must have. -EINVAL. */
int pc_tls_expect(SSL *ssl, const char *host);
/* The peer's raw Ed25519 public key. PC_E_NOTFOUND: no certificate, or another kind of key. */
int pc_tls_peer_key(const SSL *ssl, uint8_t key[32]);
/* The newest error of this thread's OpenSSL queue as text, and empties the queue. */
void pc_tls_error(char *out, size_t cap);
#endif
