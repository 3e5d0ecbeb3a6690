#ifndef PC_HOST_MEMORY_INTERNAL_H
#define PC_HOST_MEMORY_INTERNAL_H
/*
 * Shared by the memory_*.c files only: the database and how it is asked. Types of values: i int64_t, s text, b bytes
 * with their size_t length.
 */
#include "host/memory.h"

#include <sqlite3.h>

#define PC_FILE_NAME "fleet.db"
struct pc_memory_file {
    sqlite3 *db;
    char why[256];
};
int pc_memory_query(struct pc_memory_file *m, sqlite3_stmt **out, const char *sql, const char *types, ...);
int pc_memory_step(struct pc_memory_file *m, sqlite3_stmt *s); /* 1: a row, 0: no more, or an error */
int pc_memory_do(struct pc_memory_file *m, const char *sql, const char *types, ...);
/* first column of the first row; 0: no row */
int64_t pc_memory_count(struct pc_memory_file *m, const char *sql, const char *types, ...);
int pc_memory_take_blob(sqlite3_stmt *s, int column, char **out, size_t *len);
/* first column of the row of a key; *out is the caller's to free. PC_E_NOTFOUND. */
int pc_memory_one_blob(struct pc_memory_file *m, const char *sql, const char *key, char **out, size_t *len);
#endif
