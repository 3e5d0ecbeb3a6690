#ifndef PC_PRESERVE_INDEX_H
#define PC_PRESERVE_INDEX_H
#include "base/fh.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The SQLite index: schema, prepared statements by number, one open write transaction. Rows and their meaning belong to
 * files.c, acts.c, incident.c, journal.c, evict.c.
 *
 * WAL with synchronous=NORMAL and no automatic checkpoint: a commit is a few buffered writes (no fsync while an attack
 * runs), and power loss loses the newest transactions but never damages the file. OFF would save the fsyncs of the
 * checkpoint only, which run when the guard is quiet, and would let power loss damage what it costs minutes to rebuild.
 * What is lost comes back from the objects (pc_store_rebuild).
 */
/* A process of an earlier run, by pid ?1 and start ?3 to ?4, and its descendants; ?2: first number of this run. */
#define PC_SQL_KIN                                                                                                     \
    "kin(id) AS (SELECT id FROM process WHERE pid=?1 AND id<?2 AND start>=?3 AND start<=?4 "                           \
    "UNION SELECT c.id FROM kin JOIN process c ON c.parent=kin.id) "
/* "+vol": through the rows by number; by an index on vol each of these would go over all files of the volume. */
#define PC_SQL_TABLE(X)                                                                                                \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                                        \
    X(COMMIT, "COMMIT")                                                                                                \
    X(META_GET, "SELECT value FROM setting WHERE key=?1")                                                              \
    X(META_PUT, "INSERT INTO setting(key,value) VALUES(?1,?2) ON CONFLICT(key) DO UPDATE SET value=?2")                \
    X(VOL_GET, "SELECT id,files,versions,objects,bytes,superseded,evicted FROM volume WHERE ident=?1")                 \
    X(VOL_PUT, "INSERT INTO volume(ident,mount,fs) VALUES(?1,?2,?3)")                                                  \
    X(VOL_SAVE,                                                                                                        \
      "UPDATE volume SET mount=?2,files=?3,versions=?4,objects=?5,bytes=?6,superseded=?7,evicted=?8 WHERE id=?1")      \
    X(FILE_BY_FH,                                                                                                      \
      "SELECT f.id,f.current,f.link,f.creator,f.gone,v.how,v.object,v.size,v.mtime,v.ctime,f.fh,f.parent,f.name,"      \
      "v.mode FROM file f LEFT JOIN version v ON v.id=f.current WHERE f.vol=?1 AND f.fh=?2")                           \
    X(FILE_BY_NAME,                                                                                                    \
      "SELECT f.id,f.current,f.link,f.creator,f.gone,v.how,v.object,v.size,v.mtime,v.ctime,f.fh,f.parent,f.name,"      \
      "v.mode FROM file f LEFT JOIN version v ON v.id=f.current WHERE f.vol=?1 AND f.parent=?2 AND f.name=?3 "         \
      "ORDER BY f.gone,f.id DESC LIMIT 1")                                                                             \
    X(FILE_BY_ID,                                                                                                      \
      "SELECT f.id,f.current,f.link,f.creator,f.gone,v.how,v.object,v.size,v.mtime,v.ctime,f.fh,f.parent,f.name,"      \
      "v.mode FROM file f LEFT JOIN version v ON v.id=f.current WHERE f.id=?1")                                        \
    X(FILE_MAX, "SELECT coalesce(max(id),0) FROM file")                                                                \
    X(FILE_LINKED,                                                                                                     \
      "SELECT f.id FROM file f JOIN version v ON v.id=f.current WHERE f.id>?2 AND f.id<=?2+256 AND +f.vol=?1 "         \
      "AND f.gone=0 AND (v.how IN (3,4) OR f.link<>0) AND v.size>0 AND v.size<=?3 AND (v.time<?4 OR v.mtime<?4) "      \
      "ORDER BY f.id LIMIT 1")                                                                                         \
    X(FILE_LINKS, "SELECT id,link FROM file WHERE id>?2 AND +vol=?1 AND link<>0 ORDER BY id LIMIT 1")                  \
    X(FILE_THERE,                                                                                                      \
      "SELECT id FROM file WHERE id>?2 AND id<=?2+256 AND +vol=?1 AND gone=0 AND current<=?3 ORDER BY id LIMIT 1")     \
    X(FILE_ADD, "INSERT INTO file(vol,fh,parent,name,creator,current,link,gone) VALUES(?1,?2,?3,?4,?5,0,0,0)")         \
    X(FILE_PLACE, "UPDATE file SET parent=?2,name=?3 WHERE id=?1")                                                     \
    X(FILE_CURRENT, "UPDATE file SET current=?2,gone=0 WHERE id=?1")                                                   \
    X(FILE_GONE, "UPDATE file SET gone=1 WHERE id=?1")                                                                 \
    X(FILE_LINK, "UPDATE file SET link=?2 WHERE id=?1")                                                                \
    X(FILE_DROP, "DELETE FROM file WHERE id=?1")                                                                       \
    X(FILE_COUNT, "SELECT count(*) FROM file WHERE vol=?1 AND gone=0")                                                 \
    X(VER_ADD,                                                                                                         \
      "INSERT INTO version(file,vol,object,how,packed,actor,time,mode,size,alloc,mtime,ctime,retired,retired_by,meta)" \
      " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,0,0,?13)")                                                       \
    X(VER_GET,                                                                                                         \
      "SELECT id,file,vol,object,how,packed,actor,time,mode,size,alloc,mtime,ctime,retired FROM version WHERE id=?1")  \
    X(VER_META, "SELECT meta FROM version WHERE id=?1")                                                                \
    X(VER_RETIRE, "UPDATE version SET retired=?2 WHERE id=?1 AND retired=0")                                           \
    X(VER_UNRETIRE, "UPDATE version SET retired=0 WHERE id=?1")                                                        \
    X(VER_TIME, "UPDATE version SET time=?2 WHERE id=?1")                                                              \
    X(VER_CTIME, "UPDATE version SET ctime=?2 WHERE id=?1")                                                            \
    X(VER_RETIRED_BY, "UPDATE version SET retired_by=?2 WHERE id=?1 AND retired_by=0")                                 \
    X(VER_LOST, "UPDATE version SET object=0,alloc=0 WHERE id=?1")                                                     \
    X(VER_TWINS,                                                                                                       \
      "UPDATE version SET object=?2,how=?3,packed=0 WHERE file=?1 AND how=3 AND object<>0 AND size=?4 AND mtime=?5")   \
    X(VER_LINKED, "SELECT id FROM version WHERE file=?1 AND how=3 AND object<>0 LIMIT 1")                              \
    X(PREFIX_PUT, "INSERT OR REPLACE INTO prefix(version,seed,hash) VALUES(?1,?2,?3)")                                 \
    X(PREFIX_GET, "SELECT seed,hash FROM prefix WHERE version=?1")                                                     \
    X(PREFIX_DROP, "DELETE FROM prefix WHERE version=?1")                                                              \
    X(VER_MAX, "SELECT coalesce(max(id),0) FROM version")                                                              \
    X(VER_CUT, "UPDATE version SET how=3 WHERE id=?1")                                                                 \
    X(VER_SHARE, "UPDATE version SET object=?2,packed=0 WHERE id=?1")                                                  \
    X(VER_ALLOC, "UPDATE version SET alloc=?2 WHERE id=?1")                                                            \
    X(VER_DROP, "DELETE FROM version WHERE id=?1")                                                                     \
    X(VER_OF_FILE, "SELECT id FROM version WHERE file=?1 ORDER BY id DESC")                                            \
    X(VER_FIRST_OF_FILE, "SELECT id FROM version WHERE file=?1 LIMIT 1")                                               \
    X(VER_LIST,                                                                                                        \
      "SELECT v.id,v.time,v.size,v.actor,v.how,v.mode,v.mtime,f.current=v.id AND f.gone=0 FROM version v "             \
      "JOIN file f ON f.id=v.file WHERE v.file IN (SELECT id FROM file WHERE vol=?1 AND parent=?2 AND name=?3 "        \
      "UNION SELECT id FROM file WHERE vol=?1 AND fh=?4 "                                                              \
      "UNION SELECT f2.id FROM act a JOIN file f2 ON f2.vol=a.vol AND f2.fh=a.fh "                                     \
      "WHERE a.vol=?1 AND a.parent=?2 AND a.name=?3) ORDER BY v.time DESC,v.id DESC")                                  \
    X(VER_BEFORE, "SELECT id FROM version WHERE file=?1 AND time<?2 ORDER BY id DESC LIMIT 1")                         \
    X(VER_SHARED, "SELECT max(id) FROM version WHERE object=?1 AND object<>0 AND vol=?2 AND id<>?3")                                 \
    X(VER_BY_OBJECT, "SELECT id FROM version WHERE object=?1 AND object<>0 AND vol=?2 LIMIT 1")                                      \
    X(VER_NEXT, "SELECT id FROM version WHERE file=?1 AND id>?2 AND object<>0 AND how<>4 ORDER BY id LIMIT 1")         \
    X(VER_COUNTS,                                                                                                      \
      "SELECT count(*),coalesce(sum(object<>0),0),coalesce(sum(alloc),0),"                                             \
      "coalesce(sum(CASE WHEN retired>0 THEN alloc ELSE 0 END),0) FROM version WHERE vol=?1")                          \
    X(RETIRED_OLD,                                                                                                     \
      "SELECT id,retired FROM version WHERE vol=?1 AND retired>0 AND retired>?2 AND retired<?3 ORDER BY retired LIMIT 64")           \
    X(RETIRED_TOP,                                                                                                     \
      "SELECT retired_by,sum(alloc) AS n FROM version WHERE vol=?1 AND retired>0 AND retired<?2 AND retired_by>0 "     \
      "GROUP BY retired_by ORDER BY n DESC LIMIT 1")                                                                   \
    X(RETIRED_OF_ACTOR,                                                                                                \
      "SELECT v.id FROM version v WHERE v.vol=?1 AND v.retired_by=?2 AND v.retired_by>0 AND v.retired>0 AND v.retired<?3 AND v.alloc>0 AND NOT EXISTS("    \
      "SELECT 1 FROM act a JOIN incident i ON i.id=a.incident WHERE a.before=v.id AND a.before>0 AND i.state IN (1,2,3)) "            \
      "ORDER BY EXISTS(SELECT 1 FROM version o WHERE o.file=v.file AND o.id<v.id AND o.retired_by=?2) DESC,"           \
      "v.retired LIMIT 64")                                                                                            \
    X(RETIRED_ANY,                                                                                                     \
      "SELECT v.id FROM version v WHERE v.vol=?1 AND v.retired>0 AND v.retired<?2 AND v.alloc>0 AND NOT EXISTS("       \
      "SELECT 1 FROM act a JOIN incident i ON i.id=a.incident WHERE a.before=v.id AND a.before>0 AND i.state IN (1,2,3)) "            \
      "ORDER BY v.retired LIMIT 64")                                                                                   \
    X(RETIRED_SINCE, "SELECT coalesce(sum(alloc),0) FROM version WHERE vol=?1 AND retired>0 AND retired>=?2")                  \
    X(GONE_PAGE,                                                                                                       \
      "SELECT v.id,v.retired,v.retired_by,f.parent,f.name,f.fh FROM version v JOIN file f ON f.id=v.file "             \
      "WHERE v.vol=?1 AND v.retired>0 AND v.retired>=?2 AND v.retired<=?3 AND NOT(v.retired=?3 AND v.id>=?4) "         \
      "AND f.gone=1 AND f.current=v.id AND v.retired>=(SELECT w.retired FROM file o JOIN version w ON w.id=o.current " \
      "WHERE o.vol=f.vol AND o.parent=f.parent AND o.name=f.name AND o.gone=1 ORDER BY o.id DESC LIMIT 1) "            \
      "ORDER BY v.retired DESC,v.id DESC LIMIT 64")                                                                    \
    X(LEFT_PAGE,                                                                                                       \
      "SELECT a.before,a.time,a.actor,a.parent,a.name,a.fh,a.id FROM act a JOIN file f ON f.vol=a.vol AND f.fh=a.fh "  \
      "WHERE +a.vol=?1 AND a.id<?3 AND a.op IN(3,5) AND a.time>=?2 "                                                   \
      "AND NOT(f.gone=1 AND f.parent=a.parent AND f.name=a.name) AND a.id=(SELECT max(b.id) FROM act b "               \
      "WHERE b.vol=a.vol AND b.parent=a.parent AND b.name=a.name AND b.op IN(3,5)) ORDER BY a.id DESC LIMIT 64")       \
    X(WITHIN_PAGE,                                                                                                     \
      "SELECT f.current,f.parent,f.name,f.fh FROM file f WHERE f.vol=?1 AND f.parent=?2 AND f.name>?3 AND f.gone=0 "   \
      "AND f.current>0 ORDER BY f.name LIMIT 64")                                                                      \
    X(FIRST_DAMAGE,                                                                                                    \
      "SELECT before FROM act WHERE vol=?1 AND fh=?2 AND time>=?3 AND op=1 AND score>=50 AND before>0 "                \
      "ORDER BY id LIMIT 1")                                                                                           \
    X(VER_PINNED,                                                                                                      \
      "SELECT 1 FROM act a JOIN incident i ON i.id=a.incident WHERE a.before=?1 AND a.before>0 AND i.state IN (1,2,3) LIMIT 1")       \
    X(ACT_ADD,                                                                                                         \
      "INSERT INTO act(time,actor,incident,op,dir,vol,fh,parent,name,nparent,nname,before,score,evidence) "            \
      "VALUES(?1,?2,coalesce((SELECT max(incident) FROM member WHERE process=?2),0),?3,?4,?5,?6,?7,?8,?9,?10,?11,"     \
      "?12,?13)")                                                                                                      \
    X(ACT_CLAIM,                                                                                                       \
      "UPDATE act SET incident=?1 WHERE actor=?2 AND (incident=0 OR incident IN (SELECT id FROM incident "             \
      "WHERE state=5))")                                                                                               \
    X(ACT_TAKE, "UPDATE act SET incident=?1 WHERE id=?2 AND incident=0")                                               \
    X(ACT_LIST,                                                                                                        \
      "SELECT id,time,actor,op,dir,vol,fh,parent,name,nparent,nname,before,score,evidence FROM act WHERE incident=?1 " \
      "AND id>?2 ORDER BY id")                                                                                         \
    X(ACT_OTHERS,                                                                                                      \
      "SELECT 1 FROM act WHERE vol=?1 AND fh=?2 AND incident<>?3 AND id>?4 AND op IN (1,5) "                           \
      "AND (actor<>0 OR score<50) LIMIT 1")                                                                            \
    X(ACT_OF_CHANGE,                                                                                                   \
      "SELECT 1+max(a.actor=0 OR a.actor>=?4 OR EXISTS(SELECT 1 FROM incident i WHERE i.id=a.incident AND i.rolled=0))" \
      "  FROM act a WHERE a.before=?3 AND a.before>0 AND +a.vol=?1 AND +a.fh=?2")                                       \
    X(ACT_MADE, "SELECT 1 FROM act WHERE vol=?1 AND fh=?2 AND incident<>?3 LIMIT 1")                                   \
    X(ACT_IN_FOLDER,                                                                                                   \
      "SELECT 1 FROM act WHERE vol=?1 AND parent=?2 AND incident<>?3 AND time>=?4 AND op<>1 AND op<>6 LIMIT 1")        \
    X(ACT_OLD,                                                                                                         \
      "DELETE FROM act WHERE id IN (SELECT id FROM act WHERE time<?1 AND (incident=0 OR incident IN "                  \
      "(SELECT id FROM incident WHERE state=5)) LIMIT 256)")                                                           \
    X(INC_OLD,                                                                                                         \
      "DELETE FROM incident WHERE id IN (SELECT i.id FROM incident i WHERE i.state=5 AND i.verdict<?1 AND NOT EXISTS("     \
      "SELECT 1 FROM act a WHERE a.incident=i.id AND a.incident>0) LIMIT 64)")                                         \
    X(PROC_PUT,                                                                                                        \
      "INSERT INTO process(id,parent,pid,uid,start,exe,argv,cgroup,user,sha) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10) "  \
      "ON CONFLICT(id) DO UPDATE SET parent=?2,pid=?3,uid=?4,start=?5,exe=?6,argv=?7,cgroup=?8,user=?9,sha=?10")       \
    X(PROC_GET, "SELECT id,parent,pid,uid,start,exe,argv,cgroup,user,sha FROM process WHERE id=?1")                    \
    X(KIN_FIRST,                                                                                                       \
      "WITH RECURSIVE " PC_SQL_KIN "SELECT min(time) FROM act WHERE actor IN kin AND incident=0 AND time>=?5 AND score>=50") \
    X(KIN_MEMBER,                                                                                                      \
      "WITH RECURSIVE " PC_SQL_KIN "INSERT OR IGNORE INTO member(incident,process) SELECT ?5,id FROM kin")             \
    X(KIN_CLAIM,                                                                                                       \
      "WITH RECURSIVE " PC_SQL_KIN "UPDATE act SET incident=?5 WHERE actor IN kin AND time>=?6 "                      \
      "AND (incident=0 OR incident IN (SELECT id FROM incident WHERE state=5))")                                       \
    X(PROC_MAX, "SELECT max(id) FROM process")                                                                         \
    X(PROC_OF_INC,                                                                                                     \
      "SELECT p.id,p.parent,p.pid,p.uid,p.start,p.exe,p.argv,p.cgroup,p.user,p.sha FROM member m "                     \
      "JOIN process p ON p.id=m.process WHERE m.incident=?1 ORDER BY p.id")                                            \
    X(PROC_OLD,                                                                                                        \
      "DELETE FROM process WHERE id IN (SELECT id FROM process p WHERE p.start<?1 "                                    \
      "AND NOT EXISTS(SELECT 1 FROM act WHERE actor=p.id) AND NOT EXISTS(SELECT 1 FROM member WHERE process=p.id) "    \
      "AND NOT EXISTS(SELECT 1 FROM process c WHERE c.parent=p.id) LIMIT 64)")                                         \
    X(MEMBER_ADD, "INSERT OR IGNORE INTO member(incident,process) VALUES(?1,?2)")                                      \
    X(INC_ADD,                                                                                                         \
      "INSERT INTO incident(started,verdict,frozen,closed,root,state,rolled,damaged,preserved,inflight,processes,"     \
      "summary) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)")                                                       \
    X(INC_PUT,                                                                                                         \
      "UPDATE incident SET started=?1,verdict=?2,frozen=?3,closed=?4,root=?5,state=?6,rolled=?7,damaged=?8,"           \
      "preserved=?9,inflight=?10,processes=?11,summary=?12 WHERE id=?13")                                              \
    X(INC_GET,                                                                                                         \
      "SELECT started,verdict,frozen,closed,root,state,rolled,damaged,preserved,inflight,processes,summary,id "        \
      "FROM incident WHERE id=?1")                                                                                     \
    X(INC_LIST,                                                                                                        \
      "SELECT started,verdict,frozen,closed,root,state,rolled,damaged,preserved,inflight,processes,summary,id "        \
      "FROM incident WHERE id<?1 ORDER BY id DESC LIMIT 1")                                                            \
    X(NOTE_ADD, "INSERT INTO note(incident,time,text) VALUES(?1,?2,?3)")                                               \
    X(NOTE_LIST, "SELECT time,text FROM note WHERE incident=?1 ORDER BY time,id")                                      \
    X(RB_OPEN, "SELECT id,finished,undone FROM rollback WHERE incident=?1 AND undone=0 ORDER BY id DESC LIMIT 1")      \
    X(RB_ADD, "INSERT INTO rollback(incident,started,finished,undone) VALUES(?1,?2,0,0)")                              \
    X(RB_DONE, "UPDATE rollback SET finished=?2 WHERE id=?1")                                                          \
    X(RB_UNDONE, "UPDATE rollback SET undone=?2 WHERE id=?1")                                                          \
    X(RB_OLD,                                                                                                          \
      "SELECT r.id FROM rollback r LEFT JOIN incident i ON i.id=r.incident WHERE max(r.finished,r.undone)>0 AND "      \
      "max(r.finished,r.undone)<?1 AND coalesce(i.state,4)=4 AND r.id>?2 ORDER BY r.id LIMIT 1")                       \
    X(RB_DROP, "DELETE FROM rollback WHERE id=?1")                                                                     \
    X(J_DROP, "DELETE FROM journal WHERE id=?1")                                                                       \
    X(J_ADD,                                                                                                           \
      "INSERT INTO journal(rollback,kind,vol,fh,parent,name,parent2,name2,aside,version,a,m) "                         \
      "VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12)")                                                                \
    X(J_OURS, "UPDATE journal SET parent2=?2 WHERE id=?1")                                                             \
    X(J_LIST,                                                                                                          \
      "SELECT id,kind,vol,fh,parent,name,parent2,name2,aside,version,a,m FROM journal WHERE rollback=?1 "              \
      "AND id<?2 ORDER BY id DESC LIMIT 1")

