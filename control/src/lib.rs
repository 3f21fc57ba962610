//! The slow plane: everything that is not a search or a document on its way.
//!
//! One thread with a tokio runtime holds the durable store's handle, the catalogue of indexes, the task registry and
//! the settings; it watches the nodes' health, polls their tasks, and publishes a new [`miroir_router::RoutingTable`]
//! whenever something changes that the cores must know. The cores call it through [`Control`], whose futures need
//! nothing but a waker: no tokio context ever appears on a core.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `bootstrap` | from a configuration to a running plane, or to a message that names the next step |
//! | `store` | what must survive, with group commit |
//! | `catalogue` | which indexes there are, visible and planned |
//! | `lane`, `writes` | the order of writes of one index; turns and commits |
//! | `movements` | repair, new copies, copies that go |
//! | `tasks`, `flights`, `poll`, `finish`, `removal` | a client's task, its node tasks, and how it ends |
//! | `settings`, `features`, `indexes`, `renames`, `fields`, `stats` | the slow API, one module a subject |
//! | `keys` | API keys, and the keyring that the cores check them with |
//! | `fleet`, `layouts` | the nodes there are, and where each index lies |
//! | `nodes`, `health`, `identity` | talking to nodes; whether they are there, and whether they are still who they were |
//! | `dumps`, `exports` | dumps of the cluster, and from dumps into it; the cluster into another Meilisearch |
//! | `jobs` | when tasks are carried out that are no node's |
//! | `routes` | the slow routes as an axum router |
//! | `metrics` | what the plane shows on the page of metrics |
#![forbid(unsafe_code)]

mod bootstrap;
mod catalogue;
mod chats;
mod clock;
mod config;
mod dumps;
mod exports;
mod features;
mod fields;
mod finish;
mod fleet;
mod flights;
mod handle;
mod health;
mod identity;
mod indexes;
mod jobs;
mod keys;
mod lane;
mod layouts;
mod metrics;
mod movements;
mod network;
mod nodes;
mod payloads;
mod plane;
mod poll;
mod removal;
mod renames;
mod routes;
mod rules;
mod scrub;
mod settings;
mod stats;
mod store;
mod tasks;
mod types;
mod webhooks;
mod writes;

pub use config::{ControlConfig, NodeConfig, StartError};
pub use handle::{start, Control, Running};
pub use metrics::METRICS;
pub use miroir_movement::Touched;
pub use types::{BeginWrite, InferredKey, NodePart, Outcome, TaskSummary, Turn, WriteKind};
