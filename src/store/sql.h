#ifndef PC_STORE_SQL_H
#define PC_STORE_SQL_H
/*
 * Every statement, in the SQL that SQLite (3.35 or later) and PostgreSQL (14 or later) have in common. Parameters are
 * $1, $2 ...; numbers are 64 bits. A statement is prepared once a connection, at its first use.
 *
 * log_index -1 is "not logged". A statement that may be refused changes no row then (ON CONFLICT DO NOTHING, WHERE):
 * one that fails would end PostgreSQL's transaction.
 *
 * What is run for many rows is an INSERT with VALUES of just its parameters, in their order, or an UPDATE of one table
 * with one WHERE: PostgreSQL gets all rows of such a statement at once (postgres.c).
 */
#define PC_SQL_HOST "name,id,key,link_key,agent,address,enrolled,last_seen,online,server,sequence,checkpoint_size"
#define PC_SQL_ORDER                                                                                                   \
    "o.sha256,o.id,o.action,o.class,o.state,o.sequence,o.log_index,o.created,o.expires,"                               \
    "(SELECT count(*) FROM approval a WHERE a.order_sha256=o.sha256),o.needed,o.hosts"
#define PC_SQL_ORDER_HOST "order_sha256,host_id,host,state,why,outcome,ring,exit,changed,place"

