/*
 * Owns the drill's command: what is done in which order, what is printed, the exit status. The only file of the drill
 * that prints messages.
 */
#include "cli/drill.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/drill/crew.h"
#include "cli/drill/options.h"
#include "cli/drill/paths.h"
#include "cli/drill/report.h"
#include "cli/drill/seal.h"
#include "cli/drill/undo.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

enum { EXIT_RAN, EXIT_ERROR, EXIT_USAGE, EXIT_STOPPED, EXIT_UNSUPPORTED, EXIT_DIFFERS }; /* in the manual */

/* One run from its options to its report. */
struct session {
    const struct drill_options *o;
    FILE *say; /* messages: stdout, or stderr when stdout is for JSON */
    struct drill_folder folder;
    struct drill_manifest manifest;
    uint8_t key[DRILL_KEY_BYTES];
    char key_hex[2 * DRILL_KEY_BYTES + 1];
    char state_file[PATH_MAX];
    struct drill_crew crew;
};

static int fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Prints "what: why" and gives the exit status that err stands for. */
static int fail(int err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("portcullis drill: ", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, ": %s\n", pc_strerror(err));
    return err == PC_E_UNSUPPORTED || err == -EOPNOTSUPP ? EXIT_UNSUPPORTED : EXIT_ERROR;
}

/* ---- before the damage ---- */

static int create_files(struct session *s)
{
    const struct drill_options *o = s->o;
    uint64_t seed = o->seed;
    int r = o->has_seed ? 0 : drill_random(&seed, sizeof seed);
    if (r < 0)
        return fail(r, "random numbers");
    r = drill_folder_create(o->dir, &s->folder);
    if (r == PC_E_UNSUPPORTED)
        return fail(r, "%s: the file system keeps no extended attributes, so files cannot be marked", o->dir);
    if (r < 0)
        return fail(r, "create a folder in %s", o->dir);
    r = drill_manifest_create(&s->folder, seed & INT64_MAX, o->size, (uint32_t)o->files, &s->manifest);
    return r < 0 ? fail(r, "create files in %s", s->folder.path) : 0;
}

static int take_prepared(struct session *s)
{
    const char *path = s->o->run_only;
    int r = drill_folder_open(path, &s->folder);
    if (r < 0)
        return fail(r, "%s is not a drill's folder", path);
    r = drill_manifest_read(&s->folder, &s->manifest);
    if (r < 0)
        return fail(r, "%s: manifest", path);
    uint32_t bad = 0;
    r = drill_manifest_prove(&s->folder, &s->manifest, &bad);
    if (r < 0)
        return fail(r, "%s: %s/%s is not as the drill made it; nothing was touched", path,
                    drill_subs[s->manifest.file[bad].sub], s->manifest.file[bad].name);
    return 0;
}

static int make_key(struct session *s)
{
    struct drill_deed deed = {.pattern = (enum drill_pattern)s->o->pattern};
    int r = drill_random(s->key, sizeof s->key);
    if (r == 0)
        r = drill_key_check(s->key, deed.key_check);
    if (r == 0)
        r = drill_cipher_new(s->key, &s->crew.cipher);
    if (r < 0)
        return fail(r, "key");
    pc_hex(s->key, sizeof s->key, s->key_hex);
    r = drill_deed_write(&s->folder, &deed);
    return r < 0 ? fail(r, "%s: note the run (a folder is run in once; --undo it first)", s->folder.path) : 0;
}

/* /run where it may be written (root), /tmp elsewhere; the name is random and the file created with O_EXCL. */
static int open_log(struct session *s)
{
    const char *dir = access("/run", W_OK) == 0 ? "/run" : "/tmp";
    uint8_t random[8];
    char hex[2 * sizeof random + 1];
    int r = drill_random(random, sizeof random);
    if (r < 0)
        return fail(r, "random numbers");
    pc_hex(random, sizeof random, hex);
    if (s->o->state_file)
        snprintf(s->state_file, sizeof s->state_file, "%s", s->o->state_file);
    else
        snprintf(s->state_file, sizeof s->state_file, "%s/portcullis-drill-%s", dir, hex);
    r = drill_progress_create(s->state_file, s->o, &s->folder, &s->manifest, &s->crew.progress);
    return r < 0 ? fail(r, "create the progress log %s", s->state_file) : 0;
}

