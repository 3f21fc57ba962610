//! Searches: every parameter that needs no embedder, alone and together.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::Rng;
use serde_json::{json, Map, Value};

use super::query::query;
use super::{pick, Shape, KINDS, TAGS};

pub(super) fn ask(rng: &mut StdRng, shape: &Shape, settings: &Map<String, Value>) -> Value {
    if rng.gen_bool(0.08) {
        let count = rng.gen_range(1..4);
        return json!({"queries": (0..count).map(|_| search(rng, shape, settings)).collect::<Vec<_>>()});
    }
    search(rng, shape, settings)
}

fn search(rng: &mut StdRng, shape: &Shape, settings: &Map<String, Value>) -> Value {
    let mut s = Map::new();
    let marks = rng.gen_bool(0.25);
    if rng.gen_bool(0.85) {
        s.insert("q".into(), json!(query(rng, &shape.words, marks)));
    }
    if rng.gen_bool(0.35) {
        s.insert(
            "filter".into(),
            if rng.gen_bool(0.8) {
                json!(filter(rng, shape, 2))
            } else {
                filter_list(rng, shape)
            },
        );
    }
    // without its ranking rule a sort is refused
    if rng.gen_bool(0.35) && can_sort(settings) {
        s.insert("sort".into(), sort(rng, shape));
    }
    if rng.gen_bool(0.25) {
        let mut names = vec![
            "kind", "tags", "price", "stock", "grades", "flag", "nested.a", "nested.b",
        ];
        // when numbers fill `maxValuesPerFacet` exactly, milli 1.15 forgets to stop at the strings
        if !settings.contains_key("faceting") {
            names.push("mixed");
        }
        let count = rng.gen_range(1..5);
        s.insert(
            "facets".into(),
            json!(names.choose_multiple(rng, count).collect::<Vec<_>>()),
        );
    }
    paging(rng, &mut s);
    if rng.gen_bool(0.2) {
        let names = [
            "id", "title", "kind", "price", "nested.a", "tags", "nothing",
        ];
        let count = rng.gen_range(0..5);
        s.insert(
            "attributesToRetrieve".into(),
            json!(names.choose_multiple(rng, count).collect::<Vec<_>>()),
        );
    }
    if marks {
        marking(rng, &mut s);
    }
    if rng.gen_bool(0.3) {
        s.insert(
            "matchingStrategy".into(),
            json!(["last", "all"].choose(rng)),
        );
    }
    if rng.gen_bool(0.2) {
        s.insert("showRankingScore".into(), json!(true));
    }
    if rng.gen_bool(0.2) {
        s.insert("showRankingScoreDetails".into(), json!(true));
    }
    if rng.gen_bool(0.08) && !settings.contains_key("distinctAttribute") {
        s.insert(
            "distinct".into(),
            json!(["kind", "nested.a", "stock", "mixed"].choose(rng)),
        );
    }
    if rng.gen_bool(0.1) {
        let searchable: Vec<Value> = settings
            .get("searchableAttributes")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or(vec![json!("title"), json!("overview")]);
        let count = rng.gen_range(1..=searchable.len());
        s.insert(
            "attributesToSearchOn".into(),
            json!(searchable.choose_multiple(rng, count).collect::<Vec<_>>()),
        );
    }
    Value::Object(s)
}

fn can_sort(settings: &Map<String, Value>) -> bool {
    let rules = settings.get("rankingRules").and_then(Value::as_array);
    rules.is_none_or(|rules| rules.iter().any(|rule| rule == "sort"))
}

fn paging(rng: &mut StdRng, s: &mut Map<String, Value>) {
    match rng.gen_range(0..10) {
        0..=2 => {}
        3..=6 => {
            s.insert("limit".into(), json!(rng.gen_range(0..40)));
            if rng.gen() {
                s.insert("offset".into(), json!(rng.gen_range(0..30)));
            }
        }
        _ => {
            s.insert("hitsPerPage".into(), json!(rng.gen_range(0..15)));
            if rng.gen_bool(0.7) {
                s.insert("page".into(), json!(rng.gen_range(0..5)));
            }
        }
    }
}

