/*
 * Owns the lists of an inventory that have to be searched for: packages, services, listening sockets with the program
 * behind each.
 */
#include "base/cleanup.h"
#include "base/err.h"
#include "host/collect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* dpkg's own database: blocks of "Key: value", an empty line between. */
static json_t *packages_of_dpkg(FILE *f)
{
    json_t *list = json_array();
    char *line = NULL, name[256] = "", version[256] = "";
    size_t cap = 0;
    bool installed = false;
    ssize_t n;
    do {
        n = getline(&line, &cap, f);
        if (n > 0)
            line[strcspn(line, "\n")] = 0;
        if (n <= 0 || line[0] == 0) {
            if (installed && name[0] && json_array_size(list) < PC_COLLECT_MAX)
                json_array_append_new(list, json_pack("{s:s, s:s}", "name", name, "version", version));
            name[0] = version[0] = 0;
            installed = false;
        } else if (strncmp(line, "Package: ", 9) == 0) {
            snprintf(name, sizeof name, "%s", line + 9);
        } else if (strncmp(line, "Version: ", 9) == 0) {
            snprintf(version, sizeof version, "%s", line + 9);
        } else if (strcmp(line, "Status: install ok installed") == 0 ||
                   strcmp(line, "Status: hold ok installed") == 0) {
            installed = true;
        }
    } while (n > 0);
    free(line);
    return list;
}

static json_t *packages_of_rpm(char *why, size_t why_len)
{
    char *argv[] = {(char[]){"rpm"}, (char[]){"-qa"}, (char[]){"--qf"}, (char[]){"%{NAME}\t%{EVR}\n"}, NULL};
    _free_ char *text = NULL;
    size_t len;
    int status = 0, r = pc_collect_run(argv, 4u << 20, &text, &len, &status);
    if (r < 0 || status != 0) {
        snprintf(why, why_len, "neither dpkg nor rpm keeps packages here (rpm: %s)", r < 0 ? pc_strerror(r) : "failed");
        return NULL;
    }
    json_t *list = json_array();
    char *save;
    for (char *line = strtok_r(text, "\n", &save); line && json_array_size(list) < PC_COLLECT_MAX;
         line = strtok_r(NULL, "\n", &save)) {
        char *tab = strchr(line, '\t');
        if (!tab)
            continue;
        *tab = 0;
        json_array_append_new(list, json_pack("{s:s, s:s}", "name", line, "version", tab + 1));
    }
    return list;
}

json_t *pc_collect_packages(char *why, size_t why_len)
{
    _fclose_ FILE *f = fopen("/var/lib/dpkg/status", "re");
    return f ? packages_of_dpkg(f) : packages_of_rpm(why, why_len);
}

json_t *pc_collect_services(char *why, size_t why_len)
{
    if (!pc_have_systemd()) {
        snprintf(why, why_len, "systemd is not the init of this host");
        return NULL;
    }
    char *argv[] = {(char[]){"systemctl"},  (char[]){"list-units"}, (char[]){"--type=service"},
                    (char[]){"--all"},      (char[]){"--plain"},    (char[]){"--no-legend"},
                    (char[]){"--no-pager"}, (char[]){"--full"},     NULL};
    _free_ char *text = NULL;
    size_t len;
    int status = 0, r = pc_collect_run(argv, 1u << 20, &text, &len, &status);
    if (r < 0 || status != 0) {
        snprintf(why, why_len, "systemctl list-units: %s", r < 0 ? pc_strerror(r) : "failed");
        return NULL;
    }
    json_t *list = json_array();
    char *save;
    for (char *line = strtok_r(text, "\n", &save); line && json_array_size(list) < PC_COLLECT_MAX;
         line = strtok_r(NULL, "\n", &save)) {
        char unit[257], load[33], active[33], sub[33];
        if (sscanf(line, "%256s %32s %32s %32s", unit, load, active, sub) == 4)
            json_array_append_new(
                list, json_pack("{s:s, s:s, s:s, s:s}", "name", unit, "load", load, "active", active, "sub", sub));
    }
    return list;
}

