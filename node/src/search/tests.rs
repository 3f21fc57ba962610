//! Searches on a small index that the engine itself has built.

use std::collections::BTreeSet;

use bumpalo::Bump;
use memmap2::MmapMut;
use milli_core as milli;
use milli_core::progress::Progress;
use milli_core::update::new::indexer;
use milli_core::update::{IndexerConfig, Settings};
use milli_core::{FilterableAttributesRule, Index, ThreadPoolNoAbortBuilder};
use serde_json::{json, Value};

use super::*;

pub struct Corpus {
    pub index: Index,
    _folder: tempfile::TempDir,
}

impl Corpus {
    pub fn new(configure: impl FnOnce(&mut Settings<'_, '_, '_>), documents: Value) -> Corpus {
        let folder = tempfile::tempdir().unwrap();
        let mut options = milli::heed::EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(32 << 20);
        let index = Index::new(options, folder.path(), true).unwrap();
        let config = IndexerConfig::default();
        let mut wtxn = index.write_txn().unwrap();
        let mut settings = Settings::new(&mut wtxn, &index, &config);
        settings.set_primary_key("id".to_owned());
        configure(&mut settings);
        settings.execute(|_| (), || false).unwrap();
        wtxn.commit().unwrap();
        add(&index, &config, &documents);
        Corpus {
            index,
            _folder: folder,
        }
    }

    pub fn try_search(&self, body: Value) -> Result<Value, Error> {
        let query = parse_search_post(body.to_string().as_bytes())?;
        search(&self.index, "films", query, Flags::default())
            .map(|result| serde_json::to_value(result).unwrap())
    }

    /// The answer, without the one field that no test can know.
    pub fn search(&self, body: Value) -> Value {
        let mut answer = self.try_search(body).unwrap();
        assert!(answer["processingTimeMs"].take().is_u64());
        answer
    }

    fn ids(&self, body: Value) -> Vec<u64> {
        let answer = self.search(body);
        answer["hits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|hit| hit["id"].as_u64().unwrap())
            .collect()
    }

    pub fn refused(&self, body: Value) -> (String, String) {
        let error = self.try_search(body).unwrap_err();
        assert_eq!(error.status, 400);
        (error.code.into_owned(), error.message)
    }
}

fn add(index: &Index, config: &IndexerConfig, documents: &Value) {
    let text: String = documents
        .as_array()
        .unwrap()
        .iter()
        .map(|document| format!("{document}\n"))
        .collect();
    let mut payload = MmapMut::map_anon(text.len()).unwrap();
    payload.copy_from_slice(text.as_bytes());
    let payload = payload.make_read_only().unwrap();
    let engine = crate::engine::Engine::new(1, None).unwrap();
    let pool = ThreadPoolNoAbortBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    let alloc = Bump::new();

    let rtxn = index.read_txn().unwrap();
    let mut wtxn = index.write_txn().unwrap();
    let configs = index.embedding_configs(&rtxn).unwrap();
    let embedders = engine.embedders("films", configs).unwrap();
    let known = index.fields_ids_map(&rtxn).unwrap();
    let mut fields = known.clone();
    let mut operations = indexer::DocumentOperation::new();
    operations.replace_documents(&payload).unwrap();
    let (changes, stats, primary_key) = operations
        .into_changes(
            &alloc,
            index,
            &rtxn,
            None,
            &mut fields,
            &|| false,
            Progress::default(),
        )
        .unwrap();
    assert!(stats.iter().all(|stat| stat.error.is_none()));
    // Not from inside the pool: the engine waits for its one thread.
    indexer::index(
        &mut wtxn,
        index,
        &pool,
        config.grenad_parameters(),
        &known,
        fields,
        primary_key,
        &changes,
        embedders,
        &|| false,
        &Progress::default(),
    )
    .unwrap();
    wtxn.commit().unwrap();
}

pub fn films() -> Corpus {
    let rules = ["genre", "year", "studio.name", "_geo"];
    Corpus::new(
        |settings| {
            let rules = rules
                .iter()
                .map(|&name| FilterableAttributesRule::Field(name.to_owned()));
            settings.set_filterable_fields(rules.collect());
            settings.set_sortable_fields(["year", "title", "_geo"].map(str::to_owned).into());
            settings.set_searchable_fields(
                ["title", "overview", "cast.name", "year"]
                    .map(str::to_owned)
                    .into(),
            );
        },
        json!([
            {"id": 1, "title": "Alien", "year": 1979, "genre": ["horror", "space"], "studio": {"name": "Fox"},
             "overview": "A crew meets an alien far from home", "cast": [{"name": "Weaver"}, {"name": "Hurt"}],
             "_geo": {"lat": 48.85, "lng": 2.35}},
            {"id": 2, "title": "Aliens", "year": 1986, "genre": ["action", "space"], "studio": {"name": "Fox"},
             "overview": "More of them", "cast": [{"name": "Weaver"}], "_geo": {"lat": "45.46", "lng": "9.19"}},
            {"id": 3, "title": "Heat", "year": 1995, "genre": ["Action"], "studio": {"name": "Warner"},
             "overview": "A thief and a detective far from any alien"},
            {"id": 4, "title": "Up", "year": 2009, "genre": [], "overview": "A house flies"},
        ]),
    )
}

#[test]
fn an_answer_has_meilisearchs_shape() {
    let films = films();
    assert_eq!(
        films.search(json!({"q": "house", "attributesToRetrieve": ["title", "id", "nothing"]})),
        json!({
            "hits": [{"id": 4, "title": "Up"}], "query": "house", "processingTimeMs": null,
            "limit": 20, "offset": 0, "estimatedTotalHits": 1,
        })
    );
    let answer = films
        .try_search(json!({"page": 2, "hitsPerPage": 3}))
        .unwrap();
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
            "query",
            "processingTimeMs",
            "hitsPerPage",
            "page",
            "totalPages",
            "totalHits"
        ]
    );
    assert_eq!(
        (
            &answer["totalPages"],
            &answer["totalHits"],
            &answer["query"]
        ),
        (&json!(2), &json!(4), &json!(""))
    );
    assert_eq!(answer["hits"].as_array().unwrap().len(), 1);
    // Fields of a document keep the order of the engine's field map, all of them are there.
    assert_eq!(answer["hits"][0]["overview"], json!("A house flies"));
}

