/* The signatures of OpenSSH's own regression tests: six kinds are good, and bad as soon as anything about them is
 * wrong. */
#include "base/cleanup.h"
#include "base/err.h"
#include "files.h"
#include "trust/sshsig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NAMESPACE "unittest"
#define COUNTER 0x12345678u

static const struct vector {
    const char *name, *type, *label;
    bool hardware, webauthn;
    uint32_t counter;
} vectors[] = {
    {.name = "ed25519", .type = "ssh-ed25519", .label = "ED25519"},
    {.name = "ed25519_sk",
     .type = "sk-ssh-ed25519@openssh.com",
     .label = "ED25519-SK",
     .hardware = true,
     .counter = COUNTER},
    {.name = "ecdsa", .type = "ecdsa-sha2-nistp256", .label = "ECDSA"},
    {.name = "ecdsa_sk",
     .type = "sk-ecdsa-sha2-nistp256@openssh.com",
     .label = "ECDSA-SK",
     .hardware = true,
     .counter = COUNTER},
    {.name = "ecdsa_sk_webauthn",
     .type = "sk-ecdsa-sha2-nistp256@openssh.com",
     .label = "ECDSA-SK",
     .hardware = true,
     .webauthn = true,
     .counter = 0x31f},
    {.name = "rsa", .type = "ssh-rsa", .label = "RSA"},
};

struct loaded {
    char *sig, *data;
    size_t sig_len, data_len;
    struct pc_sshkey *key;
};

static struct loaded load(const char *name)
{
    struct loaded v;
    size_t len;
    v.sig = read_vector(name, ".sig", &v.sig_len);
    v.data = read_vector("signed-data", "", &v.data_len);
    _free_ char *line = read_vector(name, ".pub", &len);
    assert_int_equal(pc_sshkey_parse_line(line, len, &v.key), 0);
    return v;
}

static void unload(struct loaded *v)
{
    free(v->sig);
    free(v->data);
    pc_sshkey_free(v->key);
}

static int verify(const struct loaded *v, const char *ns, struct pc_sshsig_info *info)
{
    return pc_sshsig_verify(v->sig, v->sig_len, v->data, v->data_len, ns, v->key, info);
}

static void test_good(void **state)
{
    (void)state;
    for (const struct vector *want = vectors; want < vectors + PC_ARRAY_SIZE(vectors); want++) {
        struct pc_sshsig_info info;
        struct pc_sshkey *named;
        struct loaded v = load(want->name);
        print_message("%s\n", want->name);
        assert_int_equal(verify(&v, NAMESPACE, &info), 0);
        assert_string_equal(info.hash, "sha512");
        assert_int_equal(info.hardware, want->hardware);
        assert_int_equal(info.user_present, want->hardware);
        assert_false(info.user_verified);
        assert_int_equal(info.webauthn, want->webauthn);
        assert_int_equal(info.sk_counter, want->counter);
        assert_int_equal(info.sk_flags, want->hardware ? 1 : 0);
        assert_string_equal(pc_sshkey_type(v.key), want->type);
        assert_string_equal(pc_sshkey_label(v.key), want->label);
        assert_int_equal(pc_sshkey_is_hardware(v.key), want->hardware);
        assert_int_equal(pc_sshsig_key(v.sig, v.sig_len, &named), 0);
        assert_true(pc_sshkey_equal(named, v.key));
        pc_sshkey_free(named);
        unload(&v);
    }
}

static void test_wrong_message_or_namespace(void **state)
{
    (void)state;
    for (const struct vector *want = vectors; want < vectors + PC_ARRAY_SIZE(vectors); want++) {
        struct pc_sshsig_info info = {.sk_counter = 77};
        struct loaded v = load(want->name);
        assert_int_equal(verify(&v, "unittest2", &info), PC_E_NAMESPACE);
        assert_int_equal(verify(&v, "unittes", &info), PC_E_NAMESPACE);
        v.data[3] ^= 1;
        assert_int_equal(verify(&v, NAMESPACE, &info), PC_E_SIGNATURE);
        v.data[3] ^= 1;
        v.data_len--;
        assert_int_equal(verify(&v, NAMESPACE, &info), PC_E_SIGNATURE);
        assert_int_equal(info.sk_counter, 77);
        assert_int_equal(verify(&v, "", NULL), -EINVAL);
        unload(&v);
    }
}

