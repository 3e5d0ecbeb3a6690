/*
 * Rollback: random histories undone to the last byte of metadata, on xfs, btrfs and ext4; undo; running it twice. Each
 * history comes from its seed, which a failure prints; PC_SEEDS sets how many are tried on each file system.
 */
#include "actor.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char *before_damage; /* fingerprint */

static void print_failures(struct pc_plan *p)
{
    for (uint32_t i = 0; i < pc_plan_count(p); i++) {
        const struct pc_step *st = pc_plan_step(p, i);
        if (st->result || getenv("PC_TRACE"))
            printf("  step %u kind %u %s from %s: %s (%s)\n", i, st->kind, st->path, st->from, pc_strerror(st->result),
                   st->why);
    }
}

static void apply(struct fixture *f, uint64_t incident, bool undo)
{
    struct pc_plan *p = NULL;
    int r = undo ? pc_rollback_undo(f->s, incident, &p) : pc_plan_make(f->s, incident, &p);
    if (r < 0)
        fail_msg("plan: %s", pc_strerror(r));
    r = pc_plan_apply(p, NULL, NULL);
    if (r < 0 || getenv("PC_TRACE"))
        print_failures(p);
    if (r < 0) {
        fail_msg("%s: %s", undo ? "undo" : "apply", pc_strerror(r));
    }
    pc_plan_free(p);
}

/* PC_TRACE=1: what the actor did, to understand a failing seed. */
static int print_act(void *arg, const struct pc_act_rec *a)
{
    static const char *const ops[] = {"?", "modify", "create", "delete", "rename", "replace", "meta"};
    char fh[3][2 * PC_FH_MAX + 1];
    pc_hex(a->fh.data, a->fh.len, fh[0]);
    pc_hex(a->parent.data, a->parent.len, fh[1]);
    pc_hex(a->new_parent.data, a->new_parent.len, fh[2]);
    printf("  %s%s %s at %s/%s -> %s/%s before %llu\n", ops[a->op], a->is_dir ? " dir" : "", fh[0], fh[1], a->name,
           fh[2], a->new_name, (unsigned long long)a->before);
    return 0;
}

static void nothing_left(struct fixture *f, uint64_t incident)
{
    struct pc_plan *p = NULL;
    assert_int_equal(pc_plan_make(f->s, incident, &p), 0);
    for (uint32_t i = 0; i < pc_plan_count(p); i++) {
        const struct pc_step *st = pc_plan_step(p, i);
        if (st->kind != PC_STEP_NOTHING)
            fail_msg("second plan still has step kind %u for %s", st->kind, st->path);
    }
    pc_plan_free(p);
}

static void there_and_back(struct fixture *f, struct actor *a, const char *what)
{
    uint64_t incident = convict(a);
    if (getenv("PC_TRACE"))
        pc_store_incident_acts(f->s, incident, print_act, NULL);
    char *damaged = fingerprint(f);
    apply(f, incident, false);
    char *after = fingerprint(f);
    same_fingerprint(before_damage, after, what);
    nothing_left(f, incident);
    if (strcmp(before_damage, damaged) == 0) { /* a history that cancelled itself out: nothing was rolled back */
        free(damaged);
        free(after);
        return;
    }
    apply(f, incident, true);
    char *undone = fingerprint(f);
    same_fingerprint(damaged, undone, "undo");
    if (getenv("PC_TRACE"))
        printf("# again\n");
    apply(f, incident, false);
    char *again = fingerprint(f);
    same_fingerprint(before_damage, again, "rollback after undo");
    free(damaged);
    free(after);
    free(undone);
    free(again);
}

static void wipe(struct fixture *f)
{
    fixture_close(f);
    run("rm -rf %s/* && chattr -R -i %s/.portcullis/*/objects %s/.portcullis/*/links >/dev/null 2>&1;"
        "find %s -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +",
        f->state, f->mnt, f->mnt, f->mnt);
    fixture_open(f);
}

