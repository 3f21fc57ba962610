//! Drawing random corpora, settings and searches.
//!
//! The words are few, so that most searches match many documents and ties, typos and facets are frequent: that is where a merge goes
//! wrong. Some differences between one engine and several cannot be undone by any proxy, because they come from what a node knows of
//! words that other nodes hold (MEILISEARCH D). They are kept out by what is drawn, so that whatever the comparison finds is a defect:
//!
//! - the prefix database and the typo caps (D.1, D.6) need a hundred words with one prefix: there are fewer words than that;
//! - split words (D.7) need a query word made of two words of the corpus: such words are not drawn;
//! - paths of joined words (D.3) need two query words that make a third one: such pairs are not drawn;
//! - `matchingStrategy: frequency` (D.2), score thresholds (D.5) are not drawn; spellings of one facet value are always the same (B.5);
//! - a one-letter prefix is not highlighted alike even by two equal nodes, so one letter comes only without highlighting;
//! - which document stands for a group under an index's own `distinctAttribute` depends on ties, so there are none then.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{json, Map, Value};

/// An index and what is asked of it.
#[derive(Clone, Debug)]
pub struct Corpus {
    pub documents: Vec<Value>,
    pub settings: Map<String, Value>,
    /// Bodies of searches, or of multi-searches where they have `queries`.
    pub asks: Vec<Value>,
}

/// Draws the corpus of a seed: the same one for the same seed, on every machine.
pub fn corpus(seed: u64, asks: usize) -> Corpus {
    let mut rng = StdRng::seed_from_u64(seed);
    let geo = rng.gen_bool(0.3);
    let shape = Shape {
        geo,
        text_ids: rng.gen_bool(0.3),
        words: vocabulary(&mut rng),
    };
    let count = rng.gen_range(20..=200);
    let documents = (0..count).map(|i| document(&mut rng, &shape, i)).collect();
    let settings = settings(&mut rng, &shape);
    let asks = (0..asks)
        .map(|_| ask(&mut rng, &shape, &settings))
        .collect();
    Corpus {
        documents,
        settings,
        asks,
    }
}

struct Shape {
    geo: bool,
    text_ids: bool,
    words: Vec<&'static str>,
}

/// Pairs within one or two typos of each other, families with a common prefix, and words that stand alone. None begins with `x`, which
/// text ids do.
const WORDS: &[&str] = &[
    "winter",
    "winner",
    "wander",
    "wonder",
    "letter",
    "latter",
    "litter",
    "better",
    "butter",
    "bitter",
    "market",
    "marker",
    "mark",
    "marking",
    "harbour",
    "harvest",
    "harness",
    "mountain",
    "mounting",
    "fountain",
    "lantern",
    "pattern",
    "orchard",
    "orchid",
    "notebook",
    "notable",
    "comet",
    "comedy",
    "common",
    "salt",
    "silk",
    "silver",
    "sliver",
    "river",
    "rider",
    "raider",
    "garden",
    "golden",
    "hidden",
    "kitchen",
    "kitten",
    "chicken",
    "thicket",
    "ticket",
    "pocket",
    "rocket",
    "cat",
    "dog",
    "sun",
    "moon",
    "star",
    "storm",
    "stone",
    "elephant",
    "elegant",
    "telephone",
    "umbrella",
    "violin",
    "zebra",
    "quartz",
];

const KINDS: &[&str] = &["amber", "basalt", "coral", "diorite", "emerald"];
const TAGS: &[&str] = &[
    "new", "old", "rare", "cheap", "big", "small", "loud", "calm",
];

fn vocabulary(rng: &mut StdRng) -> Vec<&'static str> {
    let count = rng.gen_range(12..=WORDS.len());
    WORDS.choose_multiple(rng, count).copied().collect()
}

fn text(rng: &mut StdRng, words: &[&str], least: usize, most: usize) -> String {
    let count = rng.gen_range(least..=most);
    // squaring makes the first words common and the last ones rare, as in real text
    let pick = |rng: &mut StdRng| words[((rng.gen::<f64>().powi(2)) * words.len() as f64) as usize];
    (0..count).map(|_| pick(rng)).collect::<Vec<_>>().join(" ")
}

