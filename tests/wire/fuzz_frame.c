/* Fuzzes a stream of frames as a peer reads it: every head is whole, known and within its bound, or the stream ends there. */
#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum pc_frame_type type;
    uint32_t body;
    while (pc_frame_peek(data, size, PC_FRAME_MAX, &type, &body) == 0) {
        uint8_t head[PC_FRAME_HEAD];
        pc_frame_head(head, type, body);
        if (memcmp(head, data, sizeof head) != 0 || body >= PC_FRAME_MAX || pc_frame_name(type)[0] == 0)
            abort();
        if (size - PC_FRAME_HEAD < body)
            break;
        data += PC_FRAME_HEAD + body;
        size -= PC_FRAME_HEAD + body;
    }
    return 0;
}
