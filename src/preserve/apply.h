#ifndef PC_PRESERVE_APPLY_H
#define PC_PRESERVE_APPLY_H
#include "preserve/plan.h"

/* apply.c: single steps. 0, -EAGAIN (MOVE_BACK: something else has to move first), or an error. */
int pc_apply_step(struct pc_plan *p, struct pc_pstep *st);
/* Sends a waiting MOVE_BACK through the vault, so that others can pass. */
int pc_apply_stage(struct pc_plan *p, struct pc_pstep *st);
/* Journals what the times of a folder are now. */
int pc_apply_note_times(struct pc_plan *p, int vol, const struct pc_fh *fh, const struct pc_meta *m);

/*
 * One rename that never replaces: plain (the target must be free) or exchanging both. chattr flags that forbid it, of
 * either inode or folder, are lifted for it; what arrives at `to` has its own again.
 */
int pc_swap_in(int from_dir, const char *from, int to_dir, const char *to, bool exchange);
/* Lifts immutable and append-only (told in *attrs) / sets these again. */
int pc_lift(int dirfd, const char *name, uint32_t *attrs);
int pc_drop_back(int dirfd, const char *name, uint32_t attrs);
/* The index stops counting this inode as live (it is in the vault now). */
int pc_forget(struct pc_store *s, int vol, const struct pc_fh *fh);

/* restore.c */
/*
 * To another file system: by hand, whole, under a hidden name first; it must not be there. Regular files and symlinks.
 */
int pc_copy_out(struct pc_store *s, uint64_t version, int to_dir, const char *to_name);
/*
 * The same folder seen through the vault's own mount: only there a rename from the vault is possible. A descriptor, or
 * -EXDEV: it is on another file system.
 */
int pc_through_vault(const struct pc_volume *v, int to_dir);
#endif
