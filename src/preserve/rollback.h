#ifndef PC_PRESERVE_ROLLBACK_H
#define PC_PRESERVE_ROLLBACK_H
#include "preserve/store.h"

/*
 * Rollback of an incident: makes every place (folder handle + name) its actor touched equal to what was there before
 * the actor's first act on it. It only ever adds: the damaged version of a file is preserved first, what the actor
 * created is moved aside into the vault, so the rollback itself can be undone. Convergent: applying it twice changes
 * nothing; after a crash at any point applying it again finishes it.
 *
 * The desired state is computed by replaying the acts in order over places keyed by (folder handle, name), so that
 * renamed folders need no special case.
 */
struct pc_plan;
enum pc_step_kind {
    PC_STEP_RESTORE = 1,
    PC_STEP_RECREATE,
    PC_STEP_MOVE_BACK,
    PC_STEP_SET_ASIDE,
    PC_STEP_META,
    PC_STEP_NOTHING
};
struct pc_step {
    uint8_t kind;
    bool is_dir;
    char path[4096];   /* where, printable (pc_escape_name) */
    char from[4096];   /* MOVE_BACK: where it is now */
    uint64_t version;  /* what will be there */
    int result;        /* after apply: 0 verified, else an error */
    char why[160];     /* after apply: words for the error */
    uint64_t time_ns;  /* pc_restore_path: when that version was preserved (CLOCK_REALTIME) */
};
int pc_plan_make(struct pc_store *s, uint64_t incident, struct pc_plan **out);
uint32_t pc_plan_count(const struct pc_plan *p);
/* Step i, or NULL. Valid until the next call with this plan (paths are made when asked for). */
const struct pc_step *pc_plan_step(const struct pc_plan *p, uint32_t i);
/*
 * What somebody outside the incident modified or put there since is never overwritten nor moved: theirs stays at the
 * name, the restored file goes beside it as NAME.portcullis-restored (.1, .2 ...), the step's result is PC_E_CHANGED.
 * An inode with several names is restored in place, so that its names stay one file. Folders get the times back that
 * they had before the incident, when a version from before is on record and nobody else changed their entries since.
 * The incident's row is the caller's to update afterwards; until it is PC_INC_ROLLED_BACK its pre-images never go.
 *
 * Applies and verifies by SHA-256 and metadata. progress may be NULL. Returns 0 only if every step verified;
 * PC_E_UNVERIFIED when some did not (see the steps). -ENOSPC stops cleanly: nothing half-written stays visible.
 */
int pc_plan_apply(struct pc_plan *p, void (*progress)(void *arg, const struct pc_step *, uint32_t done, uint32_t total),
                  void *arg);
void pc_plan_free(struct pc_plan *p);
/*
 * A plan that reverses the newest rollback of the incident (same guarantees); nothing happens before pc_plan_apply.
 * PC_E_NOTFOUND: there is none that was not undone. The restored versions stay in the vault until the retention ends.
 */
int pc_rollback_undo(struct pc_store *s, uint64_t incident, struct pc_plan **out);
/*
 * One file: the version current at at_ns (0: the newest version that differs from what is there now) to `to`, or back
 * to its own place. PC_E_NOTFOUND: there is no such version, or its content was not kept; done->why says which.
 */
int pc_restore_path(struct pc_store *s, int vol, const struct pc_fh *parent, const char *name, const char *path,
                    uint64_t at_ns, int to_dirfd, const char *to_name, struct pc_step *done);
#endif
