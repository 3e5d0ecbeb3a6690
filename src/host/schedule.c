/*
 * Owns the life of an accepted order: waiting, running, soaking, done. A start is on disk before the first program
 * runs, an end is on disk together with its signed result; so whatever kills the runner, an order runs at most once and
 * is never silently lost.
 */
#include "host/runner.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "host/options.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

int64_t pc_now(void)
{
    return (int64_t)(pc_real_ns() / PC_NS_PER_S);
}

uint64_t pc_boot_s(void)
{
    return pc_boot_ns() / PC_NS_PER_S;
}

int pc_order_load(struct pc_runner *r, const char *sha256, struct pc_loaded *out)
{
    struct pc_loaded l = {0};
    _free_ char *json = NULL;
    size_t len;
    int e = pc_memory_order_get(r->file, sha256, &l.kept);
    if (e == 0)
        e = pc_memory_order_envelope(r->file, sha256, &json, &len);
    if (e == 0)
        e = pc_envelope_parse(json, len, &l.envelope);
    if (e < 0)
        return e;
    if (pc_order_parse(l.envelope.document, l.envelope.len, &l.order, NULL, 0) != PC_CHECK_OK) {
        pc_envelope_clear(&l.envelope);
        return PC_E_CORRUPT;
    }
    *out = l;
    return 0;
}

void pc_loaded_clear(struct pc_loaded *l)
{
    pc_order_clear(&l->order);
    pc_envelope_clear(&l->envelope);
}

static void put_word(char *out, size_t cap, const char *word)
{
    snprintf(out, cap, "%s", word);
}

/* What the result document says; `how` is borrowed by it. */
static void fill_result(struct pc_runner *r, const struct pc_kept_order *k, const struct pc_outcome *how,
                        struct pc_result *out)
{
    pc_result_begin(r, out);
    put_word(out->order_sha256, sizeof out->order_sha256, k->sha256);
    put_word(out->outcome, sizeof out->outcome, how->word);
    out->run = k->run;
    out->data = how->data;
    out->started = k->started ? k->started : out->ended;
    if (how->job) {
        out->exit = how->job->exit;
        out->signal = how->job->signal;
        out->ended = how->job->ended;
    }
    if (how->job && !how->data && !how->text) {
        out->output = how->job->output;
        out->output_len = how->job->output_len;
        out->truncated = how->job->truncated;
        put_word(out->output_sha256, sizeof out->output_sha256, how->job->output_sha256);
    } else if (how->text) {
        out->output = how->text;
        out->output_len = strlen(how->text);
        pc_sha256_text(out->output, out->output_len, out->output_sha256);
    }
}

#define NO_GUARD 0x80000000u /* none answered at the start: what was known of it last is in the other bits */

/* The guard's count as it is now, for incidents_since. One that does not answer just now had some long before. */
static uint32_t incidents_now(const struct pc_runner *r)
{
    int64_t n = pc_guard_incidents(r);
    uint64_t count = n < 0 ? pc_memory_number(r->file, "guard-incidents") : (uint64_t)n;
    return (count < NO_GUARD ? (uint32_t)count : NO_GUARD - 1) | (n < 0 ? NO_GUARD : 0);
}

/* Where a run leads: the ring report is due after the soak, or the order waits for its next run, or it is over. */
static enum pc_order_state next_state(const struct pc_loaded *l)
{
    if (l->order.rings > 1)
        return PC_ORDER_SOAKING;
    return l->order.standing ? PC_ORDER_STANDING : PC_ORDER_DONE;
}

static int save_end(struct pc_runner *r, const struct pc_kept_order *k, const char *document, size_t len)
{
    int e = pc_memory_begin(r->file);
    if (e < 0)
        return e;
    e = pc_memory_order_set(r->file, k);
    if (e == 0)
        e = pc_tell_result_text(r, k->sha256, document, len);
    return pc_memory_end(r->file, e);
}

/*
 * On disk the row still says running: if the runner ends before there is room, the result is `unknown`, which is what
 * is known then.
 */
static void keep_unsaved(struct pc_runner *r, const struct pc_kept_order *k, char *document, size_t len)
{
    r->full = true;
    for (size_t i = 0; i < PC_UNSAVED_MAX; i++) {
        if (r->unsaved[i].document)
            continue;
        r->unsaved[i] = (struct pc_unsaved){*k, document, len};
        return;
    }
    free(document); /* cannot be: no order starts while the disk is full, and fewer run at a time */
}

