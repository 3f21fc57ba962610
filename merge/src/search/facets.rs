//! Merging facet distributions and statistics.
//!
//! A node lists, per facet, values with counts: first numbers, then strings (milli `facet_distribution.rs`). Values merge by
//! their normalised form and keep the spelling of the lowest node. Whether a listed value was a number or a string does not show
//! in JSON, where both are keys, but a node's own order and its `facetStats` tell (see [`numbers_in`]), and it matters: for the order, and
//! because 1 and "1" are two values.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::ops::Range;

use ahash::AHasher;
use bytes::Bytes;

use super::answer::{unreadable, Answer};
use super::{FacetOrder, Spec};
use crate::facet_value::{normalize, truncate};
use crate::reply::Reply;
use crate::scan::{Malformed, Scanner};
use crate::MergeError;

/// Up to this many candidates milli collects alphabetical facets document by document and so sorts *numbers as text*
/// (`CANDIDATES_THRESHOLD`); above it they come in numeric order.
const TEXT_ORDER_CANDIDATES_MAX: u64 = 3000;

/// What an index's settings say of its facets.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub order: &'a dyn Fn(&str) -> FacetOrder,
    /// Values kept a facet.
    pub values_max: usize,
}

/// The facets of one index while the nodes' are added up.
#[derive(Default)]
pub(crate) struct Facets<'a> {
    facets: BTreeMap<Cow<'a, str>, Facet<'a>>,
    stats: BTreeMap<Cow<'a, str>, Stats<'a>>,
}

/// A facet's values with their counts, in the order in which one node lists them.
pub(crate) type Values<'a> = Vec<(Cow<'a, str>, u64)>;

/// Writes `facetDistribution` and `facetStats` where any node sent them.
pub(super) fn merge_facets(
    answers: &[Bytes],
    scanned: &[Answer],
    spec: &Spec,
    total: u64,
    reply: &mut Reply,
) -> Result<(), MergeError> {
    let rules = Rules {
        order: spec.facet_order,
        values_max: spec.max_values_per_facet,
    };
    let mut facets = Facets::default();
    for (node, (bytes, answer)) in answers.iter().zip(scanned).enumerate() {
        facets
            .add(bytes, answer.facets.clone(), answer.stats.clone(), rules)
            .map_err(|error| unreadable(node, error))?;
    }
    let (distribution, stats) = facets.finish(rules, total);
    if scanned.iter().any(|answer| answer.facets.is_some()) {
        reply.text(b",\"facetDistribution\":");
        write_distribution(distribution.iter(), reply);
    }
    if scanned.iter().any(|answer| answer.stats.is_some()) {
        reply.text(b",\"facetStats\":");
        write_stats(&stats, reply);
    }
    Ok(())
}

impl<'a> Facets<'a> {
    /// Adds what a node says: the spans of its distribution and of its statistics.
    pub fn add(
        &mut self,
        bytes: &'a [u8],
        distribution: Option<Range<usize>>,
        stats: Option<Range<usize>>,
        rules: Rules,
    ) -> Result<(), Malformed> {
        let stats = match stats {
            Some(span) => read_stats(bytes, span)?,
            None => BTreeMap::new(),
        };
        if let Some(span) = distribution {
            read_facets(bytes, span, &stats, rules, &mut self.facets)?;
        }
        widen_all(&mut self.stats, stats);
        Ok(())
    }

    /// The values of one facet; none where no node has one.
    pub(super) fn counts(self, name: &str) -> ValueCounts {
        let mut facets = self.facets.into_iter();
        let Some((_, facet)) = facets.find(|(known, _)| known == name) else {
            return ValueCounts::default();
        };
        let values = facet.values.into_iter();
        ValueCounts {
            counts: values.map(|(key, value)| (key, value.count)).collect(),
            longest: facet.longest,
        }
    }

