/*
 * Asks src/trust and the installed ssh-keygen the same questions about thousands of damaged signatures, and wants the
 * same answer. Where we are stricter on purpose (see sshsig.h) the damage says so beforehand, with the error that it
 * must get; nothing may be good here that is bad there.
 *
 *   differential [--cases N] [--seed N]
 *
 * Status 0: all agreed. 77: there is no ssh-keygen. It stops at the first case that differs, and says where that is.
 */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "damage.h"
#include "files.h"
#include "forge.h"
#include "trust/sshsig.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

#define NAMESPACE "unittest"
#define MESSAGE "This is a test, this is only a test"
#define KEYGEN "/usr/bin/ssh-keygen"
#define ROOM 131072
#define SEEDS_MAX 32

struct seed {
    const char *name;
    char *pub;
    struct field *fields;
    int stricter; /* what we say to it, when it is good for ssh-keygen */
};

static struct seed seeds[SEEDS_MAX];
static size_t seed_count;

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "differential: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

/* --- what is damaged: OpenSSH's own signatures, and one of each kind made here ----------------------------------- */

static void add_seed(const char *name, char *pub, const void *raw, size_t len, int stricter)
{
    must(seed_count < SEEDS_MAX, "seeds");
    seeds[seed_count++] = (struct seed){.name = name, .pub = pub, .fields = fields_of(raw, len), .stricter = stricter};
}

static void add_vector(const char *name)
{
    size_t len;
    char *pub = read_vector(name, ".pub", &len);
    pub[strcspn(pub, "\n")] = 0;
    _free_ char *text = read_vector(name, ".sig", &len);
    _free_ char *raw = malloc(len);
    must(raw, "malloc");
    const char *from = strchr(text, '\n') + 1, *to = strstr(from, "-----END");
    ssize_t n = pc_base64_decode(from, (size_t)(to - from), PC_BASE64_SPACE, raw, len);
    must(n > 0, name);
    add_seed(name, pub, raw, (size_t)n, 0);
}

static void add_made(const char *name, const char *type, const char *application, int bits, struct forge_how how,
                     int stricter)
{
    struct forge_key key = forge_key(type, application, bits);
    how.ns = NAMESPACE;
    if (!how.hash)
        how.hash = "sha512";
    struct pc_buf raw _buf_free_ = forge_sign(&key, &how, MESSAGE, strlen(MESSAGE));
    add_seed(name, forge_line(&key), raw.data, raw.len, stricter);
    forge_key_free(&key);
}

static void make_seeds(void)
{
    static const char sk25519[] = "sk-ssh-ed25519@openssh.com", sk256[] = "sk-ecdsa-sha2-nistp256@openssh.com";
    static const char *const vectors[] = {"ed25519", "ed25519_sk", "ecdsa", "ecdsa_sk", "ecdsa_sk_webauthn", "rsa"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(vectors); i++)
        add_vector(vectors[i]);
    add_made("ed25519, sha256", "ssh-ed25519", NULL, 0, (struct forge_how){.hash = "sha256"}, 0);
    add_made("p256", "ecdsa-sha2-nistp256", NULL, 0, (struct forge_how){0}, 0);
    add_made("p384", "ecdsa-sha2-nistp384", NULL, 0, (struct forge_how){0}, 0);
    add_made("p521", "ecdsa-sha2-nistp521", NULL, 0, (struct forge_how){.hash = "sha256"}, 0);
    add_made("rsa 3072, sha2-256", "ssh-rsa", NULL, 3072, (struct forge_how){.rsa = "rsa-sha2-256"}, 0);
    add_made("rsa 3072, sha1", "ssh-rsa", NULL, 3072, (struct forge_how){.rsa = "ssh-rsa"}, 0);
    add_made("rsa 2048", "ssh-rsa", NULL, 2048, (struct forge_how){0}, PC_E_KEY);
    add_made("ed25519-sk, untouched", sk25519, "ssh:", 0, (struct forge_how){.counter = 1}, 0);
    add_made("ed25519-sk, verified", sk25519, "", 0, (struct forge_how){.flags = 5, .counter = 0xffffffff}, 0);
    add_made("ecdsa-sk, untouched", sk256, "ssh:", 0, (struct forge_how){.counter = 9}, 0);
    add_made("webauthn", sk256, "example.org", 0, (struct forge_how){.flags = 1, .origin = "https://example.org"}, 0);
    add_made("webauthn, extensions", sk256, "example.org", 0,
             (struct forge_how){.flags = 0x81, .origin = "https://example.org", .extensions = "\xa1"}, 0);
    add_made("webauthn, flag of extensions", sk256, "e", 0,
             (struct forge_how){.flags = 0x81, .origin = "https://example.org"}, 0);
    add_made("webauthn, no flag", sk256, "e", 0,
             (struct forge_how){.flags = 1, .origin = "https://e", .extensions = "\xa1"}, 0);
    add_made("webauthn, attested", sk256, "e", 0, (struct forge_how){.flags = 0x41, .origin = "https://e"}, 0);
    add_made("webauthn, quote", sk256, "e", 0, (struct forge_how){.flags = 1, .origin = "https://e\",\"x\":\""}, 0);
    add_made("webauthn, other text", sk256, "e", 0,
             (struct forge_how){.flags = 1, .origin = "https://e", .client = "{\"type\":\"webauthn.get\"}"}, 0);
}

