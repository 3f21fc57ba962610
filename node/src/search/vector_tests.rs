//! Searches by meaning, with vectors that the documents bring along.

use milli_core::update::Setting;
use milli_core::vector::settings::{EmbedderSource, EmbeddingSettings};
use milli_core::FilterableAttributesRule;
use serde_json::{json, Value};

use super::tests::Corpus;
use super::*;

/// Points of a plane: what lies in the same direction is alike.
fn plane() -> Corpus {
    Corpus::new(
        |settings| {
            let embedder = EmbeddingSettings {
                source: Setting::Set(EmbedderSource::UserProvided),
                dimensions: Setting::Set(2),
                ..EmbeddingSettings::default()
            };
            settings.set_embedder_settings([("mine".to_owned(), Setting::Set(embedder))].into());
            settings
                .set_filterable_fields(vec![FilterableAttributesRule::Field("kind".to_owned())]);
        },
        json!([
            {"id": 1, "name": "east", "kind": "a", "_vectors": {"mine": [1.0, 0.0]}},
            {"id": 2, "name": "north", "kind": "a", "_vectors": {"mine": {"embeddings": [0.0, 1.0], "regenerate": false}}},
            {"id": 3, "name": "north east", "kind": "b", "_vectors": {"mine": [[0.7, 0.7], [0.6, 0.8]]}},
            {"id": 4, "name": "nowhere", "kind": "b", "_vectors": {"mine": null}},
            {"id": 5, "name": "west", "kind": "b", "_vectors": {"mine": [-1.0, 0.0], "other": [1.0, 2.0, 3.0]}},
        ]),
    )
}

fn ids(answer: &Value) -> Vec<u64> {
    let hits = answer["hits"].as_array().unwrap();
    hits.iter().map(|hit| hit["id"].as_u64().unwrap()).collect()
}

fn hybrid(ratio: f64) -> Value {
    json!({"embedder": "mine", "semanticRatio": ratio})
}

#[test]
fn near_vectors_come_first() {
    let plane = plane();
    let body = json!({"vector": [1.0, 0.1], "hybrid": hybrid(1.0), "showRankingScoreDetails": true, "showRankingScore": true});
    let answer = plane.search(body);
    // What has no vector is found too, after everything else.
    assert_eq!(ids(&answer), [1, 3, 2, 5, 4]);
    assert_eq!(answer["semanticHitCount"], json!(5));
    assert_eq!(answer["estimatedTotalHits"], json!(5));
    let nowhere = &answer["hits"][4];
    assert_eq!(
        nowhere["_rankingScoreDetails"]["vectorSort"]["similarity"],
        Value::Null
    );
    assert_eq!(nowhere["_rankingScore"], json!(0.0));
    let hit = &answer["hits"][0];
    assert_eq!(hit["_rankingScoreDetails"]["vectorSort"]["order"], json!(0));
    assert_eq!(
        hit["_rankingScoreDetails"]["vectorSort"]["similarity"],
        hit["_rankingScore"]
    );
    assert!(hit["_rankingScore"].as_f64().unwrap() > 0.99);
    // Without words a vector alone decides, whatever the ratio.
    for ratio in [0.1, 0.5, 0.9] {
        let body = json!({"vector": [0.0, 1.0], "hybrid": hybrid(ratio), "limit": 2, "filter": "kind = a"});
        assert_eq!(ids(&plane.search(body)), [2, 1]);
    }
}

#[test]
fn words_and_vectors_are_weighed() {
    let plane = plane();
    let ask = |ratio: f64, q: &str| {
        let body = json!({"q": q, "vector": [-1.0, 0.0], "hybrid": hybrid(ratio)});
        let answer = plane.search(body);
        (ids(&answer), answer["semanticHitCount"].clone())
    };
    assert_eq!(ask(0.0, "north"), (vec![2, 3], Value::Null));
    assert_eq!(ask(1.0, "north"), (vec![5, 2, 3, 1, 4], json!(5)));
    // Words first where they weigh more, then what only the vector found.
    assert_eq!(ask(0.2, "north"), (vec![2, 3, 5, 1, 4], json!(3)));
    assert_eq!(ask(0.9, "north").0[0], 5);
    // Both words found and enough of them: the vector is not looked at.
    let body = json!({"q": "north", "limit": 1, "vector": [-1.0, 0.0], "hybrid": hybrid(0.5)});
    let answer = plane.search(body);
    assert_eq!(
        (ids(&answer), &answer["semanticHitCount"]),
        (vec![2], &json!(0))
    );
}

