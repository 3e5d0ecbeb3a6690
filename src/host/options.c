/* Owns the command line of the fleet's roles. A role is a line in the table; what it does is in its own file. */
#include "host/options.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

static const struct role {
    const char *name, *words, *brief;
    int (*run)(const struct pc_host_options *o);
} roles[] = {
    {"enroll", "--server URL --ca FILE --trust FILE --name NAME --token TOKEN [--trust-sig FILE]... [--again]",
     "make this host one of a fleet: its keys, the pinned trust file and CA", pc_role_enroll},
    {"host", "[--protect DIR]... [--no-guard]",
     "link and runner (and guard, where folders are configured), kept running", pc_role_host},
    {"link", "", "only the connection to the server, as an unprivileged user", pc_role_link},
    {"runner", "", "only the part that checks orders and carries them out", pc_role_runner},
    {"fetch", "--path PATH", "(internal) one file from the server to standard output", pc_role_fetch},
};

static const struct role *find(const char *name)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(roles); i++)
        if (strcmp(roles[i].name, name) == 0)
            return &roles[i];
    return NULL;
}

bool pc_host_is_role(const char *name)
{
    return find(name) != NULL;
}

static void host_usage(FILE *f)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(roles); i++)
        fprintf(f, "%s portcullisd %s %s\n           %s\n", i ? "      " : "usage:", roles[i].name, roles[i].words,
                roles[i].brief);
    fputs("\nAll take --config FILE, --state DIR (the guard's folder, default " PC_STATE_DEFAULT
          ") and --fleet-state DIR (default DIR/fleet).\n"
          "Exit status: 0 ended when asked to, 1 failed, 2 wrong usage, 64 a newer program waits for its trial "
          "(runner), 78 bad settings.\n",
          f);
}

enum {
    CONFIG = 256,
    STATE,
    FLEET,
    SERVER,
    CA,
    TRUST,
    TRUST_SIG,
    NAME,
    TOKEN,
    AGAIN,
    NO_GUARD,
    PROTECT,
    PATH,
    WATCHED,
    TRIAL
};
static const struct option longs[] = {{"config", required_argument, NULL, CONFIG},
                                      {"state", required_argument, NULL, STATE},
                                      {"fleet-state", required_argument, NULL, FLEET},
                                      {"server", required_argument, NULL, SERVER},
                                      {"ca", required_argument, NULL, CA},
                                      {"trust", required_argument, NULL, TRUST},
                                      {"trust-sig", required_argument, NULL, TRUST_SIG},
                                      {"name", required_argument, NULL, NAME},
                                      {"token", required_argument, NULL, TOKEN},
                                      {"again", no_argument, NULL, AGAIN},
                                      {"no-guard", no_argument, NULL, NO_GUARD},
                                      {"protect", required_argument, NULL, PROTECT},
                                      {"path", required_argument, NULL, PATH},
                                      {"watched", no_argument, NULL, WATCHED},
                                      {"trial", no_argument, NULL, TRIAL},
                                      {"help", no_argument, NULL, 'h'},
                                      {NULL, 0, NULL, 0}};

/* Where the value of an option goes; NULL for those that are not one text. */
static const char **place_of(struct pc_host_options *o, int c)
{
    switch (c) {
    case CONFIG: return &o->config;
    case STATE: return &o->state;
    case FLEET: return &o->fleet;
    case SERVER: return &o->server;
    case CA: return &o->ca;
    case TRUST: return &o->trust;
    case NAME: return &o->name;
    case TOKEN: return &o->token;
    case PATH: return &o->path;
    default: return NULL;
    }
}

static bool take(struct pc_host_options *o, int c)
{
    const char **place = place_of(o, c);
    if (place)
        *place = optarg;
    else if (c == TRUST_SIG && o->trust_sigs < PC_TRUST_SIGS_MAX)
        o->trust_sig[o->trust_sigs++] = optarg;
    else if (c == PROTECT && o->protects < PC_SETTINGS_PATHS_MAX)
        o->protect[o->protects++] = optarg;
    else if (c == AGAIN)
        o->again = true;
    else if (c == NO_GUARD)
        o->no_guard = true;
    else if (c == WATCHED)
        o->watched = true;
    else if (c == TRIAL)
        o->trial = true;
    else if (c == 'h')
        o->help = true;
    else
        return false;
    return true;
}

int pc_host_main(int argc, char **argv)
{
    static struct pc_host_options o;
    static char fleet[4096];
    const struct role *role = find(argv[1]);
    int c;
    optind = 2;
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1)
        if (!take(&o, c)) {
            host_usage(stderr);
            return PC_EXIT_USAGE;
        }
    if (o.help || !role || optind != argc) {
        host_usage(o.help ? stdout : stderr);
        return o.help ? 0 : PC_EXIT_USAGE;
    }
    if (!o.fleet) {
        snprintf(fleet, sizeof fleet, "%s/fleet", o.state ? o.state : PC_STATE_DEFAULT);
        o.fleet = fleet;
    }
    o.argv = argv;
    /* The path, not /proc/self/exe: an upgrade puts another file there. */
    ssize_t n = readlink("/proc/self/exe", o.program, sizeof o.program - 1);
    if (n <= 0 || strstr(o.program, " (deleted)"))
        snprintf(o.program, sizeof o.program, "/proc/self/exe");
    if (geteuid() != 0) {
        fprintf(stderr, "portcullisd: %s needs root: it keeps keys that only root may read\n", role->name);
        return 1;
    }
    return role->run(&o);
}

int pc_host_settings(const struct pc_host_options *o, struct pc_settings *out)
{
    char err[512];
    if (pc_settings_wanted(o->config, o->protect, o->protects, out, err, sizeof err) == 0)
        return 0;
    fprintf(stderr, "portcullisd: %s\n", err);
    return PC_EXIT_CONFIG;
}

int pc_host_folder(const struct pc_host_options *o, bool make, struct pc_fleet_dir *out)
{
    int r = pc_fleet_open(o->fleet, make, out);
    if (r == PC_E_REFUSED)
        fprintf(
            stderr,
            "portcullisd: %s: not root's alone (owner, or others may write): name another folder with --fleet-state\n",
            o->fleet);
    else if (r == -ENOENT && !make)
        fprintf(stderr, "portcullisd: %s: there is none: this host is not enrolled; see `portcullisd enroll --help`\n",
                o->fleet);
    else if (r < 0)
        fprintf(stderr, "portcullisd: %s: %s\n", o->fleet, pc_strerror(r));
    return r;
}

int pc_identity_of(const char *name, struct pc_identity *out)
{
    uint64_t number;
    const struct passwd *p = pc_parse_u64(name, 0, UINT32_MAX - 1, &number) == 0 ? getpwuid((uid_t)number)
                                                                                 : getpwnam(name);
    if (!p)
        return PC_E_NOTFOUND;
    struct pc_identity id = {.uid = p->pw_uid, .gid = p->pw_gid, .group_count = PC_GROUPS_MAX};
    if (getgrouplist(p->pw_name, p->pw_gid, id.groups, &id.group_count) < 0)
        return PC_E_LIMIT;
    *out = id;
    return 0;
}

int pc_identity_link(const struct pc_settings *s, struct pc_identity *out, bool *fallback)
{
    int r = pc_identity_of(s->link_user, out);
    *fallback = r == PC_E_NOTFOUND && strcmp(s->link_user, "portcullis-link") == 0;
    return *fallback ? pc_identity_of("nobody", out) : r;
}
