/*
 * Owns how the server's JSON is read. Not trust/json.h's reader: answers may be larger than documents and hold negative
 * numbers; but like it, this one knows before it builds anything how much the text can become in memory.
 */
#include "cli/net/fleet.h"

#include "base/err.h"

#include <errno.h>

/* One of jansson's containers takes some 150 bytes, any other value some 50. */
#define CONTAINERS_MAX 600000
#define VALUES_MAX 4000000

/* Counts what the text would make, looking at punctuation outside of strings only. */
static int count(const char *text, size_t len)
{
    size_t containers = 0, separators = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            containers++;
        else if (!in_string && (c == ',' || c == ':'))
            separators++;
    }
    return containers > CONTAINERS_MAX || separators > VALUES_MAX ? PC_E_LIMIT : 0;
}

int pc_answer_parse(const char *text, size_t len, json_t **out)
{
    json_error_t error;
    int r = count(text, len);
    if (r < 0)
        return r;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!j)
        return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : PC_E_SYNTAX;
    *out = j;
    return 0;
}