fn document(rng: &mut StdRng, shape: &Shape, i: usize) -> Value {
    let mut fields = Map::new();
    fields.insert(
        "id".into(),
        if shape.text_ids {
            json!(format!("x-{i}"))
        } else {
            json!(i)
        },
    );
    fields.insert("title".into(), json!(text(rng, &shape.words, 1, 4)));
    fields.insert("uniq".into(), json!((i * 7919) % 10_007));
    let mut maybe = |name: &str, odds: f64, make: &mut dyn FnMut(&mut StdRng) -> Value| {
        if rng.gen_bool(odds) {
            let value = make(rng);
            fields.insert(name.to_string(), value);
        }
    };
    maybe("overview", 0.8, &mut |r| {
        json!(text(r, &shape.words, 3, 10))
    });
    maybe("kind", 0.8, &mut |r| {
        if r.gen_bool(0.08) {
            Value::Null
        } else {
            json!(KINDS.choose(r))
        }
    });
    maybe("tags", 0.7, &mut |r| {
        let count = r.gen_range(0..4);
        json!(TAGS.choose_multiple(r, count).collect::<Vec<_>>())
    });
    maybe("price", 0.8, &mut |r| match r.gen_range(0..12) {
        0 => Value::Null,
        1 | 2 => json!(r.gen_range(0..20) as f64 + 0.5),
        _ => json!(r.gen_range(0..20)),
    });
    maybe("stock", 0.9, &mut |r| json!(r.gen_range(-3..6)));
    maybe("mixed", 0.6, &mut |r| {
        if r.gen() {
            json!(r.gen_range(0..5))
        } else {
            json!(TAGS.choose(r))
        }
    });
    maybe("grades", 0.4, &mut |r| {
        (0..r.gen_range(0..4))
            .map(|_| r.gen_range(0..9))
            .collect::<Vec<i32>>()
            .into()
    });
    maybe("flag", 0.6, &mut |r| json!(r.gen::<bool>()));
    maybe(
        "nested",
        0.5,
        &mut |r| json!({"a": KINDS.choose(r), "b": r.gen_range(0..4)}),
    );
    if shape.geo {
        maybe(
            "_geo",
            0.7,
            &mut |r| json!({"lat": r.gen_range(-60..60), "lng": r.gen_range(-170..170)}),
        );
    }
    Value::Object(fields)
}

