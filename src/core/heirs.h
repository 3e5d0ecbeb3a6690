#ifndef PC_CORE_HEIRS_H
#define PC_CORE_HEIRS_H
#include "core/lineage.h"

/*
 * New files that mean something, and which deleted file each may stand for. Private to the core. A file encrypted in
 * part, written anew beside the original, looks like a document: only a comparison with the original tells. So a
 * deletion asks whether its lineage made a file of that size beside it, and the two are compared.
 *
 * A ring; the oldest is forgotten. Which of several is meant is guessed: the closest size, of equals the newest. Who
 * puts a sound file of the exact size between (or pads by more than PC_HEIR_SLACK) is not compared with the right one.
 */
#define PC_HEIRS 2048u
/* A cipher may add a header or footer of its own: a key, encrypted. It never makes the file shorter. */
#define PC_HEIR_SLACK 4096u

struct pc_heir {
    uint64_t file, folder, size, time_ns;
    pc_actor maker; /* 0: free */
};

struct pc_heirs {
    struct pc_heir ring[PC_HEIRS];
    uint32_t at;
};

/* Could made have become of a file of the size gone? */
bool pc_heir_fits(uint64_t made, uint64_t gone);
/* Remembers a new file. One written on has several entries; those of an old size do no harm. */
void pc_heirs_add(struct pc_heirs *h, const struct pc_heir *heir);
/* It stands for one file, not for a second. */
void pc_heirs_forget(struct pc_heirs *h, uint64_t file);
/* What this actor's group made in that folder within span_ns that fits a file of that size; NULL: nothing. */
const struct pc_heir *pc_heirs_find(const struct pc_heirs *h, const struct pc_lineage *l, uint32_t actor,
                                    const struct pc_act *deleted, uint64_t span_ns);
#endif
