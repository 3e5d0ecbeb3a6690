/*
 * Owns `metrics`: figures of this moment, from /proc and /sys. CPU time is cumulative: whoever asks twice divides.
 * SMART comes from smartctl if it is there.
 */
#include "base/cleanup.h"
#include "base/io.h"
#include "host/collect.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

/* Documents hold whole numbers only (PROTOCOL.md 1): a number with a fraction would make the server hang up on us. */
static json_t *hundredths(double x)
{
    return json_integer(x > 0 && x < 1e12 ? (json_int_t)(x * 100 + 0.5) : 0);
}

static json_t *load(void)
{
    char text[128];
    double a, b, c;
    if (pc_read_file_at(AT_FDCWD, "/proc/loadavg", text, sizeof text) < 0 ||
        sscanf(text, "%lf %lf %lf", &a, &b, &c) != 3)
        return json_null();
    return json_pack("[o,o,o]", hundredths(a), hundredths(b), hundredths(c));
}

/* "MemTotal:  123 kB" lines, the wanted ones. */
static json_t *memory(void)
{
    static const char *const wanted[] = {"MemTotal", "MemAvailable", "SwapTotal", "SwapFree", "Dirty"};
    char text[8192];
    json_t *out = json_object();
    if (pc_read_file_at(AT_FDCWD, "/proc/meminfo", text, sizeof text) < 0)
        return out;
    char *save;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char key[64];
        unsigned long long kib;
        if (sscanf(line, "%63[^:]: %llu", key, &kib) != 2)
            continue;
        for (size_t i = 0; i < PC_ARRAY_SIZE(wanted); i++)
            if (strcmp(key, wanted[i]) == 0)
                json_object_set_new(out, key, json_integer((json_int_t)kib * 1024));
    }
    return out;
}

/* Ticks of 1/100 s since boot, all processors together. */
static json_t *processor(void)
{
    char text[512];
    unsigned long long user, nice, system, idle, wait, irq, soft, steal;
    if (pc_read_file_at(AT_FDCWD, "/proc/stat", text, sizeof text) < 0 ||
        sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &soft,
               &steal) != 8)
        return json_null();
    return json_pack("{s:I,s:I,s:I,s:I,s:I}", "user", (json_int_t)(user + nice), "system",
                     (json_int_t)(system + irq + soft), "idle", (json_int_t)idle, "iowait", (json_int_t)wait, "steal",
                     (json_int_t)steal);
}

static json_t *pressure(void)
{
    static const char *const what[] = {"cpu", "memory", "io"};
    json_t *out = json_object();
    for (size_t i = 0; i < PC_ARRAY_SIZE(what); i++) {
        char path[64], text[256];
        double ten, minute;
        snprintf(path, sizeof path, "/proc/pressure/%s", what[i]);
        if (pc_read_file_at(AT_FDCWD, path, text, sizeof text) > 0 &&
            sscanf(text, "some avg10=%lf avg60=%lf", &ten, &minute) == 2)
            json_object_set_new(out, what[i],
                                json_pack("{s:o,s:o}", "avg10", hundredths(ten), "avg60", hundredths(minute)));
    }
    return out;
}

static json_t *traffic(void)
{
    json_t *out = json_object();
    _fclose_ FILE *f = fopen("/proc/net/dev", "re");
    char line[512];
    while (f && fgets(line, sizeof line, f)) {
        char name[64];
        unsigned long long in, sent;
        if (sscanf(line, " %63[^:]: %llu %*u %*u %*u %*u %*u %*u %*u %llu", name, &in, &sent) == 3)
            json_object_set_new(out, name,
                                json_pack("{s:I,s:I}", "received", (json_int_t)in, "sent", (json_int_t)sent));
    }
    return out;
}

/* One disk's health as smartctl tells it; nothing when there is no smartctl or the disk has no SMART. */
static void add_smart(json_t *out, const char *disk)
{
    char device[128];
    snprintf(device, sizeof device, "/dev/%s", disk);
    char *argv[] = {(char[]){"smartctl"}, (char[]){"--json"}, (char[]){"-H"}, (char[]){"-A"}, device, NULL};
    _free_ char *text = NULL;
    size_t len;
    int status;
    if (pc_collect_run(argv, 256u << 10, &text, &len, &status) < 0)
        return;
    json_t *all = json_loadb(text, len, 0, NULL);
    json_t *passed = json_object_get(json_object_get(all, "smart_status"), "passed");
    if (json_is_boolean(passed)) {
        json_t *one = json_pack("{s:O}", "passed", passed);
        json_t *temperature = json_object_get(json_object_get(all, "temperature"), "current");
        if (json_is_integer(temperature) && json_integer_value(temperature) >= 0)
            json_object_set(one, "temperature", temperature);
        json_object_set_new(out, disk, one);
    }
    json_decref(all);
}

static json_t *smart(void)
{
    char why[128];
    json_t *out = json_object(), *disks = pc_collect_disks(why, sizeof why), *disk;
    size_t i;
    json_array_foreach(disks, i, disk) {
        const char *name = json_string_value(json_object_get(disk, "name"));
        if (name && (strncmp(name, "sd", 2) == 0 || strncmp(name, "nvme", 4) == 0 || strncmp(name, "hd", 2) == 0))
            add_smart(out, name);
    }
    json_decref(disks);
    return out;
}

int pc_look_metrics(const json_t *params)
{
    (void)params;
    char why[256] = "";
    json_t *mounts = pc_collect_mounts(why, sizeof why);
    return pc_collect_print(json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "load_hundredths", load(), "cpu_ticks",
                                      processor(), "memory", memory(), "pressure_hundredths", pressure(), "mounts",
                                      mounts ? mounts : json_null(), "network", traffic(), "smart", smart()));
}
