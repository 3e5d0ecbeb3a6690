/*
 * Owns the worker processes: how they descend from each other, the shared queue, the rate. Everything a worker reports
 * goes into the shared progress log at the moment it happens, because worker and parent may be frozen or killed at any
 * instruction. Must not open anything by name: paths.c and folder.c do, with their checks.
 */
#include "cli/drill/crew.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "cli/drill/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define SPARE_FDS 64
#define READY_POLL_NS 1000000
#define READY_LIMIT_NS (30 * PC_NS_PER_S)

static const char note_text[] =
    "This is a Portcullis drill, a test of this machine's protection. Nothing of yours was touched: the drill damages\n"
    "only files it made itself, in this folder, and `portcullis drill --undo` reverses all of it.\n";

/* A signal that ends the drill asks all workers to stop; also those that left their parent and its terminal. */
static struct drill_progress *signalled;

static void on_signal(int sig)
{
    __atomic_store_n(&signalled->stop, 1, __ATOMIC_RELAXED);
}

static void set_step(struct drill_record *rec, enum drill_step step)
{
    __atomic_store_n(&rec->step, (uint32_t)step, __ATOMIC_RELEASE);
}

/* ---- one file ---- */

static enum drill_step step_for(int err)
{
    switch (err) {
    case 0:
        return DRILL_DONE;
    case -EPERM:
    case -EACCES:
        return DRILL_BLOCKED;
    case PC_E_REFUSED:
        return DRILL_REFUSED;
    case PC_E_UNSUPPORTED:
    case -EOPNOTSUPP:
    case -ENOSYS:
        return DRILL_UNSUPPORTED;
    default:
        return DRILL_FAILED;
    }
}

static void leave_note(const struct drill_crew *c, uint32_t sub)
{
    uint32_t bit = 1u << sub;
    if (__atomic_fetch_or(&c->progress->noted, bit, __ATOMIC_RELAXED) & bit)
        return;
    _close_ int fd = drill_folder_create_file(c->folder, c->folder->sub[sub], DRILL_NOTE, 0644);
    if (fd < 0 || pc_write_all(fd, note_text, sizeof note_text - 1) < 0)
        __atomic_fetch_and(&c->progress->noted, ~bit, __ATOMIC_RELAXED); /* a later file of this folder tries again */
}

static int open_job(const struct drill_crew *c, const struct drill_path *path, const struct drill_job *job)
{
    if (!c->held)
        return drill_job_open(c->folder, job->file, path);
    int fd = c->held[job->index];
    int r = fd < 0 ? fd : drill_folder_check(c->folder, fd, 1);
    return r < 0 ? r : fd;
}

static int damage_job(struct drill_job *job, const struct drill_path *path, struct drill_record *rec, uint32_t rename)
{
    int r = drill_job_load(job, path);
    if (r < 0)
        return r;
    rec->changed_ns = pc_mono_ns();
    set_step(rec, DRILL_CHANGING);
    if (rename == DRILL_RENAME_BEFORE)
        r = drill_job_rename(job);
    if (r == 0)
        r = path->damage(job);
    if (r == 0 && rename == DRILL_RENAME_AFTER)
        r = drill_job_rename(job);
    return r;
}

static void work_on(struct drill_crew *c, struct drill_tools *tools, uint32_t index)
{
    struct drill_progress *p = c->progress;
    struct drill_record *rec = &p->record[index];
    const struct drill_path *path = &drill_paths[p->path];
    struct drill_job job = {.folder = c->folder, .file = &rec->file, .tools = tools, .index = index,
                            .shape = {.pattern = (enum drill_pattern)p->pattern}};
    rec->pid = getpid();
    rec->start_ns = pc_mono_ns();
    set_step(rec, DRILL_OPENING);
    int r = job.fd = open_job(c, path, &job);
    if (r >= 0) {
        set_step(rec, DRILL_OPENED);
        r = damage_job(&job, path, rec, p->rename);
        if (!c->held)
            close(job.fd);
    }
    rec->done_ns = pc_mono_ns();
    rec->err = r;
    set_step(rec, step_for(r));
    if (r == 0 && c->notes)
        leave_note(c, rec->file.sub);
    if (step_for(r) == DRILL_UNSUPPORTED)
        __atomic_store_n(&p->stop, 1, __ATOMIC_RELAXED);
    if (job.shape.size > 1 << 18)
        drill_tools_trim(tools);
}

