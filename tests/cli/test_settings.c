/* The settings file: what is accepted, what is refused, and in which words. */
#include "agent/settings.h"
#include "agent/settings_table.h"
#include "base/cleanup.h"
#include "base/err.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define LONG_NAME "/abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
#define LONG_PATH LONG_NAME LONG_NAME LONG_NAME LONG_NAME

static int parse(const char *text, struct pc_settings *s, char *err, size_t cap)
{
    return pc_settings_parse("f.conf", text, strlen(text), s, err, cap);
}

static void bad_text_is_refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int result;
        const char *error; /* must be found in the message */
    } cases[] = {
        {"protect = /a\n", PC_E_SYNTAX, "f.conf:1: a key before any section; allowed: after [guard], [preserve]"},
        {"[gard]\n", PC_E_SYNTAX, "f.conf:1: [gard]: unknown section; allowed: [guard], "},
        {"[guard\n", PC_E_SYNTAX, "f.conf:1: [guard: unknown section"},
        {"[]\n", PC_E_SYNTAX, "unknown section"},
        {"[" LONG_NAME "]\n", PC_E_SYNTAX, "unknown section"},
        {"[guard]\n\nprotcet = /a\n", PC_E_SYNTAX, "f.conf:3: [guard] protcet: unknown key; allowed: protect, exclude, mode"},
        {"[guard]\nrate-limit = 3\n", PC_E_SYNTAX, "[guard] rate-limit: unknown key"},
        {"[guard]\nmode = ahead\nmode = auto\n", PC_E_SYNTAX, "f.conf:3: [guard] mode: given twice"},
        {"[guard]\nmode = Ahead\n", PC_E_SYNTAX, "[guard] mode = Ahead: does not parse; allowed: auto, ahead or on-open"},
        {"[guard]\nmode =\n", PC_E_SYNTAX, "allowed: auto, ahead or on-open"},
        {"[guard]\nmode\n", PC_E_SYNTAX, "f.conf:2: not understood"},
        {"[guard]\nwhat\n[gard]\n", PC_E_SYNTAX, "f.conf:2: not understood"},
        {"[gard]\nwhat\n", PC_E_SYNTAX, "f.conf:1: [gard]"},
        {"[guard]\nprotect = relative/path\n", PC_E_SYNTAX, "an absolute path"},
        {"[guard]\nprotect =\n", PC_E_SYNTAX, "an absolute path"},
        {"[guard]\nprotect = /a/../b\n", PC_E_SYNTAX, "an absolute path"},
        {"[guard]\nprotect = /a/.\n", PC_E_SYNTAX, "an absolute path"},
        {"[guard]\nprotect = /a//b\n", PC_E_SYNTAX, "an absolute path"},
        {"[preserve]\nretention = 59\n", PC_E_RANGE, "allowed: a time in seconds, or with ms, s, m, h or d, from 1m to 3650d"},
        {"[preserve]\nretention = 7 d\n", PC_E_SYNTAX, "retention = 7 d: does not parse"},
        {"[preserve]\nretention = -7d\n", PC_E_SYNTAX, "does not parse"},
        {"[preserve]\nretention = 99999999999999999999d\n", PC_E_RANGE, "out of range"},
        {"[preserve]\nspace-budget = 91%\n", PC_E_RANGE, "1% to 90%"},
        {"[preserve]\nspace-budget = 0%\n", PC_E_RANGE, "1% to 90%"},
        {"[preserve]\nspace-budget = %\n", PC_E_SYNTAX, "1% to 90%"},
        {"[preserve]\nspace-budget = 1000%\n", PC_E_RANGE, "1% to 90%"},
        {"[preserve]\ncopy-limit = 2T\n", PC_E_RANGE, "from 0 to 1T"},
        {"[preserve]\ncopy-limit = 1.5M\n", PC_E_SYNTAX, "a size in bytes"},
        {"[preserve]\ncompress = true\n", PC_E_SYNTAX, "yes or no"},
        {"[judge]\nmin-files = 0\n", PC_E_RANGE, "a number from 1 to 1000"},
        {"[judge]\nmin-files = 3 files\n", PC_E_SYNTAX, "a number from 1 to 1000"},
        {"[action]\non-verdict = kill\n", PC_E_SYNTAX, "freeze or observe"},
        {"[limits]\nanswer-deadline = 49ms\n", PC_E_RANGE, "from 50ms to 1s"},
        {"[limits]\nanswer-deadline = 1001ms\n", PC_E_RANGE, "from 50ms to 1s"},
        {"[allow]\nrule = sha256:00 under=/a until=never\n", PC_E_SYNTAX, "sha256:64-HEX-DIGITS"},
        {"[allow]\nrule = sha256:" HEX64 " under=a until=never\n", PC_E_SYNTAX, "sha256:64-HEX-DIGITS"},
        {"[allow]\nrule = sha256:" HEX64 " under=/a\n", PC_E_SYNTAX, "sha256:64-HEX-DIGITS"},
        {"[allow]\nrule = sha256:" HEX64 " until=never under=/a\n", PC_E_SYNTAX, "sha256:64-HEX-DIGITS"},
        {"[allow]\nrule = sha256:" HEX64 " under=/a until=2026-02-31T00:00:00Z\n", PC_E_SYNTAX, "sha256:64-HEX-DIGITS"},
        {"[allow]\nrule = sha256:" HEX64 " under=/a until=2026-12-31\n", PC_E_SYNTAX, "sha256:64-HEX-DIGITS"},
        {"[log]\necs-file = events.json\n", PC_E_SYNTAX, "auto, none or an absolute path"},
        {"[path \"a\"]\n", PC_E_SYNTAX, "[path]: not an absolute path"},
        {"[path /a]\n", PC_E_SYNTAX, "unknown section"},
        {"[path \"\"]\n", PC_E_SYNTAX, "[path]: not an absolute path"},
        {"[path \"/a\"]\nretention = 1d\n", PC_E_SYNTAX, "[path] retention: unknown key; allowed: mode, copy-limit"},
        {"[path \"/a\"]\nmode = auto\nmode = auto\n", PC_E_SYNTAX, "f.conf:3: [path] mode: given twice"},
        {"[path \"/a\"]\n[path \"/a/\"]\n", PC_E_SYNTAX, "f.conf:2: [path \"...\"]: this folder has a section already"},
        {"[guard]\nprotect = /a\x1b[31m/../b\n", PC_E_SYNTAX, "/a\\x1b[31m/../b"},
    };
    for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
        struct pc_settings s;
        char err[512] = "";
        memset(&s, 0x5a, sizeof s);
        struct pc_settings untouched = s;
        int r = parse(cases[i].text, &s, err, sizeof err);
        if (r != cases[i].result || !strstr(err, cases[i].error))
            fail_msg("case %zu: %s\ngave %d, \"%s\"\nwanted %d, \"%s\"", i, cases[i].text, r, err, cases[i].result,
                     cases[i].error);
        assert_memory_equal(&s, &untouched, sizeof s);
    }
}

