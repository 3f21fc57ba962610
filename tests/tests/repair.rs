//! Copies that missed writes, or lost everything, are made equal again by themselves, while writes go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Node, Plan};
use miroir_tests::http::{until, Target};
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(90);
const DOCUMENTS: u64 = 300;

/// Two groups of two nodes: with a node of one group down, the other group takes writes.
fn plan() -> Plan {
    Plan {
        nodes: 4,
        shards: 8,
        replication_factor: 2,
        replica_groups: 2,
        ..Plan::default()
    }
}

#[test]
fn a_node_that_missed_writes_is_repaired_while_writes_go_on() {
    let mut fleet = Fleet::start(plan());
    let proxy = filled(&fleet);
    let writer = Writer::start(proxy.clone());
    fleet.nodes[0].kill();
    until("copies to be out of sync", PATIENCE, || {
        !not_serving(&proxy).is_empty()
    });
    missed_writes(&proxy);
    fleet.nodes[0].start();
    until("every copy to be in sync", PATIENCE, || {
        not_serving(&proxy).is_empty()
    });
    let written = writer.stop();
    assert!(!written.is_empty(), "nothing was written meanwhile");
    compare(&fleet, &proxy, &written);
}

#[test]
fn a_node_that_comes_back_empty_is_filled_again() {
    let mut fleet = Fleet::start(plan());
    let proxy = filled(&fleet);
    missed_writes(&proxy);
    fleet.nodes[0].kill();
    fleet.nodes[0].forget();
    let writer = Writer::start(proxy.clone());
    fleet.nodes[0].start();
    // A document of before: the writer's own may get there before anybody has noticed that the rest is gone.
    until("every copy to be in sync", PATIENCE, || {
        documents(&fleet.nodes[0]).contains_key(&20) && not_serving(&proxy).is_empty()
    });
    let written = writer.stop();
    compare(&fleet, &proxy, &written);
    let words = "/indexes/things/settings/stop-words";
    let words = fleet.nodes[0].target("node").get(words).expect("an answer");
    assert_eq!(words.body, json!(["of"]));
}

#[test]
fn a_copy_that_went_wrong_is_found_and_mended() {
    let mut fleet = Fleet::start(plan());
    let proxy = filled(&fleet);
    let deleted = documents(&fleet.nodes[0])[&1].clone();
    missed_writes(&proxy);
    fleet.kill_proxy();
    // Of four copies the one on this node loses a document, changes one, and has a deleted one again.
    let node = fleet.nodes[0].target("node");
    let whole = documents(&fleet.nodes[0]);
    let mut changed = whole[&20].clone();
    changed["color"] = json!("blue");
    let write = |method: &str, path: &str, body: &Value| {
        let path = format!("/indexes/things/documents{path}");
        let task = node.write(method, &path, body).expect("a write");
        assert_eq!(task["status"], "succeeded", "{task}");
    };
    write("DELETE", "/6", &Value::Null);
    write("POST", "", &json!([changed, deleted]));
    assert_ne!(documents(&fleet.nodes[0]), whole);
    // All copies are compared at the start.
    fleet.start_proxy();
    until("the copy to be mended", PATIENCE, || {
        documents(&fleet.nodes[0]) == whole && not_serving(&proxy).is_empty()
    });
    compare(&fleet, &proxy, &BTreeMap::new());
}

#[test]
fn a_killed_proxy_goes_on_with_repairs() {
    let mut fleet = Fleet::start(plan());
    let proxy = filled(&fleet);
    fleet.nodes[0].kill();
    missed_writes(&proxy);
    for _ in 0..4 {
        fleet.kill_proxy();
        fleet.nodes[0].start();
        fleet.start_proxy();
        let writer = Writer::start(proxy.clone());
        until("a repair to begin", PATIENCE, || {
            fleet.proxy_log().contains("in sync") || not_serving(&proxy).is_empty()
        });
        fleet.nodes[0].kill();
        until("copies to be out of sync", PATIENCE, || {
            !not_serving(&proxy).is_empty()
        });
        writer.stop();
    }
    fleet.kill_proxy();
    fleet.nodes[0].start();
    fleet.start_proxy();
    until("every copy to be in sync", PATIENCE, || {
        not_serving(&proxy).is_empty()
    });
    compare(&fleet, &proxy, &BTreeMap::new());
}

