//! Which shards can hold what a filter lets through.
//!
//! A filter that pins the primary key (`id = 7`, `id IN [7, 8] AND ...`) is asked only of the shards of these ids. What
//! makes it delicate: a node compares *facets*, not ids. A filter's value matches a string that is equal to it after
//! normalisation (trimmed, decomposed by NFKD, lower case) and a number that is the same `f64` (milli
//! `search/facet/filter.rs`, `Condition::Equal`), so one value may stand for several documents on several shards.
//! Which ones, for ids that are `[A-Za-z0-9_-]+` or an integer (MEILISEARCH I.3):
//!
//! | value | may match the ids |
//! | --- | --- |
//! | `5`, `"5"` | `5`, `"5"` |
//! | `05`, `5.0`, `5e0` | the text itself, and the integer `5` |
//! | `abc`, `ABC` | `abc`, and `Abc`, `aBC` ... where ids with upper-case letters were ever written |
//! | `9007199254740992` and beyond | every integer that rounds to this `f64` |
//! | `５`, `Å` | whatever they decompose to |
//!
//! The first three are told here (the third by [`Ids::upper_case`]), the others ask every shard.

use std::ops::Range;

use smallvec::SmallVec;

use super::grammar::{parse, Condition, Meaning, Operator};
use crate::shard::{shard_of, Shard};

/// How the ids of an index are read from filters. Without it (no primary key yet, or one that is about to change) every
/// filter reaches all shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ids {
    pub primary_key: String,
    /// Whether an id with upper-case letters may ever have been written: then a value with letters pins no document.
    pub upper_case: bool,
}

/// The shards that can hold a match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    All,
    /// Ascending, without duplicates. Empty: nothing can match.
    Only(SmallVec<[Shard; 8]>),
}

impl Ids {
    /// Which of `shards` shards can hold a document that passes the filter. A malformed filter reaches all: every node
    /// refuses it.
    pub fn reach(&self, filter: &str, shards: u16) -> Reach {
        // Most filters do not name the primary key, and are not looked at further.
        if !filter.contains(&self.primary_key) {
            return Reach::All;
        }
        let mut reading = Reading {
            ids: self,
            filter,
            shards,
        };
        parse(filter, &mut reading).unwrap_or(Reach::All)
    }

    /// The shards of all ids that a filter's value may match; `None`: any shard.
    fn pinned(&self, value: &str, shards: u16) -> Option<SmallVec<[Shard; 2]>> {
        let value = value.trim();
        let telling = value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+'));
        let letters = value.bytes().any(|byte| byte.is_ascii_alphabetic());
        if !telling || value.len() > PIN_BYTES_MAX || (letters && self.upper_case) {
            return None;
        }
        let text = value.to_ascii_lowercase();
        let mut pinned = SmallVec::new();
        pinned.push(shard_of(text.as_bytes(), shards));
        // Infinities and the like are no numbers to a filter.
        let number = value.parse::<f64>().ok().filter(|n| n.is_finite());
        if let Some(number) = number {
            if number.abs() >= EXACT_INTEGERS_END {
                return None;
            }
            if number.fract() == 0.0 {
                let integer = (number as i64).to_string();
                pinned.push(shard_of(integer.as_bytes(), shards));
            }
        }
        Some(pinned)
    }
}

impl Reach {
    /// Both must hold.
    #[must_use]
    pub fn and(self, other: Reach) -> Reach {
        match (self, other) {
            (Reach::All, only) | (only, Reach::All) => only,
            (Reach::Only(mut left), Reach::Only(right)) => {
                left.retain(|shard| right.contains(shard));
                Reach::Only(left)
            }
        }
    }

    /// One of both must hold.
    #[must_use]
    pub fn or(self, other: Reach) -> Reach {
        match (self, other) {
            (Reach::All, _) | (_, Reach::All) => Reach::All,
            (Reach::Only(left), Reach::Only(right)) => left.into_iter().chain(right).collect(),
        }
    }
}

impl FromIterator<Shard> for Reach {
    fn from_iter<I: IntoIterator<Item = Shard>>(shards: I) -> Reach {
        let mut only: SmallVec<[Shard; 8]> = shards.into_iter().collect();
        only.sort_unstable();
        only.dedup();
        Reach::Only(only)
    }
}

/// One filter while it is read.
struct Reading<'a> {
    ids: &'a Ids,
    filter: &'a str,
    shards: u16,
}

