"""The statements of the state store in SQLite. They take and give whole groups of events as JSON."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS ids (id TEXT PRIMARY KEY, digest TEXT NOT NULL, received INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ids_received ON ids (received);
CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, event TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS users (user TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS forgotten (user TEXT PRIMARY KEY, at INTEGER NOT NULL, part TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO facts VALUES ('version', '1'), ('received', '0'), ('log', lower(hex(randomblob(4))));
"""
VERSION = "1"
"""Version of the tables; a file of another version is refused."""

STATES = """
SELECT '{' || coalesce(group_concat('"' || user || '":' || state), '') || '}' FROM users
WHERE user IN (SELECT value FROM json_each(:users))
"""
"""The states of users as a JSON object. SQLite parses nothing: keys are hexadecimal digits, and states are JSON."""

READ_BEFORE = f"""
SELECT (SELECT value FROM facts WHERE name = 'received'),
       (SELECT json_group_object(id, digest) FROM ids WHERE id IN (SELECT value FROM json_each(:ids))),
       ({STATES})
"""
LAST = "SELECT coalesce(max(seq), 0) FROM log"
NEXT_PART = "SELECT min(seq), max(seq) FROM (SELECT seq FROM log WHERE seq <= ? ORDER BY seq LIMIT ?)"
FORGOTTEN_UNTIL = "SELECT user FROM forgotten WHERE at <= ? LIMIT 1"
WRITE_IDS = "INSERT INTO ids SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)"
WRITE_LOG = "INSERT INTO log (user, event) SELECT value ->> 0, value -> 1 FROM json_each(?) ORDER BY key"
WRITE_STATES = "INSERT OR REPLACE INTO users SELECT key, value FROM json_each(?)"
WRITE_FACT = "INSERT OR REPLACE INTO facts VALUES (?, ?)"
ADD_FACT = "INSERT OR IGNORE INTO facts VALUES (?, ?)"
KEEP_OUT = (
    "INSERT OR REPLACE INTO forgotten SELECT key, value ->> 'forgotten', NULL FROM json_each(?) JOIN users"
    " ON user = key WHERE coalesce(state ->> 'forgotten', 0) < value ->> 'forgotten'",
    "INSERT INTO users SELECT key, value FROM json_each(?) WHERE true ON CONFLICT (user) DO UPDATE SET"
    " state = excluded.state WHERE coalesce(users.state ->> 'forgotten', 0) < excluded.state ->> 'forgotten'",
)

NOTE = "note:"
"""How the names of facts begin that are notes of others."""
