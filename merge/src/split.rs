//! Splitting a payload of documents into one payload a node.
//!
//! Each document's span and primary key are found while its syntax is checked; the document then goes, as it is, into the
//! buffers of the nodes that hold its shard, with the shard field spliced in first. Nothing is serialised again.
//!
//! The whole payload is checked before anything leaves this function. That is what keeps a payload atomic over several nodes: a
//! node would notice a bad document id only while it works on the task, when other nodes have long stored their parts (DESIGN 8).
//! What is wrong comes in the order in which Meilisearch notices it: syntax at once, ids in the task.

mod infer;
mod malformed;
mod primary_key;
mod table;
mod walk;

use std::ops::Range;

use miroir_api::{Error, RESERVED_PREFIX, SHARD_FIELD};
use smallvec::SmallVec;

use crate::reply::write_string;
use crate::scan::{Malformed, Scanner, Text};
pub use infer::{infer_primary_key, Inference};
pub use primary_key::id_text;
pub(crate) use primary_key::stored_id;
use primary_key::PrimaryKey;
use walk::walk;

/// What the client's `Content-Type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An array of documents, or one document.
    Json,
    /// Documents one behind the other, usually one a line.
    Ndjson,
    Csv {
        delimiter: u8,
    },
}

/// Where a document goes.
#[derive(Clone, Copy, Debug)]
pub struct Route<'r> {
    /// The sinks that get the document: one a copy of its shard. Numbers that are not below the number of sinks are ignored.
    pub sinks: &'r [usize],
    /// The value of its shard field.
    pub code: &'r str,
}

/// A payload in parts.
#[derive(Debug, Default)]
pub struct Split {
    /// Documents in the payload (`receivedDocuments`).
    pub documents: usize,
    /// Whether a document's id has upper-case letters: `ABC` and `abc` are two documents that one filter matches.
    pub upper_case_ids: bool,
    pub sinks: Vec<Sink>,
}

/// The payload for one node: a JSON array, `[]` where it gets nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    pub body: Vec<u8>,
    pub documents: usize,
}

/// Why a payload cannot be split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitError {
    /// To be answered at once: the payload is missing, malformed, or uses a reserved field name.
    Malformed(Error),
    /// Accepted, but the task must fail with this error: a document id is missing or invalid.
    Document(Error),
}

/// Splits `body` over `sinks` sinks. `route` gets each document's primary key as text (an integer in decimal), in the payload's order.
///
/// Duplicate keys count as in Meilisearch: of a document in a JSON payload the last one is meant, in NDJSON a repeated primary
/// key is an error.
///
/// # Errors
/// See [`SplitError`]; syntax is checked to the end before a document's error is returned.
pub fn split<'r>(
    body: &[u8],
    format: Format,
    primary_key: &str,
    sinks: usize,
    route: &mut dyn FnMut(&[u8]) -> Route<'r>,
) -> Result<Split, SplitError> {
    let share = body.len() / sinks.max(1);
    let mut splitter = Splitter {
        key: PrimaryKey::new(primary_key),
        last_wins: format != Format::Ndjson,
        names: Names::default(),
        found: SmallVec::new(),
        problem: None,
        upper_case_ids: false,
        sinks: (0..sinks)
            .map(|_| Sink {
                body: Vec::with_capacity(share + share / 8 + 64),
                documents: 0,
            })
            .collect(),
        route,
    };
    let documents = walk(body, format, &mut |scanner| splitter.document(scanner))
        .map_err(SplitError::Malformed)?;
    splitter.names.verdict().map_err(SplitError::Malformed)?;
    if let Some(problem) = splitter.problem {
        return Err(SplitError::Document(problem));
    }
    let upper_case_ids = splitter.upper_case_ids;
    let mut sinks = splitter.sinks;
    for sink in &mut sinks {
        sink.body
            .extend_from_slice(if sink.documents == 0 { b"[]" } else { b"]" });
    }
    Ok(Split {
        documents,
        upper_case_ids,
        sinks,
    })
}

