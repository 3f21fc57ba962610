//! The fleet: its identity, its layouts and its nodes' last addresses.

use miroir_router::Layout;
use rusqlite::{params, Connection, OptionalExtension};

use super::{Store, StoreError};
use crate::clock::Nanos;

/// The stored fleet.
#[derive(Clone, Debug)]
pub(crate) struct ClusterRow {
    pub id: String,
    pub layout: Layout,
}

impl Store {
    /// The fleet that this store belongs to; `None` for a fresh store.
    pub(crate) async fn cluster(&self) -> Result<Option<ClusterRow>, StoreError> {
        let row: Option<(String, String)> = self
            .read(|db| {
                let sql = "SELECT id, body FROM cluster JOIN layouts ON version = layout_version";
                db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()
            })
            .await?;
        row.map(|(id, body)| {
            Ok(ClusterRow {
                id,
                layout: parse_layout(&body)?,
            })
        })
        .transpose()
    }

    /// The layout of one version.
    pub(crate) async fn layout(&self, version: u64) -> Result<Layout, StoreError> {
        let body: String = self
            .read(move |db| {
                db.query_row(
                    "SELECT body FROM layouts WHERE version = ?1",
                    [version as i64],
                    |row| row.get(0),
                )
            })
            .await?;
        parse_layout(&body)
    }

    /// Founds the fleet. Where another process was quicker, its row stands and is returned by [`Store::cluster`].
    pub(crate) async fn found_cluster(
        &self,
        id: String,
        layout: &Layout,
        now: Nanos,
    ) -> Result<(), StoreError> {
        let version = layout.version as i64;
        let body = serde_json::to_string(layout).map_err(|error| StoreError(error.to_string()))?;
        self.write(move |db| {
            let taken = "INSERT OR IGNORE INTO cluster (one, id, layout_version, created_at) VALUES (1, ?1, ?2, ?3)";
            if db.execute(taken, params![id, version, now])? == 1 {
                db.execute("INSERT INTO layouts VALUES (?1, ?2, ?3)", params![version, body, now])?;
            }
            Ok(())
        })
        .await
    }

    /// Remembers where nodes were last found.
    pub(crate) async fn set_addresses(
        &self,
        nodes: Vec<(String, String)>,
    ) -> Result<(), StoreError> {
        self.write(move |db: &Connection| {
            for (id, address) in nodes {
                db.execute(
                    "INSERT OR REPLACE INTO nodes (id, address) VALUES (?1, ?2)",
                    [id, address],
                )?;
            }
            Ok(())
        })
        .await
    }
}

fn parse_layout(body: &str) -> Result<Layout, StoreError> {
    serde_json::from_str(body)
        .map_err(|error| StoreError(format!("a stored layout does not parse: {error}")))
}
