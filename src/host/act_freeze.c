/*
 * Owns `actor.freeze`: a process and all its descendants, or every process of one program, stopped and held in a frozen
 * cgroup until the timer lets them go. Nothing is ended and no memory is lost. Never frozen: init, kernel threads,
 * Portcullis itself and whoever started it.
 */
#include "host/collect.h"
#include "host/stops.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "kern/freeze.h"
#include "kern/procfs.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROCESSES_MAX 4096
#define PASSES_MAX 64

struct hunt {
    const char *exe_sha256; /* or NULL: roots are given */
    pid_t self_chain[32];   /* us and our ancestors */
    uint32_t chain;
    struct victim {
        pid_t pid;
        uint64_t start;
        bool held;
    } found[PROCESSES_MAX];
    uint32_t n;
    uint32_t fresh; /* found in this pass */
};

static void freezer_name(const struct pc_runner *r, char *out, size_t cap)
{
    snprintf(out, cap, "fleet-%016llx", (unsigned long long)pc_hash64(r->dir.path, strlen(r->dir.path)));
}

static void find_chain(struct hunt *h)
{
    struct pc_procinfo p;
    for (pid_t pid = getpid(); pid > 0 && h->chain < PC_ARRAY_SIZE(h->self_chain); pid = p.ppid) {
        h->self_chain[h->chain++] = pid;
        if (pc_proc_brief(pid, &p) < 0)
            break;
    }
}

/* By the file that it runs, not by its name: an attacker may call a program anything. */
static bool is_ours(pid_t pid)
{
    char path[40];
    struct stat ours, theirs;
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    return stat("/proc/self/exe", &ours) == 0 && stat(path, &theirs) == 0 && ours.st_dev == theirs.st_dev &&
           ours.st_ino == theirs.st_ino;
}

static bool spared(const struct hunt *h, const struct pc_procinfo *p)
{
    for (uint32_t i = 0; i < h->chain; i++)
        if (h->self_chain[i] == p->pid)
            return true;
    return p->pid == 1 || p->kernel_thread || is_ours(p->pid);
}

static bool has(const struct hunt *h, pid_t pid)
{
    for (uint32_t i = 0; i < h->n; i++)
        if (h->found[i].pid == pid)
            return true;
    return false;
}

static void add(struct hunt *h, const struct pc_procinfo *p)
{
    if (h->n == PROCESSES_MAX || pc_freeze_stop(p->pid) < 0)
        return;
    h->found[h->n++] = (struct victim){.pid = p->pid, .start = p->start_ticks};
    h->fresh++;
}

/* One process of a pass: stopped if it is a descendant of one we have, or runs the named program. */
static int visit(void *arg, pid_t pid)
{
    struct hunt *h = arg;
    struct pc_procinfo p;
    char hex[65];
    if (has(h, pid) || pc_proc_read(pid, &p) < 0 || spared(h, &p))
        return 0;
    if (has(h, p.ppid) || (h->exe_sha256 && pc_proc_exe_sha256(pid, hex) == 0 && strcmp(hex, h->exe_sha256) == 0))
        add(h, &p);
    return 0;
}

static int find_root(struct hunt *h, const json_t *params, char *why, size_t why_len)
{
    struct pc_procinfo p;
    pid_t pid = (pid_t)json_integer_value(json_object_get(params, "pid"));
    uint64_t start = (uint64_t)json_integer_value(json_object_get(params, "start"));
    if (h->exe_sha256)
        return 0;
    if (pc_proc_read(pid, &p) < 0 || p.start_ticks != start) {
        snprintf(why, why_len, "process %d, started at %llu, is gone", pid, (unsigned long long)start);
        return -ESRCH;
    }
    if (spared(h, &p)) {
        snprintf(why, why_len, "process %d is never frozen: init, the kernel, or Portcullis itself", pid);
        return PC_E_REFUSED;
    }
    add(h, &p);
    return 0;
}

/* Passes until one finds nobody new: a stopped process forks no more. */
static void hunt_down(struct hunt *h)
{
    for (int pass = 0; pass < PASSES_MAX; pass++) {
        h->fresh = 0;
        (void)pc_proc_each(visit, h);
        if (h->fresh == 0)
            return;
    }
}

static json_t *hold_all(struct hunt *h, int group_fd)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < h->n; i++) {
        char home[1024] = "";
        h->found[i].held = group_fd >= 0 && pc_freeze_hold(group_fd, h->found[i].pid, home, sizeof home) == 0;
        json_array_append_new(list, json_pack("{s:i, s:I, s:s}", "pid", (int)h->found[i].pid, "start",
                                              (json_int_t)h->found[i].start, "home", home));
    }
    return list;
}

