/*
 * `portcullis stop`: an order of class S in one go: made, shown, asked for, signed by one owner. With --offline it
 * becomes a file that `portcullis apply-stop` takes on the host, with no server anywhere; without, it is sent to the
 * server at once.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "cli/approve.h"
#include "cli/net/net.h"
#include "cli/net/watch.h"
#include "cli/order_build.h"
#include "cli/owner_commands.h"
#include "trust/json.h"

#include <errno.h>
#include <string.h>

#define ANSWER_SECONDS 60 /* that hosts are given to take it, while the owner looks on */

static int unknown_stop(const char *name)
{
    size_t n;
    char list[256] = "";
    const struct pc_action *a = pc_actions(&n);
    for (size_t i = 0, used = 0; i < n; i++)
        if (a[i].classes & 1u << PC_CLASS_S && used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, " %s", a[i].name);
    return pc_cli_fail(PC_EXIT_USAGE, "%s: not a stop; there are:%s", name, list);
}

/* rollout.halt without --hosts: the hosts of the order that is halted, which becomes a value of --hosts or
 * --hosts-file. */
static int hosts_of_order(const char *path, struct pc_cli_args *args, char **words)
{
    struct pc_owners_file f;
    struct pc_order o;
    char why[300] = "";
    int status = pc_owners_file_load(path, &f);
    if (status)
        return status;
    if (pc_order_parse(f.envelope.document, f.envelope.len, &o, NULL, 0) != PC_CHECK_OK) {
        pc_owners_file_clear(&f);
        return pc_cli_fail(PC_EXIT_FAILED, "%s: not an order", path);
    }
    if (pc_owners_file_hosts_match(&f, &o, why, sizeof why) != PC_CHECK_OK) {
        pc_order_clear(&o);
        pc_owners_file_clear(&f);
        return pc_cli_fail(PC_EXIT_REFUSED, "%s: which hosts it is for is not known: %s", path, why);
    }
    size_t room = o.rooted ? strlen(path) + sizeof ".hosts" : (size_t)o.hosts * PC_HOST_REF_SIZE + 1;
    char *text = calloc(1, room), *at = text;
    for (uint32_t i = 0; text && !o.rooted && i < o.hosts; i++) {
        pc_host_ref_format(&o.host[i], at);
        at += strlen(at);
        *at++ = ',';
    }
    if (text && o.rooted)
        snprintf(text, room, "%s.hosts", path);
    enum pc_order_option option = o.rooted ? PC_OPT_HOSTS_FILE : PC_OPT_HOSTS;
    args->value[option] = text;
    if (option == PC_OPT_HOSTS && args->n_given < PC_CLI_GIVEN_MAX) {
        args->given[args->n_given].option = option;
        args->given[args->n_given++].value = text;
    }
    pc_order_clear(&o);
    pc_owners_file_clear(&f);
    *words = text;
    return text ? 0 : pc_cli_fail(PC_EXIT_FAILED, "out of memory");
}

/* The bundle of a stop: {"order": envelope}, all that a host needs (PROTOCOL.md 1.8). */
static int write_bundle(const char *path, const struct pc_envelope *e)
{
    _free_ char *envelope = NULL, *text = NULL;
    size_t len;
    int r = pc_envelope_format(e, &envelope, &len);
    int n = r < 0 ? -1 : asprintf(&text, "{\"order\":%s}\n", envelope);
    if (n < 0) {
        text = NULL;
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    }
    return pc_document_create(path, text, (size_t)n);
}

static int report(const struct pc_cli *cli, const struct pc_order *o, const char *path, const char *name)
{
    if (!cli->json) {
        _free_ char *safe = pc_safe_text(cli, path, NULL);
        printf("Signed by %s: %s\nOn each host: portcullis apply-stop %s\n", name, safe, safe);
        return 0;
    }
    json_t *answer = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "file", path, "id", o->id, "order_sha256", o->sha256,
                               "action", o->action, "signed_by", name, "hosts", (json_int_t)o->hosts);
    int status = pc_put_json(answer);
    json_decref(answer);
    return status;
}

/* The document, shown, asked for and signed; the signature is beside it. */
static int sign(const struct pc_cli *cli, const struct pc_cli_args *args, const char *draft, char **name)
{
    struct pc_paper p;
    int status = pc_paper_open(cli, draft, NULL, &p);
    if (status)
        return status;
    status = pc_approve(cli, &p, args->value[PC_STOP_KEY], args->value[PC_STOP_YES] != NULL, name);
    pc_paper_close(&p);
    return status;
}

