/*
 * Runs one scenario file against a judge: a small story of processes and files, and what must come of it. The language
 * is described in scenarios/README. Content is made for real (tests_make*.c), so kinds, comparison, lineage and verdict
 * are tested together. Exit 0: all expectations held.
 */
#include "base/cleanup.h"
#include "core/judge.h"
#include "core/kind.h"
#include "tests_make.h"

#include <stdarg.h>
#include <string.h>

#define WORDS_MAX 24
#define STATEMENTS_MAX 1024
#define NAMES_MAX 4096
#define BYTES_MAX (20u << 20)
#define ROOM (2 * BYTES_MAX + 8192)
#define SECOND 1000000000ULL

struct statement {
    char *text;
    unsigned line;
};

struct named {
    char name[32];
    pid_t pid;
    pc_actor actor;
};

/* What a file or a version of one holds, as words to make it again: the judge may ask for it at another file's act. */
struct holding {
    uint64_t id, seed, old_seed;
    char new[48], old[48]; /* new alone, or what it makes of old */
};
#define HOLDINGS 256

struct story {
    const char *path;
    unsigned line;
    struct statement *statement;
    unsigned statements;
    struct named *names;
    unsigned name_count;
    pid_t next_pid;
    uint64_t now_ns;
    struct pc_judge_policy policy;
    struct pc_judge *judge;
    struct pc_outcome last, verdict; /* of the last act; of the last act that convicted */
    unsigned verdicts;
    struct holding holding[HOLDINGS];
    unsigned holdings;
    uint8_t *old, *new, *spare; /* spare: for making a file of another meanwhile */
};

static void fail(const struct story *s, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));
static void fail(const struct story *s, const char *fmt, ...)
{
    va_list ap;
    fprintf(stderr, "%s:%u: ", s->path, s->line);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\n");
    exit(1);
}

static uint64_t hash(const char *text)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001b3ULL;
    return h ? h : 1;
}

static struct pc_judge *judge(struct story *s)
{
    if (!s->judge && pc_judge_new(&s->policy, &s->judge) < 0)
        fail(s, "no judge under this policy");
    return s->judge;
}

static struct named *find(struct story *s, const char *name)
{
    for (unsigned i = s->name_count; i-- > 0;)
        if (strcmp(s->names[i].name, name) == 0)
            return &s->names[i];
    return NULL;
}

static struct named *process(struct story *s, const char *name)
{
    struct named *n = name ? find(s, name) : NULL;
    if (!n)
        fail(s, "no process is called %s", name ? name : "");
    return n;
}

static struct named *add_name(struct story *s, const char *name)
{
    if (s->name_count == NAMES_MAX || strlen(name) >= sizeof s->names[0].name)
        fail(s, "too many names, or %s is too long", name);
    struct named *n = &s->names[s->name_count++];
    snprintf(n->name, sizeof n->name, "%s", name);
    n->pid = s->next_pid++;
    return n;
}

/* --- content ------------------------------------------------------------------------------------------------------ */

/* "text:20000" -> 20000 bytes of text; "none" -> nothing. The seed is the file's, so its old content is known. */
static size_t content(struct story *s, const char *spec, uint8_t *out, uint64_t seed)
{
    char kind[32];
    size_t n = 20000;
    const char *colon = strchr(spec, ':');
    snprintf(kind, sizeof kind, "%.*s", colon ? (int)(colon - spec) : (int)strlen(spec), spec);
    if (colon)
        n = strtoul(colon + 1, NULL, 10);
    if (strcmp(kind, "none") == 0)
        return 0;
    if (n > BYTES_MAX)
        fail(s, "%s is too large", spec);
    size_t made = make_file(kind, out, n, seed);
    if (made == 0)
        fail(s, "no kind of content is called %s", kind);
    return made;
}

/* The new content: a pattern or an edit applied to the old, or content of its own. */
static size_t new_content(struct story *s, const char *spec, size_t old_len, uint64_t seed)
{
    int pattern = make_pattern_of(spec);
    if (pattern >= 0)
        return make_damage((enum make_pattern)pattern, s->old, old_len, s->new, seed + 1);
    size_t made = make_edit(spec, s->old, old_len, s->new, seed + 1);
    return made ? made : content(s, spec, s->new, seed + 1);
}

