/* Owns the counts of addresses.h. Must not know connections. */
#include "net/addresses.h"

#include "base/err.h"
#include "net/pki.h"

#include <netinet/in.h>
#include <string.h>

int pc_addresses_init(struct pc_addresses *a)
{
    memset(a, 0, sizeof *a);
    return pc_random(a->key, sizeof a->key);
}

/* Multiply and fold: enough to hide which cell an address falls into from somebody who does not see the table. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t p = (__uint128_t)a * (b | 1);
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

uint64_t pc_address_hash(const struct pc_addresses *a, const struct sockaddr *from)
{
    uint64_t v = 0;
    if (from->sa_family == AF_INET)
        v = ((const struct sockaddr_in *)from)->sin_addr.s_addr;
    else if (from->sa_family == AF_INET6)
        memcpy(&v, &((const struct sockaddr_in6 *)from)->sin6_addr, sizeof v);
    uint64_t h = mix(mix(v ^ a->key[0], a->key[1]), a->key[0] ^ from->sa_family);
    return h ? h : 1;
}

int pc_addresses_enter(struct pc_addresses *a, uint64_t hash, uint32_t max)
{
    uint16_t *n = &a->count[hash % PC_ADDRESS_CELLS];
    if ((max && *n >= max) || *n == UINT16_MAX)
        return PC_E_LIMIT;
    (*n)++;
    return 0;
}

void pc_addresses_leave(struct pc_addresses *a, uint64_t hash)
{
    if (hash && a->count[hash % PC_ADDRESS_CELLS])
        a->count[hash % PC_ADDRESS_CELLS]--;
}
