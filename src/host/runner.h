#ifndef PC_HOST_RUNNER_H
#define PC_HOST_RUNNER_H
/*
 * The runner's own contract, shared by its files: one thread, one loop (runner.c), one state. Which file does what:
 *
 *     peer.c      frames from and to the link
 *     intake.c    what a frame may change: orders, trust, revocations, checkpoints
 *     schedule.c  when an order starts, soaks, ends
 *     tell.c      signed documents: ack, result, ring; events for the server
 *     tasks.c     from an action's name to a program
 *     act_*.c     the actions
 *     timers.c    stops that undo themselves
 */
#include "agent/control.h"
#include "agent/events.h"
#include "agent/settings.h"
#include "host/files.h"
#include "host/jobs.h"
#include "host/memory.h"
#include "host/queue.h"
#include "trust/bundle.h"
#include "trust/report.h"

#define PC_ORDERS_WAITING_MAX 256 /* accepted and not ended; more are refused with `space` */
#define PC_LOOKS_RUNNING_MAX 4

/* So many a second, so many at once. */
struct pc_bucket {
    double level, burst, per_s;
    uint64_t at_ns;
};
bool pc_bucket_take(struct pc_bucket *b, uint64_t now_ns, double amount);

/* A run that ended while the disk was full: told and written down as soon as there is room. */
struct pc_unsaved {
    struct pc_kept_order row;
    char *document; /* the result, not yet signed; NULL: the place is free */
    size_t len;
};
#define PC_UNSAVED_MAX 64

struct pc_runner {
    struct pc_fleet_dir dir;
    struct pc_settings settings;
    char guard_dir[4096];           /* the guard's state folder: its control socket */
    const char *program;            /* the file that we run: what an upgrade replaces */
    const char *config;             /* for the programs of ours that we start; NULL: the default */
    struct pc_events *log;
    struct pc_memory_file *file;
    struct pc_control *control;
    struct pc_jobs *jobs;           /* NULL: no cgroup v2 here: every program is refused */
    char boot[33];
    uint8_t seed[32];
    char ref[PC_HOST_REF_SIZE];     /* NAME#HOSTID */
    struct pc_trust trust;
    struct pc_revoked revoked;
    struct pc_memory memory;        /* what src/trust asks for; mirrors the file */
    char *checkpoint_note;          /* the last accepted, as the log signed it: evidence if another comes */
    gid_t link_gid;
    uid_t link_uid;

    int listen_fd, peer_fd;         /* runner.sock, and the link */
    struct pc_queue in, out;
    bool welcomed, close_peer;      /* the peer is to be let go when out is empty */
    uint64_t outbox_at, outbox_again_ns;
    struct pc_bucket sending, looks, refusals, events, checkpoints;

    uint32_t running, looking;      /* orders and looks with a job */
    struct pc_unsaved unsaved[PC_UNSAVED_MAX];
    uint64_t next_tick_ns, next_guard_ns, next_forget_ns, next_undo_told_ns, started_ns;
    struct pc_child blocker;        /* the process that holds hash.block; pid 0: none */
    bool blocks_changed;            /* it no longer fits the timers */
    bool silent, full, end;
    bool stuffed;                   /* so much waits for the server's `got` that no more is made */
    /*
     * a host watches us; we are a fetched program on trial: no order starts, and all is well once the server welcomed
     * us
     */
    bool watched, trial;
    int exit_status;
};

struct pc_outcome { /* how a run ended */
    const char *word;             /* ok, failed, timeout, unknown, halted, refused */
    const char *text;             /* why, in words: the output instead of the job's; or NULL */
    const struct pc_job_end *job; /* or NULL */
    const json_t *data;           /* borrowed, or NULL */
    bool later;                   /* not over yet: the next start tells (an upgrade) */
    bool never_ran;               /* ended before its start: no incident is its doing */
};

/* Unix seconds, and CLOCK_BOOTTIME seconds. */
int64_t pc_now(void);
uint64_t pc_boot_s(void);

