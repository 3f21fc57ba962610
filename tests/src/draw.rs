//! Drawing random corpora, settings and searches.
//!
//! The words are few, so that most searches match many documents and ties, typos and facets are frequent: that is where a merge goes
//! wrong. Some differences between one engine and several cannot be undone by any proxy, because they come from what a node knows of
//! words that other nodes hold (MEILISEARCH D). They are kept out by what is drawn, so that whatever the comparison finds is a defect,
//! or is in the list of [`crate::judge`]:
//!
//! - the prefix database and the typo caps (D.1, D.6) need a hundred words with one prefix: there are fewer words than that, but the
//!   real corpora ([`real`]) have them;
//! - split words (D.7) need a query word made of two words of the corpus, paths of joined words (D.3) two query words that make a
//!   third one: such words are drawn for the real corpora only;
//! - a word that a node has in no document does not count for its `exactness` (D.22): in half of the corpora every node knows every
//!   word, because some documents hold them all; in most of the others that rule is left out;
//! - some document always has the field `rare`, as a filter `!=` on a field that no document has is a choice between two wrongs;
//! - milli 1.15 panics where a crop is shorter than the phrase in it, so crops are longer;
//! - a one-letter prefix is not highlighted alike even by two equal nodes, so one letter comes only without highlighting;
//! - which document stands for a group under an index's own `distinctAttribute`, and which are cut off by `maxTotalHits`, depends on
//!   ties, so there are none then.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{json, Map, Value};

use crate::ask::Ask;

mod other;
mod query;
pub mod real;
mod search;
mod settings;

pub use settings::{needs_no_ties, NO_TIES};

/// An index (or two with the same settings) and what is asked of it.
#[derive(Clone, Debug, Default)]
pub struct Corpus {
    pub documents: Vec<Value>,
    /// Documents of the second index; empty where there is none.
    pub others: Vec<Value>,
    pub settings: Map<String, Value>,
    pub asks: Vec<Ask>,
}

/// Draws the corpus of a seed: the same one for the same seed, on every machine.
pub fn corpus(seed: u64, asks: usize) -> Corpus {
    let mut rng = StdRng::seed_from_u64(seed);
    let unicode = rng.gen_bool(0.3);
    let mut shape = Shape {
        geo: rng.gen_bool(0.3),
        text_ids: rng.gen_bool(0.3),
        even: rng.gen_bool(0.5),
        vectors: rng.gen_bool(0.25),
        two_embedders: rng.gen_bool(0.3),
        several_vectors: seed.is_multiple_of(2),
        spellings: rng.gen_bool(0.25),
        two: rng.gen_bool(0.3),
        words: vocabulary(&mut rng, unicode),
        count: rng.gen_range(20..=200),
    };
    let documents = self::documents(&mut rng, &shape, 0);
    let others = if shape.two {
        let count = rng.gen_range(20..=60);
        let part = Shape {
            count,
            ..shape.clone()
        };
        self::documents(&mut rng, &part, OTHERS_FROM)
    } else {
        Vec::new()
    };
    let settings = settings::settings(&mut rng, &shape);
    shape.count = documents.len();
    let asks = (0..asks)
        .map(|_| {
            let ask = search::ask(&mut rng, &shape, &settings);
            sometimes_by_get(&mut rng, ask)
        })
        .collect();
    Corpus {
        documents,
        others,
        settings,
        asks,
    }
}

/// Both forms of a request read their parameters in their own way.
fn sometimes_by_get(rng: &mut StdRng, ask: Ask) -> Ask {
    let by_get = rng.gen_bool(0.15);
    Ask { by_get, ..ask }
}

/// The first id of the second index.
const OTHERS_FROM: usize = 1000;

