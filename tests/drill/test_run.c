/*
 * What a run does beside damaging: it refuses what is not its own, tells the truth when it is frozen and killed, keeps
 * its rate and its family shape, and has given up its rights. Arguments: the pc-drill program. DRILL_TEST_DIR: where.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MARK "user.portcullis.drill"

static struct rig rig;

/* A run that has announced itself and waits for a line on its standard input. */
struct waiting {
    struct rig_run run;
    char folder[400], key[80];
};

static void start_waiting(struct waiting *w, const char *const *more)
{
    const char *args[32] = {"--dir", rig.dir, "--state-file", rig.log, "--wait", "--keep", "--seed", "5"};
    size_t n = 8;
    while (*more)
        args[n++] = *more++;
    rig_start(&rig, args, &w->run);
    char text[2000] = "";
    size_t used = 0;
    while (!strstr(text, "\nundo: ") && fgets(text + used, (int)(sizeof text - used), w->run.out))
        used = strlen(text);
    rig_field(text, "folder", w->folder, sizeof w->folder);
    rig_field(text, "key", w->key, sizeof w->key);
    assert_int_equal(strlen(w->key), 64);
}

#define START(w, ...) start_waiting(w, (const char *const[]){__VA_ARGS__, NULL})

static void let_go(struct waiting *w)
{
    fputc('\n', w->run.in);
    fflush(w->run.in);
}

static void pause_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* "now" and step of one file of the report; NULL when it is not listed. */
static const char *listed(const json_t *report, const char *path, const char *field)
{
    size_t i;
    json_t *file;
    json_array_foreach(json_object_get(report, "list"), i, file)
        if (strcmp(json_string_value(json_object_get(file, "path")), path) == 0)
            return json_string_value(json_object_get(file, field));
    return NULL;
}

static void undo_and_compare(const struct waiting *w, const struct rig_snap *before)
{
    assert_int_equal(rig_drill(&rig, NULL, 0, "--undo", w->folder, "--key", w->key), 0);
    struct rig_snap after;
    rig_snap(w->folder, &after);
    rig_snap_equal(before, &after);
    rig_snap_free(&after);
    json_t *o = rig_report(&rig, true);
    assert_int_equal(rig_int(o, "now.identical"), before->n);
    json_decref(o);
}

/* ---- refusals ---- */

/* Each replaces or spoils one file of the drill; `foreign` lies outside its folder. */
static void plant_symlink(const char *file, const char *foreign)
{
    assert_int_equal(unlink(file), 0);
    assert_int_equal(symlink(foreign, file), 0);
}

static void plant_hard_link(const char *file, const char *foreign)
{
    assert_int_equal(unlink(file), 0);
    assert_int_equal(link(foreign, file), 0);
}

static void plant_unmarked(const char *file, const char *foreign)
{
    assert_int_equal(removexattr(file, MARK), 0);
}

static void plant_other_run(const char *file, const char *foreign)
{
    assert_int_equal(setxattr(file, MARK, "0123456789abcdef0123456789abcdef", 32, 0), 0);
}

static void plant_second_name(const char *file, const char *foreign)
{
    /* Two: a guard's vault may hold one. */
    char name[320];
    snprintf(name, sizeof name, "%s/second-name", rig.dir);
    assert_int_equal(link(file, name), 0);
    snprintf(name, sizeof name, "%s/third-name", rig.dir);
    assert_int_equal(link(file, name), 0);
}

static void plant_fifo(const char *file, const char *foreign)
{
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkfifo(file, 0600), 0);
}

static void plant_folder(const char *file, const char *foreign)
{
    assert_int_equal(unlink(file), 0);
    assert_int_equal(mkdir(file, 0700), 0);
}

static const struct plant {
    const char *name;
    void (*plant)(const char *file, const char *foreign);
} plants[] = {
    {"symlink", plant_symlink}, {"hard link", plant_hard_link},
    {"unmarked", plant_unmarked}, {"another run's", plant_other_run},
    {"second name", plant_second_name}, {"fifo", plant_fifo},
    {"folder", plant_folder},
};

