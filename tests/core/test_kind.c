/* Kinds: made by real compressors and by hand, forged, cut off, and written by real programs where installed. */
#include "base/cleanup.h"
#include "core/kind.h"
#include "tests_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ROOM (1u << 20)
static uint8_t file[2 * ROOM];

static void look(const uint8_t *p, size_t n, struct pc_sight *sight, struct pc_look *out)
{
    struct pc_content c;
    pc_content_plan_one(n, 42, &c);
    for (uint32_t i = 0; i < c.count; i++)
        c.win[i].data = p + c.win[i].off;
    pc_kind_of(&c, sight);
    pc_content_look(&c, out);
}

static const struct {
    const char *made;
    enum pc_kind kind;
    bool packed, textual, opaque;
} table[] = {
    {"text", PC_KIND_TEXT_UTF8, false, true, false}, {"log", PC_KIND_TEXT_UTF8, false, true, false},
    {"random", PC_KIND_UNKNOWN, false, false, true}, {"zeros", PC_KIND_CONSTANT, false, false, false},
    {"gzip", PC_KIND_GZIP, true, false, false},      {"zlib", PC_KIND_ZLIB, true, false, false},
    {"sphinx", PC_KIND_SPHINX, true, false, false},
    {"xz", PC_KIND_XZ, true, false, false},          {"lzma", PC_KIND_LZMA, true, false, false},
    {"bzip2", PC_KIND_BZIP2, true, false, false},    {"zstd", PC_KIND_ZSTD, true, false, false},
    {"zip", PC_KIND_ZIP, true, false, false},        {"docx", PC_KIND_OOXML, true, false, false},
    {"locked-zip", PC_KIND_ZIP_LOCKED, false, false, true}, {"jpeg", PC_KIND_JPEG, true, false, false},
    {"png", PC_KIND_PNG, true, false, false},        {"pdf", PC_KIND_PDF, true, false, false},
    {"sqlite", PC_KIND_SQLITE, false, false, false}, {"pgpages", PC_KIND_PGPAGES, false, false, false},
    {"elf", PC_KIND_ELF, false, false, false},       {"mp3", PC_KIND_MP3, true, false, false},
    {"mp4", PC_KIND_MP4, true, false, false},        {"gpg", PC_KIND_GPG, false, false, true},
    {"openssl", PC_KIND_OPENSSL, false, false, true}, {"binary", PC_KIND_UNKNOWN, false, false, false},
};

static void made_files_are_what_they_are(void **state)
{
    (void)state;
    static const size_t sizes[] = {3000, 20000, 90000, 400000};
    struct pc_sight sight;
    struct pc_look l;
    for (size_t i = 0; i < PC_ARRAY_SIZE(table); i++)
        for (size_t s = 0; s < PC_ARRAY_SIZE(sizes); s++) {
            size_t n = make_file(table[i].made, file, sizes[s], i + s);
            look(file, n, &sight, &l);
            if (l.kind != table[i].kind || l.packed != table[i].packed || l.textual != table[i].textual ||
                (l.opaque >= 50) != table[i].opaque)
                fail_msg("%s of %zu bytes looks like %s, packed %u, text %u, opaque %u", table[i].made, n,
                         pc_kind_name(l.kind), l.packed, l.textual, l.opaque);
        }
}

/* The magic of a packed kind in front of random bytes proves nothing. */
static void a_forged_magic_does_not_pass(void **state)
{
    (void)state;
    static const char *const packed[] = {"gzip", "zlib", "sphinx", "xz", "lzma", "bzip2", "zstd", "jpeg", "png", "mp3", "pdf"};
    uint8_t head[16];
    struct pc_sight sight;
    struct pc_look l;
    for (size_t i = 0; i < PC_ARRAY_SIZE(packed); i++) {
        make_file(packed[i], file, 30000, 5);
        memcpy(head, file, sizeof head);
        make_random(file, 30000, 99 + i);
        memcpy(file, head, strcmp(packed[i], "bzip2") == 0 ? 10 : 4);
        look(file, 30000, &sight, &l);
        if (l.opaque < 50)
            fail_msg("%s magic before noise passes as %s, opaque %u", packed[i], pc_kind_name(l.kind), l.opaque);
    }
}

