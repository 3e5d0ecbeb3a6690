/*
 * Owns the byte layout of vault records and metadata blobs. Pure: no I/O. The vault hands it bytes that anybody with
 * raw access to the disk may have written, so every length is checked before it is believed.
 */
#include "preserve/record.h"

#include "base/err.h"

#include <string.h>

static const char magic[4] = {'P', 'C', 'R', '1'};
enum { FLAG_PACKED = 1, FLAG_DATA = 2 };

void pc_meta_init(struct pc_meta *m)
{
    memset(m, 0, sizeof *m);
    pc_buf_init(&m->target, PC_PATH_CAP);
    pc_buf_init(&m->xattrs, PC_META_XATTRS_MAX);
}

void pc_meta_free(struct pc_meta *m)
{
    pc_buf_free(&m->target);
    pc_buf_free(&m->xattrs);
}

int pc_xattrs_add(struct pc_buf *list, const char *name, const void *value, size_t len)
{
    size_t n = strlen(name) + 1;
    if (n > UINT16_MAX || len > UINT32_MAX)
        return PC_E_LIMIT;
    pc_buf_add_u16(list, (uint16_t)n);
    pc_buf_add(list, name, n);
    pc_buf_add_u32(list, (uint32_t)len);
    return pc_buf_add(list, value, len);
}

int pc_xattrs_next(struct pc_cur *c, struct pc_xattr *out)
{
    if (c->left == 0 && !c->failed)
        return 0;
    uint16_t n = pc_cur_u16(c);
    const char *name = pc_cur_take(c, n);
    uint32_t len = pc_cur_u32(c);
    const void *value = pc_cur_take(c, len);
    if (c->failed || n < 2 || name[n - 1] || strlen(name) != (size_t)n - 1)
        return PC_E_SYNTAX;
    *out = (struct pc_xattr){name, value, len};
    return 1;
}

bool pc_xattrs_find(const struct pc_buf *list, const char *name, struct pc_xattr *out)
{
    struct pc_cur c;
    struct pc_xattr x;
    pc_cur_init(&c, list->data, list->len);
    while (pc_xattrs_next(&c, &x) > 0) {
        if (strcmp(x.name, name) != 0)
            continue;
        *out = x;
        return true;
    }
    return false;
}

int pc_meta_encode(const struct pc_meta *m, struct pc_buf *out)
{
    const uint32_t words[] = {m->mode, m->uid, m->gid, m->nlink, m->rdev_major, m->rdev_minor, m->attrs};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        pc_buf_add_u32(out, words[i]);
    const uint64_t longs[] = {m->size, m->alloc_bytes, m->ino, (uint64_t)m->mtime_ns, (uint64_t)m->ctime_ns,
                              (uint64_t)m->atime_ns};
    for (size_t i = 0; i < sizeof longs / sizeof longs[0]; i++)
        pc_buf_add_u64(out, longs[i]);
    pc_buf_add_u32(out, (uint32_t)m->target.len);
    pc_buf_add(out, m->target.data, m->target.len);
    pc_buf_add_u32(out, (uint32_t)m->xattrs.len);
    return pc_buf_add(out, m->xattrs.data, m->xattrs.len);
}

/* A counted byte string into an initialised buffer. */
static int take_buf(struct pc_cur *c, struct pc_buf *out)
{
    uint32_t len = pc_cur_u32(c);
    const void *p = pc_cur_take(c, len);
    if (!p)
        return PC_E_SYNTAX;
    pc_buf_reset(out);
    return pc_buf_add(out, p, len);
}

static int check_xattrs(const struct pc_buf *list)
{
    struct pc_cur c;
    struct pc_xattr x;
    pc_cur_init(&c, list->data, list->len);
    int r;
    while ((r = pc_xattrs_next(&c, &x)) > 0)
        ;
    return r;
}

int pc_meta_decode(struct pc_cur *c, struct pc_meta *m)
{
    uint32_t *words[] = {&m->mode, &m->uid, &m->gid, &m->nlink, &m->rdev_major, &m->rdev_minor, &m->attrs};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        *words[i] = pc_cur_u32(c);
    m->size = pc_cur_u64(c);
    m->alloc_bytes = pc_cur_u64(c);
    m->ino = pc_cur_u64(c);
    m->mtime_ns = (int64_t)pc_cur_u64(c);
    m->ctime_ns = (int64_t)pc_cur_u64(c);
    m->atime_ns = (int64_t)pc_cur_u64(c);
    int r = take_buf(c, &m->target);
    if (r == 0)
        r = take_buf(c, &m->xattrs);
    if (r == 0 && m->target.len && memchr(m->target.data, 0, m->target.len))
        r = PC_E_SYNTAX;
    return r == 0 ? check_xattrs(&m->xattrs) : r;
}