#[test]
fn windows_and_pages_are_cut() {
    let films = Corpus::new(
        |settings| settings.set_pagination_max_total_hits(3),
        json!([{"id": 1}, {"id": 2}, {"id": 3}, {"id": 4}]),
    );
    assert_eq!(films.ids(json!({"offset": 1, "limit": 10})), [2, 3]);
    let answer = films.search(json!({"offset": 9, "limit": 10}));
    assert_eq!(
        (&answer["offset"], &answer["limit"]),
        (&json!(3), &json!(10))
    );
    assert_eq!(answer["estimatedTotalHits"], json!(3));
    let answer = films.search(json!({"page": 0}));
    assert_eq!(answer["hits"], json!([]));
    assert_eq!(
        (
            &answer["page"],
            &answer["hitsPerPage"],
            &answer["totalPages"]
        ),
        (&json!(0), &json!(20), &json!(1))
    );
    let answer = films.search(json!({"hitsPerPage": 0}));
    assert_eq!(
        (&answer["totalPages"], &answer["totalHits"], &answer["page"]),
        (&json!(0), &json!(3), &json!(1))
    );
    assert_eq!(
        films.ids(json!({"page": usize::MAX, "hitsPerPage": 5})),
        [0u64; 0]
    );
}

#[test]
fn words_filters_and_sorting_choose_the_hits() {
    let films = films();
    assert_eq!(films.ids(json!({"q": "alien"})), [1, 2, 3]);
    assert_eq!(
        films.ids(json!({"q": "alien", "attributesToSearchOn": ["overview"]})),
        [1, 3]
    );
    assert_eq!(
        films.ids(json!({"q": "alien weaver", "matchingStrategy": "all"})),
        [1, 2]
    );
    assert_eq!(
        films.ids(json!({"filter": "genre = action", "sort": ["year:desc"]})),
        [3, 2]
    );
    assert_eq!(
        films.ids(json!({"filter": ["year > 1980", ["genre = space", "studio.name = Warner"]]})),
        [2, 3]
    );
    assert_eq!(
        films.ids(json!({"filter": "", "sort": ["title:desc"], "limit": 1})),
        [4]
    );
    assert_eq!(films.ids(json!({"distinct": "studio.name"})), [1, 3, 4]);
    assert_eq!(
        films.ids(json!({"q": "alien", "rankingScoreThreshold": 0.99})),
        [1, 2]
    );
    assert_eq!(
        films.ids(json!({"q": "alien", "locales": ["eng", "fr"]})),
        [1, 2, 3]
    );
}

