/*
 * Owns reading the settings file into struct pc_settings: sections, keys, duplicates, and errors with file and line.
 * What a value may be is settings_types.c; what the keys are is the table in settings.h. Must not log or act on
 * anything.
 */
#include "agent/settings.h"

#include "agent/settings_table.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#define PC_EFFECT_LIVE false
#define PC_EFFECT_RESTART true
const struct pc_setting pc_setting_rows[] = {
#define PC_ROW(section, field, name, type, def, min, max, effect, brief, text)                                         \
    {#section, name, PC_TYPE_##type, offsetof(struct pc_settings, field), def, min, max, PC_EFFECT_##effect,           \
     brief,    text},
    PC_SETTINGS_TABLE(PC_ROW)
#undef PC_ROW
};
const size_t pc_setting_count = PC_ARRAY_SIZE(pc_setting_rows);

const struct pc_path_setting pc_path_setting_rows[] = {
    {{"path", "mode", PC_TYPE_MODE, offsetof(struct pc_path_settings, mode), "auto", 0, 0, true,
      "mode beneath this folder",
      "As [guard] mode. One file system has one mode: the folder decides for all of its own."},
     offsetof(struct pc_path_settings, has_mode)},
    {{"path", "copy-limit", PC_TYPE_SIZE, offsetof(struct pc_path_settings, copy_limit_bytes), "256M", 0, 1ULL << 40,
      false, "copy limit beneath this folder", "As [preserve] copy-limit."},
     offsetof(struct pc_path_settings, has_copy_limit)},
};
const size_t pc_path_setting_count = PC_ARRAY_SIZE(pc_path_setting_rows);

/* The longest line: a rule with a path of PATH_MAX. */
#define LINE_BYTES_MAX (PATH_MAX + 256)

struct parser {
    const char *file; /* name for errors */
    const char *next, *end;
    unsigned line;
    unsigned failed_line; /* 0: no error of our own yet */
    int result;
    char *err;
    size_t err_cap;
    struct pc_settings *s;
    bool seen[PC_ARRAY_SIZE(pc_setting_rows)];
    bool in_section;
    char section[32];               /* "" inside [path "..."] */
    struct pc_path_settings *path;  /* the [path "..."] section we are in */
    char whole[LINE_BYTES_MAX + 1]; /* the current line, when it is too long for inih */
    bool is_long;
};

static void *field_of(void *base, const struct pc_setting *row)
{
    return (char *)base + row->offset;
}

/* Records the first error; what and why are printable already or come escaped. */
static int __attribute__((format(printf, 3, 4))) fail(struct parser *p, int result, const char *fmt, ...)
{
    if (p->failed_line)
        return p->result;
    p->failed_line = p->line;
    p->result = result;
    int n = snprintf(p->err, p->err_cap, "%s:%u: ", p->file, p->line);
    if (n >= 0 && (size_t)n < p->err_cap) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(p->err + n, p->err_cap - (size_t)n, fmt, ap);
        va_end(ap);
    }
    return result;
}

/* Puts "what: why; allowed: ..." for a bad value. */
static int fail_value(struct parser *p, const struct pc_setting *row, const char *value, int result)
{
    char shown[128], allowed[192];
    pc_escape_name(value, strlen(value), shown, sizeof shown);
    pc_setting_ops[row->type].allowed(row, allowed, sizeof allowed);
    return fail(p, result, "[%s] %s = %s: %s; allowed: %s", row->section, row->name, shown, pc_strerror(result),
                allowed);
}

static int open_path_section(struct parser *p, const char *quoted, size_t len)
{
    struct pc_path_settings_list *list = &p->s->paths;
    _free_ char *text = strndup(quoted, len), *path = NULL;
    if (!text)
        return fail(p, -ENOMEM, "%s", pc_strerror(-ENOMEM));
    int r = pc_path_clean(text, &path);
    if (r < 0)
        return fail(p, r, "[path]: not an absolute path without \".\" or \"..\"; allowed: [path \"/folder\"]");
    for (uint32_t i = 0; i < list->count; i++)
        if (strcmp(list->item[i].path, path) == 0)
            return fail(p, PC_E_SYNTAX, "[path \"...\"]: this folder has a section already; put its keys together");
    if (list->count >= PC_SETTINGS_PATHS_MAX)
        return fail(p, PC_E_LIMIT, "[path]: too many; allowed: %d", PC_SETTINGS_PATHS_MAX);
    struct pc_path_settings *grown = realloc(list->item, (list->count + 1) * sizeof *grown);
    if (!grown)
        return fail(p, -ENOMEM, "%s", pc_strerror(-ENOMEM));
    list->item = grown;
    p->path = &grown[list->count++];
    *p->path = (struct pc_path_settings){.path = TAKE_PTR(path)};
    return 0;
}

