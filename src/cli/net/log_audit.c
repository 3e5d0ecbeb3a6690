/*
 * Owns the audit of the log (log_audit.h): what kinds of entries there are, counts, problems. Each kind is judged in
 * log_audit_hosts.c or log_audit_owners.c.
 */
#include "cli/net/log_audit.h"

#include "base/cleanup.h"
#include "trust/entry.h"

#include <stdarg.h>
#include <string.h>

static const struct {
    const char *type;
    int (*judge)(struct pc_audit *a, uint64_t index, const struct pc_entry *e);
} kinds[] = {
    {"order", pc_audit_order},   {"stop", pc_audit_order},    {"start", pc_audit_ring},   {"continue", pc_audit_ring},
    {"ack", pc_audit_host},      {"result", pc_audit_host},   {"refusal", pc_audit_host}, {"ring", pc_audit_host},
    {"enroll", pc_audit_host},   {"incident", pc_audit_host}, {"trust", pc_audit_owners}, {"revoke", pc_audit_owners},
    {"server", pc_audit_owners}, {"halt", pc_audit_halt},     {"part", pc_audit_part},
};

int pc_audit_init(struct pc_audit *a, struct pc_fleet *f, struct pc_log_walk *walk, bool log_only)
{
    *a = (struct pc_audit){.fleet = f, .walk = walk, .log_only = log_only, .trust = &f->trust};
    a->counts = json_object();
    a->problems = json_array();
    a->notes = json_array();
    a->orders = json_object();
    a->bad = json_object();
    pc_buf_init(&a->pieces.text, PC_ENVELOPE_MAX);
    return a->counts && a->problems && a->notes && a->orders && a->bad ? 0
                                                                       : pc_cli_fail(PC_EXIT_FAILED, "out of memory");
}

void pc_audit_clear(struct pc_audit *a)
{
    json_decref(a->counts);
    json_decref(a->problems);
    json_decref(a->notes);
    json_decref(a->orders);
    json_decref(a->bad);
    pc_buf_free(&a->pieces.text);
    if (a->has_former)
        pc_trust_clear(&a->former);
}

void pc_audit_problem(struct pc_audit *a, uint64_t index, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (a->n_problems++ >= PC_AUDIT_PROBLEMS_SHOWN)
        return;
    json_t *what = json_string(text);
    json_array_append_new(a->problems, json_pack("{s:I,s:o}", "index", (json_int_t)index, "what",
                                                 what ? what : json_string("not UTF-8")));
}

void pc_audit_note(struct pc_audit *a, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (json_array_size(a->notes) < PC_AUDIT_PROBLEMS_SHOWN)
        json_array_append_new(a->notes, json_string(text));
}

static int judge(struct pc_audit *a, uint64_t index, const struct pc_entry *e)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(kinds); i++) {
        if (strcmp(kinds[i].type, e->type) != 0)
            continue;
        json_object_set_new(a->counts, e->type, json_integer(pc_number_of(a->counts, e->type) + 1));
        return kinds[i].judge(a, index, e);
    }
    pc_audit_problem(a, index, "an entry of an unknown type: \"%s\"", e->type);
    return 0;
}

int pc_audit_entry(void *audit, uint64_t index, const void *data, size_t len)
{
    struct pc_audit *a = audit;
    struct pc_entry e;
    void *root = NULL;
    char why[256];
    if (a->n_problems > PC_AUDIT_PROBLEMS_MAX)
        return pc_cli_fail(PC_EXIT_FAILED, "more than %d problems: the rest of this log is not looked at",
                           PC_AUDIT_PROBLEMS_MAX);
    if (pc_entry_parse(data, len, &e, &root, why, sizeof why) < 0) {
        pc_audit_problem(a, index, "not an entry: %s", why);
        return 0;
    }
    int status = 0;
    uint32_t parts = a->pieces.parts;
    if (strcmp(e.tenant, a->fleet->trust.tenant) != 0)
        pc_audit_problem(a, index, "an entry of another tenant: %s", e.tenant);
    else
        status = judge(a, index, &e);
    if (parts && a->pieces.parts && strcmp(e.type, "part") != 0) {
        pc_audit_problem(a, index, "the parts before this entry belong to no entry, or not to this one");
        a->pieces.parts = 0;
    }
    json_decref(root);
    return status ? status : a->status;
}
