/*
 * Owns how keys and certificates are made. Must not touch files or connections: texts go to the program, which keeps
 * them 0600.
 */
#include "net/pki.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_TEXT_MAX 4096
/* Clocks of hosts differ: a certificate is good from a day before it was made. */
#define BACKDATE_S (24L * 3600)

int pc_random(void *out, size_t len)
{
    return len <= INT32_MAX && RAND_bytes(out, (int)len) == 1 ? 0 : -EIO;
}

static int pem_of(BIO *bio, char **out)
{
    char *data;
    long len = BIO_get_mem_data(bio, &data);
    char *copy = len > 0 ? strndup(data, (size_t)len) : NULL;
    if (!copy)
        return -ENOMEM;
    *out = copy;
    return 0;
}

static int cert_text(X509 *cert, char **out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    int ret = bio && PEM_write_bio_X509(bio, cert) == 1 ? pem_of(bio, out) : -ENOMEM;
    BIO_free(bio);
    return ret;
}

static int key_text(EVP_PKEY *key, char **out)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    int ret = bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 ? pem_of(bio, out) : -ENOMEM;
    BIO_free(bio);
    return ret;
}

void pc_pki_free_key(char *pem)
{
    if (pem)
        OPENSSL_cleanse(pem, strlen(pem));
    free(pem);
}

/* Both texts or none. */
static int texts(X509 *cert, EVP_PKEY *key, char **cert_pem, char **key_pem)
{
    char *c = NULL, *k = NULL;
    int ret = cert_text(cert, &c);
    if (ret == 0)
        ret = key_text(key, &k);
    if (ret < 0) {
        free(c);
        return ret;
    }
    *cert_pem = c;
    *key_pem = k;
    return 0;
}

static int set_serial(X509 *cert)
{
    uint8_t raw[16];
    if (pc_random(raw, sizeof raw) < 0)
        return 0;
    raw[0] = (raw[0] & 0x7f) | 0x40; /* positive, and always 16 bytes long */
    BIGNUM *n = BN_bin2bn(raw, sizeof raw, NULL);
    int ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
    BN_free(n);
    return ok;
}

static int set_name(X509_NAME *name, const char *cn)
{
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0) == 1;
}

static int add_ext(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    int ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

/* A certificate with everything but issuer, extensions and signature. NULL: no memory, or a bad name. */
static X509 *blank(const char *cn, EVP_PKEY *key, unsigned days)
{
    X509 *cert = X509_new();
    if (cert && X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        set_name(X509_get_subject_name(cert), cn) && X509_gmtime_adj(X509_getm_notBefore(cert), -BACKDATE_S) &&
        X509_time_adj_ex(X509_getm_notAfter(cert), (int)days, 0, NULL) && X509_set_pubkey(cert, key) == 1)
        return cert;
    X509_free(cert);
    return NULL;
}

static int finish_authority(X509 *cert, EVP_PKEY *key)
{
    return X509_set_issuer_name(cert, X509_get_subject_name(cert)) == 1 &&
           add_ext(cert, cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
           add_ext(cert, cert, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           add_ext(cert, cert, NID_subject_key_identifier, "hash") && X509_sign(cert, key, EVP_sha256()) > 0;
}

int pc_pki_authority(const char *name, unsigned days, char **cert_pem, char **key_pem)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? blank(name, key, days) : NULL;
    int ret = cert && finish_authority(cert, key) ? texts(cert, key, cert_pem, key_pem) : -EINVAL;
    X509_free(cert);
    EVP_PKEY_free(key);
    return ret;
}

/* "DNS:a,IP:b"; a name with anything but letters, digits, dots, hyphens and colons could smuggle in another one. */
static int names_text(const char *const *names, size_t n, char out[NAMES_TEXT_MAX])
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t raw[16];
        bool ip = inet_pton(AF_INET, names[i], raw) == 1 || inet_pton(AF_INET6, names[i], raw) == 1;
        if (!*names[i] ||
            strspn(names[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") != strlen(names[i]))
            return -EINVAL;
        int len = snprintf(out + at, NAMES_TEXT_MAX - at, "%s%s:%s", i ? "," : "", ip ? "IP" : "DNS", names[i]);
        if (len < 0 || (size_t)len >= NAMES_TEXT_MAX - at)
            return -EINVAL;
        at += (size_t)len;
    }
    return n ? 0 : -EINVAL;
}

static int finish_server(X509 *cert, X509 *ca, EVP_PKEY *ca_key, const char *names)
{
    return X509_set_issuer_name(cert, X509_get_subject_name(ca)) == 1 &&
           add_ext(cert, ca, NID_basic_constraints, "critical,CA:FALSE") &&
           add_ext(cert, ca, NID_key_usage, "critical,digitalSignature") &&
           add_ext(cert, ca, NID_ext_key_usage, "serverAuth") && add_ext(cert, ca, NID_subject_alt_name, names) &&
           add_ext(cert, ca, NID_authority_key_identifier, "keyid") && X509_sign(cert, ca_key, EVP_sha256()) > 0;
}

static X509 *cert_of(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return cert;
}

static EVP_PKEY *key_of(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return key;
}

int pc_pki_server(const char *ca_cert_pem, const char *ca_key_pem, const char *const *names, size_t n, unsigned days,
                  char **cert_pem, char **key_pem)
{
    char alt[NAMES_TEXT_MAX];
    int ret = names_text(names, n, alt);
    if (ret < 0)
        return ret;
    X509 *ca = cert_of(ca_cert_pem);
    EVP_PKEY *ca_key = key_of(ca_key_pem), *key = EVP_EC_gen("P-256");
    X509 *cert = ca && ca_key && key ? blank("portcullis-server", key, days) : NULL;
    ret = cert && finish_server(cert, ca, ca_key, alt) ? texts(cert, key, cert_pem, key_pem) : -EINVAL;
    X509_free(cert);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return ret;
}

int64_t pc_pki_left(const char *cert_pem, int64_t now)
{
    X509 *cert = cert_of(cert_pem);
    ASN1_TIME *then = ASN1_TIME_set(NULL, (time_t)now);
    int days = 0, seconds = 0;
    int ok = cert && then && ASN1_TIME_diff(&days, &seconds, then, X509_get0_notAfter(cert)) == 1;
    ASN1_TIME_free(then);
    X509_free(cert);
    return ok ? (int64_t)days * 86400 + seconds : INT64_MIN;
}

int pc_pki_link(const uint8_t seed[32], EVP_PKEY **key, X509 **cert)
{
    EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    X509 *c = k ? blank("portcullis-link", k, 36500) : NULL;
    if (!c || X509_set_issuer_name(c, X509_get_subject_name(c)) != 1 || X509_sign(c, k, NULL) <= 0) {
        X509_free(c);
        EVP_PKEY_free(k);
        return -EINVAL;
    }
    *key = k;
    *cert = c;
    return 0;
}
