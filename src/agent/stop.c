/*
 * Owns what happens after a verdict: opening the incident, stopping the subtree with all races closed, and what time
 * brings. What people decide later is decided.c's. Must not judge. Stops only processes that the lineage places beneath
 * a convicted root.
 */
#include "agent/share.h"

#include "agent/clients.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "kern/cnproc.h"
#include "kern/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

/* Each pass stops everything then alive; a fork that raced is found by the next. A stopped process forks no more. */
#define PASSES_MAX 100
#define DAMAGE_SCORE 50

bool pc_stopped_beneath(const struct pc_guard *g, const struct pc_stopped *s, pc_actor actor)
{
    for (uint32_t i = 0; actor && i < s->roots; i++)
        if (pc_judge_is_beneath(g->judge, actor, s->root[i]))
            return true;
    return false;
}

uint64_t pc_stop_incident_of(struct pc_guard *g, pc_actor actor)
{
    for (struct pc_stopped *s = g->stopped; s; s = s->next)
        if (!s->observed && pc_stopped_beneath(g, s, actor))
            return s->inc.id;
    return 0;
}

uint64_t pc_stop_case_of(struct pc_guard *g, pc_actor actor)
{
    for (struct pc_stopped *s = g->stopped; s; s = s->next)
        if (pc_stopped_beneath(g, s, actor))
            return s->inc.id;
    return 0;
}

bool pc_stop_any_frozen(const struct pc_guard *g)
{
    for (const struct pc_stopped *s = g->stopped; s; s = s->next)
        if (!s->observed)
            return true;
    return false;
}

struct pc_stopped *pc_stopped_find(struct pc_guard *g, uint64_t incident)
{
    for (struct pc_stopped *s = g->stopped; s; s = s->next)
        if (s->inc.id == incident && !s->observed)
            return s;
    return NULL;
}

bool pc_stopped_has(const struct pc_stopped *s, pid_t pid)
{
    for (uint32_t i = 0; i < s->members; i++)
        if (s->member[i].pid == pid)
            return true;
    return false;
}

int pc_stopped_add(struct pc_stopped *s, pid_t pid)
{
    struct pc_procinfo now = {0};
    int r = pc_proc_brief(pid, &now);
    if (r == -ENOENT || r == -ESRCH)
        return -ESRCH;
    if (s->members == s->cap) {
        uint32_t cap = s->cap ? s->cap * 2 : 32;
        struct member *more = reallocarray(s->member, cap, sizeof *more);
        if (!more)
            return -ENOMEM;
        s->member = more;
        s->cap = cap;
    }
    s->member[s->members++] = (struct member){.pid = pid, .start_ticks = r == 0 ? now.start_ticks : 0};
    return 0;
}

/* Somebody else may have killed it while it was held, and its number be another program's by now. */
bool pc_stopped_is_there(const struct member *m)
{
    struct pc_procinfo now;
    int r = pc_proc_brief(m->pid, &now);
    return r == 0 && (now.start_ticks == m->start_ticks || !m->start_ticks);
}

/* ---- stopping ---- */

struct pass {
    struct pc_guard *g;
    struct pc_stopped *s;
    uint32_t found;
};

static int stop_if_beneath(void *arg, pid_t pid)
{
    struct pass *p = arg;
    pc_actor actor = pid == getpid() ? 0 : pc_judge_actor_of(p->g->judge, pid);
    if (!pc_stopped_beneath(p->g, p->s, actor) || pc_stopped_has(p->s, pid))
        return 0;
    if (pc_freeze_stop(pid) < 0)
        return 0; /* gone */
    p->found++;
    (void)pc_stopped_add(p->s, pid); /* without memory it is stopped all the same; a later pass lists it */
    return 0;
}

static void stop_all(struct pc_guard *g, struct pc_stopped *s)
{
    struct pass p = {.g = g, .s = s};
    int passes = 0;
    do {
        p.found = 0;
        pc_guard_lineage(g);
        (void)pc_proc_each(stop_if_beneath, &p);
    } while (p.found && ++passes < PASSES_MAX);
}

