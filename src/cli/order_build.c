/*
 * Owns the making of an order's document: identity, window, sequence, hosts, and the check that hosts would make of it.
 * Signs nothing (sign.c) and sends nothing.
 */
#include "cli/order_build.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cli/documents.h"
#include "cli/order_options.h"
#include "trust/json.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

/* "2026-11-21T18:00:00Z", or a duration ("2h") after base. */
static int order_time(const char *option, const char *word, int64_t base, int64_t *out)
{
    uint64_t ns;
    if (pc_time_parse(word, out) == 0)
        return 0;
    if (pc_parse_duration(word, PC_NS_PER_S, 400ULL * 86400 * PC_NS_PER_S, &ns) < 0 || ns % PC_NS_PER_S)
        return pc_cli_fail(PC_EXIT_USAGE,
                           "%s %s: a time like 2026-11-21T18:00:00Z, or a span like 90m or 2h, is wanted", option,
                           word);
    *out = base + (int64_t)(ns / PC_NS_PER_S);
    return 0;
}

int pc_document_create(const char *path, const void *data, size_t len)
{
    int r = pc_create_file_at(AT_FDCWD, path, data, len, 0644);
    if (r == -EEXIST)
        return pc_cli_fail(PC_EXIT_FAILED,
                           "%s: exists already: choose another name, or remove it and the signatures beside it", path);
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s: cannot be written: %s", path, pc_strerror(r)) : 0;
}

static json_t *time_json(int64_t t)
{
    char text[PC_TIME_SIZE];
    pc_time_format(t, text);
    return json_string(text);
}

static int set_id(json_t *o)
{
    uint8_t bytes[PC_ID_LEN / 2];
    char id[PC_ID_LEN + 1];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return pc_cli_fail(PC_EXIT_FAILED, "no random numbers: %s", strerror(errno));
    pc_hex(bytes, sizeof bytes, id);
    json_object_set_new(o, "id", json_string(id));
    return 0;
}

static int set_tenant(const struct pc_owner_dir *dir, const struct pc_cli_args *args, json_t *o)
{
    struct pc_trust t;
    const char *given = args->value[PC_OPT_TENANT];
    if (given) {
        json_object_set_new(o, "tenant", json_string(given));
        return 0;
    }
    int status = pc_owner_trust(dir, &t);
    if (status)
        return status;
    json_object_set_new(o, "tenant", json_string(t.tenant));
    pc_trust_clear(&t);
    return 0;
}

static int set_hosts(const struct pc_order_hosts *h, json_t *o)
{
    char text[PC_HOST_REF_SIZE];
    struct pc_host_tree *tree = NULL;
    if (h->n == 0)
        return pc_cli_fail(PC_EXIT_USAGE, "no hosts: --hosts NAME,... or --hosts-file FILE says which");
    /* Of a shorter list the document's own rules say it. */
    if (h->n > PC_ORDER_LIST_MAX && !pc_hosts_distinct(h->host, h->n))
        return pc_cli_fail(PC_EXIT_REFUSED, "a host's name or identity is listed twice");
    if (h->n > PC_ORDER_LIST_MAX) {
        int r = pc_host_tree_new(h->host, h->n, &tree);
        if (r < 0)
            return pc_cli_fail(PC_EXIT_FAILED, "%u hosts: %s", h->n, pc_strerror(r));
        json_object_set_new(o, "hosts_root", pc_json_base64_new(pc_host_tree_root(tree), 32));
        pc_host_tree_free(tree);
    } else {
        json_t *list = json_array();
        for (uint32_t i = 0; i < h->n; i++) {
            pc_host_ref_format(&h->host[i], text);
            json_array_append_new(list, json_string(text));
        }
        json_object_set_new(o, "hosts", list);
    }
    json_object_set_new(o, "count", json_integer(h->n));
    return 0;
}

static int set_window(const struct pc_cli *cli, enum pc_class class_, const struct pc_cli_args *args, json_t *o)
{
    int64_t now = (int64_t)(cli->now_ns / PC_NS_PER_S), begin = now, end = 0;
    const char *expires = args->value[PC_OPT_EXPIRES];
    int status =
        args->value[PC_OPT_NOT_BEFORE] ? order_time("--not-before", args->value[PC_OPT_NOT_BEFORE], now, &begin) : 0;
    if (status == 0)
        status = order_time("--expires", expires ? expires : class_ == PC_CLASS_B ? "365d" : "2h", begin, &end);
    json_object_set_new(o, "not_before", time_json(begin));
    json_object_set_new(o, "expires", time_json(end));
    return status;
}

