//! From a configuration to a running plane: open the store, check every node, learn the indexes, publish the first table.
//!
//! What is refused, each with its next step: a node of an unknown or too old version, a node that refuses our key, a node
//! that does not answer (in a known cluster only when *none* answers: one dead node must not keep the others from
//! serving), another number of shards than the stored cluster has, and a fresh store over nodes that hold indexes already:
//! their documents carry no shard field or an unknown layout, so they cannot be trusted to be where we would look.

mod check;
mod federation;
mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use miroir_router::{Layout, LayoutNode, LayoutSpec, NodeState, Publisher, Shard};
use tokio::runtime::Handle;

use crate::catalogue::{Catalogue, Entry};
use crate::clock::now;
use crate::config::{ControlConfig, NodeConfig, StartError};
use crate::dumps::{Dumps, Imports};
use crate::exports::Exports;
use crate::features;
use crate::fleet::Fleet;
use crate::flights::{Flight, Flights};
use crate::identity;
use crate::jobs::Jobs;
use crate::keys::Keys;
use crate::lane::Lanes;
use crate::movements::Movements;
use crate::nodes::NodeClient;
use crate::plane::{holders, table, Plane};
use crate::rules::Rules;
use crate::settings::{read_back, typed, ReadBack};
use crate::store::{Store, StoreError};
use crate::webhooks::Hooks;

