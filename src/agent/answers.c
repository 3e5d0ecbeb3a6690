/*
 * Owns the answers to `portcullis`: one handler a command, in the table at the end. Reads the guard's state and makes
 * JSON of it (CONTROL.md); what changes something is done by stop.c and the store.
 */
#include "agent/answers.h"

#include "agent/clients.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "kern/procfs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_PER_ANSWER 2000
/* What status names one by one: observed incidents of the last day, addresses kept from a share. */
#define OBSERVED_TOLD 3
#define KEPT_OUT_TOLD 8

/* Printable words separated by newlines (procfs.h) to an array. */
static json_t *argv_json(const char *words)
{
    json_t *a = json_array();
    while (*words) {
        size_t n = strcspn(words, "\n");
        json_array_append_new(a, json_stringn(words, n));
        words += n + (words[n] != 0);
    }
    return a;
}

static const char *mode_text(const struct pc_volume *v)
{
    return !v ? "none" : v->mode == PC_MODE_AHEAD ? "ahead" : "on-open";
}

/* Whose opens wait for an answer in calm times. */
static const char *asks_text(const struct pc_volume *v)
{
    return v->mode == PC_MODE_AHEAD ? "nobody" : v->asks_all ? "every open" : "opens of files kept by a link";
}

/* ---- status ---- */

/* Whether who cuts a file of this volume by its name waits until it is copied (gate_cuts.c). */
static bool holds_cuts(const struct pc_volume *v)
{
    return v->mode == PC_MODE_AHEAD || (v->no_cuts == 0 && !v->asks_all);
}

/* What is lost to truncate(2) by path on a volume where it is not held, and why it is not. */
static json_t *cuts_json(const struct pc_guard *g, const struct pc_volume *v)
{
    const char *kept = g->settings.copy_ahead_ns ? "the old content is kept only of files that were copied ahead"
                                                 : "the old content is not kept";
    const char *why = v->no_cuts == 0             ? "every open is asked about at present, see ask-files"
                      : v->no_cuts == -EOPNOTSUPP ? "this file system cannot hold it"
                                                  : "from Linux 6.14 on it is held";
    return json_sprintf("on-open: truncate(2) by path is seen, but %s (%s)", kept, why);
}

static json_t *folder_json(struct pc_guard *g, const struct pc_folder *f)
{
    const struct pc_volume *v = f->vol >= 0 ? &g->volume[f->vol] : NULL;
    json_t *why = json_array();
    if (f->trouble[0])
        json_array_append_new(why, json_string(f->trouble));
    for (uint32_t i = 0; i < f->reasons; i++)
        json_array_append_new(why, json_sprintf("%" PRIu64 " files: %s (for example %s)", f->reason[i].count,
                                                f->reason[i].text, f->reason[i].sample));
    if (v && !holds_cuts(v))
        json_array_append_new(why, cuts_json(g, v));
    return json_pack("{s:s, s:o, s:s, s:I, s:I, s:o}", "path", f->path, "filesystem",
                     v ? json_string(v->type) : json_null(), "mode", mode_text(v), "covered", (json_int_t)f->covered,
                     "uncovered", (json_int_t)f->uncovered, "why", why);
}

static json_t *volume_json(struct pc_guard *g, const struct pc_volume *v)
{
    struct pc_store_stats s = {0};
    int r = pc_store_volume_stats(g->store, v->id, &s);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:o}", "mount", v->point, "filesystem",
                     v->type, "mode", mode_text(v), "asks", asks_text(v), "gate", v->gate_down ? "down" : "up",
                     "vault", v->vault, "vault_bytes", (json_int_t)s.object_bytes, "superseded_bytes",
                     (json_int_t)s.superseded_bytes, "versions", (json_int_t)s.versions, "queue",
                     (json_int_t)pc_captures_waiting(g), "degraded",
                     r < 0        ? json_string(pc_strerror(r))
                     : s.degraded ? json_string(s.why)
                                  : json_null());
}

static void __attribute__((format(printf, 3, 4))) warn_if(json_t *w, bool holds, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    if (holds)
        json_array_append_new(w, json_vsprintf(format, ap));
    va_end(ap);
}

