use std::sync::Arc;

use super::*;

fn told_apart(
    body: &str,
    format: Format,
    shards: u16,
    shard_of: &mut dyn FnMut(&[u8]) -> u16,
) -> Arc<Split> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Arc::new(split(&body, format, "id", shards, shard_of).unwrap())
}

/// What a node gets that holds these shards; the field's value is the shard's letter.
fn sent(split: &Arc<Split>, shards: &[u16]) -> String {
    const CODES: [&str; 4] = ["a", "b", "c", "d"];
    let part = Part::new(
        split.clone(),
        shards
            .iter()
            .map(|shard| (*shard, CODES[usize::from(*shard)])),
    );
    let pieces: Vec<Bytes> = part.pieces().collect();
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    let whole = pieces.concat();
    assert_eq!(whole.len(), part.bytes());
    String::from_utf8(whole).unwrap()
}

fn one_sink(body: &[u8], format: Format, key: &str) -> Result<(String, Vec<String>), SplitError> {
    let mut ids = Vec::new();
    let body = Bytes::copy_from_slice(body);
    let split = Arc::new(split(&body, format, key, 1, &mut |id| {
        ids.push(String::from_utf8(id.to_vec()).unwrap());
        0
    })?);
    assert_eq!(split.documents(), ids.len());
    Ok((sent(&split, &[0]), ids))
}

fn ids(body: &str, format: Format, key: &str) -> Vec<String> {
    one_sink(body.as_bytes(), format, key).unwrap().1
}

fn refusal(body: &str, format: Format) -> (u16, String, String) {
    match one_sink(body.as_bytes(), format, "id").unwrap_err() {
        SplitError::Malformed(error) => (error.status, error.code.into_owned(), error.message),
        SplitError::Document(error) => panic!("not refused at once: {error}"),
    }
}

fn failure(body: &str, format: Format, key: &str) -> (String, String) {
    match one_sink(body.as_bytes(), format, key).unwrap_err() {
        SplitError::Document(error) => (error.code.into_owned(), error.message),
        SplitError::Malformed(error) => panic!("refused at once: {error}"),
    }
}

const CSV: Format = Format::Csv { delimiter: b',' };

#[test]
fn documents_go_as_they_are_with_the_field_in_front() {
    let body = r#" [ { "id" : 1.0e0, "id": 7 } , {"a":"\u00e9","id":"x"}]"#;
    let (sink, ids) = one_sink(body.as_bytes(), Format::Json, "id").unwrap();
    assert_eq!(
        sink,
        r#"[{"_miroir_shard":"a", "id" : 1.0e0, "id": 7 },{"_miroir_shard":"a","a":"\u00e9","id":"x"}]"#
    );
    assert_eq!(ids, ["7", "x"]);
    assert_eq!(one_sink(b"[]", Format::Json, "id").unwrap().0, "[]");
}

