/*
 * Owns the process connector socket (netlink, CN_PROC). Hands fork/exec/exit of processes to the caller; keeps no
 * state. A full socket buffer shows as PC_PROC_LOST: the caller then reads /proc.
 */
#include "kern/cnproc.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* 8 MiB of socket buffer hold about 10,000 messages: several seconds of the busiest build measured here. */
#define BUFFER_BYTES (8 << 20)

/* Values of the UAPI since Linux 2.6; later headers move the enum, so they are named here. */
#define EVENT_FORK 0x00000001u
#define EVENT_EXEC 0x00000002u
#define EVENT_EXIT 0x80000000u

static int subscribe(int fd)
{
    struct {
        struct nlmsghdr nl;
        struct cn_msg cn;
        uint32_t op;
    } __attribute__((packed)) msg;
    memset(&msg, 0, sizeof msg);
    msg.nl.nlmsg_len = sizeof msg;
    msg.nl.nlmsg_type = NLMSG_DONE;
    msg.nl.nlmsg_pid = (uint32_t)getpid();
    msg.cn.id.idx = CN_IDX_PROC;
    msg.cn.id.val = CN_VAL_PROC;
    msg.cn.len = sizeof msg.op;
    msg.op = PROC_CN_MCAST_LISTEN;
    return send(fd, &msg, sizeof msg, 0) < 0 ? -errno : 0;
}

static int join(int fd)
{
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) < 0)
        return -errno;
    return subscribe(fd);
}

int pc_cnproc_open(void)
{
    _close_ int fd = socket(PF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
    if (fd < 0)
        return -errno;
    int bytes = BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    int r = join(fd);
    return r < 0 ? r : TAKE_FD(fd);
}

int pc_cnproc_births_open(void)
{
    /* A filter's loads are in network byte order, the message in the machine's. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, NLMSG_HDRLEN + sizeof(struct cn_msg) + offsetof(struct proc_event, what)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(EVENT_FORK), 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PC_CNPROC_BIRTHS - 1, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    const struct sock_fprog filter = {sizeof code / sizeof code[0], code};
    _close_ int fd = socket(PF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) < 0)
        return -errno;
    int r = join(fd);
    return r < 0 ? r : TAKE_FD(fd);
}

void pc_cnproc_births_clear(int fd)
{
    char first;
    while (recv(fd, &first, sizeof first, MSG_TRUNC) >= 0 || errno == EINTR || errno == ENOBUFS)
        continue;
}

static bool decode(const struct proc_event *e, struct pc_proc_event *out)
{
    switch ((uint32_t)e->what) {
    case EVENT_FORK:
        if (e->event_data.fork.child_pid != e->event_data.fork.child_tgid) {
            *out = (struct pc_proc_event){PC_PROC_THREAD, e->event_data.fork.child_pid, e->event_data.fork.child_tgid};
            return true;
        }
        *out = (struct pc_proc_event){PC_PROC_FORK, e->event_data.fork.child_tgid, e->event_data.fork.parent_tgid};
        return true;
    case EVENT_EXEC:
        *out = (struct pc_proc_event){PC_PROC_EXEC, e->event_data.exec.process_tgid, 0};
        return true;
    case EVENT_EXIT:
        if (e->event_data.exit.process_pid != e->event_data.exit.process_tgid) {
            *out = (struct pc_proc_event){PC_PROC_THREAD_EXIT, e->event_data.exit.process_pid,
                                          e->event_data.exit.process_tgid};
            return true;
        }
        *out = (struct pc_proc_event){PC_PROC_EXIT, e->event_data.exit.process_tgid, 0};
        return true;
    default:
        return false;
    }
}

static bool parse(const char *buf, size_t len, struct pc_proc_event *out)
{
    const struct nlmsghdr *nl = (const void *)buf;
    if (len < NLMSG_HDRLEN + sizeof(struct cn_msg) + offsetof(struct proc_event, event_data) || nl->nlmsg_len > len)
        return false;
    const struct cn_msg *cn = NLMSG_DATA(nl);
    if (cn->id.idx != CN_IDX_PROC || cn->id.val != CN_VAL_PROC)
        return false;
    struct proc_event e;
    memset(&e, 0, sizeof e);
    size_t have = len - NLMSG_HDRLEN - sizeof *cn;
    memcpy(&e, cn->data, have < sizeof e ? have : sizeof e);
    return decode(&e, out);
}

int pc_cnproc_drain(int fd, int max, void (*fn)(void *arg, const struct pc_proc_event *), void *arg)
{
    char buf[1024] __attribute__((aligned(8)));
    int count = 0;
    while (count < max) {
        struct sockaddr_nl from;
        socklen_t from_len = sizeof from;
        ssize_t n = recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&from, &from_len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        struct pc_proc_event e;
        if (n < 0 && errno == ENOBUFS) {
            e = (struct pc_proc_event){.what = PC_PROC_LOST};
        } else if (n < 0) {
            return -errno;
        } else if (from.nl_pid != 0 || !parse(buf, (size_t)n, &e)) {
            count++;
            continue; /* not from the kernel, or nothing we need */
        }
        count++;
        fn(arg, &e);
    }
    return count;
}