static void warn_of_means(struct pc_guard *g, json_t *w)
{
    warn_if(w, !g->ready, "still walking the guarded folders: %" PRIu64 " entries seen", pc_scan_seen(g));
    warn_if(w, g->cnproc_fd < 0 && !g->perfproc,
            "no process connector and no perf events: ancestry of short-lived processes may be missed");
    warn_if(w, !pc_proc_sees_all(),
            "this guard runs in a pid namespace: programs outside it can be neither told apart nor stopped; what they "
            "do is preserved, and judged as one program's");
    warn_if(w, g->freezer.dir_fd < 0, "no cgroup v2 freezer: processes are stopped by SIGSTOP");
    warn_if(w, g->supervisor_fd < 0, "no supervisor: the guard is not restarted if it dies");
    warn_if(w, !g->settings.gate, "the gate is switched off in the settings");
    warn_if(w, g->settings.on_verdict == PC_VERDICT_OBSERVE, "observe mode: nothing is frozen");
}

static void warn_of_losses(struct pc_guard *g, const struct pc_gate_stats *gs, json_t *w)
{
    warn_if(w, g->n.overflows, "events were lost %" PRIu64 " times; folders were walked again", g->n.overflows);
    warn_if(w, pc_links_full(g),
            "too many hard links: a further name of a file, replaced by a rename, may come back as a copy");
    warn_if(w, g->n.damaged_unseen, "%" PRIu64 " files were destroyed while nobody watched: see the event log",
            g->n.damaged_unseen);
    warn_if(w, g->n.changed_unkept,
            "%" PRIu64 " files were changed while the guard was down, and on-open mode kept no old content of them",
            g->n.changed_unkept);
    warn_if(w, g->n.cut_unkept,
            "%" PRIu64 " times a file was cut by truncate(2), and on-open mode kept no old content of it",
            g->n.cut_unkept);
    warn_if(w, g->n.written_unkept,
            "%" PRIu64 " times a file was overwritten of which on-open mode had made no copy: it was opened while no "
            "guard ran, or could not be copied in time",
            g->n.written_unkept);
    warn_if(w, g->n.unasked,
            "%" PRIu64 " times a file was kept by a link, and opens of it could not be held: what is written to it is "
            "not preserved before",
            g->n.unasked);
    warn_if(w, gs->copy_errors,
            "%" PRIu64 " files were opened for writing before they could be preserved, the last because: %s",
            gs->copy_errors, pc_strerror(gs->copy_error));
}

static void warn_of_volumes(struct pc_guard *g, json_t *w)
{
    struct pc_volume *end = g->volume + PC_VOLUMES_MAX;
    for (struct pc_volume *v = g->volume; v < end; v++)
        warn_if(w, v->id && v->read_only, "%s is read-only: nothing new is preserved", v->point);
    for (struct pc_volume *v = g->volume; v < end; v++)
        warn_if(w, v->id && v->asks_all && pc_gate_files_failed(g),
                "%s: more files are kept by a link than ask-files, or they could not be marked: every open there waits "
                "for an answer",
                v->point);
    for (struct pc_volume *v = g->volume; v < end; v++) {
        struct pc_store_stats s = {0};
        bool over = v->id && pc_store_volume_stats(g->store, v->id, &s) == 0 && s.undecided_bytes;
        warn_if(w, over,
                "%s: %" PRIu64 " KiB over space-budget are kept for now: they were superseded less than judge.window "
                "ago, and a verdict may still need them",
                v->point, (s.undecided_bytes + 1023) >> 10);
    }
}

static json_t *warnings_json(struct pc_guard *g, const struct pc_gate_stats *gs)
{
    json_t *w = json_array();
    warn_of_means(g, w);
    warn_of_losses(g, gs, w);
    warn_of_volumes(g, w);
    return w;
}

struct kept_out {
    json_t *list, *warnings;
};

