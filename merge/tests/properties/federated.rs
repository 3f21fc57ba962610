use std::cmp::{Ordering, Reverse};
use std::collections::HashSet;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{json, Value};

use super::json::{damaged, parse};
use miroir_merge::{
    merge_federated, FacetOrder, FederatedAnswers, FederatedIndex, FederatedQuery, FederatedSpec,
    MergeError, Merged, Paging,
};

const QUERIES_MAX: usize = 4;
const WORDS_MAX: u64 = 4;

/// A document and how well it answers each query: matching words, if it does at all.
#[derive(Clone, Debug)]
struct Document {
    index: usize,
    words: [Option<u64>; QUERIES_MAX],
    price: Option<i32>,
}

#[derive(Clone, Debug)]
struct Query {
    index: usize,
    weight: f64,
}

#[derive(Clone, Debug)]
struct Search {
    queries: Vec<Query>,
    /// Whether `price:asc` comes before or after the words.
    price_first: bool,
}

/// A document as a query finds it.
#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    id: usize,
    document: &'a Document,
    query: usize,
    words: u64,
    weight: f64,
}

impl Found<'_> {
    fn score(&self) -> f64 {
        self.words as f64 / WORDS_MAX as f64 * self.weight
    }

    fn price(&self) -> (bool, Option<i32>) {
        (self.document.price.is_none(), self.document.price)
    }

    /// The order within one query.
    fn by_details(&self, other: &Self, price_first: bool) -> Ordering {
        let words = Reverse(self.words).cmp(&Reverse(other.words));
        let price = self.price().cmp(&other.price());
        if price_first {
            price.then(words)
        } else {
            words.then(price)
        }
    }

    /// The order between queries.
    fn by_values(&self, other: &Self, price_first: bool) -> Ordering {
        let score = other.score().total_cmp(&self.score());
        let price = self.price().cmp(&other.price());
        let values = if price_first {
            price.then(score)
        } else {
            score.then(price)
        };
        values.then(self.query.cmp(&other.query))
    }

    fn hit(&self, price_first: bool) -> Value {
        let score = self.words as f64 / WORDS_MAX as f64;
        let words = json!({"order": u8::from(price_first), "matchingWords": self.words, "maxMatchingWords": WORDS_MAX, "score": score});
        let price = json!({"order": u8::from(!price_first), "value": self.document.price});
        let mut values = vec![
            json!({"weightedScore": self.score()}),
            json!({"sort": {"asc": true, "value": self.document.price}}),
        ];
        if price_first {
            values.reverse();
        }
        json!({
            "id": self.id,
            "_federation": {
                "indexUid": format!("i{}", self.document.index), "queriesPosition": self.query,
                "weightedRankingScore": self.score(), "weightedScoreValues": values,
            },
            "_rankingScoreDetails": {"words": words, "price:asc": price},
        })
    }
}

/// One Meilisearch: every query's list, merged by taking the best head, each document once.
fn one_node<'a>(
    documents: &'a [(usize, Document)],
    search: &Search,
    limit: usize,
) -> (Vec<Found<'a>>, u64) {
    let mut lists: Vec<Vec<Found>> = Vec::new();
    let mut candidates = HashSet::new();
    for (position, query) in search.queries.iter().enumerate() {
        let mut list: Vec<Found> = Vec::new();
        for (id, document) in documents.iter().filter(|(_, d)| d.index == query.index) {
            if let Some(words) = document.words[position] {
                candidates.insert(*id);
                list.push(Found {
                    id: *id,
                    document,
                    query: position,
                    words,
                    weight: query.weight,
                });
            }
        }
        list.sort_by(|a, b| a.by_details(b, search.price_first));
        list.truncate(limit);
        lists.push(list);
    }
    let mut merged = Vec::new();
    let mut seen = HashSet::new();
    while let Some(best) = lists
        .iter_mut()
        .filter(|list| !list.is_empty())
        .min_by(|a, b| a[0].by_values(&b[0], search.price_first))
    {
        let found = best.remove(0);
        if seen.insert(found.id) {
            merged.push(found);
        }
    }
    merged.truncate(limit);
    (merged, candidates.len() as u64)
}

fn answer(documents: &[(usize, Document)], search: &Search, limit: usize) -> Bytes {
    let (found, total) = one_node(documents, search, limit);
    let hits: Vec<Value> = found
        .iter()
        .map(|found| found.hit(search.price_first))
        .collect();
    json!({"hits": hits, "processingTimeMs": 0, "limit": limit, "offset": 0, "estimatedTotalHits": total})
        .to_string()
        .into()
}

