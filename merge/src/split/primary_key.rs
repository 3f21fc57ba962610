//! Finding and checking a document's id, as milli does (`documents/primary_key.rs`, `update/new/indexer/de.rs`).

use std::borrow::Cow;
use std::ops::Range;

use miroir_api::Error;
use serde_json::Value;
use smallvec::SmallVec;

use crate::scan::{Malformed, Scanner, Text};

/// The text by which a value in a list of ids (`delete-batch`) names a document: strings as they are, everything else as JSON
/// prints it. `None` when no document can have that id (MEILISEARCH I.3): nothing is to be done for it.
pub fn id_text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    is_valid(text.as_bytes()).then_some(text)
}

/// The id of a stored document, or of a hit that shows it: a node has checked it.
pub(crate) fn stored_id<'d>(
    bytes: &'d [u8],
    document: Range<usize>,
    primary_key: &str,
) -> Option<Cow<'d, [u8]>> {
    let key = PrimaryKey::new(primary_key);
    let mut found: SmallVec<[(usize, Range<usize>); 1]> = SmallVec::new();
    let mut scanner = Scanner::within(bytes, document);
    let walked = scanner.object(|scanner, name, _| {
        let value = scanner.value()?;
        found.extend(key.level(name).map(|level| (level, value)));
        // There is no other way to a key that is no path, so what stands behind it is not looked at.
        match key.levels.len() == 1 && !found.is_empty() {
            true => Err(Walk::Enough),
            false => Ok(()),
        }
    });
    match walked {
        Err(Walk::Malformed) => None,
        Ok(()) | Err(Walk::Enough) => key.id(&scanner, &found).ok(),
    }
}

/// Why a walk over members ends early.
enum Walk {
    Enough,
    Malformed,
}

impl From<Malformed> for Walk {
    fn from(_: Malformed) -> Self {
        Walk::Malformed
    }
}

/// A primary key, which may be a path: `a.b` is read from `{"a":{"b":..}}` and from `{"a.b":..}`.
pub(super) struct PrimaryKey<'a> {
    name: &'a str,
    /// Names of top-level members that can hold the key, each with the path that remains below it.
    levels: SmallVec<[(&'a str, &'a str); 1]>,
}

/// What is wrong with a document's id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Missing,
    /// The value, as JSON text.
    Invalid(String),
    TooMany,
}

impl<'a> PrimaryKey<'a> {
    pub fn new(name: &'a str) -> Self {
        PrimaryKey {
            name,
            levels: levels(name).collect(),
        }
    }

    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Which way to the key a member with this name opens.
    #[inline]
    pub fn level(&self, name: Text) -> Option<usize> {
        self.levels.iter().position(|(level, _)| name.is(level))
    }

    /// The id's text, from the values of the document's members in their order, each with its level.
    pub fn id<'d>(
        &self,
        document: &Scanner<'d>,
        found: &[(usize, Range<usize>)],
    ) -> Result<Cow<'d, [u8]>, Problem> {
        let mut id = None;
        for (level, value) in found {
            let rest = self.levels[*level].1;
            let bytes = document.slice(value.clone());
            replace(&mut id, find(bytes, rest)?)?;
        }
        id.ok_or(Problem::Missing)
    }
}

impl Problem {
    /// The error with which the task fails; `document` is the document's JSON.
    pub fn into_error(self, primary_key: &str, document: &[u8]) -> Error {
        match self {
            Problem::Missing => Error::invalid(
                400,
                "missing_document_id",
                format!("Document doesn't have a `{primary_key}` attribute: `{}`.", compact(document)),
            ),
            Problem::TooMany => invalid(format!(
                "Document have too many matching `{primary_key}` attribute: `{}`.",
                compact(document)
            )),
            Problem::Invalid(value) => invalid(format!(
                "Document identifier `{value}` is invalid. A document identifier can be of type integer or string, \
                 only composed of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and underscores (_), \
                 and can not be more than 511 bytes."
            )),
        }
    }
}

fn invalid(message: String) -> Error {
    Error::invalid(400, "invalid_document_id", message)
}

