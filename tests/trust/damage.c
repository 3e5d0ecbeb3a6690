/*
 * Owns the ways in which the differential test damages a signature: its fields, bytes, text, and the question about
 * it.
 */
#include "damage.h"

#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"

#include <string.h>

uint64_t draw(uint64_t *rnd, uint64_t below)
{
    uint64_t x = (*rnd += 0x9e3779b97f4a7c15ULL); /* splitmix64 */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    return (x ^ x >> 31) % below;
}

#define PICK(rnd, list) ((list)[draw(rnd, PC_ARRAY_SIZE(list))])

/* --- fields ------------------------------------------------------------------------------------------------------ */

static struct field *pick(struct trial *t, uint64_t *rnd)
{
    struct field *list[64];
    return list[draw(rnd, fields_list(t->fields, list, PC_ARRAY_SIZE(list)))];
}

static struct field *pick_leaf(struct trial *t, uint64_t *rnd)
{
    struct field *f;
    do
        f = pick(t, rnd);
    while (f->children);
    return f;
}

static void set(struct field *f, const void *data, size_t len)
{
    uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        exit(1);
    memcpy(bytes, data, len);
    free(f->bytes);
    f->bytes = bytes;
    f->len = len;
}

static void set_text(struct field *f, const char *text)
{
    set(f, text, strlen(text));
}

/* Puts n bytes of value `with` into a field's content. */
static void insert(struct field *f, size_t at, size_t n, int with)
{
    _free_ uint8_t *bytes = malloc(f->len + n + 1);
    if (!bytes)
        exit(1);
    memcpy(bytes, f->bytes, at);
    memset(bytes + at, with, n);
    memcpy(bytes + at + n, f->bytes + at, f->len - at);
    set(f, bytes, f->len + n);
}

static void flip_in_field(struct trial *t, uint64_t *rnd)
{
    struct field *f = pick_leaf(t, rnd);
    if (f->len)
        f->bytes[draw(rnd, f->len)] ^= (uint8_t)(1u << draw(rnd, 8));
}

static void cut_field(struct trial *t, uint64_t *rnd)
{
    struct field *f = pick_leaf(t, rnd);
    f->len -= f->len ? 1 + draw(rnd, f->len < 4 ? f->len : 4) : 0;
}

static void cut_field_front(struct trial *t, uint64_t *rnd)
{
    struct field *f = pick_leaf(t, rnd);
    if (f->len)
        set(f, f->bytes + 1, f->len - 1);
}

static void extend_field(struct trial *t, uint64_t *rnd)
{
    struct field *f = pick_leaf(t, rnd);
    insert(f, f->len, 1 + draw(rnd, 4), (int)draw(rnd, 256));
}

static void end_with_nul(struct trial *t, uint64_t *rnd)
{
    struct field *f = pick_leaf(t, rnd);
    insert(f, f->len, draw(rnd, 4) ? 1 : 2, 0);
}

static void nul_inside(struct trial *t, uint64_t *rnd)
{
    struct field *f = pick_leaf(t, rnd);
    insert(f, draw(rnd, f->len + 1), 1, 0);
}

static void leading_zeros(struct trial *t, uint64_t *rnd)
{
    static const size_t counts[] = {1, 2, 7, 300, 2048};
    insert(pick_leaf(t, rnd), 0, PICK(rnd, counts), 0);
}

/* Where leading zeros mean nothing: the numbers of ECDSA and RSA. */
static void leading_zeros_in_number(struct trial *t, uint64_t *rnd)
{
    static const char *const names[] = {"r", "s", "key number 1", "key number 2"};
    static const size_t counts[] = {1, 2, 7, 300, 2015, 2016, 2017};
    struct field *f = fields_find(t->fields, PICK(rnd, names));
    if (f)
        insert(f, 0, PICK(rnd, counts), 0);
}

static void empty_field(struct trial *t, uint64_t *rnd)
{
    pick_leaf(t, rnd)->len = 0;
}

