#ifndef PC_PRESERVE_INTERNAL_H
#define PC_PRESERVE_INTERNAL_H
/*
 * What the files of src/preserve share and nobody else may see: the store, its volumes, the index handle. See each
 * .c file's opening comment for who owns which part.
 */
#include "preserve/index.h"
#include "preserve/record.h"
#include "preserve/rollback.h"
#include "preserve/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum { PC_MAX_VOLUMES = 64 };

struct pc_volume {
    int id;      /* row in the index: the same after every restart */
    int tree_fd; /* the root of the private mount, opened for reading: open_by_handle_at refuses an O_PATH descriptor */
    int vault_fd; /* <mount root>/.portcullis/<store id>, holds the lock */
    char vault_id[17];
    char mount_point[PC_PATH_CAP], fs_type[32];
    enum pc_mode mode;
    bool can_clone;
    uint64_t copy_limit_bytes;
    struct pc_store_stats n; /* running totals; saved with every flush, counted anew after a crash */
    uint64_t versions_before; /* newest version when the volume was added: what came before, nobody watched */
    int64_t tend_after;      /* retention has looked at everything retired up to here */
    uint64_t aged_bytes;     /* superseded so long ago that the budget is for them; counted anew at ... */
    uint64_t aged_due_ns;    /* ... mono */
};

struct pc_store {
    struct pc_index ix;
    struct pc_store_opts opts;
    char state_dir[PC_PATH_CAP];
    char store_id[17];
    bool recount; /* the last run did not close the index */
    _Atomic uint64_t next_object;
    /* Copier threads hold it shared while they use a volume; adding and dropping volumes takes it exclusively. */
    pthread_rwlock_t lock;
    struct pc_volume *vols[PC_MAX_VOLUMES];
    pc_on_link_fn on_link;
    void *on_link_arg;
    uint64_t acts_due_ns;  /* mono: when old acts are looked for again */
    uint64_t asides_after; /* the last rollback whose aside/ had to wait, in this round: see asides.c */
    struct pc_buf scratch; /* encoded metadata on its way into the index */
};

struct pc_volume *pc_volume_get(const struct pc_store *s, int vol); /* NULL: no such volume now */
/* Remembers that preservation on v works (r >= 0) or not; returns r. */
int pc_volume_note(struct pc_volume *v, int r, const char *doing);

/* vault.c: the directory tree on the file system. */
int pc_vault_open(struct pc_store *s, struct pc_volume *v);
void pc_vault_close(struct pc_volume *v); /* also closes tree_fd */
enum pc_area { PC_AREA_OBJECTS, PC_AREA_LINKS, PC_AREA_ASIDE };
struct pc_object_path {
    char text[48];
};
struct pc_object_path pc_object_path(enum pc_area area, uint64_t id);
uint64_t pc_object_next_id(struct pc_store *s);
int pc_object_new(const struct pc_volume *v);
/* Writes the record, gives the file its name (a fresh id), freezes it if asked. The name is the commit point. */
int pc_object_seal(struct pc_store *s, const struct pc_volume *v, int fd, const struct pc_record *rec, bool freeze,
                   uint64_t *id);
/* For an object sealed without freezing: completes the record, then freezes. */
int pc_object_finish(const struct pc_volume *v, uint64_t id, const struct pc_record *rec);
/* Writes the record of an inode that is (only) in the links area, and freezes it. */
int pc_link_finish(const struct pc_volume *v, uint64_t id, const struct pc_record *rec);
int pc_object_open(const struct pc_volume *v, enum pc_area area, uint64_t id); /* O_RDONLY */
int pc_object_remove(const struct pc_volume *v, enum pc_area area, uint64_t id);
int pc_object_read_record(const struct pc_volume *v, int fd, enum pc_area area, uint64_t id, struct pc_record *rec);
/* Hard link of the inode into the links area; EXDEV is avoided by going through the vault's own mount. */
int pc_link_new(struct pc_store *s, const struct pc_volume *v, const struct pc_fh *fh, uint64_t *id);

/* evict.c: makes room, one batch at most. 0 when something was evicted, -ENOSPC when nothing may go. */
int pc_evict_for_space(struct pc_store *s, struct pc_volume *v, uint64_t need_bytes);
uint64_t pc_space_free(const struct pc_volume *v); /* bytes; 0 when it cannot be told */
/* True when at least `bytes` may be written, and a file made, without touching the reserves. */
bool pc_space_left(const struct pc_store *s, const struct pc_volume *v, uint64_t bytes);