static void hold_all(struct pc_guard *g, struct pc_stopped *s)
{
    if (s->group_fd < 0)
        s->group_fd = pc_freeze_group(&g->freezer, s->inc.id);
    if (s->group_fd < 0)
        return; /* signals only: status says so */
    for (uint32_t i = 0; i < s->members; i++) {
        struct member *m = &s->member[i];
        if (!m->in_group && pc_stopped_is_there(m))
            m->in_group = pc_freeze_hold(s->group_fd, m->pid, m->home, sizeof m->home) == 0;
    }
}

/* ---- incidents ---- */

struct count {
    uint64_t *seen;
    uint32_t slots, damaged, preserved;
};

static bool first_time(struct count *c, uint64_t key)
{
    for (uint32_t i = 0; i < 64; i++) {
        uint64_t *at = &c->seen[(key + i) % c->slots];
        if (*at == key)
            return false;
        if (*at == 0) {
            *at = key;
            return true;
        }
    }
    return true; /* a full table counts a file twice rather than not at all */
}

/* What a verdict rests on is damage, however little each of many deleted or emptied files weighs: it is gone. */
bool pc_act_damages(const struct pc_act_rec *a)
{
    bool gone = a->op == PC_OP_DELETE || a->evidence & PC_EV_EMPTIED;
    return a->score >= DAMAGE_SCORE || (gone && a->score > 0);
}

static int count_act(void *arg, const struct pc_act_rec *a)
{
    struct count *c = arg;
    uint64_t file = pc_fh_hash(&a->fh) | 1;
    if (pc_act_damages(a) && first_time(c, file))
        c->damaged++;
    if (a->before && !a->is_dir && first_time(c, file ^ 0x5555555555555554ULL))
        c->preserved++;
    return 0;
}

void pc_stop_recount(struct pc_guard *g, struct pc_incident *inc)
{
    struct count c = {.slots = 1u << 18};
    c.seen = calloc(c.slots, sizeof *c.seen);
    if (!c.seen)
        return;
    if (pc_store_incident_acts(g->store, inc->id, count_act, &c) >= 0) {
        inc->damaged = c.damaged;
        inc->preserved = c.preserved;
    }
    free(c.seen);
}

void pc_stopped_update(struct pc_guard *g, struct pc_stopped *s)
{
    if (!s->inc.id)
        return; /* see record_late */
    pc_stop_recount(g, &s->inc);
    if (pc_store_incident_update(g->store, &s->inc) < 0)
        pc_event(g->log, PC_LEVEL_ERROR, "index", NULL, "incident %" PRIu64 " could not be written", s->inc.id);
    (void)pc_store_flush(g->store);
}

void pc_stopped_note(struct pc_guard *g, uint64_t incident, const char *text)
{
    (void)pc_store_incident_note(g->store, incident, pc_real_ns(), text);
}

void pc_stopped_unlist(struct pc_guard *g, struct pc_stopped *s)
{
    for (struct pc_stopped **at = &g->stopped; *at; at = &(*at)->next) {
        if (*at != s)
            continue;
        *at = s->next;
        break;
    }
}

void pc_stopped_free(struct pc_stopped *s)
{
    if (s->group_fd >= 0)
        close(s->group_fd);
    free(s->member);
    free(s);
}

void pc_stopped_name_folder(struct pc_guard *g, struct pc_stopped *s, const char *path)
{
    snprintf(s->folder, sizeof s->folder, "%s", "/");
    for (uint32_t i = 0; i < g->folders; i++)
        if (pc_path_beneath(path, g->folder[i].path))
            snprintf(s->folder, sizeof s->folder, "%s", g->folder[i].path);
}

/* Read while the process still lives: for the report, and for the rules. */
static void describe(struct pc_guard *g, struct pc_stopped *s)
{
    pid_t pid = pc_judge_pid(g->judge, s->root[0]);
    struct pc_procinfo info;
    if (pid < 0)
        snprintf(s->inc.summary, sizeof s->inc.summary, "client %s of %.200s", pc_clients_address(g, pid),
                 g->settings.share_server);
    else if (pc_proc_read(pid, &info) == 0)
        snprintf(s->inc.summary, sizeof s->inc.summary, "%.200s", info.argv[0] ? info.argv : info.exe);
    else
        snprintf(s->inc.summary, sizeof s->inc.summary, "process %d (gone)", pid);
    pc_utf8_cut(s->inc.summary);
    for (char *p = s->inc.summary; *p; p++)
        if (*p == '\n')
            *p = ' ';
}

