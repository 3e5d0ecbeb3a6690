#ifndef PC_TRUST_SSHSIG_H
#define PC_TRUST_SSHSIG_H
#include "trust/sshkey.h"

/*
 * SSH signatures as `ssh-keygen -Y sign` makes them (OpenSSH's PROTOCOL.sshsig), with the keys of sshkey.h. The answer
 * is that of OpenSSH 9.2 `ssh-keygen -Y verify` for one key and any well or badly formed file, except where we are
 * stricter:
 *
 *   - keys that sshkey.h refuses (RSA under 3072 bits or with a useless exponent, DSA, certificates);
 *   - Ed25519 signatures whose number S is not reduced: RFC 8032 forbids them, OpenSSH 9.2 takes those below 2^253;
 *   - armour longer than PC_SSHSIG_ARMOUR_MAX;
 *   - a hardware key that nobody touched, unless PC_SSHSIG_UNTOUCHED is given (ssh-keygen never asks).
 *
 * Never is anything accepted that ssh-keygen refuses. Version 0 and a reserved field that is not empty are accepted, as
 * there; the signature covers neither of them, and PROTOCOL.sshsig wants the field ignored.
 */
#define PC_SSHSIG_ARMOUR_MAX 65536
#define PC_SSHSIG_DIGEST_MAX 64

/* Accept signatures of hardware keys without the user-presence flag, as authorized_keys' no-touch-required does. */
#define PC_SSHSIG_UNTOUCHED 1u

struct pc_sshsig_info {
    uint8_t sk_flags;    /* as signed; 0 for a key that is not hardware */
    uint32_t sk_counter; /* the security key's own count of signatures, when it keeps one */
    bool hardware, webauthn, user_present, user_verified;
    char hash[8]; /* "sha512": what the message was hashed with */
};

/*
 * Checks that `armored` is a signature by `key` over the msg_len bytes of msg, made for namespace ns (not empty). info
 * may be NULL. A hardware key must have been touched. Returns 0, or PC_E_SYNTAX       not a signature file, or a field
 * in it is malformed PC_E_TRAILING     bytes after the end of the signature or of a field in it PC_E_UNSUPPORTED  a
 * later version, or an algorithm that is not supported (pc_sshsig_algorithm says which) PC_E_NAMESPACE    made for
 * another namespace PC_E_KEY          made with another key, or with one that is too weak PC_E_SIGNATURE    not a
 * signature over this message PC_E_PRESENCE     a hardware key made it without being touched PC_E_LIMIT        longer
 * than PC_SSHSIG_ARMOUR_MAX -EINVAL (no key, empty namespace), -ENOMEM
 */
int pc_sshsig_verify(const char *armored, size_t len, const void *msg, size_t msg_len, const char *ns,
                     const struct pc_sshkey *key, struct pc_sshsig_info *info);
/* The key that a signature names, before anything is checked or trusted. To be freed. Errors of pc_sshsig_parse. */
int pc_sshsig_key(const char *armored, size_t len, struct pc_sshkey **out);
/*
 * The key type that a signature names, printable, also when it is not supported: for messages. 0, PC_E_SYNTAX or
 * PC_E_LIMIT.
 */
#define PC_SSHSIG_ALGORITHM_SIZE 64
int pc_sshsig_algorithm(const char *armored, size_t len, char out[PC_SSHSIG_ALGORITHM_SIZE]);

/*
 * The same in two steps, for a message that does not fit in memory: parse says what to hash it with, verify takes the
 * digest. Parsing checks every field but the signature's inner ones: PC_E_SYNTAX, PC_E_TRAILING, PC_E_UNSUPPORTED,
 * PC_E_KEY (too weak), PC_E_LIMIT, -ENOMEM.
 */
struct pc_sshsig;
int pc_sshsig_parse(const char *armored, size_t len, struct pc_sshsig **out);
/* NULL is fine. */
void pc_sshsig_free(struct pc_sshsig *sig);
/* "sha256" or "sha512", also names for EVP_get_digestbyname. Static. */
const char *pc_sshsig_hash(const struct pc_sshsig *sig);
/* The key that it names; the signature's own. */
const struct pc_sshkey *pc_sshsig_signer(const struct pc_sshsig *sig);
/*
 * digest: of the message. flags: 0 or PC_SSHSIG_UNTOUCHED. Errors as above; -EINVAL also for a digest of wrong
 * length.
 */
int pc_sshsig_verify_digest(const struct pc_sshsig *sig, const uint8_t *digest, size_t digest_len, const char *ns,
                            const struct pc_sshkey *key, unsigned flags, struct pc_sshsig_info *info);
#endif
