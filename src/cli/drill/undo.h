#ifndef PC_CLI_DRILL_UNDO_H
#define PC_CLI_DRILL_UNDO_H
#include "cli/drill/manifest.h"

#include <stdint.h>

/* How the files of a folder came back. failed is the only one that is bad news. */
struct drill_undone {
    uint32_t untouched; /* content was as created; mode, time and name are set anyway */
    uint32_t reversed;  /* with the key */
    uint32_t recreated; /* from the seed: wiped, half changed, or no key given */
    uint32_t failed;
};
/*
 * Brings every file of the manifest back: content (proved by its sha256), name, mode, modification time; removes what
 * the drill added. May be run again after an interruption. key NULL: from the seed alone. PC_E_REFUSED: wrong key.
 * link_dir as given to the run, or NULL. Per-file failures are counted in *out, the first kept in *first_err.
 */
int drill_undo(const struct drill_folder *f, const uint8_t *key, const char *link_dir, struct drill_undone *out,
               int *first_err);
/*
 * Deletes the folder with all that bears its mark. PC_E_REFUSED when something else is in it: that stays, the rest
 * goes.
 */
int drill_remove(struct drill_folder *f, const char *link_dir);
/* The folder for hard links: inside the drill's folder, or its own in link_dir. Descriptor or error. */
int drill_links_open(const struct drill_folder *f, const char *link_dir);
/* Empties and removes it. */
int drill_links_remove(const struct drill_folder *f, const char *link_dir);
#endif
