/* Owns the SIGKILL timer. Measured here: a process stopped by SIGSTOP dies on time. */
#include "kern/deadman.h"

#include "base/clock.h"

#include <errno.h>
#include <signal.h>

int pc_deadman_arm(timer_t *t, uint64_t after_ns)
{
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    timer_t made;
    if (timer_create(CLOCK_MONOTONIC, &e, &made) < 0)
        return -errno;
    int r = pc_deadman_push(made, after_ns);
    if (r < 0) {
        timer_delete(made);
        return r;
    }
    *t = made;
    return 0;
}

int pc_deadman_push(timer_t t, uint64_t after_ns)
{
    struct itimerspec when = {.it_value = {(time_t)(after_ns / PC_NS_PER_S), (long)(after_ns % PC_NS_PER_S)}};
    return timer_settime(t, 0, &when, NULL) < 0 ? -errno : 0;
}

void pc_deadman_disarm(timer_t t)
{
    timer_delete(t);
}