#[test]
fn a_part_has_the_documents_of_its_shards() {
    let body = "{\"id\":1}\n{\"id\":2} {\"id\":3}";
    let split = told_apart(body, Format::Ndjson, 4, &mut |id| u16::from(id[0] - b'1'));
    assert_eq!(split.shards().collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(
        sent(&split, &[0, 2]),
        r#"[{"_miroir_shard":"a","id":1},{"_miroir_shard":"c","id":3}]"#
    );
    assert_eq!(sent(&split, &[1, 3]), r#"[{"_miroir_shard":"b","id":2}]"#);
    assert_eq!(sent(&split, &[3]), "[]");
}

#[test]
fn pieces_of_any_size_join() {
    let text = |bytes: usize| "x".repeat(bytes);
    let documents: Vec<serde_json::Value> =
        [10, 40_000, 7, 200_000, 31_000, 32_767, 32_768, 100_000, 1]
            .iter()
            .cycle()
            .take(60)
            .enumerate()
            .map(|(id, bytes)| serde_json::json!({ "id": id, "text": text(*bytes) }))
            .collect();
    let body = serde_json::to_string(&documents).unwrap();
    let mut turn = 0;
    let split = told_apart(&body, Format::Json, 3, &mut |_| {
        turn = (turn + 1) % 3;
        turn
    });
    let mut found: Vec<serde_json::Value> = Vec::new();
    for shards in [&[0][..], &[1, 2]] {
        found
            .extend(serde_json::from_str::<Vec<serde_json::Value>>(&sent(&split, shards)).unwrap());
    }
    found.sort_by_key(|document| document["id"].as_u64());
    for document in &mut found {
        let mark = document
            .as_object_mut()
            .unwrap()
            .shift_remove("_miroir_shard");
        assert!(mark.is_some());
    }
    assert_eq!(found, documents);
}

#[test]
fn nested_keys_are_read_in_both_forms() {
    assert_eq!(
        ids(
            r#"[{"a":{"b":1}},{"a.b":2},{"a":{"b":"x"},"c":1}]"#,
            Format::Json,
            "a.b"
        ),
        ["1", "2", "x"]
    );
    assert_eq!(
        ids(
            r#"[{"a":{"b.c":1}},{"a.b":{"c":2}}]"#,
            Format::Json,
            "a.b.c"
        ),
        ["1", "2"]
    );
    assert_eq!(
        failure(r#"[{"a":[{"b":1}]}]"#, Format::Json, "a.b"),
        (
            "missing_document_id".into(),
            r#"Document doesn't have a `a.b` attribute: `{"a":[{"b":1}]}`."#.into()
        )
    );
    assert_eq!(
        failure(r#"[{"a":{"b":1},"a.b":2}]"#, Format::Json, "a.b"),
        (
            "invalid_document_id".into(),
            r#"Document have too many matching `a.b` attribute: `{"a":{"b":1},"a.b":2}`."#.into()
        )
    );
}

#[test]
fn a_repeated_key_is_an_error_in_lines_only() {
    assert_eq!(ids(r#"[{"id":1,"id":2}]"#, Format::Json, "id"), ["2"]);
    assert_eq!(ids(r#"{"id":1,"\u0069d":2}"#, Format::Json, "id"), ["2"]);
    assert_eq!(
        failure(r#"{"id":1,"id":2}"#, Format::Ndjson, "id").0,
        "invalid_document_id"
    );
}

#[test]
fn a_bad_document_fails_the_task_with_meilisearchs_words() {
    assert_eq!(
        failure(r#"[{"id":1},{"id":"a b"},{}]"#, Format::Json, "id"),
        (
            "invalid_document_id".into(),
            "Document identifier `\"a b\"` is invalid. A document identifier can be of type integer or string, \
             only composed of alphanumeric characters (a-z A-Z 0-9), hyphens (-) and underscores (_), \
             and can not be more than 511 bytes."
                .into()
        )
    );
    assert_eq!(
        failure(r#"[{ "x": 1 }]"#, Format::Json, "id"),
        (
            "missing_document_id".into(),
            r#"Document doesn't have a `id` attribute: `{"x":1}`."#.into()
        )
    );
}

#[test]
fn syntax_is_judged_before_documents() {
    assert_eq!(
        refusal(r#"[{"x":1},{"id":1,}]"#, Format::Json).1,
        "malformed_payload"
    );
    assert_eq!(
        refusal("{\"x\":1}\n{\"id\"}", Format::Ndjson).1,
        "malformed_payload"
    );
}

#[test]
fn malformed_payloads_get_meilisearchs_words() {
    let said = |body: &str, format| {
        let (status, code, message) = refusal(body, format);
        assert_eq!((status, code.as_str()), (400, "malformed_payload"));
        message
    };
    assert_eq!(
        said("[{\"id\":1},", Format::Json),
        "The `json` payload provided is malformed. `Couldn't serialize document value: EOF while parsing a value at line 1 column 10`."
    );
    assert_eq!(
        said("{\"id\":1} x", Format::Json),
        "The `json` payload provided is malformed. `Couldn't serialize document value: trailing characters at line 1 column 10`."
    );
    for text in ["\"text\"", "12", "[1]", "[[]]"] {
        assert_eq!(
            said(text, Format::Json),
            "The `json` payload provided is malformed. `Couldn't serialize document value: data are neither an object nor a list of objects`."
        );
    }
    assert_eq!(
        said("{\"id\":1}\n{\"id\" 2}", Format::Ndjson),
        "The `ndjson` payload provided is malformed. `Couldn't serialize document value: expected `:` at line 2 column 7`."
    );
    assert_eq!(
        said("id:number\nx", CSV),
        "The `csv` payload provided is malformed: `Error parsing number \"x\" at line 1: invalid float literal`."
    );
    assert_eq!(
        said("id,ok:boolean\na,maybe", CSV),
        "The `csv` payload provided is malformed: `Error parsing boolean \"maybe\" at line 1: provided string was not `true` or `false``."
    );
    assert_eq!(
        said("id,a\n1", CSV),
        "The `csv` payload provided is malformed: `CSV error: record 1 (line: 2, byte: 5): found record with 1 fields, but the previous record has 2 fields`."
    );
}

#[test]
fn a_missing_payload_is_told_from_a_malformed_one() {
    for (format, text) in [
        (Format::Json, "A json payload is missing."),
        (Format::Ndjson, "A ndjson payload is missing."),
        (CSV, "A csv payload is missing."),
    ] {
        assert_eq!(
            refusal("", format),
            (400, "missing_payload".into(), text.into())
        );
    }
    assert_eq!(refusal(" ", Format::Json).1, "malformed_payload");
    assert_eq!(count_documents(b" \n", Format::Ndjson), Ok(0));
}

#[test]
fn limits_of_trees_hold_for_a_lone_document_only() {
    let deep = |depth: usize| {
        format!(
            "{{\"id\":1,\"x\":{}{}}}",
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    assert!(refusal(&deep(200), Format::Json)
        .2
        .contains("recursion limit exceeded"));
    assert_eq!(
        ids(&format!("[{}]", deep(100_000)), Format::Json, "id"),
        ["1"]
    );
    assert_eq!(ids(&deep(100_000), Format::Ndjson, "id"), ["1"]);
    assert!(refusal(r#"{"id":1,"x":1e999}"#, Format::Json)
        .2
        .contains("number out of range"));
    assert_eq!(ids(r#"[{"id":1,"x":1e999}]"#, Format::Json, "id"), ["1"]);
}

#[test]
fn what_follows_an_array_is_ignored_as_meilisearch_ignores_it() {
    assert_eq!(ids("[{\"id\":1}] [", Format::Json, "id"), ["1"]);
    assert_eq!(
        one_sink(b"[{\"id\":1}]\xff", Format::Json, "id").unwrap().1,
        ["1"]
    );
    assert!(one_sink(b"[{\"id\":1,\"x\":\"\xff\"}]", Format::Json, "id").is_err());
}

#[test]
fn reserved_names_are_refused_at_the_top_only() {
    for body in [
        r#"[{"id":1,"_miroir_shard":"x"}]"#,
        r#"[{"x":1},{"id":1,"\u005fmiroir_any":1}]"#,
    ] {
        let (status, code, message) = refusal(body, Format::Json);
        assert_eq!((status, code.as_str()), (400, "miroir_reserved_field"));
        assert!(message.contains("rename `_miroir_"), "{message}");
    }
    assert!(count_documents(b"id,_miroir_x\n1,2", CSV).is_err());
    assert_eq!(
        ids(
            r#"[{"id":1,"a":{"_miroir_shard":"x"}}]"#,
            Format::Json,
            "id"
        ),
        ["1"]
    );
}

#[test]
fn tables_become_documents() {
    let body = "id:number,name,ok:boolean,x:y,n:number,name:string\n 1 ,\"A \"\"b\"\"\",true,,2.50,last\n-2,,,z, ,\n";
    let (sink, ids) = one_sink(body.as_bytes(), CSV, "id").unwrap();
    assert_eq!(
        sink,
        concat!(
            r#"[{"_miroir_shard":"a","id":1,"name":"last","ok":true,"x:y":null,"n":2.5},"#,
            r#"{"_miroir_shard":"a","id":-2,"name":null,"ok":null,"x:y":"z","n":null}]"#
        )
    );
    assert_eq!(ids, ["1", "-2"]);
    assert_eq!(
        self::ids("id;a\nx;1,2", Format::Csv { delimiter: b';' }, "id"),
        ["x"]
    );
    assert_eq!(failure("id,a\n,1", CSV, "id").0, "invalid_document_id");
    assert_eq!(count_documents(b"id,a", CSV), Ok(0));
}

#[test]
fn the_key_is_inferred_or_not() {
    let infer = |body: &str| infer_primary_key(body.as_bytes(), Format::Json).unwrap();
    assert_eq!(infer("[]"), Inference::Empty);
    assert_eq!(
        infer(r#"[{"Movie_ID":1,"x":{"id":1}},{"id":1}]"#),
        Inference::Found("Movie_ID".into())
    );
    assert_eq!(infer(r#"{"x":1}"#), Inference::NoCandidate);
    assert_eq!(
        infer(r#"[{"pid":1,"id":1,"id":2}]"#),
        Inference::Several(vec!["id".into(), "pid".into()])
    );
    assert!(infer_primary_key(b"[{\"id\":1},{]", Format::Json).is_err());
    assert_eq!(
        infer_primary_key(b"sku,bookid:string\n1,2", CSV),
        Ok(Inference::Found("bookid".into()))
    );
}

#[test]
fn ids_with_upper_case_letters_are_noticed() {
    let upper = |body: &str| told_apart(body, Format::Json, 1, &mut |_| 0).upper_case_ids;
    assert!(upper(r#"[{"id":"a-1"},{"id":"aBc"}]"#));
    assert!(!upper(r#"[{"id":"a-1","Name":"B"},{"id":7}]"#));
}
