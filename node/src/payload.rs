//! Documents as clients send them (JSON, NDJSON, CSV) into the NDJSON that the engine reads.
//!
//! The syntax is checked here, before the task exists, as Meilisearch does
//! (`crates/meilisearch-types/src/document_formats.rs` at 1.15.1): what is malformed is answered with 400 at once.

use std::borrow::Cow;
use std::fmt;

use milli_core::documents::Error as DocumentError;
use miroir_api::Error;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::coded;

/// How the documents are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Ndjson,
    Csv { delimiter: u8 },
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Csv { .. } => "csv",
        })
    }
}

/// Checked documents.
#[derive(Debug, PartialEq, Eq)]
pub struct Documents {
    pub ndjson: Vec<u8>,
    pub count: u64,
}

/// Checks `body` and turns it into NDJSON. An empty body is `missing_payload`, a broken one `malformed_payload`.
pub fn read(body: &[u8], format: Format) -> Result<Documents, Error> {
    if body.is_empty() {
        return Err(coded(
            "missing_payload",
            format!("A {format} payload is missing."),
        ));
    }
    match format {
        Format::Json => read_json(body),
        Format::Ndjson => read_ndjson(body),
        Format::Csv { delimiter } => read_csv(body, delimiter),
    }
    .map_err(|error| malformed(format, error))
}

fn read_json(body: &[u8]) -> Result<Documents, DocumentError> {
    let mut documents = Documents {
        ndjson: Vec::with_capacity(body.len()),
        count: 0,
    };
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        // Like Meilisearch, which does not look at what comes after the list.
        let Objects(objects) =
            Objects::deserialize(&mut serde_json::Deserializer::from_slice(body))?;
        for object in objects {
            documents.push(object.0);
        }
    } else {
        // A lone document is read as a tree, which refuses what raw values do not: half surrogates, huge numbers.
        serde_json::from_slice::<Map<String, Value>>(body)?;
        documents.push(serde_json::from_slice(body)?);
    }
    Ok(documents)
}

fn read_ndjson(body: &[u8]) -> Result<Documents, DocumentError> {
    let mut documents = Documents {
        ndjson: Vec::with_capacity(body.len()),
        count: 0,
    };
    for object in serde_json::Deserializer::from_slice(body).into_iter::<Object>() {
        documents.push(object?.0);
    }
    Ok(documents)
}

fn read_csv(body: &[u8], delimiter: u8) -> Result<Documents, DocumentError> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(body);
    let headers = reader.headers()?.clone();
    let columns: Vec<(&str, Cell)> = headers.iter().map(column).collect();
    let mut documents = Documents {
        ndjson: Vec::with_capacity(body.len() * 2),
        count: 0,
    };
    let mut record = csv::StringRecord::new();
    let mut line = 0;
    while reader.read_record(&mut record)? {
        line += 1;
        let mut object = Map::new();
        for (index, (name, cell)) in columns.iter().enumerate() {
            // The reader refuses records of another length than the header's.
            let text = record.get(index).unwrap_or_default();
            object.insert((*name).to_owned(), cell.read(text, line)?);
        }
        serde_json::to_writer(&mut documents.ndjson, &object).map_err(DocumentError::Serialize)?;
        documents.ndjson.push(b'\n');
        documents.count += 1;
    }
    Ok(documents)
}

impl Documents {
    fn push(&mut self, document: &RawValue) {
        self.ndjson.extend_from_slice(document.get().as_bytes());
        self.ndjson.push(b'\n');
        self.count += 1;
    }
}

/// The type that a CSV header gives its column: `price:number`.
#[derive(Clone, Copy)]
enum Cell {
    Text,
    Boolean,
    Number,
}

fn column(header: &str) -> (&str, Cell) {
    match header.rsplit_once(':') {
        Some((name, "string")) => (name, Cell::Text),
        Some((name, "boolean")) => (name, Cell::Boolean),
        Some((name, "number")) => (name, Cell::Number),
        // A name with a colon that is no type stays whole.
        _ => (header, Cell::Text),
    }
}

impl Cell {
    fn read(self, text: &str, line: usize) -> Result<Value, DocumentError> {
        let trimmed = text.trim();
        match self {
            Cell::Text if text.is_empty() => Ok(Value::Null),
            Cell::Text => Ok(Value::from(text)),
            _ if trimmed.is_empty() => Ok(Value::Null),
            Cell::Boolean => {
                trimmed
                    .parse::<bool>()
                    .map(Value::from)
                    .map_err(|error| DocumentError::ParseBool {
                        error,
                        line,
                        value: text.to_owned(),
                    })
            }
            Cell::Number => trimmed.parse::<i64>().map(Value::from).or_else(|_| {
                trimmed
                    .parse::<f64>()
                    .map(Value::from)
                    .map_err(|error| DocumentError::ParseFloat {
                        error,
                        line,
                        value: text.to_owned(),
                    })
            }),
        }
    }
}

