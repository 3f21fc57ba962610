//! Nodes that come back: as they were, emptied, or as somebody else.

use miroir_router::{CopyState, NodeIdx};
use serde_json::{json, Value};

use crate::cluster::{eventually, Cluster};

/// Two nodes with a copy of everything each, and an index.
fn filled() -> Cluster {
    let cluster = Cluster::new(2, 2);
    let (_, task) = cluster.call(
        "POST",
        "/indexes",
        Some(json!({ "uid": "movies", "primaryKey": "id" })),
    );
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
    assert_eq!(out_of_sync(&cluster), 0);
    cluster
}

/// Copies on the second node that do not serve.
fn out_of_sync(cluster: &Cluster) -> usize {
    let table = cluster.control().publisher().current();
    let layout = &table.indexes["movies"].layout;
    let on_node = |copy: &&miroir_router::Placement| copy.node == NodeIdx(1);
    let copies = layout.copies.iter().flatten().filter(on_node);
    copies
        .filter(|copy| copy.state == CopyState::OutOfSync)
        .count()
}

fn is_up(cluster: &Cluster) -> bool {
    cluster.control().publisher().current().nodes[1].is_up()
}

fn bounce(cluster: &Cluster, meanwhile: impl Fn()) {
    cluster.nodes[1].set_down(true);
    eventually(|| (!is_up(cluster)).then_some(()));
    meanwhile();
    cluster.nodes[1].set_down(false);
}

#[test]
fn a_node_that_was_away_serves_again() {
    let cluster = filled();
    bounce(&cluster, || ());
    eventually(|| is_up(&cluster).then_some(()));
    assert_eq!(out_of_sync(&cluster), 0);
}

#[test]
fn an_emptied_node_is_up_only_when_its_copies_are_out_of_sync_and_stays_so() {
    let mut cluster = filled();
    bounce(&cluster, || cluster.nodes[1].empty());
    eventually(|| is_up(&cluster).then_some(()));
    assert_eq!(out_of_sync(&cluster), 4);
    cluster.stop();
    cluster.start().unwrap();
    assert_eq!((out_of_sync(&cluster), is_up(&cluster)), (4, true));
}

#[test]
fn a_node_that_was_emptied_while_nobody_watched_is_recognised_at_the_start() {
    let mut cluster = filled();
    cluster.stop();
    cluster.nodes[1].empty();
    cluster.nodes[1].plant("movies");
    cluster.start().unwrap();
    assert_eq!(out_of_sync(&cluster), 4);
    eventually(|| is_up(&cluster).then_some(()));
    // Clients do not notice.
    let (status, settings) = cluster.call("GET", "/indexes/movies/settings", None);
    assert_eq!(
        (status, &settings["filterableAttributes"]),
        (200, &json!([])),
        "{settings}"
    );
}

#[test]
fn documents_of_somebody_else_keep_a_node_out() {
    let mut cluster = filled();
    let replaced = |cluster: &Cluster| {
        cluster.nodes[1].empty();
        cluster.nodes[1].plant("movies");
        cluster.nodes[1].set_foreign(3);
    };
    let changes = cluster.nodes[1].changes();
    bounce(&cluster, || replaced(&cluster));
    eventually(|| (out_of_sync(&cluster) == 4).then_some(()));
    assert!(!is_up(&cluster));
    cluster.stop();
    cluster.start().unwrap();
    assert!(!is_up(&cluster));
    // Nothing was written there or deleted, but for the switch of a feature.
    let writes = |changes: Vec<String>| -> Vec<String> {
        let feature = |change: &String| change.contains("/indexes");
        changes.into_iter().filter(feature).collect()
    };
    assert_eq!(writes(cluster.nodes[1].changes()), writes(changes));
    let (_, topology) = cluster.call_with("GET", "/_miroir/topology", None, Some("client-key"));
    assert_eq!(topology["nodes"][1]["up"], Value::Bool(false));
}
