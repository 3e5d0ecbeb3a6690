/*
 * Owns the table of kinds and the way to one: magic, then a check of what stands behind it, then text, then unknown.
 * The checks live in kind_text.c, kind_packed.c, kind_box.c and kind_media.c.
 */
#include "core/kind.h"

#include "core/bytes.h"
#include "core/hist.h"
#include "core/kind_impl.h"

#include <string.h>

static const struct {
    const char *name;
    uint8_t flags;
} infos[PC_KIND_COUNT] = {
#define X(name, text, flags) {text, flags},
    PC_KINDS(X)
#undef X
};

uint8_t pc_kind_flags(unsigned kind)
{
    return kind < PC_KIND_COUNT ? infos[kind].flags : 0;
}

const char *pc_kind_name(unsigned kind)
{
    return infos[kind < PC_KIND_COUNT ? kind : PC_KIND_UNKNOWN].name;
}

struct magic {
    uint32_t off;
    uint8_t len;
    const char *bytes;
    uint8_t kind;
    pc_kind_check check; /* NULL: the magic is long enough to stand alone */
};

static enum pc_proof check_zip(const struct pc_view *v, struct pc_sight *s)
{
    if (v->head_len < 30)
        return PC_PROOF_NONE;
    if (v->head[6] & 1)
        s->kind = PC_KIND_ZIP_LOCKED;
    return PC_PROOF_STRUCTURE;
}

#define M(bytes) sizeof(bytes) - 1, bytes
static const struct magic magics[] = {
    {0, M("PK\3\4"), PC_KIND_ZIP, check_zip},
    {0, M("%PDF-"), PC_KIND_PDF, NULL},
    {0, M("\xff\xd8\xff"), PC_KIND_JPEG, NULL},
    {0, M("\x89PNG\r\n\x1a\n"), PC_KIND_PNG, NULL},
    {0, M("GIF8"), PC_KIND_GIF, NULL},
    {0, M("\x1f\x8b\x08"), PC_KIND_GZIP, NULL},
    {0, M("\xfd""7zXZ\0"), PC_KIND_XZ, NULL},
    {0, M("\x28\xb5\x2f\xfd"), PC_KIND_ZSTD, NULL},
    {0, M("BZh"), PC_KIND_BZIP2, NULL},
    {0, M("7z\xbc\xaf\x27\x1c"), PC_KIND_SEVENZIP, NULL},
    {0, M("\x7f""ELF"), PC_KIND_ELF, NULL},
    {0, M("SQLite format 3"), PC_KIND_SQLITE, NULL},
    {0, M("Salted__"), PC_KIND_OPENSSL, NULL},
    {0, M("-----BEGIN PGP MESSAGE"), PC_KIND_GPG_ARMOUR, NULL},
    {0, M("\x8c\x0d\x04"), PC_KIND_GPG, NULL},
    {0, M("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), PC_KIND_OLE, NULL},
    {0, M("OggS"), PC_KIND_OGG, NULL},
    {0, M("fLaC"), PC_KIND_FLAC, NULL},
    {0, M("ID3"), PC_KIND_MP3, NULL},
    {4, M("ftyp"), PC_KIND_MP4, NULL},
    {257, M("ustar"), PC_KIND_TAR, NULL},
};

static bool starts(const struct pc_view *v, const struct magic *m)
{
    return v->head_len >= m->off + m->len && memcmp(v->head + m->off, m->bytes, m->len) == 0;
}

static void view_of(const struct pc_content *c, struct pc_view *v)
{
    static const uint8_t nothing[1];
    *v = (struct pc_view){.c = c, .head = nothing, .tail = nothing, .size = c->size};
    if (c->count && c->win[0].off == 0 && c->win[0].len) {
        v->head = c->win[0].data;
        v->head_len = c->win[0].len;
    }
    for (uint32_t i = c->count; i-- > 0;) {
        if (c->win[i].len == 0)
            continue;
        v->tail = c->win[i].data;
        v->tail_len = c->win[i].len;
        v->tail_off = c->win[i].off;
        break;
    }
    v->whole = v->head_len == c->size;
}

static bool is_constant(const struct pc_content *c)
{
    int value = -1;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct pc_window *w = &c->win[i];
        if (w->len == 0)
            continue;
        if (!pc_bytes_constant(w->data, w->len) || (value >= 0 && w->data[0] != value))
            return false;
        value = w->data[0];
    }
    return value >= 0;
}

static bool try_magics(const struct pc_view *v, struct pc_sight *out)
{
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        if (!starts(v, &magics[i]))
            continue;
        struct pc_sight s = {.kind = magics[i].kind};
        s.proof = magics[i].check ? (uint8_t)magics[i].check(v, &s) : PC_PROOF_MAGIC;
        if (s.proof == PC_PROOF_NONE)
            continue;
        *out = s;
        return true;
    }
    return false;
}

void pc_kind_of(const struct pc_content *c, struct pc_sight *out)
{
    struct pc_view v;
    view_of(c, &v);
    *out = (struct pc_sight){.kind = PC_KIND_UNKNOWN};
    if (c->size == 0) {
        *out = (struct pc_sight){.kind = PC_KIND_EMPTY, .proof = PC_PROOF_STRUCTURE};
    } else if (is_constant(c)) {
        *out = (struct pc_sight){.kind = PC_KIND_CONSTANT, .proof = PC_PROOF_STRUCTURE};
    } else if (!try_magics(&v, out)) {
        struct pc_sight s = {.kind = PC_KIND_UNKNOWN};
        s.proof = (uint8_t)pc_check_text(&v, &s);
        if (s.proof)
            *out = s;
    }
}
