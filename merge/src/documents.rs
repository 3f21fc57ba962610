//! Answers of the documents routes: lists, and single documents.

use std::ops::Range;

use bytes::Bytes;
use miroir_api::SHARD_FIELD;

use crate::cut::{cut_object, Cuts, Ranges};
use crate::reply::{Merged, Reply};
use crate::scan::{Malformed, Scanner};
use crate::MergeError;

/// One node's answer to `GET /indexes/{uid}/documents` or `POST .../documents/fetch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Documents that match, not only those of this page.
    pub total: u64,
    /// Where the documents stand in the answer.
    pub results: Vec<Range<usize>>,
}

/// Only the hidden field goes; documents routes ignore `displayedAttributes`, so it is always there.
const CUTS: Cuts = Cuts {
    members: &[SHARD_FIELD],
    paths: &[],
    formatted_paths: &[],
    hit: false,
};

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

/// Puts the documents of all answers one behind the other, without the reserved field, in one documents answer with the
/// given `offset` and `limit` and the sum of totals. Documents past the `limit`th are left out: for a first page each node
/// was asked for as many as the page could need.
///
/// # Errors
/// An answer that is not a documents answer.
pub fn merge_documents(
    answers: &[Bytes],
    offset: usize,
    limit: usize,
) -> Result<Merged, MergeError> {
    let mut reply = Reply::default();
    reply.text(b"{\"results\":[");
    let mut total: u64 = 0;
    let mut written = 0;
    let mut ranges = Ranges::new();
    for (node, bytes) in answers.iter().enumerate() {
        let on_node = walk_page(bytes, node, &mut |scanner| {
            if written == limit {
                return scanner.value().map(|_| ());
            }
            if written > 0 {
                reply.text(b",");
            }
            written += 1;
            write_document(bytes, scanner, &mut ranges, &mut reply)
        })?;
        total = total.saturating_add(on_node);
    }
    reply.text(b"],\"offset\":");
    reply.number(offset as u64);
    reply.text(b",\"limit\":");
    reply.number(limit as u64);
    reply.text(b",\"total\":");
    reply.number(total);
    reply.text(b"}");
    Ok(reply.finish())
}

/// Cuts the reserved field out of one document.
///
/// # Errors
/// `BadAnswer` (with `node` 0) where the bytes are not a JSON object.
pub fn strip_document(document: &Bytes) -> Result<Merged, MergeError> {
    check_utf8(document, 0)?;
    let mut reply = Reply::default();
    let mut scanner = Scanner::new(document);
    write_document(document, &mut scanner, &mut Ranges::new(), &mut reply)
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

/// Writes the document at the scanner without the reserved field.
fn write_document(
    bytes: &Bytes,
    scanner: &mut Scanner,
    ranges: &mut Ranges,
    reply: &mut Reply,
) -> Result<(), Malformed> {
    ranges.clear();
    cut_object(scanner, &CUTS, ranges)?;
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

    #[test]
    fn pages_are_joined_without_the_field() {
        let a = Bytes::from_static(br#"{"results":[{"_miroir_shard":"x","id":1},{"id":2}],"offset":0,"limit":9,"total":5}"#);
        let b = Bytes::from_static(
            br#"{"results":[{"id":3,"_miroir_shard":"y"}],"offset":0,"limit":9,"total":1}"#,
        );
        assert_eq!(scan_documents(&a).unwrap().results.len(), 2);
        let cut = merge_documents(&[a.clone(), b.clone()], 0, 1)
            .unwrap()
            .to_bytes();
        assert_eq!(
            &cut[..],
            br#"{"results":[{"id":1}],"offset":0,"limit":1,"total":6}"#
        );
        let merged = merge_documents(&[a, b], 2, 3).unwrap().to_bytes();
        assert_eq!(
            &merged[..],
            br#"{"results":[{"id":1},{"id":2},{"id":3}],"offset":2,"limit":3,"total":6}"#
        );
        let none = merge_documents(&[], 0, 20).unwrap().to_bytes();
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
