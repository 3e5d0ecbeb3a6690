/*
 * Owns which addresses are kept from the file server, and for which incident: in the kernel (kern/nft.h) and in
 * <state>/blocked, so that a restart or a reboot does not let an attacker in again. Must not decide whom to block
 * (stop.c) nor when to let in (people).
 */
#include "agent/clients.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "kern/nft.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#define FILE_NAME "blocked"
#define FILE_NEW "blocked.new"
#define LINE_MAX_BYTES 96

struct entry {
    uint64_t incident;
    struct pc_peer peer;
};

struct pc_blocked {
    uint32_t n;
    struct entry entry[PC_NFT_BLOCK_MAX];
};

static int apply(const struct pc_blocked *b, char *why, size_t cap)
{
    struct pc_nft_block list[PC_NFT_BLOCK_MAX];
    for (uint32_t i = 0; i < b->n; i++)
        list[i] = (struct pc_nft_block){b->entry[i].peer.address, b->entry[i].peer.port};
    return pc_nft_block(list, b->n, why, cap);
}

static int save(const struct pc_guard *g)
{
    const struct pc_blocked *b = g->blocked;
    _buf_free_ struct pc_buf text;
    pc_buf_init(&text, PC_NFT_BLOCK_MAX * LINE_MAX_BYTES);
    for (uint32_t i = 0; i < b->n; i++) /* a failed append shows in text.failed */
        (void)pc_buf_addf(&text, "%" PRIu64 " %s %u\n", b->entry[i].incident, b->entry[i].peer.address,
                          b->entry[i].peer.port);
    if (text.failed)
        return -ENOMEM;
    _close_ int dir = open(g->state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || (unlinkat(dir, FILE_NEW, 0) < 0 && errno != ENOENT))
        return -errno;
    int r = pc_create_file_at(dir, FILE_NEW, text.data, text.len, 0600);
    if (r == 0 && (renameat(dir, FILE_NEW, dir, FILE_NAME) < 0 || fsync(dir) < 0))
        r = -errno;
    return r;
}

/* In the kernel first: what is not on disk is let in by a reboot, which is said. */
static int enforce(struct pc_guard *g, char *why, size_t cap)
{
    int r = apply(g->blocked, why, cap);
    int saved = save(g);
    if (saved < 0)
        pc_event(g->log, PC_LEVEL_ERROR, "share", NULL,
                 "%s/" FILE_NAME " could not be written: a restart of the guard will not know whom it "
                 "keeps from the share: %s",
                 g->state_dir, pc_strerror(saved));
    return r;
}

static bool parse_line(const char *line, struct entry *out)
{
    unsigned port;
    return sscanf(line, "%" SCNu64 " %45[0-9a-f.:] %u", &out->incident, out->peer.address, &port) == 3 &&
           port < 65536 && (out->peer.port = (uint16_t)port) != 0;
}

void pc_blocked_load(struct pc_guard *g)
{
    char path[PATH_MAX + 16], line[LINE_MAX_BYTES], why[160] = "";
    snprintf(path, sizeof path, "%s/" FILE_NAME, g->state_dir);
    g->blocked = calloc(1, sizeof *g->blocked);
    int fd = g->blocked ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    _fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    while (f && g->blocked->n < PC_NFT_BLOCK_MAX && fgets(line, sizeof line, f))
        g->blocked->n += parse_line(line, &g->blocked->entry[g->blocked->n]);
    if (g->blocked && g->blocked->n && apply(g->blocked, why, sizeof why) < 0)
        pc_event(g->log, PC_LEVEL_ERROR, "share", NULL, "%u addresses should be kept from the share and are not: %s",
                 g->blocked->n, why);
}

void pc_blocked_free(struct pc_guard *g)
{
    free(g->blocked);
    g->blocked = NULL;
}

int pc_blocked_add(struct pc_guard *g, uint64_t incident, const struct pc_peer *peers, uint32_t n, char *why,
                   size_t cap)
{
    struct pc_blocked *b = g->blocked;
    snprintf(why, cap, "%u addresses are the most that can be kept out", (unsigned)PC_NFT_BLOCK_MAX);
    if (!b || n > PC_NFT_BLOCK_MAX - b->n)
        return PC_E_LIMIT;
    for (uint32_t i = 0; i < n; i++)
        b->entry[b->n + i] = (struct entry){incident, peers[i]};
    b->n += n;
    int r = enforce(g, why, cap);
    if (r < 0) { /* not in the kernel: then nowhere */
        b->n -= n;
        (void)save(g); /* a failure was told */
    }
    return r;
}

uint32_t pc_blocked_release(struct pc_guard *g, uint64_t incident)
{
    struct pc_blocked *b = g->blocked;
    uint32_t kept = 0, before = b ? b->n : 0;
    char why[160] = "";
    for (uint32_t i = 0; i < before; i++)
        if (b->entry[i].incident != incident)
            b->entry[kept++] = b->entry[i];
    if (kept == before)
        return 0;
    b->n = kept;
    if (enforce(g, why, sizeof why) < 0)
        pc_event(g->log, PC_LEVEL_ERROR, "share", NULL,
                 "an address could not be let in again: %s; nft delete table inet portcullis_share does it", why);
    return before - kept;
}

void pc_blocked_each(const struct pc_guard *g, void (*fn)(void *arg, uint64_t incident, const struct pc_peer *peer),
                     void *arg)
{
    for (uint32_t i = 0; g->blocked && i < g->blocked->n; i++)
        fn(arg, g->blocked->entry[i].incident, &g->blocked->entry[i].peer);
}
