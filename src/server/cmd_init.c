/*
 * Owns `init` and `cert`: a new server in a folder, a new certificate. Must never replace a key that exists: what is
 * lost with one is the fleet.
 */
#include "server/command.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "net/pki.h"
#include "server/options.h"
#include "server/state.h"
#include "store/store.h"
#include "trust/checkpoint.h"
#include "trust/note.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#define AUTHORITY_DAYS 7300
#define CERT_DAYS 825

struct names {
    const char *name[PC_SERVER_NAMES_MAX + 4];
    size_t n;
    char text[2048], listen[256], link[256];
};

static void add_name(struct names *n, const char *name)
{
    static const char *const any[] = {"", "0.0.0.0", "::"};
    for (size_t i = 0; i < PC_ARRAY_SIZE(any); i++)
        if (strcmp(name, any[i]) == 0)
            return;
    for (size_t i = 0; i < n->n; i++)
        if (strcmp(n->name[i], name) == 0)
            return;
    if (n->n < PC_ARRAY_SIZE(n->name))
        n->name[n->n++] = name;
}

static int write_certificate(struct pc_server_state *s, const char *ca_pem, const char *ca_key, const struct names *n)
{
    _free_ char *cert = NULL;
    char *key = NULL;
    int ret = pc_pki_server(ca_pem, ca_key, n->name, n->n, CERT_DAYS, &cert, &key);
    if (ret == 0)
        ret = pc_server_state_replace(s, "server.key", key, strlen(key), 0600);
    if (ret == 0)
        ret = pc_server_state_replace(s, "server.pem", cert, strlen(cert), 0644);
    pc_pki_free_key(key);
    return ret;
}

static int make_authority(struct pc_server_state *s, const struct names *n)
{
    _free_ char *cert = NULL;
    char *key = NULL, name[80];
    snprintf(name, sizeof name, "Portcullis %.40s", s->settings.tenant);
    int ret = pc_pki_authority(name, AUTHORITY_DAYS, &cert, &key);
    if (ret == 0)
        ret = pc_server_state_write_new(s, "ca.key", key, strlen(key), 0600);
    if (ret == 0)
        ret = pc_server_state_write_new(s, "ca.pem", cert, strlen(cert), 0644);
    if (ret == 0)
        ret = write_certificate(s, cert, key, n);
    pc_pki_free_key(key);
    return ret;
}

/* The log's name has to be nobody else's: the tenant and some random digits. */
static int make_log_key(struct pc_server_state *s, char vkey[PC_NOTE_KEY_TEXT_MAX])
{
    uint8_t seed[32], random[4] = {0};
    char name[128], text[PC_NOTE_KEY_TEXT_MAX + 1];
    struct pc_skey key;
    int ret = pc_random(seed, sizeof seed);
    if (ret == 0)
        ret = pc_random(random, sizeof random);
    snprintf(name, sizeof name, "%s.portcullis.%02x%02x%02x%02x", s->settings.tenant, random[0], random[1], random[2],
             random[3]);
    if (ret == 0)
        ret = pc_skey_make(name, PC_SIG_ED25519, seed, &key);
    if (ret == 0)
        ret = pc_skey_format(&key, text, sizeof text - 1);
    if (ret >= 0) {
        strcat(text, "\n");
        ret = pc_server_state_write_new(s, "log.key", text, strlen(text), 0600);
    }
    if (ret == 0)
        ret = pc_vkey_format(&key.pub, vkey, PC_NOTE_KEY_TEXT_MAX - 1);
    OPENSSL_cleanse(seed, sizeof seed);
    OPENSSL_cleanse(&key, sizeof key);
    OPENSSL_cleanse(text, sizeof text);
    if (ret < 0)
        return ret;
    char line[PC_NOTE_KEY_TEXT_MAX + 2];
    int len = snprintf(line, sizeof line, "%s\n", vkey);
    return pc_server_state_write_new(s, "log.vkey", line, (size_t)len, 0644);
}

static int make_database(struct pc_server_state *s, char *why, size_t why_len)
{
    char where[1100];
    struct pc_store *store;
    uint32_t version;
    pc_server_state_database(s, where, sizeof where);
    int ret = pc_store_connect(where, &store, why, why_len);
    if (ret < 0)
        return ret;
    ret = store->ops->migrate(store, &version);
    if (ret < 0)
        snprintf(why, why_len, "%s", store->ops->error(store));
    store->ops->close(store);
    return ret;
}

