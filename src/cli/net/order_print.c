/* Owns how a weighed order looks to people. Knows nothing of signatures: order_view.c has decided. */
#include "base/cleanup.h"
#include "cli/net/order_view.h"
#include "trust/json.h"

#include <string.h>

static enum pc_style style_of(const char *word)
{
    static const struct {
        const char *word;
        enum pc_style style;
    } known[] = {{"ok", PC_GREEN},       {"done", PC_GREEN}, {"failed", PC_RED},     {"timeout", PC_RED},
                 {"refused", PC_RED},    {"halted", PC_RED}, {"unknown", PC_YELLOW}, {"waiting", PC_YELLOW},
                 {"expired", PC_YELLOW}, {"missing", PC_RED}};
    for (size_t i = 0; word && i < PC_ARRAY_SIZE(known); i++)
        if (strcmp(known[i].word, word) == 0)
            return known[i].style;
    return PC_PLAIN;
}

/* The rings whose hosts reported more than the owners allowed: why the rest does not run, in the hosts' own words. */
static void put_halting(const json_t *v)
{
    const json_t *halt = json_object_get(v, "halt"), *ring;
    json_int_t failures = pc_number_of(halt, "failures"), incidents = pc_number_of(halt, "incidents");
    size_t i;
    char text[64];
    json_array_foreach(json_object_get(v, "reported"), i, ring) {
        json_int_t failed = pc_number_of(ring, "failures"), seen = pc_number_of(ring, "incidents");
        if (failed <= failures && seen <= incidents)
            continue;
        printf("  halted    ring %lld reported %s (%lld allowed)", (long long)pc_number_of(ring, "ring") + 1,
               pc_count(failed, "failure", text), (long long)failures);
        printf(" and %s (%lld allowed): no later ring starts\n", pc_count(seen, "guard incident", text),
               (long long)incidents);
    }
}

static void put_head(const struct pc_cli *cli, const json_t *v)
{
    const json_t *by = json_object_get(v, "approved_by"), *name;
    size_t i;
    char count[64];
    pc_put(cli, PC_BOLD, pc_text_of(v, "action"));
    printf(" on %s: ", pc_count(pc_number_of(v, "count"), "host", count));
    pc_put(cli, style_of(pc_text_of(v, "state")), pc_text_of(v, "state"));
    printf("\n  order     ");
    pc_put(cli, PC_PLAIN, pc_text_of(v, "id"));
    printf(" (class %s)\n  sha256    %s\n", pc_text_of(v, "class"), pc_text_of(v, "order_sha256"));
    if (pc_text_of(v, "says") && *pc_text_of(v, "says")) {
        printf("  says      ");
        pc_put(cli, PC_PLAIN, pc_text_of(v, "says"));
        putchar('\n');
    }
    printf("  approved  ");
    if (!json_is_array(by))
        printf("%lld of %lld, the server says (no trust.json here to check it)",
               (long long)pc_number_of(v, "approvals"), (long long)pc_number_of(v, "needed"));
    json_array_foreach(by, i, name) {
        printf("%s", i ? ", " : "by ");
        pc_put(cli, PC_BOLD, json_string_value(name));
    }
    if (json_is_array(by))
        printf("%s(%lld needed)", json_array_size(by) ? " " : "by nobody ", (long long)pc_number_of(v, "needed"));
    putchar('\n');
    put_halting(v);
    putchar('\n');
}

/* "ok, exit 0"; what the server alone says has a question mark of its own column. */
static void outcome_of(const json_t *h, char *out, size_t cap)
{
    const char *outcome = pc_text_of(h, "outcome");
    json_int_t code = pc_number_of(h, "exit"), sig = pc_number_of(h, "signal");
    if (!outcome || !*outcome)
        snprintf(out, cap, "-");
    else if (sig > 0)
        snprintf(out, cap, "%.20s, signal %lld", outcome, (long long)sig);
    else if (code >= 0)
        snprintf(out, cap, "%.20s, exit %lld", outcome, (long long)code);
    else
        snprintf(out, cap, "%.20s", outcome);
}

