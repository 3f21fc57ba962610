use super::*;
use serde_json::{json, Value};

const ALPHA: &dyn Fn(&str) -> FacetOrder = &|_| FacetOrder::Alpha;
const COUNT: &dyn Fn(&str) -> FacetOrder = &|_| FacetOrder::Count;

fn index(uid: &'static str) -> FederatedIndex<'static> {
    FederatedIndex {
        uid,
        node_uid: uid,
        hits_max: usize::MAX,
        facet_order: ALPHA,
        merged_order: ALPHA,
        max_values_per_facet: 100,
        primary_key: None,
        told_apart: false,
    }
}

fn query(index: usize) -> FederatedQuery<'static> {
    FederatedQuery {
        index,
        weight: 1.0,
        show_score: false,
        show_details: false,
        ranked: true,
        distinct: None,
        strip_fields: &[],
        strip_formatted: &[],
    }
}

/// Two queries of the index `a`, one of `b`.
struct Setup {
    indexes: Vec<FederatedIndex<'static>>,
    queries: Vec<FederatedQuery<'static>>,
}

impl Setup {
    fn new() -> Self {
        Setup {
            indexes: vec![index("a"), index("b")],
            queries: vec![query(0), query(1), query(0)],
        }
    }

    fn spec(&self) -> FederatedSpec<'_> {
        FederatedSpec {
            paging: Paging::Offset {
                offset: 0,
                limit: 20,
            },
            indexes: &self.indexes,
            queries: &self.queries,
            semantic: false,
            distinct: None,
            merge_facets: None,
            processing_time_ms: 7,
            request_uid: None,
        }
    }
}

/// A hit of a query with one rule that gives a ratio of ten.
fn hit(id: &str, query: usize, words: u64) -> Value {
    let uid = ["a", "b", "a"][query];
    let score = words as f64 / 10.0;
    json!({
        "id": id, "_miroir_shard": "⸀⸁",
        "_federation": {"indexUid": uid, "queriesPosition": query, "weightedRankingScore": score,
                        "weightedScoreValues": [{"weightedScore": score}], "extra_document": {"x": 1}},
        "_rankingScoreDetails": {"words": {"order": 0, "matchingWords": words, "maxMatchingWords": 10, "score": score}},
    })
}

fn answer(hits: Vec<Value>, total: u64, more: Value) -> Bytes {
    let mut body = json!({"hits": hits, "processingTimeMs": 1, "limit": 9, "offset": 0, "estimatedTotalHits": total});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body.to_string().into()
}

fn of(lists: &[Bytes]) -> FederatedAnswers<'_> {
    FederatedAnswers {
        lists,
        ..FederatedAnswers::default()
    }
}

fn merged(answers: &[Bytes], spec: &FederatedSpec) -> Value {
    serde_json::from_slice(&merge_federated(&of(answers), spec).unwrap().to_bytes()).unwrap()
}

fn ids(merged: &Value) -> String {
    let hits = merged["hits"].as_array().unwrap().iter();
    hits.map(|hit| hit["id"].as_str().unwrap()).collect()
}

#[test]
fn the_whole_answer() {
    let setup = Setup::new();
    let answers = [
        answer(vec![hit("p", 0, 9), hit("q", 1, 5)], 4, json!({})),
        answer(vec![hit("r", 2, 9), hit("s", 1, 6)], 5, json!({})),
    ];
    assert_eq!(
        merged(&answers, &setup.spec()),
        json!({
            "hits": [
                {"id": "p", "_federation": {"indexUid": "a", "queriesPosition": 0, "weightedRankingScore": 0.9}},
                {"id": "r", "_federation": {"indexUid": "a", "queriesPosition": 2, "weightedRankingScore": 0.9}},
                {"id": "s", "_federation": {"indexUid": "b", "queriesPosition": 1, "weightedRankingScore": 0.6}},
                {"id": "q", "_federation": {"indexUid": "b", "queriesPosition": 1, "weightedRankingScore": 0.5}},
            ],
            "processingTimeMs": 7, "limit": 20, "offset": 0, "estimatedTotalHits": 9,
        })
    );
    let page = FederatedSpec {
        paging: Paging::Pages {
            page: 2,
            hits_per_page: 3,
        },
        request_uid: Some("u"),
        ..setup.spec()
    };
    let page = merged(&answers, &page);
    assert_eq!(ids(&page), "q");
    assert_eq!(page["totalPages"], 3);
    assert_eq!(page["requestUid"], "u");
    assert_eq!(merged(&[], &setup.spec())["hits"], json!([]));
}

