//! What Meilisearch says about payloads that it cannot read.
//!
//! Texts and rules follow `crates/meilisearch-types/src/document_formats.rs`; the payload is read once more by the same parser, serde_json,
//! so that positions and wording agree. This is the slow path: only a payload that is refused comes here.
//!
//! One deliberate difference: an array with something else than objects in it, or such a line of NDJSON, makes Meilisearch answer 500
//! `internal` by an accident of its error conversion. Here it is the 400 that a payload like `"text"` gets.

use std::fmt;

use miroir_api::Error;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::Format;

/// 400 `missing_payload`.
pub(super) fn missing(format: Format) -> Error {
    Error::invalid(
        400,
        "missing_payload",
        format!("A {} payload is missing.", name(format)),
    )
}

/// Fails with the reason why Meilisearch would refuse the payload (JSON or NDJSON), if it would.
pub(super) fn explain(body: &[u8], format: Format) -> Result<(), Error> {
    let result = match format {
        Format::Json => explain_json(body),
        Format::Ndjson | Format::Csv { .. } => explain_lines(body),
    };
    result.map_err(|error| json_error(format, &error))
}

/// Fails where the payload is not one JSON object that can be read as a tree.
pub(super) fn check_object(body: &[u8]) -> Result<(), Error> {
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body) {
        Ok(_) => Ok(()),
        Err(error) => Err(json_error(Format::Json, &error)),
    }
}

/// A payload that the scanner refuses but serde_json reads. The tests know of none; refusing is the safe side.
pub(super) fn unexplained(format: Format, at: usize) -> Error {
    let text = format!(
        "The `{}` payload provided is malformed at byte {at}.",
        name(format)
    );
    Error::invalid(400, "malformed_payload", text)
}

/// 400 `malformed_payload` for CSV, with a reason.
pub(super) fn csv_error(reason: impl fmt::Display) -> Error {
    let text = format!("The `csv` payload provided is malformed: `{reason}`.");
    Error::invalid(400, "malformed_payload", text)
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Json => "json",
        Format::Ndjson => "ndjson",
        Format::Csv { .. } => "csv",
    }
}

fn json_error(format: Format, error: &serde_json::Error) -> Error {
    let mut reason = match error.classify() {
        Category::Data => "data are neither an object nor a list of objects".to_owned(),
        _ => error.to_string(),
    };
    shorten(&mut reason);
    let text = format!(
        "The `{}` payload provided is malformed. `Couldn't serialize document value: {reason}`.",
        name(format)
    );
    Error::invalid(400, "malformed_payload", text)
}

/// The client's own text in a message may be of any length: keep its first 50 and last 85 bytes.
fn shorten(reason: &mut String) {
    const HEAD: usize = 50;
    const TAIL: usize = 85;
    const ELLIPSIS: &str = "...";
    if reason.len() > HEAD + TAIL + ELLIPSIS.len() {
        let from = reason.floor_char_boundary(HEAD);
        let to = reason.floor_char_boundary(reason.len() - TAIL);
        reason.replace_range(from..to, ELLIPSIS);
    }
}

fn explain_json(body: &[u8]) -> Result<(), serde_json::Error> {
    let mut elements = serde_json::Deserializer::from_slice(body);
    let mut inner = None;
    let outer = serde::Deserializer::deserialize_seq(&mut elements, Elements(&mut inner));
    match (inner, outer) {
        (Some(error), _) => Err(error),
        (None, Err(error)) if error.classify() == Category::Data => {
            serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(body).map(|_| ())
        }
        (None, outer) => outer,
    }
}

fn explain_lines(body: &[u8]) -> Result<(), serde_json::Error> {
    for raw in serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>() {
        serde_json::from_str::<Names>(raw?.get())?;
    }
    Ok(())
}

/// Reads an array of objects; stops at the first element that is none and leaves the reason in the slot.
struct Elements<'e>(&'e mut Option<serde_json::Error>);

impl<'de> serde::de::Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a nonempty sequence")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(raw) = elements.next_element::<&RawValue>()? {
            if let Err(error) = serde_json::from_str::<Names>(raw.get()) {
                *self.0 = Some(error);
                return Ok(());
            }
        }
        Ok(())
    }
}

/// An object of which only the keys are decoded.
struct Names;

impl<'de> serde::Deserialize<'de> for Names {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamesVisitor)
    }
}

struct NamesVisitor;

impl<'de> serde::de::Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
        while map.next_entry::<String, &RawValue>()?.is_some() {}
        Ok(Names)
    }
}
