//! Answers of the documents routes: lists, and single documents.

mod sort_key;

use std::ops::Range;

use bytes::Bytes;
use miroir_api::SHARD_FIELD;

use crate::cut::{cut_object, Cuts, Ranges};
use crate::reply::{Merged, Reply};
use crate::scan::{Malformed, Scanner};
use crate::tie::Tie;
use crate::MergeError;
use sort_key::SortKey;

/// One node's answer to `GET /indexes/{uid}/documents` or `POST .../documents/fetch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Documents that match, not only those of this page.
    pub total: u64,
    /// Where the documents stand in the answer.
    pub results: Vec<Range<usize>>,
}

/// How the nodes' pages become the client's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DocumentsPage<'a> {
    /// Echoed.
    pub offset: usize,
    /// Echoed; the page has no more documents.
    pub limit: usize,
    /// Documents of the joined or merged list that come before the page.
    pub skip: usize,
    /// The nodes were asked to sort, and to tell by which values (`Meili-Proxy-Search`, MEILISEARCH A.4): their lists are
    /// merged. Otherwise they are put one behind the other, but for what comes `by_key`.
    pub sorted: bool,
    pub by_key: ByKey<'a>,
    pub placeless: Placeless<'a>,
}

/// The first documents of lists are merged by their keys where they have no other order: of the documents in front, the one
/// with the least key comes first ([`tie`](crate::tie)). So documents that were written in the order of their keys come as one node lists them,
/// which is by when they were first written; and how a list goes on never changes how it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKey<'a> {
    /// The member that holds the key.
    pub key: &'a str,
    /// So many documents at the beginning of each node's answer.
    pub first: usize,
    /// The client did not ask for the key, so it is taken out.
    pub cut: bool,
}

/// A node that holds no document with a place refuses to sort by one, and was asked without: its documents are nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placeless<'a> {
    /// The answers of such nodes.
    pub answers: &'a [usize],
    /// Where rules that sort by a place stand in `sort`, ascending.
    pub rules: &'a [usize],
}

/// Only the hidden field goes, and what nodes were asked for on behalf of the merge; documents routes ignore
/// `displayedAttributes`, so the field is always there.
const CUTS: Cuts = Cuts {
    members: &[SHARD_FIELD],
    paths: &[],
    formatted_paths: &[],
    hit: false,
};

/// The member that holds the values by which a document is sorted.
const FEDERATION: &str = "_federation";

/// Finds the documents and the total in a documents answer.
///
/// # Errors
/// `BadAnswer` (with `node` 0) for anything else.
pub fn scan_documents(answer: &Bytes) -> Result<Page, MergeError> {
    let mut results = Vec::new();
    let total = walk_page(answer, 0, &mut |scanner| {
        if scanner.peek() != Some(b'{') {
            return scanner.malformed();
        }
        results.push(scanner.value()?);
        Ok(())
    })?;
    Ok(Page { total, results })
}

/// Makes one documents answer of the nodes', without the reserved field and with the sum of totals.
///
/// # Errors
/// An answer that is not a documents answer; [`MergeError::Unsorted`] where documents come without the values that they
/// are sorted by.
pub fn merge_documents(answers: &[Bytes], page: &DocumentsPage<'_>) -> Result<Merged, MergeError> {
    let lists: Vec<List> = answers
        .iter()
        .enumerate()
        .map(|(node, bytes)| {
            let nowhere = page.placeless.answers.contains(&node);
            let nowhere = nowhere.then_some(page.placeless.rules);
            let keys = page.sorted && answers.len() > 1;
            List::read(bytes, node, keys, nowhere, &page.by_key)
        })
        .collect::<Result<_, _>>()?;
    let total = lists
        .iter()
        .fold(0u64, |sum, list| sum.saturating_add(list.total));
    let mut reply = Reply::default();
    reply.text(b"{\"results\":[");
    let mut members = vec![SHARD_FIELD];
    members.extend(page.sorted.then_some(FEDERATION));
    members.extend(page.by_key.cut.then_some(page.by_key.key));
    let cuts = &Cuts {
        members: &members,
        ..CUTS
    };
    let mut ranges = Ranges::new();
    let places = in_order(&lists).skip(page.skip).take(page.limit);
    for (place, (node, document)) in places.enumerate() {
        if place > 0 {
            reply.text(b",");
        }
        let bytes = &answers[node];
        let mut scanner = Scanner::within(bytes, document.span.clone());
        write_document(bytes, &mut scanner, cuts, &mut ranges, &mut reply)
            .map_err(|error| unreadable(node, error))?;
    }
    reply.text(b"],\"offset\":");
    reply.number(page.offset as u64);
    reply.text(b",\"limit\":");
    reply.number(page.limit as u64);
    reply.text(b",\"total\":");
    reply.number(total);
    reply.text(b"}");
    Ok(reply.finish())
}

