//! An API key, and how its text follows from the master key.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use miroir_api::Error;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use sha2::Sha256;
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::action::Action;
use crate::body::KeyPatch;
use crate::pattern::IndexPattern;

/// What is known of an API key. Its text is not: see [`derive`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    #[serde(with = "crate::uuid_text")]
    pub uid: Uuid,
    pub name: Option<String>,
    pub description: Option<String>,
    /// As they were given, wildcards and all.
    pub actions: Vec<Action>,
    pub indexes: Vec<IndexPattern>,
    /// With the offset that the client wrote.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

impl Key {
    /// The key as `/keys` shows it, its text derived from the master key.
    pub fn view(&self, master_key: &str) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "key": derive(master_key, self.uid),
            "uid": self.uid.to_string(),
            "actions": self.actions,
            "indexes": self.indexes,
            "expiresAt": self.expires_at.map(rfc3339),
            "createdAt": rfc3339(self.created_at),
            "updatedAt": rfc3339(self.updated_at),
        })
    }

    /// Gives the key its new words.
    pub fn apply(&mut self, patch: KeyPatch, now: OffsetDateTime) {
        self.name = patch.name.unwrap_or(self.name.take());
        self.description = patch.description.unwrap_or(self.description.take());
        self.updated_at = now;
    }

    /// 409 `api_key_already_exists`.
    pub fn already_exists(&self) -> Error {
        let message = format!(
            "`uid` field value `{}` is already an existing API key.",
            self.uid
        );
        Error::invalid(409, "api_key_already_exists", message)
    }

    /// 404 `api_key_not_found`; `name`: the uid or the text that was asked for.
    pub fn not_found(name: impl std::fmt::Display) -> Error {
        let message = format!("API key `{name}` not found.");
        Error::invalid(404, "api_key_not_found", message)
    }
}

/// The keys that a fresh Meilisearch has, newest first; clients find them by their names. `fresh` gives new uids.
pub fn default_keys(now: OffsetDateTime, mut fresh: impl FnMut() -> Uuid) -> Vec<Key> {
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
                uid: fresh(),
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

/// A time as Meilisearch writes it.
pub(crate) fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// The text of the key with this uid: HMAC-SHA256 of the uid in lower-case hyphenated form under the master key, in
/// hexadecimal (`meilisearch-auth/src/store.rs`). The same on every server with the same master key.
pub fn derive(master_key: &str, uid: Uuid) -> String {
    let mut text = String::with_capacity(64);
    for byte in digest(master_key, uid) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// [`derive`] before it is written down.
pub(crate) fn digest(master_key: &str, uid: Uuid) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(master_key.as_bytes()) else {
        unreachable!("HMAC takes keys of every length");
    };
    mac.update(uid.hyphenated().to_string().as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pairs stand in Meilisearch's own tests (`crates/meilisearch/tests/auth`).
    #[test]
    fn keys_are_those_of_a_meilisearch_with_the_same_master_key() {
        let key = |uid: &str| derive("MASTER_KEY", uid.parse().unwrap());
        assert_eq!(
            key("4bc0887a-0e41-4f3b-935d-0c451dcee9c8"),
            "d9e776b8412f1db6974c9a5556b961c3559440b6588216f4ea5d9ed49f7c8f3c"
        );
        assert_eq!(
            key("00000000-0000-0000-0000-000000000000"),
            "aeb94973e0b6e912d94165430bbe87dee91a7c4f891ce19050c3910ec96977e9"
        );
        assert_eq!(
            key("4BC0887A0E414F3B935D0C451DCEE9C8"),
            key("4bc0887a-0e41-4f3b-935d-0c451dcee9c8")
        );
    }
}
