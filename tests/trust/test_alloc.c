/*
 * The N-th allocation fails, for N = 1, 2, 3 ..., in us or in libcrypto: a wrong signature is never good for it, a right
 * one is good or an error, and out-parameters stay as they were.
 */
#include "base/cleanup.h"
#include "files.h"
#include "../lib/fail_alloc.h"
#include "trust/sshsig.h"

#include <stdio.h>
#include <string.h>

struct loaded {
    const char *name;
    char *sig, *pub, *data;
    size_t sig_len, pub_len, data_len;
};

static struct pc_sshkey *const untouched = (struct pc_sshkey *)&fail_alloc;

/* Parses the key and verifies; the result of the first that fails. */
static int verify(const struct loaded *v, const char **failure)
{
    struct pc_sshkey *key = untouched;
    struct pc_sshsig_info info = {.sk_counter = 4711};
    int r = pc_sshkey_parse_line(v->pub, v->pub_len, &key);
    if (r < 0) {
        if (key != untouched)
            *failure = "the key was set by a parse that failed";
        return r;
    }
    r = pc_sshsig_verify(v->sig, v->sig_len, v->data, v->data_len, "unittest", key, &info);
    if (r < 0 && info.sk_counter != 4711)
        *failure = "info was set by a check that failed";
    pc_sshkey_free(key);
    return r;
}

/* Returns how many allocations it takes, or -1 after saying what was wrong. */
static long run(const struct loaded *v, bool good)
{
    const char *failure = NULL;
    verify(v, &failure); /* what libcrypto sets up once is set up now */
    long last = 0;
    for (long n = 1; n < 10000 && !failure; n++) {
        fail_alloc_start(n);
        int r = verify(v, &failure);
        long used = fail_alloc_stop();
        if (r == 0 && !good)
            failure = "a wrong signature is good";
        last = n;
        if (used < n) { /* nothing failed any more */
            if ((r == 0) != good)
                failure = "wrong answer with all memory";
            break;
        }
    }
    if (failure)
        fprintf(stderr, "%s, allocation %ld: %s\n", v->name, last, failure);
    return failure ? -1 : last;
}

static bool run_both(const char *name)
{
    struct loaded v = {.name = name};
    v.sig = read_vector(name, ".sig", &v.sig_len);
    v.pub = read_vector(name, ".pub", &v.pub_len);
    v.data = read_vector("signed-data", "", &v.data_len);
    long right = run(&v, true);
    v.data[0] ^= 1;
    long wrong = run(&v, false);
    printf("%s: each of %ld allocations failed once (%ld for a wrong signature)\n", name, right - 1, wrong - 1);
    free(v.sig);
    free(v.pub);
    free(v.data);
    return right > 1 && wrong > 1;
}

int main(void)
{
    static const char *const names[] = {"ed25519", "ed25519_sk", "ecdsa", "ecdsa_sk", "ecdsa_sk_webauthn", "rsa"};
    bool good = true;
    if (!FAIL_ALLOC_WORKS)
        return fail_alloc_skip();
    for (size_t i = 0; i < PC_ARRAY_SIZE(names); i++)
        good = run_both(names[i]) && good;
    return good ? 0 : 1;
}
