//! What is asked beside plain searches: many at once, facet values, documents, neighbours.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::Rng;
use serde_json::{json, Map, Value};

use super::search::{can_sort, filter, paging, search, sort};
use super::{pick, vector, Shape, DIMENSIONS, KINDS, TAGS};
use crate::ask::{Ask, Route};

pub(super) fn multi_search(rng: &mut StdRng, shape: &Shape, settings: &Map<String, Value>) -> Ask {
    let count = rng.gen_range(1..4);
    let queries: Vec<Value> = (0..count)
        .map(|_| {
            let drawn = search(rng, shape, settings);
            with_index(rng, shape, drawn)
        })
        .collect();
    Ask::new(Route::MultiSearch, json!({ "queries": queries }))
}

fn with_index(rng: &mut StdRng, shape: &Shape, mut search: Value) -> Value {
    search["indexUid"] = json!(if shape.two && rng.gen() {
        "{index2}"
    } else {
        "{index}"
    });
    search
}

/// Searches whose hits make one list. What one query may not say there stands in `federation`.
pub(super) fn federated(rng: &mut StdRng, shape: &Shape, settings: &Map<String, Value>) -> Ask {
    let mut queries = Vec::new();
    let sorted = (rng.gen_bool(0.3) && can_sort(settings)).then(|| sort(rng, shape));
    for _ in 0..rng.gen_range(1..4) {
        let drawn = search(rng, shape, settings);
        let mut query = with_index(rng, shape, drawn);
        if let Some(members) = query.as_object_mut() {
            let federation_only = ["limit", "offset", "page", "hitsPerPage", "facets", "sort"];
            members.retain(|name, _| !federation_only.contains(&name.as_str()));
            // queries of one index must sort alike
            if let Some(sort) = &sorted {
                members.insert("sort".into(), sort.clone());
            }
            if rng.gen_bool(0.4) {
                let weight = [0.1, 0.5, 1.0, 1.5, 3.0].choose(rng);
                members.insert("federationOptions".into(), json!({ "weight": weight }));
            }
        }
        queries.push(query);
    }
    let mut federation = Map::new();
    paging(rng, &mut federation, shape);
    if rng.gen_bool(0.3) {
        let mut by_index = Map::new();
        let names = ["kind", "tags", "price", "stock", "grades", "nested.a"];
        for index in ["{index}", "{index2}"]
            .into_iter()
            .take(1 + usize::from(shape.two))
        {
            let count = rng.gen_range(1..4);
            let chosen: Vec<_> = names.choose_multiple(rng, count).collect();
            by_index.insert(index.into(), json!(chosen));
        }
        federation.insert("facetsByIndex".into(), by_index.into());
        if rng.gen() {
            let most = rng.gen_range(1..10);
            let merge = [json!({}), json!({ "maxValuesPerFacet": most })];
            federation.insert("mergeFacets".into(), json!(merge.choose(rng)));
        }
    }
    let alone = queries.iter().all(|query| query["distinct"].is_null());
    if alone && !settings.contains_key("distinctAttribute") && rng.gen_bool(0.1) {
        let field = ["kind", "nested.a", "stock"].choose(rng);
        federation.insert("distinct".into(), json!(field));
    }
    Ask::new(
        Route::MultiSearch,
        json!({"federation": federation, "queries": queries}),
    )
}

pub(super) fn facet_search(rng: &mut StdRng, shape: &Shape, settings: &Map<String, Value>) -> Ask {
    let names = [
        "kind",
        "tags",
        "mixed",
        "nested.a",
        "crew.role",
        "price",
        "title",
    ];
    let mut body = Map::new();
    body.insert("facetName".into(), json!(names.choose(rng)));
    if rng.gen_bool(0.7) {
        let value = [KINDS, TAGS]
            .choose(rng)
            .and_then(|values| values.choose(rng));
        let value = value.copied().unwrap_or_default();
        let count = rng.gen_range(0..=value.len());
        let mut text = value[..count].to_string();
        if rng.gen_bool(0.2) {
            text = text.to_uppercase();
        }
        if rng.gen_bool(0.2) {
            text.push(*['a', 'e', 'r'].choose(rng).unwrap_or(&'a'));
        }
        body.insert("facetQuery".into(), json!(text));
    }
    let drawn = search(rng, shape, settings);
    for name in [
        "q",
        "filter",
        "matchingStrategy",
        "attributesToSearchOn",
        "rankingScoreThreshold",
    ] {
        if let Some(value) = drawn.get(name).filter(|_| rng.gen_bool(0.5)) {
            body.insert(name.into(), value.clone());
        }
    }
    if rng.gen_bool(0.2) {
        body.insert("exhaustiveFacetCount".into(), json!(true));
    }
    Ask::new(Route::FacetSearch, body.into())
}