/// What one node sent.
struct List<'a, 'k> {
    total: u64,
    documents: Vec<Document<'a, 'k>>,
}

struct Document<'a, 'k> {
    span: Range<usize>,
    /// What it is sorted by; empty where the lists are only joined.
    key: SortKey<'a>,
    tie: Tie<'a, 'k>,
}

impl<'a, 'k> List<'a, 'k> {
    fn read(
        bytes: &'a Bytes,
        node: usize,
        keys: bool,
        nowhere: Option<&[usize]>,
        by_key: &ByKey<'k>,
    ) -> Result<Self, MergeError> {
        let mut documents = Vec::new();
        let total = walk_page(bytes, node, &mut |scanner| {
            if scanner.peek() != Some(b'{') {
                return scanner.malformed();
            }
            let span = scanner.value()?;
            let key = SortKey::default();
            let primary_key = Some(by_key.key).filter(|_| documents.len() < by_key.first);
            let tie = Tie::of(bytes, span.clone(), primary_key);
            documents.push(Document { span, key, tie });
            Ok(())
        })?;
        for document in documents.iter_mut().filter(|_| keys) {
            let key =
                read_key(bytes, document.span.clone()).map_err(|error| unreadable(node, error))?;
            document.key = match nowhere {
                None => key.ok_or(MergeError::Unsorted { node })?,
                // Without the rules that it refuses a node may have had nothing to sort by.
                Some(rules) => key.unwrap_or_default().nowhere(rules),
            };
        }
        Ok(List { total, documents })
    }
}

/// The documents of all lists, each with its node: the one of the fronts that sorts first, of equal ones that of the first
/// node. Each node's own order is kept.
fn in_order<'l, 'a, 'k>(
    lists: &'l [List<'a, 'k>],
) -> impl Iterator<Item = (usize, &'l Document<'a, 'k>)> {
    let mut fronts = vec![0; lists.len()];
    std::iter::from_fn(move || {
        let front = |node: &usize| lists[*node].documents.get(fronts[*node]);
        let (node, document) = (0..lists.len())
            .filter_map(|node| Some((node, front(&node)?)))
            .min_by(|(_, a), (_, b)| a.key.compare(&b.key).then_with(|| a.tie.cmp(&b.tie)))?;
        fronts[node] += 1;
        Some((node, document))
    })
}

/// Reads `_federation.weightedScoreValues` of a document, if it has them.
fn read_key(bytes: &[u8], document: Range<usize>) -> Result<Option<SortKey<'_>>, Malformed> {
    let mut key = None;
    Scanner::within(bytes, document).object(|scanner, name, _| {
        if !name.is(FEDERATION) {
            return scanner.value().map(|_| ());
        }
        scanner.object(|scanner, name, _| {
            if !name.is("weightedScoreValues") {
                return scanner.value().map(|_| ());
            }
            key = Some(SortKey::read(scanner)?);
            Ok(())
        })
    })?;
    Ok(key)
}

/// Cuts the reserved field out of one document.
///
/// # Errors
/// `BadAnswer` (with `node` 0) where the bytes are not a JSON object.
pub fn strip_document(document: &Bytes) -> Result<Merged, MergeError> {
    check_utf8(document, 0)?;
    let mut reply = Reply::default();
    let mut scanner = Scanner::new(document);
    write_document(
        document,
        &mut scanner,
        &CUTS,
        &mut Ranges::new(),
        &mut reply,
    )
    .and_then(|()| scanner.end())
    .map_err(|error| unreadable(0, error))?;
    Ok(reply.finish())
}

