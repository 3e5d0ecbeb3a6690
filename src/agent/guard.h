#ifndef PC_AGENT_GUARD_H
#define PC_AGENT_GUARD_H
#include "agent/control.h"
#include "agent/dirs.h"
#include "agent/events.h"
#include "agent/settings.h"
#include "base/clock.h"
#include "core/judge.h"
#include "kern/fan.h"
#include "kern/freeze.h"
#include "kern/perfproc.h"
#include "preserve/store.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/*
 * The guard's worker process. One main thread owns everything below except where a comment says otherwise; one thread
 * answers the kernel (gate_answer.c) and opens nothing; a few copy files while an opener waits (gate_copy.c).
 *
 * Life of one event: guard.c reads it, acts.c finds out which file and what happened, acts_judge.c asks core/judge,
 * gate.c and stop.c act on the answer, capture.c preserves the new content when the queue is empty.
 */
#define PC_VOLUMES_MAX 32
#define PC_REASONS_MAX 16

struct pc_reason {
    char text[96];
    char sample[256]; /* one path it happened to */
    uint64_t count;
};

struct pc_folder {
    char path[PATH_MAX];
    int vol; /* index into guard.volume; -1: not guarded now */
    pc_dir dir;
    uint64_t covered, uncovered;
    struct pc_reason reason[PC_REASONS_MAX];
    uint32_t reasons;
    dev_t st_dev; /* of the folder that is guarded */
    ino_t ino;
    bool astray;       /* its path names no folder, or one of another file system */
    char trouble[160]; /* why it is not guarded, or what else is to be known of it; or "" */
    bool walk_again;   /* a change was dropped for want of room: to be found by another walk */
    bool dropped;      /* no longer in the settings; the slot stays, since dirs.h counts folders by number */
};

struct pc_volume {
    int id; /* of the store; 0: unused slot */
    int tree_fd, mount_fd; /* kern/mounts.h: pc_mount_tree */
    dev_t dev, st_dev;
    struct pc_fh root_fh;
    uint64_t fsid;
    char point[PATH_MAX], type[32], vault[PATH_MAX];
    enum pc_mode mode;
    /* permission events of the gate are on: for evidence, a file at first glance, a crowd, or while an act is judged */
    bool gate_down;
    bool asks_all; /* on-open: every open is asked about, not only those of files that rest on a link (gate_files.c) */
    bool marking;  /* and these are being marked, also while their opens are asked about anyway */
    int no_cuts; /* on-open: 0, or why truncate(2) by name of files marked cannot be asked about (pc_fan_asks_cuts) */
    uint64_t durable_until_ns; /* mono: until then copies are on the disk before their opener goes on (gate_sync.c) */
    uint64_t gate_until_ns;  /* mono: goes up again then, unless there is a new reason */
    bool read_only;
    uint64_t degraded_ns;    /* mono: when preservation last did not work, as told in the event log; 0: works */
};

struct pc_counters {
    uint64_t events, acts, captures, capture_errors, overflows, gate_downs, judged, dropped_dirs;
    /* nobody was seen; on-open: the old content was not kept */
    uint64_t damaged_unseen, changed_unkept, cut_unkept, written_unkept;
    uint64_t unasked; /* on-open: came to rest on a link, and their opens cannot be held */
};

struct pc_stopped; /* a frozen incident, stop.c */
struct pc_gate;    /* gate_impl.h */
struct pc_captures; /* capture.c */
struct pc_scan;    /* scan.c */
struct pc_acts;    /* acts_impl.h */
struct pc_startup; /* startup_fds.c */
struct pc_tracer;  /* tracer.c */
struct pc_decoys;  /* decoys.c */
struct pc_links;   /* links.c */
struct pc_outside; /* outside.c */
struct pc_deletions; /* deletions.c */
struct pc_ahead; /* ahead.c */
struct pc_missing; /* missing.c */
struct pc_clients; /* clients.c */
struct pc_blocked; /* blocked.c */

