/* Owns portcullisd's command line: which role this process plays. */
#include "agent/guard.h"

#include "base/err.h"
#include "base/str.h"
#include "host/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define EXIT_CONFIG 78 /* EX_CONFIG: the supervisor and systemd do not try again */
#define EXIT_NOTHING 3 /* no folder is configured */
#define STATE_DEFAULT "/var/lib/portcullis"

struct options {
    const char *config, *state;
    const char *protect[PC_SETTINGS_PATHS_MAX];
    uint32_t protects;
    bool check, if_any;
};

static void usage(FILE *f)
{
    fputs("usage: portcullisd guard [--protect DIR]... [--config FILE] [--state DIR]\n"
          "       portcullisd -n [--config FILE] [--protect DIR]...\n"
          "       portcullisd --print-settings | --version | --help\n"
          "       portcullisd enroll | host | link | runner [--help]     this host as one of a fleet\n"
          "\n"
          "guard              guard folders, in the foreground; prints \"portcullis: guarding N folders\" when active\n"
          "  --protect DIR    a folder to guard, besides those of the settings (repeatable)\n"
          "  --config FILE    settings (default " PC_SETTINGS_PATH ", which may be missing)\n"
          "  --state DIR      index, control socket and log (default " STATE_DEFAULT ")\n"
          "  --if-any         do not guard, only tell whether there is a folder to guard: 0, or 3\n"
          "-n                 check the settings and exit\n"
          "--print-settings   a sample settings file with every key explained\n"
          "\n"
          "Signals: HUP reloads the settings, TERM and INT end the guard (what is frozen stays frozen).\n"
          "Exit status: 0 ended when asked to, 1 failed, 2 wrong usage, 3 no folder to guard, 78 bad settings.\n",
          f);
}

static int load_settings(const struct options *o, struct pc_settings *out)
{
    char err[512];
    int r = pc_settings_wanted(o->config, o->protect, o->protects, out, err, sizeof err);
    if (r < 0)
        fprintf(stderr, "portcullisd: %s\n", err);
    return r;
}

/* The state folder holds what undoes an attack: a folder of ours alone, or nothing. */
static int prepare_state(const char *path)
{
    struct stat st;
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        fprintf(stderr, "portcullisd: %s: %s; make its parent folder, or name another with --state\n", path,
                strerror(errno));
        return -errno;
    }
    if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
        fprintf(stderr, "portcullisd: %s is not a folder of this user; name another with --state\n", path);
        return PC_E_REFUSED;
    }
    if (chmod(path, 0711) < 0) /* others may pass through to the control socket, which checks who they are */
        return -errno;
    return 0;
}

static int env_number(const char *name, int otherwise)
{
    const char *text = getenv(name);
    uint64_t v;
    return text && pc_parse_u64(text, 0, INT32_MAX, &v) == 0 ? (int)v : otherwise;
}

static int run_worker(const struct options *o, struct pc_settings *settings, const char *state)
{
    struct pc_guard *g = calloc(1, sizeof *g);
    if (!g)
        return 1;
    g->settings = *settings;
    snprintf(g->state_dir, sizeof g->state_dir, "%s", state);
    snprintf(g->config_path, sizeof g->config_path, "%s", o->config ? o->config : PC_SETTINGS_PATH);
    g->extra_protect = (char **)o->protect;
    g->extra_protects = o->protects;
    g->supervisor_fd = env_number("PORTCULLIS_BEAT_FD", -1);
    g->supervisor_restarts = (uint32_t)env_number("PORTCULLIS_RESTARTS", 0);
    g->supervisor_pid = env_number("PORTCULLIS_SUPERVISOR", 0);
    fcntl(g->supervisor_fd, F_SETFD, FD_CLOEXEC);
    int r = pc_guard_run(g);
    pc_settings_free(&g->settings);
    free(g);
    return r < 0 ? 1 : 0;
}

