/* Owns byte buffers and cursors. Bounded by construction; no I/O. */
#include "base/buf.h"

#include "base/err.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pc_buf_init(struct pc_buf *b, size_t max)
{
    *b = (struct pc_buf){.max = max};
}

void pc_buf_free(struct pc_buf *b)
{
    free(b->data);
    *b = (struct pc_buf){.max = b->max};
}

void pc_buf_reset(struct pc_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = 0;
}

static int reserve(struct pc_buf *b, size_t extra)
{
    if (b->failed)
        return PC_E_LIMIT;
    if (extra > b->max || b->len > b->max - extra) {
        b->failed = true;
        return PC_E_LIMIT;
    }
    size_t want = b->len + extra + 1;
    if (want <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < want)
        cap *= 2;
    char *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return -ENOMEM;
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

int pc_buf_add(struct pc_buf *b, const void *data, size_t len)
{
    int r = reserve(b, len);
    if (r < 0)
        return r;
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = 0;
    return 0;
}

int pc_buf_addf(struct pc_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int r = n < 0 ? -EINVAL : reserve(b, (size_t)n);
    if (r == 0) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return r;
}

int pc_buf_add_u16(struct pc_buf *b, uint16_t v)
{
    v = htole16(v);
    return pc_buf_add(b, &v, sizeof v);
}

int pc_buf_add_u32(struct pc_buf *b, uint32_t v)
{
    v = htole32(v);
    return pc_buf_add(b, &v, sizeof v);
}

int pc_buf_add_u64(struct pc_buf *b, uint64_t v)
{
    v = htole64(v);
    return pc_buf_add(b, &v, sizeof v);
}

void pc_cur_init(struct pc_cur *c, const void *data, size_t len)
{
    *c = (struct pc_cur){.p = data, .left = len};
}

const void *pc_cur_take(struct pc_cur *c, size_t len)
{
    if (c->failed || len > c->left) {
        c->failed = true;
        return NULL;
    }
    const void *p = c->p;
    c->p += len;
    c->left -= len;
    return p;
}

uint8_t pc_cur_u8(struct pc_cur *c)
{
    const uint8_t *p = pc_cur_take(c, 1);
    return p ? *p : 0;
}

uint16_t pc_cur_u16(struct pc_cur *c)
{
    uint16_t v = 0;
    const void *p = pc_cur_take(c, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return le16toh(v);
}

uint32_t pc_cur_u32(struct pc_cur *c)
{
    uint32_t v = 0;
    const void *p = pc_cur_take(c, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return le32toh(v);
}

uint64_t pc_cur_u64(struct pc_cur *c)
{
    uint64_t v = 0;
    const void *p = pc_cur_take(c, sizeof v);
    if (p)
        memcpy(&v, p, sizeof v);
    return le64toh(v);
}

int pc_cur_end(const struct pc_cur *c)
{
    if (c->failed)
        return PC_E_SYNTAX;
    return c->left ? PC_E_TRAILING : 0;
}