fn settings(rng: &mut StdRng, shape: &Shape) -> Map<String, Value> {
    let mut s = Map::new();
    let mut filterable = vec![
        "kind", "tags", "price", "stock", "mixed", "grades", "flag", "nested.a", "nested.b",
    ];
    let mut sortable = vec![
        "price", "stock", "kind", "mixed", "grades", "nested.b", "uniq", "title",
    ];
    if shape.geo {
        filterable.push("_geo");
        sortable.push("_geo");
    }
    s.insert("filterableAttributes".into(), json!(filterable));
    s.insert("sortableAttributes".into(), json!(sortable));
    if rng.gen_bool(0.6) {
        let mut fields = vec!["title", "overview", "tags", "kind", "nested.a"];
        fields.shuffle(rng);
        fields.truncate(rng.gen_range(1..=5));
        s.insert("searchableAttributes".into(), json!(fields));
    }
    if rng.gen_bool(0.15) {
        s.insert(
            "displayedAttributes".into(),
            json!(["id", "title", "overview", "kind", "tags", "uniq"]),
        );
    }
    let distinct = rng.gen_bool(0.1);
    if distinct {
        s.insert(
            "distinctAttribute".into(),
            json!(["kind", "nested.b", "stock"].choose(rng)),
        );
    }
    if let Some(rules) = ranking_rules(rng, distinct) {
        s.insert("rankingRules".into(), json!(rules));
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
    if rng.gen_bool(0.1) {
        s.insert(
            "pagination".into(),
            json!({"maxTotalHits": rng.gen_range(5..40)}),
        );
    }
    if rng.gen_bool(0.15) {
        s.insert("proximityPrecision".into(), json!("byAttribute"));
    }
    if rng.gen_bool(0.1) {
        s.insert("prefixSearch".into(), json!("disabled"));
    }
    s
}

fn ranking_rules(rng: &mut StdRng, no_ties: bool) -> Option<Vec<String>> {
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
    let kind = rng.gen_range(0..10);
    match kind {
        0..=3 if !no_ties => return None,
        0..=3 => {}
        4 => rules.shuffle(rng),
        5 => rules.truncate(rng.gen_range(1..6)),
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
        rules.push("uniq:asc".into());
    }
    Some(rules)
}

fn synonyms(rng: &mut StdRng, words: &[&str]) -> Value {
    let mut all = Map::new();
    for _ in 0..rng.gen_range(1..4) {
        let word = words.choose(rng).copied().unwrap_or_default();
        let other = words.choose(rng).copied().unwrap_or_default();
        all.insert(word.to_string(), json!([other]));
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

fn ask(rng: &mut StdRng, shape: &Shape, settings: &Map<String, Value>) -> Value {
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
    if rng.gen_bool(0.35) {
        s.insert("sort".into(), sort(rng, shape));
    }
    if rng.gen_bool(0.25) {
        let names = [
            "kind", "tags", "price", "stock", "mixed", "grades", "flag", "nested.a", "nested.b",
        ];
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
        s.insert("cropLength".into(), json!(rng.gen_range(1..8)));
    }
    if rng.gen_bool(0.4) {
        s.insert("showMatchesPosition".into(), json!(true));
    }
}

fn query(rng: &mut StdRng, words: &[&str], marks: bool) -> String {
    for _ in 0..100 {
        let (text, plain) = draw_query(rng, words, marks);
        if !makes_other_words(&plain) {
            return text;
        }
    }
    words[0].to_string()
}

/// A query, and the words that it consists of.
fn draw_query(rng: &mut StdRng, words: &[&str], marks: bool) -> (String, Vec<String>) {
    let count = *[1, 1, 1, 2, 2, 2, 3, 3, 4].choose(rng).unwrap_or(&1);
    let mut plain: Vec<String> = Vec::new();
    for i in 0..count {
        let word = words.choose(rng).copied().unwrap_or_default();
        let last = i + 1 == count;
        plain.push(match rng.gen_range(0..10) {
            0 | 1 => with_typo(rng, word),
            2 | 3 if last => prefix(rng, word, if marks { 2 } else { 1 }),
            _ => word.to_string(),
        });
    }
    let mut text = plain.join(" ");
    if count > 1 && rng.gen_bool(0.12) {
        text = format!("\"{} {}\" {}", plain[0], plain[1], plain[2..].join(" "));
    } else if rng.gen_bool(0.1) {
        let unwanted = words.choose(rng).copied().unwrap_or_default();
        text = format!("{text} -{unwanted}");
        plain.push(unwanted.to_string());
    } else if rng.gen_bool(0.3) {
        text.push(' ');
    }
    (text, plain)
}

fn with_typo(rng: &mut StdRng, word: &str) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    let at = rng.gen_range(0..letters.len());
    let letter = rng.gen_range(b'a'..=b'w') as char;
    match rng.gen_range(0..4) {
        0 if letters.len() > 3 => {
            letters.remove(at);
        }
        1 => letters.insert(at, letter),
        2 if at + 1 < letters.len() => letters.swap(at, at + 1),
        _ => letters[at] = letter,
    }
    letters.into_iter().collect()
}

fn prefix(rng: &mut StdRng, word: &str, least: usize) -> String {
    let most = word.len().min(6);
    word[..rng.gen_range(least.min(most)..=most)].to_string()
}

/// Whether the words of a query, split or joined, come near words of the corpus (D.3, D.7).
fn makes_other_words(plain: &[String]) -> bool {
    let known = || WORDS.iter().chain(KINDS).chain(TAGS).copied();
    let split = |word: &str| {
        (1..word.len()).any(|at| {
            word.is_char_boundary(at)
                && known().any(|w| w == &word[..at])
                && known().any(|w| w == &word[at..])
        })
    };
    let joined = |few: &[String]| {
        let joined = few.concat();
        known().any(|w| (0..=w.len()).any(|end| distance(&joined, &w[..end]) <= 2))
    };
    plain.iter().any(|w| split(w)) || plain.windows(2).any(joined) || plain.windows(3).any(joined)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<u8> = b.bytes().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let straight = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = straight.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

fn pick(rng: &mut StdRng, from: &[&str]) -> String {
    from.choose(rng).copied().unwrap_or_default().to_string()
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
            pick(rng, &["kind", "price", "mixed", "nested", "grades"]),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_corpus() {
        let (a, b) = (corpus(7, 5), corpus(7, 5));
        assert_eq!(a.documents, b.documents);
        assert_eq!(a.settings, b.settings);
        assert_eq!(a.asks, b.asks);
        assert_ne!(a.documents, corpus(8, 5).documents);
    }

    #[test]
    fn words_that_make_other_words_are_seen() {
        let of = |words: &[&str]| {
            makes_other_words(&words.iter().map(|w| w.to_string()).collect::<Vec<_>>())
        };
        assert!(of(&["sunstar"]), "splits into two words of the corpus");
        assert!(of(&["tele", "phone"]), "joins to one");
        assert!(of(&["mar", "keter"]), "joins to nearly one");
        assert!(!of(&["winter", "violin"]));
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