bool pc_stopped_program(const struct pc_guard *g, pc_actor root, uint8_t sha256[32])
{
    char hex[65];
    return pc_judge_alive(g->judge, root) && pc_proc_exe_sha256(pc_judge_pid(g->judge, root), hex) == 0 &&
           pc_unhex(hex, sha256, 32) == 32;
}

static bool allowed(struct pc_guard *g, const struct pc_stopped *s)
{
    uint8_t sha[32];
    for (uint32_t i = 0; i < s->roots; i++) {
        if (!pc_stopped_program(g, s->root[i], sha))
            return false;
        uint64_t now_s = pc_real_ns() / PC_NS_PER_S;
        if (!pc_rules_match(&g->settings.rules, sha, s->folder, now_s) &&
            !pc_rules_match(&g->released, sha, s->folder, now_s))
            return false;
    }
    return true;
}

void pc_stopped_absolve(struct pc_guard *g, pc_actor root)
{
    pc_judge_absolve(g->judge, root);
    pc_tracer_absolve(g, root);
}

static void thaw_all(struct pc_guard *g, struct pc_stopped *s)
{
    for (uint32_t i = s->members; i-- > 0;) {
        struct member *m = &s->member[i];
        if (pc_stopped_is_there(m)) /* fails when it goes just now */
            (void)pc_thaw(&g->freezer, m->in_group ? s->group_fd : -1, m->pid, m->home);
    }
    pc_freeze_group_done(&g->freezer, s->inc.id, s->group_fd);
}

void pc_stopped_let_pass(struct pc_guard *g, struct pc_stopped *s, const char *why)
{
    thaw_all(g, s);
    s->observed = true;
    s->members = 0;
    for (uint32_t i = 0; i < s->roots; i++)
        pc_stopped_absolve(g, s->root[i]);
    s->inc.state = PC_INC_RELEASED;
    s->inc.closed_ns = pc_real_ns();
    pc_stopped_note(g, s->inc.id, why);
    pc_stopped_update(g, s);
    pc_gate_let_go(g);
}

static struct pc_stopped *open_incident(struct pc_guard *g, const struct pc_outcome *o, const char *path)
{
    struct pc_stopped *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->group_fd = -1;
    s->roots = o->root_count < PC_ROOTS_MAX ? o->root_count : PC_ROOTS_MAX;
    memcpy(s->root, o->roots, s->roots * sizeof s->root[0]);
    s->next = g->stopped;
    g->stopped = s; /* from here on their opens wait */
    pc_stopped_name_folder(g, s, path);
    return s;
}

static void add_members(struct pc_guard *g, struct pc_stopped *s)
{
    for (uint32_t i = 0; i < s->members; i++)
        (void)pc_store_incident_add_process(g->store, s->inc.id,
                                            pc_acts_process(g, pc_judge_actor_of(g->judge, s->member[i].pid)));
}

/*
 * When the attack began, in wall-clock time: with the oldest evidence that stands. (Not with the first act that looked
 * like damage: what was withdrawn later, a file looked at while it was laid out, is part of nobody's attack.)
 */
static uint64_t began_ns(const struct pc_outcome *o, uint64_t verdict_ns)
{
    uint64_t now = pc_mono_ns(), ago = o->evidence_since_ns < now ? now - o->evidence_since_ns : 0;
    return ago < verdict_ns ? verdict_ns - ago : verdict_ns;
}

/*
 * On record before anybody is stopped: a guard killed in between would leave stopped programs that no incident names.
 * frozen_ns 0 says that it has not been carried out.
 */
static void open_record(struct pc_guard *g, struct pc_stopped *s, const struct pc_outcome *o)
{
    s->inc.verdict_ns = pc_real_ns();
    s->inc.started_ns = began_ns(o, s->inc.verdict_ns);
    s->inc.state = PC_INC_FROZEN;
    s->inc.root = pc_acts_process(g, s->root[0]);
    s->inc.damaged = o->evidence_files;
    describe(g, s);
    int r = pc_store_incident_open(g->store, &s->inc);
    if (r < 0)
        pc_event(g->log, PC_LEVEL_ERROR, "index", NULL,
                 "an incident could not be written to the index (%s): its programs are stopped all the same, and it "
                 "gets its number as soon as it can be written",
                 pc_strerror(r));
    for (uint32_t i = 0; i < s->roots; i++) {
        (void)pc_store_incident_add_process(g->store, s->inc.id, pc_acts_process(g, s->root[i]));
        /* is no process: a guard that is killed now finds it again by those that serve it */
        if (pc_share_is_client(g, s->root[i]))
            pc_acts_add_to_incident(g, s->inc.id, s->root[i]);
    }
    (void)pc_store_flush(g->store);
}

