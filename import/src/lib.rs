//! Moving in: indexes with their settings and documents, API keys and features into a server that speaks Meilisearch's
//! API, from a dump ([`import_dump`]) or from a running Meilisearch ([`copy`]).
//!
//! Everything goes by HTTP, through the routes that any client uses. So a cluster routes the documents as it routes all
//! others, the embedded node needs no second way into its indexes, and what is imported is checked as everything else is.
//! Memory is bounded by [`Options`]: a few batches of documents are under way, never more.
#![forbid(unsafe_code)]

mod copy;
mod dump;
mod load;
mod progress;
mod server;
mod start;
mod watch;

pub use copy::{copy, Copied, State};
pub use dump::import_dump;
pub use load::without_masked_secrets;
pub use progress::{Imported, Progress, Report, Stage};
pub use server::{Server, Trouble};
pub use start::AtStart;
pub use watch::watch;

/// How much is under way at a time.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Documents go in batches of about so many bytes; a document that is larger goes alone. At most what the server
    /// takes in one body.
    pub batch_bytes: usize,
    /// So many batches may wait in the server's queue.
    pub batches_ahead: usize,
}

impl Options {
    /// For a server that takes bodies of at most `body_bytes_max`.
    pub fn within(body_bytes_max: usize) -> Options {
        let default = Options::default();
        Options {
            batch_bytes: default.batch_bytes.min(body_bytes_max),
            ..default
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            batch_bytes: 8 << 20,
            batches_ahead: 3,
        }
    }
}
