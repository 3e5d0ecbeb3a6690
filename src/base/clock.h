#ifndef PC_BASE_CLOCK_H
#define PC_BASE_CLOCK_H
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define PC_NS_PER_S 1000000000ULL
#define PC_NS_PER_MS 1000000ULL
/* Longer than the file clock of any kernel stands still (10 ms): what is written after this has another ctime. */
#define PC_COARSE_CLOCK_NS (20 * PC_NS_PER_MS)

/* A file's time in nanoseconds, as the index and the records have it; negative before 1970. */
static inline int64_t pc_file_ns(struct timespec t)
{
    return (int64_t)t.tv_sec * (int64_t)PC_NS_PER_S + t.tv_nsec;
}
/* Monotonic time for deadlines (never jumps); real time for records people read. Nanoseconds. */
uint64_t pc_mono_ns(void);
uint64_t pc_real_ns(void);
/* Time since boot, sleep included; never set by anybody (CLOCK_BOOTTIME). Comparable only within one boot. */
uint64_t pc_boot_ns(void);
/*
 * A real-time clock that never jumps forward: it follows the system's, but goes at most twice as fast as monotonic
 * time. Backwards it follows at once. Pure. mono_ns 0: real_ns is where it was when it was last seen.
 */
struct pc_slow_clock {
    uint64_t real_ns, mono_ns;
};
void pc_slow_clock_step(struct pc_slow_clock *c, uint64_t real_ns, uint64_t mono_ns);
/* RFC 3339 UTC with milliseconds, "2026-11-21T18:03:00.123Z"; out needs 32 bytes. */
void pc_format_time(uint64_t real_ns, char *out, size_t cap);
#endif
