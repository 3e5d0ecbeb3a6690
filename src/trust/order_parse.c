/*
 * Owns the order document (PROTOCOL.md 1.6): its shape and what can be said about it without key, memory or clock.
 * Rules that need those are in checks.c; the parameters of an action in actions.c; the hosts in hosts.c.
 */
#include "base/base64.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "trust/json.h"
#include "trust/order.h"

#include <errno.h>
#include <string.h>

/* The document as read, before the rules: the order, and what becomes of its other keys. */
struct draft {
    struct pc_order o;
    const json_t *params, *hosts, *hosts_root, *rings, *halt, *standing;
    char class_[2];
};
#define O(member) offsetof(struct draft, o.member)
#define D(member) offsetof(struct draft, member)
static const struct pc_field order_fields[] = {
    {"id", PC_FIELD_HEX, O(id), 0, PC_ID_LEN, false},
    {"tenant", PC_FIELD_NAME, O(tenant), 0, 0, false},
    {"class", PC_FIELD_TEXT, D(class_), 1, 1, false},
    {"action", PC_FIELD_TEXT, O(action), 1, 31, false},
    {"params", PC_FIELD_OBJECT, D(params), 0, 0, false},
    {"hosts", PC_FIELD_ARRAY, D(hosts), 1, PC_ORDER_LIST_MAX, true},
    {"hosts_root", PC_FIELD_STRING, D(hosts_root), 44, 44, true},
    {"count", PC_FIELD_U32, O(hosts), 1, PC_ORDER_HOSTS_MAX, false},
    {"not_before", PC_FIELD_TIME, O(not_before), 0, 0, false},
    {"expires", PC_FIELD_TIME, O(expires), 0, 0, false},
    {"sequence", PC_FIELD_U64, O(sequence), 1, PC_JSON_NUMBER_MAX, false},
    {"dwell", PC_FIELD_U32, O(dwell), 0, 604800, true},
    {"rings", PC_FIELD_ARRAY, D(rings), 1, PC_RINGS_MAX, true},
    {"halt", PC_FIELD_OBJECT, D(halt), 0, 0, true},
    {"standing", PC_FIELD_OBJECT, D(standing), 0, 0, true},
    {"says", PC_FIELD_TEXT, O(says), 1, PC_SAYS_MAX, false},
    {0},
};

struct ring {
    uint32_t hosts, soak;
};
static const struct pc_field ring_fields[] = {
    {"hosts", PC_FIELD_U32, offsetof(struct ring, hosts), 1, PC_ORDER_HOSTS_MAX, false},
    {"soak", PC_FIELD_U32, offsetof(struct ring, soak), 0, 604800, false},
    {0},
};
static const struct pc_field halt_fields[] = {
    {"failures", PC_FIELD_U32, O(halt_failures), 0, PC_ORDER_HOSTS_MAX, false},
    {"incidents", PC_FIELD_U32, O(halt_incidents), 0, 1000000, false},
    {0},
};
struct standing {
    const json_t *days;
    char from[6], until[6];
    uint32_t every;
};
static const struct pc_field standing_fields[] = {
    {"days", PC_FIELD_ARRAY, offsetof(struct standing, days), 1, 7, false},
    {"from", PC_FIELD_TEXT, offsetof(struct standing, from), 5, 5, false},
    {"until", PC_FIELD_TEXT, offsetof(struct standing, until), 5, 5, false},
    {"every", PC_FIELD_U32, offsetof(struct standing, every), 60, 31 * 86400, false},
    {0},
};

static int read_hosts(struct draft *d, struct pc_why why)
{
    if (!d->hosts == !d->hosts_root)
        return pc_why(why, PC_E_SYNTAX, "order/1: either \"hosts\" or \"hosts_root\" is needed");
    if (d->hosts_root) {
        d->o.rooted = true;
        ssize_t n = pc_base64_decode(json_string_value(d->hosts_root), 44, 0, d->o.root, sizeof d->o.root);
        return n == sizeof d->o.root ? 0
                                     : pc_why(why, PC_E_SYNTAX, "order/1: \"hosts_root\" must be base64 of 32 bytes");
    }
    size_t i;
    json_t *v;
    d->o.host = calloc(json_array_size(d->hosts), sizeof *d->o.host);
    if (!d->o.host)
        return -ENOMEM;
    json_array_foreach((json_t *)d->hosts, i, v)
        if (!json_is_string(v) || pc_host_ref_parse(json_string_value(v), &d->o.host[i]) < 0)
            return pc_why(why, PC_E_SYNTAX, "order/1: host %zu is not NAME#HOSTID", i);
    return 0;
}

