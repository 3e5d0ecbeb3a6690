/* Owns what the list and the report of incidents say in the same way: programs and states. */
#include "cli/incident_words.h"

#include "base/buf.h"
#include "base/cleanup.h"

#include <string.h>

#define COMMAND_BYTES_MAX (64u << 10)

char *pc_command_line(const json_t *process)
{
    struct pc_buf line;
    size_t i;
    const json_t *word;
    pc_buf_init(&line, COMMAND_BYTES_MAX);
    json_array_foreach(json_object_get(process, "argv"), i, word)
        pc_buf_addf(&line, "%s%s", i ? " " : "", json_string_value(word) ? json_string_value(word) : "");
    if (line.len == 0)
        pc_buf_addf(&line, "%s", pc_text_of(process, "exe") ? pc_text_of(process, "exe") : "?");
    return line.data; /* a line too long for the bound ends early */
}

const char *pc_program_name(const json_t *process)
{
    const char *exe = pc_text_of(process, "exe");
    const char *slash = exe ? strrchr(exe, '/') : NULL;
    return slash && slash[1] ? slash + 1 : exe && *exe ? exe : "?";
}

enum pc_style pc_state_style(const char *state)
{
    static const struct {
        const char *state;
        enum pc_style style;
    } styles[] = {{"frozen", PC_RED}, {"running", PC_YELLOW}, {"released", PC_YELLOW}, {"observed", PC_YELLOW},
                  {"rolled-back", PC_GREEN}, {"ancestor", PC_DIM}, {"gone", PC_DIM}};
    for (size_t i = 0; state && i < PC_ARRAY_SIZE(styles); i++)
        if (strcmp(styles[i].state, state) == 0)
            return styles[i].style;
    return PC_PLAIN;
}
