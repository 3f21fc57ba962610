//! One answer for several searches: identical ones under way are asked once, and no answer, shared or kept, is older than a task that
//! has succeeded.

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::scope;
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Plan, MASTER_KEY};
use miroir_tests::http::{until, Target};
use miroir_tests::process::Signal;
use serde_json::{json, Value};

const SEARCH: &str = "/indexes/things/search";
const DOCUMENTS: &str = "/indexes/things/documents?primaryKey=id";
const PATIENCE: Duration = Duration::from_secs(60);

/// The value of a metric without labels.
fn count(proxy: &Target, name: &str) -> usize {
    let page = proxy.get("/_miroir/metrics").expect("the metrics page");
    let lines = page.body.as_str().expect("text").lines();
    let mut values = lines.filter_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    values.next().expect("the metric")
}

/// Searches that wait for a node that stands still, half of them with clients that are gone: each core asks once.
#[test]
fn identical_searches_at_once_are_asked_once() {
    const CLIENTS: usize = 12;
    let fleet = Fleet::start(Plan {
        nodes: 1,
        relayed: true,
        // That the node stands still must not be noticed: it would change the table, and with it what can be shared.
        extra: "health: { interval_ms: 60000 }".into(),
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let written = proxy.write("POST", DOCUMENTS, &json!([{"id": 1, "name": "one"}]));
    assert_eq!(written.expect("a task")["status"], "succeeded");
    let body = json!({"q": "one", "attributesToRetrieve": ["id", "marked"]});
    let received = count(&proxy, "miroir_client_received_bytes_total");

    fleet.nodes[0].signal(Signal::Stop);
    let gone: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let text = body.to_string();
            let mut connection =
                TcpStream::connect(("127.0.0.1", fleet.port)).expect("a connection");
            write!(
                connection,
                "POST {SEARCH} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {MASTER_KEY}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )
            .expect("a request");
            connection
        })
        .collect();
    scope(|threads| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| threads.spawn(|| proxy.send_json("POST", SEARCH, &body)))
            .collect();
        until("all requests to be there", PATIENCE, || {
            let now = count(&proxy, "miroir_client_received_bytes_total");
            now >= received + 2 * CLIENTS * body.to_string().len()
        });
        drop(gone);
        fleet.nodes[0].signal(Signal::Continue);
        for client in clients {
            let answer = client.join().expect("no panic").expect("an answer");
            assert_eq!(
                (answer.status, &answer.body["hits"]),
                (200, &json!([{"id": 1}]))
            );
        }
    });
    let asked = fleet.relays[0].count(b"marked");
    // Two cores share nothing.
    assert!((1..=2).contains(&asked), "asked {asked} times");
    let coalesced = count(&proxy, "miroir_searches_coalesced_total");
    assert_eq!(asked + coalesced, 2 * CLIENTS);
}

/// While others ask the same without end, each write's effect is seen by whoever knows that its task has succeeded.
#[test]
fn no_answer_is_older_than_a_task_that_has_succeeded() {
    const WRITES: usize = 60;
    let fleet = Fleet::start(Plan {
        nodes: 2,
        replication_factor: 2,
        extra: "reads: { result_cache_size: 8MiB }".into(),
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let write = |method: &str, path: &str, body: Value| {
        let task = proxy.write(method, path, &body).expect("a task");
        assert_eq!(task["status"], "succeeded", "{task}");
    };
    let body = json!({"q": ""});
    let search = |index: &str| {
        let path = format!("/indexes/{index}/search");
        let answer = proxy.send_json("POST", &path, &body).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["hits"].clone()
    };
    write("POST", DOCUMENTS, json!([{"id": 1, "name": "at first"}]));
    let (done, searches) = (AtomicBool::new(false), AtomicUsize::new(0));
    scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    search("things");
                    searches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Ends the others also where this one panics.
        let _done = Done(&done);
        for number in 0..WRITES {
            let name = format!("number {number}");
            write("POST", DOCUMENTS, json!([{"id": 1, "name": name}]));
            // On both cores, where connections go as the kernel likes.
            for _ in 0..4 {
                assert_eq!(search("things"), json!([{"id": 1, "name": name}]));
            }
        }
        write("DELETE", "/indexes/things/documents/1", Value::Null);
        assert_eq!(search("things"), json!([]));
        write("POST", DOCUMENTS, json!([{"id": 1, "name": "again"}]));
        let shown = json!(["id"]);
        write(
            "PUT",
            "/indexes/things/settings/displayed-attributes",
            shown,
        );
        assert_eq!(search("things"), json!([{"id": 1}]));
        write(
            "POST",
            "/indexes/others/documents?primaryKey=id",
            json!([{"id": 2}]),
        );
        let swap = json!([{"indexes": ["things", "others"]}]);
        write("POST", "/swap-indexes", swap);
        assert_eq!(search("things"), json!([{"id": 2}]));
        assert_eq!(search("others"), json!([{"id": 1}]));
    });
    let hits = count(&proxy, "miroir_result_cache_hits_total");
    assert!(hits > 0 && count(&proxy, "miroir_result_cache_bytes") > 0);
    let searches = searches.into_inner();
    println!("{hits} searches were answered by the cache; others asked {searches} times");
}

/// What an experimental feature allows is refused again once it is off, whatever was answered before.
#[test]
fn no_answer_outlives_the_feature_that_it_needed() {
    let fleet = Fleet::start(Plan {
        nodes: 1,
        extra: "reads: { result_cache_size: 8MiB }".into(),
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    for (method, path, body) in [
        ("POST", DOCUMENTS, json!([{"id": 1, "name": "one"}])),
        (
            "PATCH",
            "/indexes/things/settings",
            json!({"filterableAttributes": ["name"]}),
        ),
    ] {
        let task = proxy.write(method, path, &body).expect("a task");
        assert_eq!(task["status"], "succeeded", "{task}");
    }
    let body = json!({"filter": "name CONTAINS n"});
    for on in [true, false, true, false] {
        let features = json!({"containsFilter": on});
        let changed = proxy.send_json("PATCH", "/experimental-features", &features);
        assert_eq!(changed.expect("an answer").body["containsFilter"], on);
        for _ in 0..6 {
            let answer = proxy.send_json("POST", SEARCH, &body).expect("an answer");
            assert_eq!(answer.status == 200, on, "{}", answer.body);
        }
    }
    assert!(count(&proxy, "miroir_result_cache_hits_total") > 0);
}

struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
