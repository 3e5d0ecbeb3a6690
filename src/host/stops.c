/* Owns the table of stops that undo themselves. */
#include "host/stops.h"

#include "base/cleanup.h"

#include <string.h>

static const struct pc_stop *const stops[] = {&pc_stop_freeze, &pc_stop_isolate, &pc_stop_block};

const struct pc_stop *pc_stop_find(const char *kind)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(stops); i++)
        if (strcmp(stops[i]->kind, kind) == 0)
            return stops[i];
    return NULL;
}
