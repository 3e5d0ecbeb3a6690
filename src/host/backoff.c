/* Owns the arithmetic of trying again. Draws no random numbers and waits for nothing. */
#include "host/backoff.h"

uint32_t pc_backoff_ms(uint32_t failed, uint32_t max_ms, uint32_t random)
{
    uint32_t cap = failed < 20 ? PC_BACKOFF_FIRST_MS << failed : max_ms;
    if (cap > max_ms)
        cap = max_ms;
    return (uint32_t)((uint64_t)cap * random >> 32);
}
