/* Owns the one spelling of times in documents: RFC 3339, UTC, whole seconds. Reads no clock and no time zone. */
#include "base/err.h"
#include "trust/names.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DAY 86400

static bool leap(int y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int days_in(int y, int m)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return m == 2 && leap(y) ? 29 : days[m - 1];
}

/* Days before January 1st of year y, from 1970. */
static int64_t days_before_year(int y)
{
    int64_t p = y - 1;
    return 365 * (int64_t)(y - 1970) + (p / 4 - 1969 / 4) - (p / 100 - 1969 / 100) + (p / 400 - 1969 / 400);
}

/* The number in n digits at text. The caller knows that they are digits. */
static int number(const char *text, int n)
{
    int v = 0;
    for (int i = 0; i < n; i++)
        v = v * 10 + (text[i] - '0');
    return v;
}

int pc_time_parse(const char *text, int64_t *out)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    if (strnlen(text, sizeof form) != sizeof form - 1)
        return PC_E_SYNTAX;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
            return PC_E_SYNTAX;
    int y = number(text, 4), mon = number(text + 5, 2), d = number(text + 8, 2);
    int h = number(text + 11, 2), min = number(text + 14, 2), s = number(text + 17, 2);
    if (y < 1970 || mon < 1 || mon > 12 || d < 1 || d > days_in(y, mon) || h > 23 || min > 59 || s > 59)
        return PC_E_SYNTAX;
    int64_t days = days_before_year(y) + d - 1;
    for (int m = 1; m < mon; m++)
        days += days_in(y, m);
    *out = days * DAY + h * 3600 + min * 60 + s;
    return 0;
}

void pc_time_format(int64_t t, char out[PC_TIME_SIZE])
{
    t = t < 0 ? 0 : t > PC_TIME_MAX ? PC_TIME_MAX : t;
    int64_t day = t / DAY;
    int s = (int)(t % DAY), y = 1970 + (int)(day / 366), m = 1;
    while (days_before_year(y + 1) <= day)
        y++;
    int d = (int)(day - days_before_year(y));
    for (; d >= days_in(y, m); m++)
        d -= days_in(y, m);
    snprintf(out, PC_TIME_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ", y, m, d + 1, s / 3600, s / 60 % 60, s % 60);
}
