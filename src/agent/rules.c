/*
 * Owns allow rules: their text form, matching, and the file of rules that `release` remembers. Settings files hold the
 * same text (settings.c). Must not decide anything: the guard asks for a match and acts.
 */
#include "agent/settings.h"
#include "agent/settings_table.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <time.h>

static const char rules_file[] = "released.rules", rules_file_new[] = "released.rules.new";
#define RULES_FILE_BYTES_MAX ((size_t)PC_SETTINGS_RULES_MAX * (PATH_MAX + 256))

/* "never" or an RFC 3339 time in UTC to the second, "2026-12-31T00:00:00Z". 0 or PC_E_SYNTAX. */
static int parse_until(const char *text, uint64_t *out)
{
    if (strcmp(text, "never") == 0) {
        *out = 0;
        return 0;
    }
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    if (!rest || *rest)
        return PC_E_SYNTAX;
    int day = tm.tm_mday;
    time_t t = timegm(&tm);
    if (t <= 0 || tm.tm_mday != day) /* timegm turns 31 February into 3 March */
        return PC_E_SYNTAX;
    *out = (uint64_t)t;
    return 0;
}

int pc_rule_parse(const char *text, struct pc_rule *out)
{
    static const char head[] = "sha256:", under[] = " under=", until[] = " until=";
    struct pc_rule rule = {0};
    char hex[65] = "";
    if (strncmp(text, head, sizeof head - 1) != 0 || strlen(text) < sizeof head - 1 + 64)
        return PC_E_SYNTAX;
    text += sizeof head - 1;
    memcpy(hex, text, 64);
    text += 64;
    if (pc_unhex(hex, rule.sha256, sizeof rule.sha256) != sizeof rule.sha256)
        return PC_E_SYNTAX;
    /* The folder may hold blanks, and even " until=": the last one counts. */
    const char *end = NULL;
    for (const char *at = strstr(text, until); at; at = strstr(at + 1, until))
        end = at;
    if (strncmp(text, under, sizeof under - 1) != 0 || !end || end < text + sizeof under - 1)
        return PC_E_SYNTAX;
    int r = parse_until(end + sizeof until - 1, &rule.until_s);
    if (r < 0)
        return r;
    _free_ char *path = strndup(text + sizeof under - 1, (size_t)(end - text) - (sizeof under - 1));
    r = path ? pc_path_clean(path, &rule.under) : -ENOMEM;
    if (r == 0)
        *out = rule;
    return r;
}

size_t pc_rule_format(const struct pc_rule *rule, char *out, size_t cap)
{
    char hex[65], until[32] = "never";
    pc_hex(rule->sha256, sizeof rule->sha256, hex);
    if (rule->until_s) {
        time_t t = (time_t)rule->until_s;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(until, sizeof until, "%Y-%m-%dT%H:%M:%SZ", &tm);
    }
    return (size_t)snprintf(out, cap, "sha256:%s under=%s until=%s", hex, rule->under, until);
}

void pc_rule_free(struct pc_rule *rule)
{
    free(rule->under);
    *rule = (struct pc_rule){0};
}

const struct pc_rule *pc_rules_match(const struct pc_rule_list *list, const uint8_t sha256[32], const char *path,
                                     uint64_t now_s)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct pc_rule *rule = &list->rule[i];
        if ((rule->until_s == 0 || now_s < rule->until_s) && memcmp(rule->sha256, sha256, sizeof rule->sha256) == 0 &&
            pc_path_beneath(path, rule->under))
            return rule;
    }
    return NULL;
}

static void drop_ended(struct pc_rule_list *list, uint64_t now_s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->rule[i].until_s && list->rule[i].until_s <= now_s)
            pc_rule_free(&list->rule[i]);
        else
            list->rule[kept++] = list->rule[i];
    }
    list->count = kept;
}

int pc_rules_add(struct pc_rule_list *list, struct pc_rule *rule, uint64_t now_s)
{
    drop_ended(list, now_s);
    if (list->count >= PC_SETTINGS_RULES_MAX)
        return PC_E_LIMIT;
    struct pc_rule *grown = realloc(list->rule, (list->count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    list->rule = grown;
    list->rule[list->count++] = *rule;
    *rule = (struct pc_rule){0};
    return 0;
}

void pc_rules_free(struct pc_rule_list *list)
{
    for (uint32_t i = 0; i < list->count; i++)
        free(list->rule[i].under);
    free(list->rule);
    *list = (struct pc_rule_list){0};
}

int pc_rules_load(int state_dirfd, struct pc_rule_list *out)
{
    struct pc_rule_list list = {0};
    int fd = openat(state_dirfd, rules_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno != ENOENT)
        return -errno;
    _fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    if (fd >= 0 && !f) {
        close(fd);
        return -ENOMEM;
    }
    int bad = 0, r = 0;
    size_t cap = 0, total = 0;
    _free_ char *line = NULL;
    for (ssize_t n; r == 0 && f && total < RULES_FILE_BYTES_MAX && (n = getline(&line, &cap, f)) > 0;) {
        total += (size_t)n;
        if (line[n - 1] == '\n')
            line[n - 1] = 0;
        char raw[PATH_MAX + 256];
        struct pc_rule rule;
        int len = pc_unescape_name(line, raw, sizeof raw);
        if (len < 0 || strlen(raw) != (size_t)len || pc_rule_parse(raw, &rule) < 0) {
            bad++;
            continue;
        }
        r = pc_rules_add(&list, &rule, 0);
        if (r < 0)
            pc_rule_free(&rule);
    }
    if (r < 0) {
        pc_rules_free(&list);
        return r;
    }
    *out = list;
    return bad;
}

static int write_rules(int fd, const struct pc_rule_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        char text[PATH_MAX + 256], line[4 * sizeof text];
        pc_rule_format(&list->rule[i], text, sizeof text);
        /* Escaped, so that a folder with a newline in its name stays on its line. */
        size_t n = pc_escape_name(text, strlen(text), line, sizeof line - 1);
        line[n] = '\n';
        int r = pc_write_all(fd, line, n + 1);
        if (r < 0)
            return r;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

int pc_rules_save(int state_dirfd, const struct pc_rule_list *list)
{
    if (unlinkat(state_dirfd, rules_file_new, 0) < 0 && errno != ENOENT)
        return -errno;
    _close_ int fd = openat(state_dirfd, rules_file_new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = write_rules(fd, list);
    if (r == 0 && (renameat(state_dirfd, rules_file_new, state_dirfd, rules_file) < 0 || fsync(state_dirfd) < 0))
        r = -errno;
    if (r < 0)
        unlinkat(state_dirfd, rules_file_new, 0);
    return r;
}
