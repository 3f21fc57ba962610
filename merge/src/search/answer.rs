use std::ops::Range;
use std::sync::LazyLock;

use memchr::{memchr, memmem, memrchr};

use crate::cut::Added;
use crate::federated::answer::read_facets;
use crate::rank::{RankError, RankKey};
use crate::scan::{Malformed, Scanner, Text};
use crate::MergeError;

/// How every Meilisearch search answer begins after its brace, and what stands between its hits and its other fields.
const HEAD: &[u8] = b"\"hits\":[";
/// What stands before that in an answer that was part of a multi-search, followed by the index's name, which holds no escapes.
const PART: &[u8] = b"\"indexUid\":\"";
static TAIL: LazyLock<memmem::FinderRev> = LazyLock::new(|| memmem::FinderRev::new("],\"query\":"));

/// The spans of one node's answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// What stands between the brackets of `hits`.
    pub hits: Range<usize>,
    /// `estimatedTotalHits` or `totalHits`.
    pub total: u64,
    /// The object `facetDistribution`.
    pub facets: Option<Range<usize>>,
    /// The object `facetStats`.
    pub stats: Option<Range<usize>>,
    /// The list `queryVector`.
    pub query_vector: Option<Range<usize>>,
}

/// The hits of an answer that have not been looked at yet.
#[derive(Clone, Debug)]
pub(super) struct Hits {
    left: Range<usize>,
    started: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Hit {
    pub span: Range<usize>,
    /// The object `_federation`, in which nodes say on the side what they hide; looked for where they were asked to.
    pub federation: Option<Range<usize>>,
    /// Where the members lie that nodes add to documents.
    pub added: Added,
}

/// What a hit's key is read from, and so the key, where hits were asked for it.
type Ranked<'a> = (Hit, RankKey<'a>);

/// What hits must carry besides the document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Carried<'k> {
    /// `_rankingScoreDetails`
    pub details: bool,
    /// `_federation`
    pub federation: bool,
    /// Rules that the details hide do not matter.
    pub hides: bool,
    /// The primary key, where it is to decide ties.
    pub primary_key: Option<&'k str>,
}

impl Answer {
    /// Finds the spans. Hits that no page needs are not even looked at, where the answer is written as Meilisearch writes it.
    pub fn scan(bytes: &[u8], node: usize) -> Result<Self, MergeError> {
        if simdutf8::basic::from_utf8(bytes).is_err() {
            return Err(MergeError::bad(node, "it is not UTF-8"));
        }
        match Self::from_tail(bytes) {
            Some(answer) => Ok(answer),
            None => Self::from_start(bytes, node),
        }
    }

    /// Goes straight to the fields behind the hits. They hold no array that is followed by a field `query`, so the last such place is
    /// the end of the hits; were it a place within a document, the braces would not come out even.
    fn from_tail(bytes: &[u8]) -> Option<Self> {
        let start = hits_start(bytes)?;
        // `{"hits":[]` itself holds the `]` of an empty list.
        let end = TAIL.rfind(bytes).filter(|end| start <= *end)?;
        let mut answer = Answer {
            hits: start..end,
            ..Answer::default()
        };
        let mut total = None;
        let mut scanner = Scanner::within(bytes, end + 2..bytes.len());
        scanner
            .members(|scanner, key, _| {
                if key.is("hits") {
                    return scanner.malformed();
                }
                answer.read_field(scanner, key, &mut total)
            })
            .and_then(|()| scanner.end())
            .ok()?;
        answer.total = total?;
        Some(answer)
    }

    /// Reads the whole answer, whatever the order of its fields.
    fn from_start(bytes: &[u8], node: usize) -> Result<Self, MergeError> {
        let mut answer = Answer::default();
        let (mut hits, mut total) = (None, None);
        let mut scanner = Scanner::new(bytes);
        scanner
            .object(|scanner, key, _| {
                if !key.is("hits") {
                    return answer.read_field(scanner, key, &mut total);
                }
                // Twice would be two lists in one.
                if hits.is_some() || scanner.peek() != Some(b'[') {
                    return scanner.malformed();
                }
                let span = scanner.value()?;
                hits = Some(span.start + 1..span.end - 1);
                Ok(())
            })
            .and_then(|()| scanner.end())
            .map_err(|error| unreadable(node, error))?;
        answer.hits = hits.ok_or_else(|| MergeError::bad(node, "it has no `hits`"))?;
        answer.total = total.ok_or_else(|| MergeError::bad(node, "it has no total of hits"))?;
        Ok(answer)
    }

