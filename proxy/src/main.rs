//! `miroir`: one Meilisearch in front of many.
//!
//! Three programs in one: `serve` is the front tier, `node` an embedded Meilisearch-compatible node, `demo` a whole
//! cluster of them with films in it.
#![forbid(unsafe_code)]

mod auth;
mod cli;
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
mod search;
mod serve;
mod shared_answers;
mod shed;
mod similar;
mod stages;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::run()
}
