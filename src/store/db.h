#ifndef PC_STORE_DB_H
#define PC_STORE_DB_H
#include "store/sql.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A connection to a database, as little of it as the store needs: statements of sql.h with numbers, texts and blobs.
 * sqlite.c and postgres.c implement it; all that knows what rows mean is written once, over this. Errors as in store.h.
 */

/* A parameter. Points into the caller's memory. */
struct pc_value {
    enum { PC_VALUE_INT, PC_VALUE_TEXT, PC_VALUE_BLOB } type;
    int64_t number;
    const void *data;
    size_t len;
};
static inline struct pc_value pc_int(int64_t v)
{
    return (struct pc_value){.type = PC_VALUE_INT, .number = v};
}
struct pc_value pc_text(const char *s);
static inline struct pc_value pc_blob(const void *data, size_t len)
{
    return (struct pc_value){.type = PC_VALUE_BLOB, .data = data, .len = len};
}

struct pc_db;
/* One row of an answer, while the callback runs. */
struct pc_row {
    struct pc_db *db;
    void *answer;
    int number;
};
/* 0: go on. Not 0: enough; a negative value is what the query answers. */
typedef int pc_each_row(void *ctx, const struct pc_row *row);

struct pc_db_ops {
    /* What the schema calls a key that counts up by itself, a key of 64 bits, and a column of bytes. */
    struct {
        const char *serial, *id, *blob;
    } words;
    void (*close)(struct pc_db *db);
    const char *(*error)(struct pc_db *db);
    int (*begin)(struct pc_db *db); /* connects anew when the connection was lost */
    int (*commit)(struct pc_db *db);
    int (*rollback)(struct pc_db *db);
    /* Statements without parameters or answer: the schema. */
    int (*script)(struct pc_db *db, const char *sql);
    /*
     * Runs a statement with n_rows sets of n parameters. each, if not NULL, gets the rows of the answer; a callback may
     * run other statements. The number of rows changed, or handed to each.
     */
    int (*run)(struct pc_db *db, enum pc_sql which, const struct pc_value *values, size_t n, size_t n_rows,
               pc_each_row *each, void *ctx);
    int64_t (*number)(const struct pc_row *row, int column);
    /* NUL-terminated in any case. */
    const void *(*bytes)(const struct pc_row *row, int column, size_t *len);
    /* Until the end of the transaction no other process gets past here. */
    int (*lock)(struct pc_db *db);
    int (*backup)(struct pc_db *db, const char *path);
    int (*notify)(struct pc_db *db, const char *text); /* NULL: nobody else to tell */
    int (*listen_fd)(struct pc_db *db);
    int (*heard)(struct pc_db *db, int (*each)(void *ctx, const char *text), void *ctx);
    int (*hasten)(struct pc_db *db, uint32_t ms);
};
struct pc_db {
    const struct pc_db_ops *ops;
};
int pc_sqlite_open(const char *path, struct pc_db **out, char *why, size_t why_len);
int pc_postgres_open(const char *url, struct pc_db **out, char *why, size_t why_len);

#define PC_VALUES(...)                                                                                                 \
    (const struct pc_value[]){__VA_ARGS__}, sizeof((const struct pc_value[]){__VA_ARGS__}) / sizeof(struct pc_value)
#endif
