//! Who may do what: Meilisearch's keys and tenant tokens, without I/O.
//!
//! The control plane keeps the [`Key`]s and publishes them as a [`Keyring`] within the routing table; a core asks its
//! copy of it, with the clock's time as an argument, and gets an [`Access`]: which indexes the asker may see, whether it
//! may create them, and which filter a tenant token lays on each. Nothing is asked of another thread.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `action` | what a key may allow, and what its wildcards stand for |
//! | `pattern` | which indexes: a name, `prefix*` or `*` |
//! | `key` | an API key; its text is derived from the master key and the uid, never stored |
//! | `body` | the bodies that make and change keys |
//! | `token` | tenant tokens: JWT signed with an API key |
//! | `ring` | all keys, and the one place that checks a presented one |
//! | `access` | what the one who asks may see |
//! | `routes` | every route and the action that it needs; a route that is not listed is not served |
//!
//! Behaviour follows Meilisearch 1.50: `crates/meilisearch-auth`, `crates/meilisearch-types/src/keys.rs` and
//! `crates/meilisearch/src/extractors/authentication`.
#![forbid(unsafe_code)]

mod access;
mod action;
mod body;
mod key;
mod pattern;
mod ring;
pub mod routes;
mod token;
pub mod uuid_text;

pub use access::Access;
pub use action::{Action, IndexScope, ACTIONS};
pub use body::{parse_creation, parse_patch, KeyPatch};
pub use key::{default_keys, derive, Key};
pub use pattern::IndexPattern;
pub use ring::{bearer, check_single_key, Keyring, Presented};
pub use token::{Claims, SearchRules, TokenError};