static bool is_section(const char *name)
{
    for (size_t i = 0; i < pc_setting_count; i++)
        if (strcmp(pc_setting_rows[i].section, name) == 0)
            return true;
    return false;
}

/* All sections, for an error message: "guard, preserve, ...". */
static void list_sections(char *out, size_t cap)
{
    size_t at = 0;
    for (size_t i = 0; i < pc_setting_count && at < cap; i++)
        if (i == 0 || strcmp(pc_setting_rows[i].section, pc_setting_rows[i - 1].section) != 0)
            at += (size_t)snprintf(out + at, cap - at, "[%s], ", pc_setting_rows[i].section);
    if (at < cap)
        snprintf(out + at, cap - at, "[path \"/folder\"]");
}

/*
 * A section heading. Read here and not by inih, which cuts the name at 49 bytes without a word: a path may be longer.
 * text starts at "[" and ends at the end of the line, which has no blanks around it.
 */
static int enter_section(struct parser *p, const char *text, size_t len)
{
    static const char path_open[] = "[path \"";
    p->path = NULL;
    p->in_section = true;
    p->section[0] = 0;
    size_t open = sizeof path_open - 1;
    if (len > open + 1 && memcmp(text, path_open, open) == 0 && memcmp(text + len - 2, "\"]", 2) == 0)
        return open_path_section(p, text + open, len - open - 2);
    if (len >= 2 && text[len - 1] == ']' && len - 2 < sizeof p->section) {
        memcpy(p->section, text + 1, len - 2);
        p->section[len - 2] = 0;
        if (is_section(p->section))
            return 0;
    }
    char shown[64], all[160];
    pc_escape_name(text, len, shown, sizeof shown);
    list_sections(all, sizeof all);
    return fail(p, PC_E_SYNTAX, "%s: unknown section; allowed: %s", shown, all);
}

/* Length of a line without blanks at its end and without a comment that follows a blank (inih's rule: " ;"). */
static size_t trimmed_len(const char *text, size_t len)
{
    for (size_t i = 1; i < len; i++) {
        if (text[i] == ';' && isspace((unsigned char)text[i - 1])) {
            len = i;
            break;
        }
    }
    while (len && isspace((unsigned char)text[len - 1]))
        len--;
    return len;
}

/*
 * inih's line source. Takes leading blanks away (an indented line would silently continue the value above), reads
 * section headings itself, and keeps a line that is longer than inih's buffer for set_key.
 */
static char *next_line(char *out, int cap, void *stream)
{
    struct parser *p = stream;
    if (p->failed_line || p->next >= p->end || cap < 8)
        return NULL;
    const char *eol = memchr(p->next, '\n', (size_t)(p->end - p->next));
    const char *text = p->next;
    size_t len = (size_t)((eol ? eol : p->end) - text);
    p->next = eol ? eol + 1 : p->end;
    p->line++;
    while (len && isspace((unsigned char)*text))
        text++, len--;
    strcpy(out, "\n"); /* what inih gets for a line that is not its business */
    p->is_long = false;
    if (memchr(text, 0, len))
        fail(p, PC_E_SYNTAX, "a NUL byte; this is a text file");
    else if (len == 0 || *text == ';' || *text == '#')
        return out;
    else if (*text == '[')
        enter_section(p, text, trimmed_len(text, len));
    else if (len > LINE_BYTES_MAX)
        fail(p, PC_E_LIMIT, "line too long; allowed: %d bytes", LINE_BYTES_MAX);
    else {
        p->is_long = len >= (size_t)cap;
        memcpy(p->whole, text, len);
        p->whole[len] = 0;
        snprintf(out, (size_t)cap, "%s", p->whole);
    }
    return p->failed_line ? NULL : out;
}

/* The value of a line that inih saw only the start of; NULL when it has none. */
static const char *value_of_long_line(struct parser *p)
{
    char *sep = strpbrk(p->whole, "=:");
    if (!sep)
        return NULL;
    char *value = sep + 1;
    while (isspace((unsigned char)*value))
        value++;
    value[trimmed_len(value, strlen(value))] = 0;
    return value;
}

