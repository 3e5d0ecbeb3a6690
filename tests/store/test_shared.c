/* Conformance: several connections to one database; copies; and what happens when the database goes away. */
#include "rig.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- appenders at the same time ----------------------------------------------------------------------------------- */

#define APPENDERS 4
#define APPENDS 60

static void *append_often(void *arg)
{
    struct pc_store *s = arg;
    for (int i = 0; i < APPENDS;) {
        struct pc_store_blob entry = rig_blob("e");
        uint64_t size;
        if (OP(s, log_size, &size) < 0)
            return (void *)"asking for the size";
        struct pc_store_node node = {.index = size};
        int r = OP(s, log_append, size, &entry, 1, &node, 1, "c");
        if (r == 0)
            i++;
        else if (r != PC_E_CHANGED && r != -EAGAIN)
            return (void *)"appending";
    }
    return NULL;
}

static int count_entry(void *ctx, uint64_t index, struct pc_store_blob entry)
{
    uint64_t *next = ctx;
    assert_true(index == (*next)++);
    return 0;
}

static void appenders_stand_in_line(void **state)
{
    struct pc_store *s = *state, *other[APPENDERS];
    pthread_t thread[APPENDERS];
    for (int i = 0; i < APPENDERS; i++)
        other[i] = rig_again();
    for (int i = 0; i < APPENDERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, append_often, other[i]), 0);
    for (int i = 0; i < APPENDERS; i++) {
        void *failed = NULL;
        pthread_join(thread[i], &failed);
        if (failed)
            fail_msg("%s: %s", (const char *)failed, OP(other[i], error));
        OP(other[i], close);
    }
    uint64_t next = 0;
    assert_int_equal(OP(s, log_entries, 0, 10000, count_entry, &next), 0);
    assert_int_equal(next, APPENDERS * APPENDS);
}

static void *spend(void *arg)
{
    struct pc_store *s = arg;
    return (void *)(intptr_t)OP(s, token_use, "aa", "enroll", 1);
}

static void a_token_is_spent_once(void **state)
{
    struct pc_store *s = *state, *other[APPENDERS];
    pthread_t thread[APPENDERS];
    int good = 0;
    assert_int_equal(OP(s, token_add, "aa", "enroll", "x", 100), 0);
    for (int i = 0; i < APPENDERS; i++)
        other[i] = rig_again();
    for (int i = 0; i < APPENDERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, spend, other[i]), 0);
    for (int i = 0; i < APPENDERS; i++) {
        void *r;
        pthread_join(thread[i], &r);
        good += (intptr_t)r == 0;
        assert_true((intptr_t)r == 0 || (intptr_t)r == PC_E_NOTFOUND);
        OP(other[i], close);
    }
    assert_int_equal(good, 1);
}

/* A reader sees what was committed, and never waits for a writer. */
static void a_reader_beside_a_writer(void **state)
{
    struct pc_store *writer = *state, *reader = rig_again();
    _free_ void *value = NULL;
    size_t len;
    assert_int_equal(OP(writer, put, "k", rig_blob("old")), 0);
    assert_int_equal(OP(writer, begin), 0);
    assert_int_equal(OP(writer, put, "k", rig_blob("new")), 0);
    assert_int_equal(OP(reader, get, "k", &value, &len), 0);
    assert_string_equal(value, "old");
    free(TAKE_PTR(value));
    assert_int_equal(OP(writer, commit), 0);
    assert_int_equal(OP(reader, get, "k", &value, &len), 0);
    assert_string_equal(value, "new");
    OP(reader, close);
}

/* --- telling each other ------------------------------------------------------------------------------------------- */

static int hear(void *ctx, const char *text)
{
    strcat(ctx, text);
    strcat(ctx, ";");
    return 0;
}

