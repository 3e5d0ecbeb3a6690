#ifndef PC_AGENT_SETTINGS_H
#define PC_AGENT_SETTINGS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * The guard's settings. One table, PC_SETTINGS_TABLE, makes the struct, the parser, the range check, the sample file
 * and the manual page portcullis.conf(5). Times are nanoseconds (_ns), sizes bytes (_bytes).
 */
#define PC_SETTINGS_PATH "/etc/portcullis/portcullis.conf"
#define PC_SETTINGS_FILE_MAX (64u << 10)
#define PC_SETTINGS_PATHS_MAX 256
#define PC_SETTINGS_RULES_MAX 1024

/* AHEAD and ON_OPEN have the numbers of enum pc_mode (preserve/store.h). */
enum pc_mode_choice { PC_CHOOSE_AUTO = 0, PC_CHOOSE_AHEAD = 1, PC_CHOOSE_ON_OPEN = 2 };
enum pc_verdict_action { PC_VERDICT_FREEZE = 0, PC_VERDICT_OBSERVE };
enum pc_after_delay { PC_AFTER_KEEP = 0, PC_AFTER_END };

/* A part of a file system: percent when not 0, else bytes. */
struct pc_share {
    uint64_t bytes;
    uint32_t percent;
};

struct pc_path_list {
    uint32_t count;
    char **path; /* absolute, no trailing slash (except "/"), no "." or ".." part */
};

/* "A program with this hash may do as it likes beneath this folder until then." */
struct pc_rule {
    uint8_t sha256[32];
    char *under;      /* as in pc_path_list */
    uint64_t until_s; /* Unix seconds; 0: no end */
};
struct pc_rule_list {
    uint32_t count;
    struct pc_rule *rule;
};

/* [path "/srv/x"]: what differs beneath one folder. The longest matching path wins, whole. */
struct pc_path_settings {
    char *path;
    bool has_mode, has_copy_limit;
    enum pc_mode_choice mode;
    uint64_t copy_limit_bytes;
};
struct pc_path_settings_list {
    uint32_t count;
    struct pc_path_settings *item;
};

/*
 * X(section, field, "name", type, default as text, min, max, takes effect, "one line", "manual text")
 * Types (C type): BOOL bool - NUMBER uint32_t - SIZE, DURATION uint64_t - SHARE struct pc_share - PATHS, RULES lists -
 * TEXT, NAME, URL char * - MODE, VERDICT, AFTER enums. min and max bound NUMBER, SIZE and DURATION (SHARE: its bytes).
 * Takes effect: LIVE on reload, RESTART only with the next start.
 */
