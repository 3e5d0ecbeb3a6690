/*
 * Owns the commands on standard input, one a line, each answered by one JSON line:
 *
 *     status               connections, documents that the server does not have yet, how the flood went
 *     order SHA256 SINCE   when the order arrived and was answered, in seconds after SINCE (monotonic nanoseconds)
 *     sign SHA256 N        every connected agent signs N results of that order, and keeps them
 *     fire                 all of them are sent at once
 *
 * Times in `status` are monotonic seconds. The end of input ends the process.
 */
#include "fleet.h"

#include "base/clock.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FLOOD_MAX 1000000

static char line[512];
static size_t line_len;

static void refuse(const char *why)
{
    printf("{\"error\":\"%s\"}\n", why);
    fflush(stdout);
}

static void on_status(struct sim_fleet *f, char **word)
{
    sim_say_status(f);
}

static void on_order(struct sim_fleet *f, char **word)
{
    uint64_t since;
    const struct sim_order *o = word[0] ? sim_order_find(f, word[0]) : NULL;
    if (!o || !word[1] || pc_parse_u64(word[1], 0, UINT64_MAX, &since) < 0)
        refuse(o ? "since when?" : "no agent has met this order");
    else
        sim_say_order(f, o, since);
}

static void on_sign(struct sim_fleet *f, char **word)
{
    uint64_t n;
    const struct sim_order *o = word[0] ? sim_order_find(f, word[0]) : NULL;
    if (!o || !word[1] || pc_parse_u64(word[1], 1, FLOOD_MAX / f->agents, &n) < 0) {
        refuse(o ? "how many?" : "no agent has met this order");
        return;
    }
    f->flood.fired_ns = f->flood.done_ns = f->flood.total = f->flood.got = 0;
    for (uint32_t i = 0; i < f->agents; i++)
        for (uint64_t run = 1; run <= n && f->agent[i].welcomed; run++)
            if (sim_flood_result(&f->agent[i], (uint32_t)(o - f->order), run) == 0)
                f->flood.total++;
    sim_say_status(f);
}

static void on_fire(struct sim_fleet *f, char **word)
{
    f->flood.fired_ns = pc_mono_ns();
    for (uint32_t i = 0; i < f->agents; i++)
        sim_send_docs(&f->agent[i], false);
    sim_say_status(f);
}

static void obey(struct sim_fleet *f, char *text)
{
    static const struct {
        const char *word;
        void (*obey)(struct sim_fleet *f, char **word);
    } words[] = {{"status", on_status}, {"order", on_order}, {"sign", on_sign}, {"fire", on_fire}};
    char *word[4] = {NULL};
    for (unsigned n = 0; n < 3 && (word[n] = strsep(&text, " ")); n++)
        ;
    for (size_t i = 0; word[0] && i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i].word, word[0]) == 0) {
            words[i].obey(f, word + 1);
            return;
        }
    refuse("no such command");
}

static void on_input(evutil_socket_t fd, short events, void *arg)
{
    struct sim_fleet *f = arg;
    ssize_t n = read(fd, line + line_len, sizeof line - 1 - line_len);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR))
            event_base_loopbreak(f->base);
        return;
    }
    line_len += (size_t)n;
    line[line_len] = 0;
    for (char *end; (end = strchr(line, '\n'));) {
        *end = 0;
        obey(f, line);
        line_len -= (size_t)(end + 1 - line);
        memmove(line, end + 1, line_len + 1);
    }
    if (line_len == sizeof line - 1)
        line_len = 0; /* no command is so long */
}

int sim_words_start(struct sim_fleet *f)
{
    struct event *e;
    fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
    e = event_new(f->base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, f);
    return e && event_priority_set(e, 0) == 0 && event_add(e, NULL) == 0 ? 0 : -ENOMEM;
}
