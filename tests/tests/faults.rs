//! Real processes under load while things break: what clients are told, and that it is true (docs/reliability.md).
//!
//! Each prints what was acknowledged, lost, wrong and short, and the longest pause. `MIROIR_WRITE_DOCS=1` puts that into the page.

use std::thread::sleep;
use std::time::Duration;

use miroir_tests::disk::Disk;
use miroir_tests::fleet::{Fleet, Node, Plan, NODE_KEY};
use miroir_tests::http::until;
use miroir_tests::process::Signal;
use miroir_tests::relay::Trouble;
use miroir_tests::storm::{storm, Ledger};
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(120);

/// Three nodes, every shard on all of them: one may fail and writes go on.
fn three_copies() -> Plan {
    Plan {
        shards: 6,
        replication_factor: 3,
        ..Plan::default()
    }
}

#[test]
fn a_node_is_killed_and_started_again() {
    let mut fleet = Fleet::start(three_copies());
    let figures = storm(
        "a node is killed (kill -9) and started again, three times",
        &mut fleet,
        3,
        |fleet, ledger| {
            for node in [0, 1, 2] {
                fleet.nodes[node].kill();
                ledger.await_load();
                fleet.nodes[node].start();
                await_in_sync(fleet);
            }
        },
    );
    figures.check();
}

#[test]
fn the_proxy_is_killed_and_started_again() {
    let mut fleet = Fleet::start(three_copies());
    let figures = storm(
        "the proxy is killed (kill -9) and started again, five times",
        &mut fleet,
        3,
        |fleet, ledger| {
            for _ in 0..5 {
                fleet.kill_proxy();
                fleet.start_proxy();
                ledger.await_load();
            }
        },
    );
    figures.check();
}

#[test]
fn a_node_stands_still() {
    let mut fleet = Fleet::start(three_copies());
    let figures = storm(
        "a node stands still for 10 s (SIGSTOP)",
        &mut fleet,
        3,
        |fleet, _| {
            fleet.nodes[1].signal(Signal::Stop);
            sleep(Duration::from_secs(10));
            fleet.nodes[1].signal(Signal::Continue);
            await_in_sync(fleet);
        },
    );
    figures.check();
}

#[test]
fn a_node_is_emptied() {
    let mut fleet = Fleet::start(three_copies());
    let figures = storm(
        "a node loses its disk and is started again",
        &mut fleet,
        3,
        |fleet, ledger| {
            fleet.nodes[2].kill();
            fleet.nodes[2].forget();
            ledger.await_load();
            fleet.nodes[2].start();
            await_in_sync(fleet);
        },
    );
    figures.check();
}

#[test]
fn answers_are_slow() {
    spoiled(
        "a node's answers come 500 ms later",
        Trouble::Delay(Duration::from_millis(500)),
    );
}

#[test]
fn connections_are_reset_in_the_middle_of_answers() {
    spoiled(
        "a node's connections are reset in the middle of answers",
        Trouble::Reset,
    );
}

#[test]
fn answers_are_cut_off() {
    spoiled("a node's answers are cut off", Trouble::Truncate);
}

#[test]
fn answers_are_garbage() {
    spoiled("a node answers garbage", Trouble::Garbage);
}

fn spoiled(what: &str, trouble: Trouble) {
    let mut fleet = Fleet::start(Plan {
        relayed: true,
        ..three_copies()
    });
    let figures = storm(what, &mut fleet, 3, |fleet, _| {
        fleet.relays[1].set_trouble(trouble);
        sleep(Duration::from_secs(3));
        fleet.relays[1].set_trouble(Trouble::None);
        await_in_sync(fleet);
    });
    figures.check();
}

#[test]
fn a_disk_is_full() {
    let mut fleet = Fleet::start(three_copies());
    fleet.nodes[1].kill();
    let Some(disk) = Disk::under(&fleet.nodes[1]) else {
        println!("a node's disk is full: NOT SHOWN, no file system can be mounted here");
        return;
    };
    fleet.nodes[1].start();
    let figures = storm("a node's disk is full", &mut fleet, 3, |fleet, ledger| {
        disk.fill();
        await_missed(fleet, "meili-1");
        ledger.await_load();
        disk.free();
        repair(fleet);
        await_in_sync(fleet);
    });
    figures.check();
}

/// It takes writes, says 202, and fails when it carries them out: the other copies have what it has not.
#[test]
fn tasks_fail_on_one_node() {
    const DOCUMENTS: u64 = 24;
    // More than a document, and than the node's queue of tasks needs; less than all the documents together.
    const FILE_BYTES_MAX: u64 = 6 << 20;
    let mut fleet = Fleet::start(three_copies());
    let what = "a node's tasks fail after they were accepted (an index cannot grow there)";
    let figures = storm(what, &mut fleet, 3, |fleet, ledger| {
        let proxy = fleet.target("proxy");
        let documents = "/indexes/storm/documents";
        fleet.nodes[1].limit_files(Some(FILE_BYTES_MAX));
        let ids: Vec<u64> = (900_000..900_000 + DOCUMENTS).collect();
        for id in &ids {
            let large = json!([{ "id": id, "v": 0, "text": "x".repeat(400_000) }]);
            let answer = proxy.send_json("POST", documents, &large);
            assert_eq!(answer.map(|answer| answer.status), Ok(202));
        }
        await_missed(fleet, "meili-1");
        ledger.await_load();
        fleet.nodes[1].limit_files(None);
        let path = format!("{documents}/delete-batch");
        let deleted = proxy.write("POST", &path, &json!(ids));
        assert_eq!(deleted.expect("a write")["status"], "succeeded");
        repair(fleet);
        await_in_sync(fleet);
    });
    figures.check();
}

