/*
 * Owns which hosts the words of a command line mean: pinned names, or NAME#HOSTID as it is. Asks no server: it might
 * lie.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "cli/order_build.h"
#include "cli/order_options.h"

#include <string.h>

struct list {
    struct pc_order_hosts hosts;
    size_t room;
    struct pc_pins pins;
};

static int add(struct list *l, const char *word)
{
    struct pc_host_ref ref;
    const struct pc_host_ref *pinned = NULL;
    if (pc_host_ref_parse(word, &ref) == 0)
        pinned = &ref;
    else if (pc_name_valid(word))
        pinned = pc_pins_find(&l->pins, word);
    else
        return pc_cli_fail(PC_EXIT_USAGE, "%s: a host's name, or NAME#HOSTID, is wanted", word);
    if (!pinned)
        return pc_cli_fail(PC_EXIT_REFUSED,
                           "%s: its identity is not pinned: `portcullis hosts --pin`, or write NAME#HOSTID", word);
    if (l->hosts.n == PC_ORDER_HOSTS_MAX)
        return pc_cli_fail(PC_EXIT_USAGE, "more than %d hosts", PC_ORDER_HOSTS_MAX);
    if (l->hosts.n == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        struct pc_host_ref *grown = reallocarray(l->hosts.host, room, sizeof *grown);
        if (!grown)
            return pc_cli_fail(PC_EXIT_FAILED, "out of memory");
        l->hosts.host = grown;
        l->room = room;
    }
    l->hosts.host[l->hosts.n++] = *pinned;
    return 0;
}

/* Words between separators; empty ones are skipped. */
static int add_all(struct list *l, char *text, const char *separators)
{
    int status = 0;
    for (char *word; status == 0 && (word = strsep(&text, separators)) != NULL;)
        if (*word && *word != '#')
            status = add(l, word);
    return status;
}

static int add_file(struct list *l, const char *path)
{
    _free_ char *text = NULL;
    size_t len;
    int r = pc_cli_file_read(path, (size_t)PC_ORDER_HOSTS_MAX * PC_HOST_REF_SIZE, &text, &len);
    if (r < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "%s: cannot be read: %s", path, pc_strerror(r));
    if (strlen(text) != len) /* the rest would be left out, and nobody told */
        return pc_cli_fail(PC_EXIT_FAILED, "%s: not a text: it has a NUL byte", path);
    return add_all(l, text, "\n");
}

int pc_order_hosts(const struct pc_owner_dir *dir, const struct pc_cli_args *args, struct pc_order_hosts *out)
{
    struct list l = {0};
    size_t at = 0;
    int status = pc_pins_load(dir, &l.pins);
    for (const char *v; status == 0 && (v = pc_cli_next(args, PC_OPT_HOSTS, &at)) != NULL;) {
        _free_ char *copy = strdup(v);
        status = copy ? add_all(&l, copy, ",") : pc_cli_fail(PC_EXIT_FAILED, "out of memory");
    }
    if (status == 0 && args->value[PC_OPT_HOSTS_FILE])
        status = add_file(&l, args->value[PC_OPT_HOSTS_FILE]);
    pc_pins_clear(&l.pins);
    if (status)
        pc_order_hosts_clear(&l.hosts);
    else
        *out = l.hosts;
    return status;
}

void pc_order_hosts_clear(struct pc_order_hosts *h)
{
    free(h->host);
    *h = (struct pc_order_hosts){0};
}
