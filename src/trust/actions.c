/*
 * Owns the table of actions (PROTOCOL.md 1.6): which classes each has and what its parameters must be. What an action
 * does is the host's; a parameter that passes here is well formed, not harmless: that is what the quorum is for.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"
#include "trust/order.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define A (1u << PC_CLASS_A)
#define B (1u << PC_CLASS_B)
#define C (1u << PC_CLASS_C)
#define S (1u << PC_CLASS_S)

#define PARAM_TEXT_MAX 32768

/* Everything that a parameter can be; each action fills in its own. */
struct params {
    const json_t *argv, *script, *interpreter, *packages, *allow;
    char service[256], log[65], user[33], do_[8], version[32], url_path[256], sha256[65], exe_sha256[65],
        order_sha256[65];
    bool security;
    uint32_t lines, timeout, output, seconds, pid;
    uint64_t start, incident;
};
#define AT(member) offsetof(struct params, member)
#define SHA256(member, optional) {#member, PC_FIELD_HEX, AT(member), 0, 64, optional}
#define SECONDS(low, high) {"seconds", PC_FIELD_U32, AT(seconds), low, high, false}
#define TIMEOUT {"timeout", PC_FIELD_U32, AT(timeout), 1, 86400, false}
#define INCIDENT(optional) {"incident", PC_FIELD_U64, AT(incident), 1, PC_JSON_NUMBER_MAX, optional}
#define SERVICE {"service", PC_FIELD_TEXT, AT(service), 1, 255, false}

static int wrong(char *why, size_t len, const char *text)
{
    return pc_why((struct pc_why){why, len}, PC_E_SYNTAX, "params: %s", text);
}

static bool only(const char *text, const char *first, const char *rest)
{
    return *text && strchr(first, *text) && strspn(text, rest) == strlen(text);
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool all_texts(const json_t *list, size_t max)
{
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)list, i, v)
        if (!json_is_string(v) || json_string_length(v) > max)
            return false;
    return true;
}

/* A program and its arguments: the program by absolute path, since a host looks nothing up. */
static bool command(const json_t *list)
{
    const char *first = json_string_value(json_array_get(list, 0));
    return first && first[0] == '/' && all_texts(list, PARAM_TEXT_MAX);
}

static int check_script(const struct params *p, char *why, size_t len)
{
    _free_ char *bytes = NULL;
    size_t n;
    char sha256[PC_SHA256_HEX + 1];
    int r = pc_json_base64(p->script, PC_DOCUMENT_SMALL_MAX, &bytes, &n);
    if (r == -ENOMEM)
        return r;
    if (r < 0 || n == 0)
        return wrong(why, len, "\"script\" must be base64 of the script");
    pc_sha256_text(bytes, n, sha256);
    if (strcmp(sha256, p->sha256) != 0)
        return wrong(why, len, "\"sha256\" is not the hash of \"script\"");
    return command(p->interpreter)
               ? 0
               : wrong(why, len, "\"interpreter\" must be a program by absolute path, and its arguments");
}

static int check_run(const void *params, const void *read, char *why, size_t len)
{
    const struct params *p = read;
    if (p->user[0] && !only(p->user, LOWER "_", LOWER DIGITS "_.-"))
        return wrong(why, len, "\"user\" must be a user's name");
    if (p->argv && !p->script && !p->sha256[0] && !p->interpreter)
        return command(p->argv) ? 0 : wrong(why, len, "\"argv\" must be a program by absolute path, and its arguments");
    if (!p->argv && p->script && p->sha256[0] && p->interpreter)
        return check_script(p, why, len);
    return wrong(why, len, "either \"argv\", or \"script\", \"sha256\" and \"interpreter\" are needed");
}