static void save_unsaved(struct pc_runner *r)
{
    for (size_t i = 0; i < PC_UNSAVED_MAX; i++) {
        struct pc_unsaved *u = &r->unsaved[i];
        if (!u->document || save_end(r, &u->row, u->document, u->len) < 0)
            continue;
        pc_event(r->log, PC_LEVEL_NOTICE, "saved", NULL, "order %.12s: the result is written down now", u->row.sha256);
        free(TAKE_PTR(u->document));
    }
}

/* For the log: the reason in words, or how the program ended and the last line that it printed. */
static void say_why(const struct pc_outcome *how, char *out, size_t cap)
{
    const struct pc_job_end *job = how->job;
    if (how->text)
        snprintf(out, cap, ": %s", how->text);
    if (how->text || !job || strcmp(how->word, "ok") == 0)
        return;
    size_t end = job->output_len;
    while (end && job->output[end - 1] == '\n')
        end--;
    size_t from = end;
    while (from && job->output[from - 1] != '\n' && end - from < 200)
        from--;
    snprintf(out, cap, ": %s %d%s%.*s", job->signal >= 0 ? "signal" : "exit status",
             job->signal >= 0 ? job->signal : job->exit, end > from ? ": " : "", (int)(end - from), job->output + from);
}

void pc_order_over(struct pc_runner *r, const char *order_sha256, const struct pc_outcome *how)
{
    struct pc_loaded l;
    struct pc_result result;
    int e = pc_order_load(r, order_sha256, &l);
    if (e < 0) {
        pc_event(r->log, PC_LEVEL_ERROR, "memory", NULL, "order %.12s ended (%s), and its row cannot be read: %s",
                 order_sha256, how->word, pc_strerror(e));
        return;
    }
    struct pc_kept_order *k = &l.kept;
    fill_result(r, k, how, &result);
    k->state = next_state(&l);
    if (how->never_ran && l.order.rings > 1)
        k->incidents = incidents_now(r);
    k->ended = result.ended;
    k->started = result.started;
    k->since_boot = pc_boot_s();
    put_word(k->boot, sizeof k->boot, r->boot);
    put_word(k->outcome, sizeof k->outcome, how->word);
    _free_ char *document = NULL;
    size_t len;
    e = pc_result_text(&result, &document, &len);
    if (e == 0)
        e = save_end(r, k, document, len);
    char reason[400] = "";
    say_why(how, reason, sizeof reason);
    pc_event(r->log, e < 0 ? PC_LEVEL_ERROR : PC_LEVEL_NOTICE, how->word, NULL, "order %.12s: %s%s%s%s", k->sha256,
             k->action, reason, e < 0 ? "; the result cannot be written down yet: " : "", e < 0 ? pc_strerror(e) : "");
    if (e < 0 && document)
        keep_unsaved(r, k, TAKE_PTR(document), len);
    pc_loaded_clear(&l);
}

static void run_order(struct pc_runner *r, struct pc_loaded *l)
{
    struct pc_task *t = pc_task_new(r, l->order.action, l->order.params);
    if (!t)
        return; /* the row says running: unknown after the next start, but nothing ran */
    put_word(t->order_sha256, sizeof t->order_sha256, l->kept.sha256);
    t->run = l->kept.run;
    t->order = &l->order;
    enum pc_act a = pc_task_start(r, t);
    if (a == PC_ACT_RUN)
        return;
    struct pc_outcome how = {.word = a == PC_ACT_OK       ? "ok"
                                     : a == PC_ACT_FAILED ? "failed"
                                                          : "refused",
                             .text = t->text[0] ? t->text : NULL,
                             .data = t->data};
    pc_order_over(r, l->kept.sha256, &how);
    pc_task_free(t);
}

