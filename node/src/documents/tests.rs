//! Lists of documents of a small index.

use milli_core::FilterableAttributesRule;
use serde_json::json;

use super::*;
use crate::search::tests::Corpus;

fn corpus() -> Corpus {
    Corpus::new(
        |settings| {
            settings.set_sortable_fields(["size", "name.last", "_geo"].map(str::to_owned).into());
            settings
                .set_filterable_fields(vec![FilterableAttributesRule::Field("size".to_owned())]);
        },
        json!([
            {"id": 1, "size": 10, "name": {"last": "Élan"}, "_geo": {"lat": 0, "lng": 1}},
            {"id": 2, "size": [3, 20], "name": {"last": "Zebra"}, "_geo": {"lat": 0, "lng": 3}},
            {"id": 3, "size": "tiny", "name": {"last": ["ape", "zebu"]}},
            {"id": 4, "size": null, "name": {"last": "elan"}, "_geo": {"lat": 0, "lng": 2}},
            {"id": 5},
            {"id": 6, "size": ["BIG", "tiny"], "name": {"last": "ape"}},
            {"id": 7, "size": []},
            {"id": 8, "size": [4, "huge"]},
        ]),
    )
}

fn all() -> Browse {
    Browse {
        offset: 0,
        limit: 20,
        fields: Some(vec!["id".to_owned()]),
        vectors: false,
        ids: None,
        filter: None,
        sort: None,
        proxied: false,
    }
}

fn sorted_by(rules: &[&str]) -> Browse {
    Browse {
        sort: Some(rules.iter().map(|&rule| rule.to_owned()).collect()),
        ..all()
    }
}

fn list(corpus: &Corpus, asked: &Browse) -> Result<(usize, Vec<Object>), Error> {
    let ids = asked.checked_ids()?;
    browse(&corpus.index, asked, ids.as_deref(), Flags::default())
}

fn ids(corpus: &Corpus, asked: &Browse) -> Vec<u64> {
    let (_, documents) = list(corpus, asked).unwrap();
    documents
        .iter()
        .map(|document| document["id"].as_u64().unwrap())
        .collect()
}

#[test]
fn values_decide_and_what_has_none_is_last() {
    let corpus = corpus();
    assert_eq!(
        ids(&corpus, &sorted_by(&["size:asc"])),
        [2, 8, 1, 6, 3, 4, 5, 7]
    );
    assert_eq!(
        ids(&corpus, &sorted_by(&["size:desc"])),
        [2, 1, 8, 3, 6, 4, 5, 7]
    );
    // Of equal documents the next rule decides, then the internal id.
    assert_eq!(
        ids(&corpus, &sorted_by(&["name.last:asc", "size:asc"])),
        [6, 3, 4, 1, 2, 8, 5, 7]
    );
    assert_eq!(
        ids(&corpus, &sorted_by(&["_geoPoint(0,0):desc"])),
        [2, 4, 1, 3, 5, 6, 7, 8]
    );
    assert_eq!(
        ids(&corpus, &sorted_by(&["_geoPoint(0,0):asc", "size:desc"])),
        [1, 4, 2, 8, 3, 6, 5, 7]
    );
    assert_eq!(ids(&corpus, &sorted_by(&[])), [1, 2, 3, 4, 5, 6, 7, 8]);
    let page = Browse {
        offset: 1,
        limit: 2,
        ..sorted_by(&["size:asc"])
    };
    assert_eq!(list(&corpus, &page).unwrap().0, 8);
    assert_eq!(ids(&corpus, &page), [8, 1]);
}

#[test]
fn ids_and_filters_choose_before_sorting() {
    let corpus = corpus();
    let chosen = Browse {
        ids: Some(vec![json!(1), json!("2"), json!(99), json!(3)]),
        // Texts are compared with the text of the number.
        filter: Some(json!("size > 2 AND size < 30")),
        ..sorted_by(&["size:desc"])
    };
    assert_eq!(ids(&corpus, &chosen), [2, 1]);
    assert_eq!(
        ids(
            &corpus,
            &Browse {
                sort: None,
                ..chosen
            }
        ),
        [1, 2]
    );
}

#[test]
fn a_proxy_sees_the_values() {
    let corpus = corpus();
    let asked = Browse {
        proxied: true,
        limit: 3,
        ..sorted_by(&["size:desc", "name.last:asc", "_geoPoint(0,1):asc"])
    };
    let (_, documents) = list(&corpus, &asked).unwrap();
    let values = |at: usize| documents[at]["_federation"]["weightedScoreValues"].clone();
    assert_eq!(
        values(1),
        json!([{"sort": {"asc": false, "value": 10}}, {"sort": {"asc": true, "value": milli::normalize_facet("Élan")}},
               {"geoSort": {"asc": true, "distance": 0.0}}])
    );
    assert_eq!(
        values(2),
        json!([{"sort": {"asc": false, "value": 4}}, {"sort": {"asc": true, "value": null}},
               {"geoSort": {"asc": true, "distance": null}}])
    );
    assert_eq!(documents[0].len(), 2);
    let unsorted = Browse {
        sort: None,
        ..asked
    };
    let (_, documents) = list(&corpus, &unsorted).unwrap();
    assert_eq!(
        documents[0]["_federation"],
        json!({"weightedScoreValues": []})
    );
}

#[test]
fn what_cannot_be_sorted_is_refused() {
    let corpus = corpus();
    let refused = |rule: &str| {
        let error = list(&corpus, &sorted_by(&[rule])).unwrap_err();
        assert_eq!(
            (error.status, error.code.as_ref()),
            (400, "invalid_document_sort")
        );
        error.message
    };
    assert_eq!(
        refused("title:asc"),
        "Attribute `title` is not sortable. Available sortable attributes are: `_geo, name.last, size`."
    );
    assert_eq!(
        refused("size"),
        "Invalid syntax for the sort parameter: expected expression ending by `:asc` or `:desc`, found `size`."
    );
    let bare = Corpus::new(|_| (), json!([{"id": 1}]));
    assert_eq!(
        list(&bare, &sorted_by(&["id:asc"])).unwrap_err().message,
        "Attribute `id` is not sortable. This index does not have configured sortable attributes."
    );
}
