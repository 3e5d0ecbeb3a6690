/* `portcullis status`: what is guarded, how, and what is not. */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/render.h"

#include <string.h>

static void put_head(const struct pc_cli *cli, const json_t *s)
{
    bool active = pc_truth_of(s, "active"),
         down = strcmp(pc_text_of(s, "gate") ? pc_text_of(s, "gate") : "", "down") == 0;
    const json_t *supervisor = json_object_get(s, "supervisor"), *incidents = json_object_get(s, "incidents");
    char count[64], moment[40], ago[32];
    pc_say(cli, active ? PC_GREEN : PC_RED, "%s %s\n", active ? "guarding" : "NOT guarding",
           pc_count((json_int_t)json_array_size(json_object_get(s, "folders")), "folder", count));
    printf("  guard      ");
    pc_put(cli, PC_PLAIN, pc_text_of(s, "version"));
    printf(", pid %lld, since %s (%s), supervisor pid %lld, %s\n", (long long)pc_number_of(s, "pid"),
           pc_moment(pc_time_of(s, "since"), moment), pc_ago(cli, pc_time_of(s, "since"), ago),
           (long long)pc_number_of(supervisor, "pid"),
           pc_count(pc_number_of(supervisor, "restarts"), "restart", count));
    printf("  gate       ");
    pc_say(cli, down ? PC_YELLOW : PC_PLAIN,
           down ? "down: programs with evidence against them wait\n" : "up: nobody waits\n");
    printf("  incidents  %lld open, %lld in all\n", (long long)pc_number_of(incidents, "open"),
           (long long)pc_number_of(incidents, "total"));
}

static void put_folders(const struct pc_cli *cli, const json_t *folders)
{
    static const char *const heads[] = {"FOLDER", "FILE SYSTEM", "MODE", ">COVERED", ">NOT COVERED", NULL};
    struct pc_table *t = pc_table_new(heads);
    size_t i, k;
    const json_t *f, *why;
    char amount[32];
    json_array_foreach(folders, i, f) {
        json_int_t uncovered = pc_number_of(f, "uncovered");
        pc_table_cell(t, PC_BOLD, pc_text_of(f, "path"));
        pc_table_cell(t, PC_PLAIN, pc_text_of(f, "filesystem"));
        pc_table_cell(t, PC_PLAIN, pc_text_of(f, "mode"));
        pc_table_cell(t, PC_PLAIN, pc_amount(pc_number_of(f, "covered"), amount));
        pc_table_cell(t, uncovered ? PC_YELLOW : PC_PLAIN, pc_amount(uncovered, amount));
    }
    putchar('\n');
    pc_table_print(cli, t);
    json_array_foreach(folders, i, f) {
        json_array_foreach(json_object_get(f, "why"), k, why) {
            printf("  ");
            pc_put(cli, PC_YELLOW, pc_text_of(f, "path"));
            printf(": ");
            pc_put(cli, PC_PLAIN, json_string_value(why));
            putchar('\n');
        }
    }
}

static void put_volumes(const struct pc_cli *cli, const json_t *volumes)
{
    static const char *const heads[] = {"MOUNT",     "FILE SYSTEM", "MODE",  "GATE", ">VAULT",
                                        ">VERSIONS", ">WAITING",    "STATE", NULL};
    struct pc_table *t = pc_table_new(heads);
    size_t i;
    const json_t *v;
    char text[32];
    json_array_foreach(volumes, i, v) {
        const char *gate = pc_text_of(v, "gate"), *degraded = pc_text_of(v, "degraded");
        pc_table_cell(t, PC_PLAIN, pc_text_of(v, "mount"));
        pc_table_cell(t, PC_PLAIN, pc_text_of(v, "filesystem"));
        pc_table_cell(t, PC_PLAIN, pc_text_of(v, "mode"));
        pc_table_cell(t, gate && strcmp(gate, "down") == 0 ? PC_YELLOW : PC_PLAIN, gate);
        pc_table_cell(t, PC_PLAIN, pc_size(pc_number_of(v, "vault_bytes"), text));
        pc_table_cell(t, PC_PLAIN, pc_amount(pc_number_of(v, "versions"), text));
        pc_table_cell(t, PC_PLAIN, pc_amount(pc_number_of(v, "queue"), text));
        pc_table_cell(t, degraded ? PC_RED : PC_GREEN, degraded ? degraded : "preserving");
    }
    putchar('\n');
    pc_table_print(cli, t);
}

/* Counters are shown by their own names: new ones appear here without a change. */
static void put_counters(const struct pc_cli *cli, const char *label, const json_t *counters)
{
    const char *key;
    json_t *value;
    char amount[32];
    const char *sep = "";
    printf("  %-10s", label);
    json_object_foreach((json_t *)counters, key, value) {
        printf("%s ", sep);
        pc_put(cli, PC_DIM, key);
        if (json_is_real(value))
            printf(" %.1f", json_real_value(value));
        else
            printf(" %s", pc_amount(json_integer_value(value), amount));
        sep = ",";
    }
    putchar('\n');
}

/*
 * A host of a fleet need not have a guard: then this is all there is, and the exit status still says that nothing is
 * guarded.
 */
static int without_guard(const struct pc_cli *cli, json_t *fleet, int status)
{
    if (!fleet)
        return status;
    if (cli->json) {
        json_t *o = json_pack("{s:b, s:o}", "active", 0, "fleet", fleet);
        int printed = o ? pc_put_json(o) : PC_EXIT_FAILED;
        json_decref(o);
        return printed ? printed : status;
    }
    pc_put_fleet(cli, fleet);
    json_decref(fleet);
    return status;
}

int pc_cmd_status(struct pc_cli *cli, const struct pc_cli_args *args)
{
    (void)args;
    json_t *s, *fleet = pc_fleet_status(cli);
    int status = pc_cli_ask(cli, json_pack("{s:s}", "cmd", "status"), NULL, NULL, &s);
    if (status)
        return without_guard(cli, fleet, status);
    status = pc_truth_of(s, "active") ? PC_EXIT_OK : PC_EXIT_FAILED;
    if (fleet)
        json_object_set(s, "fleet", fleet);
    if (cli->json) {
        int printed = pc_put_json(s);
        status = printed ? printed : status;
    } else {
        put_head(cli, s);
        put_folders(cli, json_object_get(s, "folders"));
        put_volumes(cli, json_object_get(s, "volumes"));
        putchar('\n');
        put_counters(cli, "events", json_object_get(s, "events"));
        put_counters(cli, "answer us", json_object_get(s, "latency_us"));
        size_t i;
        const json_t *warning;
        json_array_foreach(json_object_get(s, "warnings"), i, warning) {
            pc_say(cli, PC_YELLOW, "  warning: ");
            pc_put(cli, PC_PLAIN, json_string_value(warning));
            putchar('\n');
        }
        if (fleet)
            pc_put_fleet(cli, fleet);
    }
    json_decref(fleet);
    json_decref(s);
    return status;
}
