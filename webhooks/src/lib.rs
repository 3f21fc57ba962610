//! Webhooks: who is told that tasks have ended, and the telling. The cluster and the embedded node use the same.
//!
//! The owner keeps what is [registered](Registered) on disk, and hands over the tasks that have ended once that is
//! durable. Each webhook then gets them as one POST of gzipped NDJSON, a task view a line, as Meilisearch sends them
//! (`crates/index-scheduler/src/lib.rs`, `notify_webhooks`).
//!
//! What is promised: a webhook gets tasks in the order in which they ended. A delivery that fails for a reason that may
//! pass (no connection, no answer in 30 s, 408, 429, 5xx) is tried [`ATTEMPTS`] times with growing pauses, so a receiver
//! may see the same tasks twice. After that, and at a restart, what was not delivered is lost, which the log says
//! (Meilisearch tries once). A slow receiver delays nothing but its own deliveries; when more than
//! [`WAITING_BYTES_MAX`] wait for it, the oldest are dropped. Redirections are not followed, and addresses that are not
//! public are refused unless they are [allowed](Networks), as Meilisearch does from 1.50 on.
//!
//! | module | what it is for |
//! | --- | --- |
//! | `body` | the bodies that make and change webhooks, and how one is shown |
//! | `book` | which webhooks there are |
//! | `courier` | delivery |
//! | `networks` | which addresses may be spoken to |
//! | `outgoing` | requests to addresses that clients name, also of exports |
#![forbid(unsafe_code)]

mod body;
mod book;
mod courier;
mod networks;
mod outgoing;

pub use body::{Registered, Webhook};
pub use book::{Change, Webhooks};
pub use courier::{ATTEMPTS, WAITING_BYTES_MAX};
pub use networks::{Network, Networks};
pub use outgoing::{is_refused, outgoing};
