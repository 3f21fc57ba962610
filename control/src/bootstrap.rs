//! From a configuration to a running plane: open the store, check every node, learn the indexes, publish the first table.
//!
//! What is refused, each with its next step: a node of an unknown or too old version, a node that refuses our key, a node
//! that does not answer (in a known cluster only when *none* answers: one dead node must not keep the others from
//! serving), a configuration that does not fit the stored cluster, and a fresh store over nodes that hold indexes already:
//! their documents carry no shard field or an unknown layout, so they cannot be trusted to be where we would look.

mod check;
mod federation;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use futures_util::future::join_all;
use miroir_router::{Layout, LayoutNode, LayoutSpec, Node, NodeIdx, Publisher};
use tokio::runtime::Handle;

use crate::catalogue::{Catalogue, Entry};
use crate::clock::now;
use crate::config::{ControlConfig, NodeConfig, StartError};
use crate::flights::{Flight, Flights};
use crate::keys::Keys;
use crate::lane::Lanes;
use crate::movements::Movements;
use crate::nodes::{http_client, NodeClient};
use crate::plane::{table, Plane};
use crate::settings::{read_back, typed, ReadBack};
use crate::store::{Store, StoreError};

pub(crate) use check::{check_node, VERSION_MIN};
use check::{check_nodes, refuse_foreign_indexes};
pub(crate) use federation::learn_federation;

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        StartError::one(error.to_string())
    }
}

/// Builds the plane; every background job still has to be started.
pub(crate) async fn bootstrap(config: &ControlConfig) -> Result<Plane, StartError> {
    check_config(config)?;
    let store = Store::open(&config.store_path)?;
    tracing::info!(path = %config.store_path.display(), "[ok] task store");
    let stored = store.cluster().await?;
    let fresh = stored.is_none();
    let (cluster_id, layout) = match stored {
        Some(row) => {
            let fault = misfit(config, &row.layout);
            fault.map_or(Ok(()), |line| Err(StartError::one(line)))?;
            (row.id, row.layout)
        }
        None => (uuid::Uuid::new_v4().to_string(), plan(config)?),
    };
    let layout = Arc::new(layout);
    let nodes = clients(config, &layout)?;
    check_nodes(&nodes, fresh).await?;
    if fresh {
        refuse_foreign_indexes(&nodes).await?;
        store
            .found_cluster(cluster_id.clone(), &layout, now())
            .await?;
        // Where another process founded the cluster at the same moment, its row stands.
        if store
            .cluster()
            .await?
            .is_none_or(|row| row.id != cluster_id)
        {
            return Err(StartError::one(
                "another process has just founded this cluster; start again",
            ));
        }
    }
    let up = nodes.iter().filter(|client| client.node.is_up());
    join_all(up.map(|client| learn_federation(client))).await;
    let addresses = config
        .nodes
        .iter()
        .map(|node| (node.id.clone(), node.address.clone()))
        .collect();
    store.set_addresses(addresses).await?;

    let catalogue = learn(&store, &layout, &nodes).await?;
    let indexes = catalogue.iter().count();
    tracing::info!(
        cluster = cluster_id,
        layout = layout.version,
        shards = layout.shards,
        indexes,
        "[ok] catalogue"
    );
    let keys = Keys::open(&store, config.client_key()).await?;
    let publisher = Publisher::new(table(&nodes, &layout, &catalogue, keys.ring()));
    let plane = Plane {
        flights: Arc::new(Flights::new(nodes.len())),
        store,
        nodes,
        layout,
        publisher,
        lanes: Lanes::default(),
        runtime: Handle::current(),
        cluster_id,
        admin_key: config.effective_admin_key(),
        driver: config.driver.clone(),
        catalogue: std::sync::Mutex::new(catalogue),
        keys,
        movements: Movements::default(),
    };
    resume(&plane).await?;
    Ok(plane)
}

fn check_config(config: &ControlConfig) -> Result<(), StartError> {
    let mut lines = Vec::new();
    if config.nodes.is_empty() {
        lines.push("no nodes are configured; name at least one under `nodes`".to_owned());
    }
    let mut ids = BTreeSet::new();
    for node in &config.nodes {
        if !ids.insert(&node.id) {
            lines.push(format!(
                "node `{}` is configured twice; give each node an id of its own",
                node.id
            ));
        }
    }
    if lines.is_empty() {
        Ok(())
    } else {
        Err(StartError { lines })
    }
}

fn plan(config: &ControlConfig) -> Result<Layout, StartError> {
    let node = |node: &NodeConfig| LayoutNode {
        id: node.id.clone(),
        group: node.replica_group,
        weight: 1,
        zone: None,
    };
    let spec = LayoutSpec {
        shards: config.shards,
        replication_factor: config.replication_factor,
        replica_groups: config.replica_groups,
        nodes: config.nodes.iter().map(node).collect(),
    };
    Layout::plan(&spec, None)
        .map_err(|error| StartError::one(format!("the layout cannot be made: {error}")))
}