static int set_sequence(const struct pc_owner_dir *dir, const struct pc_cli_args *args, json_t *o)
{
    uint64_t n = 0;
    const char *given = args->value[PC_OPT_SEQUENCE];
    int status = given ? 0 : pc_owner_sequence(dir, &n);
    n++;
    if (given && pc_parse_u64(given, 1, PC_JSON_NUMBER_MAX, &n) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "--sequence %s: a whole number from 1 is wanted", given);
    json_object_set_new(o, "sequence", json_integer((json_int_t)n));
    return status;
}

static void set_plan(const struct pc_order_plan *plan, json_t *o)
{
    if (plan->dwell >= 0)
        json_object_set_new(o, "dwell", json_integer(plan->dwell));
    if (plan->rings)
        json_object_set(o, "rings", plan->rings);
    if (plan->halt)
        json_object_set(o, "halt", plan->halt);
    if (plan->standing)
        json_object_set(o, "standing", plan->standing);
}

/* Everything, in the order in which a person reads it. */
static int fill(const struct pc_cli *cli, const struct pc_owner_dir *dir, const struct pc_action *action,
                enum pc_class class_, const struct pc_cli_args *args, const struct pc_order_plan *plan,
                const struct pc_order_hosts *hosts, json_t *o)
{
    json_t *params = NULL;
    const char *says = args->value[PC_OPT_SAYS];
    json_object_set_new(o, "portcullis", json_string("order/1"));
    int status = set_id(o);
    if (status == 0)
        status = set_tenant(dir, args, o);
    if (status == 0)
        status = pc_order_params(action, args, &params);
    if (status)
        return status;
    json_object_set_new(o, "class", json_string(pc_class_letter(class_)));
    json_object_set_new(o, "action", json_string(action->name));
    json_object_set_new(o, "says", json_string(says ? says : action->brief));
    json_object_set_new(o, "params", params);
    status = set_hosts(hosts, o);
    if (status == 0)
        status = set_window(cli, class_, args, o);
    if (status == 0)
        status = set_sequence(dir, args, o);
    set_plan(plan, o);
    return status;
}

int pc_order_build(const struct pc_cli *cli, const struct pc_owner_dir *dir, const struct pc_action *action,
                   enum pc_class class_, const struct pc_cli_args *args, const struct pc_order_plan *plan,
                   struct pc_order_made *out)
{
    struct pc_order_made m = {0};
    char why[300];
    _json_ json_t *o = json_object();
    int status = pc_order_hosts(dir, args, &m.hosts);
    if (status == 0)
        status = fill(cli, dir, action, class_, args, plan, &m.hosts, o);
    if (status == 0) {
        m.text = json_dumps(o, JSON_INDENT(2));
        m.len = m.text ? strlen(m.text) : 0;
        enum pc_check c = m.text ? pc_order_parse(m.text, m.len, &m.order, why, sizeof why) : PC_CHECK_MEMORY;
        if (c != PC_CHECK_OK)
            status = pc_cli_fail(PC_EXIT_REFUSED, "every host would refuse this order (%s): %s", pc_check_word(c), why);
    }
    if (status)
        pc_order_made_clear(&m);
    else
        *out = m;
    return status;
}

void pc_order_made_clear(struct pc_order_made *m)
{
    free(m->text);
    pc_order_clear(&m->order);
    pc_order_hosts_clear(&m->hosts);
    *m = (struct pc_order_made){0};
}

static int write_hosts(const struct pc_order_made *m, const char *beside)
{
    struct pc_buf text _buf_free_;
    char line[PC_HOST_REF_SIZE];
    pc_buf_init(&text, (size_t)PC_ORDER_HOSTS_MAX * PC_HOST_REF_SIZE);
    for (uint32_t i = 0; i < m->hosts.n; i++) {
        pc_host_ref_format(&m->hosts.host[i], line);
        pc_buf_addf(&text, "%s\n", line);
    }
    if (text.failed)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    return pc_document_create(beside, text.data, text.len);
}

/* The document, after the list of its hosts when that does not fit: both or none. */
static int write_both(const struct pc_order_made *m, const char *path)
{
    _free_ char *beside = NULL;
    if (asprintf(&beside, "%s.hosts", path) < 0) {
        beside = NULL;
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    }
    int status = m->order.rooted ? write_hosts(m, beside) : 0;
    if (status)
        return status;
    status = pc_document_create(path, m->text, m->len);
    if (status && m->order.rooted)
        unlink(beside);
    return status;
}

int pc_order_write(const struct pc_owner_dir *dir, const struct pc_order_made *m, const char *path)
{
    uint64_t last = 0;
    bool counts = m->order.class_ != PC_CLASS_S; /* a stop's number counts nowhere */
    int status = counts ? pc_owner_sequence(dir, &last) : 0;
    if (status == 0 && counts && m->order.sequence > last) /* first: a number that is lost is better than one twice */
        status = pc_owner_sequence_keep(dir, m->order.sequence);
    return status ? status : write_both(m, path);
}