#[test]
fn hits_of_one_query_follow_their_details_and_not_their_ratios() {
    let setup = Setup::new();
    // The second node knows a greater maximum, so its ratio is smaller for as many words.
    let mut better = hit("b", 0, 5);
    better["_federation"]["weightedScoreValues"][0]["weightedScore"] = json!(0.2);
    let answers = [
        answer(vec![hit("a", 0, 4)], 1, json!({})),
        answer(vec![better], 1, json!({})),
    ];
    assert_eq!(ids(&merged(&answers, &setup.spec())), "ba");
}

#[test]
fn names_of_nodes_are_not_shown() {
    let mut setup = Setup::new();
    setup.indexes[0].uid = "films";
    setup.indexes[1].uid = "an_index_with_a_long_name";
    let facets = json!({"facetsByIndex": {"a": {"distribution": {}, "stats": {}}}});
    let answers = [answer(vec![hit("p", 0, 9), hit("q", 1, 5)], 2, facets)];
    let merged = merged(&answers, &setup.spec());
    assert_eq!(merged["hits"][0]["_federation"]["indexUid"], "films");
    assert_eq!(
        merged["hits"][1]["_federation"]["indexUid"],
        "an_index_with_a_long_name"
    );
    assert_eq!(
        merged["facetsByIndex"],
        json!({"films": {"distribution": {}, "stats": {}}})
    );
}

#[test]
fn scores_details_and_fields_are_shown_by_query() {
    let mut setup = Setup::new();
    setup.queries[0].show_score = true;
    setup.queries[0].strip_fields = &["x"];
    setup.queries[1].show_details = true;
    let with = |mut hit: Value| {
        hit["_rankingScore"] = json!(0.5);
        hit["x"] = json!(1);
        hit
    };
    let answers = [answer(
        vec![with(hit("p", 0, 9)), with(hit("q", 1, 5))],
        2,
        json!({}),
    )];
    let merged = merged(&answers, &setup.spec());
    let names = |place: usize| {
        let hit = merged["hits"][place].as_object().unwrap();
        let mut names: Vec<&String> = hit.keys().collect();
        names.sort();
        names.into_iter().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(0), "_federation _rankingScore id");
    assert_eq!(names(1), "_federation _rankingScoreDetails id x");
}

#[test]
fn an_index_gives_no_more_than_it_may() {
    let mut setup = Setup::new();
    setup.indexes[0].hits_max = 2;
    let hits = vec![
        hit("a", 0, 9),
        hit("b", 2, 8),
        hit("c", 0, 7),
        hit("d", 1, 1),
    ];
    assert_eq!(
        ids(&merged(&[answer(hits, 4, json!({}))], &setup.spec())),
        "abd"
    );
}

#[test]
fn distinct_of_a_query_and_of_all() {
    let with = |id: &str, query: usize, words: u64, brand: &str| {
        let mut hit = hit(id, query, words);
        hit["_federation"]["extra_document"] = json!({"brand": brand});
        hit
    };
    let answers = [
        answer(
            vec![
                with("a", 1, 9, "x"),
                with("b", 0, 8, "x"),
                with("c", 0, 5, "y"),
            ],
            3,
            json!({}),
        ),
        answer(
            vec![with("d", 1, 7, "X "), with("e", 0, 6, "z")],
            2,
            json!({}),
        ),
    ];
    let mut setup = Setup::new();
    setup.queries[1].distinct = Some("brand");
    let of_query = merged(&answers, &setup.spec());
    assert_eq!(ids(&of_query), "abec");
    assert_eq!(of_query["estimatedTotalHits"], 4);
    let setup = Setup::new();
    let of_all = merged(
        &answers,
        &FederatedSpec {
            distinct: Some("brand"),
            ..setup.spec()
        },
    );
    assert_eq!(ids(&of_all), "aec");
    assert_eq!(of_all["estimatedTotalHits"], 3);
}

