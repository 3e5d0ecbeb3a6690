#ifndef PC_TRUST_SSHKEY_IMPL_H
#define PC_TRUST_SSHKEY_IMPL_H
#include "trust/sshkey.h"
#include "trust/sshwire.h"

#include <openssl/evp.h>

/* What a key is made of: for sshkey.c, which parses it, and sshverify.c, which checks signatures with it. */
enum pc_sshkey_family { PC_FAMILY_ED25519, PC_FAMILY_ECDSA, PC_FAMILY_RSA };

struct pc_sshkey_kind {
    const char *names[3]; /* the first is the name to write; OpenSSH reads the others as the same kind */
    const char *label;
    bool label_is_name; /* OpenSSH takes the label, in any case, for the type name inside a blob */
    bool hardware;
    enum pc_sshkey_family family;
    const char *curve, *group; /* ECDSA: the SSH name and libcrypto's */
    const char *digest;        /* ECDSA: what is hashed with (RFC 5656 section 6.2.1) */
};

struct pc_sshkey {
    const struct pc_sshkey_kind *kind;
    EVP_PKEY *pkey;
    struct pc_buf blob;         /* canonical */
    struct pc_span application; /* hardware: what the key was made for ("ssh:"), inside blob */
};

#define PC_SK_USER_PRESENT 0x01
#define PC_SK_USER_VERIFIED 0x04
/* What a signature of a hardware key says besides. */
struct pc_sk_details {
    uint8_t flags;
    uint32_t counter;
    bool webauthn;
};

/*
 * Checks a signature blob (type name, signature, and for hardware keys flags and counter) of key over data. 0 and
 * *details (all zero for other keys); PC_E_SYNTAX, PC_E_TRAILING, PC_E_UNSUPPORTED (RSA with SHA-1), PC_E_SIGNATURE,
 * -ENOMEM.
 */
int pc_sshkey_verify(const struct pc_sshkey *key, struct pc_span blob, struct pc_span data,
                     struct pc_sk_details *details);
#endif
