//! Searches of real corpora: the films and the cities of data/.
//!
//! Queries are made of words of their documents, so real vocabularies meet typos, prefixes, joined and split words. These corpora are
//! large enough to show what depends on the size of a dictionary (see [`crate::judge`]).

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{json, Map, Value};

use super::query::{prefix, with_typo};
use super::sometimes_by_get;
use super::Corpus;
use crate::ask::{Ask, Route};

/// The films, with settings and questions of this seed.
pub fn films(seed: u64, asks: usize) -> Corpus {
    let mut rng = StdRng::seed_from_u64(seed);
    let documents: Vec<Value> =
        serde_json::from_slice(&unpack("movies.json.gz")).expect("data/movies.json.gz is JSON");
    let settings = film_settings(&mut rng);
    let asks = (0..asks)
        .map(|_| {
            let ask = FILMS.ask(&mut rng, &documents, &settings);
            sometimes_by_get(&mut rng, ask)
        })
        .collect();
    Corpus {
        documents,
        settings,
        asks,
        ..Corpus::default()
    }
}

/// The places of `data/cities.ndjson.gz`, or of the file that `MIROIR_CITIES` names. Their last ranking rule leaves no ties, so
/// that every rank is compared.
pub fn cities() -> Corpus {
    let text = match std::env::var_os("MIROIR_CITIES") {
        Some(path) => unpack_file(Path::new(&path)),
        None => unpack("cities.ndjson.gz"),
    };
    let lines = text.split(|&b| b == b'\n').filter(|line| !line.is_empty());
    let documents = lines
        .map(|line| serde_json::from_slice(line).expect("a line of the cities is JSON"))
        .collect();
    let settings = json!({
        "searchableAttributes": ["name", "altName", "country"],
        "filterableAttributes": ["id", "country", "featureCode", "adminCode", "population", "_geo"],
        "sortableAttributes": ["id", "name", "country", "population", "_geo"],
        "rankingRules": ["words", "typo", "proximity", "attribute", "sort", "exactness", "population:desc", "id:asc"],
        "faceting": {"maxValuesPerFacet": 50, "sortFacetValuesBy": {"country": "count"}},
    });
    Corpus {
        documents,
        settings: settings.as_object().cloned().unwrap_or_default(),
        ..Corpus::default()
    }
}

/// Questions of this seed about the cities.
pub fn ask_cities(seed: u64, asks: usize, cities: &Corpus) -> Vec<Ask> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..asks)
        .map(|_| {
            let ask = CITIES.ask(&mut rng, &cities.documents, &cities.settings);
            sometimes_by_get(&mut rng, ask)
        })
        .collect()
}

/// What there is to ask about a corpus.
struct Questions {
    texts: &'static [&'static str],
    /// Fields whose values filters name.
    values: &'static [&'static str],
    numbers: &'static [(&'static str, i64)],
    sorts: &'static [&'static str],
    facets: &'static [&'static str],
    distinct: &'static [&'static str],
    geo: bool,
}

const FILMS: Questions = Questions {
    texts: &[
        "title",
        "title",
        "title",
        "director",
        "distributor",
        "source",
    ],
    values: &[
        "major_genre",
        "mpaa_rating",
        "distributor",
        "director",
        "creative_type",
    ],
    numbers: &[
        ("imdb_votes", 100_000),
        ("us_gross", 200_000_000),
        ("running_time_min", 150),
        ("rotten_tomatoes_rating", 100),
        ("id", 3300),
    ],
    sorts: &[
        "title",
        "us_gross",
        "imdb_rating",
        "imdb_votes",
        "director",
        "release_date",
    ],
    facets: &[
        "major_genre",
        "mpaa_rating",
        "creative_type",
        "source",
        "running_time_min",
        "imdb_rating",
    ],
    distinct: &["director", "major_genre", "mpaa_rating"],
    geo: false,
};

const CITIES: Questions = Questions {
    texts: &["name", "name", "name", "altName", "country"],
    values: &["country", "country", "featureCode", "adminCode"],
    numbers: &[
        ("population", 2_000_000),
        ("population", 20_000),
        ("id", 12_000_000),
    ],
    sorts: &["population", "name", "country", "id"],
    facets: &["country", "featureCode", "adminCode"],
    distinct: &["country", "featureCode", "adminCode"],
    geo: true,
};

