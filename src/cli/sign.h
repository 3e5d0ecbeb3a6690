#ifndef PC_CLI_SIGN_H
#define PC_CLI_SIGN_H
#include "trust/sshsig.h"

#include <stddef.h>

/*
 * Has ssh-keygen sign bytes with a key file (a private key, or the .pub of a key in an agent or a security key; NULL:
 * the first of the usual ones in ~/.ssh), so that passphrases, agents, PINs and touches work as everywhere. The
 * terminal is ssh-keygen's meanwhile. *sig, malloc'd, was verified over these bytes; *signer is its key, to be freed.
 * Prints why not and returns an exit status.
 */
int pc_sign(const char *key, const char *ns, const void *data, size_t len, char **sig, size_t *sig_len,
            struct pc_sshkey **signer, char used[4096]);
#endif
