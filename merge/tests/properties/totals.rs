//! Totals under `distinct` over many nodes against the rule of one node, written down plainly (milli `bucket_sort.rs`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{json, Value};

use miroir_merge::{merge_search, Counts, DistinctCounts, Paging, Spec};

#[derive(Clone, Debug)]
struct Document {
    node: usize,
    /// Less is better; few, so that ties are common.
    rank: u32,
    group: Option<u32>,
}

fn document(nodes: usize) -> impl Strategy<Value = Document> {
    (0..nodes, 0..5u32, prop::option::weighted(0.8, 0..8u32))
        .prop_map(|(node, rank, group)| Document { node, rank, group })
}

/// One node's walk: the first `reach` hits, and the total that it gives.
fn walk<'d>(documents: &[&'d Document], reach: usize, pages: bool) -> (Vec<&'d Document>, u64) {
    let mut left: Vec<&Document> = documents.to_vec();
    left.sort_by_key(|document| (document.rank, document.node));
    let (mut hits, mut met, mut dropped) = (Vec::new(), BTreeSet::new(), 0);
    let ranks: BTreeSet<u32> = left.iter().map(|document| document.rank).collect();
    for rank in ranks {
        if hits.len() >= reach {
            break;
        }
        for document in left.iter().filter(|document| document.rank == rank) {
            if document.group.is_none_or(|group| met.insert(group)) && hits.len() < reach {
                hits.push(*document);
            }
        }
    }
    for group in &met {
        dropped += documents
            .iter()
            .filter(|document| document.group == Some(*group))
            .count()
            - 1;
    }
    let groups: BTreeSet<u32> = documents
        .iter()
        .filter_map(|document| document.group)
        .collect();
    let without = documents
        .iter()
        .filter(|document| document.group.is_none())
        .count();
    let total = if pages {
        without + groups.len()
    } else if reach == 0 {
        documents.len()
    } else {
        documents.len() - dropped
    };
    (hits, total as u64)
}

/// An answer for no hits by a node that cuts its total and tells it by the facet of shards as well.
fn counted(documents: u64, cut_at: u64, facet: Option<&BTreeMap<u32, u64>>) -> Bytes {
    let answer = answer(&[], documents.min(cut_at), facet);
    let mut answer: Value = serde_json::from_slice(&answer).unwrap();
    let (some, rest) = (documents / 2, documents - documents / 2);
    answer["facetDistribution"]["_miroir_shard"] = json!({"⸀⸁": some, "⸀⸂": rest});
    Bytes::from(answer.to_string())
}

fn answer(hits: &[&Document], total: u64, facet: Option<&BTreeMap<u32, u64>>) -> Bytes {
    let hits: Vec<Value> = hits
        .iter()
        .map(|document| {
            json!({
                "g": document.group.map(|group| format!("G{group}")),
                "_rankingScoreDetails": {"words": {"order": 0, "matchingWords": 9 - document.rank}},
            })
        })
        .collect();
    let mut answer = json!({"hits": hits, "query": "", "estimatedTotalHits": total});
    if let Some(facet) = facet {
        let values: BTreeMap<String, u64> = facet
            .iter()
            .map(|(group, count)| (format!("G{group}"), *count))
            .collect();
        answer["facetDistribution"] = json!({"g": values});
    }
    Bytes::from(answer.to_string())
}

proptest! {
    #[test]
    fn totals_are_those_of_one_node(
        documents in prop::collection::vec(document(3), 0..40),
        offset in 0..6usize,
        limit in 1..8usize,
        pages: bool,
        cut_at in 1..40u64,
    ) {
        let (reach, paging) = if pages {
            (limit, Paging::Pages { page: 1, hits_per_page: limit })
        } else {
            (offset + limit, Paging::Offset { offset, limit })
        };
        let (mut hits, mut universe, mut holders) = (Vec::new(), Vec::new(), Vec::new());
        let mut lists = Vec::new();
        for node in 0..3 {
            let own: Vec<&Document> =
                documents.iter().filter(|document| document.node == node).collect();
            let (list, total) = walk(&own, reach, pages);
            hits.push(answer(&list, total, None));
            let mut counts = BTreeMap::new();
            for group in own.iter().filter_map(|document| document.group) {
                *counts.entry(group).or_insert(0) += 1;
            }
            universe.push(counted(own.len() as u64, cut_at, Some(&counts)));
            holders.push(counted(counts.values().sum(), cut_at, None));
            lists.push(list);
        }
        let spec = Spec {
            distinct: Some("g"),
            counts: Some(Counts::Distinct(DistinctCounts {
                universe: &universe,
                holders: &holders,
                values_max: 100,
                by_walk: false,
            })),
            ..Spec::of(paging)
        };
        let merged = merge_search(&hits, &spec).unwrap().to_bytes();
        let merged: Value = serde_json::from_slice(&merged).unwrap();
        let all: Vec<&Document> = documents.iter().collect();
        let (one, expected) = walk(&all, reach, pages);
        let total = merged[if pages { "totalHits" } else { "estimatedTotalHits" }].as_u64();
        // Where a node's list was cut within the last bucket, what it has met there cannot be known.
        let cut = one.len() == reach
            && lists.iter().any(|list| {
                list.len() == reach && list.last().map(|hit| hit.rank) <= one.last().map(|hit| hit.rank)
            });
        if pages || !cut {
            prop_assert_eq!(total, Some(expected));
        } else {
            prop_assert!(total >= Some(expected), "an upper bound");
        }
    }
}
