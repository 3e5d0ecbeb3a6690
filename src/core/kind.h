#ifndef PC_CORE_KIND_H
#define PC_CORE_KIND_H
#include "core/content.h"

#include <stdbool.h>

/*
 * What a file is, told from its content alone, never from its name. Pure; needs about 400 KiB of stack (the trial
 * decoders work in an arena there, so that nothing is allocated).
 */
enum pc_kind_flag {
    PC_KF_TEXT = 1 << 0,
    PC_KF_PACKED = 1 << 1,    /* compressed payload: its entropy says nothing */
    PC_KF_ENCRYPTED = 1 << 2, /* made to be unreadable without a key */
    PC_KF_PAGED = 1 << 3,     /* database of fixed pages, rewritten in place by its owner */
    PC_KF_DISK = 1 << 4,      /* disk image, rewritten in place by a guest */
    PC_KF_CARRIER = 1 << 5,   /* plain frame around payload that may be packed (tar, elf, mail) */
    PC_KF_OWNLOCK = 1 << 6,   /* with ENCRYPTED: a document its own editor protects; people do that on purpose */
    PC_KF_ARCHIVE = 1 << 7,   /* one file may hold many */
    PC_KF_CHECKED = 1 << 8,   /* its check reaches all through the file: random bytes put into it do not pass */
};

