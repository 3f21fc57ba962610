//! The tables, and how an older file becomes a newer one.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::StoreError;

/// Step `n` brings a file of version `n` (SQLite's `user_version`) to `n + 1`. Steps are never edited once shipped.
const MIGRATIONS: [&str; 11] = ["
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('next_task', 0);

-- one row: which fleet this store belongs to
CREATE TABLE cluster (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    layout_version INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE TABLE layouts (version INTEGER PRIMARY KEY, body TEXT NOT NULL, created_at INTEGER NOT NULL);
CREATE TABLE nodes (id TEXT PRIMARY KEY, address TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE indexes (
    uid TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    layout_version INTEGER NOT NULL,
    visible TEXT,               -- JSON of the state that clients see; NULL: not there (yet, or any more)
    planned TEXT,               -- JSON of the state once all accepted tasks have run
    settings_version INTEGER NOT NULL
) WITHOUT ROWID;

-- copies whose state differs from the layout's
CREATE TABLE copies (
    index_uid TEXT NOT NULL,
    shard INTEGER NOT NULL,
    node TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (index_uid, shard, node)
) WITHOUT ROWID;

CREATE TABLE tasks (
    uid INTEGER PRIMARY KEY,
    index_uid TEXT,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    details TEXT NOT NULL,
    error TEXT,
    doom TEXT,
    effect TEXT NOT NULL,
    copies INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    custom_metadata TEXT
);
CREATE INDEX tasks_by_status ON tasks (status, uid);
CREATE INDEX tasks_by_index ON tasks (index_uid, uid);

CREATE TABLE parts (
    task_uid INTEGER NOT NULL REFERENCES tasks (uid) ON DELETE CASCADE,
    node TEXT NOT NULL,
    node_task INTEGER NOT NULL,
    role TEXT NOT NULL,
    shards TEXT NOT NULL,
    PRIMARY KEY (task_uid, node, node_task)
) WITHOUT ROWID;

CREATE TABLE settings_versions (
    index_uid TEXT NOT NULL,
    version INTEGER NOT NULL,
    task_uid INTEGER,
    settings TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (index_uid, version)
) WITHOUT ROWID;
", "
-- indexes in which a document id with upper-case letters may have been written: of the older ones nobody knows
CREATE TABLE upper_case_ids (index_uid TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO upper_case_ids SELECT uid FROM indexes;
", "
-- the uids of the other tables are the nodes' names from here on; this is the clients'
ALTER TABLE indexes ADD COLUMN name TEXT NOT NULL DEFAULT '';
UPDATE indexes SET name = uid;
ALTER TABLE tasks ADD COLUMN node_uid TEXT;
UPDATE tasks SET node_uid = index_uid;
ALTER TABLE tasks ADD COLUMN canceled_by INTEGER;
", "
-- the text of a key is derived from the master key and the uid: it is not here
CREATE TABLE keys (
    uid TEXT PRIMARY KEY,
    name TEXT,
    description TEXT,
    actions TEXT NOT NULL,      -- JSON
    indexes TEXT NOT NULL,      -- JSON
    expires_at TEXT,            -- RFC 3339, with the offset that the client wrote
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;
", "
-- experimental features as clients set them
CREATE TABLE features (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
", "
-- which nodes there are is decided here: a position is a node's for ever
ALTER TABLE nodes ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN configured TEXT;       -- the address that the configuration last said
ALTER TABLE nodes ADD COLUMN removed INTEGER NOT NULL DEFAULT 0;
UPDATE nodes SET configured = address, position = COALESCE((
    SELECT node.key FROM cluster JOIN layouts ON version = layout_version, json_each(body, '$.nodes') AS node
    WHERE json_extract(node.value, '$.id') = nodes.id), 0);
-- an index's own layout while it differs from that of its version; the states in `copies` go on top
CREATE TABLE index_layouts (index_uid TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
-- changes of the layout that are not applied yet
CREATE TABLE staged (position INTEGER PRIMARY KEY, change TEXT NOT NULL);
", "
-- when the node itself says that it created the index: with another time it is not the index that we filled
CREATE TABLE identities (
    node TEXT NOT NULL,
    index_uid TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (node, index_uid)
) WITHOUT ROWID;
", "
-- what led to a version of the layout, for the history (JSON)
ALTER TABLE layouts ADD COLUMN changes TEXT;
", "
-- webhooks that clients have made
CREATE TABLE webhooks (
    uuid TEXT PRIMARY KEY,
    body TEXT NOT NULL          -- JSON: url and headers
) WITHOUT ROWID;
", "
-- API keys of embedders as clients sent them: nodes show them masked, and new nodes need them
CREATE TABLE secrets (
    index_uid TEXT NOT NULL,
    path TEXT NOT NULL,         -- in the setting `embedders` (RFC 6901)
    secret TEXT NOT NULL,
    PRIMARY KEY (index_uid, path)
) WITHOUT ROWID;
", "
-- the newest task number known of a node when a layout changed or the node was seen to count anew; parts of tasks after
-- since_task may have newer ones, those of older tasks are of another life of the node
CREATE TABLE node_tasks (
    node TEXT PRIMARY KEY,
    newest INTEGER NOT NULL,
    since_task INTEGER NOT NULL DEFAULT -1
) WITHOUT ROWID;
"];

/// Opens a connection with the durability that an answered task needs.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    };
    open().map_err(|error| {
        StoreError(format!(
            "cannot open {}: {error}; check task_store.path and its folder's rights",
            path.display()
        ))
    })
}

/// Runs the missing steps, all or none.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: usize = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > MIGRATIONS.len() {
        return Err(StoreError(format!(
            "the file is of version {version}, this program knows {}; start the newer miroir that wrote it",
            MIGRATIONS.len()
        )));
    }
    for step in &MIGRATIONS[version..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrating_twice_changes_nothing_and_a_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connect(&folder.path().join("x.db")).unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(migrate(&mut connection)
            .unwrap_err()
            .to_string()
            .contains("version 99"));
    }

    #[test]
    fn indexes_of_before_may_have_ids_with_upper_case_letters() {
        let folder = tempfile::tempdir().unwrap();
        let mut connection = connect(&folder.path().join("x.db")).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO indexes VALUES ('old', 1, 1, 1, NULL, NULL, 0); PRAGMA user_version = 1",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        let noted: Vec<String> = connection
            .prepare("SELECT index_uid FROM upper_case_ids")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(noted, ["old"]);
    }

    #[test]
    fn durability_is_what_an_answered_task_needs() {
        let folder = tempfile::tempdir().unwrap();
        let connection = connect(&folder.path().join("x.db")).unwrap();
        let journal: String = connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .unwrap();
        let synchronous: i64 = connection
            .pragma_query_value(None, "synchronous", |row| row.get(0))
            .unwrap();
        assert_eq!((journal.as_str(), synchronous), ("wal", 2));
    }
}
