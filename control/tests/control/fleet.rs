//! The fleet changes while it runs: what is refused, what is stored, what the cores are shown.

use miroir_router::{CopyState, NodeIdx};
use serde_json::{json, Value};

use crate::cluster::{eventually, Cluster};
use crate::fake::Fake;

fn call(cluster: &Cluster, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let path = format!("/_miroir{path}");
    cluster.call_with(method, &path, body, Some("client-key"))
}

/// As [`call`], for what must be done.
fn done(cluster: &Cluster, method: &str, path: &str, body: Option<Value>) -> Value {
    let (status, answer) = call(cluster, method, path, body);
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

fn with_index(nodes: usize, replication_factor: u8) -> Cluster {
    let cluster = Cluster::new(nodes, replication_factor);
    let body = json!({ "uid": "movies", "primaryKey": "id" });
    let (_, task) = cluster.call("POST", "/indexes", Some(body));
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
    let settings = json!({ "stopWords": ["the"] });
    let (_, task) = cluster.call("PATCH", "/indexes/movies/settings", Some(settings));
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
    cluster
}

fn new_node(fake: &Fake, id: &str) -> Value {
    json!({ "id": id, "address": format!("http://{}", fake.address) })
}

/// How many copies of the index are in such a state on the node.
fn copies(cluster: &Cluster, node: u16, state: CopyState) -> usize {
    let table = cluster.control().publisher().current();
    let copies = table.indexes["movies"].layout.copies.iter().flatten();
    copies
        .filter(|copy| copy.node == NodeIdx(node) && copy.state == state)
        .count()
}

/// Whatever becomes of them: copies that the node is to get.
fn coming(cluster: &Cluster, node: u16) -> usize {
    let answer = done(cluster, "GET", "/shards?index=movies", None);
    let id = done(cluster, "GET", "/topology", None)["nodes"][usize::from(node)]["id"].clone();
    let shards = answer["results"].as_array().unwrap().iter();
    shards
        .filter(|shard| {
            let copies = shard["copies"].as_array().unwrap();
            copies
                .iter()
                .any(|copy| copy["node"] == id && copy["state"] != "leaving")
        })
        .count()
}

#[test]
fn an_added_node_has_every_index_and_takes_its_share() {
    let mut cluster = with_index(2, 1);
    let third = Fake::start("1.15.1");
    let body = new_node(&third, "n2");
    let dry = done(&cluster, "POST", "/nodes?dryRun=true", Some(body.clone()));
    assert_eq!(
        (&dry["applied"], &dry["nextVersion"]),
        (&json!(false), &json!(2))
    );
    assert!(third.changes().is_empty());
    let moves = dry["moves"]["copiesIn"].as_u64().unwrap();
    assert!((1..=2).contains(&moves), "{dry}");

    let made = done(&cluster, "POST", "/nodes", Some(body));
    assert_eq!(made["applied"], true);
    let index = third.index("movies").expect("the node has the index");
    assert_eq!(index["primaryKey"], "id");
    assert_eq!(index["settings"]["stopWords"], json!(["the"]));
    assert_eq!(coming(&cluster, 2) as u64, moves);
    // From now on it is one of those that get every change.
    eventually(|| {
        cluster.control().publisher().current().nodes[2]
            .is_up()
            .then_some(())
    });
    let (_, task) = cluster.call("POST", "/indexes", Some(json!({ "uid": "books" })));
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
    assert!(third.index("books").is_some());
    assert!(cluster.control().publisher().current().indexes["books"]
        .layout
        .copies
        .iter()
        .flatten()
        .all(|copy| copy.state == CopyState::InSync));

    cluster.stop();
    cluster.start().unwrap();
    let nodes = done(&cluster, "GET", "/nodes", None);
    assert_eq!(nodes["results"].as_array().unwrap().len(), 3);
    assert_eq!(coming(&cluster, 2) as u64, moves);
    let history = done(&cluster, "GET", "/layout/history", None);
    assert_eq!(history["results"][0]["version"], 2);
    assert_eq!(history["results"][0]["changes"][0]["change"], "addNode");
}

#[test]
fn a_node_that_cannot_be_used_is_refused_and_nothing_changes() {
    let cluster = with_index(2, 1);
    let old = Fake::start("1.12.8");
    let foreign = Fake::start("1.15.1");
    foreign.plant("somebody-elses");
    let down = Fake::start("1.15.1");
    down.set_down(true);
    for (fake, word) in [
        (&old, "upgrade"),
        (&foreign, "somebody-elses"),
        (&down, "start it"),
    ] {
        let (status, error) = call(&cluster, "POST", "/nodes", Some(new_node(fake, "n2")));
        assert_eq!(
            (status, &error["code"]),
            (400, &json!("miroir_node_refused"))
        );
        assert!(error["message"].as_str().unwrap().contains(word), "{error}");
    }
    let (status, error) = call(
        &cluster,
        "POST",
        "/nodes",
        Some(new_node(&cluster.nodes[0], "n9")),
    );
    assert_eq!((status, &error["code"]), (400, &json!("miroir_bad_layout")));
    assert_eq!(done(&cluster, "GET", "/layout", None)["version"], 1);
    assert_eq!(cluster.control().publisher().current().nodes.len(), 2);
}

#[test]
fn only_an_empty_node_goes_without_force_and_force_names_what_is_lost() {
    let mut cluster = with_index(3, 1);
    let (status, error) = call(&cluster, "DELETE", "/nodes/n2", None);
    assert_eq!((status, &error["code"]), (400, &json!("miroir_bad_layout")));
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("nodes drain n2"),
        "{error}"
    );
    let held = copies(&cluster, 2, CopyState::InSync);
    assert!(held > 0);
    let gone = done(&cluster, "DELETE", "/nodes/n2?force=true", None);
    assert_eq!(gone["lost"][0]["shards"].as_array().unwrap().len(), held);
    let table = cluster.control().publisher().current();
    let layout = &table.indexes["movies"].layout;
    assert!(layout.shards_of(NodeIdx(2)).is_empty());
    // The positions of the others stay, and what is lost is empty from now on.
    assert_eq!(table.nodes.len(), 3);
    assert!(layout
        .copies
        .iter()
        .flatten()
        .all(|copy| copy.state == CopyState::InSync));
    let before = cluster.nodes[2].changes().len();
    let (_, task) = cluster.call("POST", "/indexes", Some(json!({ "uid": "books" })));
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
    assert_eq!(cluster.nodes[2].changes().len(), before);

    // The configuration still names it; the store decides.
    cluster.stop();
    cluster.start().unwrap();
    let nodes = done(&cluster, "GET", "/nodes", None);
    assert_eq!(nodes["results"].as_array().unwrap().len(), 2);

    // It comes back empty, to its old place.
    cluster.nodes[2].empty();
    done(
        &cluster,
        "POST",
        "/nodes",
        Some(new_node(&cluster.nodes[2], "n2")),
    );
    let table = cluster.control().publisher().current();
    assert_eq!((table.nodes.len(), &*table.nodes[2].id), (3, "n2"));
}

