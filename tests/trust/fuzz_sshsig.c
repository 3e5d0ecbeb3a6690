/*
 * Any bytes as a signature file, verified against the key that they name themselves: parsing must stay inside them, and
 * a signature is never good for another namespace.
 */
#include "base/err.h"
#include "trust/sshsig.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    char algorithm[PC_SSHSIG_ALGORITHM_SIZE], fingerprint[PC_SSHKEY_FINGERPRINT_SIZE];
    struct pc_sshkey *key;
    pc_sshsig_algorithm(text, size, algorithm);
    if (pc_sshsig_key(text, size, &key) < 0)
        return 0;
    if (pc_sshsig_verify(text, size, "This is a test, this is only a test", 35, "unittest", key, NULL) == 0 &&
        pc_sshsig_verify(text, size, "This is a test, this is only a test", 35, "other", key, NULL) != PC_E_NAMESPACE)
        abort();
    if (pc_sshkey_fingerprint(key, fingerprint) < 0)
        abort();
    pc_sshkey_free(key);
    return 0;
}
