//! Where a hit belongs among the hits of other nodes: its ranking-score details, compared rule by rule.
//!
//! The one number `_rankingScore` cannot order hits from different nodes: sort values and custom rules do not enter it and its
//! parts are ratios whose denominators depend on each node's own documents (DESIGN 7, with figures). The details can: they
//! give raw counts and values rule by rule, in the order in which the node applied the rules. The comparisons are those of
//! MEILISEARCH C.6, for the details of Meilisearch 1.15 (`attribute`) as well as of 1.50 (`attributeRank`, `wordPosition`).
//!
//! Scores are compared exactly. Meilisearch's own federation treats scores within `f64::EPSILON` as equal because it compares
//! *products* of ratios; here single ratios `rank/max` are compared, division is correctly rounded and the text form round-trips, so equal
//! ratios are equal bits. An epsilon would also make "equal" intransitive, and no sort may rest on that.
//!
//! Details that do not correspond (another rule at the same place, fewer rules) still get a total order: first
//! by the kind of rule, then by value, and where one list ends the shorter one comes later (C.4).

mod plain;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use smallvec::SmallVec;

use crate::scan::{parse_number, Malformed, Scanner, Text};
use crate::weighted::Value;
use crate::MergeError;

/// The details of one hit in the order of the rules. `Less` comes first in the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RankKey<'a> {
    /// On the heap: keys move about, with the hits that they belong to, more often than they are made.
    steps: Vec<(u64, Step<'a>)>,
}

/// Places whose distances differ by no more are equally far (milli `geo_sort.rs`, `distance_error_margin`).
const RING_METRES: f64 = 1.0;

/// What one ranking rule says about a hit. The order of the variants is the order between kinds, for details that do not correspond.
#[derive(Clone, Debug, PartialEq)]
enum Step<'a> {
    /// So many words are missing of as many as a node knows could be. Not how many match: by `frequency` a node reports those and
    /// their maximum without the words that it would never let be missing, and which these are depends on its documents.
    Words(i64),
    Typo(u64),
    /// `proximity`, `attributeRank`, `wordPosition`, and rules that we do not know but that give a score.
    Score(f64),
    /// `attribute`, which is two rules in one: the attribute's rank, then the distance of the words.
    Attribute(f64, f64),
    /// 0 exact match, 1 start, 2 neither; then how many words match exactly.
    Exactness(u8, u64),
    Sort {
        ascending: bool,
        value: SortValue<'a>,
    },
    Geo {
        ascending: bool,
        distance: Option<f64>,
    },
    /// `None`: the document has no vector.
    Vector(Option<f64>),
    /// A rule that we do not know and that gives no score: a tie.
    Unknown,
    /// A sort by a field that the node may not show, before [`RankKey::reveal`]ing.
    Hidden,
    /// The search was cut off before the rule could be applied: behind every hit that has the rule.
    Skipped,
}

/// A value to sort by. The order of the variants is that of milli (`compare_sort_values`): numbers, strings, null, in both directions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SortValue<'a> {
    Number(f64),
    Text(Cow<'a, str>),
    /// No node sorts by such a value; it ties with its like.
    Other,
    Null,
}

/// Why details cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RankError {
    Malformed,
    /// The rule's name as the node gives it.
    Hidden(String),
}

impl RankError {
    pub fn at_node(self, node: usize) -> MergeError {
        match self {
            RankError::Malformed => MergeError::bad(node, "what orders a hit is not understood"),
            RankError::Hidden(rule) => MergeError::HiddenRule { node, rule },
        }
    }
}

impl From<Malformed> for RankError {
    fn from(_: Malformed) -> Self {
        RankError::Malformed
    }
}

/// Meilisearch's default rules are six; one that sorts gives nothing without `sort`.
const STEPS: usize = 6;