#define PC_SETTINGS_TABLE(X)                                                                                           \
    X(guard, protect, "protect", PATHS, "", 0, 0, LIVE, "a folder to guard (repeatable)",                              \
      "An absolute path. Everything beneath it on the same file system is preserved and guarded. --protect on the "    \
      "command line adds to this list.")                                                                               \
    X(guard, exclude, "exclude", PATHS, "", 0, 0, LIVE, "a folder inside a guarded one to leave alone (repeatable)",   \
      "Nothing beneath it is preserved, judged or restored. Meant for caches and build folders. status names it.")     \
    X(guard, mode, "mode", MODE, "auto", 0, 0, RESTART, "how content is preserved: auto, ahead or on-open",            \
      "ahead keeps a copy of every file before anything happens; on-open copies a file when it is first opened for "   \
      "writing, while the opener waits. auto takes ahead where the file system can share blocks between files (xfs "   \
      "and btrfs: no space, no time) and on-open elsewhere.")                                                          \
    X(preserve, retention_ns, "retention", DURATION, "7d", PC_S(60), PC_S(3650ULL * 86400), LIVE,                      \
      "how long superseded versions are kept",                                                                         \
      "Versions that belong to an open incident are kept longer, whatever this says.")                                 \
    X(preserve, space_budget, "space-budget", SHARE, "10%", 0, 1ULL << 60, LIVE,                                       \
      "space superseded versions may take, per file system",                                                           \
      "A size, or a part of the file system as N%. At the bound the oldest versions go first, except those of an "     \
      "open incident; one program's flood only evicts what that program caused. What was superseded within "           \
      "judge.window comes on top while twice the reserve is free, because a verdict may still need it.")                \
    X(preserve, reserve, "reserve", SHARE, "5%", 0, 1ULL << 60, LIVE, "space left free on every guarded file system",  \
      "A size, or a part of the file system as N%. When less is free, old versions are evicted; when that does not "   \
      "help, preservation stops and status says so. The guard never fills a disk. Where the number of inodes is "      \
      "fixed (ext4), it leaves 1 % of them, and copies nothing ahead (copy-ahead) when less than 10 % are free.")      \
    X(preserve, copy_limit_bytes, "copy-limit", SIZE, "256M", 0, 1ULL << 40, LIVE,                                     \
      "largest file that is copied while its opener waits (on-open)",                                                  \
      "A larger file is opened without a copy: it is not covered against being overwritten, and status counts it.")        \
    X(preserve, append_limit_bytes, "append-limit", SIZE, "1M", 0, 1ULL << 40, LIVE,                                   \
      "largest file that is copied when it is opened for appending (on-open)",                                         \
      "For larger ones only the length is recorded, which undoes an append. A program can clear O_APPEND after the "   \
      "open and then overwrite: raise this limit to where you want to be safe from that, lower it for busy logs.")     \
    X(preserve, copy_ahead_ns, "copy-ahead", DURATION, "10m", 0, PC_S(30 * 86400), LIVE,                               \
      "files unchanged for so long are copied in quiet times (on-open)",                                               \
      "Up to 4 MiB each, small ones first, within space-budget and with twice the reserve left free. Then nothing of " \
      "them is lost to writes while no guard runs (before Linux 6.14: or to truncate(2)), and writers need not wait. " \
      "0: never.")                                                                                                     \
    X(preserve, ask_files, "ask-files", NUMBER, "16384", 0, 1048576, LIVE,                                             \
      "files whose opens are asked about one by one (on-open)",                                                        \
      "A file that is kept by a hard link alone is copied when it is opened for writing, so its opens wait for an "    \
      "answer (some 20 us). Up to this many such files are marked, 1 KiB of kernel memory each, and no other open "    \
      "waits. With more, every open on the file system does, and truncate(2) by a path is not held. 0: always so.")    \
    X(preserve, compress, "compress", BOOL, "yes", 0, 0, LIVE, "compress copies (zstd) where blocks cannot be shared", \
      "Clones are never compressed: they take no space.")                                                              \
    X(judge, convict_score, "convict-score", NUMBER, "270", 50, 100000, LIVE, "evidence that convicts a program",      \
      "Each destroyed file scores up to 100. Lower stops sooner and is wrong more often.")                             \
    X(judge, min_files, "min-files", NUMBER, "3", 1, 1000, LIVE, "and the least number of distinct files",             \
      "One program that rewrites one file beyond recognition is nobody's business but its own.")                       \
    X(judge, window_ns, "window", DURATION, "10m", PC_S(10), PC_S(7 * 86400), LIVE,                                    \
      "evidence older than this no longer counts",                                                                     \
      "A slower attacker than convict-score within this time is not stopped by itself; what it destroys is still "     \
      "preserved for as long as retention says.")                                                                      \
    X(judge, note_folders, "note-folders", NUMBER, "3", 2, 1000, LIVE,                                                 \
      "the same new text file in this many folders is evidence", "Ransom notes.")                                      \
    X(judge, mass_delete, "mass-delete", NUMBER, "50", 0, 1024, LIVE,                                                  \
      "deletions by one program within a minute that are told as an observed incident",                                \
      "Never stopped: an owner may clean up. Its rollback brings them back. Files that came back under their name, "   \
      "that a new file is known to hold, or that the program made itself, do not count. 0: never.")                    \
    X(judge, decoys, "decoys", BOOL, "no", 0, 0, LIVE, "put decoy files into guarded folders",                         \
      "Nobody has a reason to change them, so whoever does gives evidence at once. They are visible to users.")        \
    X(action, on_verdict, "on-verdict", VERDICT, "freeze", 0, 0, LIVE, "what a verdict does: freeze or observe",       \
      "freeze stops the whole process tree and keeps its memory; release lets it go on. observe only reports, and "    \
      "opens no incident that needs closing: for a first week on a server you do not know.")                           \
    X(action, delay_ns, "delay", DURATION, "0", 0, PC_S(365 * 86400), LIVE,                                            \
      "time after which a frozen program is dealt with as after-delay says", "0 means never: it waits for a person.")  \
    X(action, after_delay, "after-delay", AFTER, "keep", 0, 0, LIVE, "what happens after delay: keep or end",          \
      "keep leaves it frozen, end kills it.")                                                                          \
    X(action, gate, "gate", BOOL, "yes", 0, 0, LIVE, "make suspects wait once one file is damaged",                    \
      "While the gate is down, a program with evidence against it may have only a bounded number of unjudged "         \
      "destructive operations outstanding; its further opens wait. Off: files lost before a verdict depend on the "    \
      "attacker's speed.")                                                                                             \
    X(allow, rules, "rule", RULES, "", 0, 0, LIVE, "a program that may do as it likes in one folder (repeatable)",     \
      "sha256:HEX under=/path until=TIME: hash of the executable, folder, and an end (2026-12-31T00:00:00Z, or never). " \
      "What matches is still preserved and recorded, but not frozen. portcullis release adds such rules by itself.")   \
    X(share, share_server, "server", TEXT, "/usr/sbin/smbd", 0, 0, LIVE, "the file server whose clients are told apart",  \
      "Path of its program, or none. What comes over a share is done by the server's processes: the evidence is counted " \
      "for the address that each of them serves, and a verdict ends that client's connections, never the share. Not for " \
      "servers inside the kernel (NFS, ksmbd).")                                                                       \
    X(share, share_block, "block", BOOL, "yes", 0, 0, LIVE, "block the address of a client that destroys files",       \
      "With nftables, at the share's own port, until portcullis release. No: each of its new connections is ended.")   \
    X(log, journal, "journal", BOOL, "yes", 0, 0, LIVE, "send events to the systemd journal when there is one",        \
      "Never waits for the journal: what it does not take at once is dropped and counted.")                            \
    X(log, ecs_file, "ecs-file", TEXT, "auto", 0, 0, LIVE, "file for events as JSON lines (Elastic Common Schema)",    \
      "An absolute path, auto (events.json in the state directory) or none. Rotated once (.1) at 64 MiB.")             \
    X(log, trace, "trace", TEXT, "none", 0, 0, RESTART, "file for a trace of all that was judged (portcullis replay)",    \
      "An absolute path, or none. Holds who forked whom and what was judged, no file content. Ends at 1 GiB.")         \
    X(log, rate, "rate-limit", NUMBER, "50", 1, 10000, LIVE, "events a second",                                        \
      "More are counted and reported as suppressed. Alerts are never suppressed.")                                     \
    X(limits, actors, "actors", NUMBER, "32768", 1024, 1u << 20, RESTART, "processes remembered for their ancestry",   \
      "At the bound the oldest dead process without evidence is forgotten, its evidence kept in its parent.")          \
    X(limits, capture_queue, "capture-queue", NUMBER, "65536", 1024, 1u << 22, RESTART,                                \
      "changed files waiting to be preserved (ahead)",                                                                 \
      "At the bound the guarded folder is rescanned instead, and status counts an overflow.")                          \
    X(limits, event_backlog_bytes, "event-backlog", SIZE, "32M", 64u << 10, 1u << 30, LIVE,                            \
      "file events waiting to be looked at",                                                                           \
      "About 100 bytes each. At the bound they are dropped, counted as an overflow, and the folders walked instead.")  \
    X(limits, waiting_opens, "waiting-opens", NUMBER, "4096", 64, 16384, RESTART,                                      \
      "opens that may wait for an answer at one time",                                                                 \
      "At the bound further opens are let through and counted: the host goes on.")                                     \
    X(limits, copiers, "copiers", NUMBER, "2", 1, 64, RESTART, "threads that copy files (on-open)", "")                \
    X(limits, allowance, "allowance", NUMBER, "1", 1, 256, LIVE,                                                       \
      "unjudged destructive operations a suspect may have outstanding",                                                \
      "Files damaged after the gate came down are at most this many plus those whose evidence convicts.")              \
    X(limits, answer_deadline_ns, "answer-deadline", DURATION, "500ms", PC_MS(50), PC_S(1), LIVE,                      \
      "longest time an open may wait for the guard",                                                                   \
      "After it the open is let through and counted. Only opens of frozen programs wait longer: until release or end.") \
    X(fleet, link_user, "link-user", NAME, "portcullis-link", 0, 0, RESTART, "who holds the connection to the server",     \
      "A user name or number. It owns the key of the connection and nothing else. When the default does not exist, "   \
      "nobody is taken, which other services may share: make the user (systemd-sysusers does).")                        \
    X(fleet, proxy, "proxy", URL, "none", 0, 0, RESTART, "proxy towards the server",                                   \
      "http://, https:// or socks5h:// with host and port. The environment's proxy settings are not looked at.")       \
    X(fleet, reconnect_max_ns, "reconnect-max", DURATION, "5m", PC_S(1), PC_S(3600), RESTART,                           \
      "longest wait before another try to reach the server",                                                           \
      "The wait doubles from a second up to this, each time a random part of it, so that hosts do not come in waves.")  \
    X(fleet, upgrade_wait_ns, "upgrade-wait", DURATION, "60s", PC_S(1), PC_S(3600), RESTART,                            \
      "how long a new version may take to come up",                                                                    \
      "A fetched program runs on trial before it takes the place of the old one: it has to reach the server within this time.") \
    X(fleet, jobs, "jobs", NUMBER, "4", 1, 12, RESTART, "programs of orders that may run at one time",                 \
      "Further orders that may start wait for a place. Looks have four places of their own.")                           \
    X(fleet, block_mounts, "block-mount", PATHS, "", 0, 0, RESTART, "file systems on which hash.block holds (repeatable)", \
      "Any path on the file system. Without it: every local file system that programs can be started from.")

