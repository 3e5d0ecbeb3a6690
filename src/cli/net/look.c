/*
 * `portcullis look ACTION --hosts ...`: asks hosts something that changes nothing (class A), and shows each answer as
 * the host signed it. The server may ask hosts on its own as often as it likes: it needs no signature, and gives no
 * right.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "cli/net/facts.h"
#include "cli/net/net.h"
#include "trust/json.h"
#include "trust/report.h"

#include <string.h>
#include <time.h>

enum option { OPTION_HOSTS, OPTION_LOG, OPTION_LINES, OPTION_SERVICE, OPTION_INCIDENT, OPTION_WAIT };
#define WAIT_DEFAULT 15
#define PAUSE_NS (150 * PC_NS_PER_MS)

struct looking {
    struct pc_fleet fleet;
    const struct pc_action *action;
    const char *id;  /* of the look, in asked */
    json_t *asked;   /* the server's answer to the question */
    json_t *answers; /* "NAME" -> weighed */
    json_t *wanted;  /* names; all hosts: "*" among them */
    json_t *ids;     /* name -> identity, of those that were asked for by it */
    unsigned forged;
};

static void looking_clear(struct looking *l)
{
    json_decref(l->asked);
    json_decref(l->answers);
    json_decref(l->wanted);
    json_decref(l->ids);
    pc_fleet_end(&l->fleet);
}
#define _looking_ __attribute__((cleanup(looking_clear)))

/* --- the question ------------------------------------------------------------------------------------------------- */

static int unknown_look(const char *name)
{
    size_t n, used = 0;
    char list[256] = "";
    const struct pc_action *a = pc_actions(&n);
    for (size_t i = 0; i < n && used < sizeof list; i++)
        if (a[i].classes & 1u << PC_CLASS_A)
            used += (size_t)snprintf(list + used, sizeof list - used, " %s", a[i].name);
    return pc_cli_fail(PC_EXIT_USAGE, "%s: not a look; there are:%s", name, list);
}

/* The parameters that were given, as the action wants them. NULL after saying what is wrong. */
static json_t *params_of(const struct pc_cli_args *args, const struct pc_action *action)
{
    static const struct {
        enum option option;
        const char *key;
        bool number;
    } all[] = {{OPTION_LOG, "log", false},
               {OPTION_LINES, "lines", true},
               {OPTION_SERVICE, "service", false},
               {OPTION_INCIDENT, "incident", true}};
    json_t *params = json_object();
    char why[256] = "";
    for (size_t i = 0; i < PC_ARRAY_SIZE(all); i++) {
        const char *given = args->value[all[i].option];
        uint64_t n = 0;
        bool bad = given && all[i].number && pc_parse_u64(given, 0, PC_JSON_NUMBER_MAX, &n) < 0;
        if (bad)
            pc_cli_fail(PC_EXIT_USAGE, "look: --%s %s: not a number", all[i].key, given);
        if (bad) {
            json_decref(params);
            return NULL;
        }
        if (given)
            json_object_set_new(params, all[i].key, all[i].number ? json_integer((json_int_t)n) : json_string(given));
    }
    if (strcmp(action->name, "log.excerpt") == 0 && !args->value[OPTION_LINES])
        json_object_set_new(params, "lines", json_integer(100));
    if (pc_action_check(action, params, why, sizeof why) == 0)
        return params;
    pc_cli_fail(PC_EXIT_USAGE, "look: %s: %s", action->name, why);
    json_decref(params);
    return NULL;
}

/* "NAME", "NAME#HOSTID" or "*" onto the list. False: none of them. */
static bool take_host(struct looking *l, const char *word)
{
    struct pc_host_ref ref;
    bool full = pc_host_ref_parse(word, &ref) == 0;
    if (full)
        json_object_set_new(l->ids, ref.name, json_string(ref.id));
    else if (strcmp(word, "*") != 0 && !pc_name_valid(word))
        return false;
    json_array_append_new(l->wanted, json_string(full ? ref.name : word));
    return true;
}

