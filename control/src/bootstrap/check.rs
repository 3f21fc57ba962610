//! Is this a node that can be used? Health, key, version, and whose indexes it holds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use miroir_router::{NodeState, VERSION_MIN};
use serde_json::Value;
use tokio::time::{sleep, Instant};

use crate::config::StartError;
use crate::nodes::{parse_version, NodeClient, PROBE_TIMEOUT};

/// How long a node may take to come up beside us.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is wrong with a node.
pub(crate) struct NodeFault {
    pub line: String,
    /// It may only need time.
    pub passing: bool,
}

/// Checks every node and logs a line for each.
pub(super) async fn check_nodes(nodes: &[Arc<NodeClient>], fresh: bool) -> Result<(), StartError> {
    let faults = join_all(nodes.iter().map(|client| check_patiently(client))).await;
    let mut lines = Vec::new();
    let mut reached = 0;
    for (client, fault) in nodes.iter().zip(faults) {
        let address = &client.node.address;
        match fault {
            None => {
                reached += 1;
                client.node.set_state(NodeState::Up);
                let version = client
                    .about()
                    .map(|(version, _)| version)
                    .unwrap_or_default();
                let version = format!("{}.{}.{}", version.0, version.1, version.2);
                tracing::info!(node = client.id(), address, version, "[ok] node");
            }
            Some(fault) if fault.passing && !fresh => {
                tracing::warn!(
                    node = client.id(),
                    address,
                    "[--] node: {}; starting without it",
                    fault.line
                );
                lines.push((true, fault.line));
            }
            Some(fault) => {
                tracing::error!(node = client.id(), address, "[!!] node: {}", fault.line);
                lines.push((false, fault.line));
            }
        }
    }
    let fatal = lines.iter().any(|(passing, _)| !passing) || reached == 0;
    if fatal {
        return Err(StartError {
            lines: lines.into_iter().map(|(_, line)| line).collect(),
        });
    }
    Ok(())
}

async fn check_patiently(client: &NodeClient) -> Option<NodeFault> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match check_node(client).await {
            Ok(()) => return None,
            Err(fault) if !fault.passing || Instant::now() > deadline => return Some(fault),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Health, key and version of one node.
pub(crate) async fn check_node(client: &NodeClient) -> Result<(), NodeFault> {
    let name = format!("node `{}` at {}", client.id(), client.node.address);
    let passing = |why: String| NodeFault {
        line: format!("{name}: {why}"),
        passing: true,
    };
    let lasting = |why: String| NodeFault {
        line: format!("{name}: {why}"),
        passing: false,
    };
    client.probe(PROBE_TIMEOUT).await.map_err(|error| {
        passing(format!(
            "{error}; start it, or correct its address under `nodes`"
        ))
    })?;
    let about = client
        .get("/version")
        .await
        .map_err(|error| passing(format!("GET /version: {error}")))?;
    let refused = "refuses our key; set node_master_key (MIROIR_NODE_MASTER_KEY) to the key it was started with";
    if matches!(about.status, 401 | 403) {
        return Err(lasting(refused.to_owned()));
    }
    let body: Value = about.json();
    let text = body["pkgVersion"].as_str().unwrap_or_default();
    let Some(version) = parse_version(text).filter(|_| about.status == 200) else {
        return Err(lasting(format!(
            "GET /version answered {}; is this a Meilisearch?",
            about.status
        )));
    };
    if version < VERSION_MIN {
        let (major, minor, _) = VERSION_MIN;
        return Err(lasting(format!(
            "is Meilisearch {text}; {major}.{minor} is the oldest supported, upgrade it"
        )));
    }
    let stats = client
        .get("/stats")
        .await
        .map_err(|error| passing(format!("GET /stats: {error}")))?;
    match stats.status {
        200 => {}
        401 | 403 => return Err(lasting(refused.to_owned())),
        status => {
            return Err(lasting(format!(
                "GET /stats answered {status}; see its log"
            )))
        }
    }
    client.set_about(version, body);
    Ok(())
}

/// A fresh store over nodes that hold indexes: their documents are not laid out as we would look for them.
pub(super) async fn refuse_foreign_indexes(nodes: &[Arc<NodeClient>]) -> Result<(), StartError> {
    let mut lines = Vec::new();
    for client in nodes {
        let uids = node_indexes(client).await?;
        if !uids.is_empty() {
            let id = client.id();
            lines.push(format!(
                "node `{id}` already holds indexes ({}), and the task store is new: bring back the store they belong to \
                 (task_store.path), or delete them on the node, or start the node with an empty --db-path",
                uids.join(", ")
            ));
        }
    }
    if lines.is_empty() {
        Ok(())
    } else {
        Err(StartError { lines })
    }
}

pub(crate) async fn node_indexes(client: &NodeClient) -> Result<Vec<String>, StartError> {
    let reply = client.get("/indexes?limit=1000").await;
    let body = reply.map(|reply| reply.json()).map_err(|error| {
        StartError::one(format!("node `{}`: GET /indexes: {error}", client.id()))
    })?;
    let results = body["results"].as_array().cloned().unwrap_or_default();
    Ok(results
        .iter()
        .filter_map(|index| index["uid"].as_str())
        .map(str::to_owned)
        .collect())
}