static void attach(struct pc_content *c, const uint8_t *data)
{
    for (uint32_t i = 0; i < c->count; i++)
        c->win[i].data = data + c->win[i].off;
}

static void hold(struct story *s, uint64_t id, uint64_t seed, const char *new, uint64_t old_seed, const char *old)
{
    struct holding *h = &s->holding[s->holdings++ % HOLDINGS];
    *h = (struct holding){.id = id, .seed = seed, .old_seed = old_seed};
    if (strlen(new) >= sizeof h->new || strlen(old) >= sizeof h->old)
        fail(s, "%s or %s is too long", new, old);
    strcpy(h->new, new);
    strcpy(h->old, old);
}

/* Makes the content again: in s->old (then it is no change of anything) or in s->new. */
static size_t held(struct story *s, uint64_t id, uint8_t *out)
{
    for (unsigned i = s->holdings; i-- > 0 && i + HOLDINGS >= s->holdings;) {
        const struct holding *h = &s->holding[i % HOLDINGS];
        if (h->id != id)
            continue;
        if (out == s->old)
            return content(s, h->new, out, h->seed);
        uint8_t *compared = s->old;
        s->old = s->spare;
        size_t made = new_content(s, h->new, h->old[0] ? content(s, h->old, s->old, h->old_seed) : 0, h->seed);
        s->old = compared;
        return made;
    }
    fail(s, "the judge asks for a file that nobody made");
}

/* --- acts --------------------------------------------------------------------------------------------------------- */

struct deed {
    enum pc_op op;
    const char *who, *file, *old, *new;
    const char *folder, *creator, *name, *successor, *version, *kept;
    const char *of, *of_old; /* a new file that is made of another: which, and what that holds */
};

static void answer(struct story *s, const struct pc_act *asked)
{
    struct pc_act copy = *asked, *act = &copy;
    struct pc_content before, after;
    struct pc_outcome out = {0};
    enum pc_answer need = pc_judge_act(judge(s), act, &out);
    uint64_t size_before = act->size_before, size_after = act->size_after;
    if (need == PC_NEED_BOTH && out.heir)
        size_after = held(s, out.heir, s->new);
    if (need == PC_NEED_BOTH && out.heir_of)
        size_before = held(s, out.heir_of, s->old);
    if (need == PC_NEED_BOTH)
        pc_content_plan(size_before, size_after, hash(s->path), &before, &after);
    if (need == PC_NEED_BEFORE)
        pc_content_plan_one(act->size_before, 7, &before);
    if (need == PC_NEED_AFTER)
        pc_content_plan_one(act->size_after, 7, &after);
    if (need == PC_NEED_BOTH || need == PC_NEED_BEFORE) {
        attach(&before, s->old);
        act->before = &before;
    }
    if (need == PC_NEED_BOTH || need == PC_NEED_AFTER) {
        attach(&after, s->new);
        act->after = &after;
    }
    if (need != PC_DECIDED && pc_judge_act(judge(s), act, &out) != PC_DECIDED)
        fail(s, "the judge asked twice");
    s->last = out;
    if (out.convicted) {
        s->verdict = out;
        s->verdicts++;
    }
}

/* Folder "outside" is outside every guarded folder. */
static uint64_t folder_id(const char *name)
{
    return strcmp(name, "outside") == 0 ? 0 : hash(name);
}

