#ifndef PC_AGENT_SETTINGS_TABLE_H
#define PC_AGENT_SETTINGS_TABLE_H
#include "agent/settings.h"

/*
 * PC_SETTINGS_TABLE as data, shared by the parser (settings.c), the types (settings_types.c) and the manual
 * (settings_doc.c).
 */
enum pc_setting_type {
    PC_TYPE_BOOL,
    PC_TYPE_NUMBER,
    PC_TYPE_SIZE,
    PC_TYPE_DURATION,
    PC_TYPE_SHARE,
    PC_TYPE_PATHS,
    PC_TYPE_RULES,
    PC_TYPE_TEXT,
    PC_TYPE_NAME,
    PC_TYPE_URL,
    PC_TYPE_MODE,
    PC_TYPE_VERDICT,
    PC_TYPE_AFTER,
    PC_TYPE_COUNT
};

struct pc_setting {
    const char *section, *name;
    enum pc_setting_type type;
    size_t offset; /* of the field, in struct pc_settings (or struct pc_path_settings) */
    const char *def;
    uint64_t min, max;
    bool restart; /* takes effect only with the next start */
    const char *brief, *text;
};
extern const struct pc_setting pc_setting_rows[];
extern const size_t pc_setting_count;

/* Keys of [path "..."] sections: fields of struct pc_path_settings; has is the offset of the "was given" flag. */
struct pc_path_setting {
    struct pc_setting row;
    size_t has;
};
extern const struct pc_path_setting pc_path_setting_rows[];
extern const size_t pc_path_setting_count;

/* What can be done with a value of a type. */
struct pc_setting_ops {
    bool repeatable; /* the key may be given many times; each adds */
    /* Sets (or adds to) the field. 0; PC_E_SYNTAX, PC_E_RANGE, PC_E_LIMIT or -ENOMEM. */
    int (*parse)(const struct pc_setting *row, const char *text, void *field);
    bool (*equal)(const void *a, const void *b);
    void (*release)(void *field);
    /* "a size from 0 to 1T": what is allowed, in words. */
    void (*allowed)(const struct pc_setting *row, char *out, size_t cap);
};
extern const struct pc_setting_ops pc_setting_ops[PC_TYPE_COUNT];

/*
 * A clean copy of an absolute path: no trailing slash, no empty, "." or ".." part, shorter than PATH_MAX. 0,
 * PC_E_SYNTAX or -ENOMEM.
 */
int pc_path_clean(const char *text, char **out);
#endif