impl<'a> RankKey<'a> {
    /// Reads the `_rankingScoreDetails` object at `span`; `values` are the hit's `weightedScoreValues`, where its node was
    /// asked for what details hide. Without any at all hits tie under hidden rules.
    pub fn read(
        bytes: &'a [u8],
        span: Range<usize>,
        values: Option<&[Value<'a>]>,
    ) -> Result<Self, RankError> {
        let mut key = Self::scan(&mut Scanner::within(bytes, span))?;
        if let Some(values) = values {
            key.reveal(values)?;
        }
        Ok(key)
    }

    /// Reads the `_rankingScoreDetails` object at which the scanner stands, as it is shown.
    pub fn scan(scanner: &mut Scanner<'a>) -> Result<Self, RankError> {
        let mut steps = Vec::with_capacity(STEPS);
        scanner.object(|scanner, name, _| {
            if scanner.peek() != Some(b'{') {
                return Err(RankError::Malformed);
            }
            steps.push(read_step(scanner, name)?);
            Ok(())
        })?;
        if !steps.is_sorted_by_key(|(order, _)| *order) {
            steps.sort_by_key(|(order, _)| *order);
        }
        Ok(RankKey { steps })
    }

    /// Puts in what the details hide; `values` are the hit's `weightedScoreValues`. The k-th value that is no ratio belongs to the k-th rule that gives none.
    pub fn reveal(&mut self, values: &[Value<'a>]) -> Result<(), RankError> {
        if !self.steps.iter().any(|(_, step)| *step == Step::Hidden) {
            return Ok(());
        }
        let mut values = values
            .iter()
            .filter(|value| !matches!(value, Value::Score(_)));
        for (order, step) in &mut self.steps {
            if !matches!(
                step,
                Step::Sort { .. } | Step::Geo { .. } | Step::Vector(_) | Step::Hidden
            ) {
                continue;
            }
            let value = values.next();
            if *step == Step::Hidden {
                let Some(Value::Sort { ascending, value }) = value else {
                    return Err(RankError::Hidden(format!("<hidden-rule-{order}>")));
                };
                *step = Step::Sort {
                    ascending: *ascending,
                    value: value.clone(),
                };
            }
        }
        Ok(())
    }

    /// Puts in the step of `words`, which a search for all words does not have. False: the hit has one, and lacks another number.
    pub fn put_words(&mut self, at: usize, missing: u64) -> bool {
        let at = at.min(self.steps.len());
        let missing = i64::try_from(missing).unwrap_or(i64::MAX);
        if let Some((_, Step::Words(lacks))) = self.steps.get(at) {
            return *lacks == missing;
        }
        self.steps.insert(at, (at as u64, Step::Words(missing)));
        true
    }

    /// Whether any rule ranked the hit.
    pub fn is_ranked(&self) -> bool {
        !self.steps.is_empty()
    }

    /// How many steps stand before the first that goes by a distance.
    pub fn steps_before_distance(&self) -> Option<usize> {
        let mut steps = self.steps.iter();
        steps.position(|(_, step)| matches!(step, Step::Geo { .. }))
    }

    /// Whether the hit lies in the ring that begins with the hit `start`, whose step `at` goes by a distance: no rule before tells
    /// them apart, and they are as far (milli `geo_sort.rs`).
    pub fn is_in_ring(&self, start: &Self, at: usize) -> bool {
        let far = |key: &Self| match key.steps.get(at) {
            Some((_, Step::Geo { distance, .. })) => Some(*distance),
            _ => None,
        };
        let as_far = match (far(self), far(start)) {
            (Some(Some(distance)), Some(Some(from))) => (distance - from).abs() <= RING_METRES,
            (Some(None), Some(None)) => true,
            _ => false,
        };
        let before = self.steps.iter().zip(&start.steps).take(at);
        let mut before = before.map(|((_, ours), (_, theirs))| ours.compare(theirs));
        as_far && before.all(Ordering::is_eq)
    }

    /// Makes the hit as far as the ring's first, where it lies in the ring.
    pub fn join_ring(&mut self, start: &Self, at: usize) {
        if self.is_in_ring(start, at) {
            self.steps[at] = start.steps[at].clone();
        }
    }

    pub fn compare(&self, other: &Self) -> Ordering {
        for ((_, ours), (_, theirs)) in self.steps.iter().zip(&other.steps) {
            match ours.compare(theirs) {
                Ordering::Equal => {}
                decided => return decided,
            }
        }
        // More details come first.
        other.steps.len().cmp(&self.steps.len())
    }
}

/// What milli compares when it mixes two lists (`score_details.rs`, `score_values`): a run of rules that rank by a ratio
/// is one number, a rule that sorts by a value stands alone.
#[derive(Clone, Copy, Debug)]
enum MixValue<'k, 'a> {
    Score(f64),
    Sorted(&'k Step<'a>),
}

impl<'a> RankKey<'a> {
    /// Whether the hit was found for its meaning.
    pub fn is_semantic(&self) -> bool {
        self.steps
            .iter()
            .any(|(_, step)| matches!(step, Step::Vector(_)))
    }

    /// Ranks a hit that was found by words as one that is found by its meaning and has no vector: that rule is where the first one by words is.
    pub fn lose_words(&mut self) {
        let mut vector = Some(Step::Vector(None));
        self.steps.retain_mut(|(_, step)| match step {
            Step::Words(_)
            | Step::Typo(_)
            | Step::Score(_)
            | Step::Attribute(..)
            | Step::Exactness(..) => match vector.take() {
                Some(vector) => {
                    *step = vector;
                    true
                }
                None => false,
            },
            _ => true,
        });
    }

    /// Whether it was, and has a vector.
    pub fn has_similarity(&self) -> bool {
        self.steps
            .iter()
            .any(|(_, step)| matches!(step, Step::Vector(Some(_))))
    }

    /// Compares two hits of a hybrid search, each with the score of its first run of rules and the weight of its list, as milli does
    /// (`hybrid.rs`, `compare_scores`). `Greater` comes first in the answer.
    pub fn compare_mixed(
        (ours, our_score, our_weight): (&Self, f64, f64),
        (theirs, their_score, their_weight): (&Self, f64, f64),
    ) -> Ordering {
        let (mut ours, mut theirs) = (
            ours.mix_values(our_score).into_iter(),
            theirs.mix_values(their_score).into_iter(),
        );
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
                (Some(MixValue::Score(a)), Some(MixValue::Score(b))) => {
                    let (a, b) = (a * our_weight, b * their_weight);
                    if (a - b).abs() > f64::EPSILON {
                        return a.total_cmp(&b);
                    }
                }
                (Some(MixValue::Sorted(a)), Some(MixValue::Sorted(b))) => match a.compare(b) {
                    Ordering::Equal => {}
                    decided => return decided.reverse(),
                },
                (Some(MixValue::Score(score)), Some(_)) => return after_nothing(score),
                (Some(_), Some(MixValue::Score(score))) => return after_nothing(score).reverse(),
            }
        }
    }

