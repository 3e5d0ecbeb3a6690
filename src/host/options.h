#ifndef PC_HOST_OPTIONS_H
#define PC_HOST_OPTIONS_H
#include "agent/settings.h"
#include "host/files.h"
#include "proc/spawn.h"

#include <stdbool.h>

/* The command lines of portcullisd's fleet roles, and what all of them do first. */
#define PC_EXIT_USAGE 2
#define PC_EXIT_CONFIG 78
#define PC_EXIT_UPGRADED 64 /* the runner: a newer program waits for its trial; a trial: it came up (trial.h) */
#define PC_STATE_DEFAULT "/var/lib/portcullis"
#define PC_TRUST_SIGS_MAX 16
#define PC_FETCH_MAX (64u << 20) /* bytes of the largest file that is fetched: a program */
#define PC_URL_PATH "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-"

struct pc_host_options {
    const char *config, *state, *fleet;
    const char *server, *ca, *trust, *name, *token; /* enroll */
    const char *trust_sig[PC_TRUST_SIGS_MAX];
    uint32_t trust_sigs;
    const char *protect[PC_SETTINGS_PATHS_MAX];     /* host: handed to the guard */
    uint32_t protects;
    const char *path;                               /* fetch */
    bool again, no_guard, help;
    /* runner: a host started us, and knows what PC_EXIT_UPGRADED means */
    bool watched;
    /* host, runner: of a fetched program, which starts no order (trial.h) */
    bool trial;
    char **argv;                                    /* our own words */
    char program[4096];                             /* the file that this process runs: what an upgrade replaces */
};
/* True when argv[1] is one of our roles. */
bool pc_host_is_role(const char *name);
/* Runs the role. Returns the exit status. */
int pc_host_main(int argc, char **argv);

/* The roles. Each says on standard error why it fails. */
int pc_role_enroll(const struct pc_host_options *o);
int pc_role_link(const struct pc_host_options *o);
int pc_role_runner(const struct pc_host_options *o);
int pc_role_host(const struct pc_host_options *o);
int pc_role_fetch(const struct pc_host_options *o);

/* Reads the settings (a missing default file is fine). 0, or PC_EXIT_CONFIG after saying why. */
int pc_host_settings(const struct pc_host_options *o, struct pc_settings *out);
/* The fleet folder; 0, or an error after saying why. */
int pc_host_folder(const struct pc_host_options *o, bool make, struct pc_fleet_dir *out);
/* A user by name or number, with supplementary groups. PC_E_NOTFOUND. */
int pc_identity_of(const char *name, struct pc_identity *out);
/* The link's user; when it is the default one and does not exist, nobody, and *fallback is set. */
int pc_identity_link(const struct pc_settings *s, struct pc_identity *out, bool *fallback);
#endif
