/*
 * Owns the one place where the command line has something signed: by ssh-keygen, by exec with arguments, on exactly the
 * bytes that were shown (they are handed over in memory, not by the file's name). Sees no private key.
 */
#include "cli/sign.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "cli/cli.h"
#include "trust/envelope.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

static const char *const usual[] = {"id_ed25519_sk", "id_ecdsa_sk", "id_ed25519", "id_ecdsa", "id_rsa"};

static int choose_key(const char *given, char out[PATH_MAX])
{
    const char *home = getenv("HOME");
    if (given)
        return snprintf(out, PATH_MAX, "%s", given) < PATH_MAX
                   ? 0
                   : pc_cli_fail(PC_EXIT_USAGE, "--key: the path is too long");
    for (size_t i = 0; home && i < PC_ARRAY_SIZE(usual); i++)
        if (snprintf(out, PATH_MAX, "%s/.ssh/%s", home, usual[i]) < PATH_MAX && access(out, R_OK) == 0)
            return 0;
    return pc_cli_fail(PC_EXIT_USAGE, "no SSH key in ~/.ssh: --key FILE says which to sign with");
}

/* The bytes in a file that has no name, at its beginning. A descriptor, or -errno. */
static int in_memory(const void *data, size_t len)
{
    _close_ int fd = memfd_create("document", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = pc_write_all(fd, data, len);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? r : TAKE_FD(fd);
}

static void become_ssh_keygen(int in, int out, const char *key, const char *ns)
{
    char *const argv[] = {(char[]){"ssh-keygen"}, (char[]){"-Y"}, (char[]){"sign"}, (char[]){"-q"},
                          (char[]){"-n"}, (char *)ns, (char[]){"-f"}, (char *)key, NULL};
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
        _exit(126);
    execvp(argv[0], argv);
    fprintf(stderr, "portcullis: ssh-keygen cannot be run: %s\n", strerror(errno));
    _exit(127);
}

/* All that comes, up to cap - 1 bytes; the rest is read and dropped, so that the writer ends. */
static size_t read_all(int fd, char *out, size_t cap)
{
    size_t used = 0;
    char drop[512];
    for (;;) {
        bool full = used + 1 >= cap;
        ssize_t n = read(fd, full ? drop : out + used, full ? sizeof drop : cap - 1 - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        used += full ? 0 : (size_t)n;
    }
    out[used] = 0;
    return used;
}

/* Runs ssh-keygen; its standard output, at most cap - 1 bytes. */
static int run(int in, const char *key, const char *ns, char *out, size_t cap, size_t *len)
{
    int pipes[2], state = 0;
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "no pipe: %s", strerror(errno));
    _close_ int from = pipes[0], to = pipes[1];
    pid_t pid = fork();
    if (pid < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "ssh-keygen cannot be run: %s", strerror(errno));
    if (pid == 0)
        become_ssh_keygen(in, to, key, ns);
    close(TAKE_FD(to));
    *len = read_all(from, out, cap);
    while (waitpid(pid, &state, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0)
        return 0;
    return pc_cli_fail(PC_EXIT_FAILED, "%s: ssh-keygen did not sign: nothing was written", key);
}

/* Trust nothing that came out of a pipe: is it a signature over these bytes, for this purpose? */
static int verify(const char *sig, size_t sig_len, const char *ns, const void *data, size_t len,
                  struct pc_sshkey **signer)
{
    struct pc_sshkey *key = NULL;
    int r = pc_sshsig_key(sig, sig_len, &key);
    if (r == 0)
        r = pc_sshsig_verify(sig, sig_len, data, len, ns, key, NULL);
    if (r < 0) {
        pc_sshkey_free(key);
        return pc_cli_fail(
            PC_EXIT_FAILED, "what ssh-keygen made is not a signature that hosts accept: %s%s", pc_strerror(r),
            r == PC_E_PRESENCE ? " (a key made with -O no-touch-required never asks for it: make another)" : "");
    }
    *signer = key;
    return 0;
}

int pc_sign(const char *key, const char *ns, const void *data, size_t len, char **sig, size_t *sig_len,
            struct pc_sshkey **signer, char used[PATH_MAX])
{
    char text[PC_SIGNATURE_TEXT_MAX + 2];
    size_t n = 0;
    int status = choose_key(key, used);
    if (status)
        return status;
    _close_ int in = in_memory(data, len);
    if (in < 0)
        return pc_cli_fail(PC_EXIT_FAILED, "no memory file: %s", pc_strerror(in));
    fflush(stdout);
    status = run(in, used, ns, text, sizeof text, &n);
    if (status == 0 && n > PC_SIGNATURE_TEXT_MAX)
        status = pc_cli_fail(PC_EXIT_FAILED, "%s: the signature is longer than %d bytes", used, PC_SIGNATURE_TEXT_MAX);
    if (status == 0 && strlen(text) != n)
        status = pc_cli_fail(PC_EXIT_FAILED, "%s: what ssh-keygen made is not a text", used);
    if (status == 0)
        status = verify(text, n, ns, data, len, signer);
    if (status)
        return status;
    *sig = strdup(text);
    *sig_len = n;
    return *sig ? 0 : pc_cli_fail(PC_EXIT_FAILED, "out of memory");
}
