//! Nodes that answer canned replies: what is measured in front of them is the proxy alone.
//!
//! A search costs a stub a head to parse and a shared buffer to send: one of four, as scores and their details are there where
//! the search asks for them, as on any node. Everything else that Miroir asks of a node is answered
//! as Meilisearch 1.15 would, from a few lists in memory: tasks succeed as soon as they are accepted, settings are kept,
//! documents are forgotten. All nodes of one process live on one core.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::join_all;
use miroir_net::server::drive;
use miroir_net::{bind, serve, Handler, Limits, Request, Response};
use miroir_rt::{spawn_background, Shutdown};
use monoio::net::UnixListener;
use serde_json::{json, Map, Value};

use crate::Error;

/// What the replies look like.
#[derive(Clone, Copy)]
pub struct Shape {
    /// In every answer.
    pub hits: usize,
    /// Of the text in a hit; its other members come to about 150 bytes, its ranking details to 430.
    pub text_bytes: usize,
    /// Ranking details in every answer, asked for or not.
    pub details: bool,
}

/// Serves `nodes` nodes on as many ports from `first` on, and on `PORT.sock` in the folder `sockets`. Call it on a core; ends when a
/// listener fails.
///
/// # Errors
/// A port or socket that cannot be had.
pub async fn run(
    first: SocketAddr,
    nodes: u16,
    shape: Shape,
    sockets: Option<&Path>,
) -> Result<(), Error> {
    let mut serving = Vec::new();
    for node in 0..nodes {
        let mut address = first;
        address.set_port(first.port() + node);
        let listener = bind(address).map_err(|source| Error::Listen { address, source })?;
        println!("node {node} listens on http://{address}");
        let stub = Rc::new(Stub::new(usize::from(node), usize::from(nodes), shape));
        let handler = Rc::new(move |request: Request| {
            let answer = stub.answer(&request);
            async move { answer }
        });
        // It keeps nothing of what it is sent.
        let limits = Rc::new(Limits {
            body_bytes_max: 4 << 30,
            ..Limits::default()
        });
        if let Some(folder) = sockets {
            let path = folder.join(format!("{}.sock", address.port()));
            let listener = std::os::unix::net::UnixListener::bind(path)?;
            listener.set_nonblocking(monoio::utils::is_legacy())?;
            let listener = UnixListener::from_std(listener)?;
            spawn_background(serve_socket(listener, handler.clone(), limits.clone()));
        }
        serving.push(serve(listener, handler, limits, Shutdown::new()));
    }
    for ended in join_all(serving).await {
        ended?;
    }
    Ok(())
}

async fn serve_socket<H: Handler>(listener: UnixListener, handler: Rc<H>, limits: Rc<Limits>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (handler, limits) = (handler.clone(), limits.clone());
        spawn_background(async move {
            drive(stream, &*handler, &limits, &Shutdown::new()).await;
        });
    }
}

/// One node.
struct Stub {
    /// Without scores, with them, with their details, with both.
    searches: [Bytes; 4],
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Uid, and the settings that were set.
    indexes: BTreeMap<String, Map<String, Value>>,
    features: Map<String, Value>,
    /// By uid: the type of each task, which has succeeded.
    tasks: Vec<&'static str>,
}

impl Stub {
    fn new(node: usize, nodes: usize, shape: Shape) -> Stub {
        Stub {
            searches: [(false, false), (true, false), (false, true), (true, true)].map(
                |(score, details)| {
                    let details = details || shape.details;
                    answer(node, nodes, shape, score, details)
                        .to_string()
                        .into()
                },
            ),
            state: RefCell::default(),
        }
    }