static void add_kept_out(void *arg, uint64_t incident, const struct pc_peer *peer)
{
    struct kept_out *k = arg;
    json_array_append_new(k->list, json_pack("{s:s, s:i, s:I}", "address", peer->address, "port", (int)peer->port,
                                             "incident", (json_int_t)incident));
    warn_if(k->warnings, json_array_size(k->list) <= KEPT_OUT_TOLD,
            "%s is kept from TCP port %u: it destroyed files (incident %" PRIu64 "); portcullis release %" PRIu64
            " lets it in again",
            peer->address, (unsigned)peer->port, incident, incident);
}

static json_t *kept_out_json(struct pc_guard *g, json_t *warnings)
{
    struct kept_out k = {json_array(), warnings};
    pc_blocked_each(g, add_kept_out, &k);
    return k.list;
}

struct tally {
    uint64_t open, total, observed;
    json_t *warnings;
};

static int count_incident(void *arg, const struct pc_incident *inc)
{
    struct tally *t = arg;
    t->open += inc->state == PC_INC_FROZEN;
    t->total++;
    bool told = inc->state == PC_INC_OBSERVED && inc->damaged && pc_real_ns() - inc->verdict_ns < 86400 * PC_NS_PER_S;
    t->observed += told;
    warn_if(t->warnings, told && t->observed <= OBSERVED_TOLD,
            "incident %" PRIu64 ": one program deleted %u files and was not stopped; if nobody meant it: portcullis "
            "rollback %" PRIu64,
            inc->id, inc->damaged, inc->id);
    return 0;
}

static json_t *events_json(struct pc_guard *g, const struct pc_gate_stats *gs, const struct pc_ahead_stats *ahead)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "read", (json_int_t)g->n.events,
        "overflow", (json_int_t)g->n.overflows, "dropped", (json_int_t)pc_events_dropped(g->log), "acts",
        (json_int_t)g->n.acts, "captures", (json_int_t)g->n.captures, "judged", (json_int_t)g->n.judged, "permission",
        (json_int_t)gs->opens, "waited", (json_int_t)gs->held, "timed_out", (json_int_t)gs->late, "gate_downs",
        (json_int_t)g->n.gate_downs, "vault_denied", (json_int_t)gs->denied_vault, "copied", (json_int_t)gs->copied,
        "held_at_start", (json_int_t)pc_startup_copied(g), "copied_ahead", (json_int_t)ahead->files, "links_dropped",
        (json_int_t)ahead->links_dropped);
}

static void answer_status(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct pc_guard *g = ctx;
    json_t *folders = json_array(), *volumes = json_array();
    bool down = false, cuts = true;
    struct pc_gate_stats gs;
    pc_gate_stats(g, &gs);
    struct tally incidents = {.warnings = warnings_json(g, &gs)};
    struct pc_ahead_stats ahead;
    pc_ahead_stats(g, &ahead);
    for (uint32_t i = 0; i < g->folders; i++)
        if (!g->folder[i].dropped)
            json_array_append_new(folders, folder_json(g, &g->folder[i]));
    for (struct pc_volume *v = g->volume; v < g->volume + PC_VOLUMES_MAX; v++) {
        if (!v->id)
            continue;
        json_array_append_new(volumes, volume_json(g, v));
        down |= v->gate_down;
        cuts &= holds_cuts(v);
    }
    warn_if(incidents.warnings, ahead.full,
            "no more room to copy files ahead (%" PRIu64 " files, %" PRIu64 " MiB copied): %s", ahead.files,
            ahead.bytes >> 20,
            cuts ? "the others are copied when they are opened or cut, and are lost to writes while no guard runs"
                 : "truncate(2) loses the content of the others");
    (void)pc_store_incidents(g->store, count_incident, &incidents);
    json_t *blocked = kept_out_json(g, incidents.warnings);
    pc_reply_done(
        reply,
        json_pack(
            "{s:b, s:s, s:i, s:o, s:s, s:{s:o, s:I}, s:o, s:o, s:o, s:{s:I, s:I, s:I}, s:{s:I, s:I, s:I}, s:o, s:o}",
            "active", g->ready, "version", PC_VERSION, "pid", (int)getpid(), "since", time_json(g->started_real_ns),
            "gate", down ? "down" : "up", "supervisor", "pid",
            g->supervisor_pid ? json_integer(g->supervisor_pid) : json_null(), "restarts",
            (json_int_t)g->supervisor_restarts, "folders", folders, "volumes", volumes, "events",
            events_json(g, &gs, &ahead), "latency_us", "p50", (json_int_t)gs.p50_us, "p99", (json_int_t)gs.p99_us,
            "max", (json_int_t)gs.max_us, "incidents", "open", (json_int_t)incidents.open, "total",
            (json_int_t)incidents.total, "observed", (json_int_t)incidents.observed, "blocked", blocked, "warnings",
            incidents.warnings));
}

