#ifndef PC_CLI_DRILL_DOCUMENT_H
#define PC_CLI_DRILL_DOCUMENT_H
#include "base/buf.h"

#include <stdint.h>

/* Sub-folders of a drill, in the order they are created (a parent before its child). */
#define DRILL_SUBS 8
extern const char *const drill_subs[DRILL_SUBS];

#define DRILL_NAME_MAX 48

/* One file as it is meant to be. size and sha256 are known once its content was made. */
struct drill_file {
    char name[DRILL_NAME_MAX]; /* inside its sub-folder; letters, digits, '-' and '.' only */
    uint32_t sub;              /* index into drill_subs */
    uint32_t mode;             /* permission bits */
    uint64_t size;             /* bytes */
    int64_t mtime_s;
    uint32_t mtime_ns;
    uint32_t kind;
    uint8_t sha256[32];
};

/* What the index-th file of a seed is called and where it lies; leaves size and sha256 zero. */
void drill_document_plan(uint64_t seed, uint32_t index, struct drill_file *out);
/* About how many bytes its content will have. want: the --size option, 0 for mixed sizes. */
uint64_t drill_document_target(uint64_t seed, uint32_t index, uint64_t want);
/* Its content, the same bytes every time. Replaces what is in out. 0, -ENOMEM or PC_E_LIMIT. */
int drill_document_make(uint64_t seed, uint32_t index, uint64_t want, struct pc_buf *out);
/* Short name of a kind, such as "pdf". */
const char *drill_document_kind(uint32_t kind);
/* Upper bound of any content for a --size option. */
uint64_t drill_document_bound(uint64_t want);
#endif
