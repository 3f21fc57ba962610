//! Nodes come and go while searches and writes go on: no search is short, nothing is found twice, no write is lost.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Node, Plan, NODE_KEY};
use miroir_tests::http::{until, Target};
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(120);
const DOCUMENTS: usize = 400;

#[test]
fn a_node_comes_and_another_one_goes_under_load() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = filled(&fleet);
    let load = Load::start(&proxy);
    let folder = tempfile::tempdir().expect("a folder");
    add_node(&mut fleet, &proxy, folder.path());
    settled(&proxy);
    assert!(held(&proxy, "meili-3") > 0, "the new node has nothing");

    admin(&proxy, "POST", "/nodes/meili-0/drain", &Value::Null);
    settled(&proxy);
    assert_eq!(held(&proxy, "meili-0"), 0);

    // What moved is nowhere else any more.
    let written = load.stop();
    let stored: Vec<u64> = fleet.nodes.iter().flat_map(ids).collect();
    let distinct: BTreeSet<u64> = stored.iter().copied().collect();
    assert_eq!(stored.len(), distinct.len(), "a document is on two nodes");
    assert!(ids(&fleet.nodes[0]).is_empty());
    let expected: BTreeSet<u64> = (0..DOCUMENTS as u64).chain(written).collect();
    assert_eq!(distinct, expected);
}

#[test]
fn a_killed_proxy_goes_on_with_a_move() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = filled(&fleet);
    let folder = tempfile::tempdir().expect("a folder");
    add_node(&mut fleet, &proxy, folder.path());
    for pause in [0, 1500, 2500, 3500] {
        // At any instant: these are as good as others, and nothing depends on what was reached.
        std::thread::sleep(Duration::from_millis(pause));
        fleet.kill_proxy();
        fleet.start_proxy();
        let load = Load::start(&proxy);
        std::thread::sleep(Duration::from_millis(200));
        load.stop();
    }
    settled(&proxy);
    assert!(held(&proxy, "meili-3") > 0, "the new node has nothing");
    let stored: Vec<u64> = fleet.nodes.iter().flat_map(ids).collect();
    let distinct: BTreeSet<u64> = stored.iter().copied().collect();
    assert_eq!(stored.len(), distinct.len(), "a document is on two nodes");
    assert!((0..DOCUMENTS as u64).all(|id| distinct.contains(&id)));
}

#[test]
fn a_node_is_replaced_and_copies_and_groups_come_and_go_under_load() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = filled(&fleet);
    let load = Load::start(&proxy);
    let folders: Vec<_> = (0..2)
        .map(|_| tempfile::tempdir().expect("a folder"))
        .collect();
    for folder in &folders {
        let mut node = Node::new(folder.path(), NODE_KEY);
        node.start();
        fleet.nodes.push(node);
    }
    let address = |node: usize| format!("http://127.0.0.1:{}", fleet.nodes[node].port);

    // Only what the old one had moves, and then it can go.
    let had = held(&proxy, "meili-1");
    let successor = json!({"id": "meili-3", "address": address(3)});
    let moves = admin(&proxy, "POST", "/nodes/meili-1/replace", &successor)["moves"].clone();
    assert_eq!(moves["copiesIn"], had);
    settled(&proxy);
    assert_eq!((held(&proxy, "meili-1"), held(&proxy, "meili-3")), (0, had));
    admin(&proxy, "DELETE", "/nodes/meili-1", &Value::Null);

    let apply = |changes: Value| {
        let staged = json!({ "changes": changes });
        admin(&proxy, "POST", "/layout/staged", &staged);
        let next = admin(&proxy, "GET", "/layout/diff", &Value::Null)["nextVersion"].clone();
        admin(&proxy, "POST", "/layout/apply", &json!({ "version": next }));
        settled(&proxy);
    };
    let copies = || {
        let nodes = ["meili-0", "meili-2", "meili-3"];
        nodes.iter().map(|id| held(&proxy, id)).sum::<u64>()
    };
    apply(json!([{"change": "setReplicationFactor", "value": 2}]));
    assert_eq!(copies(), 32);
    apply(json!([{"change": "setReplicationFactor", "value": 1}]));
    assert_eq!(copies(), 16);
    apply(json!([
        {"change": "setReplicaGroups", "value": 2},
        {"change": "addNode", "id": "other", "address": address(4), "group": 1},
    ]));
    assert_eq!((copies(), held(&proxy, "other")), (16, 16));

    let written = load.stop();
    let expected: BTreeSet<u64> = (0..DOCUMENTS as u64).chain(written).collect();
    let other: BTreeSet<u64> = ids(&fleet.nodes[4]).into_iter().collect();
    assert_eq!(other, expected);
    let group: Vec<u64> = [0, 2, 3]
        .iter()
        .flat_map(|node| ids(&fleet.nodes[*node]))
        .collect();
    assert_eq!(group.len(), expected.len());
}

