/*
 * Owns the bounds of a standing order in the host's local time. The caller breaks the time down: this reads no clock
 * and no time zone.
 */
#include "trust/order.h"

bool pc_standing_open(const struct pc_order *o, unsigned weekday, unsigned minute, int64_t now, int64_t last_run)
{
    if (!o->standing || weekday > 6 || !(o->when.days & 1u << weekday))
        return false;
    if (minute < o->when.from || minute >= o->when.until)
        return false;
    return last_run == 0 || now - last_run >= (int64_t)o->when.every;
}
