//! Merging the answers to one facet search.
//!
//! Every node walks its values in the order of their normalised forms, and keeps the first (`alpha`) or the most frequent
//! ones (`count`, milli `search/facet/search.rs`). Here the same is done over the values of all nodes, after the counts
//! of a value were summed. A node's own cut loses nothing in alphabetical order; by count it is far behind the user's
//! number (nodes are configured with a larger `maxValuesPerFacet`).

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use bytes::Bytes;
use unicode_normalization::char::is_combining_mark;

use crate::facet_value::{normalize, truncate};
use crate::reply::{Merged, Reply};
use crate::scan::{Malformed, Scanner};
use crate::search::FacetOrder;
use crate::MergeError;

/// What the client asked for, and how the index orders this facet.
pub struct FacetSearch<'a> {
    /// Echoed.
    pub query: Option<&'a str>,
    pub order: FacetOrder,
    /// Values kept (`faceting.maxValuesPerFacet`).
    pub max_values: usize,
}

/// Merges the bodies of the nodes' answers to `POST /indexes/{uid}/facet-search`. A value keeps the spelling of the first
/// answer that has it. It took as long as the slowest node says of itself: what is looked up in a list takes nodes no
/// whole millisecond, and clients see 0.
///
/// # Errors
/// An answer that is not one of a facet search.
pub fn merge_facet_search(answers: &[Bytes], spec: &FacetSearch) -> Result<Merged, MergeError> {
    let mut values: BTreeMap<Place, Value> = BTreeMap::new();
    let mut slowest = 0;
    for (node, bytes) in answers.iter().enumerate() {
        let took = read(bytes, spec.query.is_some(), &mut values).map_err(|error| {
            MergeError::bad(
                node,
                format!(
                    "it is not the JSON of a facet search (at byte {})",
                    error.at
                ),
            )
        })?;
        slowest = slowest.max(took);
    }
    let mut reply = Reply::default();
    reply.text(b"{\"facetHits\":[");
    for (place, value) in kept(values, spec).into_iter().enumerate() {
        if place > 0 {
            reply.text(b",");
        }
        reply.text(b"{\"value\":");
        reply.string(&value.spelling);
        reply.text(b",\"count\":");
        reply.number(value.count);
        reply.text(b"}");
    }
    reply.text(b"],\"facetQuery\":");
    match spec.query {
        Some(query) => reply.string(query),
        None => reply.text(b"null"),
    }
    reply.text(b",\"processingTimeMs\":");
    reply.number(slowest);
    reply.text(b"}");
    Ok(reply.finish())
}

/// Where a value stands in a node's walk: with a query that is by the form in which values are searched, and then, as
/// without one, by the normalised form, which also tells values apart.
type Place = (String, String);

/// Ordered as milli orders facet hits: by count, then by spelling.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Value<'a> {
    count: u64,
    spelling: Cow<'a, str>,
}

/// Adds a node's values, and gives the milliseconds that it took.
fn read<'a>(
    bytes: &'a [u8],
    searched: bool,
    values: &mut BTreeMap<Place, Value<'a>>,
) -> Result<u64, Malformed> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| Malformed { at: 0 })?;
    let (mut found, mut took) = (false, 0);
    let mut scanner = Scanner::new(bytes);
    scanner.object(|scanner, key, _| {
        match key.raw {
            b"facetHits" => (),
            b"processingTimeMs" => {
                took = scanner.unsigned()?.unwrap_or(0);
                return Ok(());
            }
            _ => return scanner.value().map(|_| ()),
        }
        // Twice would be two lists in one.
        if std::mem::replace(&mut found, true) {
            return scanner.malformed();
        }
        scanner.array(|scanner| {
            let Value { count, spelling } = read_hit(scanner)?;
            let form = truncate(&normalize(&spelling)).to_owned();
            let place = (
                if searched {
                    searched_form(&form)
                } else {
                    String::new()
                },
                form,
            );
            values
                .entry(place)
                .and_modify(|known| known.count = known.count.saturating_add(count))
                .or_insert(Value { count, spelling });
            Ok::<(), Malformed>(())
        })
    })?;
    scanner.end()?;
    match found {
        true => Ok(took),
        false => scanner.malformed(),
    }
}

fn read_hit<'a>(scanner: &mut Scanner<'a>) -> Result<Value<'a>, Malformed> {
    let (mut spelling, mut count) = (None, None);
    scanner.object(|scanner, key, _| {
        match key.raw {
            b"value" => spelling = scanner.string()?.decode(),
            b"count" => count = scanner.unsigned()?,
            _ => {
                scanner.value()?;
            }
        }
        Ok::<(), Malformed>(())
    })?;
    match (spelling, count) {
        (Some(spelling), Some(count)) => Ok(Value { count, spelling }),
        _ => scanner.malformed(),
    }
}

/// How charabia normalises what is searched, as far as that moves a value among others: without accents. (It does more
/// for some scripts, Chinese and Japanese among them: there the order of the values with a query is only stable.)
fn searched_form(normalized: &str) -> String {
    normalized
        .chars()
        .filter(|c| !is_combining_mark(*c))
        .map(|c| {
            if matches!(c, '\u{2018}' | '\u{2019}') {
                '\''
            } else {
                c
            }
        })
        .collect()
}

