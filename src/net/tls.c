/*
 * Owns how TLS contexts are set up and how a peer's key is read. Must not know hosts, frames or files: PEM texts come
 * from the program, contexts go to conn.c and http.c.
 */
#include "net/tls.h"

#include "base/err.h"
#include "net/pki.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A link certificate is about 300 bytes; a peer may not make us hold a chain of a hundred KiB (OpenSSL's own limit). */
#define CLIENT_CHAIN_MAX 2048

void pc_tls_error(char *out, size_t cap)
{
    unsigned long e = ERR_peek_last_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    if (cap)
        snprintf(out, cap, "%s", text ? text : "TLS error");
    ERR_clear_error();
}

static int fail(const char *what, char *why, size_t why_len)
{
    char text[128];
    pc_tls_error(text, sizeof text);
    if (why && why_len)
        snprintf(why, why_len, "%s: %s", what, text);
    return -EINVAL;
}

static SSL_CTX *context(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
    /* An idle connection gives its record buffers (2 x 17 KiB) back. */
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 0);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
    return ctx;
}

static X509 *next_cert(BIO *bio)
{
    return PEM_read_bio_X509(bio, NULL, NULL, NULL);
}

static int use_chain(SSL_CTX *ctx, const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    if (!bio)
        return 0;
    X509 *cert = next_cert(bio);
    int ok = cert && SSL_CTX_use_certificate(ctx, cert) == 1;
    X509_free(cert);
    while (ok && (cert = next_cert(bio))) {
        ok = SSL_CTX_add1_chain_cert(ctx, cert) == 1;
        X509_free(cert);
    }
    if (ok)
        ERR_clear_error(); /* the end of the PEM text is reported as an error */
    BIO_free(bio);
    return ok;
}

static int use_key(SSL_CTX *ctx, const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    int ok = key && SSL_CTX_use_PrivateKey(ctx, key) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    EVP_PKEY_free(key);
    BIO_free(bio);
    return ok;
}

/* Instead of a chain check: the handshake itself proves that the peer holds the key, and the key is all we ask for. */
static int any_ed25519(X509_STORE_CTX *store, void *arg)
{
    X509 *cert = X509_STORE_CTX_get0_cert(store);
    EVP_PKEY *key = cert ? X509_get0_pubkey(cert) : NULL;
    if (key && EVP_PKEY_get_id(key) == EVP_PKEY_ED25519)
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return 0;
}

int pc_tls_server(const char *chain_pem, const char *key_pem, int hosts, SSL_CTX **out, char *why, size_t why_len)
{
    SSL_CTX *ctx = context(TLS_server_method());
    if (!ctx)
        return fail("TLS context", why, why_len);
    int ret = 0;
    if (!use_chain(ctx, chain_pem))
        ret = fail("server certificate", why, why_len);
    else if (!use_key(ctx, key_pem))
        ret = fail("server key", why, why_len);
    if (ret < 0) {
        SSL_CTX_free(ctx);
        return ret;
    }
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (hosts) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        SSL_CTX_set_cert_verify_callback(ctx, any_ed25519, NULL);
        SSL_CTX_set_max_cert_list(ctx, CLIENT_CHAIN_MAX);
    }
    *out = ctx;
    return 0;
}

static int trust_only(SSL_CTX *ctx, const char *ca_pem)
{
    BIO *bio = BIO_new_mem_buf(ca_pem, -1);
    X509 *ca = bio ? next_cert(bio) : NULL;
    int ok = ca && X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) == 1;
    X509_free(ca);
    BIO_free(bio);
    return ok;
}

static int show_link_key(SSL_CTX *ctx, const uint8_t seed[32])
{
    EVP_PKEY *key = NULL;
    X509 *cert = NULL;
    if (pc_pki_link(seed, &key, &cert) < 0)
        return 0;
    int ok = SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    X509_free(cert);
    return ok;
}

int pc_tls_client(const char *ca_pem, const uint8_t *seed, SSL_CTX **out, char *why, size_t why_len)
{
    SSL_CTX *ctx = context(TLS_client_method());
    if (!ctx)
        return fail("TLS context", why, why_len);
    int ret = 0;
    if (!trust_only(ctx, ca_pem))
        ret = fail("certificate of the authority", why, why_len);
    else if (seed && !show_link_key(ctx, seed))
        ret = fail("link key", why, why_len);
    if (ret < 0) {
        SSL_CTX_free(ctx);
        return ret;
    }
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    *out = ctx;
    return 0;
}

int pc_tls_expect(SSL *ssl, const char *host)
{
    uint8_t address[16];
    bool numeric = inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
    if (numeric)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1 ? 0 : -EINVAL;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(ssl, host) != 1 || SSL_set_tlsext_host_name(ssl, host) != 1)
        return -EINVAL;
    return 0;
}

int pc_tls_peer_key(const SSL *ssl, uint8_t key[32])
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    EVP_PKEY *pkey = cert ? X509_get0_pubkey(cert) : NULL;
    uint8_t raw[32];
    size_t len = sizeof raw;
    if (!pkey || EVP_PKEY_get_id(pkey) != EVP_PKEY_ED25519 || EVP_PKEY_get_raw_public_key(pkey, raw, &len) != 1 ||
        len != sizeof raw)
        return PC_E_NOTFOUND;
    memcpy(key, raw, sizeof raw);
    return 0;
}