static void lie_about_length(struct trial *t, uint64_t *rnd)
{
    static const uint32_t lies[] = {1, 2, 3, 4, 0x10, 0x100, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff};
    pick(t, rnd)->length_lie = PICK(rnd, lies);
}

static struct field *pick_with_place(struct trial *t, uint64_t *rnd, struct field **parent, size_t *at)
{
    struct field *list[64], *wanted = pick(t, rnd);
    size_t n = fields_list(t->fields, list, PC_ARRAY_SIZE(list));
    *parent = t->fields;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < list[i]->children; k++)
            if (list[i]->child[k] == wanted)
                *parent = list[i];
    for (*at = 0; (*parent)->child[*at] != wanted; (*at)++)
        ;
    return wanted;
}

static void drop_field(struct trial *t, uint64_t *rnd)
{
    struct field *parent;
    size_t at;
    fields_free(pick_with_place(t, rnd, &parent, &at));
    memmove(parent->child + at, parent->child + at + 1, (--parent->children - at) * sizeof *parent->child);
}

static void double_field(struct trial *t, uint64_t *rnd)
{
    struct field *parent;
    size_t at;
    struct field *f = pick_with_place(t, rnd, &parent, &at);
    if (parent->children == FIELD_CHILDREN_MAX)
        return;
    memmove(parent->child + at + 1, parent->child + at, (parent->children++ - at) * sizeof *parent->child);
    parent->child[at] = fields_copy(f);
}

static void swap_fields(struct trial *t, uint64_t *rnd)
{
    struct field *parent;
    size_t at;
    pick_with_place(t, rnd, &parent, &at);
    struct field *f = parent->child[at];
    size_t with = draw(rnd, parent->children);
    parent->child[at] = parent->child[with];
    parent->child[with] = f;
}

/* The same field of another signature: its key, its signature, its hash name, ... */
static void take_field_of_other(struct trial *t, uint64_t *rnd)
{
    struct field *parent;
    size_t at;
    struct field *f = pick_with_place(t, rnd, &parent, &at);
    struct field *theirs = fields_find((struct field *)(uintptr_t)t->other, f->name);
    if (!theirs)
        return;
    parent->child[at] = fields_copy(theirs);
    fields_free(f);
}

static void other_version(struct trial *t, uint64_t *rnd)
{
    static const char *const versions[] = {"\0\0\0\0", "\0\0\0\2", "\0\0\1\0", "\x80\0\0\1", "\xff\xff\xff\xff"};
    set(fields_find(t->fields, "version"), PICK(rnd, versions), 4);
}

static void fill_reserved(struct trial *t, uint64_t *rnd)
{
    insert(fields_find(t->fields, "reserved"), 0, 1 + draw(rnd, 300), (int)draw(rnd, 256));
}

static void other_hash_name(struct trial *t, uint64_t *rnd)
{
    static const char *const names[] = {"sha256",        "sha512", "SHA512", "sha384",  "sha1",    "md5",
                                        "sha512,sha256", "sha*",   "",       "sha512 ", "sha-512", "none"};
    set_text(fields_find(t->fields, "hash"), PICK(rnd, names));
}

static const char *const type_names[] = {
    "ssh-ed25519",
    "ED25519",
    "ed25519",
    "ED25519-SK",
    "Ed25519-sk",
    "ssh-rsa",
    "RSA",
    "rsa",
    "rsa-sha2-256",
    "rsa-sha2-512",
    "ECDSA",
    "ecdsa",
    "ECDSA-SK",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-dss",
    "DSA",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-ed25519-cert-v01@openssh.com",
    "ssh-rsa-cert-v01@openssh.com",
    "rsa-sha2-512-cert-v01@openssh.com",
    "ssh-xmss@openssh.com",
    "",
    "ssh-mldsa44-ed25519@openssh.com",
    "SSH-ED25519",
    "ssh-ed25519 ",
};

static void other_key_type(struct trial *t, uint64_t *rnd)
{
    set_text(fields_find(t->fields, "key type"), PICK(rnd, type_names));
}

static void other_signature_type(struct trial *t, uint64_t *rnd)
{
    set_text(fields_find(t->fields, "signature type"), PICK(rnd, type_names));
}