    fn read_field(
        &mut self,
        scanner: &mut Scanner,
        key: Text,
        total: &mut Option<u64>,
    ) -> Result<(), Malformed> {
        match key.raw {
            b"estimatedTotalHits" | b"totalHits" => match scanner.unsigned()? {
                Some(number) => *total = Some(number),
                None => return scanner.malformed(),
            },
            b"facetDistribution" => self.facets = object_span(scanner)?,
            b"facetStats" => self.stats = object_span(scanner)?,
            // Of the one index that was searched.
            b"facetsByIndex" => {
                for facets in read_facets(scanner)? {
                    (self.facets, self.stats) = (facets.distribution, facets.stats);
                }
            }
            // Of the one query that was asked.
            b"queryVectors" if scanner.peek() == Some(b'{') => {
                scanner.object(|scanner, _, _| {
                    self.query_vector = Some(scanner.value()?);
                    Ok(())
                })?
            }
            b"queryVector" => {
                let list = scanner.peek() == Some(b'[');
                self.query_vector = Some(scanner.value()?).filter(|_| list);
            }
            _ => {
                scanner.value()?;
            }
        }
        Ok(())
    }
}

impl Hits {
    pub fn of(answer: &Answer) -> Self {
        Hits {
            left: answer.hits.clone(),
            started: false,
        }
    }

    /// Finds the next hit and what it carries, and reads what ranks it: a hit is read through once.
    pub fn next<'a>(
        &mut self,
        bytes: &'a [u8],
        node: usize,
        carried: Carried,
    ) -> Result<Option<Ranked<'a>>, MergeError> {
        let mut scanner = Scanner::within(bytes, self.left.clone());
        let mut key = None;
        let hit = self
            .read(bytes, &mut scanner, carried, &mut key)
            .map_err(|error| unreadable(node, error))?;
        let key = key.transpose().map_err(|error| error.at_node(node))?;
        if let Some(hit) = &hit {
            let lacks = |what| Err(MergeError::bad(node, format!("a hit has no `{what}`")));
            if carried.details && key.is_none() {
                return lacks("_rankingScoreDetails");
            }
            if carried.federation && hit.federation.is_none() {
                return lacks("_federation");
            }
        }
        self.left.start = scanner.pos();
        self.started = true;
        Ok(hit.map(|hit| (hit, key.unwrap_or_default())))
    }

    /// The next hit, where its shard is all that it carries besides the document: its span, and what of it is to go. `None`: it has
    /// to be read.
    pub fn next_bare(&mut self, bytes: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
        let (mut start, end) = (self.left.start, self.left.end);
        if self.started {
            bytes[start..end].strip_prefix(b",")?;
            start += 1;
        }
        bytes[start..end].strip_prefix(b"{")?;
        let at = own_shard(bytes, start + 1, end)?;
        let value = at + SHARD.needle().len();
        let text = bytes[value..end].strip_prefix(b"\"")?;
        let quote = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let shard_end = value + quote + 2;
        // One of the commas beside it goes, too.
        let first = at == start + 1;
        let (cut, close) = match bytes[shard_end - 1..end] {
            [b'"', b'}', ..] if first => (at..shard_end, shard_end),
            [b'"', b'}', ..] => (at - 1..shard_end, shard_end),
            [b'"', b',', ..] => {
                let cut = if first {
                    at..shard_end + 1
                } else {
                    at - 1..shard_end
                };
                (cut, pass_over(bytes, shard_end, end)?)
            }
            _ => return None,
        };
        bytes[close..end].strip_prefix(b"}")?;
        self.left.start = close + 1;
        self.started = true;
        Some((start..close + 1, cut))
    }

    fn read<'a>(
        &self,
        bytes: &[u8],
        scanner: &mut Scanner<'a>,
        carried: Carried,
        key: &mut Option<Result<RankKey<'a>, RankError>>,
    ) -> Result<Option<Hit>, Malformed> {
        match scanner.peek() {
            None => return Ok(None),
            Some(b',') if self.started => scanner.go_to(scanner.pos() + 1),
            Some(_) if !self.started => {}
            _ => return scanner.malformed(),
        }
        if scanner.peek() != Some(b'{') {
            return scanner.malformed();
        }
        let start = scanner.pos();
        let (mut federation, mut added) = (None, Added::default());
        let shard = own_shard(bytes, start + 1, self.left.end);
        let mut before = start + 1;
        if let Some(at) = shard {
            scanner.go_to(at + SHARD.needle().len());
            scanner.value()?;
            // What stands before it ends with a comma, if it is not the first.
            added.note_shard(before.max(at - 1), scanner.pos());
            self.pass_document(bytes, scanner, &mut added);
            before = scanner.pos();
        }
        let visit = |scanner: &mut Scanner<'a>, name: Text<'a>, at: usize| {
            added.follow(at);
            let value = scanner.pos();
            if carried.details && name.raw == b"_rankingScoreDetails" {
                let read = RankKey::scan(scanner);
                if read.is_err() {
                    // Told as what it is, not as JSON that is none.
                    scanner.go_to(value);
                    scanner.value()?;
                }
                *key = Some(read);
            } else {
                let value = scanner.value()?;
                if carried.federation && name.raw == b"_federation" {
                    federation = Some(value);
                }
            }
            added.note(name, before, scanner.pos());
            if name.raw == miroir_api::SHARD_FIELD.as_bytes() {
                self.pass_document(bytes, scanner, &mut added);
            }
            before = scanner.pos();
            Ok::<(), Malformed>(())
        };
        match shard {
            Some(_) => scanner.more_members(visit)?,
            None => scanner.object(visit)?,
        }
        Ok(Some(Hit {
            span: start..scanner.pos(),
            federation,
            added,
        }))
    }

    /// From behind a hit's shard goes to the end of its document, where that is known without reading it all.
    #[inline]
    fn pass_document(&self, bytes: &[u8], scanner: &mut Scanner, added: &mut Added) {
        let shard_end = scanner.pos();
        if let Some(next) = pass_over(bytes, shard_end, self.left.end) {
            added.follow(shard_end + 1);
            scanner.go_to(next);
        }
    }
}

