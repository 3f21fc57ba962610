//! Settings, indexes and the other slow routes.

use serde_json::{json, Value};

use crate::cluster::{eventually, Cluster};

fn created(cluster: &Cluster, uid: &str) {
    let (_, task) = cluster.call(
        "POST",
        "/indexes",
        Some(json!({ "uid": uid, "primaryKey": "id" })),
    );
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
}

fn settings_of(cluster: &Cluster, node: usize, uid: &str) -> Value {
    cluster.nodes[node].index(uid).unwrap()["settings"].clone()
}

#[test]
fn settings_reach_every_node_and_come_back_as_the_client_sent_them() {
    let cluster = Cluster::new(2, 1);
    created(&cluster, "movies");
    let mine = json!({
        "filterableAttributes": ["genre"],
        "faceting": { "maxValuesPerFacet": 7, "sortFacetValuesBy": { "genre": "count" } },
        "pagination": { "maxTotalHits": 50 },
    });
    let (status, task) = cluster.call("PATCH", "/indexes/movies/settings", Some(mine.clone()));
    assert_eq!((status, &task["type"]), (202, &json!("settingsUpdate")));
    let task = cluster.finished(&task);
    assert_eq!(
        (&task["status"], &task["details"]),
        (&json!("succeeded"), &mine)
    );
    for node in 0..2 {
        let settings = settings_of(&cluster, node, "movies");
        assert_eq!(
            settings["filterableAttributes"],
            json!(["_miroir_shard", "genre"])
        );
        assert_eq!(settings["faceting"]["maxValuesPerFacet"], 1000);
    }
    let (_, seen) = cluster.call("GET", "/indexes/movies/settings", None);
    assert_eq!(
        (
            &seen["filterableAttributes"],
            &seen["faceting"]["maxValuesPerFacet"]
        ),
        (&json!(["genre"]), &json!(7))
    );
    assert_eq!(
        cluster
            .call("GET", "/indexes/movies/settings/faceting", None)
            .1["maxValuesPerFacet"],
        7
    );
    assert_eq!(
        cluster
            .call(
                "GET",
                "/indexes/movies/settings/filterable-attributes",
                None
            )
            .1,
        json!(["genre"])
    );
    let index = cluster.control().publisher().current().indexes["movies"].clone();
    assert_eq!(
        (
            index.settings.max_values_per_facet,
            index.settings.max_total_hits
        ),
        (7, 50)
    );
    assert!(!index.settings.filterable_attributes_empty);

    let (_, task) = cluster.call("DELETE", "/indexes/movies/settings", None);
    let task = cluster.finished(&task);
    assert_eq!(
        (&task["status"], &task["details"]["faceting"]),
        (&json!("succeeded"), &Value::Null)
    );
    assert_eq!(
        settings_of(&cluster, 1, "movies")["filterableAttributes"],
        json!(["_miroir_shard"])
    );
    let after = cluster.control().publisher().current().indexes["movies"].clone();
    assert_eq!(after.settings.max_values_per_facet, 100);
    assert!(after.settings_version > index.settings_version);
}

#[test]
fn a_refusal_of_the_first_node_is_the_clients_answer_and_nothing_more_is_sent() {
    let cluster = Cluster::new(2, 1);
    created(&cluster, "movies");
    let before = cluster.nodes[1].changes().len();
    let (status, error) = cluster.call(
        "PATCH",
        "/indexes/movies/settings",
        Some(json!({ "rankingRules": 3 })),
    );
    assert_eq!(
        (status, &error["code"]),
        (400, &json!("invalid_settings_ranking_rules"))
    );
    assert!(
        !error["message"].as_str().unwrap().contains("_miroir"),
        "{error}"
    );
    assert_eq!(cluster.nodes[1].changes().len(), before);
    let reserved = json!(["_miroir_shard"]);
    let (status, error) = cluster.call(
        "PUT",
        "/indexes/movies/settings/stop-words",
        Some(json!(["x"])),
    );
    assert_eq!((status, &error["indexUid"]), (202, &json!("movies")));
    let (status, error) = cluster.call(
        "PUT",
        "/indexes/movies/settings/filterable-attributes",
        Some(reserved),
    );
    assert_eq!(
        (status, &error["code"]),
        (400, &json!("miroir_reserved_field"))
    );
}