static void random_histories(void **state)
{
    struct fixture *f = *state;
    const char *n = getenv("PC_SEEDS"), *first = getenv("PC_SEED");
    unsigned seeds = n ? (unsigned)atoi(n) : 3, from = first ? (unsigned)atoi(first) : 1;
    for (unsigned seed = from; seed < from + seeds; seed++) {
        printf("# seed %u\n", seed);
        struct actor a = {f, 1000 + seed, seed * 2654435761u};
        wipe(f);
        random_tree(&a, 40);
        before_damage = fingerprint(f);
        for (unsigned i = 0, ops = 1 + rand_r(&a.seed) % 40; i < ops; i++)
            act_random(&a);
        there_and_back(f, &a, "rollback");
        free(before_damage);
    }
}

/* A child opens the store and applies (or undoes); it is killed after a random time. True when it had finished. */
static bool apply_and_kill(struct fixture *f, uint64_t incident, bool undo, unsigned after_us)
{
    fixture_close(f);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct pc_plan *p = NULL;
        fixture_open(f);
        int r = undo ? pc_rollback_undo(f->s, incident, &p) : pc_plan_make(f->s, incident, &p);
        if (r == 0)
            r = pc_plan_apply(p, NULL, NULL);
        if (r < 0 && p)
            print_failures(p);
        if (r < 0)
            printf("child: %s\n", pc_strerror(r));
        fflush(stdout);
        _exit(r == 0 || (undo && r == PC_E_NOTFOUND) ? 0 : 1);
    }
    usleep(after_us);
    kill(pid, SIGKILL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fixture_open(f);
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        fail_msg("the child failed");
    return WIFEXITED(status);
}

static void survives_kill_at_any_point(void **state)
{
    struct fixture *f = *state;
    unsigned interrupted = 0;
    const char *first = getenv("PC_SEED"), *n = getenv("PC_SEEDS");
    unsigned from = first ? (unsigned)atoi(first) : 300, seeds = n ? (unsigned)atoi(n) : 1;
    for (unsigned seed = from; seed < from + seeds; seed++) {
        struct actor a = {f, 1000 + seed, seed * 2654435761u};
        wipe(f);
        random_tree(&a, 40);
        before_damage = fingerprint(f);
        for (unsigned i = 0; i < 40; i++)
            act_random(&a);
        char *damaged = fingerprint(f);
        uint64_t incident = convict(&a);
        if (getenv("PC_TRACE"))
            pc_store_incident_acts(f->s, incident, print_act, NULL);
        for (unsigned i = 0; i < 5; i++) {
            printf("# seed %u kill %u\n", seed, i);
            interrupted += !apply_and_kill(f, incident, false, 3000 + rand_r(&a.seed) % 60000);
        }
        apply(f, incident, false);
        char *after = fingerprint(f);
        same_fingerprint(before_damage, after, "rollback after kills");
        nothing_left(f, incident);
        for (unsigned i = 0; i < 3; i++)
            interrupted += !apply_and_kill(f, incident, true, 3000 + rand_r(&a.seed) % 60000);
        struct pc_plan *p = NULL;
        if (pc_rollback_undo(f->s, incident, &p) == 0) {
            assert_int_equal(pc_plan_apply(p, NULL, NULL), 0);
            pc_plan_free(p);
        }
        char *undone = fingerprint(f);
        same_fingerprint(damaged, undone, "undo after kills");
        apply(f, incident, false);
        char *again = fingerprint(f);
        same_fingerprint(before_damage, again, "rollback after undo, after kills");
        free(damaged);
        free(after);
        free(undone);
        free(again);
        free(before_damage);
    }
    assert_true(interrupted > 0); /* else this tested nothing */
}

