/*
 * Owns the words of refusal (PROTOCOL.md 1.9) and what they mean to people. The rules themselves: order_parse.c and
 * checks.c.
 */
#include "base/cleanup.h"
#include "trust/order.h"

#include <string.h>

static const struct {
    const char *word, *text;
} checks[] = {
    [PC_CHECK_OK] = {"", "nothing is wrong with it"},
    [PC_CHECK_SYNTAX] = {"syntax", "it is not a well-formed bundle or document"},
    [PC_CHECK_ACTION] = {"action", "the action is unknown, or its parameters are wrong"},
    [PC_CHECK_CLASS] = {"class", "the action does not have this class, or the class does not have such a part"},
    [PC_CHECK_COUNT] = {"count", "count, hosts and rings do not fit each other"},
    [PC_CHECK_WINDOW] = {"window", "it expires before it begins, is longer open than allowed, or is not open now"},
    [PC_CHECK_TENANT] = {"tenant", "it is for another tenant"},
    [PC_CHECK_CAP] = {"cap", "it names more hosts than the trust file allows for one order"},
    [PC_CHECK_NOT_ME] = {"not-me", "it is not for this host"},
    [PC_CHECK_REPLAYED] = {"replayed", "this very order was accepted before"},
    [PC_CHECK_SIGNATURE] = {"signature", "a signature does not verify, or is not by an owner"},
    [PC_CHECK_QUORUM] = {"quorum", "too few owners approved it"},
    [PC_CHECK_EXPIRED] = {"expired", "its time is over"},
    [PC_CHECK_FUTURE] = {"future", "its time has not come"},
    [PC_CHECK_DWELL] = {"dwell", "it wants to wait less than the trust file demands, or has not waited long enough"},
    [PC_CHECK_LOG] = {"log", "the log does not prove that it was logged as it is"},
    [PC_CHECK_CONSISTENCY] = {"consistency", "the log is not a continuation of the one that was seen before"},
    [PC_CHECK_SEQUENCE] = {"sequence", "a later order was accepted already"},
    [PC_CHECK_SEQUENCE_GAP] = {"sequence-gap", "its sequence number is too far ahead"},
    [PC_CHECK_HALTED] = {"halted", "an owner halted it"},
    [PC_CHECK_STALE] = {"stale", "nothing fresh was heard from the log"},
    [PC_CHECK_RING] = {"ring", "it is not this host's ring yet"},
    [PC_CHECK_MEMORY] = {"memory", "there was no memory to check it: no verdict"},
    [PC_CHECK_SPACE] = {"space", "the host has no room to write it down: nothing is lost, deliver it again"},
};
_Static_assert(PC_ARRAY_SIZE(checks) == PC_CHECKS, "every check has a word");

const char *pc_check_word(enum pc_check c)
{
    return (unsigned)c < PC_CHECKS ? checks[c].word : "unknown";
}

const char *pc_check_text(enum pc_check c)
{
    return (unsigned)c < PC_CHECKS ? checks[c].text : "unknown";
}

int pc_check_find(const char *word)
{
    for (int c = PC_CHECK_SYNTAX; c < PC_CHECKS; c++)
        if (strcmp(checks[c].word, word) == 0)
            return c;
    return -1;
}
