#ifndef PC_KERN_FAN_H
#define PC_KERN_FAN_H
#include "base/fh.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * fanotify groups. Three kinds are used, each a descriptor the caller owns:
 *  - watch: asynchronous, reports handles and names; never blocks anybody.
 *  - gate:  permission events for opens on a whole file system; every event must be answered. Two of these: one while
 * the gate is down, and one for on-open, which has marks for files that need no question.
 *  - vault: permission events for the vault's own directories; every event must be answered.
 * Kernel floor 6.0 (FAN_MARK_IGNORE; FAN_REPORT_TARGET_FID and FAN_RENAME are older); 6.14 for truncate(2).
 */
enum pc_fan_bits {
    PC_FAN_CREATE = 1 << 0,
    PC_FAN_DELETE = 1 << 1,
    PC_FAN_RENAME = 1 << 2,
    PC_FAN_MODIFY = 1 << 3,
    PC_FAN_CLOSE_WRITE = 1 << 4,
    PC_FAN_ATTRIB = 1 << 5,
    PC_FAN_ONDIR = 1 << 6,
    PC_FAN_OVERFLOW = 1 << 7,
};

/* One event of a watch group. The kernel merges queued events of one object and process, so several bits may be set. */
struct pc_fan_event {
    uint32_t bits;
    pid_t pid; /* thread group; 0 when outside our pid namespace */
    uint64_t fsid;
    bool has_dir, has_new_dir, has_target;
    struct pc_fh dir, new_dir, target;
    char name[256], new_name[256]; /* raw bytes, NUL-terminated */
};

int pc_fan_watch_open(void);
/* Marks the whole file system of tree_fd; opens through own_mount_fd's mount raise nothing. 0 or -errno. */
int pc_fan_watch_add(int group, int tree_fd);
int pc_fan_watch_remove(int group, int tree_fd);
/* Mutes / unmutes PC_FAN_MODIFY for one inode: a file written thousands of times a second is looked at by timer. */
int pc_fan_mute(int group, int file_fd);
int pc_fan_unmute(int group, int file_fd);
/* Raise no name events for what we do inside a vault directory. */
int pc_fan_ignore_dir(int group, int dir_fd);
/* Bytes waiting in the group's queue. */
int pc_fan_backlog(int group);
/* f_fsid of the file system as events name it. */
int pc_fan_fsid(int fd, uint64_t *out);

struct pc_fan_iter {
    const char *p;
    size_t left;
};
/* Reads events into buf (>= 8 KiB). Bytes, 0 when none wait, -errno. */
ssize_t pc_fan_read(int group, void *buf, size_t cap);
void pc_fan_iter_init(struct pc_fan_iter *it, const void *buf, size_t len);
/* Next event, decoded; false at the end. */
bool pc_fan_next(struct pc_fan_iter *it, struct pc_fan_event *out);

int pc_fan_gate_open(void);
/*
 * A permission group that every open meets before those of pc_fan_gate_open. An open that waits at one group pins the
 * marks of groups it is still to meet, and a dying process releases its groups one by one, the last opened first, each
 * only when nobody pins its marks: two groups of one rank, met in the order of their addresses, can keep each other and
 * the opener for ever. So: of two groups that mark the same files, the one met first has this rank and is opened last.
 */
int pc_fan_first_gate_open(void);
/*
 * For two groups of one rank, opened one after the other: finds out which of them an open meets first, and lets that
 * one have the larger number (a new descriptor), so that it is released first. Nothing may be marked in them yet. 0 or
 * -errno: both are as they were.
 */
int pc_fan_order(int *a, int *b);
/* Brings the gate down / up for the file system of tree_fd: all opens but those through tree_fd's mount wait for us. */
int pc_fan_gate_down(int group, int tree_fd);
int pc_fan_gate_up(int group, int tree_fd);
/* Opens through tree_fd's mount raise no event in this permission group. */
int pc_fan_ignore_mount(int group, int tree_fd);
/* Nor do reads and writes. Where pc_fan_asks_cuts. 0 or -errno. */
int pc_fan_ignore_accesses(int group, int tree_fd);
int pc_fan_vault_mark(int group, int dir_fd);
/*
 * For a group of pc_fan_gate_down: from now on only the files of pc_fan_ask_file wait for us, and tree_fd's mount is
 * ignored as before. pc_fan_gate_down makes all wait again.
 */
int pc_fan_ask_files_only(int group, int tree_fd);
/*
 * Opens of this inode wait for us, by any name and mount, until pc_fan_forget_file, or until its last name is gone.
 * Keeps the inode in memory (about 1 KiB). Ends pc_fan_ask_no_more. With cuts, which needs pc_fan_asks_cuts,
 * truncate(2) waits, too, and each read, write and mapping through a descriptor that was opened since: some 13 us
 * instead of 0.5 to 1. A program that is started meanwhile can be written while it runs: nobody gets ETXTBSY (the
 * kernel's exe_file_deny_write_access, since 6.14).
 */
int pc_fan_ask_file(int group, int file_fd, bool cuts);
/*
 * For a group of pc_fan_first_gate_open: whether truncate(2) can wait on dir_fd's file system. 0; -EINVAL: this kernel
 * cannot; -EOPNOTSUPP: this file system.
 */
int pc_fan_asks_cuts(int group, int dir_fd);
/* Of a file of pc_fan_ask_file only the opens wait from now on, until it is called again. 0 or -errno. */
int pc_fan_ask_opens_only(int group, int file_fd);
/* Of such a file truncate(2) and accesses wait again. Opens nothing: path_fd may be one of O_PATH. 0 or -errno. */
int pc_fan_ask_cuts_again(int group, int path_fd);
/* 1; 0: it was not asked about; -errno. The file system may still be. */
int pc_fan_forget_file(int group, int file_fd);
/* Ends pc_fan_ask_file and pc_fan_ask_no_more for all files of the group. */
int pc_fan_forget_files(int group);
/*
 * Opens of this inode raise no event in this permission group any longer, until pc_fan_ask_again or until the kernel
 * drops the inode from its cache. Ends pc_fan_ask_file. Linux 6.0; -EINVAL before.
 */
int pc_fan_ask_no_more(int group, int file_fd);
/* 0 also when it was asked about all the time. */
int pc_fan_ask_again(int group, int file_fd);

/*
 * For a group of pc_fan_gate_open: programs started from the file system of `path` wait for us (FAN_OPEN_EXEC_PERM,
 * Linux 5.0).
 */
int pc_fan_exec_mark(int group, const char *path);

enum pc_fan_what {
    PC_FAN_OPEN,
    PC_FAN_ACCESS,  /* it reads, writes or maps the file */
    PC_FAN_MAY_CUT, /* it does so within one page, or it cuts the file: both look the same */
};
struct pc_fan_open {
    int fd;       /* owned by the reader: close after answering */
    pid_t tid;    /* the waiting thread; 0 when outside our pid namespace */
    uint8_t what; /* enum pc_fan_what */
};
/* Reads up to n waiting opens. Count, 0 when none, -errno. n: at least 2 where accesses may wait (pc_fan_ask_file). */
int pc_fan_read_opens(int group, struct pc_fan_open *out, int n);
/* Answers by event descriptor; the descriptor stays open. */
int pc_fan_answer(int group, int fd, bool allow);
#endif
