/* Any bytes as a checkpoint's text: what is understood must be printed so that it is understood again. */
#include "trust/checkpoint.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_checkpoint c, again;
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, PC_CHECKPOINT_MAX);
    if (pc_checkpoint_parse((const char *)data, size, &c) < 0)
        return 0;
    if (pc_checkpoint_format(&c, &b) < 0 || pc_checkpoint_parse(b.data, b.len, &again) < 0 ||
        memcmp(&again, &c, sizeof c) != 0 || b.len > size)
        abort();
    if (pc_checkpoint_follows(&c, &again, NULL, 0) != 0)
        abort();
    return 0;
}