/* The start is written down first; when that fails nothing runs and the order goes on waiting. */
static void start_order(struct pc_runner *r, struct pc_loaded *l)
{
    struct pc_kept_order *k = &l->kept;
    k->state = PC_ORDER_RUNNING;
    k->started = pc_now();
    k->incidents = l->order.rings > 1 ? incidents_now(r) : NO_GUARD;
    if (!l->order.standing)
        k->run++;
    int e = pc_memory_order_set(r->file, k);
    if (e < 0) {
        if (!r->full)
            pc_tell_event(r, PC_LEVEL_ERROR, "full", "order %.12s does not start: its start cannot be written down: %s",
                          k->sha256, pc_strerror(e));
        r->full = true;
        return;
    }
    r->full = false;
    pc_event(r->log, PC_LEVEL_NOTICE, "start", NULL, "order %.12s: %s", k->sha256, k->action);
    run_order(r, l);
}

/*
 * Is the time over, and is that for good? A clock may be years ahead until it is set: then nothing fresh is known by
 * it, nothing but a stop starts, and nothing ends for that reason.
 */
static bool expired_for_good(const struct pc_runner *r, bool stop)
{
    return stop || pc_checkpoint_fresh(&r->memory.checkpoint, &r->trust, pc_now());
}

/* Final answers of may_start end the order without a run. */
static bool ends_without_run(struct pc_runner *r, const struct pc_loaded *l, enum pc_check c, const char *why)
{
    if (c != PC_CHECK_HALTED && c != PC_CHECK_EXPIRED && c != PC_CHECK_QUORUM)
        return false;
    if (c == PC_CHECK_EXPIRED && !expired_for_good(r, l->order.class_ == PC_CLASS_S))
        return false;
    char text[400];
    snprintf(text, sizeof text, "check %s: %s", pc_check_word(c), why[0] ? why : pc_check_text(c));
    pc_tell_event(r, PC_LEVEL_WARNING, "refused", "check %s: order %.12s does not start: %s", pc_check_word(c),
                  l->kept.sha256, why[0] ? why : pc_check_text(c));
    struct pc_outcome how = {.word = c == PC_CHECK_HALTED ? "halted" : "refused", .text = text, .never_ran = true};
    pc_order_over(r, l->kept.sha256, &how);
    return true;
}

/*
 * What counted under another boot begins anew under this one. Until that is written down nothing is counted: the host
 * may have come up with a full disk, and has to be reachable all the same.
 */
static int begin_anew(void *ctx, const struct pc_kept_order *kept)
{
    struct pc_runner *r = ctx;
    struct pc_kept_order k = *kept;
    if (strcmp(k.boot, r->boot) == 0)
        return 0;
    put_word(k.boot, sizeof k.boot, r->boot);
    k.since_boot = pc_boot_s();
    int e = pc_memory_order_set(r->file, &k);
    if (e < 0 && !r->full)
        pc_event(r->log, PC_LEVEL_ERROR, "full", NULL, "order %.12s: its wait cannot begin anew after the reboot: %s",
                 k.sha256, pc_strerror(e));
    r->full |= e < 0;
    return 0;
}

bool pc_order_open(const struct pc_order *o, int64_t last_run)
{
    time_t now = (time_t)pc_now();
    struct tm local;
    tzset(); /* somebody may have set the host's time zone since we started */
    localtime_r(&now, &local);
    return pc_standing_open(o, (unsigned)(local.tm_wday + 6) % 7, (unsigned)(local.tm_hour * 60 + local.tm_min), now,
                            last_run);
}

static int try_start(void *ctx, const struct pc_kept_order *k)
{
    struct pc_runner *r = ctx;
    struct pc_loaded l;
    char why[256] = "";
    if (strcmp(k->boot, r->boot) != 0)
        return begin_anew(r, k);
    if (pc_order_load(r, k->sha256, &l) < 0)
        return 0;
    struct pc_start_facts f = {.now = pc_now(), .waited = pc_boot_s() - k->since_boot, .ring_open = k->ring_open,
                               .halted = pc_memory_halted(r->file, k->sha256),
                               .outside = l.order.standing && !pc_order_open(&l.order, 0)};
    enum pc_check c = pc_order_may_start(&l.order, &l.envelope, &r->trust, &r->revoked, &r->memory, &f, why,
                                         sizeof why);
    /* A stop waits for none of these, not even for the trial of a new program; but nobody starts where none can. */
    bool can = !r->jobs || pc_jobs_room(r->jobs);
    bool place = l.order.class_ == PC_CLASS_S
                     ? can
                     : can && r->running < r->settings.jobs && !r->stuffed && !r->trial &&
                           r->exit_status != PC_EXIT_UPGRADED;
    if (c == PC_CHECK_OK && place)
        start_order(r, &l);
    else if (c != PC_CHECK_OK)
        (void)ends_without_run(r, &l, c, why);
    pc_loaded_clear(&l);
    return 0;
}