/// JSON as Meilisearch prints it in messages; as it came where serde_json cannot read it as a tree.
fn compact(json: &[u8]) -> String {
    match serde_json::from_slice::<Value>(json) {
        Ok(value) => value.to_string(),
        Err(_) => String::from_utf8_lossy(json).into_owned(),
    }
}

/// Every way to split a path at a dot, and the whole path with nothing below it.
fn levels(name: &str) -> impl Iterator<Item = (&str, &str)> {
    name.match_indices('.')
        .map(move |(at, _)| (&name[..at], &name[at + 1..]))
        .chain([(name, "")])
}

/// The id in a value at the end of a path, or below it; `None` when the path ends early. As deep as the path is long.
fn find<'d>(value: &'d [u8], rest: &str) -> Result<Option<Cow<'d, [u8]>>, Problem> {
    if rest.is_empty() {
        return read(value).map(Some);
    }
    if value.first() != Some(&b'{') {
        return Ok(None);
    }
    let mut id = None;
    Scanner::new(value).object(|scanner, name, _| {
        let level = levels(rest).find(|(level, _)| name.is(level));
        let span = scanner.value()?;
        if let Some((_, rest)) = level {
            replace(&mut id, find(&value[span], rest)?)?;
        }
        Ok::<(), Problem>(())
    })?;
    Ok(id)
}

/// The document was checked before, so this does not happen; the id would be unreadable.
impl From<Malformed> for Problem {
    fn from(_: Malformed) -> Self {
        Problem::Missing
    }
}

fn replace<'d>(
    id: &mut Option<Cow<'d, [u8]>>,
    found: Option<Cow<'d, [u8]>>,
) -> Result<(), Problem> {
    if found.is_some() && std::mem::replace(id, found).is_some() {
        return Err(Problem::TooMany);
    }
    Ok(())
}

/// Checks a JSON value as an id: a string of allowed characters, or an integer of 64 bits.
fn read(value: &[u8]) -> Result<Cow<'_, [u8]>, Problem> {
    let text = match value.first() {
        Some(b'"') => Scanner::new(value)
            .string()
            .ok()
            .and_then(|text| match text.decode() {
                Some(Cow::Borrowed(_)) => Some(Cow::Borrowed(text.raw)),
                Some(Cow::Owned(text)) => Some(Cow::Owned(text.into_bytes())),
                None => None,
            }),
        Some(b'-' | b'0'..=b'9') if is_integer(value) => Some(Cow::Borrowed(value)),
        _ => None,
    };
    match text {
        Some(text) if is_valid(&text) => Ok(text),
        _ => Err(Problem::Invalid(compact(value))),
    }
}

/// Whether a JSON number is what serde_json reads as `u64` or `i64`; minus zero is a float.
fn is_integer(number: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(number) else {
        return false;
    };
    text.parse::<u64>().is_ok() || (text != "-0" && text.parse::<i64>().is_ok())
}

fn is_valid(id: &[u8]) -> bool {
    let allowed = |&byte: &u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !id.is_empty() && id.len() < 512 && id.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_ids() {
        for (value, id) in [
            ("4", "4"),
            ("\"4\"", "4"),
            ("-7", "-7"),
            ("\"a_B-9\"", "a_B-9"),
            (r#""\u0069d""#, "id"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            assert_eq!(read(value.as_bytes()).unwrap(), id.as_bytes(), "{value}");
        }
        for value in [
            "1.0",
            "1e3",
            "-0",
            "18446744073709551616",
            "\"\"",
            "\"a b\"",
            "\"é\"",
            "null",
            "true",
            "[1]",
            "{}",
        ] {
            assert!(read(value.as_bytes()).is_err(), "{value}");
        }
        assert!(read(format!("\"{}\"", "x".repeat(511)).as_bytes()).is_ok());
        assert!(read(format!("\"{}\"", "x".repeat(512)).as_bytes()).is_err());
    }

    #[test]
    fn ids_in_lists_are_texts() {
        let text = |json: &str| id_text(&serde_json::from_str(json).unwrap());
        assert_eq!(text("4").as_deref(), Some("4"));
        assert_eq!(text("\"a\"").as_deref(), Some("a"));
        assert_eq!(text("true").as_deref(), Some("true"));
        assert_eq!(text("1.5"), None);
        assert_eq!(text("{\"id\":1}"), None);
    }
}
