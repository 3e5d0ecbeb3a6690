/* Owns the checks of sound and film. */
#include "core/bytes.h"
#include "core/kind_impl.h"

#include <string.h>

/* --- riff --------------------------------------------------------------------------------------------------------- */

static bool wav_random(const struct pc_view *v)
{
    const uint8_t *data = pc_find_bytes(v->head, v->head_len < 4096 ? v->head_len : 4096, "data", 4);
    /* Format 1 is plain samples: no sound is evenly random. */
    if (!data || v->head_len < 36 || pc_le16(v->head + 20) != 1)
        return false;
    uint32_t off = (uint32_t)(data - v->head) + 8;
    return v->head_len > off + 1024 && pc_random_payload(v->head + off, v->head_len - off);
}

enum pc_proof pc_check_riff(const struct pc_view *v, struct pc_sight *s)
{
    static const struct {
        const char *form;
        uint8_t kind;
    } forms[] = {{"WAVE", PC_KIND_WAV}, {"AVI ", PC_KIND_AVI}, {"WEBP", PC_KIND_WEBP}, {"RMID", PC_KIND_MIDI}};
    if (v->head_len < 20)
        return PC_PROOF_NONE;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (memcmp(v->head + 8, forms[i].form, 4) != 0)
            continue;
        for (int b = 12; b < 16; b++) /* the first chunk's name */
            if (v->head[b] < 0x20 || v->head[b] > 0x7e)
                return PC_PROOF_NONE;
        s->kind = forms[i].kind;
        s->random_inside = s->kind == PC_KIND_WAV && wav_random(v);
        return PC_PROOF_STRUCTURE;
    }
    return PC_PROOF_NONE;
}

/* --- mpeg audio --------------------------------------------------------------------------------------------------- */

/* Length of the frame at p, 0 when there is none. Layers I to III, versions 1, 2 and 2.5. */
static uint32_t mp3_frame(const uint8_t *p)
{
    static const uint16_t rates[2][3][16] = {
        {{0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448, 0},
         {0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0},
         {0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0}},
        {{0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256, 0},
         {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0},
         {0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0}}};
    static const uint32_t samples[3] = {44100, 48000, 32000};
    if (p[0] != 0xff || (p[1] & 0xe0) != 0xe0)
        return 0;
    uint32_t version = p[1] >> 3 & 3, layer = 4 - (p[1] >> 1 & 3), bits = p[2] >> 4, hz = p[2] >> 2 & 3;
    if (version == 1 || layer == 4 || bits == 0 || bits == 15 || hz == 3)
        return 0;
    uint32_t rate = rates[version != 3][layer - 1][bits] * 1000u, pad = p[2] >> 1 & 1;
    uint32_t sample = samples[hz] >> (version == 3 ? 0 : version == 2 ? 1 : 2);
    if (layer == 1)
        return (12 * rate / sample + pad) * 4;
    return (layer == 3 && version != 3 ? 72 : 144) * rate / sample + pad;
}

/* Frames that follow one another from at on; *at moves behind them. */
static uint32_t mp3_chain(const uint8_t *p, uint32_t n, uint32_t *at)
{
    uint32_t count = 0, len;
    while (*at + 4 <= n && (len = mp3_frame(p + *at)) > 0) {
        *at += len;
        count++;
    }
    return count;
}

#define MP3_JUNK 2048u /* bytes between frames that a damaged but playable file may have */

static bool mp3_end_tag(const uint8_t *p)
{
    return memcmp(p, "TAG", 3) == 0 || memcmp(p, "APE", 3) == 0 || memcmp(p, "LYR", 3) == 0;
}

/* Bytes that belong to no frame, from the first one on; tags at the end do not count. */
static uint32_t mp3_junk(const uint8_t *p, uint32_t n, uint32_t at)
{
    uint32_t junk = 0;
    while (at + 4 <= n && junk <= MP3_JUNK) {
        mp3_chain(p, n, &at);
        if (at + 4 > n || mp3_end_tag(p + at))
            break;
        for (uint32_t len; at + 4 <= n; at++, junk++) {
            len = mp3_frame(p + at);
            if (len && at + len + 4 <= n && mp3_frame(p + at + len))
                break;
        }
    }
    return junk;
}

/* Windows further on in which no two frames follow each other. */
static uint32_t mp3_silent_windows(const struct pc_view *v)
{
    uint32_t silent = 0;
    for (uint32_t i = 1; i + 1 < v->c->count; i++) {
        const struct pc_window *w = &v->c->win[i];
        uint32_t at = 0, found = 0;
        for (; w->len >= 4096 && at + 4 <= w->len && found < 3; at++) {
            uint32_t next = at;
            found = mp3_chain(w->data, w->len, &next);
        }
        silent += w->len >= 4096 && found < 3;
    }
    return silent;
}