    /// The first run's number is `score`. Those of later runs are not told, but of two lists only one has
    /// them, so that they are compared with sorted values alone: then nothing counts but whether they are zero.
    fn mix_values(&self, score: f64) -> SmallVec<[MixValue<'_, 'a>; 6]> {
        let mut values = SmallVec::new();
        let (mut runs, mut in_run) = (0, false);
        for (_, step) in &self.steps {
            let ratio = !matches!(step, Step::Sort { .. } | Step::Geo { .. } | Step::Vector(_));
            match step {
                Step::Vector(similarity) => values.push(MixValue::Score(similarity.unwrap_or(0.0))),
                _ if !ratio => values.push(MixValue::Sorted(step)),
                _ if in_run => {}
                _ => {
                    let known = if runs == 0 { score } else { 1.0 };
                    let skipped = matches!(step, Step::Skipped);
                    values.push(MixValue::Score(if skipped { 0.0 } else { known }));
                    runs += 1;
                }
            }
            in_run = ratio;
        }
        values
    }
}

fn after_nothing(score: f64) -> Ordering {
    if score == 0.0 {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

impl Step<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Step::Words(a), Step::Words(b)) => a.cmp(b),
            (Step::Typo(a), Step::Typo(b)) => a.cmp(b),
            (Step::Score(a), Step::Score(b)) => b.total_cmp(a),
            (Step::Attribute(a, a_distance), Step::Attribute(b, b_distance)) => {
                b.total_cmp(a).then(b_distance.total_cmp(a_distance))
            }
            (Step::Exactness(a, a_words), Step::Exactness(b, b_words)) => {
                a.cmp(b).then(b_words.cmp(a_words))
            }
            (
                Step::Sort { ascending, value },
                Step::Sort {
                    ascending: b_ascending,
                    value: b,
                },
            ) => b_ascending
                .cmp(ascending)
                .then_with(|| value.compare(b, *ascending)),
            (
                Step::Geo {
                    ascending,
                    distance,
                },
                Step::Geo {
                    ascending: b_ascending,
                    distance: b,
                },
            ) => b_ascending
                .cmp(ascending)
                .then_with(|| match (distance, b) {
                    (Some(a), Some(b)) => directed(a.total_cmp(b), *ascending),
                    (a, b) => b.is_some().cmp(&a.is_some()),
                }),
            (Step::Vector(a), Step::Vector(b)) => match (a, b) {
                (Some(a), Some(b)) => b.total_cmp(a),
                (a, b) => b.is_some().cmp(&a.is_some()),
            },
            (a, b) => a.kind().cmp(&b.kind()),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            // In a list by meaning, what was found by words has no vector.
            Step::Vector(_) => 0,
            Step::Words(_) => 1,
            Step::Typo(_) => 2,
            Step::Score(_) => 3,
            Step::Attribute(..) => 4,
            Step::Exactness(..) => 5,
            Step::Sort { .. } => 6,
            Step::Geo { .. } => 7,
            Step::Unknown => 8,
            Step::Hidden => 9,
            Step::Skipped => 10,
        }
    }
}

