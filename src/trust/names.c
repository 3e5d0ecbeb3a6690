/* Owns the spelling of names and host references. Pure text: knows nothing of who they stand for. */
#include "trust/names.h"

#include "base/err.h"
#include "trust/class.h"

#include <string.h>

static bool alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool pc_name_valid(const char *name)
{
    size_t n = strnlen(name, PC_NAME_MAX + 1);
    if (n == 0 || n > PC_NAME_MAX || !alphanumeric(name[0]) || !alphanumeric(name[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!alphanumeric(name[i]) && !strchr("._-", name[i]))
            return false;
    return true;
}

bool pc_hex_valid(const char *text, size_t digits)
{
    if (strnlen(text, digits + 1) != digits)
        return false;
    for (size_t i = 0; i < digits; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
            return false;
    return true;
}

int pc_host_ref_parse(const char *text, struct pc_host_ref *out)
{
    const char *mark = strchr(text, '#');
    if (!mark || mark == text || mark - text > PC_NAME_MAX)
        return PC_E_SYNTAX;
    struct pc_host_ref ref = {0};
    memcpy(ref.name, text, (size_t)(mark - text));
    if (!pc_name_valid(ref.name) || !pc_hex_valid(mark + 1, PC_HOST_ID_LEN))
        return PC_E_SYNTAX;
    memcpy(ref.id, mark + 1, PC_HOST_ID_LEN);
    *out = ref;
    return 0;
}

void pc_host_ref_format(const struct pc_host_ref *ref, char out[PC_HOST_REF_SIZE])
{
    size_t n = strlen(ref->name);
    memcpy(out, ref->name, n);
    out[n] = '#';
    memcpy(out + n + 1, ref->id, PC_HOST_ID_LEN + 1);
}

static const char *const letters[PC_CLASSES] = {"A", "B", "C", "S", "T"};

const char *pc_class_letter(enum pc_class c)
{
    return (unsigned)c < PC_CLASSES ? letters[c] : "?";
}

int pc_class_find(const char *letter)
{
    for (int c = 0; c < PC_CLASSES; c++)
        if (strcmp(letters[c], letter) == 0)
            return c;
    return -1;
}
