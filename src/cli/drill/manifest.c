/*
 * Owns the creation of a drill's files and the two records that lie beside them: the manifest (what was created) and
 * the deed (what was done). Both are excluded from damage and carry the drill's mark.
 */
#include "cli/drill/manifest.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/drill/options.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define MANIFEST_MAX (64ULL << 20) /* DRILL_FILES_MAX lines of at most 300 bytes */
#define DEED_MAX 256

void drill_manifest_free(struct drill_manifest *m)
{
    free(m->file);
    *m = (struct drill_manifest){0};
}

static int create_file(const struct drill_folder *f, struct drill_file *file, const struct pc_buf *content)
{
    file->size = content->len;
    int r = drill_sha256(content->data, content->len, file->sha256);
    if (r < 0)
        return r;
    _close_ int fd = drill_folder_create_file(f, f->sub[file->sub], file->name, 0600);
    if (fd < 0)
        return fd;
    r = pc_pwrite_all(fd, content->data, content->len, 0);
    if (r < 0)
        return r;
    const struct timespec times[2] = {{file->mtime_s, file->mtime_ns}, {file->mtime_s, file->mtime_ns}};
    return fchmod(fd, file->mode) == 0 && futimens(fd, times) == 0 ? 0 : -errno;
}

static int write_record(const struct drill_folder *f, const char *name, const struct pc_buf *text)
{
    if (text->failed)
        return PC_E_LIMIT;
    _close_ int fd = drill_folder_create_file(f, f->fd, name, 0600);
    if (fd < 0)
        return fd;
    int r = pc_write_all(fd, text->data, text->len);
    return r < 0 ? r : fsync(fd) < 0 ? -errno : 0;
}

static int write_manifest(const struct drill_folder *f, const struct drill_manifest *m)
{
    _buf_free_ struct pc_buf text;
    pc_buf_init(&text, MANIFEST_MAX);
    pc_buf_addf(&text, "portcullis-drill 1 %llu %llu %u\n", (unsigned long long)m->seed, (unsigned long long)m->size,
                m->files);
    for (uint32_t i = 0; i < m->files; i++) {
        const struct drill_file *file = &m->file[i];
        char sum[65];
        pc_hex(file->sha256, sizeof file->sha256, sum);
        pc_buf_addf(&text, "%s %llu %s/%s\n", sum, (unsigned long long)file->size, drill_subs[file->sub], file->name);
    }
    return write_record(f, DRILL_MANIFEST, &text);
}

int drill_manifest_create(const struct drill_folder *f, uint64_t seed, uint64_t size, uint32_t files,
                          struct drill_manifest *out)
{
    _free_ struct drill_file *list = calloc(files, sizeof *list);
    if (!list)
        return -ENOMEM;
    _buf_free_ struct pc_buf content;
    pc_buf_init(&content, drill_document_bound(size));
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < files; i++) {
        drill_document_plan(seed, i, &list[i]);
        r = drill_document_make(seed, i, size, &content);
        if (r == 0)
            r = create_file(f, &list[i], &content);
    }
    struct drill_manifest m = {seed, size, files, list};
    if (r == 0)
        r = write_manifest(f, &m);
    if (r == 0 && syncfs(f->fd) < 0)
        r = -errno;
    if (r == 0) {
        m.file = TAKE_PTR(list);
        *out = m;
    }
    return r;
}

/* The whole text of a record, NUL-terminated. */
static int read_record(const struct drill_folder *f, const char *name, size_t max, char **out)
{
    _close_ int fd = drill_folder_open_file(f, f->fd, name, O_RDONLY, 1);
    if (fd < 0)
        return fd;
    size_t len;
    return pc_read_regular(fd, max, out, &len);
}

static int parse_head(char *line, struct drill_manifest *m)
{
    char *save = NULL;
    const char *word[6] = {0};
    for (int i = 0; i < 6; i++)
        word[i] = strtok_r(i ? NULL : line, " ", &save);
    uint64_t files;
    if (!word[4] || word[5] || strcmp(word[0], "portcullis-drill") != 0 || strcmp(word[1], "1") != 0 ||
        pc_parse_u64(word[2], 0, INT64_MAX, &m->seed) < 0 || pc_parse_u64(word[3], 0, DRILL_SIZE_MAX, &m->size) < 0 ||
        pc_parse_u64(word[4], 1, DRILL_FILES_MAX, &files) < 0)
        return PC_E_CORRUPT;
    m->files = (uint32_t)files;
    return 0;
}