fn documents(rng: &mut StdRng, shape: &Shape, from: usize) -> Vec<Value> {
    let count = from + shape.count;
    let mut documents: Vec<Value> = (from..count).map(|i| document(rng, shape, i)).collect();
    // a field that no document has at all is a case of its own, see docs/exactness.md
    let lucky = rng.gen_range(0..documents.len());
    documents[lucky]["rare"] = json!(rng.gen_range(0..3));
    if shape.even {
        let more = count..count + WHOLE_VOCABULARIES;
        documents.extend(more.map(|i| whole_vocabulary(rng, shape, i)));
        documents.shuffle(rng);
    }
    documents
}

#[derive(Clone)]
struct Shape {
    geo: bool,
    text_ids: bool,
    /// Every node knows every word, see the module's documentation.
    even: bool,
    /// Documents have vectors, and there are embedders for them: one, or two.
    vectors: bool,
    two_embedders: bool,
    /// Some documents have two vectors. Then there is no `similar`: it compares the first with the first and the second with the
    /// second, and a search by a vector, which the other nodes are asked, with both.
    several_vectors: bool,
    /// Facet values come in upper and lower case.
    spellings: bool,
    /// There is a second index.
    two: bool,
    words: Vec<&'static str>,
    /// How many documents.
    count: usize,
}

impl Shape {
    fn embedders(&self) -> &'static [&'static str] {
        &EMBEDDERS[..1 + usize::from(self.two_embedders)]
    }

    fn id(&self, i: usize) -> Value {
        if self.text_ids {
            json!(format!("x-{i}"))
        } else {
            json!(i)
        }
    }
}

/// What the vectors' embedders are called, and how long vectors are: longer than there are documents, because arroy compares with every
/// vector then. With more vectors than dimensions it walks random trees, and no two nodes find the same.
const EMBEDDERS: [&str; 2] = ["vec", "alt"];
const DIMENSIONS: usize = 256;
/// So many of the numbers are not zero.
const ANGLES: usize = 4;

fn vector(rng: &mut StdRng) -> Vec<f64> {
    let angles = (0..ANGLES).map(|_| f64::from(rng.gen_range(-1000..1000)) / 1000.0);
    angles
        .chain(std::iter::repeat(0.0))
        .take(DIMENSIONS)
        .collect()
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

/// Accents, other alphabets, scripts without spaces, letters of several code points.
const UNICODE_WORDS: &[&str] = &[
    "café",
    "crème",
    "naïve",
    "straße",
    "smørrebrød",
    "žluťoučký",
    "façade",
    "москва",
    "медведь",
    "αθήνα",
    "θάλασσα",
    "東京",
    "日本語",
    "図書館",
    "서울",
    "바다",
    "مرحبا",
    "שלום",
    "नमस्ते",
    "ไทย",
    "🚀",
    "e\u{301}clair",
];

fn vocabulary(rng: &mut StdRng, unicode: bool) -> Vec<&'static str> {
    let count = rng.gen_range(12..=WORDS.len());
    let mut words: Vec<&str> = WORDS.choose_multiple(rng, count).copied().collect();
    if unicode {
        let count = rng.gen_range(5..=UNICODE_WORDS.len());
        words.extend(UNICODE_WORDS.choose_multiple(rng, count));
        words.shuffle(rng);
    }
    words
}

/// So many that every one of a few nodes gets some.
const WHOLE_VOCABULARIES: usize = 24;

/// A document that holds every word there is.
fn whole_vocabulary(rng: &mut StdRng, shape: &Shape, i: usize) -> Value {
    let mut all = document(rng, shape, i);
    for field in ["title", "overview"] {
        let mut words = shape.words.clone();
        words.shuffle(rng);
        all[field] = json!(words.join(" "));
    }
    all
}

