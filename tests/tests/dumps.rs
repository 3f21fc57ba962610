//! Moving in and back: dumps of a cluster into one node, of one node into a cluster, copies over HTTP, and exports.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use miroir_tests::fleet::{miroir_ctl, Fleet, Lone, Plan, MASTER_KEY};
use miroir_tests::http::{until, Target};
use miroir_tests::process::{command, run};
use serde_json::{json, Value};

const PATIENCE: Duration = Duration::from_secs(60);

/// Settings, keys, vectors, unusual ids, an empty index and one without a primary key.
fn fill(server: &Target) {
    let write = |method: &str, path: &str, body: Value| {
        let task = server.write(method, path, &body).expect("a task");
        assert_eq!(task["status"], "succeeded", "{method} {path}: {task}");
    };
    write(
        "POST",
        "/indexes",
        json!({ "uid": "films", "primaryKey": "id" }),
    );
    write(
        "PATCH",
        "/indexes/films/settings",
        json!({
            "searchableAttributes": ["title", "plot"],
            "displayedAttributes": ["id", "title", "year", "tags"],
            "filterableAttributes": ["year", "tags"],
            "sortableAttributes": ["year"],
            "rankingRules": ["words", "typo", "year:desc", "proximity", "attribute", "sort", "exactness"],
            "stopWords": ["the"],
            "synonyms": { "film": ["movie"] },
            "typoTolerance": { "disableOnWords": ["alien"] },
            "faceting": { "maxValuesPerFacet": 7, "sortFacetValuesBy": { "tags": "count" } },
            "pagination": { "maxTotalHits": 500 },
        }),
    );
    let ids = [
        json!(0),
        json!("007"),
        json!("a-B_c"),
        json!(u64::MAX),
        json!(-5),
        json!("x".repeat(511)),
    ];
    let film = |(number, id): (usize, Value)| {
        let tag = ["a", "b", "c"][number % 3];
        json!({
            "id": id, "title": format!("Film {number} \"é\" \u{1f3ac}"), "plot": "the plot\nof line two",
            "year": 1900 + number, "tags": [tag], "nested": { "n": number as f64 / 3.0, "none": null },
        })
    };
    let films: Vec<Value> = ids
        .into_iter()
        .chain((1..300).map(|n| json!(n * 7)))
        .enumerate()
        .map(film)
        .collect();
    write("POST", "/indexes/films/documents", Value::Array(films));

    let embedder = json!({ "embedders": { "own": { "source": "userProvided", "dimensions": 3 } } });
    write("PATCH", "/indexes/vectors/settings", embedder);
    let point =
        |n: i32| json!({ "a": { "b": format!("p{n}") }, "_vectors": { "own": [n, 1.5, -0.25] } });
    let points: Vec<Value> = (0..30).map(point).collect();
    write(
        "POST",
        "/indexes/vectors/documents?primaryKey=a.b",
        Value::Array(points),
    );

    write(
        "POST",
        "/indexes",
        json!({ "uid": "empty", "primaryKey": "sku" }),
    );
    write("POST", "/indexes", json!({ "uid": "keyless" }));
    let features = json!({ "containsFilter": true });
    let switched = server
        .send_json("PATCH", "/experimental-features", &features)
        .expect("an answer");
    assert_eq!(switched.status, 200);
}

/// What must be the same on both sides, order of ties apart.
fn content(server: &Target) -> Vec<(String, Value)> {
    let get = |path: &str| {
        let answer = server.get(path).expect("an answer");
        assert_eq!(
            answer.status, 200,
            "{path} on {}: {}",
            server.name, answer.body
        );
        (path.to_owned(), without_times(answer.body))
    };
    let mut all: Vec<_> = [
        "/indexes?limit=100",
        "/indexes/films/settings",
        "/indexes/vectors/settings",
        "/indexes/empty/settings",
        "/experimental-features",
        "/indexes/films/documents?limit=1000",
        "/indexes/vectors/documents?limit=1000&retrieveVectors=true",
        "/indexes/empty/documents",
        "/indexes/keyless/documents",
        "/indexes/films/documents/007",
        "/indexes/films/documents/18446744073709551615",
        "/indexes/films/search?q=film&facets=tags&limit=5",
        "/indexes/films/search?q=movie%2012&filter=year%20%3E%201950",
        "/indexes/films/search?sort=year:asc&limit=3",
    ]
    .into_iter()
    .map(get)
    .collect();
    let near = json!({ "vector": [3, 1.5, -0.25], "hybrid": { "embedder": "own", "semanticRatio": 1.0 }, "limit": 30 });
    let near = server
        .send_json("POST", "/indexes/vectors/search", &near)
        .expect("an answer");
    all.push(("neighbours".to_owned(), without_times(near.body)));
    all
}

/// The API keys; with the same master key their texts are the same, too.
fn keys(server: &Target) -> Value {
    let answer = server.get("/keys?limit=100").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
    without_times(answer.body)
}

