//! The page of metrics: well-formed, and its numbers move with what happens.

use std::collections::BTreeMap;

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::http::{Call, Target};
use serde_json::json;

/// Series with their labels -> value, and family -> type. Fails where a line is not as Prometheus wants it.
fn page(proxy: &Target) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let answer = proxy.get("/_miroir/metrics").expect("an answer");
    let content_type = answer.header("content-type").expect("a content type");
    assert!(content_type.starts_with("text/plain; version=0.0.4"));
    let (mut series, mut types) = (BTreeMap::new(), BTreeMap::new());
    let mut helped = "";
    for line in answer.body.as_str().expect("text").lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split(' ').next().unwrap();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type");
            assert_eq!(name, helped, "HELP and TYPE go together");
            assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
            assert!(
                types.insert(name.to_owned(), kind.to_owned()).is_none(),
                "{name} twice"
            );
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            let bare = name.split('{').next().unwrap();
            assert!(bare.starts_with(helped) && !helped.is_empty(), "{line}");
            if bare != helped {
                assert_eq!(types[helped], "histogram", "{line}");
                assert!(
                    ["_bucket", "_sum", "_count"].contains(&&bare[helped.len()..]),
                    "{line}"
                );
            }
            let value: f64 = value.parse().expect("a number");
            assert!(
                series.insert(name.to_owned(), value).is_none(),
                "{name} twice"
            );
        }
    }
    (series, types)
}

#[test]
fn the_page_is_well_formed_and_counts() {
    let fleet = Fleet::start(Plan {
        nodes: 2,
        replication_factor: 2,
        extra: "log: { slow_search_ms: 1, format: json }".into(),
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let path = "/indexes/things/documents?primaryKey=id";
    proxy
        .write("POST", path, &json!([{"id": 1, "name": "one"}]))
        .expect("documents");
    let (before, types) = page(&proxy);
    for _ in 0..10 {
        let answer = proxy
            .get("/indexes/things/search?q=one")
            .expect("an answer");
        assert_eq!(answer.status, 200);
    }
    assert_eq!(
        proxy
            .get("/indexes/none/search?q=one")
            .expect("an answer")
            .status,
        404
    );
    let (after, _) = page(&proxy);
    let grown = |name: &str| {
        after.get(name).copied().unwrap_or(0.0) - before.get(name).copied().unwrap_or(0.0)
    };
    assert_eq!(grown("miroir_searches_total"), 10.0);
    assert_eq!(
        grown("miroir_request_duration_seconds_count{route=\"search\",status=\"2xx\"}"),
        10.0
    );
    assert_eq!(
        grown("miroir_request_duration_seconds_count{route=\"search\",status=\"4xx\"}"),
        1.0
    );
    let reads = |node: usize| {
        grown(&format!(
            "miroir_node_read_duration_seconds_count{{node=\"meili-{node}\"}}"
        ))
    };
    assert!(reads(0) + reads(1) >= 10.0);
    assert!(
        grown("miroir_client_sent_bytes_total") > 0.0
            && grown("miroir_node_received_bytes_total") > 0.0
    );
    assert!(after["miroir_client_connections"] >= 1.0 && after["miroir_routing_epoch"] >= 1.0);
    assert_eq!(
        after["miroir_node_state{node=\"meili-0\",state=\"up\"}"],
        1.0
    );
    assert_eq!(
        after["miroir_copies{index=\"things\",state=\"in_sync\"}"],
        32.0
    );
    assert_eq!(types["miroir_request_duration_seconds"], "histogram");

    let mut call = Call::new("GET", "/_miroir/metrics");
    call.anonymous = true;
    assert_eq!(proxy.call(&call).expect("an answer").status, 401);
}

#[test]
fn a_request_keeps_its_name_and_a_failed_one_is_found_in_the_log_by_it() {
    let mut fleet = Fleet::start(Plan {
        nodes: 1,
        extra: "log: { format: json }".into(),
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let named = |path: &str, name: &str| {
        let mut call = Call::new("GET", path);
        call.headers = vec![("X-Request-Id".into(), name.into())];
        proxy.call(&call).expect("an answer")
    };
    assert_eq!(
        named("/health", "abc-1").header("x-request-id"),
        Some("abc-1")
    );
    assert_eq!(
        proxy
            .get("/health")
            .expect("an answer")
            .header("x-request-id"),
        None
    );
    proxy
        .write(
            "POST",
            "/indexes/things/documents?primaryKey=id",
            &json!([{"id": 1}]),
        )
        .expect("documents");
    fleet.nodes[0].kill();
    let failed = named("/indexes/things/search?q=", "abc-2");
    assert_eq!(
        (failed.status, failed.header("x-request-id")),
        (503, Some("abc-2"))
    );
    let unnamed = proxy.get("/indexes/things/search?q=").expect("an answer");
    let given = unnamed.header("x-request-id").expect("a name").to_owned();
    let log = fleet.proxy_log();
    for name in ["abc-2", &given] {
        let line = log
            .lines()
            .find(|line| line.contains(&format!("\"request\":\"{name}\"")));
        let line: serde_json::Value = serde_json::from_str(line.expect("a line")).expect("JSON");
        assert_eq!(line["fields"]["status"], 503, "{line}");
    }
}
