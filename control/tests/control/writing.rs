//! Document writes as a core makes them: turns, lanes, commits.

use miroir_control::{BeginWrite, InferredKey, NodePart, Outcome, Turn, WriteKind};
use miroir_router::{CopyState, NodeIdx, Shard};
use serde_json::{json, to_value, Value};

use crate::cluster::{block_on, eventually, poll_once, Cluster};

fn addition(index: &str, key: Option<&str>, inference: Option<InferredKey>) -> BeginWrite {
    BeginWrite {
        index: index.into(),
        kind: WriteKind::DocumentAdditionOrUpdate,
        primary_key: key.map(str::to_owned),
        inference,
        may_create: true,
    }
}

fn begin(cluster: &Cluster, write: BeginWrite) -> Turn {
    block_on(cluster.control().begin_write(write)).unwrap()
}

/// Sends one document to every node and commits.
fn commit(cluster: &Cluster, turn: Turn) -> Value {
    let index = turn.index.uid.clone();
    let part = |(n, fake): (usize, &crate::fake::Fake)| NodePart {
        node: NodeIdx(n as u16),
        task_uid: fake.documents(&index, 1),
        shards: vec![Shard(n as u16)],
    };
    let parts: Vec<NodePart> = cluster.nodes.iter().enumerate().map(part).collect();
    let details = json!({ "receivedDocuments": parts.len() });
    finish(
        cluster,
        turn,
        Outcome {
            details,
            parts,
            ..Outcome::default()
        },
    )
}

fn finish(cluster: &Cluster, turn: Turn, outcome: Outcome) -> Value {
    to_value(block_on(cluster.control().commit(turn, outcome)).unwrap()).unwrap()
}

