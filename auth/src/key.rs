//! An API key, and how its text follows from the master key.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::action::Action;
use crate::pattern::IndexPattern;

/// What is known of an API key. Its text is not: see [`derive`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub uid: Uuid,
    pub name: Option<String>,
    pub description: Option<String>,
    /// As they were given, wildcards and all.
    pub actions: Vec<Action>,
    pub indexes: Vec<IndexPattern>,
    /// With the offset that the client wrote.
    pub expires_at: Option<OffsetDateTime>,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
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
