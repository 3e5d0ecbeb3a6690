#ifndef PC_PRESERVE_PLAN_H
#define PC_PRESERVE_PLAN_H
#include "preserve/internal.h"
#include "preserve/journal.h"

/*
 * Inside of a rollback plan. A place is a folder handle and a name; a file is an inode. Places and files are found by
 * number; PC_NONE is none. `want` is what was there before the incident, `cur` what the incident's acts left there.
 */
#define PC_NONE UINT32_MAX

struct pc_place {
    int vol;
    struct pc_fh parent;
    char *name;
    bool known;   /* want is set */
    bool assumed; /* want is "nothing" only because the first act here is the arrival of another name */
    bool taken;   /* its inode is to be moved back from here */
    uint32_t want, cur;
    uint32_t prev;      /* who was here before the last arrival */
    struct pc_fh live;  /* what was here when the plan was made */
    uint32_t move;      /* step that moves its inode back here */
    uint32_t next_live; /* next place where the same inode is */
};

struct pc_pfile {
    int vol;
    struct pc_fh fh;
    bool is_dir;
    bool acted;   /* an act names it (else it is only the folder of one) */
    bool created; /* by the incident */
    bool own;     /* made by the actor before the attack: its acts until then are left as they are */
    bool content; /* its content was changed, or it lost its name */
    bool meta;    /* its metadata was changed */
    bool lost;    /* changed before anything was preserved */
    uint64_t before, last_act;
    uint64_t entries_ns; /* a folder: when the incident first acted on something in it, 0 never */
    uint32_t at;         /* place of the last act on it */
    uint32_t cur;        /* place the acts left it at */
    uint32_t home;       /* a place that wants it */
    uint32_t live;       /* first of the places where it is */
    struct pc_fh now;    /* the inode that stands for it after a restore; len 0: itself */
};

struct pc_table {
    uint32_t *slot, cap, used;
};

struct pc_pstep {
    uint8_t kind;
    bool beside;    /* somebody else's work is at the place: ours goes beside it */
    bool by_handle; /* no place wants the inode, but names outside the incident have it: restore it in place */
    bool fix;       /* link: the linked inode's content or metadata has to be restored, too */
    bool done;
    uint32_t place, file;
    uint32_t from;       /* MOVE_BACK: place it is at; RECREATE: PC_NONE */
    uint64_t from_aside; /* MOVE_BACK: out of the vault */
    struct pc_fh link;   /* RECREATE: another name for this inode; len 0: from the version */
    struct pc_fh expect; /* what is at the place; len 0: nothing */
    uint64_t aside;      /* number reserved in the vault for this step */
    uint64_t kept;       /* version of what was there, for steps in place */
    uint64_t version;
    int result;
    const char *why;
};

/* What a crash or a cycle of moves left in aside/. */
struct pc_aside {
    int vol;
    uint64_t id;
    bool taken, half_made; /* half_made: ours, never put in place */
    struct pc_fh fh;
};

struct pc_plan {
    struct pc_store *s;
    uint64_t incident, rollback;
    uint64_t since_ns; /* what the actor made for itself before this is not part of the attack */
    bool undo;
    struct pc_place *places;
    struct pc_pfile *files;
    struct pc_pstep *steps;
    uint32_t n_places, n_files, n_steps, cap_places, cap_files, cap_steps;
    struct pc_table by_place, by_fh;
    struct pc_aside *asides;
    uint32_t n_asides, cap_asides;
    struct pc_step shown;
    /* Undo: the journal rows, newest first. */
    struct pc_jrow *rows;
    uint32_t n_rows, cap_rows;
};

/* replay.c */
int pc_plan_replay(struct pc_plan *p);
int pc_plan_place(struct pc_plan *p, int vol, const struct pc_fh *parent, const char *name, uint32_t *out);
uint32_t pc_plan_find_file(const struct pc_plan *p, int vol, const struct pc_fh *fh);
/* The same, but PC_NONE unless an act of the incident names it. */
uint32_t pc_plan_acted(const struct pc_plan *p, int vol, const struct pc_fh *fh);
/* Grows an array of *cap items so that one more fits. */
int pc_plan_grow(void **items, uint32_t *cap, uint32_t used, size_t item);

/* place.c: what is there now. */
/* Folder of a handle, following folders that were removed to what stands in their place. O_RDONLY descriptor or error.
 */
int pc_plan_folder(struct pc_plan *p, int vol, const struct pc_fh *fh);
int pc_place_folder(struct pc_plan *p, uint32_t place);
/* Handle of what is at a name. 0, -ENOENT. */
int pc_name_fh(int dirfd, const char *name, struct pc_fh *out);
/* 0 (out->len 0 when nothing is there, or its folder is gone) or an error. */
int pc_place_now(struct pc_plan *p, uint32_t place, struct pc_fh *out);
/*
 * Where the inode is now, if one of the places it can be at has it: a place of the plan (added when new), or a number
 * in aside/. PC_E_NOTFOUND when it is at none of them (deleted, or out of reach).
 */
int pc_plan_locate(struct pc_plan *p, uint32_t file, uint32_t *place, uint64_t *aside);
/* Names of the inode besides our own link in the vault; 0 when it is gone. */
uint32_t pc_plan_names(struct pc_plan *p, int vol, const struct pc_fh *fh);
int pc_plan_list_asides(struct pc_plan *p);
/* Printable path of a place; always says something. */
void pc_place_path(struct pc_plan *p, uint32_t place, char *out, size_t cap);

/* compare.c */
enum pc_same { PC_SAME, PC_SAME_CONTENT, PC_DIFFERENT };
/* Compares what is at dirfd/name with a version. enum pc_same or an error. why names the first difference. */
int pc_compare(struct pc_store *s, int dirfd, const char *name, uint64_t version, const char **why);

int pc_compare_fd(struct pc_store *s, int fd, uint64_t version, const char **why); /* fd: O_PATH */

/* prepare.c: makes a finished inode in the vault's aside/ folder, to be renamed into place. */
int pc_prepare(struct pc_store *s, struct pc_volume *v, uint64_t version, uint64_t aside);
int pc_prepare_link(struct pc_volume *v, const struct pc_fh *fh, uint64_t aside);
/* Restores content and metadata into the inode itself. */
int pc_restore_in_place(struct pc_store *s, struct pc_volume *v, const struct pc_fh *fh, uint64_t version);
int pc_restore_meta(struct pc_store *s, struct pc_volume *v, const struct pc_fh *fh, uint64_t version);
/* A version that has the metadata of now; its content need not be its own. */
int pc_keep_meta(struct pc_store *s, struct pc_volume *v, const struct pc_fh *fh, const struct pc_fh *parent,
                 const char *name, uint64_t *version);
/* A version of the inode as it is now, with content of its own in any mode. */
int pc_keep_now(struct pc_store *s, struct pc_volume *v, const struct pc_fh *fh, const struct pc_fh *parent,
                const char *name, uint64_t *version);

/* apply.c / undo.c: one step each. */
int pc_apply_run(struct pc_plan *p, void (*progress)(void *, const struct pc_step *, uint32_t, uint32_t), void *arg);
int pc_undo_run(struct pc_plan *p, void (*progress)(void *, const struct pc_step *, uint32_t, uint32_t), void *arg);
int pc_plan_add_step(struct pc_plan *p, const struct pc_pstep *st);
#endif
