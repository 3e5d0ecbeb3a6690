#ifndef PC_CLI_DRILL_CREW_H
#define PC_CLI_DRILL_CREW_H
#include "cli/drill/cipher.h"
#include "cli/drill/folder.h"
#include "cli/drill/progress.h"

/* The processes that do the damage. Owns nothing but held (freed by drill_crew_drop). */
struct drill_crew {
    struct drill_progress *progress;
    const struct drill_folder *folder;
    struct drill_cipher *cipher;
    int links;   /* folder for hard links, or -1 */
    bool notes;
    int *held;   /* --path held: a descriptor for every file, or NULL */
};
/* --path held: opens every file now. A refused one stays out, as its negative error. -EMFILE: too many files. */
int drill_crew_hold(struct drill_crew *c);
void drill_crew_drop(struct drill_crew *c);
/*
 * Forks the workers, starts them together and returns when the last of them has ended, in whatever way. Progress is in
 * the progress log alone. 0, or why no worker could be started.
 */
int drill_crew_run(struct drill_crew *c);
#endif