static void notifications(void **state)
{
    struct pc_store *s = *state, *other = rig_again();
    char heard[256] = "", *long_text;
    int fd = OP(other, notify_fd);
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, notify, "order 'aa'"), 0);
    assert_int_equal(OP(s, notify, "host bb"), 0);
    assert_int_equal(OP(other, notify_read, hear, heard), 0);
    assert_string_equal(heard, "");
    assert_int_equal(OP(s, commit), 0);
    if (rig_is_postgres()) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&p, 1, 10000), 1);
        assert_int_equal(OP(other, notify_read, hear, heard), 0);
        assert_string_equal(heard, "order 'aa';host bb;");
    } else {
        assert_int_equal(fd, PC_E_UNSUPPORTED);
        assert_int_equal(OP(other, notify_read, hear, heard), 0);
        assert_string_equal(heard, "");
    }
    long_text = calloc(1, PC_STORE_NOTIFY_MAX + 2);
    assert_non_null(long_text);
    memset(long_text, 'x', PC_STORE_NOTIFY_MAX + 1);
    assert_int_equal(OP(s, notify, long_text), PC_E_LIMIT);
    long_text[PC_STORE_NOTIFY_MAX] = 0;
    assert_int_equal(OP(s, notify, long_text), 0);
    free(long_text);
    OP(other, close);
}

/* --- copies ------------------------------------------------------------------------------------------------------- */

