/* Owns the tree of a signature's fields for the tests that damage them. */
#include "fields.h"

#include "base/cleanup.h"
#include "trust/sshwire.h"

#include <stdio.h>
#include <string.h>

static struct field *new_field(const char *name, bool prefixed)
{
    struct field *f = calloc(1, sizeof *f);
    if (!f)
        exit(1);
    f->name = name;
    f->prefixed = prefixed;
    return f;
}

static struct field *add(struct field *parent, const char *name, bool prefixed, struct pc_span bytes)
{
    struct field *f = new_field(name, prefixed);
    f->bytes = malloc(bytes.len + 1);
    if (!f->bytes || parent->children == FIELD_CHILDREN_MAX)
        exit(1);
    if (bytes.len)
        memcpy(f->bytes, bytes.p, bytes.len);
    f->len = bytes.len;
    parent->child[parent->children++] = f;
    return f;
}

static void add_string(struct field *parent, const char *name, struct pc_cur *c)
{
    add(parent, name, true, pc_ssh_string(c));
}

static void add_raw(struct field *parent, const char *name, struct pc_cur *c, size_t len)
{
    const void *p = pc_cur_take(c, len);
    add(parent, name, false, (struct pc_span){p, p ? len : 0});
}

/* A string made of other fields: the cursor is put on its inside. */
static struct field *add_parent(struct field *parent, const char *name, struct pc_cur *c, struct pc_cur *inside)
{
    struct pc_span s = pc_ssh_string(c);
    struct field *f = new_field(name, true);
    parent->child[parent->children++] = f;
    pc_cur_init(inside, s.p, s.len);
    return f;
}

static void finish(const struct pc_cur *c, const char *what)
{
    if (pc_cur_end(c) != 0) {
        fprintf(stderr, "fields: %s is not well formed\n", what);
        exit(1);
    }
}

static void read_key(struct field *root, struct pc_cur *c)
{
    struct pc_cur in;
    struct field *key = add_parent(root, "key", c, &in);
    add_string(key, "key type", &in);
    static const char *const names[] = {"key number 1", "key number 2", "key number 3"};
    for (size_t i = 0; in.left && i < PC_ARRAY_SIZE(names); i++)
        add_string(key, names[i], &in);
    finish(&in, "key");
}

static void read_signature(struct field *root, struct pc_cur *c)
{
    struct pc_cur in, numbers;
    struct field *sig = add_parent(root, "signature", c, &in);
    add_string(sig, "signature type", &in);
    if (memmem(sig->child[0]->bytes, sig->child[0]->len, "ecdsa", 5)) {
        struct field *pair = add_parent(sig, "pair", &in, &numbers);
        add_string(pair, "r", &numbers);
        add_string(pair, "s", &numbers);
        finish(&numbers, "pair");
    } else {
        add_string(sig, "signature bytes", &in);
    }
    if (in.left) {
        add_raw(sig, "flags", &in, 1);
        add_raw(sig, "counter", &in, 4);
    }
    static const char *const names[] = {"origin", "client", "extensions"};
    for (size_t i = 0; in.left && i < PC_ARRAY_SIZE(names); i++)
        add_string(sig, names[i], &in);
    finish(&in, "signature");
}

struct field *fields_of(const void *raw, size_t len)
{
    struct pc_cur c;
    struct field *root = new_field("all", false);
    pc_cur_init(&c, raw, len);
    add_raw(root, "magic", &c, 6);
    add_raw(root, "version", &c, 4);
    read_key(root, &c);
    add_string(root, "namespace", &c);
    add_string(root, "reserved", &c);
    add_string(root, "hash", &c);
    read_signature(root, &c);
    finish(&c, "all");
    return root;
}

void fields_free(struct field *f)
{
    for (size_t i = 0; i < f->children; i++)
        fields_free(f->child[i]);
    free(f->bytes);
    free(f);
}

struct field *fields_copy(const struct field *f)
{
    struct field *copy = new_field(f->name, f->prefixed);
    *copy = *f;
    if (f->bytes) {
        copy->bytes = malloc(f->len + 1);
        if (!copy->bytes)
            exit(1);
        memcpy(copy->bytes, f->bytes, f->len);
    }
    for (size_t i = 0; i < f->children; i++)
        copy->child[i] = fields_copy(f->child[i]);
    return copy;
}

void fields_write(const struct field *f, struct pc_buf *out)
{
    struct pc_buf inside _buf_free_;
    pc_buf_init(&inside, out->max);
    pc_buf_add(&inside, f->bytes, f->len);
    for (size_t i = 0; i < f->children; i++)
        fields_write(f->child[i], &inside);
    if (f->prefixed)
        pc_ssh_put_u32(out, (uint32_t)inside.len ^ f->length_lie);
    pc_buf_add(out, inside.data, inside.len);
}

size_t fields_list(struct field *f, struct field **list, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < f->children && n < max; i++) {
        list[n++] = f->child[i];
        n += fields_list(f->child[i], list + n, max - n);
    }
    return n;
}

struct field *fields_find(struct field *f, const char *name)
{
    if (strcmp(f->name, name) == 0)
        return f;
    for (size_t i = 0; i < f->children; i++) {
        struct field *found = fields_find(f->child[i], name);
        if (found)
            return found;
    }
    return NULL;
}
