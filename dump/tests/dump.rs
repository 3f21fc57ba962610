//! Dumps written here are read back whole; foreign and broken ones are refused without a panic.

use std::io::Write;

use flate2::write::GzEncoder;
use flate2::Compression;
use miroir_dump::{finished_task, Dump, IndexInfo, Limits, Metadata, ReadError, Writer};
use proptest::prelude::*;
use serde_json::{json, Map, Value};
use tar::{Builder, EntryType, Header};

/// A member of an archive made by hand.
type Member = (EntryType, String, Vec<u8>);

fn file(name: &str, content: impl Into<Vec<u8>>) -> Member {
    (EntryType::Regular, name.to_owned(), content.into())
}

fn archive(members: &[Member]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (kind, name, content) in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        // Names as they are: the builder itself refuses `..`.
        let bytes = name.as_bytes();
        if bytes.len() < 100 {
            header.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
            header.set_cksum();
            builder.append(&header, &content[..]).unwrap();
        } else {
            builder
                .append_data(&mut header, name, &content[..])
                .unwrap();
        }
    }
    builder.into_inner().unwrap().finish().unwrap()
}

const METADATA: &str =
    r#"{"dumpVersion":"V6","dbVersion":"1.15.1","dumpDate":"2026-01-02T03:04:05Z"}"#;

fn least() -> Vec<Member> {
    vec![
        file("./tasks/queue.jsonl", ""),
        file("./keys.jsonl", ""),
        file("./metadata.json", METADATA),
    ]
}

fn index(folder: &str, uid: &str, documents: &str) -> Vec<Member> {
    let metadata = json!({ "uid": uid, "primaryKey": null, "createdAt": "2026-01-02T03:04:05Z", "updatedAt": "2026-01-02T03:04:05Z" });
    vec![
        file(&format!("indexes/{folder}/documents.jsonl"), documents),
        file(&format!("indexes/{folder}/settings.json"), "{}"),
        file(
            &format!("indexes/{folder}/metadata.json"),
            metadata.to_string(),
        ),
    ]
}

fn survey(members: &[Member]) -> Result<Dump, ReadError> {
    Dump::survey(&archive(members)[..], &Limits::default())
}

fn documents(dump: &Dump, bytes: &[u8]) -> Vec<(usize, Value)> {
    let mut found = Vec::new();
    dump.documents(bytes, &Limits::default(), |index, line| {
        found.push((index, serde_json::from_slice(line).unwrap()));
        Ok::<(), ReadError>(())
    })
    .unwrap();
    found
}

#[test]
fn what_is_written_is_read_back() {
    let metadata = Metadata {
        db_version: "1.15.1".into(),
        dump_date: "2026-01-02T03:04:05Z".into(),
    };
    let long = "l".repeat(400);
    let keys = [json!({ "uid": "d04fd40f-9746-4d8a-b5e4-593ebd1034eb", "actions": ["*"] })];
    let task = json!({ "uid": 3, "indexUid": "films", "status": "failed", "type": "indexCreation", "details": { "primaryKey": "id" }, "enqueuedAt": "2026-01-02T03:04:05Z" });
    let tasks = format!("{}\n", finished_task(&task).unwrap());
    let mut writer = Writer::new(
        Vec::new(),
        &metadata,
        Some("9e15e977-f2ae-4761-943f-1eaf75fd736d"),
    )
    .unwrap();
    writer.keys(&keys).unwrap();
    writer.tasks(tasks.as_bytes(), tasks.len() as u64).unwrap();
    for (uid, lines) in [("films", "{\"id\":1}\n{\"id\":\"é\"}\n"), (&long, "")] {
        let info = IndexInfo {
            uid: uid.into(),
            primary_key: Some("id".into()),
            created_at: "2026-01-02T03:04:05Z".into(),
            updated_at: "2026-01-02T03:04:06Z".into(),
        };
        writer
            .index(
                &info,
                &json!({ "stopWords": ["a"] }),
                lines.as_bytes(),
                lines.len() as u64,
            )
            .unwrap();
    }
    writer.features(&json!({ "metrics": true })).unwrap();
    writer
        .webhooks(&Map::from_iter([(
            "x".to_owned(),
            json!({ "url": "http://x" }),
        )]))
        .unwrap();
    let bytes = writer.finish().unwrap();
    let dump = Dump::survey(&bytes[..], &Limits::default()).unwrap();
    assert_eq!(
        (&*dump.db_version, &*dump.date),
        ("1.15.1", "2026-01-02T03:04:05Z")
    );
    assert_eq!(
        dump.instance_uid.as_deref(),
        Some("9e15e977-f2ae-4761-943f-1eaf75fd736d")
    );
    assert_eq!(dump.keys[0]["actions"], json!(["*"]));
    assert_eq!((dump.tasks_finished, dump.waiting.len()), (1, 0));
    assert_eq!(dump.features["metrics"], true);
    assert_eq!(dump.webhooks["x"]["url"], "http://x");
    let found: Vec<_> = dump
        .indexes
        .iter()
        .map(|index| (&*index.uid, index.documents))
        .collect();
    assert_eq!(found, [("films", 2), (&*long, 0)]);
    assert_eq!(dump.indexes[0].settings["stopWords"], json!(["a"]));
    assert_eq!(
        documents(&dump, &bytes),
        [(0, json!({ "id": 1 })), (0, json!({ "id": "é" }))]
    );
}