static int unknown_key(struct parser *p, const char *name)
{
    char shown[64], all[256] = "";
    size_t at = 0;
    pc_escape_name(name, strlen(name), shown, sizeof shown);
    for (size_t i = 0; !p->path && i < pc_setting_count && at < sizeof all; i++)
        if (strcmp(pc_setting_rows[i].section, p->section) == 0)
            at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", at ? ", " : "", pc_setting_rows[i].name);
    for (size_t i = 0; p->path && i < pc_path_setting_count && at < sizeof all; i++)
        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", at ? ", " : "", pc_path_setting_rows[i].row.name);
    return fail(p, PC_E_SYNTAX, "[%s] %s: unknown key; allowed: %s", p->path ? "path" : p->section, shown, all);
}

static int set_path_key(struct parser *p, const char *name, const char *value)
{
    for (size_t i = 0; i < pc_path_setting_count; i++) {
        const struct pc_path_setting *key = &pc_path_setting_rows[i];
        if (strcmp(key->row.name, name) != 0)
            continue;
        bool *has = (bool *)((char *)p->path + key->has);
        if (*has)
            return fail(p, PC_E_SYNTAX, "[path] %s: given twice; allowed: once a section", name);
        int r = pc_setting_ops[key->row.type].parse(&key->row, value, field_of(p->path, &key->row));
        *has = r == 0;
        return r < 0 ? fail_value(p, &key->row, value, r) : 0;
    }
    return unknown_key(p, name);
}

static int set_plain_key(struct parser *p, const char *name, const char *value)
{
    for (size_t i = 0; i < pc_setting_count; i++) {
        const struct pc_setting *row = &pc_setting_rows[i];
        if (strcmp(row->section, p->section) != 0 || strcmp(row->name, name) != 0)
            continue;
        const struct pc_setting_ops *ops = &pc_setting_ops[row->type];
        if (p->seen[i] && !ops->repeatable)
            return fail(p, PC_E_SYNTAX, "[%s] %s: given twice; allowed: once", row->section, name);
        p->seen[i] = true;
        int r = ops->parse(row, value, field_of(p->s, row));
        return r < 0 ? fail_value(p, row, value, r) : 0;
    }
    return unknown_key(p, name);
}

/* inih's handler: 1 on success, 0 on error. */
static int set_key(void *user, const char *section, const char *name, const char *value)
{
    (void)section;
    struct parser *p = user;
    if (p->failed_line)
        return 0;
    if (!p->in_section) {
        char all[160];
        list_sections(all, sizeof all);
        fail(p, PC_E_SYNTAX, "a key before any section; allowed: after %s", all);
        return 0;
    }
    if (p->is_long)
        value = value_of_long_line(p);
    if (!value)
        return 0;
    return (p->path ? set_path_key(p, name, value) : set_plain_key(p, name, value)) == 0;
}

void pc_settings_free(struct pc_settings *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < pc_setting_count; i++)
        pc_setting_ops[pc_setting_rows[i].type].release(field_of(s, &pc_setting_rows[i]));
    for (uint32_t i = 0; i < s->paths.count; i++)
        free(s->paths.item[i].path);
    free(s->paths.item);
    *s = (struct pc_settings){0};
}

int pc_settings_default(struct pc_settings *out)
{
    struct pc_settings s = {0};
    for (size_t i = 0; i < pc_setting_count; i++) {
        const struct pc_setting *row = &pc_setting_rows[i];
        const struct pc_setting_ops *ops = &pc_setting_ops[row->type];
        int r = ops->repeatable ? 0 : ops->parse(row, row->def, field_of(&s, row));
        if (r < 0) {
            pc_settings_free(&s);
            return r;
        }
    }
    *out = s;
    return 0;
}

int pc_settings_parse(const char *name, const char *text, size_t len, struct pc_settings *out, char *err, size_t cap)
{
    struct pc_settings s;
    if (len > PC_SETTINGS_FILE_MAX) {
        snprintf(err, cap, "%s: file too long; allowed: %u bytes", name, PC_SETTINGS_FILE_MAX);
        return PC_E_LIMIT;
    }
    int r = pc_settings_default(&s);
    if (r < 0) {
        snprintf(err, cap, "%s: %s", name, pc_strerror(r));
        return r;
    }
    struct parser p = {.file = name, .next = text, .end = text + len, .err = err, .err_cap = cap, .s = &s};
    int line = ini_parse_stream(next_line, &p, set_key, &p);
    /* inih names the first bad line, ours included; an earlier one than ours is one it could not read at all. */
    if (line > 0 && (!p.failed_line || (unsigned)line < p.failed_line)) {
        p.failed_line = 0;
        p.line = (unsigned)line;
        fail(&p, PC_E_SYNTAX, "not understood; allowed: [section], name = value, or a comment that starts with # or ;");
    } else if (line < 0) {
        fail(&p, -ENOMEM, "%s", pc_strerror(-ENOMEM));
    }
    if (p.failed_line) {
        pc_settings_free(&s);
        return p.result;
    }
    *out = s;
    return 0;
}

