#ifndef PC_TESTS_DRILL_RIG_H
#define PC_TESTS_DRILL_RIG_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Runs the drill as a program and looks at its folder without the drill's own code. Fails the test on surprises. */
struct rig {
    const char *program; /* pc-drill */
    char dir[256];       /* a fresh folder for this test, removed by rig_free */
    char log[300];       /* state file */
    char errors[300];    /* what the drill said on stderr */
};
void rig_init(struct rig *r, const char *program);
void rig_free(struct rig *r);

/* A drill that is running; its stdin and stdout are pipes. It leads a process group of its own. */
struct rig_run {
    pid_t pid;
    FILE *in, *out;
};
/* args: NULL-terminated, without the program's name. */
void rig_start(const struct rig *r, const char *const *args, struct rig_run *run);
/* Reads stdout up to the end into out (may be NULL), returns the exit status, or 128 + signal. */
int rig_finish(struct rig_run *run, char *out, size_t cap);
/* Both in one. */
#define rig_drill(r, out, cap, ...) rig_drill_list(r, out, cap, (const char *const[]){__VA_ARGS__, NULL})
int rig_drill_list(const struct rig *r, char *out, size_t cap, const char *const *args);
/* The rest of the line in text that begins with "label: ", copied to out; fails the test when there is none. */
void rig_field(const char *text, const char *label, char *out, size_t cap);
/* Parsed report of the rig's state file, with what --verify says when verify is set. Caller json_decref()s. */
json_t *rig_report(const struct rig *r, bool verify);
int64_t rig_int(const json_t *report, const char *name); /* "now.identical" looks one level down */

/* Everything in a drill's folder but its own records, sorted by path. */
struct rig_file {
    char path[128];
    uint8_t *data;
    size_t len;
    struct stat st;
};
struct rig_snap {
    struct rig_file *file;
    size_t n;
};
void rig_snap(const char *folder, struct rig_snap *out);
void rig_snap_free(struct rig_snap *s);
const struct rig_file *rig_snap_find(const struct rig_snap *s, const char *path, const char *suffix);
/* Same names, bytes, modes, owners, modification times and link counts. */
void rig_snap_equal(const struct rig_snap *a, const struct rig_snap *b);
#endif
