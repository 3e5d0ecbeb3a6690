/*
 * `portcullis replay`: judges a recorded trace again, as it was or under the [judge] settings of another file. Asks no
 * guard and touches no process: it tells what a change of settings would have stopped, before it is made.
 */
#include "agent/settings.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "cli/cli.h"
#include "cli/render.h"
#include "core/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* The list in the answer is for people: a policy that convicts everybody does not fill the memory. */
#define ROOTS_MAX 1000

/* A convicted process, and the time up to which the trace may have named it (pids are used again). */
struct root {
    pid_t pid;
    uint64_t until_ns;
    json_t *json; /* its object in verdicts; borrowed */
};

struct replay {
    const uint8_t *trace;
    size_t len;
    json_t *verdicts;
    uint64_t first_ns; /* of the trace: its clock has no date */
    uint32_t count;
    struct root roots[ROOTS_MAX];
};

static int on_act(void *arg, const struct pc_judge *j, const struct pc_act *act, const struct pc_outcome *out)
{
    struct replay *r = arg;
    if (r->first_ns == 0)
        r->first_ns = act->now_ns;
    if (!out->convicted)
        return 0;
    json_t *roots = json_array();
    for (uint32_t i = 0; i < out->root_count && r->count < ROOTS_MAX; i++) {
        pid_t pid = pc_judge_pid(j, out->roots[i]);
        json_t *root = json_pack("{s:I, s:i, s:n}", "actor", (json_int_t)out->roots[i], "pid", (int)pid, "name");
        if (json_array_append_new(roots, root) == 0)
            r->roots[r->count++] = (struct root){pid, act->now_ns, root};
    }
    if (json_array_size(roots) == 0) {
        json_decref(roots);
        return 0;
    }
    json_t *verdict = json_pack("{s:I, s:i, s:i, s:i, s:o}", "after_ns", (json_int_t)(act->now_ns - r->first_ns), "pid",
                                (int)act->pid, "files", (int)out->evidence_files, "score", (int)out->evidence_score,
                                "roots", roots);
    return json_array_append_new(r->verdicts, verdict) == 0 ? 0 : -ENOMEM;
}

/* Gives each convicted process the last name the trace had for it by then. */
static void add_names(struct replay *r)
{
    struct pc_cur c;
    struct pc_trace_rec rec;
    uint64_t now_ns = 0;
    pc_cur_init(&c, r->trace, r->len);
    if (pc_trace_open(&c) < 0)
        return;
    while (pc_trace_next(&c, &rec) == 1) {
        if (rec.type == PC_TRACE_ACT)
            now_ns = rec.act.now_ns;
        for (uint32_t i = 0; rec.type == PC_TRACE_NAME && i < r->count; i++)
            if (r->roots[i].pid == rec.pid && now_ns <= r->roots[i].until_ns)
                json_object_set_new(r->roots[i].json, "name", json_string(rec.name));
    }
}

/* [judge] of a settings file. 0, or an exit status after saying why not. */
static int load_policy(const char *file, struct pc_judge_policy *out)
{
    struct pc_settings s;
    char err[512];
    if (pc_settings_load(file, &s, err, sizeof err) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "%s", err);
    pc_judge_policy_default(out);
    out->convict_score = s.convict_score;
    out->min_files = s.min_files;
    out->window_ns = s.window_ns;
    out->note_folders = s.note_folders;
    out->bulk_files = s.mass_delete;
    out->max_actors = s.actors;
    pc_settings_free(&s);
    return 0;
}

static int map_trace(const char *path, struct replay *r)
{
    struct stat st;
    _close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return PC_E_SYNTAX;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    r->trace = p;
    r->len = (size_t)st.st_size;
    return 0;
}

static void put_verdicts(const struct pc_cli *cli, const json_t *verdicts)
{
    static const char *const heads[] = {">AFTER", ">FILES", ">SCORE", ">PID", "PROGRAM", NULL};
    struct pc_table *t = pc_table_new(heads);
    size_t i, k;
    const json_t *v, *root;
    char text[32];
    json_array_foreach(verdicts, i, v) {
        json_array_foreach(json_object_get(v, "roots"), k, root) {
            pc_table_cell(t, PC_PLAIN, pc_span((uint64_t)pc_number_of(v, "after_ns"), text));
            pc_table_cell(t, PC_PLAIN, pc_amount(pc_number_of(v, "files"), text));
            pc_table_cell(t, PC_PLAIN, pc_amount(pc_number_of(v, "score"), text));
            snprintf(text, sizeof text, "%lld", (long long)pc_number_of(root, "pid"));
            pc_table_cell(t, PC_PLAIN, text);
            pc_table_cell(t, PC_PLAIN, pc_text_of(root, "name"));
        }
    }
    pc_table_print(cli, t);
}

static int show(const struct pc_cli *cli, const struct pc_replay_stats *s, const json_t *verdicts)
{
    char amount[32], other[64];
    if (cli->json) {
        json_t *result = json_pack("{s:I, s:I, s:I, s:I, s:I, s:O}", "records", (json_int_t)s->records, "acts",
                                   (json_int_t)s->acts, "damaging", (json_int_t)s->damaging, "verdicts_total",
                                   (json_int_t)s->verdicts, "unread", (json_int_t)s->unread, "verdicts", verdicts);
        int status = pc_put_json(result);
        json_decref(result);
        return status;
    }
    printf("%s in ", pc_count((json_int_t)s->acts, "act", other));
    printf("%s: %s damaging, ", pc_count((json_int_t)s->records, "record", other),
           pc_amount((json_int_t)s->damaging, amount));
    printf("%s.\n", pc_count((json_int_t)s->verdicts, "verdict", other));
    if (s->unread)
        printf("%s could not be judged anew: nobody looked at their content when they were recorded.\n",
               pc_count((json_int_t)s->unread, "act", other));
    if (json_array_size(verdicts))
        put_verdicts(cli, verdicts);
    return PC_EXIT_OK;
}

int pc_cmd_replay(struct pc_cli *cli, const struct pc_cli_args *args)
{
    const char *path = args->word[0], *config = args->value[0];
    struct pc_judge_policy policy;
    struct pc_replay_stats stats = {0};
    struct replay r = {0};
    struct pc_cur c;
    int status = config ? load_policy(config, &policy) : 0;
    if (status)
        return status;
    int e = map_trace(path, &r);
    if (e < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, pc_strerror(e));
    r.verdicts = json_array();
    pc_cur_init(&c, r.trace, r.len);
    e = r.verdicts ? pc_trace_open(&c) : -ENOMEM;
    if (e == 0)
        e = pc_replay(&c, config ? &policy : NULL, on_act, &r, &stats);
    add_names(&r);
    if (e == 0 || e == PC_E_CORRUPT) /* what comes before the damage is good, and is shown */
        status = show(cli, &stats, r.verdicts);
    if (e < 0)
        status = pc_cli_fail(PC_EXIT_FAILED, "%s: %s", path, e == PC_E_SYNTAX ? "not a trace" : pc_strerror(e));
    json_decref(r.verdicts);
    munmap((void *)(uintptr_t)r.trace, r.len);
    return status;
}