/// The error for a node's answer that is not the JSON it should be.
pub(crate) fn unreadable(node: usize, error: Malformed) -> MergeError {
    MergeError::bad(
        node,
        format!("it is not the JSON of an answer (at byte {})", error.at),
    )
}

/// Where the first hit begins, in an answer that begins as Meilisearch's do.
fn hits_start(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes.strip_prefix(b"{")?;
    if let Some(named) = rest.strip_prefix(PART) {
        let end = named.iter().position(|byte| *byte == b'"')?;
        rest = named[end..].strip_prefix(b"\",")?;
    }
    Some(bytes.len() - rest.strip_prefix(HEAD)?.len())
}

/// Where the name of a hit's own shard begins, if nothing before it must be read; `from` is behind the hit's brace. `None`: read it all.
///
/// No text holds a quote without a backslash before it. So a quote behind a comma begins a string or ends one; and it does not end
/// one, as behind a string no name stands. The string that it begins is the name whole, and a colon behind a string makes it the name
/// of a member. As there is no other brace between the hit's and it, neither an object in this hit has begun nor the next hit. That
/// needs no reading of what stands before; where a document holds objects or braces before its shard, it is read.
fn own_shard(bytes: &[u8], from: usize, end: usize) -> Option<usize> {
    let rest = &bytes[from..end];
    if rest.starts_with(SHARD.needle()) {
        return Some(from);
    }
    let flat = &rest[..memchr(b'{', rest).unwrap_or(rest.len())];
    let at = SHARD.find(flat)?;
    flat[..at].ends_with(b",").then_some(from + at)
}

/// Where reading a hit goes on, of which all up to `from` was read, its shard last: at the brace that ends it, or at the comma before
/// its score or its details. Of what lies between, only objects are read. `None`: read it all.
///
/// The next brace tells, if a quote and the beginning of a name stand behind it: such a quote opens a string, so what stands before
/// it is no part of a text. As no other brace came before it, it is the next hit's, the details', or that of an object in
/// this hit, and what stands before it tells which. A node is trusted to write JSON: what is passed over is not checked, as
/// little as hits that no page needs.
fn pass_over(bytes: &[u8], from: usize, end: usize) -> Option<usize> {
    let mut scanner = Scanner::within(bytes, from..end);
    if !scanner.slice(from..end).starts_with(b",\"") {
        return None;
    }
    loop {
        let at = scanner.pos();
        let rest = scanner.slice(at..end);
        let Some(brace) = memchr(b'{', rest) else {
            return Some(at + before_score(rest.strip_suffix(b"}")?));
        };
        let (before, behind) = rest.split_at(brace);
        if let Some(members) = before.strip_suffix(DETAILS) {
            return Some(at + before_score(members));
        }
        let opens = |name: &u8| name.is_ascii_alphanumeric() || *name == b'_';
        if behind.get(1) != Some(&b'"') || !behind.get(2).is_some_and(opens) {
            return None;
        }
        if let Some(members) = before.strip_suffix(b"},") {
            return Some(at + before_score(members));
        }
        let value = before.strip_suffix(b"[").unwrap_or(before);
        let is_added = ADDED.iter().any(|name| value.ends_with(name));
        if is_added || !value.ends_with(b"\":") {
            return None;
        }
        scanner.go_to(at + value.len());
        scanner.value().ok()?;
    }
}