/// Nodes show the keys of embedders masked: a new one, or one that lost its disk, must get them whole.
#[test]
fn keys_of_embedders_go_to_new_nodes() {
    let mut fleet = Fleet::start(Plan {
        replication_factor: 2,
        ..Plan::default()
    });
    let proxy = filled(&fleet);
    let embedders = json!({"embedders": {"far/away": {
        "source": "rest",
        "url": "http://127.0.0.1:1/",
        "apiKey": "0123456789abcdefghijklmnopqrstuvwxyz",
        "dimensions": 3,
        "request": {"input": "{{text}}"},
        "response": {"embedding": "{{embedding}}"},
        "documentTemplate": "{{doc.name}}",
    }}});
    // With documents it would be asked for their vectors.
    let write = |method: &str, path: &str, body: &Value| {
        let task = proxy.write(method, path, body).expect("a write");
        assert_eq!(task["status"], "succeeded", "{task}");
    };
    write("DELETE", "/indexes/things/documents", &Value::Null);
    write("PATCH", "/indexes/things/settings", &embedders);
    let folder = tempfile::tempdir().expect("a folder");
    add_node(&mut fleet, &proxy, folder.path());
    settled(&proxy);
    fleet.nodes[1].kill();
    fleet.nodes[1].forget();
    fleet.nodes[1].start();
    for node in [3, 1] {
        let settings = fleet.nodes[node].target("node");
        until("the whole key on the node", PATIENCE, || {
            let shown = settings.get("/indexes/things/settings/embedders");
            // Were it the masked one, it would be masked once more.
            shown.is_ok_and(|shown| shown.body["far/away"]["apiKey"] == "01234XXXXXX...")
        });
    }
    settled(&proxy);
    assert!(
        !fleet.proxy_log().contains("abcdefghijklmnop"),
        "a key is in the log"
    );
}

/// An index `things` with documents on every shard.
fn filled(fleet: &Fleet) -> Target {
    let proxy = fleet.target("proxy");
    let documents: Vec<Value> = (0..DOCUMENTS)
        .map(|id| json!({"id": id, "name": format!("thing number {id}"), "kind": "old"}))
        .collect();
    let write = |method: &str, path: &str, body: &Value| {
        let task = proxy.write(method, path, body).expect("a write");
        assert_eq!(task["status"], "succeeded", "{task}");
    };
    let path = "/indexes/things/documents?primaryKey=id";
    write("POST", path, &json!(documents));
    let settings = json!({"filterableAttributes": ["kind"]});
    write("PATCH", "/indexes/things/settings", &settings);
    proxy
}

