//! The catalogue's rows and the copies that are not in sync.

use std::future::Future;

use miroir_router::CopyState;
use rusqlite::{params, Connection, Row};

use super::{Store, StoreError};
use crate::catalogue::{Entry, IndexState};
use crate::clock::Nanos;

/// A catalogue entry as stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IndexRow {
    /// What nodes call it.
    pub node_uid: String,
    /// What clients call it.
    pub name: String,
    pub created_at: Nanos,
    pub updated_at: Nanos,
    pub layout_version: u64,
    pub visible: Option<IndexState>,
    pub planned: Option<IndexState>,
    pub settings_version: u64,
}

impl From<&Entry> for IndexRow {
    fn from(entry: &Entry) -> Self {
        IndexRow {
            node_uid: entry.node_uid.clone(),
            name: entry.name.clone(),
            created_at: entry.created_at,
            updated_at: entry.updated_at,
            layout_version: entry.layouts.published.version,
            visible: entry.visible.clone(),
            planned: entry.planned.clone(),
            settings_version: entry.settings_version,
        }
    }
}

/// One copy of a shard of an index whose state differs from the layout's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CopyRow {
    pub index_uid: String,
    pub shard: u16,
    pub node: String,
    pub state: CopyState,
}

impl Store {
    pub(crate) async fn indexes(&self) -> Result<Vec<IndexRow>, StoreError> {
        self.read(|db| {
            db.prepare("SELECT * FROM indexes ORDER BY uid")?
                .query_map([], read_index)?
                .collect()
        })
        .await
    }

    pub(crate) async fn copies(&self) -> Result<Vec<CopyRow>, StoreError> {
        self.read(|db| {
            db.prepare("SELECT * FROM copies")?
                .query_map([], read_copy)?
                .collect()
        })
        .await
    }

    /// The indexes in which an id with upper-case letters may have been written.
    pub(crate) async fn upper_case_ids(&self) -> Result<Vec<String>, StoreError> {
        self.read(|db| {
            db.prepare("SELECT index_uid FROM upper_case_ids")?
                .query_map([], |row| row.get(0))?
                .collect()
        })
        .await
    }

    /// Ids with upper-case letters are about to be written to the index.
    pub(crate) fn note_upper_case_ids(
        &self,
        uid: String,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        self.write(move |db| {
            db.execute("INSERT OR IGNORE INTO upper_case_ids VALUES (?1)", [uid])?;
            Ok(())
        })
    }

    /// Notes the states of copies.
    pub(crate) fn put_copies(
        &self,
        copies: Vec<CopyRow>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        self.write(move |db| copies.iter().try_for_each(|copy| put_copy(db, copy)))
    }

    /// Writes a catalogue entry without a task: an index that is being created for a write.
    pub(crate) fn put_index(
        &self,
        index: IndexRow,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        self.write(move |db| put_index(db, &index))
    }

    /// Forgets an index without a task: its creation was taken back.
    pub(crate) fn remove_index(
        &self,
        uid: String,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        self.write(move |db| remove_index(db, &uid))
    }
}

pub(super) fn put_index(db: &Connection, index: &IndexRow) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO indexes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            index.node_uid,
            index.created_at,
            index.updated_at,
            index.layout_version as i64,
            index.visible.as_ref().map(to_json),
            index.planned.as_ref().map(to_json),
            index.settings_version as i64,
            index.name,
        ])?;
    Ok(())
}

/// The index goes, and with it what was known of its copies and settings.
pub(super) fn remove_index(db: &Connection, uid: &str) -> rusqlite::Result<()> {
    for table in [
        "copies WHERE index_uid",
        "index_layouts WHERE index_uid",
        "settings_versions WHERE index_uid",
        "upper_case_ids WHERE index_uid",
        "identities WHERE index_uid",
        "secrets WHERE index_uid",
        "indexes WHERE uid",
    ] {
        db.execute(&format!("DELETE FROM {table} = ?1"), [uid])?;
    }
    Ok(())
}

pub(super) fn put_copy(db: &Connection, copy: &CopyRow) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO copies VALUES (?1, ?2, ?3, ?4)";
    db.prepare_cached(sql)?.execute(params![
        copy.index_uid,
        copy.shard,
        copy.node,
        to_json(&copy.state)
    ])?;
    Ok(())
}

fn read_index(row: &Row<'_>) -> rusqlite::Result<IndexRow> {
    Ok(IndexRow {
        node_uid: row.get("uid")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
        layout_version: row.get::<_, i64>("layout_version")? as u64,
        visible: from_json(row, "visible")?,
        planned: from_json(row, "planned")?,
        settings_version: row.get::<_, i64>("settings_version")? as u64,
    })
}

fn read_copy(row: &Row<'_>) -> rusqlite::Result<CopyRow> {
    Ok(CopyRow {
        index_uid: row.get("index_uid")?,
        shard: row.get("shard")?,
        node: row.get("node")?,
        state: from_json(row, "state")?.unwrap_or(CopyState::OutOfSync),
    })
}

pub(super) fn to_json(value: &impl serde::Serialize) -> String {
    // Only plain structs and JSON values are stored; they always serialise.
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// A nullable JSON column.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: &str,
) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| {
        serde_json::from_str(&text).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(
                0,
                rusqlite::types::Type::Text,
                Box::new(error),
            )
        })
    })
    .transpose()
}
