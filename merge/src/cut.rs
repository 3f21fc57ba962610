//! Cutting members out of a JSON object without rewriting it.
//!
//! What remains is listed as ranges of the source: a member that stays is taken together with the comma in front of it, so that
//! members that stand side by side make one range, and an object from which nothing is cut is a single range.

use std::ops::Range;

use smallvec::SmallVec;

use crate::scan::{Malformed, Scanner, Text};

/// Ranges of one buffer, in order; ranges that touch are one.
pub(crate) type Ranges = SmallVec<[Range<usize>; 8]>;

/// What is to be cut out of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cuts<'a> {
    /// Names of members of the object itself: `a.b` here is a key with a dot in it.
    pub members: &'a [&'a str],
    /// Dotted paths: the path `a.b` is the member `b` of `a` (or of every object in the array `a`) or the member `a.b`. A
    /// parent that has nothing left goes too.
    pub paths: &'a [&'a str],
    /// The same for `_formatted`, which holds what was to be highlighted or cropped besides what was to be retrieved.
    pub formatted_paths: &'a [&'a str],
    /// Whether the object is a search hit, so that `_formatted` and `_matchesPosition` repeat the names of its members.
    pub hit: bool,
}

/// Lists what remains of the object that starts at the scanner's position, which then stands behind it.
pub(crate) fn cut_object(
    scanner: &mut Scanner,
    cuts: &Cuts,
    out: &mut Ranges,
) -> Result<(), Malformed> {
    Cutter { cuts, out }
        .object(scanner, cuts.paths, Level::Document)
        .map(|_| ())
}

/// Where the members of a hit lie that its node added to the document, noted while the hit was read: with these alone cut out of
/// it, it need not be read again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Added {
    members: SmallVec<[Member; 2]>,
    /// There are members that repeat names of others, or names with escapes.
    nested: bool,
}

#[derive(Clone, Debug)]
struct Member {
    /// Its place in [`Added::NAMES`].
    name: usize,
    /// Where the member before it ends, or the brace.
    before: usize,
    end: usize,
    /// Where the member behind it begins; its own end where there is none.
    next: usize,
}

impl Added {
    /// The shard first.
    const NAMES: [&'static str; 4] = [
        miroir_api::SHARD_FIELD,
        "_rankingScore",
        "_rankingScoreDetails",
        "_federation",
    ];

    /// The next member begins at `start`.
    #[inline]
    pub fn follow(&mut self, start: usize) {
        if let Some(last) = self.members.last_mut().filter(|last| last.next == last.end) {
            last.next = start;
        }
    }

    /// The hit's shard was read; see [`Added::note`].
    #[inline]
    pub fn note_shard(&mut self, before: usize, end: usize) {
        self.push(0, before, end);
    }

    /// A member was read: `before` and `end` are where the one before it and it end.
    #[inline]
    pub fn note(&mut self, name: Text, before: usize, end: usize) {
        if name.escaped {
            self.nested = true;
        } else if name.raw.first() == Some(&b'_') {
            let known = Self::NAMES.iter().position(|known| name.is(known));
            if let Some(name) = known {
                self.push(name, before, end);
            }
            self.nested |= matches!(name.raw, b"_formatted" | b"_matchesPosition");
        }
    }

    fn push(&mut self, name: usize, before: usize, end: usize) {
        self.members.push(Member {
            name,
            before,
            end,
            next: end,
        });
    }

    /// Lists what remains of the hit; false where that takes reading it.
    pub fn cut(&self, hit: Range<usize>, cuts: &Cuts, out: &mut Ranges) -> bool {
        if self.nested || !cuts.paths.is_empty() {
            return false;
        }
        let (mut from, mut last, mut kept) = (hit.start, hit.start + 1, false);
        for member in &self.members {
            if !cuts.members.contains(&Self::NAMES[member.name]) {
                continue;
            }
            kept |= member.before > last;
            if from < member.before {
                add(out, from..member.before);
            }
            // A comma stays with the member behind it, unless that one becomes the first.
            from = if kept { member.end } else { member.next };
            last = member.end;
        }
        add(out, from..hit.end);
        true
    }
}

/// Arrays directly within arrays that a path is followed through. Objects need no such limit: each uses up a name of the path.
const ARRAYS_MAX: u32 = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The document itself.
    Document,
    /// `_formatted`: shaped like the document; Meilisearch leaves it out when nothing is in it.
    Formatted,
    /// `_matchesPosition`: flat, with dotted paths as keys; stays when it is empty.
    Matches,
    /// An object inside: only paths apply.
    Inside,
}

struct Cutter<'a, 'o> {
    cuts: &'a Cuts<'a>,
    out: &'o mut Ranges,
}

/// What became of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Something remains, or there was nothing in it before.
    Some,
    /// All that was in it has been cut.
    Nothing,
}