static int nothing(const struct options *o)
{
    fprintf(stderr, "portcullisd: no folder is to be guarded: %s names none ([guard] protect), nor does --protect\n",
            o->config ? o->config : PC_SETTINGS_PATH);
    return EXIT_NOTHING;
}

/* A unit's ExecCondition=: what is wrong with the settings is the guard's to say, so that its unit fails with it. */
static int any(const struct options *o)
{
    struct pc_settings s = {0};
    char err[512];
    if (pc_settings_wanted(o->config, o->protect, o->protects, &s, err, sizeof err) < 0)
        return 0;
    uint32_t count = s.protect.count;
    pc_settings_free(&s);
    return count ? 0 : nothing(o);
}

static int guard(char **argv, const struct options *o)
{
    struct pc_settings settings = {0};
    if (o->if_any)
        return any(o);
    if (load_settings(o, &settings) < 0)
        return EXIT_CONFIG;
    if (settings.protect.count == 0) {
        pc_settings_free(&settings);
        return nothing(o);
    }
    char state[PATH_MAX];
    const char *wanted = o->state ? o->state : STATE_DEFAULT;
    int r = geteuid() != 0 ? -EPERM : prepare_state(wanted);
    if (geteuid() != 0)
        fprintf(stderr, "portcullisd: guarding needs root (it watches and preserves everybody's files)\n");
    if (r == 0 && !realpath(wanted, state))
        r = -errno;
    if (r == 0 && getenv("PORTCULLIS_BEAT_FD"))
        return run_worker(o, &settings, state);
    pc_settings_free(&settings);
    return r < 0 ? 1 : pc_supervise(argv);
}

enum { PROTECT = 256, CONFIG, STATE, IF_ANY, PRINT, VERSION };
static const struct option longs[] = {{"protect", required_argument, NULL, PROTECT},
                                      {"config", required_argument, NULL, CONFIG},
                                      {"state", required_argument, NULL, STATE},
                                      {"if-any", no_argument, NULL, IF_ANY},
                                      {"print-settings", no_argument, NULL, PRINT},
                                      {"version", no_argument, NULL, VERSION},
                                      {"help", no_argument, NULL, 'h'},
                                      {NULL, 0, NULL, 0}};

/* Takes one option. The exit status when there is nothing more to do after it; else -1. */
static int take(struct options *o, int c)
{
    switch (c) {
    case PROTECT:
        if (o->protects == PC_SETTINGS_PATHS_MAX)
            return EXIT_USAGE;
        o->protect[o->protects++] = optarg;
        return -1;
    case CONFIG: o->config = optarg; return -1;
    case STATE: o->state = optarg; return -1;
    case IF_ANY: o->if_any = true; return -1;
    case 'n': o->check = true; return -1;
    case PRINT: pc_settings_write_sample(stdout); return 0;
    case VERSION: puts("portcullisd " PC_VERSION); return 0;
    case 'h': usage(stdout); return 0;
    default: usage(stderr); return EXIT_USAGE;
    }
}

static int parse(int argc, char **argv, struct options *o)
{
    int done = -1;
    for (int c; done < 0 && (c = getopt_long(argc, argv, "nh", longs, NULL)) != -1;)
        done = take(o, c);
    return done;
}

int main(int argc, char **argv)
{
    static struct options o;
    if (argc > 1 && pc_host_is_role(argv[1]))
        return pc_host_main(argc, argv);
    int done = parse(argc, argv, &o);
    if (done >= 0)
        return done;
    if (o.check) {
        struct pc_settings s = {0};
        if (load_settings(&o, &s) < 0)
            return EXIT_CONFIG;
        printf("settings are fine: %u folders to guard\n", s.protect.count);
        pc_settings_free(&s);
        return 0;
    }
    if (optind + 1 != argc || strcmp(argv[optind], "guard") != 0) {
        usage(stderr);
        return EXIT_USAGE;
    }
    return guard(argv, &o);
}