/// Checks a payload's syntax and counts its documents, for tasks that fail before a primary key is known.
///
/// # Errors
/// Only [`SplitError::Malformed`].
pub fn count_documents(body: &[u8], format: Format) -> Result<usize, SplitError> {
    let mut names = Names::default();
    let documents = walk(body, format, &mut |scanner| {
        scanner.object(|scanner, name, _| {
            names.check(name, scanner)?;
            scanner.value().map(|_| ())
        })
    })
    .map_err(SplitError::Malformed)?;
    names.verdict().map_err(SplitError::Malformed)?;
    Ok(documents)
}

struct Splitter<'a, 'r> {
    key: PrimaryKey<'a>,
    /// Whether the last of several equal keys counts.
    last_wins: bool,
    names: Names,
    /// Members of the current document that can hold the primary key: which level of it, and the value.
    found: SmallVec<[(usize, Range<usize>); 2]>,
    /// The first error in a document. Once there is one, only syntax is of interest.
    problem: Option<Error>,
    upper_case_ids: bool,
    sinks: Vec<Sink>,
    route: &'a mut dyn FnMut(&[u8]) -> Route<'r>,
}

impl Splitter<'_, '_> {
    fn document(&mut self, scanner: &mut Scanner) -> Result<(), Malformed> {
        let start = scanner.pos();
        self.found.clear();
        scanner.object(|scanner, name, _| {
            self.names.check(name, scanner)?;
            let level = self.key.level(name);
            let value = scanner.value()?;
            if let Some(level) = level {
                match self
                    .found
                    .iter_mut()
                    .find(|(known, _)| self.last_wins && *known == level)
                {
                    Some(known) => known.1 = value,
                    None => self.found.push((level, value)),
                }
            }
            Ok::<(), Malformed>(())
        })?;
        if self.problem.is_some() || self.names.reserved.is_some() {
            return Ok(());
        }
        let document = scanner.slice(start..scanner.pos());
        match self.key.id(scanner, &self.found) {
            Ok(id) => {
                self.upper_case_ids |= id.iter().any(u8::is_ascii_uppercase);
                let route = (self.route)(&id);
                put(&mut self.sinks, route, document);
            }
            Err(problem) => self.problem = Some(problem.into_error(self.key.name(), document)),
        }
        Ok(())
    }
}

/// Appends a document, which has at least one member, to the sinks of its route.
fn put(sinks: &mut [Sink], route: Route, document: &[u8]) {
    for &sink in route.sinks {
        let Some(sink) = sinks.get_mut(sink) else {
            continue;
        };
        sink.body.extend_from_slice(if sink.documents == 0 {
            b"[{\""
        } else {
            b",{\""
        });
        sink.body.extend_from_slice(SHARD_FIELD.as_bytes());
        sink.body.extend_from_slice(b"\":");
        write_string(&mut sink.body, route.code);
        sink.body.push(b',');
        sink.body.extend_from_slice(&document[1..]);
        sink.documents += 1;
    }
}

/// Watches the names of top-level fields.
#[derive(Default)]
struct Names {
    /// The first reserved name that was met.
    reserved: Option<String>,
}

impl Names {
    /// Notes a reserved name. A name that cannot be decoded is a syntax error, as it is for Meilisearch.
    #[inline]
    fn check(&mut self, name: Text, scanner: &Scanner) -> Result<(), Malformed> {
        if name.escaped || name.raw.starts_with(RESERVED_PREFIX.as_bytes()) {
            let Some(name) = name.decode() else {
                return scanner.malformed();
            };
            if self.reserved.is_none() && name.starts_with(RESERVED_PREFIX) {
                self.reserved = Some(name.into_owned());
            }
        }
        Ok(())
    }

    fn verdict(&self) -> Result<(), Error> {
        match &self.reserved {
            None => Ok(()),
            Some(name) => Err(Error::invalid(
                400,
                "miroir_reserved_field",
                format!(
                    "Document fields whose names begin with `{RESERVED_PREFIX}` are reserved for Miroir: rename `{name}`."
                ),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