#[test]
fn a_node_that_is_down_stops_a_change_before_anything_is_sent() {
    let cluster = Cluster::new(3, 1);
    created(&cluster, "movies");
    cluster.nodes[1].set_down(true);
    let before: Vec<usize> = cluster
        .nodes
        .iter()
        .map(|node| node.changes().len())
        .collect();
    for (method, path, body) in [
        (
            "PATCH",
            "/indexes/movies/settings",
            Some(json!({ "stopWords": ["a"] })),
        ),
        ("DELETE", "/indexes/movies", None),
        ("PATCH", "/indexes/movies", Some(json!({}))),
    ] {
        let (status, error) = cluster.call(method, path, body);
        assert_eq!(
            (status, &error["code"]),
            (503, &json!("miroir_no_quorum")),
            "{method} {path}"
        );
        assert!(
            error["message"].as_str().unwrap().contains("`n1`"),
            "{error}"
        );
    }
    let after: Vec<usize> = cluster
        .nodes
        .iter()
        .map(|node| node.changes().len())
        .collect();
    assert_eq!(before, after);
    // It comes back by itself.
    cluster.nodes[1].set_down(false);
    let (status, task) = cluster.call(
        "PATCH",
        "/indexes/movies/settings",
        Some(json!({ "stopWords": ["a"] })),
    );
    assert_eq!(status, 202);
    eventually(|| {
        cluster.control().publisher().current().nodes[1]
            .is_up()
            .then_some(())
    });
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
}

#[test]
fn a_change_that_reached_only_some_nodes_says_so() {
    let cluster = Cluster::new(3, 1);
    created(&cluster, "movies");
    cluster.nodes[2].set_broken(true);
    let stop_words = || Some(json!(["a"]));
    let (status, error) = cluster.call("PUT", "/indexes/movies/settings/stop-words", stop_words());
    assert_eq!((status, &error["code"]), (503, &json!("miroir_no_quorum")));
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("`n2`") && message.contains("2 of 3"),
        "{message}"
    );
    cluster.nodes[2].set_broken(false);
    let (_, task) = cluster.call("PUT", "/indexes/movies/settings/stop-words", stop_words());
    assert_eq!(cluster.finished(&task)["status"], "succeeded");

    // A creation that reached only some is taken back, and may be asked for again.
    cluster.nodes[2].set_broken(true);
    assert_eq!(
        cluster
            .call("POST", "/indexes", Some(json!({ "uid": "books" })))
            .0,
        503
    );
    assert!(cluster.nodes[0].index("books").is_none());
    cluster.nodes[2].set_broken(false);
    created(&cluster, "books");
}

#[test]
fn a_node_that_did_not_do_as_told_fails_the_task() {
    let cluster = Cluster::new(2, 1);
    created(&cluster, "movies");
    cluster.nodes[1].lie(Some(json!({ "stopWords": [] })));
    let (_, task) = cluster.call(
        "PUT",
        "/indexes/movies/settings/stop-words",
        Some(json!(["the"])),
    );
    let task = cluster.finished(&task);
    assert_eq!(
        (&task["status"], &task["error"]["code"]),
        (&json!("failed"), &json!("miroir_settings_diverged"))
    );
    assert!(task["error"]["message"]
        .as_str()
        .unwrap()
        .contains("stopWords"));
    cluster.nodes[1].lie(None);
    let (_, task) = cluster.call(
        "PUT",
        "/indexes/movies/settings/stop-words",
        Some(json!(["the"])),
    );
    assert_eq!(cluster.finished(&task)["status"], "succeeded");
}

#[test]
fn settings_create_a_missing_index_and_resets_do_not() {
    let cluster = Cluster::new(2, 1);
    let (_, task) = cluster.call(
        "PUT",
        "/indexes/one/settings/stop-words",
        Some(json!(["b", "a"])),
    );
    assert_eq!(
        cluster.finished(&task)["details"],
        json!({ "stopWords": ["a", "b"] })
    );
    assert_eq!(
        settings_of(&cluster, 1, "one")["filterableAttributes"],
        json!(["_miroir_shard"])
    );
    assert_eq!(cluster.call("GET", "/indexes/one", None).0, 200);
    let (_, task) = cluster.call("DELETE", "/indexes/two/settings", None);
    assert_eq!(cluster.finished(&task)["error"]["code"], "index_not_found");
    assert_eq!(
        cluster.call("GET", "/indexes/two/settings", None).1["code"],
        "index_not_found"
    );
    // Refused by the nodes: the index must not stay.
    let (status, _) = cluster.call(
        "PATCH",
        "/indexes/three/settings",
        Some(json!({ "rankingRules": 3 })),
    );
    assert_eq!(
        (status, cluster.call("GET", "/indexes/three", None).0),
        (400, 404)
    );
}