/* ---- incidents ---- */

static const char *state_text(const struct pc_incident *inc)
{
    if (inc->rolled_back)
        return "rolled-back";
    switch (inc->state) {
    case PC_INC_FROZEN:
        return "frozen";
    case PC_INC_RELEASED:
        return "released";
    case PC_INC_ENDED:
        return "ended";
    case PC_INC_OBSERVED:
        return "observed";
    default:
        return "rolled-back";
    }
}

/* Null for a client of a file server: whoever reads this may want to send a signal. */
static json_t *pid_json(const struct pc_process *p)
{
    return p->pid > 0 ? json_integer(p->pid) : json_null();
}

static json_t *actor_json(struct pc_guard *g, uint64_t process)
{
    struct pc_process p = {0};
    if (pc_store_get_process(g->store, process, &p) < 0)
        return json_pack("{s:n, s:n, s:[], s:n, s:n}", "pid", "exe", "argv", "user", "uid");
    return json_pack("{s:o, s:o, s:o, s:o, s:I}", "pid", pid_json(&p), "exe", text_json(p.exe), "argv",
                     argv_json(p.argv), "user", text_json(p.user), "uid", (json_int_t)p.uid);
}

static json_t *incident_json(struct pc_guard *g, const struct pc_incident *inc)
{
    return json_pack("{s:I, s:s, s:o, s:o, s:I, s:I, s:s, s:b, s:b, s:I}", "id", (json_int_t)inc->id, "state",
                     state_text(inc), "started", time_json(inc->started_ns), "actor", actor_json(g, inc->root),
                     "damaged", (json_int_t)inc->damaged, "preserved", (json_int_t)inc->preserved, "summary",
                     inc->summary, "rolled_back", inc->rolled_back, "still_frozen", inc->state == PC_INC_FROZEN,
                     "in_flight", (json_int_t)inc->in_flight);
}

struct listing {
    struct pc_guard *g;
    json_t *array;
    uint64_t from, seen;
    const struct pc_incident *inc;
    uint64_t first_ns;
};

static int list_incident(void *arg, const struct pc_incident *inc)
{
    struct listing *l = arg;
    return json_array_append_new(l->array, incident_json(l->g, inc));
}

static void answer_incidents(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct listing l = {.g = ctx, .array = json_array()};
    int r = pc_store_incidents(l.g->store, list_incident, &l);
    if (r >= 0) {
        pc_reply_done(reply, l.array);
        return;
    }
    json_decref(l.array);
    pc_reply_fail(reply, PC_CODE_FAILED, "the list of incidents cannot be read: %s", pc_strerror(r));
}

static json_t *path_json(struct pc_guard *g, int vol, const struct pc_fh *parent, const char *name)
{
    char path[PATH_MAX], shown[4 * PATH_MAX];
    pc_known_path(g, vol, parent, name, path, sizeof path);
    pc_escape_name(path, strlen(path), shown, sizeof shown);
    return json_string(shown);
}