/// The length of `members` without the score at its end.
fn before_score(members: &[u8]) -> usize {
    let last = memrchr(b',', members).filter(|comma| members[*comma..].starts_with(SCORE));
    last.unwrap_or(members.len())
}

/// The name of the shard as a member.
static SHARD: LazyLock<memmem::Finder> = LazyLock::new(|| {
    let name = format!("\"{}\":", miroir_api::SHARD_FIELD);
    memmem::Finder::new(&name).into_owned()
});

/// Objects that nodes add: what is in them counts, or is cut.
const ADDED: [&[u8]; 3] = [
    b"\"_formatted\":",
    b"\"_matchesPosition\":",
    b"\"_federation\":",
];
const DETAILS: &[u8] = b",\"_rankingScoreDetails\":";
const SCORE: &[u8] = b",\"_rankingScore\":";

/// The span of an object; `null` counts as absent.
fn object_span(scanner: &mut Scanner) -> Result<Option<Range<usize>>, Malformed> {
    match scanner.peek() {
        Some(b'{') => scanner.value().map(Some),
        Some(b'n') => scanner.value().map(|_| None),
        _ => scanner.malformed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_passed_over() {
        for (rest, left) in [
            (r#","a":1}"#, "}"),
            (r#","a":[1,"x"]},{"a":{"b":1}}"#, r#"},{"a":{"b":1}}"#),
            (r#","a":"\"}",{"#, "all"),
            (r#","a":{"b":1},"c":2}"#, "}"),
            (
                r#","a":{"b":{"c":"}"}},"c":[{"d":1},{"d":2}]},{"a":1}"#,
                r#"},{"a":1}"#,
            ),
            (r#","a":{}}"#, "all"),
            (r#","a":[1,{"b":1}]}"#, "all"),
            (r#","a":[[{"b":1},{"b":1}]]}"#, "all"),
            (r#","a":"x{y"}"#, "all"),
            (r#","a":":{","b":1}"#, "all"),
            // A text that ends with what could be the border of two hits.
            (r#","a":"},{","b":1}"#, "all"),
            (r#","a":[{"_miroir_shard":"x"},{"b":1}]}"#, "}"),
            (r#","a":1,"_formatted":{"a":"1"}}"#, "all"),
            (r#","a":1,"_federation":{"indexUid":"1"}}"#, "all"),
            (r#","a":{"b":1},"_matchesPosition":{"a":[{"b":1}]}}"#, "all"),
            (
                r#","a":1,"_rankingScore":0.5},{"a":1}"#,
                r#","_rankingScore":0.5},{"a":1}"#,
            ),
            (
                r#","a":1,"_rankingScoreDetails":{"words":{}}}"#,
                r#","_rankingScoreDetails":{"words":{}}}"#,
            ),
            (
                r#","a":{"b":1},"_rankingScore":1,"_rankingScoreDetails":{}},{}"#,
                r#","_rankingScore":1,"_rankingScoreDetails":{}},{}"#,
            ),
            (
                r#","_rankingScoreDetails":{}}"#,
                r#","_rankingScoreDetails":{}}"#,
            ),
            ("}", "all"),
            ("", "all"),
        ] {
            let next = pass_over(rest.as_bytes(), 0, rest.len());
            assert_eq!(next.map_or("all", |next| &rest[next..]), left, "{rest}");
        }
    }

    #[test]
    fn both_ways_find_the_same() {
        let in_hits = r#"{"a":[1],"query":"],\"query\":"}"#;
        for (text, quick) in [
            (r#"{"hits":[],"query":"","totalHits":3}"#.to_owned(), true),
            (
                format!(r#"{{"hits":[{in_hits}],"query":"],","facetStats":{{}},"totalHits":3}}"#),
                true,
            ),
            (
                format!(r#"{{"indexUid":"a","hits":[{in_hits}],"query":"","totalHits":3}}"#),
                true,
            ),
            // Nothing behind the hits, another order, another spacing.
            (format!(r#"{{"hits":[{in_hits}],"totalHits":3}}"#), false),
            (
                format!(r#"{{"query":"","totalHits":3,"hits":[{in_hits}]}}"#),
                false,
            ),
            (r#"{ "hits":[],"query":"","totalHits":3}"#.to_owned(), false),
        ] {
            let whole = Answer::from_start(text.as_bytes(), 0).unwrap();
            assert_eq!(whole.total, 3);
            let found = Answer::from_tail(text.as_bytes());
            assert_eq!(found.is_some(), quick, "{text}");
            if let Some(found) = found {
                assert_eq!(
                    (found.hits, found.stats),
                    (whole.hits, whole.stats),
                    "{text}"
                );
            }
        }
    }
}
