/* Owns how answers look to people. Knows nothing of particular answers; asks nobody anything. */
#include "cli/render.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <wchar.h>
#include <wctype.h>

static const char *const style_on[] = {
    [PC_PLAIN] = "", [PC_BOLD] = "\033[1m", [PC_DIM] = "\033[2m", [PC_RED] = "\033[31m", [PC_GREEN] = "\033[32m",
    [PC_YELLOW] = "\033[33m",
};

static void *must(void *memory)
{
    if (!memory) {
        fputs("portcullis: out of memory\n", stderr);
        exit(PC_EXIT_FAILED);
    }
    return memory;
}

/*
 * C0 and C1 controls drive terminals; bidirectional overrides make "exe.pdf" out of "fdp.exe"; two texts that differ in
 * something invisible look the same.
 */
static bool is_unsafe(wchar_t c)
{
    static const struct {
        wchar_t first, last;
    } unsafe[] = {
        {0, 0x1f},        {0x7f, 0x9f},     {0xad, 0xad},     {0x34f, 0x34f},   {0x61c, 0x61c},   {0x115f, 0x1160},
        {0x17b4, 0x17b5}, {0x180b, 0x180f}, {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x3164, 0x3164},
        {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0xe0000, 0xe0fff},
    };
    for (size_t i = 0; i < PC_ARRAY_SIZE(unsafe); i++)
        if (c >= unsafe[i].first && c <= unsafe[i].last)
            return true;
    return wcwidth(c) < 0;
}

char *pc_copy_of(const char *text)
{
    return must(strdup(text));
}

char *pc_safe_text(const struct pc_cli *cli, const char *text, size_t *columns)
{
    size_t left = strlen(text), used = 0, width = 0;
    char *out = must(malloc(4 * left + 1));
    mbstate_t shift = {0};
    while (left) {
        wchar_t c = 0;
        size_t n = mbrtowc(&c, text, left, &shift);
        bool bad = n == 0 || n > left;
        if (bad) {
            n = 1;
            shift = (mbstate_t){0};
        }
        if (bad || is_unsafe(c) || (!cli->utf8 && c >= 0x80)) {
            for (size_t i = 0; i < n; i++)
                used += (size_t)sprintf(out + used, "\\x%02x", (unsigned char)text[i]);
            width += 4 * n;
        } else {
            memcpy(out + used, text, n);
            used += n;
            width += (size_t)wcwidth(c);
        }
        text += n;
        left -= n;
    }
    out[used] = 0;
    if (columns)
        *columns = width;
    return out;
}

static void put_styled(const struct pc_cli *cli, enum pc_style style, const char *text)
{
    bool on = cli->colour && style != PC_PLAIN && *text;
    printf("%s%s%s", on ? style_on[style] : "", text, on ? "\033[0m" : "");
}

size_t pc_put(const struct pc_cli *cli, enum pc_style style, const char *text)
{
    size_t columns;
    _free_ char *safe = pc_safe_text(cli, text ? text : "-", &columns);
    put_styled(cli, style, safe);
    return columns;
}

/* Columns of the terminal; SIZE_MAX when the output goes elsewhere. */
static size_t screen(void)
{
    struct winsize w;
    if (!isatty(STDOUT_FILENO))
        return SIZE_MAX;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col ? w.ws_col : 80;
}

/* How many bytes of safe text fit into this many columns; one character at least. */
static size_t fitting(const char *text, size_t room)
{
    mbstate_t shift = {0};
    size_t at = 0;
    while (text[at]) {
        wchar_t c = 0;
        size_t n = mbrtowc(&c, text + at, MB_CUR_MAX, &shift), width = c ? (size_t)wcwidth(c) : 1;
        if (n == 0 || n > MB_CUR_MAX)
            n = 1; /* never: pc_safe_text left no such byte */
        if (at && width > room)
            break;
        room -= width < room ? width : room;
        at += n;
    }
    return at;
}

void pc_put_marked(const struct pc_cli *cli, const char *text)
{
    static const char first[] = "    | ", further[] = "    : ";
    size_t columns = screen(), room = columns > sizeof first ? columns - (sizeof first - 1) : 1, n;
    _free_ char *safe = pc_safe_text(cli, text, NULL);
    const char *mark = first;
    for (const char *rest = safe; mark == first || *rest; rest += n, mark = further) {
        n = fitting(rest, room);
        pc_say(cli, PC_DIM, "%s", mark);
        printf("%.*s\n", (int)n, rest);
    }
}

void pc_put_lines(const struct pc_cli *cli, char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] == 0)
            text[i] = '?';
    for (char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        printf("    ");
        pc_put(cli, PC_PLAIN, line);
        putchar('\n');
    }
}

void pc_say(const struct pc_cli *cli, enum pc_style style, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = NULL;
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    must(n < 0 ? NULL : text);
    put_styled(cli, style, text);
    free(text);
}

const char *pc_text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

bool pc_is_client(const json_t *process)
{
    return json_is_null(json_object_get(process, "pid"));
}

json_int_t pc_number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

