#ifndef PC_CORE_BULK_H
#define PC_CORE_BULK_H
#include "core/lineage.h"

/*
 * Who deletes many files within a minute. Private to the core. It is no evidence: `rm -r` is its owner's right, and
 * looks like the second half of an attack whose first half nobody sees. It names what is to be told to people.
 *
 * A ring of the last deletions, summed up in the lineage (pc_node.deleted); allocated once. What is pushed out of the
 * ring within the minute is forgotten: PC_BULK_RING bounds the number that can be asked for.
 */
#define PC_BULK_RING 1024u
#define PC_BULK_NS 60000000000ULL

struct pc_bulk_entry {
    uint64_t file, time_ns;
    uint32_t owner; /* 0: free */
};

struct pc_bulk {
    struct pc_lineage *lin;
    struct pc_bulk_entry *ring; /* PC_BULK_RING */
    uint32_t oldest, used;
};

int pc_bulk_init(struct pc_bulk *b, struct pc_lineage *lin); /* -ENOMEM */
void pc_bulk_fini(struct pc_bulk *b);
/* A file of somebody's was deleted, and nothing explains it. */
void pc_bulk_deleted(struct pc_bulk *b, uint32_t actor, uint64_t file, uint64_t now_ns);
/* It is back under its name: no deletion. */
void pc_bulk_back(struct pc_bulk *b, uint64_t file);
/* The smallest subtree around actor that deleted so many, below every spared one; 0: none, or already convicted. */
uint32_t pc_bulk_root(const struct pc_bulk *b, uint32_t actor, uint32_t files);
/* Moves what slot owns to its parent (0: forgets it). */
void pc_bulk_inherit(struct pc_bulk *b, uint32_t slot, uint32_t parent);
#endif
