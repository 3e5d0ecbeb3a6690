/*
 * Owns on-open's copies: which open has to wait for one, the copier threads that make them, and what becomes of a copy
 * that is made. gate_decide.c hands jobs to the copiers by the ring in
 * struct pc_gate; they answer the opener and hand the copy to the main thread. Must not decide on suspects: a copier
 * lets nobody go while a gate is down. The copier threads touch no index: that is the main thread's.
 */
#include "agent/gate_impl.h"

#include "base/clock.h"
#include "base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

/*
 * Openers let go by the copiers themselves between two looks at events: what those write is to be seen before hundreds
 * more.
 */
#define UNSEEN_MAX 8
#define TELL_NS (10 * PC_NS_PER_S)

/* ---- which files ---- */

void pc_gate_see_to_unseen(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    for (;;) {
        pthread_mutex_lock(&q->lock);
        bool any = q->unseen_tos > 0;
        struct told_file f = {0};
        if (any)
            f = q->unseen_to[--q->unseen_tos];
        pthread_mutex_unlock(&q->lock);
        if (!any)
            return;
        const struct pc_volume *v = pc_volume_by_dev(g, f.st_dev);
        if (v) /* not known, or the index fails: told by status */
            (void)pc_store_written_unkept(g->store, v->id, &f.fh);
    }
}

void pc_gate_uncopied(struct pc_guard *g, const struct pc_volume *v, const struct held *h)
{
    if (h->kind == PC_OPEN_WRITE || h->kind == PC_OPEN_TRUNCATE)
        (void)pc_store_written_unkept(g->store, v->id, &h->fh); /* not known, or the index fails: told by status */
}

/*
 * Nothing of it has to be copied. Before it is asked about no more, and for who takes no file with several names, our
 * link goes; the next capture makes another one, and then it is asked about again.
 */
static void free_to_write(struct pc_guard *g, const struct pc_volume *v, const struct held *h, const struct stat *st,
                          const struct pc_known *known)
{
    bool writes = h->kind != PC_OPEN_READ;
    if (known && known->linked && st->st_nlink == 2 && (writes || h->single_link) &&
        pc_store_unlink_link(g->store, v->id, &h->fh, NULL) < 0)
        return; /* it stays a question, and has two names */
    if (writes || !known || !known->linked)
        pc_gate_spare(g->gate, st);
}

/*
 * on-open: must the file be preserved first, and how? gzip and xz read with O_NOFOLLOW and refuse a file with several
 * names: for them the content is copied and our link in the vault given up.
 */
bool pc_gate_needs_copy(struct pc_guard *g, const struct pc_volume *v, const struct held *h, const struct stat *st,
                        struct copy_job *job)
{
    struct pc_known known;
    int r = pc_store_lookup(g->store, v->id, &h->fh, &known);
    if (r == PC_E_NOTFOUND || (r == 0 && !pc_how_is_live(known.how)))
        free_to_write(g, v, h, st, r == 0 ? &known : NULL);
    if (r < 0 || !pc_how_is_live(known.how))
        return false;
    if (st->st_size == 0)
        return false;
    job->drop_link = h->single_link && st->st_nlink == 2;
    if (h->kind == PC_OPEN_READ && !job->drop_link)
        return false;
    bool append = h->kind == PC_OPEN_APPEND && (uint64_t)st->st_size > g->settings.append_limit_bytes;
    if (append && known.how == PC_HOW_LENGTH && pc_store_watched(g->store, v->id, known.version))
        return false; /* what is more than that length was appended, too */
    job->how = append ? PC_HOW_LENGTH : PC_HOW_COPY;
    if (append || (uint64_t)st->st_size <= g->settings.copy_limit_bytes)
        return true;
    if (h->kind == PC_OPEN_READ)
        return false; /* too large to copy for it: it sees two names, as any program does */
    pc_gate_uncopied(g, v, h);
    char path[PATH_MAX];
    pc_dir dir = pc_dirs_find(g->dirs, v->id, &known.parent);
    pc_folder_uncovered(g, dir ? pc_dirs_folder(g->dirs, dir) : UINT32_MAX,
                        pc_dirs_path(g->dirs, dir, known.name, path, sizeof path), -EFBIG);
    return false;
}

bool pc_gate_is_copied(const struct pc_gate *q, const struct copy_job *job)
{
    for (uint32_t i = q->job_head; i != q->job_tail; i++) {
        const struct copy_job *j = &q->job[i % q->held_max];
        if (!j->adopted && j->vol == job->vol && j->how == job->how && j->durable >= job->durable &&
            pc_fh_equal(&j->fh, &job->fh))
            return true;
    }
    return false;
}

/* ---- copiers ---- */

static bool take_job(struct pc_gate *q, uint32_t *at)
{
    pthread_mutex_lock(&q->lock);
    while (!atomic_load(&q->stop) && q->job_taken == q->job_tail)
        pthread_cond_wait(&q->work, &q->lock);
    bool got = q->job_taken != q->job_tail;
    if (got)
        *at = q->job_taken++ % q->held_max;
    pthread_mutex_unlock(&q->lock);
    return got && !atomic_load(&q->stop);
}

