/* Fuzzes the order document; what is accepted must keep what a host relies on. */
#include "trust/order.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_order o;
    char why[200];
    if (pc_order_parse(data, size, &o, why, sizeof why) != PC_CHECK_OK) {
        if (!why[0])
            abort();
        return 0;
    }
    uint64_t sum = 0;
    for (uint32_t k = 0; k < o.rings; k++)
        sum += o.ring[k].hosts;
    if (sum != o.hosts || o.hosts == 0 || o.expires <= o.not_before || !(o.row->classes & 1u << o.class_) ||
        o.rooted == (o.host != NULL))
        abort();
    if (pc_order_ring_of(&o, o.hosts - 1) != o.rings - 1 || pc_order_ring_of(&o, o.hosts) != o.rings)
        abort();
    for (uint32_t i = 0; o.host && i < o.hosts; i++)
        if (pc_order_position(&o, &o.host[i], NULL) != i)
            abort();
    pc_order_clear(&o);
    return 0;
}
