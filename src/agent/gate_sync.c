/*
 * Owns putting on-open's copies onto the disk when it counts. A copy made in calm times is written back by the kernel
 * when it likes, as any file is: waiting for the disk at each first open would cost milliseconds where the copy costs
 * microseconds. But who fears being stopped may destroy, wait for the disk, and cut the power. So at the first evidence
 * everything copied so far is written out, by a thread that may take its time; and copies made while the gate is down
 * are on the disk before their opener goes on (gate_copy.c). Must not keep any other thread waiting.
 */
#include "agent/gate_impl.h"

#include "base/clock.h"

static uint32_t take_wanted(struct pc_gate *q)
{
    pthread_mutex_lock(&q->lock);
    while (!atomic_load(&q->stop) && !q->sync_wanted)
        pthread_cond_wait(&q->sync_work, &q->lock);
    uint32_t wanted = atomic_load(&q->stop) ? 0 : q->sync_wanted;
    q->sync_wanted = 0;
    pthread_mutex_unlock(&q->lock);
    return wanted;
}

static void write_out(struct pc_gate *q, uint32_t i)
{
    uint64_t began = pc_mono_ns();
    if (pc_vault_sync(q->store, q->sync_volume[i]) < 0)
        return; /* a disk that fails shows at the next copy, and in status */
    pthread_mutex_lock(&q->lock);
    q->synced_ns[i] = began;
    pthread_mutex_unlock(&q->lock);
}

void *pc_gate_syncer(void *arg)
{
    struct pc_gate *q = arg;
    pc_gate_register_own(q);
    for (uint32_t wanted; (wanted = take_wanted(q));)
        for (uint32_t i = 0; i < PC_VOLUMES_MAX; i++)
            if (wanted >> i & 1)
                write_out(q, i);
    return NULL;
}

uint64_t pc_gate_synced_ns(const struct pc_guard *g, const struct pc_volume *v)
{
    struct pc_gate *q = g->gate;
    pthread_mutex_lock(&q->lock);
    uint64_t began = q->synced_ns[v - g->volume];
    pthread_mutex_unlock(&q->lock);
    return began;
}

void pc_gate_sync(struct pc_guard *g, const struct pc_volume *v)
{
    struct pc_gate *q = g->gate;
    uint32_t i = (uint32_t)(v - g->volume);
    pthread_mutex_lock(&q->lock);
    q->sync_volume[i] = v->id;
    q->sync_wanted |= 1u << i;
    pthread_cond_signal(&q->sync_work);
    pthread_mutex_unlock(&q->lock);
}
