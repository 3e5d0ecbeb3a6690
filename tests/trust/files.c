/* Owns reading of test vectors for the tests of the trust layer. */
#include "files.h"

#include "base/cleanup.h"

#define ROOM 65536

char *read_vector(const char *name, const char *extension, size_t *len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s%s", VECTORS, name, extension);
    _fclose_ FILE *f = fopen(path, "re");
    char *text = malloc(ROOM);
    if (!f || !text) {
        perror(path);
        exit(1);
    }
    *len = fread(text, 1, ROOM - 1, f);
    text[*len] = 0;
    return text;
}
