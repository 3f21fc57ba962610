//! An embedded node: milli, Meilisearch's own engine, behind Meilisearch 1.15's HTTP API.
//!
//! No package registry has a Meilisearch binary, and a cluster that can only be tried after installing one is not
//! tried. So this crate is a node: the released engine, a durable task queue, and the routes that the proxy and the
//! tests call. It follows what Meilisearch 1.15.1 does towards clients (statuses, bodies, codes, messages), not what
//! would be convenient for the proxy: everything that works with it must work with the released server too.
//!
//! The path of a write: `http` checks it and keeps its payload as a file, `queue` records the task (durable before
//! the 202 is sent), `scheduler` takes consecutive compatible tasks of one index as one batch and applies it to the
//! index that `indexes` keeps open. A read goes from `http` straight to a snapshot of the index.
#![forbid(unsafe_code)]

mod batch;
mod deserialize;
mod engine;
mod error;
mod files;
mod indexes;
mod payload;
mod queue;
mod scheduler;
mod search;
mod settings;
mod tasks;