#[test]
fn matches_are_highlighted_cropped_and_located() {
    let films = films();
    let answer = films.search(json!({
        "q": "weaver alien", "limit": 1, "attributesToRetrieve": ["id"], "showMatchesPosition": true,
        "attributesToHighlight": ["title", "cast"], "highlightPreTag": "<", "highlightPostTag": ">",
        "attributesToCrop": ["overview:3"], "cropMarker": "...",
    }));
    let hit = &answer["hits"][0];
    assert_eq!(hit["_formatted"]["title"], json!("<Alien>"));
    assert_eq!(
        hit["_formatted"]["cast"],
        json!([{"name": "<Weaver>"}, {"name": "Hurt"}])
    );
    assert_eq!(hit["_formatted"]["overview"], json!("...an alien far..."));
    // A number in `_formatted` is a text, and fields that were not asked for are absent.
    assert_eq!(hit["_formatted"]["id"], json!("1"));
    assert!(hit["_formatted"].get("year").is_none());
    assert_eq!(hit["title"], Value::Null);
    assert_eq!(
        hit["_matchesPosition"],
        json!({
            "title": [{"start": 0, "length": 5}],
            "overview": [{"start": 16, "length": 5}],
            "cast.name": [{"start": 0, "length": 6, "indices": [0]}],
        })
    );
    let plain = films.search(json!({"q": "weaver", "attributesToHighlight": ["nothing"]}));
    assert!(plain["hits"][0].get("_formatted").is_none());
    let all = films.search(json!({"q": "1979", "attributesToHighlight": ["*"]}));
    assert_eq!(all["hits"][0]["_formatted"]["year"], json!("<em>1979</em>"));
    assert_eq!(all["hits"][0]["year"], json!(1979));
}

#[test]
fn distances_are_whole_metres_of_what_is_shown() {
    let films = films();
    let answer = films.search(
        json!({"sort": ["_geoPoint(48.85,2.35):desc"], "filter": "_geoRadius(48.85,2.35,9000000)"}),
    );
    let hits = answer["hits"].as_array().unwrap();
    assert_eq!(hits[0]["id"], json!(2));
    let metres = hits[0]["_geoDistance"].as_u64().unwrap();
    assert!((600_000..700_000).contains(&metres), "{metres}");
    assert_eq!(hits[1]["_geoDistance"], json!(0));
    let hidden = films
        .search(json!({"sort": ["_geoPoint(48.85,2.35):asc"], "attributesToRetrieve": ["id"]}));
    assert!(hidden["hits"][0].get("_geoDistance").is_none());
}

