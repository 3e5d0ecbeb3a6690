/*
 * Owns which opens of a file system in mode on-open wait for us. A file needs the question only while its content rests
 * on the live inode (a hard link in the vault, a length): so those files are marked one by one, and nobody waits who
 * opens another. Until they are all known, and when there are too many to keep their inodes in memory, every open of
 * the file system is asked about; there, files that need no question are remembered (spared) and then ignored.
 *
 * The rule: a file whose content comes to rest on a link is marked before it does (pc_gate_on_link, by the store), and
 * the file system's own mark goes only after a round over the index has marked all that did so before. Whatever fails
 * brings the file system's mark back. Must not decide on opens, nor copy: gate_answer.c, gate_decide.c and gate_copy.c
 * ask it and tell it.
 */
#include "agent/gate_impl.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>

/* Of a round in one turn: a file takes some 10 us, 256 rows without one to be marked some 100. */
#define WORK_NS (1 * PC_NS_PER_MS)
#define PAUSE_NS (3 * PC_NS_PER_MS)
#define ALERT_PAUSE_NS (20 * PC_NS_PER_MS)
/* At first at most this share of the limit: the rest is for what comes to rest on links later. */
#define AT_FIRST(limit) ((uint32_t)((limit) / 4 * 3))
/* After a round that failed, or found too many. Then twice as long, and so on. */
#define AGAIN_NS (60 * PC_NS_PER_S)
#define AGAIN_MAX_NS (960 * PC_NS_PER_S)
#define TELL_NS (10 * PC_NS_PER_S)

/* ---- files that may be written without a copy ---- */

/* The slot's content for a file; 0: it has none (a larger number than fits, so that no two files look the same). */
static uint64_t spared_key(uint64_t dev, uint64_t ino)
{
    return dev >> 32 || ino >> 32 ? 0 : dev << 32 | ino;
}

static _Atomic uint64_t *spared_slot(struct pc_gate *q, uint64_t key)
{
    return &q->spared[key * 0x9e3779b97f4a7c15ULL >> 51];
}

bool pc_gate_is_spared(struct pc_gate *q, const struct stat *st)
{
    uint64_t key = spared_key(st->st_dev, st->st_ino);
    return key && atomic_load(spared_slot(q, key)) == key;
}

void pc_gate_spare(struct pc_gate *q, const struct stat *st)
{
    uint64_t key = spared_key(st->st_dev, st->st_ino);
    if (key)
        atomic_store(spared_slot(q, key), key);
}

void pc_gate_ask_no_more(struct pc_gate *q, int fd, const struct stat *st, bool if_spared)
{
    pthread_mutex_lock(&q->lock); /* keeps pc_gate_on_link from coming between */
    if (!if_spared || pc_gate_is_spared(q, st)) {
        pc_gate_spare(q, st);
        (void)pc_fan_ask_no_more(q->ask_group, fd); /* fails on old kernels: then it stays a question */
    }
    pthread_mutex_unlock(&q->lock);
}

/* ---- which are asked about ---- */

/* Another round over all files, or the end of rounds until something brings a file system's mark back. */
static void plan_round(struct pc_gate *q, bool again)
{
    uint64_t pause = q->round.pause_ns;
    q->round = (struct files_round){.next_ns = UINT64_MAX};
    if (!again)
        return;
    q->round.next_ns = pc_mono_ns() + pause;
    q->round.pause_ns = !pause ? AGAIN_NS : pause * 2 < AGAIN_MAX_NS ? pause * 2 : AGAIN_MAX_NS;
}

static void say_not_asked(struct pc_guard *g, const struct pc_volume *v, int err)
{
    uint64_t now = pc_mono_ns();
    if (g->gate->told_files_ns && now - g->gate->told_files_ns < TELL_NS)
        return;
    g->gate->told_files_ns = now;
    pc_event(g->log, PC_LEVEL_ERROR, "not-asked", NULL,
             "%s: files are kept by a link, and opens of them cannot be held (%s): what is written to them is not "
             "preserved before",
             v->point, pc_strerror(err));
}

