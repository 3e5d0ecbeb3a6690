/*
 * Owns what a guard holds: opens all of it before the loop, says what could not be opened and why, closes it in the
 * order that keeps nobody waiting, and puts new settings in force at a reload. Runs nothing.
 */
#include "agent/guard_start.h"

#include "agent/clients.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "core/trace.h"
#include "kern/cnproc.h"
#include "kern/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* on-open, while copy-ahead is on: 1 ms at most. */
#define COPY_YOUNG_BYTES (1u << 20)

int pc_guard_add_folder(struct pc_guard *g, const char *path)
{
    for (uint32_t i = 0; i < g->folders; i++)
        if (strcmp(g->folder[i].path, path) == 0) {
            g->folder[i].dropped = false;
            return 0;
        }
    struct pc_folder *more = reallocarray(g->folder, g->folders + 1, sizeof *more);
    if (!more)
        return -ENOMEM;
    g->folder = more;
    g->folder[g->folders] = (struct pc_folder){.vol = -1};
    snprintf(g->folder[g->folders].path, sizeof g->folder[0].path, "%s", path);
    g->folders++;
    return 0;
}

static void store_opts(const struct pc_guard *g, struct pc_store_opts *o)
{
    *o = (struct pc_store_opts){.retention_ns = g->settings.retention_ns,
                                .undecided_ns = g->settings.window_ns,
                                .space_budget_bytes = g->settings.space_budget.bytes,
                                .space_budget_percent = g->settings.space_budget.percent,
                                .reserve_bytes = g->settings.reserve.bytes,
                                .reserve_percent = g->settings.reserve.percent,
                                .compress = g->settings.compress,
                                .copy_young_bytes = g->settings.copy_ahead_ns ? COPY_YOUNG_BYTES : 0};
}

static void events_opts(const struct pc_guard *g, char *ecs, size_t cap, struct pc_events_opts *o)
{
    const char *file = g->settings.ecs_file;
    if (strcmp(file, "auto") == 0)
        snprintf(ecs, cap, "%s/events.json", g->state_dir);
    else
        snprintf(ecs, cap, "%s", file);
    *o = (struct pc_events_opts){.text = true,
                                 .journal = g->settings.journal,
                                 .ecs_path = strcmp(file, "none") == 0 ? NULL : ecs,
                                 .rate = g->settings.rate,
                                 .least = PC_LEVEL_INFO};
}

static void judge_policy(const struct pc_guard *g, struct pc_judge_policy *p)
{
    pc_judge_policy_default(p);
    p->convict_score = g->settings.convict_score;
    p->min_files = g->settings.min_files;
    p->window_ns = g->settings.window_ns;
    p->max_actors = g->settings.actors;
    p->note_folders = g->settings.note_folders;
    p->bulk_files = g->settings.mass_delete;
}

static int open_memory(struct pc_guard *g)
{
    struct pc_judge_policy policy;
    judge_policy(g, &policy);
    g->event_buf = malloc(PC_EVENT_BUF);
    int r = g->event_buf ? 0 : -ENOMEM;
    if (r == 0)
        r = pc_judge_new(&policy, &g->judge);
    if (r == 0)
        r = pc_dirs_new(&g->dirs);
    if (r == 0)
        r = pc_scan_new(&g->scan);
    if (r == 0)
        r = pc_acts_new(&g->acts);
    if (r == 0)
        r = pc_links_new(&g->links);
    if (r == 0)
        r = pc_outside_new(&g->outside);
    if (r == 0)
        r = pc_deletions_new(&g->deletions);
    if (r == 0)
        r = pc_ahead_new(&g->ahead);
    if (r == 0)
        r = pc_missing_new(&g->missing);
    if (r == 0)
        r = pc_clients_new(&g->clients);
    if (r == 0)
        r = pc_startup_new(&g->startup);
    if (r == 0)
        r = pc_captures_new(g->settings.capture_queue, &g->captures);
    return r;
}

static int open_store(struct pc_guard *g, bool *rebuild)
{
    struct pc_store_opts o;
    store_opts(g, &o);
    int r = pc_store_open(g->state_dir, &o, &g->store, rebuild);
    return r == 0 ? pc_store_new_run(g->store, g->started_real_ns, &g->run_base) : r;
}

int pc_guard_complain(const char *what, int err, const char *hint)
{
    fprintf(stderr, "portcullisd: %s: %s%s%s\n", what, pc_strerror(err), *hint ? "; " : "", hint);
    return err;
}