struct pc_guard {
    struct pc_settings settings;
    char config_path[PATH_MAX], state_dir[PATH_MAX];
    char **extra_protect; /* --protect, kept over reloads; not owned */
    uint32_t extra_protects;
    struct pc_rule_list released;
    struct pc_events *log;
    struct pc_control *control;
    const char *at_work; /* the command that is changing files now: others that would are told to wait */
    struct pc_judge *judge;
    struct pc_store *store;
    struct pc_dirs *dirs;
    struct pc_freezer freezer;
    struct pc_gate *gate;
    struct pc_captures *captures;
    struct pc_flush *flush;
    struct pc_scan *scan;
    struct pc_acts *acts;
    struct pc_startup *startup;
    struct pc_decoys *decoys;
    struct pc_links *links;
    struct pc_outside *outside;
    struct pc_deletions *deletions;
    struct pc_ahead *ahead;
    struct pc_missing *missing;
    struct pc_clients *clients;
    struct pc_blocked *blocked;
    struct pc_tracer *tracer; /* NULL: nothing is recorded */
    struct pc_stopped *stopped; /* list */
    uint64_t ended_mono_ns; /* when processes were last killed; 0: never */
    struct pc_volume volume[PC_VOLUMES_MAX];
    struct pc_folder *folder;
    uint32_t folders;
    int watch_fd, cnproc_fd, births_fd, mounts_fd, epoll_fd, supervisor_fd;
    struct pc_perfproc *perfproc; /* in place of cnproc_fd, where the kernel refuses that; NULL: neither */
    char *event_buf; /* PC_EVENT_BUF bytes */
    uint64_t run_base; /* process ids: run_base + actor */
    uint64_t started_real_ns, random_state, beat_ns;
    struct pc_counters n;
    struct pc_slow_clock retention;
    uint64_t retention_kept_ns; /* mono: when it was written down */
    bool drained; /* no event waits: all that suspects did has been judged */
    bool was_calm; /* this turn of the loop began without any event */
    bool may_rest; /* all that was read this turn was done by programs that are proven to be harmless */
    bool opens_wait; /* suspects' opens wait for their turn: look again soon */
    uint64_t marks_since_ns; /* mono: before being ready, files are marked (gate_files.c) since then */
    bool urgent, ready, stopping, pumping, lineage_lost;
    uint32_t supervisor_restarts;
    pid_t supervisor_pid, self;
};
#define PC_EVENT_BUF (64u << 10)

/* guard.c */
int pc_guard_run(struct pc_guard *g);
/* Handles what must not wait: events, waiting opens, lineage. Called between the steps of anything long. */
void pc_guard_pump(struct pc_guard *g);
/* Reads lineage and file events until none wait. */
void pc_guard_drain(struct pc_guard *g);
/* Reads forks, execs and exits that wait. */
void pc_guard_lineage(struct pc_guard *g);
/* A process that no fork told of (there may be no process connector): its parent from /proc, while it lives. */
void pc_guard_know(struct pc_guard *g, pid_t pid);
/* The process of a thread; itself when it is gone, for want of better. 0: outside our pid namespace. */
pid_t pc_guard_pid_of(struct pc_guard *g, pid_t tid);
uint64_t pc_guard_random(struct pc_guard *g);
int pc_guard_reload(struct pc_guard *g);

/* volumes.c */
int pc_volumes_open(struct pc_guard *g);
int pc_folder_guard(struct pc_guard *g, uint32_t i);
void pc_folder_drop(struct pc_guard *g, uint32_t i); /* what was preserved stays */
void pc_volumes_check(struct pc_guard *g); /* the mount table changed */
/* Every now and then: does each path still name the folder that is guarded? */
void pc_folders_look(struct pc_guard *g);
/* Says in the event log when preservation on a volume stops working, and when it works again. */
void pc_volumes_tell_trouble(struct pc_guard *g);
struct pc_volume *pc_volume_by_id(struct pc_guard *g, int id);
struct pc_volume *pc_volume_by_fsid(struct pc_guard *g, uint64_t fsid);
struct pc_volume *pc_volume_by_dev(struct pc_guard *g, dev_t st_dev);
void pc_folder_uncovered(struct pc_guard *g, uint32_t folder, const char *path, int err);
bool pc_excluded(const struct pc_guard *g, const char *path);

/* scan.c */
int pc_scan_new(struct pc_scan **out);
void pc_scan_free(struct pc_scan *s);
int pc_scan_add(struct pc_guard *g, pc_dir dir);
/* Looks at up to `entries` directory entries. True while there is more. */
bool pc_scan_step(struct pc_guard *g, uint32_t entries);
bool pc_scan_busy(const struct pc_guard *g);
uint64_t pc_scan_seen(const struct pc_guard *g);
/* The guarded folder with this handle, read from disk if it is new to us; 0: not guarded. */
pc_dir pc_scan_resolve(struct pc_guard *g, struct pc_volume *v, const struct pc_fh *fh);
/*
 * The same for a folder that was made while we watched: it was empty then, events tell of all it has; so it is not
 * walked.
 */