void pc_record_init(struct pc_record *r)
{
    memset(r, 0, sizeof *r);
    pc_meta_init(&r->meta);
}

void pc_record_free(struct pc_record *r)
{
    pc_meta_free(&r->meta);
}

bool pc_name_ok(const char *name)
{
    size_t n = strnlen(name, PC_NAME_CAP);
    return n > 0 && n < PC_NAME_CAP && !memchr(name, '/', n) && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static void add_fh(struct pc_buf *out, const struct pc_fh *fh)
{
    pc_buf_add_u32(out, (uint32_t)fh->type);
    uint8_t len = (uint8_t)fh->len;
    pc_buf_add(out, &len, 1);
    pc_buf_add(out, fh->data, fh->len);
}

static int take_fh(struct pc_cur *c, struct pc_fh *fh)
{
    int32_t type = (int32_t)pc_cur_u32(c);
    uint8_t len = pc_cur_u8(c);
    const void *p = pc_cur_take(c, len);
    return p ? pc_fh_set(fh, type, p, len) : PC_E_SYNTAX;
}

static void add_text(struct pc_buf *out, const char *s)
{
    size_t n = strlen(s);
    pc_buf_add_u16(out, (uint16_t)n);
    pc_buf_add(out, s, n);
}

static int take_text(struct pc_cur *c, char *out, size_t cap)
{
    uint16_t n = pc_cur_u16(c);
    const char *p = pc_cur_take(c, n);
    if (!p || n >= cap || memchr(p, 0, n))
        return PC_E_SYNTAX;
    memcpy(out, p, n);
    out[n] = 0;
    return 0;
}

int pc_record_encode(const struct pc_record *r, struct pc_buf *out)
{
    uint8_t head[2] = {r->how, (uint8_t)((r->packed ? FLAG_PACKED : 0) | (r->has_data ? FLAG_DATA : 0))};
    pc_buf_add(out, magic, sizeof magic);
    pc_buf_add(out, head, sizeof head);
    pc_buf_add_u64(out, r->time_ns);
    pc_buf_add_u64(out, r->actor);
    add_fh(out, &r->fh);
    add_fh(out, &r->parent);
    add_text(out, r->name);
    add_text(out, r->path);
    int e = pc_meta_encode(&r->meta, out);
    return e == 0 && r->has_data ? pc_buf_add_u64(out, r->data) : e;
}

static int decode_places(struct pc_cur *c, struct pc_record *r)
{
    int e = take_fh(c, &r->fh);
    if (e == 0)
        e = take_fh(c, &r->parent);
    if (e == 0)
        e = take_text(c, r->name, sizeof r->name);
    if (e == 0)
        e = take_text(c, r->path, sizeof r->path);
    if (e == 0 && (r->fh.len == 0 || (r->name[0] && !pc_name_ok(r->name))))
        e = PC_E_SYNTAX;
    return e;
}

int pc_record_decode(const void *data, size_t len, struct pc_record *r)
{
    struct pc_cur c;
    pc_cur_init(&c, data, len);
    const char *m = pc_cur_take(&c, sizeof magic);
    if (!m || memcmp(m, magic, sizeof magic) != 0)
        return PC_E_SYNTAX;
    r->how = pc_cur_u8(&c);
    uint8_t flags = pc_cur_u8(&c);
    r->packed = flags & FLAG_PACKED;
    r->has_data = flags & FLAG_DATA;
    r->time_ns = pc_cur_u64(&c);
    r->actor = pc_cur_u64(&c);
    if (c.failed || (flags & ~(FLAG_PACKED | FLAG_DATA)) || r->how == 0 || r->how > 6)
        return PC_E_SYNTAX;
    int e = decode_places(&c, r);
    if (e == 0)
        e = pc_meta_decode(&c, &r->meta);
    r->data = r->has_data && e == 0 ? pc_cur_u64(&c) : 0;
    return e == 0 ? pc_cur_end(&c) : e;
}
