/*
 * Owns the API's front: routes, tokens and roles, the shape of answers and errors. Each route's work is in api_*.c,
 * intake.c, enroll.c, looks.c. Must not trust a token's holder with more than its role.
 */
#include "server/api.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "proc/confine.h"
#include "server/openapi.h"
#include "server/tokens.h"
#include "trust/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum role { OPEN, LOOK, OPERATE };

/* --- answers ------------------------------------------------------------------------------------------------------ */

void pc_api_json(struct pc_http_request *r, int status, json_t *j)
{
    _free_ char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    static const char failed[] = "{\"error\":\"memory\",\"text\":\"out of memory\"}";
    json_decref(j);
    if (text)
        pc_http_answer(r, status, "application/json", NULL, text, strlen(text));
    else
        pc_http_answer(r, 500, "application/json", NULL, failed, sizeof failed - 1);
}

void pc_api_error(struct pc_http_request *r, int status, const char *word, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_t *words = json_string(text);
    pc_api_json(r, status,
                json_pack("{s:s,s:o}", "error", word, "text", words ? words : json_string("the reason is not UTF-8")));
}

void pc_api_failed(struct pc_http_request *r, int err)
{
    if (err == PC_E_NOTFOUND)
        pc_api_error(r, 404, "not-found", "there is no such thing");
    else if (err == PC_E_STATE || err == PC_E_CHANGED)
        pc_api_error(r, 409, "state", "not possible in this state");
    else if (err == PC_E_LIMIT)
        pc_api_error(r, 503, "busy", "the server has too much to write; try again");
    else if (err == -ENOSPC)
        pc_api_error(r, 507, "disk-full", "the server's disk is full; nothing was stored");
    else
        pc_api_error(r, 500, "store", "the server's database failed: %s%s", pc_strerror(err),
                     pc_http_is_post(r) ? "; what you sent may be stored all the same: look before you send it again"
                                        : "");
}

json_t *pc_api_body(struct pc_http_request *r, size_t max)
{
    size_t len;
    const char *body = pc_http_body(r, &len);
    char why[256] = "";
    json_t *j = NULL;
    int ret = pc_json_parse(body, len, max, &j, (struct pc_why){why, sizeof why});
    if (ret == 0)
        return j;
    pc_api_error(r, ret == PC_E_LIMIT ? 413 : 400, "syntax",
                 "the body is not a JSON object as this server takes it: %s", *why ? why : pc_strerror(ret));
    return NULL;
}

/* --- routes ------------------------------------------------------------------------------------------------------- */

static void healthz(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    char why[256];
    struct pc_confined c = {0};
    bool known = pc_confined_get(&c) == 0;
    if (pc_api_healthy(s, why, sizeof why))
        pc_api_json(r, 200,
                    json_pack("{s:s, s:{s:b, s:b, s:b, s:b}}", "status", "ok", "confined", "user",
                              known && geteuid() != 0, "no_capabilities", c.no_capabilities, "no_new_privs",
                              c.no_new_privs, "seccomp", c.seccomp));
    else
        pc_api_error(r, 503, "unhealthy", "%s", why);
}

static void openapi(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    pc_http_answer(r, 200, "application/json", NULL, pc_openapi_json, pc_openapi_json_len);
}

#define ADAPT(name, call)                                                              \
    static void name(struct pc_server *s, struct pc_http_request *r, const char *rest) \
    {                                                                                  \
        call(s, r);                                                                    \
    }
ADAPT(metrics, pc_api_metrics)
ADAPT(enroll, pc_server_take_enroll)
ADAPT(post_order, pc_server_take_order)
ADAPT(post_stop, pc_server_take_stop)
ADAPT(post_trust, pc_server_take_trust)
ADAPT(post_revoke, pc_server_take_revoke)
ADAPT(post_statement, pc_server_take_statement)
ADAPT(post_start, pc_server_take_start)
ADAPT(post_look, pc_looks_ask)
ADAPT(watch, pc_watch_add)

static void show_look(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    pc_looks_show(s, r, rest);
}

typedef void handler(struct pc_server *s, struct pc_http_request *r, const char *rest);

