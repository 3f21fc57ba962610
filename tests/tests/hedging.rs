//! Searches while a node is slow, broken or hanging: answers stay right, other copies are asked in time, and seldom in vain.

use std::time::{Duration, Instant};

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::http::{until, Target};
use miroir_tests::relay::Trouble;
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(30);
const DOCUMENTS: usize = 90;

/// Three nodes with two copies of each shard, each node behind a relay.
fn fleet() -> (Fleet, Target) {
    let fleet = Fleet::start(Plan {
        replication_factor: 2,
        relayed: true,
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let documents: Vec<Value> = (0..DOCUMENTS)
        .map(|id| json!({"id": id, "name": format!("thing number {id}")}))
        .collect();
    let path = "/indexes/things/documents?primaryKey=id";
    let task = proxy.write("POST", path, &json!(documents));
    assert_eq!(task.expect("documents")["status"], "succeeded");
    (fleet, proxy)
}

/// Searches with ever other words, so that the copies change; each finds everything once. The longest of them.
fn search(proxy: &Target, searches: std::ops::Range<usize>) -> Duration {
    let mut longest = Duration::ZERO;
    for i in searches {
        // The last word matches nothing and is dropped.
        let body = json!({"q": format!("thing zq{i}"), "limit": 100});
        let begun = Instant::now();
        let answer = proxy
            .send_json("POST", "/indexes/things/search", &body)
            .expect("an answer");
        longest = longest.max(begun.elapsed());
        assert_eq!(answer.status, 200, "{}", answer.body);
        let hits = answer.body["hits"].as_array().expect("hits");
        let mut ids: Vec<u64> = hits.iter().filter_map(|hit| hit["id"].as_u64()).collect();
        ids.sort_unstable();
        let all: Vec<u64> = (0..DOCUMENTS as u64).collect();
        assert_eq!(ids, all);
    }
    longest
}

/// The sum over the series of a counter.
fn count(proxy: &Target, name: &str) -> u64 {
    let page = proxy.get("/_miroir/metrics").expect("the metrics page");
    let values = page
        .body
        .as_str()
        .expect("text")
        .lines()
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            (series.split('{').next() == Some(name)).then(|| value.parse::<u64>().ok())?
        });
    values.sum()
}

fn state(proxy: &Target, node: usize) -> Value {
    let topology = proxy.get("/_miroir/topology").expect("the topology");
    topology.body["nodes"][node]["state"].clone()
}

#[test]
fn a_slow_node_is_hedged_within_the_budget_and_then_avoided() {
    let (fleet, proxy) = fleet();
    search(&proxy, 0..300);
    let relay = &fleet.relays[1];
    relay.set_trouble(Trouble::Delay(Duration::from_millis(150)));
    search(&proxy, 300..700);
    let hedges = count(&proxy, "miroir_hedges_total");
    let requests = count(&proxy, "miroir_node_requests_total");
    assert!(hedges > 0 && count(&proxy, "miroir_answers_replaced_total") > 0);
    assert!(hedges * 20 <= requests, "{hedges} of {requests}");
    // It answers, if slowly: nobody takes it for dead.
    assert_eq!(state(&proxy, 1), "up");
    relay.set_trouble(Trouble::None);
    search(&proxy, 700..800);
}

#[test]
fn answers_that_are_none_are_asked_elsewhere() {
    for trouble in [Trouble::Reset, Trouble::Truncate, Trouble::Garbage] {
        let (fleet, proxy) = fleet();
        search(&proxy, 0..20);
        fleet.relays[2].set_trouble(trouble);
        search(&proxy, 20..60);
        until("the node to be avoided", PATIENCE, || {
            state(&proxy, 2) != "up"
        });
        fleet.relays[2].set_trouble(Trouble::None);
        until("the node to be back", PATIENCE, || state(&proxy, 2) == "up");
        search(&proxy, 60..80);
    }
}

#[test]
fn a_node_that_hangs_costs_searches_less_than_their_deadline() {
    let (fleet, proxy) = fleet();
    search(&proxy, 0..20);
    fleet.relays[0].set_trouble(Trouble::Hang);
    let longest = search(&proxy, 20..60);
    println!("the longest search while a node hung: {longest:?}");
    // Far from the deadline of a read, which is 30 s.
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    until("the node to be down", PATIENCE, || {
        state(&proxy, 0) == "down"
    });
    fleet.relays[0].set_trouble(Trouble::None);
    until("the node to be back", PATIENCE, || state(&proxy, 0) == "up");
    search(&proxy, 60..80);
}

#[test]
fn a_dead_node_is_noticed_before_searches_run_into_it() {
    let (mut fleet, proxy) = fleet();
    search(&proxy, 0..20);
    fleet.nodes[1].kill();
    until("the death to be noticed", PATIENCE, || {
        state(&proxy, 1) != "up"
    });
    let failures = count(&proxy, "miroir_node_failures_total");
    search(&proxy, 20..60);
    assert_eq!(count(&proxy, "miroir_node_failures_total"), failures);
    fleet.nodes[1].start();
    until("the node to be back", PATIENCE, || state(&proxy, 1) == "up");
    search(&proxy, 60..80);
}

#[test]
fn a_node_that_comes_back_empty_does_not_serve() {
    let (mut fleet, proxy) = fleet();
    search(&proxy, 0..20);
    fleet.nodes[1].kill();
    fleet.nodes[1].forget();
    fleet.nodes[1].start();
    until("the loss to be recognised", PATIENCE, || {
        let topology = proxy.get("/_miroir/topology").expect("the topology");
        let troubled = topology.body["indexes"][0]["notServing"].as_array();
        troubled.is_some_and(|copies| !copies.is_empty())
            || fleet.proxy_log().contains("was it emptied")
    });
    search(&proxy, 20..60);
    assert!(fleet
        .proxy_log()
        .contains("was it emptied, replaced or restored?"));
}
