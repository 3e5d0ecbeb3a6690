/*
 * Owns the trace format and the replay of traces. The guard hands it what it told the judge and what came back; the
 * command line and the fuzzer hand it bytes. Trusts no byte it reads: every number is bounded before use.
 */
#include "core/trace.h"

#include "base/err.h"
#include "core/kind.h"

#include <string.h>

static const char magic[8] = {'P', 'C', 'T', 'R', 'A', 'C', 'E', PC_TRACE_VERSION};

int pc_trace_begin(struct pc_buf *b)
{
    return pc_buf_add(b, magic, sizeof magic);
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

static void put_u8(struct pc_buf *b, uint8_t v)
{
    pc_buf_add(b, &v, 1);
}

static void put_look(struct pc_buf *b, const struct pc_look *l)
{
    put_u8(b, l->kind);
    put_u8(b, l->opaque);
    put_u8(b, (uint8_t)(l->packed | l->textual << 1));
}

static void get_look(struct pc_cur *c, struct pc_look *l)
{
    l->kind = pc_cur_u8(c);
    l->opaque = pc_cur_u8(c);
    uint8_t flags = pc_cur_u8(c);
    l->packed = flags & 1;
    l->textual = flags >> 1 & 1;
}

static void put_facts(struct pc_buf *b, const struct pc_facts *f)
{
    put_u8(b, f->have);
    pc_buf_add_u32(b, f->finding.evidence);
    put_u8(b, f->finding.score);
    pc_buf_add_u16(b, f->finding.changed_permil);
    put_u8(b, f->finding.kind_before);
    put_u8(b, f->finding.kind_after);
    put_look(b, &f->before);
    put_look(b, &f->after);
    pc_buf_add_u64(b, f->text_hash);
}

static void get_facts(struct pc_cur *c, struct pc_facts *f)
{
    f->have = pc_cur_u8(c);
    f->finding.evidence = pc_cur_u32(c);
    f->finding.score = pc_cur_u8(c);
    f->finding.changed_permil = pc_cur_u16(c);
    f->finding.kind_before = pc_cur_u8(c);
    f->finding.kind_after = pc_cur_u8(c);
    get_look(c, &f->before);
    get_look(c, &f->after);
    f->text_hash = pc_cur_u64(c);
}

/* What the first traces did not have: at the end of the body, so that both readers read both. */
static void put_later(struct pc_buf *b, const struct pc_act *a, const struct pc_facts *f)
{
    pc_buf_add_u64(b, a->base);
    put_u8(b, a->closed);
    pc_buf_add_u64(b, a->successor);
    pc_buf_add_u64(b, f->gist_before.own);
    pc_buf_add_u64(b, f->gist_before.inner);
    pc_buf_add_u64(b, f->gist_after.own);
    pc_buf_add_u64(b, f->gist_after.inner);
}

static void get_later(struct pc_cur *c, struct pc_act *a, struct pc_facts *f)
{
    if (c->left == 0)
        return;
    a->base = pc_cur_u64(c);
    a->closed = pc_cur_u8(c) & 1;
    a->successor = pc_cur_u64(c);
    f->gist_before.own = pc_cur_u64(c);
    f->gist_before.inner = pc_cur_u64(c);
    f->gist_after.own = pc_cur_u64(c);
    f->gist_after.inner = pc_cur_u64(c);
}

static void put_act(struct pc_buf *b, const struct pc_trace_rec *r)
{
    static const struct pc_facts none;
    const struct pc_act *a = &r->act;
    pc_buf_add_u64(b, a->now_ns);
    pc_buf_add_u32(b, (uint32_t)a->pid);
    put_u8(b, a->op);
    put_u8(b, (uint8_t)(a->is_dir | a->has_pre_image << 1));
    pc_buf_add_u64(b, a->file);
    pc_buf_add_u64(b, a->folder);
    pc_buf_add_u64(b, a->name_hash);
    pc_buf_add_u64(b, a->size_before);
    pc_buf_add_u64(b, a->size_after);
    pc_buf_add_u64(b, a->creator);
    put_facts(b, a->facts ? a->facts : &none);
    put_later(b, a, a->facts ? a->facts : &none);
}

static bool get_act(struct pc_cur *c, struct pc_trace_rec *r)
{
    struct pc_act *a = &r->act;
    a->now_ns = r->now_ns = pc_cur_u64(c);
    a->pid = r->pid = (pid_t)pc_cur_u32(c);
    a->op = pc_cur_u8(c);
    uint8_t flags = pc_cur_u8(c);
    a->is_dir = flags & 1;
    a->has_pre_image = flags >> 1 & 1;
    a->file = pc_cur_u64(c);
    a->folder = pc_cur_u64(c);
    a->name_hash = pc_cur_u64(c);
    a->size_before = pc_cur_u64(c);
    a->size_after = pc_cur_u64(c);
    a->creator = pc_cur_u64(c);
    get_facts(c, &r->facts);
    get_later(c, a, &r->facts);
    const struct pc_facts *f = &r->facts;
    return a->pid > 0 && a->op >= PC_OP_MODIFY && a->op <= PC_OP_VAULT && f->finding.score <= 100 &&
           f->before.opaque <= 100 && f->after.opaque <= 100 && f->have <= 7;
}

static void put_process(struct pc_buf *b, const struct pc_trace_rec *r)
{
    pc_buf_add_u64(b, r->now_ns);
    pc_buf_add_u32(b, (uint32_t)r->pid);
    pc_buf_add_u32(b, (uint32_t)r->parent);
}

static bool get_process(struct pc_cur *c, struct pc_trace_rec *r)
{
    r->now_ns = pc_cur_u64(c);
    r->pid = (pid_t)pc_cur_u32(c);
    r->parent = (pid_t)pc_cur_u32(c);
    return r->pid > 0 && r->parent >= 0;
}

static bool get_serve(struct pc_cur *c, struct pc_trace_rec *r)
{
    get_process(c, r);
    return r->pid > 0 && r->parent < 0;
}

static void put_policy(struct pc_buf *b, const struct pc_trace_rec *r)
{
    pc_buf_add_u32(b, r->policy.convict_score);
    pc_buf_add_u32(b, r->policy.min_files);
    pc_buf_add_u64(b, r->policy.window_ns);
    pc_buf_add_u32(b, r->policy.max_actors);
    pc_buf_add_u32(b, r->policy.note_folders);
}

static bool get_policy(struct pc_cur *c, struct pc_trace_rec *r)
{
    r->policy.convict_score = pc_cur_u32(c);
    r->policy.min_files = pc_cur_u32(c);
    r->policy.window_ns = pc_cur_u64(c);
    r->policy.max_actors = pc_cur_u32(c);
    r->policy.note_folders = pc_cur_u32(c);
    return true;
}

static void put_absolve(struct pc_buf *b, const struct pc_trace_rec *r)
{
    pc_buf_add_u64(b, r->actor);
}

static bool get_absolve(struct pc_cur *c, struct pc_trace_rec *r)
{
    r->actor = pc_cur_u64(c);
    return true;
}

static void put_name(struct pc_buf *b, const struct pc_trace_rec *r)
{
    put_process(b, r);
    pc_buf_add(b, r->name, strnlen(r->name, sizeof r->name - 1));
}

static bool get_name(struct pc_cur *c, struct pc_trace_rec *r)
{
    bool good = get_process(c, r);
    size_t n = c->left < sizeof r->name - 1 ? c->left : sizeof r->name - 1;
    const void *text = pc_cur_take(c, n);
    if (text)
        memcpy(r->name, text, n);
    return good;
}

static const struct body {
    void (*put)(struct pc_buf *b, const struct pc_trace_rec *r);
    bool (*get)(struct pc_cur *c, struct pc_trace_rec *r); /* false: a value no writer writes */
} bodies[] = {
    [PC_TRACE_POLICY] = {put_policy, get_policy}, [PC_TRACE_FORK] = {put_process, get_process},
    [PC_TRACE_EXEC] = {put_process, get_process}, [PC_TRACE_EXIT] = {put_process, get_process},
    [PC_TRACE_SEEN] = {put_process, get_process}, [PC_TRACE_SPARE] = {put_process, get_process},
    [PC_TRACE_ACT] = {put_act, get_act},          [PC_TRACE_ABSOLVE] = {put_absolve, get_absolve},
    [PC_TRACE_NAME] = {put_name, get_name},       [PC_TRACE_SERVE] = {put_process, get_serve},
};

static const struct body *body_of(unsigned type)
{
    return type < sizeof bodies / sizeof bodies[0] && bodies[type].put ? &bodies[type] : NULL;
}

/* --- records ------------------------------------------------------------------------------------------------------ */

int pc_trace_write(struct pc_buf *b, const struct pc_trace_rec *rec)
{
    const struct body *body = body_of(rec->type);
    if (!body)
        return PC_E_RANGE;
    put_u8(b, rec->type);
    int r = pc_buf_add_u16(b, 0);
    if (r < 0)
        return r;
    size_t start = b->len;
    body->put(b, rec);
    if (b->failed)
        return PC_E_LIMIT;
    size_t len = b->len - start;
    b->data[start - 2] = (char)(len & 255);
    b->data[start - 1] = (char)(len >> 8);
    return 0;
}

int pc_trace_open(struct pc_cur *c)
{
    const char *p = pc_cur_take(c, sizeof magic);
    if (!p || memcmp(p, magic, sizeof magic - 1) != 0)
        return PC_E_SYNTAX;
    return p[7] == PC_TRACE_VERSION ? 0 : PC_E_UNSUPPORTED;
}

int pc_trace_next(struct pc_cur *c, struct pc_trace_rec *out)
{
    for (;;) {
        if (c->left == 0 && !c->failed)
            return 0;
        struct pc_trace_rec r = {.type = pc_cur_u8(c)};
        uint16_t len = pc_cur_u16(c);
        const void *p = pc_cur_take(c, len);
        if (c->failed)
            return PC_E_CORRUPT;
        const struct body *body = body_of(r.type);
        if (!body)
            continue;
        struct pc_cur in;
        pc_cur_init(&in, p, len);
        if (!body->get(&in, &r) || in.failed)
            return PC_E_CORRUPT;
        *out = r;
        out->act.facts = r.type == PC_TRACE_ACT && r.facts.have ? &out->facts : NULL;
        return 1;
    }
}

/* --- replay ------------------------------------------------------------------------------------------------------- */

struct replay {
    struct pc_judge *judge;
    const struct pc_judge_policy *policy;
    struct pc_replay_stats stats;
    pc_replay_fn on_act;
    void *arg;
};

static int set_policy(struct replay *r, const struct pc_judge_policy *recorded)
{
    struct pc_judge_policy p = r->policy ? *r->policy : *recorded;
    p.max_actors = recorded->max_actors; /* the same table: otherwise actors would get other numbers */
    if (r->judge) {
        if (p.convict_score == 0 || p.window_ns == 0)
            return PC_E_RANGE;
        pc_judge_set_policy(r->judge, &p);
        return 0;
    }
    /* A trace must not make a reader allocate gigabytes. */
    return p.max_actors > 1u << 17 ? PC_E_RANGE : pc_judge_new(&p, &r->judge);
}

static int replay_act(struct replay *r, const struct pc_trace_rec *rec)
{
    struct pc_outcome out;
    struct pc_act act = rec->act;
    if (pc_judge_act(r->judge, &act, &out) != PC_DECIDED) {
        struct pc_facts none = {.have = PC_HAVE_FINDING | PC_HAVE_BEFORE | PC_HAVE_AFTER};
        act.facts = &none;
        r->stats.unread++;
        pc_judge_act(r->judge, &act, &out);
    }
    r->stats.acts++;
    r->stats.damaging += out.gate;
    r->stats.verdicts += out.convicted;
    return r->on_act ? r->on_act(r->arg, r->judge, &act, &out) : 0;
}

static int replay_record(struct replay *r, const struct pc_trace_rec *rec)
{
    switch (rec->type) {
    case PC_TRACE_POLICY:
        return set_policy(r, &rec->policy);
    case PC_TRACE_FORK:
        pc_judge_fork(r->judge, rec->parent, rec->pid, rec->now_ns);
        return 0;
    case PC_TRACE_EXEC:
        pc_judge_exec(r->judge, rec->pid, rec->now_ns);
        return 0;
    case PC_TRACE_EXIT:
        pc_judge_exit(r->judge, rec->pid, rec->now_ns);
        return 0;
    case PC_TRACE_SEEN:
        pc_judge_seen(r->judge, rec->pid, rec->parent, rec->now_ns);
        return 0;
    case PC_TRACE_SPARE:
        pc_judge_spare(r->judge, rec->pid);
        return 0;
    case PC_TRACE_SERVE:
        (void)pc_judge_serve(r->judge, rec->pid, rec->parent, rec->now_ns);
        return 0;
    case PC_TRACE_ABSOLVE:
        pc_judge_absolve(r->judge, rec->actor);
        return 0;
    case PC_TRACE_ACT:
        return replay_act(r, rec);
    default:
        return 0;
    }
}

static int replay_all(struct replay *r, struct pc_cur *c)
{
    struct pc_trace_rec rec;
    struct pc_judge_policy usual;
    pc_judge_policy_default(&usual);
    for (int more; (more = pc_trace_next(c, &rec)) != 0;) {
        int e = more < 0 ? more : 0;
        if (e == 0 && !r->judge && rec.type != PC_TRACE_POLICY)
            e = set_policy(r, &usual);
        if (e == 0)
            e = replay_record(r, &rec);
        if (e != 0)
            return e;
        r->stats.records++;
    }
    return 0;
}

int pc_replay(struct pc_cur *c, const struct pc_judge_policy *policy, pc_replay_fn on_act, void *arg,
              struct pc_replay_stats *stats)
{
    struct replay r = {.policy = policy, .on_act = on_act, .arg = arg};
    int e = replay_all(&r, c);
    pc_judge_free(r.judge);
    *stats = r.stats;
    return e;
}
