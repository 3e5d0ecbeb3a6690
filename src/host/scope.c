/*
 * Owns the transient scope of the jobs: its keeper, the two questions to systemd over the system bus, and waiting until
 * the keeper is where it belongs. Must not know jobs; without systemd it makes nothing, and the jobs' groups lie where
 * they lay before.
 */
#include "host/scope.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/io.h"
#include "host/collect.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>

#define BUS_US (5 * 1000 * 1000)
#define MOVE_NS (5 * PC_NS_PER_S)
#define TRIES 3
#define MANAGER "org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
#define GROUP_MAX 512

static void bus_close(sd_bus **bus)
{
    (void)sd_bus_flush_close_unref(*bus);
}
#define _bus_ __attribute__((cleanup(bus_close)))

static void message_unref(sd_bus_message **m)
{
    (void)sd_bus_message_unref(*m);
}
#define _message_ __attribute__((cleanup(message_unref)))

/*
 * In the keeper. The runner's end is its end; what the runner left running keeps the scope alive until the next one has
 * ended it.
 */
static int keep(void *parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != *(pid_t *)parent)
        return 1;
    for (;;)
        (void)poll(NULL, 0, -1);
}

static int start_keeper(struct pc_child *out)
{
    static pid_t me; /* in the child's copy of our memory */
    me = getpid();
    struct pc_spawn s = {.run = keep, .arg = &me, .group_fd = -1, .out_fd = -1, .keep_fd = -1};
    return pc_spawn(&s, out);
}

/* 0; -EEXIST: there is one of this name; another -errno. */
static int ask_for_unit(sd_bus *bus, const char *unit, pid_t pid)
{
    _message_ sd_bus_message *m = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r = sd_bus_message_new_method_call(bus, &m, MANAGER, "StartTransientUnit");
    if (r >= 0)
        r = sd_bus_message_append(m, "ssa(sv)a(sa(sv))", unit, "fail", 4, "Description", "s",
                                  "Programs that Portcullis' owners ordered", "Delegate", "b", 1, "PIDs", "au", 1,
                                  (uint32_t)pid, "CollectMode", "s", "inactive-or-failed", 0);
    if (r >= 0)
        r = sd_bus_call(bus, m, BUS_US, &error, NULL);
    if (r < 0 && sd_bus_error_has_name(&error, "org.freedesktop.systemd1.UnitExists"))
        r = -EEXIST;
    sd_bus_error_free(&error);
    return r < 0 ? r : 0;
}

/*
 * The unit's group as a path beneath the hierarchy, without the first slash. PC_E_NOTFOUND: it has none (yet, or any
 * more).
 */
static int ask_for_group(sd_bus *bus, const char *unit, char *out, size_t cap)
{
    _message_ sd_bus_message *reply = NULL;
    _free_ char *group = NULL;
    const char *path;
    int r = sd_bus_call_method(bus, MANAGER, "GetUnit", NULL, &reply, "s", unit);
    if (r >= 0)
        r = sd_bus_message_read(reply, "o", &path);
    if (r >= 0)
        r = sd_bus_get_property_string(bus, "org.freedesktop.systemd1", path, "org.freedesktop.systemd1.Scope",
                                       "ControlGroup", NULL, &group);
    if (r < 0)
        return r;
    if (group[0] != '/' || !group[1])
        return PC_E_NOTFOUND;
    return snprintf(out, cap, "%s", group + 1) < (int)cap ? 0 : PC_E_LIMIT;
}

/* True when the process is in that group of the v2 hierarchy. */
static bool lives_in(pid_t pid, const char *group)
{
    char path[64], text[4096], want[GROUP_MAX + 8];
    snprintf(path, sizeof path, "/proc/%d/cgroup", pid);
    snprintf(want, sizeof want, "0::/%s\n", group);
    return pc_read_file_at(AT_FDCWD, path, text, sizeof text) > 0 && strstr(text, want) != NULL;
}

/* systemd answers before it has done it. */
static int wait_moved(sd_bus *bus, const char *unit, pid_t pid, char *group, size_t cap)
{
    uint64_t until = pc_mono_ns() + MOVE_NS;
    for (;;) {
        int r = ask_for_group(bus, unit, group, cap);
        if (r == 0 && lives_in(pid, group))
            return 0;
        if (pc_mono_ns() > until)
            return -ETIMEDOUT;
        (void)poll(NULL, 0, 10);
    }
}

/* A scope that an earlier runner left: its jobs are in it, and the group is ours by delegation. */
static int join(sd_bus *bus, const char *unit, int root_fd, pid_t pid, char *group, size_t cap)
{
    char number[16];
    int r = ask_for_group(bus, unit, group, cap);
    if (r < 0)
        return r;
    _close_ int fd = openat(root_fd, group, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    snprintf(number, sizeof number, "%d", pid);
    return pc_write_file_at(fd, "cgroup.procs", number);
}

/* The scope of before may be on its way out when we want to join it: then a new one can be had. */
static int enter(sd_bus *bus, const char *unit, int root_fd, pid_t pid, char *group, size_t cap)
{
    int r = 0;
    for (int i = 0; i < TRIES; i++) {
        r = ask_for_unit(bus, unit, pid);
        if (r == 0)
            return wait_moved(bus, unit, pid, group, cap);
        if (r != -EEXIST)
            return r;
        r = join(bus, unit, root_fd, pid, group, cap);
        if (r == 0)
            return 0;
        (void)poll(NULL, 0, 200);
    }
    return r;
}

int pc_scope_open(const char *name, int root_fd, struct pc_scope *out)
{
    _bus_ sd_bus *bus = NULL;
    char group[GROUP_MAX];
    struct pc_scope s = {.keeper = {.pid_fd = -1, .out_fd = -1}};
    if (!pc_have_systemd() || sd_bus_open_system(&bus) < 0)
        return PC_E_UNSUPPORTED;
    (void)sd_bus_set_method_call_timeout(bus, BUS_US);
    snprintf(s.unit, sizeof s.unit, "%s.scope", name);
    int r = start_keeper(&s.keeper);
    if (r == 0)
        r = enter(bus, s.unit, root_fd, s.keeper.pid, group, sizeof group);
    int fd = r == 0 ? openat(root_fd, group, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    if (r == 0 && fd < 0)
        r = -errno;
    if (r < 0) {
        pc_scope_close(&s);
        return r;
    }
    *out = s;
    return fd;
}

void pc_scope_close(struct pc_scope *s)
{
    if (s->keeper.pid > 0) {
        (void)kill(s->keeper.pid, SIGKILL);
        (void)waitpid(s->keeper.pid, NULL, 0);
    }
    pc_closep(&s->keeper.pid_fd);
    pc_closep(&s->keeper.out_fd);
    s->keeper = (struct pc_child){.pid_fd = -1, .out_fd = -1};
}
