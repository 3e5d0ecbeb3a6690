/*
 * Owns `inventory`: what this host is and has. Reads files; starts the package manager or systemctl only where no file
 * tells. Changes nothing.
 */
#include "base/cleanup.h"
#include "base/io.h"
#include "host/collect.h"
#include "host/jobs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>

#define FIT_BYTES (PC_JOB_OUTPUT_MAX - 1024) /* more is cut off, and then it is no JSON */

/* os-release(5): KEY=value, perhaps in quotes. */
static json_t *os_release(void)
{
    json_t *os = json_object();
    char text[8192];
    if (pc_read_file_at(AT_FDCWD, "/etc/os-release", text, sizeof text) < 0 &&
        pc_read_file_at(AT_FDCWD, "/usr/lib/os-release", text, sizeof text) < 0)
        return os;
    static const struct {
        const char *key, *as;
    } wanted[] = {{"ID=", "id"}, {"VERSION_ID=", "version"}, {"PRETTY_NAME=", "name"}};
    char *save;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        for (size_t i = 0; i < PC_ARRAY_SIZE(wanted); i++) {
            size_t n = strlen(wanted[i].key);
            if (strncmp(line, wanted[i].key, n) != 0)
                continue;
            char *value = line + n;
            size_t len = strlen(value);
            if (len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0]) {
                value[len - 1] = 0;
                value++;
            }
            pc_collect_text(os, wanted[i].as, value);
        }
    }
    return os;
}

static void add_machine(json_t *out)
{
    struct utsname u;
    struct sysinfo s;
    if (uname(&u) == 0) {
        json_t *kernel = json_object();
        pc_collect_text(kernel, "release", u.release);
        pc_collect_text(kernel, "version", u.version);
        pc_collect_text(kernel, "machine", u.machine);
        json_object_set_new(out, "kernel", kernel);
        pc_collect_text(out, "hostname", u.nodename);
    }
    if (sysinfo(&s) == 0) {
        json_object_set_new(out, "memory_bytes", json_integer((json_int_t)s.totalram * s.mem_unit));
        json_object_set_new(out, "swap_bytes", json_integer((json_int_t)s.totalswap * s.mem_unit));
        json_object_set_new(out, "uptime_s", json_integer((json_int_t)s.uptime));
    }
    json_object_set_new(out, "processors", json_integer((json_int_t)get_nprocs_conf()));
    json_object_set_new(out, "init", json_string(pc_have_systemd() ? "systemd" : "other"));
    json_object_set_new(out, "agent", json_string(PC_VERSION));
}

/* The longest list of the object, or NULL. */
static json_t *longest(json_t *out, const char **name)
{
    const char *key;
    json_t *part, *most = NULL;
    json_object_foreach(out, key, part)
        if (json_is_array(part) && json_array_size(part) > (most ? json_array_size(most) : 0)) {
            most = part;
            *name = key;
        }
    return most;
}

/*
 * What does not fit into an answer costs the longest list its end, and that is told: how many rows it had. Else one
 * list that anybody may make long (listening sockets) would hide all others.
 */
static void make_fit(json_t *out)
{
    json_t *cut = json_object();
    const char *name = NULL;
    json_t *list;
    json_object_set_new(out, "cut", cut);
    while (json_dumpb(out, NULL, 0, JSON_COMPACT) > FIT_BYTES && (list = longest(out, &name))) {
        size_t n = json_array_size(list);
        if (!json_object_get(cut, name))
            json_object_set_new(cut, name, json_integer((json_int_t)n));
        for (size_t keep = n - n / 8 - 1; n > keep; n--)
            json_array_remove(list, n - 1);
    }
    if (json_object_size(cut) == 0)
        json_object_del(out, "cut");
}

int pc_look_inventory(const json_t *params)
{
    static const struct {
        const char *name;
        pc_collect_fn collect;
    } parts[] = {{"packages", pc_collect_packages}, {"services", pc_collect_services}, {"disks", pc_collect_disks},
                 {"mounts", pc_collect_mounts},     {"addresses", pc_collect_addresses}, {"users", pc_collect_users},
                 {"listening", pc_collect_listening}};
    (void)params;
    json_t *out = json_object(), *missing = json_object();
    json_object_set_new(out, "os", os_release());
    add_machine(out);
    for (size_t i = 0; i < PC_ARRAY_SIZE(parts); i++) {
        char why[256] = "";
        json_t *part = parts[i].collect(why, sizeof why);
        if (part)
            json_object_set_new(out, parts[i].name, part);
        else
            pc_collect_text(missing, parts[i].name, why);
    }
    json_object_set_new(out, "missing", missing);
    make_fit(out);
    return pc_collect_print(out);
}
