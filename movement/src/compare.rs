//! Which copies of a shard differ from the others, and which are right.

use std::collections::HashMap;

use miroir_router::NodeIdx;

use crate::listing::{Digest, Document, Key};

/// What a comparison of the copies of one shard found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// The copy that the others are to be made equal to.
    pub right: NodeIdx,
    /// Copies that differ from it, in the order given, with the keys in which they do, ascending. Empty: all agree.
    pub wrong: Vec<(NodeIdx, Vec<Key>)>,
}

/// Compares copies of one shard that serve, given in the layout's order; None where there are fewer than two.
///
/// For each key counts what more than half of the copies say. The copy that says so for most keys is right; among equals
/// the first.
pub fn compare(copies: &[(NodeIdx, &[Document])]) -> Option<Comparison> {
    if copies.len() < 2 {
        return None;
    }
    let mut said: HashMap<&Key, Vec<Option<Digest>>> = HashMap::new();
    for (position, (_, listing)) in copies.iter().enumerate() {
        for line in *listing {
            let says = said
                .entry(&line.key)
                .or_insert_with(|| vec![None; copies.len()]);
            says[position] = Some(line.digest);
        }
    }
    let mut agrees = vec![0usize; copies.len()];
    for says in said.values() {
        let majority = says.iter().find(|one| {
            let same = says.iter().filter(|other| other == one).count();
            same * 2 > copies.len()
        });
        for (position, one) in says.iter().enumerate() {
            agrees[position] += usize::from(Some(one) == majority);
        }
    }
    // The first of the best: `max_by_key` would take the last.
    let best = (0..copies.len())
        .rev()
        .max_by_key(|position| agrees[*position])?;
    let wrong = copies
        .iter()
        .enumerate()
        .filter_map(|(position, (node, _))| {
            let differing = said.iter().filter(|(_, says)| says[position] != says[best]);
            let mut keys: Vec<Key> = differing.map(|(key, _)| (*key).clone()).collect();
            keys.sort_unstable();
            (!keys.is_empty()).then_some((*node, keys))
        });
    Some(Comparison {
        right: copies[best].0,
        wrong: wrong.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use miroir_router::Shard;

    fn listing(text: &str) -> Vec<Document> {
        let lines = text.split_whitespace().map(|line| Document {
            key: line[..1].into(),
            shard: Shard(0),
            digest: Digest(line[1..].parse().unwrap()),
        });
        lines.collect()
    }

    fn compared(copies: &[&str]) -> Option<(u16, Vec<(u16, String)>)> {
        let listings: Vec<Vec<Document>> = copies.iter().map(|copy| listing(copy)).collect();
        let numbered = listings.iter().enumerate();
        let copies: Vec<(NodeIdx, &[Document])> = numbered
            .map(|(node, listing)| (NodeIdx(node as u16), listing.as_slice()))
            .collect();
        let found = compare(&copies)?;
        let wrong = found
            .wrong
            .into_iter()
            .map(|(node, keys)| (node.0, keys.join(" ")));
        Some((found.right.0, wrong.collect()))
    }

    #[test]
    fn the_majority_wins_and_without_one_the_first() {
        assert_eq!(compared(&["a1"]), None);
        assert_eq!(compared(&["a1 b2", "b2 a1"]), Some((0, vec![])));
        assert_eq!(
            compared(&["a1 b2", "a1 b3 c1"]),
            Some((0, vec![(1, "b c".into())]))
        );
        assert_eq!(
            compared(&["a2 b2", "a1 b2", "b2 a1"]),
            Some((1, vec![(0, "a".into())]))
        );
        // Each of the first two misses one thing: the third is right.
        let expected = (2, vec![(0, "b".into()), (1, "a".into())]);
        assert_eq!(compared(&["a1", "b1", "a1 b1"]), Some(expected));
        // Absence has a majority, too.
        assert_eq!(compared(&["a1", "", ""]), Some((1, vec![(0, "a".into())])));
    }
}
