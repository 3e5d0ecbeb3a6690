/* `portcullis rollback`: puts every file of an incident back, and says so only of what was verified. */
#include "cli/cli.h"
#include "cli/render.h"
#include "cli/steps.h"

static void put_totals(const struct pc_cli *cli, json_int_t id, const json_t *r, bool dry_run, bool undo)
{
    char total[64], amount[32];
    json_int_t failed = pc_number_of(r, "failed");
    pc_count(pc_number_of(r, "total"), "step", total);
    if (dry_run) {
        printf("Incident %lld: %s planned, nothing changed. To do it: portcullis rollback %lld%s\n", (long long)id,
               total, (long long)id, undo ? " --undo" : "");
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
    struct pc_steps w = {.cli = cli, .all = dry_run, .kept = json_array()};
    status = pc_cli_ask(
        cli, json_pack("{s:s, s:I, s:b, s:b}", "cmd", "rollback", "id", id, "dry_run", dry_run, "undo", undo),
        pc_steps_take, &w, &result);
    pc_steps_erase(&w);
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
