/*
 * Owns stopping and releasing processes: signals and the cgroup v2 freezer. Must not decide whom; the guard names pids.
 * A pid is only ever one the guard has just seen alive in the convicted subtree.
 */
#include "kern/freeze.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "kern/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void group_name(uint64_t incident, char *out, size_t cap)
{
    snprintf(out, cap, "incident-%" PRIu64, incident);
}

int pc_freezer_open(struct pc_freezer *f, const char *name)
{
    f->dir_fd = -1;
    char root[3800];
    int r = pc_mount_cgroup2(root, sizeof root);
    if (r < 0)
        return r == PC_E_NOTFOUND ? 0 : r;
    snprintf(f->path, sizeof f->path, "%s/portcullis-%s", root, name);
    if (mkdir(f->path, 0700) < 0 && errno != EEXIST)
        return 0; /* no right to make cgroups (a container): signals only */
    f->dir_fd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return 0;
}

void pc_freezer_close(struct pc_freezer *f)
{
    if (f->dir_fd < 0)
        return;
    pc_freezer_sweep(f);
    close(f->dir_fd);
    f->dir_fd = -1;
    (void)rmdir(f->path); /* stays while an incident is frozen: its processes live there */
}

int pc_freeze_stop(pid_t pid)
{
    return kill(pid, SIGSTOP) < 0 ? -errno : 0;
}

int pc_freeze_group(struct pc_freezer *f, uint64_t incident)
{
    if (f->dir_fd < 0)
        return PC_E_UNSUPPORTED;
    char name[40];
    group_name(incident, name, sizeof name);
    if (mkdirat(f->dir_fd, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    _close_ int fd = openat(f->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return -errno;
    int r = pc_write_file_at(fd, "cgroup.freeze", "1");
    if (r < 0)
        return r == -ENOENT ? PC_E_UNSUPPORTED : r;
    return TAKE_FD(fd);
}

static int home_of(pid_t pid, char *home, size_t cap)
{
    char path[40], text[4096];
    snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
    ssize_t n = pc_read_file_at(AT_FDCWD, path, text, sizeof text);
    if (n < 0)
        return (int)n;
    const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return PC_E_UNSUPPORTED;
    line = strstr(line, "0::") + 3;
    size_t len = strcspn(line, "\n");
    if (len >= cap)
        return PC_E_LIMIT;
    memcpy(home, line, len);
    home[len] = 0;
    return 0;
}

int pc_freeze_hold(int group_fd, pid_t pid, char *home, size_t cap)
{
    char was[1024], text[16];
    int r = home_of(pid, was, sizeof was);
    if (r < 0)
        return r;
    snprintf(text, sizeof text, "%d", pid);
    r = pc_write_file_at(group_fd, "cgroup.procs", text);
    if (r < 0)
        return r;
    if (!strstr(was, "/portcullis-")) /* seen twice: keep the first home */
        snprintf(home, cap, "%s", was);
    return kill(pid, SIGCONT) < 0 ? -errno : 0;
}

int pc_thaw(struct pc_freezer *f, int group_fd, pid_t pid, const char *home)
{
    char text[16], path[5200];
    snprintf(text, sizeof text, "%d", pid);
    if (group_fd >= 0 && f->dir_fd >= 0) {
        char root[3800];
        int r = pc_mount_cgroup2(root, sizeof root);
        if (r < 0)
            return r;
        snprintf(path, sizeof path, "%s%s/cgroup.procs", root, home[0] ? home : "/");
        r = pc_write_file_at(AT_FDCWD, path, text);
        if (r < 0) { /* the home is gone (its service was removed): the root always takes it */
            snprintf(path, sizeof path, "%s/cgroup.procs", root);
            r = pc_write_file_at(AT_FDCWD, path, text);
        }
        if (r < 0)
            return r;
    }
    return kill(pid, SIGCONT) < 0 ? -errno : 0;
}

void pc_freeze_group_done(struct pc_freezer *f, uint64_t incident, int group_fd)
{
    if (group_fd < 0 || f->dir_fd < 0)
        return;
    char name[40];
    group_name(incident, name, sizeof name);
    (void)pc_write_file_at(group_fd, "cgroup.freeze", "0");
    (void)unlinkat(f->dir_fd, name, AT_REMOVEDIR);
}

void pc_freezer_sweep(struct pc_freezer *f)
{
    int fd = f->dir_fd < 0 ? -1 : openat(f->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (strncmp(e->d_name, "incident-", 9) == 0)
            (void)unlinkat(f->dir_fd, e->d_name, AT_REMOVEDIR); /* the kernel refuses while somebody is in it */
    if (!d && fd >= 0)
        close(fd);
}

int pc_freeze_each(int group_fd, int (*fn)(void *arg, pid_t pid), void *arg)
{
    _close_ int fd = openat(group_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    FILE *f = fdopen(fd, "r");
    if (!f)
        return -errno;
    fd = -1;
    int pid;
    while (fscanf(f, "%d", &pid) == 1)
        if (fn(arg, pid))
            break;
    fclose(f);
    return 0;
}