/// milli's `ValuesCollection`: a value that is as frequent as the least frequent one that was kept takes its place.
fn kept<'a>(values: BTreeMap<Place, Value<'a>>, spec: &FacetSearch) -> Vec<Value<'a>> {
    let values = values.into_values();
    if spec.order == FacetOrder::Alpha {
        return values.take(spec.max_values).collect();
    }
    let mut heap: BinaryHeap<Reverse<Value>> = BinaryHeap::new();
    for value in values {
        if heap.len() < spec.max_values {
            heap.push(Reverse(value));
        } else if let Some(mut least) = heap.peek_mut() {
            if least.0.count <= value.count {
                *least = Reverse(value);
            }
        }
    }
    heap.into_sorted_vec()
        .into_iter()
        .map(|Reverse(value)| value)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{json, Value as Json};

    fn answer(hits: &[(&str, u64)]) -> Bytes {
        timed(hits, 1)
    }

    fn timed(hits: &[(&str, u64)], took: u64) -> Bytes {
        let hits: Vec<Json> = hits
            .iter()
            .map(|(value, count)| json!({"value": value, "count": count}))
            .collect();
        json!({"facetHits": hits, "facetQuery": null, "processingTimeMs": took})
            .to_string()
            .into()
    }

    fn merged(
        answers: &[Bytes],
        query: Option<&str>,
        order: FacetOrder,
        max: usize,
    ) -> Vec<(String, u64)> {
        let spec = FacetSearch {
            query,
            order,
            max_values: max,
        };
        let merged = merge_facet_search(answers, &spec).unwrap().to_bytes();
        let merged: Json = serde_json::from_slice(&merged).unwrap();
        assert_eq!(merged["facetQuery"], json!(query));
        let hit = |hit: &Json| {
            (
                hit["value"].as_str().unwrap().to_owned(),
                hit["count"].as_u64().unwrap(),
            )
        };
        merged["facetHits"]
            .as_array()
            .unwrap()
            .iter()
            .map(hit)
            .collect()
    }

    #[test]
    fn the_slowest_node_says_how_long_it_took() {
        let answers = [timed(&[("a", 1)], 0), timed(&[("b", 1)], 3), timed(&[], 2)];
        let spec = FacetSearch {
            query: None,
            order: FacetOrder::Alpha,
            max_values: 10,
        };
        let merged = merge_facet_search(&answers, &spec).unwrap().to_bytes();
        let merged: Json = serde_json::from_slice(&merged).unwrap();
        assert_eq!(merged["processingTimeMs"], 3);
    }

    fn owned(hits: &[(&str, u64)]) -> Vec<(String, u64)> {
        hits.iter()
            .map(|(value, count)| (value.to_string(), *count))
            .collect()
    }

    #[test]
    fn counts_of_a_value_are_summed_under_one_spelling() {
        let nodes = [
            answer(&[("Été", 2), ("Zoo", 1)]),
            answer(&[("Action", 1), ("ÉTÉ ", 3)]),
        ];
        let alpha = merged(&nodes, None, FacetOrder::Alpha, 9);
        assert_eq!(alpha, owned(&[("Action", 1), ("Été", 5), ("Zoo", 1)]));
        let cut = merged(&nodes, Some("e"), FacetOrder::Alpha, 2);
        assert_eq!(cut, owned(&[("Action", 1), ("Été", 5)]));
        let count = merged(&nodes, Some(""), FacetOrder::Count, 2);
        assert_eq!(count, owned(&[("Été", 5), ("Zoo", 1)]));
        assert_eq!(merged(&nodes, None, FacetOrder::Count, 0), owned(&[]));
        assert_eq!(merged(&[], None, FacetOrder::Alpha, 5), owned(&[]));
    }

    #[test]
    fn with_a_query_accents_do_not_move_a_value() {
        let nodes = [answer(&[("Éb", 1)]), answer(&[("Ea", 1), ("Ec", 1)])];
        let names = |query| -> Vec<String> {
            merged(&nodes, query, FacetOrder::Alpha, 9)
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        assert_eq!(names(Some("e")), ["Ea", "Éb", "Ec"]);
        assert_eq!(names(None), ["Ea", "Ec", "Éb"]);
    }

    #[test]
    fn whatever_is_no_answer_is_refused() {
        for bad in [
            "",
            "{}",
            r#"{"facetHits":{}}"#,
            r#"{"facetHits":[{"value":"a"}]}"#,
            r#"{"facetHits":[{"value":"a","count":"b"}]}"#,
            r#"{"facetHits":[],"facetHits":[]}"#,
            r#"{"facetHits":[]}}"#,
        ] {
            let spec = FacetSearch {
                query: None,
                order: FacetOrder::Alpha,
                max_values: 5,
            };
            assert!(
                merge_facet_search(&[Bytes::from(bad)], &spec).is_err(),
                "{bad}"
            );
        }
    }

    proptest! {
        /// However documents lie on nodes, the merge keeps what one node with all of them keeps.
        #[test]
        fn it_is_as_on_one_node(
            documents in proptest::collection::vec(("[abAB]{1,2}", 0usize..3), 0..60),
            by_count: bool,
            max in 0usize..8,
        ) {
            let order = if by_count { FacetOrder::Count } else { FacetOrder::Alpha };
            let list = |mine: &dyn Fn(usize) -> bool| {
                // One spelling a value, so that spellings cannot differ between nodes.
                let mut counts: BTreeMap<String, u64> = BTreeMap::new();
                for (value, _) in documents.iter().filter(|(_, node)| mine(*node)) {
                    *counts.entry(value.to_lowercase()).or_default() += 1;
                }
                let hits: Vec<(&str, u64)> = counts.iter().map(|(v, c)| (v.as_str(), *c)).collect();
                answer(&hits)
            };
            let one = merged(&[list(&|_| true)], None, order, max);
            let three: Vec<Bytes> = (0..3).map(|node| list(&|n| n == node)).collect();
            prop_assert_eq!(merged(&three, None, order, max), one);
        }
    }
}
