/*
 * Owns the answers about single files: history and restore. Finds where a path lies, also when its folders are gone;
 * the store does the rest.
 */
#include "agent/answers.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "preserve/rollback.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define VERSIONS_PER_ANSWER 2000

struct listing {
    struct pc_guard *g;
    json_t *array;
};

struct place {
    int vol;
    struct pc_fh parent;
    char path[PATH_MAX];
    const char *name;
};

/* Opens the deepest folder of an absolute path that is there; *rest is what is left of the path. */
static int open_deepest(const char *path, const char **rest)
{
    char folder[PATH_MAX];
    size_t len = strlen(path);
    if (len >= sizeof folder)
        return -ENAMETOOLONG;
    memcpy(folder, path, len + 1);
    for (;;) {
        int fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 || (errno != ENOENT && errno != ENOTDIR) || !folder[0]) {
            *rest = path + len + (path[len] == '/');
            return fd < 0 ? -errno : fd;
        }
        while (len && path[len - 1] != '/')
            len--;
        len -= len > 0;
        folder[len] = 0;
    }
}

int pc_answer_spot(struct pc_guard *g, const char *shown, struct pc_spot *out)
{
    struct pc_spot s;
    struct stat st;
    int n = pc_unescape_name(shown, s.path, sizeof s.path);
    if (n < 1 || strlen(s.path) != (size_t)n || s.path[0] != '/')
        return -EINVAL;
    while (n > 1 && s.path[n - 1] == '/')
        s.path[--n] = 0;
    _close_ int fd = open_deepest(s.path, &s.rest);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fd < 0 ? fd : -errno;
    struct pc_volume *v = pc_volume_by_dev(g, st.st_dev);
    if (!v)
        return PC_E_NOTFOUND;
    s.vol = v->id;
    int r = pc_fh_of_fd(fd, &s.folder);
    if (r < 0)
        return r;
    *out = s;
    out->rest = out->path + (s.rest - s.path);
    out->folder_fd = TAKE_FD(fd);
    return 0;
}

/* Follows a path into folders that are gone, by the last place the index knows of each. */
static int follow(struct pc_guard *g, int vol, const char *way, size_t len, struct pc_fh *at)
{
    struct pc_known k;
    char name[sizeof k.name];
    for (size_t n; len; way += n + 1, len -= n < len ? n + 1 : n) {
        n = strcspn(way, "/");
        n = n < len ? n : len;
        if (snprintf(name, sizeof name, "%.*s", (int)n, way) >= (int)sizeof name)
            return -ENAMETOOLONG;
        int r = pc_store_lookup_name(g->store, vol, at, name, &k);
        if (r < 0)
            return r == PC_E_NOTFOUND ? -ENOENT : r;
        *at = k.fh;
    }
    return 0;
}

/* Where a path lies, also when the file and its folder are gone. */
static int find_place(struct pc_guard *g, const char *shown, struct place *p)
{
    int n = pc_unescape_name(shown, p->path, sizeof p->path);
    char *slash = n < 0 ? NULL : strrchr(p->path, '/'), folder[4 * PATH_MAX];
    if (!slash || p->path[0] != '/' || !slash[1])
        return -EINVAL;
    p->name = slash + 1;
    pc_escape_name(p->path, slash == p->path ? 1 : (size_t)(slash - p->path), folder, sizeof folder);
    struct pc_spot spot;
    int r = pc_answer_spot(g, folder, &spot);
    if (r < 0)
        return r;
    close(spot.folder_fd);
    p->vol = spot.vol;
    p->parent = spot.folder;
    return follow(g, spot.vol, spot.rest, strlen(spot.rest), &p->parent);
}

void pc_known_path(struct pc_guard *g, int vol, const struct pc_fh *parent, const char *name, char *out, size_t cap)
{
    char tail[PATH_MAX], longer[PATH_MAX + 300];
    snprintf(tail, sizeof tail, "%s", name);
    struct pc_fh at = *parent;
    struct pc_known k;
    for (int depth = 0; depth < 64; depth++) {
        pc_dir dir = pc_dirs_find(g->dirs, vol, &at);
        if (dir) {
            pc_dirs_path(g->dirs, dir, tail, out, cap);
            return;
        }
        if (pc_store_lookup(g->store, vol, &at, &k) < 0)
            break;
        snprintf(longer, sizeof longer, "%s/%s", k.name, tail);
        snprintf(tail, sizeof tail, "%.*s", (int)sizeof tail - 1, longer);
        at = k.parent;
    }
    snprintf(out, cap, "(unknown folder)/%s", tail);
}

