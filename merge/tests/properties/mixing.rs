//! Hybrid searches over many nodes against the rule of one node, written down plainly over all documents.

use std::cmp::Ordering;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{json, Value};

use miroir_merge::{merge_hybrid, merge_similar, ByWords, Mix, Paging, Similar, Spec};

/// A document as a search sees it. Few different values, so that ties are common.
#[derive(Clone, Debug)]
struct Document {
    id: usize,
    node: usize,
    price: u32,
    /// Words of the query that match, of 8; 0: not found by words.
    words: u32,
    /// In hundredths; `None`: it has no vector.
    similarity: Option<u32>,
}

/// Where the index's list of rules sorts by price.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sort {
    Never,
    First,
    Last,
}

/// One of a hit's values, in the order of the rules.
#[derive(Clone, Debug)]
enum Part {
    Score(f64),
    Price(u32),
}

#[derive(Clone, Debug)]
struct Hit {
    document: Document,
    parts: Vec<Part>,
    semantic: bool,
}

impl Hit {
    fn of(document: &Document, semantic: bool, sort: Sort) -> Hit {
        let score = if semantic {
            document
                .similarity
                .map_or(0.0, |hundredths| f64::from(hundredths) / 100.0)
        } else {
            f64::from(document.words) / 8.0
        };
        let mut parts = vec![Part::Score(score)];
        match sort {
            Sort::Never => {}
            Sort::First => parts.insert(0, Part::Price(document.price)),
            Sort::Last => parts.push(Part::Price(document.price)),
        }
        Hit {
            document: document.clone(),
            parts,
            semantic,
        }
    }

    fn score(&self) -> f64 {
        let score = |part: &Part| match part {
            Part::Score(score) => Some(*score),
            Part::Price(_) => None,
        };
        self.parts.iter().find_map(score).unwrap()
    }

