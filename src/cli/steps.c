/* Owns showing a stream of steps (rollback, restore --deleted): lines for those worth one, and a line of progress. */
#include "cli/steps.h"
#include "cli/render.h"

#include <string.h>

static const char *verb_of(const char *kind)
{
    static const struct {
        const char *kind, *verb;
    } verbs[] = {{"restore", "restore"},     {"recreate", "recreate"},        {"move-back", "move back"},
                 {"set-aside", "set aside"}, {"metadata", "set metadata of"}, {"nothing", "leave"}};
    for (size_t i = 0; kind && i < sizeof verbs / sizeof verbs[0]; i++)
        if (strcmp(verbs[i].kind, kind) == 0)
            return verbs[i].verb;
    return kind ? kind : "?";
}

void pc_steps_erase(struct pc_steps *w)
{
    if (w->drawn)
        fputs("\r\033[K", stderr);
    w->drawn = false;
}

static void draw_progress(struct pc_steps *w, json_int_t done, json_int_t total)
{
    json_int_t permil = total ? done * 1000 / total : 1000;
    if (!w->cli->progress || (w->drawn && permil == w->drawn_permil))
        return;
    fprintf(stderr, "\r\033[K%lld of %lld files (%lld%%)", (long long)done, (long long)total, (long long)(permil / 10));
    fflush(stderr);
    w->drawn = true;
    w->drawn_permil = permil;
}

/* "restore      /srv/a" or "FAILED restore /srv/a: why" */
static void put_step(struct pc_steps *w, const json_t *step, bool failed)
{
    const char *from = pc_text_of(step, "from"), *why = pc_text_of(step, "why");
    pc_steps_erase(w);
    fputs("  ", stdout);
    if (failed)
        pc_say(w->cli, PC_RED, "FAILED ");
    size_t n = pc_put(w->cli, PC_DIM, verb_of(pc_text_of(step, "kind")));
    printf("%*s", n < 16 ? (int)(16 - n) : 1, "");
    if (from) {
        pc_put(w->cli, PC_PLAIN, from);
        fputs(" -> ", stdout);
    }
    pc_put(w->cli, PC_PLAIN, pc_text_of(step, "path"));
    if (why) {
        fputs(": ", stdout);
        pc_put(w->cli, PC_PLAIN, why);
    }
    putchar('\n');
}

void pc_steps_take(void *arg, const json_t *progress)
{
    struct pc_steps *w = arg;
    json_t *step = json_object_get(progress, "step");
    bool failed = json_is_false(json_object_get(step, "ok"));
    const char *kind = pc_text_of(step, "kind");
    bool left = kind && strcmp(kind, "nothing") == 0 && pc_text_of(step, "why");
    if (step && (w->all || failed || (w->left && left))) {
        if (w->cli->json)
            json_array_append(w->kept, step);
        else
            put_step(w, step, failed);
    }
    draw_progress(w, pc_number_of(progress, "done"), pc_number_of(progress, "total"));
}
