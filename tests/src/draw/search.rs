//! Searches: every parameter, alone and together.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::Rng;
use serde_json::{json, Map, Value};

use super::query::query;
use super::settings::needs_no_ties;
use super::{other, pick, Shape, KINDS, TAGS};
use crate::ask::Ask;

pub(super) fn ask(rng: &mut StdRng, shape: &Shape, settings: &Map<String, Value>) -> Ask {
    match rng.gen_range(0..100) {
        0..=5 => other::multi_search(rng, shape, settings),
        6..=12 => other::federated(rng, shape, settings),
        13..=18 => other::facet_search(rng, shape, settings),
        19..=24 => other::documents(rng, shape),
        25..=30 if shape.vectors && !shape.several_vectors => other::similar(rng, shape),
        _ => Ask::search(search(rng, shape, settings)),
    }
}

pub(super) fn search(rng: &mut StdRng, shape: &Shape, settings: &Map<String, Value>) -> Value {
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
        s.insert("facets".into(), facets(rng, settings));
    }
    if shape.vectors && rng.gen_bool(0.4) {
        other::hybrid(rng, shape, &mut s);
    }
    paging(rng, &mut s, shape);
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
            json!(["last", "all", "frequency"].choose(rng)),
        );
    }
    if rng.gen_bool(0.2) {
        s.insert("showRankingScore".into(), json!(true));
    }
    if rng.gen_bool(0.2) {
        s.insert("showRankingScoreDetails".into(), json!(true));
    }
    if rng.gen_bool(0.07) {
        let threshold = f64::from(rng.gen_range(10..98)) / 100.0;
        s.insert("rankingScoreThreshold".into(), json!(threshold));
    }
    if rng.gen_bool(0.03) {
        s.insert("locales".into(), json!(["eng"]));
    }
    if rng.gen_bool(0.08) && !settings.contains_key("distinctAttribute") {
        let mut names = vec!["kind", "nested.a", "stock", "rare"];
        // which of several groups a document stands for depends on ties
        if needs_no_ties(settings) {
            names.extend(["tags", "grades", "mixed", "crew.role"]);
        }
        s.insert("distinct".into(), json!(names.choose(rng)));
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

pub(super) fn can_sort(settings: &Map<String, Value>) -> bool {
    let rules = settings.get("rankingRules").and_then(Value::as_array);
    rules.is_none_or(|rules| rules.iter().any(|rule| rule == "sort"))
}

/// Pages near the start and deep ones, up to behind the last hit.
pub(super) fn paging(rng: &mut StdRng, s: &mut Map<String, Value>, shape: &Shape) {
    let deep = rng.gen_bool(0.1);
    match rng.gen_range(0..10) {
        0..=2 => {}
        3..=6 => {
            s.insert("limit".into(), json!(rng.gen_range(0..40)));
            if rng.gen() {
                let most = if deep { shape.count + 20 } else { 30 };
                s.insert("offset".into(), json!(rng.gen_range(0..most)));
            }
        }
        _ => {
            s.insert("hitsPerPage".into(), json!(rng.gen_range(0..15)));
            if rng.gen_bool(0.7) {
                s.insert(
                    "page".into(),
                    json!(rng.gen_range(0..if deep { 30 } else { 5 })),
                );
            }
        }
    }
}

fn facets(rng: &mut StdRng, settings: &Map<String, Value>) -> Value {
    // before 1.50 a node orders all facets alike then, which the merge does not know yet
    if rng.gen_bool(0.1) && !settings.contains_key("faceting") {
        return json!([["*"], ["nested.*"], ["nested"], ["crew.*"]].choose(rng));
    }
    let mut names = vec![
        "kind",
        "tags",
        "price",
        "stock",
        "grades",
        "flag",
        "nested.a",
        "nested.b",
        "crew.age",
        "rare",
        "crew.role",
    ];
    // when numbers fill `maxValuesPerFacet` exactly, milli 1.15 forgets to stop at the strings
    if !settings.contains_key("faceting") {
        names.push("mixed");
    }
    let count = rng.gen_range(1..5);
    json!(names.choose_multiple(rng, count).collect::<Vec<_>>())
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

pub(super) fn filter(rng: &mut StdRng, shape: &Shape, depth: u32) -> String {
    if depth > 0 && rng.gen_bool(0.4) {
        let (a, b) = (filter(rng, shape, depth - 1), filter(rng, shape, depth - 1));
        return match rng.gen_range(0..3) {
            0 => format!("({a}) AND ({b})"),
            1 => format!("{a} OR {b}"),
            _ => format!("NOT ({a}) AND {b}"),
        };
    }
    let number = rng.gen_range(0..12);
    match rng.gen_range(0..if shape.geo { 19 } else { 16 }) {
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
        12 => format!(
            "id = {}",
            text_of(&shape.id(rng.gen_range(0..shape.count + 3)))
        ),
        13 => {
            let ids: Vec<String> = (0..rng.gen_range(1..5))
                .map(|_| text_of(&shape.id(rng.gen_range(0..shape.count + 3))))
                .collect();
            format!("id IN [{}]", ids.join(", "))
        }
        14 => format!(
            "crew.age {} {}",
            pick(rng, &["=", ">", "!="]),
            20 + number % 5
        ),
        15 => format!(
            "rare {}",
            pick(rng, &["= 1", "!= 1", "> 0", "EXISTS", "NOT EXISTS"])
        ),
        16 | 17 => {
            let (top, right) = (rng.gen_range(-50..60), rng.gen_range(-150..170));
            format!(
                "_geoBoundingBox([{top}, {right}], [{}, {}])",
                top - rng.gen_range(1..60),
                right - rng.gen_range(1..100)
            )
        }
        _ => format!(
            "_geoRadius({}, {}, {})",
            rng.gen_range(-50..50),
            rng.gen_range(-150..150),
            rng.gen_range(1..8) * 1_000_000
        ),
    }
}

/// A scalar as a filter writes it.
fn text_of(value: &Value) -> String {
    value.as_str().map_or(value.to_string(), str::to_string)
}

pub(super) fn sort(rng: &mut StdRng, shape: &Shape) -> Value {
    let mut fields = vec![
        "price", "stock", "kind", "mixed", "grades", "nested.b", "title", "tags", "flag",
        "crew.age", "rare",
    ];
    fields.shuffle(rng);
    fields.truncate(rng.gen_range(1..4));
    let way = |rng: &mut StdRng| ["asc", "desc"][rng.gen_range(0..2)];
    let mut sort: Vec<String> = fields.iter().map(|f| format!("{f}:{}", way(rng))).collect();
    if shape.geo && rng.gen_bool(0.3) {
        let at = rng.gen_range(0..=sort.len());
        sort.insert(
            at,
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
