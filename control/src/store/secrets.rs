//! API keys of embedders, as clients sent them.

use rusqlite::Connection;

use super::{Store, StoreError};
use crate::settings::Secret;

impl Store {
    /// Those of an index.
    pub(crate) async fn secrets(&self, node_uid: String) -> Result<Vec<Secret>, StoreError> {
        self.read(move |db| {
            db.prepare_cached("SELECT path, secret FROM secrets WHERE index_uid = ?1")?
                .query_map([node_uid], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }
}

pub(super) fn put_secrets(
    db: &Connection,
    node_uid: &str,
    secrets: &[Secret],
) -> rusqlite::Result<()> {
    let mut put = db.prepare_cached("INSERT OR REPLACE INTO secrets VALUES (?1, ?2, ?3)")?;
    for (path, secret) in secrets {
        put.execute([node_uid, path, secret])?;
    }
    Ok(())
}
