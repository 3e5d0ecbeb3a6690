/* `portcullis incidents`: what was stopped, newest first. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/incident_words.h"
#include "cli/render.h"

static void put_table(const struct pc_cli *cli, const json_t *list)
{
    static const char *const heads[] = {">ID",  "STATE", "WHEN",    ">DAMAGED", ">PRESERVED",
                                        "USER", ">PID",  "PROGRAM", NULL};
    struct pc_table *t = pc_table_new(heads);
    size_t i;
    const json_t *inc;
    char text[64];
    json_array_foreach(list, i, inc) {
        const json_t *actor = json_object_get(inc, "actor");
        _free_ char *command = pc_command_line(actor, PC_COMMAND_SHOWN);
        pc_table_cell(t, PC_BOLD, pc_amount(pc_number_of(inc, "id"), text));
        pc_table_cell(t, pc_state_style(pc_text_of(inc, "state")), pc_text_of(inc, "state"));
        pc_table_cell(t, PC_PLAIN, pc_ago(cli, pc_time_of(inc, "started"), text));
        pc_table_cell(t, PC_PLAIN, pc_amount(pc_number_of(inc, "damaged"), text));
        pc_table_cell(t, PC_PLAIN, pc_amount(pc_number_of(inc, "preserved"), text));
        pc_table_cell(t, PC_PLAIN, pc_text_of(actor, "user"));
        snprintf(text, sizeof text, pc_is_client(actor) ? "-" : "%lld", (long long)pc_number_of(actor, "pid"));
        pc_table_cell(t, PC_PLAIN, text);
        pc_table_cell(t, PC_PLAIN, command);
    }
    pc_table_print(cli, t);
}

int pc_cmd_incidents(struct pc_cli *cli, const struct pc_cli_args *args)
{
    (void)args;
    json_t *list;
    int status = pc_cli_ask(cli, json_pack("{s:s}", "cmd", "incidents"), NULL, NULL, &list);
    if (status)
        return status;
    if (cli->json) {
        status = pc_put_json(list);
    } else if (json_array_size(list) == 0) {
        puts("No incidents.");
    } else {
        put_table(cli, list);
        puts("\nMore about one: portcullis incident ID");
    }
    json_decref(list);
    return status;
}