impl Reading<'_> {
    /// The text of a field or value; `None` where it holds escapes.
    fn text(&self, span: &Range<usize>) -> Option<&str> {
        let text = &self.filter[span.clone()];
        let bare = match text.as_bytes() {
            [b'"', .., b'"'] | [b'\'', .., b'\''] => &text[1..text.len() - 1],
            _ => text,
        };
        (!bare.contains('\\')).then_some(bare)
    }
}

impl Meaning for Reading<'_> {
    type Of = Reach;

    fn condition(&mut self, condition: &Condition) -> Reach {
        let pins = matches!(condition.operator, Operator::Equal | Operator::In)
            && self.text(&condition.field) == Some(&self.ids.primary_key);
        if !pins {
            return Reach::All;
        }
        let mut reached: SmallVec<[Shard; 8]> = SmallVec::new();
        for value in &condition.values {
            match self
                .text(value)
                .and_then(|value| self.ids.pinned(value, self.shards))
            {
                Some(pinned) => reached.extend(pinned),
                None => return Reach::All,
            }
        }
        reached.into_iter().collect()
    }

    fn function(&mut self) -> Reach {
        Reach::All
    }

    fn and(&mut self, left: Reach, right: Reach) -> Reach {
        left.and(right)
    }

    fn or(&mut self, left: Reach, right: Reach) -> Reach {
        left.or(right)
    }

    fn not(&mut self, _: Reach) -> Reach {
        Reach::All
    }
}

/// From here on several integers round to one `f64`: 2^53.
const EXACT_INTEGERS_END: f64 = 9_007_199_254_740_992.0;