fn admin(proxy: &Target, method: &str, path: &str, body: &Value) -> Value {
    let path = format!("/_miroir{path}");
    let answer = proxy.send_json(method, &path, body).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// Waits until nothing is to be moved any more.
fn settled(proxy: &Target) {
    until("every copy to be in its place", PATIENCE, || {
        let nodes = admin(proxy, "GET", "/nodes", &Value::Null);
        let nodes = nodes["results"].as_array().expect("nodes").clone();
        let states = nodes.iter().filter_map(|node| node["copies"].as_object());
        states
            .flat_map(|states| states.keys())
            .all(|state| state == "in_sync")
    });
}

/// The copies that a node has.
fn held(proxy: &Target, id: &str) -> u64 {
    let nodes = admin(proxy, "GET", "/nodes", &Value::Null);
    let nodes = nodes["results"].as_array().expect("nodes").clone();
    let node = nodes
        .iter()
        .find(|node| node["id"] == id)
        .expect("the node");
    let copies = node["copies"].as_object().expect("copies");
    copies.values().filter_map(Value::as_u64).sum()
}

fn ids(node: &Node) -> Vec<u64> {
    let target = node.target("node");
    until("the node's tasks to have ended", PATIENCE, || {
        let open = target
            .get("/tasks?statuses=enqueued,processing&limit=1")
            .expect("an answer");
        open.body["results"].as_array().is_some_and(Vec::is_empty)
    });
    let answer = target
        .get("/indexes/things/documents?limit=100000&fields=id")
        .expect("an answer");
    let list = answer.body["results"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    list.iter()
        .filter_map(|document| document["id"].as_u64())
        .collect()
}

/// Searches that must always find the same, and writes beside them.
struct Load {
    stop: Arc<AtomicBool>,
    searches: Arc<AtomicUsize>,
    searcher: JoinHandle<()>,
    writer: JoinHandle<BTreeSet<u64>>,
}

impl Load {
    fn start(proxy: &Target) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let searches = Arc::new(AtomicUsize::new(0));
        let (stopped, counted, target) = (Arc::clone(&stop), Arc::clone(&searches), proxy.clone());
        let searcher = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                search(&target);
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        let (stopped, target) = (Arc::clone(&stop), proxy.clone());
        let writer = std::thread::spawn(move || write(&target, &stopped));
        Load {
            stop,
            searches,
            searcher,
            writer,
        }
    }

    /// The documents that were written and not deleted.
    fn stop(self) -> BTreeSet<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.searcher.join().expect("no search was wrong");
        assert!(self.searches.load(Ordering::Relaxed) > 0);
        self.writer.join().expect("no write was refused")
    }
}

/// A fourth node, `meili-3`, with its data in `folder`.
fn add_node(fleet: &mut Fleet, proxy: &Target, folder: &Path) {
    let mut node = Node::new(folder, NODE_KEY);
    node.start();
    let address = format!("http://127.0.0.1:{}", node.port);
    admin(
        proxy,
        "POST",
        "/nodes",
        &json!({"id": "meili-3", "address": address}),
    );
    fleet.nodes.push(node);
}

fn search(target: &Target) {
    let body = json!({"filter": "kind = old", "limit": 1000, "attributesToRetrieve": ["id"]});
    let answer = target
        .send_json("POST", "/indexes/things/search", &body)
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let hits = answer.body["hits"].as_array().cloned().unwrap_or_default();
    let found: BTreeSet<u64> = hits.iter().filter_map(|hit| hit["id"].as_u64()).collect();
    assert_eq!(
        (found.len(), hits.len()),
        (DOCUMENTS, DOCUMENTS),
        "short, or something twice"
    );
    // Without a filter of the client's, new documents are found, too, but none twice.
    let answer = target
        .send_json("POST", "/indexes/things/search", &json!({"limit": 1000}))
        .expect("an answer");
    let hits = answer.body["hits"].as_array().cloned().unwrap_or_default();
    let found: BTreeSet<u64> = hits.iter().filter_map(|hit| hit["id"].as_u64()).collect();
    assert_eq!(found.len(), hits.len(), "a document is found twice");
    assert!(found.len() >= DOCUMENTS, "{} found", found.len());
}

fn write(target: &Target, stopped: &AtomicBool) -> BTreeSet<u64> {
    const FIRST: u64 = 100_000;
    let mut written = BTreeSet::new();
    for turn in 0u64.. {
        if stopped.load(Ordering::Relaxed) {
            break;
        }
        let id = FIRST + turn % 60;
        let (method, path, body) = match turn % 5 {
            4 => ("DELETE", format!("/{}", id - 1), Value::Null),
            _ => ("POST", String::new(), json!([{"id": id, "turn": turn}])),
        };
        let path = format!("/indexes/things/documents{path}");
        let answer = target.send_json(method, &path, &body).expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.body);
        match method {
            "DELETE" => written.remove(&(id - 1)),
            _ => written.insert(id),
        };
    }
    written
}