static int read_rings(struct draft *d, struct pc_why why)
{
    d->o.rings = d->rings ? (uint32_t)json_array_size(d->rings) : 1;
    d->o.ring[0].hosts = d->o.hosts;
    for (uint32_t i = 0; d->rings && i < d->o.rings; i++) {
        struct ring ring = {0};
        int r = pc_fields_read(json_array_get(d->rings, i), "rings", ring_fields, &ring, why);
        if (r < 0)
            return r;
        d->o.ring[i].hosts = ring.hosts;
        d->o.ring[i].soak = ring.soak;
    }
    if (!d->halt)
        return 0;
    if (!d->rings)
        return pc_why(why, PC_E_SYNTAX, "order/1: \"halt\" needs \"rings\"");
    return pc_fields_read(d->halt, "halt", halt_fields, d, why);
}

/* "HH:MM" to minutes of the day, or -1. */
static int minutes(const char *t)
{
    for (int i = 0; i < 5; i++)
        if (i == 2 ? t[i] != ':' : t[i] < '0' || t[i] > '9')
            return -1;
    int h = (t[0] - '0') * 10 + t[1] - '0', m = (t[3] - '0') * 10 + t[4] - '0';
    return h < 24 && m < 60 ? h * 60 + m : -1;
}

/* Bit of a day's name, 0 for none. */
static unsigned day(const json_t *name)
{
    static const char *const days[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
    for (size_t i = 0; json_is_string(name) && i < PC_ARRAY_SIZE(days); i++)
        if (strcmp(days[i], json_string_value(name)) == 0)
            return 1u << i;
    return 0;
}

static int read_standing(struct draft *d, struct pc_why why)
{
    struct standing s = {0};
    d->o.standing = d->standing != NULL;
    if (!d->standing)
        return 0;
    int r = pc_fields_read(d->standing, "standing", standing_fields, &s, why);
    if (r < 0)
        return r;
    for (size_t i = 0; i < json_array_size(s.days); i++) {
        unsigned bit = day(json_array_get(s.days, i));
        if (bit == 0 || (d->o.when.days & bit))
            return pc_why(why, PC_E_SYNTAX, "standing: \"days\" must be distinct ones of mon tue wed thu fri sat sun");
        d->o.when.days |= (uint8_t)bit;
    }
    int from = minutes(s.from), until = minutes(s.until);
    if (from < 0 || until <= from)
        return pc_why(why, PC_E_SYNTAX, "standing: \"from\" and \"until\" must be HH:MM, until later than from");
    d->o.when.from = (uint16_t)from;
    d->o.when.until = (uint16_t)until;
    d->o.when.every = s.every;
    return 0;
}

/* --- the rules, in the order of PROTOCOL 1.9 ---------------------------------------------------------------------- */

static int rule_action(struct draft *d, struct pc_why why)
{
    d->o.row = pc_action_find(d->o.action);
    if (!d->o.row)
        return pc_why(why, PC_E_SYNTAX, "unknown action");
    return pc_action_check(d->o.row, d->params, why.text, why.cap);
}

static int rule_class(struct draft *d, struct pc_why why)
{
    int c = pc_class_find(d->class_);
    if (c < PC_CLASS_B || c > PC_CLASS_S || !(d->o.row->classes & 1u << c))
        return pc_why(why, PC_E_SYNTAX, "%s has no class %s", d->o.action, c < 0 ? "of that name" : d->class_);
    d->o.class_ = (enum pc_class)c;
    if ((c == PC_CLASS_B) != d->o.standing)
        return pc_why(why, PC_E_SYNTAX, "class B, and only class B, needs \"standing\"");
    if (c != PC_CLASS_C && d->o.dwell != UINT32_MAX)
        return pc_why(why, PC_E_SYNTAX, "only class C has \"dwell\"");
    if (c == PC_CLASS_S && d->rings)
        return pc_why(why, PC_E_SYNTAX, "a stop has no \"rings\"");
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct pc_host_ref *const *)a)->name, (*(const struct pc_host_ref *const *)b)->name);
}

