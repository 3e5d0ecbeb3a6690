/* Fuzzes the strict reader: what it takes, jansson takes too, and understands the same. */
#include "trust/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *ours = NULL;
    char why[200] = "";
    int r = pc_json_parse((const char *)data, size, 1u << 20, &ours, (struct pc_why){why, sizeof why});
    if (r < 0) {
        if (ours || !why[0])
            abort();
        return 0;
    }
    json_t *theirs = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    if (!theirs || !json_equal(ours, theirs))
        abort();
    json_decref(ours);
    json_decref(theirs);
    return 0;
}