static int write_offline(const struct pc_cli *cli, const struct pc_cli_args *args, const struct pc_order_made *m,
                         const char *draft, const char *name)
{
    struct pc_owners_file f;
    int status = pc_owners_file_load(draft, &f);
    if (status)
        return status;
    status = write_bundle(args->value[PC_OPT_FILE], &f.envelope);
    pc_owners_file_clear(&f);
    return status ? status : report(cli, &m->order, args->value[PC_OPT_FILE], name);
}

/* Sent at once, and the hosts' answers shown as they come. */
static int send_now(const struct pc_cli *cli, const char *draft)
{
    struct pc_cli own = *cli;
    return pc_cmd_submit_file(&own, draft, &(struct pc_watching){.seconds = ANSWER_SECONDS, .taken = true});
}

/* What nobody signed is no record, and must not be in the way of the next try. */
static void drop(const char *draft)
{
    _free_ char *hosts = NULL;
    unlink(draft);
    if (asprintf(&hosts, "%s.hosts", draft) < 0)
        hosts = NULL;
    else
        unlink(hosts);
}

/* Beside the -o file; without one, among the stops in the owner's folder. To be freed; NULL after saying why not. */
static char *draft_path(const struct pc_cli *cli, const struct pc_cli_args *args, const struct pc_owner_dir *dir)
{
    char *path = NULL;
    int n = args->value[PC_OPT_FILE]
                ? asprintf(&path, "%s.order", args->value[PC_OPT_FILE])
                : asprintf(&path, "%s/stops/%llu.order", dir->path, (unsigned long long)cli->now_ns);
    int r = n < 0 ? -ENOMEM : pc_cli_make_folder_of(path);
    if (r == 0)
        return path;
    pc_cli_fail(PC_EXIT_FAILED, "%s: %s", n < 0 ? "stop" : path, pc_strerror(r));
    if (n >= 0)
        free(path);
    return NULL;
}

/* FILE.order, FILE.order.NAME.sig and FILE.order.hosts stay: they are the record of what was signed. */
static int make(const struct pc_cli *cli, const struct pc_cli_args *args, const struct pc_action *action)
{
    struct pc_owner_dir dir = {0};
    struct pc_order_made m = {0};
    _free_ char *draft = NULL, *name = NULL;
    const struct pc_order_plan plan = {.dwell = -1};
    int status = pc_owner_dir_open(cli, &dir);
    if (status == 0 && !(draft = draft_path(cli, args, &dir)))
        status = PC_EXIT_FAILED;
    if (status == 0)
        status = pc_order_build(cli, &dir, action, PC_CLASS_S, args, &plan, &m);
    if (status == 0 && args->value[PC_STOP_OFFLINE] && m.order.rooted)
        status = pc_cli_fail(PC_EXIT_USAGE,
                             "%u hosts: a stop that is carried by hand lists its hosts, at most %d: make several",
                             m.order.hosts, PC_ORDER_LIST_MAX);
    if (status == 0)
        status = pc_order_write(&dir, &m, draft);
    if (status == 0) {
        status = sign(cli, args, draft, &name);
        if (status)
            drop(draft);
    }
    if (status == 0)
        status = args->value[PC_STOP_OFFLINE] ? write_offline(cli, args, &m, draft, name) : send_now(cli, draft);
    pc_order_made_clear(&m);
    pc_owner_dir_close(&dir);
    return status;
}

int pc_cmd_stop(struct pc_cli *cli, const struct pc_cli_args *given)
{
    static struct pc_cli_args args; /* large */
    _free_ char *words = NULL;
    const struct pc_action *action = pc_action_find(given->word[0]);
    args = *given;
    if (!action || !(action->classes & 1u << PC_CLASS_S))
        return unknown_stop(given->word[0]);
    if (args.value[PC_STOP_OFFLINE] && !args.value[PC_OPT_FILE])
        return pc_cli_fail(PC_EXIT_USAGE, "stop: --offline needs -o FILE: where to write it");
    if (cli->json && !args.value[PC_STOP_YES])
        return pc_cli_fail(PC_EXIT_USAGE, "stop: --json asks nothing: it needs --yes");
    if (args.value[PC_OPT_ORDER] && !args.value[PC_OPT_HOSTS] && !args.value[PC_OPT_HOSTS_FILE]) {
        int status = hosts_of_order(args.value[PC_OPT_ORDER], &args, &words);
        if (status)
            return status;
    }
    return make(cli, &args, action);
}
