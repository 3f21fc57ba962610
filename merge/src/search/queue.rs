use std::cmp::Ordering;
use std::collections::BinaryHeap;

use bytes::Bytes;

use super::answer::{Answer, Hit, Hits};
use crate::rank::RankKey;
use crate::MergeError;

/// The nodes' lists as one list in global order: a heap with the first hit of each node that is not taken yet.
pub(super) struct Queue<'a> {
    answers: &'a [Bytes],
    lists: Vec<Hits>,
    ranked: bool,
    heads: BinaryHeap<Head<'a>>,
}

/// A hit with its place among those of other nodes.
pub(super) struct Head<'a> {
    pub key: RankKey<'a>,
    pub node: usize,
    pub hit: Hit,
}

impl<'a> Queue<'a> {
    pub fn new(answers: &'a [Bytes], scanned: &[Answer], ranked: bool) -> Result<Self, MergeError> {
        let lists = scanned.iter().map(Hits::of).collect();
        let mut queue = Queue {
            answers,
            lists,
            ranked,
            heads: BinaryHeap::with_capacity(answers.len()),
        };
        for node in 0..answers.len() {
            queue.put(node)?;
        }
        Ok(queue)
    }

    /// Takes the best hit that is left.
    pub fn next(&mut self) -> Result<Option<Head<'a>>, MergeError> {
        let Some(head) = self.heads.pop() else {
            return Ok(None);
        };
        self.put(head.node)?;
        Ok(Some(head))
    }

    fn put(&mut self, node: usize) -> Result<(), MergeError> {
        let bytes = &self.answers[node];
        let Some(hit) = self.lists[node].next(bytes, node, self.ranked)? else {
            return Ok(());
        };
        let key = match &hit.details {
            Some(details) => {
                RankKey::read(bytes, details.clone()).map_err(|error| error.at_node(node))?
            }
            None => RankKey::default(),
        };
        self.heads.push(Head { key, node, hit });
        Ok(())
    }
}

/// The greatest head is the best hit: less is better in a key's order and in a node's position.
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
