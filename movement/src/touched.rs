//! What writes changed while copies were being filled.

use std::collections::BTreeSet;

use miroir_router::Shard;

use crate::listing::Key;

/// The documents that writes may have changed, created or removed.
///
/// The key is named for every write that can be named by keys, whole documents, partial updates and deletions alike,
/// and also for one that failed after something was sent: some node may have taken it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Touched {
    Keys(BTreeSet<(Shard, Key)>),
    /// Any document of the index: a deletion by filter or of all documents, an edit by function.
    Everything,
}

impl Default for Touched {
    fn default() -> Self {
        Touched::nothing()
    }
}

impl Touched {
    /// Nothing was touched.
    pub fn nothing() -> Touched {
        Touched::Keys(BTreeSet::new())
    }

    pub fn is_nothing(&self) -> bool {
        matches!(self, Touched::Keys(keys) if keys.is_empty())
    }

    /// Adds what another write touched.
    pub fn merge(&mut self, other: &Touched) {
        match (&mut *self, other) {
            (Touched::Keys(keys), Touched::Keys(more)) => keys.extend(more.iter().cloned()),
            (_, Touched::Everything) => *self = Touched::Everything,
            (Touched::Everything, _) => {}
        }
    }

    /// What of it lies in these shards; `shards` ascends.
    pub fn within(&self, shards: &[Shard]) -> Touched {
        match self {
            Touched::Everything => Touched::Everything,
            Touched::Keys(keys) => {
                let inside = |(shard, _): &&(Shard, Key)| shards.binary_search(shard).is_ok();
                Touched::Keys(keys.iter().filter(inside).cloned().collect())
            }
        }
    }

    /// The keys; None for everything.
    pub fn keys(&self) -> Option<BTreeSet<Key>> {
        match self {
            Touched::Everything => None,
            Touched::Keys(keys) => Some(keys.iter().map(|(_, key)| key.clone()).collect()),
        }
    }
}

impl FromIterator<(Shard, Key)> for Touched {
    fn from_iter<T: IntoIterator<Item = (Shard, Key)>>(keys: T) -> Touched {
        Touched::Keys(keys.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_swallows_keys_and_is_in_every_shard() {
        let keys = |keys: &[(u16, &str)]| -> Touched {
            keys.iter()
                .map(|(s, k)| (Shard(*s), k.to_string()))
                .collect()
        };
        let mut touched = Touched::nothing();
        assert!(touched.is_nothing());
        touched.merge(&keys(&[(0, "a"), (2, "b")]));
        touched.merge(&keys(&[(0, "a"), (1, "c")]));
        assert_eq!(
            touched.within(&[Shard(0), Shard(2)]),
            keys(&[(0, "a"), (2, "b")])
        );
        assert!(touched.within(&[Shard(7)]).is_nothing());
        touched.merge(&Touched::Everything);
        touched.merge(&keys(&[(0, "d")]));
        assert_eq!(touched, Touched::Everything);
        assert_eq!(touched.within(&[Shard(7)]).keys(), None);
    }
}
