//! What a copy holds, and what it takes to make one copy equal to another.

use std::collections::HashMap;

use miroir_router::Shard;

/// A primary key as text: a string's characters, an integer's decimal digits.
pub type Key = String;

/// A digest of a whole document that does not depend on the order of its keys. With the same key and the same digest
/// two documents are taken to be equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Digest(pub u64);

/// A line of a listing: one document of one copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    pub key: Key,
    /// Of the key.
    pub shard: Shard,
    pub digest: Digest,
}

/// What makes a target equal to its source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Difference {
    /// Whole documents to be written to the target, in the source's order, so that ties between hits keep theirs.
    pub copy: Vec<Key>,
    /// Documents that the target has and the source has not, in the target's order.
    pub delete: Vec<Key>,
}

impl Difference {
    pub fn is_empty(&self) -> bool {
        self.copy.is_empty() && self.delete.is_empty()
    }
}

/// What makes `target` equal to `source`. A key occurs once in a listing.
pub fn difference(source: &[Document], target: &[Document]) -> Difference {
    let by_key = |listing: &'_ [Document]| -> HashMap<Key, Digest> {
        let lines = listing.iter();
        lines.map(|line| (line.key.clone(), line.digest)).collect()
    };
    let (there, wanted) = (by_key(target), by_key(source));
    let keys = |lines: &[Document], keep: &dyn Fn(&Document) -> bool| -> Vec<Key> {
        let kept = lines.iter().filter(|line| keep(line));
        kept.map(|line| line.key.clone()).collect()
    };
    Difference {
        copy: keys(source, &|line| there.get(&line.key) != Some(&line.digest)),
        delete: keys(target, &|line| !wanted.contains_key(&line.key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn listing(lines: &[(u8, u64)]) -> Vec<Document> {
        let lines = lines.iter().map(|(key, digest)| Document {
            key: key.to_string(),
            shard: Shard(0),
            digest: Digest(*digest),
        });
        lines.collect()
    }

    #[test]
    fn copies_go_in_the_sources_order() {
        let source = listing(&[(3, 1), (1, 1), (2, 1)]);
        let target = listing(&[(9, 1), (1, 1), (2, 2)]);
        let expected = Difference {
            copy: vec!["3".into(), "2".into()],
            delete: vec!["9".into()],
        };
        assert_eq!(difference(&source, &target), expected);
        assert!(difference(&source, &source).is_empty());
    }

    proptest! {
        #[test]
        fn what_is_done_makes_them_equal(
            source in prop::collection::hash_map(0u8..20, 0u64..3, 0..20),
            target in prop::collection::hash_map(0u8..20, 0u64..3, 0..20),
        ) {
            let lines = |map: &HashMap<u8, u64>| listing(&map.iter().map(|(k, d)| (*k, *d)).collect::<Vec<_>>());
            let difference = difference(&lines(&source), &lines(&target));
            let mut mended = target.clone();
            for key in &difference.delete {
                prop_assert!(mended.remove(&key.parse().unwrap()).is_some());
            }
            for key in &difference.copy {
                let key = key.parse().unwrap();
                prop_assert_ne!(mended.insert(key, source[&key]), Some(source[&key]));
            }
            prop_assert_eq!(mended, source);
        }
    }
}