enum pc_proof pc_check_mp3(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint32_t start = 0;
    if (v->head_len < 128)
        return PC_PROOF_NONE;
    bool tagged = memcmp(v->head, "ID3", 3) == 0;
    if (tagged) {
        const uint8_t *p = v->head + 6;
        if (v->head[3] > 4 || (p[0] | p[1] | p[2] | p[3]) & 0x80)
            return PC_PROOF_NONE;
        start = 10 + ((uint32_t)p[0] << 21 | (uint32_t)p[1] << 14 | (uint32_t)p[2] << 7 | p[3]);
        if (start + 4096 > v->head_len) /* a large picture in the tag: the music begins further on */
            return PC_PROOF_MAGIC;
    }
    /* Padding behind a tag is common. */
    while (tagged && start < v->head_len && v->head[start] == 0)
        start++;
    uint32_t at = start;
    if (mp3_chain(v->head, v->head_len, &at) < (tagged ? 2u : 4u))
        return tagged ? PC_PROOF_BROKEN : PC_PROOF_NONE;
    bool broken = v->whole ? mp3_junk(v->head, v->head_len, start) > MP3_JUNK : mp3_silent_windows(v) > 2;
    return broken ? PC_PROOF_BROKEN : PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_aac(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint32_t at = 0, frames = 0;
    while (at + 7 <= v->head_len && frames < 8) {
        const uint8_t *p = v->head + at;
        uint32_t len = (p[3] & 3u) << 11 | (uint32_t)p[4] << 3 | p[5] >> 5;
        if (p[0] != 0xff || (p[1] & 0xf6) != 0xf0 || len < 7)
            return PC_PROOF_NONE;
        at += len;
        frames++;
    }
    return frames >= 4 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

/* --- containers --------------------------------------------------------------------------------------------------- */

enum pc_proof pc_check_ogg(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint64_t at = 0;
    for (int pages = 0; at + 27 <= v->head_len; pages++) {
        const uint8_t *p = v->head + at;
        uint32_t segments = p[26], len = 27 + segments;
        if (memcmp(p, "OggS", 4) != 0 || p[4] != 0 || p[5] > 7)
            return pages == 0 ? PC_PROOF_NONE : PC_PROOF_BROKEN;
        for (uint32_t i = 0; i < segments && at + 27 + i < v->head_len; i++)
            len += p[27 + i];
        at += len;
    }
    /* Pages are rarely longer than 8 KiB: one begins in the tail. */
    bool ends = v->tail_len < 16384 || pc_find_bytes(v->tail, v->tail_len, "OggS", 4);
    return !ends && pc_random_end(v) ? PC_PROOF_BROKEN : PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_flac(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint64_t at = 4;
    if (v->head_len < 42 || (v->head[4] & 0x7f) != 0 || pc_be32(v->head + 4) % (1u << 24) != 34)
        return PC_PROOF_NONE;
    for (bool last = false; !last;) {
        if (at + 4 > v->head_len)
            return PC_PROOF_STRUCTURE;
        last = v->head[at] & 0x80;
        if ((v->head[at] & 0x7f) > 6)
            return PC_PROOF_BROKEN;
        at += 4ull + pc_be32(v->head + at) % (1u << 24);
    }
    if (at + 2 > v->head_len)
        return PC_PROOF_STRUCTURE;
    return (pc_be16(v->head + at) & 0xfffe) == 0xfff8 ? PC_PROOF_STRUCTURE : PC_PROOF_BROKEN;
}

enum pc_proof pc_check_midi(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    bool sane = v->head_len >= 22 && pc_be32(v->head + 4) == 6 && pc_be16(v->head + 8) <= 2;
    return sane && memcmp(v->head + 14, "MTrk", 4) == 0 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

static bool printable4(const uint8_t *p)
{
    for (int i = 0; i < 4; i++)
        if ((p[i] < 0x20 || p[i] > 0x7e) && p[i] != 0xa9)
            return false;
    return true;
}

/* The chain of boxes: wherever the beginning of one was read, it must be one. */
enum pc_proof pc_check_mp4(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint64_t at = 0;
    for (int boxes = 0; boxes < 1024 && at + 8 <= v->size; boxes++) {
        uint32_t have;
        const uint8_t *p = pc_view_at(v, at, 8, &have);
        if (!p)
            break;
        uint64_t len = pc_be32(p);
        if (len == 1 && have >= 16)
            len = pc_be64(p + 8);
        if (len == 0 && boxes > 0 && printable4(p + 4)) /* to the end of the file */
            break;
        if (len < 8 || !printable4(p + 4) || (boxes == 0 && len > 1024) || len > v->size)
            return boxes == 0 ? PC_PROOF_NONE : PC_PROOF_BROKEN;
        at += len;
    }
    return PC_PROOF_STRUCTURE;
}

enum pc_proof pc_check_mkv(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint32_t n = v->head_len < 256 ? v->head_len : 256;
    bool type = pc_find_bytes(v->head, n, "matroska", 8) || pc_find_bytes(v->head, n, "webm", 4);
    return type && pc_find_bytes(v->head, n, "\x18\x53\x80\x67", 4) ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_flv(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    return v->head_len >= 13 && v->head[4] <= 5 && pc_be32(v->head + 5) == 9 ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_mpeg_ps(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    uint32_t n = v->head_len < 4096 ? v->head_len : 4096;
    return n > 32 && pc_find_bytes(v->head + 4, n - 4, "\0\0\1", 3) ? PC_PROOF_STRUCTURE : PC_PROOF_NONE;
}

enum pc_proof pc_check_mpeg_ts(const struct pc_view *v, struct pc_sight *s)
{
    (void)s;
    if (v->head_len < 188 * 8)
        return PC_PROOF_NONE;
    for (uint32_t at = 0; at < 188 * 8; at += 188)
        if (v->head[at] != 0x47)
            return PC_PROOF_NONE;
    for (uint32_t at = 0; at < v->head_len; at += 188)
        if (v->head[at] != 0x47)
            return PC_PROOF_BROKEN;
    return PC_PROOF_STRUCTURE;
}