static void complete_record(struct pc_guard *g, struct pc_stopped *s)
{
    s->inc.frozen_ns = pc_real_ns();
    s->held_mono_ns = pc_mono_ns();
    s->inc.in_flight = pc_gate_in_flight(g, s->root[0]);
    s->inc.processes = s->members;
    for (uint32_t i = 0; i < s->roots; i++)
        pc_acts_add_to_incident(g, s->inc.id, s->root[i]);
    add_members(g, s);
    pc_adopt_earlier_acts(g, s);
}

static void alarm_event(struct pc_guard *g, const struct pc_stopped *s, const char *first_path)
{
    pid_t pid = pc_judge_pid(g->judge, s->root[0]);
    char who[32] = "";
    if (pid > 0)
        snprintf(who, sizeof who, " (pid %d)", pid);
    pc_event(g->log, PC_LEVEL_ALERT, "freeze",
             &(struct pc_event_about){.category = "malware",
                                      .outcome = "success",
                                      .pid = pid > 0 ? pid : 0,
                                      .command_line = s->inc.summary,
                                      .file_path = first_path,
                                      .incident = s->inc.id},
             "incident %" PRIu64 ": %s%s was destroying files: %u damaged, %u processes frozen; "
             "portcullis incident %" PRIu64 " shows it, portcullis rollback %" PRIu64 " puts the files back",
             s->inc.id, s->inc.summary, who, s->inc.damaged, s->members, s->inc.id, s->inc.id);
}

/* A frozen incident inside this newly convicted subtree: both are one attack. */
static struct pc_stopped *part_of(struct pc_guard *g, pc_actor root)
{
    for (struct pc_stopped *s = g->stopped; s; s = s->next)
        for (uint32_t i = 0; !s->observed && i < s->roots; i++)
            if (s->roots < PC_ROOTS_MAX && pc_judge_is_beneath(g->judge, s->root[i], root))
                return s;
    return NULL;
}

/* One worker was convicted first, now the whole family is: the incident grows. */
static void widen(struct pc_guard *g, struct pc_stopped *s, const struct pc_outcome *o)
{
    pc_actor root = o->roots[0];
    uint64_t began = began_ns(o, pc_real_ns());
    s->root[s->roots++] = s->root[0];
    s->root[0] = root;
    stop_all(g, s);
    s->inc.root = pc_acts_process(g, root);
    if (began < s->inc.started_ns)
        s->inc.started_ns = began;
    s->inc.processes = s->members;
    s->inc.in_flight += pc_gate_in_flight(g, root);
    describe(g, s);
    pc_acts_add_to_incident(g, s->inc.id, root);
    add_members(g, s);
    pc_adopt_earlier_acts(g, s);
    hold_all(g, s);
    pc_stopped_note(g, s->inc.id, "widened to the program that started it");
    pc_stopped_update(g, s);
}

/* All that follows once the incident is on record: also for one that a killed guard had only just opened. */
void pc_stop_carry_out(struct pc_guard *g, struct pc_stopped *s, const char *first_path)
{
    bool observe = g->settings.on_verdict == PC_VERDICT_OBSERVE;
    if (!observe)
        stop_all(g, s);
    complete_record(g, s);
    if (!observe) {
        hold_all(g, s);
        stop_all(g, s); /* whoever was being forked while the first ones were moved */
        hold_all(g, s);
    }
    if (observe || allowed(g, s)) {
        pc_stopped_let_pass(g, s,
                            observe ? "observed only: action.on-verdict is observe" : "let go: an allow rule names it");
        pc_event(g->log, PC_LEVEL_WARNING, "observed", &(struct pc_event_about){.incident = s->inc.id},
                 "incident %" PRIu64 ": %s was destroying files and was let go (%s)", s->inc.id, s->inc.summary,
                 observe ? "observe mode" : "allow rule");
        return;
    }
    pc_adopt_strays(g, s);
    pc_share_stop(g, s);
    if (pc_share_is_client(g, s->root[0]))
        pc_stopped_note(g, s->inc.id, "stopped: what served it has ended");
    else
        pc_stopped_note(g, s->inc.id,
                    s->group_fd >= 0 ? "frozen (cgroup freezer)" : "frozen (SIGSTOP: no cgroup v2 freezer here)");
    pc_stopped_update(g, s);
    alarm_event(g, s, first_path);
}

