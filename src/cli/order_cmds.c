/* `portcullis order new`, and showing a document (`order show`, `trust show`). */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "cli/document_words.h"
#include "cli/order_build.h"
#include "cli/owner_commands.h"
#include "trust/json.h"

#include <string.h>

/* "5", "10m": seconds. */
static int seconds(const char *option, const char *word, uint64_t max, int64_t *out)
{
    uint64_t ns;
    if (pc_parse_duration(word, 0, max * PC_NS_PER_S, &ns) < 0 || ns % PC_NS_PER_S)
        return pc_cli_fail(PC_EXIT_USAGE, "%s %s: a span like 30s, 10m or 2h, at most %llu s, is wanted", option, word,
                           (unsigned long long)max);
    *out = (int64_t)(ns / PC_NS_PER_S);
    return 0;
}

/* "N:SOAK" onto the list. */
static int add_ring(json_t *rings, const char *word, uint64_t *sum)
{
    uint64_t hosts;
    int64_t soak = 0;
    char count[24];
    const char *colon = strchr(word, ':');
    if (!colon || (size_t)(colon - word) >= sizeof count)
        return pc_cli_fail(PC_EXIT_USAGE, "--ring %s: HOSTS:SOAK is wanted, as 5:10m", word);
    memcpy(count, word, (size_t)(colon - word));
    count[colon - word] = 0;
    if (pc_parse_u64(count, 1, PC_ORDER_HOSTS_MAX, &hosts) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "--ring %s: HOSTS:SOAK is wanted, as 5:10m", word);
    int status = seconds("--ring", colon + 1, 604800, &soak);
    *sum += hosts;
    json_array_append_new(rings, json_pack("{s:I, s:I}", "hosts", (json_int_t)hosts, "soak", (json_int_t)soak));
    return status;
}

/* The rings that were given, and one more for the hosts that are left. */
static int plan_rings(const struct pc_cli_args *args, uint32_t hosts, json_t **out)
{
    uint64_t sum = 0;
    size_t at = 0;
    int status = 0;
    _json_ json_t *rings = json_array();
    for (const char *v; status == 0 && (v = pc_cli_next(args, PC_NEW_RING, &at)) != NULL;)
        status = add_ring(rings, v, &sum);
    if (status == 0 && sum > hosts)
        return pc_cli_fail(PC_EXIT_USAGE, "the rings have %llu hosts, the order %u", (unsigned long long)sum, hosts);
    if (sum > 0 && sum < hosts)
        json_array_append_new(rings, json_pack("{s:I, s:i}", "hosts", (json_int_t)(hosts - sum), "soak", 0));
    if (status == 0 && sum > 0)
        *out = TAKE_PTR(rings);
    return status;
}

static int plan_halt(const struct pc_cli_args *args, json_t **out)
{
    uint64_t failures = 0, incidents = 0;
    const char *f = args->value[PC_NEW_HALT_FAILURES], *i = args->value[PC_NEW_HALT_INCIDENTS];
    if (!f && !i)
        return 0;
    if ((f && pc_parse_u64(f, 0, PC_ORDER_HOSTS_MAX, &failures) < 0) ||
        (i && pc_parse_u64(i, 0, 1000000, &incidents) < 0))
        return pc_cli_fail(PC_EXIT_USAGE, "--halt-failures, --halt-incidents: a whole number is wanted");
    *out = json_pack("{s:I, s:I}", "failures", (json_int_t)failures, "incidents", (json_int_t)incidents);
    return 0;
}

/* "tue,wed 01:00-05:00 24h". */
static int plan_standing(const char *word, json_t **out)
{
    char days[40], from[6], until[6], every[24], more;
    int64_t s = 0;
    if (!word)
        return 0;
    if (sscanf(word, "%39[a-z,] %5[0-9:]-%5[0-9:] %23s %c", days, from, until, every, &more) != 4)
        return pc_cli_fail(PC_EXIT_USAGE,
                           "--standing %s: DAYS FROM-UNTIL EVERY is wanted, as \"tue,wed 01:00-05:00 24h\"", word);
    int status = seconds("--standing", every, 31 * 86400, &s);
    json_t *list = json_array();
    for (char *rest = days, *d; (d = strsep(&rest, ",")) != NULL;)
        json_array_append_new(list, json_string(d));
    *out = json_pack("{s:o, s:s, s:s, s:I}", "days", list, "from", from, "until", until, "every", (json_int_t)s);
    return status;
}