static int by_id(const void *a, const void *b)
{
    return strcmp((*(const struct pc_host_ref *const *)a)->id, (*(const struct pc_host_ref *const *)b)->id);
}

/* Neither a name nor an identity twice: one name with two identities is a trap for the approver. */
static bool distinct(const struct pc_order *o)
{
    const struct pc_host_ref *sorted[PC_ORDER_LIST_MAX];
    int (*const orders[])(const void *, const void *) = {by_name, by_id};
    for (size_t k = 0; k < PC_ARRAY_SIZE(orders); k++) {
        for (uint32_t i = 0; i < o->hosts; i++)
            sorted[i] = &o->host[i];
        qsort(sorted, o->hosts, sizeof *sorted, orders[k]);
        for (uint32_t i = 1; i < o->hosts; i++)
            if (orders[k](&sorted[i - 1], &sorted[i]) == 0)
                return false;
    }
    return true;
}

static int rule_count(struct draft *d, struct pc_why why)
{
    uint64_t sum = 0;
    if (d->hosts && d->o.hosts != json_array_size(d->hosts))
        return pc_why(why, PC_E_SYNTAX, "\"count\" is %u, but %zu hosts are listed", d->o.hosts,
                      json_array_size(d->hosts));
    if (d->hosts && !distinct(&d->o))
        return pc_why(why, PC_E_SYNTAX, "a host's name or identity is listed twice");
    for (uint32_t i = 0; i < d->o.rings; i++) {
        sum += d->o.ring[i].hosts;
        if (i + 1 < d->o.rings && d->o.ring[i].hosts > PC_RING_EARLY_MAX)
            return pc_why(why, PC_E_SYNTAX, "ring %u: only the last ring may have more than %d hosts", i,
                          PC_RING_EARLY_MAX);
    }
    return sum == d->o.hosts ? 0 : pc_why(why, PC_E_SYNTAX, "\"rings\" do not add up to \"count\"");
}

static int rule_window(struct draft *d, struct pc_why why)
{
    int64_t longest = d->o.class_ == PC_CLASS_B ? PC_WINDOW_STANDING_MAX : PC_WINDOW_MAX;
    if (d->o.expires <= d->o.not_before)
        return pc_why(why, PC_E_SYNTAX, "\"expires\" is not later than \"not_before\"");
    if (d->o.expires - d->o.not_before > longest)
        return pc_why(why, PC_E_SYNTAX, "the window is longer than %d days", (int)(longest / 86400));
    return 0;
}

static const struct {
    enum pc_check check;
    int (*rule)(struct draft *d, struct pc_why why); /* 0, PC_E_SYNTAX, -ENOMEM */
} rules[] = {
    {PC_CHECK_SYNTAX, read_hosts},  {PC_CHECK_SYNTAX, read_rings}, {PC_CHECK_SYNTAX, read_standing},
    {PC_CHECK_ACTION, rule_action}, {PC_CHECK_CLASS, rule_class},  {PC_CHECK_COUNT, rule_count},
    {PC_CHECK_WINDOW, rule_window},
};

static enum pc_check check(struct draft *d, struct pc_why why)
{
    for (size_t i = 0; i < PC_ARRAY_SIZE(rules); i++) {
        int r = rules[i].rule(d, why);
        if (r < 0)
            return r == -ENOMEM ? PC_CHECK_MEMORY : rules[i].check;
    }
    return PC_CHECK_OK;
}

enum pc_check pc_order_parse(const void *doc, size_t len, struct pc_order *out, char *text, size_t cap)
{
    struct pc_why why = {text, cap};
    struct draft d = {.o.dwell = UINT32_MAX};
    _json_ json_t *root = NULL;
    pc_why_clear(why);
    int r = pc_document_read(doc, len, PC_DOCUMENT_SMALL_MAX, "order/1", order_fields, &d, &root, why);
    if (r < 0)
        return r == -ENOMEM ? PC_CHECK_MEMORY : PC_CHECK_SYNTAX;
    enum pc_check c = check(&d, why);
    if (c != PC_CHECK_OK) {
        pc_order_clear(&d.o);
        return c;
    }
    pc_sha256_text(doc, len, d.o.sha256);
    d.o.params = json_incref((json_t *)d.params);
    *out = d.o;
    return PC_CHECK_OK;
}

void pc_order_clear(struct pc_order *o)
{
    json_decref(o->params);
    free(o->host);
    *o = (struct pc_order){0};
}