static int list_version(void *arg, const struct pc_version_info *v)
{
    static const char *const hows[] = {"", "clone", "copy", "link", "length", "metadata"};
    struct listing *l = arg;
    char mode[16], shown[4 * PATH_MAX];
    snprintf(mode, sizeof mode, "%04o", (unsigned)(v->mode & 07777));
    pc_escape_name(v->path, strlen(v->path), shown, sizeof shown);
    struct pc_process p;
    bool has_actor = v->actor && pc_store_get_process(l->g->store, v->actor, &p) == 0;
    json_t *version = json_pack("{s:I, s:o, s:I, s:o, s:s, s:s, s:b, s:o, s:s}", "version", (json_int_t)v->version,
                                "time", time_json(v->time_ns), "size", (json_int_t)v->size, "mtime",
                                time_json((uint64_t)v->mtime_ns), "mode", mode, "how",
                                v->how < sizeof hows / sizeof hows[0] ? hows[v->how] : "other", "current", v->current,
                                "actor", has_actor ? text_json(p.exe) : json_null(), "path", shown);
    json_array_append_new(l->array, version);
    return json_array_size(l->array) >= VERSIONS_PER_ANSWER;
}

/* Links and lengths are looked at, some of 2,000 for long: what is urgent comes in between. */
static void add_kept(struct pc_guard *g, json_t *list)
{
    size_t i;
    json_t *version;
    json_array_foreach(list, i, version) {
        uint64_t id = (uint64_t)json_integer_value(json_object_get(version, "version"));
        json_object_set_new(version, "kept", json_boolean(pc_store_is_kept(g->store, id) > 0));
        if (i % 16 == 15)
            pc_guard_pump(g);
    }
}

void pc_answer_history(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct listing l = {.g = ctx, .array = json_array()};
    struct place p;
    int r = find_place(l.g, text_arg(args, "path"), &p);
    if (r == 0)
        r = pc_store_history(l.g->store, p.vol, &p.parent, p.name, p.path, list_version, &l);
    if (r >= 0) {
        add_kept(l.g, l.array);
        pc_reply_done(reply, l.array);
        return;
    }
    json_decref(l.array);
    pc_reply_fail(reply, PC_CODE_FAILED, "%s: %s", text_arg(args, "path"),
                  r == PC_E_NOTFOUND ? "not in a guarded folder" : pc_strerror(r));
}

/* Where a restored copy goes: a folder that exists and a name that does not. */
static int open_target(const char *shown, char *path, size_t cap, const char **name)
{
    ssize_t n = pc_unescape_name(shown, path, cap);
    char *slash = n < 0 ? NULL : strrchr(path, '/');
    if (!slash || path[0] != '/' || !slash[1])
        return -EINVAL;
    *name = slash + 1;
    *slash = 0;
    int fd = open(path[0] ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void restore(struct pc_guard *g, const json_t *args, struct pc_reply *reply)
{
    struct place p;
    struct pc_step step = {0};
    char to_path[PATH_MAX];
    const char *to = text_arg(args, "to"), *to_name = NULL;
    _close_ int to_fd = *to ? open_target(to, to_path, sizeof to_path, &to_name) : -1;
    int r = *to && to_fd < 0 ? to_fd : find_place(g, text_arg(args, "path"), &p);
    if (r == 0)
        r = pc_restore_path(g->store, p.vol, &p.parent, p.name, p.path, number_arg(args, "at"), to_fd, to_name, &step);
    if (r < 0) {
        pc_reply_fail(reply, PC_CODE_FAILED, "%s: %s", text_arg(args, "path"), step.why[0] ? step.why : pc_strerror(r));
        return;
    }
    pc_scan_everything(g);
    pc_event(g->log, PC_LEVEL_NOTICE, "restore", &(struct pc_event_about){.file_path = p.path, .outcome = "success"},
             "%s restored by uid %u", p.path, pc_reply_uid(reply));
    pc_reply_done(reply, json_pack("{s:s, s:s, s:I, s:o, s:b, s:o}", "path", text_arg(args, "path"), "to",
                                   *to ? to : text_arg(args, "path"), "version", (json_int_t)step.version, "time",
                                   time_json(step.time_ns), "ok", step.result == 0, "why", text_json(step.why)));
}

void pc_answer_restore(void *ctx, const json_t *args, struct pc_reply *reply)
{
    struct pc_guard *g = ctx;
    if (!pc_answer_begin(g, "restore", reply))
        return;
    restore(g, args, reply);
    g->at_work = NULL;
}
