/*
 * Owns what people decide about an incident: release, end, and that its files are back. Must not stop anybody (stop.c),
 * nor touch files (preserve).
 */
#include "agent/clients.h"
#include "agent/share.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "kern/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

#define REMEMBER_S (30ULL * 86400)

/* text: what is remembered, the last one when there are several; "" when nothing is. */
static void remember(struct pc_guard *g, const struct pc_stopped *s, char *text, size_t cap)
{
    uint64_t now_s = pc_real_ns() / PC_NS_PER_S;
    for (uint32_t i = 0; i < s->roots; i++) {
        struct pc_rule rule = {.until_s = now_s + REMEMBER_S, .under = strdup(s->folder)};
        if (!rule.under || !pc_stopped_program(g, s->root[i], rule.sha256) ||
            pc_rules_add(&g->released, &rule, now_s) < 0)
            pc_rule_free(&rule);
        else
            (void)pc_rule_format(&g->released.rule[g->released.count - 1], text, cap);
    }
    _close_ int dir = open(g->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = dir < 0 ? -errno : pc_rules_save(dir, &g->released);
    if (r < 0)
        pc_event(g->log, PC_LEVEL_WARNING, "rules", NULL, "the release is not remembered over a restart: %s",
                 pc_strerror(r));
}

int pc_stop_release(struct pc_guard *g, uint64_t incident, uid_t by, char *rule, size_t rule_cap, char *why, size_t cap)
{
    *rule = 0;
    struct pc_stopped *s = pc_stopped_find(g, incident);
    if (!s && pc_blocked_release(g, incident)) {
        pc_stopped_note(g, incident, "its addresses may use the share again");
        pc_event(g->log, PC_LEVEL_NOTICE, "release", &(struct pc_event_about){.incident = incident},
                 "incident %" PRIu64 ": uid %u lets its addresses use the share again", incident, by);
        return 0;
    }
    if (!s) {
        struct pc_incident inc;
        int r = pc_store_incident_get(g->store, incident, &inc);
        snprintf(why, cap, "%s", r < 0 ? "no such incident" : "nothing of it is frozen any more");
        return r < 0 ? PC_E_NOTFOUND : PC_E_STATE;
    }
    remember(g, s, rule, rule_cap);
    char text[80];
    snprintf(text, sizeof text, "released by uid %u", by);
    pc_stopped_let_pass(g, s, text);
    (void)pc_blocked_release(g, incident);
    pc_event(g->log, PC_LEVEL_NOTICE, "release", &(struct pc_event_about){.incident = incident},
             "incident %" PRIu64 " released by uid %u", incident, by);
    return 0;
}

static int end_one(void *unused, pid_t pid)
{
    if (pid > 0) /* 0: of another pid namespace */
        (void)kill(pid, SIGKILL);
    return 0;
}

int pc_stop_end(struct pc_guard *g, uint64_t incident, uid_t by)
{
    struct pc_stopped *s = pc_stopped_find(g, incident);
    if (!s)
        return PC_E_STATE;
    pc_guard_pump(g);
    pc_stop_look_at_held(g, incident);
    for (uint32_t i = 0; i < s->members; i++)
        if (pc_stopped_is_there(&s->member[i]))
            (void)kill(s->member[i].pid, SIGKILL);
    if (s->group_fd >= 0) /* its group is thawed below: nobody else is in it, listed or not */
        (void)pc_freeze_each(s->group_fd, end_one, NULL);
    pc_stopped_unlist(g, s);
    pc_freeze_group_done(&g->freezer, incident, s->group_fd);
    for (uint32_t i = 0; i < s->roots; i++)
        pc_stopped_absolve(g, s->root[i]);
    g->ended_mono_ns = pc_mono_ns();
    s->inc.state = s->inc.rolled_back ? PC_INC_ROLLED_BACK : PC_INC_ENDED;
    s->inc.closed_ns = pc_real_ns();
    char text[80];
    snprintf(text, sizeof text, "ended by uid %u", by);
    pc_stopped_note(g, incident, text);
    pc_stopped_update(g, s);
    pc_gate_let_go(g);
    pc_event(g->log, PC_LEVEL_NOTICE, "end", &(struct pc_event_about){.incident = incident},
             "incident %" PRIu64 " ended by uid %u: %u processes killed", incident, by, s->members);
    pc_stopped_free(s);
    return 0;
}

/* A write that was under way in the kernel at the freeze may still land: that long after it, nothing does any more. */
#define SETTLE_NS (500 * PC_NS_PER_MS)

bool pc_stop_settled(struct pc_guard *g, uint64_t incident)
{
    const struct pc_stopped *s = pc_stopped_find(g, incident);
    if (!s) /* ended: they die, and the kernel closes their files, when they get to run */
        return !g->ended_mono_ns || pc_mono_ns() - g->ended_mono_ns > SETTLE_NS;
    return pc_mono_ns() - s->held_mono_ns > SETTLE_NS;
}

void pc_stop_look_at_held(struct pc_guard *g, uint64_t incident)
{
    const struct pc_stopped *s = pc_stopped_find(g, incident);
    bool wanted = s && !s->inc.rolled_back; /* later differences are the rollback's */
    for (uint32_t i = 0; wanted && i < s->members; i++)
        if (pc_stopped_is_there(&s->member[i]))
            pc_acts_look_at_held(g, s->member[i].pid);
}

/* What is not rolled back keeps its pre-images, see evict.c. */
static uint8_t state_of_closed(const struct pc_incident *inc)
{
    return inc->rolled_back ? PC_INC_ROLLED_BACK : inc->frozen_ns ? PC_INC_ENDED : PC_INC_OBSERVED;
}

int pc_stop_rolled_back(struct pc_guard *g, uint64_t incident, bool back)
{
    struct pc_incident inc;
    const char *said = back ? "rolled back" : "the rollback is being undone";
    for (struct pc_stopped *s = g->stopped; s; s = s->next) { /* also one that was let go: it is written once more */
        if (s->inc.id != incident)
            continue;
        s->inc.rolled_back = back;
        pc_stopped_note(g, incident, back && !s->observed ? "rolled back; its processes stay frozen" : said);
        pc_stopped_update(g, s);
        return 0;
    }
    int r = pc_store_incident_get(g->store, incident, &inc);
    if (r < 0)
        return r;
    inc.rolled_back = back;
    inc.state = state_of_closed(&inc);
    pc_stopped_note(g, incident, said);
    return pc_store_incident_update(g->store, &inc);
}
