#ifndef PC_SERVER_COMMAND_H
#define PC_SERVER_COMMAND_H
/* The commands of portcullis-server: each gets its own arguments (argv[0] is its name) and answers an exit status. */
#define PC_EXIT_USAGE 2
#define PC_EXIT_CONFIG 78

int pc_server_init(int argc, char **argv);
int pc_server_run(int argc, char **argv);
int pc_server_enroll_token(int argc, char **argv);
int pc_server_api_token(int argc, char **argv);
int pc_server_cert(int argc, char **argv);
int pc_server_trust(int argc, char **argv);
int pc_server_backup(int argc, char **argv);
int pc_server_restore(int argc, char **argv);

/* "portcullis-server: ..." on stderr; returns 1. */
int pc_server_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Prints how the command is used to stderr; returns PC_EXIT_USAGE. */
int pc_server_usage(const char *command);
#endif
