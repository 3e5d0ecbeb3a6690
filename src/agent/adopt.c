/*
 * Owns what a new guard takes over from the one before it, which crashed, was killed or was stopped: incidents whose
 * processes are frozen, verdicts not yet carried out, and the acts that the earlier one recorded of what is convicted
 * now; and what an incident takes over from nobody: files that were destroyed by processes whose origin was not learnt
 * in time. Must not judge. Called at the start, and by stop.c at each verdict.
 */
#include "agent/stopped.h"

#include "base/clock.h"
#include "base/str.h"
#include "kern/procfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* At the bound the rest stays on record as nobody's: `portcullis history` and `restore` have it. */
#define STRAYS_MAX 256

/*
 * What a guard that was killed had recorded of them before: without it a rollback would cover only what came after. The
 * processes are known again by pid and start time, and whatever they had begotten with them.
 */
void pc_adopt_earlier_acts(struct pc_guard *g, struct pc_stopped *s)
{
    uint64_t now = pc_real_ns(), first = UINT64_MAX;
    uint64_t since = now > g->settings.window_ns ? now - g->settings.window_ns : 0;
    int claimed = 0;
    if (since > g->started_real_ns)
        return; /* an earlier guard's evidence is too old to be of this attack */
    for (uint32_t i = 0; i < s->roots + s->members; i++) {
        pc_actor actor = i < s->roots ? s->root[i] : pc_judge_actor_of(g->judge, s->member[i - s->roots].pid);
        uint64_t began = UINT64_MAX, process = pc_acts_process(g, actor); /* 0, which nobody is, for actor 0 */
        int r = pc_store_incident_add_earlier(g->store, s->inc.id, process, g->run_base, since, &began);
        claimed += r > 0 ? r : 0;
        first = began < first ? began : first;
    }
    if (first < s->inc.started_ns)
        s->inc.started_ns = first;
    if (!claimed)
        return;
    char text[80];
    snprintf(text, sizeof text, "%d acts from before the guard's restart belong to it", claimed);
    pc_stopped_note(g, s->inc.id, text);
}

void pc_adopt_strays(struct pc_guard *g, struct pc_stopped *s)
{
    pc_actor stray[STRAYS_MAX];
    uint64_t since = 0, now = pc_mono_ns(), real = pc_real_ns();
    uint32_t n = pc_judge_take_strays(g->judge, stray, STRAYS_MAX, &since);
    for (uint32_t i = 0; i < n; i++)
        (void)pc_store_incident_add_process(g->store, s->inc.id,
                                            pc_acts_process(g, stray[i])); /* a failed index shows in status */
    if (!n)
        return;
    uint64_t began = real - (since < now ? now - since : 0);
    if (began < s->inc.started_ns)
        s->inc.started_ns = began;
    char text[160];
    snprintf(text, sizeof text,
             "%u processes destroyed files at the same time and ended before it could be seen whose they were: counted "
             "with it",
             n);
    pc_stopped_note(g, s->inc.id, text);
}

struct takeover {
    struct pc_guard *g;
    struct pc_stopped *s;
};

static int adopt(struct takeover *p, pid_t pid, bool in_group)
{
    pc_actor actor = pc_judge_actor_of(p->g->judge, pid);
    int r = pid > 0 ? pc_stopped_add(p->s, pid) : -ESRCH; /* 0: of another pid namespace */
    if (r < 0)
        return r == -ESRCH ? 0 : 1;
    p->s->member[p->s->members - 1].in_group = in_group;
    /* Under this guard it has another number; what it still does (closing its files at its end) is the incident's. */
    if (actor)
        (void)pc_store_incident_add_process(p->g->store, p->s->inc.id, pc_acts_process(p->g, actor));
    if (actor && !pc_stopped_beneath(p->g, p->s, actor) && p->s->roots < PC_ROOTS_MAX)
        p->s->root[p->s->roots++] = actor;
    return 0;
}

static int adopt_held(void *arg, pid_t pid)
{
    return adopt(arg, pid, true);
}

/* Start times are rounded by clocks that were read at different moments. */
static bool is_same(const struct pc_process *proc, struct pc_procinfo *now)
{
    return pc_proc_brief(proc->pid, now) == 0 && now->start_real_ns / PC_NS_PER_S + 1 >= proc->start_ns / PC_NS_PER_S &&
           now->start_real_ns / PC_NS_PER_S <= proc->start_ns / PC_NS_PER_S + 1;
}

/* Held by SIGSTOP alone: known by pid and start time, and still stopped. */
static int adopt_stopped(void *arg, const struct pc_process *proc)
{
    struct takeover *p = arg;
    struct pc_procinfo now;
    if (!is_same(proc, &now) || now.state != 'T' || pc_stopped_has(p->s, proc->pid))
        return 0;
    return adopt(p, proc->pid, false);
}

