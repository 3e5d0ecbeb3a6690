/*
 * Owns the table of kinds and the way to one: magic, then a check of what stands behind it, then text, then unknown.
 * The checks live in kind_text.c, kind_packed.c, kind_archive.c, kind_image.c, kind_media.c, kind_program.c,
 * kind_pages.c and kind_box.c.
 */
#include "core/kind.h"

#include "core/hist.h"
#include "core/kind_impl.h"

#include <string.h>

static const struct {
    const char *name;
    uint16_t flags;
} infos[PC_KIND_COUNT] = {
#define X(name, text, flags) {text, flags},
    PC_KINDS(X)
#undef X
};

uint16_t pc_kind_flags(unsigned kind)
{
    return kind < PC_KIND_COUNT ? infos[kind].flags : 0;
}

const char *pc_kind_name(unsigned kind)
{
    return infos[kind < PC_KIND_COUNT ? kind : PC_KIND_UNKNOWN].name;
}

struct magic {
    uint32_t off;
    uint8_t len; /* 0: no magic, the check alone decides */
    const char *bytes;
    uint8_t kind;
    pc_kind_check check; /* NULL: the magic is long enough to stand alone */
};

#define M(bytes) sizeof(bytes) - 1, bytes
/* The first one whose magic and check agree is it: the certain ones first, those with next to no magic last. */
static const struct magic magics[] = {
    /* made to be unreadable */
    {0, M("Salted__"), PC_KIND_OPENSSL, pc_check_openssl},
    {0, M("U2FsdGVkX1"), PC_KIND_OPENSSL, NULL}, /* the same in base64 */
    {0, M("-----BEGIN PGP MESSAGE-----"), PC_KIND_GPG_ARMOUR, NULL},
    {0, M("-----BEGIN AGE ENCRYPTED FILE-----"), PC_KIND_AGE, NULL},
    {0, M("-----BEGIN PKCS7-----"), PC_KIND_CMS, NULL},
    {0, M("-----BEGIN CMS-----"), PC_KIND_CMS, NULL},
    {0, M("age-encryption.org/v1"), PC_KIND_AGE, NULL},
    {0, M("LUKS\xba\xbe"), PC_KIND_LUKS, pc_check_luks},
    {0, M("$ANSIBLE_VAULT;"), PC_KIND_VAULT_TEXT, NULL},
    {0, M("\0GITCRYPT\0"), PC_KIND_GIT_CRYPT, NULL},
    {0, M("AES\2\0"), PC_KIND_AESCRYPT, NULL},
    {0, M("scrypt\0"), PC_KIND_SCRYPT, NULL},
    {0, M("\x03\xd9\xa2\x9a"), PC_KIND_KEEPASS, NULL},
    {0, M("\x30\x82"), PC_KIND_CMS, pc_check_cms},
    {0, M("\x30\x83"), PC_KIND_CMS, pc_check_cms},
    {0, M("\x30\x84"), PC_KIND_CMS, pc_check_cms},
    {0, M("\x30\x80"), PC_KIND_CMS, pc_check_cms},
    /* archives and documents */
    {0, M("PK\3\4"), PC_KIND_ZIP, pc_check_zip},
    {0, M("PK\5\6\0\0\0\0\0\0"), PC_KIND_ZIP, NULL}, /* empty */
    {0, M("7z\xbc\xaf\x27\x1c"), PC_KIND_SEVENZIP, pc_check_sevenzip},
    {0, M("Rar!\x1a\7"), PC_KIND_RAR, pc_check_rar},
    {0, M("%PDF-"), PC_KIND_PDF, pc_check_pdf},
    {0, M("%!PS"), PC_KIND_POSTSCRIPT, NULL},
    {6, M("%!PS-AdobeFont"), PC_KIND_TYPE1, NULL}, /* its glyphs are enciphered with a published key */
    {6, M("%!FontType1"), PC_KIND_TYPE1, NULL},
    {0, M("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), PC_KIND_OLE, pc_check_ole},
    {257, M("ustar"), PC_KIND_TAR, pc_check_tar},
    {0, M("070701"), PC_KIND_CPIO, pc_check_cpio},
    {0, M("070702"), PC_KIND_CPIO, pc_check_cpio},
    {0, M("!<arch>\n"), PC_KIND_AR, pc_check_ar},
    {0, M("\xed\xab\xee\xdb\3"), PC_KIND_RPM, NULL},
    {0, M("MSCF\0\0\0\0"), PC_KIND_CAB, pc_check_cab},
    {0, M("AT&TFORM"), PC_KIND_DJVU, NULL},
    /* compressed streams */
    {0, M("\x1f\x8b\x08"), PC_KIND_GZIP, pc_check_gzip},
    {0, M("\xfd" "7zXZ\0"), PC_KIND_XZ, pc_check_xz},
    {0, M("LZIP"), PC_KIND_LZIP, pc_check_lzip},
    {0, M("\x28\xb5\x2f\xfd"), PC_KIND_ZSTD, pc_check_zstd},
    {0, M("BZh"), PC_KIND_BZIP2, pc_check_bzip2},
    {0, M("\x04\x22\x4d\x18"), PC_KIND_LZ4, pc_check_lz4},
    {0, M("\x1f\x9d"), PC_KIND_COMPRESS, pc_check_compress},
    {0, M("\xff\x06\0\0sNaPpY"), PC_KIND_SNAPPY, NULL},
    /* images */
    {0, M("\xff\xd8\xff"), PC_KIND_JPEG, pc_check_jpeg},
    {0, M("\x89PNG\r\n\x1a\n"), PC_KIND_PNG, pc_check_png},
    {0, M("GIF8"), PC_KIND_GIF, pc_check_gif},
    {0, M("II*\0"), PC_KIND_TIFF, pc_check_tiff},
    {0, M("MM\0*"), PC_KIND_TIFF, pc_check_tiff},
    {0, M("BM"), PC_KIND_BMP, pc_check_bmp},
    {0, M("\0\0\1\0"), PC_KIND_ICO, pc_check_ico},
    {0, M("\0\0\0\x0cjP  \r\n\x87\n"), PC_KIND_JPEG2000, NULL},
    {0, M("8BPS"), PC_KIND_PSD, pc_check_psd},
    {0, M("gimp xcf "), PC_KIND_XCF, pc_check_xcf},
    /* sound and film */
    {0, M("RIFF"), PC_KIND_WAV, pc_check_riff},
    {0, M("ID3"), PC_KIND_MP3, pc_check_mp3},
    {0, M("OggS"), PC_KIND_OGG, pc_check_ogg},
    {0, M("fLaC"), PC_KIND_FLAC, pc_check_flac},
    {0, M("MThd"), PC_KIND_MIDI, pc_check_midi},
    {4, M("ftyp"), PC_KIND_MP4, pc_check_mp4},
    {4, M("moov"), PC_KIND_MP4, pc_check_mp4},
    {4, M("mdat"), PC_KIND_MP4, pc_check_mp4},
    {0, M("\x1a\x45\xdf\xa3"), PC_KIND_MKV, pc_check_mkv},
    {0, M("\x30\x26\xb2\x75\x8e\x66\xcf\x11"), PC_KIND_ASF, NULL},
    {0, M("FLV\1"), PC_KIND_FLV, pc_check_flv},
    {0, M("\0\0\1\xba"), PC_KIND_MPEG, pc_check_mpeg_ps},
    {0, M("\x47"), PC_KIND_MPEG, pc_check_mpeg_ts},
    /* programs, fonts, data */
    {0, M("\x7f" "ELF"), PC_KIND_ELF, pc_check_elf},
    {0, M("MZ"), PC_KIND_PE, pc_check_pe},
    {0, M("\xcf\xfa\xed\xfe"), PC_KIND_MACHO, pc_check_macho},
    {0, M("\xca\xfe\xba\xbe"), PC_KIND_CLASS, pc_check_cafebabe},
    {2, M("\r\n"), PC_KIND_PYC, pc_check_pyc},
    {0, M("\0asm"), PC_KIND_WASM, pc_check_wasm},
    {0, M("SQLite format 3"), PC_KIND_SQLITE, pc_check_sqlite},
    {0, M("\0\1\0\0\0"), PC_KIND_TTF, pc_check_sfnt},
    {0, M("true\0"), PC_KIND_TTF, pc_check_sfnt},
    {0, M("ttcf\0"), PC_KIND_TTF, NULL},
    {0, M("OTTO\0"), PC_KIND_OTF, pc_check_sfnt},
    {0, M("wOFF"), PC_KIND_WOFF, pc_check_woff},
    {0, M("wOF2"), PC_KIND_WOFF2, pc_check_woff},
    {0, M("PACK"), PC_KIND_GIT_PACK, pc_check_git_pack},
    {0, M("\xfftOc"), PC_KIND_GIT_IDX, pc_check_git_idx},
    {0, M("DIRC"), PC_KIND_GIT_INDEX, pc_check_git_index},
    {0, M("\xd4\xc3\xb2\xa1"), PC_KIND_PCAP, pc_check_pcap},
    {0, M("\xa1\xb2\xc3\xd4"), PC_KIND_PCAP, pc_check_pcap},
    {0, M("\x4d\x3c\xb2\xa1"), PC_KIND_PCAP, pc_check_pcap},
    {0, M("\x0a\x0d\x0d\x0a"), PC_KIND_PCAP, pc_check_pcapng},
    {0, M("REDIS0"), PC_KIND_REDIS, NULL},
    {0, M("\x89HDF\r\n\x1a\n"), PC_KIND_HDF5, NULL},
    {0, M("PAR1"), PC_KIND_PARQUET, pc_check_parquet},
    {0, M("\xde\x12\x04\x95"), PC_KIND_GETTEXT_MO, pc_check_mo},
    {0, M("LPKSHHRH"), PC_KIND_JOURNAL, NULL},
    {0, M("# Sphinx inventory version 2\n"), PC_KIND_SPHINX, pc_check_sphinx},
    /* disk images */
    {0, M("QFI\xfb"), PC_KIND_QCOW2, pc_check_qcow2},
    {0, M("KDMV"), PC_KIND_VMDK, NULL},
    {64, M("\x7f\x10\xda\xbe"), PC_KIND_VDI, NULL},
    {0, M("vhdxfile"), PC_KIND_VHDX, NULL},
    {0, M("hsqs"), PC_KIND_SQUASHFS, pc_check_squashfs},
    {32769, M("CD001"), PC_KIND_ISO, NULL},
    /* next to no magic */
    {32, M("KBXf"), PC_KIND_GPG_KEYS, NULL},
    {8, M("KBXf"), PC_KIND_GPG_KEYS, NULL},
    {0, M(""), PC_KIND_GPG, pc_check_gpg},
    {0, M(""), PC_KIND_GPG_KEYS, pc_check_gpg_keys},
    {0, M("\x5d\0\0"), PC_KIND_LZMA, pc_check_lzma},
    {0, M("\x78"), PC_KIND_ZLIB, pc_check_zlib},
    {0, M("\xff"), PC_KIND_AAC, pc_check_aac},
    {0, M("\xff"), PC_KIND_MP3, pc_check_mp3},
    {0, M(""), PC_KIND_PGPAGES, pc_check_pgpages},
    {0, M(""), PC_KIND_INNODB, pc_check_innodb},
    {0, M(""), PC_KIND_DISK, pc_check_disk},
};

static bool starts(const uint8_t *p, size_t n, const struct magic *m)
{
    return n >= (size_t)m->off + m->len && memcmp(p + m->off, m->bytes, m->len) == 0;
}

/* True when some kind's magic stands at the beginning. */
static bool has_magic(const uint8_t *p, size_t n)
{
    /* Frames of mpeg audio, and what git puts before an object's content. */
    if (n >= 8 && ((p[0] == 0xff && (p[1] & 0xe0) == 0xe0) || memcmp(p, "blob ", 5) == 0))
        return true;
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++)
        if (magics[i].len >= 3 && starts(p, n, &magics[i]))
            return true;
    return false;
}

bool pc_random_payload(const uint8_t *p, size_t n)
{
    if (n < 512 || has_magic(p, n))
        return false;
    struct pc_hist h = {0};
    pc_hist_add(&h, p, n < 16384 ? n : 16384);
    return pc_hist_random(&h);
}

bool pc_random_end(const struct pc_view *v)
{
    uint32_t last = v->tail_len < 1024 ? v->tail_len : 1024;
    return v->tail_off + v->tail_len == v->size && pc_random_payload(v->tail + v->tail_len - last, last);
}

const uint8_t *pc_find_bytes(const uint8_t *p, size_t n, const char *what, size_t len)
{
    return memmem(p, n, what, len);
}

const uint8_t *pc_view_at(const struct pc_view *v, uint64_t off, uint32_t need, uint32_t *len)
{
    for (uint32_t i = 0; i < v->c->count; i++) {
        const struct pc_window *w = &v->c->win[i];
        if (w->off > off)
            return NULL;
        if (off - w->off >= w->len || w->len - (off - w->off) < need)
            continue;
        *len = w->len - (uint32_t)(off - w->off);
        return w->data + (off - w->off);
    }
    return NULL;
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
        if (!starts(v->head, v->head_len, &magics[i]))
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
        s.proof = (uint8_t)pc_check_textual(&v, &s);
        if (s.proof)
            *out = s;
    }
}