/* ---- one worker ---- */

/* Every file has its own due time, so that workers need not talk to each other to keep one common rate. */
static void wait_turn(const struct drill_progress *p, uint32_t index)
{
    if (!p->rate)
        return;
    uint64_t due = p->begun_ns + (uint64_t)index * PC_NS_PER_S / p->rate;
    const struct timespec at = {(time_t)(due / PC_NS_PER_S), (long)(due % PC_NS_PER_S)};
    while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED) &&
           clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

static void work_in_child(struct drill_crew *c, struct drill_tools *tools, uint32_t index)
{
    pid_t pid = fork();
    if (pid == 0) {
        work_on(c, tools, index);
        _exit(0);
    }
    if (pid < 0) {
        c->progress->record[index].err = -errno;
        set_step(&c->progress->record[index], DRILL_FAILED);
        return;
    }
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static void wait_start(int start)
{
    char c;
    while (read(start, &c, 1) < 0 && errno == EINTR)
        continue;
}

static void worker(struct drill_crew *c, struct drill_tools *tools, int start)
{
    struct drill_progress *p = c->progress;
    __atomic_fetch_add(&p->ready, 1, __ATOMIC_RELEASE);
    wait_start(start);
    while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED)) {
        uint32_t index = __atomic_fetch_add(&p->next, 1, __ATOMIC_RELAXED);
        if (index >= p->files)
            break;
        wait_turn(p, index);
        if (__atomic_load_n(&p->stop, __ATOMIC_RELAXED))
            break;
        if (p->topology == DRILL_FORK_PER_FILE)
            work_in_child(c, tools, index);
        else
            work_on(c, tools, index);
    }
}

/* ---- the family ---- */

struct gates {
    int start[2], done[2]; /* start: closed by the parent when all begin; done: held open by everyone still at work */
};

static void become_worker(struct drill_crew *c, struct drill_tools *tools, struct gates *g)
{
    close(TAKE_FD(g->start[1]));
    close(TAKE_FD(g->done[0]));
    worker(c, tools, g->start[0]);
    _exit(0);
}

static int fork_flat(struct drill_crew *c, struct drill_tools *tools, struct gates *g)
{
    for (uint32_t i = 0; i < c->progress->processes; i++) {
        pid_t pid = fork();
        if (pid == 0)
            become_worker(c, tools, g);
        if (pid < 0)
            __atomic_fetch_add(&c->progress->missing, 1, __ATOMIC_RELEASE);
    }
    return 0;
}

/* Each worker is made by a process that ends at once: an orphan in a session of its own, as daemons are. */
static int fork_orphans(struct drill_crew *c, struct drill_tools *tools, struct gates *g)
{
    for (uint32_t i = 0; i < c->progress->processes; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            setsid();
            pid_t grandchild = fork();
            if (grandchild == 0)
                become_worker(c, tools, g);
            if (grandchild < 0)
                __atomic_fetch_add(&c->progress->missing, 1, __ATOMIC_RELEASE);
            _exit(0);
        }
        if (pid < 0)
            __atomic_fetch_add(&c->progress->missing, 1, __ATOMIC_RELEASE);
        else
            while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                continue;
    }
    return 0;
}

