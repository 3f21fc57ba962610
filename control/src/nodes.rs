//! Talking to one node, and to all of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use miroir_api::{unix_socket, Error};
use miroir_router::{Counted, Node, NodeIdx, NodeState};
use reqwest::Method;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use miroir_router::Version;

use crate::scrub::scrub;
use crate::settings::no_node;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// For questions that a healthy node answers at once.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// One node of the fleet with a way to speak to it.
pub(crate) struct NodeClient {
    pub idx: NodeIdx,
    pub node: Arc<Node>,
    http: reqwest::Client,
    /// Of a node with an address `unix:/path`.
    socket: Option<reqwest::Client>,
    key: Option<String>,
    about: Mutex<Option<(Version, Value)>>,
    /// Whether it was removed from the cluster, or is reached at another address from now on.
    retired: watch::Sender<bool>,
    /// How often it was found to have lost what it was given: whoever fills it compares before and after.
    pub losses: AtomicU64,
    /// When a request that may change something was last given up: it may still arrive.
    given_up: Mutex<Option<Instant>>,
}

/// A node's answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub body: Bytes,
}

/// No answer came.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub(crate) struct NoAnswer {
    pub why: String,
    /// The node may have received the request.
    pub sent: bool,
}

/// What one request of a broadcast says.
#[derive(Clone, Debug)]
pub(crate) struct NodeRequest {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
    /// One more header field, with its value.
    pub header: Option<(&'static str, &'static str)>,
}

/// A node's uid for a task that it accepted.
pub(crate) type Accepted = (NodeIdx, u32);

/// The HTTP client for all nodes of a fleet.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    client_builder().build()
}

/// The HTTP client of a node with a socket of its own.
fn socket_client(path: &str) -> Option<reqwest::Client> {
    let built = client_builder().unix_socket(path).build();
    built
        .inspect_err(|error| tracing::error!(path, %error, "no client for a node's socket"))
        .ok()
}

fn client_builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        // The fleet is ours: a proxy from the environment must not stand between.
        .no_proxy()
}

impl NodeClient {
    pub(crate) fn new(
        idx: NodeIdx,
        node: Arc<Node>,
        http: reqwest::Client,
        key: Option<String>,
    ) -> Self {
        let socket = unix_socket(&node.address).and_then(socket_client);
        NodeClient {
            idx,
            node,
            http,
            socket,
            key,
            about: Mutex::new(None),
            retired: watch::Sender::new(false),
            losses: AtomicU64::new(0),
            given_up: Mutex::new(None),
        }
    }

    /// The same node at another place of the fleet's life: with the same client and key.
    pub(crate) fn successor(&self, idx: NodeIdx, node: Arc<Node>) -> NodeClient {
        NodeClient::new(idx, node, self.http.clone(), self.key.clone())
    }

    /// Ends the node's background jobs; it is not asked any more.
    pub(crate) fn retire(&self) {
        self.node.set_state(NodeState::Down);
        self.retired.send_replace(true);
    }

