#ifndef PC_CLI_DRILL_H
#define PC_CLI_DRILL_H
/*
 * `portcullis drill`: a harmless, parameterised load for testing protection. argv[0] is the subcommand's name. Returns
 * the exit status: 0 ran to the end, 1 error, 2 usage, 3 stopped early or blocked, 4 not supported here, 5 --verify
 * found differences. Prints on stdout and stderr; may fork. Takes a frozen or killed worker for what it is: stopped.
 */
int pc_cmd_drill(int argc, char **argv);
#endif