static void check_only_one_refused(const struct waiting *w, const struct rig_snap *before, const char *victim)
{
    json_t *o = rig_report(&rig, true);
    assert_string_equal(listed(o, victim, "step"), "refused");
    assert_int_equal(rig_int(o, "done"), before->n - 1);
    json_decref(o);
    struct rig_snap after;
    rig_snap(w->folder, &after);
    const struct rig_file *old = rig_snap_find(before, victim, ""), *now = rig_snap_find(&after, victim, "");
    if (now && S_ISREG(now->st.st_mode) && now->st.st_ino == old->st.st_ino)
        assert_memory_equal(old->data, now->data, old->len);
    rig_snap_free(&after);
}

static void refuses_what_is_not_its_own(void **state)
{
    static const char secret[] = "not the drill's\n";
    static const char *const ways[] = {"write", "mmap", "truncate", "o-trunc", "rename-over", "exchange", "hardlink"};
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        struct waiting w = {0};
        struct rig_snap before;
        char foreign[300], file[600], text[64] = {0};
        snprintf(foreign, sizeof foreign, "%s/foreign", rig.dir);
        write_file(foreign, secret, sizeof secret - 1);
        START(&w, "--files", "16", "--size", "4k", "--path", ways[i % (sizeof ways / sizeof *ways)]);
        rig_snap(w.folder, &before);
        snprintf(file, sizeof file, "%s/%s", w.folder, before.file[3].path);
        plants[i].plant(file, foreign);
        let_go(&w);
        assert_int_equal(rig_finish(&w.run, NULL, 0), 1);
        check_only_one_refused(&w, &before, before.file[3].path);
        FILE *f = fopen(foreign, "r");
        assert_non_null(f);
        assert_int_equal(fread(text, 1, sizeof text - 1, f), sizeof secret - 1);
        fclose(f);
        assert_string_equal(text, secret);
        /* what is not its own stays when it tidies up, too */
        if (plants[i].plant != plant_second_name) {
            assert_int_equal(rig_drill(&rig, NULL, 0, "--remove", w.folder), 1);
            struct stat st;
            assert_int_equal(lstat(file, &st), 0);
        }
        rig_snap_free(&before);
        assert_int_equal(unlink(rig.log), 0);
    }
}

static void refuses_a_mount_point(void **state)
{
    struct waiting w = {0};
    struct rig_snap before;
    char foreign[300], file[600];
    snprintf(foreign, sizeof foreign, "%s/foreign", rig.dir);
    write_file(foreign, "x", 1);
    START(&w, "--files", "16", "--size", "4k");
    rig_snap(w.folder, &before);
    snprintf(file, sizeof file, "%s/%s", w.folder, before.file[0].path);
    /* its own file mounted over itself: everything but the mount is right */
    if (mount(file, file, NULL, MS_BIND, NULL) < 0) {
        print_message("skipped: cannot mount (%s)\n", strerror(errno));
        kill(w.run.pid, SIGKILL);
        rig_finish(&w.run, NULL, 0);
        rig_snap_free(&before);
        skip();
    }
    let_go(&w);
    int status = rig_finish(&w.run, NULL, 0);
    assert_int_equal(umount(file), 0);
    assert_int_equal(status, 1);
    check_only_one_refused(&w, &before, before.file[0].path);
    undo_and_compare(&w, &before);
    rig_snap_free(&before);
}

/* A prepared folder is run in only while every byte in it is what the seed makes. */
static void refuses_a_folder_with_other_content(void **state)
{
    char text[400], file[600], other[600];
    struct rig_snap before, after;
    assert_int_equal(rig_drill(&rig, text, sizeof text, "--prepare-only", "--dir", rig.dir, "--files", "16", "--size",
                               "4k"), 0);
    text[strcspn(text, "\n")] = 0;
    rig_snap(text, &before);
    snprintf(file, sizeof file, "%s/%s", text, before.file[9].path);
    int fd = open(file, O_WRONLY);
    assert_int_equal(pwrite(fd, "somebody's work", 15, 100), 15);
    close(fd);
    rig_snap_free(&before);
    rig_snap(text, &before);
    assert_int_equal(rig_drill(&rig, NULL, 0, "--run-only", text, "--settle", "0", "--state-file", rig.log), 1);
    rig_snap(text, &after);
    rig_snap_equal(&before, &after);
    rig_snap_free(&after);
    rig_snap_free(&before);
    snprintf(other, sizeof other, "%s-copy", text);
    assert_int_equal(rename(text, other), 0); /* nor under another name than its own */
    assert_int_equal(rig_drill(&rig, NULL, 0, "--run-only", other, "--settle", "0", "--state-file", rig.log), 1);
    assert_int_equal(rig_drill(&rig, NULL, 0, "--run-only", rig.dir, "--settle", "0", "--state-file", rig.log), 1);
    assert_int_not_equal(access(rig.log, F_OK), 0);
}