/* "sha256 size sub/name". The name is not taken from here: it must be the one the seed gives. */
static int parse_line(char *line, struct drill_file *file)
{
    char *save = NULL;
    const char *sum = strtok_r(line, " ", &save), *size = strtok_r(NULL, " ", &save);
    char expected[DRILL_NAME_MAX + 32];
    snprintf(expected, sizeof expected, "%s/%s", drill_subs[file->sub], file->name);
    if (!sum || !size || !save || strcmp(save, expected) != 0)
        return PC_E_CORRUPT;
    bool good = pc_unhex(sum, file->sha256, sizeof file->sha256) == (int)sizeof file->sha256 &&
                pc_parse_u64(size, 0, drill_document_bound(DRILL_SIZE_MAX), &file->size) == 0;
    return good ? 0 : PC_E_CORRUPT;
}

static int parse_manifest(char *text, struct drill_manifest *m)
{
    char *save = NULL;
    char *line = strtok_r(text, "\n", &save);
    int r = line ? parse_head(line, m) : PC_E_CORRUPT;
    if (r < 0)
        return r;
    m->file = calloc(m->files, sizeof *m->file);
    if (!m->file)
        return -ENOMEM;
    for (uint32_t i = 0; r == 0 && i < m->files; i++) {
        drill_document_plan(m->seed, i, &m->file[i]);
        line = strtok_r(NULL, "\n", &save);
        r = line ? parse_line(line, &m->file[i]) : PC_E_CORRUPT;
    }
    return r == 0 && strtok_r(NULL, "\n", &save) ? PC_E_CORRUPT : r;
}

int drill_manifest_read(const struct drill_folder *f, struct drill_manifest *out)
{
    _free_ char *text = NULL;
    int r = read_record(f, DRILL_MANIFEST, MANIFEST_MAX, &text);
    if (r < 0)
        return r;
    struct drill_manifest m = {0};
    r = parse_manifest(text, &m);
    if (r < 0)
        drill_manifest_free(&m);
    else
        *out = m;
    return r;
}

static int prove_file(const struct drill_folder *f, const struct drill_file *file, const struct pc_buf *content,
                      char *buf)
{
    _close_ int fd = drill_folder_open_file(f, f->sub[file->sub], file->name, O_RDONLY, 1);
    if (fd < 0)
        return fd;
    ssize_t n = pc_pread_full(fd, buf, content->len + 1, 0);
    if (n < 0)
        return (int)n;
    return (size_t)n == content->len && memcmp(buf, content->data, content->len) == 0 ? 0 : PC_E_REFUSED;
}

int drill_manifest_prove(const struct drill_folder *f, const struct drill_manifest *m, uint32_t *bad)
{
    _buf_free_ struct pc_buf content;
    pc_buf_init(&content, drill_document_bound(m->size));
    _free_ char *buf = malloc(drill_document_bound(m->size) + 1);
    if (!buf)
        return -ENOMEM;
    for (uint32_t i = 0; i < m->files; i++) {
        int r = drill_document_make(m->seed, i, m->size, &content);
        if (r == 0)
            r = prove_file(f, &m->file[i], &content, buf);
        if (r < 0) {
            *bad = i;
            return r;
        }
    }
    return 0;
}

int drill_deed_write(const struct drill_folder *f, const struct drill_deed *d)
{
    char check[2 * DRILL_KEY_CHECK_BYTES + 1];
    pc_hex(d->key_check, sizeof d->key_check, check);
    _buf_free_ struct pc_buf text;
    pc_buf_init(&text, DEED_MAX);
    pc_buf_addf(&text, "%s %s\n", drill_pattern_names[d->pattern], check);
    int r = write_record(f, DRILL_RUN, &text);
    return r == -EEXIST ? PC_E_STATE : r;
}

int drill_deed_read(const struct drill_folder *f, struct drill_deed *out)
{
    _free_ char *text = NULL;
    int r = read_record(f, DRILL_RUN, DEED_MAX, &text);
    if (r < 0)
        return r;
    char *save = NULL;
    const char *pattern = strtok_r(text, " ", &save), *check = strtok_r(NULL, "\n", &save);
    struct drill_deed d = {.pattern = DRILL_PATTERNS};
    for (int i = 0; pattern && i < DRILL_PATTERNS; i++)
        if (strcmp(pattern, drill_pattern_names[i]) == 0)
            d.pattern = (enum drill_pattern)i;
    if (d.pattern == DRILL_PATTERNS || !check ||
        pc_unhex(check, d.key_check, sizeof d.key_check) != (int)sizeof d.key_check)
        return PC_E_CORRUPT;
    *out = d;
    return 0;
}