static void good_text_is_read(void **state)
{
    (void)state;
    static const char text[] = "\xef\xbb\xbf# a comment\n"
                               "; another\r\n"
                               "[guard]\n"
                               "protect = /srv/a/ ; with a comment\n"
                               "  protect=/srv/b:c\n"
                               "\tprotect : " LONG_PATH "   ; long\n"
                               "mode = on-open\n"
                               "[preserve]\n"
                               "retention = 36h\nspace-budget = 5G\nreserve = 7%\ncompress = no\n"
                               "[action]\n"
                               "on-verdict = observe\ndelay = 90m\nafter-delay = end\n"
                               "[guard]\n"
                               "exclude = /\n"
                               "[allow]\n"
                               "rule = sha256:" HEX64 " under=/srv/a b until=2026-12-31T00:00:00Z\n"
                               "rule = sha256:" HEX64 " under=/srv/until=x until=never\n"
                               "[path \"" LONG_PATH "\"]\n"
                               "copy-limit = 1G\n"
                               "[path \"/srv/a\"]\n"
                               "mode = ahead";
    struct pc_settings s;
    char err[512] = "";
    int r = parse(text, &s, err, sizeof err);
    if (r < 0)
        fail_msg("%s", err);
    assert_int_equal(s.protect.count, 3);
    assert_string_equal(s.protect.path[0], "/srv/a");
    assert_string_equal(s.protect.path[1], "/srv/b:c");
    assert_string_equal(s.protect.path[2], LONG_PATH);
    assert_int_equal(s.exclude.count, 1);
    assert_string_equal(s.exclude.path[0], "/");
    assert_int_equal(s.mode, PC_CHOOSE_ON_OPEN);
    assert_int_equal(s.retention_ns, PC_S(36 * 3600));
    assert_int_equal(s.space_budget.bytes, 5ULL << 30);
    assert_int_equal(s.space_budget.percent, 0);
    assert_int_equal(s.reserve.percent, 7);
    assert_false(s.compress);
    assert_int_equal(s.on_verdict, PC_VERDICT_OBSERVE);
    assert_int_equal(s.delay_ns, PC_S(90 * 60));
    assert_int_equal(s.after_delay, PC_AFTER_END);
    assert_int_equal(s.rules.count, 2);
    assert_string_equal(s.rules.rule[0].under, "/srv/a b");
    assert_int_equal(s.rules.rule[0].until_s, 1798675200);
    assert_string_equal(s.rules.rule[1].under, "/srv/until=x");
    assert_int_equal(s.rules.rule[1].until_s, 0);
    assert_int_equal(s.paths.count, 2);

    const struct pc_path_settings *p = pc_settings_for(&s, "/srv/a/x");
    assert_non_null(p);
    assert_true(p->has_mode);
    assert_false(p->has_copy_limit);
    assert_int_equal(p->mode, PC_CHOOSE_AHEAD);
    assert_null(pc_settings_for(&s, "/srv/ab"));
    p = pc_settings_for(&s, LONG_PATH "/y");
    assert_non_null(p);
    assert_int_equal(p->copy_limit_bytes, 1ULL << 30);
    pc_settings_free(&s);
    assert_int_equal(s.protect.count, 0);
}