impl SortValue<'_> {
    pub fn compare(&self, other: &Self, ascending: bool) -> Ordering {
        match (self, other) {
            (SortValue::Number(a), SortValue::Number(b)) => directed(a.total_cmp(b), ascending),
            (SortValue::Text(a), SortValue::Text(b)) => {
                directed(a.as_bytes().cmp(b.as_bytes()), ascending)
            }
            (a, b) => a.kind().cmp(&b.kind()),
        }
    }

    fn kind(&self) -> u8 {
        match self {
            SortValue::Number(_) => 0,
            SortValue::Text(_) => 1,
            SortValue::Other => 2,
            SortValue::Null => 3,
        }
    }
}

pub(crate) fn directed(order: Ordering, ascending: bool) -> Ordering {
    if ascending {
        order
    } else {
        order.reverse()
    }
}

/// The numbers that a rule's object may hold.
#[derive(Default)]
struct Fields<'a> {
    order: u64,
    matching_words: u64,
    max_matching_words: u64,
    typo_count: u64,
    /// As it stands: most rules do not go by it.
    score: Option<&'a [u8]>,
    attribute_rank: f64,
    word_distance: f64,
    match_type: u8,
    distance: Option<f64>,
    similarity: Option<f64>,
    value: Option<SortValue<'a>>,
}

fn read_step<'a>(scanner: &mut Scanner<'a>, name: Text<'a>) -> Result<(u64, Step<'a>), RankError> {
    let fields = Fields::of(scanner)?;
    let order = fields.order;
    let step = match name.raw {
        b"words" => Step::Words(fields.missing_words()),
        b"typo" => Step::Typo(fields.typo_count),
        b"attribute" => Step::Attribute(fields.attribute_rank, fields.word_distance),
        b"exactness" => Step::Exactness(fields.match_type, fields.matching_words),
        b"vectorSort" => Step::Vector(fields.similarity),
        b"skipped" => Step::Skipped,
        _ => read_named(name, fields)?,
    };
    Ok((order, step))
}

/// Rules whose names carry a field and a direction, and all others.
fn read_named<'a>(name: Text<'a>, fields: Fields<'a>) -> Result<Step<'a>, RankError> {
    let (rule, ascending) = match name.raw {
        [rule @ .., b':', b'a', b's', b'c'] => (rule, true),
        [rule @ .., b':', b'd', b'e', b's', b'c'] => (rule, false),
        hidden if hidden.starts_with(b"<hidden-rule-") => return Ok(Step::Hidden),
        _ => {
            let score = fields.score.and_then(parse_number);
            return Ok(score.map_or(Step::Unknown, |score| Step::Score(positive_zero(score))));
        }
    };
    if rule.starts_with(b"_geoPoint(") {
        return Ok(Step::Geo {
            ascending,
            distance: fields.distance,
        });
    }
    Ok(Step::Sort {
        ascending,
        value: fields.value.unwrap_or(SortValue::Null),
    })
}

