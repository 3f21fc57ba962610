//! Before a node belongs to the cluster: can it be used, is it empty, has it every index with its settings?
//!
//! Whatever is done to all nodes at once (settings, deletions, creations) takes for granted that each has every index. So
//! an added node gets them first, while everything goes on, and then once more a look with all lanes held, so that no
//! change is on its way that it would miss. The lanes are given back as soon as the node is one of the cluster's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use miroir_api::Error;
use reqwest::Method;
use serde_json::{json, Value};
use tokio::time::{sleep, Instant};

use crate::bootstrap::{check_node, learn_federation, node_indexes};
use crate::catalogue::Catalogue;
use crate::nodes::{NodeClient, NodeRequest, Reply};
use crate::plane::Plane;
use crate::settings::revealed;
use crate::store::Store;
use crate::writes::Hold;

/// How long the indexes' own changes may take to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between looks at what is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// All lanes, held: nothing changes about an index until they are dropped.
#[derive(Default)]
pub(crate) struct Ready {
    lanes: Vec<Hold>,
    /// The indexes that the added nodes have, by the nodes' name; None: no node is added.
    indexes: Option<BTreeSet<String>>,
}

impl Ready {
    /// # Errors
    /// An index was created meanwhile, which the added nodes do not have.
    pub(crate) fn check(&self, catalogue: &Catalogue) -> Result<(), Error> {
        match &self.indexes {
            Some(indexes) if *indexes != known(catalogue) => Err(busy("indexes are being created")),
            _ => Ok(()),
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Hold> {
        std::mem::take(&mut self.lanes)
    }
}

impl Plane {
    /// Lets a node in that holds nothing yet.
    ///
    /// # Errors
    /// It does not answer, refuses our key, is too old, or holds documents.
    pub(crate) async fn admit(&self, client: &NodeClient) -> Result<(), Error> {
        self.reach(client).await?;
        let found = node_indexes(client)
            .await
            .map_err(|error| refused(error.to_string()))?;
        let ours = known(&self.catalogue());
        for uid in found {
            let path = format!("/indexes/{uid}/stats");
            let documents = match client.get(&path).await {
                Ok(reply) => reply.json()["numberOfDocuments"].as_u64(),
                Err(error) => return Err(refused(format!("node `{}`: {error}", client.id()))),
            };
            if documents != Some(0) || !ours.contains(&uid) {
                return Err(refused(format!(
                    "node `{}` holds an index `{uid}` already, and an added node must be empty: delete the index there, or \
                     start the node with an empty --db-path",
                    client.id()
                )));
            }
        }
        learn_federation(client).await;
        self.pass_features(client).await
    }

    /// Whether a node can be used at all.
    pub(crate) async fn reach(&self, client: &NodeClient) -> Result<(), Error> {
        check_node(client)
            .await
            .map_err(|fault| refused(fault.line))
    }

    /// Experimental features as clients have switched them on.
    async fn pass_features(&self, client: &NodeClient) -> Result<(), Error> {
        let own = self.store.features().await?;
        let on: serde_json::Map<String, Value> = own
            .into_iter()
            .filter(|(name, on)| *on && name != "network")
            .map(|(name, on)| (name, json!(on)))
            .collect();
        if on.is_empty() {
            return Ok(());
        }
        let request = NodeRequest::new(Method::PATCH, "/experimental-features", Some(on.into()));
        let reply = client.send(&request).await;
        let status = reply.map(|reply| reply.status);
        if status.as_ref().ok() == Some(&200) {
            return Ok(());
        }
        Err(refused(format!(
            "node `{}` does not take the experimental features that are switched on; is it older than the others?",
            client.id()
        )))
    }

    /// Gives the added nodes every index, and returns with all lanes held.
    ///
    /// # Errors
    /// A node fails, or indexes go on changing.
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        added: &[Arc<NodeClient>],
    ) -> Result<Ready, Error> {
        if added.is_empty() {
            return Ok(Ready::default());
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.furnish_all(added).await?;
            while self.is_changing() && Instant::now() < deadline {
                sleep(PAUSE).await;
            }
            let before = known(&self.catalogue());
            let lanes = self.hold_all().await;
            let indexes = known(&self.catalogue());
            if before == indexes && !self.is_changing() {
                self.furnish_all(added).await?;
                return Ok(Ready {
                    lanes,
                    indexes: Some(indexes),
                });
            }
        }
        Err(busy("changes of indexes or settings are on their way"))
    }

    /// Every index's lane, in the order of their names so that nobody waits in a circle.
    async fn hold_all(self: &Arc<Self>) -> Vec<Hold> {
        let names: BTreeSet<String> = {
            let catalogue = self.catalogue();
            let names = catalogue.iter().map(|entry| entry.planned_name.clone());
            names.filter(|name| !name.is_empty()).collect()
        };
        let mut lanes = Vec::with_capacity(names.len());
        for name in names {
            lanes.push(self.hold(&name).await);
        }
        lanes
    }

    /// Whether an accepted task will change an index or its settings.
    fn is_changing(&self) -> bool {
        let flights = self.flights.lock();
        flights
            .values()
            .any(|flight| flight.task.effect.is_barrier())
    }

    async fn furnish_all(&self, added: &[Arc<NodeClient>]) -> Result<(), Error> {
        let indexes: Vec<(String, Option<String>)> = {
            let catalogue = self.catalogue();
            let key = |state: &crate::catalogue::IndexState| state.primary_key.clone();
            catalogue
                .iter()
                .filter(|entry| entry.visible.is_some() && entry.planned.is_some())
                .map(|entry| (entry.node_uid.clone(), entry.planned.as_ref().and_then(key)))
                .collect()
        };
        let model = self.first_up().ok_or_else(crate::settings::no_node)?;
        let furnished = added
            .iter()
            .map(|client| furnish(&self.store, client, &model, &indexes));
        try_join_all(furnished).await.map_err(refused)?;
        Ok(())
    }
}

/// Sees to it that `client` has these indexes, by name and primary key, with the settings that `model` has.
async fn furnish(
    store: &Store,
    client: &NodeClient,
    model: &NodeClient,
    indexes: &[(String, Option<String>)],
) -> Result<(), String> {
    let mut tasks = Vec::new();
    for (uid, primary_key) in indexes {
        let path = format!("/indexes/{uid}/settings");
        let (wanted, found) = futures_util::future::join(model.get(&path), client.get(&path)).await;
        let wanted = settings(model, wanted)?;
        let Some(wanted) = wanted else {
            continue;
        };
        let found = settings(client, found)?;
        if found.as_ref() == Some(&wanted) {
            continue;
        }
        if found.is_none() {
            let body = json!({ "uid": uid, "primaryKey": primary_key });
            tasks.push(
                enqueue(
                    client,
                    NodeRequest::new(Method::POST, "/indexes", Some(body)),
                )
                .await?,
            );
        }
        let wanted = revealed(store, uid, wanted).await?;
        tasks.push(enqueue(client, NodeRequest::new(Method::PATCH, path, Some(wanted))).await?);
    }
    join_all(tasks.iter().map(|task| done(client, *task)))
        .await
        .into_iter()
        .collect()
}

/// A node's settings of an index; None where it does not have it.
fn settings(
    client: &NodeClient,
    reply: Result<Reply, crate::nodes::NoAnswer>,
) -> Result<Option<Value>, String> {
    match reply {
        Ok(reply) if reply.status == 200 => Ok(Some(reply.json())),
        Ok(reply) if reply.status == 404 => Ok(None),
        Ok(reply) => Err(format!("node `{}` answered {}", client.id(), reply.status)),
        Err(error) => Err(format!("node `{}`: {error}", client.id())),
    }
}

async fn enqueue(client: &NodeClient, request: NodeRequest) -> Result<u64, String> {
    let reply = client.send(&request).await;
    let reply = reply.map_err(|error| format!("node `{}`: {error}", client.id()))?;
    let (status, body) = (reply.status, reply.json());
    body["taskUid"].as_u64().ok_or_else(|| {
        let why = body["message"].as_str().unwrap_or_default();
        format!(
            "node `{}` answered {status} to {} {}: {why}",
            client.id(),
            request.method,
            request.path
        )
    })
}

/// Waits for the end of a node's task.
async fn done(client: &NodeClient, task: u64) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let reply = client.get(&format!("/tasks?uids={task}")).await;
        let body = reply
            .map_err(|error| format!("node `{}`: {error}", client.id()))?
            .json();
        let task = &body["results"][0];
        match task["status"].as_str() {
            Some("succeeded") => return Ok(()),
            Some("failed" | "canceled") => {
                let why = task.pointer("/error/message").and_then(Value::as_str);
                let why = why.unwrap_or("no reason given");
                return Err(format!("node `{}` cannot be prepared: {why}", client.id()));
            }
            _ => sleep(PAUSE).await,
        }
    }
    Err(format!(
        "node `{}` does not finish its preparation; see its log",
        client.id()
    ))
}

/// All indexes, by the nodes' name.
fn known(catalogue: &Catalogue) -> BTreeSet<String> {
    catalogue
        .iter()
        .map(|entry| entry.node_uid.clone())
        .collect()
}

fn refused(line: String) -> Error {
    Error::invalid(400, "miroir_node_refused", format!("{line}."))
}

fn busy(why: &str) -> Error {
    Error::system(
        503,
        "miroir_index_busy",
        format!("The fleet cannot change just now: {why}. Nothing has changed; try again once the tasks have ended (`miroir-ctl tasks list`)."),
    )
}