/// Calls `visit` at each document, which must consume it; gives the total.
fn walk_page<'a>(
    bytes: &'a Bytes,
    node: usize,
    visit: &mut dyn FnMut(&mut Scanner<'a>) -> Result<(), Malformed>,
) -> Result<u64, MergeError> {
    check_utf8(bytes, node)?;
    let (mut total, mut results) = (None, false);
    let mut scanner = Scanner::new(bytes);
    scanner
        .object(|scanner, key, _| {
            match key.raw {
                b"total" => total = scanner.unsigned()?,
                // Twice would be documents of two lists in one.
                b"results" if !results => {
                    results = true;
                    scanner.array(&mut *visit)?;
                }
                b"results" => return scanner.malformed(),
                _ => {
                    scanner.value()?;
                }
            }
            Ok(())
        })
        .and_then(|()| scanner.end())
        .map_err(|error| unreadable(node, error))?;
    match (total, results) {
        (Some(total), true) => Ok(total),
        _ => Err(MergeError::bad(node, "it has no `results` or no `total`")),
    }
}

/// Writes the document at the scanner without what is cut.
fn write_document(
    bytes: &Bytes,
    scanner: &mut Scanner,
    cuts: &Cuts,
    ranges: &mut Ranges,
    reply: &mut Reply,
) -> Result<(), Malformed> {
    ranges.clear();
    cut_object(scanner, cuts, ranges)?;
    for range in ranges.iter() {
        reply.span(bytes, range.clone());
    }
    Ok(())
}

fn check_utf8(bytes: &Bytes, node: usize) -> Result<(), MergeError> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(MergeError::bad(node, "it is not UTF-8")),
    }
}

