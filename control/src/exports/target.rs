//! The Meilisearch that is exported to.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use flate2::Compression;
use miroir_api::Error;
use miroir_webhooks::{is_refused, outgoing, Networks};
use serde_json::{Map, Value};
use tokio::time::sleep;

use super::Order;

/// How long one answer may take. A node allows 5 s, and asks again; a payload may take longer than that to be taken in.
const ANSWER: Duration = Duration::from_secs(60);

/// For how long it is tried again what may work later, as a node does (the defaults of its crate `backoff`).
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(60);

pub(super) struct Target {
    agent: ureq::Agent,
    base: String,
    bearer: Option<String>,
}

/// A request as it goes out, as often as needed.
struct Outgoing {
    method: &'static str,
    url: String,
    bearer: Option<String>,
    /// JSON, or documents, one a line, compressed.
    body: Option<(&'static str, Vec<u8>)>,
}

/// What one try came to.
enum Tried {
    Taken,
    Refused(Error, Option<String>),
    /// It may work later.
    NotNow(Error),
}

impl Target {
    pub(super) fn new(order: &Order, allowed: &Networks) -> Target {
        Target {
            agent: outgoing(allowed.clone(), ANSWER),
            base: order.url.trim_end_matches('/').to_owned(),
            bearer: order.api_key.as_ref().map(|key| format!("Bearer {key}")),
        }
    }

    /// Whether it has the index at this path.
    pub(super) async fn has_index(&self, path: &str) -> Result<bool, Error> {
        match self.call("GET", path, None).await? {
            Ok(()) => Ok(true),
            Err((_, Some(code))) if code == "index_not_found" => Ok(false),
            Err((error, _)) => Err(error),
        }
    }

    /// Sends JSON.
    pub(super) async fn send(
        &self,
        method: &'static str,
        path: &str,
        body: &Value,
    ) -> Result<(), Error> {
        let body = ("application/json", body.to_string().into_bytes());
        let sent = self.call(method, path, Some(body)).await?;
        sent.map_err(|(error, _)| error)
    }

    /// Inside: what the other side said no with, and its code.
    async fn call(
        &self,
        method: &'static str,
        path: &str,
        body: Option<(&'static str, Vec<u8>)>,
    ) -> Result<Result<(), (Error, Option<String>)>, Error> {
        let request = Arc::new(Outgoing {
            method,
            url: format!("{}{path}", self.base),
            bearer: self.bearer.clone(),
            body,
        });
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let (agent, sent) = (self.agent.clone(), Arc::clone(&request));
            let tried = tokio::task::spawn_blocking(move || sent.once(&agent)).await;
            match tried.map_err(|error| Error::internal(error.to_string()))? {
                Tried::Taken => return Ok(Ok(())),
                Tried::Refused(error, code) => return Ok(Err((error, code))),
                Tried::NotNow(error) if begun.elapsed() >= PATIENCE => return Err(error),
                Tried::NotNow(error) => {
                    tracing::warn!(%error, "an export is not taken; trying again");
                    sleep(pause).await;
                    pause = (pause * 3 / 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

impl Outgoing {
    fn once(&self, agent: &ureq::Agent) -> Tried {
        let mut request = agent.request(self.method, &self.url);
        if let Some(bearer) = &self.bearer {
            request = request.set("Authorization", bearer);
        }
        let answer = match &self.body {
            None => request.call(),
            Some((kind, bytes)) => {
                if *kind == PARCEL {
                    request = request.set("Content-Encoding", "gzip");
                }
                request.set("Content-Type", kind).send_bytes(bytes)
            }
        };
        match answer {
            Ok(answer) if answer.status() < 300 => Tried::Taken,
            Ok(answer) => {
                let status = answer.status();
                Tried::Refused(
                    failed(&format!(
                        "the answer was {status}, and redirections are not followed"
                    )),
                    None,
                )
            }
            Err(ureq::Error::Status(status, answer)) => {
                let said = answer.into_string().unwrap_or_default();
                let said: Value = serde_json::from_str(&said).unwrap_or_default();
                let error = refusal(status, &said);
                match status {
                    408 | 429 | 500 | 502 | 503 | 504 => Tried::NotNow(error),
                    _ => Tried::Refused(error, said["code"].as_str().map(str::to_owned)),
                }
            }
            Err(ureq::Error::Transport(error)) if is_refused(&error) => {
                let why =
                    "the address is not one that may be spoken to (see `allowed_ip_networks`)";
                Tried::Refused(failed(why), None)
            }
            Err(ureq::Error::Transport(error)) => {
                use ureq::ErrorKind::{InvalidUrl, UnknownScheme};
                // Its full text has the address in it, which may have a secret in it.
                let told = failed(&error.kind().to_string());
                match error.kind() {
                    InvalidUrl | UnknownScheme => Tried::Refused(told, None),
                    _ => Tried::NotNow(told),
                }
            }
        }
    }
}

/// As a node tells what another Meilisearch refused.
fn refusal(status: u16, said: &Value) -> Error {
    let word = |name: &str| said[name].as_str();
    match (word("code"), word("type"), word("message"), word("link")) {
        (Some(code), Some(kind), Some(message), Some(link)) => Error::internal(format!(
            "Failed to export documents to remote server {code} ({kind}): {message} <{link}>"
        )),
        _ => failed(&format!("the answer was {status}")),
    }
}

fn failed(why: &str) -> Error {
    Error::internal(format!(
        "Failed to export documents to remote server: {why}"
    ))
}

const PARCEL: &str = "application/x-ndjson";

/// Documents of one index on their way.
pub(super) struct Parcel<'t> {
    target: &'t Target,
    path: String,
    bytes_max: usize,
    lines: Vec<u8>,
}

impl<'t> Parcel<'t> {
    pub(super) fn new(target: &'t Target, index: &str, bytes_max: usize) -> Parcel<'t> {
        Parcel {
            target,
            path: format!("/indexes/{index}/documents"),
            bytes_max,
            lines: Vec::new(),
        }
    }

    /// Puts a document in; what was in it goes before where both do not fit.
    pub(super) async fn add(&mut self, document: &Map<String, Value>) -> Result<(), Error> {
        let line = serde_json::to_vec(document).map_err(|e| Error::internal(e.to_string()))?;
        if self.lines.len() + line.len() > self.bytes_max {
            self.finish().await?;
        }
        self.lines.extend(line);
        self.lines.push(b'\n');
        Ok(())
    }

    /// Sends what is in it.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        let packed = packed.write_all(&lines).and_then(|()| packed.finish());
        let packed = packed.map_err(|error| Error::internal(error.to_string()))?;
        let sent = self.target.call("POST", &self.path, Some((PARCEL, packed)));
        sent.await?.map_err(|(error, _)| error)
    }
}
