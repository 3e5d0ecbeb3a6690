/*
 * The proofs of transparency-dev/merkle, good and mutated (tests/vectors/merkle): every file must get the answer that
 * it wants. Argument: the testdata folder.
 */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/merkle.h"

#include <fts.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

struct proof {
    uint8_t hash[PC_MERKLE_PROOF_MAX * 2][PC_HASH_LEN];
    size_t n;
};

/*
 * A value as a hash. Go's verifier takes slices, so some vectors hold values of other lengths. A decoder for our types
 * refuses no value and too long ones; short placeholders ("don't care 1") are padded, so that they are compared.
 */
static int to_hash(const json_t *value, uint8_t out[PC_HASH_LEN])
{
    uint8_t raw[64];
    const char *text = json_string_value(value);
    ssize_t n = text ? pc_base64_decode(text, strlen(text), 0, raw, sizeof raw) : -1;
    if (n < 1 || n > PC_HASH_LEN)
        return PC_E_SYNTAX;
    memset(out, 0, PC_HASH_LEN);
    memcpy(out, raw, (size_t)n);
    return 0;
}

/* Numbers are read as reals, because one vector has an index of 2^64 - 1; all others are small. */
static uint64_t to_number(const json_t *value)
{
    double v = json_number_value(value);
    return v >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)v;
}

static int to_proof(const json_t *list, struct proof *out)
{
    size_t i;
    const json_t *value;
    out->n = 0;
    json_array_foreach(list, i, value)
    {
        if (i == sizeof out->hash / sizeof out->hash[0])
            return PC_E_LIMIT;
        if (to_hash(value, out->hash[i]) < 0)
            return PC_E_SYNTAX;
        out->n++;
    }
    return 0;
}

static int inclusion(const json_t *v)
{
    struct proof proof;
    uint8_t leaf[PC_HASH_LEN], root[PC_HASH_LEN];
    if (to_proof(json_object_get(v, "proof"), &proof) < 0 || to_hash(json_object_get(v, "leafHash"), leaf) < 0 ||
        to_hash(json_object_get(v, "root"), root) < 0)
        return PC_E_SYNTAX;
    return pc_merkle_verify_inclusion(to_number(json_object_get(v, "leafIdx")),
                                      to_number(json_object_get(v, "treeSize")), leaf,
                                      (const uint8_t(*)[PC_HASH_LEN])proof.hash, proof.n, root);
}

static int consistency(const json_t *v)
{
    struct proof proof;
    uint8_t root1[PC_HASH_LEN], root2[PC_HASH_LEN];
    if (to_proof(json_object_get(v, "proof"), &proof) < 0 || to_hash(json_object_get(v, "root1"), root1) < 0 ||
        to_hash(json_object_get(v, "root2"), root2) < 0)
        return PC_E_SYNTAX;
    return pc_merkle_verify_consistency(to_number(json_object_get(v, "size1")), to_number(json_object_get(v, "size2")),
                                        root1, root2, (const uint8_t(*)[PC_HASH_LEN])proof.hash, proof.n);
}

struct tally {
    unsigned good, bad, wrong;
};

static void run_file(const char *path, struct tally *t)
{
    json_error_t err;
    json_t *v = json_load_file(path, JSON_DECODE_INT_AS_REAL, &err);
    const json_t *want = json_object_get(v, "wantErr");
    if (!json_is_boolean(want)) {
        fprintf(stderr, "%s: not a vector: %s\n", path, err.text);
        t->wrong++;
        json_decref(v);
        return;
    }
    int r = json_object_get(v, "leafIdx") ? inclusion(v) : consistency(v);
    if ((r < 0) != json_is_true(want)) {
        fprintf(stderr, "%s: answered %d (%s), wanted %s\n", path, r, pc_strerror(r),
                json_is_true(want) ? "an error" : "none");
        t->wrong++;
    }
    r < 0 ? t->bad++ : t->good++;
    json_decref(v);
}

int main(int argc, char **argv)
{
    struct tally t = {0};
    if (argc != 2)
        return 2;
    FTS *fts = fts_open((char *[]){argv[1], NULL}, FTS_PHYSICAL, NULL);
    for (FTSENT *e; fts && (e = fts_read(fts)) != NULL;)
        if (e->fts_info == FTS_F)
            run_file(e->fts_path, &t);
    if (fts)
        fts_close(fts);
    printf("%u proofs accepted, %u refused, %u wrong answers\n", t.good, t.bad, t.wrong);
    /* The folder holds 12 good and 184 bad ones; fewer means that it was not read. */
    return t.wrong == 0 && t.good == 12 && t.bad == 184 ? 0 : 1;
}