static int collect_names(const struct pc_server_options *o, struct names *n, struct pc_server_settings *set)
{
    if (pc_split_address(o->listen, n->listen, sizeof n->listen, NULL) < 0 ||
        pc_split_address(o->link, n->link, sizeof n->link, NULL) < 0)
        return PC_E_SYNTAX;
    for (uint32_t i = 0; i < o->names; i++)
        add_name(n, o->name[i]);
    add_name(n, n->listen);
    add_name(n, n->link);
    add_name(n, "localhost");
    add_name(n, "127.0.0.1");
    size_t at = 0;
    for (size_t i = 0; i < n->n && at < sizeof set->names; i++)
        at += (size_t)snprintf(set->names + at, sizeof set->names - at, "%s%s", i ? "," : "", n->name[i]);
    return at < sizeof set->names ? 0 : PC_E_LIMIT;
}

/* A host cannot connect to "any address": it is told the first name. */
static void set_public_link(struct pc_server_settings *set, const struct names *n)
{
    char host[256];
    const char *port;
    if (pc_split_address(set->link, host, sizeof host, &port) > 0 &&
        (!*host || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0))
        snprintf(set->public_link, sizeof set->public_link, strchr(n->name[0], ':') ? "[%.250s]:%s" : "%.250s:%s",
                 n->name[0], port);
}

int pc_server_init(int argc, char **argv)
{
    struct pc_server_options o;
    struct names n = {.n = 0};
    struct pc_server_settings set;
    struct pc_server_state state;
    char why[512] = "", vkey[PC_NOTE_KEY_TEXT_MAX];
    if (pc_server_options_read(argc, argv,
                               PC_OPT_STATE | PC_OPT_TENANT | PC_OPT_LISTEN | PC_OPT_LINK | PC_OPT_NAME |
                                   PC_OPT_DATABASE | PC_OPT_USER,
                               0, &o) < 0)
        return pc_server_usage(argv[0]);
    pc_server_settings_default(&set);
    if (!pc_name_valid(o.tenant) || collect_names(&o, &n, &set) < 0 || strlen(o.listen) >= sizeof set.listen ||
        strlen(o.link) >= sizeof set.link || (o.database && strlen(o.database) >= sizeof set.database)) {
        pc_server_complain("init: a tenant is lower-case letters, digits, '.', '_' and '-'; addresses are HOST:PORT");
        return pc_server_usage(argv[0]);
    }
    snprintf(set.tenant, sizeof set.tenant, "%s", o.tenant);
    snprintf(set.listen, sizeof set.listen, "%s", o.listen);
    snprintf(set.link, sizeof set.link, "%s", o.link);
    snprintf(set.database, sizeof set.database, "%s", o.database ? o.database : "");
    set_public_link(&set, &n);
    if (pc_server_state_create(o.state, &set, &state, why, sizeof why) < 0)
        return pc_server_complain("init: %s", why);
    int ret = make_authority(&state, &n);
    if (ret == 0)
        ret = make_log_key(&state, vkey);
    if (ret == 0)
        ret = make_database(&state, why, sizeof why);
    if (ret == 0 && o.user && (ret = pc_server_state_give(state.dir_fd, o.user)) < 0)
        snprintf(why, sizeof why, "cannot give it to %s: %s", o.user, pc_strerror(ret));
    pc_server_state_close(&state);
    if (ret < 0)
        return pc_server_complain("init: %s: %s", o.state, *why ? why : pc_strerror(ret));
    printf("log key: %s\n", vkey);
    return 0;
}

int pc_server_cert(int argc, char **argv)
{
    struct pc_server_options o;
    struct names n = {.n = 0};
    struct pc_server_state state;
    char why[512];
    if (pc_server_options_read(argc, argv, PC_OPT_STATE | PC_OPT_NAME, 0, &o) < 0)
        return pc_server_usage(argv[0]);
    if (pc_server_state_open(o.state, &state, why, sizeof why) < 0)
        return pc_server_complain("cert: %s", why);
    for (uint32_t i = 0; i < o.names; i++)
        add_name(&n, o.name[i]);
    char *rest = state.settings.names;
    for (char *name = strsep(&rest, ","); name; name = strsep(&rest, ","))
        add_name(&n, name);
    _free_ char *ca = NULL;
    char *ca_key = NULL;
    size_t len;
    int ret = pc_server_state_read(&state, "ca.pem", &ca, &len);
    if (ret == 0)
        ret = pc_server_state_read(&state, "ca.key", &ca_key, &len);
    if (ret == 0)
        ret = write_certificate(&state, ca, ca_key, &n);
    pc_pki_free_key(ca_key);
    pc_server_state_close(&state);
    if (ret < 0)
        return pc_server_complain("cert: %s", pc_strerror(ret));
    puts("new certificate in server.pem; send SIGHUP to a running server");
    return 0;
}
