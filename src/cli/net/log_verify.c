/*
 * `portcullis log verify`: the whole log, from the first entry to the newest checkpoint, against everything that this
 * owner knows without the server: the trust file, the pinned hosts and the checkpoint that was verified last. Keeps the
 * new checkpoint when all of it holds, and both as evidence when the log is another than before.
 */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "cli/net/log_audit.h"
#include "cli/net/net.h"
#include "trust/bundle.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum option { OPTION_LOG_ONLY };

struct verification {
    struct pc_fleet fleet;
    struct pc_buf note, saved_note; /* as the server signed them */
    struct pc_checkpoint head, saved;
    bool has_saved;
    bool broken; /* not the log that was signed */
    bool two;    /* ... but another than the one seen before */
    struct pc_log_walk walk;
    struct pc_audit audit;
};

static void verification_clear(struct verification *v)
{
    pc_audit_clear(&v->audit);
    pc_log_walk_clear(&v->walk);
    pc_buf_free(&v->note);
    pc_buf_free(&v->saved_note);
    pc_fleet_end(&v->fleet);
}
#define _verification_ __attribute__((cleanup(verification_clear)))

/* --- what was seen before ----------------------------------------------------------------------------------------- */

static int load_saved(struct verification *v)
{
    _free_ char *path = pc_owner_dir_file(&v->fleet.dir, "checkpoint"), *text = NULL;
    size_t len;
    int r = path ? pc_cli_file_read(path, PC_NOTE_MAX, &text, &len) : -ENOMEM;
    if (r == -ENOENT || r == -ENOTDIR)
        return 0;
    if (r == 0)
        r = pc_checkpoint_open(text, len, &v->fleet.trust.log, NULL, 0, 0, &v->saved);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED,
                           "%s/checkpoint: what you verified last cannot be read: %s. Without it nobody notices that "
                           "the log was exchanged: "
                           "find out why before you take it away.",
                           v->fleet.dir.path, pc_strerror(r));
    pc_buf_init(&v->saved_note, PC_NOTE_MAX);
    pc_buf_add(&v->saved_note, text, len);
    v->has_saved = true;
    return 0;
}

static int keep_note(const struct verification *v, const char *what, const struct pc_checkpoint *c,
                     const struct pc_buf *note)
{
    char name[96], root[17];
    pc_hex(c->root, 8, root);
    snprintf(name, sizeof name, "evidence/%s-%" PRIu64 "-%s", what, c->size, root);
    _free_ char *path = pc_owner_dir_file(&v->fleet.dir, name);
    int r = path ? pc_cli_file_replace(path, note->data, note->len, 0600) : -ENOMEM;
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s/%s: %s", v->fleet.dir.path, name, pc_strerror(r)) : 0;
}

/* Two notes that the same key signed and that cannot both be of one log convict whoever holds the key. */
static void keep_evidence(const struct verification *v)
{
    if (keep_note(v, "shown", &v->head, &v->note) != 0 ||
        (v->has_saved && keep_note(v, "before", &v->saved, &v->saved_note) != 0))
        return;
    pc_cli_fail(PC_EXIT_FAILED, "%s in %s/evidence%s",
                v->has_saved ? "both checkpoints are kept" : "the checkpoint is kept", v->fleet.dir.path,
                v->two ? ": two signatures by the log's key over two logs" : "");
}

/* Has another `log verify` kept a checkpoint since we looked? Nobody compared that one with ours. */
static bool is_as_before(const struct verification *v, const char *path)
{
    _free_ char *text = NULL;
    size_t len = 0;
    int r = pc_cli_file_read(path, PC_NOTE_MAX, &text, &len);
    if (!v->has_saved)
        return r == -ENOENT || r == -ENOTDIR;
    return r == 0 && len == v->saved_note.len && memcmp(text, v->saved_note.data, len) == 0;
}

static int save(const struct verification *v)
{
    _free_ char *path = pc_owner_dir_file(&v->fleet.dir, "checkpoint");
    _close_ int lock = -1;
    int status = pc_owner_dir_lock(&v->fleet.dir, &lock);
    if (status == 0 && path && !is_as_before(v, path))
        return pc_cli_fail(PC_EXIT_FAILED,
                           "%s: another `log verify` changed it meanwhile: nothing was kept, verify again", path);
    if (status)
        return status;
    int r = path ? pc_cli_file_replace(path, v->note.data, v->note.len, 0600) : -ENOMEM;
    return r < 0 ? pc_cli_fail(PC_EXIT_FAILED, "%s/checkpoint: %s", v->fleet.dir.path, pc_strerror(r)) : 0;
}