pc_dir pc_scan_made(struct pc_guard *g, struct pc_volume *v, const struct pc_fh *fh);
/* Starts the walks that are wanted (walk_again). False when there are none. */
bool pc_scan_again(struct pc_guard *g);
/*
 * Walks all guarded folders anew: to find what changed while events were lost, or what we did ourselves (our own events
 * are not looked at). A folder for whose walk there is no memory now is walked later (walk_again).
 */
void pc_scan_everything(struct pc_guard *g);
void pc_scan_forget_outside(struct pc_guard *g);

/* capture.c */
int pc_captures_new(uint32_t max, struct pc_captures **out);
void pc_captures_free(struct pc_captures *c);
enum pc_when {
    PC_WHEN_SOON, /* its old content is at stake in whatever comes next */
    /*
     * nothing of it was ever preserved, or is at stake: behind the burst that makes it, but soon while a gate is down
     */
    PC_WHEN_NEW,
    PC_WHEN_HOT,  /* written without being closed */
    PC_WHENS
};
void pc_capture_later(struct pc_guard *g, int vol, const struct pc_fh *fh, pc_dir dir, const char *name,
                      uint64_t creator, enum pc_when when);
/* Who wrote to it all the time has stopped: if it was closed meanwhile, it is preserved soon. */
void pc_capture_written(struct pc_guard *g, int vol, const struct pc_fh *fh);
/* It is gone, and nothing of it was ever preserved: it waits no more. */
void pc_capture_forget(struct pc_guard *g, int vol, const struct pc_fh *fh);
bool pc_capture_due(const struct pc_guard *g, uint64_t now_ns);
/* Preserves one file that is due. False when none was. */
bool pc_capture_step(struct pc_guard *g, uint64_t now_ns);
uint32_t pc_captures_waiting(const struct pc_guard *g);
/*
 * A new file that waits to be preserved was not looked at yet: that comes first then. Its writer is pid. False when it
 * does not wait, or too many do: look at it now.
 */
bool pc_capture_look_first(struct pc_guard *g, int vol, const struct pc_fh *fh, pid_t pid);
/* It was looked at by another way, or what was to be looked at is overwritten: it does not wait for a look any more. */
void pc_capture_looked(struct pc_guard *g, int vol, const struct pc_fh *fh);
/*
 * Looks at some of those that this process or its family wrote: the newest, and others by chance (64 at most; the rest
 * when they are preserved).
 */
void pc_capture_look_now(struct pc_guard *g, pid_t pid);
/* Whether this file waits to be preserved for the first time: then the index does not know it. */
bool pc_capture_is_new(struct pc_guard *g, int vol, const struct pc_fh *fh);
uint64_t pc_capture_next_ns(const struct pc_guard *g); /* mono time of the next one; UINT64_MAX: none */
/* Preserves now. 0 or an error (counted and named in status). */
int pc_capture_now(struct pc_guard *g, struct pc_volume *v, int fd, const struct pc_fh *fh, pc_dir dir,
                   const char *name, uint64_t creator);
/* flush.c */
int pc_flush_start(struct pc_guard *g);
void pc_flush_stop(struct pc_guard *g);
/* Whether this open file can be cloned without waiting for the disk; *took_ns is set when it was written out for it. */
enum pc_flushed {
    PC_FLUSH_OUT,   /* it can */
    PC_FLUSH_WAITS, /* it is being written out, or waits for that: ask again */
    PC_FLUSH_AGAIN  /* somebody writes much to it just now */
};
enum pc_flushed pc_flush_ask(struct pc_guard *g, const struct pc_volume *v, int fd, const struct pc_fh *fh,
                             uint64_t *took_ns);
/* How long cloning a file took: on a slow disk more goes through the other thread. */
void pc_flush_cloned(struct pc_guard *g, uint64_t took_ns);

/* on-open: copying this file for who opened it for writing took so long: one that takes long is preserved seldom. */
void pc_capture_was_copied(struct pc_guard *g, const struct pc_fh *fh, uint64_t took_ns);
/* The version before the newest one, if that was taken moments ago. */
uint64_t pc_capture_before(const struct pc_guard *g, uint64_t version);

