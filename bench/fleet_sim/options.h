#ifndef SIM_OPTIONS_H
#define SIM_OPTIONS_H
/* What the command line says; every command takes what it needs of it. */
#include <stdint.h>

struct sim_options {
    const char *database, *seed, *tenant, *trust, *output; /* NULL: not given */
    const char *link, *ca, *token;
    uint32_t agents, first; /* numbers first .. first + agents - 1 */
    uint32_t full_every;    /* of so many agents one checks everything; 0: none does */
    uint32_t dials_per_s;   /* 0: all at once */
};
int sim_prepare(const struct sim_options *o);   /* enrols straight into a server's database */
int sim_statement(const struct sim_options *o); /* prints the body of one enrolment over the API */
int sim_append(const struct sim_options *o);    /* measures the log alone */
int sim_run(const struct sim_options *o);       /* plays the agents until its input ends */

/* "fleet-sim: ..." on stderr; answers 1, the exit status. */
int sim_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A whole small file, malloc'd, NUL-terminated; NULL after complaining. */
char *sim_read_file(const char *path, uint64_t *len);
#endif