/* Records that were tampered with lead nowhere: names come from the seed, never from the manifest. */
static void spoilt_records_are_refused(void **state)
{
    static const struct {
        const char *from, *to;
    } spoils[] = {{"portcullis-drill 1", "portcullis-drill 2"}, {" letters/", " ../etters/"},
                  {" contracts/", " /etc/passwd"},              {" 16\n", " 17\n"},
                  {" 16\n", " 99\n"},                           {".docx", ".doc\n"}};
    char folder[400], path[500], text[8192], spoilt[8192];
    struct rig_snap before, after;
    assert_int_equal(rig_drill(&rig, folder, sizeof folder, "--prepare-only", "--dir", rig.dir, "--files", "16", "--size",
                               "4k"), 0);
    folder[strcspn(folder, "\n")] = 0;
    rig_snap(folder, &before);
    snprintf(path, sizeof path, "%s/drill-manifest", folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    for (size_t i = 0; i < sizeof spoils / sizeof *spoils; i++) {
        const char *at = strstr(text, spoils[i].from);
        assert_non_null(at);
        snprintf(spoilt, sizeof spoilt, "%.*s%s%s", (int)(at - text), text, spoils[i].to, at + strlen(spoils[i].from));
        write_file(path, spoilt, strlen(spoilt));
        assert_int_equal(rig_drill(&rig, NULL, 0, "--run-only", folder, "--settle", "0", "--state-file", rig.log), 1);
        assert_int_equal(rig_drill(&rig, NULL, 0, "--undo", folder), 1);
    }
    for (size_t cut = 0; cut < n - 1; cut += 7) { /* without its last newline it is whole */
        write_file(path, text, cut);
        assert_int_equal(rig_drill(&rig, NULL, 0, "--undo", folder), 1);
    }
    rig_snap(folder, &after);
    rig_snap_equal(&before, &after);
    write_file(path, text, n);
    assert_int_equal(rig_drill(&rig, NULL, 0, "--undo", folder), 0);
    rig_snap_free(&before);
    rig_snap_free(&after);
}

static void wrong_key_changes_nothing(void **state)
{
    struct waiting w = {0};
    struct rig_snap before, damaged, after;
    START(&w, "--files", "16", "--size", "4k");
    rig_snap(w.folder, &before);
    let_go(&w);
    assert_int_equal(rig_finish(&w.run, NULL, 0), 0);
    rig_snap(w.folder, &damaged);
    assert_int_equal(rig_drill(&rig, NULL, 0, "--undo", w.folder, "--key",
                               "0000000000000000000000000000000000000000000000000000000000000000"), 1);
    rig_snap(w.folder, &after);
    rig_snap_equal(&damaged, &after);
    /* run in again only after an undo */
    assert_int_equal(rig_drill(&rig, NULL, 0, "--run-only", w.folder, "--settle", "0"), 1);
    undo_and_compare(&w, &before);
    rig_snap_free(&before);
    rig_snap_free(&damaged);
    rig_snap_free(&after);
}

/* ---- stopping ---- */

static void wait_for_done(int64_t n)
{
    for (;;) {
        json_t *o = rig_report(&rig, false);
        int64_t done = rig_int(o, "done");
        json_decref(o);
        if (done >= n)
            return;
        pause_ms(20);
    }
}

/* Every file the log calls done is damaged; every one it calls not reached is as it was. */
static void check_log_against_disk(json_t *o, const struct rig_snap *before, const char *folder)
{
    struct rig_snap now;
    int64_t done = 0, other = 0;
    rig_snap(folder, &now);
    for (size_t i = 0; i < before->n; i++) {
        const struct rig_file *old = &before->file[i], *file = rig_snap_find(&now, old->path, "");
        const char *step = listed(o, old->path, "step");
        bool same = file->len == old->len && memcmp(file->data, old->data, old->len) == 0;
        done += step && strcmp(step, "done") == 0;
        other += step && strcmp(step, "done") != 0;
        if (step && strcmp(step, "done") == 0)
            assert_false(same);
        if (!step)
            assert_true(same);
    }
    assert_int_equal(done, rig_int(o, "done"));
    assert_int_equal(other, rig_int(o, "in_flight"));
    assert_int_equal(rig_int(o, "waiting"), (int64_t)before->n - done - other);
    assert_true(rig_int(o, "now.damaged") >= done && rig_int(o, "now.damaged") <= done + other);
    rig_snap_free(&now);
}

static void report_of_a_frozen_and_killed_run(void **state)
{
    struct waiting w = {0};
    struct rig_snap before;
    START(&w, "--files", "400", "--size", "8k", "--processes", "16", "--rate", "400");
    rig_snap(w.folder, &before);
    let_go(&w);
    wait_for_done(40);
    assert_int_equal(kill(-w.run.pid, SIGSTOP), 0);
    int status;
    assert_int_equal(waitpid(w.run.pid, &status, WUNTRACED), w.run.pid);
    pause_ms(100); /* workers that are inside a system call finish it */
    json_t *frozen = rig_report(&rig, true);
    assert_int_equal(rig_int(frozen, "files"), 400);
    assert_true(rig_int(frozen, "done") >= 40 && rig_int(frozen, "done") < 400);
    assert_true(json_is_false(json_object_get(frozen, "ended")));
    check_log_against_disk(frozen, &before, w.folder);
    assert_int_equal(kill(-w.run.pid, SIGKILL), 0);
    assert_int_equal(rig_finish(&w.run, NULL, 0), 128 + SIGKILL);
    json_t *dead = rig_report(&rig, true);
    assert_true(json_equal(frozen, dead));
    print_message("frozen at %lld done, %lld in flight, %.1f files/s\n", (long long)rig_int(dead, "done"),
                  (long long)rig_int(dead, "in_flight"), json_real_value(json_object_get(dead, "rate")));
    json_decref(frozen);
    json_decref(dead);
    undo_and_compare(&w, &before);
    rig_snap_free(&before);
}

static void a_released_run_goes_on_to_its_end(void **state)
{
    struct waiting w = {0};
    START(&w, "--files", "200", "--size", "4k", "--processes", "8", "--rate", "200");
    let_go(&w);
    wait_for_done(20);
    assert_int_equal(kill(-w.run.pid, SIGSTOP), 0);
    assert_int_equal(kill(-w.run.pid, SIGCONT), 0);
    assert_int_equal(rig_finish(&w.run, NULL, 0), 0);
    json_t *o = rig_report(&rig, true);
    assert_int_equal(rig_int(o, "done"), 200);
    assert_true(json_is_true(json_object_get(o, "ended")));
    json_decref(o);
}

/* Also shows that the workers have no rights over other people's modes, root or not. */
static void denied_files_count_as_blocked(void **state)
{
    struct waiting w = {0};
    struct rig_snap before;
    char file[600];
    START(&w, "--files", "32", "--size", "4k");
    rig_snap(w.folder, &before);
    for (int i = 0; i < 3; i++) {
        snprintf(file, sizeof file, "%s/%s", w.folder, before.file[i * 5].path);
        assert_int_equal(chmod(file, 0400), 0);
    }
    let_go(&w);
    assert_int_equal(rig_finish(&w.run, NULL, 0), 3);
    json_t *o = rig_report(&rig, true);
    assert_int_equal(rig_int(o, "blocked"), 3);
    assert_int_equal(rig_int(o, "done"), 29);
    assert_int_equal(rig_int(o, "touched"), 29);
    assert_int_equal(rig_int(o, "now.metadata"), 3);
    assert_string_equal(listed(o, before.file[5].path, "step"), "blocked");
    json_decref(o);
    rig_snap_free(&before);
}

static void a_signal_ends_the_run_early(void **state)
{
    struct waiting w = {0};
    START(&w, "--files", "300", "--size", "4k", "--topology", "double-fork", "--rate", "100");
    let_go(&w);
    wait_for_done(5);
    assert_int_equal(kill(w.run.pid, SIGTERM), 0);
    assert_int_equal(rig_finish(&w.run, NULL, 0), 3); /* returns only after the orphans are gone */
    json_t *o = rig_report(&rig, false);
    assert_true(rig_int(o, "done") < 300);
    assert_true(json_is_true(json_object_get(o, "ended")));
    json_decref(o);
}

/* ---- family, rate, rights ---- */

static int64_t proc_field(int64_t pid, const char *name, int base)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%lld/status", (long long)pid);
    FILE *f = fopen(path, "r");
    int64_t v = -1;
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            v = strtoll(line + strlen(name) + 1, NULL, base);
    if (f)
        fclose(f);
    return v;
}

