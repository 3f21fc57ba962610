//! An answer as a list of byte ranges, most of them in the buffers that the nodes filled.
//!
//! The proxy writes the list with one gathering write, so a hit's bytes are never copied on their way. Only what is new (the
//! frame, merged facets) and what is too short to be worth a segment of its own goes into one scratch buffer.

use std::ops::Range;

use bytes::Bytes;

#[cfg(doc)]
use crate::search::Counts;
use crate::search::{Taken, Unsettled};

/// Ranges up to this length are copied: an entry of a gathering write (a part, a reference count, 16 bytes of iovec, the
/// kernel's work on it) costs about 60 ns, which is what moving a kilobyte costs.
const COPY_MAX: usize = 1024;

/// A JSON answer in order, as segments that together are one well-formed value.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    segments: Vec<Bytes>,
    len: usize,
    /// From where on documents may be missing, under `distinct`; those come with answers to the search without what is settled.
    pub unsettled: Option<Box<Unsettled>>,
    /// What came from each answer, under `distinct`, where totals and facets are to be counted by it ([`Counts::Groups`]).
    pub taken: Option<Vec<Taken>>,
}

impl Merged {
    /// The ranges in the order in which they are to be written; none is empty.
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    pub fn into_segments(self) -> Vec<Bytes> {
        self.segments
    }

    /// The same object with one more member at its end; `value` is JSON.
    #[must_use]
    pub fn with_member(mut self, name: &str, value: &str) -> Self {
        // The closing brace is written anew.
        if let Some(mut last) = self.segments.pop() {
            last.truncate(last.len() - 1);
            let member = format!(",\"{name}\":{value}}}");
            self.len += member.len() - 1;
            self.segments
                .extend(Some(last).filter(|last| !last.is_empty()));
            self.segments.push(member.into());
        }
        self
    }

    /// Bytes in all segments.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The answer in one piece; copies unless there is a single segment.
    pub fn to_bytes(&self) -> Bytes {
        match self.segments.as_slice() {
            [one] => one.clone(),
            many => many.concat().into(),
        }
    }
}

impl From<Vec<u8>> for Merged {
    fn from(answer: Vec<u8>) -> Self {
        Merged {
            len: answer.len(),
            segments: vec![answer.into()],
            unsettled: None,
            taken: None,
        }
    }
}

/// Collects a [`Merged`].
#[derive(Default)]
pub(crate) struct Reply {
    parts: Vec<Part>,
    /// New text; public to this crate so that `write!` and serialisers can append.
    scratch: Vec<u8>,
    /// Where the scratch bytes that no part covers yet begin.
    uncovered: usize,
}

/// Parts of an answer whose hits are short enough to be copied, and of one with a few long ones.
const PARTS: usize = 16;
/// What stands beside the hits.
const ROOM: usize = 512;
/// Longer answers have longer hits, which are not copied.
const ROOM_MAX: usize = 32 * 1024;

enum Part {
    Scratch(Range<usize>),
    Foreign(Bytes),
}

impl Reply {
    /// For about as much as one of these answers holds, where it is copied.
    pub fn for_part_of(answers: &[Bytes]) -> Self {
        let longest = answers.iter().map(Bytes::len).max().unwrap_or(0);
        Self::with_capacity(PARTS, longest.min(ROOM_MAX) + ROOM)
    }

    pub fn with_capacity(parts: usize, scratch: usize) -> Self {
        Reply {
            parts: Vec::with_capacity(parts),
            scratch: Vec::with_capacity(scratch),
            uncovered: 0,
        }
    }

    /// Appends new text.
    pub fn text(&mut self, text: &[u8]) {
        self.scratch.extend_from_slice(text);
    }

    /// Appends a decimal number.
    pub fn number(&mut self, number: u64) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.scratch.extend_from_slice(&digits[at..]);
    }

    /// Appends a JSON string that means `text`.
    pub fn string(&mut self, text: &str) {
        write_string(&mut self.scratch, text);
    }

    /// Appends a range of a node's buffer without copying it, unless it is short.
    pub fn span(&mut self, buffer: &Bytes, span: Range<usize>) {
        if span.len() <= COPY_MAX {
            self.scratch.extend_from_slice(&buffer[span]);
        } else {
            self.cover();
            self.parts.push(Part::Foreign(buffer.slice(span)));
        }
    }

    pub fn finish(mut self) -> Merged {
        self.cover();
        let scratch = Bytes::from(self.scratch);
        let segments: Vec<Bytes> = self
            .parts
            .into_iter()
            .map(|part| match part {
                Part::Scratch(range) => scratch.slice(range),
                Part::Foreign(bytes) => bytes,
            })
            .collect();
        let len = segments.iter().map(Bytes::len).sum();
        Merged {
            segments,
            len,
            unsettled: None,
            taken: None,
        }
    }

    fn cover(&mut self) {
        if self.uncovered < self.scratch.len() {
            self.parts
                .push(Part::Scratch(self.uncovered..self.scratch.len()));
            self.uncovered = self.scratch.len();
        }
    }
}

/// Appends `text` as a JSON string, escaped as serde_json escapes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing a string into memory cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ranges_share_the_scratch_and_long_ones_stay_where_they_are() {
        let buffer = Bytes::from(vec![b'x'; 3000]);
        let mut reply = Reply::default();
        reply.text(b"{");
        reply.span(&buffer, 0..10);
        reply.span(&buffer, 10..2000);
        reply.number(0);
        reply.number(u64::MAX);
        reply.string("a\"b");
        let merged = reply.finish();
        assert_eq!(merged.segments().len(), 3);
        assert_eq!(merged.segments()[1].as_ptr(), buffer[10..].as_ptr());
        assert_eq!(merged.len(), merged.to_bytes().len());
        assert!(merged
            .to_bytes()
            .ends_with(b"x018446744073709551615\"a\\\"b\""));
    }
}