/* acts.c, acts_*.c */
int pc_acts_new(struct pc_acts **out);
void pc_acts_free(struct pc_acts *a);
/* First look at a batch of events, before anything slow: does something look like ciphertext? */
void pc_acts_glance(struct pc_guard *g, const void *events, size_t len);
void pc_acts_event(struct pc_guard *g, const struct pc_fan_event *e);
/* A file found changed by the scan: nobody was seen doing it. */
void pc_acts_found_changed(struct pc_guard *g, struct pc_volume *v, const struct pc_fh *fh,
                           const struct pc_known *known);
void pc_acts_vault_touched(struct pc_guard *g, pid_t tid);
/*
 * What a stopped process changed and no event told of yet (a shared mapping, writes in flight) goes on record as its
 * acts; and what it holds open is remembered, for when the kernel finishes it. Before it is ended, and before a
 * rollback.
 */
void pc_acts_look_at_held(struct pc_guard *g, pid_t pid);
/* Whether this process has shown by what it wrote to be harmless, and nothing is suspicious. */
bool pc_acts_is_proven(struct pc_guard *g, pid_t pid);
/* A file that was not looked at when it was closed (acts_proven.c). */
struct pc_unlooked {
    int vol;
    struct pc_fh fh;
    pc_dir dir;
    const char *name;
    pid_t pid;
    pc_actor actor; /* of pid then */
};
/* Judges it now, if it is still there. */
void pc_acts_look_at_waiting(struct pc_guard *g, const struct pc_unlooked *u);
/* Whether somebody writes to this file all the time and has not closed it. */
bool pc_acts_is_muted(const struct pc_guard *g, int vol, const struct pc_fh *fh);
/* Looks again at files that are written without ever being closed. */
void pc_acts_look_at_muted(struct pc_guard *g, uint64_t now_ns);
/* Makes sure the index knows this process and its ancestors; returns its process id, 0 for actor 0. */
uint64_t pc_acts_process(struct pc_guard *g, pc_actor actor);
/* After an exec: its row is written again at its next act. */
void pc_acts_forget_process(struct pc_guard *g, pc_actor actor);
/* Adds every process beneath root that has acted to the incident. */
void pc_acts_add_to_incident(struct pc_guard *g, uint64_t incident, pc_actor root);

/* gate.c, gate_*.c */
int pc_gate_start(struct pc_guard *g);
void pc_gate_stop(struct pc_guard *g);
int pc_gate_add_volume(struct pc_guard *g, struct pc_volume *v);
void pc_gate_remove_volume(struct pc_guard *g, struct pc_volume *v);
void pc_gate_evidence(struct pc_guard *g, struct pc_volume *v); /* damage was seen: bring it down */
void pc_gate_suspect(struct pc_guard *g, struct pc_volume *v);  /* perhaps: down, but up again soon without evidence */
/*
 * Down while one act is judged that has to wait for the disk; up again with the next unhold, unless there is evidence.
 */
void pc_gate_hold(struct pc_guard *g, struct pc_volume *v);
void pc_gate_unhold(struct pc_guard *g);
/* Brings all gates down while there is a crowd (judge.h), before it acts. count: as for pc_judge_crowded. */
void pc_gate_crowds(struct pc_guard *g, uint64_t now_ns, bool count);
bool pc_gate_alert(const struct pc_guard *g);                   /* some gate is down, or something is frozen */
void pc_gate_doubt(struct pc_guard *g); /* there is new evidence: nobody counts as found clean any longer */
void pc_gate_relax(struct pc_guard *g, uint64_t now_ns);        /* raise gates that saw no evidence for a while */
int pc_gate_fd(const struct pc_guard *g);                       /* readable: opens wait for the main thread */
void pc_gate_step(struct pc_guard *g);
/*
 * What the copiers finished becomes the files' pre-images. Before every batch of events: an opener is answered as soon
 * as its copy is made, and what it then writes must be compared with that copy.
 */
void pc_gate_adopt(struct pc_guard *g);
void pc_gate_judged(struct pc_guard *g, const struct pc_fh *fh); /* what was done to this file has been judged */
/* Sees to files that are opened for reading, so that they are not asked about again (gate_read.c). */
void pc_gate_see_to_read(struct pc_guard *g);
/*
 * Whether somebody opened this file in the last so many seconds, if its opens are asked about. A no may be wrong: of
 * thousands that are opened in that time some are forgotten.
 */
