/*
 * Owns the role `runner`: its start, its loop, its end. Root, no network: it hears the link over a socket, believes
 * owners' signatures and its own memory, and starts nothing before the start is on the disk. What each event means is
 * in the other files (see runner.h).
 */
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "host/collect.h"
#include "host/keys.h"
#include "host/options.h"
#include "host/stops.h"
#include "proc/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#define TICK_NS (PC_NS_PER_S)
#define GUARD_EVERY_NS (5 * PC_NS_PER_S)
#define FORGET_AFTER_S (90 * 86400)
#define FORGET_EVERY_NS (10 * PC_NS_PER_S)
#define TRIM_PAGES 32768 /* half of what the memory may hold */

static int read_boot(char out[33])
{
    char text[64];
    size_t n = 0;
    ssize_t len = pc_read_file_at(AT_FDCWD, "/proc/sys/kernel/random/boot_id", text, sizeof text);
    if (len < 0)
        return (int)len;
    for (ssize_t i = 0; i < len && n < 32; i++)
        if (strchr("0123456789abcdef", text[i]))
            out[n++] = text[i];
    out[n] = 0;
    return n == 32 ? 0 : PC_E_SYNTAX;
}

static int read_identity(struct pc_runner *r)
{
    _free_ char *seed = NULL;
    _free_ char *name = NULL;
    size_t len;
    uint8_t key[32];
    int e = pc_fleet_read(r->dir.fd, PC_FILE_IDENTITY, 64, &seed, &len);
    if (e == 0 && len != sizeof r->seed)
        e = PC_E_CORRUPT;
    if (e < 0)
        return e;
    memcpy(r->seed, seed, sizeof r->seed);
    explicit_bzero(seed, len);
    e = pc_memory_get(r->file, "name", &name, &len);
    if (e == 0)
        e = pc_key_of_seed(r->seed, key);
    if (e < 0)
        return e;
    if (!pc_name_valid(name))
        return PC_E_CORRUPT;
    snprintf(r->memory.me.name, sizeof r->memory.me.name, "%s", name);
    pc_host_id(key, r->memory.me.id);
    pc_host_ref_format(&r->memory.me, r->ref);
    return 0;
}

static int read_trust(struct pc_runner *r)
{
    _free_ char *text = NULL;
    size_t len;
    char why[256] = "";
    int e = pc_memory_get(r->file, "trust", &text, &len);
    if (e == 0)
        e = pc_trust_parse(text, len, &r->trust, why, sizeof why);
    if (e < 0)
        fprintf(stderr, "portcullisd: the pinned trust file cannot be read: %s\n", why[0] ? why : pc_strerror(e));
    return e;
}

static int read_checkpoint(struct pc_runner *r)
{
    _free_ char *text = NULL;
    size_t len;
    int e = pc_memory_get(r->file, "checkpoint", &text, &len);
    if (e == PC_E_NOTFOUND)
        return 0;
    if (e == 0)
        e = pc_checkpoint_parse(text, len, &r->memory.checkpoint);
    if (e == 0 && strcmp(r->memory.checkpoint.origin, r->trust.log.name) != 0) {
        r->memory.checkpoint = (struct pc_checkpoint){0}; /* of a log that the trust file names no more */
        return 0;
    }
    if (e == 0)
        (void)pc_memory_get(r->file, "checkpoint-note", &r->checkpoint_note, &len); /* only evidence needs it */
    return e;
}

static int add_revoked(void *ctx, const char *fingerprint)
{
    struct pc_revoked *r = ctx;
    if (r->n < PC_REVOKED_MAX)
        snprintf(r->fingerprint[r->n++], sizeof r->fingerprint[0], "%s", fingerprint);
    return 0;
}

static bool known(void *ctx, const char *order_sha256)
{
    struct pc_kept_order o;
    /* an error counts as known: it must not run twice */
    return pc_memory_order_get(ctx, order_sha256, &o) != PC_E_NOTFOUND;
}

static bool halted(void *ctx, const char *order_sha256)
{
    return pc_memory_halted(ctx, order_sha256);
}

static int remember(struct pc_runner *r)
{
    char why[300] = "";
    int e = pc_memory_open(r->dir.path, &r->file, why, sizeof why);
    if (e < 0) {
        fprintf(stderr, "portcullisd: %s/%s: %s\n", r->dir.path, PC_FILE_MEMORY, why);
        return e;
    }
    r->memory.known = known;
    r->memory.halted = halted;
    r->memory.ctx = r->file;
    e = read_boot(r->boot);
    if (e == 0)
        e = read_identity(r);
    if (e < 0)
        fprintf(stderr,
                "portcullisd: %s: this host's identity cannot be read: %s; enroll it with `portcullisd enroll`\n",
                r->dir.path, pc_strerror(e));
    if (e == 0)
        e = read_trust(r);
    if (e == 0)
        e = read_checkpoint(r);
    if (e == 0)
        e = pc_memory_revoked(r->file, add_revoked, &r->revoked);
    r->memory.sequence = e == 0 ? pc_memory_number(r->file, "sequence") : 0;
    return e;
}

