#ifndef PC_AGENT_ACTS_IMPL_H
#define PC_AGENT_ACTS_IMPL_H
#include "agent/guard.h"

#include <sys/stat.h>

/*
 * What an event becomes on its way to a judged, recorded act: for acts.c (what happened), acts_judge.c (what the judge
 * says of it, the record), acts_glance.c (the look before all that), acts_held.c (what the kernel finishes for others),
 * acts_proven.c (who need not be looked at at once), acts_muted.c (files written without being closed), acts_process.c
 * (who did it, in the index) and acts_unseen.c (changes that nobody was seen making).
 */

#define SET_SLOTS 32768 /* actors whose process row was written; a collision only writes a row again */
#define SEEN_SLOTS 4096 /* acts recorded lately, so that a busy writer does not fill the index */
#define MUTED_MAX 1024
/*
 * Files that stopped processes hold open; of more, the oldest ones are forgotten: then nobody is known to have closed
 * them.
 */
#define HELD_FILES 1024
/* Enough of a file to see ciphertext, and in the page cache: somebody has just written it. */
#define GLANCE_BYTES 8192
/*
 * Looked at and found harmless: no second glance for a while, so that one busy file does not keep bringing the gate
 * down.
 */
#define CLEARED_SLOTS 1024
/* Programs that have shown to be harmless; two that meet in a slot have to show it anew. */
#define PROVEN_SLOTS 256
/* Below this a look (struct pc_look, opaque) says nothing against a file. */
#define PC_ACTS_PLAIN 30
/* New files by what the judge calls them, so that it can ask for one; which of two that meet here stays is chance. */
#define MADE_SLOTS 1024

struct seen {
    uint64_t actor, file, before, mono_ns;
    uint8_t op, score;
};

struct muted {
    struct pc_fh fh;
    int vol;
    pid_t pid;
    pc_actor actor; /* who pid was when it wrote; 0: not known */
    uint64_t since_ns;
    int64_t changed_ns; /* its ctime when it was last judged; 0: not known */
    uint32_t looks;
};

struct held_file {
    int vol;
    struct pc_fh fh;
    pid_t pid;
    pc_actor actor; /* 0: empty */
};

struct cleared {
    uint64_t file, judged_ns;
    bool read; /* its content was */
};

struct proven {
    pc_actor actor; /* 0: empty */
    uint64_t doubts; /* pc_acts.doubts at the time: with any other number it holds no more */
    uint32_t looks;
};

/* Families that destroyed what others made; two that meet in a slot take turns. */
#define DESTROYER_SLOTS 256
struct destroyer {
    pc_actor group; /* 0: empty */
    uint32_t files;
    uint64_t since_ns;
};

struct pc_acts {
    struct proven proven[PROVEN_SLOTS];
    uint64_t doubts; /* how often anything counted against anybody */
    struct destroyer destroyer[DESTROYER_SLOTS];
    struct cleared cleared[CLEARED_SLOTS];
    pc_actor written[SET_SLOTS];
    struct seen seen[SEEN_SLOTS];
    struct muted muted[MUTED_MAX];
    uint32_t muted_count;
    struct held_file held[HELD_FILES];
    uint32_t held_next;
    struct pc_fh made[MADE_SLOTS];
    uint8_t before[PC_CONTENT_BUDGET + PC_WINDOWS_MAX], after[PC_CONTENT_BUDGET + PC_WINDOWS_MAX];
    struct pc_content content_before, content_after;
};

/* One thing that one process did to one file, as far as acts.c found it out. */
struct deed {
    struct pc_volume *v;
    pid_t pid;
    pc_actor actor; /* who pid was then, when it may be another's by now; else 0 */
    uint8_t op;
    bool is_dir;
    struct pc_fh fh;
    pc_dir dir, new_dir;
    const char *name, *new_name;
    const struct pc_known *known; /* NULL: new to us */
    struct pc_known earlier;      /* what known points to once pc_acts_changed went back to the version before */
    uint64_t before;              /* version to compare with and to restore */
    struct pc_fh after_fh;        /* PC_OP_REPLACE: what is there now */
    uint64_t size_after;
    bool closed; /* the writer has closed the file */
    bool looked_at_now; /* no event, but a look that was due */
    bool late;   /* the kernel finished it for somebody: a change that is on record already is not told again */
    bool moved_out; /* a deletion only for the guarded folder: it lives on outside */
};

/* ---- acts.c ---- */