/// Facets are cut at about 468 bytes (MEILISEARCH I.2): a value of that length matches all ids that begin like it.
const PIN_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHARDS: u16 = 64;

    fn ids(upper_case: bool) -> Ids {
        Ids {
            primary_key: "id".into(),
            upper_case,
        }
    }

    fn of(keys: &[&str]) -> Reach {
        keys.iter()
            .map(|key| shard_of(key.as_bytes(), SHARDS))
            .collect()
    }

    #[track_caller]
    fn reaches(filter: &str, keys: &[&str]) {
        assert_eq!(ids(false).reach(filter, SHARDS), of(keys), "{filter}");
    }

    #[track_caller]
    fn reaches_all(filter: &str) {
        assert_eq!(ids(false).reach(filter, SHARDS), Reach::All, "{filter}");
    }

    #[test]
    fn values_that_pin_an_id() {
        reaches("id = 5", &["5"]);
        reaches("\"id\"='5'", &["5"]);
        reaches("id = \" 5 \"", &["5"]);
        reaches("id = 05", &["05", "5"]);
        reaches("id = 5.0", &["5.0", "5"]);
        reaches("id = 5e0", &["5e0", "5"]);
        reaches("id = -0", &["-0", "0"]);
        reaches("id = abc", &["abc"]);
        reaches("id = ABC", &["abc"]);
        reaches("id = inf", &["inf"]);
        reaches("id = 9007199254740991", &["9007199254740991"]);
        reaches("id IN [1, b, 'c',]", &["1", "b", "c"]);
        reaches("id IN []", &[]);
    }

    #[test]
    fn values_that_pin_none() {
        reaches_all("id = 9007199254740992");
        reaches_all("id = 18446744073709551615");
        reaches_all("id = ５");
        reaches_all("id = '\\u0035'");
        reaches_all("id IN [1, é]");
        reaches_all(&format!("id = {}", "a".repeat(468)));
        let mixed = ids(true);
        assert_eq!(mixed.reach("id = abc", SHARDS), Reach::All);
        assert_eq!(mixed.reach("id = 1e3", SHARDS), Reach::All);
        assert_eq!(mixed.reach("id = 7-7_7", SHARDS), of(&["7-7_7"]));
    }

    #[test]
    fn connectives() {
        reaches("a > 1 AND (id = 5 OR id = 6)", &["5", "6"]);
        reaches("id = 5 AND id IN [5, 6]", &["5"]);
        reaches("id = 5 OR id = 6 AND NOT a = 1", &["5", "6"]);
        reaches("_geoRadius(1, 2, 3) AND id = 5", &["5"]);
        reaches_all("id = 5 OR a = 1");
        reaches_all("NOT id = 5");
        reaches_all("NOT NOT id = 5");
        reaches_all("id != 5");
        reaches_all("id NOT IN [5]");
        reaches_all("id 5 TO 6");
        reaches_all("id >= 5");
        reaches_all("id EXISTS");
        reaches_all("id.x = 5");
        reaches_all("'id = 5'");
        reaches_all("id = 5 AND");
    }

    /// A filter as a tree, so that it can be evaluated without our parser.
    #[derive(Clone, Debug)]
    enum Tree {
        Equal(String),
        In(Vec<String>),
        NotEqual(String),
        Genre(u8),
        And(Box<Tree>, Box<Tree>),
        Or(Box<Tree>, Box<Tree>),
        Not(Box<Tree>),
    }

    impl Tree {
        fn text(&self) -> String {
            match self {
                Tree::Equal(value) => format!("id = {value:?}"),
                Tree::NotEqual(value) => format!("id != {value:?}"),
                Tree::In(values) => format!("id IN {values:?}"),
                Tree::Genre(genre) => format!("genre={genre}"),
                Tree::And(a, b) => format!("({}) AND ({})", a.text(), b.text()),
                Tree::Or(a, b) => format!("({} OR {})", a.text(), b.text()),
                Tree::Not(a) => format!("NOT ({})", a.text()),
            }
        }

        fn matches(&self, document: &Document) -> bool {
            match self {
                Tree::Equal(value) => document.equals(value),
                Tree::NotEqual(value) => !document.equals(value),
                Tree::In(values) => values.iter().any(|value| document.equals(value)),
                Tree::Genre(genre) => document.genre == *genre,
                Tree::And(a, b) => a.matches(document) && b.matches(document),
                Tree::Or(a, b) => a.matches(document) || b.matches(document),
                Tree::Not(a) => !a.matches(document),
            }
        }
    }

    #[derive(Clone, Debug)]
    struct Document {
        id: String,
        /// Stored as a JSON number.
        number: bool,
        genre: u8,
    }

    impl Document {
        /// milli's `=`: as a normalised text, or as the same `f64`.
        fn equals(&self, value: &str) -> bool {
            if self.number {
                let stored = self.id.parse::<f64>().unwrap();
                return value.parse::<f64>().is_ok_and(|value| value == stored);
            }
            normalized(&self.id) == normalized(value)
        }
    }

    fn normalized(text: &str) -> String {
        use unicode_normalization::UnicodeNormalization;
        text.trim().nfkd().collect::<String>().to_lowercase()
    }

    fn any_id() -> impl Strategy<Value = (String, bool)> {
        prop_oneof![
            "[0-9]{1,2}".prop_map(|id| (id, false)),
            "[0aA5e_-]{1,3}".prop_map(|id| (id, false)),
            (-20i64..30).prop_map(|id| (id.to_string(), true)),
            (9_007_199_254_740_990u64..9_007_199_254_740_999).prop_map(|id| (id.to_string(), true)),
            any::<u64>().prop_map(|id| (id.to_string(), true)),
        ]
    }

    fn any_value() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => any_id().prop_map(|(id, _)| id),
            1 => (-9i32..9).prop_map(|id| format!("{id}.0")),
            1 => "[ +]?0?[0-9]e?[0-2]? ?",
            1 => "[aA５Ａå ]{1,2}",
        ]
    }

    fn any_tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            3 => any_value().prop_map(Tree::Equal),
            1 => any_value().prop_map(Tree::NotEqual),
            2 => proptest::collection::vec(any_value(), 0..3).prop_map(Tree::In),
            1 => (0u8..3).prop_map(Tree::Genre),
        ];
        leaf.prop_recursive(3, 8, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::And(a.into(), b.into())),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Tree::Or(a.into(), b.into())),
                inner.prop_map(|a| Tree::Not(a.into())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// No document that passes the filter is on a shard that is not asked.
        #[test]
        fn nothing_is_lost(
            corpus in proptest::collection::vec((any_id(), 0u8..3), 1..40),
            tree in any_tree(),
        ) {
            let corpus: Vec<Document> = corpus
                .into_iter()
                .map(|((id, number), genre)| Document { id, number, genre })
                .collect();
            let upper_case = corpus.iter().any(|document| document.id.contains('A'));
            let text = tree.text();
            if let Reach::Only(asked) = ids(upper_case).reach(&text, SHARDS) {
                for document in corpus.iter().filter(|document| tree.matches(document)) {
                    let shard = shard_of(document.id.as_bytes(), SHARDS);
                    prop_assert!(asked.contains(&shard), "{text} matches {document:?}");
                }
            }
        }
    }
}