static size_t distinct_pids(const json_t *o, int64_t *any)
{
    int64_t pids[400];
    size_t n = 0, i, k;
    const json_t *file;
    json_array_foreach(json_object_get(o, "list"), i, file) {
        int64_t pid = json_integer_value(json_object_get(file, "pid"));
        for (k = 0; k < n && pids[k] != pid; k++)
            continue;
        if (k == n)
            pids[n++] = pid;
        *any = pid;
    }
    return n;
}

static bool is_worker(const json_t *o, int64_t pid)
{
    size_t i;
    const json_t *file;
    json_array_foreach(json_object_get(o, "list"), i, file)
        if (json_integer_value(json_object_get(file, "pid")) == pid)
            return true;
    return false;
}

static void families_have_the_shape_they_claim(void **state)
{
    static const char *const shapes[] = {"flat", "fork-per-file", "double-fork", "chain"};
    for (size_t i = 0; i < 4; i++) {
        struct waiting w = {0};
        int64_t pid = 0;
        START(&w, "--files", "120", "--size", "4k", "--processes", "5", "--rate", "200", "--topology", shapes[i]);
        let_go(&w);
        wait_for_done(30);
        assert_int_equal(kill(-w.run.pid, SIGSTOP), 0); /* orphans have left the group and go on: alive all the same */
        json_t *o = rig_report(&rig, false);
        size_t pids = distinct_pids(o, &pid);
        int64_t parent = proc_field(pid, "PPid", 10);
        if (i == 0)
            assert_int_equal(parent, w.run.pid);
        if (i == 1)
            assert_true(pids >= 30); /* a process each; the last may have ended by now */
        if (i == 2)
            assert_true(parent != w.run.pid && !is_worker(o, parent));
        if (i == 3)
            assert_true(parent == w.run.pid || is_worker(o, parent));
        if (i != 1) {
            assert_true(pids >= 2 && pids <= 5);
            assert_int_equal(proc_field(pid, "Seccomp", 10), 2);
            assert_int_equal(proc_field(pid, "CapEff", 16), 0);
            assert_int_equal(proc_field(pid, "NoNewPrivs", 10), 1);
        }
        json_decref(o);
        assert_int_equal(kill(-w.run.pid, SIGCONT), 0);
        assert_int_equal(rig_finish(&w.run, NULL, 0), 0);
        o = rig_report(&rig, true);
        assert_int_equal(rig_int(o, "done"), 120);
        assert_int_equal(rig_int(o, "now.damaged"), 120);
        pids = distinct_pids(o, &pid);
        if (i == 1)
            assert_int_equal(pids, 120);
        json_decref(o);
        assert_int_equal(unlink(rig.log), 0);
    }
}

