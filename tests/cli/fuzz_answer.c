/* Fuzzes how the owner's commands read a server's answers: what is taken is bounded, and is the same when it is written and read again. */
#include "cli/net/fleet.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *j = NULL, *again = NULL;
    if (pc_answer_parse((const char *)data, size, &j) < 0) {
        if (j)
            abort(); /* out-parameters are untouched on failure */
        return 0;
    }
    if (!json_is_object(j) && !json_is_array(j))
        abort();
    char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!text || pc_answer_parse(text, strlen(text), &again) < 0 || !json_equal(j, again))
        abort();
    free(text);
    json_decref(again);
    json_decref(j);
    return 0;
}
