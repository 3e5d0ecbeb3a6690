#ifndef PC_CORE_LEDGER_H
#define PC_CORE_LEDGER_H
#include "core/lineage.h"

/*
 * What was found out and still counts. Private to the core. Three bounded memories, allocated once:
 * - evidence: one entry a file (the best score wins), owned by the process that did it, summed up in the lineage;
 * - credits: ciphertext-like files somebody made; a deletion of a structured file is held against one of them;
 * - gone: structured files deleted by a lineage that also makes ciphertext, for programs that delete first.
 * When one is full its oldest entry is forgotten. Entries older than the window are forgotten by pc_ledger_expire.
 */
#define PC_LEDGER_EVIDENCE 8192u
#define PC_LEDGER_CREDITS 2048u
#define PC_LEDGER_GONE 512u

struct pc_entry {
    uint64_t file, time_ns;
    uint32_t owner;
    uint32_t own_next, own_prev, hash_next, age_next, age_prev;
    uint32_t evidence;
    uint8_t score;
    bool counts; /* as a distinct file */
};

struct pc_credit {
    uint64_t file, folder, size, time_ns;
    uint64_t left; /* archives: bytes of deletions it can still stand for */
    uint32_t owner; /* 0: entry is free or used up */
    bool archive;
};

struct pc_gone {
    uint64_t file, folder, size, time_ns;
    pc_actor actor; /* 0: free */
};

struct pc_ledger {
    struct pc_lineage *lin;
    struct pc_entry *entry; /* PC_LEDGER_EVIDENCE + 1 */
    uint32_t *heads;
    uint32_t used, free_head, oldest, newest;
    struct pc_credit *credit;
    uint32_t credit_at;
    uint64_t credit_swept_ns;
    struct pc_gone *gone;
    uint32_t gone_at, gone_held;
};

int pc_ledger_init(struct pc_ledger *g, struct pc_lineage *lin); /* -ENOMEM */
void pc_ledger_fini(struct pc_ledger *g);
/* Records evidence; false when the file already carries as high a score. */
bool pc_ledger_add(struct pc_ledger *g, uint32_t owner, uint64_t file, uint64_t now_ns, uint8_t score,
                   uint32_t evidence, bool counts);
void pc_ledger_expire(struct pc_ledger *g, uint64_t now_ns, uint64_t window_ns);
/* Forgets everything owned in the subtree of root. */
void pc_ledger_absolve(struct pc_ledger *g, uint32_t root);
/* Moves what slot owns to its parent (0: forgets it). */
void pc_ledger_inherit(struct pc_ledger *g, uint32_t slot, uint32_t parent);

void pc_ledger_credit(struct pc_ledger *g, uint32_t owner, const struct pc_act *act, bool archive);
/* A deletion looking for the ciphertext that replaced the file. Uses the best match up; score 0: none. */
uint8_t pc_ledger_match(struct pc_ledger *g, uint32_t actor, uint64_t folder, uint64_t size);
void pc_ledger_gone(struct pc_ledger *g, uint32_t actor, const struct pc_act *act);
/* New ciphertext looking for a file deleted just before. Takes it out and returns its identity; false: none. */
bool pc_ledger_take_gone(struct pc_ledger *g, uint32_t actor, const struct pc_act *act, uint64_t *file);
#endif
