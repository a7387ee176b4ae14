// SPDX-License-Identifier: Apache-2.0
// The statements of postgres.c. Arguments: $1 key, $2 owner, $3 lease, $4 ttl, $5 left (ms to the absolute end), $6 data, $7 fence,
// $8 release, $9 condition, $10 tag; the result is one row  word, number, data  or none.
//
// A statement that writes does so under conditions on the row itself, which PostgreSQL looks at again (READ COMMITTED) when somebody
// has changed the row meanwhile. Only when nothing was written does the last part say why, from what was there at the beginning; when
// that is no reason, the word is "again".
//
//   data       NULL: no record, a lock only; empty: a tombstone
//   idle_ends  never behind `ends`: from then on there is no record
//   lock       lock_owner's, until lock_ends
#pragma once

// The lines are those of the statements.
// clang-format off

#define AFTER(ms) "(now() + " ms " * interval '1 millisecond')"
#define IS_DATA "((s.data <> '' AND s.idle_ends > now()) IS TRUE)"
#define IS_TOMBSTONE "((s.data = '' AND s.idle_ends > now()) IS TRUE)"
#define IS_NOTHING "(s.data IS NULL OR s.idle_ends <= now())"
#define IS_MINE "((s.lock_owner = $2 AND s.lock_ends > now()) IS TRUE)"
#define IS_OTHERS "((s.lock_owner <> $2 AND s.lock_ends > now()) IS TRUE)"
#define OF_ROW "FROM lethe_session s WHERE s.key = $1 "
#define OF_ROW_OR_NONE "FROM (SELECT 1) one LEFT JOIN lethe_session s ON s.key = $1 "
#define NO_MORE "0::bigint, NULL::bytea "
#define OK_OF(cte) "SELECT 'ok'::text, number, NULL::bytea FROM " cte " "
#define COLUMNS "lethe_session (key, data, ends, idle_ends, number, tag) "
#define TAG "coalesce(nullif($10, ''), s.tag)"

// The idle limit slides not more often than every twentieth of it: else each request would write the index.
#define IDLE_END "least(s.ends, " AFTER("$4") ")"
#define MUST_SLIDE "(s.idle_ends - now() < 0.95 * (" IDLE_END " - now()))"
#define SLIDE_TO(end) \
    "CASE WHEN s.idle_ends <= " end " AND s.idle_ends - now() >= 0.95 * (" end " - now()) THEN s.idle_ends ELSE " end " END"

static const char load_locked_sql[] =
    "WITH u AS (UPDATE lethe_session s SET number = s.number + 1, lock_owner = $2, lock_ends = " AFTER("$3") ", "
    "idle_ends = CASE WHEN " MUST_SLIDE " THEN " IDLE_END " ELSE s.idle_ends END "
    "WHERE s.key = $1 AND " IS_DATA " AND NOT " IS_OTHERS " RETURNING s.number, s.data) "
    "SELECT 'ok'::text, number, data FROM u UNION ALL "
    "SELECT CASE WHEN " IS_TOMBSTONE " THEN 'ended' WHEN " IS_NOTHING " THEN 'miss' WHEN " IS_OTHERS " THEN 'busy' "
    "ELSE 'again' END, " NO_MORE OF_ROW "AND NOT EXISTS (SELECT FROM u)";

static const char load_sql[] =
    "WITH u AS (UPDATE lethe_session s SET idle_ends = " IDLE_END " WHERE s.key = $1 AND " IS_DATA " AND " MUST_SLIDE ") "
    "SELECT CASE WHEN " IS_DATA " THEN 'ok' WHEN " IS_TOMBSTONE " THEN 'ended' ELSE 'miss' END, s.number, "
    "CASE WHEN " IS_DATA " THEN s.data END " OF_ROW;

static const char create_sql[] =
    "INSERT INTO lethe_session AS s (key, data, ends, idle_ends, number, lock_owner, lock_ends, tag) "
    "VALUES ($1, $6, " AFTER("greatest($5, 1)") ", " AFTER("greatest(least($4, $5), 1)") ", 1, "
    "CASE WHEN $3 > 0 THEN $2 END, CASE WHEN $3 > 0 THEN " AFTER("$3") " END, $10) "
    "ON CONFLICT (key) DO UPDATE SET data = excluded.data, ends = excluded.ends, idle_ends = excluded.idle_ends, number = 1, "
    "lock_owner = coalesce(excluded.lock_owner, s.lock_owner), lock_ends = coalesce(excluded.lock_ends, s.lock_ends), tag = " TAG " "
    "RETURNING 'ok'::text, s.number, NULL::bytea";

