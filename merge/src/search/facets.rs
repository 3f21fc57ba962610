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

/// Writes `facetDistribution` and `facetStats` where any node sent them.
pub(super) fn merge_facets(
    answers: &[Bytes],
    scanned: &[Answer],
    spec: &Spec,
    total: u64,
    reply: &mut Reply,
) -> Result<(), MergeError> {
    let mut facets: BTreeMap<Cow<str>, Facet> = BTreeMap::new();
    let mut merged_stats: BTreeMap<Cow<str>, Stats> = BTreeMap::new();
    for (node, (bytes, answer)) in answers.iter().zip(scanned).enumerate() {
        let broken = |error| unreadable(node, error);
        let stats = match &answer.stats {
            Some(span) => read_stats(bytes, span.clone()).map_err(broken)?,
            None => BTreeMap::new(),
        };
        if let Some(span) = &answer.facets {
            read_facets(bytes, span.clone(), &stats, spec, &mut facets).map_err(broken)?;
        }
        for (name, stats) in stats {
            merged_stats
                .entry(name)
                .and_modify(|known| known.widen(&stats))
                .or_insert(stats);
        }
    }
    if scanned.iter().any(|answer| answer.facets.is_some()) {
        reply.text(b",\"facetDistribution\":{");
        for (place, (name, facet)) in facets.into_iter().enumerate() {
            separate(reply, place);
            reply.string(&name);
            reply.text(b":{");
            facet.write(spec, &name, total, reply);
            reply.text(b"}");
        }
        reply.text(b"}");
    }
    if scanned.iter().any(|answer| answer.stats.is_some()) {
        reply.text(b",\"facetStats\":{");
        for (place, (name, stats)) in merged_stats.iter().enumerate() {
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
    Ok(())
}

fn separate(reply: &mut Reply, place: usize) {
    if place > 0 {
        reply.text(b",");
    }
}

/// Least and greatest number of a facet, each with the text by which its node gave it.
#[derive(Clone, Debug)]
struct Stats<'a> {
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
    spec: &Spec,
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
        let order = (spec.facet_order)(&name);
        let numbers = numbers_in(&listed, stats.get(&name), order);
        let facet = facets.entry(name).or_default();
        facet.numeric_order_seen |= is_numeric_only(&numbers);
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

    /// Writes the members of the facet's object in milli's order.
    fn write(self, spec: &Spec, name: &str, total: u64, reply: &mut Reply) {
        let textual = total <= TEXT_ORDER_CANDIDATES_MAX && !self.numeric_order_seen;
        let mut list: Vec<((bool, String), Value)> = self.values.into_iter().collect();
        let by_count = (spec.facet_order)(name) == FacetOrder::Count;
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
        list.truncate(spec.max_values_per_facet);
        write_values(list, reply);
    }
}

fn compare_values(a: (&Value, &str), b: (&Value, &str), textual: bool) -> Ordering {
    match (a.0.number, b.0.number) {
        (Some(a), Some(b)) if !textual => a.total_cmp(&b),
        _ => a.1.cmp(b.1),
    }
}

/// A number and a string of the same text would be one key twice. On one node the string's count stands at the number's
/// place, because both go into one map; so here.
fn write_values(list: Vec<((bool, String), Value)>, reply: &mut Reply) {
    let strings = list.partition_point(|(_, value)| value.number.is_some());
    let (numbers, strings) = list.split_at(strings);
    let number_texts: HashMap<&str, usize, BuildHasherDefault<AHasher>> = numbers
        .iter()
        .enumerate()
        .map(|(place, (_, value))| (value.spelling.as_ref(), place))
        .collect();
    let mut counts: Vec<u64> = numbers.iter().map(|(_, value)| value.count).collect();
    let mut rest = Vec::with_capacity(strings.len());
    for (_, value) in strings {
        match number_texts.get(value.spelling.as_ref()) {
            Some(&place) => counts[place] = value.count,
            None => rest.push((value.spelling.as_ref(), value.count)),
        }
    }
    let numbers = numbers
        .iter()
        .map(|(_, value)| value.spelling.as_ref())
        .zip(counts);
    for (place, (spelling, count)) in numbers.chain(rest).enumerate() {
        separate(reply, place);
        reply.string(spelling);
        reply.text(b":");
        reply.number(count);
    }
}
