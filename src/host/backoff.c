/* Owns the arithmetic of trying again. Draws no random numbers and waits for nothing. */
#include "host/backoff.h"

uint32_t pc_backoff_ms(uint32_t failed, uint32_t random)
{
    uint32_t cap = failed < 9 ? PC_BACKOFF_FIRST_MS << failed : PC_BACKOFF_MAX_MS;
    if (cap > PC_BACKOFF_MAX_MS)
        cap = PC_BACKOFF_MAX_MS;
    return (uint32_t)((uint64_t)cap * random >> 32);
}