static void others_work_is_kept(void **state)
{
    struct fixture *f = *state;
    struct actor bad = {f, 1, 1}, good = {f, 2, 2};
    char text[64] = "";
    put_file(f, "report", "original");
    put_file(f, "other", "original too");
    capture_tree(f);
    act_write(&bad, "report", "ENCRYPTED", 9, -1);
    act_write(&bad, "other", "ENCRYPTED", 9, -1);
    act_write(&good, "report", "written anew by its owner", 25, -1);
    uint64_t incident = convict(&bad);
    struct pc_plan *p = NULL;
    assert_int_equal(pc_plan_make(f->s, incident, &p), 0);
    assert_int_equal(pc_plan_apply(p, NULL, NULL), PC_E_UNVERIFIED);
    unsigned changed = 0;
    for (uint32_t i = 0; i < pc_plan_count(p); i++)
        changed += pc_plan_step(p, i)->result == PC_E_CHANGED;
    assert_int_equal(changed, 1);
    pc_plan_free(p);
    const struct {
        const char *name, *want;
    } files[] = {
        {"report", "written anew by its owner"}, {"report.portcullis-restored", "original"}, {"other", "original too"}};
    for (size_t i = 0; i < PC_ARRAY_SIZE(files); i++) {
        _close_ int fd = openat(f->root, files[i].name, O_RDONLY);
        assert_true(fd >= 0);
        memset(text, 0, sizeof text);
        assert_true(read(fd, text, sizeof text - 1) > 0);
        assert_string_equal(text, files[i].want);
    }
}

/* Written through a link that the actor made, and nothing was kept of it: that is no rollback without a fault. */
static void what_cannot_be_had_is_a_failure(void **state)
{
    struct fixture *f = *state;
    struct actor bad = {f, 1, 1};
    struct pc_fh report;
    if (pc_store_can_clone(f->s, f->vol))
        skip();
    put_file(f, "report", "original");
    capture_tree(f);
    report = fh_of(f, "report");
    act_link(&bad, "report", "second");
    struct pc_act_rec written = {.time_ns = pc_real_ns(), .actor = bad.id, .op = 1, .vol = f->vol, .score = 90};
    struct pc_known k;
    assert_int_equal(pc_store_lookup(f->s, f->vol, &report, &k), 0);
    written.fh = report;
    written.parent = fh_of(f, ".");
    snprintf(written.name, sizeof written.name, "second");
    written.before = k.version;
    put_file(f, "second", "cipher\1\2"); /* of the same size */
    assert_int_equal(pc_store_record_act(f->s, &written, NULL), 0);
    capture(f, "second");
    uint64_t incident = convict(&bad);
    struct pc_plan *p = NULL;
    assert_int_equal(pc_plan_make(f->s, incident, &p), 0);
    assert_int_equal(pc_plan_apply(p, NULL, NULL), PC_E_UNVERIFIED);
    pc_plan_free(p);
}

/* Overwrites on the disk, beneath the file system, every block that begins with these words. How many. */
static unsigned spoil_blocks(const struct fixture *f, const char *words)
{
    char cmd[200], device[64] = "", block[4096];
    unsigned n = 0;
    snprintf(cmd, sizeof cmd, "findmnt -n -o SOURCE %s", f->mnt);
    FILE *p = popen(cmd, "r");
    assert_non_null(p);
    assert_int_equal(fscanf(p, "%63s", device), 1);
    pclose(p);
    run("sync -f %s", f->mnt);
    _close_ int fd = open(device, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = 0; pread(fd, block, sizeof block, at) == (ssize_t)sizeof block; at += (off_t)sizeof block) {
        if (memcmp(block, words, strlen(words)) != 0)
            continue;
        assert_int_equal(pwrite(fd, "spoilt", 6, at), 6);
        n++;
    }
    assert_int_equal(fsync(fd), 0);
    return n;
}