/* The cgroup it was in before: where a release takes it back to. */
static int recall_home(void *arg, const struct pc_process *proc)
{
    struct takeover *p = arg;
    struct pc_procinfo now;
    bool whole = strlen(proc->cgroup) + 1 < sizeof proc->cgroup; /* else it may have been cut */
    if (proc->cgroup[0] != '/' || !whole || strstr(proc->cgroup, "/portcullis-") || !is_same(proc, &now))
        return 0;
    for (uint32_t i = 0; i < p->s->members; i++) {
        struct member *m = &p->s->member[i];
        if (m->pid == proc->pid && !m->home[0] && pc_unescape_name(proc->cgroup, m->home, sizeof m->home) < 0)
            m->home[0] = 0;
    }
    return 0;
}

/* The folder of its first damage. Until an act with a known path comes, what was set before stays. */
static int name_folder(void *arg, const struct pc_act_rec *a)
{
    struct takeover *p = arg;
    char path[PATH_MAX];
    if (!pc_act_damages(a))
        return 0;
    pc_known_path(p->g, a->vol, &a->parent, a->name, path, sizeof path);
    if (path[0] != '/')
        return 0;
    pc_stopped_name_folder(p->g, p->s, path);
    return 1;
}

/* Named by a verdict that was not carried out yet. */
static int adopt_root(void *arg, const struct pc_process *proc)
{
    struct takeover *p = arg;
    struct pc_procinfo now;
    pc_actor actor = is_same(proc, &now) ? pc_judge_actor_of(p->g->judge, proc->pid) : 0;
    if (!actor || p->s->roots == PC_ROOTS_MAX)
        return 0;
    p->s->root[p->s->roots++] = actor;
    (void)pc_store_incident_add_process(p->g->store, p->s->inc.id, pc_acts_process(p->g, actor));
    return 0;
}

static int adopt_one(void *arg, const struct pc_incident *inc)
{
    struct pc_guard *g = arg;
    if (inc->state != PC_INC_FROZEN || inc->closed_ns)
        return 0;
    struct pc_stopped *s = calloc(1, sizeof *s);
    if (!s)
        return 1;
    s->inc = *inc;
    s->held_mono_ns = pc_mono_ns();
    s->group_fd = pc_freeze_group(&g->freezer, inc->id);
    pc_stopped_name_folder(g, s, g->folders ? g->folder[0].path : "/");
    struct takeover p = {.g = g, .s = s};
    if (s->group_fd >= 0)
        (void)pc_freeze_each(s->group_fd, adopt_held, &p);
    (void)pc_store_incident_processes(g->store, inc->id, inc->frozen_ns ? adopt_stopped : adopt_root, &p);
    (void)pc_store_incident_processes(g->store, inc->id, recall_home, &p);
    (void)pc_store_incident_acts(g->store, inc->id, name_folder, &p);
    s->next = g->stopped;
    g->stopped = s;
    return 0;
}

/* Frozen by a guard that could not write the incident, nor could before its end: stop.c:record_late does it now. */
static void adopt_unrecorded(struct pc_guard *g)
{
    struct pc_stopped *s = calloc(1, sizeof *s);
    if (!s)
        return;
    struct takeover p = {.g = g, .s = s};
    uint64_t now = pc_real_ns();
    s->inc = (struct pc_incident){.started_ns = now, .verdict_ns = now, .frozen_ns = now, .state = PC_INC_FROZEN,
                                  .summary = "frozen by an earlier guard that could not write its index"};
    s->held_mono_ns = pc_mono_ns();
    s->group_fd = pc_freeze_group(&g->freezer, 0);
    pc_stopped_name_folder(g, s, g->folders ? g->folder[0].path : "/");
    if (s->group_fd >= 0)
        (void)pc_freeze_each(s->group_fd, adopt_held, &p);
    if (!s->members) {
        pc_freeze_group_done(&g->freezer, 0, s->group_fd);
        pc_stopped_free(s);
        return;
    }
    s->inc.processes = s->members;
    s->inc.root = s->roots ? pc_acts_process(g, s->root[0]) : 0;
    s->next = g->stopped;
    g->stopped = s;
}

/* The guard was killed between the verdict and the freeze. */
static void resume(struct pc_guard *g, struct pc_stopped *s)
{
    pc_stopped_note(g, s->inc.id, "the guard was killed before it froze them: carried out after its restart");
    pc_stop_carry_out(g, s, NULL);
}

int pc_stop_adopt(struct pc_guard *g)
{
    int r = pc_store_incidents(g->store, adopt_one, g);
    adopt_unrecorded(g);
    for (struct pc_stopped *s = g->stopped, *next; s; s = next) {
        next = s->next;
        if (!s->inc.frozen_ns && s->roots)
            resume(g, s);
        if (s->members || s->observed)
            continue;
        /* Its processes ended while nobody watched (a reboot): nothing is frozen any more. */
        pc_stopped_unlist(g, s);
        pc_freeze_group_done(&g->freezer, s->inc.id, s->group_fd);
        s->inc.state = PC_INC_ENDED;
        s->inc.closed_ns = pc_real_ns();
        pc_stopped_note(g, s->inc.id, "its processes were gone when the guard started again");
        pc_stopped_update(g, s);
        pc_stopped_free(s);
    }
    return r;
}
