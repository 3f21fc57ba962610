//! API keys: kept in the store, published to the cores as a keyring within the routing table.
//!
//! A change is on disk, and in the published table, before it is answered: a request that begins after a deletion was
//! answered finds the key gone on every core.

mod body;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use miroir_api::Error;
use miroir_auth::{derive, Action, IndexPattern, Key, Keyring};
use serde_json::{json, Value};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
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
            store.found_keys(default_keys()).await?;
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
        let master_key = self.master_key.as_deref();
        json!({
            "name": key.name,
            "description": key.description,
            "key": master_key.map(|master_key| derive(master_key, key.uid)).unwrap_or_default(),
            "uid": key.uid.to_string(),
            "actions": key.actions,
            "indexes": key.indexes,
            "expiresAt": key.expires_at.map(rfc3339),
            "createdAt": rfc3339(key.created_at),
            "updatedAt": rfc3339(key.updated_at),
        })
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
        let uid = self.key_uid(name)?;
        let key = self.store.key(uid).await?;
        Ok(self.keys.view(&key.ok_or_else(|| not_found(uid))?))
    }

    /// `POST /keys`.
    pub(crate) async fn create_key(&self, body: &Value) -> Result<Value, Error> {
        let key = body::creation(body, OffsetDateTime::now_utc())?;
        if !self.change(self.store.insert_key(key.clone())).await? {
            let message = format!(
                "`uid` field value `{}` is already an existing API key.",
                key.uid
            );
            return Err(Error::invalid(409, "api_key_already_exists", message));
        }
        Ok(self.keys.view(&key))
    }

    /// `PATCH /keys/{uid or key}`: its name and description.
    pub(crate) async fn update_key(&self, name: &str, body: &Value) -> Result<Value, Error> {
        let patch = body::patch(body)?;
        let uid = self.key_uid(name)?;
        let update = self.store.update_key(uid, patch, OffsetDateTime::now_utc());
        let key = self.change(update).await?;
        Ok(self.keys.view(&key.ok_or_else(|| not_found(uid))?))
    }

    /// `DELETE /keys/{uid or key}`.
    pub(crate) async fn delete_key(&self, name: &str) -> Result<(), Error> {
        let uid = self.key_uid(name)?;
        match self.change(self.store.delete_key(uid)).await? {
            true => Ok(()),
            false => Err(not_found(uid)),
        }
    }

    fn key_uid(&self, name: &str) -> Result<Uuid, Error> {
        let by_text = || self.keys.ring().uid_of(name);
        Uuid::parse_str(name)
            .ok()
            .or_else(by_text)
            .ok_or_else(|| not_found(name))
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

/// What a patch says of a key's words: `None` leaves a word as it is.
pub(crate) struct KeyPatch {
    pub name: Option<Option<String>>,
    pub description: Option<Option<String>>,
}

fn not_found(name: impl std::fmt::Display) -> Error {
    Error::invalid(
        404,
        "api_key_not_found",
        format!("API key `{name}` not found."),
    )
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// The keys that a fresh Meilisearch has, newest first; clients find them by their names.
fn default_keys() -> Vec<Key> {
    let now = OffsetDateTime::now_utc();
    let defaults = [
        (
            "Default Search API Key",
            "Use it to search from the frontend",
            vec![Action::Search],
        ),
        (
            "Default Admin API Key",
            "Use it for anything that is not a search operation. Caution! Do not expose it on a public frontend",
            vec![Action::All],
        ),
        (
            "Default Read-Only Admin API Key",
            "Use it to read information across the whole database. Caution! Do not expose this key on a public frontend",
            vec![Action::AllGet, Action::KeysGet],
        ),
        (
            "Default Chat API Key",
            "Use it to chat and search from the frontend",
            vec![Action::ChatCompletions, Action::Search],
        ),
    ];
    defaults
        .into_iter()
        .zip(0..)
        .map(|((name, description, actions), position)| {
            // Lists are ordered by this time.
            let at = now - Duration::microseconds(position);
            Key {
                uid: Uuid::new_v4(),
                name: Some(name.to_owned()),
                description: Some(description.to_owned()),
                actions,
                indexes: vec![IndexPattern::all()],
                expires_at: None,
                created_at: at,
                updated_at: at,
            }
        })
        .collect()
}