impl Cutter<'_, '_> {
    fn object(
        &mut self,
        scanner: &mut Scanner,
        paths: &[&str],
        level: Level,
    ) -> Result<Left, Malformed> {
        scanner.peek();
        let open = scanner.pos();
        add(self.out, open..open + 1);
        let mut list = List {
            kept: 0,
            cut: 0,
            gap: open + 1,
        };
        scanner.object(|scanner, key, start| {
            let before = self.mark();
            if self.is_cut(key, paths, level) {
                scanner.value()?;
                list.cut += 1;
            } else {
                list.lead(self.out, start);
                match self.member(scanner, key, paths, level)? {
                    Left::Some => list.kept += 1,
                    Left::Nothing => {
                        self.rewind(before);
                        list.cut += 1;
                    }
                }
            }
            list.gap = scanner.pos();
            Ok::<(), Malformed>(())
        })?;
        list.close(self.out, scanner.pos());
        Ok(list.left())
    }

    /// The value of a member that is not cut whole; its key has been listed up to its opening quote.
    fn member(
        &mut self,
        scanner: &mut Scanner,
        key: Text,
        paths: &[&str],
        level: Level,
    ) -> Result<Left, Malformed> {
        // The scanner stands at the value, the list ends at the key.
        let key_start = self.out.last().map_or(0, |range| range.end);
        let inside = matches!(scanner.peek(), Some(b'{' | b'['));
        if inside {
            if level == Level::Document && self.cuts.hit && scanner.peek() == Some(b'{') {
                if key.is("_formatted") {
                    add(self.out, key_start..scanner.pos());
                    return self.object(scanner, self.cuts.formatted_paths, Level::Formatted);
                }
                if key.is("_matchesPosition") {
                    add(self.out, key_start..scanner.pos());
                    return self
                        // Positions are given for every displayed field, retrieved or not.
                        .object(scanner, &[], Level::Matches)
                        .map(|_| Left::Some);
                }
            }
            let deeper = below(key, paths);
            if !deeper.is_empty() {
                add(self.out, key_start..scanner.pos());
                return self.inside(scanner, &deeper, ARRAYS_MAX);
            }
        }
        let value = scanner.value()?;
        add(self.out, key_start..value.end);
        Ok(Left::Some)
    }

    /// A value through which paths lead; `arrays` more arrays may be entered.
    fn inside(
        &mut self,
        scanner: &mut Scanner,
        paths: &[&str],
        arrays: u32,
    ) -> Result<Left, Malformed> {
        match scanner.peek() {
            Some(b'{') => self.object(scanner, paths, Level::Inside),
            Some(b'[') if arrays > 0 => self.array(scanner, paths, arrays - 1),
            _ => {
                let value = scanner.value()?;
                add(self.out, value);
                Ok(Left::Some)
            }
        }
    }

    fn array(
        &mut self,
        scanner: &mut Scanner,
        paths: &[&str],
        arrays: u32,
    ) -> Result<Left, Malformed> {
        let open = scanner.pos();
        add(self.out, open..open + 1);
        let mut list = List {
            kept: 0,
            cut: 0,
            gap: open + 1,
        };
        scanner.array(|scanner| {
            let before = self.mark();
            list.lead(self.out, scanner.pos());
            match self.inside(scanner, paths, arrays)? {
                Left::Some => list.kept += 1,
                Left::Nothing => {
                    self.rewind(before);
                    list.cut += 1;
                }
            }
            list.gap = scanner.pos();
            Ok::<(), Malformed>(())
        })?;
        list.close(self.out, scanner.pos());
        Ok(list.left())
    }

    #[inline]
    fn is_cut(&self, key: Text, paths: &[&str], level: Level) -> bool {
        paths
            .iter()
            .any(|path| key.is(path) || (level == Level::Matches && leads(path, key)))
            || (level != Level::Inside && self.cuts.members.iter().any(|name| key.is(name)))
    }

    fn mark(&self) -> (usize, Option<Range<usize>>) {
        (self.out.len(), self.out.last().cloned())
    }

    fn rewind(&mut self, (len, last): (usize, Option<Range<usize>>)) {
        self.out.truncate(len);
        if let (Some(end), Some(last)) = (self.out.last_mut(), last) {
            *end = last;
        }
    }
}

/// The members of an object or the elements of an array while they are listed.
struct List {
    kept: usize,
    cut: usize,
    /// Where the previous member ends in the source, whether it was kept or not.
    gap: usize,
}

impl List {
    /// Lists what stands between the previous member and this one, which begins at `start`: a comma, unless this is the first that stays.
    fn lead(&self, out: &mut Ranges, start: usize) {
        if self.kept > 0 {
            add(out, self.gap..start);
        } else {
            // An empty range would be lost: the member's own bytes follow from `start`.
            out.push(start..start);
            join_last(out);
        }
    }

