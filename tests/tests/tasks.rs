//! Cancelling and deleting tasks, batches, and the features that clients switch.

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::http::{Call, Target};
use serde_json::{json, Value};

fn ask(proxy: &Target, method: &str, path: &str) -> (u16, Value) {
    let answer = proxy.call(&Call::new(method, path)).expect("an answer");
    (answer.status, answer.body)
}

fn finished(proxy: &Target, summary: &Value) -> Value {
    let uid = summary["taskUid"].as_u64().expect("a task");
    proxy.wait_task(uid).expect("the task")
}

#[test]
fn tasks_are_cancelled_deleted_and_seen_as_batches() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = fleet.target("proxy");
    let mut sent = Vec::new();
    for round in 0..30 {
        let documents: Vec<Value> = (0..300)
            .map(|i| json!({"id": i, "text": format!("word{} of round {round}", i * round)}))
            .collect();
        let path = "/indexes/films/documents?primaryKey=id&customMetadata=mine";
        let answer = proxy
            .send_json("POST", path, &json!(documents))
            .expect("an answer");
        sent.push(answer.body["taskUid"].as_u64().expect("a task"));
    }
    let (status, summary) = ask(
        &proxy,
        "POST",
        "/tasks/cancel?indexUids=films&statuses=enqueued,processing",
    );
    assert_eq!((status, &summary["type"]), (200, &json!("taskCancelation")));
    assert_eq!(summary.as_object().map(serde_json::Map::len), Some(5));
    let cancelation = finished(&proxy, &summary);
    assert_eq!(cancelation["status"], "succeeded", "{cancelation}");
    assert_eq!(
        cancelation["details"]["originalFilter"],
        "?indexUids=films&statuses=enqueued,processing"
    );
    let by = cancelation["uid"].as_u64().expect("a uid");
    let mut canceled = 0;
    for uid in sent {
        let task = proxy.wait_task(uid).expect("a task");
        match task["status"].as_str() {
            Some("succeeded") => assert_eq!(task["canceledBy"], Value::Null),
            Some("canceled") => {
                canceled += 1;
                assert_eq!(task["canceledBy"], by);
                assert_eq!(task["details"]["indexedDocuments"], 0);
                assert_eq!(task["error"], Value::Null);
            }
            other => panic!("{other:?}: {task}"),
        }
        assert_eq!(task["customMetadata"], "mine");
    }
    assert_eq!(cancelation["details"]["canceledTasks"], canceled);
    let (_, listed) = ask(&proxy, "GET", &format!("/tasks?canceledBy={by}&limit=1"));
    assert_eq!(listed["total"], canceled);

    let (status, refused) = ask(&proxy, "DELETE", "/tasks");
    assert_eq!(
        (status, &refused["code"]),
        (400, &json!("missing_task_filters"))
    );
    let (_, batches) = ask(
        &proxy,
        "GET",
        "/batches?limit=2&types=documentAdditionOrUpdate",
    );
    let batch = &batches["results"][0];
    assert_eq!(batches["results"].as_array().map(Vec::len), Some(2));
    assert!(
        matches!(batch.as_object().map(serde_json::Map::len), Some(7 | 8)),
        "{batch}"
    );
    assert_eq!(batch["stats"]["totalNbTasks"], 1);
    assert_eq!(batch["stats"]["indexUids"], json!({"films": 1}));
    let (_, task) = ask(&proxy, "GET", &format!("/tasks/{}", batch["uid"]));
    assert_eq!(task["batchUid"], batch["uid"]);
    let (status, one) = ask(&proxy, "GET", &format!("/batches/{}", batch["uid"]));
    assert_eq!((status, &one), (200, batch));
    assert_eq!(
        ask(&proxy, "GET", "/batches/424242").1["code"],
        "batch_not_found"
    );
    assert_eq!(
        ask(&proxy, "GET", "/batches/x").1["code"],
        "invalid_batch_uids"
    );

    let (status, summary) = ask(&proxy, "DELETE", "/tasks?types=documentAdditionOrUpdate");
    assert_eq!(status, 200);
    let deletion = finished(&proxy, &summary);
    assert_eq!(deletion["details"]["matchedTasks"], 30);
    assert_eq!(deletion["details"]["deletedTasks"], 30);
    fleet.kill_proxy();
    fleet.start_proxy();
    let proxy = fleet.target("proxy");
    let (_, rest) = ask(&proxy, "GET", "/tasks");
    assert_eq!(rest["total"], 2, "{rest}");
    proxy
        .write(
            "POST",
            "/indexes/films/documents",
            &json!([{"id": 1, "text": "again"}]),
        )
        .expect("a write");
}

#[test]
fn features_are_the_clients_own_and_routes_that_mean_nothing_say_so() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = fleet.target("proxy");
    let features = |proxy: &Target| ask(proxy, "GET", "/experimental-features").1;
    assert_eq!(features(&proxy)["network"], false);
    let set = json!({"metrics": true, "network": false});
    let answer = proxy
        .send_json("PATCH", "/experimental-features", &set)
        .expect("an answer");
    assert_eq!(
        (answer.status, &answer.body["metrics"]),
        (200, &json!(true))
    );
    assert_eq!(answer.body["network"], false);
    fleet.kill_proxy();
    fleet.start_proxy();
    let proxy = fleet.target("proxy");
    assert_eq!(features(&proxy)["metrics"], true);
    let unknown = json!({"dogs": true});
    let answer = proxy
        .send_json("PATCH", "/experimental-features", &unknown)
        .expect("an answer");
    assert_eq!((answer.status, answer.code()), (400, Some("bad_request")));
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/network"),
        ("POST", "/network/control"),
        ("GET", "/chats"),
        ("POST", "/logs/stream"),
        ("GET", "/tasks/0/documents"),
        ("POST", "/tasks/compact"),
        ("POST", "/render-template"),
        ("POST", "/dynamic-search-rules"),
    ] {
        let (status, body) = ask(&proxy, method, path);
        assert_eq!(
            (status, &body["code"]),
            (400, &json!("feature_not_enabled")),
            "{path}"
        );
    }
}