/*
 * All opens are asked about again, of every file system: the marks of files can only be taken away from all at once.
 * Where the file system's mark cannot be had, those of its files stay, and so do everybody's.
 */
static void ask_all(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    bool all = true;
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++) {
        if (!v->id || v->mode != PC_MODE_ON_OPEN)
            continue;
        int r = v->asks_all ? 0 : pc_fan_gate_down(q->ask_group, v->tree_fd);
        if (r < 0)
            say_not_asked(g, v, r);
        v->asks_all = r == 0;
        v->marking = false;
        all &= v->asks_all;
    }
    if (all && pc_fan_forget_files(q->ask_group) == 0)
        q->asked = 0;
    plan_round(q, true);
}

void pc_gate_on_link(void *arg, int vol, int fd, uint64_t ino, bool again)
{
    struct pc_guard *g = arg;
    struct pc_gate *q = g->gate;
    struct pc_volume *v = pc_volume_by_id(g, vol);
    uint64_t key = v ? spared_key(v->st_dev, ino) : 0;
    bool marks = v && v->mode == PC_MODE_ON_OPEN && (!v->asks_all || v->marking);
    bool room = q->asked < g->settings.ask_files, cuts = marks && pc_gate_asks_cuts(v, fd);
    pthread_mutex_lock(&q->lock);
    if (key && atomic_load(spared_slot(q, key)) == key)
        atomic_store(spared_slot(q, key), 0);
    /* Also when the slot is another's by now. */
    int r = marks && room ? pc_fan_ask_file(q->ask_group, fd, cuts) : pc_fan_ask_again(q->ask_group, fd);
    pthread_mutex_unlock(&q->lock);
    if (r == 0 && marks && room)
        q->asked += !again; /* perhaps it was marked already: then it counts twice, until the next round */
    else if (r < 0 || marks)
        ask_all(g);
    if (marks && !room && !v->asks_all) /* over the bound rather than lost */
        r = pc_fan_ask_file(q->ask_group, fd, cuts);
    g->n.unasked += r < 0 && marks && !v->asks_all;
}

void pc_gate_has_copy(struct pc_guard *g, const struct pc_volume *v, int fd)
{
    struct pc_gate *q = g->gate;
    struct stat st;
    q->asked -= q->asked > 0 && (!v->asks_all || v->marking);
    if (v->asks_all && fstat(fd, &st) == 0)
        pc_gate_ask_no_more(q, fd, &st, false);
    else
        (void)pc_fan_forget_file(q->ask_group, fd); /* main thread, as pc_gate_on_link: nothing comes between */
}

int pc_gate_files_begin(struct pc_guard *g, struct pc_volume *v)
{
    int r = pc_fan_gate_down(g->gate->ask_group, v->tree_fd);
    v->asks_all = r == 0;
    v->no_cuts = pc_fan_asks_cuts(g->gate->ask_group, v->tree_fd);
    if (v->no_cuts == 0)
        (void)pc_fan_ignore_accesses(g->gate->ask_group, v->tree_fd); /* or our own reads are answered one by one */
    g->gate->round = (struct files_round){0};
    return r;
}

void pc_gate_files_end(struct pc_guard *g, struct pc_volume *v)
{
    if (!v->asks_all || v->marking)
        ask_all(g); /* or the marks of its files would stay */
    (void)pc_fan_gate_up(g->gate->ask_group, v->tree_fd); /* fails when the file system is gone */
}

/* ---- rounds ---- */

/* The next file system whose opens are all asked about. */
static void next_volume(struct pc_guard *g)
{
    struct files_round *n = &g->gate->round;
    for (; n->slot < PC_VOLUMES_MAX; n->slot++) {
        const struct pc_volume *v = &g->volume[n->slot];
        if (v->id && v->mode == PC_MODE_ON_OPEN && v->asks_all) {
            n->vol = v->id;
            n->cursor = n->found = 0;
            return;
        }
    }
    bool failed = g->gate->round_failed = n->failed;
    if (!failed)
        n->pause_ns = 0;
    plan_round(g->gate, failed);
}

