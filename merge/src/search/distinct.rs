//! The distinct rule between nodes: a hit is dropped when any of its values was seen on a better hit (MEILISEARCH B.6).

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ops::Range;

use ahash::AHasher;
use smallvec::SmallVec;

use super::answer::unreadable;
use crate::facet_value::{normalize, truncate};
use crate::scan::{Malformed, Scanner};
use crate::MergeError;

/// The values of the distinct attribute on the hits so far. The hasher has a fixed key: the merge is a function of its
/// arguments, and a client that makes values collide slows down its own request only.
pub(crate) struct Seen<'s> {
    path: &'s str,
    /// With the position of the answer that it came from.
    values: HashMap<Value, usize, BuildHasherDefault<AHasher>>,
}

/// What the values of a hit are among those of the hits before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Met {
    /// It has none, and stays.
    Nothing,
    /// None is repeated: it stays, and they are remembered.
    New,
    /// All are.
    Known,
    /// Some are.
    InPart,
}

impl Met {
    /// Whether the hit is dropped.
    pub fn repeats(self) -> bool {
        matches!(self, Met::Known | Met::InPart)
    }
}

/// What a list may lack from some place on (MEILISEARCH B.6): documents that share a value with a hit which their node put before
/// them, and which is then dropped for another value, because of another node's hit. Where no document has several values there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsettled {
    /// So many hits with values stand before that place, from the start of the list.
    pub settled: usize,
    /// Their values, as facets name them: whether it is a number, and the number's text or the string's normalised form.
    pub values: Vec<(bool, String)>,
}

/// What the page and what is before it took from each of the answers, where that decides what else is counted: documents that share a value
/// with these are not.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    pub hits: usize,
    /// As facets name them.
    pub values: Vec<(bool, String)>,
}

/// Whether a distinct attribute counts and the hit repeats one of its values. `extra` are fields that it does not show.
pub(super) fn repeats(
    seen: &mut Option<Seen>,
    bytes: &[u8],
    node: usize,
    hit: &Range<usize>,
    extra: &Option<Range<usize>>,
) -> Result<bool, MergeError> {
    meet(seen, bytes, node, hit, extra).map(Met::repeats)
}

/// What the values of a hit are, where a distinct attribute counts; nothing where none does.
pub(super) fn meet(
    seen: &mut Option<Seen>,
    bytes: &[u8],
    node: usize,
    hit: &Range<usize>,
    extra: &Option<Range<usize>>,
) -> Result<Met, MergeError> {
    match seen {
        Some(seen) => seen
            .meet(bytes, node, std::iter::once(hit).chain(extra).cloned())
            .map_err(|error| unreadable(node, error)),
        None => Ok(Met::Nothing),
    }
}

/// A facet value as milli keeps it: numbers and strings are different values, booleans are strings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    /// The bits of a number, without a negative zero.
    Number(u64),
    Text(Box<str>),
}

impl<'s> Seen<'s> {
    pub fn new(path: &'s str) -> Self {
        Seen {
            path,
            values: HashMap::default(),
        }
    }

    /// Whether the hit, whose fields stand in these objects, has a value that an earlier one had; see [`Seen::meet`].
    pub fn repeats_in(
        &mut self,
        bytes: &[u8],
        objects: impl IntoIterator<Item = Range<usize>>,
    ) -> Result<bool, Malformed> {
        self.meet(bytes, 0, objects).map(Met::repeats)
    }

    /// What the values of the hit, whose fields stand in these objects, are among the earlier ones. Those of a hit that stays are remembered.
    /// Null, empty and missing values are no values.
    fn meet(
        &mut self,
        bytes: &[u8],
        node: usize,
        objects: impl IntoIterator<Item = Range<usize>>,
    ) -> Result<Met, Malformed> {
        let mut values = SmallVec::new();
        for object in objects {
            collect(&mut Scanner::within(bytes, object), self.path, &mut values)?;
        }
        if values.is_empty() {
            return Ok(Met::Nothing);
        }
        let known = values
            .iter()
            .filter(|value| self.values.contains_key(*value));
        let known = known.count();
        if known > 0 {
            let all = known == values.len();
            return Ok(if all { Met::Known } else { Met::InPart });
        }
        self.values
            .extend(values.into_iter().map(|value| (value, node)));
        Ok(Met::New)
    }
}

impl Seen<'_> {
    /// What is remembered, as facets name it: whether it is a number, and the number's text or the string's normalised form.
    pub fn facet_keys(&self) -> impl Iterator<Item = (bool, String)> + '_ {
        self.values.keys().map(Value::facet_key)
    }

    /// The same by the answer that each came from, of so many answers.
    pub fn facet_keys_by_answer(&self, answers: usize) -> Vec<Vec<(bool, String)>> {
        let mut keys = vec![Vec::new(); answers];
        for (value, answer) in &self.values {
            if let Some(keys) = keys.get_mut(*answer) {
                keys.push(value.facet_key());
            }
        }
        keys
    }
}

impl Value {
    fn facet_key(&self) -> (bool, String) {
        match self {
            Value::Number(bits) => (true, f64::from_bits(*bits).to_string()),
            Value::Text(text) => (false, text.to_string()),
        }
    }
}