/* X(NAME, text, flags). The order is part of the trace format: append only. */
#define PC_KINDS(X)                                              \
    X(UNKNOWN, "unknown", 0)                                     \
    X(EMPTY, "empty", 0)                                         \
    X(CONSTANT, "constant", 0)                                   \
    X(TEXT_UTF8, "text", PC_KF_TEXT)                             \
    X(TEXT_UTF16, "utf-16 text", PC_KF_TEXT)                     \
    X(TEXT_8BIT, "8-bit text", PC_KF_TEXT)                       \
    X(SVG, "svg", PC_KF_TEXT)                                    \
    X(RTF, "rtf", PC_KF_TEXT)                                    \
    X(PEM, "pem", PC_KF_TEXT)                                    \
    X(PDF, "pdf", PC_KF_PACKED | PC_KF_CHECKED)                  \
    X(PDF_LOCKED, "encrypted pdf", PC_KF_PACKED | PC_KF_ENCRYPTED | PC_KF_OWNLOCK) \
    X(POSTSCRIPT, "postscript", PC_KF_PACKED | PC_KF_CARRIER)    \
    X(ZIP, "zip", PC_KF_PACKED | PC_KF_CHECKED | PC_KF_ARCHIVE)  \
    X(ZIP_LOCKED, "encrypted zip", PC_KF_ENCRYPTED | PC_KF_ARCHIVE) \
    X(OOXML, "office document", PC_KF_PACKED | PC_KF_CHECKED)    \
    X(ODF, "opendocument", PC_KF_PACKED | PC_KF_CHECKED)         \
    X(EPUB, "epub", PC_KF_PACKED | PC_KF_CHECKED)                \
    X(JAR, "jar", PC_KF_PACKED | PC_KF_CHECKED)                  \
    X(OLE, "ole document", PC_KF_CARRIER)                        \
    X(OLE_LOCKED, "encrypted office document", PC_KF_ENCRYPTED | PC_KF_OWNLOCK) \
    X(SEVENZIP, "7z", PC_KF_PACKED | PC_KF_ARCHIVE)              \
    X(SEVENZIP_LOCKED, "encrypted 7z", PC_KF_ENCRYPTED | PC_KF_ARCHIVE) \
    X(RAR, "rar", PC_KF_PACKED | PC_KF_ARCHIVE)                  \
    X(RAR_LOCKED, "encrypted rar", PC_KF_ENCRYPTED | PC_KF_ARCHIVE) \
    X(GZIP, "gzip", PC_KF_PACKED)                                \
    X(XZ, "xz", PC_KF_PACKED)                                    \
    X(LZMA, "lzma", PC_KF_PACKED)                                \
    X(LZIP, "lzip", PC_KF_PACKED)                                \
    X(ZSTD, "zstd", PC_KF_PACKED)                                \
    X(BZIP2, "bzip2", PC_KF_PACKED)                              \
    X(LZ4, "lz4", PC_KF_PACKED)                                  \
    X(COMPRESS, "compress", PC_KF_PACKED)                        \
    X(ZLIB, "zlib stream", PC_KF_PACKED)                         \
    X(TAR, "tar", PC_KF_CARRIER)                                 \
    X(CPIO, "cpio", PC_KF_CARRIER)                               \
    X(AR, "ar", PC_KF_CARRIER)                                   \
    X(RPM, "rpm", PC_KF_PACKED)                                  \
    X(CAB, "cab", PC_KF_PACKED)                                  \
    X(JPEG, "jpeg", PC_KF_PACKED | PC_KF_CHECKED)                \
    X(PNG, "png", PC_KF_PACKED | PC_KF_CHECKED)                  \
    X(GIF, "gif", PC_KF_PACKED | PC_KF_CHECKED)                  \
    X(TIFF, "tiff", PC_KF_CARRIER)                               \
    X(WEBP, "webp", PC_KF_PACKED)                                \
    X(BMP, "bmp", 0)                                             \
    X(ICO, "icon", PC_KF_CARRIER)                                \
    X(JPEG2000, "jpeg 2000", PC_KF_PACKED)                       \
    X(PSD, "psd", PC_KF_CARRIER)                                 \
    X(XCF, "xcf", PC_KF_PACKED)                                  \
    X(MP3, "mp3", PC_KF_PACKED | PC_KF_CHECKED)                  \
    X(OGG, "ogg", PC_KF_PACKED | PC_KF_CHECKED)                  \
    X(FLAC, "flac", PC_KF_PACKED)                                \
    X(WAV, "wav", 0)                                             \
    X(AAC, "aac", PC_KF_PACKED)                                  \
    X(MIDI, "midi", 0)                                           \
    X(MP4, "mp4", PC_KF_PACKED)                                  \
    X(MKV, "matroska", PC_KF_PACKED)                             \
    X(AVI, "avi", PC_KF_PACKED)                                  \
    X(ASF, "asf", PC_KF_PACKED)                                  \
    X(FLV, "flv", PC_KF_PACKED)                                  \
    X(MPEG, "mpeg", PC_KF_PACKED)                                \
    X(ELF, "elf", PC_KF_CARRIER)                                 \
    X(PE, "pe", PC_KF_CARRIER)                                   \
    X(MACHO, "mach-o", PC_KF_CARRIER)                            \
    X(CLASS, "java class", 0)                                    \
    X(PYC, "python bytecode", 0)                                 \
    X(WASM, "wasm", 0)                                           \
    X(SQLITE, "sqlite", PC_KF_PAGED)                             \
    X(PGPAGES, "postgresql pages", PC_KF_PAGED)                  \
    X(INNODB, "innodb pages", PC_KF_PAGED)                       \
    X(TTF, "truetype", PC_KF_CARRIER)                            \
    X(OTF, "opentype", PC_KF_CARRIER)                            \
    X(WOFF, "woff", PC_KF_PACKED)                                \
    X(WOFF2, "woff2", PC_KF_PACKED)                              \
    X(GIT_PACK, "git pack", PC_KF_PACKED)                        \
    X(GIT_IDX, "git pack index", PC_KF_PACKED)                   \
    X(GIT_INDEX, "git index", PC_KF_CARRIER)                     \
    X(PCAP, "pcap", PC_KF_CARRIER)                               \
    X(ISO, "iso image", PC_KF_DISK)                              \
    X(QCOW2, "qcow2", PC_KF_DISK)                                \
    X(VMDK, "vmdk", PC_KF_DISK)                                  \
    X(VDI, "vdi", PC_KF_DISK)                                    \
    X(VHDX, "vhdx", PC_KF_DISK)                                  \
    X(DISK, "disk image", PC_KF_DISK)                            \
    X(SQUASHFS, "squashfs", PC_KF_PACKED)                        \
    X(REDIS, "redis dump", PC_KF_CARRIER)                        \
    X(HDF5, "hdf5", PC_KF_CARRIER)                               \
    X(PARQUET, "parquet", PC_KF_PACKED)                          \
    X(DJVU, "djvu", PC_KF_PACKED)                                \
    X(GPG, "gpg message", PC_KF_ENCRYPTED)                       \
    X(GPG_ARMOUR, "armoured gpg message", PC_KF_ENCRYPTED)       \
    X(GPG_KEYS, "gpg keys", PC_KF_CARRIER)                       \
    X(OPENSSL, "openssl salted", PC_KF_ENCRYPTED)                \
    X(AGE, "age", PC_KF_ENCRYPTED)                               \
    X(LUKS, "luks", PC_KF_ENCRYPTED | PC_KF_DISK)                \
    X(VAULT_TEXT, "ansible vault", PC_KF_ENCRYPTED)              \
    X(GIT_CRYPT, "git-crypt", PC_KF_ENCRYPTED)                   \
    X(ENCODED, "encoded randomness", PC_KF_ENCRYPTED)            \
    X(MAIL, "mail", PC_KF_TEXT)                                  \
    X(GETTEXT_MO, "gettext catalogue", PC_KF_CARRIER)            \
    X(TERMINFO, "terminfo", 0)                                   \
    X(JOURNAL, "systemd journal", PC_KF_CARRIER)                 \
    X(SNAPPY, "snappy", PC_KF_PACKED)                            \
    X(CMS, "cms enveloped data", PC_KF_ENCRYPTED)                \
    X(AESCRYPT, "aes crypt", PC_KF_ENCRYPTED)                    \
    X(SCRYPT, "scrypt", PC_KF_ENCRYPTED)                         \
    X(KEEPASS, "keepass database", PC_KF_PACKED)                 \
    X(TYPE1, "type 1 font", PC_KF_PACKED)                        \
    X(SPHINX, "sphinx inventory", PC_KF_PACKED)

enum pc_kind {
#define X(name, text, flags) PC_KIND_##name,
    PC_KINDS(X)
#undef X
    PC_KIND_COUNT
};

enum pc_proof {
    PC_PROOF_NONE = 0,  /* no kind, or its magic stands before something else: the kind is then UNKNOWN */
    PC_PROOF_MAGIC,     /* the magic is there; nothing more could be checked cheaply */
    PC_PROOF_STRUCTURE, /* lengths, markers or checksums behind the magic agree */
    PC_PROOF_DECODED,   /* a decoder accepted the payload */
    PC_PROOF_BROKEN,    /* starts well, but payload further on is not what the kind allows */
};

struct pc_sight {
    uint8_t kind;        /* enum pc_kind */
    uint8_t proof;       /* enum pc_proof */
    bool random_inside;  /* what was decoded (or carried unpacked) is itself random bytes of no known kind */
};

/* Never fails; unknown content is PC_KIND_UNKNOWN. */
void pc_kind_of(const struct pc_content *c, struct pc_sight *out);
/* Properties (enum pc_kind_flag) and English name. Any value is allowed; out of range is UNKNOWN. */
uint16_t pc_kind_flags(unsigned kind);
const char *pc_kind_name(unsigned kind);
#endif
