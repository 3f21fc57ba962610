//! `/dynamic-search-rules`: every node keeps all rules, and judges and lists them. What a rule pins is one document, which one
//! node has; so every node says what it pins where, and the merge puts it there (the proxy's `search/pins.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use miroir_api::Error;
use reqwest::Method;
use serde_json::{json, Map, Value};
use tokio::sync::Mutex;

use crate::clock::now;
use crate::flights::Flight;
use crate::indexes::bare_task;
use crate::nodes::{broadcast, NodeClient, NodeRequest};
use crate::plane::Plane;
use crate::settings::no_node;
use crate::tasks::{summary, Kind, Part, Role, Task};
use crate::types::TaskSummary;

const PATH: &str = "/dynamic-search-rules";
/// What Meilisearch calls the index in which it keeps them.
const INDEX: &str = ".meili_dsr";

/// The rules of a node, by name; `None`: it has no such route, or the feature is off.
async fn listed(client: &NodeClient) -> Option<Map<String, Value>> {
    let all = json!({ "limit": u32::MAX });
    let request = NodeRequest::new(Method::POST, PATH, Some(all));
    let reply = client.send(&request).await.ok()?;
    if reply.status != 200 {
        return None;
    }
    let mut rules = Map::new();
    for rule in reply.json()["results"].as_array()? {
        let mut rule = rule.as_object()?.clone();
        rule.shift_remove("lastUpdatedAt");
        let Some(Value::String(uid)) = rule.shift_remove("uid") else {
            continue;
        };
        rules.insert(uid, Value::Object(rule));
    }
    Some(rules)
}

/// Whether any node that is up has a rule.
async fn any(nodes: &[Arc<NodeClient>]) -> bool {
    for client in nodes.iter().filter(|client| client.node.is_up()) {
        if let Some(rules) = listed(client).await {
            return !rules.is_empty();
        }
    }
    false
}

/// Gives a node that comes up the rules of another one: its data may be new. Error: it does not answer.
pub(crate) async fn restore(nodes: &[Arc<NodeClient>], client: &NodeClient) -> Result<(), String> {
    let mut others = nodes.iter().filter(|other| other.id() != client.id());
    let Some(other) = others.find(|other| other.node.is_up()) else {
        return Ok(());
    };
    let (Some(rules), Some(own)) = (listed(other).await, listed(client).await) else {
        return Ok(());
    };
    let missing = rules
        .iter()
        .filter(|(uid, rule)| own.get(*uid) != Some(*rule));
    let gone = own.keys().filter(|uid| !rules.contains_key(*uid));
    let changes = missing
        .map(|(uid, rule)| NodeRequest::new(Method::PATCH, path(uid), Some(rule.clone())))
        .chain(gone.map(|uid| NodeRequest::new(Method::DELETE, path(uid), None)));
    for change in changes {
        let reply = client.send(&change).await;
        reply.map_err(|error| format!("{} {}: {error}", change.method, change.path))?;
    }
    Ok(())
}

fn path(uid: &str) -> String {
    format!("{PATH}/{uid}")
}

/// What a task of rules shows: every node holds all, so each says the same.
pub(crate) fn details(task: &Task, parts: &[Part]) -> Value {
    let said = parts.iter().find_map(|part| part.details.clone());
    said.unwrap_or_else(|| task.details.clone())
}

/// What is known of the rules.
pub(crate) struct Rules {
    /// There are some, or soon may be.
    any: AtomicBool,
    /// Held from before a change is sent until its task is known.
    changing: Mutex<()>,
}

impl Rules {
    pub(crate) async fn learn(nodes: &[Arc<NodeClient>]) -> Rules {
        Rules {
            any: AtomicBool::new(any(nodes).await),
            changing: Mutex::default(),
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::SeqCst)
    }
}

impl Plane {
    /// `POST /dynamic-search-rules` with its body, and `GET /dynamic-search-rules/{uid}`.
    pub(crate) async fn read_rules(
        &self,
        uid: Option<&str>,
        body: Option<Value>,
    ) -> Result<Value, Error> {
        let request = match uid {
            None => NodeRequest::new(Method::POST, PATH, body),
            Some(uid) => NodeRequest::get(path(uid)),
        };
        let client = self.first_up().ok_or_else(no_node)?;
        let reply = client.send(&request).await.map_err(|_| no_node())?;
        match reply.status {
            200 => Ok(reply.json()),
            _ => Err(reply.error()),
        }
    }

    /// Changes a rule (`body`), deletes it, or deletes all (`uid` is `None`).
    pub(crate) async fn change_rules(
        &self,
        uid: Option<&str>,
        query: &str,
        body: Option<Value>,
    ) -> Result<TaskSummary, Error> {
        let (kind, details) = match (uid, &body) {
            (None, _) => (Kind::DsrClear, json!({ "deletedDocuments": null })),
            (Some(_), Some(rule)) => (Kind::DsrUpdate, json!({ "rule": rule, "updatedRules": 1 })),
            (Some(_), None) => (Kind::DsrUpdate, json!({ "updatedRules": 1 })),
        };
        let mut task = bare_task(kind, details, now());
        task.index_uid = Some(INDEX.to_owned());
        let mut parameters = form_urlencoded::parse(query.as_bytes());
        task.custom_metadata = parameters
            .find(|(name, _)| name == "customMetadata")
            .map(|(_, value)| value.into_owned());
        let method = match &body {
            Some(_) => Method::PATCH,
            None => Method::DELETE,
        };
        let sets = body.is_some();
        let request = NodeRequest::new(
            method,
            format!("{}?{query}", uid.map_or(PATH.to_owned(), path)),
            body,
        );
        let order = self.rules.changing.lock().await;
        if sets {
            // Searches look for pins before any node can have one.
            self.show_rules(true);
        }
        let accepted = broadcast(&self.nodes(), "Changing search rules", &request).await;
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                drop(order);
                self.relearn_rules().await;
                return Err(error);
            }
        };
        let parts = self.parts(&accepted, Role::Counted);
        Ok(summary(&self.accept(task, parts, Vec::new()).await?))
    }

    /// Looks again whether there are rules, unless some are on their way. To be called when a change of rules has ended.
    pub(crate) async fn relearn_rules(&self) {
        let Ok(_order) = self.rules.changing.try_lock() else {
            return;
        };
        let on_its_way = |flight: &Flight| flight.task.kind.changes_rules() && !flight.ended;
        if !self.flights.lock().values().any(on_its_way) {
            self.show_rules(any(&self.nodes()).await);
        }
    }

    fn show_rules(&self, some: bool) {
        if self.rules.any.swap(some, Ordering::SeqCst) != some {
            self.publish(&self.catalogue());
        }
    }
}
