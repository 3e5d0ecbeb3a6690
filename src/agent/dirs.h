#ifndef PC_AGENT_DIRS_H
#define PC_AGENT_DIRS_H
#include "base/fh.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * The guarded folders, by handle: the one thing kept in memory per folder (about 100 bytes), so that an event, which
 * names a folder handle and a file name, is told apart in a hash lookup, and any path can be spelled out. Files are not
 * kept here; the index on disk knows them. A pc_dir is valid until that folder is dropped.
 */
typedef uint32_t pc_dir; /* 0: none */
struct pc_dirs;
int pc_dirs_new(struct pc_dirs **out);
void pc_dirs_free(struct pc_dirs *d);
/* root folders: parent 0, name = the absolute path the owner wrote, folder = its number. -ENOMEM. Existing: moved. */
int pc_dirs_add(struct pc_dirs *d, int vol, const struct pc_fh *fh, pc_dir parent, const char *name, uint32_t folder,
                pc_dir *out);
pc_dir pc_dirs_find(const struct pc_dirs *d, int vol, const struct pc_fh *fh);
int pc_dirs_move(struct pc_dirs *d, pc_dir dir, pc_dir parent, const char *name);
/* Forgets a folder and everything beneath it. leaf: known to have nothing beneath (saves the walk). */
void pc_dirs_drop(struct pc_dirs *d, pc_dir dir, bool leaf);
void pc_dirs_drop_volume(struct pc_dirs *d, int vol);
const struct pc_fh *pc_dirs_fh(const struct pc_dirs *d, pc_dir dir);
int pc_dirs_vol(const struct pc_dirs *d, pc_dir dir);
uint32_t pc_dirs_folder(const struct pc_dirs *d, pc_dir dir);
/* "/srv/data/a/b" (and "/name" behind it unless name is NULL). Truncates; returns out. */
const char *pc_dirs_path(const struct pc_dirs *d, pc_dir dir, const char *name, char *out, size_t cap);
#endif
