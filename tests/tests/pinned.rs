//! A request that pins the primary key is sent to the nodes that can answer it, and to no other: a relay before each node tells.

use miroir_tests::fleet::{Fleet, Plan};
use miroir_tests::http::Target;
use serde_json::{json, Value};

#[test]
fn nodes_that_cannot_answer_are_not_asked() {
    let mut fleet = Fleet::start(Plan {
        relayed: true,
        ..Plan::default()
    });
    let proxy = fleet.target("proxy");
    let settings = json!({"filterableAttributes": ["id", "kind"]});
    proxy
        .write("PATCH", "/indexes/films/settings", &settings)
        .expect("settings");
    let films: Vec<Value> = (0..60)
        .map(|id| json!({"id": id, "kind": "film"}))
        .collect();
    let path = "/indexes/films/documents?primaryKey=id";
    proxy.write("POST", path, &json!(films)).expect("documents");
    proxy
        .write("POST", path, &json!([{"id": "abc", "kind": "film"}]))
        .expect("a document");

    for id in 0..8 {
        let hit = json!([{"id": id, "kind": "film"}]);
        let asked = |way: &str, path: &str, body: Value| -> Value {
            let mark = format!("mark{way}{id}x");
            let filter = format!("id = {id} AND NOT kind = {mark}");
            let (answer, nodes) = ask(&fleet, &proxy, path, body, json!(filter), &mark);
            assert_eq!(nodes, 1, "{way} {id}");
            answer
        };
        let answer = asked("search", "/indexes/films/search", json!({}));
        assert_eq!(
            (&answer["hits"], &answer["estimatedTotalHits"]),
            (&hit, &json!(1))
        );
        let answer = asked("fetch", "/indexes/films/documents/fetch", json!({}));
        assert_eq!((&answer["results"], &answer["total"]), (&hit, &json!(1)));
        let facet = json!({"facetName": "kind"});
        let answer = asked("facet", "/indexes/films/facet-search", facet);
        assert_eq!(answer["facetHits"], json!([{"value": "film", "count": 1}]));

        let mark = format!("markids{id}x");
        let filter = json!(format!("NOT kind = {mark}"));
        let path = "/indexes/films/documents/fetch";
        let ids = json!({"ids": [id]});
        let (answer, nodes) = ask(&fleet, &proxy, path, ids, filter, &mark);
        assert_eq!((nodes, &answer["results"]), (1, &hit));
    }
    let search = |fleet: &Fleet, filter: &str, mark: &str| {
        let filter = json!(format!("{filter} AND NOT kind = {mark}"));
        let (answer, nodes) = ask(
            fleet,
            &proxy,
            "/indexes/films/search",
            json!({}),
            filter,
            mark,
        );
        (answer["estimatedTotalHits"].clone(), nodes)
    };
    assert_eq!(search(&fleet, "NOT id = 5", "marknotx"), (json!(60), 3));
    assert_eq!(search(&fleet, "id = ABC", "marklowerx"), (json!(1), 1));
    // Once ids may differ in case only, a text pins none of them; that outlives the process.
    proxy
        .write("POST", path, &json!([{"id": "aBc", "kind": "film"}]))
        .expect("a document");
    assert_eq!(search(&fleet, "id = abc", "markupperx"), (json!(2), 3));
    assert_eq!(search(&fleet, "id = 5", "marknumberx"), (json!(1), 1));
    fleet.kill_proxy();
    fleet.start_proxy();
    assert_eq!(search(&fleet, "id = abc", "markagainx"), (json!(2), 3));
}

/// The answer to a body with this filter, and how many nodes saw the mark that the filter holds.
fn ask(
    fleet: &Fleet,
    proxy: &Target,
    path: &str,
    mut body: Value,
    filter: Value,
    mark: &str,
) -> (Value, usize) {
    body["filter"] = filter;
    let answer = proxy.send_json("POST", path, &body).expect("an answer");
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
    let nodes = fleet
        .relays
        .iter()
        .filter(|relay| relay.saw(mark.as_bytes()))
        .count();
    (answer.body, nodes)
}
