/*
 * Owns the log over HTTP: checkpoint, tiles (C2SP tlog-tiles), entries, cosignatures; the owners' documents; files for
 * hosts. All of it is open to everybody but /v1/entries: the log is made to be looked at. Must not serve a tile beyond
 * the published tree.
 */
#include "server/api.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "trust/json.h"
#include "trust/tile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ENTRIES_MAX 256
#define FILE_MAX (256u << 20)
#define FOREVER "Cache-Control: public, max-age=31536000, immutable"

void pc_api_log_checkpoint(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    uint64_t size;
    const char *text = pc_logview_offered(s->log, &size);
    if (!text)
        pc_api_error(r, 404, "empty", "the log has no checkpoint yet");
    else
        pc_http_answer(r, 200, "text/plain; charset=utf-8", NULL, text, strlen(text));
}

static int add_entry(void *ctx, uint64_t index, struct pc_store_blob entry)
{
    return pc_entries_add(ctx, entry.data, entry.len);
}

static int hash_tile(struct pc_server *s, const struct pc_tile *t, struct pc_buf *out)
{
    uint8_t hash[PC_TILE_WIDTH][PC_HASH_LEN];
    int n = s->store->ops->log_nodes(s->store, (uint8_t)(8 * t->level), t->index * PC_TILE_WIDTH, t->width, hash);
    if (n < 0)
        return n;
    return n == t->width ? pc_buf_add(out, hash, (size_t)n * PC_HASH_LEN) : PC_E_NOTFOUND;
}

void pc_api_tile(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    char path[PC_TILE_PATH_MAX];
    struct pc_tile t;
    uint64_t size;
    pc_logview_offered(s->log, &size);
    snprintf(path, sizeof path, "tile/%s", rest);
    if (strlen(rest) >= sizeof path - 5 || pc_tile_path_parse(path, &t) < 0 ||
        t.width > pc_tile_width(size, t.level, t.index)) {
        pc_api_error(r, 404, "tile", "no such tile");
        return;
    }
    struct pc_buf out _buf_free_;
    pc_buf_init(&out, PC_TILE_WIDTH * (PC_ENTRY_MAX + 2u));
    int ret = t.entries ? s->store->ops->log_entries(s->store, t.index * PC_TILE_WIDTH, t.width, add_entry, &out)
                        : hash_tile(s, &t, &out);
    if (ret < 0)
        pc_api_failed(r, ret);
    else
        pc_http_answer(r, 200, "application/octet-stream", t.width == PC_TILE_WIDTH ? FOREVER : NULL,
                       out.data ? out.data : "", out.len);
}

static int list_entry(void *ctx, uint64_t index, struct pc_store_blob entry)
{
    return json_array_append_new(ctx, json_pack("{s:I,s:o}", "index", (json_int_t)index, "entry",
                                                pc_json_base64_new(entry.data, entry.len))) < 0
               ? -ENOMEM
               : 0;
}

void pc_api_entries(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    char text[24];
    uint64_t from = 0;
    if (pc_http_query(r, "from", text, sizeof text) && pc_parse_u64(text, 0, PC_JSON_NUMBER_MAX, &from) < 0) {
        pc_api_error(r, 400, "from", "from must be the number of an entry");
        return;
    }
    json_t *list = json_array();
    int ret = list ? s->store->ops->log_entries(s->store, from, ENTRIES_MAX, list_entry, list) : -ENOMEM;
    if (ret < 0) {
        json_decref(list);
        pc_api_failed(r, ret);
        return;
    }
    pc_api_json(r, 200, list);
}

/* --- cosignatures ------------------------------------------------------------------------------------------------- */

struct cosign_job {
    struct pc_job job;
    uint64_t size;
    char *note;
};

/* The size in a note: its second line. */
static uint64_t size_of(const char *note)
{
    const char *line = strchr(note, '\n');
    return line ? strtoull(line + 1, NULL, 10) : 0;
}

static int cosign_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    struct cosign_job *j = (struct cosign_job *)job;
    _free_ void *there = NULL;
    size_t len;
    int ret = s->ops->get(s, PC_KEY_COSIGNED, &there, &len);
    if (ret == PC_E_NOTFOUND || (ret == 0 && size_of(there) <= j->size))
        ret = s->ops->put(s, PC_KEY_COSIGNED, (struct pc_store_blob){j->note, strlen(j->note)});
    if (ret == 0)
        ret = s->ops->cosign(s, j->size, j->note);
    return ret == PC_E_CHANGED ? 0 : ret; /* the log has grown: the next one gets its own cosignatures */
}

static void cosign_done(struct pc_job *job, int result)
{
    free(((struct cosign_job *)job)->note);
    free(job);
}

/* So that hosts of other processes, and after a restart ours, get a cosigned checkpoint at once. */
static void keep_cosigned(struct pc_server *s)
{
    struct cosign_job *j = calloc(1, sizeof *j);
    if (j)
        j->note = strdup(pc_logview_text(s->log));
    if (!j || !j->note) {
        free(j);
        return;
    }
    j->size = pc_logview_size(s->log);
    j->job.run = cosign_run;
    j->job.done = cosign_done;
    if (pc_writer_submit(s->writer, &j->job) < 0)
        cosign_done(&j->job, 0);
}

void pc_api_cosign(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    size_t len;
    const char *note = pc_http_body(r, &len);
    int ret = pc_logview_cosign(s->log, note, len, pc_server_now());
    if (ret == PC_E_CHANGED) {
        pc_api_error(r, 409, "checkpoint",
                     "this is not the checkpoint that waits for cosignatures; GET /log/checkpoint has it");
        return;
    }
    if (ret < 0) {
        pc_api_error(r, 400, "cosignature", "no new good cosignature of a witness of the trust file: %s",
                     pc_strerror(ret));
        return;
    }
    if (ret == 1)
        keep_cosigned(s);
    pc_api_json(r, 200, json_pack("{s:b}", "published", ret == 1));
}

/* --- owners' documents and files ---------------------------------------------------------------------------------- */

static void envelope(struct pc_http_request *r, const char *json)
{
    if (json)
        pc_http_answer(r, 200, "application/json", NULL, json, strlen(json));
    else
        pc_api_error(r, 404, "none", "there is none yet");
}

void pc_api_trust(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    envelope(r, s->policy->trust_json);
}

void pc_api_statement(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    envelope(r, s->policy->statement_json);
}

/* Packages for agent.upgrade; what they are worth is in the order (SHA-256), not here. */
void pc_api_file(struct pc_server *s, struct pc_http_request *r, const char *rest)
{
    _close_ int dir = openat(s->state->dir_fd, "files", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    _close_ int fd = dir < 0 ? -1 : pc_open_beneath(dir, rest, O_RDONLY, 0);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
        pc_api_error(r, 404, "file", "no such file");
        return;
    }
    pc_http_answer_file(r, "application/octet-stream", TAKE_FD(fd), (size_t)st.st_size);
}
