/*
 * Owns what a drill's progress log says in numbers and words, and the comparison of its files with what they were. Only
 * reads; may be run by anybody who may read log and folder, at any moment of a run.
 */
#include "cli/drill/report.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "cli/drill/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#define NAMES_SHOWN 20 /* of the text report; JSON has all */

const char *const drill_state_names[DRILL_STATES] = {
    [DRILL_IDENTICAL] = "identical", [DRILL_METADATA] = "metadata", [DRILL_DAMAGED] = "damaged",
    [DRILL_MISSING] = "missing",     [DRILL_FOREIGN] = "foreign",   [DRILL_UNREADABLE] = "unreadable",
};

static void take_times(const struct drill_record *rec, struct drill_report *r)
{
    if (rec->start_ns && (!r->first_open_ns || rec->start_ns < r->first_open_ns))
        r->first_open_ns = rec->start_ns;
    if (!rec->changed_ns)
        return;
    r->touched++;
    if (!r->first_change_ns || rec->changed_ns < r->first_change_ns)
        r->first_change_ns = rec->changed_ns;
    /* of a change that did not end only its beginning is known */
    uint64_t last = rec->done_ns ? rec->done_ns : rec->changed_ns;
    if (last > r->last_change_ns)
        r->last_change_ns = last;
}

void drill_report_take(const struct drill_progress *p, struct drill_report *out)
{
    struct drill_report r = {.ended = p->ended_ns != 0};
    for (uint32_t i = 0; i < p->files; i++) {
        uint32_t step = __atomic_load_n(&p->record[i].step, __ATOMIC_ACQUIRE);
        r.steps[step < DRILL_STEPS ? step : DRILL_FAILED]++;
        take_times(&p->record[i], &r);
    }
    r.in_flight = r.steps[DRILL_OPENING] + r.steps[DRILL_OPENED] + r.steps[DRILL_CHANGING];
    /* n files are n-1 intervals */
    if (r.last_change_ns > r.first_open_ns && r.steps[DRILL_DONE] > 1)
        r.rate = (double)(r.steps[DRILL_DONE] - 1) * 1e9 / (double)(r.last_change_ns - r.first_open_ns);
    *out = r;
}

void drill_report_free(struct drill_report *r)
{
    free(r->state);
    r->state = NULL;
}

/* ---- comparing ---- */

static enum drill_state state_without(const struct drill_folder *f, const struct drill_file *file)
{
    char name[DRILL_NAME_MAX + sizeof DRILL_SUFFIX];
    snprintf(name, sizeof name, "%s%s", file->name, DRILL_SUFFIX);
    _close_ int fd = drill_folder_open_file(f, f->sub[file->sub], name, O_RDONLY, 2);
    return fd >= 0 ? DRILL_DAMAGED : DRILL_MISSING;
}

static enum drill_state compare(const struct drill_folder *f, const struct drill_file *file, int fd,
                                const struct stat *st, char *buf, size_t cap)
{
    uint8_t sum[32];
    if ((uint64_t)st->st_size != file->size || file->size > cap)
        return DRILL_DAMAGED;
    ssize_t n = pc_pread_full(fd, buf, file->size, 0);
    if (n < 0)
        return DRILL_UNREADABLE;
    if ((uint64_t)n != file->size || drill_sha256(buf, (size_t)n, sum) < 0 ||
        memcmp(sum, file->sha256, sizeof sum) != 0)
        return DRILL_DAMAGED;
    bool same = (st->st_mode & 07777) == file->mode && st->st_mtim.tv_sec == file->mtime_s &&
                st->st_mtim.tv_nsec == (long)file->mtime_ns && drill_folder_check(f, fd, 1) == 0;
    return same ? DRILL_IDENTICAL : DRILL_METADATA;
}

/* Does not ask for the mark first: a rollback that lost it must show as changed metadata, not as a foreign file. */
static enum drill_state look_at(const struct drill_folder *f, const struct drill_file *file, char *buf, size_t cap)
{
    if (f->sub[file->sub] < 0)
        return f->sub[file->sub] == PC_E_REFUSED ? DRILL_FOREIGN : DRILL_MISSING;
    _close_ int fd = pc_open_beneath(f->sub[file->sub], file->name, O_RDONLY | O_NONBLOCK, 0);
    if (fd == -ENOENT)
        return state_without(f, file);
    if (fd < 0)
        return fd == -ELOOP || fd == -EXDEV ? DRILL_FOREIGN : DRILL_UNREADABLE;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return DRILL_UNREADABLE;
    if (!S_ISREG(st.st_mode) || st.st_dev != f->dev)
        return DRILL_FOREIGN;
    return compare(f, file, fd, &st, buf, cap);
}