/* fstat of the file as it is now. 0, or a negative errno (it is gone, or cannot be opened) and *st untouched. */
int pc_acts_stat_live(struct pc_volume *v, const struct pc_fh *fh, struct stat *st);
/* The content of d->fh changed: judges, records, and queues it to be preserved. closed: its writer closed it. */
void pc_acts_changed(struct pc_guard *g, struct deed *d, bool closed);

/*
 * First content of a file nobody knew (d->known NULL), which is closed: judges it. False when it is gone, or no file.
 */
bool pc_acts_new_content(struct pc_guard *g, struct deed *d);

/* ---- acts_judge.c ---- */

/*
 * Reads the planned windows from fd (negative: nothing can be read) into room, which must hold their sum. The len of
 * each becomes what was read, 0 on failure; its data points into room.
 */
void pc_acts_read_windows(int fd, struct pc_content *c, uint8_t *room);
/* Is the content before such an act (enum pc_op) at hand? k may be NULL: no. */
bool pc_acts_has_content(const struct pc_known *k, uint8_t op);
/* Reads what the judge needs: act->before, act->after point into g->acts until the next call; act->facts at *facts. */
void pc_acts_fetch(struct pc_guard *g, const struct deed *d, enum pc_answer need, struct pc_act *act,
                   struct pc_facts *facts);
/* Asks the judge, fetching what it wants to see. *o is what it says of the deed, all zero if it decides nothing. */
void pc_acts_ask(struct pc_guard *g, const struct deed *d, struct pc_outcome *o);
/* Whether the change of d->fh since version d->before is on record; PC_CHANGE_UNSEEN also when the index fails. */
enum pc_change pc_acts_change_of(struct pc_guard *g, const struct deed *d);
/* Writes the deed into the index, with its actor, and with the incident if there is one. */
void pc_acts_record(struct pc_guard *g, const struct deed *d, const struct pc_outcome *o);
/* Asks, brings the gate down on evidence, records, and hands a verdict to stop.c. */
void pc_acts_judge(struct pc_guard *g, const struct deed *d);

/* ---- acts_proven.c ---- */

/* What the judge said of something it was asked about: content that was looked at counts for or against its writer. */
void pc_acts_looked(struct pc_guard *g, const struct pc_outcome *o);
/*
 * Whether the new file that it has just closed may be looked at when it is preserved. Not always of a proven one: which
 * files it is that are looked at at once nobody can know.
 */
bool pc_acts_may_look_later(struct pc_guard *g, pid_t pid);
/*
 * The same of a change to a file that is known: own work (below), so that nobody else's content is lost with it, and a
 * look at it was harmless a moment ago.
 */
bool pc_acts_may_look_again_later(struct pc_guard *g, const struct deed *d);
/* A proven program at work on what itself or a descendant of it made while we watched. */
bool pc_acts_is_own_work(struct pc_guard *g, const struct deed *d);
/*
 * It deleted or replaced a preserved file, made by `creator` (as pc_known.creator). Of a family that did so to several
 * which it had not made itself, lately, nothing is looked at later.
 */
void pc_acts_destroyed(struct pc_guard *g, pid_t pid, uint64_t creator);

/* ---- acts_glance.c ---- */

/* After the judge has looked: found harmless, the file gets no second glance for CLEARED_NS; else it does. */
void pc_acts_clear(struct pc_guard *g, const struct pc_fh *fh, const struct pc_outcome *o);
/* Whether the content of this file was judged less than within_ns ago, for the last time, and found harmless. */
bool pc_acts_was_read(const struct pc_guard *g, const struct pc_fh *fh, uint64_t within_ns);

/* ---- acts_held.c ---- */

/*
 * A content event (bits: enum of kern/fan.h) by a kernel thread: sets d->pid to who left it to the kernel, and d->late.
 */
void pc_acts_whose(struct pc_guard *g, struct deed *d, uint32_t bits);

/* ---- acts_muted.c ---- */

/*
 * A write without a close: mutes the file if its last one was less than BUSY_NS ago, or it is work on a file of one's
 * own that goes on (pc_acts_may_look_again_later). True in the latter case: the timer's look is all it needs.
 */
bool pc_acts_mute(struct pc_guard *g, const struct deed *d);
/* What it was at that ctime is judged: the timer's look, which takes all for the first writer's, is for what comes. */
void pc_acts_muted_judged(struct pc_guard *g, int vol, const struct pc_fh *fh, int64_t ctime_ns);
#endif