/// Without what differs from run to run, and with documents in the order of their text.
fn without_times(mut body: Value) -> Value {
    if let Some(members) = body.as_object_mut() {
        members.remove("processingTimeMs");
    }
    if let Some(results) = body["results"].as_array_mut() {
        for result in results.iter_mut().filter_map(Value::as_object_mut) {
            for time in ["createdAt", "updatedAt"] {
                result.remove(time);
            }
        }
        results.sort_by_key(Value::to_string);
    }
    body
}

fn assert_same(one: &[(String, Value)], other: &[(String, Value)]) {
    for ((path, one), (_, other)) in one.iter().zip(other) {
        assert_eq!(one, other, "{path}");
    }
}

/// Asks for a dump and finds its file.
fn dump(server: &Target, folder: &Path) -> PathBuf {
    let task = server
        .write("POST", "/dumps", &Value::Null)
        .expect("a task");
    assert_eq!(task["status"], "succeeded", "{task}");
    assert_eq!(
        (&task["type"], &task["indexUid"]),
        (&json!("dumpCreation"), &Value::Null)
    );
    let uid = task["details"]["dumpUid"].as_str().expect("a uid");
    let path = folder.join(format!("{uid}.dump"));
    assert!(path.is_file(), "{} is not there", path.display());
    path
}

/// Waits for the import that was asked for.
fn imported(cluster: &Target) -> Value {
    let mut last = Value::Null;
    until("the import to end", PATIENCE, || {
        last = cluster
            .get("/_miroir/dumps/import")
            .expect("an answer")
            .body;
        last["status"] != "running"
    });
    last
}

fn import(cluster: &Target, path: &Path) -> Value {
    let asked = cluster
        .send_json("POST", "/_miroir/dumps/import", &json!({ "path": path }))
        .expect("an answer");
    assert_eq!(asked.status, 202, "{}", asked.body);
    imported(cluster)
}

#[test]
fn a_clusters_dump_goes_into_one_node_and_into_another_cluster() {
    let fleet = Fleet::start(Plan {
        replication_factor: 2,
        ..Plan::default()
    });
    let cluster = fleet.target("cluster");
    fill(&cluster);
    let body =
        json!({ "name": "mine", "actions": ["search"], "indexes": ["films"], "expiresAt": null });
    assert_eq!(
        cluster
            .send_json("POST", "/keys", &body)
            .expect("an answer")
            .status,
        201
    );
    let before = content(&cluster);
    let path = dump(&cluster, &fleet.folder().join("dumps"));
    assert_same(&before, &content(&cluster));

    let other = Fleet::start(Plan {
        nodes: 2,
        shards: 5,
        ..Plan::default()
    });
    let target = other.target("another cluster");
    let end = import(&target, &path);
    assert_eq!(end["status"], "succeeded", "{end}");
    assert_same(&before, &content(&target));
    assert_eq!(keys(&cluster), keys(&target));
    // A second import finds indexes, and says so.
    let end = import(&target, &path);
    assert_eq!(end["status"], "failed", "{end}");
    assert!(
        end["error"]
            .as_str()
            .is_some_and(|why| why.contains("delete them first")),
        "{end}"
    );
    assert_same(&before, &content(&target));

    let lone = Lone::start_with(&["--import-dump".as_ref(), path.as_os_str()]);
    assert_same(&before, &content(&lone.target()));
    assert_eq!(keys(&cluster), keys(&lone.target()));
}

#[test]
fn a_cluster_is_exported_and_what_waits_can_be_cancelled() {
    let fleet = Fleet::start(Plan {
        replication_factor: 2,
        extra: "allowed_ip_networks: [\"127.0.0.0/8\"]".to_owned(),
        ..Plan::default()
    });
    let cluster = fleet.target("cluster");
    fill(&cluster);
    let lone = Lone::start();
    let there = lone.target();
    let features = json!({ "containsFilter": true });
    there
        .send_json("PATCH", "/experimental-features", &features)
        .expect("an answer");
    let mut order = json!({ "url": there.base, "apiKey": there.key, "payloadSize": "4 KiB" });
    let task = cluster.write("POST", "/export", &order).expect("a task");
    assert_eq!(task["status"], "succeeded", "{task}");
    assert_eq!(task["type"], "export");
    let found =
        |task: &Value, index: &str| task["details"]["indexes"][index]["matched_documents"].clone();
    assert_eq!(found(&task, "films"), 305);
    assert_eq!(found(&task, "empty"), 0);
    until("the documents to be there", PATIENCE, || {
        let tasks = there.get("/tasks?statuses=enqueued,processing");
        tasks.is_ok_and(|tasks| tasks.body["total"] == 0)
    });
    assert_same(&content(&cluster), &content(&there));

    order["indexes"] = json!({ "fil*": { "filter": "year != 1950" } });
    let task = cluster.write("POST", "/export", &order).expect("a task");
    assert_eq!(found(&task, "films"), 304, "{task}");
    order["indexes"] = json!({ "films": { "filter": "plot = 1" } });
    let task = cluster.write("POST", "/export", &order).expect("a task");
    assert_eq!(task["error"]["code"], "invalid_document_filter", "{task}");

    // Nobody listens there, so the export waits, and the dump behind it.
    order["url"] = json!("http://127.0.0.1:9");
    for (path, body) in [("/export", &order), ("/dumps", &Value::Null)] {
        let asked = cluster.send_json("POST", path, body).expect("an answer");
        assert!(asked.status < 300, "{}", asked.body);
    }
    let cancel = "/tasks/cancel?types=export,dumpCreation";
    let task = cluster.write("POST", cancel, &Value::Null).expect("a task");
    assert_eq!(task["details"]["canceledTasks"], 2, "{task}");
    let canceled = cluster.get("/tasks?statuses=canceled").expect("an answer");
    for (place, kind) in ["dumpCreation", "export"].into_iter().enumerate() {
        let shown = &canceled.body["results"][place];
        assert_eq!(
            (&shown["type"], &shown["canceledBy"]),
            (&json!(kind), &task["uid"])
        );
    }
    // Others are carried out as before.
    dump(&cluster, &fleet.folder().join("dumps"));
}

