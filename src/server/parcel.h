#ifndef PC_SERVER_PARCEL_H
#define PC_SERVER_PARCEL_H
/*
 * A logged order ready to be sent: everything of its bundle (PROTOCOL.md 1.8) but what depends on the checkpoint and
 * the host. Kept in a small cache, because one order goes to very many hosts at about the same time.
 */
#include "server/logview.h"
#include "net/conn.h"
#include "trust/order.h"

#define PC_PARCELS 64

struct pc_parcel {
    char sha256[PC_SHA256_HEX + 1];
    uint64_t index;
    struct pc_order order;
    char *head; /* {"order":{...},"entry":"...","index":N,  */
    size_t head_len;
    struct pc_host_ref *hosts; /* of a rooted order, in its order; else NULL: order.host */
    struct pc_host_tree *tree;
    struct pc_frame *frame; /* the last one made, for any host: of a list order */
    uint64_t frame_generation;
    uint64_t used; /* for the cache: when last */
};
struct pc_parcels {
    struct pc_parcel *slot[PC_PARCELS];
    uint64_t clock;
};
/* From the cache or the store. Lives until the next call of this function. PC_E_NOTFOUND, PC_E_STATE: not logged yet;
 * -errno. */
int pc_parcel_get(struct pc_parcels *cache, struct pc_store *store, const char *order_sha256, struct pc_parcel **out);
void pc_parcels_clear(struct pc_parcels *cache);
const struct pc_host_ref *pc_parcel_hosts(const struct pc_parcel *p);
/* Position of a host, or -1. */
int64_t pc_parcel_position(const struct pc_parcel *p, const struct pc_host_ref *host);
/*
 * The bundle for the host at a position, that has seen the published tree (deliver.c sees to that), so that one frame
 * does for all hosts of a list (the position does not matter there). *out: one reference for the caller. PC_E_RANGE:
 * not in the published tree yet; PC_E_NOTFOUND: position -1.
 */
int pc_parcel_bundle(struct pc_parcel *p, struct pc_logview *log, int64_t position, struct pc_frame **out);
/* Appends `"place":{...}` of a host among hosts. */
int pc_add_place(const struct pc_host_tree *tree, uint32_t index, struct pc_buf *out);
/* Appends the JSON text of an owners' envelope. */
int pc_add_envelope(const struct pc_envelope *e, struct pc_buf *out);
/* Appends `"entry":"b64","index":N` for entry `index` of the log. */
int pc_add_entry(struct pc_store *store, uint64_t index, struct pc_buf *out);
#endif
