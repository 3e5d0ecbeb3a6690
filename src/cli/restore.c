/* `portcullis restore`: one file as it was, or everything that was deleted beneath a folder. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/render.h"
#include "cli/steps.h"

enum { OPT_AT, OPT_TO, OPT_DELETED, OPT_SINCE, OPT_DRY_RUN }; /* as in main.c */

/* The request, or NULL after saying why not. */
static json_t *restore_request(const struct pc_cli *cli, const struct pc_cli_args *args, int *status)
{
    _free_ char *path = NULL, *to = NULL;
    uint64_t at = 0;
    *status = pc_cli_path(args->word[0], &path);
    if (*status == 0 && args->value[OPT_AT])
        *status = pc_cli_moment(args->value[OPT_AT], cli->now_ns, &at);
    if (*status == 0 && args->value[OPT_TO])
        *status = pc_cli_path(args->value[OPT_TO], &to);
    if (*status)
        return NULL;
    json_t *request = json_pack("{s:s, s:s, s:I}", "cmd", "restore", "path", path, "at", (json_int_t)at);
    if (request && to)
        json_object_set_new(request, "to", json_string(to));
    return request;
}

static int restore_one(struct pc_cli *cli, const struct pc_cli_args *args)
{
    int status;
    json_t *request = restore_request(cli, args, &status), *r;
    if (status == 0)
        status = pc_cli_ask(cli, request, NULL, NULL, &r);
    if (status)
        return status;
    bool ok = pc_truth_of(r, "ok");
    if (cli->json) {
        status = pc_put_json(r);
    } else if (ok) {
        char moment[40];
        pc_say(cli, PC_GREEN, "Restored and verified: ");
        pc_put(cli, PC_PLAIN, pc_text_of(r, "to") ? pc_text_of(r, "to") : pc_text_of(r, "path"));
        printf(", as it was at %s\n", pc_moment(pc_time_of(r, "time"), moment));
    } else {
        const char *path = pc_text_of(r, "path"), *why = pc_text_of(r, "why");
        status = pc_cli_fail(PC_EXIT_FAILED, "%s: not restored: %s", path ? path : args->word[0],
                             why ? why : "no reason given");
    }
    json_decref(r);
    return ok ? status : PC_EXIT_FAILED;
}

/* ---- restore --deleted ---- */

static json_t *deleted_request(const struct pc_cli *cli, const struct pc_cli_args *args, int *status)
{
    _free_ char *path = NULL, *to = NULL;
    uint64_t since = 0;
    *status = pc_cli_path(args->word[0], &path);
    if (*status == 0 && args->value[OPT_SINCE])
        *status = pc_cli_moment(args->value[OPT_SINCE], cli->now_ns, &since);
    if (*status == 0 && args->value[OPT_TO])
        *status = pc_cli_path(args->value[OPT_TO], &to);
    if (*status)
        return NULL;
    json_t *request = json_pack("{s:s, s:s, s:I, s:b}", "cmd", "deleted", "path", path, "since", (json_int_t)since,
                                "dry_run", args->value[OPT_DRY_RUN] != NULL);
    if (request && to)
        json_object_set_new(request, "to", json_string(to));
    return request;
}

static void put_totals(const struct pc_cli *cli, const json_t *r)
{
    bool dry_run = pc_truth_of(r, "dry_run");
    json_int_t failed = pc_number_of(r, "failed"), occupied = pc_number_of(r, "occupied");
    char count[64], size[32], amount[32];
    if (pc_number_of(r, "total") == 0) {
        puts("Nothing that was deleted there in that time is kept.");
        return;
    }
    pc_say(cli, failed ? PC_RED : PC_GREEN, "%s: ", dry_run ? "To be restored" : "Restored and verified");
    printf("%s, %s; %s there already", pc_count(pc_number_of(r, "restored"), "file", count),
           pc_size(pc_number_of(r, "bytes"), size), pc_amount(pc_number_of(r, "already"), amount));
    printf("; %s with something else in its place, left", pc_amount(occupied, amount));
    printf("; %s %s.\n", pc_amount(failed, amount), dry_run ? "not kept" : "failed");
    if (occupied)
        puts("What stands there now is never overwritten: --to FOLDER brings the old ones out into another folder.");
    if (failed && !dry_run)
        puts("Running it again tries only what is missing.");
}

static int restore_deleted(struct pc_cli *cli, const struct pc_cli_args *args)
{
    int status;
    bool dry_run = args->value[OPT_DRY_RUN] != NULL;
    json_t *request = deleted_request(cli, args, &status), *r = NULL;
    struct pc_steps w = {.cli = cli, .all = dry_run, .left = true, .kept = json_array()};
    if (status == 0)
        status = pc_cli_ask(cli, request, pc_steps_take, &w, &r);
    pc_steps_erase(&w);
    if (status == 0) {
        status = pc_number_of(r, "failed") ? PC_EXIT_FAILED : PC_EXIT_OK;
        if (cli->json) {
            json_object_set(r, "steps", w.kept);
            int printed = pc_put_json(r);
            status = printed ? printed : status;
        } else {
            put_totals(cli, r);
        }
    }
    json_decref(w.kept);
    json_decref(r);
    return status;
}

int pc_cmd_restore(struct pc_cli *cli, const struct pc_cli_args *args)
{
    bool deleted = args->value[OPT_DELETED] != NULL;
    if (deleted && args->value[OPT_AT])
        return pc_cli_fail(PC_EXIT_USAGE, "restore: --at is for one file; with --deleted it is --since");
    if (!deleted && (args->value[OPT_SINCE] || args->value[OPT_DRY_RUN]))
        return pc_cli_fail(PC_EXIT_USAGE, "restore: --since and --dry-run go with --deleted");
    return deleted ? restore_deleted(cli, args) : restore_one(cli, args);
}