impl Questions {
    fn ask(&self, rng: &mut StdRng, documents: &[Value], settings: &Map<String, Value>) -> Ask {
        match rng.gen_range(0..20) {
            0 => self.facet_search(rng, documents),
            1 => self.documents(rng, documents),
            2 => {
                let count = rng.gen_range(2..4);
                let queries: Vec<Value> = (0..count)
                    .map(|_| {
                        let mut search = self.search(rng, documents, settings);
                        search["indexUid"] = json!("{index}");
                        search
                    })
                    .collect();
                Ask::new(Route::MultiSearch, json!({ "queries": queries }))
            }
            3 => self.federated(rng, documents, settings),
            _ => Ask::search(self.search(rng, documents, settings)),
        }
    }

    fn search(
        &self,
        rng: &mut StdRng,
        documents: &[Value],
        settings: &Map<String, Value>,
    ) -> Value {
        let mut s = Map::new();
        if rng.gen_bool(0.9) {
            s.insert("q".into(), json!(self.query(rng, documents)));
        }
        if rng.gen_bool(0.3) {
            s.insert("filter".into(), json!(self.filter(rng, documents, 1)));
        }
        if rng.gen_bool(0.3) {
            s.insert("sort".into(), self.sort(rng));
        }
        if rng.gen_bool(0.2) {
            let count = rng.gen_range(1..4);
            let names: Vec<_> = self.facets.choose_multiple(rng, count).collect();
            s.insert("facets".into(), json!(names));
        }
        match rng.gen_range(0..10) {
            0..=3 => {}
            4..=6 => {
                s.insert("limit".into(), json!(rng.gen_range(0..100)));
                s.insert("offset".into(), json!([0, 0, 5, 40, 300, 950].choose(rng)));
            }
            _ => {
                s.insert("hitsPerPage".into(), json!(rng.gen_range(1..40)));
                s.insert("page".into(), json!(rng.gen_range(1..8)));
            }
        }
        if rng.gen_bool(0.3) {
            let strategy = ["last", "all", "frequency"].choose(rng);
            s.insert("matchingStrategy".into(), json!(strategy));
        }
        if rng.gen_bool(0.1) {
            s.insert("showRankingScore".into(), json!(true));
        }
        if rng.gen_bool(0.05) && !settings.contains_key("distinctAttribute") {
            s.insert("distinct".into(), json!(self.distinct.choose(rng)));
        }
        if rng.gen_bool(0.1) {
            s.insert("attributesToHighlight".into(), json!(["*"]));
            s.insert("attributesToRetrieve".into(), json!(["id", self.texts[0]]));
        }
        if rng.gen_bool(0.05) {
            let score = f64::from(rng.gen_range(20..95)) / 100.0;
            s.insert("rankingScoreThreshold".into(), json!(score));
        }
        if rng.gen_bool(0.1) {
            s.insert("attributesToSearchOn".into(), json!([self.texts[0]]));
        }
        Value::Object(s)
    }

    fn query(&self, rng: &mut StdRng, documents: &[Value]) -> String {
        let mut words = Vec::new();
        // most queries are about one document
        for _ in 0..if rng.gen_bool(0.8) { 1 } else { 2 } {
            let text = some(rng, documents, self.texts);
            let all: Vec<&str> = text.split_whitespace().collect();
            if all.is_empty() {
                continue;
            }
            let count = rng.gen_range(1..=all.len().min(4));
            let from = rng.gen_range(0..=all.len() - count);
            words.extend(all[from..from + count].iter().map(|w| w.to_string()));
        }
        if rng.gen_bool(0.15) {
            words.shuffle(rng);
        }
        for word in &mut words {
            if word.chars().count() > 4 && rng.gen_bool(0.15) {
                *word = with_typo(rng, &word.to_lowercase());
            }
        }
        match rng.gen_range(0..12) {
            // two words as one, and a phrase
            0 if words.len() > 1 => words[..2].concat(),
            1 if words.len() > 1 => {
                format!("\"{} {}\" {}", words[0], words[1], words[2..].join(" "))
            }
            2..=5 => {
                if let Some(last) = words.pop() {
                    words.push(prefix(rng, &last, 1));
                }
                words.join(" ")
            }
            6..=8 => words.join(" ") + " ",
            9 => format!(
                "{} -{}",
                words.join(" "),
                some_word(rng, documents, self.texts)
            ),
            _ => words.join(" "),
        }
    }

