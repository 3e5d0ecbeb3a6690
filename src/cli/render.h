#ifndef PC_CLI_RENDER_H
#define PC_CLI_RENDER_H
#include "cli/cli.h"

#include <stdio.h>

/* How answers look to people: safe text, colours, times, amounts, tables. All output goes to standard output. */
enum pc_style { PC_PLAIN = 0, PC_BOLD, PC_DIM, PC_RED, PC_GREEN, PC_YELLOW };

/*
 * Prints text that came from somewhere else: controls, bidirectional overrides, what is invisible and bytes the
 * terminal cannot show come out as \xNN, whatever the sender did about them. text NULL prints "-". Returns the columns
 * it took.
 */
size_t pc_put(const struct pc_cli *cli, enum pc_style style, const char *text);
/*
 * Prints what a program wrote line by line, each indented by four and made safe as above. text is `len` bytes and a
 * NUL, and is changed (cut into lines).
 */
void pc_put_lines(const struct pc_cli *cli, char *text, size_t len);
/*
 * Prints one line of somebody else's, made safe as above, behind a mark that it cannot forge: "    | ". On a terminal
 * that is too narrow for it it goes on behind another, "    : ", and never at the left edge, where our own words stand.
 */
void pc_put_marked(const struct pc_cli *cli, const char *text);
/* The same as pc_put as a string of our own; *columns may be NULL. Free it. */
char *pc_safe_text(const struct pc_cli *cli, const char *text, size_t *columns);
/* strdup that ends the program when there is no memory: what is not shown must not be taken for shown. */
char *pc_copy_of(const char *text);
/* Our own text, with a style. */
void pc_say(const struct pc_cli *cli, enum pc_style style, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Fields of an answer, with something harmless when they are missing or of another type. */
const char *pc_text_of(const json_t *object, const char *key); /* NULL */
/* not a process of this host: a client of its file server, which has no pid */
bool pc_is_client(const json_t *process);
json_int_t pc_number_of(const json_t *object, const char *key); /* 0 */
bool pc_truth_of(const json_t *object, const char *key);        /* false */

/* Times as in CONTROL.md. Nanoseconds since 1970, or 0 when there is none. */
uint64_t pc_time_of(const json_t *object, const char *key);
/* "3 min ago"; "never" for 0. */
const char *pc_ago(const struct pc_cli *cli, uint64_t time_ns, char out[32]);
/* "41 ms", "2.3 s", "4 min": a span. */
const char *pc_span(uint64_t ns, char out[32]);
/* "2026-11-21 18:03:00.123 UTC"; "-" for 0. */
const char *pc_moment(uint64_t time_ns, char out[40]);
/* "1,234,567" and "1.2 GiB". */
const char *pc_amount(json_int_t n, char out[32]);
const char *pc_size(json_int_t bytes, char out[32]);
/* "1 file", "2 files" (an "s" is added). */
const char *pc_count(json_int_t n, const char *what, char out[64]);

#define PC_TABLE_COLUMNS_MAX 8
struct pc_table;
/* heads: column titles, ended by NULL; a title that starts with ">" is set right. Exits when there is no memory. */
struct pc_table *pc_table_new(const char *const *heads);
/* The next cell of the current row; a full row starts the next. text is copied. */
void pc_table_cell(struct pc_table *t, enum pc_style style, const char *text);
/* Prints every row, indented by two, and frees the table. */
void pc_table_print(const struct pc_cli *cli, struct pc_table *t);

/* Prints result as JSON text. An exit status. */
int pc_put_json(const json_t *result);
#endif
