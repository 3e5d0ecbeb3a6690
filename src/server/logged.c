/*
 * Owns the log's entries of owners' documents on the server's side: one each, or several when one has no room. Must not
 * judge them: intake.c did.
 */
#include "server/logged.h"

#include "base/cleanup.h"
#include "base/err.h"

#include <stdlib.h>

/* The envelope's text in pieces, ahead of the entry that names what is in it. */
static int add_parts(struct pc_log_batch *log, const char *tenant, const struct pc_envelope *e)
{
    _free_ char *whole = NULL;
    size_t whole_len;
    int ret = pc_envelope_format(e, &whole, &whole_len);
    uint32_t parts = ret == 0 ? pc_entry_parts(whole_len) : 0;
    if (ret == 0 && parts == 0)
        return PC_E_LIMIT;
    for (uint32_t i = 0; i < parts && ret == 0; i++) {
        _free_ char *entry = NULL;
        size_t len;
        uint64_t index;
        ret = pc_entry_part(tenant, e->sha256, whole, whole_len, i, pc_log_time(log), &entry, &len);
        if (ret == 0)
            ret = pc_log_add(log, entry, len, NULL, NULL, &index);
    }
    return ret;
}

int pc_logged_order(struct pc_log_batch *log, const struct pc_order *o, const struct pc_envelope *e, uint64_t *index)
{
    _free_ char *entry = NULL;
    size_t len;
    int ret = pc_entry_order(o, e, pc_log_time(log), &entry, &len);
    if (ret == 1)
        ret = add_parts(log, o->tenant, e);
    if (ret < 0)
        return ret;
    return pc_log_add(log, entry, len, o->sha256, o->class_ == PC_CLASS_S ? "stop" : "order", index);
}

int pc_logged_owners(struct pc_log_batch *log, const char *tenant, const char *type, const struct pc_envelope *e)
{
    _free_ char *entry = NULL;
    size_t len;
    uint64_t index;
    int ret = pc_entry_owners(tenant, type, e, pc_log_time(log), &entry, &len);
    if (ret == 1)
        ret = add_parts(log, tenant, e);
    return ret < 0 ? ret : pc_log_add(log, entry, len, NULL, NULL, &index);
}