#[test]
fn nodes_come_and_go() {
    let mut fleet = Fleet::start(Plan {
        replication_factor: 2,
        ..three_copies()
    });
    let what = "two copies of each shard: a node is added, another one drained and removed";
    let figures = storm(what, &mut fleet, 2, |fleet, ledger| {
        let mut node = Node::new(&fleet.folder().join("node-3"), NODE_KEY);
        node.start();
        let address = format!("http://127.0.0.1:{}", node.port);
        fleet.nodes.push(node);
        let new = json!({ "id": "meili-3", "address": address });
        admin(fleet, "POST", "/nodes", &new);
        await_moved(fleet);
        ledger.await_load();
        admin(fleet, "POST", "/nodes/meili-0/drain", &Value::Null);
        await_moved(fleet);
        admin(fleet, "DELETE", "/nodes/meili-0", &Value::Null);
        fleet.nodes[0].kill();
    });
    figures.check();
}

/// With one node down, writes to its shards are refused: two copies of two are needed.
#[test]
fn two_copies() {
    let mut fleet = Fleet::start(Plan {
        replication_factor: 2,
        ..three_copies()
    });
    let what =
        "two copies of each shard: a node is killed (kill -9) and started again, then the proxy";
    let figures = storm(what, &mut fleet, 2, a_node_and_the_proxy);
    assert!(figures.refused > 0, "{figures}");
    figures.check();
}

/// With one node down, its group misses writes, and the other one takes them.
#[test]
fn two_groups() {
    let mut fleet = Fleet::start(Plan {
        nodes: 4,
        replication_factor: 1,
        replica_groups: 2,
        ..three_copies()
    });
    let what = "two groups of two nodes, one copy in each: a node is killed (kill -9) and started again, then the proxy";
    let figures = storm(what, &mut fleet, 2, a_node_and_the_proxy);
    figures.check();
}

fn a_node_and_the_proxy(fleet: &mut Fleet, ledger: &Ledger) {
    fleet.nodes[1].kill();
    ledger.await_load();
    fleet.nodes[1].start();
    await_in_sync(fleet);
    ledger.await_load();
    fleet.kill_proxy();
    fleet.start_proxy();
    await_in_sync(fleet);
}

/// What failed is tried again at once, not when its time has come.
fn repair(fleet: &Fleet) {
    let path = "/_miroir/repair";
    let answer = fleet.target("proxy").send_json("POST", path, &Value::Null);
    let status = answer.map(|answer| answer.status);
    // 409: copies are being compared.
    assert!(matches!(status, Ok(202 | 409)), "{status:?}");
}

fn admin(fleet: &Fleet, method: &str, path: &str, body: &Value) {
    let path = format!("/_miroir{path}");
    let answer = fleet.target("proxy").send_json(method, &path, body);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Some copy on the node does not serve.
fn await_missed(fleet: &Fleet, node: &str) {
    let proxy = fleet.target("proxy");
    until("a copy to be out of sync", PATIENCE, || {
        let topology = proxy.get("/_miroir/topology").expect("an answer");
        let indexes = topology.body["indexes"].as_array();
        let mut copies = indexes.into_iter().flatten().flat_map(|index| {
            let list = index["notServing"].as_array();
            list.cloned().unwrap_or_default()
        });
        copies.any(|copy| copy["node"] == node)
    });
}

/// Every copy is in its place, and what is left over is deleted.
fn await_moved(fleet: &Fleet) {
    let proxy = fleet.target("proxy");
    until("every copy to be in its place", PATIENCE, || {
        let Ok(answer) = proxy.get("/_miroir/nodes") else {
            return false;
        };
        let nodes = answer.body["results"].as_array();
        let in_sync = |node: &Value| {
            let copies = node["copies"].as_object();
            copies.is_some_and(|states| states.keys().all(|state| state == "in_sync"))
        };
        nodes.is_some_and(|nodes| nodes.iter().all(in_sync))
    });
}

/// Every copy of every index serves, and every node is up.
fn await_in_sync(fleet: &Fleet) {
    let proxy = fleet.target("proxy");
    until("every copy to be in sync", PATIENCE, || {
        let Ok(topology) = proxy.get("/_miroir/topology") else {
            return false;
        };
        let indexes = topology.body["indexes"].as_array();
        let nodes = topology.body["nodes"].as_array();
        let serve =
            |index: &serde_json::Value| index["notServing"].as_array().is_some_and(Vec::is_empty);
        indexes.is_some_and(|indexes| !indexes.is_empty() && indexes.iter().all(serve))
            && nodes.is_some_and(|nodes| nodes.iter().all(|node| node["up"] == true))
    });
}
