/*
 * Owns `hash.block` and `hash.unblock`: which hashes are blocked is in the timers; a process of its own answers the
 * kernel (blocker.c). When the list changes a new one is started before the old one ends, so that there is no moment
 * without.
 */
#include "host/blocker.h"
#include "host/stops.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 5000

struct list {
    const struct pc_runner *r;
    struct pc_blocked *blocked;
};

static bool is_listed(const struct pc_blocked *b, const uint8_t sha256[32])
{
    for (uint32_t i = 0; i < b->n; i++)
        if (memcmp(b->sha256[i], sha256, 32) == 0)
            return true;
    return false;
}

/* Each once. One too many cannot be: pc_act_block refuses it. */
static int add_blocked(void *ctx, const struct pc_kept_timer *t)
{
    struct list *l = ctx;
    struct pc_blocked *b = l->blocked;
    uint8_t sha256[32];
    if (strcmp(t->kind, "block") != 0 || b->n == PC_BLOCKED_MAX || pc_timer_left(l->r, t) == 0)
        return 0;
    json_t *data = json_loads(t->data, JSON_REJECT_DUPLICATES, NULL);
    const char *hex = json_string_value(json_object_get(data, "sha256"));
    if (hex && pc_unhex(hex, sha256, sizeof sha256) == 32 && !is_listed(b, sha256))
        memcpy(b->sha256[b->n++], sha256, sizeof sha256);
    json_decref(data);
    return 0;
}

/* False: as many as can be are blocked already, and this is none of them; or it cannot be known. */
static bool has_room(const struct pc_runner *r, const uint8_t sha256[32])
{
    static struct pc_blocked b;
    struct list l = {r, &b};
    b.n = 0;
    return pc_memory_timers(r->file, add_blocked, &l) == 0 && (b.n < PC_BLOCKED_MAX || is_listed(&b, sha256));
}

static void end_child(struct pc_child *c)
{
    if (c->pid <= 0)
        return;
    (void)kill(c->pid, SIGKILL);
    (void)waitpid(c->pid, NULL, 0);
    pc_closep(&c->pid_fd);
    pc_closep(&c->out_fd);
    *c = (struct pc_child){.pid_fd = -1, .out_fd = -1};
}

void pc_blocker_stop(struct pc_runner *r)
{
    end_child(&r->blocker);
}

