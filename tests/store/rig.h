#ifndef TESTS_STORE_RIG_H
#define TESTS_STORE_RIG_H
#include "base/err.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* The database that the suite runs over: "sqlite", or "postgres" with its URL in PC_POSTGRES. */
int rig_start(const char *kind);
bool rig_is_postgres(void);
/* Runs SQL by another way than the store. */
void rig_sql(const char *sql);

/* As setup and teardown of a test: *state becomes a migrated store in an empty database. */
int rig_setup(void **state);
int rig_teardown(void **state);
/* The same database once more. To be closed with ops->close. */
struct pc_store *rig_again(void);
/* A path in the test's own folder; static storage. */
const char *rig_path(const char *name);

/* Values to put in. n makes different ones. */
struct pc_store_host rig_host(unsigned n);
struct pc_store_order rig_order(unsigned n);
void rig_hex(char *out, size_t digits, unsigned n);
static inline struct pc_store_blob rig_blob(const char *text)
{
    return (struct pc_store_blob){text, strlen(text)};
}

/* Calls an operation of a store. */
#define OP(s, name, ...) ((s)->ops->name((s)__VA_OPT__(, ) __VA_ARGS__))

extern const struct CMUnitTest basic_tests[], order_tests[], log_tests[], shared_tests[], many_tests[];
extern const size_t basic_tests_n, order_tests_n, log_tests_n, shared_tests_n, many_tests_n;
#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)
#endif
