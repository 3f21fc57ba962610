//! What the control plane is started with, and how a start that cannot go on says why.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miroir_router::HealthRules;

/// Everything that [`crate::start`] needs. It holds secrets, so it has no `Debug`.
#[derive(Clone)]
pub struct ControlConfig {
    /// The key that opens everything to clients, and from which their other keys are derived. Empty or missing: every
    /// route but `/keys` is open.
    pub master_key: Option<String>,
    /// The key that nodes were started with.
    pub node_master_key: Option<String>,
    /// Guards `/_miroir/`. Empty or missing: the master key does.
    pub admin_key: Option<String>,
    pub shards: u16,
    pub replication_factor: u8,
    pub replica_groups: u16,
    /// The nodes of a *new* cluster, in the order of their positions ([`miroir_router::NodeIdx`]). Afterwards the store
    /// decides which nodes there are; this list may then only correct addresses.
    pub nodes: Vec<NodeConfig>,
    pub store_path: PathBuf,
    /// Where dumps are written; next to the store where `None`.
    pub dumps_path: Option<PathBuf>,
    /// Where this cluster's clients reach it, `http://host:port`: dumps are imported that way.
    pub own_address: String,
    /// The largest body that clients may send, in bytes.
    pub body_bytes_max: usize,
    /// How nodes are asked whether they are there.
    pub health: HealthRules,
    /// How often all copies are compared; zero: never.
    pub anti_entropy_interval: Duration,
    /// The URL of a webhook that clients cannot change, and the value of its `Authorization` header.
    pub task_webhook: Option<(String, Option<String>)>,
    /// Addresses that webhooks may have besides public ones.
    pub allowed_ip_networks: miroir_webhooks::Networks,
    /// Which I/O driver the cores run on, for the status page only.
    pub driver: String,
}

impl ControlConfig {
    /// The key that opens `/_miroir/`; `None` leaves it open, as a Meilisearch without a master key is.
    pub(crate) fn effective_admin_key(&self) -> Option<String> {
        given(&self.admin_key).or_else(|| given(&self.master_key))
    }

    pub(crate) fn dumps_folder(&self) -> PathBuf {
        let beside = self.store_path.parent().unwrap_or(Path::new("."));
        self.dumps_path
            .clone()
            .unwrap_or_else(|| beside.join("dumps"))
    }

    pub(crate) fn client_key(&self) -> Option<String> {
        given(&self.master_key)
    }
}

fn given(key: &Option<String>) -> Option<String> {
    key.clone().filter(|key| !key.is_empty())
}

/// One Meilisearch node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's name for ever: a stored cluster is matched to the configuration by it.
    pub id: String,
    /// `http://host:port`; may change between starts.
    pub address: String,
    pub replica_group: u16,
    /// Its share of its group's copies, relative to the others', in a *new* cluster.
    pub weight: u32,
    /// What fails together with it, in a *new* cluster.
    pub zone: Option<String>,
}

/// Why the control plane did not start: one line a fault, each with the next step.
#[derive(Debug)]
pub struct StartError {
    pub lines: Vec<String>,
}

impl StartError {
    pub(crate) fn one(line: impl Into<String>) -> Self {
        StartError {
            lines: vec![line.into()],
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

impl std::error::Error for StartError {}