#[test]
fn vectors_are_shown_on_demand() {
    let plane = plane();
    let shown = |id: u64| {
        let body = json!({"retrieveVectors": true, "limit": 9});
        let answer = plane.search(body);
        let hits = answer["hits"].as_array().unwrap();
        hits.iter().find(|hit| hit["id"] == json!(id)).unwrap()["_vectors"].clone()
    };
    assert_eq!(
        shown(1),
        json!({"mine": {"embeddings": [[1.0, 0.0]], "regenerate": false}})
    );
    assert_eq!(shown(3)["mine"]["embeddings"].as_array().unwrap().len(), 2);
    assert_eq!(
        shown(4)["mine"],
        json!({"embeddings": [], "regenerate": false})
    );
    assert_eq!(
        shown(5),
        json!({"other": [1.0, 2.0, 3.0], "mine": {"embeddings": [[-1.0, 0.0]], "regenerate": false}})
    );
    assert!(plane.search(json!({"q": "west"}))["hits"][0]
        .get("_vectors")
        .is_none());
}

#[test]
fn wrong_vectors_are_refused() {
    let plane = plane();
    assert_eq!(
        plane.refused(json!({"vector": [1.0], "hybrid": hybrid(0.5)})),
        (
            "invalid_vector_dimensions".to_owned(),
            "Invalid vector dimensions: expected: `2`, found: `1`.".to_owned()
        )
    );
    let (code, _) = plane.refused(json!({"q": "north", "hybrid": hybrid(1.0)}));
    assert_eq!(code, "vector_embedding_error");
}

fn alike(plane: &Corpus, body: Value) -> Result<Value, Error> {
    let query = parse_similar_post(body.to_string().as_bytes())?;
    let result = similar(&plane.index, query, Flags::default())?;
    let mut answer = serde_json::to_value(result).unwrap();
    assert!(answer["processingTimeMs"].take().is_u64());
    Ok(answer)
}

#[test]
fn similar_documents_are_those_nearby() {
    let plane = plane();
    let body = json!({"id": 1, "embedder": "mine", "attributesToRetrieve": ["id"], "limit": 2});
    assert_eq!(
        alike(&plane, body).unwrap(),
        json!({"hits": [{"id": 3}, {"id": 2}], "id": "1", "processingTimeMs": null, "limit": 2, "offset": 0, "estimatedTotalHits": 4})
    );
    let ask = |more: Value| {
        let mut body = json!({"id": "1", "embedder": "mine"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        alike(&plane, body).unwrap()
    };
    assert_eq!(ids(&ask(json!({"offset": 1}))), [2, 5]);
    assert_eq!(ids(&ask(json!({"limit": usize::MAX}))), [3, 2, 5]);
    assert_eq!(ids(&ask(json!({"filter": "kind = b"}))), [3, 5]);
    assert_eq!(ids(&ask(json!({"rankingScoreThreshold": 0.6}))), [3]);
    let shown = ask(
        json!({"retrieveVectors": true, "showRankingScore": true, "showRankingScoreDetails": true}),
    );
    let hit = &shown["hits"][0];
    assert!(hit["_vectors"]["mine"].is_object());
    assert_eq!(
        hit["_rankingScoreDetails"]["vectorSort"]["similarity"],
        hit["_rankingScore"]
    );
    let asked = parse_similar_get("id=1&embedder=mine&attributesToRetrieve=id,name&rankingScoreThreshold=0.6&filter=kind%20=%20b");
    let answer = similar(&plane.index, asked.unwrap(), Flags::default()).unwrap();
    assert_eq!(
        serde_json::to_value(answer.hits).unwrap(),
        json!([{"id": 3, "name": "north east"}])
    );
}

#[test]
fn similar_refuses_in_its_own_words() {
    let plane = plane();
    let refused = |body: Value| {
        let error = alike(&plane, body).unwrap_err();
        assert_eq!(error.status, 400);
        (error.code.into_owned(), error.message)
    };
    assert_eq!(
        refused(json!({"id": 1, "embedder": "x"})),
        (
            "invalid_similar_embedder".to_owned(),
            "Cannot find embedder with name `x`.".to_owned()
        )
    );
    assert_eq!(
        refused(json!({"id": 99, "embedder": "mine"})),
        (
            "not_found_similar_id".to_owned(),
            "Document `99` not found.".to_owned()
        )
    );
    let (code, message) = refused(json!({"id": [1], "embedder": "mine"}));
    assert_eq!(code, "invalid_similar_id");
    assert!(message.starts_with("Invalid value at `.id`: "), "{message}");
    assert_eq!(refused(json!({"embedder": "mine"})).1, "Missing field `id`");
    assert_eq!(refused(json!({"id": 1})).1, "Missing field `embedder`");
    let (code, message) = refused(json!({"id": 1, "embedder": "mine", "filter": "name = x"}));
    assert_eq!(code, "invalid_similar_filter");
    assert!(
        message.starts_with("Attribute `name` is not filterable."),
        "{message}"
    );
    assert_eq!(
        refused(json!({"id": 1, "embedder": "mine", "limit": -1})).0,
        "invalid_similar_limit"
    );
    let error = parse_similar_get("id=1&embedder=mine&rankingScoreThreshold=2").unwrap_err();
    assert_eq!(error.code, "invalid_similar_ranking_score_threshold");
}
