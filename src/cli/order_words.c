/*
 * Owns how an order looks to the person who is asked to approve it. Everything that will happen is shown, the whole
 * script and every host, and nothing of it can move the cursor, hide, or look like another line: control characters
 * come out as \xNN.
 */
#include "cli/order_words.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "trust/json.h"

#include <inttypes.h>
#include <string.h>

static const char *const class_words[PC_CLASSES] = {"look", "standing order", "act", "STOP", "trust"};

/* Text of several lines, each behind a mark. */
static void put_lines(const struct pc_cli *cli, const char *text)
{
    _free_ char *copy = pc_copy_of(text);
    for (char *rest = copy, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (!rest && !*line && line != copy)
            break; /* after the last newline there is no line */
        pc_put_marked(cli, line);
    }
}

#define LIST_COLUMNS 60

/* Few words without blanks: then nobody can take two for one, or one for two. */
static bool fits_a_line(const json_t *list)
{
    size_t i, columns = 0;
    const json_t *v;
    json_array_foreach(list, i, v) {
        const char *text = json_string_value(v);
        columns += strlen(text) + 2;
        for (const char *c = text; *c; c++)
            if (*c <= ' ' || *c > '~')
                return false;
        if (!*text)
            return false;
    }
    return columns <= LIST_COLUMNS;
}

static void put_list(const struct pc_cli *cli, const json_t *list)
{
    bool one_line = fits_a_line(list);
    size_t i;
    const json_t *v;
    if (json_array_size(list) == 0)
        printf("(none)");
    json_array_foreach(list, i, v)
        if (one_line)
            printf("%s%s", i ? "  " : "", json_string_value(v));
    putchar('\n');
    json_array_foreach(list, i, v)
        if (!one_line)
            pc_put_marked(cli, json_string_value(v));
}

static void put_scalar(const struct pc_cli *cli, const json_t *v)
{
    if (json_is_string(v)) {
        pc_put(cli, PC_PLAIN, json_string_value(v));
    } else if (json_is_integer(v)) {
        printf("%" JSON_INTEGER_FORMAT, json_integer_value(v));
    } else {
        printf("%s", json_is_true(v) ? "yes" : "no");
    }
    putchar('\n');
}

/* The script is shown as it is; a NUL byte in it would end what is shown, so it is said. */
static void put_script(const struct pc_cli *cli, const json_t *v)
{
    _free_ char *bytes = NULL;
    size_t len;
    if (pc_json_base64(v, PC_DOCUMENT_SMALL_MAX, &bytes, &len) < 0) {
        fputs("portcullis: out of memory\n", stderr); /* a script that is not shown must not be signed */
        exit(PC_EXIT_FAILED);
    }
    printf("%zu bytes:\n", len);
    for (size_t at = 0; at <= len; at += strlen(bytes + at) + 1) {
        if (at > 0)
            pc_say(cli, PC_RED, "    (a NUL byte is here: an odd script)\n");
        put_lines(cli, bytes + at);
    }
}

static void put_params(const struct pc_cli *cli, const struct pc_order *o)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)o->params, key, v) {
        printf("  %-12s ", key);
        if (strcmp(key, "script") == 0)
            put_script(cli, v);
        else if (json_is_array(v))
            put_list(cli, v);
        else
            put_scalar(cli, v);
    }
}

static void put_host(const struct pc_cli *cli, const struct pc_paper *p, const struct pc_host_ref *host)
{
    char text[PC_HOST_REF_SIZE];
    const struct pc_host_ref *pinned = pc_pins_find(&p->pins, host->name);
    pc_host_ref_format(host, text);
    printf("    %s", text);
    if (pinned && strcmp(pinned->id, host->id) != 0)
        pc_say(cli, PC_RED, "  NOT the identity that you have pinned for this name");
    else if (!pinned)
        pc_say(cli, PC_YELLOW, "  (not pinned by you)");
    putchar('\n');
}

