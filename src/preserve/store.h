#ifndef PC_PRESERVE_STORE_H
#define PC_PRESERVE_STORE_H
#include "base/fh.h"
#include "preserve/prefix.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The preservation store: for each guarded file system a vault (objects: pre-images) and, in the state directory, one
 * index over all of them. One struct pc_store lives in one thread (the guard's main thread); pc_vault_copy_* below may
 * be called from copier threads.
 *
 * Vocabulary: volume = one guarded file system; file = an inode identity (handle) on a volume; version = content and
 * metadata of a file at one time, held by an object; act = one change one process made; incident = a convicted actor's
 * acts. Object 0 / version 0 mean none.
 */
struct pc_store;

enum pc_how {
    PC_HOW_CLONE = 1, /* FICLONE: no space, no time */
    PC_HOW_COPY,      /* sparse copy; */
    PC_HOW_LINK,      /* hard link to the live inode: keeps it against unlink and rename-over, not against writes */
    PC_HOW_LENGTH,    /* append: only the old length is needed to undo, and what tells that the rest is what it was */
    PC_HOW_META,      /* directory, symlink, device, fifo, empty file: metadata alone */
};
/* Whether a version held this way has its content in the live file alone, so that a write to that takes it. */
static inline bool pc_how_is_live(uint8_t how)
{
    return how == PC_HOW_LINK || how == PC_HOW_LENGTH;
}
enum pc_mode { PC_MODE_AHEAD = 1, PC_MODE_ON_OPEN };

struct pc_store_opts {
    uint64_t retention_ns;       /* versions older than this may go */
    uint64_t space_budget_bytes; /* per volume: bytes of superseded versions (allocated blocks); 0: see percent */
    uint64_t reserve_bytes;      /* keep this much free on the file system: evict, then stop preserving and say so */
    /* The same as parts of each file system, used where not 0. Both budget forms 0: a tenth. */
    uint32_t space_budget_percent, reserve_percent;
    bool compress;               /* PC_HOW_COPY objects in ahead mode: zstd */
    /*
     * What was superseded less than this ago does not count towards the budget, nor go for it: a verdict may still make
     * it a pre-image of an attack. Only while twice the reserve is free.
     */
    uint64_t undecided_ns;
    /* on-open: files with a creator, just written, no larger, are copied, not linked; 0: none */
    uint64_t copy_young_bytes;
};

struct pc_volume_opts {
    const char *mount_point; /* where the file system is mounted (its mount root) */
    const char *fs_type;     /* "xfs", "ext4", "btrfs", ... */
    /* private detached clone of that mount (open_tree): all vault access goes through it; not owned */
    int tree_fd;
    enum pc_mode mode;
    uint64_t copy_limit_bytes; /* larger files are not copied while an opener waits */
};

struct pc_store_stats {
    uint64_t files, versions, objects, object_bytes, superseded_bytes, evicted;
    uint64_t undecided_bytes; /* kept although the budget is exceeded, because superseded a moment ago */
    bool degraded;     /* preservation is not working now ... */
    char why[128];     /* ... because */
};

/* What the index knows about a file. */
struct pc_known {
    uint64_t file;     /* index row */
    uint64_t version;  /* current version (what a rollback of "now" would restore) */
    uint8_t how;       /* enum pc_how of that version */
    mode_t mode;       /* type and permissions */
    uint64_t size;
    int64_t mtime_ns, ctime_ns; /* of the live file when captured: equal now means unchanged since */
    uint64_t creator;  /* actor that created the file while we watched, else 0 */
    bool gone;         /* deleted; the last version is kept */
    bool linked;       /* one of the inode's names is the vault's own, whatever the current version rests on */
    struct pc_fh fh, parent;
    char name[256];    /* raw bytes, NUL-terminated */
};

/*
 * state_dir: absolute, exists, 0700. Opens or creates <state_dir>/index.db (0600, WAL), checks its schema version. A
 * damaged index is moved aside (index.db.damaged-TIME) and a new one made; then *rebuild is set: call pc_store_rebuild
 * after the volumes are added.
 */
int pc_store_open(const char *state_dir, const struct pc_store_opts *o, struct pc_store **out, bool *rebuild);
void pc_store_close(struct pc_store *s);
void pc_store_set_opts(struct pc_store *s, const struct pc_store_opts *o);
/*
 * Opens or creates the vault "<mount root>/.portcullis/<store id>/" (0700, root), locks it, finds out whether FICLONE
 * works, clears half-made objects. Returns the volume number (> 0) or an error: -EROFS, -ENOSPC, -EBUSY (another guard
 * holds this vault), PC_E_UNSUPPORTED.
 */
int pc_store_add_volume(struct pc_store *s, const struct pc_volume_opts *o);
void pc_store_drop_volume(struct pc_store *s, int vol); /* unmounted or shutting down: closes everything on it */
bool pc_store_can_clone(const struct pc_store *s, int vol);
/* Directory name at the mount root that is never guarded and never preserved: ".portcullis". */
extern const char pc_vault_dir_name[];
/* The vault's directories, for the guard to put marks on: calls fn(fd) for each. */
int pc_store_each_vault_dir(struct pc_store *s, int vol, int (*fn)(void *arg, int dirfd), void *arg);
/* Puts objects found in the vault that the index does not know back into the index. Returns how many, or an error. */
int64_t pc_store_rebuild(struct pc_store *s, int vol);

/*
 * fn is called again and again while a long call of this thread's is at work (a rollback's plan, one large file):
 * whoever watches the thread learns so that it lives. It must be quick, and not use the store. NULL: nobody is.
 */
void pc_store_breathe(void (*fn)(void *arg), void *arg);

/* What the index knows of a file: by its handle, by where it is, by its number in the index. 0 or PC_E_NOTFOUND. */
int pc_store_lookup(struct pc_store *s, int vol, const struct pc_fh *fh, struct pc_known *out);
int pc_store_lookup_name(struct pc_store *s, int vol, const struct pc_fh *parent, const char *name,
                         struct pc_known *out);
int pc_store_lookup_id(struct pc_store *s, uint64_t file, struct pc_known *out);

/*
 * Makes what the live file is now its current version (clone, copy, link or metadata as volume mode, size and type
 * ask). fd: the live file, O_RDONLY (or O_PATH for non-regular); parent/name: where it is. The version before stays
 * until retention takes it. creator is recorded when the file is new to the index. *version may be NULL. PC_E_CHANGED:
 * the file changed under the copy (call again later). -ENOSPC after evicting all that may go.
 */
int pc_store_capture(struct pc_store *s, int vol, int fd, const struct pc_fh *fh, const struct pc_fh *parent,
                     const char *name, uint64_t creator, uint64_t *version);
/*
 * Of a file that has the size and times of its current version: is the content another one all the same? 1; 0: it is
 * the same, as far as can be told at once (of a copy, by a sample); or an error.
 */
int pc_store_is_other(struct pc_store *s, int vol, const struct pc_fh *fh);
/* Metadata changed only: new version sharing the object. */
int pc_store_capture_meta(struct pc_store *s, int vol, int fd, const struct pc_fh *fh, uint64_t *version);
/* Index bookkeeping for names. */
int pc_store_moved(struct pc_store *s, int vol, const struct pc_fh *fh, const struct pc_fh *parent, const char *name);
/* on-open: turns the link object into the kept content */
int pc_store_gone(struct pc_store *s, int vol, const struct pc_fh *fh);
/*
 * Looks for a file that the index has as being there, and that is not: the next one after *cursor (0 at first). old:
 * only of those that were not preserved since the volume was added. 1: *fh is it, to be handed to pc_store_gone once
 * events that may tell of it were read; 2: none among the rows looked at (a few), call again; 0: there are no more; or
 * an error. *cursor is moved.
 */
int pc_store_next_missing(struct pc_store *s, int vol, bool old, uint64_t *cursor, struct pc_fh *fh);
/*
 * Content of a version, read-only, positioned at 0. Descriptor, or PC_E_NOTFOUND / PC_E_CORRUPT / -errno. PC_HOW_META:
 * PC_E_UNSUPPORTED.
 */
int pc_store_open_version(struct pc_store *s, uint64_t version);

/*
 * on-open mode, copier threads: copies fd's content (sparse, or clone where possible) into a new object of the volume,
 * while the opener waits. No index access. *object identifies it for pc_store_adopt_object, which the main thread calls
 * to make it the file's pre-image version. how: PC_HOW_COPY, or PC_HOW_LENGTH (records the size, and a hash that tells
 * whether that much of the file is the same still).
 */
struct pc_vault_copy {
    uint64_t object;
    uint8_t how;
    uint64_t size;
    int64_t mtime_ns, ctime_ns;
    struct pc_prefix prefix; /* PC_HOW_LENGTH */
};
int pc_vault_copy_now(struct pc_store *s, int vol, int fd, uint8_t how, struct pc_vault_copy *out);
/* Waits until such a copy, with its name, is on the disk. Any thread. 0, PC_E_NOTFOUND or -errno. */
int pc_vault_sync_copy(struct pc_store *s, int vol, const struct pc_vault_copy *copy);
/*
 * Waits until all that is in the volume's vault, and on its file system, is on the disk: it may take seconds. Any
 * thread. 0 or -errno.
 */
int pc_vault_sync(struct pc_store *s, int vol);
/*
 * on-open mode, in quiet times: the next file after *cursor (0 at first) whose current version rests on the live file
 * (out->how) or that has a hard link of ours (out->linked), that is of 1 to max_size bytes (INT64_MAX at most), and
 * that was preserved, or last written, before before_ns (CLOCK_REALTIME; INT64_MAX: any). 1: *out is it; 2: none among
 * the rows looked at (256 at most), call again; 0: there are no more; or an error. *cursor is moved.
 */
int pc_store_next_link(struct pc_store *s, int vol, uint64_t *cursor, uint64_t max_size, uint64_t before_ns,
                       struct pc_known *out);
/* Whether there is room for such a copy: within the space budget, twice the reserve and 10 % of the inodes free. */
bool pc_store_room_ahead(struct pc_store *s, int vol, uint64_t bytes);
/* A copy failed: for the volume's stats (copier threads may not touch them). */
void pc_store_copy_failed(struct pc_store *s, int vol, int err);
/* Whether this version was made since the volume was added: all that happened to its file since then was watched. */
bool pc_store_watched(struct pc_store *s, int vol, uint64_t version);
/* Whether the content of a version can be had (folders and the like have none to lose). 1, 0 or an error. */
int pc_store_is_kept(struct pc_store *s, uint64_t version);
/*
 * The file was opened for writing and could not be copied: when of its current version only the length was kept, that
 * is lost, since what is written now is not told from an append afterwards. 0 or an error.
 */
int pc_store_written_unkept(struct pc_store *s, int vol, const struct pc_fh *fh);
/*
 * The file was written, and its current version rests on nothing but the live file: then none that does has its content
 * any more, also when size and times were put back to what they had been. Not for an append. 0 or an error.
 */
int pc_store_overwritten(struct pc_store *s, int vol, const struct pc_fh *fh);
int pc_store_adopt_object(struct pc_store *s, int vol, const struct pc_fh *fh, const struct pc_fh *parent,
                          const char *name, const struct pc_vault_copy *copy, uint64_t *version);

/*
 * on-open mode: fn is called just before a file's content comes to rest on the live inode alone (a write would then
 * destroy it), with the open file and its inode number. Whoever remembers that a file may be written without asking
 * forgets it there. again: it was called for this file before, and the file still has its link.
 */
typedef void (*pc_on_link_fn)(void *arg, int vol, int fd, uint64_t ino, bool again);
void pc_store_on_link(struct pc_store *s, pc_on_link_fn fn, void *arg);

/*
 * on-open mode: takes the vault's own hard link of a live file away, for programs that refuse files with other links
 * (gzip, xz, logrotate). Call after its content was copied and adopted; the next capture links it again. *ctime_ns:
 * what the file's ctime is by that, when it was as the index has it; else, and when there was no link, 0. NULL: for one
 * who waits for it; the index is not written out first, and what a crash leaves of that is seen to at the next start.
 * 0 also when there is no link. PC_E_STATE: the current version still rests on the link, copy first. PC_E_REFUSED: it
 * is the only name left.
 */
int pc_store_unlink_link(struct pc_store *s, int vol, const struct pc_fh *fh, int64_t *ctime_ns);
/*
 * The index follows the ctime that taking the link away has changed, so that the file is not preserved (and linked)
 * anew. Call some 20 ms later: where clocks are coarse, what is written right after the change has the same ctime.
 * Reads the file and its copy. 0; PC_E_CHANGED: the file is not what was preserved; PC_E_STATE: it rests on the live
 * file.
 */
int pc_store_follow_ctime(struct pc_store *s, int vol, const struct pc_fh *fh, int64_t ctime_ns);

/* One change by one process. Kept for every act on protected files, so that a late verdict can undo all of it. */
struct pc_act_rec {
    uint64_t time_ns; /* CLOCK_REALTIME */
    uint64_t actor;   /* process row id, see pc_store_put_process */
    /* 1 modify 2 create 3 delete 4 rename 5 replaced-by-rename 6 metadata (same numbers as enum pc_op) */
    uint8_t op;
    bool is_dir;
    int vol;
    struct pc_fh fh;            /* the file acted on (rename: the moved one; replaced: the one that lost its name) */
    struct pc_fh parent;        /* where it was, before the act (create: where it is) */
    char name[256];
    struct pc_fh new_parent;    /* rename: where it went */
    char new_name[256];
    uint64_t before;            /* version before the act; 0: none (created) */
    uint8_t score;
    uint32_t evidence;
};
int pc_store_record_act(struct pc_store *s, const struct pc_act_rec *a, uint64_t *act);
/*
 * Whether the change of this version of this file is on record already: enum pc_change, or an error. `run` is the first
 * process number of this run of the guard (see struct pc_process); what nobody was seen doing counts as seen.
 */
enum pc_change {
    PC_CHANGE_UNSEEN,  /* no act takes this version */
    PC_CHANGE_EARLIER, /* a process of an earlier run did it, and no incident claims it */
    PC_CHANGE_SEEN,    /* of this run, or of an incident that is not rolled back */
};
int pc_store_change_of(struct pc_store *s, int vol, const struct pc_fh *fh, uint64_t version, uint64_t run);
/* Processes that acted (or are ancestors of one that did). id is unique over restarts: see pc_store_new_run. */
struct pc_process {
    uint64_t id, parent; /* parent 0: not recorded */
    pid_t pid;
    uint32_t uid;
    uint64_t start_ns;   /* CLOCK_REALTIME */
    /* argv: words separated by NUL-escaped spaces, already printable */
    char exe[256], argv[1024], cgroup[256], user[64];
    char exe_sha256[65];
};
int pc_store_put_process(struct pc_store *s, const struct pc_process *p); /* insert or update */
/*
 * A number for this run of the guard: its processes are numbered from *first on, above all that are on record. (Two
 * runs may begin within one second, or the clock may be set back; a number used twice would give acts to a stranger.)
 */
int pc_store_new_run(struct pc_store *s, uint64_t now_real_ns, uint64_t *first);

/* OBSERVED: nothing was stopped, and its pre-images are kept no longer than any other. */
enum pc_incident_state { PC_INC_FROZEN = 1, PC_INC_RELEASED, PC_INC_ENDED, PC_INC_ROLLED_BACK, PC_INC_OBSERVED };
struct pc_incident {
    uint64_t id, started_ns, verdict_ns, frozen_ns, closed_ns;
    uint64_t root; /* process id of the convicted subtree's root */
    uint8_t state;
    bool rolled_back;
    uint32_t damaged, preserved, in_flight, processes;
    char summary[256];
};
int pc_store_incident_open(struct pc_store *s, struct pc_incident *inc); /* fills inc->id (small, increasing) */
int pc_store_incident_update(struct pc_store *s, const struct pc_incident *inc);
/* All past and future acts of this process belong to the incident. */
int pc_store_incident_add_process(struct pc_store *s, uint64_t incident, uint64_t process);
/*
 * Adds what the process of this number did in earlier runs of the guard, under other numbers: itself (the same pid,
 * started at the same time) and whatever descended from it then. Only the attack is added: acts from a second before
 * the first damaging one (score 50 or more) after since_ns. run: first process number of this run. Returns how many
 * acts were added, or an error; *first_ns, touched only when there are any, is the time of that damaging act.
 */
int pc_store_incident_add_earlier(struct pc_store *s, uint64_t incident, uint64_t process, uint64_t run,
                                  uint64_t since_ns, uint64_t *first_ns);
/*
 * This one act belongs to the (observed) incident, unless it belongs to one already. A verdict may take it away again.
 */
int pc_store_incident_take_act(struct pc_store *s, uint64_t incident, uint64_t act);
int pc_store_incident_get(struct pc_store *s, uint64_t id, struct pc_incident *out);
/* Newest first; fn returning non-zero stops. */
int pc_store_incidents(struct pc_store *s, int (*fn)(void *arg, const struct pc_incident *), void *arg);
int pc_store_incident_acts(struct pc_store *s, uint64_t id, int (*fn)(void *arg, const struct pc_act_rec *), void *arg);
int pc_store_incident_processes(struct pc_store *s, uint64_t id, int (*fn)(void *arg, const struct pc_process *),
                                void *arg);
int pc_store_get_process(struct pc_store *s, uint64_t id, struct pc_process *out);
/* Timeline notes ("gate down", "frozen", "released by root"). */
int pc_store_incident_note(struct pc_store *s, uint64_t incident, uint64_t time_ns, const char *text);
int pc_store_incident_notes(struct pc_store *s, uint64_t id, int (*fn)(void *arg, uint64_t time_ns, const char *text),
                            void *arg);

/* A number of the caller's, kept with the index under a name. 0; PC_E_NOTFOUND; or an error. */
int pc_store_remember(struct pc_store *s, const char *name, uint64_t value);
int pc_store_recall(struct pc_store *s, const char *name, uint64_t *out);
/* Writes what is pending to disk. The guard calls it when quiet and before answering a command. */
int pc_store_flush(struct pc_store *s);
/* One bounded step (<= budget_ns) of retention and eviction; pre-images of open incidents never go. 1: more to do. */
int pc_store_tend(struct pc_store *s, uint64_t now_real_ns, uint64_t budget_ns);
/* degraded also while less than the reserve is free, whether or not something failed yet. */
int pc_store_volume_stats(struct pc_store *s, int vol, struct pc_store_stats *out);

/* Versions of whatever has been at this place, newest first (history). */
struct pc_version_info {
    uint64_t version, time_ns, size, actor;
    uint8_t how;
    mode_t mode;
    int64_t mtime_ns;
    bool current;
    char path[4096];
};
int pc_store_history(struct pc_store *s, int vol, const struct pc_fh *parent, const char *name, const char *path,
                     int (*fn)(void *arg, const struct pc_version_info *), void *arg);
#endif
