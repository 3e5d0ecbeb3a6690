/*
 * Owns the checks of what is rewritten in place by its owner: databases of fixed pages and disk images. Their pages
 * keep headers whatever is written into them; random bytes laid over pages have none.
 */
#include "core/bytes.h"
#include "core/kind_impl.h"

#include <string.h>

typedef bool (*page_fn)(const uint8_t *page, uint64_t number, const struct pc_view *v);

/* Checks every page whose beginning was read. More than one in fifty without its header: something overwrote them. */
static enum pc_proof check_pages(const struct pc_view *v, uint32_t page, uint32_t need, page_fn good)
{
    uint32_t seen = 0, bad = 0;
    for (uint32_t i = 0; i < v->c->count; i++) {
        const struct pc_window *w = &v->c->win[i];
        uint64_t first = (w->off + page - 1) / page;
        for (uint64_t n = first; (n * page - w->off) + need <= w->len; n++) {
            seen++;
            bad += !good(w->data + (n * page - w->off), n, v);
        }
    }
    return bad * 50 > seen ? PC_PROOF_BROKEN : PC_PROOF_STRUCTURE;
}

/* --- sqlite ------------------------------------------------------------------------------------------------------- */

static uint32_t sqlite_page_size(const struct pc_view *v)
{
    uint32_t page = pc_be16(v->head + 16);
    return page == 1 ? 65536 : page;
}

/* B-tree pages begin with their type, overflow and free-list pages with a page number, pointer maps with 1..5. */
static bool sqlite_page(const uint8_t *p, uint64_t number, const struct pc_view *v)
{
    uint64_t pages = v->size / sqlite_page_size(v) + 1;
    if (number == 0)
        return true;
    return p[0] == 2 || p[0] == 5 || p[0] == 10 || p[0] == 13 || pc_be32(p) <= pages || (p[0] >= 1 && p[0] <= 5);
}

enum pc_proof pc_check_sqlite(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 108 || v->head[15] != 0)
        return PC_PROOF_NONE;
    uint32_t page = sqlite_page_size(v);
    if (page < 512 || (page & (page - 1)) || v->head[21] != 64 || v->head[22] != 32 || v->head[23] != 32)
        return PC_PROOF_NONE;
    return check_pages(v, page, 8, sqlite_page);
}

/* --- postgresql --------------------------------------------------------------------------------------------------- */

static bool pg_header(const uint8_t *p)
{
    uint16_t lower = pc_le16(p + 12), upper = pc_le16(p + 14), special = pc_le16(p + 16);
    return pc_le16(p + 18) == 0x2004 && lower >= 24 && lower <= upper && upper <= special && special <= 8192 &&
           pc_le16(p + 10) <= 7;
}

static bool pg_page(const uint8_t *p, uint64_t number, const struct pc_view *v)
{
    (void)number;
    (void)v;
    return pg_header(p) || (p[0] == 0 && memcmp(p, p + 1, 23) == 0); /* extended, not used yet */
}

enum pc_proof pc_check_pgpages(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->size % 8192 || v->head_len < 8192 || !pg_header(v->head))
        return PC_PROOF_NONE;
    return check_pages(v, 8192, 24, pg_page);
}

/* --- innodb ------------------------------------------------------------------------------------------------------- */

static bool innodb_page(const uint8_t *p, uint64_t number, const struct pc_view *v)
{
    (void)v;
    return pc_be32(p + 4) == number || (p[0] == 0 && memcmp(p, p + 1, 37) == 0);
}

enum pc_proof pc_check_innodb(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->size % 16384 || v->head_len < 65536 || pc_be16(v->head + 24) != 8)
        return PC_PROOF_NONE;
    for (uint32_t n = 1; n < 4; n++)
        if (pc_be32(v->head + n * 16384 + 4) != n)
            return PC_PROOF_NONE;
    return check_pages(v, 16384, 38, innodb_page);
}

/* --- disk images -------------------------------------------------------------------------------------------------- */

enum pc_proof pc_check_qcow2(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 72)
        return PC_PROOF_NONE;
    uint32_t version = pc_be32(v->head + 4), bits = pc_be32(v->head + 20);
    return version >= 2 && version <= 3 && bits >= 9 && bits <= 21 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

/* A partition table, or the superblock of a file system that starts at once. */
enum pc_proof pc_check_disk(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    const uint8_t *p = v->head;
    if (v->size < 1u << 20 || v->head_len < 4096)
        return PC_PROOF_NONE;
    bool ext = pc_le16(p + 1024 + 56) == 0xef53 && pc_le32(p + 1024 + 24) <= 6;
    bool xfs = memcmp(p, "XFSB", 4) == 0;
    bool btrfs = v->head_len >= 65536 + 72 && memcmp(p + 65536 + 64, "_BHRfS_M", 8) == 0;
    bool table = p[510] == 0x55 && p[511] == 0xaa && ((p[446] & 0x7f) == 0 || memcmp(p + 3, "NTFS", 4) == 0 ||
                                                      memcmp(p + 3, "MSDOS", 5) == 0 || memcmp(p + 3, "mkfs", 4) == 0);
    return ext || xfs || btrfs || table ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}