// The absolute end only comes nearer.
#define SAVED_NUMBER(number) number " + CASE WHEN $3 = 0 THEN 1 ELSE 0 END"
#define SAVED_ENDS "CASE WHEN " IS_DATA " THEN least(s.ends, " AFTER("$5") ") ELSE " AFTER("$5") " END"
static const char save_sql[] =
    "WITH u AS (UPDATE lethe_session s SET data = $6, ends = " SAVED_ENDS ", "
    "idle_ends = " SLIDE_TO("least(" AFTER("$4") ", " SAVED_ENDS ")") ", "
    "number = " SAVED_NUMBER("CASE WHEN " IS_NOTHING " THEN $7 ELSE s.number END") ", "
    "lock_owner = CASE WHEN $8 AND s.lock_owner = $2 THEN NULL ELSE s.lock_owner END, tag = " TAG " "
    "WHERE s.key = $1 AND (" IS_NOTHING " OR (s.data <> '' AND s.number <= $7 AND ($3 > 0 OR s.number = $7))) "
    "RETURNING s.number), "
    "i AS (INSERT INTO " COLUMNS
    "SELECT $1, $6, " AFTER("$5") ", " AFTER("least($4, $5)") ", " SAVED_NUMBER("$7") ", $10 "
    "WHERE NOT EXISTS (SELECT FROM u) ON CONFLICT (key) DO NOTHING RETURNING number) "
    OK_OF("u") "UNION ALL " OK_OF("i") "UNION ALL "
    "SELECT CASE WHEN " IS_TOMBSTONE " THEN 'ended' WHEN " IS_NOTHING " THEN 'again' "
    "WHEN s.number > $7 OR ($3 = 0 AND s.number <> $7) THEN 'fenced' ELSE 'again' END, " NO_MORE OF_ROW
    "AND NOT EXISTS (SELECT FROM u) AND NOT EXISTS (SELECT FROM i)";

// A record that comes anew begins with a number that none before it had.
#define FIRST_NUMBER "(extract(epoch FROM now()) * 1000)::bigint"
#define PUT_ENDS "CASE WHEN " IS_DATA " THEN s.ends ELSE " AFTER("$5") " END"
static const char put_sql[] =
    "WITH u AS (UPDATE lethe_session s SET data = $6, ends = " PUT_ENDS ", "
    "idle_ends = " SLIDE_TO("least(" AFTER("$4") ", " PUT_ENDS ")") ", "
    "number = CASE WHEN " IS_DATA " THEN s.number ELSE " FIRST_NUMBER " END + 1, tag = " TAG " "
    "WHERE s.key = $1 AND NOT " IS_TOMBSTONE " AND ($2 = '' OR " IS_MINE ") AND ($9 = 0 OR ($9 = 1 AND NOT " IS_DATA ") "
    "OR ($9 = 2 AND " IS_DATA " AND s.number = $7)) AND $4 > 0 AND (" IS_DATA " OR $5 > 0) RETURNING s.number), "
    "i AS (INSERT INTO " COLUMNS
    "SELECT $1, $6, " AFTER("$5") ", " AFTER("least($4, $5)") ", " FIRST_NUMBER " + 1, $10 "
    "WHERE $2 = '' AND $9 <> 2 AND least($4, $5) > 0 AND NOT EXISTS (SELECT FROM u) "
    "ON CONFLICT (key) DO NOTHING RETURNING number) "
    OK_OF("u") "UNION ALL " OK_OF("i") "UNION ALL "
    "SELECT CASE WHEN " IS_TOMBSTONE " THEN 'ended' WHEN $2 <> '' AND NOT " IS_MINE " THEN 'busy' "
    "WHEN ($9 = 1 AND " IS_DATA ") OR ($9 = 2 AND NOT (" IS_DATA " AND s.number = $7)) THEN 'fenced' "
    "WHEN $4 <= 0 OR (NOT " IS_DATA " AND $5 <= 0) THEN 'ended' ELSE 'again' END, " NO_MORE OF_ROW_OR_NONE
    "WHERE NOT EXISTS (SELECT FROM u) AND NOT EXISTS (SELECT FROM i)";