#[test]
fn vectors_are_counted_on_the_page_and_passed_on() {
    let setup = Setup::new();
    let mut semantic = hit("v", 1, 1);
    semantic["_federation"]["weightedScoreValues"] = json!([{"vectorSort": 0.95}]);
    let answers = [
        answer(
            vec![semantic, hit("a", 0, 9)],
            2,
            json!({"semanticHitCount": 1, "queryVectors": {"1": [0.5]}}),
        ),
        answer(
            vec![hit("b", 0, 8)],
            1,
            json!({"semanticHitCount": 0, "queryVectors": {"1": [0.5], "2": [1]}}),
        ),
    ];
    let all = merged(&answers, &setup.spec());
    assert_eq!(ids(&all), "vab");
    assert_eq!(all["semanticHitCount"], 1);
    assert_eq!(all["queryVectors"], json!({"1": [0.5], "2": [1]}));
    let rest = FederatedSpec {
        paging: Paging::Offset {
            offset: 1,
            limit: 5,
        },
        ..setup.spec()
    };
    assert_eq!(merged(&answers, &rest)["semanticHitCount"], 0);
}

#[test]
fn facets_are_added_up_by_index() {
    let mut setup = Setup::new();
    setup.indexes[1].facet_order = COUNT;
    setup.indexes[1].max_values_per_facet = 2;
    let facets = |a: Value, b: Value| {
        let stats = json!({"n": {"min": 1.0, "max": 10.0}});
        json!({"facetsByIndex": {
            "a": {"distribution": {"n": a, "_miroir_shard": {"x": 1}}, "stats": stats},
            "b": {"distribution": {"c": b}, "stats": {}},
        }})
    };
    let answers = [
        answer(
            vec![],
            5,
            facets(
                json!({"1": 1, "10": 2, "2": 1}),
                json!({"red": 4, "blue": 3}),
            ),
        ),
        answer(
            vec![],
            4,
            facets(json!({"10": 5}), json!({"Blue": 2, "green": 1})),
        ),
    ];
    let by_index = merge_federated(&of(&answers), &setup.spec())
        .unwrap()
        .to_bytes();
    let by_index = std::str::from_utf8(&by_index).unwrap();
    let expected = r#""facetsByIndex":{"a":{"distribution":{"n":{"1":1,"10":7,"2":1}},"stats":{"n":{"min":1.0,"max":10.0}}},"b":{"distribution":{"c":{"blue":5,"red":4}},"stats":{}}}"#;
    assert!(by_index.contains(expected), "{by_index}");
}

