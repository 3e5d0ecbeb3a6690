/*
 * The host's end of the fleet: `apply-stop`, and the fleet's part of `status`. Both ask the runner of this host over
 * its control socket.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "cli/cli.h"
#include "cli/render.h"

#include <errno.h>
#include <limits.h>

static const char *fleet_dir(const struct pc_cli *cli, const char *given, char *out, size_t cap)
{
    if (given)
        return given;
    snprintf(out, cap, "%s/fleet", cli->state_dir);
    return out;
}

int pc_cmd_apply_stop(struct pc_cli *cli, const struct pc_cli_args *args)
{
    char folder[PATH_MAX], path[PATH_MAX];
    json_t *result;
    const char *dir = fleet_dir(cli, args->value[0], folder, sizeof folder);
    if (!realpath(args->word[0], path))
        return pc_cli_fail(PC_EXIT_FAILED, "%s: %s", args->word[0], pc_strerror(-errno));
    int status = pc_cli_ask_runner(cli, dir, json_pack("{s:s, s:s}", "cmd", "apply-stop", "file", path), &result);
    if (status == PC_EXIT_NO_GUARD)
        return pc_cli_fail(
            status, "%s: no runner works here: start it with `portcullisd host`, or name its folder with --fleet-state",
            dir);
    if (status == PC_EXIT_REFUSED && access(dir, X_OK) < 0)
        return pc_cli_fail(status, "%s: not allowed: be root", dir);
    if (status)
        return status;
    if (cli->json)
        status = pc_put_json(result);
    else
        printf("%s: %.12s\n", pc_truth_of(result, "accepted_before") ? "was accepted before" : "accepted",
               pc_text_of(result, "order_sha256") ? pc_text_of(result, "order_sha256") : "");
    json_decref(result);
    return status;
}

json_t *pc_fleet_status(const struct pc_cli *cli)
{
    char folder[PATH_MAX];
    json_t *result = NULL;
    int status = pc_cli_ask_runner(cli, fleet_dir(cli, NULL, folder, sizeof folder),
                                   json_pack("{s:s}", "cmd", "status"), &result);
    return status ? NULL : result;
}

void pc_put_fleet(const struct pc_cli *cli, const json_t *f)
{
    const json_t *orders = json_object_get(f, "orders"), *stop;
    char moment[40], ago[32];
    size_t i;
    bool connected = pc_truth_of(f, "connected"), silent = pc_truth_of(f, "silent");
    printf("\n  fleet      ");
    pc_put(cli, PC_BOLD, pc_text_of(f, "host"));
    printf(" of ");
    pc_put(cli, PC_PLAIN, pc_text_of(f, "tenant"));
    printf(", server ");
    pc_put(cli, PC_PLAIN, pc_text_of(f, "server"));
    pc_say(cli, connected ? PC_GREEN : PC_YELLOW, "%s", connected ? ", connected\n" : ", NOT connected\n");
    uint64_t seen = pc_time_of(f, "checkpoint_time");
    printf("  log        %lld entries seen, %s (%s)", (long long)pc_number_of(f, "checkpoint_size"),
           pc_moment(seen, moment), pc_ago(cli, seen, ago));
    pc_say(cli, silent ? PC_RED : PC_PLAIN, "%s", silent ? ": SILENT, no act starts\n" : "\n");
    printf("  trust      version %lld, %lld revoked keys\n", (long long)pc_number_of(f, "trust_version"),
           (long long)pc_number_of(f, "revoked_keys"));
    printf("  orders     %lld waiting, %lld running, %lld soaking, %lld standing; %lld answers not confirmed\n",
           (long long)pc_number_of(orders, "waiting"), (long long)pc_number_of(orders, "running"),
           (long long)pc_number_of(orders, "soaking"), (long long)pc_number_of(orders, "standing"),
           (long long)pc_number_of(f, "unconfirmed"));
    if (pc_number_of(f, "split_log_evidence"))
        pc_say(cli, PC_RED, "  the server showed two histories: %lld pieces of evidence are kept\n",
               (long long)pc_number_of(f, "split_log_evidence"));
    json_array_foreach(json_object_get(f, "stops"), i, stop) {
        pc_say(cli, PC_YELLOW, "  stop       ");
        pc_put(cli, PC_PLAIN, pc_text_of(stop, "kind"));
        printf(", %lld s left\n", (long long)pc_number_of(stop, "seconds_left"));
    }
}
