/* Owns settings and tokens in the store. */
#include "base/err.h"
#include "store/ops.h"

#include <stdlib.h>

int pc_store_put(struct pc_store *s, const char *key, struct pc_store_blob value)
{
    int r = pc_run(s, PC_SQL_SETTING_PUT, PC_VALUES(pc_text(key), pc_blob(value.data, value.len)), NULL, NULL);
    return r < 0 ? r : 0;
}

int pc_store_get(struct pc_store *s, const char *key, void **value, size_t *len)
{
    struct pc_copy c = {0};
    int r = pc_run_one(s, PC_SQL_SETTING_GET, PC_VALUES(pc_text(key)), pc_copy_first, &c);
    if (r < 0) {
        free(c.data);
        return r;
    }
    *value = c.data;
    *len = c.len;
    return 0;
}

int pc_store_drop(struct pc_store *s, const char *key)
{
    int r = pc_run(s, PC_SQL_SETTING_DROP, PC_VALUES(pc_text(key)), NULL, NULL);
    return r < 0 ? r : 0;
}

int pc_store_token_add(struct pc_store *s, const char *sha256, const char *kind, const char *name, int64_t expires)
{
    int r = pc_run(s, PC_SQL_TOKEN_ADD, PC_VALUES(pc_text(sha256), pc_text(kind), pc_text(name), pc_int(expires)), NULL,
                   NULL);
    return r < 0 ? r : r == 0 ? PC_E_STATE : 0;
}

/* One statement, so that two who come with the same token at once cannot both get in. */
int pc_store_token_use(struct pc_store *s, const char *sha256, const char *kind, int64_t now)
{
    int r = pc_run(s, PC_SQL_TOKEN_SPEND, PC_VALUES(pc_text(sha256), pc_text(kind), pc_int(now)), NULL, NULL);
    return r < 0 ? r : r == 0 ? PC_E_NOTFOUND : 0;
}

static int take_kind(void *ctx, const struct pc_row *row)
{
    pc_row_text(row, 0, ctx, 16);
    return 0;
}

int pc_store_token_check(struct pc_store *s, const char *sha256, int64_t now, char kind[16])
{
    return pc_run_one(s, PC_SQL_TOKEN_CHECK, PC_VALUES(pc_text(sha256), pc_int(now)), take_kind, kind);
}