/* What changed under the copy may hold still the next time; a full disk stays full. */
static uint8_t failed_tries(int result)
{
    return result == PC_E_CHANGED ? 1 : COPY_TRIES;
}

void *pc_gate_copier(void *arg)
{
    struct pc_gate *q = arg;
    pc_gate_register_own(q);
    uint32_t at;
    while (take_job(q, &at)) {
        struct copy_job *j = &q->job[at];
        uint64_t began = pc_mono_ns();
        int r = pc_vault_copy_now(q->store, j->vol, j->fd, j->how, &j->copy);
        j->took_ns = pc_mono_ns() - began;
        if (r == 0 && j->durable)
            r = pc_vault_sync_copy(q->store, j->vol, &j->copy);
        if (r == 0 && j->how == PC_HOW_COPY) /* or each read and write of its opener would be a question */
            (void)pc_fan_ask_opens_only(q->ask_group, j->fd);
        pthread_mutex_lock(&q->lock);
        j->result = r;
        j->done = true;
        struct held *h = &q->held[j->slot];
        if (r < 0)
            h->tries = (uint8_t)(h->tries + failed_tries(r));
        if (h->state == HELD_PARKED) { /* answered by the deadline */
            j->let_go = h->kind == PC_OPEN_WRITE || h->kind == PC_OPEN_TRUNCATE;
            close(h->fd);
            *h = (struct held){.fd = -1};
        } else if (j->drop_link || atomic_load(&q->alert) || atomic_fetch_add(&q->unseen, 1) >= UNSEEN_MAX) {
            /*
             * For the main thread: our link has to go first, or the gate came down meanwhile, when the opener may be a
             * suspect. Hundreds of copies may end at once, too: then it looks first at what the last openers did.
             */
            h->state = HELD_WAITING;
            h->since_ns = pc_mono_ns();
        } else {
            pc_gate_answer(q, h, true);
        }
        pthread_mutex_unlock(&q->lock);
        pc_gate_wake(q->main_event);
    }
    return NULL;
}

/* ---- what they made (main thread) ---- */

/* A full disk fails every copy: each is counted, one in a while is told. */
static void say_not_copied(struct pc_guard *g, int err)
{
    struct pc_gate *q = g->gate;
    uint64_t now = pc_mono_ns();
    q->stats.copy_errors++;
    bool told = q->stats.copy_error == err && now - q->told_ns < TELL_NS;
    q->stats.copy_error = err;
    if (told)
        return;
    q->told_ns = now;
    pc_event(g->log, PC_LEVEL_ERROR, "not-preserved", NULL,
             "files are opened for writing before they can be preserved (%" PRIu64 " so far): %s", q->stats.copy_errors,
             pc_strerror(err));
}

/* The next finished copy. Small ones overtake a large one still being made; the ring's head follows in order. */
static bool take_copy(struct pc_gate *q, struct copy_job *out)
{
    bool got = false;
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = q->job_head; i != q->job_taken && !got; i++) {
        struct copy_job *j = &q->job[i % q->held_max];
        got = j->done && !j->adopted;
        if (!got)
            continue;
        j->adopted = true;
        *out = *j;
    }
    while (q->job_head != q->job_taken && q->job[q->job_head % q->held_max].adopted)
        q->job_head++;
    pthread_mutex_unlock(&q->lock);
    return got;
}

/* They do not wait for one failing copy after the other: each failure counts for all who waited for it. */
static void count_failure(struct pc_gate *q, const struct copy_job *j)
{
    pthread_mutex_lock(&q->lock);
    for (uint32_t i = 0; i < q->held_used; i++)
        if (q->held[i].state == HELD_FOLLOWS && pc_fh_equal(&q->held[i].fh, &j->fh))
            q->held[i].tries = (uint8_t)(q->held[i].tries + failed_tries(j->result));
    pthread_mutex_unlock(&q->lock);
}

void pc_gate_adopt(struct pc_guard *g)
{
    struct pc_gate *q = g->gate;
    struct copy_job j;
    while (take_copy(q, &j)) {
        struct pc_known known;
        int r = j.result;
        q->finished++;
        if (r < 0) {
            pc_store_copy_failed(g->store, j.vol, r);
            count_failure(q, &j);
        }
        if (r < 0 && j.let_go) /* another try is nobody's any more */
            (void)pc_store_written_unkept(g->store, j.vol, &j.fh);
        if (r == 0)
            r = pc_store_lookup(g->store, j.vol, &j.fh, &known);
        if (r == 0)
            r = pc_store_adopt_object(g->store, j.vol, &j.fh, &known.parent, known.name, &j.copy, NULL);
        if (r == 0 && j.drop_link)
            r = pc_store_unlink_link(g->store, j.vol, &j.fh, NULL);
        if (r == 0) {
            q->stats.copied++;
            pc_capture_was_copied(g, &j.fh, j.took_ns);
        } else {
            say_not_copied(g, r);
        }
    }
}