fn document() -> impl Strategy<Value = Document> {
    let words = prop::array::uniform4(prop::option::of(1..=WORDS_MAX));
    (0..2usize, words, prop::option::of(-2..3)).prop_map(|(index, words, price)| Document {
        index,
        words,
        price,
    })
}

fn search() -> impl Strategy<Value = Search> {
    let weight = prop::sample::select(vec![0.25, 0.5, 1.0, 1.5, 3.0]);
    let query = (0..2usize, weight).prop_map(|(index, weight)| Query { index, weight });
    (prop::collection::vec(query, 0..=QUERIES_MAX), any::<bool>()).prop_map(
        |(queries, price_first)| Search {
            queries,
            price_first,
        },
    )
}

fn merge(lists: &[Bytes], spec: &FederatedSpec) -> Result<Merged, MergeError> {
    let answers = FederatedAnswers {
        lists,
        ..FederatedAnswers::default()
    };
    merge_federated(&answers, spec)
}

fn with_spec<T>(search: &Search, paging: Paging, run: impl FnOnce(&FederatedSpec) -> T) -> T {
    let index = |uid| FederatedIndex {
        uid,
        node_uid: uid,
        hits_max: usize::MAX,
        facet_order: &|_| FacetOrder::Alpha,
        merged_order: &|_| FacetOrder::Alpha,
        max_values_per_facet: 100,
        primary_key: None,
        told_apart: false,
    };
    let indexes = [index("i0"), index("i1")];
    let query = |query: &Query| FederatedQuery {
        index: query.index,
        weight: 1.0,
        show_score: false,
        show_details: false,
        ranked: true,
        distinct: None,
        strip_fields: &[],
        strip_formatted: &[],
    };
    let queries: Vec<FederatedQuery> = search.queries.iter().map(query).collect();
    run(&FederatedSpec {
        paging,
        indexes: &indexes,
        queries: &queries,
        semantic: false,
        distinct: None,
        merge_facets: None,
        processing_time_ms: 0,
        request_uid: None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_federated_search_over_shards_is_the_one_over_all(
        documents in prop::collection::vec((0..4usize, document()), 0..40), search in search(), nodes in 1..5usize,
        offset in 0..12usize, limit in 0..12usize,
    ) {
        // On one node ties come in the order of insertion: the documents of the first node first.
        let mut documents = documents;
        documents.sort_by_key(|(node, _)| node % nodes);
        let numbered = |node: Option<usize>| -> Vec<(usize, Document)> {
            let of_node = documents.iter().enumerate().filter(|(_, (at, _))| node.is_none_or(|node| at % nodes == node));
            of_node.map(|(id, (_, document))| (id, document.clone())).collect()
        };
        let all = numbered(None);
        let (expected, total) = one_node(&all, &search, offset + limit);
        let expected: Vec<(usize, usize)> = expected.iter().skip(offset).map(|found| (found.id, found.query)).collect();

        let answers: Vec<Bytes> = (0..nodes)
            .map(|node| answer(&numbered(Some(node)), &search, offset + limit))
            .collect();
        let merged = with_spec(&search, Paging::Offset { offset, limit }, |spec| merge(&answers, spec));
        let merged = parse(&merged.unwrap().to_bytes());
        let hits = merged["hits"].as_array().unwrap();
        let got: Vec<(usize, usize)> = hits
            .iter()
            .map(|hit| {
                let query = hit["_federation"]["queriesPosition"].as_u64().unwrap();
                (hit["id"].as_u64().unwrap() as usize, query as usize)
            })
            .collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(merged["estimatedTotalHits"].as_u64(), Some(total));
        prop_assert!(hits.iter().all(|hit| hit.as_object().unwrap().len() == 2));
        prop_assert!(hits.iter().all(|hit| hit["_federation"].as_object().unwrap().len() == 3));
    }

    #[test]
    fn foreign_bytes_never_panic(broken in damaged(answer_text())) {
        let paging = Paging::Offset { offset: 0, limit: 10 };
        let broken = Bytes::from(broken);
        let _ = with_spec(&four_queries(), paging, |spec| merge(&[broken.clone(), broken], spec));
    }
}

fn four_queries() -> Search {
    let query = |index| Query { index, weight: 1.0 };
    Search {
        queries: [0, 1, 0, 1].map(query).to_vec(),
        price_first: true,
    }
}

fn answer_text() -> impl Strategy<Value = String> {
    prop::collection::vec(document(), 0..6).prop_map(|documents| {
        let documents: Vec<(usize, Document)> = documents.into_iter().enumerate().collect();
        let answer = answer(&documents, &four_queries(), 10);
        String::from_utf8(answer.to_vec()).unwrap_or_default()
    })
}
