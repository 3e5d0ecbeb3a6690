#ifndef PC_TESTS_PRESERVE_FIXTURE_H
#define PC_TESTS_PRESERVE_FIXTURE_H
#include "preserve/rollback.h"
#include "preserve/store.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * A scratch file system on a loop image, inside a mount namespace of the test's own, with a store over it. Everything
 * vanishes with the process: the namespace unmounts, the loop device is autoclear, the image is unlinked.
 */
struct fixture {
    const char *fs;   /* "xfs", "ext4", "btrfs" */
    char dir[64];     /* scratch directory (tmpfs) */
    char mnt[96];     /* the mounted image */
    char state[96];   /* state directory */
    int tree;         /* detached clone of the mount */
    int root;         /* descriptor on mnt */
    struct pc_store *s;
    int vol;
    struct pc_store_opts opts;
    enum pc_mode mode;
    uint64_t copy_limit;
};
/*
 * What main returns: `tests` run on xfs, btrfs and ext4 in turn. Environment: PC_FS, on that one only; PC_TEST, only the
 * tests that match this pattern. Enters (below) first.
 */
int fixture_on_each_fs(int (*tests)(void));
/* cmocka's setup and teardown: *state is a fixture on that file system, of 320 MiB. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Leaves the process with status 77 and a printed reason when it may not mount. */
void fixture_enter(void);
/* mib: size of the image. Fails the test on any error. */
void fixture_up(struct fixture *f, const char *fs, unsigned mib);
void fixture_down(struct fixture *f);
/* Closes and opens the store again (rebuild when it asks for it). */
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);

/* Handle of a path beneath mnt. */
struct pc_fh fh_of(const struct fixture *f, const char *path);
struct pc_fh fh_of_dir(const struct fixture *f, const char *path); /* of the folder the path is in */
const char *base_name(const char *path);
/* Captures one path; returns the version. */
uint64_t capture(struct fixture *f, const char *path);
/* Captures everything on the file system, folders after their content. */
void capture_tree(struct fixture *f);
/* Calls fn for every path on the file system, folders after their content; the vault and lost+found are left out. */
void each_path(const struct fixture *f, void (*fn)(void *arg, const char *path), void *arg);
void put_file(const struct fixture *f, const char *path, const char *text);
void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Names, types, content hashes and all metadata of the whole tree (not atime, ctime, inode numbers). malloc'd text. */
char *fingerprint(const struct fixture *f);
void same_fingerprint(const char *want, const char *have, const char *what);
#endif
