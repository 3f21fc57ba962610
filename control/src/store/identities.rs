//! Which index on which node is the one that we filled.

use std::future::Future;

use rusqlite::params;

use super::indexes::put_copy;
use super::{CopyRow, Store, StoreError};
use crate::clock::Nanos;

/// An index on a node, and when the node says that it was created.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    pub node: String,
    pub index_uid: String,
    /// `None`: the node does not have it.
    pub created_at: Option<Nanos>,
}

impl Store {
    /// What was last recorded of a node.
    pub(crate) async fn identities(&self, node: String) -> Result<Vec<Identity>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT node, index_uid, created_at FROM identities WHERE node = ?1")?
                .query_map([node], |row| {
                    Ok(Identity {
                        node: row.get(0)?,
                        index_uid: row.get(1)?,
                        created_at: row.get(2)?,
                    })
                })?
                .collect()
        })
        .await
    }

    /// How far each node had counted its tasks, as far as that is on disk.
    pub(crate) async fn node_tasks(&self) -> Result<Vec<(String, u32)>, StoreError> {
        /// The newest tasks are enough to meet every node; older ones would only cost time.
        const TASKS: i64 = 10_000;
        self.read(|db| {
            db.prepare(
                "SELECT node, MAX(uid) AS newest FROM (
                     SELECT node, node_tasks.newest AS uid FROM node_tasks UNION ALL
                     SELECT parts.node, node_task FROM parts LEFT JOIN node_tasks USING (node)
                     WHERE task_uid > (SELECT COALESCE(MAX(uid), 0) FROM tasks) - ?1
                         AND task_uid > COALESCE(since_task, -1))
                 GROUP BY node HAVING newest >= 0",
            )?
            .query_map([TASKS], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
        })
        .await
    }

    /// The node counts its tasks anew: what earlier tasks say of it holds no longer.
    pub(crate) fn restart_node_tasks(
        &self,
        node: String,
        newest: Option<u32>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        self.write(move |db| {
            // -1: below every number.
            let sql = "INSERT OR REPLACE INTO node_tasks
                SELECT ?1, COALESCE(?2, -1), COALESCE(MAX(uid), -1) FROM tasks";
            db.prepare_cached(sql)?.execute(params![node, newest])?;
            Ok(())
        })
    }

    /// Records identities, and in the same transaction the copies that they take out of service.
    pub(crate) fn identify(
        &self,
        identities: Vec<Identity>,
        lost: Vec<CopyRow>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static {
        self.write(move |db| {
            for Identity {
                node,
                index_uid,
                created_at,
            } in &identities
            {
                match created_at {
                    Some(at) => db
                        .prepare_cached("INSERT OR REPLACE INTO identities VALUES (?1, ?2, ?3)")?
                        .execute(params![node, index_uid, at])?,
                    None => db
                        .prepare_cached(
                            "DELETE FROM identities WHERE node = ?1 AND index_uid = ?2",
                        )?
                        .execute([node, index_uid])?,
                };
            }
            lost.iter().try_for_each(|copy| put_copy(db, copy))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::store::tests::scratch;

    #[tokio::test]
    async fn a_node_that_counts_anew_is_measured_by_its_new_numbers() {
        let (store, _folder) = scratch();
        assert!(store.node_tasks().await.unwrap().is_empty());
        let restart = |newest| store.restart_node_tasks("a".into(), newest);
        restart(Some(7)).await.unwrap();
        assert_eq!(store.node_tasks().await.unwrap(), [("a".into(), 7)]);
        restart(Some(3)).await.unwrap();
        assert_eq!(store.node_tasks().await.unwrap(), [("a".into(), 3)]);
        restart(None).await.unwrap();
        assert!(store.node_tasks().await.unwrap().is_empty());
    }
}
