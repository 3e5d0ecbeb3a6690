#ifndef PC_NET_OUTBOX_H
#define PC_NET_OUTBOX_H
/* Frames ready to be sent, and what of them waits for one peer. Memory only; one thread. */
#include "wire/frame.h"

#include <stddef.h>
#include <stdint.h>

/* One frame ready to be sent, shared by every connection that it is queued on; freed with the last reference. Never
 * more than 4 GiB. */
struct pc_frame {
    uint32_t refs;
    uint32_t len; /* head and body */
    uint8_t data[];
};
/* A frame with one reference, body copied (body may be NULL: filled by the caller behind data + PC_FRAME_HEAD). NULL:
 * no memory. */
struct pc_frame *pc_frame_new(enum pc_frame_type type, const void *body, size_t len);
struct pc_frame *pc_frame_ref(struct pc_frame *f);
void pc_frame_unref(struct pc_frame *f); /* NULL is fine */

#define PC_OUTBOX_RECORD 16384u /* the most that TLS puts into one record */
struct pc_outbox_item;
struct pc_outbox { /* all zero: empty */
    struct pc_outbox_item *first, *last;
    size_t bytes;
};
/* Takes its own reference. -ENOMEM. */
int pc_outbox_add(struct pc_outbox *b, struct pc_frame *f);
/*
 * The bytes to write next, and how many: the rest of the first frame where it lies, or, when it is small, with what
 * follows it in record. Not of an empty one.
 */
size_t pc_outbox_next(const struct pc_outbox *b, uint8_t record[PC_OUTBOX_RECORD], const uint8_t **from);
/* n of these bytes were written. Returns how many frames are sent with them. */
size_t pc_outbox_wrote(struct pc_outbox *b, size_t n);
void pc_outbox_clear(struct pc_outbox *b);
#endif