#[test]
fn documents_may_follow_the_creation_at_once() {
    let cluster = Cluster::new(2, 1);
    cluster.nodes.iter().for_each(|node| node.hold(true));
    let (status, created) = cluster.call(
        "POST",
        "/indexes",
        Some(json!({ "uid": "movies", "primaryKey": "isbn" })),
    );
    assert_eq!((status, created.as_object().unwrap().len()), (202, 5));
    let turn = begin(&cluster, addition("movies", None, None));
    assert_eq!(
        (turn.primary_key.as_deref(), turn.index.visible),
        (Some("isbn"), false)
    );
    assert!(turn.doomed.is_none());
    let added = commit(&cluster, turn);
    assert_eq!(cluster.call("GET", "/indexes/movies", None).0, 404);
    let (_, again) = cluster.call("POST", "/indexes", Some(json!({ "uid": "movies" })));
    assert_eq!(
        cluster.finished(&again)["error"]["code"],
        "index_already_exists"
    );

    cluster.nodes.iter().for_each(|node| node.hold(false));
    let task = cluster.finished(&added);
    assert_eq!(task["status"], "succeeded");
    assert_eq!(
        task["details"],
        json!({ "receivedDocuments": 2, "indexedDocuments": 2 })
    );
    assert_eq!(task["duration"], "PT1.500S");
    assert_eq!(task.as_object().unwrap().len(), 12);
    assert_eq!(cluster.finished(&created)["status"], "succeeded");
    assert_eq!(
        cluster.call("GET", "/indexes/movies", None).1["primaryKey"],
        "isbn"
    );
    let (_, stats) = cluster.call("GET", "/indexes/movies/stats", None);
    assert_eq!(
        (&stats["numberOfDocuments"], &stats["isIndexing"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(stats["fieldDistribution"], json!({ "id": 2 }));
    let (_, stats) = cluster.call("GET", "/stats", None);
    assert_eq!(
        (
            &stats["databaseSize"],
            &stats["indexes"]["movies"]["numberOfDocuments"]
        ),
        (&json!(14), &json!(2))
    );
}

#[test]
fn a_write_to_a_missing_index_creates_it_with_the_shard_field() {
    let cluster = Cluster::new(2, 1);
    let turn = begin(
        &cluster,
        addition("movies", None, Some(InferredKey::Found("id".into()))),
    );
    assert_eq!(turn.primary_key.as_deref(), Some("id"));
    let task = cluster.finished(&commit(&cluster, turn));
    assert_eq!(task["details"]["indexedDocuments"], 2);
    for node in &cluster.nodes {
        let index = node.index("movies").unwrap();
        assert_eq!(
            index["settings"]["filterableAttributes"],
            json!(["_miroir_shard"])
        );
    }
    assert_eq!(
        cluster.call("GET", "/indexes/movies", None).1["primaryKey"],
        "id"
    );
    let (_, settings) = cluster.call("GET", "/indexes/movies/settings", None);
    assert_eq!(settings["filterableAttributes"], json!([]));
    let table = cluster.control().publisher().current();
    assert!(
        table.indexes["movies"].visible
            && table.indexes["movies"].settings.filterable_attributes_empty
    );
    assert_eq!(
        table.indexes["movies"].settings.ranking_rules,
        ["words", "typo"]
    );
}

#[test]
fn a_turn_that_is_given_up_takes_its_index_with_it() {
    let cluster = Cluster::new(2, 1);
    drop(begin(&cluster, addition("movies", Some("id"), None)));
    eventually(|| {
        cluster
            .nodes
            .iter()
            .all(|node| node.index("movies").is_none())
            .then_some(())
    });
    // The lane is free again, and the index is as missing as before.
    let deletion = BeginWrite {
        kind: WriteKind::DocumentDeletion,
        ..addition("movies", None, None)
    };
    let turn = begin(&cluster, deletion);
    let error = turn.doomed.clone().unwrap();
    assert_eq!(error.code, "index_not_found");
    let details = json!({ "providedIds": 1, "originalFilter": null });
    let task = finish(
        &cluster,
        turn,
        Outcome {
            details,
            error: Some(error),
            ..Outcome::default()
        },
    );
    let task = cluster.finished(&task);
    assert_eq!(
        (&task["type"], &task["error"]["code"]),
        (&json!("documentDeletion"), &json!("index_not_found"))
    );
    assert_eq!(
        task["details"],
        json!({ "providedIds": 1, "originalFilter": null, "deletedDocuments": 0 })
    );
    assert!(cluster.control().publisher().current().indexes.is_empty());
}

#[test]
fn a_doomed_addition_creates_the_index_without_a_key_all_the_same() {
    let cluster = Cluster::new(2, 1);
    for (index, inference, code) in [
        (
            "none",
            InferredKey::NoCandidate,
            "index_primary_key_no_candidate_found",
        ),
        (
            "two",
            InferredKey::Several(vec!["aid".into(), "bid".into()]),
            "index_primary_key_multiple_candidates_found",
        ),
    ] {
        let turn = begin(&cluster, addition(index, None, Some(inference)));
        assert_eq!(turn.doomed.as_ref().unwrap().code, code);
        let details = json!({ "receivedDocuments": 1 });
        let task = cluster.finished(&finish(
            &cluster,
            turn,
            Outcome {
                details,
                ..Outcome::default()
            },
        ));
        assert_eq!(task["error"]["code"], code);
        assert_eq!(
            task["details"],
            json!({ "receivedDocuments": 1, "indexedDocuments": 0 })
        );
        assert_eq!(
            cluster.call("GET", &format!("/indexes/{index}"), None).1["primaryKey"],
            Value::Null
        );
    }
    let task = commit(
        &cluster,
        begin(&cluster, addition("none", Some("id"), None)),
    );
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
    let turn = begin(&cluster, addition("none", Some("other"), None));
    let error = turn.doomed.as_ref().unwrap();
    assert_eq!(
        (&*error.code, error.message.as_str()),
        (
            "index_primary_key_already_exists",
            "Index already has a primary key: `id`."
        )
    );
}

#[test]
fn copies_are_written_one_turn_at_a_time_and_single_copies_together() {
    for (replication_factor, shared) in [(1, true), (2, false)] {
        let cluster = Cluster::new(2, replication_factor);
        let (_, task) = cluster.call(
            "POST",
            "/indexes",
            Some(json!({ "uid": "movies", "primaryKey": "id" })),
        );
        cluster.finished(&task);
        let first = begin(&cluster, addition("movies", None, None));
        let control = cluster.control().clone();
        let mut second =
            Box::pin(async move { control.begin_write(addition("movies", None, None)).await });
        if shared {
            drop(block_on(second).unwrap());
            drop(first);
            continue;
        }
        assert!(poll_once(&mut second).is_none());
        // Everything that came later has been looked at by now, and the second turn still waits.
        assert_eq!(cluster.call("GET", "/tasks", None).0, 200);
        assert!(poll_once(&mut second).is_none());
        drop(first);
        drop(block_on(second).unwrap());
    }
}

#[test]
fn a_copy_that_missed_a_write_is_out_of_sync_for_good() {
    let mut cluster = Cluster::new(2, 2);
    let task = commit(
        &cluster,
        begin(&cluster, addition("movies", Some("id"), None)),
    );
    cluster.finished(&task);
    let turn = begin(&cluster, addition("movies", None, None));
    let part = NodePart {
        node: NodeIdx(0),
        task_uid: cluster.nodes[0].documents("movies", 1),
        shards: vec![Shard(2)],
    };
    let outcome = Outcome {
        details: json!({ "receivedDocuments": 1 }),
        parts: vec![part],
        missed: vec![(Shard(2), NodeIdx(1))],
        custom_metadata: Some("mine".into()),
        ..Outcome::default()
    };
    let task = finish(&cluster, turn, outcome);
    let state = |cluster: &Cluster| {
        let table = cluster.control().publisher().current();
        let copies = table.indexes["movies"].layout.copies_of(Shard(2));
        copies
            .iter()
            .find(|copy| copy.node == NodeIdx(1))
            .unwrap()
            .state
    };
    // Before the client hears of it.
    assert_eq!(state(&cluster), CopyState::OutOfSync);
    let task = cluster.finished(&task);
    assert_eq!(
        (
            &task["details"]["indexedDocuments"],
            &task["customMetadata"]
        ),
        (&json!(1), &json!("mine"))
    );
    cluster.stop();
    cluster.start().unwrap();
    assert_eq!(state(&cluster), CopyState::OutOfSync);
    let (_, topology) = cluster.call_with("GET", "/_miroir/topology", None, Some("client-key"));
    assert_eq!(
        topology["indexes"][0]["notServing"],
        json!([{ "shard": 2, "node": "n1", "state": "out_of_sync" }])
    );
}

#[test]
fn a_restart_takes_up_what_was_on_its_way() {
    let mut cluster = Cluster::new(2, 1);
    cluster.nodes.iter().for_each(|node| node.hold(true));
    let task = commit_held(&cluster);
    cluster.stop();
    cluster.start().unwrap();
    assert_eq!(
        cluster
            .call("GET", &format!("/tasks/{}", task["taskUid"]), None)
            .1["status"],
        "enqueued"
    );
    assert_eq!(
        begin(&cluster, addition("movies", None, None))
            .primary_key
            .as_deref(),
        Some("id")
    );
    cluster.nodes.iter().for_each(|node| node.hold(false));
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
    assert_eq!(
        cluster.call("GET", "/indexes/movies", None).1["primaryKey"],
        "id"
    );
}

fn commit_held(cluster: &Cluster) -> Value {
    commit(
        cluster,
        begin(cluster, addition("movies", Some("id"), None)),
    )
}

#[test]
fn a_write_is_not_reported_before_the_index_change_that_it_follows() {
    let cluster = Cluster::new(2, 1);
    let task = commit(
        &cluster,
        begin(&cluster, addition("movies", Some("id"), None)),
    );
    cluster.finished(&task);
    cluster.nodes[1].hold(true);
    let stop_words = Some(json!(["the"]));
    let (_, settings) = cluster.call("PUT", "/indexes/movies/settings/stop-words", stop_words);
    let turn = begin(&cluster, addition("movies", None, None));
    // Done at once, on a node that has done its part of the settings too.
    let part = NodePart {
        node: NodeIdx(0),
        task_uid: cluster.nodes[0].documents("movies", 1),
        shards: vec![Shard(0)],
    };
    let details = json!({ "receivedDocuments": 1 });
    let added = finish(
        &cluster,
        turn,
        Outcome {
            details,
            parts: vec![part],
            ..Outcome::default()
        },
    );
    let running = cluster.task_when(&added, |status| status != "enqueued");
    assert_eq!(
        (&running["status"], &running["finishedAt"]),
        (&json!("processing"), &Value::Null)
    );
    assert_eq!(
        cluster.call("GET", "/indexes/movies/stats", None).1["isIndexing"],
        true
    );
    cluster.nodes[1].hold(false);
    assert_eq!(cluster.finished(&added)["status"], "succeeded");
    let settings = cluster
        .call("GET", &format!("/tasks/{}", settings["taskUid"]), None)
        .1;
    assert_eq!(settings["status"], "succeeded");
}

#[test]
fn documents_may_follow_the_deletion_at_once() {
    let cluster = Cluster::new(2, 1);
    let task = commit(
        &cluster,
        begin(&cluster, addition("movies", Some("id"), None)),
    );
    cluster.finished(&task);
    cluster.nodes.iter().for_each(|node| node.hold(true));
    let (_, deleted) = cluster.call("DELETE", "/indexes/movies", None);
    let index = cluster.control().publisher().current().indexes["movies"].clone();
    assert_eq!((index.visible, &index.primary_key), (true, &None));
    let turn = begin(
        &cluster,
        addition("movies", None, Some(InferredKey::Found("sku".into()))),
    );
    let added = commit(&cluster, turn);
    cluster.nodes.iter().for_each(|node| node.hold(false));
    assert_eq!(cluster.finished(&added)["status"], "succeeded");
    assert_eq!(cluster.finished(&deleted)["details"]["deletedDocuments"], 2);
    let (_, index) = cluster.call("GET", "/indexes/movies", None);
    assert_eq!(index["primaryKey"], "sku");
    assert_eq!(
        cluster.call("GET", "/indexes/movies/stats", None).1["numberOfDocuments"],
        2
    );
}

#[test]
fn nodes_of_two_versions_serve_together() {
    let mut cluster = Cluster::stopped(1, 1);
    let newer = crate::fake::Fake::start("1.50.0");
    newer.lie(Some(json!({ "rankingRules": ["words", "attributeRank"] })));
    cluster
        .config
        .nodes
        .push(crate::cluster::node_config(1, &newer));
    cluster.nodes.push(newer);
    cluster.start().unwrap();
    let task = commit(
        &cluster,
        begin(&cluster, addition("movies", Some("id"), None)),
    );
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
    assert_eq!(
        cluster.control().publisher().current().lowest_version(),
        (1, 15, 1)
    );
}

#[test]
fn a_crash_between_creation_and_commit_leaves_nothing() {
    let mut cluster = Cluster::new(2, 1);
    let turn = begin(&cluster, addition("movies", Some("id"), None));
    assert!(cluster.nodes[1].index("movies").is_some());
    cluster.stop();
    drop(turn);
    assert!(cluster.nodes[1].index("movies").is_some());
    cluster.start().unwrap();
    assert!(cluster
        .nodes
        .iter()
        .all(|node| node.index("movies").is_none()));
    assert!(cluster.control().publisher().current().indexes.is_empty());
    assert_eq!(cluster.call("GET", "/indexes", None).1["total"], 0);
}

#[test]
fn creating_an_index_for_a_write_needs_every_node() {
    let cluster = Cluster::new(3, 1);
    cluster.nodes[2].set_down(true);
    let error = block_on(
        cluster
            .control()
            .begin_write(addition("movies", Some("id"), None)),
    )
    .err()
    .unwrap();
    assert_eq!((error.status, &*error.code), (503, "miroir_no_quorum"));
    assert!(
        error.message.contains("`n2` is down") && error.message.contains("Nothing was sent"),
        "{}",
        error.message
    );
    assert!(!cluster.nodes[0]
        .changes()
        .contains(&"POST /indexes".to_owned()));
    let error = block_on(
        cluster
            .control()
            .begin_write(addition("no good", None, None)),
    )
    .err()
    .unwrap();
    assert_eq!((error.status, &*error.code), (400, "invalid_index_uid"));
}
