//! What clients see while parts of a fleet are dead, and that nothing accepted is lost.

use std::collections::HashSet;
use std::time::Duration;

use miroir_tests::fleet::{Fleet, Lone, Plan};
use miroir_tests::http::{until, Target};
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(30);
const DOCUMENTS: usize = 60;

#[test]
fn a_search_names_the_shards_that_are_gone() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = filled(&fleet);
    fleet.nodes[1].kill();

    let answer = proxy
        .send_json("POST", "/indexes/things/search", &json!({"q": ""}))
        .expect("an answer");
    assert_eq!(
        (answer.status, answer.code()),
        (503, Some("miroir_shard_unavailable")),
        "{}",
        answer.body
    );
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(
        message.contains(|c: char| c.is_ascii_digit()),
        "no shard is named: {message}"
    );
    let answer = federated(&proxy);
    assert_eq!(
        (answer.status, answer.code()),
        (503, Some("miroir_shard_unavailable")),
        "{}",
        answer.body
    );
    let answer = proxy
        .get("/indexes/things/documents?limit=100")
        .expect("an answer");
    assert_eq!(
        (answer.status, answer.code()),
        (503, Some("miroir_shard_unavailable")),
        "{}",
        answer.body
    );
    assert_eq!(
        proxy.get("/health").map(|a| a.status),
        Ok(200),
        "the proxy itself is well"
    );

    fleet.nodes[1].start();
    until("searches to work again", PATIENCE, || {
        total(&proxy) == Some(DOCUMENTS)
    });
}

/// A federated search that finds every document, half of them by two queries.
fn federated(proxy: &Target) -> miroir_tests::http::Answer {
    let queries = json!([{"indexUid": "things"}, {"indexUid": "things", "q": "thing"}]);
    let body = json!({"federation": {"limit": 100}, "queries": queries});
    proxy
        .send_json("POST", "/multi-search", &body)
        .expect("an answer")
}

#[test]
fn partial_answers_say_that_they_are() {
    let mut fleet = Fleet::start(Plan {
        extra: "unavailable_shard_policy: partial".into(),
        ..Plan::default()
    });
    let proxy = filled(&fleet);
    let whole = proxy.get("/indexes/things/search?q=").expect("an answer");
    assert_eq!(whole.header("x-miroir-degraded"), None);
    fleet.nodes[1].kill();

    let answer = proxy
        .get("/indexes/things/search?q=&limit=100")
        .expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(
        answer.header("x-miroir-degraded").is_some(),
        "a partial answer does not say so: {:?}",
        answer.headers
    );
    let shards = answer.header("x-miroir-degraded").map(str::to_owned);
    let hits = answer.body["hits"].as_array().map_or(0, Vec::len);
    assert!(hits > 0 && hits < DOCUMENTS, "{hits} of {DOCUMENTS}");
    let answer = federated(&proxy);
    let several = shards.map(|shards| format!("things:{shards}"));
    assert_eq!(
        answer.header("x-miroir-degraded"),
        several.as_deref(),
        "{}",
        answer.body
    );
    assert_eq!(answer.body["hits"].as_array().map_or(0, Vec::len), hits);

    fleet.nodes[1].start();
    until("whole answers again", PATIENCE, || {
        proxy
            .get("/indexes/things/search?q=&limit=100")
            .is_ok_and(|a| {
                a.header("x-miroir-degraded").is_none()
                    && a.body["hits"].as_array().map(Vec::len) == Some(DOCUMENTS)
            })
    });
}

#[test]
fn a_write_without_quorum_stores_nothing() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = filled(&fleet);
    fleet.nodes[2].kill();

    let more: Vec<Value> = (1000..1060)
        .map(|i| json!({"id": i, "name": "late"}))
        .collect();
    let answer = proxy
        .send_json("POST", "/indexes/things/documents", &json!(more))
        .expect("an answer");
    assert_eq!(
        (answer.status, answer.code()),
        (503, Some("miroir_no_quorum")),
        "{}",
        answer.body
    );

    fleet.nodes[2].start();
    until("searches to work again", PATIENCE, || {
        total(&proxy).is_some()
    });
    assert_eq!(
        total(&proxy),
        Some(DOCUMENTS),
        "a refused write left something behind"
    );
    let task = proxy
        .write("POST", "/indexes/things/documents", &json!(more))
        .expect("writes work again");
    assert_eq!(task["status"], "succeeded", "{task}");
    assert_eq!(total(&proxy), Some(DOCUMENTS + 60));
}

#[test]
fn with_two_copies_one_dead_node_is_not_noticed_by_searches() {
    let mut fleet = Fleet::start(Plan {
        replication_factor: 2,
        ..Plan::default()
    });
    let proxy = filled(&fleet);
    fleet.nodes[0].kill();
    let answer = federated(&proxy);
    let hits = answer.body["hits"].as_array().map_or(0, Vec::len);
    assert_eq!((answer.status, hits), (200, DOCUMENTS), "{}", answer.body);
    until("searches to be whole", PATIENCE, || {
        total(&proxy) == Some(DOCUMENTS)
    });
    let ids = ids(&proxy);
    assert_eq!(ids.len(), DOCUMENTS, "every document once");
}