/* --- checks around the walk --------------------------------------------------------------------------------------- */

static int shrunk(struct verification *v)
{
    if (!v->has_saved || v->saved.size <= v->head.size)
        return 0;
    v->broken = v->two = true;
    return pc_cli_fail(PC_EXIT_FAILED,
                       "THE LOG HAS SHRUNK: %" PRIu64 " entries are shown, you verified %" PRIu64 " before",
                       v->head.size, v->saved.size);
}

static int continues(struct verification *v)
{
    uint8_t root[PC_HASH_LEN];
    int status = v->has_saved ? pc_log_walk_root(&v->walk, v->saved.size, root) : 0;
    if (status || !v->has_saved || memcmp(root, v->saved.root, PC_HASH_LEN) == 0)
        return status;
    v->broken = v->two = true;
    return pc_cli_fail(PC_EXIT_FAILED,
                       "THIS IS ANOTHER LOG: its first %" PRIu64 " entries are not those that you verified before",
                       v->saved.size);
}

/* A server that hides what happened since would show an old checkpoint. */
static void check_time(struct verification *v)
{
    int64_t now = (int64_t)(v->fleet.cli->now_ns / PC_NS_PER_S), age = now - v->head.time;
    char span[32];
    if (v->head.time == 0)
        pc_audit_problem(&v->audit, v->head.size, "the checkpoint does not say when it was made");
    else if (age < -PC_FUTURE_GRACE)
        pc_audit_problem(&v->audit, v->head.size, "the checkpoint is from the future, by the clock here");
    else if (age > (int64_t)v->fleet.trust.silence)
        pc_audit_problem(&v->audit, v->head.size,
                         "the newest checkpoint is %s old: the log stands still, or newer entries are withheld",
                         pc_span((uint64_t)age * PC_NS_PER_S, span));
}

static int walk(struct verification *v)
{
    v->walk = (struct pc_log_walk){.fleet = &v->fleet, .head = &v->head, .entry = pc_audit_entry, .ctx = &v->audit};
    int status = pc_log_walk(&v->walk);
    if (status == 0)
        status = continues(v);
    else if (status == PC_EXIT_FAILED)
        v->broken = true;
    return status;
}

/* --- saying it ---------------------------------------------------------------------------------------------------- */

static json_t *report(const struct verification *v, bool ok)
{
    char root[PC_BASE64_SIZE(PC_HASH_LEN)], time[PC_TIME_SIZE];
    const struct pc_audit *a = &v->audit;
    pc_base64_encode(v->head.root, PC_HASH_LEN, root);
    pc_time_format(v->head.time, time);
    return json_pack("{s:b,s:s,s:I,s:s,s:s,s:i,s:o,s:O,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:O,s:O}", "ok", ok, "log",
                     v->head.origin, "size", (json_int_t)v->head.size, "root", root, "time", time, "witnesses_needed",
                     (int)v->fleet.trust.witnesses_needed, "before",
                     v->has_saved ? json_integer((json_int_t)v->saved.size) : json_null(), "entries", a->counts,
                     "orders_checked", (json_int_t)a->orders_checked, "orders_unchecked",
                     (json_int_t)a->orders_unchecked, "changes_of_trust_checked", (json_int_t)a->changes_checked,
                     "changes_of_trust_unchecked", (json_int_t)a->changes_unchecked, "checkpoints_of_hosts",
                     (json_int_t)a->seen_checked, "answers_to_orders_outside", (json_int_t)a->outside, "problems_found",
                     (json_int_t)a->n_problems, "problems", a->problems, "notes", a->notes);
}

static void put_counts(const struct pc_cli *cli, const json_t *counts)
{
    const char *type, *separator = "";
    json_t *n;
    char amount[32];
    printf("  entries      ");
    json_object_foreach((json_t *)counts, type, n) {
        printf("%s%s ", separator, pc_amount(json_integer_value(n), amount));
        pc_put(cli, PC_PLAIN, type);
        separator = ", ";
    }
    putchar('\n');
}

