/* Fuzzes hosts' documents: what parses can be written, and reads the same again. */
#include "trust/report.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ring(const uint8_t *data, size_t size)
{
    struct pc_ring_report r = {0}, again = {0};
    char *text;
    size_t len;
    if (pc_ring_report_parse(data, size, &r) < 0)
        return;
    if (pc_ring_report_format(&r, &text, &len) < 0 || pc_ring_report_parse(text, len, &again) < 0 ||
        memcmp(&r, &again, sizeof r) != 0)
        abort();
    free(text);
}

static void result(const uint8_t *data, size_t size)
{
    struct pc_result r, again;
    char *text;
    size_t len;
    if (pc_result_parse(data, size, &r) < 0)
        return;
    if (pc_result_format(&r, &text, &len) == 0) {
        if (pc_result_parse(text, len, &again) < 0 || again.output_len != r.output_len || again.exit != r.exit)
            abort();
        pc_result_clear(&again);
        free(text);
    }
    pc_result_clear(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_ack a;
    struct pc_enroll e;
    ring(data, size);
    result(data, size);
    pc_ack_parse(data, size, &a);
    pc_enroll_parse(data, size, &e);
    return 0;
}
