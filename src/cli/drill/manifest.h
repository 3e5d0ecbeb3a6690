#ifndef PC_CLI_DRILL_MANIFEST_H
#define PC_CLI_DRILL_MANIFEST_H
#include "cli/drill/cipher.h"
#include "cli/drill/folder.h"

#include <stdint.h>

/* All files of a drill as they were created; kept in memory and as text in the folder (DRILL_MANIFEST). */
struct drill_manifest {
    uint64_t seed, size; /* size: the --size option, 0 for mixed */
    uint32_t files;
    struct drill_file *file;
};
/* Creates every file of the seed and the manifest, sets modes and times, and waits until all is on disk. */
int drill_manifest_create(const struct drill_folder *f, uint64_t seed, uint64_t size, uint32_t files,
                          struct drill_manifest *out);
/* Reads it back. PC_E_CORRUPT when it does not name exactly the files this seed makes. */
int drill_manifest_read(const struct drill_folder *f, struct drill_manifest *out);
/*
 * Makes sure that every file holds what the seed makes, byte for byte. PC_E_REFUSED otherwise: a run over a folder that
 * was prepared earlier damages nothing that the drill cannot make again. *bad: the first file at fault.
 */
int drill_manifest_prove(const struct drill_folder *f, const struct drill_manifest *m, uint32_t *bad);
void drill_manifest_free(struct drill_manifest *m);

/* What was done in a folder; written before the first damage so that an undo needs nothing else but the key. */
struct drill_deed {
    enum drill_pattern pattern;
    uint8_t key_check[DRILL_KEY_CHECK_BYTES];
};
/* PC_E_STATE when the folder has been run in already. */
int drill_deed_write(const struct drill_folder *f, const struct drill_deed *d);
int drill_deed_read(const struct drill_folder *f, struct drill_deed *out); /* -ENOENT: no run yet */
#endif
