//! The cases: our way and the plain way of the same work.

use std::cmp::Ordering;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use miroir::search::SearchBody;
use miroir_merge::{merge_search, split, Format, Paging, Part, Spec};
use miroir_net::head::{parse_request_head, HeadScanner};
use miroir_net::Response;
use miroir_router::{
    read_plan, shard_code, shard_of, Layout, LayoutNode, LayoutSpec, NodeIdx, ReadTarget,
    SearchSettings, Shard,
};
use serde_json::{json, Map, Value};

use crate::corpus;

/// Two ways of doing the same work on the same bytes.
pub struct Case {
    pub name: &'static str,
    /// Of input, a run.
    pub bytes: usize,
    pub ours: Box<dyn Fn()>,
    pub reference: Box<dyn Fn()>,
    pub reference_is: &'static str,
}

/// Every case. Each is tried once, so that what is measured is known to work.
pub fn all() -> Vec<Case> {
    let cases = vec![
        request_head(),
        search_body(),
        response_head(),
        plan(),
        merge("merge_1x20", 1, 20),
        merge("merge_3x20", 3, 20),
        merge("merge_8x100", 8, 100),
        split_documents(),
    ];
    for case in &cases {
        (case.ours)();
        (case.reference)();
    }
    cases
}

fn request_head() -> Case {
    let head = corpus::request_head();
    Case {
        name: "request_head",
        bytes: head.len(),
        reference: Box::new({
            let head = head.clone();
            move || {
                let mut fields = [httparse::EMPTY_HEADER; 128];
                let mut request = httparse::Request::new(&mut fields);
                let complete = request
                    .parse(black_box(&head))
                    .is_ok_and(|status| status.is_complete());
                assert!(black_box(complete));
            }
        }),
        ours: Box::new(move || {
            let found = HeadScanner::default().find(black_box(&head), 64 * 1024);
            assert_eq!(found, Ok(Some(head.len())));
            let parsed = parse_request_head(black_box(&head));
            assert!(black_box(parsed).is_ok());
        }),
        reference_is: "httparse alone: no end search, no framing checks, no kept headers",
    }
}

/// A search's body: read, planned, and written for a node that holds more shards than it is asked for.
fn search_body() -> Case {
    let body = json!({
        "q": "dark harbour", "limit": 20, "offset": 20, "sort": ["year:desc"],
        "filter": ["genres = drama", "year > 1990"], "facets": ["genres", "year"],
        "attributesToRetrieve": ["id", "title", "poster"], "attributesToHighlight": ["title"],
    });
    let body = body.to_string().into_bytes();
    let settings = SearchSettings::default();
    let target = ReadTarget {
        node: NodeIdx(0),
        shards: (0..6).map(Shard).collect(),
        whole: false,
    };
    Case {
        name: "search_body",
        bytes: body.len(),
        reference: Box::new({
            let body = body.clone();
            move || {
                let Ok(mut search) = serde_json::from_slice::<Value>(black_box(&body)) else {
                    unreachable!("the body above is JSON");
                };
                search["offset"].take();
                search["limit"] = json!(40);
                search["showRankingScoreDetails"] = json!(true);
                let shards: Vec<String> = (0..6)
                    .map(|shard| shard_code(Shard(shard)).to_string())
                    .collect();
                let filter = format!("_miroir_shard IN {shards:?}");
                search["filter"] = json!([search["filter"].take(), filter]);
                assert!(!black_box(search.to_string()).is_empty());
            }
        }),
        ours: Box::new(move || {
            let Ok(mut search) = serde_json::from_slice::<SearchBody>(black_box(&body)) else {
                unreachable!("the body above is a search's");
            };
            assert!(search.check_reserved().is_ok());
            search.hide(&settings);
            let Ok(planned) = search.plan(&settings) else {
                unreachable!("the search above has an exact answer");
            };
            black_box(planned.seed());
            assert!(!black_box(planned.body_for(&target)).is_empty());
        }),
        reference_is: "serde_json: a tree, changed and written, without a plan and a seed",
    }
}