    /// `Less`: better, the cheaper one first.
    fn compare(&self, other: &Hit, weight: f64, other_weight: f64) -> Ordering {
        let parts = self.parts.iter().zip(&other.parts);
        parts
            .map(|(ours, theirs)| match (ours, theirs) {
                (Part::Score(a), Part::Score(b))
                    if (a * weight - b * other_weight).abs() <= f64::EPSILON =>
                {
                    Ordering::Equal
                }
                (Part::Score(a), Part::Score(b)) => (b * other_weight).total_cmp(&(a * weight)),
                (Part::Price(a), Part::Price(b)) => a.cmp(b),
                _ => unreachable!("both lists sort at the same place"),
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn json(&self) -> Value {
        let mut details = json!({});
        for (order, part) in self.parts.iter().enumerate() {
            let words = self.document.words;
            match part {
                Part::Price(price) => {
                    details["price:asc"] = json!({"order": order, "value": price})
                }
                Part::Score(_) if self.semantic => {
                    let similarity = self.document.similarity.map(|_| self.score());
                    details["vectorSort"] = json!({"order": order, "similarity": similarity});
                }
                Part::Score(score) => {
                    details["words"] = json!({"order": order, "matchingWords": words, "maxMatchingWords": 8, "score": score});
                }
            }
        }
        json!({"id": self.document.id, "_rankingScore": self.score(), "_rankingScoreDetails": details})
    }
}

/// One of the two lists of one node.
fn list(documents: &[Document], semantic: bool, sort: Sort, reach: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = documents
        .iter()
        .filter(|document| semantic || document.words > 0)
        .map(|document| Hit::of(document, semantic, sort))
        .collect();
    // A document without a vector comes behind one whose similarity is 0, whatever the price.
    let ranked = |hit: &Hit| {
        let mut hit = hit.clone();
        if hit.semantic && hit.document.similarity.is_none() {
            let scores = hit.parts.iter_mut();
            scores
                .filter(|part| matches!(part, Part::Score(_)))
                .for_each(|part| *part = Part::Score(-1.0));
        }
        hit
    };
    hits.sort_by(|a, b| ranked(a).compare(&ranked(b), 1.0, 1.0));
    hits.truncate(reach);
    hits
}

/// What one node makes of its two lists; whether it is more than the one found by words.
fn mix(documents: &[Document], sort: Sort, ratio: f32, reach: usize) -> (Vec<Hit>, bool) {
    let words = list(documents, false, sort, reach);
    let weight = f64::from(1.0 - ratio);
    if words.len() >= reach && words.iter().all(|hit| hit.score() * weight >= 0.45) {
        return (words, false);
    }
    let mut meaning = list(documents, true, sort, reach).into_iter().peekable();
    let mut words = words.into_iter().peekable();
    let mut mixed: Vec<Hit> = Vec::new();
    loop {
        let next = match (meaning.peek(), words.peek()) {
            (Some(a), Some(b)) if a.compare(b, f64::from(ratio), weight).is_le() => meaning.next(),
            (Some(_), None) => meaning.next(),
            _ => words.next(),
        };
        let Some(next) = next else { break };
        if mixed.iter().all(|hit| hit.document.id != next.document.id) {
            mixed.push(next);
        }
    }
    mixed.truncate(reach);
    (mixed, true)
}

fn answer(hits: &[Hit], total: usize) -> Bytes {
    let hits: Vec<Value> = hits.iter().map(Hit::json).collect();
    serde_json::to_vec(&json!({"hits": hits, "query": "q", "estimatedTotalHits": total}))
        .unwrap()
        .into()
}

fn spec(offset: usize, limit: usize) -> Spec<'static> {
    Spec {
        query: "q",
        ..Spec::of(Paging::Offset { offset, limit })
    }
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    let document = (
        0..4usize,
        0..3u32,
        0..9u32,
        prop::option::weighted(0.8, 0..100u32),
    );
    prop::collection::vec(document, 0..24).prop_map(|documents| {
        let mut documents: Vec<Document> = documents
            .into_iter()
            .enumerate()
            .map(|(id, (node, price, words, similarity))| Document {
                id,
                node,
                price,
                words,
                similarity,
            })
            .collect();
        // Ties come in the order of the nodes, then of insertion.
        documents.sort_by_key(|document| (document.node, document.id));
        documents
    })
}

proptest! {
    #[test]
    fn a_cluster_mixes_as_one_node_does(
        documents in documents(),
        sort in prop_oneof![Just(Sort::Never), Just(Sort::First), Just(Sort::Last)],
        ratio in prop_oneof![Just(0.5f32), Just(0.3), Just(0.9), Just(0.01)],
        (offset, limit) in (0..6usize, 0..8usize),
        by_hybrid in any::<bool>(),
    ) {
        let reach = offset + limit;
        let (expected, mixed) = mix(&documents, sort, ratio, reach);
        let expected: Vec<&Hit> = expected.iter().skip(offset).take(limit).collect();
        let total = if mixed {
            documents.len()
        } else {
            documents.iter().filter(|document| document.words > 0).count()
        };

        let (mut keyword, mut semantic) = (Vec::new(), Vec::new());
        for node in 0..4 {
            let held: Vec<Document> =
                documents.iter().filter(|document| document.node == node).cloned().collect();
            let found = held.iter().filter(|document| document.words > 0).count();
            keyword.push(answer(&list(&held, false, sort, reach), found));
            let hits = if by_hybrid {
                mix(&held, sort, 0.999_999, reach).0
            } else {
                list(&held, true, sort, reach)
            };
            semantic.push(answer(&hits, held.len()));
        }
        let mix = Mix { ratio, primary_key: "id", distinct_again: false, finds_all: false, turns: false, weight: 1.0 };
        let spec = spec(offset, limit);
        let keyword = ByWords { searches: &[keyword], levels: None };
        let merged = merge_hybrid(&keyword, &semantic, &mix, &spec).unwrap();
        let merged: Value = serde_json::from_slice(&merged.to_bytes()).unwrap();
        let ids: Vec<Value> = expected.iter().map(|hit| json!({"id": hit.document.id})).collect();
        prop_assert_eq!(&merged["hits"], &Value::from(ids));
        let semantic_hits = expected.iter().filter(|hit| mixed && hit.semantic).count();
        prop_assert_eq!(merged["semanticHitCount"].as_u64(), Some(semantic_hits as u64));
        prop_assert_eq!(merged["estimatedTotalHits"].as_u64(), Some(total as u64));
    }

    #[test]
    fn neighbours_are_those_of_one_node(
        documents in documents(),
        (offset, limit) in (0..6usize, 0..8usize),
        threshold in prop::option::of(0..100u32),
    ) {
        let threshold = threshold.map(|hundredths| f64::from(hundredths) / 100.0);
        let near: Vec<Hit> = list(&documents, true, Sort::Never, documents.len())
            .into_iter()
            .filter(|hit| hit.document.similarity.is_some())
            .collect();
        let far = |hit: &Hit| threshold.is_some_and(|least| hit.score() < least);
        let page = near.iter().enumerate().skip(offset).take(limit);
        let end = page.clone().find(|(_, hit)| far(hit)).map(|(rank, _)| rank);
        let expected: Vec<Value> = page
            .filter(|(rank, _)| end.is_none_or(|end| *rank < end))
            .map(|(_, hit)| json!({"id": hit.document.id}))
            .collect();

        // Each document is found twice, as if by the two vectors of the one that is asked about.
        let answers: Vec<Bytes> = (0..8)
            .map(|place| {
                let held: Vec<Document> =
                    documents.iter().filter(|document| document.node == place / 2).cloned().collect();
                answer(&list(&held, true, Sort::Never, offset + limit), held.len())
            })
            .collect();
        let similar = Similar { id: "a", primary_key: Some("id"), ranking_score_threshold: threshold };
        let merged =
            merge_similar(&answers, &similar, documents.len() as u64, &spec(offset, limit)).unwrap();
        let merged: Value = serde_json::from_slice(&merged.to_bytes()).unwrap();
        prop_assert_eq!(&merged["hits"], &Value::from(expected));
        let total = end.unwrap_or(documents.len());
        prop_assert_eq!(merged["estimatedTotalHits"].as_u64(), Some(total as u64));
    }
}
