#ifndef PC_CLI_INCIDENT_WORDS_H
#define PC_CLI_INCIDENT_WORDS_H
#include "cli/render.h"

/* What the list and the report of incidents share (incident_words.c). */
/*
 * argv of a process or actor as one line, or its exe when there is none; cut to about `most` bytes, with "..." for the
 * rest. Free it.
 */
char *pc_command_line(const json_t *process, size_t most);
#define PC_COMMAND_SHOWN 100
/* The last part of exe or argv[0], inside the caller's JSON; "?" when neither is known. */
const char *pc_program_name(const json_t *process);
/* Colour of an incident's or process's state. */
enum pc_style pc_state_style(const char *state);
#endif
