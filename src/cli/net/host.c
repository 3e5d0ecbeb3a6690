/*
 * `portcullis host NAME`: one host, as it describes itself. Inventory, metrics and guard incidents are shown as the
 * host signed them, with when; what only the server says is marked.
 */
#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/net/facts.h"
#include "cli/net/net.h"

#include <string.h>

#define EVENTS_SHOWN 20

/* What a host was last asked, under the key of the server's answer. */
static const struct {
    const char *key, *title;
} parts[] = {{"inventory", "inventory"}, {"metrics", "metrics"}, {"incidents", "guard incidents"}};

/* Weighs all parts in place: {"proven", "data", "ended", ...} each. How many are forged. */
static unsigned weigh(struct pc_fleet *f, json_t *answer, const struct pc_host_ref *host)
{
    unsigned forged = 0;
    for (size_t i = 0; i < PC_ARRAY_SIZE(parts); i++) {
        const json_t *part = json_object_get(answer, parts[i].key);
        json_t *weighed = json_is_object(part) ? pc_facts_weigh(f, host, NULL, json_object_get(part, "envelope"))
                                               : json_null();
        forged += pc_text_of(weighed, "problem") != NULL;
        json_object_set_new(answer, parts[i].key, weighed);
    }
    return forged;
}

static void put_head(const struct pc_cli *cli, const json_t *h, enum pc_pin pin)
{
    char ago[32];
    pc_put(cli, PC_BOLD, pc_text_of(h, "name"));
    printf("#%s ", pc_text_of(h, "id"));
    pc_say(cli, pin == PC_PIN_SAME ? PC_GREEN : PC_YELLOW,
           pin == PC_PIN_SAME ? "(pinned)\n" : "(NOT pinned: compare it with the host itself)\n");
    printf("  the server says  %s, seen %s, agent ", pc_truth_of(h, "online") ? "online" : "offline",
           pc_ago(cli, pc_time_of(h, "last_seen"), ago));
    pc_put(cli, PC_PLAIN, pc_text_of(h, "agent"));
    printf(", from ");
    pc_put(cli, PC_PLAIN, pc_text_of(h, "address"));
    putchar('\n');
}

static void put_events(const struct pc_cli *cli, const json_t *events)
{
    size_t i;
    const json_t *e;
    if (json_array_size(events))
        printf("\nevents, the server says\n");
    json_array_foreach(events, i, e) {
        if (i == EVENTS_SHOWN)
            break;
        printf("  ");
        pc_put(cli, PC_DIM, pc_text_of(e, "time"));
        printf("  ");
        pc_put(cli, PC_BOLD, pc_text_of(e, "kind"));
        printf("  ");
        pc_put(cli, PC_PLAIN, pc_text_of(e, "text"));
        putchar('\n');
    }
    if (json_array_size(events) > EVENTS_SHOWN)
        printf("  ... %zu older ones: --json has them\n", json_array_size(events) - EVENTS_SHOWN);
}

static void put_host(const struct pc_cli *cli, const json_t *h, enum pc_pin pin)
{
    put_head(cli, h, pin);
    for (size_t i = 0; i < PC_ARRAY_SIZE(parts); i++) {
        printf("\n%s", parts[i].title);
        pc_facts_print(cli, json_object_get(h, parts[i].key));
    }
    put_events(cli, json_object_get(h, "events"));
}

static int get(struct pc_fleet *f, const char *name, json_t **out, struct pc_host_ref *ref)
{
    if (!pc_name_valid(name))
        return pc_cli_fail(PC_EXIT_USAGE, "%s: not a host's name: `portcullis hosts` lists them", name);
    int status = pc_fleet_get(f, out, "/v1/hosts/%s", name);
    if (status)
        return status;
    if (!pc_fleet_host_ref(*out, ref) || strcmp(ref->name, name) != 0)
        return pc_cli_fail(PC_EXIT_FAILED,
                           "%s: the answer is about another host, or its identity and key do not belong together",
                           f->dir.url);
    return pc_fleet_pin(f, ref) == PC_PIN_CHANGED ? pc_fleet_other_identity(f, ref) : 0;
}

int pc_cmd_host(struct pc_cli *cli, const struct pc_cli_args *args)
{
    _fleet_ struct pc_fleet f = {0};
    struct pc_host_ref ref;
    json_t *answer = NULL;
    int status = pc_fleet_begin(cli, &f);
    if (status == 0)
        status = pc_fleet_trust(&f);
    if (status == 0)
        status = get(&f, args->word[0], &answer, &ref);
    if (status == 0) {
        enum pc_pin pin = pc_fleet_pin(&f, &ref);
        unsigned forged = weigh(&f, answer, &ref);
        json_object_set_new(answer, "pin", json_string(pin == PC_PIN_SAME ? "pinned" : "new"));
        if (cli->json)
            status = pc_fleet_put_json(answer);
        else
            put_host(cli, answer, pin);
        if (forged)
            status = pc_cli_fail(PC_EXIT_FAILED, "%s: the server shows %u answers that this host did not give",
                                 ref.name, forged);
    }
    json_decref(answer);
    return status;
}