int drill_report_verify(const struct drill_progress *p, struct drill_report *r)
{
    struct drill_folder f;
    int e = drill_folder_open(p->folder, &f);
    if (e < 0)
        return e;
    size_t cap = drill_document_bound(p->size);
    _free_ char *buf = malloc(cap);
    r->state = calloc(p->files, 1);
    if (!buf || !r->state || strcmp(f.id, p->id) != 0) {
        drill_folder_close(&f);
        return buf && r->state ? PC_E_REFUSED : -ENOMEM;
    }
    for (uint32_t i = 0; i < p->files; i++) {
        r->state[i] = (uint8_t)look_at(&f, &p->record[i].file, buf, cap);
        r->states[r->state[i]]++;
    }
    r->verified = true;
    drill_folder_close(&f);
    return 0;
}

/* ---- text ---- */

static double ms_between(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) / 1e6 : 0;
}

static void print_list(FILE *to, const struct drill_progress *p, uint32_t from, uint32_t until, const char *title)
{
    uint32_t shown = 0, all = 0;
    for (uint32_t i = 0; i < p->files; i++) {
        const struct drill_record *rec = &p->record[i];
        if (rec->step < from || rec->step > until)
            continue;
        if (all++ == 0)
            fprintf(to, "%s\n", title);
        if (shown >= NAMES_SHOWN)
            continue;
        shown++;
        fprintf(to, "  %s/%s (%s, pid %d%s%s)\n", drill_subs[rec->file.sub], rec->file.name,
                drill_step_names[rec->step < DRILL_STEPS ? rec->step : DRILL_FAILED], rec->pid, rec->err ? ": " : "",
                rec->err ? pc_strerror(rec->err) : "");
    }
    if (all > shown)
        fprintf(to, "  and %u more\n", all - shown);
}

void drill_report_print(FILE *to, const struct drill_progress *p, const struct drill_report *r, const char *state_file)
{
    char begun[32] = "not begun";
    if (p->begun_real_ns)
        pc_format_time(p->begun_real_ns, begun, sizeof begun);
    fprintf(to, "drill %s in %s\n", p->id, p->folder);
    fprintf(to, "  %s by %s, %u processes (%s), seed %llu, begun %s, %s\n", drill_pattern_names[p->pattern],
            drill_path_names[p->path], p->processes, drill_topology_names[p->topology], (unsigned long long)p->seed,
            begun, r->ended ? "ended" : "not ended");
    fprintf(to, "  files %u: touched %u, done %u, in flight %u (opening %u, opened %u, changing %u), not reached %u\n",
            p->files, r->touched, r->steps[DRILL_DONE], r->in_flight, r->steps[DRILL_OPENING], r->steps[DRILL_OPENED],
            r->steps[DRILL_CHANGING], r->steps[DRILL_WAITING]);
    fprintf(to, "  blocked %u, refused %u, failed %u, unsupported %u\n", r->steps[DRILL_BLOCKED],
            r->steps[DRILL_REFUSED], r->steps[DRILL_FAILED], r->steps[DRILL_UNSUPPORTED]);
    if (r->touched)
        fprintf(to, "  first change %.3f ms and last change %.3f ms after the start; %.1f files/s\n",
                ms_between(p->begun_ns, r->first_change_ns), ms_between(p->begun_ns, r->last_change_ns), r->rate);
    if (r->verified)
        fprintf(to, "  now: identical %u, damaged %u, missing %u, metadata differs %u, foreign %u, unreadable %u\n",
                r->states[DRILL_IDENTICAL], r->states[DRILL_DAMAGED], r->states[DRILL_MISSING],
                r->states[DRILL_METADATA], r->states[DRILL_FOREIGN], r->states[DRILL_UNREADABLE]);
    print_list(to, p, DRILL_OPENING, DRILL_CHANGING, "  in flight:");
    print_list(to, p, DRILL_BLOCKED, DRILL_FAILED, "  stopped:");
    if (state_file)
        fprintf(to, "  progress log: %s\n", state_file);
}

/* ---- JSON ---- */

static void put_int(json_t *o, const char *name, uint64_t v)
{
    json_object_set_new(o, name, json_integer((json_int_t)v));
}

