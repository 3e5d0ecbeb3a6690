#ifndef TESTS_TRUST_FORGE_H
#define TESTS_TRUST_FORGE_H
#include "base/buf.h"

#include <openssl/evp.h>

/*
 * Makes SSH keys and SSHSIG signatures of every kind, good ones and ones that no ssh-keygen would make: hardware keys
 * in software, with any flags and any client text. Exits when libcrypto fails: nothing to test then.
 */
struct forge_key {
    const char *type; /* the SSH name */
    EVP_PKEY *pkey;
    const char *application; /* hardware keys */
    struct pc_buf blob;
};

/* A new random key. application: for hardware keys, else NULL. rsa_bits: for "ssh-rsa". */
struct forge_key forge_key(const char *type, const char *application, int rsa_bits);
void forge_key_free(struct forge_key *key);
/* "type base64", to be freed. */
char *forge_line(const struct forge_key *key);

struct forge_how {
    const char *ns, *hash;
    const char *rsa; /* "rsa-sha2-512" when NULL */
    uint8_t flags;
    uint32_t counter;
    const char *origin;     /* not NULL: a webauthn signature */
    const char *client;     /* the client text to claim and sign; NULL: the right one */
    const char *extensions; /* webauthn; NULL: none */
};
/* The bytes of a signature over msg; to be freed with pc_buf_free. */
struct pc_buf forge_sign(const struct forge_key *key, const struct forge_how *how, const void *msg, size_t len);
/* Bytes as a signature file; to be freed. */
char *forge_armour(const void *raw, size_t len);
#endif