#[test]
fn facets_of_indexes_are_joined_by_spelling() {
    let setup = Setup::new();
    let facets = json!({"facetsByIndex": {
        "b": {"distribution": {"c": {"Red": 1, "green": 2}, "n": {"2": 1}}, "stats": {"n": {"min": 2.0, "max": 2.0}}},
        "a": {"distribution": {"c": {"blue": 1, "red": 4}, "n": {"10": 3}}, "stats": {"n": {"min": 10.0, "max": 10.5}}},
    }});
    let answers = [answer(vec![], 5, facets)];
    let joined = |order, max| {
        let mut setup = Setup::new();
        setup.indexes[0].merged_order = order;
        let merge_facets = Some(MergeFacets {
            max_values_per_facet: max,
        });
        let merged = merge_federated(
            &of(&answers),
            &FederatedSpec {
                merge_facets,
                ..setup.spec()
            },
        );
        String::from_utf8(merged.unwrap().to_bytes().to_vec()).unwrap()
    };
    let alpha = joined(ALPHA, None);
    let expected = r#","facetDistribution":{"c":{"Red":1,"blue":1,"green":2,"red":4},"n":{"10":3,"2":1}},"facetStats":{"n":{"min":2.0,"max":10.5}}}"#;
    assert!(alpha.ends_with(expected), "{alpha}");
    let count = joined(COUNT, Some(2));
    assert!(count.contains(r#""c":{"red":4,"green":2}"#), "{count}");
    // Nothing to join, nothing shown.
    let none = FederatedSpec {
        merge_facets: Some(MergeFacets {
            max_values_per_facet: None,
        }),
        ..setup.spec()
    };
    assert!(merged(&[answer(vec![], 0, json!({}))], &none)
        .get("facetDistribution")
        .is_none());
}

#[test]
fn what_is_no_federated_answer_is_refused() {
    let setup = Setup::new();
    let mut lacking = Vec::new();
    for path in [
        "weightedScoreValues",
        "weightedRankingScore",
        "queriesPosition",
        "indexUid",
    ] {
        let mut hit = hit("a", 0, 1);
        hit["_federation"].as_object_mut().unwrap().remove(path);
        lacking.push(hit);
    }
    for path in ["_federation", "_rankingScoreDetails"] {
        let mut hit = hit("a", 0, 1);
        hit.as_object_mut().unwrap().remove(path);
        lacking.push(hit);
    }
    let mut unknown = hit("a", 0, 1);
    unknown["_federation"]["queriesPosition"] = json!(3);
    lacking.push(unknown);
    for hit in lacking {
        let answers = [answer(vec![hit.clone()], 1, json!({}))];
        assert!(
            merge_federated(&of(&answers), &setup.spec()).is_err(),
            "{hit}"
        );
    }
    for text in [
        "",
        "{}",
        "[]",
        r#"{"hits":[]}"#,
        r#"{"hits":{},"totalHits":1}"#,
        r#"{"hits":[1],"totalHits":1}"#,
    ] {
        assert!(
            merge_federated(&of(&[Bytes::from(text)]), &setup.spec()).is_err(),
            "{text}"
        );
    }
}

/// A hit of a hybrid query alone: found by words with a score, or by meaning with a similarity.
fn half(id: &str, query: usize, words: bool, score: f64) -> Value {
    let (rule, detail, value) = if words {
        let detail = json!({"order": 0, "matchingWords": 1, "maxMatchingWords": 2, "score": score});
        ("words", detail, "weightedScore")
    } else {
        (
            "vectorSort",
            json!({"order": 0, "similarity": score}),
            "vectorSort",
        )
    };
    json!({
        "id": id, "_rankingScore": score, "_rankingScoreDetails": {rule: detail},
        "_federation": {"indexUid": "a", "queriesPosition": query, "weightedRankingScore": score,
                        "weightedScoreValues": [{value: score}]},
    })
}

#[test]
fn a_hybrid_query_is_mixed_once_and_a_document_comes_once() {
    let mut setup = Setup::new();
    setup.indexes[0].primary_key = Some("id");
    setup.indexes[0].told_apart = true;
    let half_answer = |words: bool, hits: &[(&str, f64)]| {
        let hits = hits.iter().map(|(id, score)| half(id, 2, words, *score));
        answer(hits.collect(), 50, json!({}))
    };
    let lists = [answer(vec![hit("p", 0, 9), hit("q", 0, 5)], 70, json!({}))];
    let words = vec![
        half_answer(true, &[("r", 0.8), ("s", 0.1)]),
        half_answer(true, &[]),
    ];
    let meaning = [
        half_answer(false, &[("q", 0.85)]),
        half_answer(false, &[("t", 0.7)]),
    ];
    let counted = [answer(vec![], 6, json!({})), answer(vec![], 7, json!({}))];
    let mixed = |ratio| {
        [Mixed {
            query: 2,
            words: ByWords {
                searches: std::slice::from_ref(&words),
                levels: None,
            },
            meaning: &meaning,
            mix: Mix {
                finds_all: true,
                turns: true,
                ratio,
                primary_key: "id",
                distinct_again: true,
                weight: 1.0,
            },
        }]
    };
    let spec = FederatedSpec {
        semantic: true,
        ..setup.spec()
    };
    let merge = |ratio: f32, limit: usize| -> Value {
        let paging = Paging::Offset { offset: 0, limit };
        let answers = FederatedAnswers {
            lists: &lists,
            levelled: &[],
            mixed: &mixed(ratio),
            counted: Some(&counted),
        };
        let spec = FederatedSpec { paging, ..spec };
        serde_json::from_slice(&merge_federated(&answers, &spec).unwrap().to_bytes()).unwrap()
    };
    let all = merge(0.5, 20);
    // `q` stands where meaning puts it, which is before its place among the words of the other query.
    assert_eq!(ids(&all), "pqrts");
    assert_eq!(all["semanticHitCount"], 2);
    assert_eq!(all["estimatedTotalHits"], 13);
    assert_eq!(all["hits"][1]["_federation"]["queriesPosition"], 2);
    // One hit that is good enough by words is a whole page of one.
    assert_eq!(ids(&merge(0.25, 1)), "p");
}
