#ifndef PC_CORE_LEDGER_H
#define PC_CORE_LEDGER_H
#include "core/lineage.h"

/*
 * What was found out and still counts. Private to the core. One entry a file (the best score wins), owned by the
 * process that did it, summed up in the lineage; allocated once. When it is full the oldest entry is forgotten; entries
 * older than the window are forgotten by pc_ledger_expire.
 */
#define PC_LEDGER_EVIDENCE 8192u

struct pc_entry {
    uint64_t file, time_ns;
    uint64_t since_ns; /* when the file was first held against somebody; looking again does not change it */
    uint64_t base;     /* the pre-image compared with; 0: not known */
    uint32_t owner;
    uint32_t own_next, own_prev, hash_next, age_next, age_prev;
    uint32_t evidence;
    uint8_t score;
    bool counts; /* as a distinct file */
};

struct pc_ledger {
    struct pc_lineage *lin;
    struct pc_entry *entry; /* PC_LEDGER_EVIDENCE + 1 */
    uint32_t *heads;
    uint32_t used, free_head, oldest, newest;
};

int pc_ledger_init(struct pc_ledger *g, struct pc_lineage *lin); /* -ENOMEM */
void pc_ledger_fini(struct pc_ledger *g);
/* One piece of evidence, as judge.c found it. */
struct pc_blame {
    uint64_t file, base, now_ns;
    uint32_t evidence;
    uint8_t score;
    bool counts; /* as a distinct file */
};
/*
 * Records evidence. The file's best score stays, unless the same pre-image was compared again: then the newer answer
 * replaces the older, also when it is 0 (the file was looked at while it was being written).
 */
void pc_ledger_add(struct pc_ledger *g, uint32_t owner, const struct pc_blame *b);
/* Lowers what is held about a file to score at most; 0 forgets it. */
void pc_ledger_lower(struct pc_ledger *g, uint64_t file, uint8_t score);
/* Forgets that a file was truncated: something meaningful is in it again. */
void pc_ledger_refilled(struct pc_ledger *g, uint64_t file);
void pc_ledger_expire(struct pc_ledger *g, uint64_t now_ns, uint64_t window_ns);
/* When the oldest evidence still held against the subtree of root came about; UINT64_MAX: there is none. */
uint64_t pc_ledger_since(const struct pc_ledger *g, uint32_t root);
/* Forgets everything owned in the subtree of root. */
void pc_ledger_absolve(struct pc_ledger *g, uint32_t root);
/* Moves what slot owns to its parent (0: forgets it). */
void pc_ledger_inherit(struct pc_ledger *g, uint32_t slot, uint32_t parent);
#endif
