//! What `miroir` is made of; the program itself is `main.rs`. A library so that `miroir-perf` can count what a search's body costs.
#![forbid(unsafe_code)]

mod auth;
pub mod cli;
mod config;
mod core;
mod cors;
#[cfg(feature = "embedded")]
mod demo;
mod documents;
mod facet_search;
mod import;
mod judge;
mod metrics;
mod multi_search;
mod noted;
mod pinned;
mod render;
mod routes;
mod scatter;
mod scrub;
pub mod search;
mod serve;
mod shared_answers;
mod shed;
mod similar;
mod stages;
