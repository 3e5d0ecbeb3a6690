/*
 * Owns reading from /proc which files a process can change without opening anything: descriptors open for writing, and
 * shared mappings; and from /sys which files lie behind loop devices. No state, no policy: startup_fds.c copies such
 * files, acts_held.c says whose doing their change is.
 */
#include "kern/procfs.h"

#include "base/cleanup.h"
#include "base/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static DIR *proc_dir(pid_t pid, const char *what)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
    return opendir(path); /* NULL when the process is gone, or a kernel thread */
}

/* Through O_PATH: this opens nothing, so it has no effect on the file and raises no event. */
static void hand_over(int dir, const char *name, void (*fn)(void *arg, int fd), void *arg)
{
    _close_ int fd = openat(dir, name, O_PATH | O_CLOEXEC);
    if (fd >= 0)
        fn(arg, fd);
}

static void descriptors_of(pid_t pid, void (*fn)(void *arg, int fd), void *arg)
{
    _closedir_ DIR *d = proc_dir(pid, "fd");
    struct dirent *e;
    struct stat st;
    while (d && (e = readdir(d)))
        /* The link's own mode tells how the descriptor is open. */
        if (e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mode & S_IWUSR)
            hand_over(dirfd(d), e->d_name, fn, arg);
}

static void mappings_of(pid_t pid, void (*fn)(void *arg, int fd), void *arg)
{
    _closedir_ DIR *d = proc_dir(pid, "map_files");
    char path[40], line[PATH_MAX + 128];
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    _fclose_ FILE *maps = d ? fopen(path, "re") : NULL;
    while (maps && fgets(line, sizeof line, maps)) {
        char range[64], perms[8];
        uint64_t inode;
        if (sscanf(line, "%63s %7s %*s %*s %" SCNu64, range, perms, &inode) == 3 && perms[3] == 's' && inode)
            hand_over(dirfd(d), range, fn, arg);
    }
}

void pc_proc_each_held(pid_t pid, void (*fn)(void *arg, int fd), void *arg)
{
    descriptors_of(pid, fn, arg);
    mappings_of(pid, fn, arg);
}

/* The path is as the device's maker saw it: in another mount namespace it may not be found. */
void pc_loops_each_held(void (*fn)(void *arg, int fd), void *arg)
{
    _closedir_ DIR *d = opendir("/sys/block");
    struct dirent *e;
    while (d && (e = readdir(d))) {
        char at[300], path[PATH_MAX], ro[4] = "";
        if (strncmp(e->d_name, "loop", 4) != 0)
            continue;
        snprintf(at, sizeof at, "%s/loop/backing_file", e->d_name);
        ssize_t n = pc_read_file_at(dirfd(d), at, path, sizeof path);
        snprintf(at, sizeof at, "%s/ro", e->d_name);
        if (n <= 1 || (pc_read_file_at(dirfd(d), at, ro, sizeof ro) > 0 && ro[0] == '1'))
            continue;
        path[strcspn(path, "\n")] = 0;
        hand_over(AT_FDCWD, path, fn, arg);
    }
}
