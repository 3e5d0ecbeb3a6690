/*
 * fleet-sim: very many hosts in one process, over real TLS and the real protocol, to measure a server with (bench/fleet drives it).
 * Owns the command line. It is a measuring tool: never installed, and no host of anybody's.
 */
#include "options.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <getopt.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int sim_complain(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("fleet-sim: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return 1;
}

char *sim_read_file(const char *path, uint64_t *len)
{
    _fclose_ FILE *f = fopen(path, "re");
    _free_ char *text = malloc((1u << 20) + 1);
    size_t n = f && text ? fread(text, 1, 1u << 20, f) : 0;
    if (!f || !text || ferror(f)) {
        sim_complain("%s: %m", path);
        return NULL;
    }
    text[n] = 0;
    if (len)
        *len = n;
    return TAKE_PTR(text);
}

#define TEXT(key, member) {key, offsetof(struct sim_options, member), 0, 0, 0}
#define NUMBER(key, member, least, most) {key, offsetof(struct sim_options, member), 1, least, most}
static const struct setting {
    const char *name;
    size_t offset;
    int number;
    uint64_t min, max;
} settings[] = {
    TEXT("database", database), TEXT("seed", seed),   TEXT("tenant", tenant), TEXT("trust", trust),
    TEXT("output", output),     TEXT("link", link),   TEXT("ca", ca),         TEXT("token", token),
    NUMBER("agents", agents, 1, 1000000),             NUMBER("first", first, 0, 999999),
    NUMBER("full-every", full_every, 0, 1000000),     NUMBER("dials", dials_per_s, 0, 1000000),
};
static const struct command {
    const char *name;
    int (*run)(const struct sim_options *o);
    const char *needs[8], *words;
} commands[] = {
    {"prepare", sim_prepare, {"database", "trust", "output"}, "enrol agents into a database that no server uses yet; NAME#HOSTID lines to --output"},
    {"statement", sim_statement, {"token", "trust"}, "print the body of POST /v1/enroll for agent --first"},
    {"append", sim_append, {"database"}, "append --agents entries to the log of an empty database, through src/store alone"},
    {"run", sim_run, {"link", "ca", "trust"}, "play the agents; commands on standard input: words.c has them"},
};

static int usage(void)
{
    fputs("usage: fleet-sim COMMAND [--OPTION VALUE]...\n\n", stderr);
    for (size_t i = 0; i < PC_ARRAY_SIZE(commands); i++)
        fprintf(stderr, "  %-10s %s\n", commands[i].name, commands[i].words);
    fputs("\noptions:", stderr);
    for (size_t i = 0; i < PC_ARRAY_SIZE(settings); i++)
        fprintf(stderr, " --%s", settings[i].name);
    fputs("\n--database is as of portcullis-server run, or sqlite:FILE; --dials: new connections a second at the start (0: all at once);\n"
          "--full-every N: every N-th agent checks bundles and checkpoints as a host does, the others only read them (default 100)\n", stderr);
    return 2;
}

static int set(struct sim_options *o, const struct setting *s, const char *value)
{
    uint64_t n;
    if (!s->number) {
        *(const char **)((char *)o + s->offset) = value;
        return 0;
    }
    if (pc_parse_u64(value, s->min, s->max, &n) < 0)
        return sim_complain("--%s %s: a number from %llu to %llu", s->name, value, (unsigned long long)s->min, (unsigned long long)s->max);
    *(uint32_t *)((char *)o + s->offset) = (uint32_t)n;
    return 0;
}

static int read_options(int argc, char **argv, struct sim_options *o)
{
    struct option longs[PC_ARRAY_SIZE(settings) + 1] = {0};
    int which;
    for (size_t i = 0; i < PC_ARRAY_SIZE(settings); i++)
        longs[i] = (struct option){settings[i].name, required_argument, NULL, (int)i + 1};
    while ((which = getopt_long(argc, argv, "", longs, NULL)) != -1)
        if (which == '?' || set(o, &settings[which - 1], optarg))
            return -1;
    return optind == argc ? 0 : -1;
}

static int missing(const struct command *c, const struct sim_options *o)
{
    for (size_t n = 0; n < PC_ARRAY_SIZE(c->needs) && c->needs[n]; n++)
        for (size_t i = 0; i < PC_ARRAY_SIZE(settings); i++)
            if (strcmp(settings[i].name, c->needs[n]) == 0 && !*(const char *const *)((const char *)o + settings[i].offset))
                return sim_complain("%s needs --%s", c->name, settings[i].name);
    return 0;
}

int main(int argc, char **argv)
{
    struct sim_options o = {.seed = "fleet-sim", .tenant = "city", .agents = 1, .full_every = 100};
    for (size_t i = 0; argc > 1 && i < PC_ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i].name, argv[1]) == 0)
            return read_options(argc - 1, argv + 1, &o) < 0 || missing(&commands[i], &o) ? usage() : commands[i].run(&o);
    return usage();
}
