/*
 * Owns the types a setting can have: how a value is read, compared, released and described. Knows nothing of files,
 * sections or particular keys (settings.c), and prints nothing.
 */
#include "agent/settings_table.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static int parse_bool(const struct pc_setting *row, const char *text, void *field)
{
    (void)row;
    bool yes = strcmp(text, "yes") == 0;
    if (!yes && strcmp(text, "no") != 0)
        return PC_E_SYNTAX;
    *(bool *)field = yes;
    return 0;
}

static bool equal_bool(const void *a, const void *b)
{
    return *(const bool *)a == *(const bool *)b;
}

static void allowed_bool(const struct pc_setting *row, char *out, size_t cap)
{
    (void)row;
    snprintf(out, cap, "yes or no");
}

static int parse_number(const struct pc_setting *row, const char *text, void *field)
{
    uint64_t v;
    int r = pc_parse_u64(text, row->min, row->max, &v);
    if (r == 0)
        *(uint32_t *)field = (uint32_t)v;
    return r;
}

static bool equal_u32(const void *a, const void *b)
{
    return *(const uint32_t *)a == *(const uint32_t *)b;
}

static void allowed_number(const struct pc_setting *row, char *out, size_t cap)
{
    snprintf(out, cap, "a number from %llu to %llu", (unsigned long long)row->min, (unsigned long long)row->max);
}

static int parse_size(const struct pc_setting *row, const char *text, void *field)
{
    return pc_parse_size(text, row->min, row->max, field);
}

static int parse_duration(const struct pc_setting *row, const char *text, void *field)
{
    return pc_parse_duration(text, row->min, row->max, field);
}