pub(super) fn documents(rng: &mut StdRng, shape: &Shape) -> Ask {
    let mut body = Map::new();
    if rng.gen_bool(0.5) {
        body.insert("filter".into(), json!(filter(rng, shape, 2)));
    }
    if rng.gen_bool(0.3) {
        let names = ["id", "title", "nested", "kind", "tags", "nothing"];
        let count = rng.gen_range(0..4);
        let chosen: Vec<_> = names.choose_multiple(rng, count).collect();
        body.insert("fields".into(), json!(chosen));
    }
    if rng.gen_bool(0.3) {
        let ids: Vec<Value> = (0..rng.gen_range(0..8))
            .map(|_| shape.id(rng.gen_range(0..shape.count + 5)))
            .collect();
        body.insert("ids".into(), json!(ids));
    }
    if rng.gen_bool(0.7) {
        body.insert("limit".into(), json!(rng.gen_range(0..40)));
    }
    if rng.gen_bool(0.5) {
        body.insert("offset".into(), json!(rng.gen_range(0..shape.count)));
    }
    if rng.gen_bool(0.3) {
        body.insert("sort".into(), sort(rng, shape));
    }
    if shape.vectors && rng.gen_bool(0.3) {
        body.insert("retrieveVectors".into(), json!(true));
    }
    Ask::new(Route::Documents, body.into())
}

pub(super) fn similar(rng: &mut StdRng, shape: &Shape) -> Ask {
    let mut body = Map::new();
    body.insert("id".into(), shape.id(rng.gen_range(0..shape.count)));
    body.insert("embedder".into(), json!(shape.embedders().choose(rng)));
    if rng.gen_bool(0.4) {
        body.insert("filter".into(), json!(filter(rng, shape, 1)));
    }
    if rng.gen_bool(0.6) {
        body.insert("limit".into(), json!(rng.gen_range(0..30)));
    }
    if rng.gen_bool(0.4) {
        body.insert("offset".into(), json!(rng.gen_range(0..30)));
    }
    for name in [
        "showRankingScore",
        "showRankingScoreDetails",
        "retrieveVectors",
    ] {
        if rng.gen_bool(0.2) {
            body.insert(name.into(), json!(true));
        }
    }
    if rng.gen_bool(0.15) {
        let threshold = f64::from(rng.gen_range(10..95)) / 100.0;
        body.insert("rankingScoreThreshold".into(), json!(threshold));
    }
    if rng.gen_bool(0.2) {
        let name = pick(rng, &["id", "title", "kind"]);
        body.insert("attributesToRetrieve".into(), json!([name]));
    }
    Ask::new(Route::Similar, body.into())
}

/// By meaning, or by both.
pub(super) fn hybrid(rng: &mut StdRng, shape: &Shape, s: &mut Map<String, Value>) {
    let ratios = [0.0, 0.1, 0.3, 0.5, 0.5, 0.7, 0.9, 1.0, 1.0];
    let mut hybrid = json!({ "embedder": shape.embedders().choose(rng) });
    if rng.gen_bool(0.9) {
        hybrid["semanticRatio"] = json!(ratios.choose(rng));
    }
    s.insert("hybrid".into(), hybrid);
    if rng.gen_bool(0.95) {
        let vector = vector(rng);
        debug_assert_eq!(vector.len(), DIMENSIONS);
        s.insert("vector".into(), json!(vector));
    }
    if rng.gen_bool(0.3) {
        s.insert("retrieveVectors".into(), json!(true));
    }
}