bool pc_gate_opened_lately(const struct pc_guard *g, const struct stat *st, uint64_t now_ns, uint32_t seconds);
/* Ends a wait of the answering thread for somebody's lease, or all who open files would wait for it (gate_answer.c). */
void pc_gate_nudge(struct pc_guard *g, uint64_t now_ns);
/* Files that were read and written too often to be asked each time: they are again (gate_cuts.c). */
void pc_gate_end_rests(struct pc_guard *g, uint64_t now_ns);
/* What was copied on this volume so far is to be on the disk soon. Waits for nothing (gate_sync.c). */
void pc_gate_sync(struct pc_guard *g, const struct pc_volume *v);
/* Mono: what was copied before is on the disk; 0: nothing is known to be. */
uint64_t pc_gate_synced_ns(const struct pc_guard *g, const struct pc_volume *v);
/* This open file has a copy, and no link of ours: its opens are not asked about any more. */
void pc_gate_has_copy(struct pc_guard *g, const struct pc_volume *v, int fd);
/* on-open: goes over the files that rest on a link, so that only their opens are asked about (gate_files.c). */
void pc_gate_files_step(struct pc_guard *g, uint64_t now_ns);
uint64_t pc_gate_files_next_ns(const struct pc_guard *g); /* mono; UINT64_MAX: not until something changes */
void pc_gate_files_reload(struct pc_guard *g);            /* there are new settings */
bool pc_gate_files_failed(const struct pc_guard *g);      /* the last round, for some file system; another will come */
/* Opens of processes no longer frozen are decided again. */
void pc_gate_let_go(struct pc_guard *g);
uint32_t pc_gate_in_flight(struct pc_guard *g, pc_actor root);
struct pc_gate_stats {
    uint64_t opens, held, late, denied_vault, copied, copy_errors;
    uint32_t waiting, parked;
    int copy_error; /* the last one, or 0 */
    uint64_t p50_us, p99_us, max_us; /* how long opens that were not answered at once had to wait */
};
void pc_gate_stats(const struct pc_guard *g, struct pc_gate_stats *out);

/* stop.c */
void pc_stop_convict(struct pc_guard *g, const struct pc_outcome *o, const char *first_path);
/* The frozen incident this actor belongs to, or 0. */
uint64_t pc_stop_incident_of(struct pc_guard *g, pc_actor actor);
/* The same, also when its processes were let go (observe mode, allow rule, release): later acts belong to it. */
uint64_t pc_stop_case_of(struct pc_guard *g, pc_actor actor);
bool pc_stop_any_frozen(const struct pc_guard *g);
/* rule: the rule that is remembered, "" when none could be. why: filled on failure. */
int pc_stop_release(struct pc_guard *g, uint64_t incident, uid_t by, char *rule, size_t rule_cap, char *why,
                    size_t cap);
int pc_stop_end(struct pc_guard *g, uint64_t incident, uid_t by);
/* False for a moment after the freeze, while writes that were under way may still land. */
bool pc_stop_settled(struct pc_guard *g, uint64_t incident);
/*
 * Puts on record what its frozen processes changed without an event. Call when settled, before the plan of a rollback.
 */
void pc_stop_look_at_held(struct pc_guard *g, uint64_t incident);
/* Its files are back (after a rollback), or are not any more (before an undo). 0 or an error of the index. */
int pc_stop_rolled_back(struct pc_guard *g, uint64_t incident, bool back);
/*
 * The path of what is or was at a place, also when its folder is gone: the index still knows that one's parents. Raw
 * bytes; "(unknown folder)/..." when not even those are known.
 */
void pc_known_path(struct pc_guard *g, int vol, const struct pc_fh *parent, const char *name, char *out, size_t cap);
void pc_stop_recount(struct pc_guard *g, struct pc_incident *inc); /* damaged and preserved, from the acts */
void pc_stop_tick(struct pc_guard *g); /* action.delay, stragglers */
int pc_stop_adopt(struct pc_guard *g);                        /* after a restart: incidents still frozen */
void pc_stop_free(struct pc_guard *g);

