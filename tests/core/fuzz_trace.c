/* Any bytes as a trace: replaying must neither crash nor loop, and what it read must survive being written again. */
#include "core/trace.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const uint8_t *data, size_t size)
{
    struct pc_cur c, again;
    struct pc_trace_rec rec, copy;
    _buf_free_ struct pc_buf b;
    pc_buf_init(&b, 4096);
    pc_cur_init(&c, data, size);
    if (pc_trace_open(&c) != 0)
        return;
    while (pc_trace_next(&c, &rec) == 1) {
        pc_buf_reset(&b);
        if (pc_trace_begin(&b) != 0 || pc_trace_write(&b, &rec) != 0)
            abort();
        pc_cur_init(&again, b.data, b.len);
        if (pc_trace_open(&again) != 0 || pc_trace_next(&again, &copy) != 1 || copy.type != rec.type ||
            copy.pid != rec.pid || copy.act.file != rec.act.file || pc_trace_next(&again, &copy) != 0)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_cur c;
    struct pc_replay_stats stats;
    pc_cur_init(&c, data, size);
    if (pc_trace_open(&c) == 0)
        pc_replay(&c, NULL, NULL, NULL, &stats);
    write_again(data, size);
    return 0;
}
