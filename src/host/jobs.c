/*
 * Owns running jobs, from start to call-back: their cgroups, clocks and output. Must not know orders, actions or what
 * an outcome means to the fleet. A job is over when its first process has ended (or was ended) and its group is empty;
 * only then is anybody told.
 */
#include "host/jobs.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "host/scope.h"
#include "kern/mounts.h"
#include "proc/group.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/wait.h>

#define READ_BYTES (64u << 10)
#define READS_A_TURN 16 /* one job that floods must not keep the runner from its other work */

struct job {
    struct pc_job_spec spec;
    char name[96];
    struct pc_child child;
    int group_fd;
    uint64_t deadline_ns, read_bytes;
    struct pc_buf output;
    EVP_MD_CTX *hash;
    enum pc_job_outcome outcome;
    bool exited, ended; /* the first process was reaped; the end was ordered by us */
    int status;
    int64_t started;
};

struct pc_jobs {
    int root_fd, base_fd; /* the hierarchy, and our folder in it */
    char base_name[64];
    struct pc_scope scope; /* of systemd, around base_fd; no keeper: base_fd is ours alone, beneath the root */
    struct job *job[PC_JOBS_MAX];
    uint32_t count;
};

static void free_job(struct pc_jobs *j, uint32_t i)
{
    struct job *job = j->job[i];
    j->job[i] = NULL;
    j->count--;
    pc_closep(&job->child.pid_fd);
    pc_closep(&job->child.out_fd);
    pc_closep(&job->group_fd);
    (void)pc_group_remove(j->base_fd, job->name); /* the last process may still be on its way out: clear_old finds it */
    pc_buf_free(&job->output);
    EVP_MD_CTX_free(job->hash);
    free(job);
}

/* In a scope of systemd where that can be had, else beneath the root of the hierarchy. */
static int open_base(struct pc_jobs *j, int root_fd)
{
    int fd = pc_scope_open(j->base_name, root_fd, &j->scope);
    if (fd < 0)
        fd = pc_group_open(root_fd, j->base_name);
    if (fd < 0)
        return fd;
    j->base_fd = fd;
    return 0;
}

int pc_jobs_new(const char *name, struct pc_jobs **out)
{
    char root[4096];
    int r = pc_mount_cgroup2(root, sizeof root);
    if (r < 0)
        return r == PC_E_NOTFOUND ? PC_E_UNSUPPORTED : r;
    _close_ int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return -errno;
    _free_ struct pc_jobs *j = calloc(1, sizeof *j);
    if (!j)
        return -ENOMEM;
    snprintf(j->base_name, sizeof j->base_name, "portcullis-jobs-%s", name);
    r = open_base(j, root_fd);
    if (r < 0)
        return r == -EACCES || r == -EROFS || r == -EPERM ? PC_E_UNSUPPORTED : r;
    j->root_fd = TAKE_FD(root_fd);
    *out = TAKE_PTR(j);
    return 0;
}

bool pc_jobs_scoped(const struct pc_jobs *j)
{
    return j->scope.keeper.pid > 0;
}

void pc_jobs_free(struct pc_jobs *j)
{
    if (!j)
        return;
    for (uint32_t i = 0; i < PC_JOBS_MAX; i++) {
        if (!j->job[i])
            continue;
        (void)pc_group_kill(j->job[i]->group_fd);
        (void)waitpid(j->job[i]->child.pid, NULL, 0);
        free_job(j, i);
    }
    pc_closep(&j->base_fd);
    if (pc_jobs_scoped(j))
        pc_scope_close(&j->scope);
    else
        (void)pc_group_remove(j->root_fd, j->base_name);
    pc_closep(&j->root_fd);
    free(j);
}

static int clear_one(void *arg, const char *name)
{
    struct pc_jobs *j = arg;
    for (uint32_t i = 0; i < PC_JOBS_MAX; i++)
        if (j->job[i] && strcmp(j->job[i]->name, name) == 0)
            return 0;
    _close_ int fd = pc_group_find(j->base_fd, name);
    if (fd >= 0)
        (void)pc_group_kill(fd);
    (void)pc_group_remove(j->base_fd, name);
    return 0;
}

int pc_jobs_clear_old(struct pc_jobs *j)
{
    return pc_group_each(j->base_fd, clear_one, j);
}

/* Somebody stopped the scope (`systemctl stop`), and with it what ran there. */
static int reopen_base(struct pc_jobs *j)
{
    pc_scope_close(&j->scope);
    pc_closep(&j->base_fd);
    j->base_fd = -1;
    return open_base(j, j->root_fd);
}

