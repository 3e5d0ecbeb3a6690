#ifndef PC_HOST_BACKOFF_H
#define PC_HOST_BACKOFF_H
#include <stdint.h>

#define PC_BACKOFF_FIRST_MS 1000u
/*
 * How long to wait before try number `failed` + 1, in milliseconds: full jitter, so that 50,000 hosts which lost their
 * server in one moment come back spread over the whole time and not in waves. `random` is any 32 random bits. Between 0
 * and min(max_ms, 1 s * 2^failed).
 */
uint32_t pc_backoff_ms(uint32_t failed, uint32_t max_ms, uint32_t random);
#endif
