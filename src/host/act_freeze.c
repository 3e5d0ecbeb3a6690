/*
 * Owns `actor.freeze`: a process and all its descendants, or every process of one program, stopped and held in a frozen
 * cgroup until the timer lets them go. Nothing is ended and no memory is lost. Never frozen: init, kernel threads,
 * Portcullis itself and whoever started it. Who is about to be stopped is written down first, in a file that needs no
 * fsync (a power cut ends them too): whatever ends the job half way, nobody stays stopped for ever.
 */
#include "host/collect.h"
#include "host/stops.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "kern/freeze.h"
#include "kern/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PROCESSES_MAX 4096
#define PASSES_MAX 64
#define LINE_BYTES 40                 /* of the file of those that are stopped: "PID START\n" */
#define FILES_MAX 512
#define FILE_NS (5 * PC_NS_PER_S)     /* for one program's file; longer is not looked at */
#define FILES_NS (60 * PC_NS_PER_S)   /* for all: half of the job's time */

/* A program's file, read once and not once a process. */
struct file {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
    bool wanted;
};

struct hunt {
    const char *exe_sha256; /* or NULL: roots are given */
    struct file file[FILES_MAX];
    uint32_t files;
    uint64_t until_ns;      /* no more files are read then */
    int stopped_fd;         /* the file of those that are stopped */
    bool incomplete;        /* somebody may have been left out */
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

static void stopped_name(uint64_t timer, char *out, size_t cap)
{
    snprintf(out, cap, "freeze-%llu", (unsigned long long)timer);
}

/* Written down, then stopped. Where it cannot be written down it is stopped all the same: that is what was ordered. */
static void add(struct hunt *h, const struct pc_procinfo *p)
{
    char line[LINE_BYTES];
    int n = snprintf(line, sizeof line, "%d %llu\n", p->pid, (unsigned long long)p->start_ticks);
    if (h->n == PROCESSES_MAX) {
        h->incomplete = true;
        return;
    }
    (void)pc_write_all(h->stopped_fd, line, (size_t)n);
    if (pc_freeze_stop(p->pid) < 0)
        return;
    h->found[h->n++] = (struct victim){.pid = p->pid, .start = p->start_ticks};
    h->fresh++;
}

static int in_time(void *until_ns)
{
    return pc_mono_ns() > *(const uint64_t *)until_ns ? -ETIMEDOUT : 0;
}

static struct file *known_file(struct hunt *h, const struct stat *st)
{
    for (uint32_t i = 0; i < h->files && i < FILES_MAX; i++) {
        struct file *f = &h->file[i];
        if (f->dev == st->st_dev && f->ino == st->st_ino && f->size == st->st_size &&
            memcmp(&f->mtime, &st->st_mtim, sizeof f->mtime) == 0)
            return f;
    }
    return NULL;
}

/* Does it run the program that is wanted? One that cannot be read in time does not, and that is told. */
static bool runs_wanted(struct hunt *h, pid_t pid)
{
    char path[40], hex[65] = "";
    uint8_t digest[32];
    struct stat st;
    uint64_t until = pc_mono_ns() + FILE_NS;
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    _close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) < 0)
        return false;
    struct file *f = known_file(h, &st);
    if (f)
        return f->wanted;
    until = until < h->until_ns ? until : h->until_ns;
    int e = pc_hash_file(fd, in_time, &until, digest);
    if (e == 0)
        pc_hex(digest, sizeof digest, hex);
    h->incomplete |= e < 0;
    f = &h->file[h->files++ % FILES_MAX];
    *f = (struct file){st.st_dev, st.st_ino, st.st_size, st.st_mtim, strcmp(hex, h->exe_sha256) == 0};
    return f->wanted;
}

/* One process of a pass: stopped if it is a descendant of one we have, or runs the named program. */
static int visit(void *arg, pid_t pid)
{
    struct hunt *h = arg;
    struct pc_procinfo p;
    if (has(h, pid) || pc_proc_read(pid, &p) < 0 || spared(h, &p))
        return 0;
    if (has(h, p.ppid) || (h->exe_sha256 && runs_wanted(h, pid)))
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
    h->incomplete = true;
}