static int work(void *arg)
{
    struct pc_task *t = arg;
    struct hunt *h = calloc(1, sizeof *h);
    struct pc_freezer f;
    char name[64], why[256] = "";
    if (!h)
        return 1;
    h->exe_sha256 = json_string_value(json_object_get(t->params, "exe_sha256"));
    find_chain(h);
    int e = find_root(h, t->params, why, sizeof why);
    if (e == 0)
        hunt_down(h);
    freezer_name(t->r, name, sizeof name);
    int group = e == 0 && pc_freezer_open(&f, name) == 0 ? pc_freeze_group(&f, t->timer) : -1;
    json_t *list = e == 0 ? hold_all(h, group) : NULL;
    free(h);
    if (e < 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    json_t *out = json_pack("{s:I, s:b, s:o}", "frozen", (json_int_t)json_array_size(list), "cgroup", group >= 0,
                            "processes", list);
    return pc_collect_print(out);
}

static void after(struct pc_task *t, struct pc_outcome *how)
{
    struct pc_runner *r = t->r;
    if (strcmp(how->word, "ok") != 0)
        (void)pc_timer_drop(r, t->timer);
    else if (pc_timer_keep(r, t->timer, how->data) < 0)
        pc_event(r->log, PC_LEVEL_ERROR, "memory", NULL,
                 "frozen; where the processes came from could not be kept: they will thaw into the root cgroup");
}

enum pc_act pc_act_freeze(struct pc_task *t)
{
    if (pc_task_timer(t, "freeze", json_object(), false) < 0)
        return PC_ACT_FAILED;
    t->spec.spawn.run = work;
    t->spec.spawn.arg = t;
    t->after = after;
    return PC_ACT_RUN;
}

/* The cgroup holds them over a restart of the runner; after a reboot nobody is left to hold. */
static int again(struct pc_runner *r, const struct pc_kept_timer *t, const json_t *data)
{
    (void)r;
    (void)t;
    (void)data;
    return 0;
}


static const char *home_of(const json_t *list, pid_t pid)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one)
        if (json_integer_value(json_object_get(one, "pid")) == pid)
            return json_string_value(json_object_get(one, "home"));
    return "";
}

struct pids {
    pid_t pid[PROCESSES_MAX];
    uint32_t n;
};

static int collect_pid(void *arg, pid_t pid)
{
    struct pids *all = arg;
    if (all->n < PROCESSES_MAX)
        all->pid[all->n++] = pid;
    return all->n == PROCESSES_MAX;
}

/* Where there was no cgroup to hold them, SIGSTOP does: by pid and start time. */
static void continue_stopped(const json_t *list)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one) {
        struct pc_procinfo p;
        pid_t pid = (pid_t)json_integer_value(json_object_get(one, "pid"));
        if (pid > 1 && pc_proc_brief(pid, &p) == 0 &&
            p.start_ticks == (uint64_t)json_integer_value(json_object_get(one, "start")) && p.state == 'T')
            (void)kill(pid, SIGCONT);
    }
}

static int undo(struct pc_runner *r, const struct pc_kept_timer *t, const json_t *data)
{
    struct pc_freezer f;
    char name[64];
    const json_t *list = json_object_get(data, "processes");
    freezer_name(r, name, sizeof name);
    int e = pc_freezer_open(&f, name), failed = 0;
    _close_ int group = e == 0 ? pc_freeze_group(&f, t->number) : -1;
    struct pids *all = calloc(1, sizeof *all);
    if (group >= 0 && all)
        (void)pc_freeze_each(group, collect_pid, all);
    for (uint32_t i = 0; all && i < all->n; i++) {
        e = pc_thaw(&f, group, all->pid[i], home_of(list, all->pid[i]));
        failed = e < 0 && e != -ESRCH ? e : failed;
    }
    bool enough = all && all->n < PROCESSES_MAX;
    free(all);
    continue_stopped(list);
    if (failed == 0 && enough) {
        pc_freeze_group_done(&f, t->number, group);
        pc_freezer_close(&f);
        return 0;
    }
    if (f.dir_fd >= 0)
        close(f.dir_fd);
    return failed ? failed : PC_E_LIMIT;
}

const struct pc_stop pc_stop_freeze = {"freeze", again, undo};