static int prepare(struct pc_jobs *j, struct job *job)
{
    job->hash = EVP_MD_CTX_new();
    if (!job->hash || EVP_DigestInit_ex(job->hash, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    job->group_fd = pc_group_open(j->base_fd, job->name);
    if (job->group_fd == -ENOENT && pc_jobs_scoped(j) && reopen_base(j) == 0)
        job->group_fd = pc_group_open(j->base_fd, job->name);
    if (job->group_fd < 0)
        return job->group_fd;
    job->spec.spawn.group_fd = job->group_fd;
    return pc_spawn(&job->spec.spawn, &job->child);
}

bool pc_jobs_room(const struct pc_jobs *j)
{
    return j->count < PC_JOBS_MAX;
}

int pc_jobs_start(struct pc_jobs *j, const struct pc_job_spec *spec)
{
    uint32_t slot = 0;
    while (slot < PC_JOBS_MAX && j->job[slot])
        slot++;
    if (slot == PC_JOBS_MAX)
        return PC_E_LIMIT;
    struct job *job = calloc(1, sizeof *job);
    if (!job)
        return -ENOMEM;
    *job = (struct job){.spec = *spec, .child = {.pid_fd = -1, .out_fd = -1}, .group_fd = -1};
    snprintf(job->name, sizeof job->name, "%s", spec->name);
    pc_buf_init(&job->output, spec->output_limit);
    job->started = (int64_t)(pc_real_ns() / PC_NS_PER_S);
    job->deadline_ns = pc_boot_ns() + spec->timeout_s * PC_NS_PER_S;
    j->job[slot] = job;
    j->count++;
    int r = prepare(j, job);
    if (r < 0)
        free_job(j, slot);
    return r;
}

uint32_t pc_jobs_poll(const struct pc_jobs *j, struct pollfd *out, uint32_t cap)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < PC_JOBS_MAX; i++) {
        const struct job *job = j->job[i];
        if (job && job->child.out_fd >= 0 && n < cap)
            out[n++] = (struct pollfd){job->child.out_fd, POLLIN, 0};
        if (job && !job->exited && n < cap)
            out[n++] = (struct pollfd){job->child.pid_fd, POLLIN, 0};
    }
    return n;
}

static void end_job(struct job *job, enum pc_job_outcome why)
{
    if (job->ended)
        return;
    job->ended = true;
    job->outcome = why;
    (void)pc_group_kill(job->group_fd);
}

static void take_output(struct job *job, const void *data, size_t len)
{
    (void)EVP_DigestUpdate(job->hash, data, len);
    size_t room = job->spec.output_limit - job->output.len;
    /* -ENOMEM shows as truncated: read_bytes counts on */
    (void)pc_buf_add(&job->output, data, len < room ? len : room);
    job->read_bytes += len;
    if (job->read_bytes > PC_JOB_DISCARD_MAX)
        end_job(job, PC_JOB_FLOOD);
}

static bool read_output(struct job *job)
{
    static char chunk[READ_BYTES];
    bool some = false;
    for (int i = 0; i < READS_A_TURN && job->child.out_fd >= 0; i++) {
        ssize_t n = read(job->child.out_fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        some = true;
        if (n > 0)
            take_output(job, chunk, (size_t)n);
        else
            close(TAKE_FD(job->child.out_fd));
    }
    return some;
}

static void settle_rest(struct pc_jobs *j, struct job *job)
{
    if (job->spec.leave_rest && !job->ended)
        (void)pc_group_move(job->group_fd, j->root_fd);
    else
        (void)pc_group_kill(job->group_fd);
}

static void report(struct pc_jobs *j, uint32_t slot)
{
    struct job *job = j->job[slot];
    bool by_signal = WIFSIGNALED(job->status);
    struct pc_job_end end = {.outcome = job->outcome,
                             .exit = WIFEXITED(job->status) ? WEXITSTATUS(job->status) : -1,
                             .signal = by_signal ? WTERMSIG(job->status) : -1,
                             .output = job->output.data ? job->output.data : "",
                             .output_len = job->output.len,
                             .truncated = job->read_bytes > job->output.len,
                             .started = job->started,
                             .ended = (int64_t)(pc_real_ns() / PC_NS_PER_S)};
    if (!job->ended)
        end.outcome = end.exit == 0 ? PC_JOB_OK : PC_JOB_FAILED;
    uint8_t digest[32] = {0};
    (void)EVP_DigestFinal_ex(job->hash, digest, NULL);
    pc_hex(digest, sizeof digest, end.output_sha256);
    job->spec.done(job->spec.ctx, &end);
    free_job(j, slot);
}

static bool step_job(struct pc_jobs *j, uint32_t slot, uint64_t now_ns)
{
    struct job *job = j->job[slot];
    bool did = read_output(job);
    if (now_ns >= job->deadline_ns)
        end_job(job, PC_JOB_TIMEOUT);
    if (!job->exited && pc_child_reap(&job->child, &job->status) == 0) {
        job->exited = did = true;
        settle_rest(j, job);
    }
    /*
     * Somebody let go on may hold the pipe for years; somebody ended closes it at once. One more read takes what was in
     * it.
     */
    bool over = job->exited && (job->child.out_fd < 0 || job->spec.leave_rest || !pc_group_busy(job->group_fd));
    if (over) {
        (void)read_output(job);
        report(j, slot);
        did = true;
    }
    return did;
}

bool pc_jobs_step(struct pc_jobs *j, uint64_t now_ns)
{
    bool did = false;
    for (uint32_t i = 0; i < PC_JOBS_MAX; i++)
        if (j->job[i])
            did |= step_job(j, i, now_ns);
    return did;
}
