#ifndef PC_CORE_LINEAGE_H
#define PC_CORE_LINEAGE_H
#include "core/judge.h"

/*
 * Creation ancestry: a forest of processes, living and dead, in a fixed table. Private to the core (judge.c and
 * ledger.c). A node is named by its slot (1..cap; 0 is none) inside the core and by its pc_actor outside: slot in the
 * low 20 bits, a counter above, so that a name is never used twice.
 *
 * Sums (score, files, opaque, young, deleted, spared) are of the whole subtree; whoever adds something at a node adds
 * it to every ancestor, with pc_lineage_add_*.
 */
#define PC_LINEAGE_MAX ((1u << 20) - 1)
/*
 * A deeper process becomes a sibling of its parent: a chain that forks and dies at every step stays bounded, and stays
 * beneath everything that matters for a verdict.
 */
#define PC_LINEAGE_DEPTH 64

struct pc_node {
    pc_actor id; /* 0: slot is free */
    uint32_t parent, child, next, prev;
    uint32_t pid_next;
    uint32_t leaf_prev, leaf_next; /* queue of dead leaves, oldest first */
    pid_t pid;
    uint32_t score, files; /* evidence */
    uint32_t own;          /* ledger: first entry owned by this very process */
    uint32_t opaque;       /* ciphertext-like files made and not forgotten yet */
    uint32_t young;        /* structured files made while watched and not deleted yet */
    uint32_t deleted;      /* files deleted within the last minute (bulk.h) */
    uint32_t spared;       /* living spared processes */
    uint8_t depth;
    bool alive, is_spared, convicted, queued;
    bool stray; /* it acted, and whose it is was not learnt (judge.h: pc_judge_lose) */
};

struct pc_lineage {
    struct pc_node *node; /* cap + 1 */
    uint32_t *pid_heads;
    uint32_t cap, pid_mask, used, free_head, leaf_head, leaf_tail, hand;
    uint64_t counter;
    /* Called before a node is evicted, so that what it owns moves to its parent. */
    void (*on_evict)(void *arg, uint32_t slot, uint32_t parent);
    void *arg;
};

int pc_lineage_init(struct pc_lineage *l, uint32_t cap); /* -ENOMEM */
void pc_lineage_fini(struct pc_lineage *l);
/* Slot of an actor or of the latest process with this pid (living or dead); 0: not known. */
uint32_t pc_lineage_slot(const struct pc_lineage *l, pc_actor actor);
uint32_t pc_lineage_by_pid(const struct pc_lineage *l, pid_t pid);
/* New process. parent 0: a root. Never fails: at capacity something is evicted (see judge.h). */
uint32_t pc_lineage_add(struct pc_lineage *l, pid_t pid, uint32_t parent);
void pc_lineage_exit(struct pc_lineage *l, uint32_t slot);
/* Hangs a root beneath a parent learnt later. Refused silently when that would close a circle or go too deep. */
void pc_lineage_adopt(struct pc_lineage *l, uint32_t slot, uint32_t parent);
/*
 * Takes a process, with all beneath it and their sums, from its parent and hangs it beneath another one. Refused
 * silently when that would close a circle or go too deep.
 */
void pc_lineage_move(struct pc_lineage *l, uint32_t slot, uint32_t parent);
void pc_lineage_spare(struct pc_lineage *l, uint32_t slot);
/* The client of a file server (judge.h: pc_judge_serve) that this process serves, or is; 0: none. */
uint32_t pc_lineage_client(const struct pc_lineage *l, uint32_t slot);
bool pc_lineage_is_beneath(const struct pc_lineage *l, uint32_t slot, uint32_t root);
uint32_t pc_lineage_common(const struct pc_lineage *l, uint32_t a, uint32_t b); /* 0: none */
/* The largest group that is held answerable together: the highest ancestor below every spared one. */
uint32_t pc_lineage_group(const struct pc_lineage *l, uint32_t slot);
/*
 * The group, or the spared ancestor above it (its other children may be co-workers) unless that is pid 1, whose
 * children are the whole host, or a file server, whose clients are strangers to each other.
 */
uint32_t pc_lineage_wide(const struct pc_lineage *l, uint32_t slot);

void pc_lineage_add_score(struct pc_lineage *l, uint32_t slot, int32_t score, int32_t files);
void pc_lineage_add_opaque(struct pc_lineage *l, uint32_t slot, int32_t n);
void pc_lineage_add_young(struct pc_lineage *l, uint32_t slot, int32_t n);
void pc_lineage_add_deleted(struct pc_lineage *l, uint32_t slot, int32_t n);
#endif