    /// The greatest count of a value: the search has found at least so many documents.
    pub fn count_max(&self) -> u64 {
        let values = self.facets.values().flat_map(|facet| facet.values.values());
        values.map(|value| value.count).max().unwrap_or(0)
    }

    /// Distribution and statistics by the facets' names; `total` is how many documents the search has found.
    pub fn finish(
        self,
        rules: Rules,
        total: u64,
    ) -> (
        BTreeMap<Cow<'a, str>, Values<'a>>,
        BTreeMap<Cow<'a, str>, Stats<'a>>,
    ) {
        let list = |(name, facet): (Cow<'a, str>, Facet<'a>)| {
            let values = facet.list(rules, &name, total);
            (name, values)
        };
        (self.facets.into_iter().map(list).collect(), self.stats)
    }
}

/// Writes an object with an object of counts for each facet.
pub(crate) fn write_distribution<'a>(
    facets: impl Iterator<Item = (&'a Cow<'a, str>, &'a Values<'a>)>,
    reply: &mut Reply,
) {
    reply.text(b"{");
    for (place, (name, values)) in facets.enumerate() {
        separate(reply, place);
        reply.string(name);
        reply.text(b":{");
        for (place, (spelling, count)) in values.iter().enumerate() {
            separate(reply, place);
            reply.string(spelling);
            reply.text(b":");
            reply.number(*count);
        }
        reply.text(b"}");
    }
    reply.text(b"}");
}

/// Writes an object with `min` and `max` for each facet.
pub(crate) fn write_stats(stats: &BTreeMap<Cow<str>, Stats>, reply: &mut Reply) {
    reply.text(b"{");
    for (place, (name, stats)) in stats.iter().enumerate() {
        separate(reply, place);
        reply.string(name);
        reply.text(b":{\"min\":");
        reply.text(stats.min.1.as_bytes());
        reply.text(b",\"max\":");
        reply.text(stats.max.1.as_bytes());
        reply.text(b"}");
    }
    reply.text(b"}");
}

fn separate(reply: &mut Reply, place: usize) {
    if place > 0 {
        reply.text(b",");
    }
}

/// Adds statistics to others by the facets' names.
pub(crate) fn widen_all<'a>(
    all: &mut BTreeMap<Cow<'a, str>, Stats<'a>>,
    more: BTreeMap<Cow<'a, str>, Stats<'a>>,
) {
    for (name, stats) in more {
        all.entry(name)
            .and_modify(|known| known.widen(&stats))
            .or_insert(stats);
    }
}

/// Least and greatest number of a facet, each with the text by which its node gave it.
#[derive(Clone, Debug)]
pub(crate) struct Stats<'a> {
    min: (f64, &'a str),
    max: (f64, &'a str),
}

impl<'a> Stats<'a> {
    fn widen(&mut self, other: &Stats<'a>) {
        if other.min.0 < self.min.0 {
            self.min = other.min;
        }
        if other.max.0 > self.max.0 {
            self.max = other.max;
        }
    }
}

fn read_stats(
    bytes: &[u8],
    span: Range<usize>,
) -> Result<BTreeMap<Cow<'_, str>, Stats<'_>>, Malformed> {
    let mut list = BTreeMap::new();
    Scanner::within(bytes, span).object(|scanner, name, start| {
        let (mut min, mut max) = (None, None);
        scanner.object(|scanner, key, _| {
            let slot = match key.raw {
                b"min" => &mut min,
                b"max" => &mut max,
                _ => return scanner.value().map(|_| ()),
            };
            let span = scanner.value()?;
            *slot = std::str::from_utf8(scanner.slice(span))
                .ok()
                .and_then(|text| Some((text.parse::<f64>().ok()?, text)));
            Ok(())
        })?;
        let name = name.decode().ok_or(Malformed { at: start })?;
        if let (Some(min), Some(max), false) = (min, max, name == miroir_api::SHARD_FIELD) {
            list.insert(name, Stats { min, max });
        }
        Ok::<(), Malformed>(())
    })?;
    Ok(list)
}

/// One facet over all nodes.
#[derive(Default)]
struct Facet<'a> {
    /// Numbers and strings of the same text are different values, hence the flag in the key.
    values: HashMap<(bool, String), Value<'a>, BuildHasherDefault<AHasher>>,
    /// A node listed numbers in an order that is numeric and not textual: there were too many candidates for the textual one.
    numeric_order_seen: bool,
    /// The most values that one node has listed.
    longest: usize,
}