static void put_hosts(const struct pc_cli *cli, const struct pc_paper *p, const struct pc_order *o)
{
    char soak[32];
    uint32_t i = 0;
    printf("Where: %u host%s\n", o->hosts, o->hosts == 1 ? "" : "s");
    for (uint32_t k = 0; k < o->rings; k++) {
        if (o->rings > 1)
            printf("  ring %u: %u host%s", k, o->ring[k].hosts, o->ring[k].hosts == 1 ? "" : "s");
        if (o->rings > 1 && o->ring[k].soak)
            printf(", then %s of quiet", pc_span(o->ring[k].soak * PC_NS_PER_S, soak));
        printf("%s", o->rings > 1 ? "\n" : "");
        for (uint32_t end = i + o->ring[k].hosts; i < end; i++)
            put_host(cli, p, o->rooted ? &p->file.host[i] : &o->host[i]);
    }
    if (o->rings > 1)
        printf("  a further ring starts only after at most %u failures and %u guard incidents in the one before\n",
               o->halt_failures, o->halt_incidents);
}

static void put_standing(const struct pc_order *o)
{
    static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    char every[32];
    printf("Again and again: ");
    for (int d = 0; d < 7; d++)
        if (o->when.days & 1u << d)
            printf("%s ", days[d]);
    printf("from %02u:%02u until %02u:%02u of the host's time, at most every %s, whenever the server says so\n",
           o->when.from / 60u, o->when.from % 60u, o->when.until / 60u, o->when.until % 60u,
           pc_span(o->when.every * PC_NS_PER_S, every));
}

static void put_window(const struct pc_cli *cli, const struct pc_paper *p, const struct pc_order *o)
{
    char from[PC_TIME_SIZE], to[PC_TIME_SIZE], span[32];
    int64_t now = (int64_t)(cli->now_ns / PC_NS_PER_S);
    pc_time_format(o->not_before, from);
    pc_time_format(o->expires, to);
    printf("When:  from %s until %s", from, to);
    if (now >= o->expires)
        pc_say(cli, PC_RED, "  EXPIRED: no host will take it");
    else
        printf(" (%s left)", pc_span((uint64_t)(o->expires - now) * PC_NS_PER_S, span));
    putchar('\n');
    if (o->class_ == PC_CLASS_C && o->dwell != UINT32_MAX)
        printf("       after %u s of waiting on each host\n", o->dwell);
    else if (o->class_ == PC_CLASS_C && p->trusted)
        printf("       after %u s of waiting on each host, as the trust file says\n", p->trust.dwell);
    if (o->standing)
        put_standing(o);
}

/* Who else has to say yes. */
static void put_needed(const struct pc_cli *cli, const struct pc_paper *p, const struct pc_order *o)
{
    if (!p->trusted) {
        pc_say(cli, PC_YELLOW,
               "No trust file in your folder: who may approve this, and how many must, is not known here.\n");
        return;
    }
    if (strcmp(p->trust.tenant, o->tenant) != 0)
        pc_say(cli, PC_RED, "It is for another tenant than yours.\n");
    if (o->hosts > p->trust.cap[o->class_])
        pc_say(cli, PC_RED, "The trust file allows %u hosts at once: every host will refuse it.\n",
               p->trust.cap[o->class_]);
    printf("Needs: %u of the owners for class %s\n", p->trust.threshold[o->class_], pc_class_letter(o->class_));
}

int pc_order_paper_put(const struct pc_cli *cli, const struct pc_paper *p)
{
    struct pc_order o;
    int status = pc_paper_order(p, &o);
    if (status)
        return status;
    pc_say(cli, PC_BOLD, "Order %s of %s: class %s (%s), sequence %" PRIu64 "\n", o.id, o.tenant,
           pc_class_letter(o.class_), class_words[o.class_], o.sequence);
    printf("It says:\n");
    put_lines(cli, o.says);
    printf("What:  %s: %s\n", o.action, o.row->brief);
    put_params(cli, &o);
    put_hosts(cli, p, &o);
    put_window(cli, p, &o);
    put_needed(cli, p, &o);
    pc_order_clear(&o);
    return 0;
}