#[test]
fn members_come_in_any_order_and_macos_files_are_passed_over() {
    let mut members = index("x", "films", "{\"id\":1}\r\n\n{\"id\":2}");
    members.insert(0, file("indexes/._x", "Mac OS X"));
    members.insert(0, file("indexes/x/._settings.json", "Mac OS X"));
    members.extend(least());
    let bytes = archive(&members);
    let dump = Dump::survey(&bytes[..], &Limits::default()).unwrap();
    assert_eq!(documents(&dump, &bytes).len(), 2);
}

#[test]
fn waiting_tasks_come_with_their_payloads() {
    let tasks = [
        json!({ "uid": 7, "indexUid": "a", "status": "enqueued", "type": { "documentImport": { "method": "UpdateDocuments" }}, "enqueuedAt": "x" }),
        json!({ "uid": 5, "indexUid": "a", "status": "enqueued", "type": "documentClear", "enqueuedAt": "x" }),
        json!({ "uid": 4, "status": "succeeded", "type": "snapshotCreation", "enqueuedAt": "x" }),
    ];
    let lines: String = tasks.iter().map(|task| format!("{task}\n")).collect();
    let mut members = least();
    members[0] = file("tasks/queue.jsonl", lines);
    members.push(file(
        "tasks/update_files/7.jsonl",
        "{\"id\":1}\n{\"id\":2}\n",
    ));
    let bytes = archive(&members);
    let dump = Dump::survey(&bytes[..], &Limits::default()).unwrap();
    let waiting: Vec<_> = dump
        .waiting
        .iter()
        .map(|task| (task.uid, &*task.kind))
        .collect();
    assert_eq!(waiting, [(5, "documentClear"), (7, "documentImport")]);
    let mut payloads = 0;
    dump.payloads(&bytes[..], &Limits::default(), |task, _| {
        payloads += task;
        Ok::<(), ReadError>(())
    })
    .unwrap();
    assert_eq!(payloads, 14);
}

#[test]
fn what_is_no_dump_is_refused_with_the_reason() {
    let refused = |members: &[Member], part: &str| {
        let error = survey(members).unwrap_err().to_string();
        assert!(error.contains(part), "{error} does not say {part}");
    };
    let with = |more: Member| {
        let mut members = least();
        members.push(more);
        members
    };
    refused(&least()[..2], "has no `metadata.json`");
    refused(&least()[1..], "has no `tasks/queue.jsonl`");
    refused(&with(file("../metadata.json", METADATA)), "no dump has");
    refused(&with(file("/etc/passwd", "x")), "no dump has");
    refused(&with(file("metadata.json", METADATA)), "twice");
    refused(
        &with((EntryType::Symlink, "indexes/a".into(), vec![])),
        "Symlink",
    );
    refused(
        &with((EntryType::Char, "indexes/a".into(), vec![])),
        "no dump has",
    );
    refused(
        &with(file("indexes/a/settings.json", "{}")),
        "metadata.json",
    );
    let old = METADATA.replace("V6", "V5");
    refused(&[file("metadata.json", old)], "version V5");
    let mut members = least();
    members.extend(index("a", "films", "{\"id\":1}\n[1]\n"));
    refused(&members, "line 2: a document must be an object");
    let mut members = least();
    members.extend(index("a", "films", "{\"id\":1,}\n"));
    refused(&members, "line 1");
    for uid in ["", "a/b", "é"] {
        let mut members = least();
        members.extend(index("a", uid, ""));
        refused(&members, "uid");
    }
    let mut members = least();
    members.extend(index("a", "films", ""));
    members.extend(index("b", "films", ""));
    refused(&members, "`films` stands in it twice");
    assert!(Dump::survey(&b"not gzip"[..], &Limits::default()).is_err());
    let whole = archive(&least());
    assert!(Dump::survey(&whole[..whole.len() - 4], &Limits::default()).is_err());
}

#[test]
fn limits_hold() {
    let mut members = least();
    members.extend(index(
        "a",
        "films",
        &format!("{{\"id\":\"{}\"}}\n", "x".repeat(9000)),
    ));
    let bytes = archive(&members);
    let read = |limits: Limits| Dump::survey(&bytes[..], &limits);
    let limits = Limits::default();
    assert!(read(limits).is_ok());
    for (limits, part) in [
        (
            Limits {
                line_bytes_max: 9000,
                ..limits
            },
            "line 1 of `indexes/a/documents.jsonl`",
        ),
        (
            Limits {
                kept_bytes_max: 100,
                ..limits
            },
            "metadata.json",
        ),
        (
            Limits {
                members_max: 5,
                ..limits
            },
            "the archive",
        ),
        (
            Limits {
                archive_bytes_max: 9000,
                ..limits
            },
            "more bytes than are allowed",
        ),
    ] {
        let error = read(limits).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    // 1 GiB of zeros in a name header is a megabyte of gzip: it must not be read into memory.
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 30);
    header.set_cksum();
    builder.get_mut().write_all(header.as_bytes()).unwrap();
    builder.get_mut().write_all(&[b'a'; 1 << 16]).unwrap();
    let bytes = builder.into_inner().unwrap().finish().unwrap();
    let error = Dump::survey(&bytes[..], &limits).unwrap_err().to_string();
    assert!(error.contains("an extended header"), "{error}");
}