static void act(struct story *s, const struct deed *d)
{
    uint64_t id = hash(d->file);
    uint64_t old_id = d->of ? hash(d->of) : id;
    const char *old = d->of ? d->of_old : d->old;
    size_t old_len = old ? content(s, old, s->old, old_id) : 0;
    size_t new_len = d->new ? new_content(s, d->new, old_len, id) : 0;
    if (d->op == PC_OP_CREATE)
        hold(s, id, id, d->new, old_id, old ? old : "");
    if (d->version && d->old)
        hold(s, hash(d->version), id, d->old, 0, "");
    if (d->of)
        old_len = 0; /* that was another file */
    struct pc_act a = {.now_ns = s->now_ns, .pid = process(s, d->who)->pid, .op = (uint8_t)d->op, .file = id,
                       .folder = folder_id(d->folder ? d->folder : "docs"), .name_hash = hash(d->name ? d->name : d->file),
                       .size_before = old_len, .size_after = new_len, .has_pre_image = d->old != NULL && !(d->kept && strcmp(d->kept, "no") == 0)};
    if (d->successor)
        a.successor = hash(d->successor);
    if (d->version)
        a.base = hash(d->version);
    if (d->creator)
        a.creator = process(s, d->creator)->actor;
    answer(s, &a);
    s->now_ns += 1000000;
}

/* --- statements --------------------------------------------------------------------------------------------------- */

/* Takes "in FOLDER", "by CREATOR", "as NAME", "with FILE", "version WORD", "kept no", "of FILE KIND" out of the tail of an act's words. */
static void options(struct story *s, char **w, struct deed *d)
{
    for (; w[0]; w += 2) {
        if (!w[1])
            fail(s, "%s wants a word after it", w[0]);
        if (strcmp(w[0], "of") == 0 && w[2]) {
            d->of = w[1];
            d->of_old = w[2];
            w++;
        } else if (strcmp(w[0], "in") == 0)
            d->folder = w[1];
        else if (strcmp(w[0], "by") == 0)
            d->creator = w[1];
        else if (strcmp(w[0], "as") == 0)
            d->name = w[1];
        else if (strcmp(w[0], "with") == 0)
            d->successor = w[1];
        else if (strcmp(w[0], "version") == 0)
            d->version = w[1];
        else if (strcmp(w[0], "kept") == 0)
            d->kept = w[1];
        else
            fail(s, "what is %s?", w[0]);
    }
}

static void need(const struct story *s, char **w, int n)
{
    for (int i = 0; i <= n; i++)
        if (!w[i])
            fail(s, "%s wants %d words", w[0], n);
}

static void do_root(struct story *s, char **w)
{
    need(s, w, 1);
    struct named *n = add_name(s, w[1]);
    if (strcmp(w[1], "init") == 0)
        n->pid = 1;
    n->actor = pc_judge_seen(judge(s), n->pid, 0, s->now_ns);
}

/* A process that the judge is not told of: it only acts. */
static void do_stray(struct story *s, char **w)
{
    need(s, w, 1);
    add_name(s, w[1]);
}

static void do_lose(struct story *s, char **w)
{
    need(s, w, 1);
    pc_judge_lose(judge(s), process(s, w[1])->pid);
}

static void do_seen(struct story *s, char **w)
{
    need(s, w, 2);
    struct named *n = process(s, w[2]);
    n->actor = pc_judge_seen(judge(s), n->pid, process(s, w[1])->pid, s->now_ns);
}

static void do_fork(struct story *s, char **w)
{
    need(s, w, 2);
    pid_t parent = process(s, w[1])->pid;
    struct named *n = find(s, w[2]);
    if (!n)
        n = add_name(s, w[2]);
    else
        n->pid = s->next_pid++; /* another process of the same name */
    n->actor = pc_judge_fork(judge(s), parent, n->pid, s->now_ns);
}

static void do_serve(struct story *s, char **w)
{
    need(s, w, 2);
    pid_t pid = process(s, w[1])->pid;
    struct named *n = find(s, w[2]);
    if (!n) {
        n = add_name(s, w[2]);
        n->pid = -n->pid; /* a client is no process */
    }
    n->actor = pc_judge_serve(judge(s), pid, n->pid, s->now_ns);
    if (!n->actor)
        fail(s, "%s serves nobody", w[1]);
}

static void do_exit(struct story *s, char **w)
{
    need(s, w, 1);
    pc_judge_exit(judge(s), process(s, w[1])->pid, s->now_ns);
}