/* The figures are printed, not judged, but for what no slow machine can break: it never goes faster than asked. */
static void rate_with_256_processes(void **state)
{
    static const char *const rates[] = {"704", "0"};
    for (size_t i = 0; i < 2; i++) {
        struct waiting w = {0};
        START(&w, "--files", "704", "--size", "8k", "--processes", "256", "--rate", rates[i]);
        let_go(&w);
        assert_int_equal(rig_finish(&w.run, NULL, 0), 0);
        json_t *o = rig_report(&rig, true);
        assert_int_equal(rig_int(o, "done"), 704);
        assert_int_equal(rig_int(o, "now.damaged"), 704);
        assert_int_equal(rig_int(o, "processes_missing"), 0);
        double rate = json_real_value(json_object_get(o, "rate"));
        print_message("asked %s files/s, reached %.1f\n", rates[i], rate);
        if (i == 0)
            assert_true(json_real_value(json_object_get(o, "last_change_ms")) >= 703 * 1000.0 / 704);
        json_decref(o);
        assert_int_equal(unlink(rig.log), 0);
    }
}

static void notes_are_left_and_taken_back(void **state)
{
    struct waiting w = {0};
    struct rig_snap before, after;
    START(&w, "--files", "32", "--size", "4k", "--notes");
    rig_snap(w.folder, &before);
    let_go(&w);
    assert_int_equal(rig_finish(&w.run, NULL, 0), 0);
    rig_snap(w.folder, &after);
    assert_int_equal(after.n, before.n + 8);
    const struct rig_file *note = rig_snap_find(&after, "letters/READ-ME.pcdrill.txt", "");
    assert_non_null(note);
    assert_memory_equal(note->data, "This is a Portcullis drill", 26);
    rig_snap_free(&after);
    undo_and_compare(&w, &before);
    rig_snap_free(&before);
}