impl<'a> Fields<'a> {
    /// Reads the object at which the scanner stands.
    fn of(scanner: &mut Scanner<'a>) -> Result<Self, RankError> {
        if let Some((fields, length)) = plain::read(scanner.rest()) {
            scanner.go_to(scanner.pos() + length);
            return Ok(fields);
        }
        let mut fields = Fields::default();
        scanner.object(|scanner, key, _| fields.read(scanner, key))?;
        Ok(fields)
    }

    fn missing_words(&self) -> i64 {
        let count = |words: u64| i64::try_from(words).unwrap_or(i64::MAX);
        count(self.max_matching_words).saturating_sub(count(self.matching_words))
    }

    fn read(&mut self, scanner: &mut Scanner<'a>, key: Text<'a>) -> Result<(), RankError> {
        match key.raw {
            b"order" => self.order = scanner.unsigned()?.ok_or(RankError::Malformed)?,
            b"matchingWords" => {
                self.matching_words = scanner.unsigned()?.ok_or(RankError::Malformed)?
            }
            b"maxMatchingWords" => {
                self.max_matching_words = scanner.unsigned()?.ok_or(RankError::Malformed)?
            }
            b"typoCount" => self.typo_count = scanner.unsigned()?.ok_or(RankError::Malformed)?,
            b"score" => self.score = scanner.number_text()?,
            b"attributeRankingOrderScore" => {
                self.attribute_rank = positive_zero(scanner.number()?.unwrap_or(0.0))
            }
            b"queryWordDistanceScore" => {
                self.word_distance = positive_zero(scanner.number()?.unwrap_or(0.0))
            }
            b"distance" => self.distance = scanner.number()?.map(positive_zero),
            b"similarity" => self.similarity = scanner.number()?.map(positive_zero),
            b"matchType" => {
                let span = scanner.value()?;
                self.match_type = match_type(scanner.slice(span));
            }
            b"value" => self.value = Some(read_value(scanner)?),
            _ => {
                scanner.value()?;
            }
        }
        Ok(())
    }
}

/// The place of a kind of match, which stands in quotes.
fn match_type(text: &[u8]) -> u8 {
    match text {
        b"\"exactMatch\"" => 0,
        b"\"matchesStart\"" => 1,
        _ => 2,
    }
}

/// Reads a value to sort by.
pub(crate) fn read_value<'a>(scanner: &mut Scanner<'a>) -> Result<SortValue<'a>, RankError> {
    Ok(match scanner.peek() {
        Some(b'"') => SortValue::Text(scanner.string()?.decode().ok_or(RankError::Malformed)?),
        Some(b'-' | b'0'..=b'9') => SortValue::Number(positive_zero(
            scanner.number()?.ok_or(RankError::Malformed)?,
        )),
        first => {
            scanner.value()?;
            if first == Some(b'n') {
                SortValue::Null
            } else {
                SortValue::Other
            }
        }
    })
}

