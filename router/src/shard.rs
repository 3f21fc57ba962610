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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_is_frozen() {
        let vectors = include_str!("../testdata/shard_of.tsv");
        let mut lines = vectors.lines().filter(|line| !line.starts_with('#'));
        let header: Vec<&str> = lines.next().unwrap().split('\t').collect();
        let mut checked = 0;
        for line in lines {
            let columns: Vec<&str> = line.split('\t').collect();
            let key: String = serde_json::from_str(columns[0]).unwrap();
            assert_eq!(
                format!("{:016x}", xxh3_64(key.as_bytes())),
                columns[1],
                "{key:?}"
            );
            for (shards, expected) in header.iter().zip(&columns).skip(2) {
                let shard = shard_of(key.as_bytes(), shards.parse().unwrap());
                assert_eq!(shard.to_string(), *expected, "{key:?} of {shards}");
                checked += 1;
            }
        }
        assert_eq!(checked, 31 * 7);
    }

    #[test]
    #[should_panic(expected = "at least one shard")]
    fn no_shards_is_a_bug() {
        shard_of(b"1", 0);
    }
}
