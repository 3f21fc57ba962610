//! API keys: kept in a file, checked by the crate `auth`, which the proxy uses as well.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miroir_api::Error;
use miroir_auth::{default_keys, parse_creation, parse_patch, Key, Keyring};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::files::{read_whole, replace};

/// All keys and the ring that checks them.
pub struct Keys {
    path: PathBuf,
    master_key: Option<String>,
    held: Mutex<Held>,
}

struct Held {
    /// Newest first.
    keys: Vec<Key>,
    ring: Arc<Keyring>,
}

impl Keys {
    /// Reads the file. Without one, and with a master key, the default keys are made, as at Meilisearch's first start.
    pub fn open(path: PathBuf, master_key: Option<String>) -> Result<Keys, Error> {
        let stored: Option<Vec<Key>> = read_whole(&path)?;
        let found = stored.is_none() && master_key.is_some();
        let keys = Keys {
            path,
            held: Mutex::new(Held {
                ring: Arc::new(Keyring::new(master_key.clone(), stored.iter().flatten())),
                keys: stored.unwrap_or_default(),
            }),
            master_key,
        };
        if found {
            let defaults = default_keys(OffsetDateTime::now_utc(), Uuid::new_v4);
            keys.keep(&mut keys.lock(), defaults)?;
        }
        Ok(keys)
    }

    /// The ring as it is now.
    pub fn ring(&self) -> Arc<Keyring> {
        Arc::clone(&self.lock().ring)
    }

    /// One page, newest first, and how many there are.
    pub fn page(&self, offset: usize, limit: usize) -> (Vec<Value>, usize) {
        let held = self.lock();
        let page = held.keys.iter().skip(offset).take(limit);
        (page.map(|key| self.view(key)).collect(), held.keys.len())
    }

    /// The key that `name` is the uid or the text of. Error: 404 `api_key_not_found`.
    pub fn one(&self, name: &str) -> Result<Value, Error> {
        let held = self.lock();
        Ok(self.view(&held.keys[held.position(name)?]))
    }

    /// Makes a key; durable when this returns. Errors: 400 for the body, 409 `api_key_already_exists`.
    pub fn create(&self, body: &Value) -> Result<Value, Error> {
        let key = parse_creation(body, OffsetDateTime::now_utc(), Uuid::new_v4())?;
        let mut held = self.lock();
        if held.keys.iter().any(|other| other.uid == key.uid) {
            return Err(key.already_exists());
        }
        let mut keys = held.keys.clone();
        keys.insert(0, key.clone());
        self.keep(&mut held, keys)?;
        Ok(self.view(&key))
    }

    /// Changes a key's words; durable when this returns. Errors: 400 for the body, 404 `api_key_not_found`.
    pub fn update(&self, name: &str, body: &Value) -> Result<Value, Error> {
        let patch = parse_patch(body)?;
        let mut held = self.lock();
        let position = held.position(name)?;
        let mut keys = held.keys.clone();
        keys[position].apply(patch, OffsetDateTime::now_utc());
        let shown = self.view(&keys[position]);
        self.keep(&mut held, keys)?;
        Ok(shown)
    }

    /// Deletes a key; durable when this returns. Error: 404 `api_key_not_found`.
    pub fn delete(&self, name: &str) -> Result<(), Error> {
        let mut held = self.lock();
        let mut keys = held.keys.clone();
        keys.remove(held.position(name)?);
        self.keep(&mut held, keys)
    }

    fn view(&self, key: &Key) -> Value {
        key.view(self.master_key.as_deref().unwrap_or_default())
    }

    fn keep(&self, held: &mut Held, keys: Vec<Key>) -> Result<(), Error> {
        replace(&self.path, &keys)?;
        held.ring = Arc::new(Keyring::new(self.master_key.clone(), &keys));
        held.keys = keys;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn position(&self, name: &str) -> Result<usize, Error> {
        let uid = self.ring.resolve(name)?;
        let found = self.keys.iter().position(|key| key.uid == uid);
        found.ok_or_else(|| Key::not_found(uid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_outlive_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let open = || Keys::open(path.clone(), Some("master".to_owned())).unwrap();
        let keys = open();
        let (defaults, total) = keys.page(0, 20);
        assert_eq!((defaults.len(), total), (4, 4));
        let body = json!({"actions": ["search"], "indexes": ["film*"], "expiresAt": null});
        let made = keys.create(&body).unwrap();
        keys.delete(defaults[3]["key"].as_str().unwrap()).unwrap();
        let again = open();
        assert_eq!(again.page(0, 1).0, std::slice::from_ref(&made));
        assert_eq!(again.page(0, 9).1, 4);
        let name = made["uid"].as_str().unwrap();
        let renamed = again.update(name, &json!({"name": "n"})).unwrap();
        assert_eq!(
            (&renamed["name"], &renamed["key"]),
            (&json!("n"), &made["key"])
        );
        assert_eq!(
            again.delete("nothing").unwrap_err().code,
            "api_key_not_found"
        );
    }
}
