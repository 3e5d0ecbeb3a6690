/*
 * Owns bytes on their way between two sockets. Bounded: a peer that does not read makes its queue full, and then nobody
 * reads for it either.
 */
#include "host/queue.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

void pc_queue_init(struct pc_queue *q, size_t max)
{
    *q = (struct pc_queue){.max = max};
}

void pc_queue_free(struct pc_queue *q)
{
    free(q->data);
    *q = (struct pc_queue){.max = q->max};
}

const uint8_t *pc_queue_front(const struct pc_queue *q)
{
    return q->data + q->start;
}

static int make_room(struct pc_queue *q, size_t len)
{
    if (len > q->max - q->len)
        return PC_E_LIMIT;
    if (q->start && q->start + q->len + len > q->cap) {
        memmove(q->data, q->data + q->start, q->len);
        q->start = 0;
    }
    if (q->len + len <= q->cap)
        return 0;
    size_t cap = q->cap ? q->cap : 4096;
    while (cap < q->len + len)
        cap *= 2;
    uint8_t *grown = realloc(q->data, cap);
    if (!grown)
        return -ENOMEM;
    q->data = grown;
    q->cap = cap;
    return 0;
}

int pc_queue_add(struct pc_queue *q, const void *data, size_t len)
{
    int r = make_room(q, len);
    if (r < 0)
        return r;
    if (len)
        memcpy(q->data + q->start + q->len, data, len);
    q->len += len;
    return 0;
}

int pc_queue_add_frame(struct pc_queue *q, enum pc_frame_type type, const void *body, size_t len)
{
    uint8_t head[PC_FRAME_HEAD];
    int r = make_room(q, sizeof head + len);
    if (r < 0)
        return r;
    pc_frame_head(head, type, len);
    (void)pc_queue_add(q, head, sizeof head); /* there is room for both */
    return pc_queue_add(q, body, len);
}

void pc_queue_take(struct pc_queue *q, size_t len)
{
    q->start += len;
    q->len -= len;
    if (q->len == 0) {
        q->start = 0;
        if (q->cap > (256u << 10)) /* one large frame should not cost memory for weeks */
            pc_queue_free(q);
    }
}

int pc_queue_frame(const struct pc_queue *q, uint32_t max, enum pc_frame_type *type, const uint8_t **body,
                   uint32_t *len)
{
    if (q->len == 0)
        return 0;
    int r = pc_frame_peek(pc_queue_front(q), q->len, max, type, len);
    if (r < 0)
        return r == -EAGAIN ? 0 : r;
    if (q->len - PC_FRAME_HEAD < *len)
        return 0;
    *body = pc_queue_front(q) + PC_FRAME_HEAD;
    return 1;
}

int pc_queue_send(struct pc_queue *q, int fd)
{
    if (q->len == 0)
        return 0;
    ssize_t n = send(fd, pc_queue_front(q), q->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    pc_queue_take(q, (size_t)n);
    return n > 0 ? 1 : 0;
}

int pc_queue_receive(struct pc_queue *q, int fd)
{
    uint8_t chunk[16 << 10];
    size_t room = q->max - q->len;
    if (room == 0)
        return 0;
    ssize_t n = recv(fd, chunk, room < sizeof chunk ? room : sizeof chunk, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -EPIPE;
    int r = pc_queue_add(q, chunk, (size_t)n);
    return r < 0 ? r : 1;
}