#[test]
fn facets_are_counted_over_all_matches() {
    let films = films();
    let answer = films.search(json!({"facets": ["genre", "year"], "limit": 0}));
    assert_eq!(
        answer["facetDistribution"],
        json!({"genre": {"action": 2, "horror": 1, "space": 2}, "year": {"1979": 1, "1986": 1, "1995": 1, "2009": 1}})
    );
    assert_eq!(
        answer["facetStats"],
        json!({"year": {"min": 1979.0, "max": 2009.0}})
    );
    let none = films.search(json!({"facets": []}));
    assert_eq!(
        (&none["facetDistribution"], &none["facetStats"]),
        (&json!({}), &json!({}))
    );
    let all = films.search(json!({"facets": ["*"], "q": "up"}));
    assert_eq!(all["facetDistribution"]["year"], json!({"2009": 1}));
    assert_eq!(all["facetDistribution"]["studio.name"], json!({}));
}

#[test]
fn scores_say_how_they_came_about() {
    let films = films();
    let answer = films.search(json!({
        "q": "alien", "sort": ["year:asc"], "showRankingScore": true, "showRankingScoreDetails": true, "limit": 1,
    }));
    let hit = &answer["hits"][0];
    assert_eq!(hit["id"], json!(1));
    assert!(hit["_rankingScore"]
        .as_f64()
        .is_some_and(|score| score > 0.9 && score <= 1.0));
    let details = hit["_rankingScoreDetails"].as_object().unwrap();
    assert_eq!(
        details["words"],
        json!({"order": 0, "matchingWords": 1, "maxMatchingWords": 1, "score": 1.0})
    );
    assert_eq!(details["year:asc"], json!({"order": 4, "value": 1979.0}));
    let names: BTreeSet<&str> = details.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "attribute",
            "exactness",
            "proximity",
            "typo",
            "words",
            "year:asc"
        ]
        .into()
    );
    let bare = films.search(json!({"q": "alien"}));
    assert!(bare["hits"][0].get("_rankingScore").is_none());
}

#[test]
fn only_displayed_fields_are_shown() {
    let films = Corpus::new(
        |settings| settings.set_displayed_fields(vec!["id".to_owned(), "a.b".to_owned()]),
        json!([{"id": 1, "a": {"b": "x y", "c": "x"}, "secret": "x"}]),
    );
    let answer = films
        .search(json!({"q": "x", "attributesToHighlight": ["*"], "showMatchesPosition": true}));
    assert_eq!(
        answer["hits"],
        json!([{
            "id": 1, "a": {"b": "x y"}, "_formatted": {"id": "1", "a": {"b": "<em>x</em> y"}},
            "_matchesPosition": {"a.b": [{"start": 0, "length": 1}]},
        }])
    );
    assert_eq!(
        films.search(json!({"attributesToRetrieve": ["secret", "id"]}))["hits"],
        json!([{"id": 1}])
    );
}

#[test]
fn what_the_index_cannot_do_is_refused() {
    let films = films();
    assert_eq!(
        films.refused(json!({"filter": "title = Up"})),
        (
            "invalid_search_filter".to_owned(),
            "Index `films`: Attribute `title` is not filterable. Available filterable attribute patterns are: `_geo`, \
             `genre`, `studio.name`, `year`.\n1:6 title = Up"
                .to_owned()
        )
    );
    assert_eq!(
        films.refused(json!({"sort": ["genre:asc"]})),
        (
            "invalid_search_sort".to_owned(),
            "Index `films`: Attribute `genre` is not sortable. Available sortable attributes are: `_geo, title, year`."
                .to_owned()
        )
    );
    assert_eq!(
        films.refused(json!({"sort": ["year"]})),
        (
            "invalid_search_sort".to_owned(),
            "Invalid syntax for the sort parameter: expected expression ending by `:asc` or `:desc`, found `year`."
                .to_owned()
        )
    );
    assert_eq!(
        films.refused(json!({"facets": ["title"]})),
        (
            "invalid_search_facets".to_owned(),
            "Invalid facet distribution: Attribute `title` is not filterable. Available filterable attributes patterns \
             are: `_geo, genre, studio.name, year`."
                .to_owned()
        )
    );
    assert_eq!(
        films
            .refused(json!({"attributesToSearchOn": ["genre"], "q": "x"}))
            .0,
        "invalid_search_attributes_to_search_on"
    );
    assert_eq!(
        films.refused(json!({"distinct": "title"})).0,
        "invalid_search_distinct"
    );
    // A wrong filter is named before a wrong sort.
    assert_eq!(
        films.refused(json!({"filter": 1, "sort": ["year"]})).0,
        "invalid_search_filter"
    );
}

