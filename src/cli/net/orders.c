/* `portcullis orders` and `portcullis order status ID`: what the server tells of orders, and what of that is proven. */
#include "base/cleanup.h"
#include "cli/documents.h"
#include "cli/net/net.h"
#include "cli/net/watch.h"

enum status_option { OPTION_WATCH, OPTION_OUTPUT };
#define WATCH_SECONDS 86400

static const char *text_or(const json_t *object, const char *key)
{
    const char *text = pc_text_of(object, key);
    return text ? text : "?";
}

static void put_orders(const struct pc_cli *cli, const json_t *list)
{
    static const char *const heads[] = {"ID", "ACTION", "CLASS", ">HOSTS", "STATE", ">APPROVALS", "CREATED", NULL};
    struct pc_table *t = pc_table_new(heads);
    size_t i;
    const json_t *o;
    char text[64];
    json_array_foreach(list, i, o) {
        pc_table_cell(t, PC_BOLD, text_or(o, "id"));
        pc_table_cell(t, PC_PLAIN, text_or(o, "action"));
        pc_table_cell(t, PC_PLAIN, text_or(o, "class"));
        pc_table_cell(t, PC_PLAIN, pc_amount(pc_number_of(o, "count"), text));
        pc_table_cell(t, PC_PLAIN, text_or(o, "state"));
        snprintf(text, sizeof text, "%lld of %lld", (long long)pc_number_of(o, "approvals"),
                 (long long)pc_number_of(o, "needed"));
        pc_table_cell(t, PC_PLAIN, text);
        pc_table_cell(t, PC_DIM, text_or(o, "created"));
    }
    pc_table_print(cli, t);
    if (json_array_size(list) == 0)
        puts("no orders");
}

int pc_cmd_orders(struct pc_cli *cli, const struct pc_cli_args *args)
{
    _fleet_ struct pc_fleet f;
    json_t *list = NULL;
    int status = pc_fleet_begin(cli, &f);
    if (status == 0)
        status = pc_fleet_get(&f, &list, "/v1/orders");
    if (status == 0 && !json_is_array(list))
        status = pc_cli_fail(PC_EXIT_FAILED, "%s: the answer is not a list of orders", f.dir.url);
    if (status == 0 && cli->json)
        status = pc_fleet_put_json(list);
    else if (status == 0)
        put_orders(cli, list);
    json_decref(list);
    return status;
}

/* --- order status ------------------------------------------------------------------------------------------------- */

/* An id, a SHA-256, or the order's file. The strings of *q are in *file or word. */
static int question_of(const char *word, struct pc_owners_file *file, struct pc_order_question *q)
{
    if (pc_hex_valid(word, PC_ID_LEN) || pc_hex_valid(word, PC_SHA256_HEX)) {
        *q = (struct pc_order_question){.id = word};
        return 0;
    }
    if (access(word, F_OK) < 0)
        return pc_cli_fail(
            PC_EXIT_USAGE,
            "%s: neither the id of an order (32 hex digits, `portcullis orders` lists them) nor its file", word);
    int status = pc_owners_file_load(word, file);
    *q = (struct pc_order_question){.id = file->envelope.sha256, .sha256 = file->envelope.sha256};
    return status;
}

static int show_once(struct pc_fleet *f, const struct pc_order_question *q, bool output)
{
    json_t *view;
    int status = pc_order_view(f, q, &view);
    if (status)
        return status;
    if (f->cli->json)
        status = pc_fleet_put_json(view);
    else
        pc_order_view_print(f->cli, view, output);
    if (pc_order_view_problems(view))
        status = pc_cli_fail(PC_EXIT_FAILED, "the server shows what is not so: %s",
                             f->cli->json ? "see \"problem\"" : "see PROBLEM above");
    json_decref(view);
    return status;
}

int pc_cmd_order_status(struct pc_cli *cli, const struct pc_cli_args *args)
{
    _fleet_ struct pc_fleet f = {0};
    struct pc_owners_file file = {0};
    struct pc_order_question q;
    bool output = args->value[OPTION_OUTPUT] != NULL;
    int status = question_of(args->word[0], &file, &q);
    if (status == 0)
        status = pc_fleet_begin(cli, &f);
    if (status == 0 && args->value[OPTION_WATCH])
        status = pc_order_watch(&f, &q, &(struct pc_watching){.seconds = WATCH_SECONDS, .output = output});
    else if (status == 0)
        status = show_once(&f, &q, output);
    pc_owners_file_clear(&file);
    return status;
}
