/* Times one comparison and one look at the sizes that matter. Prints; asserts nothing: times are no test. */
#include "core/content.h"
#include "tests_make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void attach(struct pc_content *c, const uint8_t *data)
{
    for (uint32_t i = 0; i < c->count; i++)
        c->win[i].data = data + c->win[i].off;
}

static void time_pair(const char *name, const uint8_t *a, const uint8_t *b, size_t n)
{
    struct pc_content before, after;
    struct pc_finding f = {0};
    struct pc_look look;
    pc_content_plan(n, n, 7, &before, &after);
    attach(&before, a);
    attach(&after, b);
    int runs = n > 100000 ? 200 : 2000;
    double t = now_us();
    for (int i = 0; i < runs; i++)
        pc_content_compare(&before, &after, &f);
    double compare = (now_us() - t) / runs;
    pc_content_plan_one(n, 7, &before);
    attach(&before, a);
    t = now_us();
    for (int i = 0; i < runs; i++)
        pc_content_look(&before, &look);
    printf("%-28s %8zu bytes: compare %7.1f us (score %u), look %6.1f us\n", name, n, compare, f.score,
           (now_us() - t) / runs);
}

int main(void)
{
    static const size_t sizes[] = {4096, 65536, 1u << 20, 8u << 20};
    size_t max = 8u << 20;
    uint8_t *text = malloc(max), *edited = malloc(max), *noise = malloc(max), *stripes = malloc(3 * max);
    if (!text || !edited || !noise || !stripes)
        return 1;
    make_random(noise, max, 1);
    for (size_t i = 0; i < max; i++)
        text[i] = (uint8_t)("etaoin shrdlu cmf wyp\n"[noise[i] % 22]);
    memcpy(edited, text, max);
    for (size_t i = 0; i < max; i += 1000)
        edited[i] ^= 1;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        time_pair("text, encrypted", text, noise, sizes[i]);
        time_pair("text, edited all over", text, edited, sizes[i]);
        make_damage(MAKE_ALTERNATE_16, text, sizes[i], stripes, 3);
        time_pair("text, every other 16", text, stripes, sizes[i]);
        time_pair("noise, other noise", noise, stripes, sizes[i]);
    }
    free(text);
    free(edited);
    free(noise);
    free(stripes);
    return 0;
}
