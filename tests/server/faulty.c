/* A database that fails when it is told to, and an owner's orders. */
#include "faulty.h"

#include "base/cleanup.h"
#include "trust/sha256.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct faults faults;
static const struct pc_store_ops *real;
static struct pc_store_ops failing;
static pthread_t loop;
unsigned faulty_number;
static _Atomic bool stopped;
static sem_t is_there, may_go;
static _Atomic size_t largest;

/* --- a database that fails ---------------------------------------------------------------------------------------- */

static bool on_loop(void)
{
    return pthread_equal(pthread_self(), loop);
}

static bool fails(void)
{
    return faults.away && on_loop();
}

static int order_get(struct pc_store *s, const char *sha, struct pc_store_order *out, void **document, size_t *len)
{
    return fails() ? -EIO : real->order_get(s, sha, out, document, len);
}

static int pending(struct pc_store *s, const char *host, int64_t now, int (*each)(void *, const struct pc_store_order *),
                   void *ctx)
{
    return fails() ? -EIO : real->pending(s, host, now, each, ctx);
}

static int get(struct pc_store *s, const char *key, void **value, size_t *len)
{
    bool this_one = faults.key && on_loop() && strcmp(key, faults.key) == 0;
    return fails() || this_one ? -EIO : real->get(s, key, value, len);
}

static int orders_open(struct pc_store *s, const char *after, uint32_t max,
                       int (*each)(void *, const struct pc_store_order *), void *ctx)
{
    return fails() ? -EIO : real->orders_open(s, after, max, each, ctx);
}

static int token_check(struct pc_store *s, const char *sha, int64_t now, char kind[16])
{
    return faults.no_tokens ? -EIO : real->token_check(s, sha, now, kind);
}

static int host_by_name(struct pc_store *s, const char *name, struct pc_store_host *out)
{
    return fails() ? -EIO : real->host_by_name(s, name, out);
}

static int latest(struct pc_store *s, const char *host_id, const char *action, const struct pc_store_blob *set,
                  void **envelope, size_t *len)
{
    return faults.no_latest && on_loop() ? -EIO : real->latest(s, host_id, action, set, envelope, len);
}

static int checkpoint(struct pc_store *s, uint64_t size, char **text)
{
    return fails() ? -EIO : real->checkpoint(s, size, text);
}

static int begin(struct pc_store *s)
{
    if (!on_loop() && stopped) {
        sem_post(&is_there);
        sem_wait(&may_go);
    }
    if (!on_loop() && !faults.answers_lost && faults.begins_refused > 0) {
        faults.begins_refused--;
        return -EIO;
    }
    return real->begin(s);
}

static int commit(struct pc_store *s)
{
    if (!on_loop() && faults.commits_refused > 0) {
        faults.commits_refused--;
        real->rollback(s);
        return -EIO;
    }
    int ret = real->commit(s);
    if (ret == 0 && !on_loop() && faults.answers_lost > 0) {
        faults.answers_lost--;
        return -EIO;
    }
    return ret;
}

static int log_append(struct pc_store *s, uint64_t at, const struct pc_store_blob *entries, size_t n,
                      const struct pc_store_node *nodes, size_t n_nodes, const char *text)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += entries[i].len;
    if (bytes > largest)
        largest = bytes;
    return real->log_append(s, at, entries, n, nodes, n_nodes, text);
}

void faulty_stop_writer(struct pc_server *s)
{
    stopped = true;
    pc_writer_sign_again(s->writer);
    sem_wait(&is_there);
}

void faulty_let_writer_go(void)
{
    if (!stopped)
        return;
    stopped = false;
    sem_post(&may_go);
}

size_t faulty_largest_append(void)
{
    return largest;
}

uint64_t __real_pc_mono_ns(void);
uint64_t __wrap_pc_mono_ns(void);
uint64_t __wrap_pc_mono_ns(void)
{
    return __real_pc_mono_ns() + (on_loop() ? faults.later : 0);
}