/* The new one says "ready" when its marks are set, or why not. */
static int wait_ready(const struct pc_child *c, char *why, size_t why_len)
{
    char line[300] = "";
    size_t n = 0;
    uint64_t until = pc_mono_ns() + READY_MS * PC_NS_PER_MS;
    while (!memchr(line, '\n', n) && n < sizeof line - 1 && pc_mono_ns() < until) {
        struct pollfd p = {c->out_fd, POLLIN, 0};
        (void)poll(&p, 1, 100);
        ssize_t got = read(c->out_fd, line + n, sizeof line - 1 - n);
        if (got == 0)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    line[strcspn(line, "\n")] = 0;
    if (strcmp(line, "ready") == 0)
        return 0;
    snprintf(why, why_len, "%s", line[0] ? line : "the blocker did not start in time");
    return PC_E_UNSUPPORTED;
}

/* Makes the blocker fit the timers: a new one, or none. */
static int renew(struct pc_runner *r, char *why, size_t why_len)
{
    static struct pc_blocked b; /* in the child's copy of our memory */
    struct pc_child next = {.pid_fd = -1, .out_fd = -1};
    b = (struct pc_blocked){.mounts = (const char *const *)r->settings.block_mounts.path,
                            .mount_count = r->settings.block_mounts.count,
                            .parent = getpid()};
    struct list l = {r, &b};
    int e = pc_memory_timers(r->file, add_blocked, &l);
    if (e < 0)
        return e;
    if (b.n) {
        struct pc_spawn s = {.run = pc_blocker_run, .arg = &b, .group_fd = -1, .out_fd = -1, .keep_fd = -1};
        e = pc_spawn(&s, &next);
        if (e == 0)
            e = wait_ready(&next, why, why_len);
        if (e < 0) {
            end_child(&next);
            return e;
        }
    }
    end_child(&r->blocker);
    r->blocker = next;
    return 0;
}

enum pc_act pc_act_block(struct pc_task *t)
{
    const char *hex = json_string_value(json_object_get(t->params, "sha256"));
    uint8_t sha256[32];
    char path[128], why[300] = "";
    if (pc_unhex(hex, sha256, sizeof sha256) != 32)
        return PC_ACT_REFUSED;
    if (pc_blocker_spares(sha256, path, sizeof path)) {
        snprintf(t->text, sizeof t->text, "this is %s, which no order can block", path);
        return PC_ACT_REFUSED;
    }
    if (!has_room(t->r, sha256)) {
        snprintf(t->text, sizeof t->text, "not blocked: %d programs are blocked here already, and no more can be",
                 PC_BLOCKED_MAX);
        return PC_ACT_FAILED;
    }
    if (pc_task_timer(t, "block", json_pack("{s:s}", "sha256", hex)) < 0)
        return PC_ACT_FAILED;
    int e = renew(t->r, why, sizeof why);
    if (e < 0)
        (void)pc_timer_drop(t->r, t->timer);
    snprintf(t->text, sizeof t->text, "%s%s",
             e < 0 ? "not blocked: " : "starts no more: ", e < 0 ? why[0] ? why : pc_strerror(e) : hex);
    return e < 0 ? PC_ACT_FAILED : PC_ACT_OK;
}

static bool same_hash(const json_t *data, const void *arg)
{
    const char *hex = json_string_value(json_object_get(data, "sha256"));
    return hex && strcmp(hex, arg) == 0;
}

enum pc_act pc_act_unblock(struct pc_task *t)
{
    const char *hex = json_string_value(json_object_get(t->params, "sha256"));
    int n = pc_timers_end(t->r, "block", same_hash, hex);
    pc_stops_step(t->r);
    snprintf(t->text, sizeof t->text, "%s",
             n > 0    ? "not blocked any more"
             : n == 0 ? "it was not blocked"
                      : "the timers cannot be read");
    return n < 0 ? PC_ACT_FAILED : PC_ACT_OK;
}

static int again(struct pc_runner *r, const struct pc_kept_timer *t, const json_t *data)
{
    char why[300] = "";
    (void)t;
    (void)data;
    if (r->blocker.pid > 0)
        return 0; /* started for another timer, and it has all of them */
    int e = renew(r, why, sizeof why);
    if (e < 0)
        pc_event(r->log, PC_LEVEL_ERROR, "block", NULL, "blocked programs can be started: %s", why);
    return e;
}

/* The timer is removed after this; then pc_stops_step makes the blocker fit those that are left. */
static int undo(struct pc_runner *r, const struct pc_kept_timer *t, const json_t *data)
{
    (void)t;
    (void)data;
    r->blocks_changed = true;
    return 0;
}

const struct pc_stop pc_stop_block = {"block", again, undo};

struct count {
    const struct pc_runner *r;
    uint32_t n;
};

static int count_blocks(void *ctx, const struct pc_kept_timer *t)
{
    struct count *c = ctx;
    c->n += strcmp(t->kind, "block") == 0 && pc_timer_left(c->r, t) > 0;
    return 0;
}

void pc_stops_step(struct pc_runner *r)
{
    struct count blocks = {.r = r};
    int status;
    char why[300] = "";
    (void)pc_memory_timers(r->file, count_blocks, &blocks);
    if (r->blocker.pid > 0 && pc_child_reap(&r->blocker, &status) == 0) {
        pc_tell_event(r, PC_LEVEL_WARNING, "block",
                      "the process that blocks programs ended (status %d): starting another", status);
        pc_closep(&r->blocker.pid_fd);
        pc_closep(&r->blocker.out_fd);
        r->blocker = (struct pc_child){.pid_fd = -1, .out_fd = -1};
    }
    if (!r->blocks_changed && (!blocks.n || r->blocker.pid > 0))
        return;
    int e = renew(r, why, sizeof why);
    if (e < 0)
        pc_event(r->log, PC_LEVEL_ERROR, "block", NULL, "the blocked programs are not the ones that should be: %s",
                 why);
    r->blocks_changed = e < 0;
}
