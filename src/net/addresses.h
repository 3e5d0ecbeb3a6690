#ifndef PC_NET_ADDRESSES_H
#define PC_NET_ADDRESSES_H
/*
 * How many connections each address has: a fixed table of counts by a keyed hash of the address, so that it needs no
 * memory per address and a peer cannot choose whom it collides with. Two addresses in one cell share its limit; with
 * 16,384 cells that matters only under attack.
 */
#include <stdint.h>
#include <sys/socket.h>

#define PC_ADDRESS_CELLS 16384

struct pc_addresses {
    uint64_t key[2];
    uint16_t count[PC_ADDRESS_CELLS];
};
/* Draws the key. -EIO. */
int pc_addresses_init(struct pc_addresses *a);
/* IPv4: the address; IPv6: its /64, for a host has as many addresses in there as it likes. Other families: one cell.
 * Never 0. */
uint64_t pc_address_hash(const struct pc_addresses *a, const struct sockaddr *from);
/* Counts one more. PC_E_LIMIT (not counted): there are max already (0: no limit). */
int pc_addresses_enter(struct pc_addresses *a, uint64_t hash, uint32_t max);
void pc_addresses_leave(struct pc_addresses *a, uint64_t hash); /* 0: nothing */
#endif
