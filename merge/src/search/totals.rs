//! Totals as one node gives them, where those of the nodes' answers do not add up to them.
//!
//! **Distinct.** Each node counts its own groups, so a group that is on two nodes counts twice. What one node would say follows
//! from three sets of numbers that do add up (milli `bucket_sort.rs`, `distinct.rs`): U, the documents that match; W, those
//! of them that have a value; c(v), those that have the value v. All presume that no document has several values, which
//! is so exactly if the c(v) add up to W.
//! - In page mode, and when the list ended before the page was full, the total is the number of groups: U - W + |v|.
//! - Otherwise one node has counted down from U, by the c(v) - 1 documents that stand behind each value that it met. It stops
//!   behind the bucket in which the page became full, so values are met as far as hits tie with the last one. A search by meaning counts
//!   so in page mode too.
//! - Where documents have several values, and for facets, nodes count once the list is known ([`Counts::Groups`]).
//!
//! **Threshold.** Documents whose score is too low are counted until one node comes across them, which it does only when it
//! has not filled the page before.

use std::ops::Range;

use bytes::Bytes;
use miroir_api::SHARD_FIELD;
use smallvec::SmallVec;

use super::answer::Answer;
use super::distinct::{Seen, Taken, Unsettled};
use super::facets::{Facets, Rules};
use super::{scan, unreadable, Paging, Spec, Window};
use crate::scan::{Malformed, Scanner};
use crate::MergeError;

/// Answers that say how many documents there are.
#[derive(Clone, Copy)]
pub enum Counts<'a> {
    /// Of a search with `rankingScoreThreshold` and without rules that sort by values: to the same search for no hits.
    Threshold { universe: &'a [Bytes] },
    /// Of a search with a distinct attribute.
    Distinct(DistinctCounts<'a>),
    /// Of one whose list is known: each node's to the same search, for as many hits as were [`Taken`] from it, without documents that share
    /// a value with those taken from others. So each node drops what one node would, and counts the rest.
    Groups { counted: &'a [Bytes] },
    /// Of a search by sets of words with a distinct attribute that nodes cannot be asked by: to the search without the most of them, for as
    /// many hits. They count as those of a search of its own would.
    Listed { answers: &'a [Bytes] },
}

#[derive(Clone, Copy)]
pub struct DistinctCounts<'a> {
    /// To the same search for no hits, with the distinct attribute as its one facet.
    pub universe: &'a [Bytes],
    /// To that search, over documents that have a value.
    pub holders: &'a [Bytes],
    /// So many values a facet nodes send at most.
    pub values_max: usize,
    /// Nodes count as far as they walk, in page mode too.
    pub by_walk: bool,
}

/// How far the merged list was walked.
#[derive(Default)]
pub(super) struct Walked<'s> {
    /// Hits that were passed over because a better one has their distinct value.
    pub duplicates: u64,
    /// The page has as many hits as it may have.
    pub full: bool,
    /// Hits of the page and before it.
    pub passed: usize,
    /// Those of them that have no distinct value.
    pub valueless: usize,
    /// The values that one node would have met. Those of hits that nodes did not send are not there, so where a node's list was
    /// cut within the last bucket the total is an upper bound.
    pub met: Option<Seen<'s>>,
    /// By answer: so many hits of the page and before it, under `distinct`.
    pub taken: SmallVec<[usize; 16]>,
    /// From where on documents may be missing, under `distinct`.
    pub unsettled: Option<Unsettled>,
}

impl Walked<'_> {
    /// Hits of the page and before it that have a distinct value.
    pub fn settled(&self) -> usize {
        self.passed - self.valueless
    }

    /// Notes a hit that stays.
    pub fn take(&mut self, node: usize) {
        if self.met.is_some() {
            let nodes = self.taken.len().max(node + 1);
            self.taken.resize(nodes, 0);
            self.taken[node] += 1;
        }
    }

    /// What one node's totals and facets of a search with a distinct attribute go by, where it can be told: by page one node goes on
    /// dropping duplicates behind the page, in the order of storage.
    pub fn taken(&self, answers: usize, paging: Paging) -> Option<Vec<Taken>> {
        let by_page = matches!(paging, Paging::Pages { .. });
        let has_no_hits = matches!(paging, Paging::Offset { limit: 0, .. });
        if self.unsettled.is_some() || (by_page && self.full) || has_no_hits {
            return None;
        }
        let values = match &self.met {
            Some(met) => met.facet_keys_by_answer(answers),
            None => vec![Vec::new(); answers],
        };
        let hits = self.taken.iter().copied().chain(std::iter::repeat(0));
        Some(
            hits.zip(values)
                .map(|(hits, values)| Taken { hits, values })
                .collect(),
        )
    }

    /// From here on documents may be missing, if they may not before.
    pub fn unsettle(&mut self) {
        if let (None, Some(seen)) = (&self.unsettled, &self.met) {
            self.unsettled = Some(Unsettled {
                settled: self.settled(),
                values: seen.facet_keys().collect(),
            });
        }
    }
}