/*
 * Refused in a container: the process connector belongs to the first network namespace. perf events are anybody's who
 * has the right.
 */
static void open_ancestry(struct pc_guard *g)
{
    g->cnproc_fd = pc_cnproc_open();
    if (g->cnproc_fd >= 0) {
        g->births_fd = pc_cnproc_births_open(); /* without it crowds are seen four times a second */
        return;
    }
    int r = pc_perfproc_open(&g->perfproc);
    if (r == 0)
        g->births_fd = pc_perfproc_births_fd(g->perfproc);
    if (r < 0)
        fprintf(stderr,
                "portcullisd: process connector: %s; perf events: %s; ancestry is read from /proc and may miss "
                "short-lived processes\n",
                pc_strerror(g->cnproc_fd), pc_strerror(r));
}

static int open_kernel(struct pc_guard *g)
{
    g->watch_fd = pc_fan_watch_open();
    if (g->watch_fd < 0)
        return pc_guard_complain("fanotify", g->watch_fd, "needs root and Linux 6.0 or later with CONFIG_FANOTIFY");
    open_ancestry(g);
    g->mounts_fd = pc_mount_watch();
    if (g->mounts_fd < 0)
        return pc_guard_complain("mount table", g->mounts_fd, "");
    pc_guard_meet_all(g);
    int r = pc_gate_start(g);
    if (r < 0)
        return pc_guard_complain("fanotify permission events", r,
                                 "needs CONFIG_FANOTIFY_ACCESS_PERMISSIONS and CAP_SYS_ADMIN");
    r = pc_flush_start(g);
    return r < 0 ? pc_guard_complain("a thread that writes files out", r, "") : 0;
}

static int open_trace(struct pc_guard *g)
{
    if (strcmp(g->settings.trace, "none") == 0)
        return 0;
    int r = pc_tracer_open(g, g->settings.trace);
    if (r < 0)
        return pc_guard_complain(g->settings.trace, r, "[log] trace names a file that can be written, or none");
    pc_tracer_lineage(g, PC_TRACE_POLICY, 0, 0, pc_mono_ns());
    return 0;
}

static void freezer_name(const struct pc_guard *g, char *out, size_t cap)
{
    snprintf(out, cap, "%016" PRIx64, pc_hash64(g->state_dir, strlen(g->state_dir)));
}