#[test]
fn one_nodes_dump_goes_into_a_cluster_before_clients_do() {
    let lone = Lone::start();
    fill(&lone.target());
    let before = content(&lone.target());
    let path = dump(&lone.target(), &lone.folder().join("dumps"));
    let fleet = Fleet::start_with(
        Plan::default(),
        &["--import-dump".as_ref(), path.as_os_str()],
    );
    assert_same(&before, &content(&fleet.target("cluster")));
    assert_eq!(keys(&lone.target()), keys(&fleet.target("cluster")));
}

#[test]
fn what_is_no_dump_changes_nothing() {
    let fleet = Fleet::start(Plan::default());
    let cluster = fleet.target("cluster");
    let missing = json!({ "path": "/no/such/file" });
    let answer = cluster
        .send_json("POST", "/_miroir/dumps/import", &missing)
        .expect("an answer");
    assert_eq!((answer.status, answer.code()), (400, Some("bad_request")));
    let end = import(&cluster, &fleet.config());
    assert_eq!(end["status"], "failed", "{end}");
    assert!(
        end["error"]
            .as_str()
            .is_some_and(|why| why.contains("no dump")),
        "{end}"
    );
    assert_eq!(cluster.get("/indexes").expect("an answer").body["total"], 0);
}

fn import_command(ctl: &Path, from: &Target, to: &Target, state: &Path) -> Command {
    let mut c = command(ctl);
    c.args(["--json", "--url", &to.base, "--key", MASTER_KEY]);
    c.args([
        "import",
        "--from",
        &from.base,
        "--from-key",
        MASTER_KEY,
        "--state",
    ])
    .arg(state);
    c
}

#[test]
fn a_running_server_is_copied_also_after_an_interruption() {
    let ctl = miroir_ctl();
    let lone = Lone::start();
    let old = lone.target();
    fill(&old);
    let many: Vec<Value> = (0..4000)
        .map(|n| json!({ "id": n, "text": "word ".repeat(500) }))
        .collect();
    let task = old
        .write("POST", "/indexes/many/documents", &json!(many))
        .expect("a task");
    assert_eq!(task["status"], "succeeded");
    let tasks = |server: &Target| server.get("/tasks").expect("an answer").body["total"].clone();
    let before = (content(&old), tasks(&old));

    let fleet = Fleet::start(Plan::default());
    let cluster = fleet.target("cluster");
    let state = fleet.folder().join("move.json");
    // Killed once it has moved some documents, and before it can have moved all.
    let mut first = miroir_tests::process::Process::start(
        "import",
        import_command(&ctl, &old, &cluster, &state),
        &fleet.folder().join("import.log"),
    )
    .expect("it starts");
    let began = Instant::now();
    let moved = |state: &Path| -> u64 {
        let text = std::fs::read(state).unwrap_or_default();
        let state: Value = serde_json::from_slice(&text).unwrap_or_default();
        state["indexes"]["many"]["documents"].as_u64().unwrap_or(0)
    };
    while moved(&state) == 0 && first.ended().is_none() {
        assert!(began.elapsed() < PATIENCE, "{}", first.tail());
        std::thread::sleep(Duration::from_millis(1));
    }
    first.kill();
    let at = moved(&state);
    let (code, output) =
        run(import_command(&ctl, &old, &cluster, &state), PATIENCE).expect("it runs");
    assert_eq!(code, Some(0), "after {at} documents: {output}");
    assert_same(&before.0, &content(&cluster));
    let count =
        cluster.get("/indexes/many/stats").expect("an answer").body["numberOfDocuments"].clone();
    assert_eq!(count, 4000);
    // Nothing on the old server has changed, and a further run changes nothing either.
    assert_eq!(tasks(&old), before.1);
    let (code, _) = run(import_command(&ctl, &old, &cluster, &state), PATIENCE).expect("it runs");
    assert_eq!(code, Some(0));
    // A document that is missing here is noticed.
    cluster
        .write("DELETE", "/indexes/many/documents/7", &Value::Null)
        .expect("a task");
    let (code, output) =
        run(import_command(&ctl, &old, &cluster, &state), PATIENCE).expect("it runs");
    assert_eq!(code, Some(1), "{output}");
}
