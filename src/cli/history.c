/* `portcullis history`: one file's past. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/render.h"

static void put_table(const struct pc_cli *cli, const json_t *list)
{
    static const char *const heads[] = {"PRESERVED (UTC)", "WHEN", ">SIZE", "MODE", "HOW", "CHANGED BY", "", NULL};
    struct pc_table *t = pc_table_new(heads);
    size_t i;
    const json_t *v;
    char text[40];
    json_array_foreach(list, i, v) {
        bool current = pc_truth_of(v, "current");
        pc_table_cell(t, current ? PC_BOLD : PC_PLAIN, pc_text_of(v, "time"));
        pc_table_cell(t, PC_PLAIN, pc_ago(cli, pc_time_of(v, "time"), text));
        pc_table_cell(t, PC_PLAIN, pc_size(pc_number_of(v, "size"), text));
        pc_table_cell(t, PC_PLAIN, pc_text_of(v, "mode"));
        bool lost = json_is_false(json_object_get(v, "kept"));
        pc_table_cell(t, lost ? PC_RED : PC_PLAIN, lost ? "not kept" : pc_text_of(v, "how"));
        pc_table_cell(t, PC_PLAIN, pc_text_of(v, "actor"));
        pc_table_cell(t, PC_GREEN, current ? "now" : "");
    }
    pc_table_print(cli, t);
}

int pc_cmd_history(struct pc_cli *cli, const struct pc_cli_args *args)
{
    _free_ char *path = NULL;
    json_t *list;
    int status = pc_cli_path(args->word[0], &path);
    if (status == 0)
        status = pc_cli_ask(cli, json_pack("{s:s, s:s}", "cmd", "history", "path", path), NULL, NULL, &list);
    if (status)
        return status;
    if (cli->json) {
        status = pc_put_json(list);
    } else if (json_array_size(list) == 0) {
        status = pc_cli_fail(PC_EXIT_FAILED, "%s: no version of it is kept", path);
    } else {
        put_table(cli, list);
        puts("\nTo bring one back: portcullis restore PATH --at TIME");
    }
    json_decref(list);
    return status;
}
