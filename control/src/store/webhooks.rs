//! Webhooks that clients have made.

use miroir_webhooks::Registered;

use super::{Store, StoreError};

impl Store {
    pub(crate) async fn webhooks(&self) -> Result<Registered, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT uuid, body FROM webhooks")?
                .query_map([], |row| {
                    let body: String = row.get(1)?;
                    let hook = serde_json::from_str(&body).map_err(super::keys::unreadable)?;
                    Ok((row.get(0)?, hook))
                })?
                .collect()
        })
        .await
    }

    /// Puts these in the place of all.
    pub(crate) async fn set_webhooks(&self, all: Registered) -> Result<(), StoreError> {
        self.write(move |db| {
            db.execute("DELETE FROM webhooks", [])?;
            let mut put = db.prepare_cached("INSERT INTO webhooks VALUES (?1, ?2)")?;
            for (uuid, hook) in &all {
                put.execute((uuid, super::keys::to_json(hook)))?;
            }
            Ok(())
        })
        .await
    }
}
