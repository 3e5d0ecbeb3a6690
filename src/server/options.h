#ifndef PC_SERVER_OPTIONS_H
#define PC_SERVER_OPTIONS_H
/* The options of all commands; each says which it takes. */
#include "server/state.h"

#define PC_OPT_STATE 1u
#define PC_OPT_TENANT 2u
#define PC_OPT_LISTEN 4u
#define PC_OPT_LINK 8u
#define PC_OPT_NAME 16u
#define PC_OPT_DATABASE 32u
#define PC_OPT_USER 64u
#define PC_OPT_HOURS 128u
#define PC_OPT_ROLE 256u
#define PC_OPT_DAYS 512u

struct pc_server_options {
    const char *state, *tenant, *listen, *link, *database, *user, *role;
    const char *name[PC_SERVER_NAMES_MAX];
    uint32_t names;
    uint32_t hours, days; /* 0: not given */
    char **rest;
    int n_rest;
};
/* `takes`: options allowed; those of PC_OPT_STATE, TENANT, LISTEN, LINK, ROLE that are allowed are also required. rest:
 * how many arguments there must be at least. PC_E_SYNTAX, after saying why on stderr. */
int pc_server_options_read(int argc, char **argv, unsigned takes, int rest, struct pc_server_options *out);
#endif