/* "home" only where it is another than that of the one before: a list of thousands has to fit into a result. */
static json_t *hold_all(struct hunt *h, int group_fd)
{
    json_t *list = json_array();
    char before[1024] = "";
    for (uint32_t i = 0; i < h->n; i++) {
        char home[1024] = "";
        h->found[i].held = group_fd >= 0 && pc_freeze_hold(group_fd, h->found[i].pid, home, sizeof home) == 0;
        json_t *one = json_pack("{s:i, s:I}", "pid", (int)h->found[i].pid, "start", (json_int_t)h->found[i].start);
        if (i == 0 || strcmp(home, before) != 0)
            json_object_set_new(one, "home", json_string(home));
        memcpy(before, home, sizeof before);
        json_array_append_new(list, one);
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
    h->until_ns = pc_mono_ns() + FILES_NS;
    stopped_name(t->timer, name, sizeof name);
    h->stopped_fd = openat(t->r->dir.fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    find_chain(h);
    int e = find_root(h, t->params, why, sizeof why);
    if (e == 0)
        hunt_down(h);
    freezer_name(t->r, name, sizeof name);
    int group = e == 0 && pc_freezer_open(&f, name) == 0 ? pc_freeze_group(&f, t->timer) : -1;
    json_t *list = e == 0 ? hold_all(h, group) : NULL;
    bool complete = !h->incomplete;
    free(h);
    if (e < 0) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    json_t *out = json_pack("{s:I, s:b, s:b, s:o}", "frozen", (json_int_t)json_array_size(list), "cgroup", group >= 0,
                            "complete", complete, "processes", list);
    return pc_collect_print(out);
}

/* Whatever it froze before it failed thaws at once: it would be told that nothing is frozen, and by when it ends. */
static void after(struct pc_task *t, struct pc_outcome *how)
{
    struct pc_runner *r = t->r;
    char name[64];
    if (strcmp(how->word, "ok") != 0) {
        pc_timer_end(r, t->timer, "it failed");
        return;
    }
    int e = pc_timer_keep(r, t->timer, how->data);
    stopped_name(t->timer, name, sizeof name);
    if (e == PC_E_NOTFOUND) {
        how->word = "failed";
        how->text = "its time was over before all were found: they go on";
        pc_timer_undo_late(t, "freeze");
    } else if (e < 0) {
        pc_event(r->log, PC_LEVEL_ERROR, "memory", NULL,
                 "frozen; where the processes came from could not be kept: they will thaw into the root cgroup");
    } else {
        (void)unlinkat(r->dir.fd, name, 0); /* the timer knows all of them now */
    }
}

enum pc_act pc_act_freeze(struct pc_task *t)
{
    if (pc_task_timer(t, "freeze", json_object()) < 0)
        return PC_ACT_FAILED;
    t->spec.spawn.run = work;
    t->spec.spawn.arg = t;
    t->spec.spawn.keep_fd = t->r->dir.fd;
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
    const char *home = "";
    json_array_foreach(list, i, one)
    {
        const char *other = json_string_value(json_object_get(one, "home"));
        home = other ? other : home;
        if (json_integer_value(json_object_get(one, "pid")) == pid)
            return home;
    }
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

static void continue_one(pid_t pid, uint64_t start)
{
    struct pc_procinfo p;
    if (pid > 1 && pc_proc_brief(pid, &p) == 0 && p.start_ticks == start && p.state == 'T')
        (void)kill(pid, SIGCONT);
}

/* Where there was no cgroup to hold them, SIGSTOP does: by pid and start time. */
static void continue_stopped(const json_t *list)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one)
        continue_one((pid_t)json_integer_value(json_object_get(one, "pid")),
                     (uint64_t)json_integer_value(json_object_get(one, "start")));
}

/* And those whom the job had stopped when it was ended. */
static void continue_unfinished(const struct pc_runner *r, uint64_t timer)
{
    char name[64], *save;
    _free_ char *text = NULL;
    size_t len;
    stopped_name(timer, name, sizeof name);
    if (pc_fleet_read(r->dir.fd, name, PROCESSES_MAX * LINE_BYTES, &text, &len) < 0)
        return;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        int pid;
        unsigned long long start;
        if (sscanf(line, "%d %llu", &pid, &start) == 2)
            continue_one(pid, start);
    }
    (void)unlinkat(r->dir.fd, name, 0);
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
    continue_unfinished(r, t->number);
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
