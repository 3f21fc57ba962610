//! Facets of a federated search: each index's own over all nodes, and from these one distribution where the client wants that.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use super::answer::Answer;
use super::{FederatedIndex, FederatedSpec, MergeFacets};
use crate::reply::Reply;
use crate::search::facets::{write_distribution, write_stats, Facets, Rules, Stats, Values};
use crate::search::{unreadable, FacetOrder};
use crate::MergeError;

type Distribution<'a> = BTreeMap<Cow<'a, str>, Values<'a>>;
type AllStats<'a> = BTreeMap<Cow<'a, str>, Stats<'a>>;

/// An index with its facets over all nodes.
struct Counted<'a> {
    index: &'a FederatedIndex<'a>,
    distribution: Distribution<'a>,
    stats: AllStats<'a>,
}

/// Writes `facetsByIndex`, or `facetDistribution` and `facetStats`, where any node sent facets.
pub(super) fn write(
    answers: &[Bytes],
    read: &[Answer],
    spec: &FederatedSpec,
    total: u64,
    reply: &mut Reply,
) -> Result<(), MergeError> {
    let counted = count(answers, read, spec, total)?;
    if counted.is_empty() {
        return Ok(());
    }
    if let Some(merge) = spec.merge_facets {
        let (distribution, stats) = join(counted, merge);
        reply.text(b",\"facetDistribution\":");
        write_distribution(distribution.iter(), reply);
        reply.text(b",\"facetStats\":");
        write_stats(&stats, reply);
        return Ok(());
    }
    reply.text(b",\"facetsByIndex\":{");
    for (place, counted) in counted.iter().enumerate() {
        if place > 0 {
            reply.text(b",");
        }
        reply.string(counted.index.uid);
        reply.text(b":{\"distribution\":");
        write_distribution(counted.distribution.iter(), reply);
        reply.text(b",\"stats\":");
        write_stats(&counted.stats, reply);
        reply.text(b"}");
    }
    reply.text(b"}");
    Ok(())
}

/// Adds up the facets of each index, in the order of the indexes' names.
fn count<'a>(
    answers: &'a [Bytes],
    read: &[Answer],
    spec: &'a FederatedSpec,
    total: u64,
) -> Result<Vec<Counted<'a>>, MergeError> {
    let mut sums: BTreeMap<&str, (&FederatedIndex, Facets)> = BTreeMap::new();
    for (node, (bytes, answer)) in answers.iter().zip(read).enumerate() {
        for facets in &answer.facets {
            let index = spec
                .indexes
                .iter()
                .find(|index| index.node_uid == facets.node_uid);
            let Some(index) = index else {
                return Err(MergeError::bad(
                    node,
                    "it has facets of an index that was not asked",
                ));
            };
            let (_, sum) = sums
                .entry(index.uid)
                .or_insert_with(|| (index, Facets::default()));
            sum.add(
                bytes,
                facets.distribution.clone(),
                facets.stats.clone(),
                rules(index),
            )
            .map_err(|error| unreadable(node, error))?;
        }
    }
    let counted = sums.into_values().map(|(index, sum)| {
        // Nodes say only how many documents all indexes found together. With several indexes the least number that is sure
        // is taken; it decides nothing but whether numeric facet values stand in the order of numbers or of texts.
        let found = if spec.indexes.len() == 1 {
            total
        } else {
            sum.count_max()
        };
        let (distribution, stats) = sum.finish(rules(index), found);
        Counted {
            index,
            distribution,
            stats,
        }
    });
    Ok(counted.collect())
}

fn rules<'a>(index: &'a FederatedIndex) -> Rules<'a> {
    Rules {
        order: index.facet_order,
        values_max: index.max_values_per_facet,
    }
}

/// One distribution of all indexes, as Meilisearch joins them (`federated/types.rs`): values are told apart by their spelling,
/// and numbers are ordered as texts. A facet has the same order in all indexes, else nodes refuse the search.
fn join<'a>(counted: Vec<Counted<'a>>, merge: MergeFacets) -> (Distribution<'a>, AllStats<'a>) {
    let mut orders: BTreeMap<Cow<str>, FacetOrder> = BTreeMap::new();
    let mut joined: BTreeMap<Cow<str>, Joined> = BTreeMap::new();
    let mut all_stats = AllStats::new();
    for Counted {
        index,
        distribution,
        stats,
    } in counted
    {
        for (name, values) in distribution {
            orders
                .entry(name.clone())
                .or_insert_with(|| (index.merged_order)(&name));
            joined.entry(name).or_default().add(values);
        }
        crate::search::facets::widen_all(&mut all_stats, stats);
    }
    let distribution = joined.into_iter().map(|(name, Joined { mut values, .. })| {
        match orders.get(&name) {
            Some(FacetOrder::Count) => values.sort_by_key(|(_, count)| std::cmp::Reverse(*count)),
            _ => values.sort_by(|(a, _), (b, _)| a.cmp(b)),
        }
        values.truncate(merge.max_values_per_facet.unwrap_or(usize::MAX));
        (name, values)
    });
    (distribution.collect(), all_stats)
}

/// The values of one facet over several indexes, in the order in which they were met.
#[derive(Default)]
struct Joined<'a> {
    values: Values<'a>,
    places: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Joined<'a> {
    fn add(&mut self, values: Values<'a>) {
        for (spelling, count) in values {
            match self.places.get(&spelling) {
                Some(&place) => {
                    let known = &mut self.values[place].1;
                    *known = known.saturating_add(count);
                }
                None => {
                    self.places.insert(spelling.clone(), self.values.len());
                    self.values.push((spelling, count));
                }
            }
        }
    }
}