/// An index `things` with documents on every shard.
fn filled(fleet: &Fleet) -> Target {
    let proxy = fleet.target("proxy");
    let documents: Vec<Value> = (0..DOCUMENTS)
        .map(|id| json!({"id": id, "name": format!("thing number {id}"), "kind": id % 5}))
        .collect();
    let write = |method: &str, path: &str, body: &Value| {
        let task = proxy.write(method, path, body).expect("a write");
        assert_eq!(task["status"], "succeeded", "{task}");
    };
    let path = "/indexes/things/documents?primaryKey=id";
    write("POST", path, &json!(documents));
    let settings = json!({"filterableAttributes": ["kind"], "stopWords": ["of"]});
    write("PATCH", "/indexes/things/settings", &settings);
    proxy
}

/// Every kind of write that a node can miss.
fn missed_writes(proxy: &Target) {
    let write = |method: &str, path: &str, body: &Value| {
        let path = format!("/indexes/things/documents{path}");
        let task = proxy.write(method, &path, body).expect("a write");
        assert_eq!(task["status"], "succeeded", "{task}");
    };
    let more: Vec<Value> = (0..50)
        .map(|i| json!({"id": 1000 + i, "kind": 9}))
        .collect();
    write("POST", "", &json!(more));
    let updates: Vec<Value> = (20..40).map(|i| json!({"id": i, "color": "red"})).collect();
    write("PUT", "", &json!(updates));
    write("POST", "/delete-batch", &json!([1, 2, 3]));
    write("POST", "/delete", &json!({"filter": "kind = 4"}));
}

/// Writes, updates and deletes documents of its own, one after the other, and remembers what was acknowledged.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<u64, Value>>,
}

impl Writer {
    fn start(proxy: Target) -> Writer {
        const FIRST: u64 = 100_000;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut written = BTreeMap::new();
            for turn in 0u64.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let id = FIRST + turn % 40;
                let (method, path, body) = match turn % 4 {
                    3 => ("DELETE", format!("/{}", id - 1), Value::Null),
                    _ => ("POST", String::new(), json!([{"id": id, "turn": turn}])),
                };
                let path = format!("/indexes/things/documents{path}");
                let Ok(answer) = proxy.send_json(method, &path, &body) else {
                    continue;
                };
                match (answer.status, method) {
                    (202, "DELETE") => drop(written.remove(&(id - 1))),
                    (202, _) => drop(written.insert(id, body[0].clone())),
                    _ => panic!("a write was refused: {}", answer.body),
                }
            }
            written
        });
        Writer { stop, thread }
    }

    fn stop(self) -> BTreeMap<u64, Value> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer ends")
    }
}

/// The copies of the index that do not serve.
fn not_serving(proxy: &Target) -> Vec<Value> {
    let answer = proxy.get("/_miroir/topology").expect("an answer");
    let indexes = answer.body["indexes"].as_array().cloned();
    let indexes = indexes.unwrap_or_else(|| panic!("{}", answer.body));
    let copies = indexes
        .iter()
        .filter_map(|index| index["notServing"].as_array());
    copies.flatten().cloned().collect()
}

/// Every node holds the same, and what was acknowledged is there.
fn compare(fleet: &Fleet, proxy: &Target, written: &BTreeMap<u64, Value>) {
    until("every task to have ended", PATIENCE, || {
        let nodes = fleet.nodes.iter().map(|node| node.target("node"));
        nodes.chain([proxy.clone()]).all(|target| {
            let open = target
                .get("/tasks?statuses=enqueued,processing&limit=1")
                .expect("an answer");
            open.body["results"].as_array().is_some_and(Vec::is_empty)
        })
    });
    let first = documents(&fleet.nodes[1]);
    for (position, node) in fleet.nodes.iter().enumerate() {
        let own = documents(node);
        for (id, document) in &first {
            assert_eq!(
                own.get(id),
                Some(document),
                "document {id} on node {position}"
            );
        }
        let surplus: Vec<&u64> = own.keys().filter(|id| !first.contains_key(id)).collect();
        assert!(
            surplus.is_empty(),
            "node {position} has {surplus:?} besides"
        );
    }
    for (id, document) in written {
        let found = first
            .get(id)
            .unwrap_or_else(|| panic!("document {id} is lost"));
        assert_eq!(found["turn"], document["turn"], "document {id}");
    }
    for id in [1, 2, 3, 4, 9] {
        assert!(!first.contains_key(&id), "document {id} is back");
    }
    assert_eq!(first[&20]["color"], "red");
}

fn documents(node: &Node) -> BTreeMap<u64, Value> {
    let answer = node
        .target("node")
        .get("/indexes/things/documents?limit=100000")
        .expect("an answer");
    // No such index, on a node that is empty.
    let list = answer.body["results"].as_array().cloned();
    let list = list.unwrap_or_default();
    let by_id = list
        .iter()
        .map(|document| (document["id"].as_u64().expect("an id"), document.clone()));
    by_id.collect()
}