#define PC_S(n) ((n) * 1000000000ULL)
#define PC_MS(n) ((n) * 1000000ULL)

#define PC_CTYPE_BOOL bool
#define PC_CTYPE_NUMBER uint32_t
#define PC_CTYPE_SIZE uint64_t
#define PC_CTYPE_DURATION uint64_t
#define PC_CTYPE_SHARE struct pc_share
#define PC_CTYPE_PATHS struct pc_path_list
#define PC_CTYPE_RULES struct pc_rule_list
#define PC_CTYPE_TEXT char *
#define PC_CTYPE_NAME char *
#define PC_CTYPE_URL char *
#define PC_CTYPE_MODE enum pc_mode_choice
#define PC_CTYPE_VERDICT enum pc_verdict_action
#define PC_CTYPE_AFTER enum pc_after_delay

struct pc_settings {
#define PC_FIELD(section, field, name, type, def, min, max, effect, brief, text) PC_CTYPE_##type field;
    PC_SETTINGS_TABLE(PC_FIELD)
#undef PC_FIELD
    struct pc_path_settings_list paths; /* the [path "..."] sections */
};

/* All defaults. 0 or -ENOMEM. Release with pc_settings_free. */
int pc_settings_default(struct pc_settings *out);
/* Releases what s holds and zeroes it. NULL and an all-zero struct are fine. */
void pc_settings_free(struct pc_settings *s);
/*
 * Reads a file (<= 64 KiB). On any unknown section or key, duplicate single key or bad value: PC_E_SYNTAX / PC_E_RANGE
 * / PC_E_LIMIT and err = "FILE:LINE: what: why; what is allowed". -errno when it cannot be read (err says so too). out
 * is untouched on failure and must hold nothing that needs freeing.
 */
