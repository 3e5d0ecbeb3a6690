/*
 * Owns which signals a long-running part takes, and that it takes them by descriptor. Must not know what they mean to
 * it.
 */
#include "proc/signals.h"

#include <errno.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

int pc_signals_open(int also, sigset_t *blocked)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    if (also)
        sigaddset(&set, also);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    if (blocked)
        *blocked = set;
    return fd;
}

int pc_signals_take(int fd)
{
    struct signalfd_siginfo s;
    return read(fd, &s, sizeof s) == (ssize_t)sizeof s ? (int)s.ssi_signo : 0;
}

int pc_signals_allow_all(void)
{
    sigset_t none;
    sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}