    /// Runs a background job until the node is retired.
    pub(crate) async fn until_retired(&self, job: impl Future<Output = ()>) {
        let mut retired = self.retired.subscribe();
        tokio::select! {
            _ = retired.wait_for(|retired| *retired) => {}
            () = job => {}
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.node.id
    }

    /// Version and `/version` body, once the node was checked.
    pub(crate) fn about(&self) -> Option<(Version, Value)> {
        self.about
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn set_about(&self, version: Version, body: Value) {
        self.node.set_version(version);
        *self.about.lock().unwrap_or_else(PoisonError::into_inner) = Some((version, body));
    }

    pub(crate) async fn send(&self, request: &NodeRequest) -> Result<Reply, NoAnswer> {
        self.send_within(request, REQUEST_TIMEOUT).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Reply, NoAnswer> {
        self.send(&NodeRequest::get(path)).await
    }

    /// `GET /health` within a short time.
    pub(crate) async fn probe(&self, limit: Duration) -> Result<(), NoAnswer> {
        let health = NodeRequest::get("/health");
        let reply = self.send_within(&health, limit).await?;
        match reply.status {
            200 => Ok(()),
            status => Err(NoAnswer {
                why: format!("GET /health answered {status}"),
                sent: true,
            }),
        }
    }

    pub(crate) async fn send_within(
        &self,
        request: &NodeRequest,
        limit: Duration,
    ) -> Result<Reply, NoAnswer> {
        let counted = self.node.tasks.so_far();
        let mut call = self.call(request.method.clone(), &request.path, limit);
        if let Some((name, value)) = request.header {
            call = call.header(name, value);
        }
        if let Some(body) = &request.body {
            call = call.json(body);
        }
        let reply = reply_to(call).await;
        if request.method != Method::GET {
            self.note(&reply, counted);
        }
        reply
    }

    /// Sends a body that is JSON already.
    pub(crate) async fn send_json(
        &self,
        method: Method,
        path: &str,
        body: String,
        limit: Duration,
    ) -> Result<Reply, NoAnswer> {
        let counted = self.node.tasks.so_far();
        let call = self.call(method, path, limit);
        let json = (reqwest::header::CONTENT_TYPE, "application/json");
        let reply = reply_to(call.header(json.0, json.1).body(body)).await;
        self.note(&reply, counted);
        reply
    }

    fn note(&self, reply: &Result<Reply, NoAnswer>, counted: Counted) {
        if reply.as_ref().is_err_and(|error| error.sent) {
            let now = Some(Instant::now());
            *self.given_up.lock().unwrap_or_else(PoisonError::into_inner) = now;
        }
        // A node that numbers a task anew is not the one that we filled: it is looked at before it is used again.
        let accepted = reply.as_ref().ok().and_then(Reply::task_uid);
        if accepted.is_some_and(|uid| !self.node.tasks.note(uid, counted)) {
            self.losses.fetch_add(1, Ordering::Relaxed);
            self.node.state.doubt();
        }
    }

    /// How long ago a request that may change something was given up, if ever.
    pub(crate) fn since_given_up(&self) -> Option<Duration> {
        let at = *self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        at.map(|at| at.elapsed())
    }

    fn call(&self, method: Method, path: &str, limit: Duration) -> reqwest::RequestBuilder {
        let (http, host) = match &self.socket {
            Some(socket) => (socket, "localhost"),
            None => (&self.http, self.node.address.as_str()),
        };
        let call = http
            .request(method, format!("http://{host}{path}"))
            .timeout(limit);
        match &self.key {
            Some(key) => call.bearer_auth(key),
            None => call,
        }
    }
}

async fn reply_to(call: reqwest::RequestBuilder) -> Result<Reply, NoAnswer> {
    let answer = call.send().await.map_err(no_answer)?;
    let status = answer.status().as_u16();
    let body = answer.bytes().await.map_err(no_answer)?;
    Ok(Reply { status, body })
}

impl NodeRequest {
    pub(crate) fn new(method: Method, path: impl Into<String>, body: Option<Value>) -> Self {
        NodeRequest {
            method,
            path: path.into(),
            body,
            header: None,
        }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, None)
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The node's own error, fit for a client.
    pub(crate) fn error(&self) -> Error {
        match Error::from_body(self.status, &self.body) {
            Some(mut error) => {
                error.message = scrub(&error.message);
                error
            }
            None => Error::system(
                502,
                "miroir_node_answer",
                format!(
                    "A node answered {} without an error object; see its log.",
                    self.status
                ),
            ),
        }
    }

    /// Whether the node blames the client (and not our key, or its own load), or does not know how to do this at all.
    fn blames_client(&self) -> bool {
        let by_client = (400..500).contains(&self.status) || self.status == 501;
        by_client && !matches!(self.status, 401 | 403 | 408 | 429)
    }

    pub(crate) fn task_uid(&self) -> Option<u32> {
        if self.status != 202 {
            return None;
        }
        u32::try_from(self.json()["taskUid"].as_u64()?).ok()
    }
}

fn no_answer(error: reqwest::Error) -> NoAnswer {
    let why = if error.is_connect() {
        "cannot connect"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    NoAnswer {
        why: why.to_owned(),
        sent: !error.is_connect(),
    }
}

/// Sends a change to every node: `first` to one node, whose 4xx is the client's answer, then `rest` to all others.
///
/// `what` names the change in errors. A node that is known to be down stops it before anything is sent. Where a node
/// fails later, the error says on which nodes the change may have been applied.
pub(crate) async fn broadcast(
    nodes: &[Arc<NodeClient>],
    what: &str,
    request: &NodeRequest,
) -> Result<Vec<Accepted>, Error> {
    require_all(nodes, what).await?;
    let Some((first, rest)) = nodes.split_first() else {
        return Err(no_quorum(what, "there are no nodes", "Nothing was sent."));
    };
    let mut accepted = Vec::with_capacity(nodes.len());
    let mut faults: BTreeMap<&str, String> = BTreeMap::new();
    match first.send(request).await {
        Ok(reply) => match reply.task_uid() {
            Some(uid) => accepted.push((first.idx, uid)),
            None if reply.blames_client() => return Err(reply.error()),
            None => {
                let why = format!("node `{}` answered {}", first.id(), reply.status);
                return Err(no_quorum(
                    what,
                    &why,
                    "Nothing was sent to the other nodes.",
                ));
            }
        },
        Err(error) => {
            let why = format!("node `{}`: {error}", first.id());
            let state = if error.sent {
                "It may have been applied there."
            } else {
                "Nothing was sent."
            };
            return Err(no_quorum(what, &why, state));
        }
    }
    let replies = join_all(
        rest.iter()
            .map(|node| async move { (node, node.send(request).await) }),
    )
    .await;
    for (node, reply) in replies {
        match reply.as_ref().map(Reply::task_uid) {
            Ok(Some(uid)) => accepted.push((node.idx, uid)),
            Ok(None) => {
                let status = reply.map(|reply| reply.status).unwrap_or_default();
                faults.insert(node.id(), format!("answered {status}"));
            }
            Err(error) => {
                faults.insert(node.id(), error.to_string());
            }
        }
    }
    if faults.is_empty() {
        return Ok(accepted);
    }
    let why = faults
        .iter()
        .map(|(id, why)| format!("node `{id}`: {why}"))
        .collect::<Vec<_>>()
        .join("; ");
    let state = format!(
        "It was accepted by {} of {} nodes; send it again once all are up.",
        accepted.len(),
        nodes.len()
    );
    tracing::error!(what, %why, "a change reached only some of the nodes");
    Err(no_quorum(what, &why, &state))
}

/// Tells every node something that it does at once. The first one judges: what it refuses, nobody has; its answer is
/// returned. `what` names the change in errors.
pub(crate) async fn tell_all(
    nodes: &[Arc<NodeClient>],
    what: &str,
    request: &NodeRequest,
) -> Result<Reply, Error> {
    require_all(nodes, what).await?;
    let (first, rest) = nodes.split_first().ok_or_else(no_node)?;
    let reply = first.send(request).await.map_err(|_| no_node())?;
    let taken = |reply: &Reply| (200..300).contains(&reply.status);
    if !taken(&reply) {
        return Err(reply.error());
    }
    let others = join_all(rest.iter().map(|client| client.send(request))).await;
    for (client, other) in rest.iter().zip(others) {
        if !other.as_ref().is_ok_and(taken) {
            let why = format!("node `{}` did not take it", client.id());
            return Err(no_quorum(what, &why, "Others did. Send it again."));
        }
    }
    Ok(reply)
}

/// Fails, naming them, when any node is down. Asks each node, because the last health check may be a second old.
pub(crate) async fn require_all(nodes: &[Arc<NodeClient>], what: &str) -> Result<(), Error> {
    let probes = join_all(
        nodes
            .iter()
            .map(|node| async move { (node, node.probe(PROBE_TIMEOUT).await) }),
    )
    .await;
    let down: Vec<String> = probes
        .iter()
        .filter(|(_, answer)| answer.is_err())
        .map(|(node, _)| format!("`{}`", node.id()))
        .collect();
    if down.is_empty() {
        return Ok(());
    }
    let why = format!(
        "{} {} down",
        down.join(", "),
        if down.len() == 1 { "is" } else { "are" }
    );
    Err(no_quorum(
        what,
        &why,
        "Nothing was sent. Bring it back and try again.",
    ))
}

fn no_quorum(what: &str, why: &str, state: &str) -> Error {
    Error::system(
        503,
        "miroir_no_quorum",
        format!("{what} needs every node, and {why}. {state}"),
    )
}

/// `"1.15.1"` or `"1.50.0-rc.2"`.
pub(crate) fn parse_version(text: &str) -> Option<Version> {
    let core = text.split(['-', '+']).next()?;
    let mut numbers = core.split('.').map(|part| part.parse().ok());
    Some((
        numbers.next()??,
        numbers.next()??,
        numbers.next().flatten().unwrap_or(0),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_parse() {
        assert_eq!(parse_version("1.15.1"), Some((1, 15, 1)));
        assert_eq!(parse_version("1.50.0-rc.2"), Some((1, 50, 0)));
        assert_eq!(parse_version("nightly"), None);
    }
}
