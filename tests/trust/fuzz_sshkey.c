/*
 * Any bytes as a line of a .pub file and as a key blob; what was read must be written so that it reads as the same
 * key.
 */
#include "trust/sshkey.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_again(struct pc_sshkey *key)
{
    struct pc_sshkey *again;
    size_t len;
    const uint8_t *blob = pc_sshkey_blob(key, &len);
    if (pc_sshkey_parse_blob(blob, len, &again) != 0 || !pc_sshkey_equal(key, again))
        abort();
    pc_sshkey_free(again);
    pc_sshkey_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_sshkey *key;
    if (pc_sshkey_parse_line((const char *)data, size, &key) == 0)
        read_again(key);
    if (pc_sshkey_parse_blob(data, size, &key) == 0)
        read_again(key);
    return 0;
}