/// Lines as Meilisearch 1.8 wrote them (its `v6-with-vectors.dump`), next to how its clients saw the same tasks.
#[test]
fn finished_tasks_are_written_as_meilisearch_writes_them() {
    let times = r#""enqueuedAt":"2024-05-16T15:33:03.564504Z","startedAt":"2024-05-16T15:33:03.567652Z","finishedAt":"2024-05-16T15:33:03.623188Z""#;
    let pairs = [
        (
            r#""status":"succeeded","type":"documentAdditionOrUpdate","canceledBy":null,"details":{"receivedDocuments":1,"indexedDocuments":1},"error":null,"duration":"PT1S""#,
            r#""status":"succeeded","type":{"documentImport":{"primary_key":null,"method":"ReplaceDocuments","documents_count":1,"allow_index_creation":true}},"details":{"DocumentAdditionOrUpdate":{"received_documents":1,"indexed_documents":1}}"#,
        ),
        (
            r#""status":"succeeded","type":"settingsUpdate","details":{"embedders":{"default":{"source":"huggingFace"}}},"error":null"#,
            r#""status":"succeeded","type":{"settings":{"settings":{"embedders":{"default":{"source":"huggingFace"}}},"is_deletion":false,"allow_index_creation":true}},"details":{"SettingsUpdate":{"settings":{"embedders":{"default":{"source":"huggingFace"}}}}}"#,
        ),
    ];
    for (seen, dumped) in pairs {
        let view = format!(r#"{{"uid":0,"batchUid":1,"indexUid":"vector",{seen},{times}}}"#);
        let line = format!(r#"{{"uid":0,"indexUid":"vector",{dumped},{times}}}"#);
        let made = finished_task(&serde_json::from_str(&view).unwrap()).unwrap();
        assert_eq!(made, serde_json::from_str::<Value>(&line).unwrap());
    }
    let kind = |details: Value| {
        let view = json!({ "uid": 1, "status": "succeeded", "type": "documentDeletion", "details": details });
        finished_task(&view).unwrap()["type"].clone()
    };
    assert_eq!(kind(json!({ "deletedDocuments": 3 })), "documentClear");
    assert_eq!(
        kind(json!({ "providedIds": 0, "deletedDocuments": 3, "originalFilter": "\"a = 1\"" })),
        json!({ "documentDeletionByFilter": { "filter": "a = 1" }})
    );
    assert_eq!(
        kind(json!({ "providedIds": 2, "deletedDocuments": 2, "originalFilter": null })),
        json!({ "documentDeletion": { "documents_ids": [] }})
    );
    assert_eq!(
        finished_task(&json!({ "uid": 1, "status": "enqueued", "type": "indexSwap" })),
        None
    );
}

fn any_member() -> impl Strategy<Value = Member> {
    let names = prop::sample::select(vec![
        "metadata.json",
        "keys.jsonl",
        "tasks/queue.jsonl",
        "tasks/update_files/1.jsonl",
        "indexes/a/metadata.json",
        "indexes/a/settings.json",
        "indexes/a/documents.jsonl",
        "indexes/b/documents.jsonl",
        "webhooks.json",
        "experimental-features.json",
        "x",
    ]);
    let contents = prop::sample::select(vec![
        "",
        "{}",
        "[]",
        "{\"id\":1}\n{\"id\":2}\n",
        METADATA,
        "\u{0}",
        "{\"uid\":1,\"status\":\"enqueued\",\"type\":{}}",
        "{\"uid\":\"a\",\"primaryKey\":\"id\",\"createdAt\":\"\",\"updatedAt\":\"\"}",
    ]);
    (names, contents).prop_map(|(name, content)| file(name, content))
}

proptest! {
    /// Whatever members come, and wherever the file is cut or changed: an answer or an error.
    #[test]
    fn nothing_panics(members in prop::collection::vec(any_member(), 0..9), cut in any::<prop::sample::Index>(), flip in any::<u8>()) {
        let mut bytes = archive(&members);
        let read = |bytes: &[u8]| if let Ok(dump) = Dump::survey(bytes, &Limits::default()) {
            let _ = dump.documents(bytes, &Limits::default(), |_, _| Ok::<(), ReadError>(()));
        };
        read(&bytes);
        let at = cut.index(bytes.len());
        read(&bytes[..at]);
        bytes[at] ^= flip;
        read(&bytes);
    }
}