static void a_plain_run_leaves_nothing(void **state)
{
    static char text[65536];
    char folder[400], log[400];
    assert_int_equal(rig_drill(&rig, text, sizeof text, "--dir", rig.dir, "--files", "16", "--settle", "0", "--path",
                               "hardlink"), 0);
    rig_field(text, "folder", folder, sizeof folder);
    rig_field(text, "progress log", log, sizeof log);
    assert_int_not_equal(access(folder, F_OK), 0);
    assert_int_not_equal(access(log, F_OK), 0);
}

static void links_may_come_from_another_folder(void **state)
{
    struct rig_snap left;
    char other[300], folder[400];
    static char text[65536];
    snprintf(other, sizeof other, "%s/other", rig.dir);
    assert_int_equal(mkdir(other, 0700), 0);
    assert_int_equal(rig_drill(&rig, text, sizeof text, "--dir", rig.dir, "--files", "16", "--size", "4k", "--settle",
                               "0", "--path", "hardlink", "--link-dir", other, "--keep", "--state-file", rig.log), 0);
    rig_snap(other, &left);
    assert_int_equal(left.n, 0);
    assert_int_equal(rmdir(other), 0); /* its folder for links is gone, too */
    rig_field(text, "folder", folder, sizeof folder);
    json_t *o = rig_report(&rig, true);
    assert_int_equal(rig_int(o, "now.damaged"), 16);
    json_decref(o);
    assert_int_equal(rig_drill(&rig, NULL, 0, "--remove", folder), 0);
}

static void dry_run_and_mistakes_do_nothing(void **state)
{
    char text[2000];
    assert_int_equal(rig_drill(&rig, text, sizeof text, "--dry-run", "--dir", rig.dir, "--rate", "704"), 0);
    assert_non_null(strstr(text, "704 files a second"));
    assert_int_equal(rig_drill(&rig, NULL, 0, "--pattern", "all"), 2);
    assert_int_equal(rig_drill(&rig, NULL, 0, "--report", rig.errors), 1);
    struct rig_snap s;
    rig_snap(rig.dir, &s);
    assert_int_equal(s.n, 1); /* what it said on stderr */
    rig_snap_free(&s);
}

static int setup(void **state)
{
    rig_init(&rig, rig.program);
    return 0;
}

static int teardown(void **state)
{
    rig_free(&rig);
    return 0;
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(int argc, char **argv)
{
    rig.program = argv[argc - 1];
    const struct CMUnitTest tests[] = {
        TEST(refuses_what_is_not_its_own),
        TEST(refuses_a_mount_point),
        TEST(refuses_a_folder_with_other_content),
        TEST(spoilt_records_are_refused),
        TEST(wrong_key_changes_nothing),
        TEST(report_of_a_frozen_and_killed_run),
        TEST(a_released_run_goes_on_to_its_end),
        TEST(denied_files_count_as_blocked),
        TEST(a_signal_ends_the_run_early),
        TEST(families_have_the_shape_they_claim),
        TEST(rate_with_256_processes),
        TEST(notes_are_left_and_taken_back),
        TEST(a_plain_run_leaves_nothing),
        TEST(links_may_come_from_another_folder),
        TEST(dry_run_and_mistakes_do_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
