/* Owns reading whose connections a process serves. No state, no policy. */
#include "kern/peers.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FDS_MAX 256
#define SOCKETS_MAX 64
#define TABLE_BYTES_MAX (8u << 20)
/* States of /proc/net/tcp, from the kernel's include/net/tcp_states.h. */
#define TCP_IS_SYN_SENT 2
#define TCP_IS_CLOSED 7
#define TCP_IS_LISTENING 10

struct sockets {
    uint64_t inode[SOCKETS_MAX];
    size_t n;
};

static int read_sockets(pid_t pid, struct sockets *out)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    _closedir_ DIR *d = opendir(path);
    if (!d)
        return -errno;
    struct dirent *e;
    for (int seen = 0; seen < FDS_MAX && out->n < SOCKETS_MAX && (e = readdir(d)); seen++) {
        char target[64];
        ssize_t n = readlinkat(dirfd(d), e->d_name, target, sizeof target - 1);
        target[n < 0 ? 0 : n] = 0;
        if (sscanf(target, "socket:[%" SCNu64 "]", &out->inode[out->n]) == 1)
            out->n++;
    }
    return 0;
}

struct row {
    char remote[33];
    unsigned local_port, state;
    uint64_t inode;
};

/* "  0: LOCAL:PORT REMOTE:PORT ST QUEUES TIMER RETRANSMITS UID TIMEOUT INODE ..." */
static bool parse_row(const char *line, struct row *out)
{
    return sscanf(line, " %*u: %*32[0-9A-F]:%x %32[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %" SCNu64,
                  &out->local_port, out->remote, &out->state, &out->inode) == 4 &&
           out->local_port < 65536;
}

/* Words of 32 bits in the host's order, as the kernel prints them. */
static bool parse_address(const char *hex, char *out, size_t cap)
{
    uint32_t word[4] = {0};
    size_t words = strlen(hex) / 8;
    if (strlen(hex) % 8 || (words != 1 && words != 4))
        return false;
    for (size_t i = 0; i < words; i++) {
        char text[9] = {0};
        memcpy(text, hex + i * 8, 8);
        word[i] = (uint32_t)strtoul(text, NULL, 16);
    }
    bool mapped = words == 4 && !word[0] && !word[1] && word[2] == htonl(0xffff);
    const void *raw = mapped ? &word[3] : word;
    return inet_ntop(words == 1 || mapped ? AF_INET : AF_INET6, raw, out, (socklen_t)cap) != NULL;
}

struct reading {
    const struct sockets *sockets;
    uint8_t listened[65536 / 8]; /* ports, as bits */
    struct pc_peer found[SOCKETS_MAX];
    size_t n;
};

static bool is_ours(const struct sockets *s, uint64_t inode)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->inode[i] == inode)
            return true;
    return false;
}

static void take_row(struct reading *r, const char *line)
{
    struct row row;
    if (!parse_row(line, &row))
        return;
    if (row.state == TCP_IS_LISTENING)
        r->listened[row.local_port / 8] |= (uint8_t)(1u << row.local_port % 8);
    /* One that the client has closed already is its, too: what it sent last may be still to be done. */
    bool connected = row.state != TCP_IS_LISTENING && row.state != TCP_IS_CLOSED && row.state != TCP_IS_SYN_SENT;
    if (!connected || r->n == SOCKETS_MAX || !is_ours(r->sockets, row.inode))
        return;
    struct pc_peer *p = &r->found[r->n];
    p->port = (uint16_t)row.local_port;
    r->n += parse_address(row.remote, p->address, sizeof p->address);
}

/* A table that is not there (no IPv6) has nobody in it. */
static void read_table(struct reading *r, pid_t pid, const char *name)
{
    char path[40], line[512];
    snprintf(path, sizeof path, "/proc/%d/net/%s", pid, name);
    _fclose_ FILE *f = fopen(path, "re");
    for (size_t total = 0; f && total < TABLE_BYTES_MAX && fgets(line, sizeof line, f); total += strlen(line))
        take_row(r, line);
}

static bool is_new(const struct pc_peer *list, int n, const struct pc_peer *p)
{
    for (int i = 0; i < n; i++)
        if (list[i].port == p->port && strcmp(list[i].address, p->address) == 0)
            return false;
    return true;
}

int pc_peers_of(pid_t pid, struct pc_peer *out, size_t max)
{
    struct sockets sockets = {0};
    int r = read_sockets(pid, &sockets);
    if (r < 0 || !sockets.n)
        return r;
    _free_ struct reading *in = calloc(1, sizeof *in);
    if (!in)
        return -ENOMEM;
    in->sockets = &sockets;
    read_table(in, pid, "tcp");
    read_table(in, pid, "tcp6");
    int n = 0;
    for (size_t i = 0; i < in->n && (size_t)n < max; i++) {
        const struct pc_peer *p = &in->found[i];
        if ((in->listened[p->port / 8] >> p->port % 8 & 1) && is_new(out, n, p))
            out[n++] = *p;
    }
    return n;
}

bool pc_peers_here(pid_t pid)
{
    char path[40];
    struct stat mine, theirs;
    snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
    return stat("/proc/self/ns/net", &mine) == 0 && stat(path, &theirs) == 0 && mine.st_ino == theirs.st_ino &&
           mine.st_dev == theirs.st_dev;
}
