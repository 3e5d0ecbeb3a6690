#ifndef PC_HOST_QUEUE_H
#define PC_HOST_QUEUE_H
/* A bounded queue of bytes between two sockets, and the frames at its front. */
#include "wire/frame.h"

#include <stddef.h>
#include <stdint.h>

struct pc_queue {
    uint8_t *data;
    size_t start, len, cap; /* len bytes from data + start */
    size_t max;             /* most bytes it may hold */
};
void pc_queue_init(struct pc_queue *q, size_t max);
void pc_queue_free(struct pc_queue *q);
/* Appends. PC_E_LIMIT when it would hold more than max (nothing is added), -ENOMEM. */
int pc_queue_add(struct pc_queue *q, const void *data, size_t len);
int pc_queue_add_frame(struct pc_queue *q, enum pc_frame_type type, const void *body, size_t len);
void pc_queue_take(struct pc_queue *q, size_t len);
const uint8_t *pc_queue_front(const struct pc_queue *q);
/*
 * The frame at the front, when all of it is there: 1, *type, *body (in the queue's memory until it is changed) and
 * *len; call pc_queue_take with PC_FRAME_HEAD + *len afterwards. 0: not whole yet. PC_E_SYNTAX, PC_E_LIMIT: close the
 * peer.
 */
int pc_queue_frame(const struct pc_queue *q, uint32_t max, enum pc_frame_type *type, const uint8_t **body,
                   uint32_t *len);
/* Moves bytes between the queue and a non-blocking socket: > 0 moved, 0 not now, -EPIPE the peer is gone, or -errno. */
int pc_queue_send(struct pc_queue *q, int fd);
int pc_queue_receive(struct pc_queue *q, int fd);
#endif
