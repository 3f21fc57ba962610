//! The nodes and the layout that a new index gets: one value, replaced whole when the fleet changes.
//!
//! A node's position ([`NodeIdx`]) means the same node for as long as the store lives: added nodes come at the end, and a
//! removed one keeps its place as a tombstone. So a layout, a turn or a request of before can always be read.

pub(crate) mod admission;
mod apply;
pub(crate) mod changes;
mod diff;
mod plan;

use std::sync::Arc;

use miroir_router::{Layout, NodeIdx};

use crate::nodes::NodeClient;

/// The fleet at one moment.
pub(crate) struct Fleet {
    /// By position, removed ones too.
    seats: Vec<Arc<NodeClient>>,
    /// Those that belong to the cluster, by position.
    members: Arc<[Arc<NodeClient>]>,
    /// What a new index gets. Its nodes are the seats.
    pub layout: Arc<Layout>,
}

impl Fleet {
    /// `seats` by position; `removed` says which of them are tombstones.
    pub(crate) fn new(
        seats: Vec<Arc<NodeClient>>,
        layout: Arc<Layout>,
        removed: impl Fn(NodeIdx) -> bool,
    ) -> Fleet {
        let members = seats.iter().filter(|client| !removed(client.idx)).cloned();
        Fleet {
            members: members.collect(),
            seats,
            layout,
        }
    }

    pub(crate) fn seats(&self) -> &[Arc<NodeClient>] {
        &self.seats
    }

    pub(crate) fn members(&self) -> &Arc<[Arc<NodeClient>]> {
        &self.members
    }

    pub(crate) fn is_member(&self, node: NodeIdx) -> bool {
        self.members.iter().any(|client| client.idx == node)
    }

    /// The member of this id.
    pub(crate) fn member(&self, id: &str) -> Option<&Arc<NodeClient>> {
        self.members.iter().find(|client| client.id() == id)
    }
}