/* The public key changed in the same way as the signature's: then it is the very key that has to be judged. */
static void same_key_in_question(struct trial *t)
{
    struct pc_buf blob _buf_free_;
    struct field *key = fields_find(t->fields, "key");
    pc_buf_init(&blob, 65536);
    fields_write(key, &blob);
    if (blob.len < 4)
        return;
    const char *type = strcspn(t->pub, " ") ? t->pub : "";
    int type_len = (int)strcspn(type, " ");
    _free_ char *text = malloc(PC_BASE64_SIZE(blob.len));
    struct pc_buf line;
    pc_buf_init(&line, 131072);
    if (!text)
        exit(1);
    pc_base64_encode(blob.data + 4, blob.len - 4, text);
    pc_buf_addf(&line, "%.*s %s", type_len, type, text);
    free(t->pub);
    t->pub = line.data;
}

static void other_key_on_both_sides(struct trial *t, uint64_t *rnd)
{
    static void (*const ways[])(struct trial *, uint64_t *) = {other_key_type, other_key_type, leading_zeros_in_number,
                                                               nul_inside,     flip_in_field,  cut_field,
                                                               extend_field,   end_with_nul};
    struct field *key = fields_find(t->fields, "key"), *all = t->fields;
    void (*way)(struct trial *, uint64_t *) = PICK(rnd, ways);
    t->fields = key;
    way(t, rnd);
    t->fields = all;
    same_key_in_question(t);
}

/* S and S + L are the same to whoever does not check that S is below L, the order of the group (RFC 8032
 * section 5.1.7). */
static void unreduced_s(struct trial *t, uint64_t *rnd)
{
    static const uint8_t order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58,       0xd6,
                                      0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};
    struct field *f = fields_find(t->fields, "signature bytes"), *type = fields_find(t->fields, "signature type");
    (void)rnd;
    if (!f || f->len != 64 || !memmem(type->bytes, type->len, "ed25519", 7))
        return;
    unsigned carry = 0;
    for (size_t i = 0; i < sizeof order; i++) {
        carry += f->bytes[32 + i] + order[i];
        f->bytes[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    t->stricter = PC_E_SIGNATURE;
}

/* --- bytes ------------------------------------------------------------------------------------------------------- */

static void flip_bit(struct trial *t, uint64_t *rnd)
{
    t->raw.data[draw(rnd, t->raw.len)] ^= (char)(1u << draw(rnd, 8));
}

static void set_byte(struct trial *t, uint64_t *rnd)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    t->raw.data[draw(rnd, t->raw.len)] = (char)PICK(rnd, values);
}

static void replace(struct pc_buf *b, const void *head, size_t head_len, const void *tail, size_t tail_len)
{
    struct pc_buf new;
    pc_buf_init(&new, b->max);
    pc_buf_add(&new, head, head_len);
    pc_buf_add(&new, tail, tail_len);
    pc_buf_free(b);
    *b = new;
}

static void cut_bytes(struct trial *t, uint64_t *rnd)
{
    size_t at = draw(rnd, t->raw.len), n = 1 + draw(rnd, 4), left = t->raw.len - at;
    n = n > left ? left : n;
    replace(&t->raw, t->raw.data, at, t->raw.data + at + n, left - n);
}

static void truncate_bytes(struct trial *t, uint64_t *rnd)
{
    t->raw.len = draw(rnd, t->raw.len);
}

static void append_bytes(struct trial *t, uint64_t *rnd)
{
    char byte = (char)draw(rnd, 256);
    for (size_t n = 1 + draw(rnd, 5); n; n--)
        pc_buf_add(&t->raw, &byte, 1);
}

static void splice(struct trial *t, uint64_t *rnd)
{
    struct pc_buf other _buf_free_;
    pc_buf_init(&other, 65536);
    fields_write(t->other, &other);
    size_t from = draw(rnd, other.len), keep = draw(rnd, 2) ? from : draw(rnd, t->raw.len);
    keep = keep > t->raw.len ? t->raw.len : keep;
    replace(&t->raw, t->raw.data, keep, other.data + from, other.len - from);
}