    fn filter(&self, rng: &mut StdRng, documents: &[Value], depth: u32) -> String {
        if depth > 0 && rng.gen_bool(0.3) {
            let (a, b) = (
                self.filter(rng, documents, 0),
                self.filter(rng, documents, 0),
            );
            let join = ["AND", "OR", "AND NOT"]
                .choose(rng)
                .copied()
                .unwrap_or("AND");
            return format!("{a} {join} {b}");
        }
        let field = self.values.choose(rng).copied().unwrap_or_default();
        let value = |rng: &mut StdRng| quoted(&some(rng, documents, &[field]));
        match rng.gen_range(0..if self.geo { 9 } else { 6 }) {
            0 => format!("{field} = {}", value(rng)),
            1 => format!("{field} != {}", value(rng)),
            2 => format!("{field} IN [{}, {}]", value(rng), value(rng)),
            3 => format!(
                "{field} {}",
                ["EXISTS", "NOT EXISTS", "IS EMPTY"]
                    .choose(rng)
                    .unwrap_or(&"EXISTS")
            ),
            4 | 5 => {
                let (name, most) = self.numbers.choose(rng).copied().unwrap_or_default();
                let number = rng.gen_range(0..most.max(1));
                match rng.gen_range(0..3) {
                    0 => format!("{name} > {number}"),
                    1 => format!("{name} <= {number}"),
                    _ => format!("{name} {number} TO {}", number * 2),
                }
            }
            6 => {
                let (lat, lng) = point(rng);
                format!(
                    "_geoBoundingBox([{}, {}], [{lat}, {lng}])",
                    lat + 8.0,
                    lng + 15.0
                )
            }
            _ => {
                let (lat, lng) = point(rng);
                format!(
                    "_geoRadius({lat}, {lng}, {})",
                    rng.gen_range(1..2000) * 1000
                )
            }
        }
    }

    fn sort(&self, rng: &mut StdRng) -> Value {
        let way = |rng: &mut StdRng| ["asc", "desc"][rng.gen_range(0..2)];
        let count = rng.gen_range(1..3);
        let mut sort: Vec<String> = self
            .sorts
            .choose_multiple(rng, count)
            .map(|name| name.to_string())
            .collect();
        sort.iter_mut()
            .for_each(|s| *s += &format!(":{}", way(rng)));
        if self.geo && rng.gen_bool(0.5) {
            let (lat, lng) = point(rng);
            sort.insert(0, format!("_geoPoint({lat}, {lng}):{}", way(rng)));
        }
        json!(sort)
    }

    fn facet_search(&self, rng: &mut StdRng, documents: &[Value]) -> Ask {
        let field = self.values.choose(rng).copied().unwrap_or_default();
        let mut body = json!({ "facetName": field });
        if rng.gen_bool(0.8) {
            let value = some(rng, documents, &[field]);
            body["facetQuery"] = json!(prefix(rng, &value, 1));
        }
        if rng.gen_bool(0.3) {
            body["filter"] = json!(self.filter(rng, documents, 0));
        }
        if rng.gen_bool(0.3) {
            body["q"] = json!(self.query(rng, documents));
        }
        Ask::new(Route::FacetSearch, body)
    }

    fn documents(&self, rng: &mut StdRng, documents: &[Value]) -> Ask {
        // few enough to be compared as a whole
        let mut ids: Vec<&Value> = documents
            .choose_multiple(rng, 30)
            .map(|d| &d["id"])
            .collect();
        ids.truncate(rng.gen_range(1..30));
        let mut body =
            json!({"ids": ids, "limit": rng.gen_range(0..40), "offset": rng.gen_range(0..10)});
        if rng.gen_bool(0.5) {
            body["filter"] = json!(self.filter(rng, documents, 1));
        }
        if rng.gen_bool(0.5) {
            body["sort"] = self.sort(rng);
        }
        Ask::new(Route::Documents, body)
    }