#define PC_SQL_ENUM(name, text) PC_SQL_##name,
enum pc_sql { PC_SQL_TABLE(PC_SQL_ENUM) PC_SQL_COUNT };
#undef PC_SQL_ENUM

struct pc_index {
    sqlite3 *db;
    sqlite3_stmt *st[PC_SQL_COUNT];
    unsigned pending;     /* writes in the open transaction */
    uint64_t pending_ns;  /* monotonic time of the first of them */
    char path[4096];
};

/* Opens or creates path; *damaged says that a damaged file was moved aside. -EBUSY: another guard has it open. */
int pc_index_open(struct pc_index *ix, const char *path, bool *damaged);
void pc_index_close(struct pc_index *ix);
/* The prepared statement, reset and unbound; NULL with *err set when it cannot be prepared. */
sqlite3_stmt *pc_index_stmt(struct pc_index *ix, enum pc_sql which, int *err);
/* Call before a write: opens the transaction when none is. */
int pc_index_write(struct pc_index *ix);
/* Steps a statement that returns no rows and resets it. */
int pc_index_run(struct pc_index *ix, sqlite3_stmt *st);
/* 1: a row is there; 0: no more (reset); or an error (reset). */
int pc_index_row(struct pc_index *ix, sqlite3_stmt *st);
/* All of a write whose parameters are numbers. */
#define PC_INDEX_PUT(ix, which, ...)                                                                                   \
    pc_index_put(ix, which, (const uint64_t[]){__VA_ARGS__}, (int)(sizeof((const uint64_t[]){__VA_ARGS__}) / 8))
