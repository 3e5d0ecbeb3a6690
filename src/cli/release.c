/* `portcullis release` and `portcullis end`: what becomes of a frozen program. */
#include "cli/cli.h"
#include "cli/render.h"

/* Asks, and prints the answer as JSON when that was wanted; else *result is left for the caller to put into words. */
static int decide(struct pc_cli *cli, const char *cmd, const char *word, json_int_t *id, json_t **result)
{
    int status = pc_cli_incident_id(word, id);
    if (status == 0)
        status = pc_cli_ask(cli, json_pack("{s:s, s:I}", "cmd", cmd, "id", *id), NULL, NULL, result);
    if (status == 0 && cli->json)
        status = pc_put_json(*result);
    return status;
}

int pc_cmd_release(struct pc_cli *cli, const struct pc_cli_args *args)
{
    json_int_t id;
    json_t *result = NULL;
    int status = decide(cli, "release", args->word[0], &id, &result);
    if (status == 0 && !cli->json) {
        const char *rule = pc_text_of(result, "rule");
        printf("Incident %lld: released. %s\n", (long long)id, json_is_true(json_object_get(result, "client"))
               ? "Its client may use the share again." : "The program goes on where it was stopped.");
        if (rule) {
            printf("Remembered: ");
            pc_put(cli, PC_PLAIN, rule);
            putchar('\n');
        }
        printf("What it did stays preserved: portcullis rollback %lld still works.\n", (long long)id);
    }
    json_decref(result);
    return status;
}

int pc_cmd_end(struct pc_cli *cli, const struct pc_cli_args *args)
{
    json_int_t id;
    json_t *result = NULL;
    char count[32];
    int status = decide(cli, "end", args->word[0], &id, &result);
    if (status == 0 && !cli->json)
        printf("Incident %lld: ended, %s %s killed. If its files are not back yet: portcullis rollback %lld\n",
               (long long)id, pc_amount(pc_number_of(result, "ended"), count),
               pc_number_of(result, "ended") == 1 ? "process" : "processes", (long long)id);
    json_decref(result);
    return status;
}