static void defaults_are_allowed_values(void **state)
{
    (void)state;
    struct pc_settings s;
    assert_int_equal(pc_settings_default(&s), 0);
    assert_int_equal(s.convict_score, 270);
    assert_int_equal(s.min_files, 3);
    assert_int_equal(s.window_ns, PC_S(600));
    assert_int_equal(s.copy_limit_bytes, 256u << 20);
    assert_int_equal(s.space_budget.percent, 10);
    assert_int_equal(s.answer_deadline_ns, PC_MS(500));
    assert_int_equal(s.delay_ns, 0);
    assert_true(s.gate);
    assert_string_equal(s.ecs_file, "auto");
    pc_settings_free(&s);
    /* Each default also survives the parser in its own section, which is what the sample file does. */
    _free_ char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    pc_settings_write_sample(f);
    fclose(f);
    char err[512] = "", names[64];
    if (pc_settings_parse("sample", text, len, &s, err, sizeof err) < 0)
        fail_msg("%s", err);
    struct pc_settings d;
    assert_int_equal(pc_settings_default(&d), 0);
    assert_false(pc_settings_need_restart(&s, &d, names, sizeof names));
    for (size_t i = 0; i < pc_setting_count; i++) {
        const struct pc_setting *row = &pc_setting_rows[i];
        assert_true(pc_setting_ops[row->type].equal((char *)&s + row->offset, (char *)&d + row->offset));
    }
    pc_settings_free(&s);
    pc_settings_free(&d);
}

static void commented_examples_of_the_sample_are_allowed_too(void **state)
{
    (void)state;
    _free_ char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    pc_settings_write_sample(f);
    fclose(f);
    for (char *p = text; (p = strstr(p, "\n#")) != NULL; p += 2)
        if (p[2] != ' ')
            p[1] = ' ';
    struct pc_settings s;
    char err[512] = "";
    if (pc_settings_parse("sample", text, len, &s, err, sizeof err) < 0)
        fail_msg("%s", err);
    assert_int_equal(s.protect.count, 1);
    assert_int_equal(s.exclude.count, 1);
    assert_int_equal(s.rules.count, 1);
    assert_int_equal(s.paths.count, 1);
    pc_settings_free(&s);
}

