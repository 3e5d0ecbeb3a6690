#ifndef PC_CLI_NET_FLEET_H
#define PC_CLI_NET_FLEET_H
#include "cli/cli.h"
#include "cli/net/https.h"
#include "cli/owner_dir.h"
#include "cli/render.h"

/*
 * What the owner's commands that talk to the server share: who is asked, with what token, and what its refusals look
 * like to people. All print what is wrong and return an exit status, or 0.
 */
struct pc_fleet {
    const struct pc_cli *cli;
    struct pc_owner_dir dir;
    struct pc_pins pins;
    struct pc_https *http;
    bool has_trust;
    struct pc_trust trust; /* when has_trust; see pc_fleet_trust */
};
/* Reads the owner's folder; talks to nobody yet. A missing token is for the server to complain about. */
int pc_fleet_begin(const struct pc_cli *cli, struct pc_fleet *out);
void pc_fleet_end(struct pc_fleet *f);
#define _fleet_ __attribute__((cleanup(pc_fleet_end)))
/* Loads trust.json (once). */
int pc_fleet_trust(struct pc_fleet *f);

#define PC_ANSWER_MAX (64u << 20) /* bytes of the largest answer that is taken */
/* GET of a path made like printf; *out to be released with json_decref. */
int pc_fleet_get(struct pc_fleet *f, json_t **out, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int pc_fleet_post(struct pc_fleet *f, const char *path, const void *body, size_t len, json_t **out);
/* The same with a JSON value, which is taken over. */
int pc_fleet_post_json(struct pc_fleet *f, const char *path, json_t *body, json_t **out);
/*
 * GET of bytes that are no JSON; of an answer 404 *out is empty and *found false (found may be NULL: then it is an
 * error).
 */
int pc_fleet_bytes(struct pc_fleet *f, const char *path, size_t max, struct pc_buf *out, bool *found);

/*
 * The server's JSON, of any kind: strict where it matters to us (UTF-8, no duplicate keys, nothing after it) and with a
 * bound on how many values few bytes may make. PC_E_SYNTAX, PC_E_LIMIT, -ENOMEM.
 */
int pc_answer_parse(const char *text, size_t len, json_t **out);

/* Prints JSON for programs; nothing in it can drive a terminal. An exit status. */
int pc_fleet_put_json(const json_t *value);
/* A question to the person at the terminal: true for "y" or "yes". Without a terminal: false. */
bool pc_fleet_confirm(const char *question);

/* Is this a host reference of the server's answer ("name", "id" and "key" that belong together)? */
bool pc_fleet_host_ref(const json_t *host, struct pc_host_ref *out);
/* What the owner's pins say about a host. */
enum pc_pin { PC_PIN_NEW, PC_PIN_SAME, PC_PIN_CHANGED };
enum pc_pin pc_fleet_pin(const struct pc_fleet *f, const struct pc_host_ref *host);
/* Prints that a host has another identity than the pinned one; PC_EXIT_FAILED. */
int pc_fleet_other_identity(const struct pc_fleet *f, const struct pc_host_ref *host);
#endif