static const char *proof_of(const json_t *h)
{
    const json_t *ack = json_object_get(h, "ack");
    if (json_object_get(h, "problem"))
        return "PROBLEM";
    if (pc_truth_of(h, "proven"))
        return "signed by the host";
    return json_is_object(ack) ? "the server says; taking it: signed" : "the server says";
}

static const char *why_of(const json_t *h)
{
    const json_t *report = json_object_get(h, "report");
    if (json_is_object(report) && pc_number_of(report, "incidents") > 0)
        return "guard incident";
    const json_t *ack = json_object_get(h, "ack");
    const char *signed_why = json_is_object(ack) ? pc_text_of(ack, "why") : NULL, *why = pc_text_of(h, "why");
    return signed_why && *signed_why ? signed_why : why && *why ? why : "";
}

static void put_hosts(const struct pc_cli *cli, const json_t *v)
{
    static const char *const heads[] = {"HOST", ">RING", "STATE", "WHY", "OUTCOME", "PROOF", NULL};
    struct pc_table *t = pc_table_new(heads);
    size_t i;
    const json_t *h;
    char text[64];
    json_array_foreach(json_object_get(v, "hosts"), i, h) {
        bool bad = json_object_get(h, "problem") != NULL, proven = pc_truth_of(h, "proven");
        pc_table_cell(t, PC_BOLD, pc_text_of(h, "host"));
        snprintf(text, sizeof text, "%lld", (long long)pc_number_of(h, "ring") + 1);
        pc_table_cell(t, PC_PLAIN, text);
        pc_table_cell(t, style_of(pc_text_of(h, "state")), pc_text_of(h, "state"));
        pc_table_cell(t, PC_PLAIN, why_of(h));
        outcome_of(h, text, sizeof text);
        pc_table_cell(t, style_of(pc_text_of(h, "outcome")), text);
        pc_table_cell(t, bad ? PC_RED : proven ? PC_GREEN : PC_DIM, proof_of(h));
    }
    pc_table_print(cli, t);
    if (json_object_get(v, "problem"))
        pc_say(cli, PC_RED, "  PROBLEM: %s\n", pc_text_of(v, "problem"));
    json_array_foreach(json_object_get(v, "hosts"), i, h) {
        if (!json_object_get(h, "problem"))
            continue;
        printf("  ");
        pc_put(cli, PC_RED, pc_text_of(h, "host"));
        printf(": ");
        pc_put(cli, PC_RED, pc_text_of(h, "problem"));
        putchar('\n');
    }
}

static void put_output(const struct pc_cli *cli, const json_t *h)
{
    _free_ char *text = NULL;
    size_t len = 0;
    if (pc_json_base64(json_object_get(h, "output"), 1u << 20, &text, &len) < 0 || len == 0)
        return;
    printf("\n  ");
    pc_put(cli, PC_BOLD, pc_text_of(h, "host"));
    printf(" wrote%s%s:\n", pc_truth_of(h, "proven") ? "" : ", the server says",
           pc_truth_of(h, "output_truncated") ? " (not all of it was kept)" : "");
    pc_put_lines(cli, text, len);
}

void pc_order_view_print(const struct pc_cli *cli, const json_t *view, bool output)
{
    size_t i;
    const json_t *h;
    put_head(cli, view);
    put_hosts(cli, view);
    json_array_foreach(json_object_get(view, "hosts"), i, h)
        if (output)
            put_output(cli, h);
}

char *pc_order_view_line(const struct pc_cli *cli, const json_t *host)
{
    char outcome[64], *line = NULL;
    const char *why = why_of(host);
    outcome_of(host, outcome, sizeof outcome);
    if (asprintf(&line, "%s: %s%s%s%s%s (%s)", pc_text_of(host, "host"), pc_text_of(host, "state"),
                 *why ? ", check " : "", why, strcmp(outcome, "-") != 0 ? ", " : "",
                 strcmp(outcome, "-") != 0 ? outcome : "", proof_of(host)) < 0)
        return NULL;
    char *safe = pc_safe_text(cli, line, NULL);
    free(line);
    return safe;
}