/// Collects the leaves at `path` below the object at the scanner, through arrays, with dots in names allowed at every level.
fn collect(
    scanner: &mut Scanner,
    path: &str,
    values: &mut SmallVec<[Value; 2]>,
) -> Result<(), Malformed> {
    scanner.object(|scanner, key, _| {
        let rest = if key.is(path) {
            Some("")
        } else {
            match key.decode() {
                Some(Cow::Borrowed(name)) => path
                    .strip_prefix(name)
                    .and_then(|rest| rest.strip_prefix('.')),
                Some(Cow::Owned(name)) => path
                    .strip_prefix(name.as_str())
                    .and_then(|rest| rest.strip_prefix('.')),
                None => None,
            }
        };
        match rest {
            Some(rest) => leaves(scanner, rest, values),
            None => scanner.value().map(|_| ()),
        }
    })
}

/// The leaves of a value; `path` is what is left to go, empty at the goal.
fn leaves(
    scanner: &mut Scanner,
    path: &str,
    values: &mut SmallVec<[Value; 2]>,
) -> Result<(), Malformed> {
    match scanner.peek() {
        Some(b'[') => array_leaves(scanner, path, values),
        Some(b'{') if !path.is_empty() => collect(scanner, path, values),
        first => {
            let span = scanner.value()?;
            if path.is_empty() {
                values.extend(leaf(first, scanner.slice(span)));
            }
            Ok(())
        }
    }
}

/// Elements of nested arrays are leaves too. Not recursive in the nesting of arrays: foreign bytes must not overflow the stack.
fn array_leaves(
    scanner: &mut Scanner,
    path: &str,
    values: &mut SmallVec<[Value; 2]>,
) -> Result<(), Malformed> {
    let span = scanner.value()?;
    let end = span.end;
    let mut inner = scanner.clone();
    inner.go_to(span.start + 1);
    // The value has been checked, so brackets and commas can be passed over and every other thing is an element.
    loop {
        match inner.peek() {
            Some(b'[' | b']' | b',') => inner.go_to(inner.pos() + 1),
            Some(_) => leaves(&mut inner, path, values)?,
            None => return inner.malformed(),
        }
        if inner.pos() >= end {
            return Ok(());
        }
    }
}

fn leaf(first: Option<u8>, bytes: &[u8]) -> Option<Value> {
    match first? {
        b'"' => {
            let text = Scanner::new(bytes).string().ok()?.decode()?;
            let normalized = normalize(&text);
            // milli skips an empty string before it normalises.
            (!text.is_empty()).then(|| Value::Text(truncate(&normalized).into()))
        }
        b't' | b'f' => Some(Value::Text(std::str::from_utf8(bytes).ok()?.into())),
        b'-' | b'0'..=b'9' => {
            let number: f64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
            Some(Value::Number((number + 0.0).to_bits()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(path: &str, hits: &[&str]) -> Vec<bool> {
        let mut seen = Seen::new(path);
        hits.iter()
            .map(|hit| {
                seen.repeats_in(hit.as_bytes(), std::iter::once(0..hit.len()))
                    .unwrap()
            })
            .collect()
    }

    #[test]
    fn values_are_compared_as_facets() {
        let hits = [
            r#"{"c":"Red"}"#,
            r#"{"c":" RED "}"#,
            r#"{"c":1}"#,
            r#"{"c":1.0}"#,
            r#"{"c":"1"}"#,
            r#"{"c":true}"#,
            r#"{"c":"TRUE"}"#,
        ];
        assert_eq!(
            verdicts("c", &hits),
            [false, true, false, true, false, false, true]
        );
    }

    #[test]
    fn nothing_is_never_a_duplicate() {
        let hits = [
            "{}",
            "{}",
            r#"{"c":null}"#,
            r#"{"c":null}"#,
            r#"{"c":""}"#,
            r#"{"c":""}"#,
            r#"{"c":[]}"#,
            r#"{"c":{}}"#,
        ];
        assert_eq!(verdicts("c", &hits), [false; 8]);
    }

    #[test]
    fn any_value_of_many_suffices_and_a_dropped_hit_leaves_no_values() {
        let hits = [
            r#"{"c":["a","b"]}"#,
            r#"{"c":["b","x"]}"#,
            r#"{"c":"x"}"#,
            r#"{"c":[[],["y",["x"]]]}"#,
        ];
        assert_eq!(verdicts("c", &hits), [false, true, false, true]);
    }

    #[test]
    fn paths_go_through_objects_arrays_and_dotted_names() {
        let hits = [
            r#"{"a":{"b":1}}"#,
            r#"{"a.b":1}"#,
            r#"{"a":[{"b":2},{"b":1}]}"#,
            r#"{"a":{"b":{"c":1}}}"#,
            r#"{"a":1}"#,
        ];
        assert_eq!(verdicts("a.b", &hits), [false, true, true, false, false]);
    }

    #[test]
    fn deep_nesting_is_survived() {
        let deep = format!(r#"{{"c":{}1{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(verdicts("c", &[&deep, r#"{"c":1}"#]), [false, true]);
    }
}
