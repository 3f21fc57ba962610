use super::*;
use serde_json::{json, Value};

const COUNT: &dyn Fn(&str) -> FacetOrder = &|_| FacetOrder::Count;

fn spec() -> Spec<'static> {
    let paging = Paging::Offset {
        offset: 0,
        limit: 20,
    };
    Spec {
        cap_totals: true,
        query: "q",
        processing_time_ms: 7,
        ..Spec::of(paging)
    }
}

fn body(value: Value) -> Bytes {
    serde_json::to_vec(&value).unwrap().into()
}

/// An answer with hits of (id, words) and a total.
fn answer(hits: &[(&str, u64)], total: u64) -> Bytes {
    let hits: Vec<Value> = hits
        .iter()
        .map(|(id, words)| {
            json!({"_miroir_shard": "⸀⸁", "id": id, "_rankingScore": 0.5,
                   "_rankingScoreDetails": {"words": {"order": 0, "matchingWords": words, "maxMatchingWords": 9, "score": 0.5}}})
        })
        .collect();
    body(
        json!({"hits": hits, "query": "x", "processingTimeMs": 1, "limit": 9, "offset": 0, "estimatedTotalHits": total}),
    )
}

fn merged(answers: &[Bytes], spec: &Spec) -> String {
    String::from_utf8(merge_search(answers, spec).unwrap().to_bytes().to_vec()).unwrap()
}

#[test]
fn the_whole_answer_in_meilisearchs_order() {
    let answers = [
        answer(&[("a", 3), ("b", 1)], 2),
        answer(&[("c", 3), ("d", 2)], 5),
    ];
    let spec = Spec {
        query: "a \"q\"",
        request_uid: Some("u"),
        ..spec()
    };
    assert_eq!(
        merged(&answers, &spec),
        r#"{"hits":[{"id":"a"},{"id":"c"},{"id":"d"},{"id":"b"}],"query":"a \"q\"","processingTimeMs":7,"limit":20,"offset":0,"estimatedTotalHits":7,"requestUid":"u"}"#
    );
    assert_eq!(
        merged(&[], &self::spec()),
        r#"{"hits":[],"query":"q","processingTimeMs":7,"limit":20,"offset":0,"estimatedTotalHits":0}"#
    );
}