#define PC_SQL_TABLE(X)                                                                                                \
    X(SETTING_PUT, "INSERT INTO setting(key,value) VALUES($1,$2) ON CONFLICT(key) DO UPDATE SET value=excluded.value") \
    X(SETTING_GET, "SELECT value FROM setting WHERE key=$1")                                                           \
    X(SETTING_DROP, "DELETE FROM setting WHERE key=$1")                                                                \
    X(TOKEN_ADD, "INSERT INTO token(sha256,kind,name,expires,spent) VALUES($1,$2,$3,$4,0) ON CONFLICT DO NOTHING")     \
    X(TOKEN_SPEND, "UPDATE token SET spent=CASE WHEN kind='enroll' THEN 1 ELSE 0 END "                                 \
                   "WHERE sha256=$1 AND kind=$2 AND spent=0 AND (expires=0 OR expires>$3)")                            \
    X(TOKEN_CHECK, "SELECT kind FROM token WHERE sha256=$1 AND spent=0 AND (expires=0 OR expires>$2)")                 \
    X(HOST_ADD, "INSERT INTO host(" PC_SQL_HOST ",envelope) VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13) "       \
                "ON CONFLICT DO NOTHING")                                                                              \
    X(HOST_BY_ID, "SELECT " PC_SQL_HOST " FROM host WHERE id=$1")                                                      \
    X(HOST_BY_NAME, "SELECT " PC_SQL_HOST " FROM host WHERE name=$1")                                                  \
    X(HOST_BY_LINK_KEY, "SELECT " PC_SQL_HOST " FROM host WHERE link_key=$1")                                          \
    X(HOST_SEEN,                                                                                                       \
      "UPDATE host SET agent=$2,address=$3,last_seen=$4,online=$5,server=$6,sequence=$7,checkpoint_size=$8 "           \
      "WHERE id=$1")                                                                                                   \
    X(HOSTS_SEEN,                                                                                                      \
      "UPDATE host SET agent=$2,address=$3,last_seen=$4,online=$5,server=$6,sequence=$7,checkpoint_size=$8 "           \
      "WHERE id=$1 AND ($5=1 OR online=0 OR server=$6)")                                                               \
    X(HOSTS, "SELECT " PC_SQL_HOST " FROM host WHERE name>$1 ORDER BY name LIMIT $2")                                  \
    X(ORDER_ADD,                                                                                                       \
      "INSERT INTO orders(sha256,id,action,class,state,sequence,log_index,created,expires,needed,hosts,document) "     \
      "VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12) ON CONFLICT DO NOTHING")                                         \
    X(ORDER_HOST_ADD, "INSERT INTO order_host(" PC_SQL_ORDER_HOST ") VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)")          \
    X(ORDER_EXISTS, "SELECT 1 FROM orders WHERE sha256=$1")                                                            \
    X(APPROVAL_ADD,                                                                                                    \
      "INSERT INTO approval(order_sha256,signature_sha256,text) VALUES($1,$2,$3) ON CONFLICT DO NOTHING")              \
    X(APPROVALS, "SELECT text FROM approval WHERE order_sha256=$1 ORDER BY n")                                         \
    X(ORDER_STATE,                                                                                                     \
      "UPDATE orders SET state=$3,log_index=CASE WHEN $4=-1 THEN log_index ELSE $4 END WHERE sha256=$1 AND state=$2")  \
    X(ORDER_GET, "SELECT " PC_SQL_ORDER ",o.document FROM orders o WHERE o.sha256=$1 OR o.id=$1")                      \
    X(ORDERS,                                                                                                          \
      "SELECT " PC_SQL_ORDER " FROM orders o WHERE o.created<$1 AND o.created>=coalesce((SELECT p.created "            \
      "FROM orders p WHERE p.created<$1 ORDER BY p.created DESC LIMIT 1 OFFSET $2),0) ORDER BY o.created DESC,o.id")   \
    X(ORDERS_OPEN,                                                                                                     \
      "SELECT " PC_SQL_ORDER " FROM orders o WHERE o.state NOT IN ('done','halted','expired') AND o.sha256>$1 "        \
      "ORDER BY o.sha256 LIMIT $2")                                                                                    \
    X(ORDER_HOSTS,                                                                                                     \
      "SELECT " PC_SQL_ORDER_HOST " FROM order_host WHERE order_sha256=$1 AND place>$2 ORDER BY place LIMIT $3")       \
    X(ORDER_HOST_GET, "SELECT " PC_SQL_ORDER_HOST " FROM order_host WHERE order_sha256=$1 AND host_id=$2")             \
    X(ORDER_HOST_SET,                                                                                                  \
      "UPDATE order_host SET state=$3,why=$4,outcome=$5,exit=$6,changed=$7 WHERE order_sha256=$1 AND host_id=$2")      \
    X(ORDER_HOSTS_ADVANCE,                                                                                             \
      "UPDATE order_host SET state=$3,why=$4,outcome=$5,exit=$6,changed=$7 WHERE order_sha256=$1 AND host_id=$2 AND "  \
      "CASE state WHEN 'queued' THEN 0 WHEN 'delivered' THEN 1 WHEN 'accepted' THEN 2 WHEN 'running' THEN 3 "          \
      "ELSE 4 END<$8")                                                                                                 \
    X(ORDER_STATES, "SELECT state,count(*) FROM order_host WHERE order_sha256=$1 GROUP BY state")                      \
    X(PENDING,                                                                                                         \
      "SELECT " PC_SQL_ORDER " FROM order_host h JOIN orders o ON o.sha256=h.order_sha256 WHERE h.host_id=$1 "         \
      "AND h.state IN ('queued','delivered') AND o.log_index<>-1 AND o.expires>$2 ORDER BY o.sequence,o.sha256")       \
    X(REPORT_ADD,                                                                                                      \
      "INSERT INTO report(kind,key,host_id,sha256,time,envelope) VALUES($1,$2,$3,$4,$5,$6) ON CONFLICT DO NOTHING")    \
    X(REPORTS_ADD,                                                                                                     \
      "INSERT INTO report(kind,key,host_id,sha256,time,envelope) VALUES($1,$2,$3,$4,$5,$6) ON CONFLICT DO NOTHING "    \
      "RETURNING host_id,sha256")                                                                                      \
    X(REPORTS, "SELECT n,host_id,envelope FROM report WHERE kind=$1 AND key=$2 AND n>$3 ORDER BY n LIMIT $4")          \
    X(REPORT_GET, "SELECT envelope FROM report WHERE sha256=$1 AND ($2='' OR host_id=$2) ORDER BY n LIMIT 1")          \
    X(LATEST_SET, "INSERT INTO latest(host_id,action,envelope) VALUES($1,$2,$3) "                                      \
                  "ON CONFLICT(host_id,action) DO UPDATE SET envelope=excluded.envelope")                              \
    X(LATEST_GET, "SELECT envelope FROM latest WHERE host_id=$1 AND action=$2")                                        \
    X(EVENT_ADD, "INSERT INTO event(host_id,time,kind,text) VALUES($1,$2,$3,$4)")                                      \
    X(EVENT_TRIM, "DELETE FROM event WHERE host_id=$1 AND n<=(SELECT n FROM event WHERE host_id=$1 "                   \
                  "ORDER BY n DESC LIMIT 1 OFFSET $2)")                                                                \
    X(EVENTS, "SELECT time,kind,text FROM event WHERE host_id=$1 ORDER BY n DESC LIMIT $2")                            \
    X(LOG_SIZE, "SELECT coalesce(max(n)+1,0) FROM log_entry")                                                          \
    X(LOG_ADD, "INSERT INTO log_entry(n,entry) VALUES($1,$2)")                                                         \
    X(LOG_NODE_ADD, "INSERT INTO log_node(level,n,hash) VALUES($1,$2,$3)")                                             \
    X(LOG_ENTRIES, "SELECT n,entry FROM log_entry WHERE n>=$1 ORDER BY n LIMIT $2")                                    \
    X(LOG_NODES, "SELECT n,hash FROM log_node WHERE level=$1 AND n>=$2 ORDER BY n LIMIT $3")                           \
    X(LOG_NAME, "INSERT INTO log_name(order_sha256,type,n) VALUES($1,$2,$3) "                                          \
                "ON CONFLICT(order_sha256,type) DO UPDATE SET n=excluded.n")                                           \
    X(LOG_FIND, "SELECT n FROM log_name WHERE order_sha256=$1 AND type=$2")                                            \
    X(CHECKPOINT_PUT,                                                                                                  \
      "INSERT INTO checkpoint(size,text) VALUES($1,$2) ON CONFLICT(size) DO UPDATE SET text=excluded.text")            \
    X(CHECKPOINT_TRIM,                                                                                                 \
      "DELETE FROM checkpoint WHERE size<=(SELECT size FROM checkpoint ORDER BY size DESC LIMIT 1 OFFSET $1)")         \
    X(CHECKPOINT_GET, "SELECT text FROM checkpoint WHERE size=$1")                                                     \
    X(CHECKPOINT_NEWEST, "SELECT text FROM checkpoint ORDER BY size DESC LIMIT 1")                                     \
    X(COSIGN, "UPDATE checkpoint SET text=$2 WHERE size=$1 AND size=(SELECT max(size) FROM checkpoint)")               \
    X(SCHEMA_GET, "SELECT version FROM schema_version")                                                                \
    X(SCHEMA_SET, "UPDATE schema_version SET version=$1")

#define PC_SQL_ENUM(name, text) PC_SQL_##name,
enum pc_sql { PC_SQL_TABLE(PC_SQL_ENUM) PC_SQL_COUNT };
#undef PC_SQL_ENUM
/* The statement's text. */
const char *pc_sql_text(enum pc_sql which);
#endif