/* A disk that cannot give back one file is no reason to leave the others destroyed. */
static void one_bad_block_costs_one_file(void **state)
{
    struct fixture *f = *state;
    struct actor bad = {f, 1, 1};
    static char text[16 * 4096 + 1];
    if (strcmp(f->fs, "btrfs") != 0)
        skip(); /* knows of a bad block without the device's help, by its checksum */
    for (size_t at = 0; at + 1 < sizeof text; at += 32)
        memcpy(text + at, "this is where the disk is broken", 32);
    put_file(f, "a", "the first one");
    put_file(f, "broken", text);
    put_file(f, "c", "the last one");
    capture_tree(f);
    assert_true(spoil_blocks(f, "this is where the disk is broken") >= 16);
    static char cipher[sizeof text - 1];
    act_write(&bad, "a", "cipher\1\2\3\4\5\6\7", 13, 0);
    act_write(&bad, "broken", cipher, sizeof cipher, 0); /* of the same size: both have to be read */
    act_write(&bad, "c", "cipher\1\2\3\4\5\6", 12, 0);
    uint64_t incident = convict(&bad);
    struct pc_plan *p = NULL;
    assert_int_equal(pc_plan_make(f->s, incident, &p), 0);
    assert_int_equal(pc_plan_apply(p, NULL, NULL), PC_E_UNVERIFIED);
    unsigned failed = 0;
    for (uint32_t i = 0; i < pc_plan_count(p); i++)
        failed += pc_plan_step(p, i)->result < 0;
    assert_int_equal(failed, 1);
    pc_plan_free(p);
    char first[20] = "", last[20] = "";
    _close_ int a = openat(f->root, "a", O_RDONLY), c = openat(f->root, "c", O_RDONLY);
    assert_true(read(a, first, sizeof first - 1) > 0 && read(c, last, sizeof last - 1) > 0);
    assert_string_equal(first, "the first one");
    assert_string_equal(last, "the last one");
}

/* The walk after a restart finds the attack's last writes: destroyed, by nobody that was seen. An edit is another matter. */
static void destruction_by_nobody_is_nobodys_work(void **state)
{
    struct fixture *f = *state;
    struct actor bad = {f, 1, 1};
    put_file(f, "report", "original");
    put_file(f, "edited", "original too");
    capture_tree(f);
    for (int last = 0; last < 2; last++) {
        const char *name = last ? "edited" : "report";
        struct pc_act_rec found = {.time_ns = pc_real_ns(), .op = 1, .vol = f->vol, .score = last ? 0 : 90};
        act_write(&bad, name, "ENCRYPTED", 9, -1);
        found.fh = fh_of(f, name);
        found.parent = fh_of(f, ".");
        snprintf(found.name, sizeof found.name, "%s", name);
        put_file(f, name, "ENCRYPTED TO ITS END");
        assert_int_equal(pc_store_record_act(f->s, &found, NULL), 0);
        capture(f, name);
    }
    struct pc_plan *p = NULL;
    assert_int_equal(pc_plan_make(f->s, convict(&bad), &p), 0);
    assert_int_equal(pc_plan_apply(p, NULL, NULL), PC_E_UNVERIFIED);
    for (uint32_t i = 0; i < pc_plan_count(p); i++) {
        const struct pc_step *st = pc_plan_step(p, i);
        assert_int_equal(st->result, strstr(st->path, "edited") ? PC_E_CHANGED : 0);
    }
    pc_plan_free(p);
}

/* What it had laid out before the attack stays, also where the walk knew the new folder before its own event was read. */
static void own_earlier_work_stays(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 5, 5};
    assert_int_equal(mkdirat(f->root, "laid-out", 0755), 0);
    capture(f, "laid-out");
    struct pc_act_rec made = {.time_ns = pc_real_ns(), .actor = a.id, .op = 2, .is_dir = true, .vol = f->vol};
    made.fh = fh_of(f, "laid-out");
    made.parent = fh_of(f, ".");
    snprintf(made.name, sizeof made.name, "laid-out");
    assert_int_equal(pc_store_record_act(f->s, &made, NULL), 0);
    act_create(&a, "laid-out/one", "its own text");
    act_create(&a, "laid-out/two", "its own text, too");
    char *laid_out = fingerprint(f);
    struct pc_incident inc = {.started_ns = pc_real_ns() + 2000000000ULL, .state = PC_INC_FROZEN, .root = a.id};
    assert_int_equal(pc_store_incident_open(f->s, &inc), 0);
    assert_int_equal(pc_store_incident_add_process(f->s, inc.id, a.id), 0);
    apply(f, inc.id, false);
    char *after = fingerprint(f);
    same_fingerprint(laid_out, after, "earlier work");
    free(laid_out);
    free(after);
}

