//! Payloads of documents: refused, or split into JSON arrays that hold every document once a copy, marked with its shard.
//!
//! The first byte chooses the format and the number of nodes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use miroir_merge::{count_documents, infer_primary_key, split, Format, Route};
use serde_json::value::RawValue;

const PLACES: [&[usize]; 4] = [&[0], &[1], &[0, 1], &[1, 0]];

fuzz_target!(|input: &[u8]| {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let format = match choice % 4 {
        0 => Format::Json,
        1 => Format::Ndjson,
        2 => Format::Csv { delimiter: b',' },
        _ => Format::Csv { delimiter: b';' },
    };
    let _ = infer_primary_key(body, format);
    let count = count_documents(body, format);

    let mut expected = [0usize; 2];
    let mut keys = 0;
    let mut route = |key: &[u8]| {
        assert!(!key.is_empty() && key.len() <= 511);
        keys += 1;
        let sinks = PLACES[key.len() % PLACES.len()];
        sinks.iter().for_each(|sink| expected[*sink] += 1);
        Route {
            sinks,
            code: "\u{2E00}\u{2E07}",
        }
    };
    let Ok(parts) = split(body, format, "id", 2, &mut route) else {
        return;
    };
    assert_eq!(count.ok(), Some(parts.documents));
    assert_eq!(keys, parts.documents);
    for (sink, expected) in parts.sinks.iter().zip(expected) {
        assert_eq!(sink.documents, expected);
        let text = std::str::from_utf8(&sink.body).expect("a part is UTF-8");
        let documents: Vec<&RawValue> = serde_json::from_str(text).expect("a part is a JSON array");
        assert_eq!(documents.len(), expected);
        for document in documents {
            assert!(document
                .get()
                .starts_with("{\"_miroir_shard\":\"\u{2E00}\u{2E07}\""));
            assert_eq!(document.get().matches("\"_miroir_shard\":").count(), 1);
        }
    }
});