/* Out of --hosts, given once or often, with commas. */
static int take_hosts(struct looking *l, const struct pc_cli_args *args)
{
    size_t at = 0;
    for (const char *given; (given = pc_cli_next(args, OPTION_HOSTS, &at));) {
        _free_ char *list = strdup(given);
        char *rest = list;
        for (char *word; list && (word = strsep(&rest, ","));)
            if (!take_host(l, word))
                return pc_cli_fail(PC_EXIT_USAGE, "look: --hosts %s: names of hosts are wanted, or \"*\"", given);
    }
    return json_array_size(l->wanted)
               ? 0
               : pc_cli_fail(PC_EXIT_USAGE, "look: --hosts NAME,... says whom to ask; \"*\" asks all");
}

/* Who asks for an identity may not have pinned another. */
static int check_ids(struct looking *l)
{
    const char *name;
    json_t *id;
    json_object_foreach(l->ids, name, id) {
        const struct pc_host_ref *pin = pc_pins_find(&l->fleet.pins, name);
        if (pin && strcmp(pin->id, json_string_value(id)) != 0)
            return pc_cli_fail(PC_EXIT_REFUSED, "look: %s#%s: you pinned %s#%s", name, json_string_value(id), name,
                               pin->id);
    }
    return 0;
}

static int ask(struct looking *l, json_t *params)
{
    int status = pc_fleet_post_json(
        &l->fleet, "/v1/looks",
        json_pack("{s:O,s:s,s:o}", "hosts", l->wanted, "action", l->action->name, "params", params), &l->asked);
    if (status)
        return status;
    l->id = pc_text_of(l->asked, "look");
    return l->id && pc_hex_valid(l->id, PC_ID_LEN)
               ? 0
               : pc_cli_fail(PC_EXIT_FAILED, "%s: the answer names no look", l->fleet.dir.url);
}

/* --- the answers -------------------------------------------------------------------------------------------------- */

/*
 * Who says to have answered: by its own document. Only the pins can say whether that is the host that the owner means.
 */
static bool host_of(const json_t *envelope, struct pc_host_ref *out)
{
    _free_ char *document = NULL;
    size_t len;
    struct pc_result r;
    const json_t *text = json_object_get(envelope, "document");
    if (!json_is_string(text) || pc_json_base64(text, PC_RESULT_DOCUMENT_MAX, &document, &len) < 0 ||
        pc_result_parse(document, len, &r) < 0)
        return false;
    *out = r.host;
    pc_result_clear(&r);
    return true;
}

/* NULL: it is the host that was meant. */
static const char *other_identity(const struct looking *l, const struct pc_host_ref *host, enum pc_pin pin)
{
    const char *id = pc_text_of(l->ids, host->name);
    if (pin == PC_PIN_CHANGED)
        return "this host has another identity than you pinned";
    return id && strcmp(id, host->id) != 0 ? "this host has another identity than you asked for" : NULL;
}

static void take_answer(struct looking *l, const json_t *row)
{
    const json_t *envelope = json_object_get(row, "envelope");
    struct pc_host_ref host;
    if (!json_is_object(envelope))
        return;
    if (!host_of(envelope, &host)) {
        l->forged++;
        json_object_set_new(l->answers, "?", json_pack("{s:b,s:s}", "proven", 0, "problem", "not an answer of a host"));
        return;
    }
    if (json_object_get(l->answers, host.name))
        return;
    json_t *weighed = pc_facts_weigh(&l->fleet, &host, l->id, envelope);
    enum pc_pin pin = pc_fleet_pin(&l->fleet, &host);
    const char *other = other_identity(l, &host, pin);
    if (other) {
        json_decref(weighed);
        weighed = json_pack("{s:b,s:s}", "proven", 0, "problem", other);
    }
    l->forged += pc_text_of(weighed, "problem") != NULL;
    json_object_set_new(weighed, "pin",
                        json_string(pin == PC_PIN_SAME  ? "pinned"
                                    : pin == PC_PIN_NEW ? "new"
                                                        : "changed"));
    json_object_set_new(l->answers, host.name, weighed);
    if (l->fleet.cli->json)
        return;
    pc_put(l->fleet.cli, PC_BOLD, host.name);
    if (pin == PC_PIN_NEW)
        pc_say(l->fleet.cli, PC_YELLOW, " (NOT pinned)");
    pc_facts_print(l->fleet.cli, weighed);
    fflush(stdout);
}

