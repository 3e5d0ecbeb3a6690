/* Owns waiting for an order: asks, prints what changed, asks again. What is shown was weighed by order_view.c. */
#include "cli/net/watch.h"

#include "base/cleanup.h"
#include "base/clock.h"

#include <string.h>
#include <time.h>

#define FIRST_PAUSE_NS (200 * PC_NS_PER_MS)
#define LONGEST_PAUSE_NS (2 * PC_NS_PER_S)
#define PROOF_NS (5 * PC_NS_PER_S) /* that the hosts' signatures may come later than the server's word */

/* Prints the lines that are not those of last time; shown: host -> its line. */
static void put_changes(const struct pc_cli *cli, const json_t *view, json_t *shown)
{
    size_t i;
    const json_t *h;
    json_array_foreach(json_object_get(view, "hosts"), i, h) {
        _free_ char *line = pc_order_view_line(cli, h);
        const char *host = pc_text_of(h, "host"), *before = pc_text_of(shown, host);
        if (!line || (before && strcmp(before, line) == 0))
            continue;
        puts(line);
        json_object_set_new(shown, host, json_string(line));
    }
    fflush(stdout);
}

static void pause_for(uint64_t ns)
{
    nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / PC_NS_PER_S), .tv_nsec = (long)(ns % PC_NS_PER_S)}, NULL);
}

/* What did not happen, or is not known to have, is no success. */
static int verdict(const json_t *view, const struct pc_watching *w)
{
    size_t all = json_array_size(json_object_get(view, "hosts")), bad = pc_order_view_wrong(view),
           hearsay = pc_order_view_unsigned(view, w->taken);
    if (bad)
        return pc_cli_fail(PC_EXIT_FAILED, "%zu of %zu hosts refused it or failed", bad, all);
    if (hearsay)
        return pc_cli_fail(PC_EXIT_FAILED, "%zu of %zu hosts have not signed %s: there is only the server's word",
                           hearsay, all, w->taken ? "that they took it" : "how it ended");
    return PC_EXIT_OK;
}

static int finish(const struct pc_cli *cli, const json_t *view, const struct pc_watching *w, bool over)
{
    int status = PC_EXIT_OK;
    if (cli->json) {
        status = pc_fleet_put_json(view);
    } else {
        putchar('\n');
        pc_order_view_print(cli, view, w->output);
    }
    if (pc_order_view_problems(view))
        return pc_cli_fail(PC_EXIT_FAILED, "the server showed what is not so: see PROBLEM above");
    if (!over && w->taken)
        return pc_cli_fail(
            PC_EXIT_FAILED,
            "after %u s some hosts have not taken it; the server has it for them: `portcullis order status` tells",
            w->seconds);
    if (!over)
        return pc_cli_fail(PC_EXIT_FAILED, "not over after %u s; it goes on: `portcullis order status` tells",
                           w->seconds);
    return status ? status : verdict(view, w);
}

/* Is there nothing to wait for? A server that says so has a moment to show it. */
static bool is_over(const json_t *view, const struct pc_watching *w, uint64_t *since)
{
    uint64_t now = pc_mono_ns();
    if (!(w->taken ? pc_order_view_taken(view) : pc_order_view_over(view))) {
        *since = 0;
        return false;
    }
    if (*since == 0)
        *since = now;
    return pc_order_view_unsigned(view, w->taken) == 0 || now - *since >= PROOF_NS;
}

int pc_order_watch(struct pc_fleet *f, const struct pc_order_question *q, const struct pc_watching *w)
{
    uint64_t until = pc_mono_ns() + w->seconds * PC_NS_PER_S, pause = FIRST_PAUSE_NS, since = 0;
    json_t *shown = json_object();
    int status;
    for (;;) {
        json_t *view = NULL;
        status = pc_order_view(f, q, &view);
        bool late = pc_mono_ns() >= until;
        bool over = view && is_over(view, w, &since);
        if (view && !f->cli->json)
            put_changes(f->cli, view, shown);
        if (view && (over || late || pc_order_view_problems(view))) {
            status = finish(f->cli, view, w, over);
            json_decref(view);
            break;
        }
        json_decref(view);
        if (status && (status != PC_EXIT_NO_GUARD || late))
            break;
        pause_for(pause);
        pause = 2 * pause < LONGEST_PAUSE_NS ? 2 * pause : LONGEST_PAUSE_NS;
    }
    json_decref(shown);
    return status;
}
