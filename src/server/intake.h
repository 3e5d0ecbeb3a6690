#ifndef PC_SERVER_INTAKE_H
#define PC_SERVER_INTAKE_H
/* What intake.c offers besides the requests of server.h. */
#include "server/server.h"
#include "trust/envelope.h"
#include "trust/order.h"

#include <jansson.h>

/* What POST /v1/orders brings. */
struct pc_order_body {
    struct pc_envelope e;
    struct pc_order order;
    struct pc_host_ref *hosts; /* all, in their order */
    uint32_t n;
};
/* Takes "hosts" out of the body; of PC_CHECK_OK or not, *out (empty before) is to be cleared. */
enum pc_check pc_order_body_read(json_t *body, struct pc_order_body *out, char *why, size_t why_len);
void pc_order_body_clear(struct pc_order_body *b);

/* --- stops.c ------------------------------------------------------------------------------------------------------ */
/* If its quorum signed it, sends the stop to all of its hosts that are connected here. false: it did not. */
bool pc_stop_send(struct pc_server *s, const struct pc_order_body *b);
/*
 * Lets other processes send it too: body is kept in the store and they are told, ahead of all other writing. then is
 * called once, when that is done, or failed. PC_E_NOTFOUND: there are no other processes; PC_E_LIMIT, -ENOMEM: it
 * cannot be written now. then is not called after an error.
 */
int pc_stop_announce(struct pc_server *s, const char *sha256, const void *body, size_t len, void (*then)(void *ctx),
                     void *ctx);
/* It is in the log, or will not be: what was kept for others may go. */
void pc_stop_forget(struct pc_server *s, const char *sha256);

/* Highest sequence of an order that is in the log; PC_KEY_SEQUENCE also counts those that wait for approvals. */
#define PC_KEY_SEQUENCE_LOGGED "sequence-logged"

/* Highest sequence ever taken; 0: none. */
int pc_sequence_seen(struct pc_store *s, uint64_t *out);
#endif
