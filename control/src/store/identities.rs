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
