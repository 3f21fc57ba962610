//! Federated searches over two small indexes.

use milli_core::update::Settings;
use milli_core::{FilterableAttributesRule, OrderBy};
use serde_json::{json, Value};
use uuid::Uuid;

use super::super::multi::{parse_multi_search, MultiSearch};
use super::super::tests::{films, Corpus};
use super::*;
use crate::queue::Queue;

/// Films, and books of which two tell of the same things.
struct Shelf {
    indexes: Indexes,
    flags: Flags,
    _folders: (Corpus, Corpus, tempfile::TempDir),
}

fn shelf() -> Shelf {
    shelf_with(|_| ())
}

fn shelf_with(configure: impl FnOnce(&mut Settings<'_, '_, '_>)) -> Shelf {
    let films = films();
    let books = Corpus::new(
        |settings| {
            let rules =
                ["genre", "year"].map(|name| FilterableAttributesRule::Field(name.to_owned()));
            settings.set_filterable_fields(rules.to_vec());
            settings.set_sortable_fields(["year".to_owned()].into());
            configure(settings);
        },
        json!([
            {"id": 1, "title": "An alien", "year": 1990, "genre": ["Space"]},
            {"id": 2, "title": "Up and away", "year": 1999, "genre": ["Balloons", "travel"]},
            {"id": 3, "title": "Alien", "year": 1979, "genre": ["horror"]},
        ]),
    );
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(&folder.path().join("tasks.db")).unwrap();
    let indexes = Indexes::open(folder.path().join("indexes"), &queue).unwrap();
    indexes.insert("films", Uuid::nil(), films.index.clone());
    indexes.insert("books", Uuid::nil(), books.index.clone());
    Shelf {
        indexes,
        flags: Flags::default(),
        _folders: (films, books, folder),
    }
}

impl Shelf {
    fn ask(&self, body: Value, proxied: bool) -> Result<Value, Error> {
        let MultiSearch::Federated(federation, queries) =
            parse_multi_search(body.to_string().as_bytes())?
        else {
            panic!("not federated")
        };
        let result = federated_search(&self.indexes, federation, queries, self.flags, proxied)?;
        let mut answer = serde_json::to_value(result).unwrap();
        assert!(answer["processingTimeMs"].take().is_u64());
        Ok(answer)
    }

    fn search(&self, body: Value) -> Value {
        self.ask(body, false).unwrap()
    }

    fn refused(&self, body: Value) -> (String, String) {
        let error = self.ask(body, false).unwrap_err();
        assert_eq!(error.status, 400);
        (error.code.into_owned(), error.message)
    }
}

/// Index, id and position of each hit.
fn places(answer: &Value) -> Vec<(&str, u64, u64)> {
    let hits = answer["hits"].as_array().unwrap();
    hits.iter()
        .map(|hit| {
            let about = &hit["_federation"];
            (
                about["indexUid"].as_str().unwrap(),
                hit["id"].as_u64().unwrap(),
                about["queriesPosition"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_hits_of_all_queries_are_one_list() {
    let shelf = shelf();
    let queries = json!([{"indexUid": "films", "q": "alien", "attributesToRetrieve": ["id"]},
                         {"indexUid": "books", "q": "alien"}, {"indexUid": "films", "q": "heat"}]);
    let answer = shelf.search(json!({"federation": {}, "queries": queries}));
    let fields: Vec<&str> = answer
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        fields,
        [
            "hits",
            "processingTimeMs",
            "limit",
            "offset",
            "estimatedTotalHits"
        ]
    );
    // Film 3 is found twice and stands where its best query puts it.
    assert_eq!(
        places(&answer),
        [
            ("films", 1, 0),
            ("books", 3, 1),
            ("films", 3, 2),
            ("films", 2, 0),
            ("books", 1, 1)
        ]
    );
    assert_eq!(answer["hits"][0]["id"], json!(1));
    assert_eq!(
        answer["hits"][0]["_federation"],
        json!({"indexUid": "films", "queriesPosition": 0, "weightedRankingScore": answer["hits"][0]["_federation"]["weightedRankingScore"]})
    );
    assert_eq!(
        (
            &answer["limit"],
            &answer["offset"],
            &answer["estimatedTotalHits"]
        ),
        (&json!(20), &json!(0), &json!(5))
    );
    let page = shelf.search(json!({"federation": {"offset": 1, "limit": 2}, "queries": queries}));
    assert_eq!(places(&page), places(&answer)[1..3]);
    let page =
        shelf.search(json!({"federation": {"page": 2, "hitsPerPage": 2}, "queries": queries}));
    assert_eq!(places(&page), places(&answer)[2..4]);
    assert_eq!(
        (
            &page["page"],
            &page["hitsPerPage"],
            &page["totalPages"],
            &page["totalHits"]
        ),
        (&json!(2), &json!(2), &json!(3), &json!(5))
    );
    assert_eq!(
        shelf.search(json!({"federation": {}, "queries": []}))["hits"],
        json!([])
    );
    let far = usize::MAX;
    let all = shelf.search(json!({"federation": {"limit": far}, "queries": queries}));
    assert_eq!(places(&all), places(&answer));
    let none =
        shelf.search(json!({"federation": {"offset": far, "limit": far}, "queries": queries}));
    assert_eq!(none["hits"], json!([]));
}

#[test]
fn weights_move_hits() {
    let shelf = shelf();
    let answer = shelf.search(json!({"federation": {}, "queries": [
        {"indexUid": "films", "q": "up", "federationOptions": {"weight": 0.5}, "showRankingScore": true},
        {"indexUid": "books", "q": "up"}]}));
    assert_eq!(places(&answer), [("books", 2, 1), ("films", 4, 0)]);
    let film = &answer["hits"][1];
    assert_eq!(
        film["_federation"]["weightedRankingScore"]
            .as_f64()
            .unwrap(),
        film["_rankingScore"].as_f64().unwrap() * 0.5
    );
}

#[test]
fn a_proxy_sees_what_hits_were_ranked_by() {
    let mut shelf = shelf();
    let body = json!({"federation": {"distinct": "genre"}, "queries": [
        {"indexUid": "books", "q": "alien", "sort": ["year:desc"], "attributesToRetrieve": ["id"],
         "federationOptions": {"queryPosition": 5}}]});
    let error = shelf.ask(body.clone(), true).unwrap_err();
    assert_eq!(
        (error.code.as_ref(), error.message.as_str()),
        (
            "feature_not_enabled",
            "Performing a remote federated search requires enabling the `network` experimental feature. See \
             https://github.com/orgs/meilisearch/discussions/805"
        )
    );
    let (code, message) = shelf.refused(body.clone());
    assert_eq!(code, "feature_not_enabled");
    assert!(message.starts_with("Using `federationOptions.queryPosition` requires"));

    shelf.flags.network = true;
    let answer = shelf.ask(body.clone(), true).unwrap();
    let about = &answer["hits"][1]["_federation"];
    assert_eq!(about["extra_document"], json!({"genre": ["Space"]}));
    assert_eq!(about["queriesPosition"], json!(5));
    let values = about["weightedScoreValues"].as_array().unwrap();
    assert!(values[0]["weightedScore"].is_f64() && values[2]["weightedScore"].is_f64());
    assert_eq!(values[1], json!({"sort": {"asc": false, "value": 1990.0}}));
    assert_eq!(
        shelf.search(body)["hits"][0]["_federation"]
            .as_object()
            .unwrap()
            .len(),
        3
    );
}

#[test]
fn one_document_for_each_value() {
    let shelf = shelf();
    let queries = json!([{"indexUid": "films", "sort": ["year:asc"]}, {"indexUid": "books", "sort": ["year:asc"]}]);
    let answer = shelf.search(json!({"federation": {"distinct": "genre", "facetsByIndex": {"films": ["year"], "books": ["genre"]}}, "queries": queries}));
    // "Space" of book 1 is the "space" of film 1; Up has no genre and is never a duplicate.
    assert_eq!(
        places(&answer),
        [
            ("films", 1, 0),
            ("films", 3, 0),
            ("books", 2, 1),
            ("films", 4, 0)
        ]
    );
    assert_eq!(answer["estimatedTotalHits"], json!(4));
    assert_eq!(
        answer["facetsByIndex"]["books"]["distribution"],
        json!({"genre": {"Balloons": 1, "travel": 1}})
    );
    let (code, message) = shelf.refused(json!({"federation": {"distinct": "genre"}, "queries": [{"indexUid": "films", "distinct": "genre"}]}));
    assert_eq!(code, "invalid_multi_search_distinct");
    assert!(message.starts_with("Inside `.queries[0]`: Using `distinct` options"));
}

#[test]
fn facets_are_apart_or_merged() {
    let shelf = shelf();
    let queries = json!([{"indexUid": "films"}, {"indexUid": "books"}]);
    let by_index = json!({"films": ["genre"], "books": ["genre", "year"]});
    let answer =
        shelf.search(json!({"federation": {"facetsByIndex": by_index}, "queries": queries}));
    assert!(answer.get("facetDistribution").is_none());
    assert_eq!(
        answer["facetsByIndex"]["films"],
        json!({"distribution": {"genre": {"action": 2, "horror": 1, "space": 2}}, "stats": {}})
    );
    assert_eq!(
        answer["facetsByIndex"]["books"]["stats"],
        json!({"year": {"min": 1979.0, "max": 1999.0}})
    );
    let answer = shelf.search(json!({"federation": {"facetsByIndex": by_index, "mergeFacets": {"maxValuesPerFacet": 4}}, "queries": queries}));
    assert!(answer.get("facetsByIndex").is_none());
    assert_eq!(
        answer["facetDistribution"]["genre"].to_string(),
        r#"{"Balloons":1,"Space":1,"action":2,"horror":2}"#
    );
    assert_eq!(
        answer["facetStats"]["year"],
        json!({"min": 1979.0, "max": 1999.0})
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let shelf = shelf_with(|settings| {
        let orders = [("*".to_owned(), OrderBy::Count)];
        settings.set_sort_facet_values_by(orders.into_iter().collect());
    });
    let one = |query: Value| json!({"federation": {}, "queries": [{"indexUid": "books"}, query]});
    assert_eq!(
        shelf.refused(one(json!({"indexUid": "films", "limit": 0}))),
        (
            "invalid_multi_search_query_pagination".to_owned(),
            "Inside `.queries[1]`: Using pagination options is not allowed in federated queries.\n - Hint: remove \
             `limit` from query #1 or remove `federation` from the request\n - Hint: pass `federation.limit` and \
             `federation.offset` for pagination in federated search"
                .to_owned()
        )
    );
    assert_eq!(
        shelf.refused(one(json!({"indexUid": "films", "facets": ["a", "b"]}))).1,
        "Inside `.queries[1]`: Using facet options is not allowed in federated queries.\n - Hint: remove `facets` from \
         query #1 or remove `federation` from the request\n - Hint: pass `federation.facetsByIndex.films: [\"a\", \
         \"b\"]` for facets in federated search"
    );
    assert_eq!(
        shelf.refused(one(json!({"indexUid": "nope"}))),
        (
            "index_not_found".to_owned(),
            "Inside `.queries[1]`: Index `nope` not found.".to_owned()
        )
    );
    let (code, message) = shelf.refused(one(json!({"indexUid": "films", "filter": "title = Up"})));
    assert_eq!(code, "invalid_search_filter");
    assert!(message
        .starts_with("Inside `.queries[1]`: Index `films`: Attribute `title` is not filterable."));
    assert_eq!(
        shelf
            .refused(one(
                json!({"indexUid": "films", "federationOptions": {"remote": "x"}})
            ))
            .0,
        "feature_not_enabled"
    );
    let conflict = json!({"federation": {}, "queries": [
        {"indexUid": "films", "sort": ["year:asc"]}, {"indexUid": "films", "sort": ["year:desc"]}]});
    let (code, message) = shelf.refused(conflict);
    assert_eq!(code, "invalid_multi_search_query_ranking_rules");
    assert!(message.starts_with(
        "Inside `.queries[1]`: The results of queries #0 and #1 are incompatible: \n"
    ));

    let facets = |facets: Value| json!({"federation": {"facetsByIndex": facets, "mergeFacets": {}}, "queries": [{"indexUid": "books"}]});
    let (code, message) = shelf.refused(facets(json!({"books": ["title"]})));
    assert_eq!(code, "invalid_multi_search_facets");
    assert!(message
        .starts_with("Inside `.federation.facetsByIndex.books`: Invalid facet distribution:"));
    assert!(message.ends_with("\n - Note: index `books` used in `.queries[0]`"));
    assert_eq!(
        shelf.refused(facets(json!({"books": ["genre"], "films": ["genre"]}))),
        (
            "invalid_multi_search_facet_order".to_owned(),
            "Inside `.federation.facetsByIndex.films`: Inconsistent order for values in facet `genre`: index `books` \
             orders by count, but index `films` orders alphabetically.\n - Hint: Remove `federation.mergeFacets` or \
             change `faceting.sortFacetValuesBy` to be consistent in settings.\n - Note: index `films` is not used in \
             queries"
                .to_owned()
        )
    );
    assert_eq!(
        shelf.refused(facets(json!({"nope": null}))).1,
        "Inside `.federation.facetsByIndex.nope`: Index `nope` not found.\n - Note: index `nope` is not used in queries"
    );
}