#[test]
fn killing_a_node_while_it_indexes_loses_no_accepted_task() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = filled(&fleet);
    let mut tasks = Vec::new();
    for batch in 0..30 {
        let documents: Vec<Value> = (0..25).map(|i| json!({"id": 10_000 + batch * 25 + i, "name": format!("word{i} in batch {batch}")})).collect();
        let answer = proxy
            .send_json("POST", "/indexes/things/documents", &json!(documents))
            .expect("an answer");
        assert_eq!(answer.status, 202, "{}", answer.body);
        tasks.push(answer.body["taskUid"].as_u64().expect("a task"));
    }
    fleet.nodes[0].kill();
    fleet.nodes[0].start();
    for uid in tasks {
        let task = proxy.wait_task(uid).expect("the task ends");
        assert_eq!(task["status"], "succeeded", "{task}");
    }
    until("every document to be found", PATIENCE, || {
        total(&proxy) == Some(DOCUMENTS + 750)
    });
}

#[test]
fn a_killed_proxy_knows_its_tasks_and_indexes_again() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = filled(&fleet);
    proxy
        .write("PUT", "/indexes/things/settings/stop-words", &json!(["of"]))
        .expect("settings");
    let mut tasks = Vec::new();
    for batch in 0..20 {
        let documents: Vec<Value> = (0..20)
            .map(|i| json!({"id": 5_000 + batch * 20 + i, "name": "kept"}))
            .collect();
        let answer = proxy
            .send_json("POST", "/indexes/things/documents", &json!(documents))
            .expect("an answer");
        tasks.push(
            answer.body["taskUid"]
                .as_u64()
                .unwrap_or_else(|| panic!("{}", answer.body)),
        );
    }
    fleet.kill_proxy();
    fleet.start_proxy();

    for &uid in &tasks {
        let task = proxy.wait_task(uid).expect("the task is known and ends");
        assert_eq!(
            (task["status"].as_str(), task["indexUid"].as_str()),
            (Some("succeeded"), Some("things")),
            "{task}"
        );
    }
    let index = proxy.get("/indexes/things").expect("an answer");
    assert_eq!(
        (index.status, index.body["primaryKey"].as_str()),
        (200, Some("id")),
        "{}",
        index.body
    );
    let words = proxy
        .get("/indexes/things/settings/stop-words")
        .expect("an answer");
    assert_eq!(words.body, json!(["of"]));
    until("every document to be found", PATIENCE, || {
        total(&proxy) == Some(DOCUMENTS + 400)
    });
    let next = proxy
        .send_json("POST", "/indexes/things/documents", &json!([{"id": 1}]))
        .expect("an answer");
    let next = next.body["taskUid"].as_u64().expect("a task");
    assert!(
        tasks.iter().all(|&t| t < next),
        "task ids began again: {next}"
    );
}

#[test]
fn a_stopped_proxy_answers_what_it_had_begun_and_ends() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = filled(&fleet);
    assert_eq!(total(&proxy), Some(DOCUMENTS));
    assert!(
        fleet.stop_proxy(Duration::from_secs(20)),
        "SIGTERM does not end it"
    );
    fleet.start_proxy();
    assert_eq!(total(&proxy), Some(DOCUMENTS));
}

#[test]
fn a_lone_node_killed_again_and_again_loses_no_accepted_task() {
    let mut lone = Lone::start();
    let node = lone.target();
    let mut sent = HashSet::new();
    let mut tasks = Vec::new();
    for round in 0..5u64 {
        for batch in 0..10u64 {
            let id = round * 10 + batch;
            let answer = node
                .send_json(
                    "POST",
                    "/indexes/things/documents?primaryKey=id",
                    &json!([{"id": id, "name": format!("word {id}")}]),
                )
                .expect("an answer");
            assert_eq!(answer.status, 202, "{}", answer.body);
            sent.insert(id);
            tasks.push(answer.body["taskUid"].as_u64().expect("a task"));
        }
        lone.node.kill();
        lone.node.start();
    }
    for uid in tasks {
        let task = node.wait_task(uid).expect("the task is known and ends");
        assert_eq!(task["status"], "succeeded", "{task}");
    }
    assert_eq!(ids(&node), sent);
}

/// An index `things` with documents on every shard.
fn filled(fleet: &Fleet) -> Target {
    let proxy = fleet.target("proxy");
    let documents: Vec<Value> = (0..DOCUMENTS)
        .map(|i| json!({"id": i, "name": format!("thing number {i}")}))
        .collect();
    let task = proxy
        .write(
            "POST",
            "/indexes/things/documents?primaryKey=id",
            &json!(documents),
        )
        .expect("documents are added");
    assert_eq!(task["status"], "succeeded", "{task}");
    assert_eq!(total(&proxy), Some(DOCUMENTS));
    proxy
}

/// How many documents a search finds; `None` where it is refused.
fn total(target: &Target) -> Option<usize> {
    let answer = target
        .send_json("POST", "/indexes/things/search", &json!({"hitsPerPage": 1}))
        .ok()?;
    (answer.status == 200).then(|| answer.body["totalHits"].as_u64().unwrap_or(0) as usize)
}

fn ids(target: &Target) -> HashSet<u64> {
    let answer = target
        .get("/indexes/things/documents?limit=1000")
        .expect("an answer");
    let list = answer.body["results"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", answer.body))
        .clone();
    let ids: HashSet<u64> = list.iter().filter_map(|d| d["id"].as_u64()).collect();
    assert_eq!(ids.len(), list.len(), "a document came twice");
    ids
}
