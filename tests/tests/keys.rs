//! Keys and tenant tokens on a whole cluster: in force when they are answered, on every core, for every route.

use std::time::Duration;

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::http::{until, Answer, Call, Target};
use miroir_tests::token::tenant_token;
use serde_json::{json, Value};

/// The fleet's target, asked with another key.
fn with_key(target: &Target, key: &str) -> Target {
    Target {
        key: key.to_owned(),
        ..target.clone()
    }
}

fn ask(target: &Target, method: &str, path: &str, body: Value) -> Answer {
    let call = match body {
        Value::Null => Call::new(method, path),
        body => Call::json(method, path, &body),
    };
    target.call(&call).expect("an answer")
}

fn new_key(master: &Target, actions: Value, indexes: Value, expires_at: Value) -> Value {
    let body = json!({ "actions": actions, "indexes": indexes, "expiresAt": expires_at });
    let answer = ask(master, "POST", "/keys", body);
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn token(key: &Value, rules: Value) -> String {
    tenant_token(text(&key["key"]), text(&key["uid"]), &rules, None)
}

/// Two indexes of 30 documents, of which each user owns a third.
fn fleet_with_documents() -> Fleet {
    let fleet = Fleet::start(Plan::default());
    let master = fleet.target("proxy");
    let documents: Vec<Value> = (0..30)
        .map(|id| json!({ "id": id, "title": format!("film {id}"), "user": id % 3, "owner": format!("u{}", id % 3) }))
        .collect();
    for index in ["films", "songs"] {
        let settings = json!({ "filterableAttributes": ["user", "id", "owner"] });
        let path = format!("/indexes/{index}");
        master
            .write("PATCH", &format!("{path}/settings"), &settings)
            .expect("settings");
        master
            .write("POST", &format!("{path}/documents"), &json!(documents))
            .expect("documents");
    }
    fleet
}

/// The indexes that a list names: those listed, or those that the tasks listed are about.
fn uids(answer: &Answer) -> Vec<&str> {
    let results = answer.body["results"].as_array().expect("a list");
    let uid = |item: &'_ Value| item["indexUid"].is_string();
    let name = |item| if uid(item) { "indexUid" } else { "uid" };
    results.iter().map(|item| text(&item[name(item)])).collect()
}

#[test]
fn a_key_opens_what_it_names_until_it_ends() {
    let mut fleet = fleet_with_documents();
    let master = fleet.target("proxy");

    // The default keys are found by their names.
    let keys = ask(&master, "GET", "/keys", Value::Null).body;
    let named = |name: &str| {
        let all = keys["results"].as_array().expect("keys");
        let key = all.iter().find(|key| text(&key["name"]).contains(name));
        with_key(&master, text(&key.expect(name)["key"]))
    };
    let (search, reader) = (named("Search"), named("Read-Only"));
    assert_eq!(
        ask(&search, "POST", "/indexes/films/search", json!({})).status,
        200
    );
    assert_eq!(
        ask(&search, "GET", "/indexes/films/documents", Value::Null).status,
        403
    );
    assert_eq!(ask(&reader, "GET", "/keys", Value::Null).status, 200);
    assert_eq!(
        ask(
            &reader,
            "POST",
            "/keys",
            json!({ "actions": ["*"], "indexes": ["*"], "expiresAt": null })
        )
        .status,
        403
    );

    // A key for some indexes sees these in every list, and makes none.
    let actions = json!([
        "search",
        "documents.*",
        "settings.update",
        "indexes.get",
        "tasks.get",
        "stats.get"
    ]);
    let key = new_key(&master, actions, json!(["film*"]), Value::Null);
    let films = with_key(&master, text(&key["key"]));
    assert_eq!(
        uids(&ask(&films, "GET", "/indexes", Value::Null)),
        ["films"]
    );
    let tasks = ask(&films, "GET", "/tasks", Value::Null);
    assert_eq!(uids(&tasks), ["films", "films"]);
    assert_eq!(
        ask(&films, "GET", "/tasks/3", Value::Null).code(),
        Some("task_not_found")
    );
    let stats = ask(&films, "GET", "/stats", Value::Null).body;
    let shown: Vec<&String> = stats["indexes"]
        .as_object()
        .expect("indexes")
        .keys()
        .collect();
    assert_eq!(shown, ["films"]);
    let refused = ask(&films, "GET", "/indexes/songs/documents", Value::Null);
    assert_eq!(
        (refused.status, &refused.body["message"]),
        (
            403,
            &json!(
                "The API key cannot acces the index `songs`, authorized indexes are [\"film*\"]."
            )
        )
    );
    for (method, path, body) in [
        ("POST", "/indexes/film-2/documents", json!([{ "id": 1 }])),
        (
            "PATCH",
            "/indexes/film-2/settings",
            json!({ "stopWords": ["a"] }),
        ),
    ] {
        let accepted = ask(&films, method, path, body);
        assert_eq!(accepted.status, 202, "{method} {path}: {}", accepted.body);
        let task = films
            .wait_task(accepted.body["taskUid"].as_u64().expect("a task"))
            .expect("it ends");
        assert_eq!(task["status"], "failed");
        assert_eq!(task["error"]["code"], "index_not_found");
    }
    assert_eq!(
        ask(&master, "GET", "/indexes/film-2", Value::Null).status,
        404
    );

    // Keys outlive a crash, and a deleted one opens nothing the moment its deletion is answered.
    fleet.kill_proxy();
    fleet.start_proxy();
    assert_eq!(
        ask(&films, "POST", "/indexes/films/search", json!({})).status,
        200
    );
    let path = format!("/keys/{}", text(&key["uid"]));
    assert_eq!(ask(&master, "DELETE", &path, Value::Null).status, 204);
    for _ in 0..20 {
        // A connection each, so that every core is asked.
        let closing = Call {
            headers: vec![("connection".into(), "close".into())],
            ..Call::new("GET", "/indexes/films/search")
        };
        assert_eq!(films.call(&closing).expect("an answer").status, 403);
    }
    let log = fleet.proxy_log();
    assert!(!log.contains(text(&key["key"])), "a key is in the log");
}

#[test]
fn a_key_ends_by_itself() {
    let fleet = fleet_with_documents();
    let master = fleet.target("proxy");
    let soon = time::OffsetDateTime::now_utc() + Duration::from_secs(2);
    let soon = soon
        .format(&time::format_description::well_known::Rfc3339)
        .expect("a date");
    let key = new_key(&master, json!(["search"]), json!(["*"]), json!(soon));
    let short = with_key(&master, text(&key["key"]));
    let status = || ask(&short, "POST", "/indexes/films/search", json!({})).status;
    until("the key to end", Duration::from_secs(30), || {
        status() == 403
    });
    assert_eq!(
        ask(&master, "GET", "/keys?limit=1", Value::Null).body["results"][0],
        key
    );
}

#[test]
fn a_tenant_sees_what_the_token_lets_through() {
    let fleet = fleet_with_documents();
    let master = fleet.target("proxy");
    let key = new_key(&master, json!(["search"]), json!(["*"]), Value::Null);
    let rules = json!({ "films": { "filter": "user = 1" }, "song*": { "filter": ["user = 2"] } });
    let tenant = with_key(&master, &token(&key, rules));

    let total = |answer: &Answer| answer.body["estimatedTotalHits"].as_u64();
    let search = "/indexes/films/search";
    assert_eq!(total(&ask(&tenant, "POST", search, json!({}))), Some(10));
    assert_eq!(
        total(&ask(
            &tenant,
            "GET",
            &format!("{search}?q=film"),
            Value::Null
        )),
        Some(10)
    );
    for (filter, expected) in [
        (json!("id < 3"), 1),
        (json!([["id < 3", "id > 26"]]), 2),
        (json!("user = 0"), 0),
        (json!("user = 0 OR user = 2"), 0),
    ] {
        let body = json!({ "filter": filter });
        let hits = ask(&tenant, "POST", search, body);
        assert_eq!(total(&hits), Some(expected), "{filter}");
    }

    let owners = ask(
        &tenant,
        "POST",
        "/indexes/films/facet-search",
        json!({ "facetName": "owner" }),
    );
    assert_eq!(
        owners.body["facetHits"],
        json!([{ "value": "u1", "count": 10 }]),
        "{}",
        owners.body
    );

    let queries = json!([{ "indexUid": "films" }, { "indexUid": "songs", "filter": "id < 9" }]);
    let both = ask(
        &tenant,
        "POST",
        "/multi-search",
        json!({ "queries": queries }),
    );
    let totals: Vec<Option<u64>> = both.body["results"]
        .as_array()
        .expect("results")
        .iter()
        .map(|result| result["estimatedTotalHits"].as_u64())
        .collect();
    assert_eq!(totals, [Some(10), Some(3)], "{}", both.body);
    let federated = ask(
        &tenant,
        "POST",
        "/multi-search",
        json!({ "federation": {}, "queries": queries }),
    );
    assert_eq!(total(&federated), Some(13), "{}", federated.body);
    for hit in federated.body["hits"].as_array().expect("hits") {
        let films = hit["_federation"]["indexUid"] == "films";
        assert_eq!(hit["user"], if films { 1 } else { 2 }, "{hit}");
    }

    let other = json!([{ "indexUid": "films" }, { "indexUid": "books" }]);
    for body in [
        json!({ "queries": other }),
        json!({ "queries": other, "federation": {} }),
    ] {
        let refused = ask(&tenant, "POST", "/multi-search", body);
        assert_eq!(
            (refused.status, &refused.body["message"]),
            (
                403,
                &json!("Inside `.queries[1]`: The provided API key is invalid.")
            )
        );
    }
    let refused = ask(&tenant, "POST", "/indexes/books/search", json!({}));
    assert_eq!(
        refused.body["message"],
        "The provided tenant token cannot acces the index `books`, allowed indexes are [\"films\", \"song*\"]."
    );
    for (method, path) in [
        ("GET", "/indexes/films/documents"),
        ("GET", "/indexes"),
        ("GET", "/keys"),
    ] {
        let refused = ask(&tenant, method, path, Value::Null);
        assert_eq!(refused.code(), Some("invalid_api_key"), "{method} {path}");
    }

    // The token ends with the key that signed it.
    let path = format!("/keys/{}", text(&key["key"]));
    assert_eq!(ask(&master, "DELETE", &path, Value::Null).status, 204);
    let refused = ask(&tenant, "POST", search, json!({}));
    assert_eq!(refused.body["message"], "The provided API key is invalid.");
}
