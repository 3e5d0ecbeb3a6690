/*
 * Owns the answer to `restore --deleted`: goes through what the store found deleted beneath a folder, twice (to count,
 * then to put back), and keeps the guard at its other work meanwhile.
 */
#include "agent/answers.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "preserve/deleted.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

struct work {
    struct pc_guard *g;
    struct pc_reply *reply;
    struct pc_spot spot;
    const char *to; /* escaped; "" in place */
    int root_fd;    /* where paths begin: the folder, or the other one; not owned */
    size_t skip;    /* bytes of each path that are not wanted there */
    uint64_t since_ns;
    bool dry;
    uint64_t total, done, bytes, restored, already, occupied, failed;
};

/* Between steps: nobody waits for us, and a slow reader of our progress is waited for. */
static void breathe(struct work *w)
{
    do {
        pc_guard_pump(w->g);
        (void)pc_control_step(w->g->control, pc_mono_ns());
    } while (!pc_reply_keeps_up(w->reply) && usleep(1000) == 0);
}

/* Printable path of the place: the folder (as the caller named it, or as far as it is there), then the rest. */
static void place_text(const struct work *w, const struct pc_deleted *d, char *out, size_t cap)
{
    size_t used;
    if (*w->to)
        used = (size_t)snprintf(out, cap, "%s", w->to);
    else
        used = pc_escape_name(w->spot.path, (size_t)(w->spot.rest - w->spot.path), out, cap);
    if (used && out[used - 1] != '/')
        out[used++] = '/';
    pc_escape_name(d->path + w->skip, strlen(d->path + w->skip), out + used, cap - used);
}

static json_t *step_json(struct work *w, const struct pc_deleted *d, const struct pc_step *step)
{
    char path[8 * PATH_MAX + 2]; /* two escaped paths */
    struct pc_process p = {0};
    bool known = d->by && pc_store_get_process(w->g->store, d->by, &p) == 0;
    place_text(w, d, path, sizeof path);
    json_t *ok = w->dry ? json_null() : json_boolean(step->result == 0);
    return json_pack("{s:s, s:s, s:n, s:o, s:o, s:I, s:o, s:o}", "kind", pc_answer_step_kind(step->kind), "path", path,
                     "from", "ok", ok, "why", text_json(step->why), "size", (json_int_t)d->size, "deleted",
                     time_json(d->gone_ns), "by", known ? text_json(p.exe) : json_null());
}

static void count_step(struct work *w, const struct pc_deleted *d, const struct pc_step *step)
{
    bool nothing = step->kind == PC_STEP_NOTHING;
    w->done++;
    w->failed += step->result < 0;
    w->already += nothing && !step->why[0];
    w->occupied += nothing && step->why[0];
    if (step->result == 0 && !nothing) {
        w->restored++;
        w->bytes += d->size;
    }
}

/* Not what a disk says of one file (EIO): the others are to come back, and again it would say the same. */
static bool ends_it(int r)
{
    return r == -ENOSPC || r == -EDQUOT || r == -EROFS || r == -ENOMEM;
}

static int one(struct work *w, struct pc_sweep *sweep, const struct pc_deleted *d)
{
    struct pc_step step;
    int r = pc_sweep_restore(sweep, d, w->root_fd, w->skip, w->dry, &step);
    count_step(w, d, &step);
    (void)pc_reply_progress(w->reply, json_pack("{s:o, s:I, s:I}", "step", step_json(w, d, &step), "done",
                                                (json_int_t)w->done, "total", (json_int_t)w->total));
    breathe(w);
    return ends_it(r) ? r : 0;
}

/* One way through: only counts when `sweeping` is false. */
static int go_through(struct work *w, bool sweeping)
{
    struct pc_sweep *sweep;
    struct pc_deleted d;
    int r = pc_sweep_new(w->g->store, w->spot.vol, &w->spot.folder, w->spot.rest, w->since_ns, &sweep);
    if (r < 0)
        return r;
    while ((r = pc_sweep_next(sweep, &d)) > 0) {
        /* The missing folder itself has no place in another folder: its content has. */
        bool wanted = r == 1 && strlen(d.path) > w->skip;
        if (r == 2)
            breathe(w);
        else if (wanted && !sweeping)
            w->total++;
        else if (wanted && (r = one(w, sweep, &d)) < 0)
            break;
    }
    pc_sweep_free(sweep);
    return r;
}

static int open_other(const char *shown)
{
    char path[PATH_MAX];
    int n = pc_unescape_name(shown, path, sizeof path);
    if (n < 1 || path[0] != '/')
        return -EINVAL;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void finish(struct work *w, const char *path, int r)
{
    if (!w->dry) {
        pc_scan_everything(w->g);
        bool good = r == 0 && !w->failed;
        pc_event(w->g->log, good ? PC_LEVEL_NOTICE : PC_LEVEL_ERROR, "restore-deleted",
                 &(struct pc_event_about){.file_path = w->spot.path, .outcome = good ? "success" : "failure"},
                 "deleted files of %s restored by uid %u: %" PRIu64 " restored, %" PRIu64
                 " were there already, %" PRIu64 " places were taken, %" PRIu64 " failed",
                 path, pc_reply_uid(w->reply), w->restored, w->already, w->occupied, w->failed);
    }
    if (r < 0) {
        pc_reply_fail(w->reply, PC_CODE_FAILED,
                      "stopped after %" PRIu64 " of %" PRIu64 " files: %s; run it again for the rest", w->done,
                      w->total, pc_strerror(r));
        return;
    }
    pc_reply_done(w->reply,
                  json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "path", path, "to", *w->to ? w->to : path,
                            "dry_run", w->dry, "total", (json_int_t)w->total, "restored", (json_int_t)w->restored,
                            "already", (json_int_t)w->already, "occupied", (json_int_t)w->occupied, "failed",
                            (json_int_t)w->failed, "bytes", (json_int_t)w->bytes));
}

static void put_back(struct pc_guard *g, const json_t *args, struct pc_reply *reply)
{
    _free_ struct work *w = calloc(1, sizeof *w);
    if (!w) {
        pc_reply_fail(reply, PC_CODE_FAILED, "%s", pc_strerror(-ENOMEM));
        return;
    }
    const char *path = text_arg(args, "path");
    *w = (struct work){.g = g,
                       .reply = reply,
                       .to = text_arg(args, "to"),
                       .since_ns = number_arg(args, "since"),
                       .dry = json_is_true(json_object_get(args, "dry_run"))};
    int r = pc_answer_spot(w->g, path, &w->spot);
    if (r < 0) {
        pc_reply_fail(reply, PC_CODE_FAILED, "%s: %s", path,
                      r == PC_E_NOTFOUND ? "not on a guarded file system" : pc_strerror(r));
        return;
    }
    _close_ int home = w->spot.folder_fd;
    _close_ int other = *w->to ? open_other(w->to) : -1;
    if (*w->to && other < 0) {
        pc_reply_fail(reply, PC_CODE_FAILED, "%s: %s", w->to, pc_strerror(other));
        return;
    }
    w->root_fd = *w->to ? other : home;
    w->skip = *w->to && *w->spot.rest ? strlen(w->spot.rest) + 1 : 0;
    pc_guard_pump(w->g); /* what happened until now is on record before it is looked for */
    r = go_through(w, false);
    if (r == 0)
        r = go_through(w, true);
    finish(w, path, r);
}

void pc_answer_deleted(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct pc_guard *g = ctx;
    if (!pc_answer_begin(g, "restore", reply))
        return;
    put_back(g, args, reply);
    g->at_work = NULL;
}
