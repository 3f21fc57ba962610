//! `miroir`: one Meilisearch in front of many.
//!
//! Three programs in one: `serve` is the front tier, `node` an embedded Meilisearch-compatible node, `demo` a whole
//! cluster of them with films in it.
#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    miroir::cli::run()
}