fn response_head() -> Case {
    let body: Vec<Bytes> = (0..PIECES)
        .map(|_| Bytes::from_static(b"{\"id\":1}"))
        .collect();
    Case {
        name: "response_head",
        bytes: PIECES * body[0].len(),
        reference: Box::new({
            let body = body.clone();
            move || {
                let length: usize = black_box(&body).iter().map(Bytes::len).sum();
                let head = format!(
                    "HTTP/1.1 {} {}\r\ncontent-type: {}\r\n{}content-length: {length}\r\n\r\n",
                    black_box(200),
                    black_box("OK"),
                    black_box("application/json"),
                    black_box(
                        "access-control-allow-origin: *\r\nvary: accept-encoding, Origin\r\n"
                    ),
                );
                let mut wire = vec![Bytes::from(head)];
                wire.extend(body.iter().cloned());
                assert!(black_box(wire).len() == PIECES + 1);
            }
        }),
        ours: Box::new(move || {
            let response = Response::segments(200, black_box(&body).clone());
            let wire = response.into_wire(false, false, true);
            assert!(black_box(wire).len() == PIECES + 1);
        }),
        reference_is: "format! of the same head, without choices",
    }
}

/// Which copies answer a search: 16 shards, each with two copies on six nodes in two groups.
fn plan() -> Case {
    let node = |number: u16| LayoutNode {
        id: format!("node-{number}"),
        group: number / 3,
        weight: 1,
        zone: None,
    };
    let spec = LayoutSpec {
        shards: SHARDS,
        replication_factor: 1,
        replica_groups: 2,
        nodes: (0..6).map(node).collect(),
    };
    let Ok(layout) = Layout::plan(&spec, None) else {
        unreachable!("the numbers above make a layout");
    };
    Case {
        name: "plan",
        bytes: usize::from(SHARDS),
        reference: Box::new({
            let layout = layout.clone();
            move || {
                let mut nodes: Vec<(NodeIdx, Vec<u16>)> = Vec::new();
                for shard in black_box(&layout).all_shards() {
                    let Some(copy) = layout.copies_of(shard).first() else {
                        continue;
                    };
                    match nodes.iter_mut().find(|(node, _)| *node == copy.node) {
                        Some((_, shards)) => shards.push(shard.0),
                        None => nodes.push((copy.node, vec![shard.0])),
                    }
                }
                assert!(black_box(nodes).len() >= 3);
            }
        }),
        ours: Box::new(move || {
            let plan = read_plan(black_box(&layout), None, black_box(7), |_| true);
            assert!(black_box(plan).targets.len() == 3);
        }),
        reference_is: "the first copy of each shard, without groups, states or fewest nodes",
    }
}

fn merge(name: &'static str, nodes: usize, hits: usize) -> Case {
    let answers = corpus::answers(nodes, hits);
    Case {
        name,
        bytes: answers.iter().map(Bytes::len).sum(),
        reference: Box::new({
            let answers = answers.clone();
            move || {
                let merged = merge_by_tree(black_box(&answers), hits);
                assert!(black_box(merged).len() > hits);
            }
        }),
        ours: Box::new(move || {
            let spec = Spec {
                query: "dark knight",
                processing_time_ms: 3,
                // A node that answers alone is asked for no details.
                ranked: nodes > 1,
                ..Spec::of(Paging::Offset {
                    offset: 0,
                    limit: hits,
                })
            };
            let merged = merge_search(black_box(&answers), &spec);
            assert!(black_box(merged).is_ok_and(|merged| merged.len() > hits));
        }),
        reference_is: "serde_json: parse to trees, sort, strip, sum facets, serialise",
    }
}