static void leave_volume(struct files_round *n, bool failed)
{
    n->failed |= failed;
    n->vol = 0;
    n->slot++;
}

/* 0, also when it is gone (its event is on its way), or an error. */
static int mark_file(struct pc_guard *g, const struct pc_volume *v, const struct pc_known *k)
{
    struct pc_gate *q = g->gate;
    _close_ int fd = pc_fh_open(v->tree_fd, &k->fh, O_RDONLY | O_NONBLOCK | O_NOATIME);
    if (fd < 0)
        return fd == -ESTALE || fd == -ENOENT ? 0 : fd;
    bool cuts = pc_gate_asks_cuts(v, fd);
    pthread_mutex_lock(&q->lock);
    int r = pc_fan_ask_file(q->ask_group, fd, cuts);
    pthread_mutex_unlock(&q->lock);
    q->asked += r == 0;
    q->round.found += r == 0;
    return r;
}

/* All its files were gone over: first to count them, then to mark them. */
static void end_of_pass(struct pc_guard *g, struct pc_volume *v)
{
    struct files_round *n = &g->gate->round;
    if (!v->marking) {
        v->marking = true;
        n->cursor = n->found = 0;
        return;
    }
    v->marking = false;
    v->asks_all = pc_fan_ask_files_only(g->gate->ask_group, v->tree_fd) < 0;
    leave_volume(n, v->asks_all);
}

/* What cannot be opened by us now may be opened by others later: every open of its file system stays a question. */
static void give_up_marking(struct pc_gate *q, struct pc_volume *v)
{
    v->marking = false;
    q->asked -= q->asked < q->round.found ? q->asked : q->round.found; /* they stay, and count again the next time */
    leave_volume(&q->round, true);
}

/* False: that is enough for this turn. */
static bool next_file(struct pc_guard *g, struct pc_volume *v)
{
    struct pc_gate *q = g->gate;
    struct files_round *n = &q->round;
    struct pc_known known;
    int r = pc_store_next_link(g->store, v->id, &n->cursor, INT64_MAX, INT64_MAX, &known);
    if (r == 0) {
        end_of_pass(g, v);
        return false;
    }
    if (r == 1 && v->marking)
        r = mark_file(g, v, &known);
    else
        n->found += r == 1;
    bool too_many = q->asked + (v->marking ? 0 : n->found) > AT_FIRST(g->settings.ask_files);
    if (too_many && v->marking)
        ask_all(g); /* what is marked already must not keep memory for nothing */
    else if (r < 0 && v->marking)
        give_up_marking(q, v);
    else if (r < 0 || too_many)
        leave_volume(n, true);
    return n->vol != 0;
}

void pc_gate_files_step(struct pc_guard *g, uint64_t now_ns)
{
    struct files_round *n = &g->gate->round;
    struct pc_volume *v = n->vol ? pc_volume_by_id(g, n->vol) : NULL;
    if (now_ns < n->next_ns)
        return;
    if (!v || !v->asks_all) {
        next_volume(g);
        return;
    }
    while (next_file(g, v) && pc_mono_ns() - now_ns < WORK_NS)
        ;
    if (n->next_ns > now_ns)
        return;
    /* While there is evidence others come first; every open is asked about anyway, but truncate(2) is not. */
    n->next_ns = now_ns + (pc_gate_alert(g) ? ALERT_PAUSE_NS : g->ready ? PAUSE_NS : 0);
}

uint64_t pc_gate_files_next_ns(const struct pc_guard *g)
{
    return g->settings.ask_files ? g->gate->round.next_ns : UINT64_MAX;
}

bool pc_gate_files_failed(const struct pc_guard *g)
{
    return g->gate->round_failed;
}

void pc_gate_files_reload(struct pc_guard *g)
{
    if (g->gate->asked > g->settings.ask_files)
        ask_all(g);
}