/* An archiver's own file, never preserved whole: renamed and then gone, or renamed and there. Neither can fail a rollback. */
static void own_temporary_needs_nothing(void **state)
{
    struct fixture *f = *state;
    const uint64_t early = 1000000000, late = early + 3000000000ULL;
    put_file(f, "document", "its content");
    capture_tree(f);
    char *before = fingerprint(f);
    for (int there = 0; there < 2; there++) {
        struct pc_act_rec a = {.time_ns = early, .actor = 6, .op = 2, .vol = f->vol};
        const char *name = there ? "kept.zip" : "gone.zip";
        put_file(f, name, "half an archive");
        a.fh = fh_of(f, name);
        a.parent = a.new_parent = fh_of(f, ".");
        snprintf(a.name, sizeof a.name, "ziTMP%d", there);
        assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0);
        a.time_ns = late;
        a.op = 4;
        snprintf(a.new_name, sizeof a.new_name, "%s", name);
        assert_int_equal(pc_store_record_act(f->s, &a, NULL), 0);
        if (!there)
            assert_int_equal(unlinkat(f->root, name, 0), 0);
    }
    struct pc_incident inc = {.started_ns = late - 1, .state = PC_INC_FROZEN, .root = 6};
    assert_int_equal(pc_store_incident_open(f->s, &inc), 0);
    assert_int_equal(pc_store_incident_add_process(f->s, inc.id, 6), 0);
    apply(f, inc.id, false);
    char *after = fingerprint(f);
    same_fingerprint(before, after, "temporary");
    free(before);
    free(after);
}

static void flags_acls_and_capabilities(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 7, 7};
    assert_int_equal(mkdirat(f->root, "d", 0755), 0);
    put_file(f, "d/acl", "with an acl");
    put_file(f, "d/setuid", "setuid");
    put_file(f, "d/empty", "");
    put_file(f, "d/immutable", "cannot be changed");
    run("setfacl -m u:1234:rw,g:99:r %s/d/acl && setfacl -d -m u:55:rwx %s/d && chown 12:34 %s/d/setuid && chmod 6755 "
        "%s/d/setuid && "
        "setfattr -n trusted.mark -v yes %s/d/setuid && setfattr -n security.mark -v yes %s/d/empty && chattr +i "
        "%s/d/immutable",
        f->mnt, f->mnt, f->mnt, f->mnt, f->mnt, f->mnt, f->mnt);
    run("truncate -s 64M %s/d/sparse && printf end | dd of=%s/d/sparse bs=1M seek=63 conv=notrunc status=none", f->mnt,
        f->mnt);
    run("mknod %s/d/null c 1 3", f->mnt);
    capture_tree(f);
    before_damage = fingerprint(f);
    run("chattr -i %s/d/immutable", f->mnt);
    act_chmod(&a, "d/immutable", 0600);
    const char *const files[] = {"d/acl", "d/setuid", "d/empty", "d/immutable"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(files); i++) {
        act_write(&a, files[i], "XXXX", 4, -1);
        act_chmod(&a, files[i], 0666);
    }
    act_write(&a, "d/sparse", "XXXX", 4, -1);
    act_delete(&a, "d/null");
    act_delete(&a, "d/acl");
    act_create(&a, "d/note", "pay");
    act_chmod(&a, "d", 0700);
    run("chattr +i %s/d/note %s/d/setuid && chattr +a %s/d", f->mnt, f->mnt,
        f->mnt); /* part of the same acts on them */
    there_and_back(f, &a, "rollback");
    run("chattr -i %s/d/immutable", f->mnt);
    run("test $(stat -c %%b %s/d/sparse) -lt 100", f->mnt);
    free(before_damage);
}