void pc_stop_convict(struct pc_guard *g, const struct pc_outcome *o, const char *first_path)
{
    if (!o->root_count || pc_stop_case_of(g, o->roots[0]))
        return; /* evidence that was still in the queue when it was stopped */
    struct pc_stopped *part = part_of(g, o->roots[0]);
    if (part) {
        widen(g, part, o);
        return;
    }
    struct pc_stopped *s = open_incident(g, o, first_path);
    if (!s)
        return; /* out of memory: the next act convicts again */
    open_record(g, s, o);
    pc_stop_carry_out(g, s, first_path);
}

/* ---- time ---- */

/* The counts of an incident that went on are written when its programs have ended. */
static void forget_if_gone(struct pc_guard *g, struct pc_stopped *s)
{
    for (uint32_t i = 0; i < s->roots; i++)
        if (pc_judge_alive(g->judge, s->root[i]))
            return;
    pc_stopped_update(g, s);
    pc_stopped_unlist(g, s);
    pc_stopped_free(s);
}

/*
 * A clock that is set forward must not end what somebody is still looking at; a guard that starts again counts anew,
 * for the same reason.
 */
static bool delay_is_over(const struct pc_guard *g, const struct pc_stopped *s)
{
    if (!g->settings.delay_ns || g->settings.after_delay != PC_AFTER_END)
        return false;
    return pc_mono_ns() - s->held_mono_ns > g->settings.delay_ns;
}

/*
 * An incident that could not be written at its verdict (a full disk) has no number yet, and nobody could release or end
 * it.
 */
static void record_late(struct pc_guard *g, struct pc_stopped *s)
{
    if (pc_store_incident_open(g->store, &s->inc) < 0)
        return; /* told at the verdict; tried again in a second */
    for (uint32_t i = 0; i < s->roots + s->members; i++) {
        pc_actor actor = i < s->roots ? s->root[i] : pc_judge_actor_of(g->judge, s->member[i - s->roots].pid);
        pc_acts_forget_process(g, actor); /* what was written of it may be lost, too */
        (void)pc_store_incident_add_process(g->store, s->inc.id, pc_acts_process(g, actor));
    }
    for (uint32_t i = 0; i < s->roots; i++)
        pc_acts_add_to_incident(g, s->inc.id, s->root[i]);
    for (uint32_t i = 0; i < s->members; i++)
        s->member[i].in_group = false;
    int unnamed = s->group_fd;
    s->group_fd = -1;
    hold_all(g, s); /* from the frozen group of those without a number into one of its own */
    if (unnamed >= 0)
        close(unnamed); /* removed by pc_freezer_sweep when it is empty */
    pc_stopped_note(g, s->inc.id, "could not be written to the index before");
    pc_stopped_update(g, s);
    alarm_event(g, s, NULL);
}

void pc_stop_tick(struct pc_guard *g)
{
    for (struct pc_stopped *s = g->stopped, *next; s; s = next) {
        next = s->next;
        if (s->observed) {
            forget_if_gone(g, s);
            continue;
        }
        if (!s->inc.id)
            record_late(g, s);
        if (pc_mono_ns() - s->held_mono_ns < 10 * PC_NS_PER_S) {
            stop_all(g, s);
            hold_all(g, s);
            pc_stopped_update(g, s);
        }
        if (delay_is_over(g, s)) {
            pc_stopped_note(g, s->inc.id, "action.delay is over: after-delay is end");
            (void)pc_stop_end(g, s->inc.id, 0);
        }
    }
}

void pc_stop_free(struct pc_guard *g)
{
    while (g->stopped) {
        struct pc_stopped *s = g->stopped;
        g->stopped = s->next;
        pc_stopped_free(s); /* the processes stay frozen: the next guard adopts them */
    }
}