/* Which program holds a socket, by inode: found by looking through /proc/PID/fd once. */
#define OWNERS_MAX 16384
struct owners {
    uint32_t n;
    struct owner {
        uint64_t inode;
        int pid;
    } owner[OWNERS_MAX];
};

static void add_sockets_of(struct owners *all, int proc_fd, const char *pid)
{
    char path[64], link[64];
    snprintf(path, sizeof path, "%s/fd", pid);
    int fd = openat(proc_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    while (d && (e = readdir(d)) && all->n < OWNERS_MAX) {
        unsigned long long inode;
        ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof link - 1);
        if (n <= 0)
            continue;
        link[n] = 0;
        if (sscanf(link, "socket:[%llu]", &inode) == 1)
            all->owner[all->n++] = (struct owner){inode, atoi(pid)};
    }
    if (!d && fd >= 0)
        close(fd);
}

static void find_owners(struct owners *all)
{
    _closedir_ DIR *d = opendir("/proc");
    struct dirent *e;
    all->n = 0;
    while (d && (e = readdir(d)))
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
            add_sockets_of(all, dirfd(d), e->d_name);
}

static void add_owner(json_t *row, const struct owners *all, uint64_t inode)
{
    for (uint32_t i = 0; i < all->n; i++) {
        char path[64], text[64] = "";
        if (all->owner[i].inode != inode)
            continue;
        snprintf(path, sizeof path, "/proc/%d/comm", all->owner[i].pid);
        _fclose_ FILE *f = fopen(path, "re");
        if (f && fgets(text, sizeof text, f))
            text[strcspn(text, "\n")] = 0;
        json_object_set_new(row, "pid", json_integer(all->owner[i].pid));
        pc_collect_text(row, "program", text);
        return;
    }
}

/* /proc/net prints addresses as 32-bit words of the host's byte order, in hex. */
static bool parse_address(const char *hex, char *out, size_t cap)
{
    uint32_t words[4];
    size_t n = strlen(hex) / 8;
    if (n != 1 && n != 4)
        return false;
    for (size_t i = 0; i < n; i++) {
        char part[9];
        memcpy(part, hex + i * 8, 8);
        part[8] = 0;
        words[i] = (uint32_t)strtoul(part, NULL, 16);
    }
    return inet_ntop(n == 1 ? AF_INET : AF_INET6, words, out, (socklen_t)cap) != NULL;
}

static void add_table(json_t *list, const char *name, const struct owners *all)
{
    char path[64], line[512];
    bool tcp = name[0] == 't';
    snprintf(path, sizeof path, "/proc/net/%s", name);
    _fclose_ FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f) && json_array_size(list) < PC_COLLECT_MAX) {
        char local[64], text[INET6_ADDRSTRLEN];
        unsigned port, state;
        unsigned long long inode;
        if (sscanf(line, " %*u: %63[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*x:%*x %*x:%*x %*x %*u %*d %llu", local, &port,
                   &state, &inode) != 4)
            continue;
        /* TCP_LISTEN; a UDP socket that is not connected */
        if (state != (tcp ? 0x0a : 0x07) || !parse_address(local, text, sizeof text))
            continue;
        json_t *row = json_pack("{s:s, s:s, s:i}", "protocol", name, "address", text, "port", (int)port);
        add_owner(row, all, inode);
        json_array_append_new(list, row);
    }
}

json_t *pc_collect_listening(char *why, size_t why_len)
{
    _free_ struct owners *all = malloc(sizeof *all);
    if (!all) {
        snprintf(why, why_len, "out of memory");
        return NULL;
    }
    find_owners(all);
    json_t *list = json_array();
    static const char *const tables[] = {"tcp", "tcp6", "udp", "udp6"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(tables); i++)
        add_table(list, tables[i], all);
    return list;
}