/* On one file system only, and without fingerprints: hashing zeros is what takes the time. */
static void beyond_four_gib(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 8, 8};
    struct stat st;
    char tail[4] = "";
    if (strcmp(f->fs, "xfs") != 0)
        skip();
    run("truncate -s 5G %s/big && printf end | dd of=%s/big bs=1M seek=5119 conv=notrunc status=none", f->mnt, f->mnt);
    capture_tree(f);
    act_write(&a, "big", "ENCRYPTED", 9, -1);
    apply(f, convict(&a), false);
    _close_ int fd = openat(f->root, "big", O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 5LL << 30);
    assert_true(st.st_blocks < 100);
    assert_int_equal(pread(fd, tail, 3, 5119LL << 20), 3);
    assert_string_equal(tail, "end");
}

static void what_went_aside_goes_with_the_retention(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 4, 4};
    put_file(f, "doc", "precious");
    capture_tree(f);
    act_write(&a, "doc", "ENCRYPTED", 9, -1);
    act_mkdir(&a, "junk");
    act_mkdir(&a, "junk/deep");
    act_create(&a, "junk/deep/note", "pay");
    run("chattr +i %s/junk/deep/note", f->mnt);
    uint64_t incident = convict(&a);
    apply(f, incident, false);
    run("test $(ls %s/.portcullis/*/aside | wc -l) -ge 2", f->mnt);
    uint64_t later = pc_real_ns() + f->opts.retention_ns + PC_NS_PER_S;
    int r;
    while ((r = pc_store_tend(f->s, later, PC_NS_PER_MS)) > 0)
        ;
    assert_int_equal(r, 0);
    run("test $(ls %s/.portcullis/*/aside | wc -l) -ge 2", f->mnt); /* the incident is still open */
    struct pc_incident inc;
    assert_int_equal(pc_store_incident_get(f->s, incident, &inc), 0);
    inc.state = PC_INC_ROLLED_BACK;
    assert_int_equal(pc_store_incident_update(f->s, &inc), 0);
    while ((r = pc_store_tend(f->s, later, PC_NS_PER_MS)) > 0)
        ;
    assert_int_equal(r, 0);
    run("test $(ls %s/.portcullis/*/aside | wc -l) -eq 0", f->mnt);
    run("test \"$(cat %s/doc)\" = precious", f->mnt);
}

static uint64_t rolled_back(struct fixture *f, struct actor *a)
{
    uint64_t incident = convict(a);
    struct pc_incident inc;
    apply(f, incident, false);
    assert_int_equal(pc_store_incident_get(f->s, incident, &inc), 0);
    inc.state = PC_INC_ROLLED_BACK;
    assert_int_equal(pc_store_incident_update(f->s, &inc), 0);
    return incident;
}

/* A tree too deep to be removed stays in aside/; what went aside after it goes, and so do old versions. */
static void what_cannot_go_holds_up_nothing(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 4, 4}, b = {f, 5, 5};
    put_file(f, "doc", "precious");
    put_file(f, "old", "of last year");
    capture_tree(f);
    put_file(f, "old", "of this year");
    capture(f, "old");
    act_mkdir(&a, "junk");
    run("d=%s/junk; for i in $(seq 90); do d=$d/d; done; mkdir -p $d", f->mnt);
    rolled_back(f, &a);
    act_write(&b, "doc", "ENCRYPTED", 9, -1);
    rolled_back(f, &b);
    run("test $(ls %s/.portcullis/*/aside | wc -l) -eq 2", f->mnt);
    struct pc_store_stats was, now;
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &was), 0);
    uint64_t later = pc_real_ns() + f->opts.retention_ns + PC_NS_PER_S;
    bool told = false;
    for (int i = 0; i < 2000; i++) /* as many turns as a slow machine needs; each is a millisecond at most */
        told |= pc_store_tend(f->s, later, PC_NS_PER_MS) == PC_E_LIMIT;
    assert_true(told);
    run("test $(ls %s/.portcullis/*/aside | wc -l) -eq 1", f->mnt);
    assert_int_equal(pc_store_volume_stats(f->s, f->vol, &now), 0);
    assert_true(now.versions < was.versions);
}