/// How the configuration differs from the stored cluster, in more than addresses.
fn misfit(config: &ControlConfig, layout: &Layout) -> Option<String> {
    const NEXT: &str = "Changing the layout of a running cluster is not possible yet: set it back, or start with a new \
                        task_store.path on empty nodes and send the documents again";
    let number = |what: &str, stored: u64, given: u64| {
        (stored != given).then(|| {
            format!(
                "{what} is {stored} in the stored cluster and {given} in the configuration. {NEXT}"
            )
        })
    };
    let numbers = [
        number("shards", layout.shards.into(), config.shards.into()),
        number(
            "replication_factor",
            layout.replication_factor.into(),
            config.replication_factor.into(),
        ),
        number(
            "replica_groups",
            layout.replica_groups.into(),
            config.replica_groups.into(),
        ),
    ];
    if let Some(line) = numbers.into_iter().flatten().next() {
        return Some(line);
    }
    let mut stored: Vec<(&str, u16)> = layout
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node.group))
        .collect();
    let mut given: Vec<(&str, u16)> = config
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node.replica_group))
        .collect();
    stored.sort_unstable();
    given.sort_unstable();
    let words = |list: &[(&str, u16)]| {
        list.iter()
            .map(|(id, group)| format!("{id} (group {group})"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    (stored != given).then(|| {
        format!(
            "nodes are {} in the stored cluster and {} in the configuration. {NEXT}",
            words(&stored),
            words(&given)
        )
    })
}

/// A client for each node of the layout, in its order, at the configured address.
fn clients(config: &ControlConfig, layout: &Layout) -> Result<Vec<Arc<NodeClient>>, StartError> {
    let http = http_client()
        .map_err(|error| StartError::one(format!("the HTTP client does not start: {error}")))?;
    let key = config.node_master_key.clone().filter(|key| !key.is_empty());
    let mut nodes = Vec::with_capacity(layout.nodes.len());
    for (position, planned) in layout.nodes.iter().enumerate() {
        // `misfit` has matched the two lists.
        let Some(given) = config.nodes.iter().find(|node| node.id == planned.id) else {
            return Err(StartError::one(format!(
                "node `{}` is not configured",
                planned.id
            )));
        };
        let node = Arc::new(Node {
            id: given.id.clone(),
            address: host_port(given)?,
            group: planned.group,
            up: AtomicBool::new(false),
            federates: AtomicBool::new(false),
        });
        let idx = NodeIdx(u16::try_from(position).map_err(|_| StartError::one("too many nodes"))?);
        nodes.push(Arc::new(NodeClient::new(
            idx,
            node,
            http.clone(),
            key.clone(),
        )));
    }
    Ok(nodes)
}

/// `http://host:port` as `host:port`.
fn host_port(node: &NodeConfig) -> Result<String, StartError> {
    let fault = |why: &str| {
        StartError::one(format!(
            "node `{}`: address `{}` {why}",
            node.id, node.address
        ))
    };
    let Some(rest) = node.address.strip_prefix("http://") else {
        let https = node.address.starts_with("https://");
        return Err(fault(if https {
            "uses TLS, which is not there yet; use http://"
        } else {
            "must begin with http://"
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

/// The catalogue as stored, with settings as the nodes have them.
async fn learn(
    store: &Store,
    layout: &Arc<Layout>,
    nodes: &[Arc<NodeClient>],
) -> Result<Catalogue, StartError> {
    let copies = store.copies().await?;
    let upper_case_ids = store.upper_case_ids().await?;
    let up: Vec<Arc<NodeClient>> = nodes
        .iter()
        .filter(|client| client.node.is_up())
        .cloned()
        .collect();
    let mut catalogue = Catalogue::default();
    for row in store.indexes().await? {
        let mut own = match row.layout_version == layout.version {
            true => Layout::clone(layout),
            false => store.layout(row.layout_version).await?,
        };
        for copy in copies.iter().filter(|copy| copy.index_uid == row.node_uid) {
            if let Some(position) = own.nodes.iter().position(|node| node.id == copy.node) {
                own = own.with_state(
                    miroir_router::Shard(copy.shard),
                    NodeIdx(position as u16),
                    copy.state,
                );
            }
        }
        let mut entry = Entry::new(&row.node_uid, &row.name, Arc::new(own), row.created_at);
        entry.updated_at = row.updated_at;
        entry.settings_version = row.settings_version;
        entry.upper_case_ids = upper_case_ids.contains(&row.node_uid);
        if let Some(visible) = &row.visible {
            let settings = match read_back(&up, &row.node_uid).await {
                ReadBack::Agreed(settings) => settings,
                ReadBack::Diverged(settings, why) => {
                    tracing::warn!(index = row.name, %why, "nodes differ in settings; send the settings again");
                    settings
                }
                ReadBack::Unavailable(why) => {
                    return Err(StartError::one(format!(
                        "settings of index `{}` cannot be read: {why}",
                        row.name
                    )))
                }
            };
            entry.settings = Arc::new(typed(&settings, &visible.faceting));
        }
        entry.planned = row.visible.clone();
        entry.visible = row.visible;
        catalogue.insert(entry);
    }
    Ok(catalogue)
}

/// Takes up what was on its way when the last process ended.
async fn resume(plane: &Plane) -> Result<(), StartError> {
    for (task, parts) in plane.store.unfinished().await? {
        let mut catalogue = plane.catalogue();
        if let (Some(node_uid), Some(name)) = (&task.node_uid, &task.index_uid) {
            catalogue.entry(node_uid, name, &plane.layout, now());
        }
        catalogue.accept(&task);
        plane.flights.lock().insert(
            task.uid,
            Flight {
                task,
                parts,
                ended: false,
            },
        );
    }
    // Planned, but no task: created for a write that was never accepted.
    let leftovers: Vec<String> = plane
        .catalogue()
        .iter()
        .filter(|entry| entry.is_gone())
        .map(|entry| entry.node_uid.clone())
        .collect();
    for uid in leftovers {
        tracing::warn!(
            index = uid,
            "removing an index that was created for a write that was never accepted"
        );
        plane.undo_creation(&uid).await;
    }
    plane.publish(&plane.catalogue());
    Ok(())
}
