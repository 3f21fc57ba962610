//! Which nodes there are. The configuration founds a cluster; from then on the store decides, because nodes are added and
//! removed while it runs, and a file that nobody has touched must not undo that.
//!
//! What the file says is compared, and differences are warned about with the next step. One thing it may correct: an
//! address that is another one than it said at the last start was changed on purpose, so it counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use miroir_router::{Layout, Node, NodeIdx};

use miroir_api::{check_unix_socket, unix_socket};

use crate::config::{ControlConfig, NodeConfig, StartError};
use crate::fleet::Fleet;
use crate::nodes::{http_client, NodeClient};
use crate::store::NodeRow;

/// The nodes of a new cluster, as configured.
pub(super) fn first_nodes(config: &ControlConfig) -> Result<Vec<NodeRow>, StartError> {
    let rows = config.nodes.iter().enumerate().map(|(position, node)| {
        host_port(&node.id, &node.address)?;
        Ok(NodeRow {
            position: u16::try_from(position).map_err(|_| StartError::one("too many nodes"))?,
            id: node.id.clone(),
            address: node.address.clone(),
            configured: Some(node.address.clone()),
            removed: false,
        })
    });
    rows.collect()
}

/// The nodes of a known cluster, as stored; differences from the configuration are warned about.
pub(super) fn known_nodes(
    config: &ControlConfig,
    layout: &Layout,
    mut rows: Vec<NodeRow>,
) -> Result<Vec<NodeRow>, StartError> {
    if config.shards != layout.shards {
        return Err(StartError::one(format!(
            "shards is {} in the stored cluster and {} in the configuration. The number of shards of a cluster cannot \
             change: set it back, or start with a new task_store.path on empty nodes and send the documents again",
            layout.shards, config.shards
        )));
    }
    warn_of_numbers(config, layout);
    let mut given: BTreeMap<&str, &NodeConfig> = config
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    for row in rows.iter_mut().filter(|row| !row.removed) {
        match given.remove(row.id.as_str()) {
            Some(node) => take_address(row, node)?,
            None => tracing::warn!(
                node = row.id,
                address = row.address,
                "the node belongs to the cluster but is not in the configuration: add it under `nodes`, or take it out of \
                 the cluster with `miroir-ctl nodes remove {}`",
                row.id
            ),
        }
    }
    for node in given.into_values() {
        tracing::warn!(
            node = node.id,
            address = node.address,
            "the node is in the configuration but does not belong to the cluster: add it with `miroir-ctl nodes add {} \
             {}`, or take it out of `nodes`",
            node.id,
            node.address
        );
    }
    Ok(rows)
}

fn warn_of_numbers(config: &ControlConfig, layout: &Layout) {
    let numbers = [
        (
            "replication_factor",
            u32::from(config.replication_factor),
            u32::from(layout.replication_factor),
            "--replication-factor",
        ),
        (
            "replica_groups",
            u32::from(config.replica_groups),
            u32::from(layout.replica_groups),
            "--groups",
        ),
    ];
    for (name, given, stored, option) in numbers {
        if given != stored {
            tracing::warn!(
                "{name} is {stored} in the cluster and {given} in the configuration; {stored} counts. To change the \
                 cluster: `miroir-ctl layout stage {option} {given}`"
            );
        }
    }
}

/// The address that counts: the stored one, unless the configuration has been changed since the last start.
fn take_address(row: &mut NodeRow, node: &NodeConfig) -> Result<(), StartError> {
    host_port(&node.id, &node.address)?;
    if row.configured.as_ref() != Some(&node.address) {
        if row.address != node.address {
            tracing::info!(
                node = row.id,
                from = row.address,
                to = node.address,
                "the node's address was changed in the configuration"
            );
        }
        row.address.clone_from(&node.address);
        row.configured = Some(node.address.clone());
    } else if row.address != node.address {
        tracing::warn!(
            node = row.id,
            "the node is reached at {}, to where it was moved at run time; the configuration still says {}: correct it \
             there",
            row.address,
            node.address
        );
    }
    Ok(())
}

/// Clients for all nodes, in the order of their positions.
pub(super) fn fleet(
    config: &ControlConfig,
    rows: &[NodeRow],
    layout: Arc<Layout>,
) -> Result<Fleet, StartError> {
    let http = http_client()
        .map_err(|error| StartError::one(format!("the HTTP client does not start: {error}")))?;
    let key = config.node_master_key.clone().filter(|key| !key.is_empty());
    let mut seats = Vec::with_capacity(rows.len());
    for (position, (row, planned)) in rows.iter().zip(&layout.nodes).enumerate() {
        if usize::from(row.position) != position || row.id != planned.id {
            return Err(StartError::one(format!(
                "the task store is damaged: node `{}` is not where the layout has it; bring back a backup of the store",
                row.id
            )));
        }
        let node = routing_node(&row.id, &row.address, planned.group)?;
        seats.push(Arc::new(NodeClient::new(
            NodeIdx(row.position),
            node,
            http.clone(),
            key.clone(),
        )));
    }
    Ok(Fleet::new(seats, layout, |idx| {
        rows.get(usize::from(idx.0)).is_none_or(|row| row.removed)
    }))
}

/// A node as the cores see it, not up yet. `address` is `http://host:port` or `unix:/path`.
pub(crate) fn routing_node(id: &str, address: &str, group: u16) -> Result<Arc<Node>, StartError> {
    Ok(Arc::new(Node::new(
        id.to_owned(),
        host_port(id, address)?,
        group,
    )))
}

/// `http://host:port` as `host:port`; `unix:/path` as it is.
fn host_port(id: &str, address: &str) -> Result<String, StartError> {
    let fault = |why: &str| StartError::one(format!("node `{id}`: address `{address}` {why}"));
    if let Some(path) = unix_socket(address) {
        check_unix_socket(path).map_err(fault)?;
        return Ok(address.to_owned());
    }
    let Some(rest) = address.strip_prefix("http://") else {
        let https = address.starts_with("https://");
        return Err(fault(if https {
            "uses TLS, which is not there yet; use http://"
        } else {
            "must begin with http:// (or be unix:/path, on the same machine)"
        }));
    };
    let host = rest.trim_end_matches('/');
    if host.is_empty() || host.contains(['/', '@', '?']) {
        return Err(fault("must be http://host:port"));
    }
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
    Ok(if has_port {
        host.to_owned()
    } else {
        format!("{host}:80")
    })
}
