//! Reading the members of request bodies and queries with Meilisearch's error texts.

use serde_json::{Map, Value};

use crate::Error;

/// A value of the wrong kind, at a path like `.uid`.
pub fn wrong_kind(path: &str, expected: &str, found: &Value, code: &'static str) -> Error {
    Error::invalid(
        400,
        code,
        format!(
            "Invalid value type{}: expected {expected}, but found {}",
            at(path),
            describe(found)
        ),
    )
}

fn at(path: &str) -> String {
    if path.is_empty() {
        String::new()
    } else {
        format!(" at `{path}`")
    }
}

fn describe(value: &Value) -> String {
    let kind = match value {
        Value::Null => return "null".to_owned(),
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_u64() => "a positive integer",
        Value::Number(number) if number.is_i64() => "a negative integer",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("{kind}: `{value}`")
}

/// A query parameter that counts.
pub fn count(name: &str, value: &str, code: &'static str) -> Result<usize, Error> {
    value.parse().map_err(|_| {
        let why = format!("could not parse `{value}` as a positive integer");
        Error::invalid(
            400,
            code,
            format!("Invalid value in parameter `{name}`: {why}"),
        )
    })
}

/// `offset` and `limit` of a list, 0 and 20 where they are missing; `codes` of refusals, in this order.
pub fn paging(
    query: Option<&str>,
    codes: (&'static str, &'static str),
) -> Result<(usize, usize), Error> {
    let (mut offset, mut limit) = (0, 20);
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "offset" => offset = count(&name, &value, codes.0)?,
            "limit" => limit = count(&name, &value, codes.1)?,
            _ => return Err(unknown_parameter(&name, &["offset", "limit"])),
        }
    }
    Ok((offset, limit))
}

/// The members of a body that must be an object.
pub fn object(body: &Value) -> Result<&Map<String, Value>, Error> {
    body.as_object()
        .ok_or_else(|| wrong_kind("", "an object", body, "bad_request"))
}

/// The text at a path like `.uid`.
pub fn text<'v>(value: &'v Value, path: &str, code: &'static str) -> Result<&'v str, Error> {
    value
        .as_str()
        .ok_or_else(|| wrong_kind(path, "a string", value, code))
}

/// A member that is none of ours.
pub fn unknown_field(field: &str, expected: &[&str]) -> Error {
    unknown("field", field, expected)
}

/// A member that is none of ours, inside a place like `.indexes.films`.
pub fn unknown_field_inside(field: &str, place: &str, expected: &[&str]) -> Error {
    let hint = hint(field, expected);
    Error::bad_request(format!("Unknown field `{field}` inside `{place}`: {hint}"))
}

/// A query parameter that is none of ours.
pub fn unknown_parameter(name: &str, expected: &[&str]) -> Error {
    unknown("parameter", name, expected)
}

/// A word that is not in a list of words, at a path like `.actions[0]`.
pub fn unknown_value(value: &str, path: &str, expected: &[&str], code: &'static str) -> Error {
    let message = format!(
        "Unknown value `{value}`{}: {}",
        at(path),
        hint(value, expected)
    );
    Error::invalid(400, code, message)
}

pub fn missing_field(field: &str, code: &'static str) -> Error {
    Error::invalid(400, code, format!("Missing field `{field}`"))
}

fn unknown(what: &str, name: &str, expected: &[&str]) -> Error {
    Error::bad_request(format!("Unknown {what} `{name}`: {}", hint(name, expected)))
}

/// What could have been meant, and what there is (deserr, `errors/helpers.rs`).
fn hint(received: &str, expected: &[&str]) -> String {
    let typos_max = match received.len() {
        0..=3 => 0,
        4..=7 => 1,
        8..=12 => 2,
        13..=17 => 3,
        18..=24 => 4,
        _ => 5,
    };
    let near = expected
        .iter()
        .map(|word| (strsim::damerau_levenshtein(received, word), word))
        .filter(|(typos, _)| (1..=typos_max).contains(typos))
        .min_by_key(|(typos, _)| *typos);
    let guess = near.map(|(_, word)| format!("did you mean `{word}`? "));
    format!(
        "{}expected one of {}",
        guess.unwrap_or_default(),
        quoted(expected)
    )
}

/// A value of the right kind that says nothing useful, at a path like `.uid`.
pub fn invalid_value(path: &str, why: &dyn std::fmt::Display, code: &'static str) -> Error {
    Error::invalid(400, code, format!("Invalid value at `{path}`: {why}"))
}

/// A member that exists and cannot be changed.
pub fn immutable_field(field: &str, changeable: &[&str], code: &'static str) -> Error {
    let message = format!(
        "Immutable field `{field}`: expected one of {}",
        quoted(changeable)
    );
    Error::invalid(400, code, message)
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_as_meilisearch_does() {
        let error = wrong_kind(".uid", "a string", &Value::Bool(true), "invalid_index_uid");
        assert_eq!(
            error.message,
            "Invalid value type at `.uid`: expected a string, but found a boolean: `true`"
        );
    }
}
