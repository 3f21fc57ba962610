//! What only a cluster can show: the reserved field, refusals of what is not there yet, the admin routes, what the log says.

use miroir_tests::fleet::{Fleet, Plan, MASTER_KEY, NODE_KEY};
use miroir_tests::http::{Call, Target};
use serde_json::{json, Value};

#[test]
fn the_reserved_field_is_refused_and_never_shows() {
    let fleet = Fleet::start(Plan::default());
    let proxy = fleet.target("proxy");
    let films: Vec<Value> = (0..40)
        .map(|i| json!({"id": i, "title": format!("film {i}")}))
        .collect();
    proxy
        .write(
            "POST",
            "/indexes/films/documents?primaryKey=id",
            &json!(films),
        )
        .expect("documents");
    let settings = json!({"filterableAttributes": ["*"], "sortableAttributes": ["id"]});
    proxy
        .write("PATCH", "/indexes/films/settings", &settings)
        .expect("settings");

    let accepted = std::cell::RefCell::new(Vec::new());
    let refused = |method: &str, path: &str, body: &Value| {
        let answer = proxy.send_json(method, path, body).expect("an answer");
        if !matches!(answer.status, 400..=499) || answer.code().is_none() {
            accepted
                .borrow_mut()
                .push(format!("{method} {path} {body}: {}", answer.status));
        }
    };
    refused(
        "POST",
        "/indexes/films/documents",
        &json!([{"id": 1, "_miroir_shard": "x"}]),
    );
    refused(
        "PUT",
        "/indexes/films/documents",
        &json!([{"id": 1, "_miroir_shard": null}]),
    );
    refused(
        "POST",
        "/indexes/films/search",
        &json!({"filter": "_miroir_shard EXISTS"}),
    );
    refused(
        "POST",
        "/indexes/films/search",
        &json!({"sort": ["_miroir_shard:asc"]}),
    );
    refused(
        "POST",
        "/indexes/films/search",
        &json!({"distinct": "_miroir_shard"}),
    );
    refused(
        "PUT",
        "/indexes/films/settings/filterable-attributes",
        &json!(["_miroir_shard"]),
    );
    refused(
        "PATCH",
        "/indexes/films/settings",
        &json!({"distinctAttribute": "_miroir_shard"}),
    );

    let accepted = accepted.into_inner();
    assert!(accepted.is_empty(), "not refused:\n{}", accepted.join("\n"));

    for path in [
        "/indexes/films/documents?limit=50",
        "/indexes/films/documents/7",
        "/indexes/films/search?q=film&attributesToHighlight=*&attributesToRetrieve=*&facets=*",
        // under the rule `*` any name may be asked for; what no document has comes back empty
        "/indexes/films/search?facets=_miroir_shard&limit=1",
        "/indexes/films/settings",
        "/indexes/films/stats",
        "/stats",
        "/tasks?limit=100",
        "/indexes",
    ] {
        let answer = proxy.get(path).expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(
            !answer.body.to_string().contains("_miroir_shard"),
            "{path} shows it: {}",
            answer.body
        );
    }
}

#[test]
fn what_is_not_there_yet_says_so() {
    let fleet = Fleet::start(Plan {
        nodes: 1,
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let films = json!([{ "id": 1, "title": "Metropolis" }]);
    proxy
        .write("POST", "/indexes/films/documents", &films)
        .expect("a write");
    let features = json!({ "editDocumentsByFunction": true });
    let switched = proxy.send_json("PATCH", "/experimental-features", &features);
    assert_eq!(switched.expect("an answer").status, 200);
    let body = json!({ "function": "exit(1);" });
    let answer = proxy
        .send_json("POST", "/indexes/films/documents/edit", &body)
        .expect("an answer");
    assert_eq!(
        (answer.status, answer.code()),
        (501, Some("miroir_not_implemented")),
        "{}",
        answer.body
    );
    let members = ["message", "code", "type", "link"];
    assert!(
        members.iter().all(|m| answer.body[m].is_string()),
        "not Meilisearch's form: {}",
        answer.body
    );
}

#[test]
fn admin_routes_want_the_admin_key() {
    let fleet = Fleet::start(Plan {
        nodes: 1,
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let with = |key: &str| Target {
        key: key.into(),
        ..proxy.clone()
    };
    let ready = proxy.get("/_miroir/ready").expect("an answer");
    assert_eq!(ready.status, 200, "{}", ready.body);
    let topology = proxy.get("/_miroir/topology").expect("an answer");
    assert_eq!(topology.status, 200, "{}", topology.body);
    assert!(
        topology.body.to_string().contains("meili-0"),
        "{}",
        topology.body
    );
    let refused = with("wrong").get("/_miroir/topology").expect("an answer");
    assert!(matches!(refused.status, 401 | 403), "{}", refused.body);
    let call = Call {
        anonymous: true,
        ..Call::new("GET", "/_miroir/topology")
    };
    assert!(matches!(proxy.call(&call).map(|a| a.status), Ok(401 | 403)));
}

#[test]
fn the_log_names_the_driver_and_no_secret() {
    let fleet = Fleet::start(Plan::default());
    let proxy = fleet.target("proxy");
    proxy
        .write("POST", "/indexes", &json!({"uid": "films"}))
        .expect("an index");
    let _ = Target {
        key: "a-wrong-key-that-somebody-typed".into(),
        ..proxy.clone()
    }
    .get("/indexes");
    let log = fleet.proxy_log();
    let driver = std::env::var("MIROIR_DRIVER").unwrap_or_default();
    assert!(
        log.contains("io_uring") || log.contains("epoll"),
        "which driver runs? {log}"
    );
    assert!(
        driver != "epoll" || log.contains("epoll"),
        "epoll was forced: {log}"
    );
    for secret in [MASTER_KEY, NODE_KEY, "a-wrong-key-that-somebody-typed"] {
        assert!(!log.contains(secret), "the log shows a key: {log}");
    }
}

/// One node works through the tasks of an index in their order, and programs rely on it: they send many batches and wait for the last.
#[test]
fn a_finished_task_means_that_the_earlier_ones_of_its_index_are_finished() {
    let fleet = Fleet::start(Plan::default());
    let proxy = fleet.target("proxy");
    let text = |i: usize| {
        (0..12)
            .map(|w| format!("word{}", (i * 31 + w * 7) % 997))
            .collect::<Vec<_>>()
            .join(" ")
    };
    for round in 0..4 {
        let index = format!("films-{round}");
        let path = format!("/indexes/{index}/documents?primaryKey=id");
        for batch in 0..16 {
            let documents: Vec<Value> = (batch * 200..batch * 200 + 200)
                .map(|i| json!({"id": i, "text": text(i)}))
                .collect();
            let answer = proxy.send_json("POST", &path, &json!(documents));
            assert_eq!(answer.as_ref().map(|a| a.status), Ok(202), "{answer:?}");
        }
        // one document lies on one node, which may have less to do than the others
        let last = proxy
            .write("POST", &path, &json!([{"id": 100_000 + round}]))
            .expect("a task");
        let waiting = format!("/tasks?indexUids={index}&statuses=enqueued,processing");
        let earlier = proxy.get(&waiting).expect("an answer");
        assert_eq!(
            earlier.body["total"], 0,
            "task {} is finished, these are not: {}",
            last["uid"], earlier.body
        );
        let stats = proxy
            .get(&format!("/indexes/{index}/stats"))
            .expect("an answer");
        assert_eq!(stats.body["numberOfDocuments"], 3201, "{}", stats.body);
    }
}
