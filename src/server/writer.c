/*
 * Owns the writing thread: the queue of jobs, groups, transactions, the edge of the log's tree and the log's key. Must
 * not know what a job does, nor touch anything of the loop but the list of finished jobs.
 */
#include "server/writer.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "trust/checkpoint.h"
#include "trust/tile.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

/* Another appender may be faster; each time means that somebody made progress. */
#define ATTEMPTS 20

struct entry_name {
    const char *type; /* NULL: nobody will look for it */
    char order_sha256[65];
};

struct pc_log_batch {
    int64_t time;
    uint64_t at; /* size of the tree before this group */
    size_t n, cap;
    size_t bytes; /* of the entries */
    struct pc_store_blob *entry;
    struct entry_name *name; /* of each entry */
    struct pc_merkle_frontier edge;
    struct pc_store_node *nodes;
    size_t n_nodes, cap_nodes;
    char *told[PC_GROUP_MAX];
    size_t n_told;
};

struct queue {
    struct pc_job *first, *last;
    uint32_t n;
};

/* What goes from thread to loop: the finished group, and the checkpoint it made. */
struct head {
    uint64_t size;
    char *text; /* NULL: none */
};

struct pc_writer {
    struct pc_store *store;
    struct pc_skey key;
    struct event_base *base;
    struct event *event;
    int wake_fd;
    void (*head)(void *ctx, uint64_t size, const char *text);
    void *ctx;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    /* under the lock */
    struct queue waiting, finished;
    struct head newest;
    struct pc_writer_counters counters;
    bool sign_again, stop;
    /* the thread's own */
    struct pc_log_batch batch;
    bool edge_known;
    bool one_by_one;                       /* the group at hand: run_many had a complaint about one of them */
    struct pc_job *side_by_side[PC_GROUP_MAX];
    bool joined; /* the loop's: the thread has ended */
};

static void push(struct queue *q, struct pc_job *job)
{
    job->next = NULL;
    if (q->last)
        q->last->next = job;
    else
        q->first = job;
    q->last = job;
    q->n++;
}

/* These n, from first to last, behind the urgent ones that are there. */
static void push_ahead(struct queue *q, struct pc_job *first, struct pc_job *last, uint32_t n)
{
    struct pc_job **at = &q->first;
    while (*at && (*at)->urgent)
        at = &(*at)->next;
    last->next = *at;
    *at = first;
    if (!last->next)
        q->last = last;
    q->n += n;
}

static struct pc_job *pop(struct queue *q)
{
    struct pc_job *job = q->first;
    if (!job)
        return NULL;
    q->first = job->next;
    if (!q->first)
        q->last = NULL;
    q->n--;
    return job;
}

/* --- the log's part of a group ------------------------------------------------------------------------------------ */

int64_t pc_log_time(const struct pc_log_batch *log)
{
    return log->time;
}

static int grow(struct pc_log_batch *log)
{
    size_t cap = log->cap ? log->cap * 2 : PC_GROUP_MAX;
    if (log->n < log->cap)
        return 0;
    if (cap > PC_GROUP_ENTRIES)
        return -EAGAIN;
    struct pc_store_blob *entry = realloc(log->entry, cap * sizeof *entry);
    if (!entry)
        return -ENOMEM;
    log->entry = entry;
    struct entry_name *name = realloc(log->name, cap * sizeof *name);
    if (!name)
        return -ENOMEM;
    log->name = name;
    log->cap = cap;
    return 0;
}

int pc_log_add(struct pc_log_batch *log, const void *entry, size_t len, const char *order_sha256, const char *type,
               uint64_t *index)
{
    if (len > PC_ENTRY_MAX)
        return PC_E_RANGE;
    int ret = grow(log);
    if (ret < 0)
        return ret;
    void *copy = malloc(len ? len : 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, entry, len);
    log->entry[log->n] = (struct pc_store_blob){copy, len};
    log->name[log->n].type = type;
    if (type)
        snprintf(log->name[log->n].order_sha256, sizeof log->name[0].order_sha256, "%s", order_sha256);
    *index = log->at + log->n++;
    log->bytes += len;
    return 0;
}

int pc_log_tell(struct pc_log_batch *log, const char *word, const char *what)
{
    char text[PC_STORE_NOTIFY_MAX + 1];
    int len = snprintf(text, sizeof text, "%s %s", word, what);
    if (len >= (int)sizeof text || log->n_told >= PC_ARRAY_SIZE(log->told))
        return PC_E_LIMIT;
    for (size_t i = 0; i < log->n_told; i++)
        if (strcmp(log->told[i], text) == 0)
            return 0;
    char *copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    log->told[log->n_told++] = copy;
    return 0;
}