/// How many documents have each value of a facet.
#[derive(Default)]
pub(super) struct ValueCounts {
    counts: HashMap<(bool, String), u64, BuildHasherDefault<AHasher>>,
    /// The most values that one node has listed.
    pub longest: usize,
}

impl ValueCounts {
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Those that have several values count several times.
    pub fn documents(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Of a number or of a string, by its normalised form.
    pub fn of(&self, number: bool, value: String) -> Option<u64> {
        self.counts.get(&(number, value)).copied()
    }
}

struct Value<'a> {
    /// As the first node spells it.
    spelling: Cow<'a, str>,
    /// Present for numbers.
    number: Option<f64>,
    count: u64,
}

fn read_facets<'a>(
    bytes: &'a [u8],
    span: Range<usize>,
    stats: &BTreeMap<Cow<str>, Stats>,
    rules: Rules,
    facets: &mut BTreeMap<Cow<'a, str>, Facet<'a>>,
) -> Result<(), Malformed> {
    Scanner::within(bytes, span).object(|scanner, name, start| {
        let name = name.decode().ok_or(Malformed { at: start })?;
        if name == miroir_api::SHARD_FIELD {
            return scanner.value().map(|_| ());
        }
        let mut listed: Vec<(Cow<str>, u64)> = Vec::new();
        scanner.object(|scanner, value, start| {
            let value = value.decode().ok_or(Malformed { at: start })?;
            match scanner.unsigned()? {
                Some(count) => listed.push((value, count)),
                None => return scanner.malformed(),
            }
            Ok::<(), Malformed>(())
        })?;
        let order = (rules.order)(&name);
        let numbers = numbers_in(&listed, stats.get(&name), order);
        let facet = facets.entry(name).or_default();
        facet.numeric_order_seen |= is_numeric_only(&numbers);
        facet.longest = facet.longest.max(listed.len());
        for (place, (spelling, count)) in listed.into_iter().enumerate() {
            facet.add(spelling, numbers.get(place).copied(), count);
        }
        Ok::<(), Malformed>(())
    })
}

/// The numbers among the listed values, which stand first: the longest run of values that are written as milli writes numbers, lie
/// within the node's statistics and keep the order in which it lists numbers. No statistics, no numbers.
fn numbers_in(listed: &[(Cow<str>, u64)], stats: Option<&Stats>, order: FacetOrder) -> Vec<f64> {
    let mut numbers: Vec<f64> = Vec::new();
    let Some(stats) = stats else { return numbers };
    // Alphabetical lists are in numeric or in textual order; both are possible until one is broken.
    let (mut numeric, mut textual) = (true, true);
    for (place, (text, count)) in listed.iter().enumerate() {
        let Some(number) = canonical_number(text) else {
            break;
        };
        if number < stats.min.0 || number > stats.max.0 {
            break;
        }
        if let (Some(&last), Some((last_text, last_count))) =
            (numbers.last(), place.checked_sub(1).map(|p| &listed[p]))
        {
            match order {
                FacetOrder::Alpha => {
                    let still = (numeric && last < number, textual && last_text < text);
                    if still == (false, false) {
                        break;
                    }
                    (numeric, textual) = still;
                }
                FacetOrder::Count if last_count < count => break,
                FacetOrder::Count => {}
            }
        }
        numbers.push(number);
    }
    numbers
}

