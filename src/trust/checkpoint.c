/*
 * Owns checkpoints: their text, who must have signed them, and what may follow one. Hosts hand it what the server sent;
 * the server what it is about to sign. Trusts no byte; must not keep or compare times with a clock (it has none).
 */
#include "trust/checkpoint.h"

#include "base/base64.h"
#include "base/err.h"
#include "base/str.h"

#include <inttypes.h>
#include <string.h>

/* --- text --------------------------------------------------------------------------------------------------------- */

/* The next line without its newline; false at the end. Every line has one: the caller checked the last. */
static bool next_line(const char **p, const char *end, struct pc_bytes *line)
{
    if (*p == end)
        return false;
    const char *eol = memchr(*p, '\n', (size_t)(end - *p));
    *line = (struct pc_bytes){*p, (size_t)(eol - *p)};
    *p = eol + 1;
    return true;
}

/* A decimal number without sign, white space or leading zeros. */
static int parse_decimal(struct pc_bytes line, uint64_t max, uint64_t *out)
{
    char digits[21];
    const char *p = line.data;
    if (line.len < 1 || line.len >= sizeof digits || (line.len > 1 && p[0] == '0'))
        return PC_E_SYNTAX;
    memcpy(digits, p, line.len);
    digits[line.len] = 0;
    return pc_parse_u64(digits, 0, max, out);
}

static int parse_root(struct pc_bytes line, uint8_t out[PC_HASH_LEN])
{
    ssize_t n = pc_base64_decode(line.data, line.len, 0, out, PC_HASH_LEN);
    return n == PC_HASH_LEN ? 0 : PC_E_SYNTAX;
}

static int parse_extension(struct pc_bytes line, struct pc_checkpoint *c)
{
    static const char name[] = "time ";
    const size_t n = sizeof name - 1;
    if (line.len == 0)
        return PC_E_SYNTAX;
    if (line.len < n || memcmp(line.data, name, n) != 0)
        return 0;
    uint64_t time;
    int r = parse_decimal((struct pc_bytes){(const char *)line.data + n, line.len - n}, INT64_MAX, &time);
    if (r < 0 || time == 0 || c->time != 0)
        return PC_E_SYNTAX;
    c->time = (int64_t)time;
    return 0;
}

static int parse_head(const char **p, const char *end, struct pc_checkpoint *c)
{
    struct pc_bytes origin, size, root;
    if (!next_line(p, end, &origin) || !next_line(p, end, &size) || !next_line(p, end, &root))
        return PC_E_SYNTAX;
    if (origin.len == 0 || memchr(origin.data, 0, origin.len))
        return PC_E_SYNTAX;
    if (origin.len > PC_CHECKPOINT_ORIGIN_MAX)
        return PC_E_LIMIT;
    memcpy(c->origin, origin.data, origin.len);
    int r = parse_decimal(size, PC_MERKLE_SIZE_MAX, &c->size);
    return r < 0 ? r : parse_root(root, c->root);
}

/* A tree without leaves has one root only. */
static int check_empty(const struct pc_checkpoint *c)
{
    uint8_t empty[PC_HASH_LEN];
    pc_merkle_empty(empty);
    return c->size > 0 || memcmp(c->root, empty, PC_HASH_LEN) == 0 ? 0 : PC_E_CORRUPT;
}

int pc_checkpoint_parse(const char *text, size_t len, struct pc_checkpoint *out)
{
    if (len > PC_CHECKPOINT_MAX)
        return PC_E_LIMIT;
    if (len == 0 || text[len - 1] != '\n')
        return PC_E_SYNTAX;
    const char *p = text, *end = text + len;
    struct pc_checkpoint c = {0};
    struct pc_bytes line;
    int r = parse_head(&p, end, &c);
    for (unsigned n = 0; r == 0 && next_line(&p, end, &line); n++)
        r = n < PC_CHECKPOINT_EXTENSIONS_MAX ? parse_extension(line, &c) : PC_E_LIMIT;
    if (r == 0)
        r = check_empty(&c);
    if (r == 0)
        *out = c;
    return r;
}

int pc_checkpoint_format(const struct pc_checkpoint *c, struct pc_buf *out)
{
    if (c->origin[0] == 0 || strchr(c->origin, '\n') || c->size > PC_MERKLE_SIZE_MAX || c->time < 0 ||
        check_empty(c) < 0)
        return PC_E_SYNTAX;
    char root[PC_BASE64_SIZE(PC_HASH_LEN)];
    pc_base64_encode(c->root, PC_HASH_LEN, root);
    int r = pc_buf_addf(out, "%s\n%" PRIu64 "\n%s\n", c->origin, c->size, root);
    if (r == 0 && c->time > 0)
        r = pc_buf_addf(out, "time %" PRId64 "\n", c->time);
    return r;
}

/* --- who signed --------------------------------------------------------------------------------------------------- */

static bool same_key(const struct pc_vkey *a, const struct pc_vkey *b)
{
    return memcmp(a->key, b->key, sizeof a->key) == 0;
}

/* A witness under two names is one witness, and a log that cosigns itself is none. */
static bool counts(const struct pc_vkey *log, const struct pc_vkey *witnesses, size_t i)
{
    if (same_key(log, &witnesses[i]))
        return false;
    for (size_t k = 0; k < i; k++)
        if (same_key(&witnesses[k], &witnesses[i]))
            return false;
    return true;
}

static int check_witnesses(const struct pc_note *note, const struct pc_vkey *log, const struct pc_vkey *witnesses,
                           size_t n, unsigned needed)
{
    unsigned good = 0;
    for (size_t i = 0; i < n; i++) {
        if (!counts(log, witnesses, i))
            continue;
        int r = pc_note_verify_cosignature(note, &witnesses[i], NULL);
        if (r == 0)
            good++;
        else if (r != PC_E_NOTFOUND)
            return r;
    }
    return good >= needed ? 0 : PC_E_REFUSED;
}

int pc_checkpoint_open(const char *note, size_t len, const struct pc_vkey *log, const struct pc_vkey *witnesses,
                       size_t n_witnesses, unsigned needed, struct pc_checkpoint *out)
{
    struct pc_note n;
    struct pc_checkpoint c;
    int r = pc_note_parse(note, len, &n);
    if (r == 0)
        r = pc_note_verify(&n, log);
    if (r == 0)
        r = pc_checkpoint_parse(n.text, n.text_len, &c);
    if (r == 0 && strcmp(c.origin, log->name) != 0)
        r = PC_E_KEY;
    if (r == 0)
        r = check_witnesses(&n, log, witnesses, n_witnesses, needed);
    if (r == 0)
        *out = c;
    return r;
}

/* --- what may follow ---------------------------------------------------------------------------------------------- */

int pc_checkpoint_follows(const struct pc_checkpoint *last, const struct pc_checkpoint *next,
                          const uint8_t (*proof)[PC_HASH_LEN], size_t n)
{
    if (last->origin[0] && strcmp(last->origin, next->origin) != 0)
        return PC_E_KEY;
    if (next->size < last->size)
        return PC_E_CHANGED;
    if (last->size == 0)
        return n == 0 ? 0 : PC_E_SYNTAX;
    int r = pc_merkle_verify_consistency(last->size, next->size, last->root, next->root, proof, n);
    return r == PC_E_UNVERIFIED ? PC_E_CHANGED : r;
}