static void do_exec(struct story *s, char **w)
{
    need(s, w, 1);
    pc_judge_exec(judge(s), process(s, w[1])->pid, s->now_ns);
}

static void do_spare(struct story *s, char **w)
{
    need(s, w, 1);
    pc_judge_spare(judge(s), process(s, w[1])->pid);
}

static void do_wait(struct story *s, char **w)
{
    need(s, w, 1);
    s->now_ns += strtoull(w[1], NULL, 10) * SECOND;
}

static void do_absolve(struct story *s, char **w)
{
    need(s, w, 1);
    pc_judge_absolve(judge(s), process(s, w[1])->actor);
}

static void do_modify(struct story *s, char **w)
{
    need(s, w, 5);
    struct deed d = {.op = strcmp(w[0], "replace") == 0 ? PC_OP_REPLACE : PC_OP_MODIFY, .who = w[1], .file = w[2],
                     .old = w[3], .new = w[5]};
    options(s, w + 6, &d);
    act(s, &d);
}

static void do_create(struct story *s, char **w)
{
    need(s, w, 3);
    struct deed d = {.op = PC_OP_CREATE, .who = w[1], .file = w[2], .new = w[3]};
    options(s, w + 4, &d);
    act(s, &d);
}

static void do_delete(struct story *s, char **w)
{
    need(s, w, 3);
    struct deed d = {.op = PC_OP_DELETE, .who = w[1], .file = w[2], .old = w[3]};
    options(s, w + 4, &d);
    act(s, &d);
}

static void do_touch(struct story *s, char **w)
{
    static const struct {
        const char *word;
        enum pc_op op;
    } ops[] = {{"rename", PC_OP_RENAME}, {"meta", PC_OP_META}, {"decoy", PC_OP_DECOY}, {"vault", PC_OP_VAULT}};
    need(s, w, 2);
    for (size_t i = 0; i < PC_ARRAY_SIZE(ops); i++) {
        struct deed d = {.op = ops[i].op, .who = w[1], .file = w[2]};
        if (strcmp(w[0], ops[i].word) == 0)
            act(s, &d);
    }
}

static void do_policy(struct story *s, char **w)
{
    need(s, w, 2);
    uint64_t v = strtoull(w[2], NULL, 10);
    if (strcmp(w[1], "score") == 0)
        s->policy.convict_score = (uint32_t)v;
    else if (strcmp(w[1], "files") == 0)
        s->policy.min_files = (uint32_t)v;
    else if (strcmp(w[1], "window") == 0)
        s->policy.window_ns = v * SECOND;
    else if (strcmp(w[1], "actors") == 0)
        s->policy.max_actors = (uint32_t)v;
    else
        fail(s, "no policy is called %s", w[1]);
    if (s->judge)
        pc_judge_set_policy(s->judge, &s->policy);
}

/* --- expectations ------------------------------------------------------------------------------------------------- */

static void expect_verdict(struct story *s, char **w)
{
    if (w[0] && strcmp(w[0], "none") == 0) {
        if (s->verdicts)
            fail(s, "convicted %d over %u files, score %u", pc_judge_pid(s->judge, s->verdict.roots[0]),
                 s->verdict.evidence_files, s->verdict.evidence_score);
        return;
    }
    if (!s->verdicts)
        fail(s, "nobody was convicted");
    for (; w[0] && strcmp(w[0], "files") != 0; w++) {
        bool named = false;
        for (uint32_t i = 0; i < s->verdict.root_count; i++)
            named |= s->verdict.roots[i] == process(s, w[0])->actor;
        if (!named)
            fail(s, "%s is not named in the verdict, but %u others, first pid %d", w[0], s->verdict.root_count,
                 pc_judge_pid(s->judge, s->verdict.roots[0]));
    }
    if (w[0] && w[1] && s->verdict.evidence_files > strtoul(w[1], NULL, 10))
        fail(s, "it took %u files, not %s", s->verdict.evidence_files, w[1]);
}

