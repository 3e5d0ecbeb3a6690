#ifndef PC_CLI_NET_LOG_WALK_H
#define PC_CLI_NET_LOG_WALK_H
#include "cli/net/fleet.h"
#include "cli/net/log_roots.h"
#include "trust/checkpoint.h"
#include "trust/tile.h"

/*
 * The whole log, fetched entry by entry and put together again: whoever walks it to the end has seen every entry, and
 * knows that exactly these have the root that the log signed.
 */
/* Entries of the largest log that is walked: a quarter of a byte of memory each (log_roots.h), 64 MiB. */
#define PC_LOG_WALK_MAX (UINT64_C(1) << 28)

struct pc_log_walk {
    struct pc_fleet *fleet;
    const struct pc_checkpoint *head;
    /* One entry, in order. Nonzero ends the walk and is its result. */
    int (*entry)(void *ctx, uint64_t index, const void *data, size_t len);
    void *ctx;
    /* of the first n entries, for n up to the index of the entry that is shown, later up to head->size */
    struct pc_log_roots roots;
};
/*
 * Prints what is wrong and returns an exit status; PC_EXIT_FAILED also when tiles, entries and checkpoint do not belong
 * together. Draws progress when it takes long. pc_log_walk_clear frees the roots.
 */
int pc_log_walk(struct pc_log_walk *w);
/*
 * The root of the first `size` entries that were walked, size <= the index of the entry that is shown. May ask the
 * server. An exit status after words.
 */
int pc_log_walk_root(struct pc_log_walk *w, uint64_t size, uint8_t out[PC_HASH_LEN]);
void pc_log_walk_clear(struct pc_log_walk *w);

/*
 * The newest checkpoint as the server shows it, and what it says. Signed by the log of the trust file and cosigned by
 * `needed` of its witnesses, or an exit status after words.
 */
int pc_log_newest(struct pc_fleet *f, unsigned needed, struct pc_buf *note, struct pc_checkpoint *out);
/*
 * A hash tile or an entry bundle; of a full one that stands in for a partial one, the caller takes the beginning. An
 * exit status.
 */
int pc_log_tile(struct pc_fleet *f, const struct pc_tile *tile, struct pc_buf *out);
#endif