/* peer.c */
int pc_peer_listen(struct pc_runner *r);
void pc_peer_accept(struct pc_runner *r);
void pc_peer_step(struct pc_runner *r, uint64_t now_ns); /* reads frames, sends what waits */
void pc_peer_close(struct pc_runner *r, const char *why);
/* false: no peer, or full */
bool pc_peer_send(struct pc_runner *r, enum pc_frame_type type, const void *body, size_t len);

/* intake.c: one frame each; none of them can fail for the caller: what is wrong is told to the server and the log */
void pc_intake_bundle(struct pc_runner *r, const char *json, size_t len);
void pc_intake_continue(struct pc_runner *r, const char *json, size_t len);
void pc_intake_start(struct pc_runner *r, const char *json, size_t len);
void pc_intake_checkpoint(struct pc_runner *r, const char *json, size_t len);
void pc_intake_trust(struct pc_runner *r, const char *json, size_t len);
void pc_intake_revoke(struct pc_runner *r, const char *json, size_t len);
void pc_intake_server(struct pc_runner *r, const char *json, size_t len);
void pc_intake_look(struct pc_runner *r, const char *json, size_t len);
void pc_intake_got(struct pc_runner *r, const char *json, size_t len);
/* The one way an order comes in, whatever carried it. verdict and text (why) for whoever brought it. */
enum pc_check pc_take_order(struct pc_runner *r, const char *json, size_t len, char sha256[65], char *why,
                            size_t why_len);
/* The one way a trust file comes in. 0, or an error and the word of the check. */
int pc_take_trust(struct pc_runner *r, const struct pc_envelope *e, const char **word);

/* schedule.c */
/* at the start: what was running is unknown; another boot: dwell and soak begin anew */
int pc_schedule_recover(struct pc_runner *r);
void pc_schedule(struct pc_runner *r);        /* starts what may start, ends what is over */
void pc_order_over(struct pc_runner *r, const char *order_sha256, const struct pc_outcome *how);
/*
 * Is now inside the bounds of a standing order, in the host's local time? last_run: unix seconds; 0: how long ago does
 * not matter.
 */
bool pc_order_open(const struct pc_order *o, int64_t last_run);
/* An order and its parts from the memory. To be cleared with pc_loaded_clear. */
struct pc_loaded {
    struct pc_kept_order kept;
    struct pc_envelope envelope;
    struct pc_order order;
};
int pc_order_load(struct pc_runner *r, const char *sha256, struct pc_loaded *out);
void pc_loaded_clear(struct pc_loaded *l);

/* tell.c: inside the caller's transaction where there is one. 0 or an error of the memory. */
int pc_tell_ack(struct pc_runner *r, const char *order_sha256, enum pc_check verdict, const char *text, bool keep);
/* one that pc_result_format made */
int pc_tell_result_text(struct pc_runner *r, const char *order_sha256, const char *document, size_t len);
int pc_tell_result(struct pc_runner *r, struct pc_result *result, bool keep);
/* the document, read again before it is believed; may leave data out */
int pc_result_text(struct pc_result *result, char **document, size_t *len);
int pc_tell_ring(struct pc_runner *r, const struct pc_kept_order *o, const char *outcome, uint32_t incidents,
                 int64_t soaked);
