#ifndef PC_CLI_DRILL_FOLDER_H
#define PC_CLI_DRILL_FOLDER_H
#include "cli/drill/document.h"

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The drill's own folder, and the rule that keeps the drill harmless: nothing is touched but what was opened beneath
 * this folder without symlinks or mount points and carries this run's mark.
 *
 * The mark is the extended attribute user.portcullis.drill (trusted.portcullis.drill where the file system has no user
 * attributes) holding the run id, on the folder, its sub-folders and every file. A file system without either is
 * refused with PC_E_UNSUPPORTED: then the drill could not tell its files from others.
 */
#define DRILL_ID_HEX 32
#define DRILL_SUFFIX ".pcdrill"
#define DRILL_MANIFEST "drill-manifest"
#define DRILL_RUN "drill-run"
#define DRILL_LINKS "drill-links"
#define DRILL_NOTE "READ-ME.pcdrill.txt"

struct drill_folder {
    int fd;
    int sub[DRILL_SUBS]; /* descriptors of the sub-folders; a refused one is its negative error */
    char path[PATH_MAX];
    char id[DRILL_ID_HEX + 1];
    const char *xattr;
    uint64_t dev;
    uid_t uid;
};

/* Makes DIR/portcullis-drill-<random id> (0700, marked) with its sub-folders. Caller closes. */
int drill_folder_create(const char *dir, struct drill_folder *out);
/* Opens a folder made by that. PC_E_REFUSED when anything about it is not as the drill makes it. */
int drill_folder_open(const char *path, struct drill_folder *out);
void drill_folder_close(struct drill_folder *f);

/* Is this descriptor a regular file of ours: owner, device, mark, at most max_links names? PC_E_REFUSED if not. */
int drill_folder_check(const struct drill_folder *f, int fd, nlink_t max_links);
/*
 * Opens `name` in dirfd (a descriptor of this folder or of one of its sub-folders) and checks it before handing it out.
 * flags may not create or truncate. PC_E_REFUSED for symlinks, mount points and whatever is not the drill's own.
 */
int drill_folder_open_file(const struct drill_folder *f, int dirfd, const char *name, uint64_t flags,
                           nlink_t max_links);
/* Creates and marks a new file (O_EXCL). */
int drill_folder_create_file(const struct drill_folder *f, int dirfd, const char *name, mode_t mode);
/* Marks a descriptor that the drill itself has just created (an unnamed file). */
int drill_folder_mark(const struct drill_folder *f, int fd);
/* PC_E_REFUSED unless `name` in dirfd is at this moment the very file behind fd. Ask right before acting on a name. */
int drill_folder_is_same(int dirfd, const char *name, int fd);
/* Removes `name` if it is the drill's own: marked, or an empty file left by a run that died before marking it. */
int drill_folder_remove_file(const struct drill_folder *f, int dirfd, const char *name);
/* Makes (or opens, when it is there and ours) a marked sub-folder beneath dirfd. Descriptor or error. */
int drill_folder_make_sub(const struct drill_folder *f, int dirfd, const char *name);
#endif
