/*
 * Owns the memory of files written lately outside the guarded folders, on file systems that are guarded in part. By
 * itself that is nobody's business, so they are neither read nor preserved; but when a process deletes guarded files,
 * the judge must know whether what its relatives wrote elsewhere is ciphertext that stands in for them. Only then a
 * file is read. (Another file system is not seen at all: SECURITY.md.)
 */
#include "agent/guard.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <errno.h>
#include <sys/stat.h>

/* A flood of files outside pushes older ones out: then their deletions inside are deletions, and no more. */
#define SLOTS 1024
/* Looked at before one deletion, the newest: an older one is no longer taken for the deleted file (core/twins.c). */
#define LOOKS 16
#define KEEP_NS (60 * PC_NS_PER_S)
#define HEAD_BYTES 8192

struct written {
    pc_actor actor; /* 0: free, or shown to the judge */
    pid_t pid;
    int vol;
    struct pc_fh fh;
    uint64_t time_ns;
};

struct pc_outside {
    struct written slot[SLOTS];
    uint32_t next, waiting; /* waiting: slots in use */
    uint8_t room[PC_CONTENT_BUDGET + PC_WINDOWS_MAX];
    struct pc_content content;
};

int pc_outside_new(struct pc_outside **out)
{
    struct pc_outside *o = calloc(1, sizeof *o);
    if (!o)
        return -ENOMEM;
    *out = o;
    return 0;
}

void pc_outside_free(struct pc_outside *o)
{
    free(o);
}

static void drop(struct pc_outside *o, struct written *w)
{
    o->waiting -= w->actor != 0;
    w->actor = 0;
}

void pc_outside_note(struct pc_guard *g, const struct pc_volume *v, const struct pc_fh *fh, pid_t pid)
{
    struct pc_outside *o = g->outside;
    pc_actor actor = pc_judge_actor_of(g->judge, pid);
    struct written *last = &o->slot[(o->next + SLOTS - 1) % SLOTS];
    if (!actor)
        return;
    if (last->actor && pc_fh_equal(&last->fh, fh)) { /* written on: one file, one slot */
        last->time_ns = pc_mono_ns();
        return;
    }
    struct written *w = &o->slot[o->next];
    drop(o, w);
    *w = (struct written){actor, pid, v->id, *fh, pc_mono_ns()};
    o->next = (o->next + 1) % SLOTS;
    o->waiting++;
}

static void read_windows(int fd, struct pc_content *c, uint8_t *room)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct pc_window *w = &c->win[i];
        ssize_t n = pread(fd, room, w->len, (off_t)w->off);
        w->len = n > 0 ? (uint32_t)n : 0;
        w->data = room;
        room += w->len;
    }
}

/* Most are told by their first bytes, and are no ciphertext. */
static bool is_opaque(struct pc_outside *o, int fd, uint64_t size)
{
    struct pc_look look;
    o->content = (struct pc_content){.size = size, .count = 1, .win = {{.len = HEAD_BYTES}}};
    read_windows(fd, &o->content, o->room);
    pc_content_look(&o->content, &look);
    return look.opaque >= 30;
}

static void show(struct pc_guard *g, const struct written *w)
{
    struct pc_outside *o = g->outside;
    struct pc_volume *v = pc_volume_by_id(g, w->vol);
    struct pc_outcome out = {0};
    struct stat st;
    _close_ int fd = v ? pc_fh_open_file(v->tree_fd, &w->fh) : -1;
    if (fd < 0 || fstat(fd, &st) < 0 || !is_opaque(o, fd, (uint64_t)st.st_size))
        return;
    struct pc_act act = {.now_ns = pc_mono_ns(), .pid = w->pid, .op = PC_OP_CREATE, .file = pc_fh_hash(&w->fh),
                         .size_after = (uint64_t)st.st_size, .closed = true, .after = &o->content};
    pc_content_plan_one(act.size_after, pc_guard_random(g), &o->content);
    read_windows(fd, &o->content, o->room);
    if (pc_judge_act(g->judge, &act, &out) != PC_DECIDED)
        return;
    pc_tracer_act(g, &act, &out.facts);
    if (out.gate)
        pc_gate_evidence(g, v);
    if (out.convicted)
        pc_stop_convict(g, &out, "a file outside the guarded folders");
}

void pc_outside_show(struct pc_guard *g, pid_t deleter)
{
    struct pc_outside *o = g->outside;
    pc_actor group = o->waiting ? pc_judge_group_of_pid(g->judge, deleter) : 0;
    uint64_t now = pc_mono_ns();
    struct written found[LOOKS];
    uint32_t looks = 0;
    for (uint32_t k = 1; group && k <= SLOTS && o->waiting; k++) {
        struct written *w = &o->slot[(o->next + SLOTS - k) % SLOTS];
        if (w->actor && now - w->time_ns > KEEP_NS)
            drop(o, w);
        /* The number of a process that has ended may be another's by now. */
        if (!w->actor || !pc_judge_is_beneath(g->judge, w->actor, group) ||
            pc_judge_actor_of(g->judge, w->pid) != w->actor)
            continue;
        if (looks < LOOKS)
            found[looks++] = *w;
        drop(o, w);
    }
    while (looks) /* in the order they were written: the judge counts from the newest */
        show(g, &found[--looks]);
}
