/* Owns reading the clocks. The pure layers never call this: they are handed times. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * PC_NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t pc_mono_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t pc_real_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t pc_boot_ns(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

void pc_slow_clock_step(struct pc_slow_clock *c, uint64_t real_ns, uint64_t mono_ns)
{
    uint64_t most = c->real_ns + (c->mono_ns ? 2 * (mono_ns - c->mono_ns) : 0);
    c->real_ns = real_ns < most ? real_ns : most;
    c->mono_ns = mono_ns;
}

void pc_format_time(uint64_t real_ns, char *out, size_t cap)
{
    time_t s = (time_t)(real_ns / PC_NS_PER_S);
    struct tm tm;
    gmtime_r(&s, &tm);
    char date[24];
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, cap, "%s.%03uZ", date, (unsigned)(real_ns % PC_NS_PER_S / PC_NS_PER_MS));
}