static void full_disk_stops_cleanly(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 9, 9};
    char name[32];
    if (pc_store_can_clone(f->s, f->vol))
        skip(); /* a clone needs no room; see ext4 */
    static char big[1 << 20];
    memset(big, 'o', sizeof big);
    for (int i = 0; i < 24; i++) {
        snprintf(name, sizeof name, "f%d", i);
        _close_ int fd = openat(f->root, name, O_WRONLY | O_CREAT, 0644);
        assert_int_equal(write(fd, big, sizeof big), (ssize_t)sizeof big);
    }
    capture_tree(f);
    before_damage = fingerprint(f);
    memset(big, 'x', sizeof big);
    for (int i = 0; i < 24; i++) {
        snprintf(name, sizeof name, "f%d", i);
        act_write(&a, name, big, sizeof big, 0);
    }
    uint64_t incident = convict(&a);
    run("dd if=/dev/zero of=%s/ballast bs=1M status=none 2>/dev/null; truncate -s -5M %s/ballast; sync", f->mnt,
        f->mnt);
    struct pc_plan *p = NULL;
    assert_int_equal(pc_plan_make(f->s, incident, &p), 0);
    assert_int_equal(pc_plan_apply(p, NULL, NULL), -ENOSPC);
    pc_plan_free(p);
    run("ls %s | grep -v -E '^(f[0-9]+|ballast|lost.found)$' && exit 1 || exit 0",
        f->mnt);                   /* nothing half-written is visible */
    for (int i = 0; i < 24; i++) { /* each file is whole: old or damaged */
        struct stat st;
        snprintf(name, sizeof name, "f%d", i);
        assert_int_equal(fstatat(f->root, name, &st, 0), 0);
        assert_int_equal(st.st_size, sizeof big);
    }
    run("rm %s/ballast", f->mnt);
    apply(f, incident, false);
    char *after = fingerprint(f);
    same_fingerprint(before_damage, after, "rollback once there was room");
    free(after);
    free(before_damage);
}

static void one_file_is_restored(void **state)
{
    struct fixture *f = *state;
    struct actor a = {f, 3, 3};
    struct pc_step done;
    char text[32] = "";
    put_file(f, "doc", "version 1");
    capture(f, "doc");
    struct pc_fh dir = fh_of(f, ".");
    act_write(&a, "doc", "version 2", 9, -1);
    assert_int_equal(pc_restore_path(f->s, f->vol, &dir, "doc", "/p/doc", 0, -1, NULL, &done), 0);
    _close_ int fd = openat(f->root, "doc", O_RDONLY);
    assert_int_equal(read(fd, text, sizeof text), 9);
    assert_string_equal(text, "version 1");
    assert_int_equal(done.result, 0);
    assert_int_equal(pc_restore_path(f->s, f->vol, &dir, "doc", "/p/doc", 0, f->root, "copy", &done), 0);
    _close_ int copy = openat(f->root, "copy", O_RDONLY);
    assert_int_equal(read(copy, text, sizeof text), 9);
    assert_string_equal(text, "version 2");
    _close_ int elsewhere = open(f->dir, O_RDONLY | O_DIRECTORY);
    assert_int_equal(pc_restore_path(f->s, f->vol, &dir, "doc", "/p/doc", 0, elsewhere, "out", &done), 0);
    assert_int_equal(pc_restore_path(f->s, f->vol, &dir, "nothing", "/p/nothing", 0, -1, NULL, &done), PC_E_NOTFOUND);
}

static void content_is(const struct fixture *f, const char *path, const char *want)
{
    char text[64] = "";
    _close_ int fd = openat(f->root, path, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, text, sizeof text - 1) >= 0);
    assert_string_equal(text, want);
}