/* Milliseconds after the start, or null for what did not happen. */
static void put_ms(json_t *o, const char *name, const struct drill_progress *p, uint64_t at_ns)
{
    json_object_set_new(o, name, at_ns ? json_real(ms_between(p->begun_ns, at_ns)) : json_null());
}

/* The wall-clock time of a moment of CLOCK_MONOTONIC, by way of the start, of which both are known. */
static void put_time(json_t *o, const char *name, const struct drill_progress *p, uint64_t at_ns)
{
    char text[32];
    if (!at_ns || at_ns < p->begun_ns) {
        json_object_set_new(o, name, json_null());
        return;
    }
    pc_format_time(p->begun_real_ns + (at_ns - p->begun_ns), text, sizeof text);
    json_object_set_new(o, name, json_string(text));
}

static json_t *file_json(const struct drill_progress *p, uint32_t i, const struct drill_report *r)
{
    const struct drill_record *rec = &p->record[i];
    char path[DRILL_NAME_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", drill_subs[rec->file.sub], rec->file.name);
    json_t *o = json_object();
    json_object_set_new(o, "path", json_string(path));
    json_object_set_new(o, "step", json_string(drill_step_names[rec->step < DRILL_STEPS ? rec->step : DRILL_FAILED]));
    put_int(o, "pid", (uint64_t)rec->pid);
    put_ms(o, "start_ms", p, rec->start_ns);
    put_ms(o, "changed_ms", p, rec->changed_ns);
    put_ms(o, "done_ms", p, rec->done_ns);
    if (rec->err < 0)
        json_object_set_new(o, "error", json_string(pc_strerror(rec->err)));
    if (r->verified)
        json_object_set_new(o, "now", json_string(drill_state_names[r->state[i]]));
    return o;
}

/* Every file that anything happened to, in the order of the queue. */
static json_t *files_json(const struct drill_progress *p, const struct drill_report *r)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < p->files; i++)
        if (p->record[i].step != DRILL_WAITING || (r->verified && r->state[i] != DRILL_IDENTICAL))
            json_array_append_new(list, file_json(p, i, r));
    return list;
}

static void put_settings(json_t *o, const struct drill_progress *p)
{
    json_object_set_new(o, "id", json_string(p->id));
    json_object_set_new(o, "folder", json_string(p->folder));
    json_object_set_new(o, "pattern", json_string(drill_pattern_names[p->pattern]));
    json_object_set_new(o, "path", json_string(drill_path_names[p->path]));
    json_object_set_new(o, "topology", json_string(drill_topology_names[p->topology]));
    json_object_set_new(o, "rename", json_string(drill_rename_names[p->rename]));
    put_int(o, "processes", p->processes);
    put_int(o, "processes_missing", p->missing);
    put_int(o, "rate_asked", p->rate);
    put_int(o, "seed", p->seed);
    put_int(o, "pid", (uint64_t)p->root_pid);
    put_int(o, "files", p->files);
}

static void put_counts(json_t *o, const struct drill_progress *p, const struct drill_report *r)
{
    put_int(o, "touched", r->touched);
    put_int(o, "in_flight", r->in_flight);
    for (int i = 0; i < DRILL_STEPS; i++)
        put_int(o, drill_step_names[i], r->steps[i]);
    json_object_set_new(o, "ended", json_boolean(r->ended));
    put_time(o, "begun", p, p->begun_ns);
    put_time(o, "first_change", p, r->first_change_ns);
    put_time(o, "last_change", p, r->last_change_ns);
    put_ms(o, "first_change_ms", p, r->first_change_ns);
    put_ms(o, "last_change_ms", p, r->last_change_ns);
    json_object_set_new(o, "rate", json_real(r->rate));
}

int drill_report_print_json(FILE *to, const struct drill_progress *p, const struct drill_report *r,
                            const char *state_file, const char *key)
{
    json_t *o = json_object();
    put_settings(o, p);
    put_counts(o, p, r);
    if (r->verified) {
        json_t *now = json_object();
        for (int i = 0; i < DRILL_STATES; i++)
            put_int(now, drill_state_names[i], r->states[i]);
        json_object_set_new(o, "now", now);
    }
    if (state_file)
        json_object_set_new(o, "state_file", json_string(state_file));
    if (key)
        json_object_set_new(o, "key", json_string(key));
    json_object_set_new(o, "list", files_json(p, r));
    int e = json_dumpf(o, to, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
    fputc('\n', to);
    json_decref(o);
    return e == 0 ? 0 : -EIO;
}