int pc_tell_again(struct pc_runner *r, const char *order_sha256);
/* A line in the log, and an event to the server when it is there (not kept: the log is). */
void pc_tell_event(struct pc_runner *r, enum pc_level level, const char *kind, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void pc_result_begin(const struct pc_runner *r, struct pc_result *out); /* who and when we are */

/* tasks.c: one run of an action */
enum pc_act { PC_ACT_RUN = 1, PC_ACT_OK, PC_ACT_FAILED, PC_ACT_REFUSED };
struct pc_task {
    struct pc_runner *r;
    char look[PC_ID_LEN + 1], order_sha256[65]; /* one of the two */
    uint64_t run;
    const struct pc_order *order;  /* while preparing; NULL for a look */
    char action[32];
    json_t *params;                /* owned */
    struct pc_job_spec spec;       /* filled in by prepare when it answers PC_ACT_RUN */
    char **argv, **envp;           /* owned, as everything below */
    struct pc_identity as;
    int fd;
    uint64_t timer;                /* of a stop */
    char text[512];                /* prepare's reason when it does not answer PC_ACT_RUN */
    json_t *data;
    /* called before the result is told, which it may change; NULL: nothing to do */
    void (*after)(struct pc_task *t, struct pc_outcome *how);
};
/*
 * Starts it. On PC_ACT_RUN the task is the job's and ends itself; else *t holds text and data and is the caller's to
 * free.
 */
enum pc_act pc_task_start(struct pc_runner *r, struct pc_task *t);
struct pc_task *pc_task_new(struct pc_runner *r, const char *action, const json_t *params);
void pc_task_free(struct pc_task *t);
int pc_task_arg(char ***list, const char *text); /* appends to argv or envp */

/*
 * At the start, for an order that was running: when it is the upgrade that led to this start, tells its result (a trial
 * tells nothing) and returns true.
 */
bool pc_upgrade_settle(struct pc_runner *r, const struct pc_kept_order *k);

/*
 * The words of a program of ours that fetches one file of the server to its standard output, as the link's user
 * (link.c, role fetch).
 */
int pc_fetch_words(const struct pc_runner *r, const char *path, char ***argv);

/* The actions' preparations (act_*.c) */
enum pc_act pc_act_script(struct pc_task *t);
enum pc_act pc_act_packages(struct pc_task *t);
enum pc_act pc_act_service(struct pc_task *t);
enum pc_act pc_act_upgrade(struct pc_task *t);
enum pc_act pc_act_guard(struct pc_task *t);
enum pc_act pc_act_trust(struct pc_task *t);
enum pc_act pc_act_halt(struct pc_task *t);
enum pc_act pc_act_freeze(struct pc_task *t);
enum pc_act pc_act_isolate(struct pc_task *t);
enum pc_act pc_act_unisolate(struct pc_task *t);
enum pc_act pc_act_block(struct pc_task *t);
enum pc_act pc_act_unblock(struct pc_task *t);

/* timers.c */
/*
 * For prepare: writes down the timer of the params' `seconds`; its number is t->timer. On an error t->text says what it
 * was. data is taken; NULL counts as no memory.
 */
int pc_task_timer(struct pc_task *t, const char *kind, json_t *data);
/* What undoing it needs to know. PC_E_NOTFOUND: there is no such timer any more. */
int pc_timer_keep(struct pc_runner *r, uint64_t number, const json_t *data);
int pc_timer_drop(struct pc_runner *r, uint64_t number); /* forgets it: its stop did not take hold */
/* Ends this one now, and undoes it, at once or as soon as that can be. */
void pc_timer_end(struct pc_runner *r, uint64_t number, const char *why);
/* For one that took hold when its timer had ended already: undone at once or as soon as that can be. */
void pc_timer_undo_late(struct pc_task *t, const char *kind);
/* Seconds until its end; 0: it is over. */
uint64_t pc_timer_left(const struct pc_runner *r, const struct pc_kept_timer *t);
int pc_timers_recover(struct pc_runner *r); /* at the start: applies again what is still to hold */
void pc_timers_step(struct pc_runner *r);   /* undoes what is over */
/* early; number ended, or an error: what could not be undone is tried again every second */
int pc_timers_end(struct pc_runner *r, const char *kind, bool (*match)(const json_t *data, const void *arg),
                  const void *arg);

/* guard_client.c: the guard's control socket, waiting at most a few seconds. PC_E_NOTFOUND: no guard runs. */
int pc_guard_ask(const char *guard_dir, const json_t *request, int wait_s, json_t **result, char *why, size_t why_len);
/* Incidents so far; -1: no guard. */
int64_t pc_guard_incidents(const struct pc_runner *r);

/* runner_control.c */
extern const struct pc_command pc_runner_commands[];
#endif