/// Reads a number that is written as Rust prints an `f64`, which is how milli prints numeric facets.
fn canonical_number(text: &str) -> Option<f64> {
    if !matches!(text.as_bytes().first()?, b'-' | b'0'..=b'9') {
        return None;
    }
    let number: f64 = text.parse().ok()?;
    (number.is_finite() && number.to_string() == text).then_some(number)
}

fn is_numeric_only(numbers: &[f64]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
        && numbers
            .windows(2)
            .any(|pair| pair[0].to_string() > pair[1].to_string())
}

impl<'a> Facet<'a> {
    fn add(&mut self, spelling: Cow<'a, str>, number: Option<f64>, count: u64) {
        let key = match number {
            Some(_) => spelling.clone().into_owned(),
            None => truncate(&normalize(&spelling)).to_owned(),
        };
        self.values
            .entry((number.is_some(), key))
            .and_modify(|known| known.count = known.count.saturating_add(count))
            .or_insert(Value {
                spelling,
                number,
                count,
            });
    }

    /// The values in milli's order.
    fn list(self, rules: Rules, name: &str, total: u64) -> Values<'a> {
        let textual = total <= TEXT_ORDER_CANDIDATES_MAX && !self.numeric_order_seen;
        let mut list: Vec<((bool, String), Value)> = self.values.into_iter().collect();
        let by_count = (rules.order)(name) == FacetOrder::Count;
        list.sort_unstable_by(|((_, a_key), a), ((_, b_key), b)| {
            let numbers_first = b.number.is_some().cmp(&a.number.is_some());
            numbers_first.then_with(|| {
                if by_count {
                    // milli takes values from a heap of (count, value): ties come with the greater value first.
                    b.count
                        .cmp(&a.count)
                        .then_with(|| compare_values((b, b_key), (a, a_key), false))
                } else {
                    compare_values((a, a_key), (b, b_key), textual)
                }
            })
        });
        let walks_tree = by_count || total > TEXT_ORDER_CANDIDATES_MAX;
        cut(list, rules.values_max, walks_tree)
    }
}

fn compare_values(a: (&Value, &str), b: (&Value, &str), textual: bool) -> Ordering {
    match (a.0.number, b.0.number) {
        (Some(a), Some(b)) if !textual => a.total_cmp(&b),
        _ => a.1.cmp(b.1),
    }
}

/// The first `max` values, as milli counts them (`facet_distribution.rs`): it fills one map, first with numbers, then with
/// strings. A number and a string of the same text are one key there, so that the string's count stands at the number's place.
///
/// Where it walks its tree of values it stops when an insertion makes the map `max` long. Numbers that fill the map alone have
/// passed that mark, and then *all* strings follow; nothing stops it at 0.
fn cut<'a>(
    mut numbers: Vec<((bool, String), Value<'a>)>,
    max: usize,
    walks_tree: bool,
) -> Values<'a> {
    let strings = numbers.split_off(numbers.partition_point(|(_, value)| value.number.is_some()));
    let numbers_max = if walks_tree && max == 0 {
        usize::MAX
    } else {
        max
    };
    let mut kept: Values = numbers
        .into_iter()
        .take(numbers_max)
        .map(|(_, value)| (value.spelling, value.count))
        .collect();
    let places: HashMap<Cow<str>, usize, BuildHasherDefault<AHasher>> = kept
        .iter()
        .enumerate()
        .map(|(place, (text, _))| (text.clone(), place))
        .collect();
    let strings_max = if walks_tree {
        usize::MAX
    } else {
        max - kept.len()
    };
    for (_, value) in strings.into_iter().take(strings_max) {
        match places.get(&value.spelling) {
            Some(&place) => kept[place].1 = value.count,
            None => kept.push((value.spelling, value.count)),
        }
        if walks_tree && kept.len() == max {
            break;
        }
    }
    kept
}