int __real_pc_store_connect(const char *where, struct pc_store **out, char *why, size_t why_len);
int __wrap_pc_store_connect(const char *where, struct pc_store **out, char *why, size_t why_len);
int __wrap_pc_store_connect(const char *where, struct pc_store **out, char *why, size_t why_len)
{
    int ret = __real_pc_store_connect(where, out, why, why_len);
    if (ret < 0)
        return ret;
    real = (*out)->ops;
    failing = *real;
    failing.order_get = order_get;
    failing.pending = pending;
    failing.get = get;
    failing.orders_open = orders_open;
    failing.token_check = token_check;
    failing.host_by_name = host_by_name;
    failing.latest = latest;
    failing.checkpoint = checkpoint;
    failing.log_append = log_append;
    failing.begin = begin;
    failing.commit = commit;
    (*out)->ops = &failing;
    return 0;
}

struct pc_server *faulty_server(void)
{
    static bool once;
    loop = pthread_self();
    faults = (struct faults){0};
    if (!once) {
        sem_init(&is_there, 0, 0);
        sem_init(&may_go, 0, 0);
        once = true;
    }
    return fake_server();
}

void faulty_second(struct pc_server *s)
{
    pc_server_second(s);
    fake_settle();
}

static struct pc_conn *host;

bool faulty_host_is_there(void)
{
    return host && fake_open(host);
}

struct pc_conn *faulty_host(void)
{
    if (!faulty_host_is_there()) {
        host = fake_connect(0);
        fake_hello(host);
        fake_settle();
    }
    return host;
}

/* --- an owner's orders -------------------------------------------------------------------------------------------- */

static char *document_of(const char *class_, const char *more, size_t *len)
{
    char *text, from[PC_TIME_SIZE], until[PC_TIME_SIZE];
    faulty_number++;
    pc_time_format(pc_server_now() - 3600, from);
    pc_time_format(pc_server_now() + 86400, until);
    int n = asprintf(&text,
                     "{\"portcullis\":\"order/1\",\"id\":\"%032x\",\"tenant\":\"acme\",\"class\":\"%s\",%s,\"hosts\":[\"%s\"],"
                     "\"count\":1,\"not_before\":\"%s\",\"expires\":\"%s\",\"sequence\":%u,\"says\":\"s\"}",
                     faulty_number, class_, more, fake_ref(0), from, until, faulty_number);
    if (n < 0)
        abort();
    *len = (size_t)n;
    return text;
}

int faulty_order(const char *class_, const char *more, unsigned owners, char sha[PC_SHA256_HEX + 1])
{
    size_t len;
    _free_ char *document = document_of(class_, more, &len);
    _free_ char *envelope = fake_envelope("order@portcullis", owners, document, len);
    pc_sha256_text(document, len, sha);
    return fake_request(true, "/v1/orders", "operate", envelope, strlen(envelope));
}

int faulty_script(char sha[PC_SHA256_HEX + 1])
{
    return faulty_order(
        "C", "\"action\":\"script.run\",\"params\":{\"argv\":[\"/bin/true\"],\"timeout\":60,\"output\":1000}", 3, sha);
}

int faulty_stop(char sha[PC_SHA256_HEX + 1])
{
    return faulty_order("S", "\"action\":\"host.isolate\",\"params\":{\"allow\":[],\"seconds\":60}", 1, sha);
}

void faulty_standing(char body[100])
{
    char sha[PC_SHA256_HEX + 1];
    if (faulty_order("B",
                     "\"action\":\"package.update\",\"params\":{\"security\":true,\"timeout\":600},\"standing\":"
                     "{\"days\":[\"mon\"],\"from\":\"00:00\",\"until\":\"23:59\",\"every\":60}",
                     3, sha) != 200)
        abort();
    snprintf(body, 100, "{\"order_sha256\":\"%s\"}", sha);
}
