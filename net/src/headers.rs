//! Header fields as spans of the head's own bytes.

use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

/// The fields of one message, in the order they came. Names compare without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    head: Bytes,
    spans: SmallVec<[Span; 12]>,
}

/// Where one field stands in the head. 32 bits hold any head: they are limited to kilobytes.
#[derive(Clone, Copy, Debug)]
struct Span {
    name: (u32, u32),
    value: (u32, u32),
}

impl Headers {
    /// Builds the list from fields parsed out of `head`; what does not lie inside it is left out.
    pub(crate) fn from_parsed(head: &Bytes, parsed: &[httparse::Header<'_>]) -> Self {
        let spans = parsed
            .iter()
            .filter_map(|field| {
                Some(Span {
                    name: span(head, field.name.as_bytes())?,
                    value: span(head, trim(field.value))?,
                })
            })
            .collect();
        Headers {
            head: head.clone(),
            spans,
        }
    }

    /// The first field of that name, without surrounding blanks.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields()
            .find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Like [`Headers::get`], for values that are UTF-8; others count as absent.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every field of that name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.fields()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> + '_ {
        // The parser lets only token characters pass, which are ASCII.
        self.fields()
            .map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// All fields, in order. Looking for one needs no check that names are text: a head is looked through many times.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        let head = &self.head[..];
        self.spans
            .iter()
            .map(move |span| (&head[range(span.name)], &head[range(span.value)]))
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// Where `part` lies inside `whole`, by address; `None` when it does not.
pub(crate) fn span(whole: &[u8], part: &[u8]) -> Option<(u32, u32)> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(())?;
    Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?))
}

fn range((start, end): (u32, u32)) -> Range<usize> {
    start as usize..end as usize
}

/// Without optional white space on either side (RFC 9110, 5.6.3).
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value
        .iter()
        .position(|byte| !blank(byte))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|byte| !blank(byte))
        .map_or(start, |last| last + 1);
    &value[start..end]
}