/* startup_fds.c */
int pc_startup_new(struct pc_startup **out);
void pc_startup_free(struct pc_startup *s);
/* A folder came under guard in on-open mode: files held open for writing are to be copied, after the walk. */
void pc_startup_want(struct pc_guard *g);
/* Looks for them, or copies one. True while there is more. */
bool pc_startup_step(struct pc_guard *g);
uint64_t pc_startup_copied(const struct pc_guard *g);

/* links.c: which file stands at a name, for files with several names. */
int pc_links_new(struct pc_links **out);
void pc_links_free(struct pc_links *l);
void pc_links_note(struct pc_guard *g, int vol, const struct pc_fh *dir, const char *name, const struct pc_fh *fh);
bool pc_links_find(const struct pc_guard *g, int vol, const struct pc_fh *dir, const char *name, struct pc_fh *out);
void pc_links_forget(struct pc_guard *g, int vol, const struct pc_fh *dir, const char *name);
bool pc_links_full(const struct pc_guard *g);

/* outside.c: files written on a guarded file system, outside of the guarded folders. */
int pc_outside_new(struct pc_outside **out);
void pc_outside_free(struct pc_outside *o);
void pc_outside_note(struct pc_guard *g, const struct pc_volume *v, const struct pc_fh *fh, pid_t pid);
/* Before a deletion is judged: tells the judge of ciphertext that the deleter's relatives wrote lately. */
void pc_outside_show(struct pc_guard *g, pid_t deleter);

/* deletions.c: mass deletions, told as incidents that hold nothing but the deletions. */
int pc_deletions_new(struct pc_deletions **out);
void pc_deletions_free(struct pc_deletions *d);
/* A deletion went on record as act number `act`. */
void pc_deletions_recorded(struct pc_guard *g, pc_actor actor, uint64_t act, bool is_dir);
/* The judge says that this subtree deleted many files (pc_outcome.bulk_root); path: the last of them. */
void pc_deletions_many(struct pc_guard *g, pc_actor root, const char *path);
/* After a verdict: what it names takes over the deletions of its own. */
void pc_deletions_convicted(struct pc_guard *g, const struct pc_outcome *o);
void pc_deletions_tick(struct pc_guard *g, uint64_t now_ns);
/* Before a rollback: its counts are final, and what is deleted from now on is another case. */
void pc_deletions_settle(struct pc_guard *g, uint64_t incident);

/* ahead.c: copies files in quiet times (on-open), at most one a call. */
int pc_ahead_new(struct pc_ahead **out);
void pc_ahead_free(struct pc_ahead *a);
void pc_ahead_step(struct pc_guard *g, uint64_t now_ns);
uint64_t pc_ahead_next_ns(const struct pc_guard *g); /* mono time of the next call that can do something */
struct pc_ahead_stats {
    uint64_t files, bytes, links_dropped; /* since the start */
    bool full;                            /* the next file had no room */
};
void pc_ahead_stats(const struct pc_guard *g, struct pc_ahead_stats *out);

/* missing.c: finds what was deleted unseen; a few files a call, when nothing else is to be done. */
int pc_missing_new(struct pc_missing **out);
void pc_missing_free(struct pc_missing *m);
/* Events were lost: among all files, not only those of before the start. */
void pc_missing_look(struct pc_guard *g);
void pc_missing_step(struct pc_guard *g, uint64_t now_ns);
uint64_t pc_missing_next_ns(const struct pc_guard *g); /* mono time of the next call that can do something */

/* decoys.c: puts decoys into the guarded folders, or takes them away, as the settings say. */
int pc_decoys_set(struct pc_guard *g);
bool pc_decoys_is(const struct pc_guard *g, int vol, const struct pc_fh *fh);

/*
 * tracer.c: what the judge is told, recorded for `portcullis replay` ([log] trace). NULL tracer: every call does
 * nothing.
 */
int pc_tracer_open(struct pc_guard *g, const char *path);
void pc_tracer_close(struct pc_guard *g);
/* enum pc_trace_type */
void pc_tracer_lineage(struct pc_guard *g, uint8_t type, pid_t parent, pid_t pid, uint64_t now_ns);
void pc_tracer_act(struct pc_guard *g, const struct pc_act *act, const struct pc_facts *facts);
void pc_tracer_absolve(struct pc_guard *g, pc_actor root);
void pc_tracer_flush(struct pc_guard *g);

/* answers.c */
extern const struct pc_command pc_guard_commands[];

/* supervisor.c */
int pc_supervise(char **argv);
#endif