static void put_list(const struct pc_cli *cli, enum pc_style style, const char *label, const json_t *list)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one) {
        bool plain = json_is_string(one);
        printf("  ");
        pc_say(cli, style, "%s", label);
        if (!plain)
            printf(" at entry %lld", (long long)pc_number_of(one, "index"));
        printf(": ");
        pc_put(cli, PC_PLAIN, plain ? json_string_value(one) : pc_text_of(one, "what"));
        putchar('\n');
    }
}

static void put_report(const struct verification *v, bool ok, const json_t *r)
{
    const struct pc_cli *cli = v->fleet.cli;
    const struct pc_audit *a = &v->audit;
    char amount[32], ago[32];
    pc_say(cli, ok ? PC_GREEN : PC_RED, ok ? "verified" : "NOT verified");
    printf(": %s entries of ", pc_amount((json_int_t)v->head.size, amount));
    pc_put(cli, PC_BOLD, v->head.origin);
    printf("\n  checkpoint   %s, root %s, %u witnesses needed\n",
           pc_ago(cli, (uint64_t)v->head.time * PC_NS_PER_S, ago), pc_text_of(r, "root"),
           v->fleet.trust.witnesses_needed);
    if (v->has_saved)
        printf("  before       %s entries verified\n", pc_amount((json_int_t)v->saved.size, amount));
    else
        printf("  before       nothing: this is the first time in this folder\n");
    put_counts(cli, a->counts);
    printf("  orders       %s approved by a quorum", pc_amount((json_int_t)a->orders_checked, amount));
    if (a->orders_unchecked)
        printf(", %s NOT CHECKED (--log-only, and logged without signatures)",
               pc_amount((json_int_t)a->orders_unchecked, amount));
    printf("\n  trust        %s later trust files, revocations and server statements, each signed as those before it "
           "demand",
           pc_amount((json_int_t)a->changes_checked, amount));
    if (a->changes_unchecked)
        printf(", %s NOT CHECKED (logged without signatures)", pc_amount((json_int_t)a->changes_unchecked, amount));
    printf("\n  hosts        %s checkpoints that hosts saw, compared with this log\n",
           pc_amount((json_int_t)a->seen_checked, amount));
    if (a->outside)
        printf(
            "  outside      %s answers of hosts to orders that are not in the log: stops that were carried by hand?\n",
            pc_amount((json_int_t)a->outside, amount));
    put_list(cli, PC_YELLOW, "note", a->notes);
    put_list(cli, PC_RED, "PROBLEM", a->problems);
    if (a->n_problems > PC_AUDIT_PROBLEMS_SHOWN)
        printf("  ... and %s more\n", pc_amount((json_int_t)(a->n_problems - PC_AUDIT_PROBLEMS_SHOWN), amount));
}

static int say(const struct verification *v, bool ok)
{
    json_t *r = report(v, ok);
    int status = r ? 0 : pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    if (r && v->fleet.cli->json)
        status = pc_fleet_put_json(r);
    else if (r)
        put_report(v, ok, r);
    json_decref(r);
    return status;
}

static int prepare(struct verification *v, struct pc_cli *cli, bool log_only)
{
    int status = pc_fleet_begin(cli, &v->fleet);
    if (status == 0)
        status = pc_audit_init(&v->audit, &v->fleet, &v->walk, log_only);
    if (status == 0)
        status = pc_fleet_trust(&v->fleet);
    if (status == 0)
        status = load_saved(v);
    return status ? status : pc_log_newest(&v->fleet, v->fleet.trust.witnesses_needed, &v->note, &v->head);
}

int pc_cmd_log_verify(struct pc_cli *cli, const struct pc_cli_args *args)
{
    _verification_ struct verification v = {0};
    int status = prepare(&v, cli, args->value[OPTION_LOG_ONLY] != NULL);
    if (status)
        return status;
    status = shrunk(&v);
    if (status == 0)
        status = walk(&v);
    if (status == 0)
        check_time(&v);
    if (v.broken)
        keep_evidence(&v);
    bool ok = status == 0 && v.audit.n_problems == 0;
    int said = say(&v, ok);
    if (!ok || said)
        return status ? status : said ? said : PC_EXIT_FAILED;
    return save(&v);
}
