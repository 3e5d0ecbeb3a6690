#ifndef PC_TESTS_PRESERVE_ACTOR_H
#define PC_TESTS_PRESERVE_ACTOR_H
#include "fixture.h"

/*
 * A simulated destructive program and the guard beside it: each operation is done on the scratch file system, its acts are recorded
 * and what it made is captured, in the order and with the fields the real guard uses.
 */
struct actor {
    struct fixture *f;
    uint64_t id;
    unsigned seed;
};
void act_write(struct actor *a, const char *path, const void *data, size_t len, long at); /* at -1: truncate first */
void act_chmod(struct actor *a, const char *path, mode_t mode);
void act_xattr(struct actor *a, const char *path, const char *name, const char *value);
void act_create(struct actor *a, const char *path, const char *text);
void act_mkdir(struct actor *a, const char *path);
void act_symlink(struct actor *a, const char *target, const char *path);
void act_link(struct actor *a, const char *old, const char *path);
void act_delete(struct actor *a, const char *path);
void act_rename(struct actor *a, const char *from, const char *to); /* over what is there, if anything */
void act_exchange(struct actor *a, const char *x, const char *y);
/* One random operation somewhere in the tree. */
void act_random(struct actor *a);
/* A random tree with all kinds of inodes, captured. */
void random_tree(struct actor *a, unsigned files);
/* Opens an incident over this actor's acts. */
uint64_t convict(struct actor *a);
#endif
