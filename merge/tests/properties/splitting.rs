use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::json::{damaged, members, parse, space, string, value};
use miroir_merge::{
    count_documents, infer_primary_key, split, Format, Inference, Part, Split, SplitError,
};

/// The shards of each node: one copy of each on two nodes.
const NODES: [[u16; 2]; 3] = [[0, 1], [1, 2], [2, 0]];
const CODES: [&str; 3] = ["⸀⸀", "⸀⸁", "⸁⸀"];

fn shard(id: &[u8]) -> u16 {
    (id.iter().map(|&byte| usize::from(byte)).sum::<usize>() % 3) as u16
}

fn split_by_sum(body: &[u8], format: Format, key: &str) -> Result<Split, SplitError> {
    split(&Bytes::copy_from_slice(body), format, key, 3, &mut shard)
}

/// Documents with keys that matter among others, and ids good and bad.
fn document() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        4 => Just("\"id\""), 1 => Just("\"\\u0069d\""), 2 => Just("\"a\""), 1 => Just("\"a.b\""), 1 => Just("\"b\""),
        1 => Just("\"doc_ID\""), 1 => Just("\"Kid\""),
    ]
    .prop_map(str::to_owned);
    let key = prop_oneof![3 => key, 1 => string()];
    let id = prop_oneof![
        6 => (0..50u32).prop_map(|id| id.to_string()),
        3 => "\"[a-zA-Z0-9_-]{1,12}\"",
        1 => prop_oneof![Just("{\"b\":7}"), Just("{\"b\":{\"c\":1}}"), Just("[1]"), Just("-0"), Just("1.5"), Just("-3")]
            .prop_map(str::to_owned),
        1 => value(),
    ];
    (
        members(Just("\"id\"".to_owned()), id.clone(), 0..2),
        members(key, id, 0..5),
    )
        .prop_map(|(first, rest)| {
            // Two objects become one.
            let (first, rest) = (&first[..first.len() - 1], &rest[1..]);
            let comma = if first.len() > 1 && rest.len() > 1 {
                ","
            } else {
                ""
            };
            format!("{first}{comma}{rest}")
        })
}

fn array(document: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((space(), document, space()), 0..6).prop_map(|items| {
        let items: Vec<String> = items
            .into_iter()
            .map(|(a, document, b)| a + &document + &b)
            .collect();
        format!("[{}]", items.join(","))
    })
}

/// The id by Meilisearch's rules: only a flat key here.
fn naive_id(document: &Map<String, Value>, key: &str) -> Result<String, &'static str> {
    let id = match document.get(key) {
        None => return Err("missing_document_id"),
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(id)) if id.is_u64() || id.is_i64() => id.to_string(),
        Some(_) => return Err("invalid_document_id"),
    };
    let good = id
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        && (1..512).contains(&id.len());
    good.then_some(id).ok_or("invalid_document_id")
}

fn naive_split(documents: &[Value], key: &str) -> Result<Vec<Vec<Value>>, &'static str> {
    let mut nodes = vec![Vec::new(); 3];
    for document in documents {
        let document = document.as_object().unwrap();
        let id = naive_id(document, key)?;
        let shard = shard(id.as_bytes());
        let mut whole = Map::new();
        whole.insert("_miroir_shard".into(), CODES[usize::from(shard)].into());
        whole.extend(document.clone());
        for (documents, _) in nodes
            .iter_mut()
            .zip(NODES)
            .filter(|(_, held)| held.contains(&shard))
        {
            documents.push(Value::Object(whole.clone()));
        }
    }
    Ok(nodes)
}

