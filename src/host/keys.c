/* Owns making the host's keys and certificate with OpenSSL. Stores nothing. */
#include "host/keys.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>

#define CERT_DAYS 36500L

static void free_pkey(EVP_PKEY **k)
{
    EVP_PKEY_free(*k);
}
static void free_cert(X509 **c)
{
    X509_free(*c);
}
static void free_bio(BIO **b)
{
    BIO_free(*b);
}
#define _pkey_ __attribute__((cleanup(free_pkey)))
#define _cert_ __attribute__((cleanup(free_cert)))
#define _bio_ __attribute__((cleanup(free_bio)))

int pc_key_make(uint8_t seed[32], uint8_t key[32])
{
    _pkey_ EVP_PKEY *k = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    size_t seed_len = 32, key_len = 32;
    if (!k || EVP_PKEY_get_raw_private_key(k, seed, &seed_len) != 1 ||
        EVP_PKEY_get_raw_public_key(k, key, &key_len) != 1)
        return -EIO;
    return 0;
}

int pc_key_of_seed(const uint8_t seed[32], uint8_t key[32])
{
    _pkey_ EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    size_t len = 32;
    return k && EVP_PKEY_get_raw_public_key(k, key, &len) == 1 ? 0 : -EIO;
}

int pc_key_of_pem(const char *pem, uint8_t seed[32], uint8_t key[32])
{
    _bio_ BIO *b = BIO_new_mem_buf(pem, -1);
    _pkey_ EVP_PKEY *k = b ? PEM_read_bio_PrivateKey(b, NULL, NULL, (void *)"") : NULL;
    size_t seed_len = 32, key_len = 32;
    if (!k || EVP_PKEY_id(k) != EVP_PKEY_ED25519 || EVP_PKEY_get_raw_private_key(k, seed, &seed_len) != 1 ||
        EVP_PKEY_get_raw_public_key(k, key, &key_len) != 1)
        return PC_E_SYNTAX;
    return 0;
}

static X509 *self_signed(EVP_PKEY *k, const char *name)
{
    X509 *c = X509_new();
    if (!c)
        return NULL;
    X509_NAME *subject = X509_get_subject_name(c);
    if (X509_set_version(c, 2) && ASN1_INTEGER_set(X509_get_serialNumber(c), 1) &&
        X509_gmtime_adj(X509_getm_notBefore(c), -86400L) &&
        X509_time_adj_ex(X509_getm_notAfter(c), CERT_DAYS, 0, NULL) && X509_set_pubkey(c, k) &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) &&
        X509_set_issuer_name(c, subject) && X509_sign(c, k, NULL))
        return c;
    X509_free(c);
    return NULL;
}

static char *take_text(BIO *b)
{
    char *data;
    long len = BIO_get_mem_data(b, &data);
    return len > 0 ? strndup(data, (size_t)len) : NULL;
}

int pc_key_link_files(const uint8_t seed[32], const char *name, char **key_pem, char **cert_pem)
{
    _pkey_ EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    _cert_ X509 *c = k ? self_signed(k, name) : NULL;
    _bio_ BIO *key_bio = BIO_new(BIO_s_mem());
    _bio_ BIO *cert_bio = BIO_new(BIO_s_mem());
    if (!c || !key_bio || !cert_bio || !PEM_write_bio_PKCS8PrivateKey(key_bio, k, NULL, NULL, 0, NULL, NULL) ||
        !PEM_write_bio_X509(cert_bio, c))
        return -EIO;
    _free_ char *key = take_text(key_bio);
    _free_ char *cert = take_text(cert_bio);
    if (!key || !cert)
        return -ENOMEM;
    *key_pem = TAKE_PTR(key);
    *cert_pem = TAKE_PTR(cert);
    return 0;
}

int pc_key_fingerprint(const char *pem, char out[100])
{
    _bio_ BIO *b = BIO_new_mem_buf(pem, -1);
    _cert_ X509 *c = b ? PEM_read_bio_X509(b, NULL, NULL, NULL) : NULL;
    unsigned char digest[32];
    unsigned n = 0;
    if (!c || X509_digest(c, EVP_sha256(), digest, &n) != 1 || n != sizeof digest)
        return PC_E_SYNTAX;
    for (unsigned i = 0; i < n; i++)
        snprintf(out + i * 3, 4, "%02X%s", digest[i], i + 1 < n ? ":" : "");
    return 0;
}

void pc_key_sha256(const void *data, size_t len, char out[65])
{
    uint8_t digest[32];
    SHA256(data, len, digest);
    pc_hex(digest, sizeof digest, out);
}
