#ifndef PC_AGENT_GATE_IMPL_H
#define PC_AGENT_GATE_IMPL_H
#include "agent/guard.h"
#include "kern/procfs.h"

#include <signal.h>
#include <sys/stat.h>
#include <time.h>

/*
 * What the answers to the kernel are made of: for gate.c (life, up and down), gate_answer.c (the answering thread),
 * gate_copy.c (what has to be copied first, the copiers), gate_decide.c (the main thread's decisions on them),
 * gate_files.c (which files are asked about), gate_read.c (files that are read again and again), gate_cuts.c
 * (truncate(2) by name) and gate_sync.c (volumes written out).
 */

/* The switch fires this long after the answering thread last came round; it comes round every TURN_MS at least. */
#define DEADMAN_NS (800 * PC_NS_PER_MS)
#define TOUCHES_MAX 64
/*
 * Threads found to have no evidence against them: their next opens are answered at once, until any evidence comes up.
 */
#define CLEAN_SLOTS 1024
#define WAIT_BUCKETS 32
/* Threads whose /proc entry stays open, so that each further open of theirs costs one read of it. */
#define ASKED_SLOTS 64
/* Opens read from the kernel at once. */
#define BATCH_MAX 32
/* on-open: files that may be written without a copy, because they have one already or are none of ours. */
#define SPARED_SLOTS 8192
/*
 * on-open: files opened for reading, on their way from the answering to the main thread; more at once are asked about
 * again.
 */
#define READ_RING 64
#define READ_SLOTS 16384
/* on-open: files whose opens were asked about, and when. */
#define OPENED_SLOTS 4096
/* on-open: files whose reads and writes are counted; and such as are left alone for a while, see gate_cuts.c. */
#define PACE_SLOTS 1024
#define RESTING_MAX 16384
#define GRANTS_MAX 512
/* Crowds whose trust is remembered; of more, the oldest begin anew. */
#define PASSES_MAX 16
#define COPY_TRIES 3
/*
 * Openers to be told of that were let go before anybody saw to their files; of more at once only the hash that is kept
 * with a length (preserve/prefix.h) tells what they wrote.
 */
#define UNSEEN_TO_MAX 256

enum held_state {
    HELD_FREE = 0,
    HELD_NEW,
    HELD_WAITING,
    HELD_COPYING,
    HELD_FOLLOWS, /* the copy it needs is being made for somebody else */
    HELD_PARKED
};

struct held {
    int fd, group;
    pid_t tid, pid;
    uint8_t state, kind; /* enum pc_open_kind */
    bool single_link;
    uint8_t tries; /* copies that failed: the opener does not wait for another for ever */
    uint64_t since_ns;
    pc_actor actor;
    struct pc_fh fh;
};

struct grant {
    pc_actor group;
    bool crowd; /* nobody has any evidence against the group: it is only many */
    struct pc_fh fh;
    uint64_t since_ns;
};

/* What a crowd may do at once; it grows with every file of theirs that turns out to be harmless. */
struct crowd_pass {
    pc_actor group; /* 0: free */
    uint32_t files;
};

struct copy_job {
    uint32_t slot;
    int vol, fd;
    uint8_t how;
    bool durable;   /* the gate is down: on the disk before the opener goes on */
    bool drop_link; /* the opener needs a file with one name: our link goes before it is answered */
    struct pc_fh fh;
    bool done, adopted;
    bool let_go; /* its opener, who may overwrite it, was answered at the deadline */
    int result;
    uint64_t took_ns;
    struct pc_vault_copy copy;
};

struct read_lately {
    uint32_t tag, second; /* of the file; mono */
};

/* A file as one thread tells another of it. */
struct told_file {
    dev_t st_dev;
    struct pc_fh fh;
};

struct paced {
    uint32_t tag, second, accesses; /* of the file; mono; in this second */
};

struct resting {
    struct told_file file;
    uint64_t until_ns; /* mono */
};

/* Going over the files that rest on a link, to have them asked about one by one. */
struct files_round {
    int vol; /* being gone over; 0: none */
    uint32_t slot, found;
    uint64_t cursor, next_ns, pause_ns; /* mono: not before; how long after the next round that fails */
    bool failed; /* some file system has too many, or it could not be done */
};