static bool equal_u64(const void *a, const void *b)
{
    return *(const uint64_t *)a == *(const uint64_t *)b;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest unit that divides v: what the parser would read back as v. */
static void format_units(uint64_t v, const struct unit *units, char *out, size_t cap)
{
    while (units->factor > 1 && (v == 0 || v % units->factor))
        units++;
    snprintf(out, cap, "%llu%s", (unsigned long long)(v / units->factor), units->name);
}

static const struct unit size_units[] = {
    {"T", 1ULL << 40}, {"G", 1ULL << 30}, {"M", 1ULL << 20}, {"K", 1ULL << 10}, {"", 1}};
static const struct unit time_units[] = {{"d", PC_S(86400)}, {"h", PC_S(3600)}, {"m", PC_S(60)}, {"s", PC_S(1)},
                                         {"ms", PC_MS(1)},   {"ns", 1}};

static void allowed_size(const struct pc_setting *row, char *out, size_t cap)
{
    char min[32], max[32];
    format_units(row->min, size_units, min, sizeof min);
    format_units(row->max, size_units, max, sizeof max);
    snprintf(out, cap, "a size in bytes, or with K, M, G or T, from %s to %s", min, max);
}

static void allowed_duration(const struct pc_setting *row, char *out, size_t cap)
{
    char min[32] = "0", max[32];
    if (row->min)
        format_units(row->min, time_units, min, sizeof min);
    format_units(row->max, time_units, max, sizeof max);
    snprintf(out, cap, "a time in seconds, or with ms, s, m, h or d, from %s to %s", min, max);
}

static int parse_share(const struct pc_setting *row, const char *text, void *field)
{
    struct pc_share share = {0};
    size_t n = strlen(text);
    if (n < 2 || text[n - 1] != '%') {
        int r = pc_parse_size(text, row->min, row->max, &share.bytes);
        if (r == 0)
            *(struct pc_share *)field = share;
        return r;
    }
    if (n > 4)
        return PC_E_RANGE;
    char digits[8];
    memcpy(digits, text, n - 1);
    digits[n - 1] = 0;
    uint64_t percent;
    int r = pc_parse_u64(digits, 1, 90, &percent);
    if (r < 0)
        return r;
    share.percent = (uint32_t)percent;
    *(struct pc_share *)field = share;
    return 0;
}

static bool equal_share(const void *a, const void *b)
{
    const struct pc_share *x = a, *y = b;
    return x->bytes == y->bytes && x->percent == y->percent;
}

static void allowed_share(const struct pc_setting *row, char *out, size_t cap)
{
    (void)row;
    snprintf(out, cap, "1%% to 90%% of the file system, or a size in bytes, or with K, M, G or T");
}

int pc_path_clean(const char *text, char **out)
{
    size_t len = strlen(text);
    while (len > 1 && text[len - 1] == '/')
        len--;
    if (text[0] != '/' || len >= PATH_MAX)
        return PC_E_SYNTAX;
    for (size_t at = 1; at < len;) {
        size_t part = strcspn(text + at, "/");
        if (part > len - at)
            part = len - at;
        if (part == 0 || (part == 1 && text[at] == '.') || (part == 2 && text[at] == '.' && text[at + 1] == '.'))
            return PC_E_SYNTAX;
        at += part + 1;
    }
    char *copy = strndup(text, len);
    if (!copy)
        return -ENOMEM;
    *out = copy;
    return 0;
}

static int parse_paths(const struct pc_setting *row, const char *text, void *field)
{
    (void)row;
    struct pc_path_list *list = field;
    if (list->count >= PC_SETTINGS_PATHS_MAX)
        return PC_E_LIMIT;
    _free_ char *path = NULL;
    int r = pc_path_clean(text, &path);
    if (r < 0)
        return r;
    char **grown = realloc(list->path, (list->count + 1) * sizeof *grown);
    if (!grown)
        return -ENOMEM;
    list->path = grown;
    list->path[list->count++] = TAKE_PTR(path);
    return 0;
}

static bool equal_paths(const void *a, const void *b)
{
    const struct pc_path_list *x = a, *y = b;
    if (x->count != y->count)
        return false;
    for (uint32_t i = 0; i < x->count; i++)
        if (strcmp(x->path[i], y->path[i]) != 0)
            return false;
    return true;
}

static void release_paths(void *field)
{
    struct pc_path_list *list = field;
    for (uint32_t i = 0; i < list->count; i++)
        free(list->path[i]);
    free(list->path);
    *list = (struct pc_path_list){0};
}

static void allowed_paths(const struct pc_setting *row, char *out, size_t cap)
{
    (void)row;
    snprintf(out, cap, "an absolute path without \".\" or \"..\"; at most %d", PC_SETTINGS_PATHS_MAX);
}

static int parse_rules(const struct pc_setting *row, const char *text, void *field)
{
    (void)row;
    struct pc_rule rule;
    int r = pc_rule_parse(text, &rule);
    if (r < 0)
        return r;
    r = pc_rules_add(field, &rule, 0);
    if (r < 0)
        pc_rule_free(&rule);
    return r;
}

static bool equal_rules(const void *a, const void *b)
{
    const struct pc_rule_list *x = a, *y = b;
    if (x->count != y->count)
        return false;
    for (uint32_t i = 0; i < x->count; i++) {
        const struct pc_rule *p = &x->rule[i], *q = &y->rule[i];
        if (memcmp(p->sha256, q->sha256, sizeof p->sha256) != 0 || p->until_s != q->until_s ||
            strcmp(p->under, q->under) != 0)
            return false;
    }
    return true;
}

static void release_rules(void *field)
{
    pc_rules_free(field);
}

static void allowed_rules(const struct pc_setting *row, char *out, size_t cap)
{
    (void)row;
    snprintf(out, cap, "sha256:64-HEX-DIGITS under=/path until=2026-12-31T00:00:00Z (or never); at most %d",
             PC_SETTINGS_RULES_MAX);
}

/* The only TEXT so far is a place for a file: "auto", "none" or an absolute path. */
static int parse_text(const struct pc_setting *row, const char *text, void *field)
{
    (void)row;
    char *copy = NULL;
    int r = 0;
    if (strcmp(text, "auto") == 0 || strcmp(text, "none") == 0)
        r = (copy = strdup(text)) ? 0 : -ENOMEM;
    else
        r = pc_path_clean(text, &copy);
    if (r < 0)
        return r;
    free(*(char **)field);
    *(char **)field = copy;
    return 0;
}

static bool equal_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b) == 0;
}

static void release_text(void *field)
{
    free(*(char **)field);
    *(char **)field = NULL;
}

static void allowed_text(const struct pc_setting *row, char *out, size_t cap)
{
    (void)row;
    snprintf(out, cap, "auto, none or an absolute path");
}

