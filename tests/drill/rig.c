/* Owns running the drill from tests and reading back what it left. Uses none of the drill's own code. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

void rig_init(struct rig *r, const char *program)
{
    const char *base = getenv("DRILL_TEST_DIR");
    *r = (struct rig){.program = program};
    snprintf(r->dir, sizeof r->dir, "%s/drill-test-XXXXXX", base ? base : ".");
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->errors, sizeof r->errors, "%s/stderr", r->dir);
    snprintf(r->log, sizeof r->log, "%s/progress", r->dir);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void rig_free(struct rig *r)
{
    assert_int_equal(nftw(r->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT), 0);
}

void rig_start(const struct rig *r, const char *const *args, struct rig_run *run)
{
    char *argv[40] = {(char *)r->program};
    for (size_t i = 0; args[i]; i++) {
        assert_true(i + 2 < sizeof argv / sizeof *argv);
        argv[i + 1] = (char *)args[i];
    }
    int in[2], out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    run->pid = fork();
    assert_true(run->pid >= 0);
    if (run->pid == 0) {
        setpgid(0, 0);
        dup2(in[0], 0);
        dup2(out[1], 1);
        /* kept beside the files, not shown */
        dup2(open(r->errors, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), 2);
        execv(r->program, argv);
        _exit(127);
    }
    setpgid(run->pid, run->pid);
    close(in[0]);
    close(out[1]);
    run->in = fdopen(in[1], "w");
    run->out = fdopen(out[0], "r");
    assert_non_null(run->in);
    assert_non_null(run->out);
}

int rig_finish(struct rig_run *run, char *out, size_t cap)
{
    size_t got = 0;
    char rest[4096];
    fclose(run->in);
    while (out && got + 1 < cap) {
        size_t n = fread(out + got, 1, cap - 1 - got, run->out);
        if (n == 0)
            break;
        got += n;
    }
    if (out)
        out[got] = 0;
    while (fread(rest, 1, sizeof rest, run->out) > 0)
        continue;
    fclose(run->out);
    int status;
    assert_int_equal(waitpid(run->pid, &status, 0), run->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int rig_drill_list(const struct rig *r, char *out, size_t cap, const char *const *args)
{
    struct rig_run run;
    rig_start(r, args, &run);
    return rig_finish(&run, out, cap);
}

void rig_field(const char *text, const char *label, char *out, size_t cap)
{
    char head[64];
    snprintf(head, sizeof head, "%s: ", label);
    const char *at = strncmp(text, head, strlen(head)) == 0 ? text : NULL;
    if (!at) {
        snprintf(head, sizeof head, "\n%s: ", label);
        at = strstr(text, head);
    }
    assert_non_null(at);
    at += strlen(head);
    snprintf(out, cap, "%.*s", (int)strcspn(at, "\n"), at);
}

json_t *rig_report(const struct rig *r, bool verify)
{
    size_t cap = 4 << 20;
    char *text = malloc(cap);
    assert_non_null(text);
    int status = rig_drill(r, text, cap, "--report", r->log, "--json", verify ? "--verify" : NULL);
    assert_true(status == 0 || (verify && status == 5));
    json_t *o = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(o);
    return o;
}

int64_t rig_int(const json_t *report, const char *name)
{
    const char *dot = strchr(name, '.');
    if (dot) {
        char first[32];
        snprintf(first, sizeof first, "%.*s", (int)(dot - name), name);
        report = json_object_get(report, first);
        name = dot + 1;
    }
    const json_t *v = json_object_get(report, name);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

/* ---- snapshots ---- */

static struct rig_snap *walked;
static size_t walked_base;

static int add_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const char *inside = path + walked_base;
    if (type == FTW_D || strcmp(inside, "drill-manifest") == 0 || strcmp(inside, "drill-run") == 0)
        return 0;
    walked->file = realloc(walked->file, (walked->n + 1) * sizeof *walked->file);
    assert_non_null(walked->file);
    struct rig_file *f = &walked->file[walked->n++];
    *f = (struct rig_file){.st = *st};
    snprintf(f->path, sizeof f->path, "%s", inside);
    if (!S_ISREG(st->st_mode))
        return 0;
    FILE *in = fopen(path, "r");
    assert_non_null(in);
    f->len = (size_t)st->st_size;
    f->data = malloc(f->len + 1);
    assert_non_null(f->data);
    assert_int_equal(fread(f->data, 1, f->len + 1, in), f->len);
    fclose(in);
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct rig_file *)a)->path, ((const struct rig_file *)b)->path);
}

void rig_snap(const char *folder, struct rig_snap *out)
{
    *out = (struct rig_snap){0};
    walked = out;
    walked_base = strlen(folder) + 1;
    assert_int_equal(nftw(folder, add_entry, 16, FTW_PHYS), 0);
    if (out->n)
        qsort(out->file, out->n, sizeof *out->file, by_path);
}

void rig_snap_free(struct rig_snap *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->file[i].data);
    free(s->file);
    *s = (struct rig_snap){0};
}

const struct rig_file *rig_snap_find(const struct rig_snap *s, const char *path, const char *suffix)
{
    struct rig_file key;
    snprintf(key.path, sizeof key.path, "%s%s", path, suffix);
    return bsearch(&key, s->file, s->n, sizeof key, by_path);
}

void rig_snap_equal(const struct rig_snap *a, const struct rig_snap *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const struct rig_file *x = &a->file[i], *y = &b->file[i];
        assert_string_equal(x->path, y->path);
        assert_int_equal(x->len, y->len);
        assert_memory_equal(x->data, y->data, x->len);
        assert_int_equal(x->st.st_mode, y->st.st_mode);
        assert_int_equal(x->st.st_uid, y->st.st_uid);
        assert_int_equal(x->st.st_nlink, y->st.st_nlink);
        assert_int_equal(x->st.st_mtim.tv_sec, y->st.st_mtim.tv_sec);
        assert_int_equal(x->st.st_mtim.tv_nsec, y->st.st_mtim.tv_nsec);
    }
}