struct pc_gate {
    int gate_group, ask_group, vault_group, main_event, thread_event;
    pthread_t answerer, syncer, *copier;
    bool has_syncer;
    uint32_t copiers;
    pid_t answerer_tid;
    uint64_t deadline_ns;
    atomic_bool stop;
    atomic_bool alert;      /* some gate is down, or something is frozen */
    atomic_bool evidence;   /* there was some in the last QUIET_NS, on whatever volume */
    _Atomic uint64_t reading_ns; /* mono: the answering thread reads events since then; 0: it does not */
    atomic_uint unseen;     /* openers let go by copiers since the main thread last read all events */
    _Atomic uint64_t clean[CLEAN_SLOTS]; /* thread << 32 | the millisecond (mono, modulo 2^32) it was found clean in */
    _Atomic uint64_t spared[SPARED_SLOTS]; /* device << 32 | inode; cleared by the main thread, with the lock held */
    uint32_t batch, askers; /* how many of BATCH_MAX, asker[] are used: never more than descriptors allow */
    struct pc_asker asker[ASKED_SLOTS]; /* answering thread only */
    struct read_lately lately[READ_SLOTS]; /* answering thread only */
    _Atomic uint64_t opened[OPENED_SLOTS]; /* a file's tag << 32 | the second (mono) it was last opened in */
    struct told_file read[READ_RING]; /* written by the answering thread, taken by the main thread */
    atomic_uint read_head, read_tail;
    struct paced pace[PACE_SLOTS], pace_all; /* answering thread only */
    struct resting resting[RESTING_MAX]; /* written by the answering thread, taken by the main thread, oldest first */
    atomic_uint rest_head, rest_tail;
    timer_t deadman;
    bool deadman_armed;
    struct pc_store *store;

    pthread_mutex_t lock; /* guards everything down to the blank line */
    pthread_cond_t work;
    struct held *held;
    uint32_t held_max, held_used;
    pid_t own[80];
    uint32_t owns;
    pid_t touched[TOUCHES_MAX]; /* threads denied at the vault, for the main thread to judge */
    uint32_t touches;
    struct told_file unseen_to[UNSEEN_TO_MAX]; /* on-open: may be written, and nobody saw to a copy */
    uint32_t unseen_tos;
    struct copy_job *job; /* ring of held_max jobs */
    uint32_t job_head, job_taken, job_tail;
    pthread_cond_t sync_work;
    uint32_t sync_wanted; /* volumes to be written out, a bit for each of pc_guard.volume */
    int sync_volume[PC_VOLUMES_MAX];
    uint64_t synced_ns[PC_VOLUMES_MAX]; /* mono: when the last write-out that succeeded had begun */
    struct pc_gate_stats stats;
    uint64_t waited[WAIT_BUCKETS]; /* answers by log2 of their microseconds */

    /* main thread only */
    uint64_t told_ns, told_files_ns;
    uint32_t asked; /* marks of files, at most: one that was marked twice counts twice */
    uint32_t finished, followed; /* copies that ended; the same when those who follow one were last looked at */
    struct files_round round;
    bool round_failed; /* the last one that came to its end */
    bool holds; /* some gate is down for no longer than a judgement takes */
    struct grant grant[GRANTS_MAX];
    uint32_t grants;
    struct crowd_pass pass[PASSES_MAX]; /* forgotten when there is no crowd any more */
    uint32_t passes;
};

/* Of a file: a slot of a table and, in its upper half, what tells apart those who meet in one. */
static inline uint64_t pc_gate_hash(const struct stat *st)
{
    return (st->st_ino ^ (uint64_t)st->st_dev << 40) * 0x9e3779b97f4a7c15ULL;
}

/* ---- gate.c ---- */

/* Ends a poll() of who waits for this eventfd. Never blocks. */
void pc_gate_wake(int event);
/* Takes the wake-ups of this eventfd. Never blocks. */
void pc_gate_drain_event(int event);
/* Answers a waiting open, counts how long it waited (unless it was parked), frees its slot. With the lock held. */
void pc_gate_answer(struct pc_gate *q, struct held *h, bool allow);
/* Notes the calling thread as ours: its opens never wait. When pc_gate.own is full it is not noted. Takes the lock. */
void pc_gate_register_own(struct pc_gate *q);
/* Whether this thread was found without evidence against it in the last CLEAN_MS, and none came up since. now: mono. */
bool pc_gate_known_clean(struct pc_gate *q, pid_t tid, uint64_t now);