#[test]
fn an_index_lives_and_dies() {
    let cluster = Cluster::new(2, 1);
    for uid in ["b", "a"] {
        created(&cluster, uid);
    }
    let (_, list) = cluster.call("GET", "/indexes?limit=1&offset=1", None);
    assert_eq!(
        (&list["total"], &list["results"][0]["uid"]),
        (&json!(2), &json!("b"))
    );
    assert_eq!(
        cluster.call("GET", "/indexes?limit=x", None).1["code"],
        "invalid_index_limit"
    );
    let (_, task) = cluster.call("PATCH", "/indexes/a", Some(json!({ "primaryKey": "sku" })));
    assert_eq!(
        cluster.finished(&task)["details"],
        json!({ "primaryKey": "sku" })
    );
    assert_eq!(
        cluster.call("GET", "/indexes/a", None).1["primaryKey"],
        "sku"
    );
    // One node holds a document: the whole cluster's documents count.
    cluster.nodes[1].documents("a", 1);
    let (_, task) = cluster.call("PATCH", "/indexes/a", Some(json!({ "primaryKey": "isbn" })));
    assert_eq!(
        cluster.finished(&task)["error"]["message"],
        "Index `a`: Index already has a primary key: `sku`."
    );
    let (_, task) = cluster.call("DELETE", "/indexes/a", None);
    let task = cluster.finished(&task);
    assert_eq!(
        (&task["type"], &task["details"]),
        (&json!("indexDeletion"), &json!({ "deletedDocuments": 1 }))
    );
    assert_eq!(cluster.call("GET", "/indexes/a", None).0, 404);
    let (_, task) = cluster.call("DELETE", "/indexes/a", None);
    assert_eq!(cluster.finished(&task)["error"]["code"], "index_not_found");
    created(&cluster, "a");
    let (_, tasks) = cluster.call("GET", "/tasks?indexUids=a&limit=2", None);
    assert_eq!(
        (&tasks["total"], tasks["results"].as_array().unwrap().len()),
        (&json!(6), 2)
    );
    assert_eq!(
        tasks["next"].as_u64().unwrap() + 3,
        tasks["from"].as_u64().unwrap() + 1
    );
}

#[test]
fn routes_that_are_not_there_say_so() {
    let cluster = Cluster::new(1, 1);
    for (method, path, expected) in [
        ("GET", "/nothing", 404),
        ("PUT", "/indexes", 405),
        ("POST", "/tasks/1", 405),
        ("PUT", "/indexes/a/search", 405),
        ("GET", "/indexes/a/settings/colours", 404),
        ("PUT", "/keys", 405),
        ("GET", "/keys/nothing", 404),
        ("POST", "/tasks/cancel", 400),
        ("DELETE", "/tasks", 400),
        ("GET", "/batches/9", 404),
        ("GET", "/chats", 400),
        ("GET", "/indexes/a/facet-search", 405),
        ("GET", "/tasks/9", 404),
        ("GET", "/tasks/424242424242", 400),
    ] {
        let (status, body) = cluster.call(method, path, None);
        assert_eq!(status, expected, "{method} {path}");
        assert_eq!(
            body.is_null(),
            matches!(expected, 405) || path == "/nothing" || path.ends_with("colours")
        );
    }
    assert_eq!(
        cluster.call("GET", "/health", None),
        (200, json!({ "status": "available" }))
    );
    assert_eq!(
        cluster.call("GET", "/version", None).1["pkgVersion"],
        "1.15.1"
    );
    assert_eq!(
        cluster.control().publisher().current().lowest_version(),
        (1, 15, 1)
    );
    assert_eq!(
        cluster.call("GET", "/_miroir/ready", None).1["code"],
        "missing_authorization_header"
    );
    assert_eq!(
        cluster
            .call_with("GET", "/_miroir/ready", None, Some("wrong"))
            .0,
        403
    );
    assert_eq!(
        cluster.call_with("GET", "/_miroir/ready", None, Some("client-key")),
        (200, json!({ "status": "ready" }))
    );
}