static int undo(struct fixture *f, uint64_t incident)
{
    struct pc_plan *p = NULL;
    assert_int_equal(pc_rollback_undo(f->s, incident, &p), 0);
    int r = pc_plan_apply(p, NULL, NULL);
    pc_plan_free(p);
    return r;
}

/* A folder that the rollback made again is its owner's as soon as there is something of theirs in it. */
static void undo_leaves_folders_in_use(void **state)
{
    struct fixture *f = *state;
    struct actor bad = {f, 1, 1};
    run("mkdir -p %s/d/in %s/swapped", f->mnt, f->mnt);
    put_file(f, "d/in/report", "original");
    put_file(f, "swapped/plan", "original too");
    capture_tree(f);
    act_delete(&bad, "d/in/report");
    act_delete(&bad, "d/in");
    act_delete(&bad, "d");
    act_delete(&bad, "swapped/plan");
    act_delete(&bad, "swapped");
    act_create(&bad, "swapped", "a note");
    uint64_t incident = convict(&bad);
    apply(f, incident, false);
    content_is(f, "d/in/report", "original");
    content_is(f, "swapped/plan", "original too");
    put_file(f, "d/in/later", "their work of today");
    put_file(f, "swapped/later", "and of tomorrow");
    assert_int_equal(undo(f, incident), PC_E_UNVERIFIED);
    content_is(f, "d/in/later", "their work of today");
    content_is(f, "swapped/later", "and of tomorrow");
    run("rm %s/d/in/later %s/swapped/later", f->mnt, f->mnt);
    assert_int_equal(undo(f, incident), 0);
    assert_int_equal(faccessat(f->root, "d", F_OK, 0), -1);
    content_is(f, "swapped", "a note");
}

static void count_breath(void *arg)
{
    ++*(unsigned *)arg;
}

/* Whoever watches the thread learns that it lives: while one large file is compared and copied, and for each of many. */
static void long_work_shows(void **state)
{
    struct fixture *f = *state;
    struct actor bad = {f, 1, 1};
    enum { MIB = 1 << 20, SIZE = 8 * MIB, CHUNK = 128 << 10 };
    char *data = calloc(1, SIZE);
    unsigned breaths = 0;
    assert_non_null(data);
    for (int i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 + i / 1000);
    put_file(f, "large", "");
    _close_ int fd = openat(f->root, "large", O_WRONLY);
    assert_int_equal(write(fd, data, SIZE), SIZE);
    capture_tree(f);
    memset(data + SIZE - CHUNK, 'x', CHUNK); /* nobody knows before all of it was compared */
    act_write(&bad, "large", data, SIZE, -1);
    free(data);
    uint64_t incident = convict(&bad);
    struct pc_plan *p = NULL;
    pc_store_breathe(count_breath, &breaths);
    int r = pc_plan_make(f->s, incident, &p);
    unsigned planned = breaths;
    if (r == 0)
        r = pc_plan_apply(p, NULL, NULL);
    pc_store_breathe(NULL, NULL);
    pc_plan_free(p);
    assert_int_equal(r, 0);
    assert_true(planned >= SIZE / CHUNK);
    assert_true(breaths - planned >= SIZE / CHUNK);
}

static int all_tests(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(random_histories),        T(survives_kill_at_any_point), T(others_work_is_kept), T(what_cannot_be_had_is_a_failure), T(one_bad_block_costs_one_file),
        T(flags_acls_and_capabilities),
        T(destruction_by_nobody_is_nobodys_work), T(own_earlier_work_stays),
        T(own_temporary_needs_nothing),
        T(full_disk_stops_cleanly), T(beyond_four_gib),            T(one_file_is_restored),
        T(what_went_aside_goes_with_the_retention),
        T(undo_leaves_folders_in_use), T(long_work_shows),         T(what_cannot_go_holds_up_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return fixture_on_each_fs(all_tests);
}
