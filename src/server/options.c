/* Owns how the command line is read. Must not know what the commands do. */
#include "server/options.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "server/command.h"

#include <getopt.h>

static const struct option longs[] = {
    {"state", required_argument, NULL, PC_OPT_STATE},
    {"tenant", required_argument, NULL, PC_OPT_TENANT},
    {"listen", required_argument, NULL, PC_OPT_LISTEN},
    {"link", required_argument, NULL, PC_OPT_LINK},
    {"name", required_argument, NULL, PC_OPT_NAME},
    {"database", required_argument, NULL, PC_OPT_DATABASE},
    {"user", required_argument, NULL, PC_OPT_USER},
    {"hours", required_argument, NULL, PC_OPT_HOURS},
    {"role", required_argument, NULL, PC_OPT_ROLE},
    {"days", required_argument, NULL, PC_OPT_DAYS},
    {0},
};

static int number(const char *what, const char *text, uint64_t max, uint32_t *out)
{
    uint64_t n;
    if (pc_parse_u64(text, 1, max, &n) < 0) {
        pc_server_complain("--%s %s: a number from 1 to %llu", what, text, (unsigned long long)max);
        return PC_E_SYNTAX;
    }
    *out = (uint32_t)n;
    return 0;
}

static int take(struct pc_server_options *o, int which, const char *value)
{
    const char **texts[] = {&o->state,    &o->tenant, &o->listen, &o->link, NULL,
                            &o->database, &o->user,   NULL,       &o->role, NULL};
    if (which == PC_OPT_HOURS)
        return number("hours", value, 24 * 365, &o->hours);
    if (which == PC_OPT_DAYS)
        return number("days", value, 3650, &o->days);
    if (which == PC_OPT_NAME) {
        if (o->names == PC_SERVER_NAMES_MAX)
            return PC_E_LIMIT;
        o->name[o->names++] = value;
        return 0;
    }
    *texts[__builtin_ctz((unsigned)which)] = value;
    return 0;
}

static int missing(const struct pc_server_options *o, unsigned takes)
{
    const struct {
        unsigned option;
        const char *value, *name;
    } required[] = {
        {PC_OPT_STATE, o->state, "state"}, {PC_OPT_TENANT, o->tenant, "tenant"}, {PC_OPT_LISTEN, o->listen, "listen"},
        {PC_OPT_LINK, o->link, "link"},    {PC_OPT_ROLE, o->role, "role"},
    };
    for (size_t i = 0; i < PC_ARRAY_SIZE(required); i++)
        if (takes & required[i].option && !required[i].value) {
            pc_server_complain("--%s is missing", required[i].name);
            return PC_E_SYNTAX;
        }
    return 0;
}

int pc_server_options_read(int argc, char **argv, unsigned takes, int rest, struct pc_server_options *out)
{
    struct pc_server_options o = {0};
    int which;
    optind = 1;
    while ((which = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (which == '?')
            return PC_E_SYNTAX;
        if (!(takes & (unsigned)which)) {
            pc_server_complain("%s does not take this option", argv[0]);
            return PC_E_SYNTAX;
        }
        if (take(&o, which, optarg) < 0)
            return PC_E_SYNTAX;
    }
    o.rest = argv + optind;
    o.n_rest = argc - optind;
    if (missing(&o, takes) < 0)
        return PC_E_SYNTAX;
    if (o.n_rest < rest || (rest == 0 && o.n_rest > 0)) {
        pc_server_complain("%s", o.n_rest < rest ? "an argument is missing" : "more arguments than the command takes");
        return PC_E_SYNTAX;
    }
    *out = o;
    return 0;
}
