#ifndef PC_PRESERVE_SWEEP_H
#define PC_PRESERVE_SWEEP_H
#include "preserve/deleted.h"
#include "preserve/internal.h"

/* Inside of a sweep (deleted.c finds, put_back.c puts back). */
enum { PC_SWEEP_PAGE = 64, PC_SWEEP_DEPTH = 256 };

/* Moved-out folders looked into (some 4 MiB); of more, what was in them is not found. */
enum { PC_SWEEP_BRANCHES = 1 << 16 };

/* A folder that was moved out, with all that was beneath it. */
struct pc_branch {
    struct pc_fh fh;
    uint64_t gone_ns, by;
};

struct pc_sweep_row {
    uint64_t version, gone_ns, by;
    struct pc_fh parent, fh;
    char name[PC_NAME_CAP];
};

struct pc_sweep {
    struct pc_store *s;
    int vol;
    struct pc_fh folder;
    char folder_path[PC_PATH_CAP]; /* on the private mount; "" when it is not known */
    char beneath[PC_PATH_CAP];
    uint64_t since_ns;
    bool left; /* second part: further names of what is gone, and names taken from inodes that live on */
    bool within; /* third part: what was in folders that were moved out */
    struct pc_branch *branch;
    uint32_t branches, branch_cap, branch_at; /* those before branch_at are done */
    char child[PC_NAME_CAP];                  /* the last one seen in it; "": none yet */
    int64_t cursor, cursor_ns;
    struct pc_sweep_row row[PC_SWEEP_PAGE];
    int rows, at;
    /* The folder last asked for. */
    struct pc_fh place_fh;
    char place[PC_PATH_CAP];
    int place_result;
    bool place_known;
    uint64_t gone[PC_SWEEP_DEPTH]; /* versions of its folders that are gone, the innermost first; 0: not known */
    uint32_t n_gone;
    uint64_t rollback; /* journal of what was put back; 0: nothing yet */
};
#endif