    fn answer(&self, request: &Request) -> Response {
        let path = request.path();
        if path.ends_with("/search") && path.starts_with("/indexes/") {
            return Response::json(200, self.search(&request.body));
        }
        let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
        let mut segments = path[1.min(path.len())..].splitn(3, '/');
        let mut segment = || segments.next().unwrap_or_default();
        let (first, index, rest) = (segment(), segment(), segment());
        let mut state = self.state.borrow_mut();
        let answer = match (request.method.as_str(), first, index, rest) {
            (_, "health", "", "") => json!({ "status": "available" }),
            (_, "version", "", "") => json!({
                "commitSha": "unknown", "commitDate": "unknown", "pkgVersion": "1.15.1"
            }),
            (_, "experimental-features", "", "") => {
                state
                    .features
                    .extend(body().as_object().cloned().unwrap_or_default());
                state.features.clone().into()
            }
            (_, "stats", "", "") => {
                let indexes = state.indexes.keys();
                let indexes: Map<String, Value> =
                    indexes.map(|uid| (uid.clone(), stats())).collect();
                json!({
                    "databaseSize": 0, "usedDatabaseSize": 0, "lastUpdate": SOME_DAY, "indexes": indexes
                })
            }
            (_, "multi-search", "", "") => return self.multi_search(&body()),
            ("GET", "tasks", "", "") => state.tasks(request.query()),
            ("GET", "indexes", "", "") => {
                let results: Vec<Value> = state.indexes.keys().map(|uid| index_view(uid)).collect();
                json!({
                    "results": results, "offset": 0, "limit": results.len(), "total": results.len()
                })
            }
            ("POST", "indexes", "", "") => {
                let uid = body()["uid"].as_str().unwrap_or_default().to_owned();
                state.indexes.entry(uid.clone()).or_default();
                return state.accept("indexCreation", &uid);
            }
            ("GET", "indexes", uid, rest) => match (state.indexes.get(uid), rest) {
                (None, _) => return not_found(uid),
                (Some(_), "") => index_view(uid),
                (Some(_), "stats") => stats(),
                (Some(settings), "settings") => settings.clone().into(),
                _ => return not_canned(path),
            },
            ("DELETE", "indexes", uid, "") => {
                state.indexes.remove(uid);
                return state.accept("indexDeletion", uid);
            }
            (_, "indexes", uid, "settings") => {
                let settings = state.indexes.entry(uid.to_owned()).or_default();
                settings.extend(body().as_object().cloned().unwrap_or_default());
                return state.accept("settingsUpdate", uid);
            }
            ("POST" | "PUT", "indexes", uid, "documents") => {
                state.indexes.entry(uid.to_owned()).or_default();
                return state.accept("documentAdditionOrUpdate", uid);
            }
            _ => return not_canned(path),
        };
        Response::json(200, answer.to_string())
    }

    /// The answer to this search, of which the two flags are looked for and nothing else; as serde_json writes them.
    fn search(&self, body: &[u8]) -> Bytes {
        let asks = |flag: &[u8]| usize::from(memchr::memmem::find(body, flag).is_some());
        let score = asks(b"\"showRankingScore\":true");
        let details = asks(b"\"showRankingScoreDetails\":true");
        self.searches[score + 2 * details].clone()
    }

    /// The same answer to each query; nothing to a federated search.
    fn multi_search(&self, body: &Value) -> Response {
        if !body["federation"].is_null() {
            let nothing = json!({
                "hits": [], "processingTimeMs": 0, "limit": 20, "offset": 0, "estimatedTotalHits": 0
            });
            return Response::json(200, nothing.to_string());
        }
        let queries = body["queries"].as_array().map_or(&[][..], Vec::as_slice);
        let mut pieces = vec![Bytes::from_static(b"{\"results\":[")];
        for (position, query) in queries.iter().enumerate() {
            let comma = if position > 0 { "," } else { "" };
            let open = format!("{comma}{{\"indexUid\":{},", query["indexUid"]);
            let search = self.search(query.to_string().as_bytes());
            pieces.extend([open.into(), search.slice(1..)]);
        }
        pieces.push(Bytes::from_static(b"]}"));
        Response::segments(200, pieces)
    }
}

impl State {
    fn accept(&mut self, kind: &'static str, index: &str) -> Response {
        self.tasks.push(kind);
        let summary = json!({
            "taskUid": self.tasks.len() - 1, "indexUid": index, "status": "enqueued", "type": kind, "enqueuedAt": SOME_DAY
        });
        Response::json(202, summary.to_string())
    }

    /// Those that are asked for by `uids`, or the last one.
    fn tasks(&self, query: &str) -> Value {
        let named = query
            .split('&')
            .find_map(|parameter| parameter.strip_prefix("uids="));
        let wanted: Vec<usize> = match named {
            _ if query.contains("statuses=enqueued") => Vec::new(),
            Some(uids) => uids
                .split(',')
                .filter_map(|uid| uid.parse().ok())
                .filter(|uid| *uid < self.tasks.len())
                .collect(),
            None => self.tasks.len().checked_sub(1).into_iter().collect(),
        };
        let view = |uid: &usize| {
            json!({
                "uid": uid, "batchUid": uid, "indexUid": null, "status": "succeeded", "type": self.tasks[*uid],
                "canceledBy": null, "details": {}, "error": null, "duration": "PT0S", "enqueuedAt": SOME_DAY,
                "startedAt": SOME_DAY, "finishedAt": SOME_DAY
            })
        };
        let results: Vec<Value> = wanted.iter().map(view).collect();
        json!({ "total": results.len(), "limit": 20, "from": null, "next": null, "results": results })
    }
}