/* Valid gzip, but what it holds is ciphertext. */
static void ciphertext_stored_in_a_valid_frame_is_seen(void **state)
{
    (void)state;
    static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 0x00, 0x40, 0xff, 0xbf};
    struct pc_sight sight;
    struct pc_look l;
    memcpy(file, head, sizeof head);
    make_random(file + sizeof head, 0x4000, 3);
    look(file, sizeof head + 0x4000, &sight, &l);
    assert_int_equal(l.kind, PC_KIND_GZIP);
    assert_true(sight.random_inside);
    assert_true(l.opaque >= 50);
}

static void texts_in_many_encodings_are_text(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        enum pc_kind kind;
    } texts[] = {
#define T(s, k) {s, sizeof(s) - 1, k}
        T("Stadtverwaltung M\xc3\xbcnchen, Stra\xc3\x9f" "e 12\n", PC_KIND_TEXT_UTF8),
        T("Stadtverwaltung M\xfcnchen, Stra\xdf" "e 12, sch\xf6ne Gr\xfc\xdf" "e\n", PC_KIND_TEXT_8BIT),
        T("\xff\xfeH\0e\0l\0l\0o\0,\0 \0w\0o\0r\0l\0d\0\n\0", PC_KIND_TEXT_UTF16),
        T("\xe5\xb8\x82\xe9\x95\xbf\xe5\xa4\xa7\xe4\xba\xba\n\xe6\x82\xa8\xe5\xa5\xbd\n", PC_KIND_TEXT_UTF8),
        T("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", PC_KIND_PEM),
        T("{\\rtf1 hello this is rich text}\n", PC_KIND_RTF),
        T("<?xml version=\"1.0\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n", PC_KIND_SVG),
        T("From someone@example.org Sat Nov 21 2026\nSubject: x\n\nhello\n", PC_KIND_MAIL),
#undef T
    };
    struct pc_sight sight;
    struct pc_look l;
    for (size_t i = 0; i < PC_ARRAY_SIZE(texts); i++) {
        look((const uint8_t *)texts[i].bytes, texts[i].len, &sight, &l);
        assert_true(l.textual);
        assert_int_equal(l.kind, texts[i].kind);
    }
}

/* Every prefix of every kind: nothing is read past its end (ASan), and the answer is some kind. */
static void cut_off_files_are_harmless(void **state)
{
    (void)state;
    struct pc_sight sight;
    struct pc_look l;
    for (size_t i = 0; i < PC_ARRAY_SIZE(table); i++) {
        size_t n = make_file(table[i].made, file, 2000, i);
        for (size_t cut = 0; cut <= n && cut < 1600; cut += cut < 300 ? 1 : 37) {
            _free_ uint8_t *exact = malloc(cut ? cut : 1);
            assert_non_null(exact);
            memcpy(exact, file, cut);
            look(exact, cut, &sight, &l);
            assert_true(l.kind < PC_KIND_COUNT && l.opaque <= 100);
        }
    }
}

