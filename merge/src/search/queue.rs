use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;

use super::answer::{Answer, Hit};
use crate::rank::{RankError, RankKey};
use crate::MergeError;

/// The nodes' lists as one list in global order: a heap with the first hit of each node that is not taken yet.
pub(super) struct Queue<'a> {
    answers: &'a [Bytes],
    scanned: &'a [Answer],
    heads: BinaryHeap<Head<'a>>,
}

struct Head<'a> {
    key: RankKey<'a>,
    node: usize,
    index: usize,
}

impl<'a> Queue<'a> {
    pub fn new(answers: &'a [Bytes], scanned: &'a [Answer]) -> Result<Self, MergeError> {
        let mut queue = Queue {
            answers,
            scanned,
            heads: BinaryHeap::with_capacity(answers.len()),
        };
        for node in 0..answers.len() {
            queue.put(node, 0)?;
        }
        Ok(queue)
    }

    /// Takes the best hit that is left, with its node.
    pub fn next(&mut self) -> Result<Option<(usize, &'a Hit)>, MergeError> {
        let Some(Head { node, index, .. }) = self.heads.pop() else {
            return Ok(None);
        };
        self.put(node, index + 1)?;
        Ok(Some((node, &self.scanned[node].hits[index])))
    }

    fn put(&mut self, node: usize, index: usize) -> Result<(), MergeError> {
        let Some(hit) = self.scanned[node].hits.get(index) else {
            return Ok(());
        };
        let key = match &hit.details {
            Some(details) => RankKey::read(&self.answers[node], details.clone())
                .map_err(|error| refused(node, error))?,
            None => RankKey::default(),
        };
        self.heads.push(Head { key, node, index });
        Ok(())
    }
}

fn refused(node: usize, error: RankError) -> MergeError {
    match error {
        RankError::Malformed => {
            MergeError::bad(node, "a hit's `_rankingScoreDetails` are not understood")
        }
        RankError::Hidden(rule) => MergeError::HiddenRule { node, rule },
    }
}

/// The greatest head is the best hit: fewer is better in a key's order and in a node's position.
impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .key
            .compare(&self.key)
            .then_with(|| other.node.cmp(&self.node))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}
