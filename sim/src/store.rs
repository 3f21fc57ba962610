//! What survives the proxy: transactions become durable one after the other, a little later than they are asked for.

use std::sync::Arc;

use miroir_movement::{mark, Mark};
use miroir_router::{Layout, LayoutNode};

/// The durable state.
#[derive(Clone, Debug)]
pub struct Store {
    pub body: Arc<Layout>,
    /// Copies that are in another state than the layout says.
    pub marks: Vec<Mark>,
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

impl Store {
    /// As it is read back.
    pub fn layout(&self) -> Arc<Layout> {
        let mut layout = Arc::clone(&self.body);
        for copy in &self.marks {
            mark(&mut layout, *copy);
        }
        layout
    }
}
