/*
 * `portcullis incident`: the report of one incident, made to be read by somebody in a hurry: what happened and what to
 * do on top, then who, the files, and the order of events.
 */
#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/incident_words.h"
#include "cli/process_tree.h"
#include "cli/render.h"

#include <string.h>

#define ROWS_SHOWN 40

/* The guard sends at most 2,000 files an answer. Fetches all of them into one object. 0 or an exit status. */
static int fetch(const struct pc_cli *cli, json_int_t id, json_t **out)
{
    json_t *whole = NULL;
    for (json_int_t from = 0;;) {
        json_t *part;
        int status = pc_cli_ask(cli, json_pack("{s:s, s:I, s:I}", "cmd", "incident", "id", id, "from", from), NULL,
                                NULL, &part);
        if (status) {
            json_decref(whole);
            return status;
        }
        json_t *files = json_object_get(part, "files");
        json_int_t got = (json_int_t)json_array_size(files), total = pc_number_of(part, "files_total");
        from += got;
        if (whole) {
            json_array_extend(json_object_get(whole, "files"), files);
            json_decref(part);
        } else {
            whole = part;
        }
        if (got == 0 || from >= total)
            break;
    }
    *out = whole;
    return 0;
}

static void put_label(const struct pc_cli *cli, const char *label)
{
    fputs("  ", stdout);
    pc_say(cli, PC_DIM, "%-12s", label);
}

/* "First act  2026-11-21 18:03:00.123 UTC", later ones with their distance from it. */
static void put_moment(const struct pc_cli *cli, const char *label, uint64_t time_ns, uint64_t first_ns)
{
    char moment[40], span[32];
    if (time_ns == 0)
        return;
    put_label(cli, label);
    fputs(pc_moment(time_ns, moment), stdout);
    if (first_ns && time_ns >= first_ns)
        printf("  (%s after the first act)", pc_span(time_ns - first_ns, span));
    putchar('\n');
}

/* What the reader can do now, as commands to copy. */
static void put_next_steps(const struct pc_cli *cli, const json_t *inc)
{
    const char *state = pc_text_of(inc, "state");
    bool frozen = state && strcmp(state, "frozen") == 0, rolled_back = pc_truth_of(inc, "rolled_back");
    bool client = pc_is_client(json_object_get(inc, "actor")), released = state && strcmp(state, "released") == 0;
    const struct {
        bool fits;
        const char *command, *option, *effect;
    } steps[] = {
        {!rolled_back, "rollback", "", "puts the files back (--dry-run shows what it would do)"},
        {frozen && !client, "end", "", "kills the frozen program"},
        {frozen && !client, "release", "", "lets it go on, if it was right after all"},
        {frozen && client, "end", "", "closes the incident; the client stays kept out"},
        {client && !released, "release", "", "lets the client use the share again"},
        {rolled_back, "rollback", " --undo", "brings the damaged versions back"},
    };
    const char *label = "Next";
    for (size_t i = 0; i < PC_ARRAY_SIZE(steps); i++) {
        char command[64];
        if (!steps[i].fits)
            continue;
        put_label(cli, label);
        label = "";
        snprintf(command, sizeof command, "portcullis %s %lld%s", steps[i].command, (long long)pc_number_of(inc, "id"),
                 steps[i].option);
        printf("%-30s %s\n", command, steps[i].effect);
    }
}

static bool is_observed(const json_t *inc)
{
    const char *state = pc_text_of(inc, "state");
    return state && strcmp(state, "observed") == 0;
}

static void put_title(const struct pc_cli *cli, const json_t *inc, const char *command)
{
    const char *state = pc_text_of(inc, "state"), *summary = pc_text_of(inc, "summary");
    pc_say(cli, PC_BOLD, "Incident %lld", (long long)pc_number_of(inc, "id"));
    fputs("  ", stdout);
    pc_put(cli, pc_state_style(state), state);
    if (pc_truth_of(inc, "rolled_back"))
        pc_say(cli, PC_GREEN, ", rolled back");
    putchar('\n');
    if (summary && command && strcmp(summary, command) != 0) {
        fputs("  ", stdout);
        pc_put(cli, PC_PLAIN, summary);
        putchar('\n');
    }
    putchar('\n');
}

static void put_program(const struct pc_cli *cli, const json_t *actor, const char *command)
{
    put_label(cli, "Program");
    pc_put(cli, PC_BOLD, command);
    putchar('\n');
    put_label(cli, "");
    pc_put(cli, PC_PLAIN, pc_text_of(actor, "exe"));
    if (pc_is_client(actor)) {
        fputs(", for a client on the network", stdout);
    } else {
        printf(", pid %lld, user ", (long long)pc_number_of(actor, "pid"));
        pc_put(cli, PC_PLAIN, pc_text_of(actor, "user"));
    }
    putchar('\n');
}

