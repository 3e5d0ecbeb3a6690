/* `portcullis rollback`: puts every file of an incident back, and says so only of what was verified. */
#include "cli/cli.h"
#include "cli/render.h"

#include <string.h>

struct watch {
    const struct pc_cli *cli;
    bool dry_run;
    json_t *kept; /* steps the result lists: all planned ones of a dry run, else those that failed */
    bool drawn;   /* a progress line is on the terminal */
    json_int_t drawn_permil;
};

static const char *verb_of(const char *kind)
{
    static const struct {
        const char *kind, *verb;
    } verbs[] = {{"restore", "restore"}, {"recreate", "recreate"}, {"move-back", "move back"}, {"set-aside", "set aside"},
                 {"metadata", "set metadata of"}, {"nothing", "leave"}};
    for (size_t i = 0; kind && i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].kind, kind) == 0)
            return verbs[i].verb;
    return kind ? kind : "?";
}

static void erase_progress(struct watch *w)
{
    if (w->drawn)
        fputs("\r\033[K", stderr);
    w->drawn = false;
}

static void draw_progress(struct watch *w, json_int_t done, json_int_t total)
{
    json_int_t permil = total ? done * 1000 / total : 1000;
    if (!w->cli->progress || (w->drawn && permil == w->drawn_permil))
        return;
    fprintf(stderr, "\r\033[K%lld of %lld files (%lld%%)", (long long)done, (long long)total, (long long)(permil / 10));
    fflush(stderr);
    w->drawn = true;
    w->drawn_permil = permil;
}

/* "restore      /srv/a" or "FAILED restore /srv/a: why" */
static void put_step(struct watch *w, const json_t *step, bool failed)
{
    const char *from = pc_text_of(step, "from"), *why = pc_text_of(step, "why");
    erase_progress(w);
    fputs("  ", stdout);
    if (failed)
        pc_say(w->cli, PC_RED, "FAILED ");
    size_t n = pc_put(w->cli, PC_DIM, verb_of(pc_text_of(step, "kind")));
    printf("%*s", n < 16 ? (int)(16 - n) : 1, "");
    if (from) {
        pc_put(w->cli, PC_PLAIN, from);
        fputs(" -> ", stdout);
    }
    pc_put(w->cli, PC_PLAIN, pc_text_of(step, "path"));
    if (why) {
        fputs(": ", stdout);
        pc_put(w->cli, PC_PLAIN, why);
    }
    putchar('\n');
}

static void on_progress(void *arg, const json_t *progress)
{
    struct watch *w = arg;
    json_t *step = json_object_get(progress, "step");
    bool failed = json_is_false(json_object_get(step, "ok"));
    if (step && (w->dry_run || failed)) {
        if (w->cli->json)
            json_array_append(w->kept, step);
        else
            put_step(w, step, failed);
    }
    draw_progress(w, pc_number_of(progress, "done"), pc_number_of(progress, "total"));
}

static void put_totals(const struct pc_cli *cli, json_int_t id, const json_t *r, bool dry_run, bool undo)
{
    char total[64], amount[32];
    json_int_t failed = pc_number_of(r, "failed");
    pc_count(pc_number_of(r, "total"), "step", total);
    if (dry_run) {
        printf("Incident %lld: %s planned, nothing changed. To do it: portcullis rollback %lld%s\n", (long long)id, total,
               (long long)id, undo ? " --undo" : "");
        return;
    }
    pc_say(cli, failed ? PC_RED : PC_GREEN, "Incident %lld: %s %s.", (long long)id,
           failed ? "NOT everything was" : "everything is", undo ? "as before the rollback" : "put back and verified");
    printf(" %s: %s verified", total, pc_amount(pc_number_of(r, "verified"), amount));
    if (pc_number_of(r, "unchanged"))
        printf(" (%s needed nothing)", pc_amount(pc_number_of(r, "unchanged"), amount));
    printf(", %s failed.\n", pc_amount(failed, amount));
    if (failed)
        puts("Running it again tries only what is missing. Nothing was lost: what is there now is preserved too.");
    else if (!undo)
        printf("The damaged versions are kept: portcullis rollback %lld --undo brings them back.\n", (long long)id);
}

/* Success is counted, not claimed: each step of the total must be verified, those that needed nothing included. */
static bool is_complete(const json_t *r, bool dry_run)
{
    return json_is_integer(json_object_get(r, "failed")) && pc_number_of(r, "failed") == 0 &&
           (dry_run || pc_number_of(r, "verified") == pc_number_of(r, "total"));
}

int pc_cmd_rollback(struct pc_cli *cli, const struct pc_cli_args *args)
{
    json_int_t id;
    json_t *result = NULL;
    bool dry_run = args->value[0] != NULL, undo = args->value[1] != NULL;
    int status = pc_cli_incident_id(args->word[0], &id);
    if (status)
        return status;
    struct watch w = {.cli = cli, .dry_run = dry_run, .kept = json_array()};
    status = pc_cli_ask(cli, json_pack("{s:s, s:I, s:b, s:b}", "cmd", "rollback", "id", id, "dry_run", dry_run, "undo", undo),
                        on_progress, &w, &result);
    erase_progress(&w);
    if (status == 0) {
        status = is_complete(result, dry_run) ? PC_EXIT_OK : PC_EXIT_FAILED;
        if (cli->json) {
            json_object_set(result, "steps", w.kept);
            int printed = pc_put_json(result);
            status = printed ? printed : status;
        } else {
            put_totals(cli, id, result, dry_run, undo);
        }
    }
    json_decref(w.kept);
    json_decref(result);
    return status;
}