static int prepare_crew(struct session *s)
{
    int r = 0;
    s->crew.folder = &s->folder;
    s->crew.notes = s->o->notes;
    if (s->o->path == DRILL_PATH_HARDLINK) {
        r = s->crew.links = drill_links_open(&s->folder, s->o->link_dir);
        if (r < 0)
            return fail(r, "create the folder for hard links");
    }
    if (s->o->path == DRILL_PATH_HELD)
        r = drill_crew_hold(&s->crew);
    if (r < 0)
        return fail(r, "hold %u files open", s->manifest.files);
    /* marks in the trusted namespace can be read and set by their capability alone */
    r = drill_seal(s->o->path == DRILL_PATH_URING, strncmp(s->folder.xattr, "trusted.", 8) == 0);
    return r < 0 ? fail(r, "give up rights") : 0;
}

static void announce(const struct session *s)
{
    fprintf(s->say, "folder: %s\nkey: %s\nprogress log: %s\n", s->folder.path, s->key_hex, s->state_file);
    fprintf(s->say, "report: portcullis drill --report %s --verify\n", s->state_file);
    fprintf(s->say, "undo: portcullis drill --undo %s --key %s\n", s->folder.path, s->key_hex);
    /* Whoever tries it out sits before a terminal that neither goes on nor takes Ctrl-C. */
    fprintf(s->say, "a guard that stops the drill freezes this command as well: go on in another terminal with\n"
                    "  portcullis incidents\n");
    fflush(s->say);
}

/* Time for a guard to take the new files in. PC_E_STATE when standard input ended without a line. */
static int settle(const struct drill_options *o)
{
    if (o->wait) {
        int c;
        while ((c = getchar()) != EOF && c != '\n')
            continue;
        return c == EOF ? PC_E_STATE : 0;
    }
    struct timespec left = {(time_t)(o->settle_ns / PC_NS_PER_S), (long)(o->settle_ns % PC_NS_PER_S)};
    return nanosleep(&left, NULL) == 0 ? 0 : -errno;
}

/* ---- the run ---- */

static int run_status(const struct drill_progress *p, const struct drill_report *r)
{
    if (r->steps[DRILL_UNSUPPORTED])
        return EXIT_UNSUPPORTED;
    if (r->steps[DRILL_FAILED] || r->steps[DRILL_REFUSED])
        return EXIT_ERROR;
    return r->steps[DRILL_DONE] == p->files ? EXIT_RAN : EXIT_STOPPED;
}

static int report_run(struct session *s)
{
    struct drill_report report;
    drill_report_take(s->crew.progress, &report);
    int status = run_status(s->crew.progress, &report);
    int r = s->o->verify ? drill_report_verify(s->crew.progress, &report) : 0;
    if (r < 0)
        status = fail(r, "verify %s", s->folder.path);
    if (s->o->json) {
        r = drill_report_print_json(stdout, s->crew.progress, &report, s->state_file, s->key_hex);
        if (r < 0)
            status = fail(r, "print the report");
    } else {
        drill_report_print(stdout, s->crew.progress, &report, s->state_file);
    }
    drill_report_free(&report);
    return status;
}

/* Leaves nothing behind after an uneventful run; after any other everything stays, for the one who wants to look. */
static int tidy(struct session *s, int status)
{
    if (s->o->path == DRILL_PATH_HARDLINK && status == EXIT_RAN) {
        int r = drill_links_remove(&s->folder, s->o->link_dir);
        if (r < 0)
            return fail(r, "remove the folder for hard links");
    }
    if (s->o->keep || s->o->run_only || status != EXIT_RAN)
        return status;
    int r = drill_remove(&s->folder, NULL);
    if (r < 0)
        return fail(r, "remove %s", s->folder.path);
    if (!s->o->state_file && unlink(s->state_file) < 0)
        return fail(-errno, "remove %s", s->state_file);
    return status;
}

static int damage(struct session *s)
{
    int status = make_key(s);
    if (status == 0)
        status = open_log(s);
    if (status == 0)
        status = prepare_crew(s);
    if (status)
        return status;
    announce(s);
    int r = settle(s->o);
    if (r < 0)
        return fail(r, "waiting to start");
    fflush(NULL); /* no buffer may be written once more by a forked worker */
    r = drill_crew_run(&s->crew);
    if (r < 0)
        return fail(r, "start workers");
    return tidy(s, report_run(s));
}

static int run(const struct drill_options *o)
{
    struct session s = {.o = o, .say = o->json ? stderr : stdout, .folder = {.fd = -1}, .crew = {.links = -1}};
    for (int i = 0; i < DRILL_SUBS; i++)
        s.folder.sub[i] = -EBADF;
    int status = o->run_only ? take_prepared(&s) : create_files(&s);
    if (status == 0 && o->prepare_only)
        fprintf(stdout, "%s\n", s.folder.path);
    else if (status == 0)
        status = damage(&s);
    if (s.crew.progress)
        drill_crew_drop(&s.crew);
    drill_progress_close(s.crew.progress);
    drill_cipher_free(s.crew.cipher);
    pc_closep(&s.crew.links);
    drill_manifest_free(&s.manifest);
    drill_folder_close(&s.folder);
    return status;
}

