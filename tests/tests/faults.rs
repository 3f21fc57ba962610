//! Real processes under load while things break: what clients are told, and that it is true (docs/reliability.md).
//!
//! Each prints what was acknowledged, lost, wrong and short, and the longest pause. `MIROIR_WRITE_DOCS=1` puts that into the page.

use std::thread::sleep;
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::process::Signal;
use miroir_tests::relay::Trouble;
use miroir_tests::storm::storm;

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

/// Every copy of every index serves, and every node is up.
fn await_in_sync(fleet: &Fleet) {
    let proxy = fleet.target("proxy");
    miroir_tests::http::until("every copy to be in sync", Duration::from_secs(120), || {
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