/* The class that the action has; standing hours make it B. */
static int choose_class(const struct pc_action *a, bool standing, enum pc_class *out)
{
    if (standing)
        *out = PC_CLASS_B;
    else if (a->classes & 1u << PC_CLASS_C)
        *out = PC_CLASS_C;
    else if (a->classes & 1u << PC_CLASS_S)
        return pc_cli_fail(PC_EXIT_USAGE, "%s: a stop: `portcullis stop %s`", a->name, a->name);
    else
        return pc_cli_fail(PC_EXIT_USAGE, "%s: needs no order: the server may look at any time", a->name);
    return 0;
}

static int unknown_action(const char *name)
{
    size_t n;
    char list[512] = "";
    const struct pc_action *a = pc_actions(&n);
    for (size_t i = 0, used = 0; i < n; i++)
        if (a[i].classes & (1u << PC_CLASS_C | 1u << PC_CLASS_B) && used < sizeof list)
            used += (size_t)snprintf(list + used, sizeof list - used, " %s", a[i].name);
    return pc_cli_fail(PC_EXIT_USAGE, "%s: unknown action; there are:%s", name, list);
}

static int report(const struct pc_cli *cli, const struct pc_order_made *m, const char *path)
{
    if (!cli->json) {
        _free_ char *safe = pc_safe_text(cli, path, NULL);
        printf("%s: order %s, %s on %u host%s, sequence %llu\nTo sign it: portcullis approve %s\n", safe, m->order.id,
               m->order.action, m->order.hosts, m->order.hosts == 1 ? "" : "s", (unsigned long long)m->order.sequence,
               safe);
        return 0;
    }
    json_t *answer = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "file", path, "id", m->order.id, "order_sha256",
                               m->order.sha256, "class", pc_class_letter(m->order.class_), "action", m->order.action,
                               "hosts", (json_int_t)m->order.hosts, "sequence", (json_int_t)m->order.sequence);
    int status = pc_put_json(answer);
    json_decref(answer);
    return status;
}

static int plan(const struct pc_cli_args *args, uint32_t hosts, struct pc_order_plan *out)
{
    const char *dwell = args->value[PC_NEW_DWELL];
    out->dwell = -1;
    int status = dwell ? seconds("--dwell", dwell, PC_DWELL_MAX, &out->dwell) : 0;
    if (status == 0)
        status = plan_rings(args, hosts, &out->rings);
    if (status == 0)
        status = plan_halt(args, &out->halt);
    if (status == 0)
        status = plan_standing(args->value[PC_NEW_STANDING], &out->standing);
    return status;
}

static void plan_clear(struct pc_order_plan *p)
{
    json_decref(p->rings);
    json_decref(p->halt);
    json_decref(p->standing);
}

/* How many hosts the order will have, to see what is left for the last ring. */
static int count_hosts(const struct pc_owner_dir *dir, const struct pc_cli_args *args, uint32_t *out)
{
    struct pc_order_hosts h = {0};
    int status = pc_order_hosts(dir, args, &h);
    *out = h.n;
    pc_order_hosts_clear(&h);
    return status;
}

int pc_cmd_order_new(struct pc_cli *cli, const struct pc_cli_args *args)
{
    const struct pc_action *action = pc_action_find(args->word[0]);
    const char *path = args->value[PC_OPT_FILE];
    struct pc_owner_dir dir = {0};
    struct pc_order_plan p = {.dwell = -1};
    struct pc_order_made m = {0};
    enum pc_class class_ = PC_CLASS_C;
    uint32_t hosts = 0;
    _close_ int lock = -1;
    if (!action)
        return unknown_action(args->word[0]);
    if (!path)
        return pc_cli_fail(PC_EXIT_USAGE, "order new: -o FILE says where to write it");
    int status = choose_class(action, args->value[PC_NEW_STANDING] != NULL, &class_);
    if (status == 0)
        status = pc_owner_dir_open(cli, &dir);
    if (status == 0)
        status = count_hosts(&dir, args, &hosts);
    if (status == 0)
        status = plan(args, hosts, &p);
    if (status == 0)
        status = pc_owner_dir_lock(&dir, &lock);
    if (status == 0)
        status = pc_order_build(cli, &dir, action, class_, args, &p, &m);
    if (status == 0)
        status = pc_order_write(&dir, &m, path);
    if (status == 0)
        status = report(cli, &m, path);
    pc_order_made_clear(&m);
    plan_clear(&p);
    pc_owner_dir_close(&dir);
    return status;
}

int pc_cmd_document_show(struct pc_cli *cli, const struct pc_cli_args *args)
{
    struct pc_paper p;
    int status = pc_paper_open(cli, args->word[0], args->value[PC_SHOW_TRUST], &p);
    if (status)
        return status;
    if (cli->json) {
        json_t *answer = pc_paper_json(&p, &status);
        if (answer)
            status = pc_put_json(answer);
        json_decref(answer);
    } else {
        status = pc_paper_put(cli, &p);
    }
    pc_paper_close(&p);
    return status;
}