fn split_documents() -> Case {
    let body = Bytes::from(corpus::payload(DOCUMENTS));
    let reference_body = body.clone();
    Case {
        name: "split_10k",
        bytes: body.len(),
        reference: Box::new(move || {
            let parts = split_by_tree(black_box(&reference_body));
            assert!(black_box(parts).iter().all(|part| !part.is_empty()));
        }),
        ours: Box::new(move || {
            let split = split(black_box(&body), Format::Json, "id", SHARDS, &mut |key| {
                shard_of(key, SHARDS).0
            });
            let split = Arc::new(split.unwrap_or_default());
            assert_eq!(split.documents(), DOCUMENTS);
            for node in 0..NODES {
                let shards = (0..SHARDS).filter(|shard| usize::from(*shard) % NODES == node);
                let shards = shards.map(|shard| (shard, shard_code(Shard(shard)).as_str()));
                for piece in Part::new(split.clone(), shards).pieces() {
                    black_box(piece);
                }
            }
        }),
        reference_is: "serde_json: parse to trees, insert the field, serialise",
    }
}

/// What a straightforward proxy does: a tree for each answer, one list, one sort, one new text.
fn merge_by_tree(answers: &[Bytes], limit: usize) -> Vec<u8> {
    let mut hits: Vec<Value> = Vec::new();
    let mut facets: Map<String, Value> = Map::new();
    let mut total = 0;
    for answer in answers {
        let mut answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        total += answer["estimatedTotalHits"].as_u64().unwrap_or(0);
        if let Some(Value::Array(own)) = answer.get_mut("hits").map(Value::take) {
            hits.extend(own);
        }
        if let Some(Value::Object(own)) = answer.get_mut("facetDistribution").map(Value::take) {
            for (field, values) in own {
                let into = facets.entry(field).or_insert_with(|| json!({}));
                for (value, count) in values.as_object().into_iter().flatten() {
                    let sum = into[value].as_u64().unwrap_or(0) + count.as_u64().unwrap_or(0);
                    into[value] = sum.into();
                }
            }
        }
    }
    hits.sort_by(compare_trees);
    hits.truncate(limit);
    for hit in &mut hits {
        if let Some(hit) = hit.as_object_mut() {
            for field in ["_miroir_shard", "_rankingScore", "_rankingScoreDetails"] {
                hit.shift_remove(field);
            }
        }
    }
    let answer = json!({
        "hits": hits, "query": "dark knight", "processingTimeMs": 3, "limit": limit, "offset": 0,
        "estimatedTotalHits": total, "facetDistribution": facets,
    });
    serde_json::to_vec(&answer).unwrap_or_default()
}

/// The five rules of the corpus, by their raw counts.
fn compare_trees(a: &Value, b: &Value) -> Ordering {
    let detail = |hit: &Value, rule: &str, field: &str| {
        hit["_rankingScoreDetails"][rule][field]
            .as_f64()
            .unwrap_or(0.0)
    };
    let falling = |rule, field| detail(b, rule, field).total_cmp(&detail(a, rule, field));
    falling("words", "matchingWords")
        .then_with(|| falling("typo", "typoCount").reverse())
        .then_with(|| falling("proximity", "score"))
        .then_with(|| falling("attribute", "score"))
        .then_with(|| falling("exactness", "matchingWords"))
}

fn split_by_tree(body: &[u8]) -> Vec<Vec<u8>> {
    let documents: Vec<Map<String, Value>> = serde_json::from_slice(body).unwrap_or_default();
    let mut parts: Vec<Vec<Map<String, Value>>> = vec![Vec::new(); NODES];
    for mut document in documents {
        let shard = shard_of(document["id"].to_string().as_bytes(), SHARDS);
        document.insert("_miroir_shard".into(), shard_code(shard).as_str().into());
        parts[usize::from(shard.0) % NODES].push(document);
    }
    parts
        .iter()
        .map(|part| serde_json::to_vec(part).unwrap_or_default())
        .collect()
}

/// Of an answer's body.
const PIECES: usize = 24;
const DOCUMENTS: usize = 10_000;
const SHARDS: u16 = 16;
const NODES: usize = 3;
