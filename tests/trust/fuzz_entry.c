/* Fuzzes the log's entries as an auditor reads them: what is in one is what it names, and a halt reads the same again. */
#include "trust/entry.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void owners(const struct pc_entry *e)
{
    struct pc_entry_signed s;
    if (pc_entry_signed_read(e, &s, NULL, 0) < 0)
        return;
    if (s.has_document && (strcmp(s.e.sha256, s.sha256) != 0 || (s.has_texts && s.e.signatures != s.n)))
        abort();
    if (s.has_document && (s.has_texts || s.n == 0) && pc_entry_signed_fill(&s, &(struct pc_envelope){0}) == 0)
        abort();
    pc_entry_signed_clear(&s);
}

static void halt(const struct pc_entry *e)
{
    static struct pc_entry_halt h, again;
    struct pc_entry second;
    void *root;
    char *text;
    size_t len;
    if (pc_entry_halt_read(e, &h, NULL, 0) < 0)
        return;
    if (pc_entry_halt(e->tenant, &h, e->time, &text, &len) < 0 || pc_entry_parse(text, len, &second, &root, NULL, 0) < 0 ||
        pc_entry_halt_read(&second, &again, NULL, 0) < 0 || memcmp(&h, &again, sizeof h) != 0)
        abort();
    json_decref(root);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pc_entry e;
    struct pc_entry_piece piece;
    void *root;
    if (pc_entry_parse(data, size, &e, &root, NULL, 0) < 0)
        return 0;
    owners(&e);
    halt(&e);
    if (pc_entry_part_read(&e, &piece, NULL, 0) == 0) {
        if (piece.part >= piece.parts)
            abort();
        free(piece.data);
    }
    json_decref(root);
    return 0;
}
