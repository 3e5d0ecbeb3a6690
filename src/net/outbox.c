/* Owns frames to be sent and what of them waits for a peer. Must not know sockets, TLS or limits: conn.c does. */
#include "net/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pc_outbox_item {
    struct pc_outbox_item *next;
    struct pc_frame *frame;
    uint32_t sent;
};

struct pc_frame *pc_frame_new(enum pc_frame_type type, const void *body, size_t len)
{
    if (len > UINT32_MAX - PC_FRAME_HEAD)
        return NULL;
    struct pc_frame *f = malloc(sizeof *f + PC_FRAME_HEAD + len);
    if (!f)
        return NULL;
    f->refs = 1;
    f->len = (uint32_t)(PC_FRAME_HEAD + len);
    pc_frame_head(f->data, type, len);
    if (body && len)
        memcpy(f->data + PC_FRAME_HEAD, body, len);
    return f;
}

struct pc_frame *pc_frame_ref(struct pc_frame *f)
{
    f->refs++;
    return f;
}

void pc_frame_unref(struct pc_frame *f)
{
    if (f && --f->refs == 0)
        free(f);
}

int pc_outbox_add(struct pc_outbox *b, struct pc_frame *f)
{
    struct pc_outbox_item *o = malloc(sizeof *o);
    if (!o)
        return -ENOMEM;
    *o = (struct pc_outbox_item){.frame = pc_frame_ref(f)};
    if (b->first)
        b->last->next = o;
    else
        b->first = o;
    b->last = o;
    b->bytes += f->len;
    return 0;
}

/* Small frames side by side become one record: one system call, 22 bytes of overhead once. */
static size_t gather(const struct pc_outbox *b, uint8_t record[PC_OUTBOX_RECORD])
{
    size_t len = 0;
    for (const struct pc_outbox_item *o = b->first; o && len < PC_OUTBOX_RECORD; o = o->next) {
        size_t n = o->frame->len - o->sent;
        if (n > PC_OUTBOX_RECORD - len)
            n = PC_OUTBOX_RECORD - len;
        memcpy(record + len, o->frame->data + o->sent, n);
        len += n;
    }
    return len;
}

size_t pc_outbox_next(const struct pc_outbox *b, uint8_t record[PC_OUTBOX_RECORD], const uint8_t **from)
{
    const struct pc_outbox_item *o = b->first;
    size_t left = o->frame->len - o->sent;
    if (left < PC_OUTBOX_RECORD && o->next) {
        *from = record;
        return gather(b, record);
    }
    *from = o->frame->data + o->sent;
    return left;
}

static void drop_first(struct pc_outbox *b)
{
    struct pc_outbox_item *o = b->first;
    b->first = o->next;
    if (!b->first)
        b->last = NULL;
    pc_frame_unref(o->frame);
    free(o);
}

size_t pc_outbox_wrote(struct pc_outbox *b, size_t n)
{
    size_t frames = 0;
    while (n) {
        struct pc_outbox_item *o = b->first;
        size_t left = o->frame->len - o->sent, part = left < n ? left : n;
        o->sent += (uint32_t)part;
        b->bytes -= part;
        n -= part;
        if (part == left) {
            drop_first(b);
            frames++;
        }
    }
    return frames;
}

void pc_outbox_clear(struct pc_outbox *b)
{
    while (b->first)
        drop_first(b);
    b->bytes = 0;
}
