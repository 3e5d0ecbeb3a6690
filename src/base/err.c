/* Owns the words for the error namespace of err.h. Must not log, exit or keep state beyond strerror's own. */
#include "base/err.h"

#include <string.h>

static const char *const names[] = {
    [PC_E_SYNTAX - PC_E_BASE] = "does not parse",
    [PC_E_TRAILING - PC_E_BASE] = "unexpected bytes after the end",
    [PC_E_RANGE - PC_E_BASE] = "value out of range",
    [PC_E_LIMIT - PC_E_BASE] = "limit reached",
    [PC_E_UNSUPPORTED - PC_E_BASE] = "not supported here",
    [PC_E_CORRUPT - PC_E_BASE] = "stored data is damaged",
    [PC_E_NOTFOUND - PC_E_BASE] = "not found",
    [PC_E_CHANGED - PC_E_BASE] = "changed meanwhile",
    [PC_E_REFUSED - PC_E_BASE] = "refused by a safety rule",
    [PC_E_UNVERIFIED - PC_E_BASE] = "result could not be verified",
    [PC_E_STATE - PC_E_BASE] = "not possible in this state",
    [PC_E_SIGNATURE - PC_E_BASE] = "wrong signature",
    [PC_E_NAMESPACE - PC_E_BASE] = "signed for another purpose (namespace)",
    [PC_E_KEY - PC_E_BASE] = "another key, or a key too weak to be trusted",
    [PC_E_PRESENCE - PC_E_BASE] = "the hardware key was not touched",
};

const char *pc_strerror(int err)
{
    if (err >= 0)
        return "success";
    if (err > PC_E_BASE && err < PC_E_LAST)
        return names[err - PC_E_BASE];
    if (err >= -4095)
        return strerror(-err);
    return "unknown error";
}