/* --- both answers ------------------------------------------------------------------------------------------------ */

static void write_file(const char *path, const void *data, size_t len)
{
    _close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && write(fd, data, len) == (ssize_t)len, path);
}

static void write_trial(const struct trial *t)
{
    struct pc_buf signers _buf_free_;
    pc_buf_init(&signers, ROOM);
    must(pc_buf_addf(&signers, "u %s\n", t->pub) == 0, "allowed signers");
    write_file("sig", t->text.data, t->text.len);
    write_file("allowed", signers.data, signers.len);
    write_file("message", t->msg, strlen(t->msg));
}

/* 0 good, 255 bad: anything else is a failure of this test. */
static bool ssh_keygen_says_good(const struct trial *t)
{
    const char *argv[] = {"ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "u", "-n", t->ns, "-s", "sig", NULL};
    posix_spawn_file_actions_t files;
    pid_t pid;
    int status = -1;
    write_trial(t);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "message", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    errno = posix_spawn(&pid, KEYGEN, &files, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&files);
    must(errno == 0 && waitpid(pid, &status, 0) == pid, KEYGEN);
    must(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 255), "ssh-keygen's exit status");
    return WEXITSTATUS(status) == 0;
}

static int we_say(const struct trial *t)
{
    struct pc_sshkey *key;
    struct pc_sshsig *sig;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n;
    int r = pc_sshkey_parse_line(t->pub, strlen(t->pub), &key);
    if (r < 0)
        return r;
    r = pc_sshsig_parse(t->text.data, t->text.len, &sig);
    if (r == 0) {
        must(EVP_Digest(t->msg, strlen(t->msg), digest, &n, EVP_get_digestbyname(pc_sshsig_hash(sig)), NULL) == 1,
             "digest");
        r = pc_sshsig_verify_digest(sig, digest, n, t->ns, key, PC_SSHSIG_UNTOUCHED, NULL);
        pc_sshsig_free(sig);
    }
    pc_sshkey_free(key);
    return r;
}

/* --- the run ----------------------------------------------------------------------------------------------------- */

static void start(struct trial *t, const struct seed *seed, const struct seed *other)
{
    *t = (struct trial){.fields = fields_copy(seed->fields),
                        .other = other->fields,
                        .other_pub = other->pub,
                        .pub = strdup(seed->pub),
                        .ns = strdup(NAMESPACE),
                        .msg = strdup(MESSAGE),
                        .stricter = seed->stricter};
    pc_buf_init(&t->raw, ROOM);
    pc_buf_init(&t->text, ROOM);
}

