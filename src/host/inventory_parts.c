/*
 * Owns the lists of an inventory that come from files and libc: disks, mounts, addresses, users. Packages, services and
 * sockets are inventory_lists.c.
 */
#include "base/cleanup.h"
#include "base/io.h"
#include "base/str.h"
#include "host/collect.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <mntent.h>
#include <net/if.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>

/* The first line of a file below a folder, blanks cut off; "" when there is none. */
static void read_line(int dir_fd, const char *name, char *out, size_t cap)
{
    ssize_t n = pc_read_file_at(dir_fd, name, out, cap);
    if (n < 0)
        n = 0;
    out[n] = 0;
    out[strcspn(out, "\n")] = 0;
    for (size_t len = strlen(out); len && out[len - 1] == ' '; len--)
        out[len - 1] = 0;
}

static void add_disk(json_t *list, int block_fd, const char *name)
{
    _close_ int fd = openat(block_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char sectors[32], model[128], rotational[8];
    uint64_t n;
    if (fd < 0)
        return;
    read_line(fd, "size", sectors, sizeof sectors);
    if (pc_parse_u64(sectors, 1, UINT64_MAX / 512, &n) < 0)
        return; /* an empty drive, a loop device nobody uses */
    read_line(fd, "device/model", model, sizeof model);
    read_line(fd, "queue/rotational", rotational, sizeof rotational);
    json_t *disk = json_pack("{s:I, s:b}", "bytes", (json_int_t)(n * 512), "rotational", strcmp(rotational, "1") == 0);
    pc_collect_text(disk, "name", name);
    pc_collect_text(disk, "model", model);
    json_array_append_new(list, disk);
}

json_t *pc_collect_disks(char *why, size_t why_len)
{
    _closedir_ DIR *d = opendir("/sys/block");
    if (!d) {
        snprintf(why, why_len, "/sys/block: %s", strerror(errno));
        return NULL;
    }
    json_t *list = json_array();
    struct dirent *e;
    while ((e = readdir(d)) && json_array_size(list) < PC_COLLECT_MAX)
        if (e->d_name[0] != '.')
            add_disk(list, dirfd(d), e->d_name);
    return list;
}

json_t *pc_collect_mounts(char *why, size_t why_len)
{
    FILE *f = setmntent("/proc/self/mounts", "re");
    if (!f) {
        snprintf(why, why_len, "/proc/self/mounts: %s", strerror(errno));
        return NULL;
    }
    json_t *list = json_array();
    struct mntent m;
    char text[8192];
    while (getmntent_r(f, &m, text, sizeof text) && json_array_size(list) < PC_COLLECT_MAX) {
        struct statvfs v;
        /* devices; "//SERVER/SHARE" is none, and may hang */
        if (m.mnt_fsname[0] != '/' || m.mnt_fsname[1] == '/' || statvfs(m.mnt_dir, &v) < 0)
            continue; /* only what lies on a device */
        json_t *mount = json_pack("{s:I, s:I}", "bytes", (json_int_t)(v.f_blocks * v.f_frsize), "free_bytes",
                                  (json_int_t)(v.f_bavail * v.f_frsize));
        pc_collect_text(mount, "path", m.mnt_dir);
        pc_collect_text(mount, "device", m.mnt_fsname);
        pc_collect_text(mount, "type", m.mnt_type);
        json_array_append_new(list, mount);
    }
    endmntent(f);
    return list;
}

json_t *pc_collect_addresses(char *why, size_t why_len)
{
    struct ifaddrs *all;
    if (getifaddrs(&all) < 0) {
        snprintf(why, why_len, "getifaddrs: %s", strerror(errno));
        return NULL;
    }
    json_t *list = json_array();
    for (const struct ifaddrs *i = all; i && json_array_size(list) < PC_COLLECT_MAX; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        if (!i->ifa_addr || (i->ifa_addr->sa_family != AF_INET && i->ifa_addr->sa_family != AF_INET6))
            continue;
        const void *raw = i->ifa_addr->sa_family == AF_INET
                              ? (const void *)&((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr
                              : &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr;
        if (!inet_ntop(i->ifa_addr->sa_family, raw, text, sizeof text))
            continue;
        json_t *address = json_pack("{s:s, s:b}", "address", text, "up", (i->ifa_flags & IFF_UP) != 0);
        pc_collect_text(address, "interface", i->ifa_name);
        json_array_append_new(list, address);
    }
    freeifaddrs(all);
    return list;
}

json_t *pc_collect_users(char *why, size_t why_len)
{
    _fclose_ FILE *f = fopen("/etc/passwd", "re");
    if (!f) {
        snprintf(why, why_len, "/etc/passwd: %s", strerror(errno));
        return NULL;
    }
    json_t *list = json_array();
    const struct passwd *p;
    while ((p = fgetpwent(f)) && json_array_size(list) < PC_COLLECT_MAX) {
        json_t *user = json_pack("{s:I, s:I}", "uid", (json_int_t)p->pw_uid, "gid", (json_int_t)p->pw_gid);
        pc_collect_text(user, "name", p->pw_name);
        pc_collect_text(user, "home", p->pw_dir);
        pc_collect_text(user, "shell", p->pw_shell);
        json_array_append_new(list, user);
    }
    return list;
}