#[test]
fn meaning_needs_an_embedder() {
    let films = films();
    let unknown = (
        "invalid_search_embedder".to_owned(),
        "Cannot find embedder with name `x`.".to_owned(),
    );
    assert_eq!(
        films.refused(json!({"q": "a", "hybrid": {"embedder": "x"}})),
        unknown
    );
    assert_eq!(
        films.refused(json!({"vector": [1.0], "hybrid": {"embedder": "x"}})),
        unknown
    );
    assert_eq!(
        films.refused(json!({"q": "a", "vector": [1.0]})).0,
        "missing_search_hybrid"
    );
    assert_eq!(
        films.ids(json!({"q": " ", "hybrid": {"embedder": "x"}, "limit": 1})),
        [1]
    );
    assert_eq!(
        films.ids(json!({"q": "heat", "hybrid": {"embedder": "x", "semanticRatio": 0}})),
        [3]
    );
    let shown = films.search(json!({"q": "heat", "retrieveVectors": true}));
    assert_eq!(shown["hits"][0]["_vectors"], json!({}));
}

#[test]
fn requests_are_refused_in_meilisearchs_words() {
    let films = films();
    let cases = [
        (json!({"limit": -1}), "invalid_search_limit", "Invalid value type at `.limit`: expected a positive integer, but found a negative integer: `-1`"),
        (json!({"q": 3}), "invalid_search_q", "Invalid value type at `.q`: expected a string, but found a positive integer: `3`"),
        (json!({"facets": "a"}), "invalid_search_facets", "Invalid value type at `.facets`: expected an array, but found a string: `\"a\"`"),
        (json!({"matchingStrategy": "frequenci"}), "invalid_search_matching_strategy", "Unknown value `frequenci` at `.matchingStrategy`: did you mean `frequency`? expected one of `last`, `all`, `frequency`"),
        (json!({"rankingScoreThreshold": 2}), "invalid_search_ranking_score_threshold", "Invalid value at `.rankingScoreThreshold`: the value of `rankingScoreThreshold` is invalid, expected a float between `0.0` and `1.0`."),
        (json!({"hybrid": {}}), "invalid_search_hybrid_query", "Missing field `embedder` inside `.hybrid`"),
        (json!({"hybrid": {"embedder": "x", "semanticRatio": 2}}), "invalid_search_semantic_ratio", "Invalid value at `.hybrid.semanticRatio`: the value of `semanticRatio` is invalid, expected a float between `0.0` and `1.0`."),
    ];
    for (body, code, message) in cases {
        assert_eq!(films.refused(body), (code.to_owned(), message.to_owned()));
    }
    assert_eq!(
        films.refused(json!({"filters": ""})),
        (
            "bad_request".to_owned(),
            "Unknown field `filters`: did you mean `filter`? expected one of `q`, `vector`, `hybrid`, `offset`, \
             `limit`, `page`, `hitsPerPage`, `attributesToRetrieve`, `retrieveVectors`, `attributesToCrop`, \
             `cropLength`, `attributesToHighlight`, `showMatchesPosition`, `showRankingScore`, \
             `showRankingScoreDetails`, `filter`, `sort`, `distinct`, `facets`, `highlightPreTag`, `highlightPostTag`, \
             `cropMarker`, `matchingStrategy`, `attributesToSearchOn`, `rankingScoreThreshold`, `locales`"
                .to_owned()
        )
    );
}