fn text(rng: &mut StdRng, words: &[&str], least: usize, most: usize) -> String {
    let count = rng.gen_range(least..=most);
    // squaring makes the first words common and the last ones rare, as in real text
    let pick = |rng: &mut StdRng| words[((rng.gen::<f64>().powi(2)) * words.len() as f64) as usize];
    let cased = |rng: &mut StdRng, word: &str| match rng.gen_range(0..12) {
        0 => word.to_uppercase(),
        1 => word
            .chars()
            .take(1)
            .flat_map(char::to_uppercase)
            .chain(word.chars().skip(1))
            .collect(),
        _ => word.to_string(),
    };
    let mut all = String::new();
    for i in 0..count {
        let word = pick(rng);
        if i > 0 {
            // hard separators count in the distance of words, soft ones do not
            let separators = [" ", " ", " ", " ", " ", " ", ", ", ". ", "-", " - "];
            all += separators.choose(rng).copied().unwrap_or(" ");
        }
        all += &cased(rng, word);
    }
    all
}

/// A facet value: always spelled the same, or not.
fn kind(rng: &mut StdRng, shape: &Shape) -> Value {
    let kind = pick(rng, KINDS);
    if shape.spellings && rng.gen_bool(0.2) {
        return json!([kind.to_uppercase(), format!(" {kind}")].choose(rng));
    }
    json!(kind)
}

fn document(rng: &mut StdRng, shape: &Shape, i: usize) -> Value {
    let mut fields = Map::new();
    fields.insert("id".into(), shape.id(i));
    fields.insert("title".into(), json!(text(rng, &shape.words, 1, 4)));
    fields.insert("uniq".into(), json!((i * 7919) % 10_007));
    let mut maybe = |name: &str, odds: f64, make: &mut dyn FnMut(&mut StdRng) -> Value| {
        if rng.gen_bool(odds) {
            let value = make(rng);
            fields.insert(name.to_string(), value);
        }
    };
    maybe("overview", 0.8, &mut |r| match r.gen_range(0..20) {
        0 => json!([text(r, &shape.words, 1, 3), text(r, &shape.words, 1, 3)]),
        1 => json!(r.gen_range(0..30)),
        2 => Value::Null,
        _ => json!(text(r, &shape.words, 3, 10)),
    });
    maybe("kind", 0.8, &mut |r| {
        if r.gen_bool(0.08) {
            Value::Null
        } else {
            kind(r, shape)
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
    maybe("mixed", 0.6, &mut |r| match r.gen_range(0..20) {
        0 => json!(""),
        1 => json!(true),
        2 => json!([]),
        3 => json!({}),
        4..=10 => json!(r.gen_range(0..5)),
        _ => json!(TAGS.choose(r)),
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
    maybe("crew", 0.3, &mut |r| {
        let member = |r: &mut StdRng| json!({"name": text(r, &shape.words, 1, 2), "age": r.gen_range(20..25), "role": TAGS.choose(r)});
        (0..r.gen_range(0..3)).map(|_| member(r)).collect()
    });
    // a field that few documents have: most nodes of a cluster never see it
    maybe("rare", 0.01, &mut |r| json!(r.gen_range(0..3)));
    if shape.geo {
        maybe(
            "_geo",
            0.7,
            &mut |r| json!({"lat": r.gen_range(-60..60), "lng": r.gen_range(-170..170)}),
        );
    }
    if shape.vectors {
        maybe("_vectors", 1.0, &mut |r| {
            let mut of = |_| match r.gen_range(0..12) {
                0 | 1 => Value::Null,
                2 if shape.several_vectors => json!([vector(r), vector(r)]),
                _ => json!(vector(r)),
            };
            let vectors = shape.embedders().iter();
            vectors.map(|name| (name.to_string(), of(name))).collect()
        });
    }
    if rng.gen_bool(0.3) {
        let mut members: Vec<(String, Value)> = fields.into_iter().collect();
        members.shuffle(rng);
        fields = members.into_iter().collect();
    }
    Value::Object(fields)
}

fn pick(rng: &mut StdRng, from: &[&str]) -> String {
    from.choose(rng).copied().unwrap_or_default().to_string()
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
}