pub(crate) use check::{check_node, node_indexes};
use check::{check_nodes, refuse_foreign_indexes};
pub(crate) use federation::learn_federation;
pub(crate) use members::routing_node;
use members::{first_nodes, fleet, known_nodes};

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
    let (cluster_id, layout, rows) = match stored {
        Some(row) => {
            let rows = known_nodes(config, &row.layout, store.nodes().await?)?;
            (row.id, row.layout, rows)
        }
        None => (
            uuid::Uuid::new_v4().to_string(),
            plan(config)?,
            first_nodes(config)?,
        ),
    };
    let fleet = fleet(config, &rows, Arc::new(layout))?;
    check_nodes(fleet.members(), fresh).await?;
    if fresh {
        refuse_foreign_indexes(fleet.members()).await?;
        store
            .found_cluster(cluster_id.clone(), &fleet.layout, rows, now())
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
    } else {
        store.put_nodes(rows).await?;
    }
    let up = fleet.members().iter().filter(|client| client.node.is_up());
    join_all(up.map(|client| async {
        learn_federation(client).await;
        if let Err(why) = features::restore(&store, client).await {
            tracing::warn!(node = client.id(), %why, "the node was not told of experimental features");
        }
    }))
    .await;

    let mut catalogue = learn(&store, &fleet).await?;
    recognise(&store, fleet.members(), &mut catalogue).await?;
    learn_settings(fleet.members(), &mut catalogue).await?;
    let indexes = catalogue.iter().count();
    tracing::info!(
        cluster = cluster_id,
        layout = fleet.layout.version,
        shards = fleet.layout.shards,
        indexes,
        "[ok] catalogue"
    );
    let webhooks = Hooks::open(&store, config).await?;
    let keys = Keys::open(&store, config.client_key()).await?;
    let rules = Rules::learn(fleet.members()).await;
    let publisher = Publisher::new(table(&fleet, &catalogue, keys.ring(), rules.any()));
    let plane = Plane {
        flights: Arc::new(Flights::new()),
        store,
        fleet: std::sync::Mutex::new(Arc::new(fleet)),
        changing_fleet: tokio::sync::Mutex::default(),
        relayout: tokio::sync::Mutex::default(),
        publisher,
        lanes: Lanes::default(),
        runtime: Handle::current(),
        cluster_id,
        admin_key: config.effective_admin_key(),
        driver: config.driver.clone(),
        health: config.health,
        catalogue: std::sync::Mutex::new(catalogue),
        keys,
        dumps: Dumps::new(
            config.dumps_folder(),
            Imports::new(
                config.own_address.clone(),
                config.client_key(),
                config.body_bytes_max,
            ),
        ),
        exports: Exports::new(config.allowed_ip_networks.clone()),
        jobs: Jobs::default(),
        webhooks,
        movements: Movements::default(),
        rules,
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
        weight: node.weight,
        zone: node.zone.clone(),
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

/// Takes out of service what nodes that are up do not hold any more.
async fn recognise(
    store: &Store,
    nodes: &[Arc<NodeClient>],
    catalogue: &mut Catalogue,
) -> Result<(), StartError> {
    for (node, newest) in store.node_tasks().await? {
        if let Some(client) = nodes.iter().find(|client| client.id() == node) {
            client.node.tasks.restart(Some(newest));
        }
    }
    let unfinished = store.unfinished().await?;
    let unfinished: Vec<_> = unfinished.iter().map(|(task, _)| task).collect();
    for client in nodes.iter().filter(|client| client.node.is_up()) {
        let effects = unfinished
            .iter()
            .map(|task| (task.node_uid.as_deref(), &task.effect));
        let expected = identity::expected(catalogue, client.idx, effects);
        let found = match identity::examine(store, client, &expected).await {
            Ok(findings) => {
                if findings.behind {
                    // Looked at once more by the first check of its health.
                    client.node.set_state(NodeState::Suspect);
                }
                findings.record(store, client, catalogue).1.await
            }
            Err(why) => Err(format!("node `{}`: {why}", client.id())),
        };
        if let Err(line) = found {
            tracing::error!(node = client.id(), "[!!] node: {line}; starting without it");
            client.node.set_state(NodeState::Down);
        }
    }
    Ok(())
}

/// The catalogue as stored.
async fn learn(store: &Store, fleet: &Fleet) -> Result<Catalogue, StartError> {
    let upper_case_ids = store.upper_case_ids().await?;
    let mut layouts = layouts(store, fleet).await?;
    let mut catalogue = Catalogue::default();
    for row in store.indexes().await? {
        let layout = layouts
            .remove(&row.node_uid)
            .unwrap_or_else(|| Arc::clone(&fleet.layout));
        let mut entry = Entry::new(&row.node_uid, &row.name, layout, row.created_at);
        entry.updated_at = row.updated_at;
        entry.settings_version = row.settings_version;
        entry.upper_case_ids = upper_case_ids.contains(&row.node_uid);
        entry.planned = row.visible.clone();
        entry.visible = row.visible;
        catalogue.insert(entry);
    }
    Ok(catalogue)
}

/// Where each stored index lies: its own layout or that of its version, with the copies that missed writes.
async fn layouts(
    store: &Store,
    fleet: &Fleet,
) -> Result<BTreeMap<String, Arc<Layout>>, StartError> {
    let mut own: BTreeMap<String, Layout> = store.index_layouts().await?.into_iter().collect();
    let mut versions = BTreeMap::from([(fleet.layout.version, Arc::clone(&fleet.layout))]);
    let mut layouts = BTreeMap::new();
    for row in store.indexes().await? {
        let layout = match (own.remove(&row.node_uid), versions.get(&row.layout_version)) {
            (Some(own), _) => Arc::new(own.with_nodes(fleet.layout.nodes.clone())),
            (None, Some(known)) => Arc::clone(known),
            (None, None) => {
                let stored = store.layout(row.layout_version).await?;
                let stored = Arc::new(stored.with_nodes(fleet.layout.nodes.clone()));
                versions.insert(row.layout_version, Arc::clone(&stored));
                stored
            }
        };
        layouts.insert(row.node_uid, layout);
    }
    for copy in store.copies().await? {
        let node = fleet.seats().iter().find(|client| client.id() == copy.node);
        if let (Some(layout), Some(node)) = (layouts.get_mut(&copy.index_uid), node) {
            miroir_movement::mark(layout, (Shard(copy.shard), node.idx, copy.state));
        }
    }
    Ok(layouts)
}

/// Settings as the nodes that hold the indexes have them.
async fn learn_settings(
    nodes: &[Arc<NodeClient>],
    catalogue: &mut Catalogue,
) -> Result<(), StartError> {
    for entry in catalogue.iter_mut() {
        let Some(visible) = &entry.visible else {
            continue;
        };
        let mut holders = holders(nodes, &entry.layouts.published);
        holders.retain(|client| client.node.is_up());
        let settings = match read_back(&holders, &entry.node_uid).await {
            ReadBack::Agreed(settings) => settings,
            ReadBack::Diverged(settings, why) => {
                tracing::warn!(index = entry.name, %why, "nodes differ in settings; send the settings again");
                settings
            }
            ReadBack::Unavailable(why) => {
                return Err(StartError::one(format!(
                    "settings of index `{}` cannot be read: {why}",
                    entry.name
                )))
            }
        };
        entry.settings = Arc::new(typed(&settings, &visible.faceting));
    }
    Ok(())
}

/// Takes up what was on its way when the last process ended.
async fn resume(plane: &Plane) -> Result<(), StartError> {
    for (task, parts) in plane.store.unfinished().await? {
        let mut catalogue = plane.catalogue();
        if let (Some(node_uid), Some(name)) = (&task.node_uid, &task.index_uid) {
            catalogue.entry(node_uid, name, &plane.layout(), now());
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
    let fleet = plane.fleet();
    for client in fleet
        .seats()
        .iter()
        .filter(|client| !fleet.is_member(client.idx))
    {
        plane.flights.dismiss(client.id());
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