/// The text of a JSON object; anything else is refused.
struct Object<'a>(&'a RawValue);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                // Keys are read as text because a broken escape in one is an error that a raw scan would pass over.
                while let Some((_, _)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {}
                Ok(())
            }
        }
        let raw = <&RawValue>::deserialize(deserializer)?;
        let mut inner = serde_json::Deserializer::from_str(raw.get());
        inner
            .deserialize_map(Keys)
            .map_err(serde::de::Error::custom)?;
        Ok(Object(raw))
    }
}

struct Objects<'a>(Vec<Object<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Objects<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Vec<Object<'de>>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a nonempty sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut objects = Vec::new();
                while let Some(object) = seq.next_element()? {
                    objects.push(object);
                }
                Ok(objects)
            }
        }
        deserializer.deserialize_seq(Elements).map(Objects)
    }
}

fn malformed(format: Format, error: DocumentError) -> Error {
    // What a document holds may be long, and comes back in the text of the error.
    const HEAD: usize = 50;
    const TAIL: usize = 85;
    let message = match error {
        DocumentError::Json(error) => {
            let mut text = match error.classify() {
                serde_json::error::Category::Data => {
                    "data are neither an object nor a list of objects".to_owned()
                }
                _ => error.to_string(),
            };
            if text.len() > HEAD + TAIL + 3 {
                let head: String = text.chars().take(HEAD).collect();
                let skipped = text.chars().count() - TAIL;
                let tail: String = text.chars().skip(skipped).collect();
                text = format!("{head}...{tail}");
            }
            format!("The `{format}` payload provided is malformed. `Couldn't serialize document value: {text}`.")
        }
        other => format!("The `{format}` payload provided is malformed: `{other}`."),
    };
    coded("malformed_payload", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ndjson(body: &str, format: Format) -> Result<(String, u64), String> {
        let documents = read(body.as_bytes(), format).map_err(|error| error.message)?;
        Ok((
            String::from_utf8(documents.ndjson).unwrap(),
            documents.count,
        ))
    }

    #[test]
    fn json_is_a_list_or_one_object() {
        assert_eq!(
            ndjson(r#" [{"a":1}, {"b":[2]}] "#, Format::Json).unwrap(),
            ("{\"a\":1}\n{\"b\":[2]}\n".into(), 2)
        );
        assert_eq!(ndjson(r#"{"a":1}"#, Format::Json).unwrap().1, 1);
        assert_eq!(ndjson("[]", Format::Json).unwrap().1, 0);
        assert!(ndjson("3", Format::Json)
            .unwrap_err()
            .contains("neither an object nor a list of objects"));
        assert!(ndjson("[3]", Format::Json)
            .unwrap_err()
            .contains("neither an object nor a list of objects"));
        assert_eq!(ndjson(r#"[{"a":1}] x"#, Format::Json).unwrap().1, 1);
        assert!(ndjson(r#"{"a":1} x"#, Format::Json).is_err());
        assert!(ndjson(r#""\ud800""#, Format::Json)
            .unwrap_err()
            .contains("unexpected end of hex escape"));
        assert!(ndjson(r#"[{"a":1}"#, Format::Json)
            .unwrap_err()
            .contains("EOF while parsing a list"));
        assert_eq!(
            ndjson("", Format::Json).unwrap_err(),
            "A json payload is missing."
        );
    }

    #[test]
    fn ndjson_needs_no_newline_at_the_end() {
        assert_eq!(
            ndjson("{\"a\":1}\n\n{\"a\":2}", Format::Ndjson).unwrap().1,
            2
        );
        assert!(ndjson("{\"a\":1}\n{", Format::Ndjson).is_err());
    }

    #[test]
    fn csv_columns_have_types() {
        let csv = "id:number,ok:boolean,name,x:y\n1, true ,Ann,\n2.5,,\"B, C\",z\n";
        let expected = "{\"id\":1,\"ok\":true,\"name\":\"Ann\",\"x:y\":null}\n\
                        {\"id\":2.5,\"ok\":null,\"name\":\"B, C\",\"x:y\":\"z\"}\n";
        assert_eq!(
            ndjson(csv, Format::Csv { delimiter: b',' }).unwrap(),
            (expected.into(), 2)
        );
        let error = ndjson("id:number\nx\n", Format::Csv { delimiter: b',' }).unwrap_err();
        assert!(
            error.contains("Error parsing number \"x\" at line 1"),
            "{error}"
        );
    }
}
