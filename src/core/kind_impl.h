#ifndef PC_CORE_KIND_IMPL_H
#define PC_CORE_KIND_IMPL_H
#include "core/kind.h"

/*
 * Shared by the kind_*.c files alone. A check sees the head of a file whose magic matched and says how well the rest
 * agrees; it may replace sight->kind (zip becomes docx). Returning PC_PROOF_NONE means: not this kind after all.
 */
struct pc_view {
    const struct pc_content *c;
    const uint8_t *head, *tail; /* never NULL; the tail ends where the file ends, when the plan reached it */
    uint32_t head_len, tail_len;
    uint64_t size, tail_off;
    bool whole; /* head is the whole file */
};
typedef enum pc_proof (*pc_kind_check)(const struct pc_view *v, struct pc_sight *sight);

/* Bytes of the file at off, if they were read: at least need of them; *len gets how many. NULL otherwise. */
const uint8_t *pc_view_at(const struct pc_view *v, uint64_t off, uint32_t need, uint32_t *len);
/* Finds bytes in a window; NULL when absent. */
const uint8_t *pc_find_bytes(const uint8_t *p, size_t n, const char *what, size_t len);
/* Payload that is random bytes of no known kind. */
bool pc_random_payload(const uint8_t *p, size_t n);
/* The file's last bytes were read and are random: where a format ends with something else, that is gone. */
bool pc_random_end(const struct pc_view *v);

/* X-list of all checks, so that table and files cannot drift apart. */
enum pc_proof pc_check_textual(const struct pc_view *v, struct pc_sight *sight);
#define PC_CHECK(name) enum pc_proof pc_check_##name(const struct pc_view *v, struct pc_sight *sight)
/* kind_packed.c */
PC_CHECK(gzip);
PC_CHECK(zlib);
PC_CHECK(sphinx);
PC_CHECK(xz);
PC_CHECK(lzma);
PC_CHECK(lzip);
PC_CHECK(zstd);
PC_CHECK(bzip2);
PC_CHECK(lz4);
PC_CHECK(compress);
PC_CHECK(git_pack);
PC_CHECK(git_idx);
PC_CHECK(squashfs);
/* kind_archive.c */
PC_CHECK(zip);
PC_CHECK(sevenzip);
PC_CHECK(rar);
PC_CHECK(tar);
PC_CHECK(cpio);
PC_CHECK(ar);
PC_CHECK(ole);
PC_CHECK(pdf);
PC_CHECK(cab);
/* kind_image.c */
PC_CHECK(jpeg);
PC_CHECK(png);
PC_CHECK(gif);
PC_CHECK(tiff);
PC_CHECK(bmp);
PC_CHECK(ico);
PC_CHECK(psd);
PC_CHECK(xcf);
/* kind_media.c */
PC_CHECK(riff);
PC_CHECK(mp3);
PC_CHECK(aac);
PC_CHECK(ogg);
PC_CHECK(flac);
PC_CHECK(midi);
PC_CHECK(mp4);
PC_CHECK(mkv);
PC_CHECK(flv);
PC_CHECK(mpeg_ps);
PC_CHECK(mpeg_ts);
/* kind_program.c */
PC_CHECK(elf);
PC_CHECK(pe);
PC_CHECK(macho);
PC_CHECK(cafebabe);
PC_CHECK(pyc);
PC_CHECK(wasm);
PC_CHECK(sfnt);
PC_CHECK(woff);
PC_CHECK(pcap);
PC_CHECK(pcapng);
PC_CHECK(git_index);
PC_CHECK(parquet);
PC_CHECK(mo);
/* kind_pages.c */
PC_CHECK(sqlite);
PC_CHECK(pgpages);
PC_CHECK(innodb);
PC_CHECK(qcow2);
PC_CHECK(disk);
/* kind_box.c */
PC_CHECK(gpg);
PC_CHECK(gpg_keys);
PC_CHECK(openssl);
PC_CHECK(cms);
PC_CHECK(luks);
#endif