static void expect_score(struct story *s, char **w)
{
    if (!w[0] || !w[1])
        fail(s, "score wants >= N or <= N");
    unsigned limit = (unsigned)strtoul(w[1], NULL, 10), score = s->last.finding.score;
    if (w[0][0] == '>' ? score < limit : score > limit) {
        char text[256];
        fail(s, "score is %u: %s (%s -> %s)", score, pc_evidence_text(s->last.finding.evidence, text, sizeof text),
             pc_kind_name(s->last.finding.kind_before), pc_kind_name(s->last.finding.kind_after));
    }
}

static void expect_gate(struct story *s, char **w)
{
    bool want = !(w[0] && strcmp(w[0], "up") == 0);
    if (s->last.gate != want)
        fail(s, "the gate is %s (score %u)", s->last.gate ? "down" : "up", s->last.finding.score);
}

static void expect_bulk(struct story *s, char **w)
{
    if (!w[0])
        fail(s, "bulk wants a process or none");
    pc_actor want = strcmp(w[0], "none") == 0 ? 0 : process(s, w[0])->actor;
    if (s->last.bulk_root != want)
        fail(s, "bulk deletions %s", s->last.bulk_root ? "are told of, of another or at all" : "are not told of");
}

static void expect_strays(struct story *s, char **w)
{
    pc_actor stray[8];
    uint64_t since_ns = 0;
    uint32_t n = pc_judge_take_strays(judge(s), stray, 8, &since_ns), want = 0;
    for (; w[want] && strcmp(w[want], "none") != 0; want++)
        if (want >= n || pc_judge_pid(s->judge, stray[want]) != process(s, w[want])->pid)
            fail(s, "%s is not among the strays, in the order of their first acts", w[want]);
    if (n != want || (n && since_ns > s->now_ns))
        fail(s, "%u strays", n);
}

static void expect_suspicion(struct story *s, char **w)
{
    if (!w[0] || !w[1])
        fail(s, "suspicion wants a process and none or some");
    uint32_t held = pc_judge_suspicion(judge(s), process(s, w[0])->actor);
    if ((held > 0) != (strcmp(w[1], "some") == 0))
        fail(s, "suspicion on %s is %u", w[0], held);
}

static void expect_evidence(struct story *s, char **w)
{
    char text[256];
    pc_evidence_text(s->last.finding.evidence, text, sizeof text);
    if (!w[0] || !strstr(text, w[0]))
        fail(s, "evidence is: %s", text);
}

static void do_expect(struct story *s, char **w)
{
    static const struct {
        const char *word;
        void (*check)(struct story *, char **);
    } checks[] = {{"verdict", expect_verdict}, {"score", expect_score}, {"gate", expect_gate},
                  {"suspicion", expect_suspicion}, {"bulk", expect_bulk}, {"evidence", expect_evidence},
                  {"strays", expect_strays}};
    for (size_t i = 0; w[1] && i < PC_ARRAY_SIZE(checks); i++)
        if (strcmp(w[1], checks[i].word) == 0) {
            checks[i].check(s, w + 2);
            return;
        }
    fail(s, "expect what?");
}

static const struct {
    const char *word;
    void (*run)(struct story *, char **);
} statements[] = {{"root", do_root},     {"stray", do_stray},    {"fork", do_fork},       {"exit", do_exit},       {"exec", do_exec},
                  {"spare", do_spare},   {"wait", do_wait},       {"absolve", do_absolve}, {"modify", do_modify},
                  {"replace", do_modify}, {"create", do_create},  {"delete", do_delete},   {"rename", do_touch},
                  {"meta", do_touch},    {"decoy", do_touch},     {"vault", do_touch},     {"policy", do_policy},
                  {"serve", do_serve},   {"seen", do_seen},     {"lose", do_lose},     {"expect", do_expect}};

/* --- reading and running ------------------------------------------------------------------------------------------ */

/* Copies text with $i and $j replaced by the counters of the loops around it. */
static void substitute(const char *text, const unsigned *counter, char *out, size_t cap)
{
    size_t at = 0;
    while (*text && at + 12 < cap) {
        if (text[0] == '$' && (text[1] == 'i' || text[1] == 'j')) {
            at += (size_t)snprintf(out + at, cap - at, "%u", counter[text[1] - 'i']);
            text += 2;
        } else {
            out[at++] = *text++;
        }
    }
    out[at] = 0;
}