static const struct route {
    const char *path;
    bool post, prefix; /* prefix: what follows the path goes to the handler */
    enum role role;
    handler *handler;
    handler *unasked; /* when the token cannot be looked up; NULL: then it is not possible */
} routes[] = {
    {"/healthz", false, false, OPEN, healthz},
    {"/openapi.json", false, false, OPEN, openapi},
    {"/metrics", false, false, LOOK, metrics},
    {"/log/checkpoint", false, false, OPEN, pc_api_log_checkpoint},
    {"/log/tile/", false, true, OPEN, pc_api_tile},
    {"/files/", false, true, OPEN, pc_api_file},
    {"/v1/trust", false, false, OPEN, pc_api_trust},
    {"/v1/server-statement", false, false, OPEN, pc_api_statement},
    {"/v1/cosignatures", true, false, OPEN, pc_api_cosign},
    {"/v1/enroll", true, false, OPEN, enroll},
    {"/v1/hosts", false, false, LOOK, pc_api_hosts},
    {"/v1/hosts/", false, true, LOOK, pc_api_host},
    {"/v1/sequence", false, false, LOOK, pc_api_sequence},
    {"/v1/orders", false, false, LOOK, pc_api_orders},
    {"/v1/orders/", false, true, LOOK, pc_api_order},
    {"/v1/orders", true, false, OPERATE, post_order, post_stop},
    {"/v1/reports/", false, true, LOOK, pc_api_report},
    {"/v1/looks", true, false, LOOK, post_look},
    {"/v1/looks/", false, true, LOOK, show_look},
    {"/v1/starts", true, false, OPERATE, post_start},
    {"/v1/trust", true, false, OPERATE, post_trust},
    {"/v1/revoke", true, false, OPERATE, post_revoke},
    {"/v1/server-statement", true, false, OPERATE, post_statement},
    {"/v1/entries", false, false, LOOK, pc_api_entries},
    {"/v1/events", false, false, LOOK, watch},
};

/* A role. PC_E_NOTFOUND: no token, or none that is good; else: it cannot be looked up. */
static int role_of(struct pc_server *s, const struct pc_http_request *r)
{
    const char *header = pc_http_header(r, "Authorization");
    char sha[PC_SHA256_HEX + 1], kind[16];
    if (!header || strncmp(header, "Bearer ", 7) != 0)
        return PC_E_NOTFOUND;
    pc_server_token_hash(header + 7, sha);
    int ret = s->store->ops->token_check(s->store, sha, pc_server_now(), kind);
    if (ret < 0)
        return ret;
    return strcmp(kind, "operate") == 0 ? OPERATE : strcmp(kind, "look") == 0 ? LOOK : PC_E_NOTFOUND;
}

void pc_api_unasked(struct pc_http_request *r)
{
    pc_api_error(r, 503, "store",
                 "the database cannot be asked whether this token is good; try again (a stop that its quorum signed "
                 "is sent all the same)");
}

static void serve(struct pc_server *s, struct pc_http_request *r, const struct route *route, const char *rest)
{
    static const char no_token[] = "{\"error\":\"token\",\"text\":\"a token of the API is needed\"}";
    int role = route->role == OPEN ? OPEN : role_of(s, r);
    if (role == PC_E_NOTFOUND)
        pc_http_answer(r, 401, "application/json", "WWW-Authenticate: Bearer", no_token, sizeof no_token - 1);
    else if (role < 0 && route->unasked)
        route->unasked(s, r, rest);
    else if (role < 0)
        pc_api_unasked(r);
    else if (role < (int)route->role)
        pc_api_error(r, 403, "role", "this token may look, but not operate");
    else
        route->handler(s, r, rest);
}

static bool matches(const struct route *route, const char *path)
{
    size_t len = strlen(route->path);
    return route->prefix ? strncmp(path, route->path, len) == 0 && path[len] : strcmp(path, route->path) == 0;
}

void pc_api_request(void *server, struct pc_http_request *r)
{
    struct pc_server *s = server;
    const char *path = pc_http_path(r);
    bool other_method = false;
    for (size_t i = 0; i < PC_ARRAY_SIZE(routes); i++) {
        if (!matches(&routes[i], path))
            continue;
        other_method = true;
        if (routes[i].post != pc_http_is_post(r))
            continue;
        serve(s, r, &routes[i], path + strlen(routes[i].path));
        return;
    }
    if (other_method)
        pc_api_error(r, 405, "method", "not with this method");
    else
        pc_api_error(r, 404, "path", "no such path; /openapi.json lists them");
}