    fn federated(
        &self,
        rng: &mut StdRng,
        documents: &[Value],
        settings: &Map<String, Value>,
    ) -> Ask {
        let count = rng.gen_range(1..4);
        let queries: Vec<Value> = (0..count)
            .map(|_| {
                let mut query = self.search(rng, documents, settings);
                query["indexUid"] = json!("{index}");
                if let Some(members) = query.as_object_mut() {
                    let not_here = ["limit", "offset", "page", "hitsPerPage", "facets", "sort"];
                    members.retain(|name, _| !not_here.contains(&name.as_str()));
                }
                let weight = [0.5, 1.0, 1.0, 2.0].choose(rng);
                query["federationOptions"] = json!({ "weight": weight });
                query
            })
            .collect();
        let federation = json!({"limit": rng.gen_range(0..50), "offset": rng.gen_range(0..20)});
        Ask::new(
            Route::MultiSearch,
            json!({"federation": federation, "queries": queries}),
        )
    }
}

fn film_settings(rng: &mut StdRng) -> Map<String, Value> {
    let mut s = json!({
        "filterableAttributes": [
            "id", "major_genre", "mpaa_rating", "distributor", "director", "creative_type", "source", "us_gross", "imdb_votes",
            "imdb_rating", "running_time_min", "rotten_tomatoes_rating",
        ],
        "sortableAttributes": [
            "title", "us_gross", "imdb_rating", "imdb_votes", "director", "release_date", "running_time_min",
        ],
        // a tie can be compared only as a whole
        "pagination": {"maxTotalHits": 10_000},
    });
    if rng.gen() {
        s["searchableAttributes"] = json!(["title", "director", "source", "distributor"]);
    }
    match rng.gen_range(0..4) {
        0 => {
            s["rankingRules"] = json!([
                "words",
                "typo",
                "proximity",
                "attribute",
                "sort",
                "exactness",
                "imdb_votes:desc"
            ])
        }
        1 => {
            s["rankingRules"] = json!([
                "words",
                "sort",
                "imdb_rating:desc",
                "typo",
                "proximity",
                "attribute",
                "exactness"
            ])
        }
        _ => {}
    }
    if rng.gen_bool(0.3) {
        s["stopWords"] = json!(["the", "of", "a", "and", "in"]);
    }
    if rng.gen_bool(0.3) {
        s["synonyms"] = json!({"movie": ["film", "picture"], "star": ["sun", "celebrity"], "war": ["battle", "fight"], "love": ["romance"], "king": ["queen", "prince"], "new york": ["nyc"], "2": ["two", "ii"]});
    }
    if rng.gen_bool(0.2) {
        s["proximityPrecision"] = json!("byAttribute");
    }
    if rng.gen_bool(0.2) {
        s["displayedAttributes"] = json!(["id", "title", "director", "major_genre", "us_gross"]);
    }
    s.as_object().cloned().unwrap_or_default()
}

/// A field's text in some document that has it.
fn some(rng: &mut StdRng, documents: &[Value], fields: &[&str]) -> String {
    for _ in 0..50 {
        let field = fields.choose(rng).copied().unwrap_or_default();
        let value = documents.choose(rng).map(|d| &d[field]);
        match value {
            Some(Value::String(text)) if !text.is_empty() => return text.clone(),
            Some(Value::Number(number)) => return number.to_string(),
            _ => {}
        }
    }
    "a".into()
}

fn some_word(rng: &mut StdRng, documents: &[Value], fields: &[&str]) -> String {
    let text = some(rng, documents, fields);
    text.split_whitespace().next().unwrap_or("a").to_string()
}

fn point(rng: &mut StdRng) -> (f64, f64) {
    (
        f64::from(rng.gen_range(-500..600)) / 10.0,
        f64::from(rng.gen_range(-1600..1600)) / 10.0,
    )
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn unpack(name: &str) -> Vec<u8> {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../data");
    unpack_file(&data.join(name))
}

fn unpack_file(path: &Path) -> Vec<u8> {
    let packed = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut bytes = Vec::new();
    GzDecoder::new(packed.as_slice())
        .read_to_end(&mut bytes)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    bytes
}