static void finish(struct trial *t)
{
    fields_free(t->fields);
    pc_buf_free(&t->raw);
    pc_buf_free(&t->text);
    free(t->pub);
    free(t->ns);
    free(t->msg);
}

/* Applies a damage where it belongs while the trial goes from fields to bytes to text. */
static void apply(struct trial *t, const struct damage *d, uint64_t *rnd)
{
    if (d->stage == DAMAGE_FIELDS)
        d->apply(t, rnd);
    fields_write(t->fields, &t->raw);
    if (d->stage == DAMAGE_RAW)
        d->apply(t, rnd);
    char *text = forge_armour(t->raw.data, t->raw.len);
    pc_buf_add(&t->text, text, strlen(text));
    free(text);
    if (d->stage >= DAMAGE_TEXT)
        d->apply(t, rnd);
}

struct tally {
    unsigned cases, good, stricter;
};

static bool run_case(const struct seed *seed, const struct damage *d, uint64_t *rnd, struct tally *tally)
{
    struct trial t;
    start(&t, seed, &seeds[draw(rnd, seed_count)]);
    apply(&t, d, rnd);
    bool theirs = ssh_keygen_says_good(&t);
    int ours = we_say(&t);
    bool stricter = theirs && t.stricter && ours == t.stricter;
    bool agree = stricter || theirs == (ours == 0);
    tally->cases++;
    tally->good += theirs;
    tally->stricter += stricter;
    if (!agree)
        fprintf(stderr, "DIFFERS: %s, %s: ssh-keygen says %s, we say: %s\n", seed->name, d->name,
                theirs ? "good" : "bad", pc_strerror(ours));
    finish(&t);
    return agree;
}

/* Every seed once undamaged, then each damage in turn. */
static bool run(uint64_t cases, uint64_t rnd)
{
    struct tally total = {0}, *tallies = calloc(damage_count, sizeof *tallies);
    bool agree = true;
    must(tallies, "calloc");
    for (uint64_t i = 0; agree && i < cases; i++) {
        const struct damage *d = i < seed_count ? &damages[0] : &damages[i % damage_count];
        const struct seed *seed = i < seed_count ? &seeds[i] : &seeds[draw(&rnd, seed_count)];
        agree = run_case(seed, d, &rnd, &tallies[d - damages]);
    }
    for (size_t i = 0; i < damage_count; i++) {
        printf("%-24s %6u cases, %5u good\n", damages[i].name, tallies[i].cases, tallies[i].good);
        total.cases += tallies[i].cases;
        total.good += tallies[i].good;
        total.stricter += tallies[i].stricter;
    }
    printf("%u cases, ssh-keygen called %u good, we refused %u of these on purpose\n", total.cases, total.good,
           total.stricter);
    free(tallies);
    return agree && total.good > total.stricter && total.good < total.cases;
}

static const char *const files[] = {"sig", "allowed", "message"};

int main(int argc, char **argv)
{
    static const struct option options[] = {{"cases", 1, NULL, 'c'}, {"seed", 1, NULL, 's'}, {0}};
    uint64_t cases = 3000, seed = 1;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
        if (c == '?' || pc_parse_u64(optarg, 1, UINT64_MAX / 2, c == 'c' ? &cases : &seed) < 0)
            return 2;
    if (access(KEYGEN, X_OK) != 0) {
        puts("skipped: there is no " KEYGEN " (package openssh-client)");
        return 77;
    }
    char dir[] = "/tmp/pc-sshsig-XXXXXX";
    make_seeds();
    must(mkdtemp(dir) && chdir(dir) == 0, dir);
    bool agree = run(cases, seed);
    if (!agree) {
        fprintf(stderr, "the case is in %s: ssh-keygen -Y verify -f allowed -I u -n NAMESPACE -s sig <message\n", dir);
        return 1;
    }
    for (size_t i = 0; i < PC_ARRAY_SIZE(files); i++)
        unlink(files[i]);
    must(rmdir(dir) == 0, dir);
    for (size_t i = 0; i < seed_count; i++) {
        fields_free(seeds[i].fields);
        free(seeds[i].pub);
    }
    return 0;
}
