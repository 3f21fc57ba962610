//! API keys: kept in the store, published to the cores as a keyring within the routing table.
//!
//! A change is on disk, and in the published table, before it is answered: a request that begins after a deletion was
//! answered finds the key gone on every core.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use miroir_api::Error;
use miroir_auth::{default_keys, parse_creation, parse_patch, Key, Keyring};
use serde_json::{json, Value};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::plane::Plane;
use crate::store::{Store, StoreError};

/// The keys as the cores see them.
pub(crate) struct Keys {
    master_key: Option<String>,
    ring: Mutex<Arc<Keyring>>,
    /// Held from a change to its publication, so that an older state never follows a newer one.
    changing: tokio::sync::Mutex<()>,
}

impl Keys {
    /// Reads the keys; makes the default ones where there are none (and a master key to derive them from).
    pub(crate) async fn open(
        store: &Store,
        master_key: Option<String>,
    ) -> Result<Keys, StoreError> {
        if master_key.is_some() {
            let defaults = default_keys(OffsetDateTime::now_utc(), Uuid::new_v4);
            store.found_keys(defaults).await?;
        }
        let ring = Keyring::new(master_key.clone(), &store.keys().await?);
        Ok(Keys {
            master_key,
            ring: Mutex::new(Arc::new(ring)),
            changing: tokio::sync::Mutex::new(()),
        })
    }

    pub(crate) fn ring(&self) -> Arc<Keyring> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&ring)
    }

    fn view(&self, key: &Key) -> Value {
        key.view(self.master_key.as_deref().unwrap_or_default())
    }
}

impl Plane {
    /// `GET /keys`: newest first.
    pub(crate) async fn list_keys(&self, offset: usize, limit: usize) -> Result<Value, Error> {
        let keys = self.store.keys().await?;
        let page = keys.iter().skip(offset).take(limit);
        let results: Vec<Value> = page.map(|key| self.keys.view(key)).collect();
        Ok(json!({ "results": results, "offset": offset, "limit": limit, "total": keys.len() }))
    }

    /// `GET /keys/{uid or key}`.
    pub(crate) async fn show_key(&self, name: &str) -> Result<Value, Error> {
        let uid = self.keys.ring().resolve(name)?;
        let key = self.store.key(uid).await?;
        Ok(self.keys.view(&key.ok_or_else(|| Key::not_found(uid))?))
    }

    /// `POST /keys`.
    pub(crate) async fn create_key(&self, body: &Value) -> Result<Value, Error> {
        let key = parse_creation(body, OffsetDateTime::now_utc(), Uuid::new_v4())?;
        if !self.change(self.store.insert_key(key.clone())).await? {
            return Err(key.already_exists());
        }
        Ok(self.keys.view(&key))
    }

    /// `PATCH /keys/{uid or key}`: its name and description.
    pub(crate) async fn update_key(&self, name: &str, body: &Value) -> Result<Value, Error> {
        let patch = parse_patch(body)?;
        let uid = self.keys.ring().resolve(name)?;
        let update = self.store.update_key(uid, patch, OffsetDateTime::now_utc());
        let key = self.change(update).await?;
        Ok(self.keys.view(&key.ok_or_else(|| Key::not_found(uid))?))
    }

    /// `DELETE /keys/{uid or key}`.
    pub(crate) async fn delete_key(&self, name: &str) -> Result<(), Error> {
        let uid = self.keys.ring().resolve(name)?;
        match self.change(self.store.delete_key(uid)).await? {
            true => Ok(()),
            false => Err(Key::not_found(uid)),
        }
    }

    /// Makes a change durable, then publishes it.
    async fn change<T>(
        &self,
        change: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Error> {
        let _order = self.keys.changing.lock().await;
        let changed = change.await?;
        let ring = Keyring::new(self.keys.master_key.clone(), &self.store.keys().await?);
        *self
            .keys
            .ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
        self.publish(&self.catalogue());
        Ok(changed)
    }
}
