/*
 * Owns the drill's documents: believable files of many kinds, made from a seed and an index and nothing else, so that
 * they can be made again. Compressed and binary kinds are valid files of their format. Memory only; no clock, no I/O.
 */
#include "cli/drill/document.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

const char *const drill_subs[DRILL_SUBS] = {"contracts", "finance", "letters",         "photos",
                                            "records",   "reports", "projects", "projects/source"};
enum { CONTRACTS, FINANCE, LETTERS, PHOTOS, RECORDS, REPORTS, PROJECTS, SOURCE };

struct rng {
    uint64_t s;
};

/* splitmix64: tiny, and every seed is a good one. */
static uint64_t next(struct rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15ULL;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

static uint32_t below(struct rng *r, uint32_t n)
{
    return (uint32_t)((next(r) >> 32) * n >> 32);
}

/* `use` keeps the draws for name, size and content apart: none changes when another takes more numbers. */
static struct rng rng_for(uint64_t seed, uint32_t index, uint32_t use)
{
    struct rng r = {seed ^ (uint64_t)index << 20 ^ (uint64_t)use << 56};
    r.s = next(&r);
    return r;
}

static const char *const words[] = {
    "the", "of", "and", "to", "in", "a", "is", "that", "for", "was", "on", "with", "as", "by", "at", "from",
    "his", "be", "this", "which", "or", "are", "we", "were", "not", "have", "water", "council", "budget",
    "report", "year", "service", "public", "library", "street", "contract", "meeting", "department", "invoice",
    "payment", "approved", "resident", "project", "schedule", "annual", "planning", "committee", "engineer",
    "supply", "review", "agreement", "district", "request", "notice", "maintenance", "season", "school",
    "total", "account", "section", "quarter", "delivery", "manager", "property", "signed", "measure", "record",
    "tender", "revision", "summary",
};

static void add(struct pc_buf *b, const char *text)
{
    pc_buf_add(b, text, strlen(text));
}

/* Common words come first in the list and are drawn more often, as in real text. */
static const char *word(struct rng *r)
{
    uint32_t n = PC_ARRAY_SIZE(words);
    uint32_t x = below(r, n), y = below(r, n);
    return words[x < y ? x : y];
}

static void add_words(struct pc_buf *b, struct rng *r, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            add(b, " ");
        add(b, word(r));
    }
}

static void add_sentence(struct pc_buf *b, struct rng *r)
{
    size_t at = b->len;
    add_words(b, r, 6 + below(r, 14));
    if (!b->failed)
        b->data[at] = (char)(b->data[at] - 'a' + 'A');
    add(b, below(r, 8) ? ". " : ".\n");
}

/*
 * Fills a form from left to right: %w a word, and with a bound as argument %n a number below it, %2 the same in two
 * digits, %m from 1 to the bound in two digits, %x six hex digits; %u prints its argument. A function of its own
 * because C leaves the order of arguments open: drawing inside an argument list would make two compilers' files differ.
 */
static void fill(struct pc_buf *b, struct rng *r, const char *form, ...)
{
    va_list ap;
    va_start(ap, form);
    for (const char *p = form; *p; p++) {
        size_t plain = strcspn(p, "%");
        pc_buf_add(b, p, plain);
        p += plain;
        if (!*p)
            break;
        char kind = *++p;
        if (kind == 'w') {
            add(b, word(r));
            continue;
        }
        unsigned arg = va_arg(ap, unsigned);
        unsigned v = kind == 'u' ? arg : below(r, arg);
        pc_buf_addf(b, kind == 'x' ? "%06x" : kind == '2' || kind == 'm' ? "%02u" : "%u", kind == 'm' ? v + 1 : v);
    }
    va_end(ap);
}

static void make_text(struct pc_buf *b, struct rng *r, size_t target)
{
    while (b->len < target && !b->failed) {
        for (uint32_t n = 3 + below(r, 5); n; n--)
            add_sentence(b, r);
        add(b, "\n\n");
    }
}