#[test]
fn scores_stay_where_they_were_asked_for() {
    let answers = [answer(&[("a", 3)], 1)];
    let score = Spec {
        show_score: true,
        ..spec()
    };
    assert!(merged(&answers, &score).starts_with(r#"{"hits":[{"id":"a","_rankingScore":0.5}],"#));
    let details = Spec {
        show_details: true,
        ..spec()
    };
    assert!(merged(&answers, &details).starts_with(
        r#"{"hits":[{"id":"a","_rankingScoreDetails":{"words":{"order":0,"matchingWords":3,"maxMatchingWords":9,"score":0.5}}}],"#
    ));
}

#[test]
fn pages_are_counted_anew() {
    let page = |page, hits_per_page| {
        let paging = Paging::Pages {
            page,
            hits_per_page,
        };
        let text = merged(
            &[answer(&[("a", 3), ("b", 1)], 2), answer(&[("c", 2)], 1)],
            &Spec { paging, ..spec() },
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        let ids: Vec<String> = value["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|h| h["id"].as_str().unwrap().into())
            .collect();
        (
            ids.concat(),
            value["totalPages"].as_u64().unwrap(),
            value["totalHits"].as_u64().unwrap(),
            value["page"].as_u64().unwrap(),
        )
    };
    assert_eq!(page(1, 2), ("ac".into(), 2, 3, 1));
    assert_eq!(page(2, 2), ("b".into(), 2, 3, 2));
    assert_eq!(page(3, 2), (String::new(), 2, 3, 3));
    assert_eq!(page(0, 2), (String::new(), 2, 3, 0));
    assert_eq!(page(1, 0), (String::new(), 0, 3, 1));
}

#[test]
fn nothing_is_shown_past_the_most_hits_of_the_index() {
    let answers = [answer(&[("a", 3), ("b", 1)], 2), answer(&[("c", 2)], 1)];
    let capped = Spec {
        max_total_hits: 2,
        cap_totals: true,
        ..spec()
    };
    assert_eq!(
        merged(&answers, &capped),
        r#"{"hits":[{"id":"a"},{"id":"c"}],"query":"q","processingTimeMs":7,"limit":20,"offset":0,"estimatedTotalHits":2}"#
    );
    let newer = Spec {
        cap_totals: false,
        paging: Paging::Offset {
            offset: 2,
            limit: 5,
        },
        ..capped
    };
    assert_eq!(
        merged(&answers, &newer),
        r#"{"hits":[],"query":"q","processingTimeMs":7,"limit":5,"offset":2,"estimatedTotalHits":3}"#
    );
}

#[test]
fn unranked_hits_keep_the_nodes_order() {
    let a = body(json!({"hits": [{"id": 1}, {"id": 2}], "totalHits": 2}));
    let b = body(json!({"hits": [{"id": 3}], "totalHits": 1}));
    let spec = Spec {
        ranked: false,
        paging: Paging::Offset {
            offset: 1,
            limit: 5,
        },
        ..spec()
    };
    assert!(merged(&[a, b], &spec).starts_with(r#"{"hits":[{"id":2},{"id":3}],"#));
}

#[test]
fn distinct_drops_and_subtracts() {
    let a = body(
        json!({"hits": [{"id": 1, "c": "Red"}, {"id": 2, "c": null}], "estimatedTotalHits": 2}),
    );
    let b = body(
        json!({"hits": [{"id": 3, "c": " red"}, {"id": 4, "c": null}, {"id": 5}], "estimatedTotalHits": 9}),
    );
    let spec = Spec {
        ranked: false,
        distinct: Some("c"),
        strip_fields: &["c"],
        strip_formatted: &["c"],
        ..spec()
    };
    assert_eq!(
        merged(&[a, b], &spec),
        r#"{"hits":[{"id":1},{"id":2},{"id":4},{"id":5}],"query":"q","processingTimeMs":7,"limit":20,"offset":0,"estimatedTotalHits":10}"#
    );
}

fn facets(answers: Vec<Value>, spec: &Spec) -> String {
    let bodies: Vec<Bytes> = answers
        .into_iter()
        .map(|facets| {
            let mut answer =
                json!({"hits": [], "estimatedTotalHits": facets["total"].as_u64().unwrap_or(4)});
            answer["facetDistribution"] = facets["d"].clone();
            answer["facetStats"] = facets["s"].clone();
            body(answer)
        })
        .collect();
    let text = merged(&bodies, spec);
    let from = text.find("\"facetDistribution\":").unwrap();
    text[from..].to_owned()
}

#[test]
fn facets_merge_by_normalised_value() {
    let a = json!({"d": {"z": {"Red": 1, "blue": 2}, "_miroir_shard": {"x": 3}}, "s": {}});
    let b = json!({"d": {"z": {"BLUE": 1, "green": 5}, "a": {"x": 1}}, "s": {}});
    assert_eq!(
        facets(vec![a.clone(), b.clone()], &spec()),
        r#""facetDistribution":{"a":{"x":1},"z":{"blue":3,"green":5,"Red":1}},"facetStats":{}}"#
    );
    let cut = Spec {
        max_values_per_facet: 2,
        facet_order: COUNT,
        ..spec()
    };
    assert_eq!(
        facets(vec![a, b], &cut),
        r#""facetDistribution":{"a":{"x":1},"z":{"green":5,"blue":3}},"facetStats":{}}"#
    );
}

#[test]
fn numbers_that_fill_a_facet_let_all_strings_through_where_the_tree_is_walked() {
    let node = json!({"d": {"n": {"1": 1, "2": 1, "a": 1, "b": 1, "c": 1}}, "s": {"n": {"min": 1.0, "max": 2.0}}});
    let max = |max_values_per_facet| Spec {
        max_values_per_facet,
        ..spec()
    };
    let list = |node: &Value, spec: &Spec| {
        let text = facets(vec![node.clone()], spec);
        let end = text.find("},\"facetStats").unwrap();
        text["\"facetDistribution\":{\"n\":".len()..end].to_owned()
    };
    // Document by document.
    assert_eq!(list(&node, &max(2)), r#"{"1":1,"2":1}"#);
    assert_eq!(list(&node, &max(3)), r#"{"1":1,"2":1,"a":1}"#);
    assert_eq!(list(&node, &max(0)), "{}");
    // By the tree, because of the candidates or of the order.
    let many = json!({"total": 3001, "d": node["d"], "s": node["s"]});
    let all = r#"{"1":1,"2":1,"a":1,"b":1,"c":1}"#;
    assert_eq!(list(&many, &max(2)), all);
    assert_eq!(list(&many, &max(0)), all);
    assert_eq!(list(&many, &max(3)), r#"{"1":1,"2":1,"a":1}"#);
    let by_count = Spec {
        facet_order: COUNT,
        ..max(1)
    };
    assert_eq!(list(&node, &by_count), r#"{"2":1,"c":1,"b":1,"a":1}"#);
}

#[test]
fn numbers_stand_before_strings_and_are_other_values() {
    // The first node lists 1 and 10 as numbers; "07" is not how a number is printed, so "2" behind it is a string.
    let a = json!({"d": {"n": {"1": 1, "10": 1, "07": 3, "2": 7, "x": 1}},
                   "s": {"n": {"min": 1.0, "max": 10.0}}});
    let b = json!({"d": {"n": {"10": 2, "5": 1, "2": 1}},
                   "s": {"n": {"min": 5.0, "max": 10.0}}});
    // Few candidates: numbers sort as text.
    assert_eq!(
        facets(vec![a.clone(), b], &spec()),
        r#""facetDistribution":{"n":{"1":1,"10":3,"5":1,"07":3,"2":8,"x":1}},"facetStats":{"n":{"min":1.0,"max":10.0}}}"#
    );
    // Many: as numbers.
    let many = json!({"total": 4000, "d": {"n": {"5": 1, "10": 2}}, "s": {"n": {"min": 5.0, "max": 10.5}}});
    assert_eq!(
        facets(
            vec![
                json!({"d": {"n": {"7": 1, "a": 1}}, "s": {"n": {"min": 7.0, "max": 7.0}}}),
                many
            ],
            &spec()
        ),
        r#""facetDistribution":{"n":{"5":1,"7":1,"10":2,"a":1}},"facetStats":{"n":{"min":5.0,"max":10.5}}}"#
    );
    // No statistics: all of it is strings.
    let strings = json!({"d": {"n": {"10": 1, "9": 1}}, "s": {}});
    assert_eq!(
        facets(vec![strings], &spec()),
        r#""facetDistribution":{"n":{"10":1,"9":1}},"facetStats":{}}"#
    );
}

#[test]
fn what_is_no_answer_is_refused() {
    let bad = |text: &'static str| {
        merge_search(&[Bytes::from_static(text.as_bytes())], &spec()).unwrap_err()
    };
    for text in [
        "",
        "[]",
        "{}",
        r#"{"hits":[]}"#,
        r#"{"hits":{},"estimatedTotalHits":0}"#,
        r#"{"hits":[1],"estimatedTotalHits":0}"#,
        r#"{"hits":[{}],"estimatedTotalHits":0}"#,
        r#"{"hits":[{"_rankingScoreDetails":1}],"estimatedTotalHits":0}"#,
        r#"{"hits":[],"estimatedTotalHits":-1}"#,
        r#"{"hits":[],"estimatedTotalHits":1} x"#,
    ] {
        assert!(
            matches!(bad(text), MergeError::BadAnswer { node: 0, .. }),
            "{text}"
        );
    }
    let hidden = r#"{"hits":[{"_rankingScoreDetails":{"<hidden-rule-0>":{"order":0,"value":"<hidden>"}}}],"totalHits":1}"#;
    assert_eq!(
        bad(hidden),
        MergeError::HiddenRule {
            node: 0,
            rule: "<hidden-rule-0>".into()
        }
    );
}

/// Up to 1.15 a hybrid list can show a group twice, found by words and by meaning; its total counts both.
#[test]
fn a_mixed_list_has_no_more_hits_than_its_total() {
    let hit = |id: &str, rule: &str, details: Value| json!({"id": id, "k": "same", "_rankingScore": 0.2, "_rankingScoreDetails": {rule: details}});
    let found = |hit: Value| body(json!({"hits": [hit], "query": "q", "estimatedTotalHits": 1}));
    let words = json!({"order": 0, "matchingWords": 1, "maxMatchingWords": 2, "score": 0.2});
    let keyword = [vec![found(hit("a", "words", words))]];
    let keyword = ByWords {
        searches: &keyword,
        levels: None,
    };
    let near = json!({"order": 0, "similarity": 0.2});
    let semantic = [found(hit("b", "vectorSort", near))];
    let mix = Mix {
        finds_all: true,
        turns: true,
        ratio: 0.5,
        primary_key: "id",
        distinct_again: false,
        weight: 1.0,
    };
    let spec = Spec {
        distinct: Some("k"),
        ..spec()
    };
    let merged = merge_hybrid(&keyword, &semantic, &mix, &spec).unwrap();
    let merged: Value = serde_json::from_slice(&merged.to_bytes()).unwrap();
    assert_eq!(merged["hits"].as_array().map(Vec::len), Some(2));
    assert_eq!(merged["estimatedTotalHits"], 2);
}

/// Asked by words and by meaning, a node lists what it found by words where no rank by meaning is.
#[test]
fn hits_by_words_keep_no_hit_by_meaning_back() {
    let sorted = |value: Option<u8>| json!({"order": 9, "value": value});
    let hit = |id: &str, group: &str, rule: &str, details: Value, value| json!({"id": id, "k": group, "_rankingScore": 0.0, "_rankingScoreDetails": {rule: details, "a:asc": sorted(value)}});
    let without = |id, group, value| {
        let none = json!({"order": 0, "similarity": null});
        hit(id, group, "vectorSort", none, value)
    };
    let by_words = |id, group, value| {
        let words = json!({"order": 0, "matchingWords": 1, "maxMatchingWords": 1, "score": 1.0});
        hit(id, group, "words", words, value)
    };
    let found = |hits: &[Value]| body(json!({"hits": hits, "query": "q", "estimatedTotalHits": 9}));
    let keyword = [vec![found(&[])]];
    let words = ByWords {
        searches: &keyword,
        levels: None,
    };
    let semantic = [
        found(&[
            by_words("w", "x", Some(2)),
            without("b", "b", Some(1)),
            without("c", "x", Some(3)),
        ]),
        found(&[without("d", "d", None)]),
        found(&[without("a", "a", Some(0))]),
    ];
    let ids = |distinct: Option<&str>, finds_all: bool| -> String {
        let mix = Mix {
            finds_all,
            turns: false,
            ratio: 0.5,
            primary_key: "id",
            distinct_again: false,
            weight: 1.0,
        };
        let spec = Spec { distinct, ..spec() };
        let merged = merge_hybrid(&words, &semantic, &mix, &spec).unwrap();
        let merged: Value = serde_json::from_slice(&merged.to_bytes()).unwrap();
        let hits = merged["hits"].as_array().unwrap();
        hits.iter().filter_map(|hit| hit["id"].as_str()).collect()
    };
    assert_eq!(ids(None, true), "abcd");
    // By meaning `w` stands for its group, unless a threshold leaves out what has no vector.
    assert_eq!(ids(Some("k"), true), "abd");
    assert_eq!(ids(Some("k"), false), "abcd");
}

/// One node mixes by the score of the rules before the first that sorts. Up to 1.22 `_rankingScore` is that; newer nodes tell the
/// score of all rules there, and this one aside.
#[test]
fn lists_are_mixed_by_the_first_score() {
    let sorted = json!({"order": 1, "value": 1});
    let hit = |id: &str, score: f64, rule: &str, details: Value, first: Value| {
        json!({"id": id, "_rankingScore": score, "_rankingScoreDetails": {rule: details, "a:asc": sorted},
            "_federation": {"weightedScoreValues": [first, {"sort": {"asc": true, "value": 1}}]}})
    };
    let found = |hit: Value| body(json!({"hits": [hit], "query": "q", "estimatedTotalHits": 1}));
    let words = json!({"order": 0, "matchingWords": 1, "maxMatchingWords": 2, "score": 0.5});
    let near = json!({"order": 0, "similarity": 0.45});
    let first = |by_words: bool, federated: bool, weight: f64| {
        let score = json!({"weightedScore": 0.5 * weight});
        let keyword = [vec![found(hit(
            "words",
            0.4,
            "words",
            words.clone(),
            score,
        ))]];
        let similarity = json!({"vectorSort": 0.45 * weight});
        let semantic = [found(hit(
            "meaning",
            0.45,
            "vectorSort",
            near.clone(),
            similarity,
        ))];
        let mix = Mix {
            finds_all: true,
            turns: true,
            ratio: 0.5,
            primary_key: "id",
            distinct_again: true,
            weight,
        };
        let spec = Spec {
            federated,
            ..spec()
        };
        let keyword = ByWords {
            searches: &keyword,
            levels: None,
        };
        let merged = merge_hybrid(&keyword, &semantic, &mix, &spec).unwrap();
        let merged: Value = serde_json::from_slice(&merged.to_bytes()).unwrap();
        let expected = if by_words { "words" } else { "meaning" };
        assert_eq!(merged["hits"][0]["id"], expected);
    };
    first(false, false, 1.0);
    first(true, true, 1.0);
    first(true, true, 0.3);
    first(false, true, 0.0);
}

/// One node takes places less than a metre apart for equally far, and goes on to the next rule.
#[test]
fn rings_of_places_are_those_of_the_whole_list() {
    let hit = |(id, words, metres, name): (u32, u64, Option<f64>, &str)| {
        json!({"id": id, "_rankingScoreDetails": {
            "words": {"order": 0, "matchingWords": words, "maxMatchingWords": 2, "score": 0.5},
            "_geoPoint(1,2):asc": {"order": 1, "value": null, "distance": metres},
            "name:asc": {"order": 2, "value": name},
        }})
    };
    let node = |hits: &[(u32, u64, Option<f64>, &str)]| {
        let hits: Vec<Value> = hits.iter().map(|of| hit(*of)).collect();
        body(json!({"hits": hits, "query": "q", "estimatedTotalHits": hits.len()}))
    };
    let answers = [
        node(&[
            (1, 2, Some(10.0), "d"),
            (2, 2, Some(10.9), "b"),
            (3, 1, Some(10.2), "b"),
            (4, 1, None, "b"),
        ]),
        node(&[
            (5, 2, Some(10.5), "c"),
            (6, 2, Some(11.2), "a"),
            (7, 1, Some(10.4), "a"),
            (8, 1, None, "a"),
        ]),
    ];
    let merged: Value = serde_json::from_str(&merged(&answers, &spec())).unwrap();
    let hits = merged["hits"].as_array().unwrap();
    let ids: Vec<u64> = hits.iter().map(|hit| hit["id"].as_u64().unwrap()).collect();
    // A node's own order is not questioned: 2 is behind 1 on its node.
    assert_eq!(ids, [5, 1, 2, 6, 7, 3, 8, 4]);
}
