/*
 * Owns finding out what was deleted while nobody watched (the guard was down, or events were lost): files that the
 * index has as being there, and that no walk comes upon. They become gone as if their deletion had been seen, so that
 * restore --deleted lists them and what was kept of them makes room in its turn. Must not judge: nobody was seen.
 * Runs on the main thread when nothing else is to be done. A file that is found missing is believed to be so a moment
 * later, when events of its deletion or replacement, on their way just now, have been judged.
 */
#include "agent/guard.h"

#include "base/clock.h"

#include <errno.h>

/* Between two steps, and between finding and believing. */
#define PAUSE_NS (4 * PC_NS_PER_MS)
#define BELIEVE_NS (500 * PC_NS_PER_MS)
#define FOUND_MAX 256

struct pc_missing {
    bool wanted, old;
    uint32_t slot; /* of guard.volume */
    uint64_t cursor, next_ns;
    uint32_t count;
    struct {
        int vol;
        struct pc_fh fh;
    } found[FOUND_MAX];
};

int pc_missing_new(struct pc_missing **out)
{
    struct pc_missing *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->wanted = m->old = true; /* since the last run */
    *out = m;
    return 0;
}

void pc_missing_free(struct pc_missing *m)
{
    free(m);
}

void pc_missing_look(struct pc_guard *g)
{
    struct pc_missing *m = g->missing;
    m->wanted = true;
    m->old = false;
    m->slot = 0;
    m->cursor = 0;
}

static void believe(struct pc_guard *g, struct pc_missing *m)
{
    for (uint32_t i = 0; i < m->count; i++)
        (void)pc_store_gone(g->store, m->found[i].vol, &m->found[i].fh); /* a failed index shows in status */
    m->count = 0;
}

void pc_missing_step(struct pc_guard *g, uint64_t now)
{
    struct pc_missing *m = g->missing;
    if (!g->ready || !g->drained || now < m->next_ns || (!m->wanted && !m->count))
        return;
    m->next_ns = now + PAUSE_NS;
    if (m->count == FOUND_MAX || !m->wanted) {
        believe(g, m);
        return;
    }
    const struct pc_volume *v = &g->volume[m->slot];
    int r = v->id ? pc_store_next_missing(g->store, v->id, m->old, &m->cursor, &m->found[m->count].fh) : 0;
    if (r == 1)
        m->found[m->count++].vol = v->id;
    if (r <= 0) { /* an error, too, ends this volume's turn: the next start looks again */
        m->cursor = 0;
        m->wanted = ++m->slot < PC_VOLUMES_MAX;
    }
    if (m->count == FOUND_MAX || !m->wanted)
        m->next_ns = now + BELIEVE_NS;
}

uint64_t pc_missing_next_ns(const struct pc_guard *g)
{
    return g->ready && (g->missing->wanted || g->missing->count) ? g->missing->next_ns : UINT64_MAX;
}