bool pc_truth_of(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

uint64_t pc_time_of(const json_t *object, const char *key)
{
    const char *text = pc_text_of(object, key);
    struct tm tm = {0};
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    time_t s = rest ? timegm(&tm) : -1;
    unsigned ms = 0;
    if (s < 0 || (*rest == '.' && sscanf(rest, ".%3u", &ms) != 1))
        return 0;
    return (uint64_t)s * PC_NS_PER_S + ms * PC_NS_PER_MS;
}

const char *pc_span(uint64_t ns, char out[32])
{
    static const struct {
        uint64_t below_s, unit_s;
        const char *name;
    } units[] = {{120, 1, "s"}, {7200, 60, "min"}, {2 * 86400, 3600, "h"}, {UINT64_MAX, 86400, "days"}};
    uint64_t s = ns / PC_NS_PER_S;
    if (s < 10) {
        if (s == 0)
            snprintf(out, 32, "%u ms", (unsigned)(ns / PC_NS_PER_MS));
        else
            snprintf(out, 32, "%u.%u s", (unsigned)s, (unsigned)(ns % PC_NS_PER_S / (100 * PC_NS_PER_MS)));
        return out;
    }
    size_t i = 0;
    while (s >= units[i].below_s)
        i++;
    snprintf(out, 32, "%llu %s", (unsigned long long)(s / units[i].unit_s), units[i].name);
    return out;
}

const char *pc_ago(const struct pc_cli *cli, uint64_t time_ns, char out[32])
{
    char span[32];
    if (time_ns == 0)
        snprintf(out, 32, "never");
    else if (time_ns + PC_NS_PER_S > cli->now_ns)
        snprintf(out, 32, "just now");
    else
        snprintf(out, 32, "%.24s ago", pc_span((cli->now_ns - time_ns) / PC_NS_PER_S * PC_NS_PER_S, span));
    return out;
}

const char *pc_moment(uint64_t time_ns, char out[40])
{
    char text[32];
    if (time_ns == 0) {
        snprintf(out, 40, "-");
        return out;
    }
    pc_format_time(time_ns, text, sizeof text);
    snprintf(out, 40, "%.10s %.12s UTC", text, text + 11);
    return out;
}

const char *pc_amount(json_int_t n, char out[32])
{
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%lld", (long long)(n < 0 ? 0 : n)), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

const char *pc_size(json_int_t bytes, char out[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = bytes < 0 ? 0 : (double)bytes;
    size_t i = 0;
    for (; v >= 1024; i++)
        v /= 1024;
    snprintf(out, 32, i && v < 10 ? "%.1f %s" : "%.0f %s", v, units[i]);
    return out;
}

const char *pc_count(json_int_t n, const char *what, char out[64])
{
    char amount[32];
    snprintf(out, 64, "%s %s%s", pc_amount(n, amount), what, n == 1 ? "" : "s");
    return out;
}

struct cell {
    char *text;
    enum pc_style style;
};

struct pc_table {
    const char *const *heads;
    size_t columns, count, room; /* count: cells */
    struct cell *cells;
};

struct pc_table *pc_table_new(const char *const *heads)
{
    struct pc_table *t = must(calloc(1, sizeof *t));
    t->heads = heads;
    while (heads[t->columns] && t->columns < PC_TABLE_COLUMNS_MAX)
        t->columns++;
    return t;
}

void pc_table_cell(struct pc_table *t, enum pc_style style, const char *text)
{
    if (t->count == t->room) {
        t->room = t->room ? 2 * t->room : 64;
        t->cells = must(realloc(t->cells, t->room * sizeof *t->cells));
    }
    t->cells[t->count++] = (struct cell){must(strdup(text ? text : "-")), style};
}

static void put_cell(const struct pc_cli *cli, const struct pc_table *t, const size_t *widths, size_t column,
                     enum pc_style style, const char *text)
{
    bool right = t->heads[column][0] == '>', is_last = column + 1 == t->columns;
    size_t columns;
    _free_ char *safe = pc_safe_text(cli, text, &columns);
    int pad = columns < widths[column] ? (int)(widths[column] - columns) : 0;
    printf("%*s", right ? pad : 0, "");
    put_styled(cli, style, safe);
    if (is_last)
        putchar('\n');
    else
        printf("%*s", right ? 2 : pad + 2, "");
}

void pc_table_print(const struct pc_cli *cli, struct pc_table *t)
{
    size_t widths[PC_TABLE_COLUMNS_MAX];
    for (size_t c = 0; c < t->columns; c++)
        widths[c] = strlen(t->heads[c]) - (t->heads[c][0] == '>');
    for (size_t i = 0; i < t->count; i++) {
        size_t columns;
        free(pc_safe_text(cli, t->cells[i].text, &columns));
        if (columns > widths[i % t->columns])
            widths[i % t->columns] = columns;
    }
    for (size_t c = 0; c < t->columns; c++) {
        printf("%s", c ? "" : "  ");
        put_cell(cli, t, widths, c, PC_DIM, t->heads[c] + (t->heads[c][0] == '>'));
    }
    for (size_t i = 0; i < t->count; i++) {
        printf("%s", i % t->columns ? "" : "  ");
        put_cell(cli, t, widths, i % t->columns, t->cells[i].style, t->cells[i].text);
        free(t->cells[i].text);
    }
    free(t->cells);
    free(t);
}

int pc_put_json(const json_t *result)
{
    if (json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_ENSURE_ASCII) < 0 || puts("") < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "cannot print the result");
    return PC_EXIT_OK;
}
