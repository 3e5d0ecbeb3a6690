/*
 * Any bytes as a signed note: what is parsed lies inside the bytes, and can be verified without a crash. The note that
 * the corpus starts from was signed by `known`; nothing else may verify.
 */
#include "trust/note.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char known[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
static const char signed_text[] =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";

static int inside(const uint8_t *data, size_t size, const char *p, size_t len)
{
    const char *start = (const char *)data;
    return p >= start && len <= size && (size_t)(p - start) <= size - len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_note n;
    struct pc_vkey key, witness;
    int64_t time;
    if (pc_note_parse((const char *)data, size, &n) < 0)
        return 0;
    if (n.n_sigs < 1 || n.n_sigs > PC_NOTE_SIGS_MAX || n.text != (const char *)data ||
        !inside(data, size, n.text, n.text_len))
        abort();
    for (size_t i = 0; i < n.n_sigs; i++)
        if (!inside(data, size, n.sig[i].name, n.sig[i].name_len) ||
            !inside(data, size, n.sig[i].base64, n.sig[i].base64_len))
            abort();
    if (pc_vkey_parse(known, &key) < 0)
        abort();
    if (pc_note_verify(&n, &key) == 0 &&
        (n.text_len != sizeof signed_text - 1 || memcmp(n.text, signed_text, n.text_len) != 0))
        abort();
    if (pc_vkey_make(key.name, PC_SIG_COSIGNATURE, key.key, &witness) < 0)
        abort();
    if (pc_note_verify_cosignature(&n, &witness, &time) == 0)
        abort();
    return 0;
}
