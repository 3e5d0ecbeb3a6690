#ifndef PC_SERVER_STATE_H
#define PC_SERVER_STATE_H
/*
 * The server's folder (--state) and its settings. Files, all made by `init`:
 *
 *     server.conf   settings (table below)      ca.pem ca.key            the private authority
 *     server.db     SQLite, unless `database`   server.pem server.key    the server's certificate, made by it
 *     files/        what hosts may download     log.key log.vkey         the log's key
 *     lock          held while the server runs
 *
 * Keys are 0600 and never replaced by `init`.
 */
#include "trust/names.h"
#include "trust/note_key.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PC_SERVER_NAMES_MAX 32

/* X(key, member, kind, size-or-min, max, default, words): one line a setting. kind TEXT: char[size]; NUMBER: uint32_t.
 */
#define PC_SERVER_SETTINGS(X)                                                                                      \
    X("tenant", tenant, TEXT, PC_NAME_MAX + 1, 0, "", "the fleet's name, as in the trust file")                    \
    X("listen", listen, TEXT, 300, 0, "", "address of the HTTPS API, HOST:PORT")                                   \
    X("link", link, TEXT, 300, 0, "", "address that hosts connect to, HOST:PORT")                                  \
    X("public_link", public_link, TEXT, 300, 0, "", "what hosts are told to connect to, when it is not `link`")    \
    X("names", names, TEXT, 2048, 0, "", "names and addresses in the server's certificate, with commas")           \
    X("database", database, TEXT, 1024, 0, "",                                                                     \
      "postgresql://... when several servers share a fleet; empty: server.db here")                                \
    X("server", server, TEXT, 40, 0, "", "name of this process among them; empty: host name and process id")       \
    X("heartbeat", heartbeat, NUMBER, 1, 3600, "60", "seconds between two checkpoints sent to each host")          \
    X("patience", patience, NUMBER, 1, 600, "10",                                                                  \
      "seconds for a handshake and for a hello; three times as much for a whole API request")                      \
    X("connections", connections, NUMBER, 16, 1000000, "18000", "most links at a time")                            \
    X("handshakes", handshakes, NUMBER, 1, 100000, "1024", "most links at a time that have not said who they are") \
    X("handshakes_per_address", handshakes_per_address, NUMBER, 1, 65535, "1024", "of these, from one address")    \
    X("api_connections", api_connections, NUMBER, 8, 100000, "1024", "most API connections at a time")             \
    X("api_per_address", api_per_address, NUMBER, 1, 65535, "128", "of these, from one address")

struct pc_server_settings {
#define X_TEXT(member, size) char member[size];
#define X_NUMBER(member, size) uint32_t member;
#define X(key, member, kind, size, max, def, words) X_##kind(member, size)
    PC_SERVER_SETTINGS(X)
#undef X
};

struct pc_server_state {
    char path[512];
    int dir_fd;  /* -1: not open */
    int lock_fd; /* -1: not held */
    uid_t uid;   /* whose the folder is: root's commands make files for them */
    gid_t gid;
    struct pc_server_settings settings;
};

/* Opens a folder that `init` made, and reads its settings. why: one line. -errno, PC_E_SYNTAX, PC_E_RANGE. */
int pc_server_state_open(const char *path, struct pc_server_state *out, char *why, size_t why_len);
/* Makes (or takes an empty) folder, 0700, and writes server.conf. PC_E_STATE: there is a server in it already. */
int pc_server_state_create(const char *path, const struct pc_server_settings *settings, struct pc_server_state *out,
                           char *why, size_t why_len);
void pc_server_state_close(struct pc_server_state *s);
/* Gives the folder and all in it to a user, who then can `run`. Root only. -ENOENT: there is no such user; -errno. */
int pc_server_state_give(int dir_fd, const char *user);
/* One running server a folder. PC_E_STATE: another one runs. */
int pc_server_state_lock(struct pc_server_state *s);
void pc_server_settings_default(struct pc_server_settings *s);

/* A whole file as text, malloc'd, NUL-terminated, at most 1 MiB. Does not follow links. -errno. */
int pc_server_state_read(const struct pc_server_state *s, const char *name, char **out, size_t *len);
/* A new file (fails if it is there). mode as open(2). -errno. */
int pc_server_state_write_new(const struct pc_server_state *s, const char *name, const void *data, size_t len,
                              unsigned mode);
/* The same, replacing in one step what was there. */
int pc_server_state_replace(const struct pc_server_state *s, const char *name, const void *data, size_t len,
                            unsigned mode);
/* The log's key of log.key. Cleanse it. -errno, PC_E_SYNTAX. */
int pc_server_state_log_key(const struct pc_server_state *s, struct pc_skey *out);
/* Where the database is: settings, or server.db of this folder. */
void pc_server_state_database(const struct pc_server_state *s, char *out, size_t cap);
#endif
