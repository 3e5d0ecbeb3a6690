#ifndef PC_SERVER_RINGS_H
#define PC_SERVER_RINGS_H
/* Rings (PROTOCOL.md 1.10) and runs of standing orders: what the server assembles and logs, and hosts check. */
#include "server/server.h"

/* Is the next ring of the order open by now, or the order to be halted? 1: the order has rings or runs, a host that
 * connects may need one of them; 0: it has none. -errno: it cannot be read. */
int pc_rings_look(struct pc_server *s, const struct pc_store_order *row);
/* Sends a host what it may have missed of such an order: its run, and its ring if that is open. -errno: they
 * cannot be read. */
int pc_rings_pending(struct pc_link *l, const char *sha256);
/* States that nothing follows. */
bool pc_rings_order_over(const char *state);
bool pc_rings_part_over(const char *state);
/* Compare-and-set in a job; lost: looks again. */
void pc_rings_set_state(struct pc_server *s, const struct pc_store_order *o, const char *to);
#endif