static void put_damage(const struct pc_cli *cli, const json_t *inc)
{
    bool observed = is_observed(inc);
    char count[64];
    put_label(cli, "Damage");
    pc_say(cli, PC_RED, "%s %s", pc_count(pc_number_of(inc, "damaged"), "file", count),
           observed ? "deleted" : "damaged");
    printf(", %s preserved before that", pc_amount(pc_number_of(inc, "preserved"), count));
    if (!observed)
        printf("; %s in flight at the verdict", pc_count(pc_number_of(inc, "in_flight"), "open", count));
    putchar('\n');
}

static void put_summary(const struct pc_cli *cli, const json_t *inc)
{
    const char *why = pc_text_of(inc, "verdict_text");
    const json_t *actor = json_object_get(inc, "actor");
    _free_ char *command = pc_command_line(actor, 8 * PC_COMMAND_SHOWN);
    put_title(cli, inc, command);
    put_program(cli, actor, command);
    put_damage(cli, inc);
    if (why) {
        put_label(cli, "Verdict");
        pc_put(cli, PC_PLAIN, why);
        putchar('\n');
    }
    uint64_t first = pc_time_of(inc, "first_act");
    put_moment(cli, "First act", first, 0);
    put_moment(cli, is_observed(inc) ? "Noticed" : "Convicted", pc_time_of(inc, "verdict"), first);
    put_moment(cli, "Frozen", pc_time_of(inc, "frozen"), first);
    put_moment(cli, "Closed", pc_time_of(inc, "closed"), 0);
    put_next_steps(cli, inc);
}

/*
 * A file that is neither preserved nor restored is the one thing nobody may overlook. One that the program itself made
 * had no content before: rolling it back sets it aside.
 */
static void put_file_state(struct pc_table *t, const json_t *f)
{
    const char *op = pc_text_of(f, "op");
    bool made = op && strcmp(op, "create") == 0;
    if (pc_truth_of(f, "restored"))
        pc_table_cell(t, PC_GREEN, made ? "set aside" : "restored");
    else if (made)
        pc_table_cell(t, PC_DIM, "new");
    else if (pc_truth_of(f, "preserved"))
        pc_table_cell(t, PC_YELLOW, "preserved");
    else
        pc_table_cell(t, PC_RED, "LOST");
}

static void put_files(const struct pc_cli *cli, const json_t *inc, size_t most)
{
    static const char *const heads[] = {"", "TIME (UTC)", "WHAT", ">SCORE", ">PID", "EVIDENCE", "FILE", NULL};
    const json_t *files = json_object_get(inc, "files"), *f;
    size_t i, total = json_array_size(files);
    struct pc_table *t = pc_table_new(heads);
    char text[64];
    json_array_foreach(files, i, f) {
        const char *time = pc_text_of(f, "time"), *to = pc_text_of(f, "new_path"), *path = pc_text_of(f, "path");
        _free_ char *place = NULL;
        if (i >= most)
            break;
        if (to && asprintf(&place, "%s -> %s", path ? path : "?", to) < 0)
            place = NULL;
        put_file_state(t, f);
        snprintf(text, sizeof text, "%.12s", time && strlen(time) > 11 ? time + 11 : "-");
        pc_table_cell(t, PC_PLAIN, text);
        pc_table_cell(t, PC_PLAIN, pc_text_of(f, "op"));
        snprintf(text, sizeof text, "%lld", (long long)pc_number_of(f, "score"));
        pc_table_cell(t, PC_PLAIN, text);
        snprintf(text, sizeof text, "%lld", (long long)pc_number_of(f, "pid"));
        pc_table_cell(t, PC_DIM, text);
        pc_table_cell(t, PC_PLAIN, pc_text_of(f, "evidence"));
        pc_table_cell(t, PC_PLAIN, place ? place : path);
    }
    pc_say(cli, PC_BOLD, "\nFiles (%zu)\n", total);
    pc_table_print(cli, t);
    if (total > most)
        printf("  ... and %zu more: --all shows them\n", total - most);
}

static void put_timeline(const struct pc_cli *cli, const json_t *timeline)
{
    size_t i;
    const json_t *e;
    char moment[40];
    pc_say(cli, PC_BOLD, "\nTimeline\n");
    json_array_foreach(timeline, i, e) {
        printf("  %s  ", pc_moment(pc_time_of(e, "time"), moment));
        pc_put(cli, PC_PLAIN, pc_text_of(e, "text"));
        putchar('\n');
    }
}

int pc_cmd_incident(struct pc_cli *cli, const struct pc_cli_args *args)
{
    json_int_t id;
    json_t *inc;
    int status = pc_cli_incident_id(args->word[0], &id);
    if (status == 0)
        status = fetch(cli, id, &inc);
    if (status)
        return status;
    if (cli->json) {
        status = pc_put_json(inc);
    } else {
        size_t most = args->value[0] ? SIZE_MAX : ROWS_SHOWN;
        put_summary(cli, inc);
        pc_say(cli, PC_BOLD, "\nProcesses (%zu)\n", json_array_size(json_object_get(inc, "processes")));
        pc_put_process_tree(cli, json_object_get(inc, "processes"), most);
        put_files(cli, inc, most);
        put_timeline(cli, json_object_get(inc, "timeline"));
    }
    json_decref(inc);
    return status;
}
