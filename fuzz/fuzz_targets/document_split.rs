//! Payloads of documents: refused, or split into JSON arrays that hold every document once a copy, marked with its shard.
//!
//! The first byte chooses the format and the number of nodes.
#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use miroir_merge::{count_documents, infer_primary_key, split, Format, Part};
use serde_json::value::RawValue;

/// The shards of two nodes: one of them is on both.
const NODES: [&[u16]; 2] = [&[0, 1], &[1, 2]];

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

    let mut expected = [0usize; 3];
    let body = Bytes::copy_from_slice(body);
    let split = split(&body, format, "id", 3, &mut |key: &[u8]| {
        assert!(!key.is_empty() && key.len() <= 511);
        let shard = key.len() % expected.len();
        expected[shard] += 1;
        shard as u16
    });
    let Ok(split) = split.map(Arc::new) else {
        return;
    };
    assert_eq!(count.ok(), Some(split.documents()));
    assert_eq!(expected.iter().sum::<usize>(), split.documents());
    for shards in NODES {
        let marked = shards.iter().map(|shard| (*shard, "\u{2E00}\u{2E07}"));
        let part = Part::new(split.clone(), marked);
        let array = part.pieces().collect::<Vec<Bytes>>().concat();
        assert_eq!(array.len(), part.bytes());
        let text = std::str::from_utf8(&array).expect("a part is UTF-8");
        let documents: Vec<&RawValue> = serde_json::from_str(text).expect("a part is a JSON array");
        let wanted: usize = shards.iter().map(|shard| expected[usize::from(*shard)]).sum();
        assert_eq!(documents.len(), wanted);
        for document in documents {
            assert!(document
                .get()
                .starts_with("{\"_miroir_shard\":\"\u{2E00}\u{2E07}\""));
            assert_eq!(document.get().matches("\"_miroir_shard\":").count(), 1);
        }
    }
});