static int replace_text(void *field, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    free(*(char **)field);
    *(char **)field = copy;
    return 0;
}

/* useradd(8): lower-case letters, digits, _ and -; or a number. */
static int parse_name(const struct pc_setting *row, const char *text, void *field)
{
    (void)row;
    size_t n = strlen(text);
    if (n == 0 || n > 32 || text[0] == '-' || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") != n)
        return PC_E_SYNTAX;
    return replace_text(field, text);
}

static void allowed_name(const struct pc_setting *row, char *out, size_t cap)
{
    (void)row;
    snprintf(out, cap, "a user's name or number, at most 32 characters");
}

static int parse_url(const struct pc_setting *row, const char *text, void *field)
{
    static const char *const schemes[] = {"http://", "https://", "socks5h://"};
    (void)row;
    bool good = strcmp(text, "none") == 0;
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t n = strlen(schemes[i]);
        good |= strncmp(text, schemes[i], n) == 0 && text[n] && strcspn(text, " \t\"'<>\\") == strlen(text);
    }
    return good && strlen(text) < 512 ? replace_text(field, text) : PC_E_SYNTAX;
}

static void allowed_url(const struct pc_setting *row, char *out, size_t cap)
{
    (void)row;
    snprintf(out, cap, "none, or http://, https:// or socks5h:// with host and port");
}

/* Words of the enums, in the order of their values. */
static const char *const *words_of(enum pc_setting_type type)
{
    static const char *const mode[] = {"auto", "ahead", "on-open", NULL};
    static const char *const verdict[] = {"freeze", "observe", NULL};
    static const char *const after[] = {"keep", "end", NULL};
    return type == PC_TYPE_MODE ? mode : type == PC_TYPE_VERDICT ? verdict : after;
}

/* All our enums are as wide as unsigned int: gcc and clang make them so when every value fits. */
static int parse_word(const struct pc_setting *row, const char *text, void *field)
{
    const char *const *words = words_of(row->type);
    for (unsigned i = 0; words[i]; i++) {
        if (strcmp(words[i], text) == 0) {
            memcpy(field, &i, sizeof i);
            return 0;
        }
    }
    return PC_E_SYNTAX;
}
_Static_assert(sizeof(enum pc_mode_choice) == sizeof(unsigned) && sizeof(enum pc_verdict_action) == sizeof(unsigned) &&
                   sizeof(enum pc_after_delay) == sizeof(unsigned),
               "parse_word writes an unsigned");

static void allowed_word(const struct pc_setting *row, char *out, size_t cap)
{
    const char *const *words = words_of(row->type);
    size_t at = 0;
    for (unsigned i = 0; words[i] && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%s", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
}

static void release_nothing(void *field)
{
    (void)field;
}

const struct pc_setting_ops pc_setting_ops[PC_TYPE_COUNT] = {
    [PC_TYPE_BOOL] = {false, parse_bool, equal_bool, release_nothing, allowed_bool},
    [PC_TYPE_NUMBER] = {false, parse_number, equal_u32, release_nothing, allowed_number},
    [PC_TYPE_SIZE] = {false, parse_size, equal_u64, release_nothing, allowed_size},
    [PC_TYPE_DURATION] = {false, parse_duration, equal_u64, release_nothing, allowed_duration},
    [PC_TYPE_SHARE] = {false, parse_share, equal_share, release_nothing, allowed_share},
    [PC_TYPE_PATHS] = {true, parse_paths, equal_paths, release_paths, allowed_paths},
    [PC_TYPE_RULES] = {true, parse_rules, equal_rules, release_rules, allowed_rules},
    [PC_TYPE_TEXT] = {false, parse_text, equal_text, release_text, allowed_text},
    [PC_TYPE_NAME] = {false, parse_name, equal_text, release_text, allowed_name},
    [PC_TYPE_URL] = {false, parse_url, equal_text, release_text, allowed_url},
    [PC_TYPE_MODE] = {false, parse_word, equal_u32, release_nothing, allowed_word},
    [PC_TYPE_VERDICT] = {false, parse_word, equal_u32, release_nothing, allowed_word},
    [PC_TYPE_AFTER] = {false, parse_word, equal_u32, release_nothing, allowed_word},
};
