//! Swapping indexes: names move, documents stay where they are, in order with the writes before and after.

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::http::Target;
use serde_json::{json, Value};

fn titles(proxy: &Target, index: &str) -> Vec<String> {
    let answer = proxy
        .get(&format!("/indexes/{index}/documents?limit=100"))
        .expect("an answer");
    let mut titles: Vec<String> = answer.body["results"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", answer.body))
        .iter()
        .map(|document| {
            assert!(document.get("_miroir_shard").is_none());
            document["title"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    titles.sort();
    titles
}

fn send(proxy: &Target, method: &str, path: &str, body: &Value) -> u64 {
    let answer = proxy.send_json(method, path, body).expect("an answer");
    answer.body["taskUid"]
        .as_u64()
        .unwrap_or_else(|| panic!("{method} {path}: {} {}", answer.status, answer.body))
}

#[test]
fn a_swap_takes_its_place_among_the_writes_and_outlives_a_restart() {
    let mut fleet = Fleet::start(Plan::default());
    let proxy = fleet.target("proxy");
    let add = |index: &str, id: u64, title: &str| {
        let path = format!("/indexes/{index}/documents?primaryKey=id");
        send(&proxy, "POST", &path, &json!([{"id": id, "title": title}]))
    };
    // Nothing is waited for: the order of acceptance decides.
    add("a", 1, "first of a");
    add("b", 2, "first of b");
    let earlier = add("a", 3, "second of a");
    let swap = send(
        &proxy,
        "POST",
        "/swap-indexes",
        &json!([{"indexes": ["a", "b"]}]),
    );
    let later = add("a", 4, "to the new a");
    let done = proxy.wait_task(later).expect("the task");
    assert_eq!(done["status"], "succeeded");
    let task = proxy.wait_task(swap).expect("the swap");
    assert_eq!(task["status"], "succeeded", "{task}");
    assert_eq!(task["indexUid"], Value::Null);
    assert_eq!(task["details"]["swaps"][0]["indexes"], json!(["a", "b"]));
    assert_eq!(titles(&proxy, "a"), ["first of b", "to the new a"]);
    assert_eq!(titles(&proxy, "b"), ["first of a", "second of a"]);
    // History speaks with the new names.
    assert_eq!(proxy.wait_task(earlier).expect("a task")["indexUid"], "b");
    assert_eq!(done["indexUid"], "a");

    let found = proxy
        .send_json("POST", "/indexes/b/search", &json!({"q": "second"}))
        .expect("an answer");
    assert_eq!(found.body["hits"][0]["id"], 3);
    let refused = proxy
        .send_json(
            "POST",
            "/indexes/b/search",
            &json!({"filter": "nowhere = 1"}),
        )
        .expect("an answer");
    assert_eq!(refused.status, 400, "{}", refused.body);
    let both =
        json!({"queries": [{"indexUid": "a", "q": "first"}, {"indexUid": "b", "q": "first"}]});
    let found = proxy
        .send_json("POST", "/multi-search", &both)
        .expect("an answer");
    assert_eq!(found.body["results"][0]["indexUid"], "a");
    assert_eq!(found.body["results"][0]["hits"][0]["id"], 2);
    assert_eq!(found.body["results"][1]["hits"][0]["id"], 1);
    let stats = proxy.get("/stats").expect("an answer");
    assert_eq!(stats.body["indexes"]["a"]["numberOfDocuments"], 2);
    let settings = json!({"filterableAttributes": ["title"]});
    proxy
        .write("PATCH", "/indexes/a/settings", &settings)
        .expect("settings");
    let seen = |index: &str| {
        let path = format!("/indexes/{index}/settings/filterable-attributes");
        proxy.get(&path).expect("an answer").body
    };
    assert_eq!((seen("a"), seen("b")), (json!(["title"]), json!([])));

    fleet.kill_proxy();
    fleet.start_proxy();
    let proxy = fleet.target("proxy");
    assert_eq!(titles(&proxy, "a"), ["first of b", "to the new a"]);
    proxy
        .write("DELETE", "/indexes/a", &Value::Null)
        .expect("deleted");
    assert_eq!(titles(&proxy, "b"), ["first of a", "second of a"]);
    // The name is free again, although a node's index is called so.
    proxy
        .write(
            "POST",
            "/indexes/a/documents?primaryKey=id",
            &json!([{"id": 9, "title": "anew"}]),
        )
        .expect("documents");
    assert_eq!(titles(&proxy, "a"), ["anew"]);
    assert_eq!(titles(&proxy, "b"), ["first of a", "second of a"]);
}

#[test]
fn a_swap_that_cannot_be_fails_and_changes_nothing() {
    let fleet = Fleet::start(Plan::default());
    let proxy = fleet.target("proxy");
    for index in ["a", "b"] {
        proxy
            .write("POST", "/indexes", &json!({"uid": index}))
            .expect("created");
    }
    let swap = |body: Value| {
        let task = send(&proxy, "POST", "/swap-indexes", &body);
        proxy.wait_task(task).expect("the task")
    };
    let task = swap(json!([{"indexes": ["a", "b"]}, {"indexes": ["c", "d"]}]));
    assert_eq!(task["error"]["message"], "Indexes `c`, `d` not found.");
    let task = swap(json!([{"indexes": ["a", "z"]}]));
    assert_eq!(task["error"]["message"], "Index `z` not found.");
    assert_eq!(task["status"], "failed");
    assert_eq!(swap(json!([]))["status"], "succeeded");
}