/* --- text -------------------------------------------------------------------------------------------------------- */

static void insert_text(struct trial *t, size_t at, const char *what, size_t len)
{
    struct pc_buf head _buf_free_;
    pc_buf_init(&head, t->text.max);
    pc_buf_add(&head, t->text.data, at);
    pc_buf_add(&head, what, len);
    replace(&t->text, head.data, head.len, t->text.data + at, t->text.len - at);
}

#define BEGIN_LEN 30
/* A place in the base64. */
static size_t inside(const struct trial *t, uint64_t *rnd)
{
    return BEGIN_LEN + draw(rnd, t->text.len > 2 * BEGIN_LEN ? t->text.len - 2 * BEGIN_LEN : 1);
}

static void white_space(struct trial *t, uint64_t *rnd)
{
    static const char *const spaces[] = {" ", "\n", "\t", "\r", "\v", "\f", "  \n ", "\r\n", "\n\n\n"};
    const char *what = PICK(rnd, spaces);
    for (size_t n = 1 + draw(rnd, 4); n; n--)
        insert_text(t, inside(t, rnd), what, strlen(what));
}

static void junk_in_base64(struct trial *t, uint64_t *rnd)
{
    static const char junk[] = "=-_!*\0\x80\xa0\xff,.A/";
    insert_text(t, inside(t, rnd), junk + draw(rnd, sizeof junk - 1), 1);
}

static void before_or_after(struct trial *t, uint64_t *rnd)
{
    static const char *const texts[] = {
        "\n", " ", "\r\n", "junk\n", "-----BEGIN SSH SIGNATURE-----\n", "\n-----END SSH SIGNATURE-----\n"};
    const char *what = PICK(rnd, texts);
    insert_text(t, draw(rnd, 3) ? t->text.len : 0, what, strlen(what));
}

static void crlf(struct trial *t, uint64_t *rnd)
{
    size_t from = draw(rnd, 2) ? BEGIN_LEN : 0;
    for (size_t i = from; i < t->text.len; i++)
        if (t->text.data[i] == '\n')
            insert_text(t, i++, "\r", 1);
}

static void flip_in_text(struct trial *t, uint64_t *rnd)
{
    t->text.data[draw(rnd, t->text.len)] ^= (char)(1u << draw(rnd, 8));
}

static void truncate_text(struct trial *t, uint64_t *rnd)
{
    t->text.len = draw(rnd, t->text.len);
}

static char *end_of_base64(struct trial *t)
{
    return memmem(t->text.data, t->text.len, "\n-----END", 9);
}

static void padding(struct trial *t, uint64_t *rnd)
{
    static const char *const pads[] = {"=", "==", "A", "A=", "AA==", "AAA", " =", "= ="};
    char *end = end_of_base64(t);
    if (!end)
        return;
    size_t at = (size_t)(end - t->text.data);
    while (draw(rnd, 2) && at && t->text.data[at - 1] == '=') {
        replace(&t->text, t->text.data, at - 1, t->text.data + at, t->text.len - at);
        at--;
    }
    const char *what = PICK(rnd, pads);
    if (draw(rnd, 3))
        insert_text(t, at, what, strlen(what));
}

static void nul_before_end(struct trial *t, uint64_t *rnd)
{
    char *end = end_of_base64(t);
    if (end)
        insert_text(t, (size_t)(end - t->text.data), "\0", 1 + draw(rnd, 2) / 2);
}

static void nothing(struct trial *t, uint64_t *rnd)
{
    (void)t;
    (void)rnd;
}

/* --- the question ------------------------------------------------------------------------------------------------- */

static void set_string(char **to, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        exit(1);
    free(*to);
    *to = copy;
}

static void other_namespace(struct trial *t, uint64_t *rnd)
{
    static const char *const names[] = {"unittest", "unittest ",        "unittes", "Unittest",
                                        "file",     "order@portcullis", "*",       "a,unittest"};
    set_string(&t->ns, PICK(rnd, names));
}

