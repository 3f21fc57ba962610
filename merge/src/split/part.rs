//! What one node gets of a payload: a JSON array, put together while it is sent.

use std::slice;
use std::sync::Arc;

use bytes::Bytes;
use miroir_api::SHARD_FIELD;

use super::{Place, Split};
use crate::reply::write_string;

/// Bytes of a piece: enough for a system call to be worth it, little enough to stay in a processor's cache.
const PIECE_BYTES: usize = 128 * 1024;
/// A document from this size on is sent as it lies in the client's body.
const WHOLE_BYTES: usize = 32 * 1024;

/// The documents of some shards, each marked with its shard.
#[derive(Clone, Debug)]
pub struct Part {
    split: Arc<Split>,
    /// By shard: what stands before its documents' own members, `{"_miroir_shard":"..",`. Nothing for shards that are not in here.
    openings: Vec<Box<[u8]>>,
    bytes: usize,
}

impl Part {
    /// `shards`: each shard with the value of its shard field. Shards that the split does not know have no documents.
    pub fn new<'c>(split: Arc<Split>, shards: impl Iterator<Item = (u16, &'c str)>) -> Self {
        let mut openings = vec![Box::default(); split.shares.len()];
        let (mut documents, mut bytes) = (0, 0);
        for (shard, code) in shards {
            let shard = usize::from(shard);
            let (Some(opening), Some(share)) = (openings.get_mut(shard), split.shares.get(shard))
            else {
                continue;
            };
            *opening = opened(code);
            documents += share.documents;
            // The opening stands in place of the document's own brace.
            bytes += share.bytes + share.documents * (opening.len() - 1);
        }
        Part {
            split,
            openings,
            // Brackets, and commas between the documents.
            bytes: bytes + 2 + usize::saturating_sub(documents, 1),
        }
    }

    /// Bytes of all pieces together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The array, from its beginning.
    pub fn pieces(&self) -> Pieces<'_> {
        Pieces {
            part: self,
            documents: self.split.documents.iter(),
            whole: None,
            before: b'[',
            ended: false,
        }
    }
}

fn opened(code: &str) -> Box<[u8]> {
    let mut opening = format!("{{\"{SHARD_FIELD}\":").into_bytes();
    write_string(&mut opening, code);
    opening.push(b',');
    opening.into()
}

/// Pieces of a part, none empty.
pub struct Pieces<'p> {
    part: &'p Part,
    documents: slice::Iter<'p, Place>,
    /// A large document's own members, whose opening was given.
    whole: Option<Bytes>,
    /// What the next document is preceded by.
    before: u8,
    ended: bool,
}

impl Iterator for Pieces<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(whole) = self.whole.take() {
            return Some(whole);
        }
        if self.ended {
            return None;
        }
        let source = &self.part.split.source;
        let mut piece = Vec::with_capacity(self.part.bytes.min(PIECE_BYTES + WHOLE_BYTES));
        for place in self.documents.by_ref() {
            let opening = &self.part.openings[usize::from(place.shard)];
            if opening.is_empty() {
                continue;
            }
            piece.push(self.before);
            self.before = b',';
            piece.extend_from_slice(opening);
            let members = place.start + 1..place.start + place.bytes as usize;
            if members.len() >= WHOLE_BYTES {
                self.whole = Some(source.slice(members));
                return Some(piece.into());
            }
            piece.extend_from_slice(&source[members]);
            if piece.len() >= PIECE_BYTES {
                return Some(piece.into());
            }
        }
        if self.before == b'[' {
            piece.push(b'[');
        }
        piece.push(b']');
        self.ended = true;
        Some(piece.into())
    }
}