fn split_bodies(body: &[u8], format: Format, key: &str) -> Result<Vec<Vec<Value>>, &'static str> {
    match split_by_sum(body, format, key).map(Arc::new) {
        Ok(split) => Ok(NODES
            .iter()
            .map(|shards| {
                let marked = shards
                    .iter()
                    .map(|shard| (*shard, CODES[usize::from(*shard)]));
                let part = Part::new(split.clone(), marked);
                let array = part.pieces().collect::<Vec<_>>().concat();
                assert_eq!(array.len(), part.bytes());
                parse(&array).as_array().unwrap().clone()
            })
            .collect()),
        Err(SplitError::Malformed(_)) => Err("malformed"),
        Err(SplitError::Document(error)) if error.code == "missing_document_id" => {
            Err("missing_document_id")
        }
        Err(SplitError::Document(_)) => Err("invalid_document_id"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_split_payload_is_the_payload(text in array(document())) {
        let documents = parse(text.as_bytes()).as_array().unwrap().clone();
        prop_assert_eq!(split_bodies(text.as_bytes(), Format::Json, "id"), naive_split(&documents, "id"));
        prop_assert_eq!(count_documents(text.as_bytes(), Format::Json), Ok(documents.len()));
    }

    #[test]
    fn formats_agree(text in array(document())) {
        // Duplicate keys mean different things in different formats, so they go first.
        let documents = parse(text.as_bytes()).as_array().unwrap().clone();
        let json = serde_json::to_vec(&documents).unwrap();
        let lines: Vec<String> = documents.iter().map(Value::to_string).collect();
        let expected = split_bodies(&json, Format::Json, "id");
        prop_assert_eq!(&split_bodies(format!("{}\n", lines.join("\n\n")).as_bytes(), Format::Ndjson, "id"), &expected);
        prop_assert_eq!(&split_bodies(format!(" {}", lines.concat()).as_bytes(), Format::Ndjson, "id"), &expected);
        if let [one] = lines.as_slice() {
            prop_assert_eq!(&split_bodies(one.as_bytes(), Format::Json, "id"), &expected);
        }
    }

    #[test]
    fn what_serde_json_refuses_is_refused(body in damaged(array(document()))) {
        // As Meilisearch reads it: an array of raw objects, whatever follows it, or one object.
        let mut elements = serde_json::Deserializer::from_slice(&body).into_iter::<Vec<&RawValue>>();
        let array = elements.next().and_then(Result::ok).is_some_and(|list| {
            list.into_iter().all(keys_decode)
        });
        let good = array || serde_json::from_slice::<Map<String, Value>>(&body).is_ok();
        prop_assert_eq!(count_documents(&body, Format::Json).is_ok(), good, "{}", String::from_utf8_lossy(&body));
        let _ = split_by_sum(&body, Format::Json, "a.b");
    }

    #[test]
    fn what_serde_json_refuses_in_lines_is_refused(body in damaged(prop::collection::vec(document(), 0..4).prop_map(|l| l.join("\n")))) {
        let good = !body.is_empty() && serde_json::Deserializer::from_slice(&body)
            .into_iter::<&RawValue>()
            .all(|raw| raw.is_ok_and(keys_decode));
        prop_assert_eq!(count_documents(&body, Format::Ndjson).is_ok(), good, "{}", String::from_utf8_lossy(&body));
        let _ = split_by_sum(&body, Format::Ndjson, "a.b");
    }

    #[test]
    fn the_key_is_guessed_from_the_first_document(text in array(document())) {
        let documents = parse(text.as_bytes()).as_array().unwrap().clone();
        let mut names: Vec<String> = documents.first().into_iter()
            .flat_map(|first| first.as_object().unwrap().keys().filter(|name| name.to_lowercase().ends_with("id")).cloned())
            .collect();
        names.sort();
        let expected = match (documents.len(), names.as_slice()) {
            (0, _) => Inference::Empty,
            (_, []) => Inference::NoCandidate,
            (_, [one]) => Inference::Found(one.clone()),
            _ => Inference::Several(names),
        };
        prop_assert_eq!(infer_primary_key(text.as_bytes(), Format::Json), Ok(expected));
    }

    #[test]
    fn tables_never_panic(body in prop::collection::vec(prop::sample::select(b"id:number,boolean\n\"1a \xff".to_vec()), 0..60)) {
        let _ = split_by_sum(&body, Format::Csv { delimiter: b',' }, "id");
    }
}

/// Whether the raw value is an object whose top-level keys can be decoded.
fn keys_decode(raw: &RawValue) -> bool {
    serde_json::from_str::<std::collections::HashMap<String, &RawValue>>(raw.get()).is_ok()
}