static void load_released(struct pc_guard *g)
{
    _close_ int dir = open(g->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int skipped = dir < 0 ? -errno : pc_rules_load(dir, &g->released);
    if (skipped > 0)
        fprintf(stderr, "portcullisd: %s/released.rules: %d lines do not parse and were skipped\n", g->state_dir,
                skipped);
}

int pc_guard_open(struct pc_guard *g)
{
    bool rebuild = false;
    int r = open_memory(g);
    if (r < 0)
        return pc_guard_complain("memory", r, "");
    r = open_store(g, &rebuild);
    if (r < 0)
        return pc_guard_complain(g->state_dir, r,
                                 "the state folder must be a private folder of root on a writable disk");
    char ecs[PATH_MAX + 16], name[32];
    struct pc_events_opts opts;
    events_opts(g, ecs, sizeof ecs, &opts);
    r = pc_events_open(&opts, &g->log);
    if (r < 0)
        return pc_guard_complain("event log", r, "");
    r = open_trace(g);
    if (r == 0)
        r = open_kernel(g);
    if (r < 0)
        return r;
    freezer_name(g, name, sizeof name);
    r = pc_freezer_open(&g->freezer, name);
    if (r < 0)
        return pc_guard_complain("cgroup freezer", r, "");
    load_released(g);
    pc_blocked_load(g);
    r = pc_volumes_open(g);
    if (r < 0)
        return pc_guard_complain("no folder can be guarded", r, "see the lines above");
    for (struct pc_volume *v = g->volume; rebuild && v < g->volume + PC_VOLUMES_MAX; v++)
        if (v->id && pc_store_rebuild(g->store, v->id) < 0)
            fprintf(stderr, "portcullisd: the index of %s could not be rebuilt\n", v->point);
    return pc_stop_adopt(g);
}

void pc_guard_close(struct pc_guard *g)
{
    pc_control_close(g->control);
    pc_gate_stop(g); /* first: from here on no open waits for us */
    pc_flush_stop(g);
    for (struct pc_volume *v = g->volume; g->store && v < g->volume + PC_VOLUMES_MAX; v++)
        if (v->id) {
            pc_store_drop_volume(g->store, v->id);
            close(v->tree_fd);
            close(v->mount_fd);
        }
    if (g->watch_fd >= 0)
        close(g->watch_fd);
    if (g->cnproc_fd >= 0)
        close(g->cnproc_fd);
    if (g->births_fd >= 0 && !g->perfproc)
        close(g->births_fd); /* the other kind is perfproc's */
    pc_perfproc_close(g->perfproc);
    if (g->mounts_fd >= 0)
        close(g->mounts_fd);
    pc_stop_free(g);
    pc_tracer_close(g);
    pc_freezer_close(&g->freezer);
    if (g->store)
        pc_store_close(g->store);
    pc_captures_free(g->captures);
    pc_acts_free(g->acts);
    pc_startup_free(g->startup);
    pc_links_free(g->links);
    pc_outside_free(g->outside);
    pc_deletions_free(g->deletions);
    pc_ahead_free(g->ahead);
    pc_missing_free(g->missing);
    pc_clients_free(g->clients);
    pc_blocked_free(g);
    pc_scan_free(g->scan);
    pc_dirs_free(g->dirs);
    if (g->judge)
        pc_judge_free(g->judge);
    pc_rules_free(&g->released);
    pc_events_close(g->log);
    free(g->decoys);
    free(g->folder);
    free(g->event_buf);
}

/* ---- reload ---- */

static bool wanted(const struct pc_guard *g, const struct pc_folder *f)
{
    for (uint32_t i = 0; i < g->settings.protect.count; i++)
        if (strcmp(g->settings.protect.path[i], f->path) == 0)
            return true;
    return false;
}

/* New folders are added to what is guarded; nothing is let go before the new ones are. Returns how many there are. */
static uint32_t reload_folders(struct pc_guard *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->settings.protect.count; i++)
        (void)pc_guard_add_folder(g, g->settings.protect.path[i]); /* fails without memory: the old ones stay guarded */
    for (uint32_t i = 0; i < g->folders; i++)
        if (!g->folder[i].dropped && g->folder[i].vol < 0 && wanted(g, &g->folder[i]))
            (void)pc_folder_guard(g, i); /* status says why not */
    for (uint32_t i = 0; i < g->folders; i++) {
        if (!g->folder[i].dropped && !wanted(g, &g->folder[i]))
            pc_folder_drop(g, i);
        n += !g->folder[i].dropped;
    }
    return n;
}

int pc_guard_reload(struct pc_guard *g)
{
    struct pc_settings fresh = {0};
    char err[512] = "no memory";
    int r = access(g->config_path, F_OK) == 0 ? pc_settings_load(g->config_path, &fresh, err, sizeof err)
                                              : pc_settings_default(&fresh);
    for (uint32_t i = 0; r == 0 && i < g->extra_protects; i++)
        r = pc_settings_protect(&fresh, g->extra_protect[i], err, sizeof err);
    if (r == 0 && !fresh.protect.count) { /* gone, or half written; who wants no guard stops it */
        snprintf(err, sizeof err, "they name no folder to guard (%s)", g->config_path);
        r = PC_E_NOTFOUND;
    }
    if (r < 0) {
        pc_event(g->log, PC_LEVEL_ERROR, "reload", NULL, "settings not reloaded, the old ones stay: %s", err);
        pc_settings_free(&fresh);
        return r;
    }
    char names[512] = "";
    if (pc_settings_need_restart(&g->settings, &fresh, names, sizeof names))
        pc_event(g->log, PC_LEVEL_WARNING, "reload", NULL, "these settings take effect with the next start: %s", names);
    pc_settings_free(&g->settings);
    g->settings = fresh;
    struct pc_judge_policy policy;
    judge_policy(g, &policy);
    pc_judge_set_policy(g->judge, &policy);
    struct pc_store_opts so;
    store_opts(g, &so);
    pc_store_set_opts(g->store, &so);
    char ecs[PATH_MAX + 16];
    struct pc_events_opts eo;
    events_opts(g, ecs, sizeof ecs, &eo);
    (void)pc_events_set(g->log, &eo);
    pc_scan_forget_outside(g);
    pc_gate_files_reload(g);
    uint32_t folders = reload_folders(g);
    (void)pc_decoys_set(g);
    pc_event(g->log, PC_LEVEL_NOTICE, "reload", NULL, "settings reloaded: %u folders", folders);
    return 0;
}