    fn close(&self, out: &mut Ranges, end: usize) {
        add(out, self.gap..end);
    }

    fn left(&self) -> Left {
        if self.kept == 0 && self.cut > 0 {
            Left::Nothing
        } else {
            Left::Some
        }
    }
}

/// Whether the dotted name `key` lies below `path`.
fn leads(path: &str, key: Text) -> bool {
    key.decode().is_some_and(|key| {
        key.strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// The rests of those paths that lead through `key`.
fn below<'p>(key: Text, paths: &[&'p str]) -> SmallVec<[&'p str; 4]> {
    let mut rests = SmallVec::new();
    if paths.is_empty() {
        return rests;
    }
    let Some(key) = key.decode() else {
        return rests;
    };
    for path in paths {
        if let Some(rest) = path
            .strip_prefix(key.as_ref())
            .and_then(|rest| rest.strip_prefix('.'))
        {
            rests.push(rest);
        }
    }
    rests
}

/// Lists one more range.
#[inline]
pub(crate) fn add(out: &mut Ranges, range: Range<usize>) {
    match out.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => out.push(range),
    }
}

fn join_last(out: &mut Ranges) {
    if let [.., before, last] = out.as_mut_slice() {
        if before.end == last.start {
            before.end = last.end;
            out.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str, members: &[&str], paths: &[&str]) -> String {
        let cuts = Cuts {
            members,
            paths,
            formatted_paths: paths,
            hit: true,
        };
        let mut ranges = Ranges::new();
        let mut scanner = Scanner::new(text.as_bytes());
        cut_object(&mut scanner, &cuts, &mut ranges).unwrap();
        ranges.into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn commas_are_right_wherever_the_cut_is() {
        let text = r#"{ "a" : 1 , "b":2, "c":3 }"#;
        assert_eq!(cut(text, &["a"], &[]), r#"{"b":2, "c":3 }"#);
        assert_eq!(
            cut(text, &["b"], &[]),
            r#"{ "a" : 1, "c":3 }"#.replace("{ ", "{")
        );
        assert_eq!(cut(text, &["c"], &[]), r#"{"a" : 1 , "b":2 }"#);
        assert_eq!(cut(text, &["a", "b", "c"], &[]), "{ }");
        assert_eq!(cut(text, &[], &[]), r#"{"a" : 1 , "b":2, "c":3 }"#);
        assert_eq!(cut("{}", &["a"], &[]), "{}");
        assert_eq!(cut(r#"{"\u0061":1,"b":2}"#, &["a"], &[]), r#"{"b":2}"#);
    }

    #[test]
    fn paths_reach_into_objects_arrays_and_dotted_keys() {
        assert_eq!(
            cut(r#"{"a":{"b":1,"c":2},"d":3}"#, &[], &["a.b"]),
            r#"{"a":{"c":2},"d":3}"#
        );
        assert_eq!(cut(r#"{"a":{"b":1},"d":3}"#, &[], &["a.b"]), r#"{"d":3}"#);
        assert_eq!(cut(r#"{"d":3,"a":{"b":1}}"#, &[], &["a.b"]), r#"{"d":3}"#);
        assert_eq!(cut(r#"{"a.b":1,"a":{}}"#, &[], &["a.b"]), r#"{"a":{}}"#);
        assert_eq!(
            cut(r#"{"a":[{"b":1},{"b":2,"c":3},4]}"#, &[], &["a.b"]),
            r#"{"a":[{"c":3},4]}"#
        );
        assert_eq!(
            cut(r#"{"x":1,"a":[{"b":1},{"b":2}],"y":1}"#, &[], &["a.b"]),
            r#"{"x":1,"y":1}"#
        );
        assert_eq!(
            cut(r#"{"a":{"b":{"c":1}},"e":{"b":1}}"#, &[], &["a.b.c"]),
            r#"{"e":{"b":1}}"#
        );
    }

    #[test]
    fn derived_objects_are_cut_like_the_document() {
        let text = r#"{"s":1,"t":2,"_formatted":{"s":"1","t":"2","u":{"s":1}}}"#;
        assert_eq!(cut(text, &["s"], &["t"]), r#"{"_formatted":{"u":{"s":1}}}"#);
        assert_eq!(
            cut(r#"{"t":2,"_formatted":{"s":"1"}}"#, &["s"], &[]),
            r#"{"t":2}"#
        );
        // Positions are there for displayed fields that were not retrieved, too.
        let text = r#"{"t":2,"_matchesPosition":{"s":[],"u.v":[]}}"#;
        assert_eq!(
            cut(text, &["s"], &["u"]),
            r#"{"t":2,"_matchesPosition":{"u.v":[]}}"#
        );
    }
}