fn unreadable(node: usize, error: Malformed) -> MergeError {
    MergeError::bad(
        node,
        format!("it is not the JSON of an answer (at byte {})", error.at),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(offset: usize, limit: usize, skip: usize) -> DocumentsPage<'static> {
        DocumentsPage {
            offset,
            limit,
            skip,
            ..DocumentsPage::default()
        }
    }

    #[test]
    fn lists_without_an_order_are_merged_by_key() {
        let list = |keys: &[&str]| {
            let documents: Vec<String> = keys
                .iter()
                .map(|key| format!(r#"{{"id":{key},"a":1}}"#))
                .collect();
            let documents = documents.join(",");
            Bytes::from(format!(
                r#"{{"results":[{documents}],"offset":0,"limit":9,"total":9}}"#
            ))
        };
        let answers = [list(&["3", "\"10\"", "1"]), list(&["2", "4", "\"b\"", "5"])];
        let merged = |first, cut, skip| {
            let by_key = ByKey {
                key: "id",
                first,
                cut,
            };
            let page = DocumentsPage {
                by_key,
                ..joined(0, 9, skip)
            };
            let body = merge_documents(&answers, &page).unwrap().to_bytes();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            body["results"].clone()
        };
        let ids = |first, skip| -> Vec<String> {
            let results = merged(first, false, skip);
            results
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["id"].to_string())
                .collect()
        };
        assert_eq!(ids(9, 0), ["2", "3", "4", "\"10\"", "1", "\"b\"", "5"]);
        // Behind the first of each, one list after the other.
        assert_eq!(ids(1, 0), ["2", "3", "\"10\"", "1", "4", "\"b\"", "5"]);
        assert_eq!(ids(9, 5), ["\"b\"", "5"]);
        assert_eq!(merged(9, true, 6), serde_json::json!([{ "a": 1 }]));
    }

    #[test]
    fn documents_without_a_place_come_behind_all_that_have_one() {
        let list = |documents: &[&str]| {
            let documents = documents.join(",");
            Bytes::from(format!(
                r#"{{"results":[{documents}],"offset":0,"limit":9,"total":2}}"#
            ))
        };
        let place = r#"{"id":1,"_federation":{"weightedScoreValues":[{"sort":{"asc":true,"value":7}},{"geoSort":{"asc":true,"distance":3}}]}}"#;
        let later = r#"{"id":2,"_federation":{"weightedScoreValues":[{"sort":{"asc":true,"value":8}},{"geoSort":{"asc":true,"distance":1}}]}}"#;
        let nowhere =
            r#"{"id":3,"_federation":{"weightedScoreValues":[{"sort":{"asc":true,"value":7}}]}}"#;
        let ids = |lists: &[Bytes], rules: &[usize]| {
            let page = DocumentsPage {
                limit: 9,
                sorted: true,
                placeless: Placeless {
                    answers: &[0],
                    rules,
                },
                ..DocumentsPage::default()
            };
            let merged = merge_documents(lists, &page).unwrap().to_bytes();
            let merged: serde_json::Value = serde_json::from_slice(&merged).unwrap();
            let results = merged["results"].as_array().unwrap();
            let ids: Vec<u64> = results.iter().map(|d| d["id"].as_u64().unwrap()).collect();
            ids
        };
        assert_eq!(
            ids(&[list(&[nowhere]), list(&[place, later])], &[1]),
            [1, 3, 2]
        );
        let place = r#"{"id":1,"_federation":{"weightedScoreValues":[{"geoSort":{"asc":true,"distance":3}}]}}"#;
        assert_eq!(ids(&[list(&[r#"{"id":3}"#]), list(&[place])], &[0]), [1, 3]);
    }

    #[test]
    fn sorted_lists_are_merged() {
        let list = |documents: &[(u32, &str)]| {
            let documents: Vec<String> = documents
                .iter()
                .map(|(id, value)| {
                    format!(
                        r#"{{"id":{id},"_miroir_shard":"x","_federation":{{"weightedScoreValues":[{{"sort":{{"asc":true,"value":{value}}}}}]}}}}"#
                    )
                })
                .collect();
            let results = documents.join(",");
            Bytes::from(format!(
                r#"{{"results":[{results}],"offset":0,"limit":9,"total":7}}"#
            ))
        };
        let lists = [
            list(&[(1, "1"), (2, "3"), (3, "null")]),
            list(&[(4, "1"), (5, "2"), (6, "\"a\"")]),
        ];
        let page = DocumentsPage {
            offset: 1,
            limit: 4,
            skip: 1,
            sorted: true,
            ..DocumentsPage::default()
        };
        let merged = merge_documents(&lists, &page).unwrap().to_bytes();
        assert_eq!(
            &merged[..],
            br#"{"results":[{"id":4},{"id":5},{"id":2},{"id":6}],"offset":1,"limit":4,"total":14}"#
        );
        // One list alone needs no values, several do.
        let silent = Bytes::from_static(br#"{"results":[{"id":1},{"id":2}],"total":2}"#);
        let alone = merge_documents(std::slice::from_ref(&silent), &page)
            .unwrap()
            .to_bytes();
        assert!(alone.starts_with(br#"{"results":[{"id":2}]"#));
        assert_eq!(
            merge_documents(&[lists[0].clone(), silent], &page).unwrap_err(),
            MergeError::Unsorted { node: 1 }
        );
    }

    #[test]
    fn pages_are_joined_without_the_field() {
        let a = Bytes::from_static(br#"{"results":[{"_miroir_shard":"x","id":1},{"id":2}],"offset":0,"limit":9,"total":5}"#);
        let b = Bytes::from_static(
            br#"{"results":[{"id":3,"_miroir_shard":"y"}],"offset":0,"limit":9,"total":1}"#,
        );
        assert_eq!(scan_documents(&a).unwrap().results.len(), 2);
        let cut = merge_documents(&[a.clone(), b.clone()], &joined(0, 1, 0))
            .unwrap()
            .to_bytes();
        assert_eq!(
            &cut[..],
            br#"{"results":[{"id":1}],"offset":0,"limit":1,"total":6}"#
        );
        let merged = merge_documents(&[a, b], &joined(2, 3, 0))
            .unwrap()
            .to_bytes();
        assert_eq!(
            &merged[..],
            br#"{"results":[{"id":1},{"id":2},{"id":3}],"offset":2,"limit":3,"total":6}"#
        );
        let none = merge_documents(&[], &joined(0, 20, 0)).unwrap().to_bytes();
        assert_eq!(
            &none[..],
            br#"{"results":[],"offset":0,"limit":20,"total":0}"#
        );
    }

    #[test]
    fn one_document_is_stripped() {
        let strip = |text: &'static str| {
            strip_document(&Bytes::from_static(text.as_bytes())).map(|m| m.to_bytes())
        };
        assert_eq!(
            strip(r#" {"_miroir_shard":"x","id":1} "#).unwrap(),
            r#"{"id":1}"#
        );
        assert_eq!(
            strip(r#"{"a":{"_miroir_shard":1}}"#).unwrap(),
            r#"{"a":{"_miroir_shard":1}}"#
        );
        for bad in ["", "[]", "{}x", r#"{"a"}"#] {
            assert!(strip(bad).is_err(), "{bad}");
        }
    }
}