/* A unit's name; never an option, never a path. */
static int check_service(const void *params, const void *read, char *why, size_t len)
{
    const struct params *p = read;
    if (!only(p->service, LOWER UPPER DIGITS "_", LOWER UPPER DIGITS ":_.@\\-"))
        return wrong(why, len, "\"service\" must be a unit's name");
    if (p->do_[0] && strcmp(p->do_, "start") != 0 && strcmp(p->do_, "stop") != 0 && strcmp(p->do_, "restart") != 0)
        return wrong(why, len, "\"do\" must be start, stop or restart");
    return 0;
}

static int check_log(const void *params, const void *read, char *why, size_t len)
{
    const struct params *p = read;
    return pc_name_valid(p->log) ? 0 : wrong(why, len, "\"log\" must be a name");
}

static int check_packages(const void *params, const void *read, char *why, size_t len)
{
    const struct params *p = read;
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)p->packages, i, v) {
        const char *name = json_string_value(v);
        if (!name || strlen(name) > 128 || !only(name, LOWER DIGITS, LOWER DIGITS "+.:-"))
            return wrong(why, len, "\"packages\" must be names of packages");
    }
    return 0;
}

static int check_upgrade(const void *params, const void *read, char *why, size_t len)
{
    const struct params *p = read;
    unsigned v[3];
    char again[40];
    if (sscanf(p->version, "%9u.%9u.%9u", &v[0], &v[1], &v[2]) != 3)
        return wrong(why, len, "\"version\" must be like 1.2.3");
    snprintf(again, sizeof again, "%u.%u.%u", v[0], v[1], v[2]);
    if (strcmp(again, p->version) != 0)
        return wrong(why, len, "\"version\" must be like 1.2.3");
    if (!only(p->url_path, "/", LOWER UPPER DIGITS "/._-") || strstr(p->url_path, ".."))
        return wrong(why, len, "\"url_path\" must be a plain absolute path");
    return 0;
}

static int check_freeze(const void *params, const void *read, char *why, size_t len)
{
    const struct params *p = read;
    bool by_pid = p->pid && json_object_get(params, "start");
    bool any_pid = p->pid || json_object_get(params, "start");
    if (by_pid == (p->exe_sha256[0] != 0) || by_pid != any_pid)
        return wrong(why, len, "either \"pid\" and \"start\", or \"exe_sha256\" is needed");
    return 0;
}

/* "ADDR/LEN" with a length that still isolates: at least /8, or /16 for IPv6. */
static bool network(const char *text)
{
    char address[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    const char *slash = text ? strchr(text, '/') : NULL;
    if (!slash || slash - text >= (ptrdiff_t)sizeof address)
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = 0;
    bool six = inet_pton(AF_INET6, address, bytes) == 1;
    if (!six && inet_pton(AF_INET, address, bytes) != 1)
        return false;
    size_t digits = strspn(slash + 1, DIGITS);
    unsigned bits = 0;
    if (digits == 0 || digits > 3 || slash[1 + digits] || (digits > 1 && slash[1] == '0'))
        return false;
    for (size_t i = 0; i < digits; i++)
        bits = bits * 10 + (unsigned)(slash[1 + i] - '0');
    return six ? bits >= 16 && bits <= 128 : bits >= 8 && bits <= 32;
}

static int check_isolate(const void *params, const void *read, char *why, size_t len)
{
    const struct params *p = read;
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)p->allow, i, v)
        if (!network(json_string_value(v)))
            return wrong(why, len, "\"allow\" must be networks like 192.0.2.0/24 (from /8; IPv6 from /16)");
    return 0;
}

static const struct pc_field none[] = {{0}};
static const struct pc_field sha256[] = {SHA256(sha256, false), {0}};
static const struct pc_field incident[] = {INCIDENT(false), {0}};
static const struct pc_field incident_or_not[] = {INCIDENT(true), {0}};
static const struct pc_field service[] = {SERVICE, {0}};
static const struct pc_field service_do[] = {SERVICE, {"do", PC_FIELD_TEXT, AT(do_), 1, 7, false}, {0}};
static const struct pc_field log_excerpt[] = {
    {"log", PC_FIELD_TEXT, AT(log), 1, 64, false}, {"lines", PC_FIELD_U32, AT(lines), 1, 1000, false}, {0}};
