#ifndef PC_CLI_DRILL_PROGRESS_H
#define PC_CLI_DRILL_PROGRESS_H
#include "cli/drill/manifest.h"
#include "cli/drill/options.h"

#include <stdint.h>

/*
 * The progress log: a file mapped by all workers, which anybody who may read it can read while they run, are frozen or
 * are dead. It does not depend on any process living on: every step of every file is stored as it happens. Native byte
 * order and layout: it is read on the machine and by the build that wrote it (version and record size are checked).
 */
#define DRILL_PROGRESS_MAGIC 0x314c4c4952444350ULL /* "PCDRILL1" */

enum drill_step {
    DRILL_WAITING,     /* nobody has begun it */
    DRILL_OPENING,     /* taken by a worker; an open may be waiting for the guard's answer */
    DRILL_OPENED,      /* opened and checked, nothing changed yet */
    DRILL_CHANGING,    /* the first changing call is about to be made or being made */
    DRILL_DONE,
    DRILL_BLOCKED,     /* EPERM or EACCES */
    DRILL_REFUSED,     /* not the drill's own: not touched */
    DRILL_UNSUPPORTED, /* this kernel or file system cannot do it; the run ends */
    DRILL_FAILED,
    DRILL_STEPS
};
extern const char *const drill_step_names[DRILL_STEPS];

struct drill_record {
    struct drill_file file;
    uint32_t step; /* enum drill_step, stored atomically */
    int32_t pid;
    int32_t err;
    uint64_t start_ns, changed_ns, done_ns; /* CLOCK_MONOTONIC; 0: not reached */
};

struct drill_progress {
    uint64_t magic;
    uint32_t version, record_bytes;
    uint32_t files, processes;
    uint32_t pattern, path, topology, rename;
    uint64_t rate, seed, size;
    char id[DRILL_ID_HEX + 8];
    char folder[PATH_MAX];
    int32_t root_pid;
    uint64_t begun_real_ns, begun_ns, ended_ns; /* real time for people; the others CLOCK_MONOTONIC */
    /* shared by the workers, atomic */
    uint32_t next;     /* the work queue: the next file nobody has taken */
    uint32_t stop;     /* not 0: take no more files */
    uint32_t ready;    /* workers waiting for the start */
    uint32_t missing;  /* workers that could not be started */
    uint32_t noted;    /* bit per sub-folder: its note was written */
    struct drill_record record[];
};

/* Creates the file (O_EXCL, 0600) and maps it shared. *out: unmapped by drill_progress_close. */
int drill_progress_create(const char *path, const struct drill_options *o, const struct drill_folder *f,
                          const struct drill_manifest *m, struct drill_progress **out);
/* Maps an existing one read-only. PC_E_CORRUPT when it is none. */
int drill_progress_open(const char *path, struct drill_progress **out);
void drill_progress_close(struct drill_progress *p);
#endif