static void bounds_hold(void **state)
{
    (void)state;
    _free_ char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    fputs("[guard]\n", f);
    for (int i = 0; i <= PC_SETTINGS_PATHS_MAX; i++)
        fprintf(f, "protect = /srv/%d\n", i);
    fclose(f);
    struct pc_settings s;
    char err[512] = "";
    assert_int_equal(pc_settings_parse("f", text, len, &s, err, sizeof err), PC_E_LIMIT);
    assert_non_null(strstr(err, "f:258: [guard] protect = /srv/256: limit reached"));

    _free_ char *big = malloc(PC_SETTINGS_FILE_MAX + 1);
    assert_non_null(big);
    memset(big, '\n', PC_SETTINGS_FILE_MAX + 1);
    assert_int_equal(pc_settings_parse("f", big, PC_SETTINGS_FILE_MAX + 1, &s, err, sizeof err), PC_E_LIMIT);
    assert_int_equal(pc_settings_parse("f", big, PC_SETTINGS_FILE_MAX, &s, err, sizeof err), 0);
    pc_settings_free(&s);

    memset(big, 'x', PC_SETTINGS_FILE_MAX);
    assert_int_equal(pc_settings_parse("f", big, PC_SETTINGS_FILE_MAX, &s, err, sizeof err), PC_E_LIMIT);
    assert_non_null(strstr(err, "f:1: line too long"));
    assert_int_equal(pc_settings_parse("f", "[guard]\nmode = a\0b\n", 19, &s, err, sizeof err), PC_E_SYNTAX);
    assert_non_null(strstr(err, "f:2: a NUL byte"));
    /* A short error buffer is filled, never overrun. */
    char small[8];
    assert_int_equal(pc_settings_parse("f", "[x]\n", 4, &s, small, sizeof small), PC_E_SYNTAX);
    assert_string_equal(small, "f:1: [x");
}

static void load_reads_files_and_says_why_not(void **state)
{
    (void)state;
    struct pc_settings s;
    char err[512] = "", path[] = "/tmp/pc-settings-XXXXXX";
    assert_true(pc_settings_load("/nonexistent/portcullis.conf", &s, err, sizeof err) < 0);
    assert_string_equal(err, "/nonexistent/portcullis.conf: No such file or directory");
    assert_true(pc_settings_load("/", &s, err, sizeof err) < 0);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "[judge]\nmin-files = 7\n", 22), 22);
    close(fd);
    int r = pc_settings_load(path, &s, err, sizeof err);
    unlink(path);
    assert_int_equal(r, 0);
    assert_int_equal(s.min_files, 7);
    pc_settings_free(&s);
}

static void command_line_folders_are_checked_alike(void **state)
{
    (void)state;
    struct pc_settings s;
    char err[256] = "";
    assert_string_equal(pc_setting_rows[0].name, "protect");
    assert_int_equal(pc_settings_default(&s), 0);
    assert_int_equal(pc_settings_protect(&s, "/srv/a/", err, sizeof err), 0);
    assert_int_equal(pc_settings_protect(&s, "/srv/a", err, sizeof err), 0);
    assert_int_equal(s.protect.count, 1);
    assert_int_equal(pc_settings_protect(&s, "srv", err, sizeof err), PC_E_SYNTAX);
    assert_non_null(strstr(err, "--protect srv: does not parse; allowed: an absolute path"));
    pc_settings_free(&s);
}

static void a_command_line_is_followed_or_refused(void **state)
{
    (void)state;
    static const char *const good[] = {"/srv/a", "/srv/b"}, *const bad[] = {"/srv/a", "srv"};
    struct pc_settings s = {.min_files = 4711};
    char err[256];
    assert_true(pc_settings_wanted("/nonexistent/portcullis.conf", good, 2, &s, err, sizeof err) < 0);
    assert_string_equal(err, "/nonexistent/portcullis.conf: No such file or directory");
    assert_int_equal(pc_settings_wanted("/dev/null", bad, 2, &s, err, sizeof err), PC_E_SYNTAX);
    assert_non_null(strstr(err, "--protect srv"));
    assert_int_equal(s.min_files, 4711);
    assert_int_equal(pc_settings_wanted("/dev/null", good, 2, &s, err, sizeof err), 0);
    assert_int_equal(s.protect.count, 2);
    assert_string_equal(s.protect.path[1], "/srv/b");
    pc_settings_free(&s);
}

static void restart_is_asked_for_when_needed(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *names; /* names NULL: no restart */
    } cases[] = {
        {"", "", NULL},
        {"", "[judge]\nmin-files = 9\n[guard]\nprotect = /a\n", NULL},
        {"", "[guard]\nmode = ahead\n[limits]\nactors = 2048\n", "[guard] mode, [limits] actors"},
        {"[path \"/a\"]\nmode = ahead\n", "", "[path] mode"},
        {"", "[path \"/a\"]\nmode = ahead\n", "[path] mode"},
        {"[path \"/a\"]\ncopy-limit = 1M\n", "", NULL},
        {"[path \"/a\"]\nmode = ahead\n", "[path \"/a\"]\nmode = on-open\n", "[path] mode"},
    };
    for (size_t i = 0; i < PC_ARRAY_SIZE(cases); i++) {
        struct pc_settings a, b;
        char err[256], names[128];
        assert_int_equal(parse(cases[i].before, &a, err, sizeof err), 0);
        assert_int_equal(parse(cases[i].after, &b, err, sizeof err), 0);
        assert_int_equal(pc_settings_need_restart(&a, &b, names, sizeof names), cases[i].names != NULL);
        assert_string_equal(names, cases[i].names ? cases[i].names : "");
        pc_settings_free(&a);
        pc_settings_free(&b);
    }
}