static void other_message(struct trial *t, uint64_t *rnd)
{
    static const char *const messages[] = {"", "This is a test, this is only a tesT",
                                           "This is a test, this is only a test\n", "x"};
    set_string(&t->msg, PICK(rnd, messages));
}

static void other_pub(struct trial *t, uint64_t *rnd)
{
    (void)rnd;
    set_string(&t->pub, t->other_pub);
}

static void damage_pub(struct trial *t, uint64_t *rnd)
{
    size_t len = strlen(t->pub), at = draw(rnd, len);
    char bit = (char)(1u << draw(rnd, 7));
    if (t->pub[at] != bit && (t->pub[at] ^ bit) != '\n')
        t->pub[at] ^= bit;
}

static void rename_pub(struct trial *t, uint64_t *rnd)
{
    _free_ char *rest = strdup(t->pub + strcspn(t->pub, " "));
    struct pc_buf line;
    pc_buf_init(&line, 65536);
    pc_buf_addf(&line, "%s%s", PICK(rnd, type_names), rest);
    free(t->pub);
    t->pub = line.data;
}

const struct damage damages[] = {
    {"none", DAMAGE_TEXT, nothing},
    {"flip a bit in a field", DAMAGE_FIELDS, flip_in_field},
    {"cut a field", DAMAGE_FIELDS, cut_field},
    {"cut a field's front", DAMAGE_FIELDS, cut_field_front},
    {"extend a field", DAMAGE_FIELDS, extend_field},
    {"end a field with NUL", DAMAGE_FIELDS, end_with_nul},
    {"NUL in a field", DAMAGE_FIELDS, nul_inside},
    {"zeros before a field", DAMAGE_FIELDS, leading_zeros},
    {"zeros before a number", DAMAGE_FIELDS, leading_zeros_in_number},
    {"empty a field", DAMAGE_FIELDS, empty_field},
    {"lie about a length", DAMAGE_FIELDS, lie_about_length},
    {"drop a field", DAMAGE_FIELDS, drop_field},
    {"double a field", DAMAGE_FIELDS, double_field},
    {"swap fields", DAMAGE_FIELDS, swap_fields},
    {"field of another", DAMAGE_FIELDS, take_field_of_other},
    {"version", DAMAGE_FIELDS, other_version},
    {"reserved", DAMAGE_FIELDS, fill_reserved},
    {"hash name", DAMAGE_FIELDS, other_hash_name},
    {"key type", DAMAGE_FIELDS, other_key_type},
    {"signature type", DAMAGE_FIELDS, other_signature_type},
    {"key, both sides", DAMAGE_FIELDS, other_key_on_both_sides},
    {"unreduced S", DAMAGE_FIELDS, unreduced_s},
    {"flip a bit", DAMAGE_RAW, flip_bit},
    {"set a byte", DAMAGE_RAW, set_byte},
    {"cut bytes", DAMAGE_RAW, cut_bytes},
    {"truncate", DAMAGE_RAW, truncate_bytes},
    {"append", DAMAGE_RAW, append_bytes},
    {"splice", DAMAGE_RAW, splice},
    {"white space", DAMAGE_TEXT, white_space},
    {"junk in base64", DAMAGE_TEXT, junk_in_base64},
    {"text around", DAMAGE_TEXT, before_or_after},
    {"CRLF", DAMAGE_TEXT, crlf},
    {"flip a bit of text", DAMAGE_TEXT, flip_in_text},
    {"truncate text", DAMAGE_TEXT, truncate_text},
    {"padding", DAMAGE_TEXT, padding},
    {"NUL before the end", DAMAGE_TEXT, nul_before_end},
    {"namespace", DAMAGE_QUESTION, other_namespace},
    {"message", DAMAGE_QUESTION, other_message},
    {"another's key", DAMAGE_QUESTION, other_pub},
    {"damage the key line", DAMAGE_QUESTION, damage_pub},
    {"rename the key line", DAMAGE_QUESTION, rename_pub},
};
const size_t damage_count = PC_ARRAY_SIZE(damages);
