//! A server that speaks Meilisearch's API: requests, tasks, lists.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::sleep;

/// How long one answer may take: a node takes a large payload in before it answers.
const ANSWER: Duration = Duration::from_secs(300);

/// How often a request is sent again that a server could not serve just now.
const TRIES: u32 = 6;

/// The first pause between tries; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(200);

/// Code of a refusal that is ours.
pub(crate) const NOT_EMPTY: &str = "miroir_not_empty";

/// What an import stopped at.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Trouble {
    /// What was being done, as in "sending documents to index `films`".
    pub doing: String,
    pub why: String,
    /// Meilisearch's code where the server said no.
    pub code: Option<String>,
}

impl Trouble {
    /// The importer itself broke off.
    pub fn crash(error: &tokio::task::JoinError) -> Trouble {
        Trouble::new("importing", format!("it broke off: {error}; see the log"))
    }

    /// The server has indexes, and a dump is only imported where there are none.
    pub fn is_not_empty(&self) -> bool {
        self.code.as_deref() == Some(NOT_EMPTY)
    }

    /// What to do about the import of a dump that has stopped.
    pub fn with_advice(&self) -> String {
        format!(
            "{self}. What was imported until then stays. Mend the cause, delete the indexes that are there (`DELETE \
             /indexes/{{uid}}`) or begin with empty nodes and an empty store, and import the dump again."
        )
    }

    pub fn new(doing: impl Into<String>, why: impl Into<String>) -> Trouble {
        Trouble {
            doing: doing.into(),
            why: why.into(),
            code: None,
        }
    }
}

/// One server and the key to it.
#[derive(Clone)]
pub struct Server {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

/// A request's body.
#[derive(Clone)]
pub(crate) enum Body {
    None,
    Json(Value),
    Ndjson(Bytes),
}

impl Server {
    /// `base`: `http://host:port`, with or without a slash at the end.
    ///
    /// # Errors
    /// The HTTP client does not start, or the address is none.
    pub fn new(base: &str, key: Option<String>) -> Result<Server, Trouble> {
        let doing = || format!("speaking to {base}");
        if base.starts_with("https://") {
            let why = "TLS is not there yet; use http://, or a tunnel";
            return Err(Trouble::new(doing(), why));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(ANSWER)
            // Servers are named by whoever runs the import: a proxy from the environment must not stand between.
            .no_proxy()
            .build()
            .map_err(|error| Trouble::new(doing(), error.to_string()))?;
        Ok(Server {
            http,
            base: base.trim_end_matches('/').to_owned(),
            key,
        })
    }

    /// Where it is.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, doing: &str, path: &str) -> Result<Value, Trouble> {
        self.call(doing, Method::GET, path, Body::None).await
    }

    /// Sends a request, again where the server is busy, and reads the answer as JSON.
    pub(crate) async fn call(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Value, Trouble> {
        let bytes = self.bytes(doing, method, path, body).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|_| {
            let why = format!("{} does not answer as Meilisearch does", self.base);
            Trouble::new(doing, why)
        })
    }

    /// As [`Server::call`]; the answer as it came.
    pub(crate) async fn bytes(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Bytes, Trouble> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.once(doing, method.clone(), path, body.clone()).await {
                Ok(Answer::Done(bytes)) => return Ok(bytes),
                Ok(Answer::NotNow(_)) => {
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(trouble) => return Err(trouble),
            }
        }
        match self.once(doing, method, path, body).await? {
            Answer::Done(bytes) => Ok(bytes),
            Answer::NotNow(trouble) => Err(trouble),
        }
    }

    async fn once(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Answer, Trouble> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        request = match body {
            Body::None => request,
            Body::Json(value) => request.json(&value),
            Body::Ndjson(bytes) => request
                .header("content-type", "application/x-ndjson")
                .body(bytes),
        };
        let broken = |error: reqwest::Error| {
            let why = if error.is_connect() {
                "nothing listens there"
            } else if error.is_timeout() {
                "no answer in time"
            } else if error.is_builder() {
                "that is not an address"
            } else {
                "the connection broke"
            };
            Trouble::new(doing, format!("{}: {why}", self.base))
        };
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if error.is_builder() => return Err(broken(error)),
            Err(error) => return Ok(Answer::NotNow(broken(error))),
        };
        let status = answer.status();
        let bytes = match answer.bytes().await {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Answer::NotNow(broken(error))),
        };
        if status.is_success() {
            return Ok(Answer::Done(bytes));
        }
        let refusal = refusal(doing, status, &bytes);
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                Ok(Answer::NotNow(refusal))
            }
            _ => Err(refusal),
        }
    }

    /// Sends a request that makes a task and gives its uid.
    pub(crate) async fn task(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<u64, Trouble> {
        let answer = self.call(doing, method, path, body).await?;
        answer["taskUid"]
            .as_u64()
            .ok_or_else(|| Trouble::new(doing, "the answer names no task"))
    }

    /// Waits until a task has ended; an error where it has not succeeded.
    pub(crate) async fn wait(&self, doing: &str, task: u64) -> Result<Value, Trouble> {
        const PAUSE_MAX: Duration = Duration::from_millis(500);
        let mut pause = Duration::from_millis(5);
        loop {
            let view = self.get(doing, &format!("/tasks/{task}")).await?;
            match view["status"].as_str() {
                Some("enqueued" | "processing") => sleep(pause).await,
                Some("succeeded") => return Ok(view),
                _ => {
                    let error = &view["error"];
                    let why = error["message"].as_str().unwrap_or("it was canceled");
                    return Err(Trouble {
                        code: error["code"].as_str().map(str::to_owned),
                        ..Trouble::new(doing, format!("task {task} failed: {why}"))
                    });
                }
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Everything of a list that comes in pages by `offset` and `limit`.
    pub(crate) async fn list(&self, doing: &str, path: &str) -> Result<Vec<Value>, Trouble> {
        const PAGE: usize = 100;
        let mut all = Vec::new();
        loop {
            let page = format!("{path}?offset={}&limit={PAGE}", all.len());
            let mut page = self.get(doing, &page).await?;
            match page["results"].take() {
                Value::Array(results) if !results.is_empty() => all.extend(results),
                _ => return Ok(all),
            }
        }
    }

    /// How many documents an index has.
    pub(crate) async fn count(&self, uid: &str) -> Result<u64, Trouble> {
        let doing = format!("counting the documents of index `{uid}`");
        let stats = self.get(&doing, &format!("/indexes/{uid}/stats")).await?;
        Ok(stats["numberOfDocuments"].as_u64().unwrap_or(0))
    }
}

enum Answer {
    Done(Bytes),
    /// It may work a little later.
    NotNow(Trouble),
}

fn refusal(doing: &str, status: StatusCode, bytes: &[u8]) -> Trouble {
    let body: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    let why = match body["message"].as_str() {
        Some(message) => message.to_owned(),
        None => format!("the answer was {status}"),
    };
    Trouble {
        code: body["code"].as_str().map(str::to_owned),
        ..Trouble::new(doing, why)
    }
}