static const char touch_sql[] =
    "WITH u AS (UPDATE lethe_session s SET idle_ends = " IDLE_END " WHERE s.key = $1 AND " IS_DATA " AND " MUST_SLIDE ") "
    "SELECT CASE WHEN " IS_DATA " THEN 'ok' WHEN " IS_TOMBSTONE " THEN 'ended' ELSE 'miss' END, " NO_MORE OF_ROW;

static const char end_sql[] =
    "INSERT INTO lethe_session AS s (key, data, ends, idle_ends, number) "
    "VALUES ($1, '', " AFTER("$4") ", " AFTER("$4") ", 0) "
    "ON CONFLICT (key) DO UPDATE SET data = '', ends = excluded.ends, idle_ends = excluded.idle_ends, "
    "lock_owner = CASE WHEN s.lock_owner = $2 THEN NULL ELSE s.lock_owner END RETURNING 'ok'::text, " NO_MORE;

static const char expire_sql[] =
    "WITH u AS (UPDATE lethe_session s SET ends = " AFTER("$5") ", idle_ends = " AFTER("greatest(least($4, $5), 1)") " "
    "WHERE s.key = $1 AND " IS_DATA " AND s.ends > " AFTER("$5") ") "
    "SELECT CASE WHEN " IS_TOMBSTONE " THEN 'ended' ELSE 'ok' END, " NO_MORE OF_ROW;

static const char lock_sql[] =
    "INSERT INTO lethe_session AS s (key, ends, idle_ends, number, lock_owner, lock_ends) "
    "VALUES ($1, now(), now(), 0, $2, " AFTER("$3") ") "
    "ON CONFLICT (key) DO UPDATE SET lock_owner = excluded.lock_owner, lock_ends = excluded.lock_ends "
    "WHERE NOT " IS_OTHERS " RETURNING 'ok'::text, " NO_MORE;

static const char renew_sql[] =
    "UPDATE lethe_session s SET lock_ends = " AFTER("$3") " WHERE s.key = $1 AND " IS_MINE " RETURNING 'ok'::text, " NO_MORE;

static const char release_sql[] =
    "UPDATE lethe_session s SET lock_owner = NULL WHERE s.key = $1 AND s.lock_owner = $2 RETURNING 'ok'::text, " NO_MORE;

// One lethe at a time, a few rows at a time.
static const char sweep_sql[] =
    "WITH mine AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(7306090511) AS it), "
    "over AS (SELECT key FROM lethe_session s WHERE (SELECT it FROM mine) AND s.idle_ends <= now() "
    "AND (s.lock_owner IS NULL OR s.lock_ends <= now()) ORDER BY s.idle_ends LIMIT 500 FOR UPDATE SKIP LOCKED), "
    "gone AS (DELETE FROM lethe_session s USING over WHERE s.key = over.key RETURNING 1) "
    "SELECT 'ok'::text, count(*), NULL::bytea FROM gone";

// For an operator: rows behind the key $1 that begin with $2 (all characters of keys are below DEL). The result has columns of its own.
static const char scan_sql[] =
    "SELECT s.key, coalesce(s.tag, ''), (extract(epoch FROM s.idle_ends - now()) * 1000)::bigint, "
    "(extract(epoch FROM s.ends - now()) * 1000)::bigint, octet_length(s.data)::bigint, "
    "CASE WHEN (s.lock_owner IS NOT NULL AND s.lock_ends > now()) IS TRUE THEN 1::bigint ELSE 0::bigint END "
    "FROM lethe_session s WHERE s.key > $1 AND s.key < $2 || chr(127) AND s.data IS NOT NULL AND s.idle_ends > now() "
    "ORDER BY s.key LIMIT 500";

// Each connection begins with this; %lld: the time limit. Sealed data cannot be compressed.
static const char setup_sql[] =
    "SET statement_timeout = %lld; SET default_transaction_isolation = 'read committed'; "
    "DO $$ BEGIN IF to_regclass('lethe_session') IS NULL THEN "
    "PERFORM pg_advisory_xact_lock(7306090510); "
    "CREATE TABLE IF NOT EXISTS lethe_session (key text COLLATE \"C\" PRIMARY KEY, data bytea, ends timestamptz NOT NULL, "
    "idle_ends timestamptz NOT NULL, number bigint NOT NULL, lock_owner text, lock_ends timestamptz, tag text) WITH (fillfactor = 70); "
    "ALTER TABLE lethe_session ALTER COLUMN data SET STORAGE EXTERNAL; "
    "CREATE INDEX IF NOT EXISTS lethe_session_idle_ends ON lethe_session (idle_ends); "
    "END IF; END $$";

// clang-format on