/* {command that writes its output to the file OUT, kind, ciphertext}; skipped when the program is not installed. */
static const struct {
    const char *program, *command;
    enum pc_kind kind;
    bool opaque;
} programs[] = {
    {"gzip", "gzip -9 -c IN > OUT", PC_KIND_GZIP, false},
    {"xz", "xz -9 -c IN > OUT", PC_KIND_XZ, false},
    {"bzip2", "bzip2 -c IN > OUT", PC_KIND_BZIP2, false},
    {"zstd", "zstd -q -19 -c IN > OUT", PC_KIND_ZSTD, false},
    {"lz4", "lz4 -q -c IN > OUT", PC_KIND_LZ4, false},
    {"lzip", "lzip -c IN > OUT", PC_KIND_LZIP, false},
    {"tar", "tar cf OUT IN 2>/dev/null", PC_KIND_TAR, false},
    {"ar", "ar rc OUT IN 2>/dev/null", PC_KIND_AR, false},
    {"zip", "zip -q OUT.zip IN && mv OUT.zip OUT", PC_KIND_ZIP, false},
    {"zip", "zip -q -P x OUT.zip IN && mv OUT.zip OUT", PC_KIND_ZIP_LOCKED, true},
    {"7z", "7z a OUT.7z IN >/dev/null && mv OUT.7z OUT", PC_KIND_SEVENZIP, false},
    {"7z", "7z a -px OUT.7z IN >/dev/null && mv OUT.7z OUT", PC_KIND_SEVENZIP_LOCKED, true},
    {"7z", "7z a -px -mhe OUT.7z IN >/dev/null && mv OUT.7z OUT", PC_KIND_SEVENZIP_LOCKED, true},
    {"openssl", "openssl enc -aes-256-cbc -pbkdf2 -k x -in IN -out OUT", PC_KIND_OPENSSL, true},
    {"openssl", "openssl enc -aes-256-cbc -pbkdf2 -k x -a -in IN -out OUT", PC_KIND_OPENSSL, true},
    {"sqlite3", "sqlite3 OUT 'create table t(a); insert into t values(randomblob(9000));'", PC_KIND_SQLITE, false},
    {"base64", "head -c 9000 /dev/urandom | base64 > OUT", PC_KIND_ENCODED, true},
    {"age-keygen", "age-keygen -o k 2>/dev/null; age -r $(grep -o 'age1.*' k) -o OUT IN", PC_KIND_AGE, true},
};

static bool replace_words(const char *in, char *out, size_t cap, const char *dir)
{
    size_t at = (size_t)snprintf(out, cap, "cd %s && ", dir);
    while (*in && at + 64 < cap) {
        const char *name = strncmp(in, "OUT", 3) == 0 ? "out" : strncmp(in, "IN", 2) == 0 ? "in.txt" : NULL;
        if (name) {
            at += (size_t)snprintf(out + at, cap - at, "%s", name);
            in += name[0] == 'o' ? 3 : 2;
        } else {
            out[at++] = *in++;
        }
    }
    out[at] = 0;
    return *in == 0;
}

static size_t run_program(const char *dir, const char *command)
{
    char text[512], path[128];
    if (!replace_words(command, text, sizeof text, dir) || system(text) != 0)
        return 0;
    snprintf(path, sizeof path, "%s/out", dir);
    _fclose_ FILE *f = fopen(path, "re");
    size_t n = f ? fread(file, 1, ROOM, f) : 0;
    remove(path);
    return n;
}

static void real_programs_are_known_by_their_output(void **state)
{
    (void)state;
    char dir[] = "/tmp/pc-kind-XXXXXX", path[128], command[160];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/in.txt", dir);
    size_t n = make_file("text", file, 30000, 1);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(file, 1, n, f), n);
    fclose(f);
    unsigned tried = 0;
    for (size_t i = 0; i < PC_ARRAY_SIZE(programs); i++) {
        snprintf(command, sizeof command, "command -v %s >/dev/null", programs[i].program);
        if (system(command) != 0)
            continue;
        struct pc_sight sight;
        struct pc_look l;
        n = run_program(dir, programs[i].command);
        assert_true(n > 0);
        look(file, n, &sight, &l);
        tried++;
        if (l.kind != programs[i].kind || (l.opaque >= 50) != programs[i].opaque)
            fail_msg("%s: %s, opaque %u", programs[i].command, pc_kind_name(l.kind), l.opaque);
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
    assert_true(tried >= 3); /* gzip, tar and base64 are everywhere */
}

static void every_kind_has_a_name(void **state)
{
    (void)state;
    for (unsigned k = 0; k < PC_KIND_COUNT; k++)
        assert_true(strlen(pc_kind_name(k)) > 1);
    assert_string_equal(pc_kind_name(60000), "unknown");
    assert_int_equal(pc_kind_flags(60000), 0);
    assert_true(PC_KIND_COUNT > 90);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_files_are_what_they_are),
        cmocka_unit_test(a_forged_magic_does_not_pass),
        cmocka_unit_test(ciphertext_stored_in_a_valid_frame_is_seen),
        cmocka_unit_test(texts_in_many_encodings_are_text),
        cmocka_unit_test(cut_off_files_are_harmless),
        cmocka_unit_test(real_programs_are_known_by_their_output),
        cmocka_unit_test(every_kind_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