/* One runner a folder: the second would run what the first runs. */
static int take_lock(const struct pc_runner *r)
{
    int e = pc_fleet_lock(r->dir.fd);
    if (e == PC_E_STATE)
        fprintf(stderr, "portcullisd: %s: another runner works here\n", r->dir.path);
    return e;
}

static int open_places(struct pc_runner *r)
{
    struct pc_identity who;
    bool fallback;
    char name[40];
    int e = pc_identity_link(&r->settings, &who, &fallback);
    if (e < 0) {
        fprintf(stderr, "portcullisd: user %s does not exist: make it, or set link-user in section [fleet]\n",
                r->settings.link_user);
        return e;
    }
    r->link_uid = who.uid;
    r->link_gid = who.gid;
    snprintf(name, sizeof name, "%016llx", (unsigned long long)pc_hash64(r->dir.path, strlen(r->dir.path)));
    e = pc_jobs_new(name, &r->jobs);
    if (e == PC_E_UNSUPPORTED)
        pc_event(r->log, PC_LEVEL_ERROR, "no-cgroup", NULL,
                 "no cgroup v2 that we may use: programs of orders will not be started");
    else if (e < 0)
        return e;
    if (r->jobs && pc_have_systemd() && !pc_jobs_scoped(r->jobs))
        pc_event(r->log, PC_LEVEL_WARNING, "no-scope", NULL,
                 "systemd gave no scope (is its bus there?): programs of orders run in groups beside its own");
    if (r->jobs)
        (void)pc_jobs_clear_old(r->jobs); /* what an earlier runner left running has lost its account */
    e = pc_peer_listen(r);
    return e < 0 ? e : pc_control_listen(r->dir.path, pc_runner_commands, r, &r->control);
}

static void say_silence(struct pc_runner *r)
{
    bool silent = !pc_checkpoint_fresh(&r->memory.checkpoint, &r->trust, pc_now());
    /* A runner that just started has had no chance to hear: it waits as long as the trust file allows. */
    if (silent && pc_boot_ns() - r->started_ns < r->trust.silence * PC_NS_PER_S)
        return;
    if (silent != r->silent)
        pc_tell_event(
            r, silent ? PC_LEVEL_WARNING : PC_LEVEL_NOTICE, silent ? "silence" : "heard",
            silent
                ? "no fresh checkpoint for %u s: the server is silent, or somebody holds it back; no act order starts"
                : "a fresh checkpoint after more than %u s of silence",
            r->trust.silence);
    r->silent = silent;
}

/*
 * Tells the server that the guard of this host stopped something. Counted on disk: one that came while we were down is
 * told too.
 */
static void watch_guard(struct pc_runner *r)
{
    uint64_t now = pc_boot_ns();
    if (now < r->next_guard_ns)
        return;
    r->next_guard_ns = now + GUARD_EVERY_NS;
    int64_t n = pc_guard_incidents(r);
    uint64_t told = pc_memory_number(r->file, "guard-incidents");
    if (n < 0 || (uint64_t)n == told)
        return;
    if ((uint64_t)n > told)
        pc_tell_event(r, PC_LEVEL_ALERT, "incident", "the guard of this host has %lld incidents, %lld more than before",
                      (long long)n, (long long)n - (long long)told);
    if (pc_memory_put_number(r->file, "guard-incidents", (uint64_t)n) < 0)
        r->full = true; /* told again */
}

/* What cannot be forgotten now is forgotten the next time. */
static void forget(struct pc_runner *r)
{
    uint64_t now = pc_boot_ns();
    if (now < r->next_forget_ns)
        return;
    r->next_forget_ns = now + FORGET_EVERY_NS;
    (void)pc_memory_orders_forget(r->file, pc_now() - FORGET_AFTER_S);
    (void)pc_memory_orders_trim(r->file, TRIM_PAGES);
}

static void tick(struct pc_runner *r)
{
    watch_guard(r);
    pc_timers_step(r);
    pc_schedule(r);
    say_silence(r);
    if (r->jobs)
        (void)pc_jobs_clear_old(r->jobs);
    forget(r);
    pc_events_tick(r->log);
}

static void take_signals(struct pc_runner *r, int fd)
{
    for (int s; (s = pc_signals_take(fd));)
        r->end |= s != SIGHUP;
}