/* Whole file, at most PC_SETTINGS_FILE_MAX + 1 bytes, so that the caller sees an overlong one. Length or -errno. */
static ssize_t read_settings(const char *path, char *buf)
{
    _close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -errno;
    return pc_read_full(fd, buf, PC_SETTINGS_FILE_MAX + 1);
}

int pc_settings_load(const char *path, struct pc_settings *out, char *err, size_t cap)
{
    _free_ char *buf = malloc(PC_SETTINGS_FILE_MAX + 1);
    ssize_t len = buf ? read_settings(path, buf) : -ENOMEM;
    if (len < 0) {
        snprintf(err, cap, "%s: %s", path, pc_strerror((int)len));
        return (int)len;
    }
    return pc_settings_parse(path, buf, (size_t)len, out, err, cap);
}

int pc_settings_protect(struct pc_settings *s, const char *path, char *err, size_t cap)
{
    _free_ char *clean = NULL;
    int r = pc_path_clean(path, &clean);
    for (uint32_t i = 0; r == 0 && i < s->protect.count; i++)
        if (strcmp(s->protect.path[i], clean) == 0)
            return 0;
    /* the table starts with [guard] protect; a test holds it there */
    const struct pc_setting *row = &pc_setting_rows[0];
    if (r == 0)
        r = pc_setting_ops[row->type].parse(row, clean, &s->protect);
    if (r < 0) {
        char shown[128], allowed[192];
        pc_escape_name(path, strlen(path), shown, sizeof shown);
        pc_setting_ops[row->type].allowed(row, allowed, sizeof allowed);
        snprintf(err, cap, "--protect %s: %s; allowed: %s", shown, pc_strerror(r), allowed);
    }
    return r;
}

int pc_settings_wanted(const char *config, const char *const *protect, uint32_t n, struct pc_settings *out, char *err,
                       size_t cap)
{
    const char *path = config ? config : PC_SETTINGS_PATH;
    bool missing_is_fine = !config && access(path, F_OK) < 0 && errno == ENOENT;
    struct pc_settings s = {0};
    if (cap)
        err[0] = 0;
    int r = missing_is_fine ? pc_settings_default(&s) : pc_settings_load(path, &s, err, cap);
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = pc_settings_protect(&s, protect[i], err, cap);
    if (r < 0) {
        pc_settings_free(&s);
        if (cap && !err[0])
            snprintf(err, cap, "%s", pc_strerror(r));
        return r;
    }
    *out = s;
    return 0;
}

const struct pc_path_settings *pc_settings_for(const struct pc_settings *s, const char *path)
{
    const struct pc_path_settings *best = NULL;
    for (uint32_t i = 0; i < s->paths.count; i++) {
        const struct pc_path_settings *p = &s->paths.item[i];
        if (pc_path_beneath(path, p->path) && (!best || strlen(p->path) > strlen(best->path)))
            best = p;
    }
    return best;
}

static bool path_modes_differ(const struct pc_settings *a, const struct pc_settings *b)
{
    for (uint32_t i = 0; i < a->paths.count; i++) {
        const struct pc_path_settings *p = &a->paths.item[i];
        const struct pc_path_settings *q = pc_settings_for(b, p->path);
        bool same = q && strcmp(q->path, p->path) == 0 && q->has_mode == p->has_mode && q->mode == p->mode;
        if (p->has_mode && !same)
            return true;
    }
    return false;
}

bool pc_settings_need_restart(const struct pc_settings *a, const struct pc_settings *b, char *names, size_t cap)
{
    size_t at = 0;
    if (cap)
        names[0] = 0;
    for (size_t i = 0; i < pc_setting_count; i++) {
        const struct pc_setting *row = &pc_setting_rows[i];
        if (!row->restart ||
            pc_setting_ops[row->type].equal((const char *)a + row->offset, (const char *)b + row->offset))
            continue;
        int n = snprintf(at < cap ? names + at : NULL, at < cap ? cap - at : 0, "%s[%s] %s", at ? ", " : "",
                         row->section, row->name);
        at += (size_t)n;
    }
    if (path_modes_differ(a, b) || path_modes_differ(b, a))
        at += (size_t)snprintf(at < cap ? names + at : NULL, at < cap ? cap - at : 0, "%s[path] mode", at ? ", " : "");
    return at > 0;
}