fn marking(rng: &mut StdRng, s: &mut Map<String, Value>) {
    let names = ["title", "overview", "tags", "*"];
    if rng.gen_bool(0.7) {
        s.insert("attributesToHighlight".into(), json!([names.choose(rng)]));
    }
    if rng.gen_bool(0.4) {
        s.insert(
            "attributesToCrop".into(),
            json!([pick(rng, &["title", "overview:4", "overview"])]),
        );
        s.insert("cropLength".into(), json!(rng.gen_range(3..8)));
    }
    if rng.gen_bool(0.4) {
        s.insert("showMatchesPosition".into(), json!(true));
    }
}

fn filter_list(rng: &mut StdRng, shape: &Shape) -> Value {
    json!([
        filter(rng, shape, 0),
        [filter(rng, shape, 0), filter(rng, shape, 0)]
    ])
}

fn filter(rng: &mut StdRng, shape: &Shape, depth: u32) -> String {
    if depth > 0 && rng.gen_bool(0.4) {
        let (a, b) = (filter(rng, shape, depth - 1), filter(rng, shape, depth - 1));
        return match rng.gen_range(0..3) {
            0 => format!("({a}) AND ({b})"),
            1 => format!("{a} OR {b}"),
            _ => format!("NOT ({a}) AND {b}"),
        };
    }
    let pick =
        |rng: &mut StdRng, from: &[&str]| from.choose(rng).copied().unwrap_or_default().to_string();
    let number = rng.gen_range(0..12);
    match rng.gen_range(0..if shape.geo { 13 } else { 12 }) {
        0 => format!("kind = {}", pick(rng, KINDS)),
        1 => format!("kind != {}", pick(rng, KINDS)),
        2 => format!("tags IN [{}, {}]", pick(rng, TAGS), pick(rng, TAGS)),
        3 => format!("tags NOT IN [{}, {}]", pick(rng, TAGS), pick(rng, TAGS)),
        4 => format!(
            "price {} {number}",
            pick(rng, &["=", "!=", ">", ">=", "<", "<="])
        ),
        5 => format!("stock -1 TO {}", number % 4),
        6 => format!(
            "{} {}",
            pick(rng, &["kind", "price", "mixed", "nested.a", "grades"]),
            pick(
                rng,
                &[
                    "EXISTS",
                    "NOT EXISTS",
                    "IS NULL",
                    "IS NOT NULL",
                    "IS EMPTY",
                    "IS NOT EMPTY"
                ]
            )
        ),
        7 => format!("flag = {}", rng.gen::<bool>()),
        8 => format!("nested.a {} {}", pick(rng, &["=", "!="]), pick(rng, KINDS)),
        9 => format!("nested.b >= {}", number % 4),
        10 => format!(
            "mixed = {}",
            if rng.gen() {
                pick(rng, TAGS)
            } else {
                (number % 5).to_string()
            }
        ),
        11 => format!("grades > {}", number % 9),
        _ => format!(
            "_geoRadius({}, {}, {})",
            rng.gen_range(-50..50),
            rng.gen_range(-150..150),
            rng.gen_range(1..8) * 1_000_000
        ),
    }
}

fn sort(rng: &mut StdRng, shape: &Shape) -> Value {
    let mut fields = vec![
        "price", "stock", "kind", "mixed", "grades", "nested.b", "title",
    ];
    fields.shuffle(rng);
    fields.truncate(rng.gen_range(1..3));
    let way = |rng: &mut StdRng| ["asc", "desc"][rng.gen_range(0..2)];
    let mut sort: Vec<String> = fields.iter().map(|f| format!("{f}:{}", way(rng))).collect();
    if shape.geo && rng.gen_bool(0.3) {
        sort.insert(
            0,
            format!(
                "_geoPoint({}, {}):{}",
                rng.gen_range(-50..50),
                rng.gen_range(-150..150),
                way(rng)
            ),
        );
    }
    json!(sort)
}