/* files.c: rows. */
struct pc_row {
    uint64_t id, version, link; /* link: object in the links area, 0 none */
    uint64_t creator;
    bool gone;
    uint8_t how; /* of the current version, 0 when there is none */
    uint64_t object, size;
    int64_t mtime_ns, ctime_ns;
    struct pc_fh fh, parent;
    char name[PC_NAME_CAP];
};
int pc_row_by_fh(struct pc_store *s, int vol, const struct pc_fh *fh, struct pc_row *out);
int pc_row_put(struct pc_store *s, int vol, const struct pc_fh *fh, const struct pc_fh *parent, const char *name,
               uint64_t creator, struct pc_row *row);
/* The next row of a file that is not gone, its version no newer. 1: *id; 2: none in this part; 0: no more; an error. */
int pc_row_next_there(struct pc_store *s, int vol, uint64_t newest_version, uint64_t *cursor, uint64_t *id);
int pc_row_set_link(struct pc_store *s, uint64_t file, uint64_t link);
int pc_row_set_gone(struct pc_store *s, uint64_t file);

struct pc_ver {
    uint64_t id, file, object, actor, time_ns, size, alloc_bytes;
    int vol;
    uint8_t how;
    bool packed;
    mode_t mode;
    int64_t mtime_ns, ctime_ns, retired_ns;
};
int pc_ver_get(struct pc_store *s, uint64_t id, struct pc_ver *out);
int pc_ver_meta(struct pc_store *s, uint64_t id, struct pc_meta *out);
/* Inserts v (id is filled) with this metadata and makes it current in row, retiring the one before. */
int pc_ver_add(struct pc_store *s, struct pc_row *row, struct pc_ver *v, const struct pc_meta *meta);
int pc_ver_retire(struct pc_store *s, uint64_t version, uint64_t now_ns);
/* The content of this version can no longer be had (it was written to before it was copied). */
int pc_ver_lost(struct pc_store *s, uint64_t version);
/* Bytes of a shared object are counted once, at its newest version: takes them from this one. */
int pc_ver_move_alloc(struct pc_store *s, struct pc_ver *old);
int pc_ver_set_alloc(struct pc_store *s, uint64_t version, uint64_t alloc_bytes);
/* The current version, and all others of this file that rest on the link with the same content (renames and the like
 * make new versions), get content of their own. */
int pc_ver_give_object(struct pc_store *s, const struct pc_row *row, uint64_t object, uint8_t how,
                       uint64_t alloc_bytes);
/* What tells the content of a LENGTH version from another. get: 1 and *out, 0 when it is not known, or an error. */
int pc_ver_set_prefix(struct pc_store *s, uint64_t version, const struct pc_prefix *p);
int pc_ver_prefix(struct pc_store *s, uint64_t version, struct pc_prefix *out);
/* None of the file's versions that rest on its link has its content any more. */
int pc_ver_links_lost(struct pc_store *s, uint64_t file);
/* From now on it is a version whose content can no longer be had; v: of which only the length was kept (LENGTH). */
int pc_ver_length_lost(struct pc_store *s, uint64_t version);
/* The number of the newest version of all. */
int pc_ver_newest(struct pc_store *s, uint64_t *out);
/* A LENGTH version gets an object whose beginning is its content. */
int pc_ver_share_object(struct pc_store *s, uint64_t version, uint64_t object);
/* For rebuilding: the time of its record; and that `keep` stays current, `older` being from before it. */
int pc_ver_set_time(struct pc_store *s, uint64_t version, uint64_t time_ns);
int pc_ver_make_current(struct pc_store *s, struct pc_row *row, uint64_t keep, uint64_t older);
/* The file's ctime has changed by what we did to it, and by nothing else. */
int pc_ver_set_ctime(struct pc_store *s, uint64_t version, int64_t ctime_ns);
/*
 * Deletes the row, and its object when no other version shares it: then *freed grows by its bytes; else another of
 * those versions is counted for them.
 */
int pc_ver_drop(struct pc_store *s, const struct pc_ver *v, uint64_t *freed);
#endif
