/* Owns what the list and the report of incidents say in the same way: programs and states. */
#include "cli/incident_words.h"

#include "base/buf.h"
#include "base/cleanup.h"

#include <string.h>

char *pc_command_line(const json_t *process, size_t most)
{
    const char *exe = pc_text_of(process, "exe"), *word_text;
    struct pc_buf line;
    size_t i;
    const json_t *word;
    pc_buf_init(&line, SIZE_MAX / 4);
    json_array_foreach(json_object_get(process, "argv"), i, word) {
        if (line.len <= most && (word_text = json_string_value(word)) != NULL)
            pc_buf_addf(&line, "%s%s", i ? " " : "", word_text);
    }
    if (line.len == 0)
        pc_buf_addf(&line, "%s", exe ? exe : "?");
    if (!line.failed && line.len > most) {
        while (most && ((unsigned char)line.data[most] & 0xc0) == 0x80) /* not inside a character */
            most--;
        line.len = most;
        pc_buf_addf(&line, "...");
    }
    return line.data;
}

static const char *last_part(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash && slash[1] ? slash + 1 : path && *path ? path : NULL;
}

const char *pc_program_name(const json_t *process)
{
    const char *name = last_part(pc_text_of(process, "exe"));
    if (!name)
        name = last_part(json_string_value(json_array_get(json_object_get(process, "argv"), 0)));
    return name ? name : "?";
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
