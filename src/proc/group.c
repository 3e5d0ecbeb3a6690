/* Owns the cgroup folders of jobs. Must not decide when a job ends, and never touches a group that it was not given. */
#include "proc/group.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

int pc_group_find(int parent_fd, const char *name)
{
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int pc_group_open(int parent_fd, const char *name)
{
    if (mkdirat(parent_fd, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    return pc_group_find(parent_fd, name);
}

/* Calls fn for each process in the group itself. Number of processes, or -errno. */
static int each_process(int group_fd, int (*fn)(void *arg, pid_t pid), void *arg)
{
    int fd = openat(group_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    _fclose_ FILE *f = fdopen(fd, "r");
    if (!f) {
        int error = errno;
        close(fd);
        return -error;
    }
    int pid, n = 0;
    for (; fscanf(f, "%d", &pid) == 1; n++)
        if (fn(arg, pid))
            break;
    return n;
}

static int kill_one(void *arg, pid_t pid)
{
    (void)arg;
    (void)kill(pid, SIGKILL);
    return 0;
}

/* Before Linux 5.14. A fork between reading and killing escapes one pass, so there are several; each finds fewer. */
static int kill_each(int group_fd)
{
    int n = 1;
    for (int pass = 0; n > 0 && pass < 16; pass++)
        n = each_process(group_fd, kill_one, NULL);
    return n > 0 ? -EBUSY : n;
}

static int move_one(void *arg, pid_t pid)
{
    char text[16];
    snprintf(text, sizeof text, "%d", pid);
    (void)pc_write_file_at(*(const int *)arg, "cgroup.procs", text); /* one that just ended is not there to be moved */
    return 0;
}

/* One that is forked between reading and moving is met in the next pass. */
int pc_group_move(int group_fd, int to_fd)
{
    int n = 1;
    for (int pass = 0; n > 0 && pass < 16; pass++)
        n = each_process(group_fd, move_one, &to_fd);
    return n < 0 ? n : 0;
}

int pc_group_kill(int group_fd)
{
    int r = pc_write_file_at(group_fd, "cgroup.kill", "1");
    return r == -ENOENT ? kill_each(group_fd) : r;
}

bool pc_group_busy(int group_fd)
{
    char text[128];
    ssize_t n = pc_read_file_at(group_fd, "cgroup.events", text, sizeof text);
    return n > 0 && strstr(text, "populated 1") != NULL;
}

int pc_group_remove(int parent_fd, const char *name)
{
    return unlinkat(parent_fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int pc_group_each(int parent_fd, int (*fn)(void *arg, const char *name), void *arg)
{
    int fd = openat(parent_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    _closedir_ DIR *d = fdopendir(fd);
    if (!d) {
        int error = errno;
        close(fd);
        return -error;
    }
    struct dirent *e;
    while ((e = readdir(d)))
        if (e->d_type == DT_DIR && e->d_name[0] != '.' && fn(arg, e->d_name))
            break;
    return 0;
}
