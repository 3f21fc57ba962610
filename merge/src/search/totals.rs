//! Totals as one node gives them, where those of the nodes' answers do not add up to them.
//!
//! **Distinct.** Each node counts its own groups, so a group that is on two nodes counts twice. What one node would say follows
//! from three sets of numbers that do add up (milli `bucket_sort.rs`, `distinct.rs`): U, the documents that match; W, those
//! of them that have a value; c(v), those that have the value v. All presume that no document has several values, which
//! is so exactly if the c(v) add up to W.
//! - In page mode, and when the list ended before the page was full, the total is the number of groups: U - W + |v|.
//! - Otherwise one node has counted down from U, by the c(v) - 1 documents that stand behind each value that it met. It stops
//!   behind the bucket in which the page became full, so values are met as far as hits tie with the last one.
//!
//! **Threshold.** Documents whose score is too low are counted until one node comes across them, which it does only when it
//! has not filled the page before.

use bytes::Bytes;

use super::distinct::Seen;
use super::facets::{Facets, Rules};
use super::{scan, sum, unreadable, Paging, Spec, Window};
use crate::MergeError;

/// Answers that say how many documents there are.
#[derive(Clone, Copy)]
pub enum Counts<'a> {
    /// Of a search with `rankingScoreThreshold` and without rules that sort by values: to the same search for no hits.
    Threshold { universe: &'a [Bytes] },
    /// Of a search with a distinct attribute.
    Distinct(DistinctCounts<'a>),
}

#[derive(Clone, Copy)]
pub struct DistinctCounts<'a> {
    /// To the same search for no hits, with the distinct attribute as its one facet.
    pub universe: &'a [Bytes],
    /// To that search, over documents that have a value.
    pub holders: &'a [Bytes],
    /// So many values a facet nodes send at most.
    pub values_max: usize,
}

/// How far the merged list was walked.
pub(super) struct Walked<'s> {
    /// Hits that were passed over because a better one has their distinct value.
    pub duplicates: u64,
    /// The page has as many hits as it may have.
    pub full: bool,
    /// The values that one node would have met. Those of hits that nodes did not send are not there, so where a node's list was
    /// cut within the last bucket the total is an upper bound.
    pub met: Option<Seen<'s>>,
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
    let (all, with_value) = (sum(&universe), sum(&holders));
    let by_offset = matches!(spec.paging, Paging::Offset { .. });
    if by_offset && is_past(all, spec) {
        return Ok(Some(all));
    }
    // The total of one answer is that of one node.
    if universe.len() == 1 {
        return Ok(None);
    }
    let values = facets.counts(attribute);
    if values.longest >= counts.values_max || values.documents() != with_value {
        return Ok(None);
    }
    let groups = all
        .checked_sub(with_value)
        .map(|rest| rest + values.len() as u64);
    Ok(match spec.paging {
        Paging::Pages { .. } => groups,
        Paging::Offset { limit: 0, .. } => Some(all),
        Paging::Offset { .. } if !walked.full => groups,
        Paging::Offset { .. } => walked.met.as_ref().and_then(|met| {
            met.facet_keys().try_fold(all, |left, (number, value)| {
                left.checked_sub(values.of(number, value)?.checked_sub(1)?)
            })
        }),
    })
}

/// Whether the page lies past everything: milli does not even begin to look for hits then. Nodes since 1.47 look from the start.
pub(super) fn is_past(all: u64, spec: &Spec) -> bool {
    spec.cap_totals && Window::of(spec.paging).skip as u64 > all
}