/* ---- the other modes ---- */

static int dry_run(const struct drill_options *o)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < o->files; i++)
        bytes += drill_document_target(o->seed, i, o->size);
    printf("would create %s/portcullis-drill-ID with %llu files in %d folders, about %llu KiB\n", o->dir,
           (unsigned long long)o->files, DRILL_SUBS, (unsigned long long)bytes / 1024);
    printf("would wait %.1f s, then damage each by '%s' through '%s'", (double)o->settle_ns / 1e9,
           drill_pattern_names[o->pattern], drill_path_names[o->path]);
    printf(" with %llu processes (%s)", (unsigned long long)o->processes, drill_topology_names[o->topology]);
    if (o->rate)
        printf(" at %llu files a second", (unsigned long long)o->rate);
    printf("\nwould touch nothing else\n");
    return EXIT_RAN;
}

static int report(const struct drill_options *o)
{
    struct drill_progress *p = NULL;
    int r = drill_progress_open(o->report, &p);
    if (r < 0)
        return fail(r, "%s", o->report);
    struct drill_report report;
    drill_report_take(p, &report);
    r = o->verify ? drill_report_verify(p, &report) : 0;
    int status = r < 0 ? fail(r, "verify %s", p->folder) : EXIT_RAN;
    if (o->json) {
        r = drill_report_print_json(stdout, p, &report, o->report, NULL);
        if (r < 0)
            status = fail(r, "print the report");
    } else {
        drill_report_print(stdout, p, &report, o->report);
    }
    if (status == EXIT_RAN && report.verified && report.states[DRILL_IDENTICAL] != p->files)
        status = EXIT_DIFFERS;
    drill_report_free(&report);
    drill_progress_close(p);
    return status;
}

static int undo(const struct drill_options *o)
{
    uint8_t key[DRILL_KEY_BYTES];
    if (o->key && pc_unhex(o->key, key, sizeof key) != (int)sizeof key) {
        fprintf(stderr, "portcullis drill: --key takes %d hex digits\n", 2 * DRILL_KEY_BYTES);
        return EXIT_USAGE;
    }
    struct drill_folder f;
    int r = drill_folder_open(o->undo, &f);
    if (r < 0)
        return fail(r, "%s is not a drill's folder", o->undo);
    struct drill_undone n;
    int first = 0;
    r = drill_undo(&f, o->key ? key : NULL, o->link_dir, &n, &first);
    drill_folder_close(&f);
    if (r == PC_E_REFUSED)
        return fail(r, "undo %s: not this run's key, or a record in it is not the drill's own", o->undo);
    if (r < 0)
        return fail(r, "undo %s", o->undo);
    printf(o->json ? "{\"untouched\": %u, \"reversed\": %u, \"recreated\": %u, \"failed\": %u}\n"
                   : "untouched %u, reversed with the key %u, recreated from the seed %u, failed %u\n",
           n.untouched, n.reversed, n.recreated, n.failed);
    return n.failed ? fail(first, "%u files did not come back; the first", n.failed) : EXIT_RAN;
}

static int remove_folder(const struct drill_options *o)
{
    struct drill_folder f;
    int r = drill_folder_open(o->remove, &f);
    if (r < 0)
        return fail(r, "%s is not a drill's folder", o->remove);
    r = drill_remove(&f, o->link_dir);
    drill_folder_close(&f);
    return r < 0 ? fail(r, "remove %s: something stayed", o->remove) : EXIT_RAN;
}

static int help(const struct drill_options *o)
{
    drill_options_help(stdout);
    return EXIT_RAN;
}

int pc_cmd_drill(int argc, char **argv)
{
    struct drill_options o;
    char why[300];
    if (drill_options_parse(argc, argv, &o, why, sizeof why) < 0) {
        fprintf(stderr, "portcullis drill: %s\nTry: portcullis drill --help\n", why);
        return EXIT_USAGE;
    }
    const struct {
        bool wanted;
        int (*mode)(const struct drill_options *o);
    } modes[] = {{o.help, help},           {o.dry_run, dry_run},          {o.report != NULL, report},
                 {o.undo != NULL, undo},   {o.remove != NULL, remove_folder}, {true, run}};
    size_t i = 0;
    while (!modes[i].wanted)
        i++;
    int status = modes[i].mode(&o);
    if (fflush(stdout) != 0 && status == EXIT_RAN)
        return fail(-errno, "write to standard output");
    return status;
}
