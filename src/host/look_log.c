/*
 * Owns `log.excerpt` and `service.status`. The catalogue of logs is fixed here, in the program: the server names an
 * entry of it, never a file, so that a stolen server cannot read /etc/shadow by calling it a log.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "host/collect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EXCERPT_MAX (160u << 10)

static const struct {
    const char *name, *path; /* path NULL: journalctl with these words */
    const char *journal;
} catalogue[] = {
    {"system", "/var/log/syslog", "--system"},
    {"auth", "/var/log/auth.log", "--facility=auth,authpriv"},
    {"kernel", "/var/log/kern.log", "--dmesg"},
    {"dpkg", "/var/log/dpkg.log", NULL},
    {"apt", "/var/log/apt/history.log", NULL},
    {"portcullis", NULL, "--identifier=portcullisd"},
};

/* Where the last `lines` lines of the text begin. */
static const char *last_lines(const char *text, size_t len, uint64_t lines)
{
    const char *at = text + len;
    if (at > text && at[-1] == '\n')
        at--;
    while (at > text) {
        if (at[-1] == '\n' && --lines == 0)
            break;
        at--;
    }
    return at;
}

static int print_excerpt(const char *name, const char *from, const char *text, size_t len, uint64_t lines)
{
    const char *start = last_lines(text, len, lines);
    size_t n = (size_t)(text + len - start), cap = n * 4 + 1;
    _free_ char *shown = malloc(cap);
    json_t *array = json_array(), *out = json_pack("{s:s,s:s}", "log", name, "from", from);
    if (!shown)
        return 1;
    while (n) {
        size_t line = strcspn(start, "\n");
        if (line > n)
            line = n;
        pc_escape_name(start, line, shown, cap);
        json_array_append_new(array, json_string(shown));
        size_t step = line < n ? line + 1 : line;
        start += step;
        n -= step;
    }
    json_object_set_new(out, "lines", array);
    return pc_collect_print(out);
}

static int from_file(const char *name, const char *path, uint64_t lines)
{
    _close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return PC_E_REFUSED;
    size_t want = (size_t)st.st_size < EXCERPT_MAX ? (size_t)st.st_size : EXCERPT_MAX;
    _free_ char *text = calloc(1, want + 1);
    ssize_t n = text ? pread(fd, text, want, st.st_size - (off_t)want) : -1;
    return n < 0 ? -EIO : print_excerpt(name, path, text, (size_t)n, lines);
}

static int from_journal(const char *name, const char *words, uint64_t lines)
{
    char count[32], filter[64];
    snprintf(count, sizeof count, "--lines=%llu", (unsigned long long)lines);
    snprintf(filter, sizeof filter, "%s", words);
    char *argv[] = {(char[]){"journalctl"},
                    (char[]){"--no-pager"},
                    (char[]){"--quiet"},
                    (char[]){"--output=short-iso"},
                    count,
                    filter,
                    NULL};
    _free_ char *text = NULL;
    size_t len;
    int status, r = pc_collect_run(argv, 1u << 20, &text, &len, &status);
    if (r < 0)
        return r;
    if (len > EXCERPT_MAX) { /* the newest part */
        memmove(text, text + len - EXCERPT_MAX, EXCERPT_MAX + 1);
        len = EXCERPT_MAX;
    }
    return status ? -EIO : print_excerpt(name, "journal", text, len, lines);
}

int pc_look_log(const json_t *params)
{
    const char *name = json_string_value(json_object_get(params, "log"));
    uint64_t lines = (uint64_t)json_integer_value(json_object_get(params, "lines"));
    for (size_t i = 0; name && i < PC_ARRAY_SIZE(catalogue); i++) {
        if (strcmp(catalogue[i].name, name) != 0)
            continue;
        int r = catalogue[i].path ? from_file(name, catalogue[i].path, lines) : -ENOENT;
        if (r < 0 && catalogue[i].journal)
            r = from_journal(name, catalogue[i].journal, lines);
        if (r < 0)
            fprintf(stderr, "log %s: not on this host, neither as %s nor in the journal: %s\n", name,
                    catalogue[i].path ? catalogue[i].path : "a file", pc_strerror(r));
        return r < 0 ? 1 : r;
    }
    fprintf(stderr, "log %s: not in the catalogue; it has:", name ? name : "(none)");
    for (size_t i = 0; i < PC_ARRAY_SIZE(catalogue); i++)
        fprintf(stderr, " %s", catalogue[i].name);
    fputc('\n', stderr);
    return 1;
}

int pc_look_service(const json_t *params)
{
    const char *service = json_string_value(json_object_get(params, "service"));
    char unit[256];
    if (!pc_have_systemd()) {
        fputs("systemd is not the init of this host: services are not known here\n", stderr);
        return 1;
    }
    snprintf(unit, sizeof unit, "%s", service ? service : "");
    char *argv[] = {
        (char[]){"systemctl"},
        (char[]){"show"},
        (char[]){"--no-pager"},
        (char[]){
            "--property=Id,LoadState,ActiveState,SubState,MainPID,ActiveEnterTimestamp,NRestarts,Result,Description"},
        (char[]){"--"},
        unit,
        NULL};
    _free_ char *text = NULL;
    size_t len;
    int status, r = pc_collect_run(argv, 64u << 10, &text, &len, &status);
    if (r < 0 || status != 0) {
        fprintf(stderr, "systemctl show %s: %s\n", unit, r < 0 ? pc_strerror(r) : text);
        return 1;
    }
    json_t *out = json_object();
    char *save;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *value = strchr(line, '=');
        if (!value)
            continue;
        *value = 0;
        pc_collect_text(out, line, value + 1);
    }
    return pc_collect_print(out);
}
