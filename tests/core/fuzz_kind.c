/* Any bytes as a file, cut into windows anywhere: looking at it and comparing it must stay inside the windows. */
#include "core/content.h"
#include "core/kind.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each window gets a copy of its own, so that the sanitizer sees one byte past it. */
static void attach(struct pc_content *c, const uint8_t *data)
{
    for (uint32_t i = 0; i < c->count; i++) {
        uint8_t *copy = malloc(c->win[i].len ? c->win[i].len : 1);
        if (!copy)
            abort();
        memcpy(copy, data + c->win[i].off, c->win[i].len);
        c->win[i].data = copy;
    }
}

static void detach(struct pc_content *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        free((void *)(uintptr_t)c->win[i].data);
}

static void split(const uint8_t *data, uint32_t size, uint32_t cut, uint32_t skip)
{
    struct pc_content c = {.size = size, .count = 2};
    cut = size ? cut % size : 0;
    skip = size > cut ? skip % (size - cut) : 0;
    c.win[0] = (struct pc_window){.off = 0, .len = cut};
    c.win[1] = (struct pc_window){.off = cut + skip, .len = size - cut - skip};
    attach(&c, data);
    struct pc_look look;
    pc_content_look(&c, &look);
    if (look.kind >= PC_KIND_COUNT || look.opaque > 100)
        abort();
    detach(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_content before, after;
    struct pc_finding f;
    if (size < 4 || size > 1u << 20)
        return 0;
    uint32_t a = data[0] | (uint32_t)data[1] << 8, b = data[2] | (uint32_t)data[3] << 8;
    data += 4;
    size -= 4;
    split(data, (uint32_t)size, a, b);
    uint64_t half = size ? a % size : 0;
    pc_content_plan(half, size - half, b, &before, &after);
    attach(&before, data);
    attach(&after, data + half);
    pc_content_compare(&before, &after, &f);
    if (f.score > 100 || f.changed_permil > 1000)
        abort();
    detach(&before);
    detach(&after);
    return 0;
}