#[test]
fn values_of_a_facet_are_found() {
    let films = films();
    let found = |body: Value| {
        let query = parse_facet_search(body.to_string().as_bytes())?;
        facet_search(&films.index, query, Flags::default())
            .map(|result| serde_json::to_value(result).unwrap())
    };
    let hits = |body: Value| found(body).unwrap()["facetHits"].clone();
    let answer = found(json!({"facetName": "genre", "facetQuery": "sp", "unknown": 1})).unwrap();
    assert_eq!(
        (&answer["facetHits"], &answer["facetQuery"]),
        (&json!([{"value": "space", "count": 2}]), &json!("sp"))
    );
    assert!(answer["processingTimeMs"].is_u64());
    assert_eq!(
        hits(json!({"facetName": "genre"})),
        json!([{"value": "action", "count": 2}, {"value": "horror", "count": 1}, {"value": "space", "count": 2}])
    );
    assert_eq!(
        hits(json!({"facetName": "genre", "q": "weaver", "filter": "year < 1980"})),
        json!([{"value": "horror", "count": 1}, {"value": "space", "count": 1}])
    );
    assert_eq!(
        hits(json!({"facetName": "genre", "facetQuery": "acton", "exhaustiveFacetCount": true})),
        json!([{"value": "action", "count": 2}])
    );
    let refused = |body: Value| {
        let error = found(body).unwrap_err();
        assert_eq!(error.status, 400);
        (error.code.into_owned(), error.message)
    };
    assert_eq!(
        refused(json!({"q": "x"})),
        (
            "missing_facet_search_facet_name".to_owned(),
            "Missing field `facetName`".to_owned()
        )
    );
    let (code, message) = refused(json!({"facetName": "title"}));
    assert_eq!(code, "invalid_facet_search_facet_name");
    assert!(
        message.starts_with(
            "Attribute `title` is not facet-searchable. Available facet-searchable attributes"
        ),
        "{message}"
    );
    assert_eq!(
        refused(json!({"facetName": "genre", "facetQuery": 1})).0,
        "invalid_facet_search_query"
    );
    assert_eq!(
        refused(json!({"facetName": "genre", "filter": "title = x"})).0,
        "invalid_search_filter"
    );
    let off = Corpus::new(
        |settings| settings.set_facet_search(false),
        json!([{"id": 1}]),
    );
    let query = parse_facet_search(br#"{"facetName": "id"}"#).unwrap();
    let error = facet_search(&off.index, query, Flags::default()).unwrap_err();
    assert_eq!(
        (error.status, error.code.as_ref(), error.message.as_str()),
        (
            400,
            "facet_search_disabled",
            "The facet search is disabled for this index"
        )
    );
}

// Without a list of searchable attributes the order in which a node came to know its fields must not show: it differs
// from node to node.
#[test]
fn the_order_of_fields_does_not_rank() {
    let documents = json!([
        {"id": 1, "first": "green apple", "second": "x"}, {"id": 2, "second": "green apple", "first": "x"},
        {"id": 3, "third": "green apple"}, {"id": 4, "fourth": {"deep": "green apple"}},
    ]);
    let corpus = Corpus::new(|_| (), documents);
    for q in ["green apple", "apple", "grean apple", "\"green apple\""] {
        let body = json!({"q": q, "showRankingScoreDetails": true, "attributesToRetrieve": ["id"]});
        let answer = corpus.search(body);
        let hits = answer["hits"].as_array().unwrap();
        let ids: Vec<_> = hits.iter().map(|hit| hit["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, [1, 2, 3, 4], "{q}");
        for hit in hits {
            assert_eq!(
                hit["_rankingScoreDetails"], hits[0]["_rankingScoreDetails"],
                "{q}"
            );
            let attribute = &hit["_rankingScoreDetails"]["attribute"];
            assert_eq!(attribute["attributeRankingOrderScore"], json!(1.0), "{q}");
        }
    }
}