static void rules_match_by_program_folder_and_time(void **state)
{
    (void)state;
    struct pc_rule_list list = {0};
    struct pc_rule rule;
    assert_int_equal(pc_rule_parse("sha256:" HEX64 " under=/srv/a until=2026-12-31T00:00:00Z", &rule), 0);
    uint8_t hash[32], other[32] = {0};
    memcpy(hash, rule.sha256, sizeof hash);
    assert_int_equal(pc_rules_add(&list, &rule, 0), 0);
    assert_non_null(pc_rules_match(&list, hash, "/srv/a/b", 1798675199));
    assert_null(pc_rules_match(&list, hash, "/srv/a/b", 1798675200));
    assert_null(pc_rules_match(&list, hash, "/srv/ab", 0));
    assert_null(pc_rules_match(&list, other, "/srv/a/b", 0));
    /* Adding drops what has ended. */
    assert_int_equal(pc_rule_parse("sha256:" HEX64 " under=/srv/b until=never", &rule), 0);
    assert_int_equal(pc_rules_add(&list, &rule, 1798675200), 0);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.rule[0].under, "/srv/b");
    pc_rules_free(&list);
}

static void remembered_rules_come_back(void **state)
{
    (void)state;
    char dir[] = "/tmp/pc-rules-XXXXXX";
    assert_non_null(mkdtemp(dir));
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct pc_rule_list list = {0}, back = {0};
    assert_int_equal(pc_rules_load(fd, &back), 0);
    assert_int_equal(back.count, 0);
    for (int i = 0; i < 3; i++) {
        struct pc_rule rule = {.under = strdup(i == 1 ? "/srv/new\nline \\ \xff" : "/srv/a"), .until_s = (uint64_t)i * 86400};
        assert_non_null(rule.under);
        assert_int_equal(pc_rules_add(&list, &rule, 0), 0);
    }
    assert_int_equal(pc_rules_save(fd, &list), 0);
    assert_int_equal(pc_rules_save(fd, &list), 0);
    struct stat st;
    assert_int_equal(fstatat(fd, "released.rules", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(pc_rules_load(fd, &back), 0);
    assert_int_equal(back.count, 3);
    assert_string_equal(back.rule[1].under, "/srv/new\nline \\ \xff");
    assert_int_equal(back.rule[2].until_s, 2 * 86400);
    pc_rules_free(&back);
    /* A damaged line costs that line. */
    int f = openat(fd, "released.rules", O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_true(f >= 0);
    assert_int_equal(write(f, "rubbish\n", 8), 8);
    close(f);
    assert_int_equal(pc_rules_load(fd, &back), 1);
    assert_int_equal(back.count, 3);
    pc_rules_free(&back);
    pc_rules_free(&list);
    assert_int_equal(unlinkat(fd, "released.rules", 0), 0);
    close(fd);
    assert_int_equal(rmdir(dir), 0);
}

static void manual_names_every_key(void **state)
{
    (void)state;
    _free_ char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    pc_settings_write_manual(f);
    fclose(f);
    for (size_t i = 0; i < pc_setting_count; i++) {
        char line[128];
        size_t at = (size_t)snprintf(line, sizeof line, "\n.B ");
        for (const char *p = pc_setting_rows[i].name; *p; p++)
            at += (size_t)snprintf(line + at, sizeof line - at, *p == '-' ? "\\-" : "%c", *p);
        if (!strstr(text, line))
            fail_msg("no %s in the manual", pc_setting_rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_text_is_refused_in_words),
        cmocka_unit_test(good_text_is_read),
        cmocka_unit_test(defaults_are_allowed_values),
        cmocka_unit_test(commented_examples_of_the_sample_are_allowed_too),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(load_reads_files_and_says_why_not),
        cmocka_unit_test(command_line_folders_are_checked_alike),
        cmocka_unit_test(a_command_line_is_followed_or_refused),
        cmocka_unit_test(restart_is_asked_for_when_needed),
        cmocka_unit_test(rules_match_by_program_folder_and_time),
        cmocka_unit_test(remembered_rules_come_back),
        cmocka_unit_test(manual_names_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
