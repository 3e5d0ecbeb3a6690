/*
 * Owns drawing a process tree. The list comes from the guard and may name a pid twice (reused) or a parent that is not
 * in it: every process is drawn once, whatever the list says.
 */
#include "cli/process_tree.h"

#include "base/cleanup.h"
#include "cli/incident_words.h"

#include <string.h>

#define DEPTH_MAX 24

struct drawing {
    const struct pc_cli *cli;
    const json_t *processes;
    size_t count, most, drawn;
    json_int_t *pid;
    size_t *parent; /* index of each process's parent, or count */
    bool last[DEPTH_MAX];
};

/* The parent of process i: the newest entry before it with that pid, for they come oldest first; else it is a root. */
static size_t find_parent(const struct drawing *d, size_t i)
{
    const json_t *wanted = json_object_get(json_array_get(d->processes, i), "parent");
    size_t k = i;
    while (json_is_integer(wanted) && k > 0)
        if (d->pid[--k] == json_integer_value(wanted))
            return k;
    return d->count;
}

static void put_line(struct drawing *d, size_t i, size_t depth)
{
    const struct pc_cli *cli = d->cli;
    const json_t *p = json_array_get(d->processes, i);
    const char *state = pc_text_of(p, "state");
    bool convicted = pc_truth_of(p, "convicted");
    _free_ char *command = pc_command_line(p, d->most == SIZE_MAX ? SIZE_MAX / 8 : PC_COMMAND_SHOWN);
    fputs("  ", stdout);
    for (size_t k = 1; k < depth && k < DEPTH_MAX; k++)
        pc_say(cli, PC_DIM, "%s", d->last[k] ? "   " : cli->utf8 ? "│  " : "|  ");
    if (depth)
        pc_say(cli, PC_DIM, "%s",
               cli->utf8 ? (d->last[depth < DEPTH_MAX ? depth : DEPTH_MAX - 1] ? "└─ " : "├─ ") : "+- ");
    pc_put(cli, convicted ? PC_RED : PC_PLAIN, pc_program_name(p));
    if (!pc_is_client(p)) {
        printf(" %lld ", (long long)pc_number_of(p, "pid"));
        pc_put(cli, PC_DIM, pc_text_of(p, "user"));
    }
    if (state && strcmp(state, "ancestor") != 0 && !pc_is_client(p)) {
        fputs(" [", stdout);
        pc_put(cli, pc_state_style(state), state);
        fputs("]", stdout);
    }
    fputs("  ", stdout);
    pc_put(cli, PC_DIM, command);
    putchar('\n');
    d->drawn++;
}

static void put_children(struct drawing *d, size_t of, size_t depth)
{
    size_t left = 0;
    for (size_t i = 0; i < d->count; i++)
        left += d->parent[i] == of;
    for (size_t i = 0; i < d->count && d->drawn < d->most; i++) {
        if (d->parent[i] != of)
            continue;
        d->last[depth < DEPTH_MAX ? depth : DEPTH_MAX - 1] = --left == 0;
        put_line(d, i, depth);
        put_children(d, i, depth + 1); /* ends: parents come before their children in the list */
    }
}

void pc_put_process_tree(const struct pc_cli *cli, const json_t *processes, size_t most)
{
    struct drawing d = {.cli = cli, .processes = processes, .count = json_array_size(processes), .most = most};
    _free_ size_t *parent = calloc(d.count + 1, sizeof *parent);
    _free_ json_int_t *pid = calloc(d.count + 1, sizeof *pid);
    if (!parent || !pid)
        return;
    d.parent = parent;
    d.pid = pid;
    for (size_t i = 0; i < d.count; i++) {
        pid[i] = pc_number_of(json_array_get(processes, i), "pid");
        parent[i] = find_parent(&d, i);
    }
    put_children(&d, d.count, 0);
    if (d.drawn < d.count)
        printf("  ... and %zu more: --all shows them\n", d.count - d.drawn);
}
