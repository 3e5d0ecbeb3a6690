/* Fuzzes both envelopes: what parses must come out the same when it is written and read again. */
#include "trust/envelope.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_envelope e, again;
    struct pc_host_envelope h;
    char *text;
    size_t len;
    if (pc_envelope_parse((const char *)data, size, &e) == 0) {
        if (pc_envelope_format(&e, &text, &len) < 0 || pc_envelope_parse(text, len, &again) < 0)
            abort();
        if (strcmp(e.sha256, again.sha256) != 0 || e.signatures != again.signatures)
            abort();
        free(text);
        pc_envelope_clear(&e);
        pc_envelope_clear(&again);
    }
    if (pc_host_envelope_open((const char *)data, size, "ring", &h) == 0) {
        if (strlen(h.id) != PC_HOST_ID_LEN || h.document[h.len] != 0)
            abort();
        pc_host_envelope_clear(&h);
    }
    return 0;
}
