use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::answer::{Answer, Carried, Hit, Hits};
use super::levels::Marks;
use crate::rank::{RankError, RankKey};
use crate::scan::Scanner;
use crate::tie::Tie;
use crate::weighted::{Value, Weighted};
use crate::MergeError;

/// The nodes' lists as one list in global order.
pub(super) struct Queue<'a, 'k> {
    answers: &'a [Bytes],
    lists: Vec<Hits>,
    carried: Carried<'k>,
    marks: Option<&'a Marks<'a>>,
    /// By node: its first hit that is not taken yet.
    heads: Vec<Option<Head<'a, 'k>>>,
    /// The nodes that have one, those with better ones later. A list rather than a heap: nodes are few, hits are too large to be
    /// moved about, and the next hit of the node with the best one often is the best again.
    order: SmallVec<[usize; 16]>,
    /// In a search that sorts by a distance.
    ring: Option<Ring<'a>>,
    /// Of a list by meaning: hits found by words, which are no part of it. A node that mixes both puts them where no rank by meaning is.
    passed_over: Option<Vec<Head<'a, 'k>>>,
}

/// Hits that are equally far, as one node would see them: all that is as far as the first of them or less than a metre farther. Each node
/// begins its rings with a document of its own, so its hits are put into those of the whole list. The one exception: where a ring of the
/// whole list ends within a node's, that one's hits are not parted.
struct Ring<'a> {
    /// So many steps stand before the distance.
    at: usize,
    start: RankKey<'a>,
}

/// A hit with its place among those of other nodes.
pub(super) struct Head<'a, 'k> {
    pub key: RankKey<'a>,
    tie: Tie<'a, 'k>,
    pub node: usize,
    pub hit: Hit,
    /// Fields that the hit does not show, said on the side.
    pub extra: Option<Range<usize>>,
    /// The score of the first run of rules that give one, times the query's weight: said there too.
    pub first_score: Option<f64>,
}

impl<'a, 'k> Queue<'a, 'k> {
    pub fn new(
        answers: &'a [Bytes],
        scanned: &[Answer],
        carried: Carried<'k>,
    ) -> Result<Self, MergeError> {
        Self::build(answers, scanned, carried, None, false)
    }

    /// The nodes' lists by meaning. What a node found by words alone is passed over; it has a rank as of a document without a vector.
    pub fn of_meaning(
        answers: &'a [Bytes],
        scanned: &[Answer],
        carried: Carried<'k>,
    ) -> Result<Self, MergeError> {
        Self::build(answers, scanned, carried, None, true)
    }

    /// The same for answers to several searches.
    pub fn marked(
        answers: &'a [Bytes],
        scanned: &[Answer],
        carried: Carried<'k>,
        marks: Option<&'a Marks<'a>>,
    ) -> Result<Self, MergeError> {
        Self::build(answers, scanned, carried, marks, false)
    }

    fn build(
        answers: &'a [Bytes],
        scanned: &[Answer],
        carried: Carried<'k>,
        marks: Option<&'a Marks<'a>>,
        by_meaning: bool,
    ) -> Result<Self, MergeError> {
        let lists = scanned.iter().map(Hits::of).collect();
        let mut queue = Queue {
            answers,
            lists,
            carried,
            marks,
            heads: answers.iter().map(|_| None).collect(),
            order: SmallVec::new(),
            ring: None,
            passed_over: by_meaning.then(Vec::new),
        };
        for node in 0..answers.len() {
            queue.put(node)?;
        }
        queue.ring = queue.best().and_then(|head| {
            let at = head.key.steps_before_distance()?;
            let start = RankKey::default();
            Some(Ring { at, start })
        });
        queue.begin_ring();
        Ok(queue)
    }

    /// Takes the best hit that is left.
    pub fn next(&mut self) -> Result<Option<Head<'a, 'k>>, MergeError> {
        let Some(node) = self.order.pop() else {
            return Ok(None);
        };
        let head = self.heads[node].take();
        self.put(node)?;
        self.begin_ring();
        Ok(head)
    }