int pc_settings_load(const char *path, struct pc_settings *out, char *err, size_t cap);
/* The same for text in memory; name stands for FILE in errors. */
int pc_settings_parse(const char *name, const char *text, size_t len, struct pc_settings *out, char *err, size_t cap);
/* Adds one folder to protect, checked like the key (for --protect). A folder that is there already is fine. */
int pc_settings_protect(struct pc_settings *s, const char *path, char *err, size_t cap);
/*
 * As a command line asks for them: the file `config`, or for NULL the default one (PC_SETTINGS_PATH), which may be
 * missing; then n folders to protect. Errors and err as pc_settings_load; out is untouched by a failure.
 */
int pc_settings_wanted(const char *config, const char *const *protect, uint32_t n, struct pc_settings *out, char *err,
                       size_t cap);
/* Settings of the longest [path] section that holds this path, or NULL. */
const struct pc_path_settings *pc_settings_for(const struct pc_settings *s, const char *path);
/* True when a reload from a to b cannot be complete; names ("[guard] mode, [limits] actors") go to names. */
bool pc_settings_need_restart(const struct pc_settings *a, const struct pc_settings *b, char *names, size_t cap);
/* The documented sample file (every key at its default), and the manual page in man(7) source. */
void pc_settings_write_sample(FILE *f);
void pc_settings_write_manual(FILE *f);

/* "sha256:HEX under=/path until=TIME". *out needs pc_rule_free. 0, PC_E_SYNTAX or -ENOMEM. */
int pc_rule_parse(const char *text, struct pc_rule *out);
/* Reverse of pc_rule_parse; returns the length the whole text needs (as snprintf). */
size_t pc_rule_format(const struct pc_rule *rule, char *out, size_t cap);
void pc_rule_free(struct pc_rule *rule);
/* The first rule that allows this executable at this path now, or NULL. */
const struct pc_rule *pc_rules_match(const struct pc_rule_list *list, const uint8_t sha256[32], const char *path,
                                     uint64_t now_s);
/* Takes over *rule (zeroed then), dropping rules that ended before now_s first. PC_E_LIMIT at 1024. */
int pc_rules_add(struct pc_rule_list *list, struct pc_rule *rule, uint64_t now_s);
void pc_rules_free(struct pc_rule_list *list);
/*
 * What `release` remembers: one rule a line in <state>/released.rules (0600). Load: a missing file is an empty list; a
 * bad line is skipped and counted (returns the count). Save: replaces the file (temporary file, fsync, rename).
 */
int pc_rules_load(int state_dirfd, struct pc_rule_list *out);
int pc_rules_save(int state_dirfd, const struct pc_rule_list *list);
#endif
