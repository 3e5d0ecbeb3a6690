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

/* --- rings_kept.c: "INDEX\n{...frame without its log part" under a key -------------------------------------------- */
struct pc_parcel;
struct pc_order;
void pc_ring_key(const char *sha256, uint64_t run, uint32_t ring, char out[120]); /* run 0 unless standing */
void pc_run_key(const char *sha256, char out[120]);
/* A kept frame: its text behind the index; memory is the caller's. PC_E_NOTFOUND. */
int pc_ring_kept(struct pc_store *s, const char *key, void **memory, const char **text, uint64_t *index);
/* The newest run of a standing order; PC_E_NOTFOUND: it never ran. 0 of any other. */
int pc_run_current(struct pc_store *s, const struct pc_order *o, uint64_t *run);
/* To all hosts of a ring that are here (UINT32_MAX: of the order), or when it is published. */
void pc_ring_send(struct pc_server *s, struct pc_parcel *p, const char *key, enum pc_frame_type type, uint32_t ring);

/* States that nothing follows. */
bool pc_rings_order_over(const char *state);
bool pc_rings_part_over(const char *state);
#endif