static const char *report_word(const char *outcome)
{
    if (strcmp(outcome, "timeout") == 0)
        return "failed";
    return strcmp(outcome, "halted") == 0 ? "refused" : outcome;
}

/*
 * Incidents since the start. A guard that was there and is gone counts as one: silence is what an attacker would
 * arrange.
 */
static uint32_t incidents_since(const struct pc_runner *r, const struct pc_kept_order *k)
{
    int64_t now = pc_guard_incidents(r), before = k->incidents & ~NO_GUARD;
    if (now < 0)
        return k->incidents & NO_GUARD ? 0 : 1;
    return now > before ? (uint32_t)(now - before) : 0;
}

static int try_soaked(void *ctx, const struct pc_kept_order *kept)
{
    struct pc_runner *r = ctx;
    struct pc_kept_order k = *kept;
    if (strcmp(k.boot, r->boot) != 0)
        return begin_anew(r, kept);
    uint64_t passed = pc_boot_s() - k.since_boot;
    if (passed < k.soak)
        return 0;
    uint32_t incidents = incidents_since(r, &k);
    k.state = strcmp(k.class_, "B") == 0 ? PC_ORDER_STANDING : PC_ORDER_DONE;
    int e = pc_memory_begin(r->file);
    if (e == 0) {
        e = pc_memory_order_set(r->file, &k);
        if (e == 0)
            e = pc_tell_ring(r, &k, report_word(k.outcome), incidents, k.ended + (int64_t)passed);
        e = pc_memory_end(r->file, e);
    }
    if (e < 0)
        r->full = true; /* tried again at the next tick */
    else
        pc_event(r->log, PC_LEVEL_NOTICE, "soaked", NULL, "order %.12s: ring %u reported: %s, %u incidents", k.sha256,
                 k.ring, k.outcome, incidents);
    return 0;
}

static int try_expire(void *ctx, const struct pc_kept_order *kept)
{
    struct pc_runner *r = ctx;
    struct pc_kept_order k = *kept;
    bool over = k.expires <= pc_now() && expired_for_good(r, false);
    if (!over && !pc_memory_halted(r->file, k.sha256))
        return 0;
    k.state = PC_ORDER_DONE;
    (void)pc_memory_order_set(r->file, &k); /* tried again at the next tick */
    return 0;
}

/* A server that takes nothing off our hands gets no more of it: what nobody confirms would fill the disk. */
static void see_outbox(struct pc_runner *r)
{
    bool stuffed = pc_memory_outbox_count(r->file) >= PC_OUTBOX_MAX;
    if (stuffed && !r->stuffed)
        pc_tell_event(r, PC_LEVEL_WARNING, "outbox",
                      "%d documents wait for the server's word that it has them: no order but stops is taken or starts",
                      PC_OUTBOX_MAX);
    r->stuffed = stuffed;
}

void pc_schedule(struct pc_runner *r)
{
    save_unsaved(r);
    see_outbox(r);
    /* what cannot be read now is read at the next tick */
    (void)pc_memory_orders(r->file, PC_ORDER_WAITING, try_start, r);
    (void)pc_memory_orders(r->file, PC_ORDER_SOAKING, try_soaked, r);
    (void)pc_memory_orders(r->file, PC_ORDER_STANDING, try_expire, r);
}

static int report_unknown(void *ctx, const struct pc_kept_order *k)
{
    if (pc_upgrade_settle(ctx, k))
        return 0;
    struct pc_outcome how = {
        .word = "unknown",
        .text = "the runner ended between the start and the result: how far it came is not known; it is not run again"};
    pc_order_over(ctx, k->sha256, &how);
    return 0;
}

int pc_schedule_recover(struct pc_runner *r)
{
    int e = pc_memory_orders(r->file, PC_ORDER_RUNNING, report_unknown, r);
    if (e == 0)
        e = pc_memory_orders(r->file, PC_ORDER_WAITING, begin_anew, r);
    if (e == 0)
        e = pc_memory_orders(r->file, PC_ORDER_SOAKING, begin_anew, r);
    return e;
}
