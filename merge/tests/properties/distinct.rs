//! The hits under `distinct` on an attribute with several values over many nodes, asked again until all are settled, against the rule of one
//! node: a document stays if it shares no value with a better one that stays.

use std::collections::BTreeSet;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{json, Value};

use miroir_merge::{merge_search, ByWords, Paging, Spec};

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

proptest! {
    #[test]
    fn hits_are_those_of_one_node(
        documents in prop::collection::vec(document(3), 0..40),
        offset in 0..4usize,
        limit in 1..8usize,
    ) {
        let mut rounds: Vec<Vec<Vec<Bytes>>> = Vec::new();
        let (mut without, mut reach) = (BTreeSet::new(), offset + limit);
        let merged = loop {
            let of_node = |node: usize| {
                let own = documents.iter().enumerate().filter(move |(_, document)| document.node == node);
                answer(&walk(own, &without, reach))
            };
            rounds.push(vec![(0..3).map(of_node).collect()]);
            let again: Vec<ByWords> = rounds[1..].iter().map(|searches| ByWords { searches, levels: None }).collect();
            let spec = Spec { distinct: Some("g"), again: &again, ..Spec::of(Paging::Offset { offset, limit }) };
            let merged = merge_search(&rounds[0][0], &spec).unwrap();
            let Some(unsettled) = &merged.unsettled else {
                break merged;
            };
            reach = offset + limit - unsettled.settled;
            let before = without.len();
            without = unsettled.values.iter().map(|(_, value)| value.trim_start_matches('v').parse().unwrap()).collect();
            prop_assert!(without.len() > before, "every round settles something");
        };
        let merged: Value = serde_json::from_slice(&merged.to_bytes()).unwrap();
        let ids: Vec<u64> = merged["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_u64().unwrap()).collect();
        let one = walk(documents.iter().enumerate(), &BTreeSet::new(), offset + limit);
        let expected: Vec<u64> = one.iter().skip(offset).map(|(id, _)| *id as u64).collect();
        prop_assert_eq!(ids, expected);
    }
}
