//! Experimental features as clients set them.

use super::{Store, StoreError};

impl Store {
    /// Each feature that a client ever set, and its last value.
    pub(crate) async fn features(&self) -> Result<Vec<(String, bool)>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT name, value FROM features")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })
        .await
    }

    /// Remembers these; others stay.
    pub(crate) async fn set_features(
        &self,
        features: Vec<(String, bool)>,
    ) -> Result<(), StoreError> {
        self.write(move |db| {
            let mut put = db.prepare_cached("INSERT OR REPLACE INTO features VALUES (?1, ?2)")?;
            for (name, on) in &features {
                put.execute((name, on))?;
            }
            Ok(())
        })
        .await
    }
}
