//! More requests than a fleet can answer: some are refused at once, none is answered wrongly, and it is over with its cause.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::http::{until, Answer, Target};
use miroir_tests::relay::Trouble;
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(60);
const DOCUMENTS: usize = 60;
const CLIENTS: usize = 48;
/// Slow enough for a crowd to come together, and quick enough for health checks.
const SLOW: Trouble = Trouble::Delay(Duration::from_millis(300));

fn fleet(replication_factor: u8, extra: &str) -> (Fleet, Target) {
    let fleet = Fleet::start(Plan {
        replication_factor,
        relayed: true,
        extra: format!(
            "health: {{ timeout_ms: 20000 }}\nunavailable_shard_policy: partial\n\
             reads: {{ coalescing: false }}\n{extra}"
        ),
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let documents: Vec<Value> = (0..DOCUMENTS).map(|id| json!({"id": id})).collect();
    let path = "/indexes/things/documents?primaryKey=id";
    let task = proxy.write("POST", path, &json!(documents));
    assert_eq!(task.expect("documents")["status"], "succeeded");
    (fleet, proxy)
}

fn search(proxy: &Target) -> Answer {
    let body = json!({"limit": 1000});
    let path = "/indexes/things/search";
    proxy.send_json("POST", path, &body).expect("an answer")
}

/// Whether the search was answered (and then wholly) or refused (and then politely).
fn is_answered(answer: &Answer) -> bool {
    if answer.status == 200 {
        assert_eq!(answer.header("x-miroir-degraded"), None);
        let hits = answer.body["hits"].as_array().map(Vec::len);
        assert!(
            hits.is_some_and(|hits| hits >= DOCUMENTS),
            "{}",
            answer.body
        );
        return true;
    }
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.code(), Some("too_many_search_requests"));
    assert_eq!(answer.header("retry-after"), Some("10"));
    false
}

/// Many search until some of them were refused and some answered; meanwhile `beside` runs again and again.
fn crowd(proxy: &Target, mut beside: impl FnMut()) {
    let (answered, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let enough = |count: &AtomicUsize| count.load(Ordering::Relaxed) >= CLIENTS;
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !(enough(&answered) && enough(&refused)) {
                    let count = match is_answered(&search(proxy)) {
                        true => &answered,
                        false => &refused,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    // A client that is refused does not come back at once.
                    thread::sleep(Duration::from_millis(20));
                }
            });
        }
        until("searches to be answered, and refused", PATIENCE, || {
            beside();
            enough(&answered) && enough(&refused)
        });
    });
}

#[test]
fn too_many_searches_are_refused_and_what_tells_of_it_is_not() {
    let (fleet, proxy) = fleet(1, "limits: { searches: 6 }");
    assert!(is_answered(&search(&proxy)));
    fleet
        .relays
        .iter()
        .for_each(|relay| relay.set_trouble(SLOW));
    crowd(&proxy, || {
        for path in ["/health", "/version", "/_miroir/topology", "/tasks"] {
            let answer = proxy.get(path).expect("an answer");
            assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        }
    });
    fleet
        .relays
        .iter()
        .for_each(|relay| relay.set_trouble(Trouble::None));
    for _ in 0..50 {
        assert!(is_answered(&search(&proxy)), "it is over");
    }
    let page = proxy.get("/_miroir/metrics").expect("the metrics page");
    let page = page.body.as_str().expect("text");
    let shed = page
        .lines()
        .find(|line| line.starts_with("miroir_shed_full_total "));
    assert!(shed.is_some_and(|line| !line.ends_with(" 0")), "{shed:?}");
    assert!(
        page.contains("\nmiroir_requests_in_progress 0\n"),
        "a seat is lost"
    );
}

#[test]
fn nodes_without_a_free_connection_cost_no_copy() {
    let (fleet, proxy) = fleet(2, "limits: { node_connections: 2 }");
    fleet
        .relays
        .iter()
        .for_each(|relay| relay.set_trouble(SLOW));
    let mut writes = [0, 0];
    let mut id = DOCUMENTS;
    crowd(&proxy, || {
        id += 1;
        let path = "/indexes/things/documents";
        let answer = proxy
            .send_json("POST", path, &json!([{"id": id}]))
            .expect("an answer");
        assert_eq!(answer.header("x-miroir-degraded"), None);
        match (answer.status, answer.code()) {
            (202, _) => writes[0] += 1,
            (503, Some("miroir_overloaded")) => writes[1] += 1,
            _ => panic!("{}", answer.body),
        }
    });
    println!("writes accepted and refused: {writes:?}");
    fleet
        .relays
        .iter()
        .for_each(|relay| relay.set_trouble(Trouble::None));
    let topology = proxy.get("/_miroir/topology").expect("the topology").body;
    for index in topology["indexes"].as_array().expect("indexes") {
        assert_eq!(index["notServing"], json!([]), "{topology}");
    }
    for node in topology["nodes"].as_array().expect("nodes") {
        assert_eq!(node["state"], "up", "{topology}");
    }
    until("all writes to be applied", PATIENCE, || {
        search(&proxy).body["hits"].as_array().map(Vec::len) == Some(DOCUMENTS + writes[0])
    });
}
