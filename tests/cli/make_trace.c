/*
 * Prints a small trace: pid 4242, "evil.py", started by 900, destroys four files, 20 ms apart; a pid that was named
 * before and after it must not lend it its name.
 */
#include "core/trace.h"

#include <stdio.h>
#include <string.h>

#define MS 1000000ULL

static struct pc_trace_rec name_of(pid_t pid, const char *name)
{
    struct pc_trace_rec rec = {.type = PC_TRACE_NAME, .now_ns = MS, .pid = pid};
    snprintf(rec.name, sizeof rec.name, "%s", name);
    return rec;
}

static struct pc_trace_rec damage(unsigned i)
{
    struct pc_trace_rec rec = {.type = PC_TRACE_ACT, .now_ns = (1000 + 20 * i) * MS, .pid = 4242};
    rec.facts = (struct pc_facts){.have = PC_HAVE_FINDING,
                                  .finding = {.evidence = PC_EV_RANDOMISED | PC_EV_STRUCTURE_GONE, .score = 100,
                                              .changed_permil = 1000}};
    rec.act = (struct pc_act){.now_ns = rec.now_ns, .pid = 4242, .op = PC_OP_MODIFY, .file = 100 + i, .folder = 7,
                              .name_hash = 200 + i, .size_before = 5000, .size_after = 5000, .has_pre_image = true};
    return rec;
}

int main(void)
{
    struct pc_buf b;
    pc_buf_init(&b, 1 << 20);
    struct pc_trace_rec policy = {.type = PC_TRACE_POLICY, .now_ns = MS};
    pc_judge_policy_default(&policy.policy);
    struct pc_trace_rec seen[] = {{.type = PC_TRACE_SEEN, .now_ns = MS, .pid = 1},
                                  {.type = PC_TRACE_SPARE, .now_ns = MS, .pid = 1},
                                  {.type = PC_TRACE_SEEN, .now_ns = MS, .pid = 900, .parent = 1}};
    struct pc_trace_rec fork = {.type = PC_TRACE_FORK, .now_ns = 2 * MS, .pid = 4242, .parent = 900};
    struct pc_trace_rec before = name_of(4242, "earlier"), name = name_of(4242, "evil.py"), after = name_of(4242, "later");
    int r = pc_trace_begin(&b) | pc_trace_write(&b, &policy);
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++)
        r |= pc_trace_write(&b, &seen[i]);
    r |= pc_trace_write(&b, &before) | pc_trace_write(&b, &fork) | pc_trace_write(&b, &name);
    for (unsigned i = 0; i < 4; i++) {
        struct pc_trace_rec rec = damage(i);
        rec.act.facts = &rec.facts;
        r |= pc_trace_write(&b, &rec);
    }
    struct pc_trace_rec late = damage(10);
    late.act.op = PC_OP_META;
    r |= pc_trace_write(&b, &late) | pc_trace_write(&b, &after);
    if (r == 0)
        fwrite(b.data, 1, b.len, stdout);
    pc_buf_free(&b);
    return r != 0;
}