/// The total under `distinct`; `None` where it cannot be told.
pub(super) fn distinct(
    counts: DistinctCounts,
    walked: &Walked,
    spec: &Spec,
) -> Result<Option<u64>, MergeError> {
    let Some(attribute) = spec.distinct else {
        return Ok(None);
    };
    let rules = Rules {
        order: spec.facet_order,
        values_max: spec.max_values_per_facet,
    };
    let (universe, holders) = (scan(counts.universe)?, scan(counts.holders)?);
    let mut facets = Facets::default();
    for (node, (bytes, answer)) in counts.universe.iter().zip(&universe).enumerate() {
        facets
            .add(bytes, answer.facets.clone(), answer.stats.clone(), rules)
            .map_err(|error| unreadable(node, error))?;
    }
    let documents = |answers: &[Bytes], scanned: &[Answer]| {
        let counted = answers.iter().zip(scanned).map(|(bytes, answer)| {
            let by_shard = answer
                .facets
                .clone()
                .and_then(|facets| count_by_shard(bytes, facets));
            let whole = by_shard.filter(|(shards, _)| *shards < counts.values_max);
            whole.map_or(answer.total, |(_, documents)| documents)
        });
        counted.fold(0, u64::saturating_add)
    };
    let all = documents(counts.universe, &universe);
    let with_value = documents(counts.holders, &holders);
    let by_offset = counts.by_walk || matches!(spec.paging, Paging::Offset { .. });
    if by_offset && is_past(all, spec) {
        return Ok(Some(all));
    }
    // The total of one answer is that of one node.
    if universe.len() == 1 {
        return Ok(None);
    }
    // No list goes on, so all groups were met, whatever values their documents have.
    if !walked.full && walked.unsettled.is_none() {
        return Ok(Some(walked.passed as u64));
    }
    let values = facets.counts(attribute);
    if values.longest >= counts.values_max || values.documents() != with_value {
        return Ok(None);
    }
    let groups = all
        .checked_sub(with_value)
        .map(|rest| rest + values.len() as u64);
    if !by_offset {
        return Ok(groups);
    }
    let mut met = walked.met.iter().flat_map(Seen::facet_keys);
    Ok(met.try_fold(all, |left, (number, value)| {
        left.checked_sub(values.of(number, value)?.checked_sub(1)?)
    }))
}

/// How many shards the facet of the hidden field lists, and how many documents; nodes that cut totals do not cut these.
fn count_by_shard(bytes: &[u8], facets: Range<usize>) -> Option<(usize, u64)> {
    let mut counted = None;
    Scanner::within(bytes, facets)
        .object(|scanner, name, _| {
            if !name.is(SHARD_FIELD) {
                return scanner.value().map(|_| ());
            }
            let (mut shards, mut documents) = (0, 0u64);
            scanner.object(|scanner, _, _| {
                shards += 1;
                documents = documents.saturating_add(scanner.unsigned()?.unwrap_or(0));
                Ok::<(), Malformed>(())
            })?;
            counted = Some((shards, documents));
            Ok(())
        })
        .ok()?;
    counted
}

/// Whether the page lies past everything: milli does not even begin to look for hits then. Nodes since 1.47 look from the start.
pub(super) fn is_past(all: u64, spec: &Spec) -> bool {
    spec.cap_totals && Window::of(spec.paging).skip as u64 > all
}
