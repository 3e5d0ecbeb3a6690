#ifndef PC_SERVER_WRITER_H
#define PC_SERVER_WRITER_H
/*
 * Group commit. Everything that changes the database is a job; one thread owns the writing connection and runs jobs in
 * groups, each group in one transaction with at most one append to the log and one new signed checkpoint. Callers are
 * called back on the loop's thread after the commit: what is acknowledged is on disk. Bounds: a group is at most
 * PC_GROUP_MAX jobs, which add at most PC_GROUP_ENTRIES entries, and waits at most PC_GROUP_WAIT_MS for company; jobs
 * that come when the entries before them hold PC_GROUP_BYTES are the next group's (so there are never more than that
 * and what the last of them added, or the last that ran together: 512 times PC_ENTRY_MAX). At most PC_JOBS_MAX jobs
 * wait, then submitting answers PC_E_LIMIT; what they hold themselves is their submitters' to bound.
 */
#include "store/store.h"
#include "trust/note_key.h"

#include <event2/event.h>
#include <stdbool.h>

#define PC_GROUP_MAX 512
#define PC_GROUP_ENTRIES (64 * PC_GROUP_MAX)
#define PC_GROUP_BYTES (16u << 20)
#define PC_GROUP_WAIT_MS 5
#define PC_JOBS_MAX 65536

struct pc_writer;
struct pc_log_batch;

struct pc_job {
    /*
     * On the writer's thread, inside the transaction. A negative answer means "refused, nothing changed": look before
     * you change. It may be called again when the group had to be rolled back, so it must not consume what it needs.
     * NULL: nothing to do but to wait for the group.
     */
    int (*run)(struct pc_job *job, struct pc_store *store, struct pc_log_batch *log);
    /*
     * Optional. The same for jobs that stand side by side in a group and have this function in common: a database
     * takes many rows at once for little more than one. Sets `result` of each. A negative answer that is not the
     * database's own makes them run one by one.
     */
    int (*run_many)(struct pc_job **jobs, size_t n, struct pc_store *store, struct pc_log_batch *log);
    /* On the loop's thread, once, after commit (what run answered) or failure of the group (-EIO, -ENOSPC ..., also
     * when run refused: what it saw was not written). Owns the job from here on. */
    void (*done)(struct pc_job *job, int result);
    /* the writer's own */
    struct pc_job *next;
    int result;
    bool urgent; /* the submitter's: ahead of all that are not */
    bool spoilt; /* it fails whatever it is grouped with */
};

/* Adds an entry/1 document (copied) to the group; *index becomes its place in the log. With order_sha256 and type
 * (static, else NULL) the store's log_find will find it. For run() only. -ENOMEM, PC_E_RANGE: too long, -EAGAIN: the
 * group is full (it never is with up to PC_GROUP_ENTRIES / PC_GROUP_MAX entries a job). */
int pc_log_add(struct pc_log_batch *log, const void *entry, size_t len, const char *order_sha256, const char *type,
               uint64_t *index);
/* Tells other server processes (if any) at the commit, each text once a group: "WORD WHAT". For run() only, once a job.
 * "ready SHA PROCESS", "stop SHA PROCESS", "ring SHA PROCESS", "order SHA", "policy", "look JSON". -ENOMEM,
 * PC_E_LIMIT. */
int pc_log_tell(struct pc_log_batch *log, const char *word, const char *what);
/* Seconds since 1970 of this group, for `time` in entries. */
int64_t pc_log_time(const struct pc_log_batch *log);

struct pc_writer_counters {
    uint64_t groups, jobs, entries, failed_groups, retries;
    uint64_t commit_ns; /* sum over groups */
    uint64_t since;     /* pc_mono_ns when the group at hand was begun; 0: there is none */
    uint32_t waiting;
    int last_error; /* 0: the last group was committed */
};

/*
 * Starts the thread. `where` is opened by it; migrations run. head is called on the loop's thread after each group that
 * wrote a checkpoint, before the group's done()s; text is its note. -errno, PC_E_*, why.
 */
int pc_writer_start(struct event_base *base, const char *where, const struct pc_skey *key,
                    void (*head)(void *ctx, uint64_t size, const char *text), void *ctx, struct pc_writer **out,
                    char *why, size_t why_len);
/* Waits until all that was submitted is committed or failed, and calls back. Submitting answers PC_E_STATE from then
 * on. */
void pc_writer_drain(struct pc_writer *w); /* NULL is fine */
/* The same, and ends everything. */
void pc_writer_stop(struct pc_writer *w);
/* For the loop's thread. PC_E_LIMIT: too many wait; the job is still the caller's. */
int pc_writer_submit(struct pc_writer *w, struct pc_job *job);
/* A checkpoint for the same tree with the present time, if nothing else makes one. */
void pc_writer_sign_again(struct pc_writer *w);
void pc_writer_counters(struct pc_writer *w, struct pc_writer_counters *out);
#endif