static const struct pc_field run[] = {
    {"argv", PC_FIELD_ARRAY, AT(argv), 1, 256, true},
    {"script", PC_FIELD_STRING, AT(script), 4, PC_DOCUMENT_SMALL_MAX, true},
    SHA256(sha256, true),
    {"interpreter", PC_FIELD_ARRAY, AT(interpreter), 1, 8, true},
    TIMEOUT,
    {"output", PC_FIELD_U32, AT(output), 0, 1u << 20, false},
    {"user", PC_FIELD_TEXT, AT(user), 1, 32, true},
    {0}};
static const struct pc_field update[] = {{"security", PC_FIELD_BOOL, AT(security), 0, 0, false},
                                         {"packages", PC_FIELD_ARRAY, AT(packages), 1, 256, true},
                                         TIMEOUT,
                                         {0}};
static const struct pc_field upgrade[] = {{"version", PC_FIELD_TEXT, AT(version), 5, 31, false},
                                          SHA256(sha256, false),
                                          {"url_path", PC_FIELD_TEXT, AT(url_path), 2, 255, false},
                                          {0}};
static const struct pc_field freeze[] = {
    {"pid", PC_FIELD_U32, AT(pid), 2, 4194304, true}, {"start", PC_FIELD_U64, AT(start), 0, PC_JSON_NUMBER_MAX, true},
    SHA256(exe_sha256, true), SECONDS(60, 86400), {0}};
static const struct pc_field isolate[] = {{"allow", PC_FIELD_ARRAY, AT(allow), 0, 16, false}, SECONDS(60, 604800), {0}};
static const struct pc_field block[] = {SHA256(sha256, false), SECONDS(60, 2592000), {0}};
static const struct pc_field halt[] = {SHA256(order_sha256, false), {0}};

static const struct pc_action actions[] = {
    {"inventory", A, "tells what the host is made of", none, NULL},
    {"metrics", A, "tells how the host is doing", none, NULL},
    {"log.excerpt", A, "shows the end of a known log", log_excerpt, check_log},
    {"service.status", A, "shows the state of one service", service, check_service},
    {"guard.incidents", A, "shows incidents of the guard", incident_or_not, NULL},
    {"script.run", C, "runs a program or a script", run, check_run},
    {"package.update", C | B, "updates packages with apt: a dry run first, then the update", update, check_packages},
    {"service", C, "starts, stops or restarts a service", service_do, check_service},
    {"guard.release", C, "lets a frozen program go on", incident, NULL},
    {"guard.rollback", C, "puts every file of an incident back", incident, NULL},
    {"agent.upgrade", C, "replaces the agent by a higher version", upgrade, check_upgrade},
    {"trust.replace", C, "has hosts fetch a new trust file, which its own quorum must have signed", sha256, NULL},
    {"host.unisolate", C, "ends an isolation", none, NULL},
    {"hash.unblock", C, "lets a blocked program start again", sha256, NULL},
    {"actor.freeze", S, "freezes a process tree; it is thawed when the time is over", freeze, check_freeze},
    {"host.isolate", S,
     "cuts the host off, except for the server and the allowed networks; undone when the time is over", isolate,
     check_isolate},
    {"hash.block", S, "keeps a program with this content from being started, until the time is over", block, NULL},
    {"rollout.halt", S, "keeps an order from starting, and its further rings", halt, NULL},
};

const struct pc_action *pc_actions(size_t *n)
{
    *n = PC_ARRAY_SIZE(actions);
    return actions;
}

const struct pc_action *pc_action_find(const char *name)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(actions); i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

int pc_action_check(const struct pc_action *a, const void *params, char *why, size_t why_len)
{
    struct params read = {0};
    pc_why_clear((struct pc_why){why, why_len});
    int r = pc_fields_read(params, "params", a->fields, &read, (struct pc_why){why, why_len});
    if (r < 0 || !a->check)
        return r;
    return a->check(params, &read, why, why_len);
}