static int list_act(void *arg, const struct pc_act_rec *a)
{
    static const char *const ops[] = {"", "modify", "create", "delete", "rename", "replace", "metadata"};
    struct listing *l = arg;
    if (!l->first_ns)
        l->first_ns = a->time_ns;
    if (l->seen++ < l->from || json_array_size(l->array) >= FILES_PER_ANSWER)
        return 0;
    char evidence[256];
    struct pc_process p = {0};
    (void)pc_store_get_process(l->g->store, a->actor, &p);
    json_t *to = a->op == PC_OP_RENAME ? path_json(l->g, a->vol, &a->new_parent, a->new_name) : json_null();
    json_array_append_new(
        l->array, json_pack("{s:o, s:s, s:o, s:s, s:i, s:o, s:i, s:b, s:b, s:b}", "path",
                            path_json(l->g, a->vol, &a->parent, a->name), "op",
                            a->op < sizeof ops / sizeof ops[0] ? ops[a->op] : "other", "new_path", to, "evidence",
                            pc_evidence_text(a->evidence, evidence, sizeof evidence), "score", (int)a->score, "time",
                            time_json(a->time_ns), "pid", (int)p.pid, "preserved", a->before != 0, "restored",
                            l->inc->rolled_back && (a->before != 0 || a->op == PC_OP_CREATE), "folder", a->is_dir));
    return 0;
}

static json_t *process_json(struct pc_guard *g, const struct pc_process *p, bool convicted)
{
    struct pc_process parent = {0};
    struct pc_procinfo now;
    const char *state = "gone";
    if (pc_proc_brief(p->pid, &now) == 0 &&
        (!p->start_ns || now.start_real_ns / PC_NS_PER_S - p->start_ns / PC_NS_PER_S + 1 < 3))
        state = !convicted                                                    ? "ancestor"
                : pc_stop_incident_of(g, pc_judge_actor_of(g->judge, p->pid)) ? "frozen"
                                                                              : "running";
    bool has_parent = p->parent && pc_store_get_process(g->store, p->parent, &parent) == 0;
    if (has_parent && parent.pid <= 0) /* a client of its parent, the file server */
        has_parent = pc_store_get_process(g->store, parent.parent, &parent) == 0;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:s, s:b, s:o}", "pid", pid_json(p), "parent",
                     has_parent ? pid_json(&parent) : json_null(), "exe", text_json(p->exe), "argv", argv_json(p->argv),
                     "user", text_json(p->user), "uid", (json_int_t)p->uid, "cgroup", text_json(p->cgroup), "start",
                     time_json(p->start_ns), "state", convicted ? state : "ancestor", "convicted", convicted,
                     "exe_sha256", text_json(p->exe_sha256));
}

static int list_process(void *arg, const struct pc_process *p)
{
    struct listing *l = arg;
    return json_array_append_new(l->array, process_json(l->g, p, true));
}

/* How it was started: the parents of the root, oldest first. */
static void list_ancestors(struct pc_guard *g, uint64_t root, json_t *array)
{
    struct pc_process p;
    uint64_t id = root;
    for (int depth = 0; depth < 32; depth++) {
        if (pc_store_get_process(g->store, id, &p) < 0)
            return;
        if (id != root)
            json_array_insert_new(array, 0, process_json(g, &p, false));
        if (!p.parent)
            return;
        id = p.parent;
    }
}

static int list_note(void *arg, uint64_t time_ns, const char *text)
{
    struct listing *l = arg;
    return json_array_append_new(l->array, json_pack("{s:o, s:s}", "time", time_json(time_ns), "text", text));
}

static json_t *verdict_text(const struct pc_incident *inc)
{
    if (inc->state == PC_INC_OBSERVED)
        return json_string(
            "many files were deleted in a short time; that alone convicts nobody, so nothing was stopped");
    return json_sprintf("%u files were destroyed (%u processes frozen): the evidence of each is in the list",
                        inc->damaged, inc->processes);
}