static void turn(struct pc_runner *r, int signal_fd)
{
    struct pollfd p[4 + 2 * PC_JOBS_MAX] = {
        {signal_fd, POLLIN, 0}, {pc_control_fd(r->control), POLLIN, 0}, {r->listen_fd, POLLIN, 0}};
    uint32_t n = 3;
    if (r->peer_fd >= 0) {
        bool room = r->in.len < r->in.max; /* none: what is in there has to wait */
        p[n++] = (struct pollfd){r->peer_fd, (short)((room ? POLLIN : 0) | (r->out.len ? POLLOUT : 0)), 0};
    }
    if (r->jobs)
        n += pc_jobs_poll(r->jobs, p + n, 2 * PC_JOBS_MAX);
    (void)poll(p, n, 250);
    uint64_t now = pc_boot_ns();
    take_signals(r, signal_fd);
    if (p[1].revents || pc_control_peers(r->control))
        (void)pc_control_step(r->control, pc_mono_ns());
    if (p[2].revents)
        pc_peer_accept(r);
    pc_peer_step(r, now);
    if (r->jobs && pc_jobs_step(r->jobs, now))
        pc_schedule(r);
    /* looks are asked again */
    if (r->exit_status == PC_EXIT_UPGRADED && r->running == 0 && (r->looking == 0 || r->trial))
        r->end = true;
    if (now >= r->next_tick_ns) {
        r->next_tick_ns = now + TICK_NS;
        tick(r);
    }
}

static int loop(struct pc_runner *r)
{
    _close_ int signal_fd = pc_signals_open(0, NULL);
    if (signal_fd < 0)
        return signal_fd;
    while (!r->end)
        turn(r, signal_fd);
    return 0;
}

static int start(struct pc_runner *r)
{
    int e = take_lock(r);
    if (e == 0)
        e = remember(r);
    if (e == 0)
        e = open_places(r);
    if (e == 0)
        e = pc_schedule_recover(r);
    if (e == 0)
        e = pc_timers_recover(r);
    return e;
}

static void finish(struct pc_runner *r)
{
    pc_peer_close(r, "the runner ends");
    pc_closep(&r->listen_fd);
    (void)unlinkat(r->dir.fd, PC_FILE_SOCKET, 0);
    pc_control_close(r->control);
    pc_blocker_stop(r);
    pc_jobs_free(r->jobs);
    for (size_t i = 0; i < PC_UNSAVED_MAX; i++)
        free(r->unsaved[i].document);
    pc_trust_clear(&r->trust);
    free(r->checkpoint_note);
    pc_memory_close(r->file);
    pc_events_close(r->log);
    pc_settings_free(&r->settings);
    explicit_bzero(r->seed, sizeof r->seed);
    pc_fleet_close(&r->dir);
}

/* Same meaning as the guard's setting; a folder of its own, because two programs cannot rotate one file. */
static int open_log(struct pc_runner *r)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/events.json", r->dir.path);
    struct pc_events_opts opts = {.text = true,
                                  .journal = r->settings.journal,
                                  .rate = r->settings.rate,
                                  .least = PC_LEVEL_INFO,
                                  .ecs_path = strcmp(r->settings.ecs_file, "none") == 0 ? NULL : path};
    return pc_events_open(&opts, &r->log);
}

int pc_role_runner(const struct pc_host_options *o)
{
    struct pc_runner *r = calloc(1, sizeof *r);
    int status = r ? pc_host_settings(o, &r->settings) : 1;
    if (status) {
        free(r);
        return status;
    }
    r->dir.fd = r->listen_fd = r->peer_fd = -1;
    r->config = o->config;
    r->program = o->program;
    r->watched = o->watched;
    r->trial = o->trial;
    r->blocker = (struct pc_child){.pid_fd = -1, .out_fd = -1};
    r->started_ns = pc_boot_ns();
    snprintf(r->guard_dir, sizeof r->guard_dir, "%s", o->state ? o->state : PC_STATE_DEFAULT);
    pc_queue_init(&r->in, 2 * (PC_FRAME_MAX_DOWN + PC_FRAME_HEAD));
    pc_queue_init(&r->out, 2 * (PC_FRAME_MAX + PC_FRAME_HEAD));
    /* Under the protocol's 64 KiB/s and 2 MiB, so that pings and events fit beside. */
    r->sending = (struct pc_bucket){1.5 * 1048576, 1.5 * 1048576, 56 * 1024, r->started_ns};
    r->looks = (struct pc_bucket){10, 10, 1, r->started_ns};
    /* As many as orders may wait, since each may come behind one */
    r->checkpoints = (struct pc_bucket){300, 300, 5, r->started_ns};
    r->refusals = (struct pc_bucket){100, 100, 10, r->started_ns};
    r->events = (struct pc_bucket){20, 20, 1, pc_boot_s() * PC_NS_PER_S};
    signal(SIGPIPE, SIG_IGN);
    int e = pc_host_folder(o, false, &r->dir);
    if (e == 0)
        e = open_log(r);
    if (e == 0)
        e = start(r);
    if (e == 0) {
        pc_event(r->log, PC_LEVEL_NOTICE, "ready", NULL, "host %s, trust file version %llu, sequence %llu", r->ref,
                 (unsigned long long)r->trust.version, (unsigned long long)r->memory.sequence);
        printf("portcullis: host %s ready\n", r->memory.me.name);
        fflush(stdout);
        e = loop(r);
    } else {
        fprintf(stderr, "portcullisd: the runner cannot start: %s\n", pc_strerror(e));
    }
    status = e < 0 ? 1 : r->exit_status;
    finish(r);
    free(r);
    return status;
}
