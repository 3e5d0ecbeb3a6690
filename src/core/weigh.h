#ifndef PC_CORE_WEIGH_H
#define PC_CORE_WEIGH_H
#include "core/bulk.h"
#include "core/crowd.h"
#include "core/heirs.h"
#include "core/judge.h"
#include "core/ledger.h"
#include "core/lineage.h"
#include "core/twins.h"

/* What one act is worth as evidence, given what is remembered. Private to the core (judge.c and weigh.c). */

/* From here on an act counts as damage: the gate comes down, and a spared parent's child is named in a verdict. */
#define PC_DAMAGE_SCORE 40
/* Smaller files are not worth the reading: a marker, a lock, a counter. */
#define PC_SMALL_FILE 32

#define PC_NOTES 128
#define PC_NOTE_FOLDERS_MAX 16
struct pc_note {
    uint64_t key, time_ns;
    pc_actor group;
    uint32_t folders;
    uint64_t folder[PC_NOTE_FOLDERS_MAX];
};

/* Files something was done to lately, to tell many kinds in many folders from one program's own. */
#define PC_SPREAD 128
struct pc_touched {
    uint64_t time_ns, file, folder;
    pc_actor group; /* 0: free */
    uint8_t kind;
};
struct pc_spread {
    struct pc_touched ring[PC_SPREAD];
    uint32_t at;
};

struct pc_judge {
    struct pc_judge_policy policy;
    struct pc_lineage lin;
    struct pc_ledger ledger;
    struct pc_twins twins;
    struct pc_bulk bulk;
    struct pc_crowds crowds;
    struct pc_heirs heirs;
    struct pc_note note[PC_NOTES];
    uint32_t note_at;
    struct pc_spread emptied;
    struct pc_spread unkept; /* overwritten with ciphertext, and what they held could not be preserved */
};

/* Is the file acted on one that the actor's lineage made a while ago, without any older meaning? */
enum pc_own {
    PC_OWN_NOT,
    PC_OWN_YOUNG,     /* one of many: may just as well be a tree of documents that was handed over */
    PC_OWN_TEMPORARY, /* one of a handful: making, using and removing it is its maker's business */
};
enum pc_own pc_weigh_own(const struct pc_judge *j, const struct pc_act *act, uint32_t actor);

/* Was the file's maker of the actor's group, or an ancestor of it? */
bool pc_weigh_kin(const struct pc_lineage *l, pc_actor creator, uint32_t actor);

struct pc_weighing {
    struct pc_judge *j;
    const struct pc_act *act;
    const struct pc_facts *facts;
    uint32_t actor; /* slot */
    struct pc_outcome *out;
};
/* Records what the act is evidence of and fills out->finding. have: what was read for it (enum pc_have). */
void pc_weigh(const struct pc_weighing *w, uint8_t have);
#endif