/* Each signature under each other's key. */
static void test_other_key(void **state)
{
    (void)state;
    for (size_t i = 0; i < PC_ARRAY_SIZE(vectors); i++)
        for (size_t k = 0; k < PC_ARRAY_SIZE(vectors); k++) {
            struct loaded a = load(vectors[i].name), b = load(vectors[k].name);
            int r = pc_sshsig_verify(a.sig, a.sig_len, a.data, a.data_len, NAMESPACE, b.key, NULL);
            assert_int_equal(r, i == k ? 0 : PC_E_KEY);
            unload(&a);
            unload(&b);
        }
}

static void test_unsupported(void **state)
{
    (void)state;
    size_t len, pub_len, data_len;
    struct pc_sshkey *key = NULL;
    char algorithm[PC_SSHSIG_ALGORITHM_SIZE];
    _free_ char *sig = read_vector("mldsa44-ed25519", ".sig", &len),
                *pub = read_vector("mldsa44-ed25519", ".pub", &pub_len);
    _free_ char *data = read_vector("signed-data", "", &data_len);
    struct loaded other = load("ed25519");
    assert_int_equal(pc_sshkey_parse_line(pub, pub_len, &key), PC_E_UNSUPPORTED);
    assert_int_equal(pc_sshsig_key(sig, len, &key), PC_E_UNSUPPORTED);
    assert_null(key);
    assert_int_equal(pc_sshsig_verify(sig, len, data, data_len, NAMESPACE, other.key, NULL), PC_E_UNSUPPORTED);
    assert_int_equal(pc_sshsig_algorithm(sig, len, algorithm), 0);
    assert_string_equal(algorithm, "ssh-mldsa44-ed25519@openssh.com");
    unload(&other);
}

/* What `ssh-keygen -l -f FILE.pub` (OpenSSH 9.2) printed. */
static void test_fingerprints(void **state)
{
    (void)state;
    static const char *const want[][2] = {
        {"ed25519", "SHA256:ZxTZQ/K7JZpz0mHqWqdmYCUcq3MAtnu9TYA66TCBkxM"},
        {"ed25519_sk", "SHA256:pbI9wlyrFSsUbp+GTiIAOqNMvoajbF2tHsPMECyrMYU"},
        {"ecdsa", "SHA256:YInG0FuXzFrI4twnU4WIDUE7/iFeM9DVtx6zdi61Pvg"},
        {"ecdsa_sk", "SHA256:/ALxJUlmDPE0gxeL1nZip4oXm1VG1qmR2xL5iUzZD1A"},
        {"ecdsa_sk_webauthn", "SHA256:CnLUlPNaYYz05nves7k8lkzRjnzbbkaxQnfzZrS3kSM"},
        {"rsa", "SHA256:PnEztoQ74skPJhb/bvdbzdOVa2whp8Ws4housCPVrkI"},
    };
    for (size_t i = 0; i < PC_ARRAY_SIZE(want); i++) {
        char fingerprint[PC_SSHKEY_FINGERPRINT_SIZE];
        struct loaded v = load(want[i][0]);
        assert_int_equal(pc_sshkey_fingerprint(v.key, fingerprint), 0);
        assert_string_equal(fingerprint, want[i][1]);
        unload(&v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),         cmocka_unit_test(test_wrong_message_or_namespace),
        cmocka_unit_test(test_other_key),    cmocka_unit_test(test_unsupported),
        cmocka_unit_test(test_fingerprints),
    };
    return cmocka_run_group_tests_name("sshsig vectors", tests, NULL, NULL);
}