static void run_statement(struct story *s, const struct statement *st, const unsigned *counter)
{
    char text[512], *w[WORDS_MAX + 1] = {NULL}, *save = NULL;
    s->line = st->line;
    substitute(st->text, counter, text, sizeof text);
    int n = 0;
    for (char *t = strtok_r(text, " \t", &save); t && n < WORDS_MAX; t = strtok_r(NULL, " \t", &save))
        w[n++] = t;
    for (size_t i = 0; i < PC_ARRAY_SIZE(statements); i++)
        if (strcmp(w[0], statements[i].word) == 0) {
            statements[i].run(s, w);
            return;
        }
    fail(s, "no statement is called %s", w[0]);
}

static unsigned end_of_loop(const struct story *s, unsigned from)
{
    unsigned depth = 1;
    for (unsigned i = from + 1; i < s->statements; i++) {
        depth += strncmp(s->statement[i].text, "repeat ", 7) == 0;
        depth -= strcmp(s->statement[i].text, "end") == 0;
        if (depth == 0)
            return i;
    }
    fail(s, "repeat without end");
}

static void run(struct story *s, unsigned from, unsigned to, unsigned *counter, int depth)
{
    for (unsigned i = from; i < to; i++) {
        s->line = s->statement[i].line;
        if (strncmp(s->statement[i].text, "repeat ", 7) != 0) {
            run_statement(s, &s->statement[i], counter);
            continue;
        }
        unsigned end = end_of_loop(s, i), times = (unsigned)strtoul(s->statement[i].text + 7, NULL, 10);
        if (depth == 2)
            fail(s, "loops nest two deep");
        for (unsigned k = 1; k <= times; k++) {
            counter[depth] = k;
            run(s, i + 1, end, counter, depth + 1);
        }
        i = end;
    }
}

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t')
        text++;
    size_t n = strlen(text);
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\t' || text[n - 1] == '\r'))
        text[--n] = 0;
    return text;
}

/* One statement a line or between semicolons; # begins a comment. */
static void parse(struct story *s, char *text)
{
    char *line_save = NULL, *save;
    unsigned number = 0;
    for (char *line = text; line; line = line_save) {
        line_save = strchr(line, '\n');
        if (line_save)
            *line_save++ = 0;
        number++;
        line[strcspn(line, "#")] = 0;
        save = NULL;
        for (char *t = strtok_r(line, ";", &save); t; t = strtok_r(NULL, ";", &save)) {
            t = trim(t);
            if (!*t)
                continue;
            if (s->statements == STATEMENTS_MAX)
                fail(s, "too many statements");
            s->statement[s->statements++] = (struct statement){.text = t, .line = number};
        }
    }
}

int main(int argc, char **argv)
{
    _free_ char *text = calloc(1, 1 << 16);
    _free_ struct statement *statement = calloc(STATEMENTS_MAX, sizeof *statement);
    _free_ struct named *names = calloc(NAMES_MAX, sizeof *names);
    _free_ uint8_t *old = malloc(ROOM), *new = malloc(2 * (size_t)ROOM), *spare = malloc(ROOM);
    if (argc != 2 || !text || !statement || !names || !old || !new || !spare)
        return 2;
    _fclose_ FILE *f = fopen(argv[1], "re");
    if (!f || fread(text, 1, (1 << 16) - 1, f) == 0) {
        perror(argv[1]);
        return 2;
    }
    struct story s = {.path = argv[1], .statement = statement, .names = names, .next_pid = 100, .now_ns = SECOND,
                      .old = old, .new = new, .spare = spare};
    unsigned counter[3] = {0};
    pc_judge_policy_default(&s.policy);
    parse(&s, text);
    run(&s, 0, s.statements, counter, 0);
    if (s.statements == 0)
        fail(&s, "nothing in it");
    pc_judge_free(s.judge);
    return 0;
}
