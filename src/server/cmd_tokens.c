/* Owns `enroll-token` and `api-token`. Prints the token alone on stdout; nothing keeps it but the reader. */
#include "server/command.h"

#include "base/err.h"
#include "server/options.h"
#include "server/tokens.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The database of a folder, with its schema up to date. */
static int open_database(const char *path, struct pc_store **out, char *why, size_t why_len)
{
    struct pc_server_state state;
    char where[1100];
    uint32_t version;
    int ret = pc_server_state_open(path, &state, why, why_len);
    if (ret < 0)
        return ret;
    pc_server_state_database(&state, where, sizeof where);
    pc_server_state_close(&state);
    ret = pc_store_connect(where, out, why, why_len);
    if (ret == 0 && (ret = (*out)->ops->migrate(*out, &version)) < 0) {
        snprintf(why, why_len, "%s", (*out)->ops->error(*out));
        (*out)->ops->close(*out);
    }
    return ret;
}

static int finish(const char *command, struct pc_store *s, int ret, char token[PC_TOKEN_SIZE])
{
    if (ret < 0)
        pc_server_complain("%s: %s: %s", command, pc_strerror(ret), s->ops->error(s));
    else
        puts(token);
    s->ops->close(s);
    OPENSSL_cleanse(token, PC_TOKEN_SIZE);
    return ret < 0;
}

int pc_server_enroll_token(int argc, char **argv)
{
    struct pc_server_options o;
    struct pc_store *s;
    char why[512], token[PC_TOKEN_SIZE];
    if (pc_server_options_read(argc, argv, PC_OPT_STATE | PC_OPT_HOURS | PC_OPT_NAME, 0, &o) < 0)
        return pc_server_usage(argv[0]);
    if (o.names && !pc_name_valid(o.name[0]))
        return pc_server_complain("enroll-token: %s is not the name of a host", o.name[0]);
    if (open_database(o.state, &s, why, sizeof why) < 0)
        return pc_server_complain("enroll-token: %s", why);
    int64_t expires = (int64_t)time(NULL) + 3600 * (int64_t)(o.hours ? o.hours : 24);
    int ret = pc_server_token_make(token);
    if (ret == 0)
        ret = pc_server_token_add_enroll(s, token, o.names ? o.name[0] : "", expires);
    return finish(argv[0], s, ret, token);
}

int pc_server_api_token(int argc, char **argv)
{
    struct pc_server_options o;
    struct pc_store *s;
    char why[512], token[PC_TOKEN_SIZE], sha[PC_SHA256_HEX + 1];
    if (pc_server_options_read(argc, argv, PC_OPT_STATE | PC_OPT_ROLE | PC_OPT_DAYS, 1, &o) < 0 || o.n_rest != 1 ||
        !pc_name_valid(o.rest[0]) || (strcmp(o.role, "look") != 0 && strcmp(o.role, "operate") != 0))
        return pc_server_usage(argv[0]);
    if (open_database(o.state, &s, why, sizeof why) < 0)
        return pc_server_complain("api-token: %s", why);
    int64_t expires = (int64_t)time(NULL) + 86400 * (int64_t)(o.days ? o.days : 365);
    int ret = pc_server_token_make(token);
    if (ret == 0) {
        pc_server_token_hash(token, sha);
        ret = s->ops->token_add(s, sha, o.role, o.rest[0], expires);
    }
    return finish(argv[0], s, ret, token);
}
