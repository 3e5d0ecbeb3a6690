/* Conformance: the log. */
#include "rig.h"

#include "base/cleanup.h"

#include <errno.h>

#define ENTRIES 700 /* more than are written at a time */

static struct pc_store_blob entries[ENTRIES];
static struct pc_store_node nodes[ENTRIES];
static char texts[ENTRIES][16];

static void fill(void)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(texts[i], sizeof texts[i], "entry %u", i);
        entries[i] = rig_blob(texts[i]);
        nodes[i] = (struct pc_store_node){.level = 0, .index = i};
        memcpy(nodes[i].hash, &i, sizeof i);
        nodes[i].hash[31] = 0xab;
    }
}

struct seen {
    uint64_t next;
    unsigned n;
};

static int check_entry(void *ctx, uint64_t index, struct pc_store_blob entry)
{
    struct seen *seen = ctx;
    assert_true(index == seen->next);
    assert_int_equal(entry.len, strlen(texts[index]));
    assert_memory_equal(entry.data, texts[index], entry.len);
    seen->next++;
    seen->n++;
    return 0;
}

static void entries_are_appended(void **state)
{
    struct pc_store *s = *state;
    uint64_t size = 42;
    fill();
    assert_int_equal(OP(s, log_size, &size), 0);
    assert_true(size == 0);
    assert_int_equal(OP(s, log_append, 0, entries, 3, nodes, 3, "at 3"), 0);
    assert_int_equal(OP(s, log_append, 0, entries, 3, nodes, 3, "again"), PC_E_CHANGED);
    assert_int_equal(OP(s, log_append, 4, entries, 3, nodes, 3, "gap"), PC_E_CHANGED);
    assert_int_equal(OP(s, log_append, 3, entries + 3, ENTRIES - 3, nodes + 3, ENTRIES - 3, "at end"), 0);
    assert_int_equal(OP(s, log_size, &size), 0);
    assert_true(size == ENTRIES);

    struct seen seen = {.next = 0};
    assert_int_equal(OP(s, log_entries, 0, 100, check_entry, &seen), 0);
    assert_int_equal(seen.n, 100);
    seen = (struct seen){.next = ENTRIES - 5};
    assert_int_equal(OP(s, log_entries, ENTRIES - 5, 100, check_entry, &seen), 0);
    assert_int_equal(seen.n, 5);
    assert_int_equal(OP(s, log_entries, ENTRIES, 100, check_entry, &seen), 0);
    assert_int_equal(seen.n, 5);
}

static void nodes_are_read(void **state)
{
    struct pc_store *s = *state;
    uint8_t hash[300][32] = {{0}};
    fill();
    nodes[600] = (struct pc_store_node){.level = 3, .index = 1, .hash = {7}};
    assert_int_equal(OP(s, log_append, 0, entries, 601, nodes, 601, "c"), 0);
    assert_int_equal(OP(s, log_node, 0, 599, hash[0]), 0);
    assert_memory_equal(hash[0], nodes[599].hash, 32);
    assert_int_equal(OP(s, log_node, 3, 1, hash[0]), 0);
    assert_int_equal(hash[0][0], 7);
    assert_int_equal(OP(s, log_node, 0, 600, hash[0]), PC_E_NOTFOUND);
    assert_int_equal(OP(s, log_node, 3, 0, hash[0]), PC_E_NOTFOUND);
    assert_int_equal(hash[0][0], 7);
    assert_int_equal(OP(s, log_nodes, 0, 256, 256, hash), 256);
    assert_memory_equal(hash[0], nodes[256].hash, 32);
    assert_memory_equal(hash[255], nodes[511].hash, 32);
    assert_int_equal(OP(s, log_nodes, 0, 512, 256, hash), 88);
    /* Not consecutive from 0 on: none. */
    assert_int_equal(OP(s, log_nodes, 3, 0, 256, hash), 0);
}

