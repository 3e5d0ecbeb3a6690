/* Vault records: what anybody with raw access to the disk may have written. What decodes must encode to the same bytes.
 */
#include "preserve/record.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_record r;
    pc_record_init(&r);
    if (pc_record_decode(data, size, &r) == 0) {
        struct pc_buf again;
        pc_buf_init(&again, PC_RECORD_MAX);
        if (pc_record_encode(&r, &again) == 0 && (again.len != size || memcmp(again.data, data, size) != 0))
            abort();
        pc_buf_free(&again);
    }
    pc_record_free(&r);
    return 0;
}
