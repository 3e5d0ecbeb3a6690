/*
 * Owns the trace file: everything the judge is told, in order and without any file content, so that a day can be
 * replayed under another policy. Written in pieces by the main thread when it has time, never while answering the
 * kernel; at its bound, or when the disk does not take it, recording ends and status says so.
 */
#include "agent/guard.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "core/trace.h"

#include <errno.h>
#include <fcntl.h>

#define PIECE_BYTES (64u << 10)
#define TRACE_BYTES_MAX (1ULL << 30)

struct pc_tracer {
    struct pc_buf buf;
    int fd;
    uint64_t written;
};

static void put(struct pc_guard *g, const struct pc_trace_rec *rec)
{
    struct pc_tracer *t = g->tracer;
    if (!t)
        return;
    if (t->buf.len + PC_TRACE_BODY_MAX > PIECE_BYTES)
        pc_tracer_flush(g);
    if (g->tracer)
        (void)pc_trace_write(&t->buf, rec); /* has room: see above */
}

int pc_tracer_open(struct pc_guard *g, const char *path)
{
    struct pc_tracer *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    t->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = t->fd < 0 ? -errno : 0;
    pc_buf_init(&t->buf, PIECE_BYTES * 2);
    if (r == 0)
        r = pc_trace_begin(&t->buf);
    if (r < 0) {
        if (t->fd >= 0)
            close(t->fd);
        free(t);
        return r;
    }
    g->tracer = t;
    return 0;
}

void pc_tracer_close(struct pc_guard *g)
{
    pc_tracer_flush(g);
    struct pc_tracer *t = TAKE_PTR(g->tracer);
    if (!t)
        return;
    close(t->fd);
    pc_buf_free(&t->buf);
    free(t);
}

void pc_tracer_flush(struct pc_guard *g)
{
    struct pc_tracer *t = g->tracer;
    if (!t || !t->buf.len)
        return;
    int r = t->written + t->buf.len > TRACE_BYTES_MAX ? -EFBIG : pc_write_all(t->fd, t->buf.data, t->buf.len);
    t->written += t->buf.len;
    pc_buf_reset(&t->buf);
    if (r == 0)
        return;
    pc_event(g->log, PC_LEVEL_WARNING, "trace", NULL, "the trace ends here: %s", pc_strerror(r));
    pc_tracer_close(g);
}

void pc_tracer_lineage(struct pc_guard *g, uint8_t type, pid_t parent, pid_t pid, uint64_t now_ns)
{
    struct pc_trace_rec rec = {.type = type, .now_ns = now_ns, .pid = pid, .parent = parent};
    if (type == PC_TRACE_POLICY) {
        pc_judge_policy_default(&rec.policy);
        rec.policy.convict_score = g->settings.convict_score;
        rec.policy.min_files = g->settings.min_files;
        rec.policy.window_ns = g->settings.window_ns;
        rec.policy.max_actors = g->settings.actors;
        rec.policy.note_folders = g->settings.note_folders;
    }
    put(g, &rec);
}

void pc_tracer_act(struct pc_guard *g, const struct pc_act *act, const struct pc_facts *facts)
{
    if (act->pid <= 0 || act->actor)
        return; /* nobody's, as what a kernel thread closes for others: never evidence against anybody; or not by pid */
    struct pc_trace_rec rec = {
        .type = PC_TRACE_ACT, .now_ns = act->now_ns, .pid = act->pid, .act = *act, .facts = *facts};
    rec.act.before = rec.act.after = NULL;
    rec.act.facts = &rec.facts;
    put(g, &rec);
}

void pc_tracer_absolve(struct pc_guard *g, pc_actor root)
{
    put(g, &(struct pc_trace_rec){.type = PC_TRACE_ABSOLVE, .actor = root});
}
