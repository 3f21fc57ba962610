//! API keys: what is answered is on disk and in the published table.

use miroir_auth::routes::Needs;
use miroir_auth::{derive, Action};
use serde_json::{json, Value};
use time::OffsetDateTime;

use crate::cluster::Cluster;

const MASTER: &str = "client-key";

fn opens(cluster: &Cluster, key: &Value, action: Action, index: &str) -> bool {
    let header = format!("Bearer {}", key["key"].as_str().unwrap());
    let table = cluster.control().publisher().current();
    let now = OffsetDateTime::now_utc();
    let decided = table
        .keys
        .authorise(Needs::One(action), Some(index), Some(&header), now);
    decided.is_ok()
}

#[test]
fn a_fresh_cluster_has_the_default_keys_and_keeps_them() {
    let mut cluster = Cluster::new(1, 1);
    let (status, before) = cluster.call("GET", "/keys", None);
    assert_eq!((status, &before["total"]), (200, &json!(4)));
    let shown: Vec<(&str, &Value)> = before["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (key["name"].as_str().unwrap(), &key["actions"]))
        .collect();
    assert_eq!(
        shown,
        [
            ("Default Search API Key", &json!(["search"])),
            ("Default Admin API Key", &json!(["*"])),
            (
                "Default Read-Only Admin API Key",
                &json!(["*.get", "keys.get"])
            ),
            (
                "Default Chat API Key",
                &json!(["chatCompletions", "search"])
            ),
        ]
    );
    let search = &before["results"][0];
    let uid = search["uid"].as_str().unwrap().parse().unwrap();
    assert_eq!(search["key"], derive(MASTER, uid));
    assert!(opens(&cluster, search, Action::Search, "any"));
    assert!(!opens(&cluster, search, Action::DocumentsGet, "any"));

    cluster.stop();
    cluster.start().unwrap();
    assert_eq!(cluster.call("GET", "/keys", None).1, before);
}

#[test]
fn a_change_is_in_force_when_it_is_answered() {
    let mut cluster = Cluster::new(1, 1);
    let uid = "4bc0887a-0e41-4f3b-935d-0c451dcee9c8";
    let body = json!({
        "uid": uid, "name": "n", "actions": ["documents.*"], "indexes": ["film*"], "expiresAt": "2050-11-13 10:00:00",
    });
    let (status, mut key) = cluster.call("POST", "/keys", Some(body.clone()));
    assert_eq!(status, 201);
    assert!(opens(&cluster, &key, Action::DocumentsAdd, "films"));
    assert!(!opens(&cluster, &key, Action::DocumentsAdd, "songs"));
    let text = key["key"].as_str().unwrap().to_owned();
    let text = text.as_str();
    let expected = json!({
        "name": "n", "description": null, "key": text, "uid": uid, "actions": ["documents.*"], "indexes": ["film*"],
        "expiresAt": "2050-11-13T10:00:00Z", "createdAt": key["createdAt"], "updatedAt": key["createdAt"],
    });
    assert_eq!(key, expected);
    assert_eq!(
        key.to_string(),
        expected.to_string(),
        "the order of the members"
    );

    let (status, error) = cluster.call("POST", "/keys", Some(body));
    assert_eq!(
        (status, &error["code"]),
        (409, &json!("api_key_already_exists"))
    );

    for name in [uid, text] {
        let path = format!("/keys/{name}");
        assert_eq!(cluster.call("GET", &path, None), (200, key.clone()));
        let patch = json!({ "name": null, "description": name });
        let (status, patched) = cluster.call("PATCH", &path, Some(patch));
        assert_eq!(status, 200);
        assert_eq!(
            (&patched["name"], &patched["description"]),
            (&json!(null), &json!(name))
        );
        assert!(patched["updatedAt"].as_str() > patched["createdAt"].as_str());
        cluster.call(
            "PATCH",
            &path,
            Some(json!({ "name": "n", "description": null })),
        );
        let (_, again) = cluster.call("GET", &path, None);
        key["updatedAt"] = again["updatedAt"].clone();
        assert_eq!(again, key);
    }
    cluster.stop();
    cluster.start().unwrap();
    assert!(opens(&cluster, &key, Action::DocumentsAdd, "films"));

    let path = format!("/keys/{text}");
    assert_eq!(cluster.call("DELETE", &path, None), (204, Value::Null));
    assert!(!opens(&cluster, &key, Action::DocumentsAdd, "films"));
    for method in ["GET", "DELETE", "PATCH"] {
        let body = (method == "PATCH").then(|| json!({}));
        let (status, error) = cluster.call(method, &path, body);
        assert_eq!(
            (status, &error["code"]),
            (404, &json!("api_key_not_found")),
            "{method}"
        );
        assert_eq!(error["message"], format!("API key `{text}` not found."));
    }
}

#[test]
fn lists_page_and_refuse_as_meilisearch_does() {
    let cluster = Cluster::new(1, 1);
    let (_, page) = cluster.call("GET", "/keys?offset=1&limit=2", None);
    assert_eq!(
        (&page["offset"], &page["limit"], &page["total"]),
        (&json!(1), &json!(2), &json!(4))
    );
    assert_eq!(page["results"][0]["name"], "Default Admin API Key");
    assert_eq!(page["results"].as_array().unwrap().len(), 2);
    for (query, code, message) in [
        (
            "offset=doggo",
            "invalid_api_key_offset",
            "Invalid value in parameter `offset`: could not parse `doggo` as a positive integer",
        ),
        (
            "limit=doggo",
            "invalid_api_key_limit",
            "Invalid value in parameter `limit`: could not parse `doggo` as a positive integer",
        ),
        (
            "doggo=no_thanks",
            "bad_request",
            "Unknown parameter `doggo`: expected one of `offset`, `limit`",
        ),
    ] {
        let (status, error) = cluster.call("GET", &format!("/keys?{query}"), None);
        assert_eq!(
            (status, &error["code"], &error["message"]),
            (400, &json!(code), &json!(message))
        );
    }
}