static void answer_incident(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct pc_guard *g = ctx;
    struct pc_incident inc;
    uint64_t id = number_arg(args, "id");
    if (pc_store_incident_get(g->store, id, &inc) < 0) {
        pc_reply_fail(reply, PC_CODE_FAILED, "there is no incident %" PRIu64, id);
        return;
    }
    if (inc.state == PC_INC_FROZEN)
        pc_stop_recount(g, &inc);
    struct listing processes = {.g = g, .array = json_array()};
    struct listing files = {.g = g, .array = json_array(), .from = number_arg(args, "from"), .inc = &inc};
    struct listing notes = {.g = g, .array = json_array()};
    (void)pc_store_incident_processes(g->store, id, list_process, &processes);
    list_ancestors(g, inc.root, processes.array);
    (void)pc_store_incident_acts(g->store, id, list_act, &files);
    (void)pc_store_incident_notes(g->store, id, list_note, &notes);
    json_t *out = incident_json(g, &inc);
    json_object_set_new(out, "verdict", time_json(inc.verdict_ns));
    json_object_set_new(out, "frozen", time_json(inc.frozen_ns));
    json_object_set_new(out, "closed", time_json(inc.closed_ns));
    json_object_set_new(out, "first_act", time_json(files.first_ns));
    json_object_set_new(out, "verdict_text", verdict_text(&inc));
    json_object_set_new(out, "processes", processes.array);
    json_object_set_new(out, "files", files.array);
    json_object_set_new(out, "files_total", json_integer((json_int_t)files.seen));
    json_object_set_new(out, "from", json_integer((json_int_t)files.from));
    json_object_set_new(out, "timeline", notes.array);
    pc_reply_done(reply, out);
}

/* ---- release, end ---- */

static void answer_release(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct pc_guard *g = ctx;
    uint64_t id = number_arg(args, "id");
    char why[128] = "";
    char rule[PATH_MAX + 128] = "";
    int r = pc_stop_release(g, id, pc_reply_uid(reply), rule, sizeof rule, why, sizeof why);
    struct pc_incident inc;
    struct pc_process root = {0};
    bool program = pc_store_incident_get(g->store, id, &inc) == 0 &&
                   pc_store_get_process(g->store, inc.root, &root) == 0 && root.pid > 0;
    if (r < 0)
        pc_reply_fail(reply, PC_CODE_FAILED, "incident %" PRIu64 " cannot be released: %s", id, why);
    else
        pc_reply_done(reply, json_pack("{s:I, s:s, s:o, s:o}", "id", (json_int_t)id, "state", "released", "rule",
                                       text_json(rule), "client", json_boolean(!program)));
}

static void answer_end(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct pc_guard *g = ctx;
    uint64_t id = number_arg(args, "id");
    struct pc_incident inc;
    int r = pc_stop_end(g, id, pc_reply_uid(reply));
    if (r < 0)
        pc_reply_fail(reply, PC_CODE_FAILED, "incident %" PRIu64 " cannot be ended: nothing of it is frozen", id);
    else if ((r = pc_store_incident_get(g->store, id, &inc)) < 0)
        pc_reply_fail(reply, PC_CODE_FAILED, "ended, but the index cannot be read: %s", pc_strerror(r));
    else
        pc_reply_done(reply, json_pack("{s:I, s:s, s:I}", "id", (json_int_t)id, "state", "ended", "ended",
                                       (json_int_t)inc.processes));
}

const struct pc_command pc_guard_commands[] = {
    {"status", true, {{0}}, answer_status},
    {"incidents", true, {{0}}, answer_incidents},
    {"incident", true, {{"id", PC_ARG_NUMBER, true}, {"from", PC_ARG_NUMBER, false}}, answer_incident},
    {"rollback",
     false,
     {{"id", PC_ARG_NUMBER, true}, {"dry_run", PC_ARG_BOOL, false}, {"undo", PC_ARG_BOOL, false}},
     pc_answer_rollback},
    {"release", false, {{"id", PC_ARG_NUMBER, true}}, answer_release},
    {"end", false, {{"id", PC_ARG_NUMBER, true}}, answer_end},
    {"history", true, {{"path", PC_ARG_TEXT, true}}, pc_answer_history},
    {"restore",
     false,
     {{"path", PC_ARG_TEXT, true}, {"at", PC_ARG_NUMBER, false}, {"to", PC_ARG_TEXT, false}},
     pc_answer_restore},
    {"deleted",
     false,
     {{"path", PC_ARG_TEXT, true},
      {"since", PC_ARG_NUMBER, false},
      {"to", PC_ARG_TEXT, false},
      {"dry_run", PC_ARG_BOOL, false}},
     pc_answer_deleted},
    {0},
};
