#ifndef PC_SERVER_LOGVIEW_H
#define PC_SERVER_LOGVIEW_H
/*
 * The log as the loop's thread reads it: the checkpoint that hosts get, and proofs for it. When the trust file wants
 * witnesses, hosts get only checkpoints that enough of them cosigned: one is offered to the witnesses at a time, and
 * the newest takes its place when it is done or too old.
 */
#include "base/buf.h"
#include "store/store.h"
#include "trust/checkpoint.h"

/* Key in the store: the newest note that enough witnesses cosigned, whatever the log is by now. */
#define PC_KEY_COSIGNED "cosigned"
#define PC_OFFER_S 10 /* a checkpoint that witnesses did not cosign in this time gives way to a newer one */

struct pc_logview;

/* Which witnesses count. Borrowed arrays are copied. */
struct pc_witnesses {
    struct pc_vkey log, witness[16];
    uint32_t n, needed;
};

/* published is called when hosts can get another checkpoint. -errno, PC_E_*. */
int pc_logview_new(struct pc_store *store, const struct pc_vkey *log, void (*published)(void *ctx), void *ctx,
                   struct pc_logview **out);
void pc_logview_free(struct pc_logview *v);
void pc_logview_witnesses(struct pc_logview *v, const struct pc_witnesses *w, int64_t now);
/* There is a newer checkpoint (from the writer, or from another process). */
void pc_logview_head(struct pc_logview *v, uint64_t size, const char *note, int64_t now);
/* Reads the newest one from the store, and the newest that was cosigned (by way of another process, or before a
 * restart). */
int pc_logview_refresh(struct pc_logview *v, int64_t now);

/* The published one. size 0 and text NULL: none yet. */
uint64_t pc_logview_size(const struct pc_logview *v);
int64_t pc_logview_time(const struct pc_logview *v);
int64_t pc_logview_newest_time(const struct pc_logview *v); /* when the log signed last, published or not; 0: never */
const char *pc_logview_text(const struct pc_logview *v);
uint64_t pc_logview_generation(const struct pc_logview *v); /* counts published checkpoints */
/* What witnesses are to cosign: the offered one, or the published one. NULL: none. Its tree size in *size. */
const char *pc_logview_offered(const struct pc_logview *v, uint64_t *size);
/* A note with cosignatures for the offered checkpoint. 0; 1: it was published by this. PC_E_CHANGED: for another
 * checkpoint; PC_E_SIGNATURE; PC_E_SYNTAX. */
int pc_logview_cosign(struct pc_logview *v, const char *note, size_t len, int64_t now);

/* Appends `"proof":[...],"checkpoint":"..."` for an entry of the published tree. PC_E_RANGE: not in it yet. */
int pc_logview_add_inclusion(struct pc_logview *v, uint64_t index, struct pc_buf *out);
/* Appends `"from":N,"consistency":[...]`. A `from` of 0 or beyond the published size: from 0, without a proof. */
int pc_logview_add_consistency(struct pc_logview *v, uint64_t from, struct pc_buf *out);
/* Appends `"checkpoint":"..."` */
int pc_logview_add_checkpoint(struct pc_logview *v, struct pc_buf *out);
#endif
