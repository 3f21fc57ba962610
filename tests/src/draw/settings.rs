//! Settings: everything that changes how an index searches, sorts and shows.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::Rng;
use serde_json::{json, Map, Value};

use super::{pick, Shape, DIMENSIONS};

pub(super) fn settings(rng: &mut StdRng, shape: &Shape) -> Map<String, Value> {
    let mut s = Map::new();
    let mut filterable = vec![
        "id",
        "kind",
        "tags",
        "price",
        "stock",
        "mixed",
        "grades",
        "flag",
        "nested.a",
        "nested.b",
        "crew.age",
        "crew.role",
        "rare",
    ];
    let mut sortable = vec![
        "price", "stock", "kind", "mixed", "grades", "nested.b", "uniq", "title", "tags", "flag",
        "crew.age", "rare",
    ];
    if shape.geo {
        filterable.push("_geo");
        sortable.push("_geo");
    }
    let patterns = json!([
        {"attributePatterns": ["nest*", "*.age"]},
        {"attributePatterns": ["price", "stock"], "features": {"facetSearch": false, "filter": {"equality": true, "comparison": true}}},
        {"attributePatterns": ["*"], "features": {"facetSearch": true, "filter": {"equality": true, "comparison": true}}},
    ]);
    s.insert(
        "filterableAttributes".into(),
        if rng.gen_bool(0.15) {
            patterns
        } else {
            json!(filterable)
        },
    );
    s.insert("sortableAttributes".into(), json!(sortable));
    if rng.gen_bool(0.6) {
        let mut fields = vec!["title", "overview", "tags", "kind", "nested.a"];
        fields.shuffle(rng);
        fields.truncate(rng.gen_range(1..=5));
        // the words that are searched for stand there
        if !fields.contains(&"title") && !fields.contains(&"overview") {
            fields.push("overview");
        }
        s.insert("searchableAttributes".into(), json!(fields));
    }
    if rng.gen_bool(0.15) {
        let mut shown = vec![
            "id", "title", "uniq", "kind", "price", "stock", "mixed", "grades", "nested.b", "_geo",
        ];
        // fields that sort and group are hidden then
        if rng.gen() {
            shown.truncate(4);
        }
        s.insert("displayedAttributes".into(), json!(shown));
    }
    let distinct = rng.gen_bool(0.1);
    if distinct {
        s.insert(
            "distinctAttribute".into(),
            json!(["kind", "nested.b", "stock", "tags", "crew.role", "mixed"].choose(rng)),
        );
    }
    if shape.vectors {
        let embedder = json!({"source": "userProvided", "dimensions": DIMENSIONS});
        let embedders = shape.embedders().iter();
        let embedders = embedders.map(|name| (name.to_string(), embedder.clone()));
        s.insert("embedders".into(), embedders.collect());
    }
    if rng.gen_bool(0.3) {
        let count = rng.gen_range(1..=3);
        s.insert(
            "stopWords".into(),
            json!(shape.words.choose_multiple(rng, count).collect::<Vec<_>>()),
        );
    }
    if rng.gen_bool(0.3) {
        s.insert("synonyms".into(), synonyms(rng, &shape.words));
    }
    if rng.gen_bool(0.3) {
        s.insert("typoTolerance".into(), typo_tolerance(rng, &shape.words));
    }
    if rng.gen_bool(0.4) {
        let order = ["alpha", "count"].choose(rng);
        s.insert("faceting".into(), json!({"maxValuesPerFacet": rng.gen_range(1..8), "sortFacetValuesBy": {"*": order, "tags": "count"}}));
    }
    if rng.gen_bool(0.05) {
        s.insert("dictionary".into(), json!(["winter - sun", "salt"]));
        s.insert("separatorTokens".into(), json!(["oo"]));
    }
    if rng.gen_bool(0.05) {
        s.insert("nonSeparatorTokens".into(), json!(["-"]));
    }
    if rng.gen_bool(0.03) {
        s.insert("facetSearch".into(), json!(false));
    }
    let cut = rng.gen_bool(0.1);
    if cut {
        s.insert(
            "pagination".into(),
            json!({"maxTotalHits": rng.gen_range(5..40)}),
        );
    }
    if let Some(rules) = ranking_rules(rng, shape, distinct || cut) {
        s.insert("rankingRules".into(), json!(rules));
    }
    if rng.gen_bool(0.15) {
        s.insert("proximityPrecision".into(), json!("byAttribute"));
    }
    if rng.gen_bool(0.1) {
        s.insert("prefixSearch".into(), json!("disabled"));
    }
    s
}

/// Whether ties would show in more than the order of hits: which document stands for its group, and which are past `maxTotalHits`.
pub fn needs_no_ties(settings: &Map<String, Value>) -> bool {
    settings.contains_key("distinctAttribute") || settings.contains_key("pagination")
}

/// The last ranking rule of an index without ties.
pub const NO_TIES: &str = "uniq:asc";

fn ranking_rules(rng: &mut StdRng, shape: &Shape, no_ties: bool) -> Option<Vec<String>> {
    let mut rules: Vec<String> = [
        "words",
        "typo",
        "proximity",
        "attribute",
        "sort",
        "exactness",
    ]
    .map(String::from)
    .to_vec();
    // where a node does not know every word, `exactness` may differ: that is drawn, but not too often
    if !shape.even && rng.gen_bool(0.7) {
        rules.retain(|rule| rule != "exactness");
    }
    let kind = rng.gen_range(0..10);
    match kind {
        0..=3 if !no_ties && shape.even => return None,
        0..=3 => {}
        4 => rules.shuffle(rng),
        5 => rules.truncate(rng.gen_range(1..rules.len())),
        _ => {
            for field in ["price", "stock", "kind", "mixed"].choose_multiple(rng, 2) {
                let at = rng.gen_range(0..=rules.len());
                rules.insert(
                    at,
                    format!("{field}:{}", ["asc", "desc"][rng.gen_range(0..2)]),
                );
            }
        }
    }
    if no_ties {
        rules.push(NO_TIES.into());
    }
    Some(rules)
}

/// A few or many; one in six of several words.
fn synonyms(rng: &mut StdRng, words: &[&str]) -> Value {
    let mut all = Map::new();
    let some = |rng: &mut StdRng| {
        let count = if rng.gen_bool(0.16) { 2 } else { 1 };
        (0..count)
            .map(|_| words.choose(rng).copied().unwrap_or_default())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let most = if rng.gen_bool(0.3) { 30 } else { 4 };
    for _ in 0..rng.gen_range(1..most) {
        let others: Vec<String> = (0..rng.gen_range(1..4)).map(|_| some(rng)).collect();
        all.insert(some(rng), json!(others));
    }
    Value::Object(all)
}

fn typo_tolerance(rng: &mut StdRng, words: &[&str]) -> Value {
    match rng.gen_range(0..4) {
        0 => json!({"enabled": false}),
        1 => {
            json!({"minWordSizeForTypos": {"oneTypo": rng.gen_range(2..6), "twoTypos": rng.gen_range(6..10)}})
        }
        2 => json!({"disableOnWords": words.choose_multiple(rng, 3).collect::<Vec<_>>()}),
        _ => json!({"disableOnAttributes": [pick(rng, &["title", "overview", "tags"])]}),
    }
}
