/* Any bytes as the text of a verifier key or a private key: what is taken has one spelling. */
#include "trust/note_key.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[PC_NOTE_KEY_TEXT_MAX + 16], again[PC_NOTE_KEY_TEXT_MAX];
    struct pc_vkey pub;
    struct pc_skey secret;
    size_t n = size < sizeof text - 1 ? size : sizeof text - 1;
    memcpy(text, data, n);
    text[n] = 0;
    if (pc_vkey_parse(text, &pub) == 0 && (pc_vkey_format(&pub, again, sizeof again) < 0 || strcmp(text, again) != 0))
        abort();
    if (pc_skey_parse(text, &secret) == 0 &&
        (pc_skey_format(&secret, again, sizeof again) < 0 || strcmp(text, again) != 0))
        abort();
    return 0;
}
