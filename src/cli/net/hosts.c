/*
 * `portcullis hosts [--pin]`: the fleet as the server lists it, held against the identities that the owner pinned. The
 * pins are the owner's own word; a server that shows another identity, or hides a host, is found out here.
 */
#include "base/cleanup.h"
#include "cli/net/net.h"
#include "cli/net/fleet.h"

#include <string.h>

enum option { OPTION_PIN, OPTION_YES };
#define PAGE 1000
#define HOSTS_MAX 1000000

struct listing {
    struct pc_fleet fleet;
    json_t *hosts;
    size_t changed, fresh, missing;
};

static void listing_clear(struct listing *l)
{
    json_decref(l->hosts);
    pc_fleet_end(&l->fleet);
}
#define _listing_ __attribute__((cleanup(listing_clear)))

/* --- getting all of them ------------------------------------------------------------------------------------------ */

/* Appends a page; *after becomes the last name of it. Names must go up: a server cannot send us round in circles. */
static int take_page(struct listing *l, const json_t *page, char after[PC_NAME_MAX + 1])
{
    size_t i;
    json_t *h;
    json_array_foreach(page, i, h) {
        struct pc_host_ref ref;
        if (!pc_fleet_host_ref(h, &ref))
            return pc_cli_fail(PC_EXIT_FAILED, "%s: lists a host whose name, identity and key do not belong together",
                               l->fleet.dir.url);
        if (strcmp(ref.name, after) <= 0 || json_array_size(l->hosts) >= HOSTS_MAX)
            return pc_cli_fail(PC_EXIT_FAILED, "%s: the list of hosts is not in order", l->fleet.dir.url);
        snprintf(after, PC_NAME_MAX + 1, "%s", ref.name);
        json_array_append(l->hosts, h);
    }
    return 0;
}

static int get_all(struct listing *l)
{
    char after[PC_NAME_MAX + 1] = "";
    size_t n = PAGE;
    int status = 0;
    while (status == 0 && n >= PAGE) {
        json_t *page;
        status = pc_fleet_get(&l->fleet, &page, "/v1/hosts?max=%d&after=%s", PAGE, after);
        if (status)
            return status;
        n = json_array_size(page);
        status = json_is_array(page)
                     ? take_page(l, page, after)
                     : pc_cli_fail(PC_EXIT_FAILED, "%s: the answer is not a list of hosts", l->fleet.dir.url);
        json_decref(page);
    }
    return status;
}

/* --- against the pins --------------------------------------------------------------------------------------------- */

static void weigh(struct listing *l)
{
    static const char *const words[] = {[PC_PIN_NEW] = "new", [PC_PIN_SAME] = "pinned", [PC_PIN_CHANGED] = "changed"};
    size_t i;
    json_t *h;
    json_array_foreach(l->hosts, i, h) {
        struct pc_host_ref ref;
        pc_fleet_host_ref(h, &ref);
        enum pc_pin pin = pc_fleet_pin(&l->fleet, &ref);
        json_object_set_new(h, "pin", json_string(words[pin]));
        l->changed += pin == PC_PIN_CHANGED;
        l->fresh += pin == PC_PIN_NEW;
    }
}

