//! Random JSON text: every way to write a value, not only serde_json's.

use proptest::prelude::*;
use serde_json::Value;

/// White space between tokens.
pub fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => "[ \t\r\n]{1,9}"]
}

/// A string with plain characters, escapes and characters beyond ASCII, in its quotes.
pub fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[ -!#-\\[\\]-~]{0,20}",
        1 => prop_oneof![
            Just("\\\""), Just("\\\\"), Just("\\/"), Just("\\b"), Just("\\f"), Just("\\n"), Just("\\r"), Just("\\t"),
            Just("\\u0041"), Just("\\u00e9"), Just("\\ud83d\\ude00"), Just("\\u0000"),
        ]
        .prop_map(str::to_owned),
        1 => prop_oneof![Just("é"), Just("日本"), Just("😀"), Just("⸀⸁"), Just("\u{7f}"), Just("\u{301}")]
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// A value of any kind and nesting, as text.
pub fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        string(),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec((space(), inner.clone(), space()), 0..6).prop_map(|items| {
                let items: Vec<String> = items
                    .into_iter()
                    .map(|(a, item, b)| a + &item + &b)
                    .collect();
                format!("[{}]", items.join(","))
            }),
            members(string(), inner, 0..6),
        ]
    })
}

/// An object with keys and values from the given strategies.
pub fn members(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = String> {
    prop::collection::vec((space(), key, space(), value, space()), count).prop_map(|items| {
        let items: Vec<String> = items
            .into_iter()
            .map(|(a, key, b, value, c)| format!("{a}{key}{b}:{a}{value}{c}"))
            .collect();
        format!("{{{}}}", items.join(","))
    })
}

/// Changes up to three bytes: what real defects look like, nearly right.
pub fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => prop::sample::select(b"{}[]:,\"\\0123456789-+.eEtfnu \n\x00\x1f\x80\xc3\xff".to_vec()),
        1 => any::<u8>(),
    ];
    let change = (any::<prop::sample::Index>(), 0..3u8, byte);
    (text, prop::collection::vec(change, 0..4)).prop_map(|(text, changes)| {
        let mut bytes = text.into_bytes();
        for (at, kind, byte) in changes {
            let at = at.index(bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, byte),
                _ if at == bytes.len() => {}
                1 => bytes[at] = byte,
                _ => {
                    bytes.remove(at);
                }
            }
        }
        bytes
    })
}

pub fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(bytes)))
}