/* ---- gate_copy.c ---- */

/* Whether another opener's copy of the same file, that will do for this job, is under way. With the lock held. */
bool pc_gate_is_copied(const struct pc_gate *q, const struct copy_job *job);

/* ---- gate_decide.c ---- */

/* There is no crowd: the next one begins anew. Main thread. */
void pc_gate_forget_passes(struct pc_guard *g);

/* ---- gate_answer.c ---- */

/* Ends a wait of the answering thread in the kernel. */
#define PC_GATE_NUDGE SIGUSR2

/* The answering thread; arg: struct pc_gate. Returns NULL once q->stop is set. */
void *pc_gate_answerer(void *arg);

/* ---- gate_sync.c ---- */

_Static_assert(PC_VOLUMES_MAX <= 32, "sync_wanted has a bit for each");
/* The thread that writes volumes out; arg: struct pc_gate. Returns NULL once q->stop is set. */
void *pc_gate_syncer(void *arg);

/* ---- gate_read.c ---- */

/* Answering thread: this file is opened, for whatever, and was asked about. now: mono. */
void pc_gate_was_opened(struct pc_gate *q, const struct stat *st, uint64_t now);
/* Answering thread: this file is opened for reading, and was asked about. Keeps no descriptor. now: mono. */
void pc_gate_was_read(struct pc_gate *q, int fd, const struct stat *st, uint64_t now);

/* ---- gate_cuts.c ---- */

/*
 * Answering thread: whether this access may cut a file that rests on a link, so that it is to be copied first. Any
 * other goes on; of a file that is read and written all the time it is the last one for a while. now: mono.
 */
bool pc_gate_may_cut(struct pc_gate *q, const struct pc_fan_open *o, uint64_t now);
/*
 * Whether truncate(2) of this open file is to be asked about: not where the kernel cannot, nor of a program, which
 * could then be written while it runs. May read from the disk: without the lock. Main thread.
 */
bool pc_gate_asks_cuts(const struct pc_volume *v, int fd);

/* ---- gate_files.c ---- */

/* Whether this file may be written without a copy. A no may be wrong, which costs a question. Any thread. */
bool pc_gate_is_spared(struct pc_gate *q, const struct stat *st);
/* Nothing of it has to be copied, and it does not rest on a link: remembered until pc_gate_on_link. Main thread. */
void pc_gate_spare(struct pc_gate *q, const struct stat *st);
/*
 * Nothing of this open file has to be copied before it is written: until it rests on a link, the kernel does not ask.
 * if_spared: only if that is (still) remembered. Any thread; takes the lock.
 */
void pc_gate_ask_no_more(struct pc_gate *q, int fd, const struct stat *st, bool if_spared);
/* From now on this file is kept by a link: opens of it are to be asked about. For pc_store_on_link; arg: the guard. */
void pc_gate_on_link(void *arg, int vol, int fd, uint64_t ino, bool again);
/* A file system in mode on-open comes: all its opens are asked about at first. 0 or -errno. Main thread. */
int pc_gate_files_begin(struct pc_guard *g, struct pc_volume *v);
/* It goes: none is. Main thread. */
void pc_gate_files_end(struct pc_guard *g, struct pc_volume *v);

/* ---- gate_copy.c ---- */

/* A copier thread; arg: struct pc_gate. Returns NULL once q->stop is set. */
void *pc_gate_copier(void *arg);
/* What openers may write who were let go before the main thread came to them. Main thread. */
void pc_gate_see_to_unseen(struct pc_guard *g);
/* This open is let go although its file has no copy, which could not be made. Main thread. */
void pc_gate_uncopied(struct pc_guard *g, const struct pc_volume *v, const struct held *h);
/* Whether this open has to wait for a copy of its file (on-open), and then job->how, job->drop_link. Main thread. */
bool pc_gate_needs_copy(struct pc_guard *g, const struct pc_volume *v, const struct held *h, const struct stat *st,
                        struct copy_job *job);
#endif
