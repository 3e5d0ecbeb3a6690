/*
 * Owns the memory of new files that mean something, to be compared with a file that is deleted beside them. Decides
 * nothing: judge.c asks for the comparison, weigh.c says what it is worth.
 */
#include "core/heirs.h"

bool pc_heir_fits(uint64_t made, uint64_t gone)
{
    return made >= gone && made - gone <= PC_HEIR_SLACK;
}

void pc_heirs_add(struct pc_heirs *h, const struct pc_heir *heir)
{
    h->ring[h->at] = *heir;
    h->at = (h->at + 1) % PC_HEIRS;
}

void pc_heirs_forget(struct pc_heirs *h, uint64_t file)
{
    for (uint32_t i = 0; i < PC_HEIRS; i++)
        if (h->ring[i].file == file)
            h->ring[i] = (struct pc_heir){0};
}

const struct pc_heir *pc_heirs_find(const struct pc_heirs *h, const struct pc_lineage *l, uint32_t actor,
                                    const struct pc_act *deleted, uint64_t span_ns)
{
    const struct pc_heir *best = NULL;
    uint32_t group = pc_lineage_group(l, actor);
    for (uint32_t k = 1; k <= PC_HEIRS; k++) { /* newest first: of equals the newest is meant */
        const struct pc_heir *e = &h->ring[(h->at + PC_HEIRS - k) % PC_HEIRS];
        if (!e->maker || e->folder != deleted->folder || !pc_heir_fits(e->size, deleted->size_before) ||
            (best && e->size >= best->size) || deleted->now_ns - e->time_ns > span_ns)
            continue;
        uint32_t maker = pc_lineage_slot(l, e->maker);
        if (maker && pc_lineage_is_beneath(l, maker, group))
            best = e;
    }
    return best;
}
