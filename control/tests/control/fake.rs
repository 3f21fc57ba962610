//! A scripted node: just enough of Meilisearch for the control plane, with faults on demand.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{header, HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{json, Map, Value};

pub const KEY: &str = "node-key";

/// A running fake node.
#[derive(Clone)]
pub struct Fake {
    pub address: SocketAddr,
    state: Arc<Mutex<State0>>,
}

#[derive(Default)]
struct State0 {
    version: String,
    down: bool,
    held: bool,
    /// Answers 500 to every change.
    broken: bool,
    /// Answers settings with this merged in: a node that does not do as it was told.
    lie: Option<Value>,
    indexes: Map<String, Value>,
    tasks: Vec<Value>,
    log: Vec<String>,
    /// Indexes created so far.
    created: u8,
    /// Documents without the hidden field.
    foreign: u64,
}

impl Fake {
    pub fn start(version: &str) -> Fake {
        let state = Arc::new(Mutex::new(State0 {
            version: version.to_owned(),
            ..State0::default()
        }));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let router = Router::new().fallback(answer).with_state(shared);
                axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), router)
                    .await
                    .unwrap();
            });
        });
        Fake { address, state }
    }

    /// Refuses everything, or serves again.
    pub fn set_down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// Lets tasks wait, or runs those that wait.
    pub fn hold(&self, held: bool) {
        let mut state = self.state.lock().unwrap();
        state.held = held;
        if !held {
            state.run_all();
        }
    }

    /// Is healthy, and fails at every change.
    pub fn set_broken(&self, broken: bool) {
        self.state.lock().unwrap().broken = broken;
    }

    pub fn lie(&self, lie: Option<Value>) {
        self.state.lock().unwrap().lie = lie;
    }

    /// Loses everything, as a node that is started on an empty disk.
    pub fn empty(&self) {
        let mut state = self.state.lock().unwrap();
        state.indexes.clear();
        state.tasks.clear();
    }

    /// Has this many documents in each index that another program wrote.
    pub fn set_foreign(&self, documents: u64) {
        self.state.lock().unwrap().foreign = documents;
    }

    /// Creates an index behind everybody's back.
    pub fn plant(&self, uid: &str) {
        self.state.lock().unwrap().create(uid, Value::Null);
    }

    /// Accepts documents as if a core had sent them; returns the task's uid.
    pub fn documents(&self, index: &str, count: u64) -> u32 {
        let task = json!({ "type": "documentAdditionOrUpdate", "indexUid": index, "count": count });
        self.state.lock().unwrap().enqueue(task)
    }

    pub fn index(&self, uid: &str) -> Option<Value> {
        self.state.lock().unwrap().indexes.get(uid).cloned()
    }

    /// The changes that were asked for: method and path of everything but GET.
    pub fn changes(&self) -> Vec<String> {
        self.state
            .lock()
            .unwrap()
            .log
            .iter()
            .filter(|line| !line.starts_with("GET"))
            .cloned()
            .collect()
    }
}

impl State0 {
    fn enqueue(&mut self, mut task: Value) -> u32 {
        let uid = self.tasks.len() as u32;
        task["uid"] = json!(uid);
        task["status"] = json!("enqueued");
        self.tasks.push(task);
        if !self.held {
            self.run_all();
        }
        uid
    }

    fn run_all(&mut self) {
        for position in 0..self.tasks.len() {
            if self.tasks[position]["status"] == "enqueued" {
                let mut task = self.tasks[position].take();
                let failure = self.run(&mut task);
                task["status"] = json!(if failure.is_some() {
                    "failed"
                } else {
                    "succeeded"
                });
                task["error"] = json!(failure.map(|code| json!({
                    "code": code, "message": "no", "type": "invalid_request", "link": ""
                })));
                task["startedAt"] = json!("2026-01-01T00:00:01Z");
                task["finishedAt"] = json!("2026-01-01T00:00:02.5Z");
                self.tasks[position] = task;
            }
        }
    }

    fn run(&mut self, task: &mut Value) -> Option<&'static str> {
        let uid = task["indexUid"].as_str().unwrap().to_owned();
        let exists = self.indexes.contains_key(&uid);
        match task["type"].as_str().unwrap() {
            "indexCreation" if exists => return Some("index_already_exists"),
            "indexCreation" => self.create(&uid, task["primaryKey"].clone()),
            "indexDeletion" | "indexUpdate" if !exists => return Some("index_not_found"),
            "indexDeletion" => {
                let documents = self.indexes.remove(&uid).unwrap()["documents"].clone();
                task["details"] = json!({ "deletedDocuments": documents });
            }
            "indexUpdate" => self.indexes[&uid]["primaryKey"] = task["primaryKey"].clone(),
            "settingsUpdate" => {
                if !exists {
                    self.create(&uid, Value::Null);
                }
                for (key, value) in task["settings"].as_object().unwrap() {
                    let value = if value.is_null() {
                        defaults()[key].clone()
                    } else {
                        value.clone()
                    };
                    merge(&mut self.indexes[&uid]["settings"][key], value);
                }
            }
            _ => {
                let count = task["count"].as_u64().unwrap();
                let documents = self.indexes[&uid]["documents"].as_u64().unwrap();
                self.indexes[&uid]["documents"] = json!(documents + count);
                task["details"] = json!({ "receivedDocuments": count, "indexedDocuments": count });
            }
        }
        None
    }

    fn create(&mut self, uid: &str, primary_key: Value) {
        self.created += 1;
        let created_at = format!("2026-01-01T00:00:{:02}.5Z", self.created);
        let index = json!({
            "uid": uid, "primaryKey": primary_key, "createdAt": created_at, "documents": 0, "settings": defaults(),
        });
        self.indexes.insert(uid.to_owned(), index);
    }
}

fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => new.into_iter().for_each(|(key, value)| {
            old.insert(key, value);
        }),
        (old, new) => *old = new,
    }
}

fn defaults() -> Value {
    json!({
        "displayedAttributes": ["*"], "filterableAttributes": [], "rankingRules": ["words", "typo"], "stopWords": [],
        "faceting": { "maxValuesPerFacet": 100, "sortFacetValuesBy": { "*": "alpha" } },
        "pagination": { "maxTotalHits": 1000 },
    })
}

fn refuse(status: u16, code: &str) -> Response {
    let error = json!({ "message": format!("{code}: `_miroir_shard, a`"), "code": code, "type": "invalid_request", "link": "" });
    (StatusCode::from_u16(status).unwrap(), Json(error)).into_response()
}

async fn answer(
    State(state): State<Arc<Mutex<State0>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut state = state.lock().unwrap();
    if state.down {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let path = uri.path().to_owned();
    state.log.push(format!("{method} {path}"));
    if path == "/health" {
        return Json(json!({ "status": "available" })).into_response();
    }
    if headers
        .get(header::AUTHORIZATION)
        .is_none_or(|value| value != format!("Bearer {KEY}").as_str())
    {
        return refuse(403, "invalid_api_key");
    }
    if state.broken && method != Method::GET {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let task = match (method.as_str(), segments.as_slice()) {
        ("GET", rest) => return read(&state, rest, uri.query().unwrap_or_default()),
        ("POST", ["indexes"]) => {
            json!({ "type": "indexCreation", "indexUid": body["uid"], "primaryKey": body["primaryKey"] })
        }
        ("PATCH", ["indexes", uid]) => {
            json!({ "type": "indexUpdate", "indexUid": uid, "primaryKey": body["primaryKey"] })
        }
        ("DELETE", ["indexes", uid]) => json!({ "type": "indexDeletion", "indexUid": uid }),
        ("PATCH", ["indexes", uid, "settings"]) => {
            if body["rankingRules"].is_number() {
                return refuse(400, "invalid_settings_ranking_rules");
            }
            json!({ "type": "settingsUpdate", "indexUid": uid, "settings": body })
        }
        (_, ["indexes", uid, "settings", sub]) => {
            json!({ "type": "settingsUpdate", "indexUid": uid, "settings": { camel(sub): body } })
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let uid = state.enqueue(task);
    (
        StatusCode::ACCEPTED,
        Json(json!({ "taskUid": uid, "status": "enqueued" })),
    )
        .into_response()
}

fn read(state: &State0, segments: &[&str], query: &str) -> Response {
    let found = |uid: &str| state.indexes.get(uid).cloned();
    let body = match segments {
        ["version"] => json!({ "pkgVersion": state.version, "commitSha": "x", "commitDate": "y" }),
        ["stats"] => {
            json!({ "databaseSize": 7, "lastUpdate": null, "indexes": state.indexes.iter().map(|index| stats(state, index)).collect::<Map<_, _>>() })
        }
        ["indexes"] => json!({ "results": state.indexes.values().collect::<Vec<_>>() }),
        ["tasks"] if query == "limit=1" => {
            json!({ "results": state.tasks.last().into_iter().collect::<Vec<_>>() })
        }
        ["tasks"] => {
            let uids = query.trim_start_matches("uids=").split('&').next().unwrap();
            let asked: Vec<&str> = uids.split(',').collect();
            let matching = state
                .tasks
                .iter()
                .filter(|task| asked.contains(&task["uid"].to_string().as_str()));
            json!({ "results": matching.collect::<Vec<_>>() })
        }
        ["indexes", uid, rest @ ..] => {
            let Some(index) = found(uid) else {
                return refuse(404, "index_not_found");
            };
            let mut settings = index["settings"].clone();
            if let Some(lie) = &state.lie {
                merge(&mut settings, lie.clone());
            }
            match rest {
                [] => index,
                ["stats"] => stats(state, (&(*uid).to_owned(), &index)).1,
                ["settings"] => settings,
                ["settings", sub] => settings[camel(sub)].clone(),
                _ => return StatusCode::NOT_FOUND.into_response(),
            }
        }
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    Json(body).into_response()
}

fn stats(state: &State0, (uid, index): (&String, &Value)) -> (String, Value) {
    let ours = index["documents"].as_u64().unwrap();
    let count = ours + state.foreign;
    let fields = json!({ "_miroir_shard": ours, "id": count });
    (
        uid.clone(),
        json!({ "numberOfDocuments": count, "isIndexing": false, "fieldDistribution": fields }),
    )
}

fn camel(path: &str) -> String {
    let mut words = path.split('-');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| {
        name + &word[..1].to_uppercase() + &word[1..]
    })
}