static void entries_are_found_by_name(void **state)
{
    struct pc_store *s = *state;
    uint64_t index = 42;
    assert_int_equal(OP(s, log_find, "aa", "order", &index), PC_E_NOTFOUND);
    assert_int_equal(OP(s, log_name, "aa", "order", 5), 0);
    assert_int_equal(OP(s, log_name, "aa", "continue", 6), 0);
    assert_int_equal(OP(s, log_name, "aa", "continue", 9), 0);
    assert_int_equal(OP(s, log_find, "aa", "order", &index), 0);
    assert_true(index == 5);
    assert_int_equal(OP(s, log_find, "aa", "continue", &index), 0);
    assert_true(index == 9);
    assert_int_equal(OP(s, log_find, "bb", "order", &index), PC_E_NOTFOUND);
}

static void expect_checkpoint(struct pc_store *s, uint64_t size, const char *want)
{
    _free_ char *text = NULL;
    assert_int_equal(OP(s, checkpoint, size, &text), want ? 0 : PC_E_NOTFOUND);
    if (want)
        assert_string_equal(text, want);
    else
        assert_null(text);
}

static void checkpoints(void **state)
{
    struct pc_store *s = *state;
    fill();
    expect_checkpoint(s, 0, NULL);
    assert_int_equal(OP(s, log_append, 0, NULL, 0, NULL, 0, "empty"), 0);
    expect_checkpoint(s, 0, "empty");
    assert_int_equal(OP(s, log_append, 0, entries, 2, nodes, 2, "at 2"), 0);
    assert_int_equal(OP(s, log_append, 2, entries + 2, 3, nodes + 2, 3, "at 5"), 0);
    expect_checkpoint(s, 2, "at 2");
    expect_checkpoint(s, 5, "at 5");
    expect_checkpoint(s, 3, NULL);
    expect_checkpoint(s, 0, "at 5");
    /* Signed again, cosigned. */
    assert_int_equal(OP(s, log_append, 5, NULL, 0, NULL, 0, "at 5, later"), 0);
    expect_checkpoint(s, 0, "at 5, later");
    assert_int_equal(OP(s, cosign, 5, "at 5, with a witness"), 0);
    expect_checkpoint(s, 5, "at 5, with a witness");
    assert_int_equal(OP(s, cosign, 2, "too late"), PC_E_CHANGED);
    expect_checkpoint(s, 2, "at 2");
}

static void old_checkpoints_are_dropped(void **state)
{
    struct pc_store *s = *state;
    assert_int_equal(OP(s, begin), 0);
    for (uint64_t i = 0; i < PC_STORE_CHECKPOINTS_MAX + 5; i++) {
        struct pc_store_blob entry = rig_blob("e");
        assert_int_equal(OP(s, log_append, i, &entry, 1, NULL, 0, "c"), 0);
    }
    assert_int_equal(OP(s, commit), 0);
    expect_checkpoint(s, 5, NULL);
    expect_checkpoint(s, 6, "c");
    expect_checkpoint(s, PC_STORE_CHECKPOINTS_MAX + 5, "c");
}

static void a_log_is_undone_with_its_transaction(void **state)
{
    struct pc_store *s = *state;
    uint64_t size = 42;
    fill();
    assert_int_equal(OP(s, begin), 0);
    assert_int_equal(OP(s, log_append, 0, entries, 3, nodes, 3, "at 3"), 0);
    assert_int_equal(OP(s, log_size, &size), 0);
    assert_true(size == 3);
    assert_int_equal(OP(s, rollback), 0);
    assert_int_equal(OP(s, log_size, &size), 0);
    assert_true(size == 0);
    expect_checkpoint(s, 0, NULL);
    /* The same node twice: the entries before it are undone too. */
    nodes[2] = nodes[1];
    assert_int_equal(OP(s, log_append, 0, entries, 3, nodes, 3, "at 3"), -EIO);
    assert_int_equal(OP(s, log_size, &size), 0);
    assert_true(size == 0);
}

const struct CMUnitTest log_tests[] = {
    STORE_TEST(entries_are_appended),        STORE_TEST(nodes_are_read),
    STORE_TEST(entries_are_found_by_name),   STORE_TEST(checkpoints),
    STORE_TEST(old_checkpoints_are_dropped), STORE_TEST(a_log_is_undone_with_its_transaction),
};
const size_t log_tests_n = sizeof log_tests / sizeof log_tests[0];