static bool all_answered(const struct looking *l)
{
    size_t i;
    const json_t *name, *reached = json_object_get(l->asked, "reached");
    bool all = json_array_size(l->wanted) == 1 && strcmp(json_string_value(json_array_get(l->wanted, 0)), "*") == 0;
    if (json_is_integer(reached) && (json_int_t)json_object_size(l->answers) >= json_integer_value(reached))
        return true;
    json_array_foreach(l->wanted, i, name)
        if (all || !json_object_get(l->answers, json_string_value(name)))
            return false;
    return true;
}

static int collect(struct looking *l, unsigned seconds)
{
    uint64_t until = pc_mono_ns() + seconds * PC_NS_PER_S;
    while (!all_answered(l) && pc_mono_ns() < until) {
        json_t *answer;
        size_t i;
        const json_t *row;
        int status = pc_fleet_get(&l->fleet, &answer, "/v1/looks/%s", l->id);
        if (status)
            return status;
        json_array_foreach(json_object_get(answer, "results"), i, row)
            take_answer(l, row);
        json_decref(answer);
        if (!all_answered(l))
            nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    return 0;
}

/* 1 after saying that this host did not answer. */
static size_t missing(const struct looking *l, const char *name)
{
    if (json_object_get(l->answers, name))
        return 0;
    pc_cli_fail(PC_EXIT_FAILED, "%s: no answer: it may be offline, or the server keeps it back", name);
    return 1;
}

static size_t all_missing(const struct looking *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->fleet.pins.n; i++)
        n += missing(l, l->fleet.pins.host[i].name);
    if (n == 0 && json_object_size(l->answers) == 0) {
        pc_cli_fail(PC_EXIT_FAILED, "no host answered");
        n = 1;
    }
    return n;
}

static int finish(const struct looking *l)
{
    size_t i, silent = 0;
    const json_t *name;
    int status = l->fleet.cli->json ? pc_fleet_put_json(l->answers) : 0;
    json_array_foreach(l->wanted, i, name)
        silent += strcmp(json_string_value(name), "*") == 0 ? all_missing(l) : missing(l, json_string_value(name));
    if (l->forged)
        return pc_cli_fail(PC_EXIT_FAILED, "the server shows %u answers that no host of yours gave", l->forged);
    return status ? status : silent ? PC_EXIT_FAILED : 0;
}

int pc_cmd_look(struct pc_cli *cli, const struct pc_cli_args *args)
{
    _looking_ struct looking l = {.action = pc_action_find(args->word[0]),
                                  .answers = json_object(),
                                  .wanted = json_array(),
                                  .ids = json_object()};
    uint64_t seconds = WAIT_DEFAULT;
    if (!l.action || !(l.action->classes & 1u << PC_CLASS_A))
        return unknown_look(args->word[0]);
    if (args->value[OPTION_WAIT] && pc_parse_u64(args->value[OPTION_WAIT], 0, 3600, &seconds) < 0)
        return pc_cli_fail(PC_EXIT_USAGE, "look: --wait %s: 0 to 3600 seconds", args->value[OPTION_WAIT]);
    json_t *params = params_of(args, l.action);
    if (!params)
        return PC_EXIT_USAGE;
    int status = take_hosts(&l, args);
    if (status == 0)
        status = pc_fleet_begin(cli, &l.fleet);
    if (status == 0)
        status = pc_fleet_trust(&l.fleet);
    if (status == 0)
        status = check_ids(&l);
    if (status)
        json_decref(params);
    else
        status = ask(&l, params);
    if (status == 0)
        status = collect(&l, (unsigned)seconds);
    return status ? status : finish(&l);
}
