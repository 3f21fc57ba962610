//! A blocking HTTP client for tests: one call, one whole answer.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Somebody to speak to: a node or a proxy.
#[derive(Clone, Debug)]
pub struct Target {
    /// For reports: "one node", "3 nodes".
    pub name: String,
    /// `http://host:port`.
    pub base: String,
    /// Sent as bearer token unless a call says otherwise.
    pub key: String,
}

/// One request.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub method: String,
    /// Path and query, percent-encoded.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    /// Leave the target's key out (a header may still carry another one).
    pub anonymous: bool,
}

/// One whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// `Null` for an empty body, a string for one that is not JSON.
    pub body: Value,
}

impl Call {
    /// A request without a body.
    pub fn new(method: &str, path: impl Into<String>) -> Call {
        Call {
            method: method.to_string(),
            path: path.into(),
            ..Call::default()
        }
    }

    /// A request with a JSON body.
    pub fn json(method: &str, path: impl Into<String>, body: &Value) -> Call {
        Call {
            headers: vec![("content-type".into(), "application/json".into())],
            body: Some(body.to_string().into_bytes()),
            ..Call::new(method, path)
        }
    }
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// `code` of a Meilisearch error object.
    pub fn code(&self) -> Option<&str> {
        self.body.get("code").and_then(Value::as_str)
    }
}

impl Target {
    /// Sends one request; the error is for people.
    pub fn call(&self, call: &Call) -> Result<Answer, String> {
        client().runtime.block_on(self.send(call))
    }

    /// The same, again for a while where the answer is that a shard cannot be asked just now: on a slow machine a node can seem to be
    /// down for a moment.
    pub fn call_when_whole(&self, call: &Call) -> Result<Answer, String> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.call(call)?;
            if answer.status != 503 || Instant::now() > until {
                return Ok(answer);
            }
            println!(
                "asked again: {} {} on {}: {}",
                call.method, call.path, self.name, answer.body
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// GET.
    pub fn get(&self, path: &str) -> Result<Answer, String> {
        self.call(&Call::new("GET", path))
    }

    /// A request with a JSON body.
    pub fn send_json(&self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        self.call(&Call::json(method, path, body))
    }

    /// Sends a write, expects 202, waits for its task and returns it.
    pub fn write(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let answer = self.send_json(method, path, body)?;
        let uid = answer.body.get("taskUid").and_then(Value::as_u64);
        match uid {
            // Exports, and what cancels or deletes tasks, are answered 200.
            Some(uid) if matches!(answer.status, 200 | 202) => self.wait_task(uid),
            _ => Err(format!(
                "{method} {path} on {}: {} {}",
                self.name, answer.status, answer.body
            )),
        }
    }

    /// Polls a task until it is finished. Five minutes without an end are an error: slow machines are shared by many tests.
    pub fn wait_task(&self, uid: u64) -> Result<Value, String> {
        let until = Instant::now() + Duration::from_secs(300);
        let mut pause = Duration::from_millis(2);
        loop {
            let answer = self.get(&format!("/tasks/{uid}"))?;
            match answer.body.get("status").and_then(Value::as_str) {
                Some("enqueued" | "processing") => {}
                Some(_) => return Ok(answer.body),
                None => {
                    return Err(format!(
                        "task {uid} on {}: {} {}",
                        self.name, answer.status, answer.body
                    ))
                }
            }
            if Instant::now() > until {
                return Err(format!(
                    "task {uid} on {} has not ended after five minutes: {}",
                    self.name, answer.body
                ));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(40));
        }
    }

    /// Whether `GET /health` answers 200.
    pub fn healthy(&self) -> bool {
        self.get("/health").is_ok_and(|a| a.status == 200)
    }

    async fn send(&self, call: &Call) -> Result<Answer, String> {
        let fail = |e: &dyn std::fmt::Display| {
            format!("{} {} on {}: {e}", call.method, call.path, self.name)
        };
        let method = reqwest::Method::from_bytes(call.method.as_bytes()).map_err(|e| fail(&e))?;
        let mut request = client()
            .http
            .request(method, format!("{}{}", self.base, call.path));
        if !call.anonymous {
            request = request.bearer_auth(&self.key);
        }
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let answer = request.send().await.map_err(|e| fail(&format!("{e:?}")))?;
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(n, v)| {
                (
                    n.as_str().to_string(),
                    String::from_utf8_lossy(v.as_bytes()).into_owned(),
                )
            })
            .collect();
        let bytes = answer.bytes().await.map_err(|e| fail(&e))?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        };
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

/// Polls `condition` until it holds; panics with `what` after `limit`.
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "waited {limit:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| Client {
        runtime: tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime"),
        http: reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client"),
    })
}
