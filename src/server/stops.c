/*
 * Owns the fast way of a stop: to the hosts that are connected here before anything is written, and through a row in
 * the store to other server processes before the order and its thousands of hosts are. What becomes of it afterwards
 * (log, states, hosts that connect later) is the way of every order, intake.c's and deliver.c's.
 */
#include "server/intake.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (4u << 20)
#define KEY_SIZE (5 + PC_SHA256_HEX + 1)

static void key_of(const char *sha256, char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "stop/%s", sha256);
}

bool pc_stop_send(struct pc_server *s, const struct pc_order_body *b)
{
    struct pc_approvers approvers;
    char why[256];
    enum pc_check check = pc_server_policy_check_order(s->policy, &b->order, &b->e, 0, pc_server_now(), &approvers, why,
                                                       sizeof why);
    if (check != PC_CHECK_OK || approvers.n < s->policy->trust.threshold[PC_CLASS_S])
        return false;
    uint32_t sent = pc_deliver_stop(s, &b->order, &b->e, b->hosts, b->n);
    pc_server_log("stop", "%s %.16s: sent to %u of %u hosts", b->order.action, b->e.sha256, sent, b->n);
    return true;
}

/* --- to other processes ------------------------------------------------------------------------------------------- */

struct announcement {
    struct pc_job job;
    struct pc_server *server;
    void (*then)(void *ctx); /* NULL: it is to be dropped again */
    void *ctx;
    char sha256[PC_SHA256_HEX + 1];
    size_t len;
    char body[];
};

static int announce_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    const struct announcement *a = (const struct announcement *)job;
    char key[KEY_SIZE], what[PC_SHA256_HEX + 1 + sizeof a->server->name];
    key_of(a->sha256, key);
    snprintf(what, sizeof what, "%s %s", a->sha256, a->server->name);
    int ret = s->ops->put(s, key, (struct pc_store_blob){a->body, a->len});
    return ret < 0 ? ret : pc_log_tell(log, "stop", what);
}

static int forget_run(struct pc_job *job, struct pc_store *s, struct pc_log_batch *log)
{
    char key[KEY_SIZE];
    key_of(((const struct announcement *)job)->sha256, key);
    return s->ops->drop(s, key);
}

/* Failed or not, the stop itself goes on: others will hear of it with its entry in the log. */
static void announced(struct pc_job *job, int result)
{
    struct announcement *a = (struct announcement *)job;
    if (result < 0)
        pc_server_log("stop", "%.16s: other servers could not be told ahead: %s", a->sha256, pc_strerror(result));
    if (a->then)
        a->then(a->ctx);
    free(a);
}

static int submit(struct pc_server *s, const char *sha256, const void *body, size_t len, void (*then)(void *ctx),
                  void *ctx)
{
    struct announcement *a = calloc(1, sizeof *a + len);
    if (!a)
        return -ENOMEM;
    a->job = (struct pc_job){.run = then ? announce_run : forget_run, .done = announced, .urgent = then != NULL};
    a->server = s;
    a->then = then;
    a->ctx = ctx;
    snprintf(a->sha256, sizeof a->sha256, "%s", sha256);
    a->len = len;
    if (len)
        memcpy(a->body, body, len);
    int ret = pc_writer_submit(s->writer, &a->job);
    if (ret < 0)
        free(a);
    return ret;
}

int pc_stop_announce(struct pc_server *s, const char *sha256, const void *body, size_t len, void (*then)(void *ctx),
                     void *ctx)
{
    return s->notify_fd == PC_E_UNSUPPORTED ? PC_E_NOTFOUND : submit(s, sha256, body, len, then, ctx);
}

/* A row that cannot be dropped now stays: nobody looks at it again. */
void pc_stop_forget(struct pc_server *s, const char *sha256)
{
    if (s->notify_fd != PC_E_UNSUPPORTED)
        submit(s, sha256, NULL, 0, NULL, NULL);
}

/* --- from other processes ----------------------------------------------------------------------------------------- */

uint64_t pc_stop_links(struct pc_server *s, const char *sha256)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(s->stop); i++)
        if (strcmp(s->stop[i].sha256, sha256) == 0)
            return s->stop[i].links;
    return 0;
}

static void read_and_send(struct pc_server *s, const char *sha256, const void *text, size_t len)
{
    struct pc_order_body b = {0};
    char why[256] = "";
    uint64_t links = pc_hub_links(s->hub);
    _json_ json_t *body = NULL;
    int ret = pc_json_parse(text, len, BODY_MAX, &body, (struct pc_why){why, sizeof why});
    bool good = ret == 0 && pc_order_body_read(body, &b, why, sizeof why) == PC_CHECK_OK &&
                b.order.class_ == PC_CLASS_S && strcmp(b.e.sha256, sha256) == 0 && pc_stop_send(s, &b);
    if (good) {
        size_t at = s->stops++ % PC_ARRAY_SIZE(s->stop);
        snprintf(s->stop[at].sha256, sizeof s->stop[at].sha256, "%s", sha256);
        s->stop[at].links = links;
    } else {
        pc_server_log("stop", "%.16s, of which another server told, is none that its quorum signed: %s", sha256, why);
    }
    pc_order_body_clear(&b);
}

void pc_stop_told(struct pc_server *s, const char *what)
{
    char sha256[PC_SHA256_HEX + 1], key[KEY_SIZE];
    _free_ void *text = NULL;
    size_t len;
    if (!s->policy->has_trust || !pc_told_by_other(s, what, sha256))
        return;
    key_of(sha256, key);
    int ret = s->store->ops->get(s->store, key, &text, &len);
    if (ret == 0)
        read_and_send(s, sha256, text, len);
    else if (ret != PC_E_NOTFOUND) /* then it is in the log by now, and "ready" follows */
        pc_server_log("stop", "%.16s, of which another server told, cannot be read: %s", sha256, pc_strerror(ret));
}
