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
//! - a word that a node has in no document does not count for its `exactness` (D.22): in half of the corpora every node knows every
//!   word, because some documents hold them all; in the others that rule is left out;
//! - milli 1.15 panics where a crop is shorter than the phrase in it, so crops are longer;
//! - a one-letter prefix is not highlighted alike even by two equal nodes, so one letter comes only without highlighting;
//! - which document stands for a group under an index's own `distinctAttribute`, and which are cut off by `maxTotalHits`, depends on
//!   ties, so there are none then.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{json, Map, Value};

mod query;
mod search;
mod settings;

pub use settings::{needs_no_ties, NO_TIES};

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
    let shape = Shape {
        geo: rng.gen_bool(0.3),
        text_ids: rng.gen_bool(0.3),
        even: rng.gen_bool(0.5),
        words: vocabulary(&mut rng),
    };
    let count = rng.gen_range(20..=200);
    let mut documents: Vec<Value> = (0..count).map(|i| document(&mut rng, &shape, i)).collect();
    if shape.even {
        let more = count..count + WHOLE_VOCABULARIES;
        documents.extend(more.map(|i| whole_vocabulary(&mut rng, &shape, i)));
        documents.shuffle(&mut rng);
    }
    let settings = settings::settings(&mut rng, &shape);
    let asks = (0..asks)
        .map(|_| search::ask(&mut rng, &shape, &settings))
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
    /// Every node knows every word, see the module's documentation.
    even: bool,
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
