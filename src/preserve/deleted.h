#ifndef PC_PRESERVE_DELETED_H
#define PC_PRESERVE_DELETED_H
#include "preserve/rollback.h"

/*
 * Everything that was deleted or replaced beneath a folder, newest first, whether or not anybody was convicted of it;
 * and putting it back. It only ever adds: where something else stands now, that stays. Doing it again changes nothing.
 *
 * What comes back is what the file held when it lost its name, unless an act since then is on record as having damaged
 * its content before: then it is what it held before the damage.
 */
struct pc_sweep;
struct pc_deleted {
    uint64_t version; /* what would come back; 0: nothing is kept */
    uint64_t gone_ns; /* CLOCK_REALTIME: when it was deleted, replaced, or moved out */
    uint64_t by;      /* process that did it (pc_store_get_process), 0: not known */
    uint64_t size;
    bool is_dir;
    bool kept;        /* false: the content can no longer be had */
    char path[4096];  /* raw bytes, relative to the folder */
};

/*
 * folder: on volume vol; beneath: only paths that begin with this (a folder in it that is gone itself), "" for all;
 * since_ns: nothing that happened before (CLOCK_REALTIME). 0, -ENOMEM, PC_E_NOTFOUND (no such volume).
 */
int pc_sweep_new(struct pc_store *s, int vol, const struct pc_fh *folder, const char *beneath, uint64_t since_ns,
                 struct pc_sweep **out);
void pc_sweep_free(struct pc_sweep *w);
/* Looks at most at 64 rows. 1: *out is the next one; 2: none among these, call again; 0: the end; or an error. */
int pc_sweep_next(struct pc_sweep *w, struct pc_deleted *out);
/*
 * Puts d (the newest answer of pc_sweep_next) back beneath root_fd, at d->path without its first `skip` bytes: the
 * folder itself with 0, or any other. Makes the folders that are missing, as they were. dry: says what would be done.
 * The step is always filled in: kind PC_STEP_NOTHING without words means that it is there already, with words that
 * something else stands there. Returns done->result. An error that ends the whole work (a full or failing disk) is
 * -ENOSPC, -EDQUOT, -EROFS, -EIO or -ENOMEM.
 */
int pc_sweep_restore(struct pc_sweep *w, const struct pc_deleted *d, int root_fd, size_t skip, bool dry,
                     struct pc_step *done);
#endif