#[test]
fn a_drained_node_serves_until_its_copies_are_elsewhere() {
    let cluster = with_index(3, 1);
    let held = copies(&cluster, 1, CopyState::InSync);
    let drained = done(&cluster, "POST", "/nodes/n1/drain", None);
    assert_eq!(drained["moves"]["copiesIn"], held);
    assert_eq!(copies(&cluster, 1, CopyState::Leaving), held);
    assert_eq!(done(&cluster, "GET", "/ready", None)["status"], "ready");
}

#[test]
fn changes_are_staged_shown_and_applied_as_the_version_that_was_shown() {
    let mut cluster = with_index(2, 1);
    let stage = |cluster: &Cluster, changes: Value| {
        call(
            cluster,
            "POST",
            "/layout/staged",
            Some(json!({ "changes": changes })),
        )
    };
    let (status, _) = stage(
        &cluster,
        json!([{ "change": "setReplicationFactor", "value": 2 }]),
    );
    assert_eq!(status, 200);
    let (status, error) = stage(
        &cluster,
        json!([{ "change": "setReplicationFactor", "value": 3 }]),
    );
    assert_eq!(status, 400);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("replication_factor"),
        "{error}"
    );
    let (status, _) = stage(
        &cluster,
        json!([{ "change": "setZone", "id": "n0", "zone": "z" }]),
    );
    assert_eq!(status, 200);
    let (status, error) = call(&cluster, "POST", "/nodes/n0/drain", None);
    assert_eq!(
        (status, &error["code"]),
        (409, &json!("miroir_layout_conflict"))
    );

    cluster.stop();
    cluster.start().unwrap();
    let diff = done(&cluster, "GET", "/layout/diff", None);
    assert_eq!(diff["changes"].as_array().unwrap().len(), 2);
    assert_eq!(diff["replicationFactor"], json!({ "now": 1, "then": 2 }));
    assert_eq!(diff["moves"]["copiesIn"], 4);
    let (status, error) = call(
        &cluster,
        "POST",
        "/layout/apply",
        Some(json!({ "version": 7 })),
    );
    assert_eq!(status, 409);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("next version is 2"),
        "{error}"
    );
    let layout = done(
        &cluster,
        "POST",
        "/layout/apply",
        Some(json!({ "version": 2 })),
    );
    assert_eq!(
        (&layout["version"], &layout["replicationFactor"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(
        done(&cluster, "GET", "/layout/staged", None)["changes"],
        json!([])
    );
    assert_eq!(
        cluster.control().publisher().current().indexes["movies"]
            .layout
            .copies_per_shard(),
        2
    );

    stage(&cluster, json!([{ "change": "drainNode", "id": "n0" }]));
    done(&cluster, "DELETE", "/layout/staged", None);
    let (status, _) = call(
        &cluster,
        "POST",
        "/layout/apply",
        Some(json!({ "version": 3 })),
    );
    assert_eq!(status, 409);
}

#[test]
fn documents_are_found_and_strangers_are_not_told() {
    let cluster = with_index(2, 1);
    let found = done(&cluster, "GET", "/shards/where?index=movies&id=42", None);
    let shard = miroir_router::shard_of(b"42", 4);
    assert_eq!(found["shard"], json!(shard));
    assert_eq!(found["copies"][0]["state"], "in_sync");
    assert_eq!(call(&cluster, "GET", "/shards?index=nobody", None).0, 404);
    assert_eq!(call(&cluster, "GET", "/shards?indx=movies", None).0, 400);
    for path in ["/nodes", "/layout", "/shards", "/openapi.json"] {
        let path = format!("/_miroir{path}");
        assert_eq!(cluster.call_with("GET", &path, None, Some("wrong")).0, 403);
        assert_eq!(cluster.call_with("GET", &path, None, None).0, 401);
    }
}
