/* Owns reading what the user typed after a subcommand: incident numbers, paths and moments. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/render.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

int pc_cli_fail(enum pc_exit status, const char *fmt, ...)
{
    va_list ap;
    char text[8192];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    /* Backslashes stay: what came from the guard is escaped already, and must not be twice. */
    _free_ char *safe = pc_safe_text(&(struct pc_cli){.utf8 = true}, text, NULL);
    fflush(stdout);
    fprintf(stderr, "portcullis: %s\n", safe);
    return status;
}

int pc_cli_incident_id(const char *word, json_int_t *out)
{
    uint64_t id;
    if (pc_parse_u64(word, 1, INT64_MAX, &id) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: not an incident's number: `portcullis incidents` lists them", word);
    *out = (json_int_t)id;
    return 0;
}

/*
 * "/a/b", "b" or "../b" as folder and last part; a path that ends in "/", "." or ".." is its own folder, without last
 * part.
 */
static int split_path(const char *word, char *folder, size_t cap, const char **last)
{
    const char *slash = strrchr(word, '/');
    *last = slash ? slash + 1 : word;
    if (**last == 0 || strcmp(*last, ".") == 0 || strcmp(*last, "..") == 0) {
        *last = "";
        return (size_t)snprintf(folder, cap, "%s", word) < cap ? 0 : -ENAMETOOLONG;
    }
    size_t n = slash ? (size_t)(slash - word) : 0;
    const char *dir = !slash ? "." : n == 0 ? "/" : NULL;
    int len = dir ? snprintf(folder, cap, "%s", dir) : snprintf(folder, cap, "%.*s", (int)n, word);
    return (size_t)len < cap ? 0 : -ENAMETOOLONG;
}

/* A folder that is gone, too, cannot be resolved: then the path must be given as it was. */
static int resolve(const char *word, char out[PATH_MAX])
{
    char folder[PATH_MAX], real[PATH_MAX];
    const char *last;
    int r = split_path(word, folder, sizeof folder, &last);
    if (r < 0)
        return r;
    bool known = realpath(folder, real) != NULL;
    if (!known && (errno != ENOENT || word[0] != '/'))
        return -errno;
    int n = known ? snprintf(out, PATH_MAX, "%s%s%s", real, *last && strcmp(real, "/") != 0 ? "/" : "", last)
                  : snprintf(out, PATH_MAX, "%s", word);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

int pc_cli_path(const char *word, char **out)
{
    char path[PATH_MAX];
    int r = *word ? resolve(word, path) : -ENOENT;
    char *text = r == 0 ? malloc(4 * sizeof path) : NULL;
    if (r == 0 && !text)
        r = -ENOMEM;
    if (r < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: %s", word, pc_strerror(r));
    pc_escape_name(path, strlen(path), text, 4 * sizeof path);
    *out = text;
    return 0;
}

/*
 * RFC 3339 in UTC, as printed. Nine digits of fraction are a nanosecond; the three that history prints mean "by the end
 * of this millisecond", so that the printed time of a version names that version and not the one before.
 */
static bool parse_utc(const char *word, uint64_t *out)
{
    struct tm tm = {0};
    const char *rest = strptime(word, "%Y-%m-%dT%H:%M:%S", &tm);
    time_t s = rest ? timegm(&tm) : -1;
    uint64_t ns = 0;
    int digits = 0;
    if (s < 0)
        return false;
    if (*rest == '.') {
        for (rest++; *rest >= '0' && *rest <= '9' && digits < 9; rest++, digits++)
            ns = 10 * ns + (uint64_t)(*rest - '0');
        if (digits == 0)
            return false;
        uint64_t unit = 1;
        for (int i = digits; i < 9; i++)
            unit *= 10;
        ns = ns * unit + unit - 1;
    }
    *out = (uint64_t)s * PC_NS_PER_S + ns;
    return strcmp(rest, "Z") == 0;
}

static bool parse_local(const char *word, uint64_t *out)
{
    static const char *const formats[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(formats); i++) {
        struct tm tm = {.tm_isdst = -1};
        const char *rest = strptime(word, formats[i], &tm);
        time_t s = rest && *rest == 0 ? mktime(&tm) : -1;
        if (s >= 0) {
            *out = (uint64_t)s * PC_NS_PER_S;
            return true;
        }
    }
    return false;
}

int pc_cli_moment(const char *word, uint64_t now_ns, uint64_t *out)
{
    uint64_t at, ago;
    size_t len = strlen(word);
    bool has_unit = len > 1 && strchr("smhd", word[len - 1]) != NULL;
    if (has_unit && pc_parse_duration(word, 1, now_ns, &ago) == 0)
        at = now_ns - ago;
    else if (!parse_utc(word, &at) && !parse_local(word, &at))
        return pc_cli_fail(
            PC_EXIT_USAGE,
            "%s: not a time: allowed are 2026-11-21T18:03:00.123Z (UTC), \"2026-11-21 18:03\" (local), and "
            "10m for ten minutes ago (s, m, h, d)",
            word);
    *out = at;
    return 0;
}