static void backups(void **state)
{
    struct pc_store *s = *state, *copy = NULL;
    char path[128], where[160], why[256] = "";
    _free_ void *value = NULL;
    size_t len;
    struct stat st;
    snprintf(path, sizeof path, "%s", rig_path("copy.db"));
    assert_int_equal(OP(s, put, "k", rig_blob("v")), 0);
    if (rig_is_postgres()) {
        assert_int_equal(OP(s, backup, path), PC_E_UNSUPPORTED);
        assert_non_null(strstr(OP(s, error), "pg_dump"));
        return;
    }
    assert_int_equal(stat(rig_path("server.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, backup, path), PC_E_STATE);
    assert_int_equal(OP(s, rollback), 0);
    assert_int_equal(OP(s, backup, path), 0);
    assert_int_equal(OP(s, backup, path), -EEXIST);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(OP(s, put, "k", rig_blob("later")), 0);
    snprintf(where, sizeof where, "sqlite:%s", path);
    assert_int_equal(pc_store_connect(where, &copy, why, sizeof why), 0);
    assert_int_equal(OP(copy, get, "k", &value, &len), 0);
    assert_string_equal(value, "v");
    OP(copy, close);
}

static void a_file_that_is_no_database(void **state)
{
    (void)state;
    struct pc_store *s = NULL;
    char where[160], why[256] = "";
    _close_ int fd = open(rig_path("x.db"), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    static const char text[4096] = "This is not a database, whatever its name says.";
    assert_int_equal(write(fd, text, sizeof text), sizeof text);
    snprintf(where, sizeof where, "sqlite:%s", rig_path("x.db"));
    assert_int_equal(pc_store_connect(where, &s, why, sizeof why), PC_E_CORRUPT);
    assert_true(strlen(why) > 0);
    assert_null(s);
}

/* --- a full disk -------------------------------------------------------------------------------------------------- */

/* In a child, since it makes a mount namespace: a disk of 1 MiB, filled until it says so, and what is left then. */
static int fill_a_disk(const char *dir)
{
    char where[160], why[256] = "";
    struct pc_store *s = NULL;
    uint32_t version;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m") < 0)
        return 77;
    snprintf(where, sizeof where, "sqlite:%s/full.db", dir);
    if (pc_store_connect(where, &s, why, sizeof why) < 0 || OP(s, migrate, &version) < 0 ||
        OP(s, put, "first", rig_blob("kept")) < 0)
        return 1;
    static char big[16384];
    char key[16];
    int r = 0;
    for (int i = 0; i < 200 && r == 0; i++) {
        snprintf(key, sizeof key, "key %d", i);
        r = OP(s, begin);
        if (r == 0)
            r = OP(s, put, key, ((struct pc_store_blob){big, sizeof big}));
        int c = r == 0 ? OP(s, commit) : OP(s, rollback);
        r = r < 0 ? r : c;
    }
    void *value = NULL;
    size_t len;
    bool kept = OP(s, get, "first", &value, &len) == 0 && strcmp(value, "kept") == 0;
    free(value);
    OP(s, close);
    return r != -ENOSPC ? 2 : !kept ? 3 : 0;
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    char dir[128];
    if (rig_is_postgres())
        skip(); /* the disk is the other program's */
    snprintf(dir, sizeof dir, "%s", rig_path("disk"));
    assert_int_equal(mkdir(dir, 0700), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fill_a_disk(dir));
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(rmdir(dir), 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip(); /* only root can make a small disk */
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- a newer program was here ------------------------------------------------------------------------------------- */

static void a_newer_schema_is_left_alone(void **state)
{
    struct pc_store *s = *state;
    uint32_t version = 42;
    rig_sql("UPDATE schema_version SET version=1000");
    assert_int_equal(OP(s, migrate, &version), PC_E_UNSUPPORTED);
    assert_int_equal(version, 42);
    assert_int_equal(OP(s, put, "k", rig_blob("v")), 0);
}

/* --- a lost connection, a deadlock -------------------------------------------------------------------------------- */

static void cut_connections(void)
{
    rig_sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name='portcullis-server'");
}

static void a_lost_connection_comes_back(void **state)
{
    struct pc_store *s = *state;
    _free_ void *value = NULL;
    size_t len;
    if (!rig_is_postgres())
        skip(); /* nothing to lose */
    assert_int_equal(OP(s, put, "k", rig_blob("kept")), 0);
    assert_true(OP(s, notify_fd) >= 0);
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, put, "k", rig_blob("lost")), 0);
    cut_connections();
    assert_int_equal(OP(s, put, "k2", rig_blob("lost")), -EIO);
    assert_true(strlen(OP(s, error)) > 0);
    assert_int_equal(OP(s, commit), -EIO);
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, get, "k", &value, &len), 0);
    assert_string_equal(value, "kept");
    assert_int_equal(OP(s, commit), 0);
    /* It listens again. */
    char heard[64] = "";
    struct pollfd p = {.fd = OP(s, notify_fd), .events = POLLIN};
    struct pc_store *other = rig_again();
    assert_int_equal(OP(other, notify, "hello"), 0);
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(OP(s, notify_read, hear, heard), 0);
    assert_string_equal(heard, "hello;");
    OP(other, close);
    /* And if listening is all that it does, as the connection of a server that hears the others. */
    cut_connections();
    int r = 0;
    for (int i = 0; i < 5 && r == 0; i++) { /* first comes why it is cut, then the end */
        assert_int_equal(poll(&p, 1, 10000), 1);
        r = OP(s, notify_read, hear, heard);
    }
    assert_int_equal(r, -EIO);
    p.fd = OP(s, notify_fd);
    assert_true(p.fd >= 0);
    other = rig_again();
    assert_int_equal(OP(other, notify, "again"), 0);
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_int_equal(OP(s, notify_read, hear, heard), 0);
    assert_string_equal(heard, "hello;again;");
    OP(other, close);
    /* Outside a transaction it comes back by itself, after one that failed. */
    cut_connections();
    assert_int_equal(OP(s, put, "k", rig_blob("x")), -EIO);
    assert_int_equal(OP(s, put, "k", rig_blob("y")), 0);
}

/* Runs a command of the shell with the process ids of a connection's server side: kill -STOP, kill -CONT. */
static void signal_sessions(const char *signal, const char *name)
{
    char sql[512];
    /* PostgreSQL's own way to run a program: as the user who may signal its processes. */
    snprintf(sql, sizeof sql,
             "DO $$ DECLARE p int; BEGIN FOR p IN SELECT pid FROM pg_stat_activity WHERE application_name='%s' LOOP "
             "EXECUTE format('COPY (SELECT 1) TO PROGRAM %%L', 'cat >/dev/null; kill -%s '||p); END LOOP; END $$", name,
             signal);
    rig_sql(sql);
}

/* Like another program's URL: what it says counts. */
static struct pc_store *connect_as(const char *name)
{
    char url[512], why[256] = "";
    struct pc_store *s = NULL;
    snprintf(url, sizeof url, "%s%capplication_name=%s", getenv("PC_POSTGRES"), strchr(getenv("PC_POSTGRES"), '?') ? '&' : '?',
             name);
    int r = pc_store_connect(url, &s, why, sizeof why);
    if (r < 0)
        fail_msg("%s", why);
    return s;
}

/* A server that takes what it is sent and says nothing: an impatient connection gives up, soon and then at once, and is
 * there again when the other end is. */
static void a_database_that_stands_still(void **state)
{
    (void)state;
    if (!rig_is_postgres())
        skip();
    struct pc_store *s = connect_as("impatient");
    _free_ void *value = NULL;
    size_t len;
    assert_int_equal(OP(s, hasten, 500), 0);
    assert_int_equal(OP(s, put, "k", rig_blob("v")), 0);
    signal_sessions("STOP", "impatient");
    for (int i = 0; i < 1000; i++)
        assert_true(pc_store_away(OP(s, get, "k", &value, &len)));
    assert_true(strlen(OP(s, error)) > 0);
    signal_sessions("CONT", "impatient");
    int r = -EIO;
    for (int i = 0; i < 3000 && pc_store_away(r); i++) {
        usleep(10000);
        r = OP(s, get, "k", &value, &len);
    }
    assert_int_equal(r, 0);
    assert_string_equal(value, "v");
    OP(s, close);
}

struct crossing {
    struct pc_store *s;
    struct pc_store_host second;
    int answer;
};

static void *cross(void *arg)
{
    struct crossing *c = arg;
    c->answer = OP(c->s, host_seen, &c->second);
    return NULL;
}

static void a_deadlock_is_told(void **state)
{
    struct pc_store *s = *state, *other;
    struct pc_store_host a = rig_host(1), b = rig_host(2);
    if (!rig_is_postgres())
        skip(); /* one writer at a time: there is none */
    assert_int_equal(OP(s, host_add, &a, rig_blob("e")), 0);
    assert_int_equal(OP(s, host_add, &b, rig_blob("e")), 0);
    other = rig_again();
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(other, begin), 0);
    assert_int_equal(OP(s, host_seen, &a), 0);
    assert_int_equal(OP(other, host_seen, &b), 0);
    struct crossing c = {.s = other, .second = a, .answer = 1};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cross, &c), 0);
    int r = OP(s, host_seen, &b);
    /* The one that goes on must end before the other can. */
    if (r == 0) {
        assert_int_equal(OP(s, commit), 0);
        pthread_join(thread, NULL);
        assert_int_equal(c.answer, -EAGAIN);
        assert_int_equal(OP(other, commit), -EIO);
    } else {
        assert_int_equal(r, -EAGAIN);
        assert_int_equal(OP(s, rollback), 0);
        pthread_join(thread, NULL);
        assert_int_equal(c.answer, 0);
        assert_int_equal(OP(other, commit), 0);
    }
    OP(other, close);
}

const struct CMUnitTest shared_tests[] = {
    STORE_TEST(appenders_stand_in_line),
    STORE_TEST(a_token_is_spent_once),
    STORE_TEST(a_reader_beside_a_writer),
    STORE_TEST(notifications),
    STORE_TEST(backups),
    STORE_TEST(a_file_that_is_no_database),
    STORE_TEST(a_full_disk_is_told),
    STORE_TEST(a_newer_schema_is_left_alone),
    STORE_TEST(a_lost_connection_comes_back),
    STORE_TEST(a_database_that_stands_still),
    STORE_TEST(a_deadlock_is_told),
};
const size_t shared_tests_n = sizeof shared_tests / sizeof shared_tests[0];
