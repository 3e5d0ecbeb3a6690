#ifndef PC_CLI_OWNER_DIR_H
#define PC_CLI_OWNER_DIR_H
#include "cli/cli.h"
#include "trust/names.h"
#include "trust/trustfile.h"

/*
 * The owner's folder, what an owner knows without asking the server: --owner DIR, else $PORTCULLIS_OWNER, else
 * $XDG_CONFIG_HOME/portcullis, else ~/.config/portcullis.
 *
 *     owner.conf    [server] url = https://HOST:PORT, ca = FILE, token = FILE; files relative to the folder
 *     hosts         hosts whose identity the owner knows from elsewhere, "NAME#HOSTID" one a line; "#" in column 1
 *                   begins a comment
 *     trust.json    the trust file in force; trust.N.json: version N, that was in force before
 *     checkpoint    the newest signed note of the log that was verified
 *     sequence      highest sequence number that this owner gave to an order, decimal
 *     lock          held by who changes the folder
 *
 * All functions print what is wrong and return an exit status, or 0. Nothing is created but by the functions that say
 * so.
 */
struct pc_owner_dir {
    char *path;
    char *url, *ca, *token; /* of owner.conf or the command line; NULL when nothing says. ca, token: paths of files */
};
/* A folder that does not exist is an empty one. */
int pc_owner_dir_open(const struct pc_cli *cli, struct pc_owner_dir *out);
void pc_owner_dir_close(struct pc_owner_dir *d);
/*
 * Waits until nobody else changes the folder, which is made when it is missing; *out is a descriptor to be closed when
 * the change is done.
 */
int pc_owner_dir_lock(const struct pc_owner_dir *d, int *out);

/* Path of a file in the folder; to be freed. NULL without memory. */
char *pc_owner_dir_file(const struct pc_owner_dir *d, const char *name);
/*
 * A whole file, at most max bytes (more is an error); to be freed, NUL-terminated. Relative to the working directory.
 * 0, -errno, PC_E_LIMIT. Prints nothing.
 */
int pc_cli_file_read(const char *path, size_t max, char **out, size_t *len);
/*
 * Replaces a file at once or not at all (temporary file, fsync, rename), made with this mode; the folder is made when
 * it is missing. 0, -errno.
 */
int pc_cli_file_replace(const char *path, const void *data, size_t len, unsigned mode);

/* Makes the folder that path is in, private, and those above it. 0, -errno. */
int pc_cli_make_folder_of(const char *path);

struct pc_pins {
    struct pc_host_ref *host; /* owned; sorted by name; no name twice */
    size_t n;
};
#define PC_PINS_FILE_MAX (16u << 20)
int pc_pins_load(const struct pc_owner_dir *d, struct pc_pins *out);
void pc_pins_clear(struct pc_pins *p);
/* NULL: this name is not pinned. */
const struct pc_host_ref *pc_pins_find(const struct pc_pins *p, const char *name);
/* Adds these hosts at the end of the file, which is made when it is missing. */
int pc_pins_add(const struct pc_owner_dir *d, const struct pc_host_ref *hosts, size_t n);

/* The trust file in force. A missing one is an error, with words how to get it. */
int pc_owner_trust(const struct pc_owner_dir *d, struct pc_trust *out);
/* The highest sequence number given so far; 0 when there is none. */
int pc_owner_sequence(const struct pc_owner_dir *d, uint64_t *out);
int pc_owner_sequence_keep(const struct pc_owner_dir *d, uint64_t sequence);
#endif