/// `total_cmp` tells -0 from 0; ranking does not.
fn positive_zero(number: f64) -> f64 {
    number + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> RankKey<'_> {
        RankKey::read(text.as_bytes(), 0..text.len(), Some(&[])).unwrap()
    }

    /// Asserts that each of the details comes before the next.
    fn descending(list: &[&str]) {
        for (i, a) in list.iter().enumerate() {
            for (j, b) in list.iter().enumerate() {
                assert_eq!(key(a).compare(&key(b)), i.cmp(&j), "{a} {b}");
            }
        }
    }

    #[test]
    fn it_does_not_matter_how_details_are_written() {
        for text in [
            r#"{"words":{"order":0,"matchingWords":13,"maxMatchingWords":20,"score":0.65}}"#,
            r#"{"typo":{"order":1,"typoCount":0,"maxTypoCount":9,"score":0.1}}"#,
            r#"{"proximity":{"order":2,"score":0.9849264705882353}}"#,
            r#"{"attribute":{"order":3,"attributeRankingOrderScore":1.0,"queryWordDistanceScore":0.5,"score":0.2}}"#,
            r#"{"attribute":{"order":3,"attributeRankingOrderScore":null,"queryWordDistanceScore":5e-1,"score":0.2}}"#,
            r#"{"exactness":{"order":4,"matchType":"noExactMatch","score":0.3,"matchingWords":2,"maxMatchingWords":3}}"#,
            r#"{"exactness":{"order":4,"matchType":"matchesStart","score":0.3}}"#,
            r#"{"exactness":{"order":4,"matchType":"exactMatch","score":1.0}}"#,
            r#"{"exactness":{"order":4,"matchType":3,"score":1.0}}"#,
            r#"{"wordPosition":{"order":5,"score":0.0}}"#,
            r#"{"unknown":{"order":6,"scores":1}}"#,
            r#"{"unknown":{"order":6}}"#,
            r#"{"skipped":{"order":18446744073709551615}}"#,
            r#"{"vectorSort":{"order":0,"similarity":0.5}}"#,
            r#"{"a:asc":{"order":0,"value":"}"}}"#,
        ] {
            let spaced = text.replace(':', " : ").replace(" : asc", ":asc");
            assert_eq!(key(text), key(&spaced), "{text}");
        }
        for text in [
            r#"{"words":{"order":01}}"#,
            r#"{"words":{"order":}}"#,
            r#"{"words":{"order":1"#,
        ] {
            let read = RankKey::read(text.as_bytes(), 0..text.len(), None);
            assert_eq!(read, Err(RankError::Malformed), "{text}");
        }
    }

    #[test]
    fn counts_before_ratios() {
        descending(&[
            r#"{"words":{"order":0,"matchingWords":3,"maxMatchingWords":3,"score":0.1},"typo":{"order":1,"typoCount":0,"maxTypoCount":9,"score":0.1}}"#,
            r#"{"words":{"order":0,"matchingWords":3,"maxMatchingWords":3,"score":1.0},"typo":{"order":1,"typoCount":1,"maxTypoCount":2,"score":0.9}}"#,
            r#"{"words":{"order":0,"matchingWords":2,"maxMatchingWords":3,"score":0.7},"typo":{"order":1,"typoCount":0,"maxTypoCount":2,"score":1.0}}"#,
        ]);
    }

    /// What nodes answer by `frequency` whose own documents let one word or two be missing of three.
    #[test]
    fn words_are_compared_by_what_is_missing() {
        descending(&[
            r#"{"words":{"order":0,"matchingWords":2,"maxMatchingWords":2}}"#,
            r#"{"words":{"order":0,"matchingWords":2,"maxMatchingWords":3}}"#,
            r#"{"words":{"order":0,"matchingWords":1,"maxMatchingWords":3}}"#,
        ]);
    }

    #[test]
    fn order_decides_not_the_place_in_the_map() {
        descending(&[
            r#"{"typo":{"order":1,"typoCount":5},"words":{"order":0,"matchingWords":3}}"#,
            r#"{"typo":{"order":1,"typoCount":0},"words":{"order":0,"matchingWords":2}}"#,
        ]);
    }

    #[test]
    fn sort_values_have_numbers_first_and_null_last_in_both_directions() {
        let rule =
            |rule: &str, value: &str| format!(r#"{{"{rule}":{{"order":0,"value":{value}}}}}"#);
        let list = |name: &str, values: &[&str]| -> Vec<String> {
            values.iter().map(|v| rule(name, v)).collect()
        };
        let ascending = list(
            "a:asc",
            &[
                "-1",
                "0",
                "2.5",
                "10",
                r#""10""#,
                r#""a""#,
                r#""b""#,
                r#""\u00e9""#,
                "true",
                "null",
            ],
        );
        descending(&ascending.iter().map(String::as_str).collect::<Vec<_>>());
        let falling = list(
            "a.b:desc",
            &[
                "10", "2.5", "0", "-1", r#""é""#, r#""b""#, r#""a""#, "false", "null",
            ],
        );
        descending(&falling.iter().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn geo_has_a_direction() {
        let geo = |way: &str, distance: &str| {
            format!(
                r#"{{"_geoPoint(1, 2):{way}":{{"order":0,"value":{{"lat":1,"lng":2}},"distance":{distance}}}}}"#
            )
        };
        descending(&[&geo("asc", "1"), &geo("asc", "2.5"), &geo("asc", "null")]);
        descending(&[&geo("desc", "2"), &geo("desc", "1"), &geo("desc", "null")]);
    }

    #[test]
    fn attribute_and_exactness_of_both_versions() {
        descending(&[
            r#"{"attribute":{"order":3,"attributeRankingOrderScore":1.0,"queryWordDistanceScore":0.5,"score":0.2}}"#,
            r#"{"attribute":{"order":3,"attributeRankingOrderScore":1.0,"queryWordDistanceScore":0.4,"score":0.9}}"#,
            r#"{"attribute":{"order":3,"attributeRankingOrderScore":0.9,"queryWordDistanceScore":1.0,"score":0.9}}"#,
        ]);
        descending(&[
            r#"{"attributeRank":{"order":3,"score":1.0}}"#,
            r#"{"attributeRank":{"order":3,"score":0.5}}"#,
        ]);
        descending(&[
            r#"{"exactness":{"order":4,"matchType":"exactMatch","score":1.0}}"#,
            r#"{"exactness":{"order":4,"matchType":"matchesStart","score":0.6}}"#,
            r#"{"exactness":{"order":4,"matchType":"noExactMatch","matchingWords":2,"maxMatchingWords":3,"score":0.3}}"#,
            r#"{"exactness":{"order":4,"matchType":"noExactMatch","matchingWords":0,"maxMatchingWords":0,"score":0.3}}"#,
        ]);
    }

    #[test]
    fn skipped_and_missing_rules_come_last() {
        descending(&[
            r#"{"words":{"order":0,"matchingWords":1},"typo":{"order":1,"typoCount":4}}"#,
            r#"{"words":{"order":0,"matchingWords":1},"skipped":{"order":1}}"#,
            r#"{"words":{"order":0,"matchingWords":1}}"#,
            r#"{}"#,
        ]);
    }

    #[test]
    fn hidden_values_are_put_in_by_their_place() {
        let text = r#"{"words":{"order":0,"matchingWords":1},"<hidden-rule-3>":{"order":3,"value":"<hidden>"},
            "a:asc":{"order":1,"value":5},"<hidden-rule-2>":{"order":2,"value":"<hidden>"}}"#;
        let shown = r#"{"words":{"order":0,"matchingWords":1},"a:asc":{"order":1,"value":5},"b:desc":{"order":2,"value":"x"},
            "c:asc":{"order":3,"value":null}}"#;
        let values = r#"[{"weightedScore":0.5},{"sort":{"asc":true,"value":5}},{"sort":{"asc":false,"value":"x"}},
            {"sort":{"asc":true,"value":null}},{"weightedScore":1.0}]"#;
        let values = crate::weighted::Weighted::read_values(&mut Scanner::new(values.as_bytes()));
        let values = values.unwrap();
        let read = |values| RankKey::read(text.as_bytes(), 0..text.len(), Some(values));
        assert_eq!(read(&values), Ok(key(shown)));
        let hidden = Err(RankError::Hidden("<hidden-rule-3>".into()));
        assert_eq!(read(&values[..3]), hidden, "too few");
    }

    #[test]
    fn hidden_rules_are_refused() {
        let text = r#"{"<hidden-rule-0>":{"order":0,"value":"<hidden>"}}"#;
        let hidden = RankError::Hidden("<hidden-rule-0>".into());
        assert_eq!(
            RankKey::read(text.as_bytes(), 0..text.len(), Some(&[])),
            Err(hidden)
        );
        assert_eq!(RankKey::read(b"[]", 0..2, None), Err(RankError::Malformed));
    }
}
