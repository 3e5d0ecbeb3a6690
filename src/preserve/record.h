#ifndef PC_PRESERVE_RECORD_H
#define PC_PRESERVE_RECORD_H
#include "base/buf.h"
#include "base/fh.h"

#include <sys/types.h>

/*
 * The record every vault object carries (attribute trusted.portcullis, or the file <object>.rec beside it): enough to
 * rebuild the index row of the version. Pure bytes in, struct out; no I/O.
 *
 * Layout, little endian: "PCR1", u8 how, u8 flags (1 = packed, 2 = has data), u64 time, u64 actor, handle, handle of
 * the folder, u16-counted name, u16-counted path, meta, u64 data if the flag says so. A handle is i32 type, u8 length,
 * bytes. Trailing bytes are an error.
 */
#define PC_RECORD_MAX (256u * 1024)
#define PC_META_XATTRS_MAX (192u * 1024)
#define PC_PATH_CAP 4096
#define PC_NAME_CAP 256

/* Attributes (chattr) that are preserved and put back, in our own numbering. */
enum pc_attr { PC_ATTR_IMMUTABLE = 1, PC_ATTR_APPEND = 2, PC_ATTR_NODUMP = 4 };

/* Everything about an inode but its content. target: of a symlink. xattrs: packed list, see pc_xattrs_next. */
struct pc_meta {
    uint32_t mode, uid, gid, nlink, rdev_major, rdev_minor, attrs;
    uint64_t size, alloc_bytes, ino;
    int64_t mtime_ns, ctime_ns, atime_ns;
    struct pc_buf target, xattrs;
};
#define _meta_free_ __attribute__((cleanup(pc_meta_free)))
void pc_meta_init(struct pc_meta *m);
void pc_meta_free(struct pc_meta *m);
int pc_meta_encode(const struct pc_meta *m, struct pc_buf *out);
/* m must be initialised; its buffers are replaced. PC_E_SYNTAX / PC_E_LIMIT / -ENOMEM. Checks every nested length. */
int pc_meta_decode(struct pc_cur *c, struct pc_meta *m);

struct pc_xattr {
    const char *name; /* NUL-terminated, inside the list */
    const void *value;
    size_t len;
};
int pc_xattrs_add(struct pc_buf *list, const char *name, const void *value, size_t len);
/* Walks the list: 1 and *out, or 0 at its end, or PC_E_SYNTAX. c starts as pc_cur_init(&c, list.data, list.len). */
int pc_xattrs_next(struct pc_cur *c, struct pc_xattr *out);
bool pc_xattrs_find(const struct pc_buf *list, const char *name, struct pc_xattr *out);

struct pc_record {
    uint8_t how;
    bool packed; /* content is a zstd stream */
    bool has_data;
    uint64_t data; /* bytes of the object that are no hole: fewer after a power failure tell that it is not whole */
    uint64_t time_ns, actor;
    struct pc_fh fh, parent; /* parent.len 0: not known */
    char name[PC_NAME_CAP];  /* "" : not known */
    char path[PC_PATH_CAP];  /* as it was reachable then; for people only */
    struct pc_meta meta;
};
#define _record_free_ __attribute__((cleanup(pc_record_free)))
void pc_record_init(struct pc_record *r);
void pc_record_free(struct pc_record *r);
int pc_record_encode(const struct pc_record *r, struct pc_buf *out);
/* r must be initialised. Rejects names that are not one path component. */
int pc_record_decode(const void *data, size_t len, struct pc_record *r);
/* One path component: 1 to 255 bytes, no slash, not "." or "..". */
bool pc_name_ok(const char *name);
#endif
