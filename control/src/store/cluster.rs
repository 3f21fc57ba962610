//! The fleet: its identity, its nodes and its layouts.

use std::future::Future;
use std::sync::Arc;

use miroir_router::Layout;
use rusqlite::{params, Connection, OptionalExtension, Row};

use super::indexes::{from_json, to_json};
use super::{Store, StoreError};
use crate::clock::{now, Nanos};
use crate::fleet::changes::Change;

/// The stored fleet.
#[derive(Clone, Debug)]
pub(crate) struct ClusterRow {
    pub id: String,
    pub layout: Layout,
}

/// A node of the fleet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NodeRow {
    /// See [`miroir_router::NodeIdx`].
    pub position: u16,
    pub id: String,
    /// `http://host:port`
    pub address: String,
    /// The address that the configuration last said; a node that was added at run time may have none.
    pub configured: Option<String>,
    /// A tombstone: it keeps its position.
    pub removed: bool,
}

/// What one change of layouts stores.
#[derive(Debug)]
pub(crate) struct LayoutChange {
    /// The layout that new indexes get from now on.
    pub current: Option<(Arc<Layout>, Vec<Change>)>,
    /// Nodes that come, go or move.
    pub nodes: Vec<NodeRow>,
    /// How far nodes have counted their tasks.
    pub counted: Vec<(String, u32)>,
    pub indexes: Vec<IndexLayout>,
}

/// A version of the layout of new indexes.
#[derive(Debug)]
pub(crate) struct Version {
    pub layout: Layout,
    pub created_at: Nanos,
    /// What led to it; empty for the first one.
    pub changes: Vec<Change>,
}

/// The layout of one index.
#[derive(Debug)]
pub(crate) struct IndexLayout {
    /// As nodes call it.
    pub index_uid: String,
    /// With what was noted of single copies up to now in it.
    pub layout: Arc<Layout>,
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
        nodes: Vec<NodeRow>,
        now: Nanos,
    ) -> Result<(), StoreError> {
        let version = layout.version as i64;
        let body = to_json(layout);
        self.write(move |db| {
            let taken = "INSERT OR IGNORE INTO cluster (one, id, layout_version, created_at) VALUES (1, ?1, ?2, ?3)";
            if db.execute(taken, params![id, version, now])? == 1 {
                db.execute("INSERT INTO layouts (version, body, created_at) VALUES (?1, ?2, ?3)", params![version, body, now])?;
                nodes.iter().try_for_each(|node| put_node(db, node))?;
            }
            Ok(())
        })
        .await
    }

    /// Every node that ever belonged to the fleet, by position.
    pub(crate) async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        self.read(|db| {
            db.prepare("SELECT * FROM nodes ORDER BY position")?
                .query_map([], read_node)?
                .collect()
        })
        .await
    }

    pub(crate) async fn put_nodes(&self, nodes: Vec<NodeRow>) -> Result<(), StoreError> {
        self.write(move |db| nodes.iter().try_for_each(|node| put_node(db, node)))
            .await
    }

    /// The layouts of indexes that have their own, by the nodes' name.
    pub(crate) async fn index_layouts(&self) -> Result<Vec<(String, Layout)>, StoreError> {
        let rows: Vec<(String, String)> = self
            .read(|db| {
                db.prepare("SELECT index_uid, body FROM index_layouts")?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                    .collect()
            })
            .await?;
        rows.into_iter()
            .map(|(uid, body)| Ok((uid, parse_layout(&body)?)))
            .collect()
    }

    /// Every version so far, the newest first.
    pub(crate) async fn versions(&self) -> Result<Vec<Version>, StoreError> {
        type Row = (String, Nanos, Option<Vec<Change>>);
        let rows: Vec<Row> = self
            .read(|db| {
                db.prepare("SELECT * FROM layouts ORDER BY version DESC")?
                    .query_map([], |row| {
                        let changes = from_json(row, "changes")?;
                        Ok((row.get("body")?, row.get("created_at")?, changes))
                    })?
                    .collect()
            })
            .await?;
        rows.into_iter()
            .map(|(body, created_at, changes)| {
                Ok(Version {
                    layout: parse_layout(&body)?,
                    created_at,
                    changes: changes.unwrap_or_default(),
                })
            })
            .collect()
    }

    /// Changes that are not applied yet.
    pub(crate) async fn staged(&self) -> Result<Vec<Change>, StoreError> {
        self.read(|db| {
            let rows: Vec<Option<Change>> = db
                .prepare("SELECT change FROM staged ORDER BY position")?
                .query_map([], |row| from_json(row, "change"))?
                .collect::<Result<_, _>>()?;
            Ok(rows.into_iter().flatten().collect())
        })
        .await
    }

    pub(crate) async fn set_staged(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.write(move |db| {
            db.execute("DELETE FROM staged", [])?;
            for (position, change) in changes.iter().enumerate() {
                let row = params![position as i64, to_json(change)];
                db.execute("INSERT INTO staged VALUES (?1, ?2)", row)?;
            }
            Ok(())
        })
        .await
    }

    /// Stores a change of layouts, all or nothing.
    pub(crate) fn change_layouts(
        &self,
        change: LayoutChange,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        let at = now();
        self.write(move |db| {
            for node in &change.nodes {
                put_node(db, node)?;
            }
            for (node, newest) in &change.counted {
                let sql = "INSERT INTO node_tasks (node, newest) VALUES (?1, ?2)
                    ON CONFLICT (node) DO UPDATE SET newest = excluded.newest";
                db.prepare_cached(sql)?.execute(params![node, newest])?;
            }
            if let Some((layout, changes)) = &change.current {
                let version = layout.version as i64;
                let sql = "INSERT OR REPLACE INTO layouts (version, body, created_at, changes) VALUES (?1, ?2, ?3, ?4)";
                db.execute(sql, params![version, to_json(&**layout), at, to_json(changes)])?;
                db.execute("UPDATE cluster SET layout_version = ?1", [version])?;
                db.execute("DELETE FROM staged", [])?;
            }
            for index in &change.indexes {
                db.execute(
                    "INSERT OR REPLACE INTO index_layouts VALUES (?1, ?2)",
                    params![index.index_uid, to_json(&*index.layout)],
                )?;
                db.prepare_cached("DELETE FROM copies WHERE index_uid = ?1")?
                    .execute([&index.index_uid])?;
            }
            Ok(())
        })
    }
}

fn put_node(db: &Connection, node: &NodeRow) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO nodes (id, address, position, configured, removed)
         VALUES (?1, ?2, ?3, ?4, ?5)";
    db.execute(
        sql,
        params![
            node.id,
            node.address,
            node.position,
            node.configured,
            node.removed
        ],
    )?;
    Ok(())
}

fn read_node(row: &Row<'_>) -> rusqlite::Result<NodeRow> {
    Ok(NodeRow {
        position: row.get("position")?,
        id: row.get("id")?,
        address: row.get("address")?,
        configured: row.get("configured")?,
        removed: row.get("removed")?,
    })
}

fn parse_layout(body: &str) -> Result<Layout, StoreError> {
    serde_json::from_str(body)
        .map_err(|error| StoreError(format!("a stored layout does not parse: {error}")))
}
