/* Owns answers of hosts to looks: whether the host gave them (proof.h), and how data of any shape looks to people. */
#include "cli/net/facts.h"

#include "base/cleanup.h"
#include "cli/net/proof.h"
#include "trust/json.h"

#include <string.h>

#define LINES_MAX 400 /* of one answer, for people; --json has all of it */
#define DEPTH_MAX 6

/* The look that the host says it answers: for the newest answer the owner does not know it, and any will do. */
static void named_look(const json_t *envelope, char out[PC_ID_LEN + 1])
{
    _free_ char *document = NULL;
    size_t len;
    struct pc_result r;
    const json_t *text = json_object_get(envelope, "document");
    out[0] = 0;
    if (!json_is_string(text) || pc_json_base64(text, PC_RESULT_DOCUMENT_MAX, &document, &len) < 0 ||
        pc_result_parse(document, len, &r) < 0)
        return;
    memcpy(out, r.look, PC_ID_LEN + 1);
    pc_result_clear(&r);
}

static json_t *time_json(int64_t t)
{
    char text[PC_TIME_SIZE];
    pc_time_format(t, text);
    return json_string(text);
}

json_t *pc_facts_weigh(struct pc_fleet *f, const struct pc_host_ref *host, const char *look, const json_t *envelope)
{
    char own[PC_ID_LEN + 1], why[128] = "";
    struct pc_result r;
    if (!look)
        named_look(envelope, own);
    const struct pc_about about = {.tenant = f->trust.tenant, .host = host, .look = look ? look : own};
    enum pc_proof p = pc_proof_result(envelope, &about, &r, why, sizeof why);
    if (p == PC_PROOF_NONE)
        return json_null();
    if (p != PC_PROOF_GOOD)
        return json_pack("{s:b,s:s}", "proven", 0, "problem", p == PC_PROOF_MEMORY ? "out of memory" : why);
    json_t *out = json_pack("{s:b,s:s,s:i,s:o,s:b,s:o,s:o,s:O?}", "proven", 1, "outcome", r.outcome, "exit", r.exit,
                            "output", pc_json_base64_new(r.output, r.output_len), "truncated", r.truncated, "started",
                            time_json(r.started), "ended", time_json(r.ended), "data", r.data);
    pc_result_clear(&r);
    return out ? out : json_null();
}

/* --- for people --------------------------------------------------------------------------------------------------- */

static void put_scalar(const struct pc_cli *cli, const json_t *value)
{
    if (json_is_string(value))
        pc_put(cli, PC_PLAIN, json_string_value(value));
    else if (json_is_integer(value))
        printf("%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        printf("%.2f", json_real_value(value));
    else
        printf("%s", json_is_true(value) ? "yes" : json_is_false(value) ? "no" : "-");
}

static bool is_flat(const json_t *value)
{
    const char *key;
    json_t *v;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)value, key, v)
        if (json_is_object(v) || json_is_array(v))
            return false;
    json_array_foreach(value, i, v)
        if (json_is_object(v) || json_is_array(v))
            return false;
    return true;
}

/* All in one line: "name nginx, state running" or "a, b, c". */
static void put_flat(const struct pc_cli *cli, const json_t *value)
{
    const char *key, *separator = "";
    json_t *v;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)value, key, v) {
        printf("%s", separator);
        pc_put(cli, PC_DIM, key);
        putchar(' ');
        put_scalar(cli, v);
        separator = ", ";
    }
    json_array_foreach(value, i, v) {
        printf("%s", separator);
        put_scalar(cli, v);
        separator = ", ";
    }
    if (!json_is_object(value) && !json_is_array(value))
        put_scalar(cli, value);
}

static void put_tree(const struct pc_cli *cli, const json_t *value, int depth, int *lines);

static void put_branch(const struct pc_cli *cli, const char *label, const json_t *value, int depth, int *lines)
{
    if (++*lines > LINES_MAX)
        return;
    printf("%*s", 2 * depth, "");
    pc_put(cli, PC_DIM, label);
    printf("%s", *label ? "  " : "- ");
    if (is_flat(value) || depth >= DEPTH_MAX) {
        put_flat(cli, value);
        putchar('\n');
        return;
    }
    putchar('\n');
    put_tree(cli, value, depth + 1, lines);
}

static void put_tree(const struct pc_cli *cli, const json_t *value, int depth, int *lines)
{
    const char *key;
    json_t *v;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)value, key, v)
        put_branch(cli, key, v, depth, lines);
    json_array_foreach(value, i, v)
        put_branch(cli, "", v, depth, lines);
}

static void put_output(const struct pc_cli *cli, const json_t *weighed)
{
    _free_ char *text = NULL;
    size_t len = 0;
    if (pc_json_base64(json_object_get(weighed, "output"), PC_OUTPUT_MAX, &text, &len) < 0)
        return;
    pc_put_lines(cli, text, len);
}

void pc_facts_print(const struct pc_cli *cli, const json_t *weighed)
{
    char ago[32];
    int lines = 0;
    if (!json_is_object(weighed)) {
        printf(": no answer yet\n");
        return;
    }
    if (!pc_truth_of(weighed, "proven")) {
        pc_say(cli, PC_RED, ": FORGED: %s\n", pc_text_of(weighed, "problem"));
        return;
    }
    printf(", signed by the host, %s", pc_ago(cli, pc_time_of(weighed, "ended"), ago));
    if (strcmp(pc_text_of(weighed, "outcome"), "ok") != 0) {
        printf(": ");
        pc_put(cli, PC_YELLOW, pc_text_of(weighed, "outcome"));
    }
    putchar('\n');
    put_tree(cli, json_object_get(weighed, "data"), 1, &lines);
    if (lines > LINES_MAX)
        printf("  ... %d lines more: --json has them\n", lines - LINES_MAX);
    put_output(cli, weighed);
}
