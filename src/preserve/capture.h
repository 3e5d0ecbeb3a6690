#ifndef PC_PRESERVE_CAPTURE_H
#define PC_PRESERVE_CAPTURE_H
#include "preserve/internal.h"

/* Pieces of a capture that need no index, shared by the main thread and the copiers. */

/* Fills an initialised record from an open file (metadata included). parent and name may be NULL. */
int pc_capture_record(struct pc_record *rec, uint8_t how, int fd, const struct pc_fh *fh, const struct pc_fh *parent,
                      const char *name, uint64_t actor);
/* Whether the file is no longer what `before` says (ctime, mtime or size). */
bool pc_capture_changed(int fd, const struct pc_meta *before);
/* Content of in into the new object out: cloned, or copied when not larger than copy_limit. Sets rec's how and packed.
 */
int pc_capture_fill(const struct pc_volume *v, int in, int out, uint64_t size, uint64_t copy_limit, bool pack,
                    struct pc_record *rec);
/*
 * Before a further version: when of the current one only the length was kept, and the file (its ctime now) was changed
 * while nobody watched, perhaps not by an append, its content counts as lost. Better none than another.
 */
int pc_length_settle(struct pc_store *s, const struct pc_volume *v, struct pc_row *row, int64_t ctime_ns);
#endif