/* Each worker is the child of the one before it. */
static int fork_chain(struct drill_crew *c, struct drill_tools *tools, struct gates *g)
{
    for (uint32_t i = 0; i < c->progress->processes; i++) {
        pid_t pid = fork();
        if (pid == 0)
            continue; /* the new link of the chain makes the next one */
        if (pid < 0)
            __atomic_fetch_add(&c->progress->missing, c->progress->processes - i, __ATOMIC_RELEASE);
        if (i == 0)
            return 0; /* the drill itself */
        become_worker(c, tools, g);
    }
    become_worker(c, tools, g);
    return 0;
}

static int (*const families[DRILL_TOPOLOGIES])(struct drill_crew *, struct drill_tools *, struct gates *) = {
    [DRILL_FLAT] = fork_flat,
    [DRILL_FORK_PER_FILE] = fork_flat,
    [DRILL_DOUBLE_FORK] = fork_orphans,
    [DRILL_CHAIN] = fork_chain,
};

/* Bounded, because a worker may be killed before it is ready; one that comes later just starts later. */
static void wait_ready(const struct drill_progress *p)
{
    const struct timespec pause = {0, READY_POLL_NS};
    uint64_t until = pc_mono_ns() + READY_LIMIT_NS;
    while (!__atomic_load_n(&p->stop, __ATOMIC_RELAXED) && pc_mono_ns() < until &&
           __atomic_load_n(&p->ready, __ATOMIC_ACQUIRE) + __atomic_load_n(&p->missing, __ATOMIC_ACQUIRE) < p->processes)
        nanosleep(&pause, NULL);
}

/* The pipe ends when the last process that holds it does, orphans and killed ones included. */
static void wait_done(int done)
{
    char c;
    ssize_t n;
    do
        n = read(done, &c, 1);
    while (n > 0 || (n < 0 && errno == EINTR));
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
}

static void catch_signals(struct drill_progress *p)
{
    signalled = p;
    struct sigaction act = {.sa_handler = on_signal};
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
}

static int run_family(struct drill_crew *c, struct drill_tools *tools, struct gates *g)
{
    struct drill_progress *p = c->progress;
    catch_signals(p);
    families[p->topology](c, tools, g);
    close(TAKE_FD(g->done[1]));
    close(TAKE_FD(g->start[0]));
    wait_ready(p);
    p->begun_real_ns = pc_real_ns();
    p->begun_ns = pc_mono_ns();
    close(TAKE_FD(g->start[1]));
    wait_done(g->done[0]);
    p->ended_ns = pc_mono_ns();
    return p->missing >= p->processes ? -EAGAIN : 0;
}

int drill_crew_run(struct drill_crew *c)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < c->progress->files; i++)
        if (c->progress->record[i].file.size > largest)
            largest = c->progress->record[i].file.size;
    struct drill_tools tools;
    int r = drill_tools_init(&tools, c->cipher, c->links, largest);
    if (r < 0)
        return r;
    struct gates g = {{-1, -1}, {-1, -1}};
    if (pipe2(g.start, O_CLOEXEC) < 0 || pipe2(g.done, O_CLOEXEC) < 0)
        r = -errno;
    else
        r = run_family(c, &tools, &g);
    for (int i = 0; i < 2; i++) {
        pc_closep(&g.start[i]);
        pc_closep(&g.done[i]);
    }
    drill_tools_free(&tools);
    return r;
}

/* ---- descriptors opened early ---- */

int drill_crew_hold(struct drill_crew *c)
{
    uint32_t files = c->progress->files;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    limit.rlim_cur = limit.rlim_max;
    if (files + SPARE_FDS > limit.rlim_max)
        return -EMFILE;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    c->held = calloc(files, sizeof *c->held);
    if (!c->held)
        return -ENOMEM;
    for (uint32_t i = 0; i < files; i++)
        c->held[i] = drill_job_open(c->folder, &c->progress->record[i].file, &drill_paths[c->progress->path]);
    return 0;
}

void drill_crew_drop(struct drill_crew *c)
{
    for (uint32_t i = 0; c->held && i < c->progress->files; i++)
        if (c->held[i] >= 0)
            close(c->held[i]);
    free(c->held);
    c->held = NULL;
}