static int tell(struct pc_writer *w)
{
    int ret = 0;
    for (size_t i = 0; i < w->batch.n_told && ret == 0; i++)
        ret = w->store->ops->notify(w->store, w->batch.told[i]);
    return ret;
}

static void empty_batch(struct pc_log_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        free((void *)(uintptr_t)b->entry[i].data);
    for (size_t i = 0; i < b->n_told; i++)
        free(b->told[i]);
    b->n = b->n_nodes = b->n_told = b->bytes = 0;
}

static int keep_node(void *ctx, unsigned level, uint64_t index, const uint8_t hash[PC_HASH_LEN])
{
    struct pc_log_batch *b = ctx;
    if (b->n_nodes == b->cap_nodes) {
        size_t cap = b->cap_nodes ? b->cap_nodes * 2 : 256;
        struct pc_store_node *grown = realloc(b->nodes, cap * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        b->nodes = grown;
        b->cap_nodes = cap;
    }
    struct pc_store_node *node = &b->nodes[b->n_nodes++];
    *node = (struct pc_store_node){.level = (uint8_t)level, .index = index};
    memcpy(node->hash, hash, PC_HASH_LEN);
    return 0;
}

static int read_node(void *ctx, unsigned level, uint64_t index, uint8_t out[PC_HASH_LEN])
{
    struct pc_store *s = ctx;
    return s->ops->log_node(s, (uint8_t)level, index, out);
}

/* The edge is kept from group to group; it is read again when another process appended, or a group failed. */
static int load_edge(struct pc_writer *w)
{
    uint64_t size;
    int ret = w->store->ops->log_size(w->store, &size);
    if (ret < 0)
        return ret;
    w->batch.at = size;
    if (w->edge_known && w->batch.edge.size == size)
        return 0;
    ret = pc_merkle_frontier_load(size, read_node, w->store, &w->batch.edge);
    w->edge_known = ret == 0;
    return ret;
}

static int sign(struct pc_writer *w, const struct pc_merkle_frontier *edge, struct pc_buf *out)
{
    struct pc_checkpoint c = {.size = edge->size, .time = w->batch.time};
    memcpy(c.origin, w->key.pub.name,
           sizeof c.origin < sizeof w->key.pub.name ? sizeof c.origin : sizeof w->key.pub.name);
    pc_merkle_frontier_root(edge, c.root);
    struct pc_buf text _buf_free_;
    pc_buf_init(&text, PC_CHECKPOINT_MAX);
    int ret = pc_checkpoint_format(&c, &text);
    return ret < 0 ? ret : pc_note_sign(text.data, text.len, &w->key, out);
}

/* Appends what the jobs added. *size and note become the new checkpoint. */
static int append(struct pc_writer *w, struct pc_buf *note)
{
    struct pc_log_batch *b = &w->batch;
    struct pc_merkle_frontier edge = b->edge;
    int ret = 0;
    for (size_t i = 0; i < b->n && ret == 0; i++) {
        uint8_t leaf[PC_HASH_LEN];
        pc_merkle_leaf(b->entry[i].data, b->entry[i].len, leaf);
        ret = pc_merkle_append(&edge, leaf, keep_node, b);
    }
    if (ret == 0)
        ret = sign(w, &edge, note);
    if (ret == 0)
        ret = w->store->ops->log_append(w->store, b->at, b->entry, b->n, b->nodes, b->n_nodes, note->data);
    for (size_t i = 0; i < b->n && ret == 0; i++)
        if (b->name[i].type)
            ret = w->store->ops->log_name(w->store, b->name[i].order_sha256, b->name[i].type, b->at + i);
    if (ret == 0)
        b->edge = edge;
    return ret;
}

/* --- groups ------------------------------------------------------------------------------------------------------- */

/* What is wrong with the database or the moment is everybody's; else the group goes on without this job. */
static int spoil(struct pc_job *job)
{
    if (pc_store_away(job->result))
        return job->result;
    job->spoilt = true;
    return PC_E_CHANGED; /* roll back and do the others again */
}

static int run_one(struct pc_writer *w, struct pc_job *job)
{
    job->result = job->run ? job->run(job, w->store, &w->batch) : 0;
    /* Our own answers refuse one job; the database's failures (-EIO, -ENOSPC, ...) spoil the transaction. */
    return job->result < 0 && job->result >= -4095 ? spoil(job) : 0;
}

static int run_side_by_side(struct pc_writer *w, size_t n)
{
    struct pc_job **jobs = w->side_by_side;
    int ret = jobs[0]->run_many(jobs, n, w->store, &w->batch);
    if (ret >= 0 || pc_store_away(ret))
        return ret < 0 ? ret : 0;
    w->one_by_one = true;
    return PC_E_CHANGED;
}

/* This job, and those after it that can run together with it; *next: the one after them. */
static int run_some(struct pc_writer *w, struct pc_job *job, struct pc_job **next)
{
    size_t n = 0;
    struct pc_job *at = job;
    for (; at && !at->spoilt && at->run_many && at->run_many == job->run_many; at = at->next)
        w->side_by_side[n++] = at;
    if (n < 2 || w->one_by_one) {
        *next = job->next;
        return job->spoilt ? 0 : run_one(w, job);
    }
    *next = at;
    return run_side_by_side(w, n);
}

/* The group is large enough: this job and those after it are the next one, behind what is urgent. */
static void put_back(struct pc_writer *w, struct queue *group, struct pc_job *rest)
{
    struct pc_job *last = group->first, *end = group->last;
    uint32_t n = 1;
    for (; last->next != rest; last = last->next)
        n++;
    last->next = NULL;
    group->last = last;
    pthread_mutex_lock(&w->lock);
    push_ahead(&w->waiting, rest, end, group->n - n);
    w->counters.waiting = w->waiting.n;
    pthread_mutex_unlock(&w->lock);
    group->n = n;
}

static int run_group(struct pc_writer *w, struct queue *group, bool always_sign, struct pc_buf *note)
{
    struct pc_store *s = w->store;
    empty_batch(&w->batch);
    w->batch.time = (int64_t)time(NULL);
    int ret = s->ops->begin(s);
    if (ret < 0)
        return ret;
    ret = load_edge(w);
    for (struct pc_job *job = group->first, *next; job && ret == 0; job = next) {
        ret = run_some(w, job, &next);
        if (ret == 0 && next && w->batch.bytes >= PC_GROUP_BYTES) {
            put_back(w, group, next);
            next = NULL;
        }
    }
    if (ret == 0)
        ret = tell(w);
    if (ret == 0 && (w->batch.n || always_sign))
        ret = append(w, note);
    if (ret == 0)
        ret = s->ops->commit(s);
    else
        s->ops->rollback(s);
    if (ret < 0)
        w->edge_known = false;
    return ret;
}

/* Runs a group until it is committed or cannot be. */
static int commit_group(struct pc_writer *w, struct queue *group, bool always_sign, struct pc_buf *note,
                        uint64_t *retries)
{
    int ret = PC_E_CHANGED;
    w->one_by_one = false;
    for (uint32_t i = 0; i < ATTEMPTS + group->n; i++) {
        pc_buf_reset(note);
        ret = run_group(w, group, always_sign, note);
        /* -EAGAIN: another process was in the way. -EIO once: a lost connection is made anew by begin(). */
        bool again = ret == PC_E_CHANGED || ret == -EAGAIN || (ret == -EIO && i == 0);
        if (!again)
            break;
        (*retries)++;
    }
    return ret;
}

static void add_ms(struct timespec *t, long ms)
{
    t->tv_nsec += ms * 1000000L;
    t->tv_sec += t->tv_nsec / 1000000000L;
    t->tv_nsec %= 1000000000L;
}

/* Called with the lock held. false: stop, nothing is left. */
static bool wait_for_group(struct pc_writer *w, struct queue *group)
{
    while (!w->waiting.first && !w->sign_again && !w->stop)
        pthread_cond_wait(&w->more, &w->lock);
    if (!w->waiting.first && !w->sign_again)
        return false;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    add_ms(&until, PC_GROUP_WAIT_MS);
    while (w->waiting.n < PC_GROUP_MAX && !w->stop && pthread_cond_timedwait(&w->more, &w->lock, &until) == 0)
        ;
    while (group->n < PC_GROUP_MAX && w->waiting.first)
        push(group, pop(&w->waiting));
    w->counters.waiting = w->waiting.n;
    return true;
}

/* Called with the lock held. */
static void finish(struct pc_writer *w, struct queue *group, int ret, uint64_t took, struct pc_buf *note)
{
    w->counters.groups++;
    w->counters.jobs += group->n;
    w->counters.commit_ns += took;
    w->counters.last_error = ret;
    if (ret < 0)
        w->counters.failed_groups++;
    else
        w->counters.entries += w->batch.n;
    for (struct pc_job *job = pop(group); job; job = pop(group)) {
        if (ret < 0)
            job->result = ret;
        push(&w->finished, job);
    }
    if (ret == 0 && note->len) {
        char *text = strdup(note->data);
        if (text) {
            free(w->newest.text);
            w->newest = (struct head){.size = w->batch.edge.size, .text = text};
        }
    }
}

static void *writing(void *arg)
{
    struct pc_writer *w = arg;
    struct queue group = {0};
    struct pc_buf note _buf_free_;
    int given_up = 0; /* at the end: why nothing more is tried */
    pthread_setname_np(pthread_self(), "writer");
    pc_buf_init(&note, PC_NOTE_MAX);
    pthread_mutex_lock(&w->lock);
    while (wait_for_group(w, &group)) {
        bool sign_again = w->sign_again;
        uint64_t retries = 0;
        w->sign_again = false;
        uint64_t from = w->counters.since = pc_mono_ns();
        pthread_mutex_unlock(&w->lock);
        pc_buf_reset(&note);
        int ret = given_up ? given_up : commit_group(w, &group, sign_again, &note, &retries);
        uint64_t took = pc_mono_ns() - from;
        pthread_mutex_lock(&w->lock);
        w->counters.since = 0;
        w->counters.retries += retries;
        if (w->stop && pc_store_away(ret))
            given_up = ret; /* else the end would take as long as each of them */
        finish(w, &group, ret, took, &note);
        eventfd_write(w->wake_fd, 1);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* --- the loop's side ---------------------------------------------------------------------------------------------- */

static void deliver(struct pc_writer *w)
{
    pthread_mutex_lock(&w->lock);
    struct queue done = w->finished;
    struct head head = w->newest;
    w->finished = (struct queue){0};
    w->newest = (struct head){0};
    pthread_mutex_unlock(&w->lock);
    if (head.text)
        w->head(w->ctx, head.size, head.text);
    free(head.text);
    for (struct pc_job *job = pop(&done); job; job = pop(&done))
        job->done(job, job->result);
}

static void on_wake(evutil_socket_t fd, short events, void *arg)
{
    if (eventfd_read(fd, &(eventfd_t){0}) == 0)
        deliver(arg);
}

int pc_writer_submit(struct pc_writer *w, struct pc_job *job)
{
    pthread_mutex_lock(&w->lock);
    int ret = w->waiting.n >= PC_JOBS_MAX ? PC_E_LIMIT : w->stop ? PC_E_STATE : 0;
    if (ret == 0) {
        if (job->urgent)
            push_ahead(&w->waiting, job, job, 1);
        else
            push(&w->waiting, job);
        w->counters.waiting = w->waiting.n;
        if (w->waiting.n == 1 || w->waiting.n >= PC_GROUP_MAX)
            pthread_cond_signal(&w->more);
    }
    pthread_mutex_unlock(&w->lock);
    return ret;
}

void pc_writer_sign_again(struct pc_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->sign_again = true;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

void pc_writer_counters(struct pc_writer *w, struct pc_writer_counters *out)
{
    pthread_mutex_lock(&w->lock);
    *out = w->counters;
    pthread_mutex_unlock(&w->lock);
}

static void free_writer(struct pc_writer *w)
{
    if (w->store)
        w->store->ops->close(w->store);
    if (w->event)
        event_free(w->event);
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    empty_batch(&w->batch);
    free(w->batch.nodes);
    free(w->batch.entry);
    free(w->batch.name);
    free(w->newest.text);
    OPENSSL_cleanse(&w->key, sizeof w->key);
    free(w);
}

static int set_up(struct pc_writer *w, const char *where, char *why, size_t why_len)
{
    uint32_t version;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->more, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->lock, NULL);
    int ret = pc_store_connect(where, &w->store, why, why_len);
    if (ret < 0)
        return ret;
    ret = w->store->ops->migrate(w->store, &version);
    if (ret < 0) {
        snprintf(why, why_len, "database: %s", w->store->ops->error(w->store));
        return ret;
    }
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->event = w->wake_fd < 0 ? NULL : event_new(w->base, w->wake_fd, EV_READ | EV_PERSIST, on_wake, w);
    if (!w->event || event_add(w->event, NULL) < 0)
        return -ENOMEM;
    return 0;
}

int pc_writer_start(struct event_base *base, const char *where, const struct pc_skey *key,
                    void (*head)(void *ctx, uint64_t size, const char *text), void *ctx, struct pc_writer **out,
                    char *why, size_t why_len)
{
    struct pc_writer *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->base = base;
    w->key = *key;
    w->head = head;
    w->ctx = ctx;
    w->wake_fd = -1;
    int ret = set_up(w, where, why, why_len);
    if (ret == 0)
        ret = -pthread_create(&w->thread, NULL, writing, w);
    if (ret < 0) {
        free_writer(w);
        return ret;
    }
    *out = w;
    return 0;
}

void pc_writer_drain(struct pc_writer *w)
{
    if (!w || w->joined)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    w->joined = true;
    deliver(w);
}

void pc_writer_stop(struct pc_writer *w)
{
    if (!w)
        return;
    pc_writer_drain(w);
    free_writer(w);
}
