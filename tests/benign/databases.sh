# Databases whose files live in the protected tree: pages rewritten in place, tables rewritten whole, logs recycled.
# shellcheck shell=bash
# shellcheck disable=SC2016

PG=$(echo /usr/lib/postgresql/*/bin)

as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/tmp "$@"; }

#@ postgres-pgbench needs=psql,setpriv seconds=180
postgres_pgbench_setup() {
    chmod 711 "$(dirname "$MNT")" "$MNT" "$TREE"
    install -d -o postgres -g postgres pg "$OUTSIDE/pgsock"
    as_postgres "$PG/initdb" -D "$TREE/pg/data" -A trust > /dev/null
}
postgres_pgbench() {
    as_postgres "$PG/pg_ctl" -s -w -D "$TREE/pg/data" -l "$TREE/pg/log" -o "-k $OUTSIDE/pgsock -h '' -c max_wal_size=64MB" start
    trap 'as_postgres "$PG/pg_ctl" -s -w -m fast -D "$TREE/pg/data" stop' EXIT
    as_postgres "$PG/createdb" -h "$OUTSIDE/pgsock" bench
    as_postgres "$PG/pgbench" -q -h "$OUTSIDE/pgsock" -i -s 5 bench 2> /dev/null
    as_postgres "$PG/pgbench" -h "$OUTSIDE/pgsock" -c 4 -T 6 bench > /dev/null 2>&1
    as_postgres "$PG/psql" -q -h "$OUTSIDE/pgsock" bench -c 'VACUUM FULL' -c 'CREATE EXTENSION pgcrypto' -c \
        "CREATE TABLE secret AS SELECT pgp_sym_encrypt(filler, 'k') FROM pgbench_accounts LIMIT 5000" -c 'REINDEX DATABASE bench' -c CHECKPOINT
    as_postgres "$PG/pg_dump" -h "$OUTSIDE/pgsock" -Fc bench -f "$TREE/pg/bench.dump"
    as_postgres "$PG/pg_dump" -h "$OUTSIDE/pgsock" bench | gzip > bench.sql.gz
    as_postgres "$PG/dropdb" -h "$OUTSIDE/pgsock" bench
}
postgres_pgbench_check() { gzip -t bench.sql.gz; as_postgres "$PG/pg_restore" -l "$TREE/pg/bench.dump" > /dev/null; }

#@ sqlite-vacuum needs=sqlite3 ci
sqlite_vacuum() {
    find . -name '*.sqlite' | while IFS= read -r f; do sqlite3 "$f" "update files set md5=upper(md5); delete from files where rowid%3=0; vacuum;"; done
    sqlite3 big.db "pragma journal_mode=wal; create table t(a,b); with recursive n(i) as (select 1 union all select i+1 from n where i<200000) insert into t select i, randomblob(60) from n; create index x on t(b); delete from t where a%2; vacuum;" > /dev/null
    sqlite3 big.db .dump | gzip > big.sql.gz && sqlite3 restored.db < <(gunzip < big.sql.gz) && rm big.db
}
sqlite_vacuum_check() { [ "$(sqlite3 restored.db 'pragma integrity_check')" = ok ]; }

#@ redis-aof needs=redis-server,redis-cli
redis_aof() {
    mkdir redis
    redis-server --port 0 --unixsocket "$OUTSIDE/redis.sock" --dir "$TREE/redis" --appendonly yes --save '1 1' --logfile /dev/null &
    server=$!
    trap 'kill $server; wait $server || true' EXIT
    for _ in $(seq 50); do redis-cli -s "$OUTSIDE/redis.sock" ping > /dev/null 2>&1 && break; sleep 0.1; done
    redis-benchmark -q -s "$OUTSIDE/redis.sock" -n 40000 -r 20000 -d 200 -t set,lpush,hset > /dev/null
    for _ in 1 2 3; do redis-cli -s "$OUTSIDE/redis.sock" bgrewriteaof > /dev/null; sleep 1; redis-cli -s "$OUTSIDE/redis.sock" bgsave > /dev/null; sleep 1; done
}
redis_aof_check() { [ -s redis/dump.rdb ]; }

#@ mariadb-load needs=mariadbd,mariadb-install-db,mariadb,mariadb-dump seconds=180
mariadb_load_setup() { mkdir maria && mariadb-install-db --no-defaults --user=root --auth-root-authentication-method=socket --datadir="$TREE/maria/data" > /dev/null; }
mariadb_load() {
    mariadbd --no-defaults --user=root --datadir="$TREE/maria/data" --socket="$OUTSIDE/maria.sock" --skip-networking --innodb-log-file-size=16M > maria/log 2>&1 &
    server=$!
    trap 'kill $server; wait $server || true' EXIT
    for _ in $(seq 100); do mariadb --no-defaults -S "$OUTSIDE/maria.sock" -e 'select 1' > /dev/null 2>&1 && break; sleep 0.2; done
    mariadb --no-defaults -S "$OUTSIDE/maria.sock" -e "create database d; use d; create table t(a int primary key, b text, c blob) as select seq a, repeat(md5(seq), 8) b, aes_encrypt(md5(seq), 'k') c from seq_1_to_60000; update t set b=upper(b); alter table t row_format=compressed; optimize table t; delete from t where a%2;"
    mariadb-dump --no-defaults -S "$OUTSIDE/maria.sock" d | gzip > d.sql.gz
    mariadb --no-defaults -S "$OUTSIDE/maria.sock" -e 'drop database d'
}
mariadb_load_check() { gzip -t d.sql.gz; }