/// Hits of `nodes` nodes interleave by rank; equal ones in all ranking rules but the last two are few.
fn answer(node: usize, nodes: usize, shape: Shape, with_score: bool, with_details: bool) -> Value {
    let words = "a man who has lost everything to the city puts on a mask ";
    let text: String = words.chars().cycle().take(shape.text_bytes).collect();
    let hit = |rank: usize| {
        let id = rank * nodes + node;
        let score = 0.99 / (1.0 + id as f64 / 100.0);
        let mut hit = json!({
            "_miroir_shard": "0", "id": id, "title": format!("The Dark Knight {id}"), "genres": ["Action", "Drama"],
            "year": 1928 + id % 90, "text": text
        });
        if with_score {
            hit["_rankingScore"] = score.into();
        }
        if with_details {
            hit["_rankingScoreDetails"] = json!({
                "words": { "order": 0, "matchingWords": 2, "maxMatchingWords": 2, "score": 1.0 },
                "typo": { "order": 1, "typoCount": id / 100 % 3, "maxTypoCount": 2, "score": 0.66 },
                "proximity": { "order": 2, "score": 0.9 },
                "attribute": {
                    "order": 3, "attributeRankingOrderScore": 1.0, "queryWordDistanceScore": score, "score": score
                },
                "exactness": {
                    "order": 4, "matchType": "noExactMatch", "matchingWords": 1, "maxMatchingWords": 2, "score": 0.33
                }
            });
        }
        hit
    };
    let hits: Vec<Value> = (0..shape.hits).map(hit).collect();
    json!({
        "hits": hits, "query": "dark knight", "processingTimeMs": 0, "limit": shape.hits, "offset": 0,
        "estimatedTotalHits": 7 * shape.hits
    })
}

fn stats() -> Value {
    json!({ "numberOfDocuments": 0, "isIndexing": false, "fieldDistribution": {} })
}

fn index_view(uid: &str) -> Value {
    json!({ "uid": uid, "createdAt": SOME_DAY, "updatedAt": SOME_DAY, "primaryKey": "id" })
}

fn not_found(uid: &str) -> Response {
    Response::error(&miroir_api::Error::index_not_found(uid))
}

fn not_canned(path: &str) -> Response {
    Response::error(&miroir_api::Error::not_implemented(format!(
        "`{path}` on a stub"
    )))
}

const SOME_DAY: &str = "2026-01-01T00:00:00Z";

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(stub: &Stub, method: http::Method, target: &'static str, body: Value) -> Value {
        let request = Request {
            method,
            target: Bytes::from_static(target.as_bytes()),
            headers: miroir_net::Headers::default(),
            body: body.to_string().into(),
            keep_alive: true,
        };
        let pieces = match stub.answer(&request).body {
            miroir_net::Body::Segments(pieces) => pieces.concat(),
            _ => Vec::new(),
        };
        serde_json::from_slice(&pieces).unwrap()
    }

    #[test]
    fn replies_are_whole_objects() {
        let shape = Shape {
            hits: 3,
            text_bytes: 100,
            details: false,
        };
        let stub = Stub::new(1, 2, shape);
        let (get, post) = (http::Method::GET, http::Method::POST);
        let one = ask(&stub, post.clone(), "/indexes/a/search", json!({}));
        assert_eq!(one["hits"][2]["id"], 5);
        assert!(one["hits"][2]["_rankingScoreDetails"].is_null());
        let detailed = json!({ "showRankingScoreDetails": true });
        let detailed = ask(&stub, post.clone(), "/indexes/a/search", detailed);
        assert!(detailed["hits"][2]["_rankingScoreDetails"]["words"].is_object());
        let queries = json!({ "queries": [{ "indexUid": "a" }, { "indexUid": "b" }] });
        let many = ask(&stub, post.clone(), "/multi-search", queries);
        assert_eq!(many["results"][1]["indexUid"], "b");
        assert_eq!(many["results"][1]["hits"], one["hits"]);
        ask(&stub, post.clone(), "/indexes", json!({ "uid": "a" }));
        let added = ask(&stub, post, "/indexes/a/documents", json!([]));
        assert_eq!(added["taskUid"], 1);
        let tasks = ask(&stub, get.clone(), "/tasks?uids=1,7", Value::Null);
        assert_eq!(tasks["results"][0]["status"], "succeeded");
        assert_eq!(tasks["results"].as_array().unwrap().len(), 1);
        assert_eq!(ask(&stub, get, "/indexes/a", Value::Null)["uid"], "a");
    }
}