static bool is_listed(const json_t *hosts, const char *name)
{
    size_t low = 0, high = json_array_size(hosts);
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strcmp(name, pc_text_of(json_array_get(hosts, middle), "name"));
        if (order == 0)
            return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

/* Pinned hosts that the server does not speak of come last. */
static void add_missing(struct listing *l)
{
    size_t listed = json_array_size(l->hosts);
    json_t *missing = json_array();
    for (size_t i = 0; i < l->fleet.pins.n; i++) {
        const struct pc_host_ref *pin = &l->fleet.pins.host[i];
        if (listed == 0 || !is_listed(l->hosts, pin->name))
            json_array_append_new(missing, json_pack("{s:s,s:s,s:b,s:s}", "name", pin->name, "id", pin->id, "online", 0,
                                                     "pin", "missing"));
    }
    l->missing = json_array_size(missing);
    json_array_extend(l->hosts, missing);
    json_decref(missing);
}

static void put_table(const struct pc_cli *cli, const json_t *hosts)
{
    static const char *const heads[] = {"HOST", "IDENTITY", "PIN", "ONLINE", "LAST SEEN", "AGENT", "ADDRESS", NULL};
    struct pc_table *t = pc_table_new(heads);
    size_t i;
    const json_t *h;
    char ago[32];
    json_array_foreach(hosts, i, h) {
        const char *pin = pc_text_of(h, "pin");
        bool bad = strcmp(pin, "changed") == 0 || strcmp(pin, "missing") == 0;
        pc_table_cell(t, PC_BOLD, pc_text_of(h, "name"));
        pc_table_cell(t, bad ? PC_RED : PC_PLAIN, pc_text_of(h, "id"));
        pc_table_cell(t, bad ? PC_RED : strcmp(pin, "new") == 0 ? PC_YELLOW : PC_GREEN, pin);
        pc_table_cell(t, pc_truth_of(h, "online") ? PC_GREEN : PC_YELLOW, pc_truth_of(h, "online") ? "yes" : "no");
        pc_table_cell(t, PC_PLAIN, pc_ago(cli, pc_time_of(h, "last_seen"), ago));
        pc_table_cell(t, PC_DIM, pc_text_of(h, "agent"));
        pc_table_cell(t, PC_DIM, pc_text_of(h, "address"));
    }
    pc_table_print(cli, t);
    if (json_array_size(hosts) == 0)
        puts("no hosts");
}

/* --- pinning ------------------------------------------------------------------------------------------------------ */

/*
 * Adds the new ones after they were shown. Never changes a pin: that is done by hand, by somebody who looked at the
 * host.
 */
static int pin_new(struct listing *l, bool yes)
{
    char question[128];
    size_t n = 0, i;
    const json_t *h;
    if (l->fresh == 0) {
        fputs("every host that the server lists is pinned\n", stderr);
        return 0;
    }
    snprintf(question, sizeof question,
             "Pin these %zu new identities? Compare each with what `portcullisd enroll` printed on the host.",
             l->fresh);
    if (!yes && !pc_fleet_confirm(question))
        return pc_cli_fail(PC_EXIT_REFUSED, "nothing was pinned%s",
                           isatty(STDIN_FILENO) ? "" : ": there is no terminal to ask; say --yes");
    _free_ struct pc_host_ref *refs = calloc(l->fresh, sizeof *refs);
    if (!refs)
        return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    json_array_foreach(l->hosts, i, h)
        if (strcmp(pc_text_of(h, "pin"), "new") == 0 && pc_fleet_host_ref(h, &refs[n]))
            n++;
    int status = pc_pins_add(&l->fleet.dir, refs, n);
    if (status == 0)
        fprintf(stderr, "pinned %zu hosts in %s/hosts\n", n, l->fleet.dir.path);
    return status;
}

/* Says what is wrong, loudly; the status. */
static int verdict(const struct listing *l)
{
    int status = 0;
    size_t i;
    const json_t *h;
    json_array_foreach(l->hosts, i, h) {
        struct pc_host_ref ref;
        if (strcmp(pc_text_of(h, "pin"), "changed") == 0 && pc_fleet_host_ref(h, &ref))
            status = pc_fleet_other_identity(&l->fleet, &ref);
    }
    if (l->missing)
        status = pc_cli_fail(PC_EXIT_FAILED,
                             "the server does not list %zu of the hosts that you pinned (\"missing\" above)",
                             l->missing);
    return status;
}

int pc_cmd_hosts(struct pc_cli *cli, const struct pc_cli_args *args)
{
    _listing_ struct listing l = {.hosts = json_array()};
    int status = pc_fleet_begin(cli, &l.fleet);
    if (status == 0)
        status = get_all(&l);
    if (status)
        return status;
    weigh(&l);
    add_missing(&l);
    if (cli->json)
        status = pc_fleet_put_json(l.hosts);
    else
        put_table(cli, l.hosts);
    int bad = verdict(&l);
    if (status || bad)
        return status ? status : bad;
    if (args->value[OPTION_PIN] && (fflush(stdout) != 0 || ferror(stdout)))
        return pc_cli_fail(PC_EXIT_FAILED, "nothing was pinned: the hosts could not be shown");
    return args->value[OPTION_PIN] ? pin_new(&l, args->value[OPTION_YES] != NULL) : 0;
}
