//! Which shard a document belongs to.
//!
//! The function is the hash family that Meilisearch's own sharding uses (xxh3). It can never change once a document has
//! been stored by it: `testdata/shard_of.tsv` freezes it.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// The largest number of shards an index can have: what two characters of [`crate::ALPHABET`] can name.
pub const SHARDS_MAX: u16 = 4096;

/// A part of an index, from 0 to the index's number of shards exclusive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shard(pub u16);

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node by its position in `RoutingTable::nodes`, which is its position in `Layout::nodes`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeIdx(pub u16);

impl fmt::Display for NodeIdx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The shard of the document with this primary key, given as text: a string's characters, an integer's decimal digits.
///
/// 4 and "4" are one document for Meilisearch, so both come here as `b"4"`.
///
/// # Panics
/// When `shards` is 0: a layout with no shards cannot be planned.
pub fn shard_of(primary_key: &[u8], shards: u16) -> Shard {
    assert!(shards > 0, "an index has at least one shard");
    Shard((xxh3_64(primary_key) % u64::from(shards)) as u16)
}
