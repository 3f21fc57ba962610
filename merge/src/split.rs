//! Splitting a payload of documents into one payload a node.
//!
//! Each document's span and primary key are found while its syntax is checked. Nothing is serialised again, and nothing is
//! copied: a split is the client's body, with the place and the shard of every document. A node's part is put together from it
//! piece by piece while it is sent ([`Part`]), with the shard field spliced in first, so that a large payload is in memory
//! once, however many copies it goes to.
//!
//! The whole payload is checked before anything leaves this function. That is what keeps a payload atomic over several nodes: a
//! node would notice a bad document id only while it works on the task, when other nodes have long stored their parts (DESIGN 8).
//! What is wrong comes in the order in which Meilisearch notices it: syntax at once, ids in the task.

mod infer;
mod malformed;
mod part;
mod primary_key;
mod table;
mod walk;

use std::ops::Range;

use bytes::Bytes;
use miroir_api::{Error, RESERVED_PREFIX};
use smallvec::SmallVec;

use crate::scan::{Malformed, Scanner, Text};
pub use infer::{infer_primary_key, Inference};
pub use part::{Part, Pieces};
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

/// A payload whose documents have been told apart.
#[derive(Debug, Default)]
pub struct Split {
    /// Whether a document's id has upper-case letters: `ABC` and `abc` are two documents that one filter matches.
    pub upper_case_ids: bool,
    /// The client's body; the documents as JSON where that is a table.
    source: Bytes,
    documents: Vec<Place>,
    /// By shard.
    shares: Vec<Share>,
}

/// Where a document, which has at least one member, stands in the source.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: usize,
    bytes: u32,
    shard: u16,
}

/// What goes to one shard.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    documents: usize,
    bytes: usize,
}

impl Split {
    /// Documents in the payload (`receivedDocuments`).
    pub fn documents(&self) -> usize {
        self.documents.len()
    }

    /// The shards that get documents, ascending.
    pub fn shards(&self) -> impl Iterator<Item = u16> + '_ {
        let filled = |(shard, share): (u16, &Share)| (share.documents > 0).then_some(shard);
        (0..).zip(&self.shares).filter_map(filled)
    }
}

/// Why a payload cannot be split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitError {
    /// To be answered at once: the payload is missing, malformed, or uses a reserved field name.
    Malformed(Error),
    /// Accepted, but the task must fail with this error: a document id is missing or invalid.
    Document(Error),
}

/// Tells the documents of `body` apart by shard. `shard_of` gets each document's primary key as text (an integer in decimal), in
/// the payload's order, and names a shard below `shards`.
///
/// Duplicate keys count as in Meilisearch: of a document in a JSON payload the last one is meant, in NDJSON a repeated primary
/// key is an error.
///
/// # Errors
/// See [`SplitError`]; syntax is checked to the end before a document's error is returned.
pub fn split(
    body: &Bytes,
    format: Format,
    primary_key: &str,
    shards: u16,
    shard_of: &mut dyn FnMut(&[u8]) -> u16,
) -> Result<Split, SplitError> {
    let mut splitter = Splitter {
        key: PrimaryKey::new(primary_key),
        last_wins: format != Format::Ndjson,
        names: Names::default(),
        found: SmallVec::new(),
        problem: None,
        // As JSON a table is somewhat longer.
        made: matches!(format, Format::Csv { .. })
            .then(|| Vec::with_capacity(body.len() + body.len() / 4)),
        split: Split {
            shares: vec![Share::default(); usize::from(shards)],
            ..Split::default()
        },
        shard_of,
    };
    walk(body, format, &mut |scanner| splitter.document(scanner)).map_err(SplitError::Malformed)?;
    splitter.names.verdict().map_err(SplitError::Malformed)?;
    if let Some(problem) = splitter.problem {
        return Err(SplitError::Document(problem));
    }
    Ok(Split {
        source: splitter.made.map_or_else(|| body.clone(), Bytes::from),
        ..splitter.split
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

struct Splitter<'a> {
    key: PrimaryKey<'a>,
    /// Whether the last of several equal keys counts.
    last_wins: bool,
    names: Names,
    /// Members of the current document that can hold the primary key: which level of it, and the value.
    found: SmallVec<[(usize, Range<usize>); 2]>,
    /// The first error in a document. Once there is one, only syntax is of interest.
    problem: Option<Error>,
    /// The documents of a table, one behind the other.
    made: Option<Vec<u8>>,
    split: Split,
    shard_of: &'a mut dyn FnMut(&[u8]) -> u16,
}

impl Splitter<'_> {
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
        let span = start..scanner.pos();
        match self.key.id(scanner, &self.found) {
            Ok(id) => {
                self.split.upper_case_ids |= id.iter().any(u8::is_ascii_uppercase);
                let shard = (self.shard_of)(&id);
                self.put(shard, scanner, span);
            }
            Err(problem) => {
                let document = scanner.slice(span);
                self.problem = Some(problem.into_error(self.key.name(), document));
            }
        }
        Ok(())
    }

    /// Notes a document's place.
    fn put(&mut self, shard: u16, scanner: &Scanner, span: Range<usize>) {
        let Ok(bytes) = u32::try_from(span.len()) else {
            let message = "A document has more than 4 GiB.";
            self.problem = Some(Error::invalid(413, "payload_too_large", message));
            return;
        };
        let start = match &mut self.made {
            None => span.start,
            Some(made) => {
                let start = made.len();
                made.extend_from_slice(scanner.slice(span));
                start
            }
        };
        let share = &mut self.split.shares[usize::from(shard)];
        share.documents += 1;
        share.bytes += bytes as usize;
        self.split.documents.push(Place {
            start,
            bytes,
            shard,
        });
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