int pc_index_put(struct pc_index *ix, enum pc_sql which, const uint64_t *values, int n);
/* The row of one number: 0 and *st on it (the caller resets it); PC_E_NOTFOUND; or an error. */
int pc_index_find(struct pc_index *ix, enum pc_sql which, uint64_t key, sqlite3_stmt **st);
int pc_index_commit(struct pc_index *ix);
/* Commits when many writes or much time (50 ms) are pending: what a crash of the guard can lose. */
int pc_index_maybe_commit(struct pc_index *ix);
/* Writes the log back into the file (fsync): only when quiet, or when the log has become too long. */
int pc_index_checkpoint(struct pc_index *ix, bool force);

void pc_bind_fh(sqlite3_stmt *st, int at, const struct pc_fh *fh); /* len 0: NULL */
int pc_column_fh(sqlite3_stmt *st, int at, struct pc_fh *out);     /* NULL: all zero */
void pc_bind_bytes(sqlite3_stmt *st, int at, const char *text);    /* raw bytes, as BLOB: names need not be UTF-8 */
void pc_column_bytes(sqlite3_stmt *st, int at, char *out, size_t cap);
static inline void pc_bind_u64(sqlite3_stmt *st, int at, uint64_t v)
{
    sqlite3_bind_int64(st, at, (sqlite3_int64)v);
}
static inline uint64_t pc_column_u64(sqlite3_stmt *st, int at)
{
    return (uint64_t)sqlite3_column_int64(st, at);
}
#endif
