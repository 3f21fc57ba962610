//! Hits and totals under `distinct` on an attribute with several values over many nodes, asked again until all are settled, against the rule of one
//! node: a document stays if it shares no value with a better one that stays.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{json, Value};

use miroir_merge::{merge_search, ByWords, Counts, DistinctCounts, Paging, Spec};

#[derive(Clone, Debug)]
struct Document {
    node: usize,
    values: BTreeSet<u32>,
}

fn document(nodes: usize) -> impl Strategy<Value = Document> {
    let values = prop::collection::btree_set(0..12u32, 0..4);
    (0..nodes, values).prop_map(|(node, values)| Document { node, values })
}

/// The first `reach` hits of a list in the order of its documents, without those that have one of these values.
fn walk<'d>(
    documents: impl Iterator<Item = (usize, &'d Document)>,
    without: &BTreeSet<u32>,
    reach: usize,
) -> Vec<(usize, &'d Document)> {
    let mut met = without.clone();
    let mut hits = Vec::new();
    for (id, document) in documents {
        if hits.len() < reach && met.is_disjoint(&document.values) {
            met.extend(&document.values);
            hits.push((id, document));
        }
    }
    hits
}

fn answer(hits: &[(usize, &Document)]) -> Bytes {
    let hits: Vec<Value> = hits
        .iter()
        .map(|(id, document)| {
            let values = document.values.iter().map(|value| match value % 2 {
                0 => json!(value),
                _ => json!(format!("V{value}")),
            });
            json!({
                "id": id,
                "g": values.collect::<Vec<_>>(),
                "_rankingScoreDetails": {"words": {"order": 0, "matchingWords": 1000 - id}},
            })
        })
        .collect();
    Bytes::from(json!({"hits": hits, "query": "", "estimatedTotalHits": 9}).to_string())
}

/// What one node counts that has listed these: all but those that share a value with them, which it dropped.
fn count<'d>(documents: impl Iterator<Item = &'d Document>, hits: &[(usize, &Document)]) -> usize {
    let met: BTreeSet<u32> = hits
        .iter()
        .flat_map(|(_, hit)| hit.values.iter().copied())
        .collect();
    let left = documents
        .filter(|document| document.values.is_disjoint(&met))
        .count();
    left + hits
        .iter()
        .filter(|(_, hit)| !hit.values.is_empty())
        .count()
}

/// An answer that only counts.
fn counted(documents: usize) -> Bytes {
    Bytes::from(json!({"hits": [], "query": "", "estimatedTotalHits": documents}).to_string())
}

fn read(values: &[(bool, String)]) -> BTreeSet<u32> {
    let texts = values
        .iter()
        .map(|(_, value)| value.trim_start_matches('v'));
    texts.map(|text| text.parse().unwrap()).collect()
}

proptest! {
    #[test]
    fn hits_and_totals_are_those_of_one_node(
        documents in prop::collection::vec(document(3), 0..40),
        offset in 0..4usize,
        limit in 1..8usize,
    ) {
        let own = |node: usize| documents.iter().enumerate().filter(move |(_, document)| document.node == node);
        let universe: Vec<Bytes> = (0..3).map(|node| counted(own(node).count())).collect();
        let holders: Vec<Bytes> =
            (0..3).map(|node| counted(own(node).filter(|(_, own)| !own.values.is_empty()).count())).collect();
        let counts = Counts::Distinct(DistinctCounts { universe: &universe, holders: &holders, values_max: 100, by_walk: false });
        let mut rounds: Vec<Vec<Vec<Bytes>>> = Vec::new();
        let (mut without, mut reach) = (BTreeSet::new(), offset + limit);
        let merge = |rounds: &[Vec<Vec<Bytes>>], counts: Counts| {
            let again: Vec<ByWords> = rounds[1..].iter().map(|searches| ByWords { searches, levels: None }).collect();
            let paging = Paging::Offset { offset, limit };
            let spec = Spec { distinct: Some("g"), counts: Some(counts), again: &again, ..Spec::of(paging) };
            merge_search(&rounds[0][0], &spec).unwrap()
        };
        let mut merged = loop {
            rounds.push(vec![(0..3).map(|node| answer(&walk(own(node), &without, reach))).collect()]);
            let merged = merge(&rounds, counts);
            let Some(unsettled) = &merged.unsettled else {
                break merged;
            };
            reach = offset + limit - unsettled.settled;
            let before = without.len();
            without = read(&unsettled.values);
            prop_assert!(without.len() > before, "every round settles something");
        };
        if let Some(taken) = &merged.taken {
            let counted: Vec<Bytes> = (0..3).map(|node| {
                let others = taken.iter().enumerate().filter(|(other, _)| *other != node);
                let others: BTreeSet<u32> = others.flat_map(|(_, taken)| read(&taken.values)).collect();
                let left = || own(node).filter(|(_, own)| own.values.is_disjoint(&others));
                let hits = walk(left(), &BTreeSet::new(), taken[node].hits);
                counted(count(left().map(|(_, own)| own), &hits))
            }).collect();
            merged = merge(&rounds, Counts::Groups { counted: &counted });
        }
        let merged: Value = serde_json::from_slice(&merged.to_bytes()).unwrap();
        let ids: Vec<u64> = merged["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_u64().unwrap()).collect();
        let one = walk(documents.iter().enumerate(), &BTreeSet::new(), offset + limit);
        let expected: Vec<u64> = one.iter().skip(offset).map(|(id, _)| *id as u64).collect();
        prop_assert_eq!(ids, expected);
        let total = count(documents.iter(), &one);
        prop_assert_eq!(merged["estimatedTotalHits"].as_u64(), Some(total as u64));
    }
}
