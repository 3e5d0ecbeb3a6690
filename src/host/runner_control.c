/*
 * Owns what the runner answers on its control socket (<fleet>/control.sock): how it stands, and stop files handed over
 * on this host, with no server.
 */
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static json_t *moment(int64_t t)
{
    char text[PC_TIME_SIZE];
    if (t == 0)
        return json_null();
    pc_time_format(t, text);
    return json_string(text);
}

struct stops {
    const struct pc_runner *r;
    json_t *list;
};

static int add_timer(void *ctx, const struct pc_kept_timer *t)
{
    struct stops *s = ctx;
    return json_array_append_new(s->list, json_pack("{s:s, s:s, s:I}", "kind", t->kind, "order", t->order_sha256,
                                                    "seconds_left", (json_int_t)pc_timer_left(s->r, t)));
}

static json_t *runner_status(struct pc_runner *r)
{
    struct pc_link_facts f = {0};
    json_t *stops = json_array();
    struct stops all = {r, stops};
    (void)pc_link_facts_read(r->dir.fd, &f);
    (void)pc_memory_timers(r->file, add_timer, &all); /* a list that is cut short is better than no status */
    json_t *o = json_pack("{s:b, s:s, s:s, s:s, s:b}", "enrolled", 1, "host", r->ref, "tenant", r->trust.tenant,
                          "server", f.url, "connected", r->welcomed && r->peer_fd >= 0);
    json_t *rest = json_pack("{s:s, s:o, s:I, s:I, s:b, s:I, s:s, s:I}", "version", PC_VERSION, "checkpoint_time",
                             moment(r->memory.checkpoint.time), "checkpoint_size",
                             (json_int_t)r->memory.checkpoint.size, "sequence", (json_int_t)r->memory.sequence,
                             "silent", !pc_checkpoint_fresh(&r->memory.checkpoint, &r->trust, pc_now()),
                             "trust_version", (json_int_t)r->trust.version, "trust_sha256", r->trust.sha256,
                             "revoked_keys", (json_int_t)r->revoked.n);
    json_t *orders = json_pack("{s:I, s:I, s:I, s:I}", "waiting",
                               (json_int_t)pc_memory_order_count(r->file, PC_ORDER_WAITING), "running",
                               (json_int_t)pc_memory_order_count(r->file, PC_ORDER_RUNNING), "soaking",
                               (json_int_t)pc_memory_order_count(r->file, PC_ORDER_SOAKING), "standing",
                               (json_int_t)pc_memory_order_count(r->file, PC_ORDER_STANDING));
    json_object_update(o, rest);
    json_decref(rest);
    json_object_set_new(o, "orders", orders);
    json_object_set_new(o, "unconfirmed", json_integer(pc_memory_outbox_count(r->file)));
    json_object_set_new(o, "split_log_evidence", json_integer(pc_memory_evidence_count(r->file)));
    json_object_set_new(o, "stops", stops);
    return o;
}

static void answer_status(void *ctx, const json_t *args, struct pc_reply *reply)
{
    (void)args;
    pc_reply_done(reply, runner_status(ctx));
}

/* The signatures beside a document: FILE.NAME.sig, as `portcullis approve` writes them. */
static int add_signatures(struct pc_envelope *e, const char *file)
{
    char folder[4096], path[8300];
    const char *slash = strrchr(file, '/');
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - file), file);
    const char *base = slash + 1;
    size_t base_len = strlen(base);
    _closedir_ DIR *d = opendir(folder[0] ? folder : "/");
    if (!d)
        return -errno;
    const struct dirent *entry;
    int r = 0;
    while (r == 0 && (entry = readdir(d))) {
        size_t n = strlen(entry->d_name);
        if (n < base_len + 5 || strncmp(entry->d_name, base, base_len) != 0 || entry->d_name[base_len] != '.' ||
            strcmp(entry->d_name + n - 4, ".sig") != 0)
            continue;
        _free_ char *text = NULL;
        size_t len;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        r = pc_fleet_read_at(AT_FDCWD, path, PC_SIGNATURE_TEXT_MAX, &text, &len);
        if (r == 0)
            r = pc_envelope_add(e, text, len);
    }
    return r;
}

static int read_stop(const char *file, char **json, size_t *len)
{
    _free_ char *text = NULL;
    size_t n;
    struct pc_envelope e = {0};
    int r = pc_fleet_read_at(AT_FDCWD, file, PC_ENVELOPE_MAX, &text, &n);
    if (r < 0)
        return r;
    /*
     * A file that holds the whole bundle already ({"order": ...}, as `portcullis stop --offline` may write it) is taken
     * as it is.
     */
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    bool bundle = json_is_object(json_object_get(o, "order"));
    json_decref(o);
    if (bundle) {
        *json = TAKE_PTR(text);
        *len = n;
        return 0;
    }
    _free_ char *envelope = NULL;
    size_t envelope_len;
    r = pc_envelope_make(text, n, &e);
    if (r == 0)
        r = add_signatures(&e, file);
    if (r == 0)
        r = pc_envelope_format(&e, &envelope, &envelope_len);
    pc_envelope_clear(&e);
    if (r < 0)
        return r;
    int made = asprintf(json, "{\"order\":%.*s}", (int)envelope_len, envelope);
    *len = made < 0 ? 0 : (size_t)made;
    return made < 0 ? -ENOMEM : 0;
}

static void answer_stop(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct pc_runner *r = ctx;
    const char *file = json_string_value(json_object_get(args, "file"));
    _free_ char *json = NULL;
    size_t len;
    char sha256[65], why[256] = "";
    if (file[0] != '/') {
        pc_reply_fail(reply, PC_CODE_USAGE, "file: an absolute path");
        return;
    }
    int e = read_stop(file, &json, &len);
    if (e < 0) {
        pc_reply_fail(reply, PC_CODE_FAILED, "%s: %s", file, pc_strerror(e));
        return;
    }
    enum pc_check c = pc_take_order(r, json, len, sha256, why, sizeof why);
    if (c == PC_CHECK_OK)
        pc_schedule(r);
    else
        pc_event(r->log, PC_LEVEL_WARNING, "refused", NULL, "check %s: stop file %s: %s", pc_check_word(c), file,
                 why[0] ? why : pc_check_text(c));
    if (c == PC_CHECK_OK || c == PC_CHECK_REPLAYED)
        pc_reply_done(reply,
                      json_pack("{s:s, s:b}", "order_sha256", sha256, "accepted_before", c == PC_CHECK_REPLAYED));
    else
        pc_reply_fail(reply, PC_CODE_REFUSED, "check %s: %s", pc_check_word(c), why[0] ? why : pc_check_text(c));
}

const struct pc_command pc_runner_commands[] = {
    {"status", true, {{0}}, answer_status},
    {"apply-stop", false, {{"file", PC_ARG_TEXT, true}, {0}}, answer_stop},
    {0},
};
