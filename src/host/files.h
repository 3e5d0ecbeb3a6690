#ifndef PC_HOST_FILES_H
#define PC_HOST_FILES_H
/*
 * The host's own folder of the fleet (<state>/fleet) and the few small files in it. The folder is root's, 0711: the
 * link's user may reach its own key and the runner's socket, and list nothing.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PC_FILE_IDENTITY "identity.seed" /* 32 bytes, the Ed25519 seed of the host; 0600 root */
#define PC_FILE_LINK_KEY "link.key"      /* PEM; 0400 of the link's user */
#define PC_FILE_LINK_CERT "link.crt"     /* PEM, self-signed */
#define PC_FILE_CA "ca.pem"              /* the pinned CA */
#define PC_FILE_CA_GIVEN "enroll.ca"     /* only while a host is enrolled: the CA that is not pinned yet */
#define PC_FILE_LINK "link.json"         /* where to connect; see struct pc_link_facts */
#define PC_FILE_ADDRESSES                                                                                              \
    "link.addresses" /* while isolated: addresses of server or proxy, because no resolver can be reached then          \
                        (pc_web.addresses) */
#define PC_ADDRESSES_MAX 4096
#define PC_FILE_MEMORY "fleet.db"
#define PC_FILE_SOCKET "runner.sock"
#define PC_FILE_LOCK "runner.lock"
#define PC_FILE_TRIAL "upgrade.why"      /* from the host to the runner: why the trial of an upgrade failed */

struct pc_fleet_dir {
    int fd; /* -1: not open */
    char path[4096];
};
/* Opens the folder (makes it, and the one above it, when `make`). PC_E_REFUSED: it is not ours alone; -ENOENT. */
int pc_fleet_open(const char *path, bool make, struct pc_fleet_dir *out);
void pc_fleet_close(struct pc_fleet_dir *d);

/*
 * Says that this process alone works in the folder, until it ends. A record lock: unlike flock it does not live on in a
 * child that was forked. PC_E_STATE: another has it.
 */
int pc_fleet_lock(int dir_fd);

/*
 * Reads a whole regular file of at most max bytes, no symlink. *data is NUL-terminated, to be freed; the text may hold
 * secrets. PC_E_LIMIT when longer.
 */
int pc_fleet_read(int dir_fd, const char *name, size_t max, char **data, size_t *len);
/* The same for a file that a person named: symlinks are followed. */
int pc_fleet_read_at(int dir_fd, const char *path, size_t max, char **data, size_t *len);
struct pc_fleet_owner {
    uid_t uid;
    gid_t gid;
    mode_t mode;
};
/*
 * Puts a file there whole, by a temporary name, fsync and rename: a crash leaves the old one or the new one. 0 or
 * -errno.
 */
int pc_fleet_replace(int dir_fd, const char *name, const void *data, size_t len, struct pc_fleet_owner owner);
bool pc_fleet_has(int dir_fd, const char *name);

/*
 * SHA-256 of a whole file, from its first byte, wherever the descriptor stands. step (may be NULL) is asked after every
 * 256 KiB and ends it by an error. One thread a process (a static buffer). 0, -errno, or step's error; out is untouched
 * then.
 */
int pc_hash_file(int fd, int (*step)(void *ctx), void *ctx, uint8_t out[32]);

/* link.json: everything the link needs to know, and nothing that matters if it is stolen. */
struct pc_link_facts {
    char host[128];        /* NAME#HOSTID */
    char url[512];         /* https://HOST:PORT of the API */
    char address[300];     /* HOST:PORT of the link */
    uint32_t heartbeat;    /* seconds */
    uint64_t statement;    /* version of the server statement followed last; 0: none */
};
int pc_link_facts_read(int dir_fd, struct pc_link_facts *out);
int pc_link_facts_write(int dir_fd, const struct pc_link_facts *f, gid_t link_gid);
/* pc_split_address for what others say: host has only what names and addresses have, and 299 bytes at most. 0 or
 * PC_E_SYNTAX. */
int pc_split_checked(const char *text, char *host, size_t host_cap, uint16_t *port);
#endif
