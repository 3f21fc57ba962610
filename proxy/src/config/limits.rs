//! `limits`: what one core takes on at once.

use std::time::Duration;

use serde::Deserialize;

/// `None`: no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreLimits {
    /// Searches and reads of documents in progress.
    pub searches: Option<usize>,
    /// Document writes in progress.
    pub writes: Option<usize>,
    /// Requests to the control plane in progress.
    pub others: Option<usize>,
    /// Clients' connections.
    pub connections: Option<usize>,
    /// Connections to one node.
    pub node_connections: usize,
    /// How late the core may come to what is ready.
    pub delay: Option<Duration>,
}

impl Default for CoreLimits {
    fn default() -> Self {
        FileLimits::default().decide()
    }
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FileLimits {
    searches: Option<usize>,
    writes: Option<usize>,
    others: Option<usize>,
    connections: Option<usize>,
    node_connections: Option<usize>,
    delay_ms: Option<u64>,
}

impl FileLimits {
    pub(super) fn decide(self) -> CoreLimits {
        let limit = |given: Option<usize>, usual| Some(given.unwrap_or(usual)).filter(|n| *n > 0);
        CoreLimits {
            searches: limit(self.searches, SEARCHES),
            writes: limit(self.writes, OTHERS),
            others: limit(self.others, OTHERS),
            connections: limit(self.connections, CONNECTIONS),
            node_connections: limit(self.node_connections, NODE_CONNECTIONS)
                .unwrap_or(NODE_CONNECTIONS),
            delay: Some(self.delay_ms.unwrap_or(DELAY_MS))
                .filter(|ms| *ms > 0)
                .map(Duration::from_millis),
        }
    }
}

/// As many as Meilisearch lets wait (`--experimental-search-queue-size`).
const SEARCHES: usize = 1000;
const OTHERS: usize = 500;
const CONNECTIONS: usize = 16 * 1024;
const NODE_CONNECTIONS: usize = 256;
/// Some 300 searches of a computing core.
const DELAY_MS: u64 = 20;
