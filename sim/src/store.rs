//! What survives the proxy: transactions become durable one after the other, a little later than they are asked for.

use miroir_router::{Layout, LayoutNode};

/// The durable state.
#[derive(Clone, Debug)]
pub struct Store {
    pub layout: Layout,
    pub nodes: Vec<NodeRow>,
    pub replication_factor: u8,
    pub replica_groups: u16,
    /// No write was open when the process ended.
    pub clean: bool,
}

#[derive(Clone, Debug)]
pub struct NodeRow {
    pub node: LayoutNode,
    pub gone: bool,
    /// The index's identity on this node, as last seen.
    pub created: Option<u64>,
    /// The last task that the node accepted.
    pub last_uid: u64,
}