static void make_markdown(struct pc_buf *b, struct rng *r, size_t target)
{
    while (b->len < target && !b->failed) {
        add(b, "## ");
        add_words(b, r, 3);
        add(b, "\n\n");
        for (uint32_t n = 2 + below(r, 4); n; n--) {
            add(b, "- ");
            add_sentence(b, r);
            add(b, "\n");
        }
        add(b, "\n");
    }
}

static void make_csv(struct pc_buf *b, struct rng *r, size_t target)
{
    add(b, "date,account,description,amount,balance\n");
    for (unsigned balance = 10000; b->len < target && !b->failed; balance += below(r, 900))
        fill(b, r, "2024-%m-%m,%n,%w %w,%n.%2,%u.%2\n", 12, 28, 40000, 900, 100, balance, 100);
}

static void make_html(struct pc_buf *b, struct rng *r, size_t target)
{
    add(b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Report</title></head>\n<body>\n");
    while (b->len < target && !b->failed) {
        add(b, "<h2>");
        add_words(b, r, 3);
        add(b, "</h2>\n<p class=\"body\">");
        for (uint32_t n = 2 + below(r, 5); n; n--)
            add_sentence(b, r);
        add(b, "</p>\n");
    }
    add(b, "</body></html>\n");
}

static void make_json(struct pc_buf *b, struct rng *r, size_t target)
{
    add(b, "[\n");
    for (unsigned id = 1; b->len < target && !b->failed; id++) {
        if (id > 1)
            add(b, ",\n");
        fill(b, r, "  {\"id\": %u, \"name\": \"%w %w\", \"amount\": %n, \"tags\": [\"%w\", \"%w\"]}", id, 100000);
    }
    add(b, "\n]\n");
}

static void make_xml(struct pc_buf *b, struct rng *r, size_t target)
{
    add(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<records>\n");
    while (b->len < target && !b->failed)
        fill(b, r, "  <record number=\"%n\"><title>%w %w</title><state>%w</state></record>\n", 1000000);
    add(b, "</records>\n");
}

static void make_svg(struct pc_buf *b, struct rng *r, size_t target)
{
    add(b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"800\" height=\"600\">\n");
    while (b->len < target && !b->failed)
        fill(b, r, "  <path d=\"M%n %n L%n %n\" stroke=\"#%x\"/>\n", 800, 600, 800, 600, 1 << 24);
    add(b, "</svg>\n");
}

static void make_c(struct pc_buf *b, struct rng *r, size_t target)
{
    add(b, "#include <stdio.h>\n\n");
    for (unsigned n = 0; b->len < target && !b->failed; n++)
        fill(b, r,
             "/* %w %w %w */\nstatic int step_%u(int value)\n{\n    for (int i = 0; i < %n; i++)\n"
             "        value += i * %n;\n    return value;\n}\n\n",
             n, 64, 9000);
}

static void make_log(struct pc_buf *b, struct rng *r, size_t target)
{
    for (unsigned s = 0; b->len < target && !b->failed; s += below(r, 9))
        fill(b, r, "2025-03-01T%u:%u:%uZ host%n app[%n]: %w %w %w id=%n\n", s / 3600 % 24, s / 60 % 60, s % 60, 4, 900,
             1000000);
}

static void make_mail(struct pc_buf *b, struct rng *r, size_t target)
{
    fill(b, r, "From: clerk%n@town.example\nTo: office%n@town.example\nSubject: %w %w\nMIME-Version: 1.0\n"
               "Content-Type: text/plain; charset=utf-8\n\n", 50, 50);
    make_text(b, r, target);
}

static void add_be32(struct pc_buf *b, uint32_t v)
{
    const uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    pc_buf_add(b, bytes, sizeof bytes);
}

/* A smooth picture with a little noise, three bytes a pixel: what cameras and scanners deliver. */
static void add_pixels(struct pc_buf *b, struct rng *r, uint32_t width, uint32_t rows, bool png_filter_bytes)
{
    for (uint32_t y = 0; y < rows && !b->failed; y++) {
        if (png_filter_bytes)
            pc_buf_add(b, "", 1);
        for (uint32_t x = 0; x < width; x++) {
            uint64_t noise = next(r);
            const uint8_t px[3] = {(uint8_t)(x * 255 / width + (noise & 7)),
                                   (uint8_t)(y * 255 / rows + (noise >> 3 & 7)),
                                   (uint8_t)((x + y) / 4 + (noise >> 6 & 7))};
            pc_buf_add(b, px, sizeof px);
        }
    }
}

/* Appends data deflated. bits as in deflateInit2: 15 zlib, 31 gzip, -15 raw. */
static void add_deflated(struct pc_buf *b, const void *data, size_t len, int bits)
{
    z_stream z = {0};
    /* the fastest level: a run proves its files by making them all again */
    if (deflateInit2(&z, 1, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        b->failed = true;
        return;
    }
    uint8_t out[16384];
    z.next_in = (Bytef *)data;
    z.avail_in = (uInt)len;
    int r = Z_OK;
    while (r == Z_OK) {
        z.next_out = out;
        z.avail_out = sizeof out;
        r = deflate(&z, Z_FINISH);
        pc_buf_add(b, out, sizeof out - z.avail_out);
    }
    deflateEnd(&z);
    if (r != Z_STREAM_END)
        b->failed = true;
}

static void add_png_chunk(struct pc_buf *b, const char *type, const void *data, size_t len)
{
    add_be32(b, (uint32_t)len);
    size_t at = b->len;
    pc_buf_add(b, type, 4);
    pc_buf_add(b, data, len);
    if (!b->failed)
        add_be32(b, (uint32_t)crc32(0, (const Bytef *)b->data + at, (uInt)(len + 4)));
}

static void make_png(struct pc_buf *b, struct rng *r, size_t target)
{
    _buf_free_ struct pc_buf raw, head, packed;
    pc_buf_init(&raw, b->max * 2 + 65536);
    pc_buf_init(&head, 64);
    pc_buf_init(&packed, b->max);
    uint32_t width = 64 + 32 * below(r, 16), rows = 1 + (uint32_t)(target * 2 / (3 * width));
    add_pixels(&raw, r, width, rows, true);
    add_be32(&head, width);
    add_be32(&head, rows);
    pc_buf_add(&head, "\x08\x02\0\0\0", 5); /* 8 bits, RGB, deflate, standard filters, not interlaced */
    if (!raw.failed)
        add_deflated(&packed, raw.data, raw.len, 15);
    pc_buf_add(b, "\x89PNG\r\n\x1a\n", 8);
    add_png_chunk(b, "IHDR", head.data, head.len);
    add_png_chunk(b, "IDAT", packed.data, packed.len);
    add_png_chunk(b, "IEND", "", 0);
    b->failed |= raw.failed || packed.failed;
}

static void make_bmp(struct pc_buf *b, struct rng *r, size_t target)
{
    uint32_t width = 64 + 4 * below(r, 64), rows = 1 + (uint32_t)(target / (3 * width));
    pc_buf_add(b, "BM", 2);
    pc_buf_add_u32(b, 54 + 3 * width * rows);
    pc_buf_add_u32(b, 0);
    pc_buf_add_u32(b, 54);
    pc_buf_add_u32(b, 40);
    pc_buf_add_u32(b, width); /* a multiple of four: rows need no padding */
    pc_buf_add_u32(b, rows);
    pc_buf_add_u16(b, 1);
    pc_buf_add_u16(b, 24);
    for (int i = 0; i < 6; i++)
        pc_buf_add_u32(b, i == 1 ? 3 * width * rows : 0);
    add_pixels(b, r, width, rows, false);
}

static void make_wav(struct pc_buf *b, struct rng *r, size_t target)
{
    uint32_t samples = (uint32_t)(target / 2);
    add(b, "RIFF");
    pc_buf_add_u32(b, 36 + samples * 2);
    add(b, "WAVEfmt ");
    pc_buf_add_u32(b, 16);
    pc_buf_add_u16(b, 1);
    pc_buf_add_u16(b, 1);
    pc_buf_add_u32(b, 22050);
    pc_buf_add_u32(b, 44100);
    pc_buf_add_u16(b, 2);
    pc_buf_add_u16(b, 16);
    add(b, "data");
    pc_buf_add_u32(b, samples * 2);
    uint32_t period = 40 + below(r, 160);
    for (uint32_t i = 0; i < samples && !b->failed; i++) {
        if (i % 4000 == 0)
            period = 40 + below(r, 160);
        uint32_t phase = i % period * 2;
        uint32_t level = phase < period ? phase : 2 * period - phase; /* a triangle wave */
        pc_buf_add_u16(b, (uint16_t)(level * 12000 / period - 6000 + below(r, 64)));
    }
}

static void make_gz(struct pc_buf *b, struct rng *r, size_t target)
{
    _buf_free_ struct pc_buf raw;
    pc_buf_init(&raw, b->max * 4);
    make_csv(&raw, r, target * 3); /* such tables shrink to about a third */
    add_deflated(b, raw.data, raw.len, 31);
    b->failed |= raw.failed;
}

struct zip_entry {
    const char *name;
    uint32_t crc, packed, size, at;
};

/* The fields that a local and a central header share. */
static void add_zip_fields(struct pc_buf *b, const struct zip_entry *e)
{
    pc_buf_add_u16(b, 20);     /* version needed */
    pc_buf_add_u16(b, 0);      /* flags */
    pc_buf_add_u16(b, 8);      /* deflate */
    pc_buf_add_u16(b, 0x6000); /* 12:00 */
    pc_buf_add_u16(b, 0x58c1); /* 2024-06-01 */
    pc_buf_add_u32(b, e->crc);
    pc_buf_add_u32(b, e->packed);
    pc_buf_add_u32(b, e->size);
    pc_buf_add_u16(b, (uint16_t)strlen(e->name));
    pc_buf_add_u16(b, 0);
}

static void add_zip_entry(struct pc_buf *b, struct zip_entry *e, const struct pc_buf *content)
{
    _buf_free_ struct pc_buf packed;
    pc_buf_init(&packed, b->max);
    add_deflated(&packed, content->data, content->len, -15);
    e->crc = (uint32_t)crc32(0, (const Bytef *)content->data, (uInt)content->len);
    e->packed = (uint32_t)packed.len;
    e->size = (uint32_t)content->len;
    e->at = (uint32_t)b->len;
    pc_buf_add_u32(b, 0x04034b50);
    add_zip_fields(b, e);
    add(b, e->name);
    pc_buf_add(b, packed.data, packed.len);
    b->failed |= packed.failed;
}

static void add_zip_directory(struct pc_buf *b, const struct zip_entry *entries, uint16_t n)
{
    uint32_t start = (uint32_t)b->len;
    for (uint16_t i = 0; i < n; i++) {
        pc_buf_add_u32(b, 0x02014b50);
        pc_buf_add_u16(b, 20);
        add_zip_fields(b, &entries[i]);
        for (int zeros = 0; zeros < 5; zeros++) /* comment, disk, attributes (2 + 4 bytes) */
            pc_buf_add_u16(b, 0);
        pc_buf_add_u32(b, entries[i].at);
        add(b, entries[i].name);
    }
    uint32_t len = (uint32_t)b->len - start;
    pc_buf_add_u32(b, 0x06054b50);
    pc_buf_add_u32(b, 0);
    pc_buf_add_u16(b, n);
    pc_buf_add_u16(b, n);
    pc_buf_add_u32(b, len);
    pc_buf_add_u32(b, start);
    pc_buf_add_u16(b, 0);
}

/* A word-processor document: a zip with a type list and the text as XML. */
static void make_docx(struct pc_buf *b, struct rng *r, size_t target)
{
    _buf_free_ struct pc_buf types, text;
    pc_buf_init(&types, 4096);
    pc_buf_init(&text, b->max * 4);
    add(&types, "<?xml version=\"1.0\"?>\n"
                "<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\">"
                "<Default Extension=\"xml\" ContentType=\"application/xml\"/></Types>\n");
    add(&text, "<?xml version=\"1.0\"?>\n"
               "<w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\"><w:body>\n");
    while (text.len < target * 3 && !text.failed) {
        add(&text, "<w:p><w:r><w:t>");
        add_words(&text, r, 12 + below(r, 40));
        add(&text, "</w:t></w:r></w:p>\n");
    }
    add(&text, "</w:body></w:document>\n");
    struct zip_entry entries[] = {{.name = "[Content_Types].xml"}, {.name = "word/document.xml"}};
    add_zip_entry(b, &entries[0], &types);
    add_zip_entry(b, &entries[1], &text);
    add_zip_directory(b, entries, PC_ARRAY_SIZE(entries));
    b->failed |= text.failed || types.failed;
}

static void add_pdf_page_text(struct pc_buf *b, struct rng *r)
{
    _buf_free_ struct pc_buf text;
    pc_buf_init(&text, 1 << 16);
    add(&text, "BT /F1 11 Tf 14 TL 60 760 Td\n");
    for (int line = 0; line < 48; line++) {
        add(&text, "(");
        add_words(&text, r, 9);
        add(&text, ") Tj T*\n");
    }
    add(&text, "ET\n");
    _buf_free_ struct pc_buf packed;
    pc_buf_init(&packed, 1 << 16);
    add_deflated(&packed, text.data, text.len, 15);
    pc_buf_addf(b, "<< /Length %zu /Filter /FlateDecode >>\nstream\n", packed.len);
    pc_buf_add(b, packed.data, packed.len);
    add(b, "\nendstream\nendobj\n");
}

/* Objects: 1 catalogue, 2 page tree, 3 font, then a content stream and a page for every page. */
static void make_pdf(struct pc_buf *b, struct rng *r, size_t target)
{
    _buf_free_ struct pc_buf at, kids;
    pc_buf_init(&at, b->max);
    pc_buf_init(&kids, b->max);
    unsigned objects = 3, pages = 0;
    add(b, "%PDF-1.4\n%\xe2\xe3\xcf\xd3\n");
    do {
        pc_buf_add_u64(&at, b->len);
        pc_buf_addf(b, "%u 0 obj\n", ++objects);
        add_pdf_page_text(b, r);
        pc_buf_add_u64(&at, b->len);
        pc_buf_addf(b, "%u 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %u 0 R"
                       " /Resources << /Font << /F1 3 0 R >> >> >>\nendobj\n", objects + 1, objects);
        pc_buf_addf(&kids, "%u 0 R ", ++objects);
        pages++;
    } while (b->len < target && !b->failed);
    size_t fixed[3] = {b->len};
    add(b, "1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n");
    fixed[1] = b->len;
    pc_buf_addf(b, "2 0 obj\n<< /Type /Pages /Count %u /Kids [%s] >>\nendobj\n", pages, kids.data ? kids.data : "");
    fixed[2] = b->len;
    add(b, "3 0 obj\n<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>\nendobj\n");
    size_t xref = b->len;
    pc_buf_addf(b, "xref\n0 %u\n0000000000 65535 f \n", objects + 1);
    for (int i = 0; i < 3; i++)
        pc_buf_addf(b, "%010zu 00000 n \n", fixed[i]);
    struct pc_cur cur;
    pc_cur_init(&cur, at.data, at.len);
    while (cur.left && !cur.failed)
        pc_buf_addf(b, "%010llu 00000 n \n", (unsigned long long)pc_cur_u64(&cur));
    pc_buf_addf(b, "trailer\n<< /Size %u /Root 1 0 R >>\nstartxref\n%zu\n%%%%EOF\n", objects + 1, xref);
    b->failed |= at.failed || kids.failed;
}

static const struct kind {
    const char *name, *extension;
    uint32_t sub;
    void (*make)(struct pc_buf *b, struct rng *r, size_t target);
} kinds[] = {
    {"text", ".txt", LETTERS, make_text}, {"docx", ".docx", CONTRACTS, make_docx},
    {"pdf", ".pdf", CONTRACTS, make_pdf}, {"csv", ".csv", FINANCE, make_csv},
    {"png", ".png", PHOTOS, make_png}, {"html", ".html", REPORTS, make_html},
    {"json", ".json", RECORDS, make_json}, {"gz", ".csv.gz", FINANCE, make_gz},
    {"c", ".c", SOURCE, make_c}, {"markdown", ".md", PROJECTS, make_markdown},
    {"bmp", ".bmp", PHOTOS, make_bmp}, {"xml", ".xml", RECORDS, make_xml},
    {"mail", ".eml", LETTERS, make_mail}, {"wav", ".wav", REPORTS, make_wav},
    {"log", ".log", RECORDS, make_log}, {"svg", ".svg", PROJECTS, make_svg},
};

enum { USE_NAME = 1, USE_SIZE, USE_CONTENT };

static const struct kind *kind_of(uint32_t index)
{
    return &kinds[index % PC_ARRAY_SIZE(kinds)];
}

const char *drill_document_kind(uint32_t kind)
{
    return kinds[kind % PC_ARRAY_SIZE(kinds)].name;
}

void drill_document_plan(uint64_t seed, uint32_t index, struct drill_file *out)
{
    static const uint32_t modes[] = {0644, 0644, 0640, 0600, 0664, 0660};
    struct rng r = rng_for(seed, index, USE_NAME);
    const struct kind *k = kind_of(index);
    struct drill_file f = {.sub = k->sub, .kind = index % PC_ARRAY_SIZE(kinds)};
    const char *subject = words[26 + below(&r, PC_ARRAY_SIZE(words) - 26)];
    snprintf(f.name, sizeof f.name, "%s-%06u%s", subject, index, k->extension);
    f.mode = modes[below(&r, PC_ARRAY_SIZE(modes))];
    f.mtime_s = 1672531200 + below(&r, 3 * 365 * 86400); /* 2023 to 2025 */
    f.mtime_ns = below(&r, 1000000000);
    *out = f;
}

/* Mostly small with a long tail, as on real file servers: 2 KiB to 2 MiB, half of them below about 16 KiB. */
uint64_t drill_document_target(uint64_t seed, uint32_t index, uint64_t want)
{
    if (want)
        return want;
    struct rng r = rng_for(seed, index, USE_SIZE);
    uint32_t x = below(&r, 1000);
    uint64_t base = 2048ULL << (x * x / 100000); /* 2 KiB << 0..9 */
    return base + below(&r, (uint32_t)base);
}

uint64_t drill_document_bound(uint64_t want)
{
    return (want ? want : 2ULL << 20) * 2 + (1 << 16);
}

int drill_document_make(uint64_t seed, uint32_t index, uint64_t want, struct pc_buf *out)
{
    struct rng r = rng_for(seed, index, USE_CONTENT);
    pc_buf_reset(out);
    out->max = drill_document_bound(want);
    kind_of(index)->make(out, &r, drill_document_target(seed, index, want));
    return out->failed ? PC_E_LIMIT : 0;
}
