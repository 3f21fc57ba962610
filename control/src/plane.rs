//! What all parts of the control plane share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use miroir_api::EMBEDDED;
use miroir_auth::Keyring;
use miroir_router::{HealthRules, Layout, NodeIdx, Publisher, RoutingTable};
use tokio::runtime::Handle;

use crate::catalogue::Catalogue;
use crate::dumps::Dumps;
use crate::exports::Exports;
use crate::fleet::Fleet;
use crate::flights::Flights;
use crate::jobs::Jobs;
use crate::keys::Keys;
use crate::lane::Lanes;
use crate::movements::Movements;
use crate::nodes::{NodeClient, Version};
use crate::rules::Rules;
use crate::store::Store;
use crate::webhooks::Hooks;

/// The control plane's state. Locks are held for moments only, never across an await.
pub(crate) struct Plane {
    pub store: Store,
    /// Replaced whole; see [`Plane::change_layouts`].
    pub fleet: Mutex<Arc<Fleet>>,
    /// Held while a change of the fleet is staged or made.
    pub changing_fleet: tokio::sync::Mutex<()>,
    /// Held while layouts change: one change at a time.
    pub relayout: tokio::sync::Mutex<()>,
    pub publisher: Publisher,
    pub lanes: Lanes,
    pub flights: Arc<Flights>,
    pub runtime: Handle,
    pub cluster_id: String,
    pub admin_key: Option<String>,
    pub driver: String,
    pub health: HealthRules,
    pub catalogue: Mutex<Catalogue>,
    pub keys: Keys,
    pub dumps: Dumps,
    pub exports: Exports,
    pub jobs: Jobs,
    pub webhooks: Hooks,
    pub movements: Movements,
    pub rules: Rules,
}

impl Plane {
    pub(crate) fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        // A panic elsewhere cannot leave an entry half-changed: entries change by assignment.
        self.catalogue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a new routing table of the catalogue. Called with the catalogue locked, so tables go out in the order of
    /// the changes that they show. Returns the table's epoch.
    pub(crate) fn publish(&self, catalogue: &Catalogue) -> u64 {
        let keys = self.keys.ring();
        self.movements.wake.notify_one();
        self.publisher
            .publish(table(&self.fleet(), catalogue, keys, self.rules.any()))
    }

    /// The nodes and the layout of new indexes, as of now.
    pub(crate) fn fleet(&self) -> Arc<Fleet> {
        Arc::clone(&self.fleet.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishing is the caller's business.
    pub(crate) fn set_fleet(&self, fleet: Fleet) {
        *self.fleet.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(fleet);
    }

    /// Every node of the cluster, as of now. Not by position: see [`Plane::node`].
    pub(crate) fn nodes(&self) -> Arc<[Arc<NodeClient>]> {
        Arc::clone(self.fleet().members())
    }

    /// What a new index gets.
    pub(crate) fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.fleet().layout)
    }

    /// The node at a position, be it removed.
    pub(crate) fn node(&self, idx: NodeIdx) -> Option<Arc<NodeClient>> {
        self.fleet().seats().get(usize::from(idx.0)).cloned()
    }

    pub(crate) fn first_up(&self) -> Option<Arc<NodeClient>> {
        let fleet = self.fleet();
        fleet
            .members()
            .iter()
            .find(|client| client.node.is_up())
            .cloned()
    }

    /// Who is to be asked about an index: see [`holders`].
    pub(crate) fn holders(&self, node_uid: &str) -> Vec<Arc<NodeClient>> {
        let own = self
            .catalogue()
            .get(node_uid)
            .map(|entry| Arc::clone(&entry.layouts.published));
        holders(&self.nodes(), &own.unwrap_or_else(|| self.layout()))
    }

    /// Whether every node that was reached has the routes that Meilisearch has since this version. An embedded node has
    /// them whatever its version.
    pub(crate) fn has_routes_since(&self, version: Version) -> bool {
        let nodes = self.nodes();
        let mut known = nodes.iter().filter_map(|client| client.about()).peekable();
        known.peek().is_some()
            && known.all(|(of_node, body)| of_node >= version || body["commitSha"] == EMBEDDED)
    }
}

/// The nodes whose word on an index counts: those that hold a copy of it that serves; all of them where none does.
pub(crate) fn holders(nodes: &[Arc<NodeClient>], layout: &Layout) -> Vec<Arc<NodeClient>> {
    let holds = |client: &&Arc<NodeClient>| !layout.serving_on(client.idx).is_empty();
    let holders: Vec<_> = nodes.iter().filter(holds).cloned().collect();
    match holders.is_empty() {
        true => nodes.to_vec(),
        false => holders,
    }
}

/// The routing table that shows `catalogue`.
pub(crate) fn table(
    fleet: &Fleet,
    catalogue: &Catalogue,
    keys: Arc<Keyring>,
    search_rules: bool,
) -> RoutingTable {
    RoutingTable {
        epoch: 0,
        nodes: fleet
            .seats()
            .iter()
            .map(|client| Arc::clone(&client.node))
            .collect(),
        indexes: catalogue.published().collect(),
        layout: Arc::clone(&fleet.layout),
        keys,
        search_rules,
    }
}