    /// Begins the next ring where no hit of the last one is left.
    fn begin_ring(&mut self) {
        // Not by `best`, which would borrow all of it.
        let best = self
            .order
            .last()
            .and_then(|node| self.heads[*node].as_ref());
        let (Some(ring), Some(best)) = (&mut self.ring, best) else {
            return;
        };
        if best.key.is_in_ring(&ring.start, ring.at) {
            return;
        }
        ring.start = best.key.clone();
        for head in self.heads.iter_mut().flatten() {
            head.key.join_ring(&ring.start, ring.at);
        }
        let heads = &self.heads;
        self.order
            .sort_unstable_by(|a, b| heads[*a].cmp(&heads[*b]));
    }

    fn best(&self) -> Option<&Head<'a, 'k>> {
        self.heads[*self.order.last()?].as_ref()
    }

    /// Takes the best hit that is left if it ties with `key`.
    pub fn next_tie(&mut self, key: &RankKey<'a>) -> Result<Option<Head<'a, 'k>>, MergeError> {
        match self.best() {
            Some(head) if head.key.compare(key) == Ordering::Equal => self.next(),
            _ => Ok(None),
        }
    }

    /// What was passed over so far and goes before this hit, in any order.
    pub fn passed_over_before(&mut self, hit: &Head<'a, 'k>) -> Vec<Head<'a, 'k>> {
        let Some(passed_over) = &mut self.passed_over else {
            return Vec::new();
        };
        let (before, behind) = passed_over.drain(..).partition(|other| *other > *hit);
        *passed_over = behind;
        before
    }

    /// Puts a node's next hit among the heads.
    fn put(&mut self, node: usize) -> Result<(), MergeError> {
        while let Some(mut head) = self.read(node)? {
            if let Some(passed_over) = &mut self.passed_over {
                if !head.key.is_semantic() {
                    head.key.lose_words();
                    passed_over.push(head);
                    continue;
                }
            }
            self.heads[node] = Some(head);
            let heads = &self.heads;
            let at = self
                .order
                .partition_point(|other| heads[*other] < heads[node]);
            self.order.insert(at, node);
            break;
        }
        Ok(())
    }

    /// A node's next hit; `None`: no other is its own.
    fn read(&mut self, node: usize) -> Result<Option<Head<'a, 'k>>, MergeError> {
        let bytes = &self.answers[node];
        let Some((hit, mut key)) = self.lists[node].next(bytes, node, self.carried)? else {
            return Ok(None);
        };
        let (values, extra) = match &hit.federation {
            Some(span) => read_aside(bytes, span.clone()).map_err(|error| error.at_node(node))?,
            None => Default::default(),
        };
        let first_score = values.iter().find_map(|value| match value {
            Value::Score(score) => Some(*score),
            _ => None,
        });
        if !self.carried.hides {
            key.reveal(&values).map_err(|error| error.at_node(node))?;
        }
        if let Some(marks) = self.marks {
            if !marks.put_words(node, &mut key) {
                return Ok(None);
            }
        }
        if let Some(ring) = &self.ring {
            key.join_ring(&ring.start, ring.at);
        }
        Ok(Some(Head {
            key,
            tie: Tie::of(bytes, hit.span.clone(), self.carried.primary_key),
            node,
            hit,
            extra,
            first_score,
        }))
    }
}

/// The values by which a hit was sorted, and the span of fields that it does not show.
type Aside<'a> = (SmallVec<[Value<'a>; 2]>, Option<Range<usize>>);

/// Reads a hit's `_federation`.
fn read_aside(bytes: &[u8], span: Range<usize>) -> Result<Aside<'_>, RankError> {
    let mut aside = Aside::default();
    Scanner::within(bytes, span).object(|scanner, key, _| {
        match key.raw {
            b"weightedScoreValues" => aside.0 = Weighted::read_values(scanner)?,
            b"extra_document" if scanner.peek() == Some(b'{') => aside.1 = Some(scanner.value()?),
            _ => {
                scanner.value()?;
            }
        }
        Ok::<(), RankError>(())
    })?;
    Ok(aside)
}

/// The greatest head is the best hit: less is better in a key's order, in that of ties and in a node's position.
impl Ord for Head<'_, '_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .key
            .compare(&self.key)
            .then_with(|| other.tie.cmp(&self.tie))
            .then_with(|| other.node.cmp(&self.node))
    }
}

impl PartialOrd for Head<'_, '_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_, '_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_, '_> {}
