//! The order of documents of different nodes that nothing else tells apart: by primary key.
//!
//! One Meilisearch lists such documents in the order in which they were first written, which no node knows of another's. Most
//! clients write documents in the order of their keys, and then this is one node's order too. A node's own order is never
//! changed: only the documents in front of the nodes' lists are compared, so that how a list goes on never changes how it began.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::ops::Range;

use crate::split::stored_id;

/// A document among those that it ties with. Its key is read when it first has to decide. `Less` comes first.
#[derive(Clone, Debug)]
pub(crate) struct Tie<'a, 'k> {
    bytes: &'a [u8],
    document: Range<usize>,
    /// Dotted path of the primary key, where it is known and the document shows it.
    primary_key: Option<&'k str>,
    id: OnceCell<Id<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Id<'a> {
    /// Also of texts that are numbers.
    Number(i128),
    Text(Cow<'a, str>),
    /// None that counts: behind all that have one.
    None,
}

impl<'a, 'k> Tie<'a, 'k> {
    /// The document that stands at a range of `bytes`.
    pub fn of(bytes: &'a [u8], document: Range<usize>, primary_key: Option<&'k str>) -> Self {
        Tie {
            bytes,
            document,
            primary_key,
            id: OnceCell::new(),
        }
    }

    fn id(&self) -> &Id<'a> {
        self.id.get_or_init(|| {
            let primary_key = self.primary_key;
            let id = primary_key.and_then(|key| stored_id(self.bytes, self.document.clone(), key));
            id.map_or(Id::None, Id::read)
        })
    }
}

impl<'a> Id<'a> {
    fn read(id: Cow<'a, [u8]>) -> Self {
        let text = match id {
            Cow::Borrowed(id) => std::str::from_utf8(id).ok().map(Cow::Borrowed),
            Cow::Owned(id) => String::from_utf8(id).ok().map(Cow::Owned),
        };
        match text {
            Some(text) => text.parse().map_or(Id::Text(text), Id::Number),
            None => Id::None,
        }
    }
}

impl Ord for Tie<'_, '_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id().cmp(other.id())
    }
}

impl PartialOrd for Tie<'_, '_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Tie<'_, '_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Tie<'_, '_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_then_texts_then_nothing() {
        let documents = [
            r#"{"id":-7}"#,
            r#"{"a":1,"id":"9"}"#,
            r#"{"id":10}"#,
            r#"{"id":"18446744073709551615"}"#,
            r#"{"id":"A"}"#,
            r#"{"id":"a"}"#,
            r#"{"id":"a10"}"#,
            r#"{"id":"a9"}"#,
            r#"{"a":1}"#,
        ];
        let tie = |text: &'static str| Tie::of(text.as_bytes(), 0..text.len(), Some("id"));
        for (i, a) in documents.iter().enumerate() {
            for (j, b) in documents.iter().enumerate() {
                assert_eq!(tie(a).cmp(&tie(b)), i.cmp(&j), "{a} {b}");
            }
        }
        let unknown = Tie::of(b"{}", 0..2, None);
        assert_eq!(unknown.cmp(&tie(r#"{"a":1}"#)), Ordering::Equal);
    }

    #[test]
    fn a_key_may_be_a_path() {
        let tie = |text: &'static str| Tie::of(text.as_bytes(), 0..text.len(), Some("a.id"));
        assert!(tie(r#"{"b":[1],"a":{"id":2}}"#) < tie(r#"{"a.id":3}"#));
        assert!(tie(r#"{"a":{"id":"x"}}"#) < tie(r#"{"a":{}}"#));
    }
}
