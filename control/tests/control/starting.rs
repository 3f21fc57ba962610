//! Starting: what is refused, and what the message says.

use serde_json::json;

use crate::cluster::{node_config, Cluster};
use crate::fake::Fake;

fn refusal(cluster: &mut Cluster) -> Vec<String> {
    cluster.start().expect_err("it must not start").lines
}

#[test]
fn every_faulty_node_is_named_with_its_next_step() {
    let mut cluster = Cluster::stopped(1, 1);
    let old = Fake::start("1.12.8");
    let foreign = Fake::start("v-next");
    cluster.config.nodes.push(node_config(1, &old));
    cluster.config.nodes.push(node_config(2, &foreign));
    let lines = refusal(&mut cluster);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("`n1`") && lines[0].contains("1.12.8") && lines[0].contains("upgrade"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("`n2`") && lines[1].contains("is this a Meilisearch?"),
        "{lines:?}"
    );
}

#[test]
fn a_wrong_key_is_said_and_never_shown() {
    let mut cluster = Cluster::stopped(2, 1);
    cluster.config.node_master_key = Some("secret-and-wrong".into());
    let lines = refusal(&mut cluster);
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].contains("node_master_key") && !lines[0].contains("secret-and-wrong"),
        "{lines:?}"
    );
}

#[test]
fn a_new_cluster_needs_every_node() {
    let mut cluster = Cluster::stopped(2, 1);
    cluster.nodes[1].set_down(true);
    let lines = refusal(&mut cluster);
    assert!(
        lines.len() == 1 && lines[0].contains("`n1`") && lines[0].contains("start it"),
        "{lines:?}"
    );
}

#[test]
fn a_new_store_does_not_trust_indexes_that_it_does_not_know() {
    let mut cluster = Cluster::stopped(2, 1);
    cluster.nodes[1].plant("somebody-elses");
    let lines = refusal(&mut cluster);
    assert!(
        lines.len() == 1
            && lines[0].contains("somebody-elses")
            && lines[0].contains("task_store.path"),
        "{lines:?}"
    );
}

#[test]
fn a_known_cluster_starts_without_a_dead_node_and_refuses_another_shape() {
    let mut cluster = Cluster::new(2, 1);
    let (_, task) = cluster.call(
        "POST",
        "/indexes",
        Some(json!({ "uid": "movies", "primaryKey": "id" })),
    );
    cluster.finished(&task);
    cluster.stop();

    let shards = cluster.config.shards;
    cluster.config.shards = 8;
    let lines = refusal(&mut cluster);
    assert!(
        lines[0].contains("shards is 4") && lines[0].contains("set it back"),
        "{lines:?}"
    );
    cluster.config.shards = shards;
    // The store decides which nodes there are: neither the order of the configuration matters nor what it leaves out.
    cluster.config.nodes.swap(0, 1);
    cluster.config.nodes.pop();

    cluster.nodes[1].set_down(true);
    cluster.start().unwrap();
    let (status, index) = cluster.call("GET", "/indexes/movies", None);
    assert_eq!((status, &index["primaryKey"]), (200, &json!("id")));
    let (_, topology) = cluster.call_with("GET", "/_miroir/topology", None, Some("client-key"));
    assert_eq!(
        (&topology["nodes"][0]["up"], &topology["nodes"][1]["up"]),
        (&json!(true), &json!(false))
    );
    let (status, ready) = cluster.call_with("GET", "/_miroir/ready", None, Some("client-key"));
    assert_eq!((status, &ready["status"]), (503, &json!("degraded")));
}

#[test]
fn configurations_that_cannot_work_are_refused() {
    let mut cluster = Cluster::stopped(1, 1);
    cluster.config.nodes[0].address = "https://127.0.0.1:7700".into();
    assert!(refusal(&mut cluster)[0].contains("TLS"));
    cluster.config.nodes.push(cluster.config.nodes[0].clone());
    assert!(refusal(&mut cluster)[0].contains("twice"));
    cluster.config.nodes.clear();
    assert!(refusal(&mut cluster)[0].contains("no nodes"));
}
